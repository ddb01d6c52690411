import { present, readJsonBody, readMoment } from '@kopilka/extension'
import type {
  DisputeEvent,
  GatewayContext,
  RefundEvent,
  VendorDispute,
  VendorEvent,
  VendorRefund,
  WebhookRequest,
  WebhookResult,
} from '@kopilka/extension'
import { z } from 'zod'
import { isSandbox } from './config.ts'
import type { Config } from './config.ts'
import { contest, disputeOf } from './disputes.ts'
import { SaleAmount, Size } from './money.ts'
import { parentId, paymentIdIn, refundIdIn } from './objects.ts'
import { isOfNow, isProvedByVendor, isProvedHere, isVendorsAddress, readTransmission } from './proof.ts'

const Id = z.string().regex(/^[0-9A-Za-z_-]{1,64}$/)
const Resource = z.looseObject({
  id: z.string().max(64).optional().catch(undefined),
  order_id: Id.optional().catch(undefined),
  custom_id: z.string().optional().catch(undefined),
  billing_agreement_id: Id.optional().catch(undefined),
  purchase_units: z
    .array(z.object({ custom_id: z.string().optional() }))
    .optional()
    .catch(undefined),
  supplementary_data: z
    .object({
      related_ids: z.object({ order_id: Id.optional(), capture_id: Id.optional() }).optional(),
    })
    .optional()
    .catch(undefined),
  metadata: z.object({ order_id: Id.optional() }).optional().catch(undefined),
  links: z
    .array(z.object({ rel: z.string(), href: z.string() }))
    .optional()
    .catch(undefined),
})
type Resource = z.infer<typeof Resource>

const EventObject = z.object({
  id: z.string().regex(/^[0-9A-Za-z-]{1,190}$/),
  event_type: z.string().regex(/^[A-Z_.-]{1,100}$/),
  create_time: z.string().optional(),
  resource: Resource,
})

const ReversalObject = z.object({ amount: Size })
/** A refund of a sale, or the sale itself as it is then. */
const SaleObject = z.object({
  id: Id,
  sale_id: Id.optional(),
  state: z.string().optional(),
  amount: SaleAmount,
  create_time: z.string().optional(),
})

/** The kinds of event a webhook must be subscribed to for all of this to work. */
export const EVENT_TYPES = [
  'CHECKOUT.ORDER.APPROVED',
  'CHECKOUT.PAYMENT-APPROVAL.REVERSED',
  'PAYMENT.AUTHORIZATION.CREATED',
  'PAYMENT.AUTHORIZATION.VOIDED',
  'PAYMENT.CAPTURE.COMPLETED',
  'PAYMENT.CAPTURE.PENDING',
  'PAYMENT.CAPTURE.DENIED',
  'PAYMENT.CAPTURE.DECLINED',
  'PAYMENT.CAPTURE.REFUNDED',
  'PAYMENT.CAPTURE.REVERSED',
  'PAYMENT.REFUND.PENDING',
  'PAYMENT.REFUND.FAILED',
  'PAYMENT.SALE.COMPLETED',
  'PAYMENT.SALE.REFUNDED',
  'PAYMENT.SALE.REVERSED',
  'VAULT.PAYMENT-TOKEN.CREATED',
  'VAULT.PAYMENT-TOKEN.DELETED',
  'BILLING.SUBSCRIPTION.CREATED',
  'BILLING.SUBSCRIPTION.ACTIVATED',
  'BILLING.SUBSCRIPTION.UPDATED',
  'BILLING.SUBSCRIPTION.EXPIRED',
  'BILLING.SUBSCRIPTION.CANCELLED',
  'BILLING.SUBSCRIPTION.SUSPENDED',
  'BILLING.SUBSCRIPTION.PAYMENT.FAILED',
  'CUSTOMER.DISPUTE.CREATED',
  'CUSTOMER.DISPUTE.UPDATED',
  'CUSTOMER.DISPUTE.RESOLVED',
] as const

/**
 * Verifies an event on its raw bytes, by the vendor's certificate or by asking the vendor, and says where to
 * look: order is not kept and the signed checksum is a weak one, so payments and refunds are read again.
 * Disputes, and refunds of a subscription's sales, which no call of the API shows, are told as they come.
 * Throws GatewayUnavailable when the proof itself cannot be had: the vendor then repeats the event.
 */
export async function parseWebhook(
  config: Config,
  request: WebhookRequest,
  context: GatewayContext,
): Promise<WebhookResult> {
  const transmission = readTransmission(request)
  if (!transmission) return refused(401, 'no signature')
  if (!isVendorsAddress(config, transmission.certificate_url))
    return refused(401, 'a certificate of somebody else')
  if (!isOfNow(transmission, context.now)) return refused(401, 'not of this time')
  const event = EventObject.safeParse(readJsonBody(request))
  if (!event.success) return refused(400, 'not an event')
  const given = { transmission, raw_body: request.raw_body }
  const isProved = config.verification === 'postback' ? isProvedByVendor : isProvedHere
  if (!(await isProved(config, given, context))) return refused(401, 'wrong signature')
  return { verdict: 'accepted', events: toEvents(config, event.data) }
}

function toEvents(config: Config, event: z.infer<typeof EventObject>): VendorEvent[] {
  const { id, event_type: type, resource } = event
  const occurred_at = readMoment(event.create_time)
  const base = { external_event_id: id, trust: 'signed', type, ...present({ occurred_at }) } as const
  const back = saleBack(config, type, resource)
  if (back) return [{ ...base, ...back }]
  const dispute = toDispute(config, type, resource)
  if (dispute) return [{ ...base, kind: 'dispute', dispute }]
  if (type === 'VAULT.PAYMENT-TOKEN.DELETED') {
    return resource.id === undefined ? [] : [{ ...base, kind: 'method_removed', external_id: resource.id }]
  }
  if (/^PAYMENT\.(?:CAPTURE\.REFUNDED$|REFUND\.)/.test(type)) {
    if (resource.id === undefined) return []
    const found = { refund_id: refundIdIn(resource.custom_id), payment_external_id: orderIdOf(resource) }
    return [{ ...base, kind: 'refund', external_id: resource.id, ...present(found) }]
  }
  const subscription_id = subscriptionIdOf(type, resource)
  if (subscription_id !== undefined) {
    const is_sale = type === 'PAYMENT.SALE.COMPLETED'
    const charge = present({ charge_external_id: is_sale ? resource.id : undefined })
    return [{ ...base, kind: 'subscription', external_id: subscription_id, ...charge, data: resource }]
  }
  const payment = paymentOf(type, resource)
  return payment ? [{ ...base, kind: 'payment', ...present(payment) }] : []
}

/** The order an event is about, and our id in it; `undefined` for what is not about a payment of ours. */
function paymentOf(
  type: string,
  resource: Resource,
): { external_id?: string | undefined; payment_id?: string | undefined } | undefined {
  if (type.startsWith('CHECKOUT.ORDER.')) {
    const custom_id = resource.purchase_units?.[0]?.custom_id
    const payment_id = paymentIdIn(custom_id)
    const is_foreign = custom_id !== undefined && payment_id === undefined
    return is_foreign || resource.id === undefined ? undefined : { external_id: resource.id, payment_id }
  }
  if (type === 'CHECKOUT.PAYMENT-APPROVAL.REVERSED') {
    return resource.order_id === undefined ? undefined : { external_id: resource.order_id }
  }
  if (!/^PAYMENT\.(?:CAPTURE|AUTHORIZATION)\.|^VAULT\.PAYMENT-TOKEN\.CREATED$/.test(type)) return undefined
  const found = { external_id: orderIdOf(resource), payment_id: paymentIdIn(resource.custom_id) }
  return found.external_id === undefined && found.payment_id === undefined ? undefined : found
}

/**
 * Money of a subscription's sale that goes back: given back, or taken by the payer's bank, which is a contest
 * opened and lost at once.
 */
function saleBack(config: Config, type: string, resource: Resource): SaleBack | undefined {
  if (type !== 'PAYMENT.SALE.REFUNDED' && type !== 'PAYMENT.SALE.REVERSED') return undefined
  const parsed = SaleObject.safeParse(resource)
  if (!parsed.success) return undefined
  const { id, state, amount, create_time } = parsed.data
  const named = parsed.data.sale_id ?? parentId(resource.links, 'sale')
  const charge_of = present({ subscription_external_id: resource.billing_agreement_id })
  if (type === 'PAYMENT.SALE.REVERSED') {
    const facts = { ...amount, status: 'lost', reason: 'reversed' } as const
    return { kind: 'dispute', dispute: contest(config, named ?? id, facts), charge_of }
  }
  // The sale itself tells only of its whole amount.
  if (named === undefined && state !== 'refunded') return undefined
  const is_failed = state === 'failed' || state === 'cancelled'
  const payment_external_id = named ?? id
  const refund: VendorRefund = {
    external_id: named === undefined ? `refund:${id}` : id,
    payment_external_id,
    status: is_failed ? 'failed' : state === 'pending' ? 'pending' : 'succeeded',
    ...amount,
    is_test: isSandbox(config),
    ...present({ created_at: readMoment(create_time) }),
  }
  return { kind: 'refund', external_id: refund.external_id, payment_external_id, refund, charge_of }
}

type SaleBack =
  | Pick<RefundEvent, 'kind' | 'external_id' | 'payment_external_id' | 'refund' | 'charge_of'>
  | Pick<DisputeEvent, 'kind' | 'dispute' | 'charge_of'>

/** Payments of the vendor's own subscriptions are sales of the older kind: known by the subscription. */
function subscriptionIdOf(type: string, resource: Resource): string | undefined {
  if (type.startsWith('BILLING.SUBSCRIPTION.')) return resource.id
  return type.startsWith('PAYMENT.SALE.') ? resource.billing_agreement_id : undefined
}

/**
 * A dispute and the loss it may end with come as events of different objects; both are one contest here,
 * named by the captured payment. So are a dispute that was closed undecided and the one that took its place.
 * A reversal nobody announced is a contest opened and lost at once.
 */
function toDispute(config: Config, type: string, resource: Resource): VendorDispute | undefined {
  if (type === 'PAYMENT.CAPTURE.REVERSED') {
    const parsed = ReversalObject.safeParse(resource)
    const capture_id = parentId(resource.links) ?? resource.supplementary_data?.related_ids?.capture_id
    if (!parsed.success || capture_id === undefined) return undefined
    return contest(config, capture_id, { ...parsed.data.amount, status: 'lost', reason: 'reversed' })
  }
  if (!type.startsWith('CUSTOMER.DISPUTE.')) return undefined
  return disputeOf(config, resource)?.dispute
}

function orderIdOf(resource: Resource): string | undefined {
  return resource.supplementary_data?.related_ids?.order_id ?? resource.metadata?.order_id
}

function refused(status: 400 | 401, reason: string): WebhookResult {
  return { verdict: 'refused', status, reason }
}
