import type { VendorRefund } from '@kopilka/extension'
import type { Tx } from '#kernel/db'
import { newId } from '#kernel/ids'
import { least } from '#kernel/money'
import { refundFailed, refundRequested, refundSucceeded } from './events.ts'
import type { PaymentsKit } from './kit.ts'
import {
  findPaymentIds,
  lockPayment,
  setNextCheck,
  updatePayments,
  type PaymentRow,
} from './payment-queries.ts'
import { isFinal, isSettled, statusAfterRefunds } from './payment-status.ts'
import { writeRefundReceipt } from './receipts.ts'
import * as queries from './refund-queries.ts'
import type { RefundRow } from './refund-queries.ts'
import { refundPayload } from './refunds.ts'
import { nextRefundCheck } from './schedule.ts'
import { noteCanceled } from './vendor-subscriptions.ts'

/** The outcome of a word that overtook the success of its payment: it is tried again later. */
export const WAITS_FOR_PAYMENT = 'waits for its payment'

/**
 * Records the vendor's answer about a refund of ours. Forward only; a repeat changes nothing. A refused
 * refund gives the units back (`refund.failed`); a succeeded one moves the payment.
 */
export async function settleRefund(
  tx: Tx,
  kit: PaymentsKit,
  refund_id: string,
  word: VendorRefund,
): Promise<string> {
  const found = await queries.findRefund(tx, refund_id)
  if (!found) return 'not_ours'
  // The payment's row is the lock for all its refunds; read again under it.
  const payment = await lockPayment(tx, found.payment_id)
  const refund = await queries.findRefund(tx, refund_id)
  if (!payment || !refund) return 'not_ours'
  if (refund.status === 'succeeded' || refund.status === 'failed') return 'nothing_new'
  const difference = differenceOf(payment, refund, word)
  if (difference !== undefined) {
    kit.notice('a vendor’s word about a refund was refused', {
      refund_id,
      payment_id: payment.id,
      reason: difference,
    })
    return `refused: ${difference}`
  }
  const now = kit.clock.now()
  const is_done = word.status !== 'pending'
  await queries.updateRefund(tx, refund_id, {
    status: word.status,
    external_id: refund.external_id ?? word.external_id,
    failure_reason: word.status === 'failed' ? (word.failure_reason ?? 'refused').slice(0, 200) : null,
    next_check_at: is_done ? null : nextRefundCheck('pending', refund.created_at, now),
    finished_at: is_done ? now : null,
    updated_at: now,
  })
  const settled = { ...refund, status: word.status, finished_at: is_done ? now : null }
  if (word.status === 'succeeded') {
    await movePayment(tx, kit, payment, refund.amount)
    await writeRefundReceipt(tx, kit, payment, refund)
    // The gateway ended the renewal with the refund; of a link paid again that was another subscription.
    if (payment.subscription_period_seconds !== null && payment.repeat_kind !== 'paid_again') {
      await noteCanceled(tx, kit, payment.repeats_payment_id ?? payment.id)
    }
    await kit.events.publish(tx, refundSucceeded, refundPayload(settled, payment, false))
  } else if (word.status === 'failed') {
    const reason = word.failure_reason ?? 'refused'
    await kit.events.publish(tx, refundFailed, { ...refundPayload(settled, payment, false), reason })
  }
  return word.status
}

/**
 * Records what a vendor tells about a refund: one of ours, or one made in the vendor's cabinet, which then
 * takes the units back whatever was spent. One that overtook the word of its payment's success answers
 * {@link WAITS_FOR_PAYMENT}: dropped, it would leave the buyer both his money and his units.
 */
export async function recordRefundWord(
  tx: Tx,
  kit: PaymentsKit,
  gateway: string,
  word: VendorRefund,
): Promise<string> {
  if (word.refund_id !== undefined && (await queries.findRefund(tx, word.refund_id))) {
    return settleRefund(tx, kit, word.refund_id, word)
  }
  const payment_id = await refundedPayment(tx, kit, gateway, word)
  const payment = payment_id === undefined ? undefined : await lockPayment(tx, payment_id)
  if (!payment || payment.gateway !== gateway) {
    kit.notice('a notification names a refund that is not ours', { gateway, external_id: word.external_id })
    return 'not_ours'
  }
  const known = await queries.findRefundByExternalId(tx, payment.id, word.external_id)
  if (known) return settleRefund(tx, kit, known.id, word)
  const waiting = (await queries.refundsOfPayment(tx, payment.id)).find(
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

async function recordForeignRefund(
  tx: Tx,
  kit: PaymentsKit,
  payment: PaymentRow,
  word: VendorRefund,
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
    reason: 'made at the vendor',
    origin: 'vendor',
    is_full: word.amount === payment.captured_amount,
    external_id: word.external_id,
    receipt: null,
    breakdown: null,
    failure_reason: null,
    requested_by: `gateway:${payment.gateway}`,
    next_check_at: null,
    check_attempts: 0,
    created_at: now,
    finished_at: now,
    updated_at: now,
  }
  const { check_attempts: _attempts, updated_at: _updated, failure_reason: _reason, ...inserted } = refund
  await queries.insertRefund(tx, inserted)
  await kit.events.publish(tx, refundRequested, refundPayload(refund, payment, true))
  await movePayment(tx, kit, payment, word.amount)
  await writeRefundReceipt(tx, kit, payment, refund, 'made_at_the_vendor')
  await kit.events.publish(tx, refundSucceeded, refundPayload(refund, payment, true))
  return 'recorded a refund made at the vendor'
}

/** Money that goes back was taken before: the vendor is asked about its payment now, and the word waits. */
export async function waitForPayment(tx: Tx, kit: PaymentsKit, payment: PaymentRow): Promise<string> {
  if (!isFinal(payment.status)) await setNextCheck(tx, payment.id, kit.clock.now())
  return WAITS_FOR_PAYMENT
}

/**
 * Counts the money of a lost dispute as given back, as far as there is some left. Its units went when the
 * dispute was opened, so none are taken again. The caller holds the payment's row.
 */
export async function recordLostMoney(
  tx: Tx,
  kit: PaymentsKit,
  payment: PaymentRow,
  dispute: { id: string; external_id: string; amount: bigint },
): Promise<void> {
  const refunds = await queries.refundsOfPayment(tx, payment.id)
  const reserved = refunds
    .filter(({ status }) => status !== 'failed')
    .reduce((sum, { amount }) => sum + amount, 0n)
  const amount = least(dispute.amount, payment.captured_amount - reserved)
  if (amount <= 0n) return
  const now = kit.clock.now()
  const id = newId('re', now.getTime())
  await queries.insertRefund(tx, {
    id,
    payment_id: payment.id,
    status: 'succeeded',
    amount,
    currency: payment.currency,
    reason: `dispute ${dispute.id} lost`,
    origin: 'vendor',
    is_full: amount === payment.captured_amount,
    external_id: `dispute:${dispute.external_id}`,
    receipt: null,
    breakdown: null,
    requested_by: `gateway:${payment.gateway}`,
    next_check_at: null,
    created_at: now,
    finished_at: now,
  })
  await movePayment(tx, kit, payment, amount)
  await writeRefundReceipt(tx, kit, payment, { id, amount, receipt: null }, 'dispute_lost')
}

async function movePayment(tx: Tx, kit: PaymentsKit, payment: PaymentRow, amount: bigint): Promise<void> {
  const refunded = payment.refunded_amount + amount
  const now = kit.clock.now().toISOString()
  const status =
    payment.status === 'mismatch' ? 'mismatch' : statusAfterRefunds(payment.captured_amount, refunded)
  await updatePayments(tx, [
    {
      id: payment.id,
      status,
      captured_amount: String(payment.captured_amount),
      refunded_amount: String(refunded),
      external_id: payment.external_id,
      fee: null,
      fee_currency: null,
      failure_reason: payment.failure_reason,
      mismatch_reason: payment.mismatch_reason,
      mismatch: payment.mismatch as object | null,
      authorized_at: payment.authorized_at?.toISOString() ?? null,
      succeeded_at: payment.succeeded_at?.toISOString() ?? null,
      finished_at: payment.finished_at?.toISOString() ?? null,
      next_check_at: null,
      updated_at: now,
    },
  ])
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
