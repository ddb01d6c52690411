import type { Tx } from '#kernel/db'
import { newId } from '#kernel/ids'
import type { PaymentsKit } from './kit.ts'
import { findPaymentIds, insertPayment } from './payment-queries.ts'
import type { NewPayment } from './payments.ts'
import { claimPeriod } from './vendor-subscription-queries.ts'

/** A payment that was made at the vendor before we knew of it. */
export interface AdoptedPayment {
  payment_id: string
  /** False: it was adopted before, under this id. */
  is_new: boolean
}

/** What is asked of a payment that exists at the vendor already. */
export type PaymentToAdopt = Omit<NewPayment, 'save_method' | 'saved_method_id' | 'method' | 'capture'> & {
  /** The vendor's payment. */
  external_id: string
  /** The purchase or subscription it is a period of, and which: the same one is adopted once. */
  purchase: { external_id: string; period_id: string }
  /** The period is claimed already, in this transaction. */
  is_claimed?: boolean
}

/**
 * Writes the intent of a payment the vendor has taken already, so that its word can be judged like any other.
 * Answers the earlier one when the payment or its period was adopted before. What the vendor says of it is
 * recorded next, by the caller, in the same transaction.
 */
export async function adoptPayment(
  tx: Tx,
  kit: PaymentsKit,
  input: PaymentToAdopt,
): Promise<AdoptedPayment | undefined> {
  const { purchase, external_id, is_claimed = false, ...asked } = input
  const { gateway } = asked
  const now = kit.clock.now()
  // The claim waits for a rival's commit, so what is looked up after it is all there is.
  const is_mine = is_claimed || (await claimPeriod(tx, { gateway, ...purchase, created_at: now }))
  const period = periodExternalId(purchase)
  const known = await findPaymentIds(tx, [
    { gateway, external_id },
    { gateway, external_id: period },
  ])
  const known_id = known[0] ?? known[1]
  if (known_id !== undefined) return { payment_id: known_id, is_new: false }
  // Granted by another way than a payment of its own.
  if (!is_mine) return undefined
  const id = newId('pay', now.getTime())
  await insertPayment(tx, {
    id,
    order_id: asked.order_id,
    customer_id: asked.customer_id,
    gateway,
    is_test: kit.gateways.get(gateway).is_test,
    amount: asked.amount,
    currency: asked.currency,
    description: asked.description.slice(0, 128),
    return_url: asked.return_url,
    may_capture_now: true,
    has_save_consent: false,
    consent_text: null,
    method: null,
    saved_method_id: null,
    locale: asked.locale,
    telegram_id: asked.telegram_id ?? null,
    email: asked.email ?? null,
    receipt: asked.receipt ?? null,
    // The vendor was the seller, and the receipt was its own.
    is_fiscal: false,
    expires_at: asked.expires_at,
    subscription_period_seconds: null,
    created_at: now,
    next_check_at: now,
    external_id,
  })
  return { payment_id: id, is_new: true }
}

/** What a period is called among the vendor's payments when it tells none of its own. */
export function periodExternalId({ external_id, period_id }: PaymentToAdopt['purchase']): string {
  return `${external_id}:${period_id}`
}
