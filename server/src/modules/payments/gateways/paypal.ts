import {
  GatewayMisconfigured,
  GatewayUnavailable,
  clipText,
  defineGateway,
  idTime,
  present,
  readAnswer,
} from '@kopilka/extension'
import type {
  ChargeSavedMethodInput,
  CreatePaymentInput,
  CreatedPayment,
  PaymentReference,
  VendorPayment,
} from '@kopilka/extension'
import { z } from 'zod'
import { callApi, isSafeId, readObject } from './paypal/api.ts'
import type { Reply, Shop } from './paypal/api.ts'
import { configSchema, isSandbox } from './paypal/config.ts'
import type { Config } from './paypal/config.ts'
import { CURRENCIES, toMoney } from './paypal/money.ts'
import type { Money } from './paypal/money.ts'
import {
  CreatedOrder,
  OrderObject,
  capturesOf,
  heldAuthorization,
  isUntouched,
  payerPage,
  savedMethod,
  toPayment,
} from './paypal/objects.ts'
import { findOrder, findVaultToken, readOrder, take, takeApproved } from './paypal/orders.ts'
import type { Standing } from './paypal/orders.ts'
import { getRefund, refund } from './paypal/refunds.ts'
import { listDisputes } from './paypal/disputes.ts'
import { listPayments, listRefunds } from './paypal/reports.ts'
import { cancelSubscription, getSubscription } from './paypal/subscriptions.ts'
import { EVENT_TYPES, parseWebhook } from './paypal/webhook.ts'

const ORDERS = '/v2/checkout/orders'
const WEBHOOKS = '/v1/notifications/webhooks'
/** The vendor keeps an order's key for six hours; a margin is left for clocks that differ. */
const KEY_LIFE_MS = 5 * 3_600_000
/** What a kept agreement is for, in the words both the published shapes and the newer ones know. */
const USAGE_PATTERN = 'RECURRING_PREPAID'
const LOCALE = /^[a-z]{2}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|\d{3}))?$/
const EMAIL = /^[\w.+-]{1,64}@(?:[a-zA-Z\d-]{1,63}\.){1,8}[a-zA-Z]{2,20}$/

const WebhookObject = z.object({
  url: z.string(),
  event_types: z.array(z.object({ name: z.string() })),
})

/**
 * PayPal: orders captured or held by us when their buyer has approved, agreements kept in the vault and
 * charged without the buyer, refunds, disputes, the vendor's own subscriptions. A payment is known by its
 * order. What the vendor answers with 400, 404 or 422 is a refusal with its word; 401 and 403 are
 * GatewayMisconfigured.
 */
export default defineGateway<Config>({
  id: 'paypal',
  title: 'PayPal',
  currencies: CURRENCIES,
  configSchema,
  isTest: isSandbox,
  parseWebhook,

  async createPayment(config, input, context) {
    if (input.method !== undefined && input.method !== 'paypal') return refused('method_not_supported')
    const amount = toMoney(input)
    if (!amount) return refused('amount_not_supported')
    const shop = { config, context }
    const body = {
      intent: input.capture ? 'CAPTURE' : 'AUTHORIZE',
      purchase_units: [purchaseUnit(input, amount)],
      payment_source: { paypal: walletOf(config, input) },
    }
    const reply = await callApi(shop, { method: 'POST', path: ORDERS, key: [input.payment_id], body })
    if (reply.refusal !== undefined) return refused(reply.refusal)
    const order = readAnswer(CreatedOrder, reply.body)
    const checkout_url = payerPage(order)
    const is_waiting = order.status === 'CREATED' || order.status === 'PAYER_ACTION_REQUIRED'
    if (is_waiting && checkout_url === undefined) throw new GatewayUnavailable('an order without its page')
    const status = order.status === 'VOIDED' ? 'canceled' : 'pending'
    return { status, external_id: order.id, ...present({ checkout_url }) }
  },

  /**
   * The vendor captures such an order by itself. One that asks for the buyer is told as failed: nobody would
   * come to its page, and it is never captured.
   */
  async chargeSavedMethod(config, input, context) {
    const amount = toMoney(input)
    if (!amount) return refused('amount_not_supported')
    const shop = { config, context }
    const made_at = idTime(input.payment_id)?.getTime() ?? 0
    const earlier =
      context.now.getTime() - made_at > KEY_LIFE_MS ? await findOrder(shop, input.payment_id) : undefined
    if (earlier) return charged(shop, { order: earlier })
    const reply = await callApi(shop, {
      method: 'POST',
      path: ORDERS,
      key: [input.payment_id],
      body: {
        intent: 'CAPTURE',
        purchase_units: [purchaseUnit(input, amount)],
        payment_source: { paypal: agreementOf(input) },
      },
    })
    if (reply.refusal !== undefined) return refusedCharge(shop, input, reply)
    const { id } = readAnswer(CreatedOrder, reply.body)
    const order = await readObject(shop, OrderObject, { path: ORDERS, id })
    if (!order) throw new GatewayUnavailable('an order is gone that was just made')
    const is_waiting = ['CREATED', 'APPROVED'].includes(order.status) && capturesOf(order).length === 0
    return charged(shop, is_waiting ? await take(shop, order, [input.payment_id]) : { order })
  },

  /** Takes what the buyer has approved, on the way: see `takeApproved`. */
  async getPayment(config, reference, context) {
    const shop = { config, context }
    const order = await readOrder(shop, reference)
    if (!order) return undefined
    return tell(shop, await takeApproved(shop, order))
  },

  /** A refused capture answers the payment as it stands, with the reason in `failure_reason`. */
  async capturePayment(config, input, context) {
    const shop = { config, context }
    const order = await heldOrder(shop, input)
    const authorization = heldAuthorization(order)
    const amount = toMoney(input)
    if (!authorization || !amount) return { failure_reason: 'not_authorized', ...toPayment(config, order) }
    return act(shop, input, order, {
      path: `/v2/payments/authorizations/${authorization.id}/capture`,
      key: ['capture', input.payment_id, String(input.amount)],
      body: { amount, final_capture: true },
    })
  },

  /**
   * Lets a hold go. An order nobody was charged for has no call that ends it, and needs none: only our own
   * capture takes money, and what the core holds for canceled is never captured.
   */
  async cancelPayment(config, reference, context) {
    const shop = { config, context }
    const order = await heldOrder(shop, reference)
    const authorization = heldAuthorization(order)
    if (!authorization) {
      const payment = toPayment(config, order)
      return payment.status === 'pending' && isUntouched(order)
        ? { ...payment, status: 'canceled', failure_reason: 'canceled' }
        : payment
    }
    return act(shop, reference, order, {
      path: `/v2/payments/authorizations/${authorization.id}/void`,
      key: ['void', reference.payment_id],
    })
  },

  refund: (config, input, context) => refund({ config, context }, input),
  getRefund: (config, reference, context) => getRefund({ config, context }, reference),

  /** An agreement the vendor no longer knows is forgotten already. */
  async removeSavedMethod(config, method, context) {
    if (!isSafeId(method.external_id)) return
    const path = `/v3/vault/payment-tokens/${method.external_id}`
    const reply = await callApi({ config, context }, { method: 'DELETE', path })
    if (reply.refusal !== undefined && !reply.is_missing) throw new GatewayMisconfigured(reply.refusal)
  },

  lists_other_ids: true,
  listPayments: (config, range, context) => listPayments({ config, context }, range),
  listRefunds: (config, range, context) => listRefunds({ config, context }, range),
  listDisputes: (config, range, context) => listDisputes({ config, context }, range),
  getSubscription: (config, { external_id }, context) => getSubscription({ config, context }, external_id),
  cancelSubscription: (config, { external_id }, context) =>
    cancelSubscription({ config, context }, external_id),

  /** The webhook itself is made in the vendor's cabinet: its id is among the settings. */
  async registerWebhook(config, context) {
    const shop = { config, context }
    const held = await readObject(shop, WebhookObject, { path: WEBHOOKS, id: config.webhook_id })
    if (!held) throw new GatewayMisconfigured('webhook_not_found')
    const url = webhookUrl(shop)
    const changes = [
      ...(held.url === url ? [] : [{ op: 'replace', path: '/url', value: url }]),
      ...(missingEvents(held).length === 0
        ? []
        : [{ op: 'replace', path: '/event_types', value: EVENT_TYPES.map((name) => ({ name })) }]),
    ]
    if (changes.length === 0) return
    const path = `${WEBHOOKS}/${config.webhook_id}`
    const reply = await callApi(shop, { method: 'PATCH', path, raw: JSON.stringify(changes) })
    if (reply.refusal !== undefined) throw new GatewayMisconfigured(reply.refusal)
  },

  /** Never throws: what cannot be reached or is refused is a `detail`. */
  async checkHealth(config, context) {
    const shop = { config, context }
    try {
      const held = await readObject(shop, WebhookObject, { path: WEBHOOKS, id: config.webhook_id })
      if (!held) return { ok: false, detail: 'the webhook ID is of another app' }
      if (held.url !== webhookUrl(shop)) return { ok: false, detail: 'the webhook leads to another address' }
      const missing = missingEvents(held)
      if (missing.length > 0) return { ok: false, detail: `the webhook lacks ${missing.join(', ')}` }
      return { ok: true, detail: isSandbox(config) ? 'sandbox app' : 'live app' }
    } catch (error) {
      if (error instanceof GatewayMisconfigured || error instanceof GatewayUnavailable) {
        return { ok: false, detail: error.message }
      }
      throw error
    }
  },
})

/**
 * Our ids: the payment's in `custom_id`, the order's with the attempt's number in `invoice_id`, which an
 * account may be set to take only once.
 */
function purchaseUnit(input: CreatePaymentInput | ChargeSavedMethodInput, amount: Money): object {
  return {
    reference_id: 'default',
    custom_id: input.payment_id,
    invoice_id: `${input.order_id}-${input.payment_number}`,
    description: clipText(input.description, 127) || undefined,
    amount,
  }
}

function walletOf(config: Config, input: CreatePaymentInput): object {
  const { brand_name } = config
  const vault = {
    store_in_vault: 'ON_SUCCESS',
    usage_type: 'MERCHANT',
    customer_type: 'CONSUMER',
    usage_pattern: USAGE_PATTERN,
    permit_multiple_payment_tokens: false,
  }
  const first = { payment_initiator: 'CUSTOMER', usage: 'FIRST', usage_pattern: USAGE_PATTERN }
  return {
    email_address: input.email !== undefined && EMAIL.test(input.email) ? input.email : undefined,
    ...(input.save_method ? { attributes: { vault }, stored_credential: first } : {}),
    experience_context: {
      brand_name,
      locale: LOCALE.test(input.locale) ? input.locale : undefined,
      landing_page: 'NO_PREFERENCE',
      shipping_preference: 'NO_SHIPPING',
      user_action: 'PAY_NOW',
      // Money that comes days later would come after the order's end.
      payment_method_preference: 'IMMEDIATE_PAYMENT_REQUIRED',
      return_url: input.return_url,
      cancel_url: input.return_url,
    },
  }
}

function agreementOf(input: ChargeSavedMethodInput): object {
  return {
    vault_id: input.method_external_id,
    stored_credential: {
      payment_initiator: 'MERCHANT',
      usage: 'SUBSEQUENT',
      usage_pattern: USAGE_PATTERN,
    },
  }
}

/** A second charge under one invoice is the first one's repeat: that one is looked for, not given up. */
async function refusedCharge(
  shop: Shop,
  input: ChargeSavedMethodInput,
  reply: Reply & { refusal: string },
): Promise<CreatedPayment> {
  if (reply.issue !== 'DUPLICATE_INVOICE_ID') return refused(reply.refusal)
  const made = await findOrder(shop, input.payment_id)
  if (!made) throw new GatewayUnavailable('charged before, and not to be found')
  return charged(shop, { order: made })
}

async function charged(shop: Shop, standing: Standing): Promise<CreatedPayment> {
  const payment = await tell(shop, standing)
  const { external_id, failure_reason } = payment
  const asks_buyer =
    payment.status === 'requires_action' ||
    (payment.status === 'pending' && standing.order.status === 'PAYER_ACTION_REQUIRED')
  if (!asks_buyer) return { status: payment.status, external_id, payment, ...present({ failure_reason }) }
  return { status: 'failed', external_id, failure_reason: failure_reason ?? 'payer_action_required' }
}

async function tell(shop: Shop, { order, verdict }: Standing): Promise<VendorPayment> {
  const payment = toPayment(shop.config, order, verdict)
  if (payment.status !== 'succeeded' || payment.saved_method) return payment
  const token = await findVaultToken(shop, order)
  return token ? { ...payment, saved_method: savedMethod(order, token.id, token.customer_id) } : payment
}

async function heldOrder(shop: Shop, reference: PaymentReference): Promise<OrderObject> {
  const order = await readOrder(shop, reference)
  if (!order) throw new GatewayMisconfigured('payment_not_found')
  return order
}

/** Does one thing to a payment and answers how it then stands, which only a read tells in whole. */
async function act(
  shop: Shop,
  reference: PaymentReference,
  order: OrderObject,
  call: { path: string; key: readonly string[]; body?: object },
): Promise<VendorPayment> {
  const reply = await callApi(shop, { method: 'POST', ...call })
  const now = await heldOrder(shop, { ...reference, external_id: order.id })
  const payment = toPayment(shop.config, now)
  return reply.refusal === undefined ? payment : { failure_reason: reply.refusal, ...payment }
}

function webhookUrl({ context }: Shop): string {
  return `${context.base_url}/webhooks/payments/paypal`
}

function missingEvents(held: z.infer<typeof WebhookObject>): string[] {
  const names = held.event_types.map(({ name }) => name)
  return names.includes('*') ? [] : EVENT_TYPES.filter((name) => !names.includes(name))
}

function refused(failure_reason: string): CreatedPayment {
  return { status: 'failed', failure_reason }
}
