import { GatewayMisconfigured, GatewayUnavailable, present } from '@kopilka/extension'
import type { ChargeSubscriptionInput, CreatedPayment } from '@kopilka/extension'
import { callApi, findTransaction, isVendorId } from './api.ts'
import type { Seller } from './api.ts'
import { toPayment } from './objects.ts'
import type { TransactionObject } from './objects.ts'
import { priceOf } from './price.ts'

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
