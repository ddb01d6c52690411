import type { VendorRefund } from '@kopilka/extension'
import type { Tx } from '#kernel/db'
import { refundFailed, refundSucceeded } from './events.ts'
import { recordForeignRefund } from './foreign-refunds.ts'
import type { PaymentsKit } from './kit.ts'
import { recordLostMoney } from './lost-disputes.ts'
import { findPaymentIds, lockPayment, type PaymentRow } from './payment-queries.ts'
import { writeRefundReceipt } from './receipts.ts'
import { correctRefund, recordOtherRefund } from './refund-corrections.ts'
import * as queries from './refund-queries.ts'
import type { RefundRow } from './refund-queries.ts'
import { refundPayload } from './refunds.ts'
import { moveRefunded } from './refunded-money.ts'
import { nextRefundCheck } from './schedule.ts'
import { noteCanceled } from './vendor-subscriptions.ts'

/**
 * Records the vendor's answer about a refund of ours. Forward only; a repeat changes nothing, and a word that
 * contradicts an end has the vendor asked again: `seen` is the refund as it stood when that began. A refused
 * refund gives the units back (`refund.failed`); a succeeded one moves the payment.
 */
export async function settleRefund(
  tx: Tx,
  kit: PaymentsKit,
  refund_id: string,
  word: VendorRefund,
  seen?: RefundRow,
): Promise<string> {
  const found = await queries.findRefund(tx, refund_id)
  if (!found) return 'not_ours'
  // The payment's row is the lock for all its refunds; read again under it.
  const payment = await lockPayment(tx, found.payment_id)
  const refund = await queries.findRefund(tx, refund_id)
  if (!payment || !refund) return 'not_ours'
  const is_ended = refund.status === 'succeeded' || refund.status === 'failed'
  const difference = differenceOf(payment, refund, word)
  if (difference === undefined || difference === 'wrong_external_id') {
    const other = await recordOtherRefund(tx, kit, { payment, refund, word })
    if (other !== undefined) return other
  }
  if (is_ended && (word.status === 'pending' || word.status === refund.status)) return 'nothing_new'
  if (difference !== undefined) {
    kit.notice('a vendor’s word about a refund was refused', {
      refund_id,
      payment_id: payment.id,
      reason: difference,
    })
    return `refused: ${difference}`
  }
  if (is_ended) return correctRefund(tx, kit, { payment, refund, word, ...(seen ? { seen } : {}) })
  const now = kit.clock.now()
  const is_done = word.status !== 'pending'
  await queries.updateRefund(tx, refund_id, {
    status: word.status,
    external_id: refund.external_id ?? word.external_id,
    failure_reason: word.status === 'failed' ? (word.failure_reason ?? 'refused').slice(0, 200) : null,
    next_check_at: is_done ? null : nextRefundCheck('pending', refund.created_at, now),
    finished_at: is_done ? now : null,
    asking_until: null,
    updated_at: now,
  })
  const settled = { ...refund, status: word.status, finished_at: is_done ? now : null }
  if (word.status === 'succeeded') await recordSuccess(tx, kit, payment, settled)
  else if (word.status === 'failed') {
    const reason = word.failure_reason ?? 'refused'
    await kit.events.publish(tx, refundFailed, { ...refundPayload(settled, payment, false), reason })
    await recordLostMoney(tx, kit, payment)
  }
  return word.status
}

async function recordSuccess(
  tx: Tx,
  kit: PaymentsKit,
  payment: PaymentRow,
  refund: RefundRow,
): Promise<void> {
  const moved = await moveRefunded(tx, kit, payment, refund.amount)
  await writeRefundReceipt(tx, kit, moved, refund)
  // The gateway ended the renewal with the refund; of a link paid again that was another subscription.
  if (payment.subscription_period_seconds !== null && payment.repeat_kind !== 'paid_again') {
    await noteCanceled(tx, kit, payment.repeats_payment_id ?? payment.id)
  }
  await kit.events.publish(tx, refundSucceeded, refundPayload(refund, moved, false))
}

/**
 * Records what a vendor tells about a refund: one of ours, or one made in the vendor's cabinet, which then
 * takes the units back whatever was spent. One that overtook the word of its payment's success answers
 * WAITS_FOR_PAYMENT: dropped, it would leave the buyer both his money and his units.
 */
export async function recordRefundWord(
  tx: Tx,
  kit: PaymentsKit,
  gateway: string,
  word: VendorRefund,
): Promise<string> {
  const named = word.refund_id === undefined ? undefined : await queries.findRefund(tx, word.refund_id)
  const payment_id = named?.payment_id ?? (await refundedPayment(tx, kit, gateway, word))
  const payment = payment_id === undefined ? undefined : await lockPayment(tx, payment_id)
  if (!payment || payment.gateway !== gateway) {
    kit.notice('a notification names a refund that is not ours', { gateway, external_id: word.external_id })
    return 'not_ours'
  }
  const refunds = await queries.refundsOfPayment(tx, payment.id)
  const known = refunds.find(({ external_id }) => external_id === word.external_id)
  if (known) return settleRefund(tx, kit, known.id, nameless(word, known))
  const ours = refunds.find(({ id }) => id === named?.id)
  if (ours) return settleRefund(tx, kit, ours.id, word)
  const waiting = refunds.find(
    (refund) =>
      refund.external_id === null &&
      refund.status !== 'failed' &&
      refund.status !== 'succeeded' &&
      refund.amount === word.amount,
  )
  if (waiting) return settleRefund(tx, kit, waiting.id, word)
  return word.status === 'succeeded'
    ? recordForeignRefund(tx, kit, payment, word)
    : `foreign refund is ${word.status}`
}

/** What was made after all at the vendor goes on naming the refund of ours that had failed. */
function nameless({ refund_id, ...word }: VendorRefund, known: RefundRow): VendorRefund {
  return known.origin === 'vendor' || refund_id === undefined ? word : { ...word, refund_id }
}

/** Where one payment may be charged again, the charge says which of them went back, and not our id. */
async function refundedPayment(
  tx: Tx,
  kit: PaymentsKit,
  gateway: string,
  word: VendorRefund,
): Promise<string | undefined> {
  const by_charge = { gateway, external_id: word.payment_external_id }
  const by_id = { ...by_charge, payment_id: word.payment_id }
  const mayRepeat = kit.gateways.find(gateway)?.gateway.may_be_paid_again === true
  const [charged, named] = await findPaymentIds(tx, [by_charge, by_id])
  return mayRepeat ? (charged ?? named) : named
}

function differenceOf(payment: PaymentRow, refund: RefundRow, word: VendorRefund): string | undefined {
  if (word.refund_id !== undefined && word.refund_id !== refund.id) return 'wrong_refund'
  const own_ids = [payment.id, payment.repeats_payment_id]
  if (word.payment_id !== undefined && !own_ids.includes(word.payment_id)) return 'wrong_payment'
  if (
    word.payment_external_id !== undefined &&
    payment.external_id !== null &&
    word.payment_external_id !== payment.external_id
  )
    return 'wrong_payment'
  if (word.currency !== refund.currency) return 'wrong_currency'
  if (word.amount !== refund.amount) return 'wrong_amount'
  if (word.is_test !== undefined && word.is_test !== payment.is_test) return 'wrong_mode'
  if (refund.external_id !== null && word.external_id !== refund.external_id) return 'wrong_external_id'
  return undefined
}
