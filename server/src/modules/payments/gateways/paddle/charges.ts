import { GatewayMisconfigured, GatewayUnavailable, findInPages, idTime, present } from '@kopilka/extension'
import type { ChargeSubscriptionInput, CreatedPayment } from '@kopilka/extension'
import { callApi, createdIn, findTransaction, isVendorId, readTransactions } from './api.ts'
import type { Seller } from './api.ts'
import { namesOf, ourId, toPayment } from './objects.ts'
import type { TransactionObject } from './objects.ts'
import { priceOf } from './price.ts'

const HOUR_MS = 3_600_000
/** How far the vendor's clock may be from ours. */
const CLOCKS_MS = 60_000
const PAGES_MAX = 50

/**
 * Charges something beside a subscription's plan, now. The vendor answers with the subscription and not with
 * what it charged: our ids stand at the price that is made for it, and the charge is looked for by them,
 * before it is asked for and after.
 */
export async function chargeSubscription(
  seller: Seller,
  input: ChargeSubscriptionInput,
): Promise<CreatedPayment> {
  const { payment_id, order_id, subscription_external_id: subscription_id } = input
  if (!isVendorId('sub', subscription_id)) return failed('subscription_not_found')
  const earlier = await findTransaction(seller, payment_id, { subscription_id })
  if (earlier) return charged(seller, earlier)
  if (await hasNameless(seller, input))
    throw new GatewayUnavailable('a charge that may be this one has no name')
  const price = {
    ...priceOf(seller.config, { ...input, fallback: order_id }),
    custom_data: { payment_id, order_id },
  }
  const reply = await callApi(seller, {
    method: 'POST',
    path: `/subscriptions/${subscription_id}/charge`,
    body: {
      effective_from: 'immediately',
      items: [{ quantity: 1, price }],
      // A charge that fails is over: the vendor does not go on trying for what our order no longer waits for.
      on_payment_failure: 'prevent_change',
    },
  })
  if (reply.refusal !== undefined) return failed(reply.refusal)
  const made = await findMade(seller, input)
  if (!made) throw new GatewayUnavailable('the charge is not listed yet')
  return charged(seller, made)
}

/**
 * Whether the same amount was charged since the payment was written, by whom cannot be told: were it ours
 * without our ids, asking again would take the money twice. A person sees it among what waits for a product.
 */
async function hasNameless(seller: Seller, input: ChargeSubscriptionInput): Promise<boolean> {
  const now_ms = seller.context.now.getTime()
  const since_ms = (idTime(input.payment_id)?.getTime() ?? now_ms - HOUR_MS) - CLOCKS_MS
  const query = {
    subscription_id: input.subscription_external_id,
    origin: 'subscription_charge',
    ...createdIn({ from: new Date(since_ms), to: new Date(now_ms + HOUR_MS) }),
  }
  const found = await findInPages(
    (after) => readTransactions(seller, { ...query, ...present({ after }) }),
    (object) =>
      ourId(namesOf(object)['payment_id']) === undefined &&
      object.details.totals.total === input.amount &&
      object.currency_code === input.currency,
    PAGES_MAX,
  )
  return found !== undefined
}

/** The charge was taken: whatever hinders us from seeing it, it is not as if nothing had been made. */
async function findMade(
  seller: Seller,
  { payment_id, subscription_external_id: subscription_id }: ChargeSubscriptionInput,
): Promise<TransactionObject | undefined> {
  try {
    return await findTransaction(seller, payment_id, { subscription_id })
  } catch (error) {
    if (error instanceof GatewayMisconfigured)
      throw new GatewayUnavailable('the charge cannot be looked for', { cause: error })
    throw error
  }
}

function charged(seller: Seller, object: TransactionObject): CreatedPayment {
  const payment = toPayment(seller.config, object)
  const { status, external_id, failure_reason } = payment
  return { status, external_id, payment, ...present({ failure_reason }) }
}

function failed(failure_reason: string): CreatedPayment {
  return { status: 'failed', failure_reason }
}
