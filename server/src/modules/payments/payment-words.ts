import type { VendorPayment } from '@kopilka/extension'
import type { Tx } from '#kernel/db'
import {
  paymentAuthorized,
  paymentFailed,
  paymentMismatched,
  paymentSucceeded,
  type PaymentPayload,
} from './events.ts'
import { judgePayment, type MismatchReason, type Verdict } from './judge-payment.ts'
import type { PaymentsKit } from './kit.ts'
import { setFee, updatePayments, type PaymentChange, type PaymentRow } from './payment-queries.ts'
import { isFinal, isSettled } from './payment-status.ts'
import { writePaymentReceipts } from './receipts.ts'
import { insertRepeats, lockPaymentsOf } from './repeat-payments.ts'
import { saveLateMethods, saveMethods } from './saved-methods.ts'
import { nextPaymentCheck } from './schedule.ts'

/** A vendor's word about a payment that was proved or read from the vendor; `gateway` is who said it. */
export interface PaymentWord {
  gateway: string
  word: VendorPayment
}

/**
 * Records what vendors say about payments: compares each with what was asked, moves it forward or sets it
 * aside, and publishes what follows from it, all in this transaction. Set-based: two hundred words cost a few
 * statements. Repeats and words out of order change nothing. Answers one outcome per word, for the inbox.
 */
export async function recordPaymentWords(
  tx: Tx,
  kit: PaymentsKit,
  words: readonly PaymentWord[],
): Promise<string[]> {
  const locked = await lockPaymentsOf(tx, kit, words)
  const changed = new Map<string, { payment: PaymentRow; word: VendorPayment }>()
  const repeats: PaymentRow[] = []
  const late: { payment: PaymentRow; word: VendorPayment }[] = []
  const fees: { id: string; fee: bigint; fee_currency: string }[] = []
  const outcomes = words.map((told) => {
    const { gateway } = told
    const found = locked.of(told)
    if (!found) {
      kit.notice('a notification names a payment that is not ours', {
        gateway,
        external_id: told.word.external_id,
      })
      return 'not_ours'
    }
    const { payment, word, is_new } = found
    const verdict = judgePayment(payment, word, { gateway })
    if (verdict.kind === 'nothing') {
      if (word.saved_method) late.push({ payment, word })
      // Some vendors know their fee only after the payment.
      if (!isSettled(payment.status) || word.fee === undefined || payment.fee !== null) return 'nothing_new'
      const { fee, fee_currency = payment.currency } = word
      fees.push({ id: payment.id, fee, fee_currency })
      locked.keep({ ...payment, fee, fee_currency })
      return 'fee'
    }
    if (verdict.kind === 'refuse') {
      kit.notice('a vendor’s word was refused', { gateway, payment_id: payment.id, reason: verdict.reason })
      return `refused: ${verdict.reason}`
    }
    const moved = applyVerdict(payment, word, verdict, kit.clock.now())
    locked.keep(moved)
    if (is_new) repeats.push(payment)
    changed.set(payment.id, { payment: moved, word })
    return verdict.kind === 'mismatch' ? `mismatch: ${verdict.reason}` : verdict.status
  })
  await insertRepeats(tx, repeats)
  const changes = [...changed.values()]
  await updatePayments(
    tx,
    changes.map(({ payment }) => toChange(payment)),
  )
  for (const fee of fees) await setFee(tx, fee)
  await saveMethods(tx, kit, changes)
  await saveLateMethods(tx, kit, late)
  const succeeded = changes.flatMap(({ payment }) => (payment.status === 'succeeded' ? [payment] : []))
  await writePaymentReceipts(tx, kit, succeeded)
  await publishChanges(
    tx,
    kit,
    changes.map(({ payment }) => payment),
  )
  return outcomes
}

function applyVerdict(
  payment: PaymentRow,
  word: VendorPayment,
  verdict: Extract<Verdict, { kind: 'move' | 'mismatch' }>,
  now: Date,
): PaymentRow {
  const status = verdict.kind === 'mismatch' ? 'mismatch' : verdict.status
  const has_refundable = verdict.kind === 'mismatch' && isRefundable(payment, word, verdict.reason)
  const is_to_take = status === 'authorized' && payment.may_capture_now
  const is_failure = status === 'failed' || status === 'canceled'
  return {
    ...payment,
    status,
    captured_amount: status === 'succeeded' || has_refundable ? word.amount : payment.captured_amount,
    external_id: payment.external_id ?? word.external_id,
    fee: word.fee ?? payment.fee,
    fee_currency: word.fee === undefined ? payment.fee_currency : (word.fee_currency ?? payment.currency),
    failure_reason: is_failure ? (word.failure_reason ?? status) : payment.failure_reason,
    mismatch_reason: verdict.kind === 'mismatch' ? verdict.reason : null,
    mismatch: verdict.kind === 'mismatch' ? toldFacts(word) : null,
    authorized_at: status === 'authorized' ? now : payment.authorized_at,
    succeeded_at: status === 'succeeded' ? (word.paid_at ?? now) : payment.succeeded_at,
    finished_at: isFinal(status) ? now : payment.finished_at,
    next_check_at: isFinal(status)
      ? null
      : is_to_take
        ? now
        : nextPaymentCheck(status, payment.created_at, now),
    updated_at: now,
  }
}

/**
 * Whether the money of a mismatch lies where a refund of this payment would find it: taken under its own id
 * at the vendor, in its currency, on our account. It is then kept as captured, so that it can go back whole.
 */
function isRefundable(payment: PaymentRow, word: VendorPayment, reason: MismatchReason): boolean {
  const is_ours = ['order_expired', 'wrong_amount', 'wrong_order'].includes(reason)
  const is_here = word.currency === payment.currency && word.receiver_matches !== false
  return word.status === 'succeeded' && is_ours && is_here && word.amount > 0n
}

/** What the vendor said, for the person who decides about a mismatch. */
function toldFacts(word: VendorPayment): Record<string, string | boolean | undefined> {
  return {
    external_id: word.external_id,
    order_id: word.order_id,
    amount: String(word.amount),
    currency: word.currency,
    is_test: word.is_test,
    paid_at: word.paid_at?.toISOString(),
  }
}

function toChange(payment: PaymentRow): PaymentChange {
  return {
    id: payment.id,
    status: payment.status,
    captured_amount: String(payment.captured_amount),
    refunded_amount: String(payment.refunded_amount),
    external_id: payment.external_id,
    fee: payment.fee === null ? null : String(payment.fee),
    fee_currency: payment.fee_currency,
    failure_reason: payment.failure_reason,
    mismatch_reason: payment.mismatch_reason,
    mismatch: payment.mismatch as object | null,
    authorized_at: payment.authorized_at?.toISOString() ?? null,
    succeeded_at: payment.succeeded_at?.toISOString() ?? null,
    finished_at: payment.finished_at?.toISOString() ?? null,
    next_check_at: payment.next_check_at?.toISOString() ?? null,
    updated_at: payment.updated_at.toISOString(),
  }
}

async function publishChanges(tx: Tx, kit: PaymentsKit, payments: readonly PaymentRow[]): Promise<void> {
  const of = (...statuses: string[]): PaymentRow[] =>
    payments.filter(({ status }) => statuses.includes(status))
  await kit.events.publish(tx, paymentSucceeded, ...of('succeeded').map(toPayload))
  await kit.events.publish(tx, paymentAuthorized, ...of('authorized').map(toPayload))
  const failed = of('failed', 'canceled', 'expired')
  await kit.events.publish(
    tx,
    paymentFailed,
    ...failed.map((payment) => ({
      ...toPayload(payment),
      reason: payment.failure_reason ?? payment.status,
    })),
  )
  await kit.events.publish(
    tx,
    paymentMismatched,
    ...of('mismatch').map((payment) => ({
      ...toPayload(payment),
      reason: payment.mismatch_reason ?? 'unknown',
    })),
  )
}

/** The facts of a payment as its events carry them. */
export function toPayload(payment: PaymentRow): PaymentPayload {
  return {
    payment_id: payment.id,
    order_id: payment.order_id,
    customer_id: payment.customer_id,
    gateway: payment.gateway,
    amount: String(payment.status === 'succeeded' ? payment.captured_amount : payment.amount),
    currency: payment.currency,
    is_test: payment.is_test,
    repeats_payment_id: payment.repeats_payment_id,
    repeat_kind: payment.repeat_kind,
    occurred_at: (payment.succeeded_at ?? payment.updated_at).toISOString(),
  }
}
