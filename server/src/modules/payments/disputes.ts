import type { VendorDispute } from '@kopilka/extension'
import type { Tx } from '#kernel/db'
import { newId } from '#kernel/ids'
import { least } from '#kernel/money'
import * as queries from './dispute-queries.ts'
import type { DisputeRow } from './dispute-queries.ts'
import { disputeLost, disputeOpened, disputeWon, type RefundPayload } from './events.ts'
import type { PaymentsKit } from './kit.ts'
import { findPaymentIds, lockPayment, type PaymentRow } from './payment-queries.ts'
import { isSettled } from './payment-status.ts'
import { waitForPayment } from './foreign-refunds.ts'
import { recordLostMoney } from './lost-disputes.ts'

/**
 * Records what a vendor tells about money its payer contests. Opened: the units are taken back, whatever was
 * spent. Won: they come back to the unit. Lost: the money is gone, and the payment counts it as refunded. An
 * end absorbs every later word; an end that comes first opens and closes at once, so the order of arrival
 * does not matter.
 */
export async function recordDispute(
  tx: Tx,
  kit: PaymentsKit,
  gateway: string,
  word: VendorDispute,
): Promise<string> {
  const [payment_id] = await findPaymentIds(tx, [{ gateway, external_id: word.payment_external_id }])
  const payment = payment_id === undefined ? undefined : await lockPayment(tx, payment_id)
  if (!payment || payment.gateway !== gateway) {
    kit.notice('a dispute names a payment that is not ours', { gateway, external_id: word.external_id })
    return 'not_ours'
  }
  const known = await queries.findDispute(tx, payment.id, word.external_id)
  if (known && known.status !== 'open') return 'nothing_new'
  const refusal = refusalOf(payment, word)
  if (refusal === undefined && !isSettled(payment.status) && payment.status !== 'mismatch')
    return waitForPayment(tx, kit, payment)
  if (refusal !== undefined) {
    kit.notice('a vendor’s word about a dispute was refused', { payment_id: payment.id, reason: refusal })
    return `refused: ${refusal}`
  }
  const dispute = known ?? (await openDispute(tx, kit, payment, word))
  if (word.status === 'open') return known ? 'nothing_new' : 'open'
  const now = kit.clock.now()
  if (!(await queries.closeDispute(tx, dispute.id, word.status, now))) return 'nothing_new'
  const payload = payloadOf(dispute, payment, now)
  if (word.status === 'won') {
    // What was given back meanwhile keeps its units: they go over to that refund.
    await kit.events.publish(tx, disputeWon, payload)
    return payment.status === 'refunded' ? 'won, and refunded' : 'won'
  }
  await recordLostMoney(tx, kit, payment)
  await kit.events.publish(tx, disputeLost, payload)
  return 'lost'
}

async function openDispute(
  tx: Tx,
  kit: PaymentsKit,
  payment: PaymentRow,
  word: VendorDispute,
): Promise<DisputeRow> {
  const now = kit.clock.now()
  const dispute: DisputeRow = {
    id: newId('dis', now.getTime()),
    payment_id: payment.id,
    external_id: word.external_id,
    status: 'open',
    amount: least(word.amount, payment.captured_amount),
    currency: word.currency,
    reason: word.reason.slice(0, 200),
    created_at: now,
    closed_at: null,
    updated_at: now,
  }
  await queries.insertDispute(tx, dispute)
  await kit.events.publish(tx, disputeOpened, payloadOf(dispute, payment, now))
  return dispute
}

function refusalOf(payment: PaymentRow, word: VendorDispute): string | undefined {
  // Of other mismatches the money lies where no refund of ours would find it.
  if (payment.status === 'mismatch' && payment.captured_amount === 0n) return 'payment_not_settled'
  if (word.currency !== payment.currency) return 'wrong_currency'
  if (word.amount <= 0n) return 'wrong_amount'
  if (word.is_test !== undefined && word.is_test !== payment.is_test) return 'wrong_mode'
  return undefined
}

/** A dispute takes back units the way a forced refund does, under its own id. */
function payloadOf(dispute: DisputeRow, payment: PaymentRow, now: Date): RefundPayload {
  return {
    refund_id: dispute.id,
    payment_id: payment.id,
    order_id: payment.order_id,
    customer_id: payment.customer_id,
    amount: String(dispute.amount),
    currency: dispute.currency,
    is_forced: true,
    is_full: dispute.amount === payment.captured_amount,
    occurred_at: now.toISOString(),
  }
}
