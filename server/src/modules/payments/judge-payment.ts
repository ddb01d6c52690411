import type { VendorPayment } from '@kopilka/extension'
import { fromVendorStatus, mayMove, type PaymentStatus } from './payment-status.ts'

/** What of our payment the judgement looks at. */
export interface JudgedPayment {
  id: string
  number: number
  order_id: string
  gateway: string
  is_test: boolean
  status: PaymentStatus
  amount: bigint
  currency: string
  external_id: string | null
  may_capture_now: boolean
  expires_at: Date
}

export type MismatchReason =
  | 'wrong_gateway'
  | 'wrong_order'
  | 'wrong_payment'
  | 'wrong_amount'
  | 'wrong_currency'
  | 'wrong_mode'
  | 'wrong_receiver'
  | 'wrong_external_id'
  | 'order_expired'
  | 'order_already_paid'
  | 'order_canceled'

export type Verdict =
  /** Nothing to do: a repeat, or a word that is older than what we know. */
  | { kind: 'nothing' }
  | { kind: 'move'; status: PaymentStatus; captured_amount?: bigint }
  /** Money was taken, and not as asked: kept for a person, nothing is granted. */
  | { kind: 'mismatch'; reason: MismatchReason }
  /** Not about this payment at all, or not money: refused and logged, nothing is kept on the payment. */
  | { kind: 'refuse'; reason: MismatchReason }

/**
 * Compares the vendor's word with what was asked, before anything is believed: gateway, payment, order, mode,
 * receiver, currency, amount, time. Authenticated is not validated: a real payment of one ruble does not pay
 * an order of two thousand. Pure.
 */
export function judgePayment(ours: JudgedPayment, word: VendorPayment, source: { gateway: string }): Verdict {
  if (ours.gateway !== source.gateway) return { kind: 'refuse', reason: 'wrong_gateway' }
  if (word.payment_id !== undefined && word.payment_id !== ours.id)
    return { kind: 'refuse', reason: 'wrong_payment' }
  if (word.payment_number !== undefined && word.payment_number !== ours.number) {
    return { kind: 'refuse', reason: 'wrong_payment' }
  }
  if (word.is_test !== undefined && word.is_test !== ours.is_test)
    return { kind: 'refuse', reason: 'wrong_mode' }
  const status = fromVendorStatus(word.status)
  const has_money = status === 'succeeded' || status === 'authorized'
  const wrong = differenceOf(ours, word)
  if (wrong !== undefined) {
    if (!has_money || !mayMove(ours.status, 'mismatch')) return { kind: 'refuse', reason: wrong }
    return { kind: 'mismatch', reason: wrong }
  }
  if (!mayMove(ours.status, status)) return { kind: 'nothing' }
  if (status === 'succeeded' && isLate(ours, word)) {
    return { kind: 'mismatch', reason: 'order_expired' }
  }
  return status === 'succeeded'
    ? { kind: 'move', status, captured_amount: word.amount }
    : { kind: 'move', status }
}

/**
 * Late is by the vendor's own time of payment; a notification that was merely slow is not late. A vendor that
 * does not tell the time is late only when we had closed the payment already.
 */
function isLate(ours: JudgedPayment, word: VendorPayment): boolean {
  return word.paid_at !== undefined ? word.paid_at >= ours.expires_at : ours.status === 'expired'
}

function differenceOf(ours: JudgedPayment, word: VendorPayment): MismatchReason | undefined {
  if (ours.external_id !== null && word.external_id !== ours.external_id) return 'wrong_external_id'
  if (word.order_id !== undefined && word.order_id !== ours.order_id) return 'wrong_order'
  if (word.receiver_matches === false) return 'wrong_receiver'
  if (word.currency !== ours.currency) return 'wrong_currency'
  // A two-stage payment may be captured for less than was authorized; never for more.
  const is_partial_capture = !ours.may_capture_now && word.amount < ours.amount && word.amount > 0n
  if (word.amount !== ours.amount && !is_partial_capture) return 'wrong_amount'
  return undefined
}
