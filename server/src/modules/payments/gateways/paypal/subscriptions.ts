import { GatewayMisconfigured, GatewayUnavailable, present, readAnswer, readMoment } from '@kopilka/extension'
import type { VendorCharge, VendorSubscription } from '@kopilka/extension'
import { z } from 'zod'
import { callApi, readObject } from './api.ts'
import type { Shop } from './api.ts'
import { isSandbox } from './config.ts'
import { Amount, Size } from './money.ts'
import { feeIn, paymentIdIn } from './objects.ts'

const SUBSCRIPTIONS = '/v1/billing/subscriptions'
/** Charges this old are looked for: longer than a notification may be late. */
const CHARGES_MS = 92 * 86_400_000
/** A list of one window that has more pages is read in halves, so many times over. */
const HALVES_MAX = 6
/** Charges are dated by the vendor's clock. */
const AHEAD_MS = 3_600_000

const SubscriptionObject = z.object({
  id: z.string().regex(/^[0-9A-Za-z-]{1,64}$/),
  status: z.string(),
  plan_id: z.string().max(64).optional(),
  custom_id: z.string().max(300).optional(),
  start_time: z.string().optional(),
  billing_info: z
    .object({
      next_billing_time: z.string().optional(),
      last_payment: z.object({ amount: Amount }).optional(),
      cycle_executions: z
        .array(z.object({ tenure_type: z.string(), cycles_completed: z.int() }))
        .optional()
        .catch(undefined),
    })
    .optional(),
})
type SubscriptionObject = z.infer<typeof SubscriptionObject>

const ChargeObject = z.object({
  id: z.string().regex(/^[0-9A-Za-z-]{3,50}$/),
  status: z.string().optional(),
  amount_with_breakdown: z.object({ gross_amount: Amount, fee_amount: Size.optional().catch(undefined) }),
  time: z.string(),
})
const ChargeList = z.object({
  transactions: z.array(ChargeObject).optional(),
  total_pages: z.int().min(0).optional(),
})

/** A subscription PayPal keeps and renews itself, with what it was charged lately. */
export async function getSubscription(shop: Shop, id: string): Promise<VendorSubscription | undefined> {
  const object = await read(shop, id)
  if (!object) return undefined
  const told = tell(shop, object)
  // Before the buyer has agreed there is nothing to list.
  if (object.status.startsWith('APPROV')) return told
  const now_ms = shop.context.now.getTime()
  const range = { from: new Date(now_ms - CHARGES_MS), to: new Date(now_ms + AHEAD_MS) }
  return { ...told, charges: await readCharges(shop, object.id, range, HALVES_MAX) }
}

/**
 * Ends the renewal for good: the vendor has no way back. What was paid stays usable until the moment that
 * would have been the next payment's; the vendor forgets it with the end, so it is read before.
 */
export async function cancelSubscription(shop: Shop, id: string): Promise<VendorSubscription | undefined> {
  const before = await read(shop, id)
  if (!before || ['CANCELLED', 'EXPIRED'].includes(before.status)) return before && tell(shop, before)
  const path = `${SUBSCRIPTIONS}/${before.id}/cancel`
  const body = { reason: 'canceled by the seller' }
  const reply = await callApi(shop, { method: 'POST', path, key: ['cancel', before.id], body })
  const after = await read(shop, id)
  if (after?.status !== 'CANCELLED') throw new GatewayUnavailable(reply.refusal ?? 'not canceled yet')
  const { expires_at } = tell(shop, before)
  const is_active = before.status === 'ACTIVE' && expires_at !== undefined && expires_at > shop.context.now
  return { ...tell(shop, after), is_active, ...present({ expires_at }) }
}

function read(shop: Shop, id: string): Promise<SubscriptionObject | undefined> {
  return readObject(shop, SubscriptionObject, { path: SUBSCRIPTIONS, id })
}

function tell({ config }: Shop, object: SubscriptionObject): VendorSubscription {
  const is_active = object.status === 'ACTIVE'
  const { next_billing_time, last_payment, cycle_executions = [] } = object.billing_info ?? {}
  const has_paid_cycle = cycle_executions.some(
    ({ tenure_type, cycles_completed }) => tenure_type === 'REGULAR' && cycles_completed > 0,
  )
  const has_trial = cycle_executions.some(({ tenure_type }) => tenure_type === 'TRIAL')
  return {
    external_id: object.id,
    is_active,
    will_renew: is_active,
    is_test: isSandbox(config),
    ...present({
      product_code: object.plan_id,
      is_trial: has_trial ? !has_paid_cycle : undefined,
      started_at: readMoment(object.start_time),
      expires_at: readMoment(next_billing_time),
      amount: last_payment?.amount.amount,
      currency: last_payment?.amount.currency,
      account_id: object.custom_id,
      payment_id: paymentIdIn(object.custom_id),
    }),
  }
}

/** There is no parameter for a page: where one does not hold all, shorter times are asked about. */
async function readCharges(
  shop: Shop,
  id: string,
  range: { from: Date; to: Date },
  halves_left: number,
): Promise<VendorCharge[]> {
  const query = new URLSearchParams({
    start_time: range.from.toISOString(),
    end_time: range.to.toISOString(),
  })
  const path = `${SUBSCRIPTIONS}/${id}/transactions?${query.toString()}`
  const reply = await callApi(shop, { method: 'GET', path })
  if (reply.refusal !== undefined) throw new GatewayMisconfigured(reply.refusal)
  const { transactions = [], total_pages = 1 } = readAnswer(ChargeList, reply.body)
  if (total_pages <= 1) return transactions.map((one) => chargeOf(shop, one))
  if (halves_left === 0) throw new GatewayUnavailable('more charges than can be listed')
  const middle = new Date((range.from.getTime() + range.to.getTime()) / 2)
  const [early, late] = [
    await readCharges(shop, id, { from: range.from, to: middle }, halves_left - 1),
    await readCharges(shop, id, { from: middle, to: range.to }, halves_left - 1),
  ]
  // What was charged in the middle itself is in both.
  return [...new Map([...early, ...late].map((charge) => [charge.external_id, charge])).values()]
}

/** Charges are sales of the older API and known by the sale's id, as in its notifications. */
function chargeOf({ config }: Shop, object: z.infer<typeof ChargeObject>): VendorCharge {
  const { gross_amount, fee_amount } = object.amount_with_breakdown
  const is_paid = ['COMPLETED', 'PARTIALLY_REFUNDED', 'REFUNDED'].includes(object.status ?? '')
  return {
    external_id: object.id,
    status: is_paid ? 'succeeded' : object.status === 'DECLINED' ? 'failed' : 'pending',
    ...gross_amount,
    is_test: isSandbox(config),
    is_renewal: true,
    ...(fee_amount && is_paid ? feeIn(gross_amount.currency, fee_amount) : {}),
    ...present({ paid_at: is_paid ? readMoment(object.time) : undefined }),
  }
}
