import { GatewayMisconfigured, GatewayUnavailable, present, readMoment } from '@kopilka/extension'
import type { VendorCharge, VendorSubscription } from '@kopilka/extension'
import { z } from 'zod'
import { callApi, createdIn, isVendorId, readData, readTransactions } from './api.ts'
import type { Reply, Seller } from './api.ts'
import { isSandboxKey } from './config.ts'
import { Amount, Currency, Id, ourId, toCharge } from './objects.ts'

/** Charges this old are looked for: longer than a notification may be late. */
const CHARGES_MS = 92 * 86_400_000
/** Transactions are dated by the vendor's clock. */
const AHEAD_MS = 3_600_000
const PAGES_MAX = 50

const SubscriptionObject = z.object({
  id: Id,
  status: z.string(),
  currency_code: Currency,
  started_at: z.string().nullish(),
  current_billing_period: z.object({ ends_at: z.string() }).nullish(),
  scheduled_change: z.object({ action: z.string() }).nullish(),
  custom_data: z.record(z.string(), z.unknown()).nullish(),
  items: z.array(
    z.object({
      quantity: z.int().min(1).catch(1),
      price: z.object({ id: Id, unit_price: z.object({ amount: Amount }) }),
    }),
  ),
})
type SubscriptionObject = z.infer<typeof SubscriptionObject>

/** A subscription as it stands, with what was charged for it lately. */
export async function getSubscription(seller: Seller, id: string): Promise<VendorSubscription | undefined> {
  const object = await read(seller, id)
  return object && { ...tell(seller, object), charges: await readCharges(seller, object.id) }
}

/** Ends it with the period that is paid; until then this can be taken back. */
export async function cancelSubscription(
  seller: Seller,
  id: string,
): Promise<VendorSubscription | undefined> {
  const before = await read(seller, id)
  const is_over = before?.status === 'canceled' || before?.scheduled_change?.action === 'cancel'
  if (!before || is_over) return before && tell(seller, before)
  const reply = await callApi(seller, {
    method: 'POST',
    path: `/subscriptions/${before.id}/cancel`,
    body: { effective_from: 'next_billing_period' },
  })
  return changed(seller, reply)
}

/** Ends it now, together with the period that is paid; this is final. */
export async function endSubscription(seller: Seller, id: string): Promise<VendorSubscription | undefined> {
  const before = await read(seller, id)
  if (!before || before.status === 'canceled') return before && tell(seller, before)
  const reply = await callApi(seller, {
    method: 'POST',
    path: `/subscriptions/${before.id}/cancel`,
    body: { effective_from: 'immediately' },
  })
  return changed(seller, reply)
}

/** Takes a cancellation back that has not come yet; one that has is final. */
export async function resumeSubscription(
  seller: Seller,
  id: string,
): Promise<VendorSubscription | undefined> {
  const before = await read(seller, id)
  if (!before || before.scheduled_change?.action !== 'cancel') return before && tell(seller, before)
  const reply = await callApi(seller, {
    method: 'PATCH',
    path: `/subscriptions/${before.id}`,
    body: { scheduled_change: null },
  })
  return changed(seller, reply)
}

function changed(seller: Seller, reply: Reply): VendorSubscription {
  // It moved meanwhile: what became of it is read again.
  if (reply.refusal !== undefined) throw new GatewayUnavailable(reply.refusal)
  return tell(seller, readData(SubscriptionObject, reply.body))
}

async function read(seller: Seller, id: string): Promise<SubscriptionObject | undefined> {
  if (!isVendorId('sub', id)) return undefined
  const reply = await callApi(seller, { method: 'GET', path: `/subscriptions/${id}` })
  if (reply.refusal === undefined) return readData(SubscriptionObject, reply.body)
  if (reply.is_missing) return undefined
  throw new GatewayMisconfigured(reply.refusal)
}

/** While a charge fails and is repeated (`past_due`), or while it is paused, nothing is paid for. */
function tell({ config }: Seller, object: SubscriptionObject): VendorSubscription {
  const { status, custom_data, current_billing_period, scheduled_change } = object
  const is_active = status === 'active' || status === 'trialing'
  const [item] = object.items
  return {
    external_id: object.id,
    is_active,
    will_renew: is_active && !scheduled_change,
    is_trial: status === 'trialing',
    is_test: isSandboxKey(config),
    ...present({
      product_code: item?.price.id,
      started_at: readMoment(object.started_at ?? undefined),
      expires_at: readMoment(current_billing_period?.ends_at),
      amount: item && item.price.unit_price.amount * BigInt(item.quantity),
      currency: object.currency_code,
      account_id: ourId(custom_data?.['customer_id']),
      payment_id: ourId(custom_data?.['payment_id']),
    }),
  }
}

async function readCharges(seller: Seller, subscription_id: string): Promise<VendorCharge[]> {
  const now_ms = seller.context.now.getTime()
  const range = { from: new Date(now_ms - CHARGES_MS), to: new Date(now_ms + AHEAD_MS) }
  const charges: VendorCharge[] = []
  let after: string | undefined
  for (let page = 0; page < PAGES_MAX; page++) {
    const query = { subscription_id, status: 'paid,completed', ...createdIn(range), ...present({ after }) }
    const { items, next_cursor } = await readTransactions(seller, query)
    charges.push(...items.map((object) => toCharge(seller.config, object)))
    if (next_cursor === undefined) return charges
    after = next_cursor
  }
  throw new GatewayUnavailable('more charges than can be listed')
}
