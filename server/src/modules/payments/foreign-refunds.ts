import type { VendorRefund } from '@kopilka/extension'
import type { Tx } from '#kernel/db'
import { newId } from '#kernel/ids'
import { refundRequested, refundSucceeded } from './events.ts'
import type { PaymentsKit } from './kit.ts'
import { setNextCheck, type PaymentRow } from './payment-queries.ts'
import { isFinal, isSettled } from './payment-status.ts'
import { writeRefundReceipt } from './receipts.ts'
import * as queries from './refund-queries.ts'
import type { RefundRow } from './refund-queries.ts'
import { refundPayload } from './refunds.ts'
import { moveRefunded } from './refunded-money.ts'

/** The outcome of a word that overtook the success of its payment: it is tried again later. */
export const WAITS_FOR_PAYMENT = 'waits for its payment'

/**
 * Records money that went back without a refund of ours that stands: made in the vendor's cabinet, or told of
 * one of ours that had failed. The units are taken back whatever was spent. The caller holds the payment's
 * row.
 */
export async function recordForeignRefund(
  tx: Tx,
  kit: PaymentsKit,
  payment: PaymentRow,
  word: VendorRefund,
  reason = 'made at the vendor',
): Promise<string> {
  // What was taken and bought nothing is mostly given back in the vendor's cabinet.
  if (!isSettled(payment.status) && payment.status !== 'mismatch') return waitForPayment(tx, kit, payment)
  const left = payment.captured_amount - payment.refunded_amount
  if (word.currency !== payment.currency || word.amount > left || word.amount <= 0n) {
    kit.notice('a refund made at the vendor does not fit its payment', {
      payment_id: payment.id,
      external_id: word.external_id,
      amount: String(word.amount),
    })
    return 'refused: does not fit the payment'
  }
  const now = kit.clock.now()
  const refund: RefundRow = {
    id: newId('re', now.getTime()),
    payment_id: payment.id,
    status: 'succeeded',
    amount: word.amount,
    currency: word.currency,
    reason,
    origin: 'vendor',
    is_full: word.amount === payment.captured_amount,
    external_id: word.external_id,
    receipt: null,
    breakdown: null,
    failure_reason: null,
    requested_by: `gateway:${payment.gateway}`,
    // Words are told late and in any order: the vendor is asked once more whether it stands.
    next_check_at: kit.gateways.find(payment.gateway)?.gateway.getRefund ? now : null,
    check_attempts: 0,
    created_at: now,
    finished_at: now,
    updated_at: now,
    revision: 0,
    asking_until: null,
  }
  const {
    check_attempts: _attempts,
    updated_at: _updated,
    failure_reason: _reason,
    revision: _revision,
    asking_until: _until,
    ...inserted
  } = refund
  await queries.insertRefund(tx, inserted)
  await kit.events.publish(tx, refundRequested, refundPayload(refund, payment, true))
  const moved = await moveRefunded(tx, kit, payment, word.amount)
  await writeRefundReceipt(tx, kit, moved, refund, 'made_at_the_vendor')
  await kit.events.publish(tx, refundSucceeded, refundPayload(refund, moved, true))
  return 'recorded a refund made at the vendor'
}

/** Money that goes back was taken before: the vendor is asked about its payment now, and the word waits. */
export async function waitForPayment(tx: Tx, kit: PaymentsKit, payment: PaymentRow): Promise<string> {
  if (!isFinal(payment.status)) await setNextCheck(tx, payment.id, kit.clock.now())
  return WAITS_FOR_PAYMENT
}
