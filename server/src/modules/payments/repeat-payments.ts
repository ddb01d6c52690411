import type { VendorPayment } from '@kopilka/extension'
import type { Tx } from '#kernel/db'
import { newId } from '#kernel/ids'
import type { PaymentsKit } from './kit.ts'
import { findPaymentIds, insertPayment, lockPayments, type PaymentRow } from './payment-queries.ts'

/** A charge of a subscription is judged by its own day, not by the order that began it. */
const RENEWAL_OPEN_MS = 86_400_000

type Word = Readonly<{ gateway: string; word: VendorPayment }>

/** Payments that vendors speak of, locked; answers which one a word is about. */
export interface LockedPayments {
  /**
   * The payment of a word, undefined when it is not ours. A charge made again is a payment of its own, which
   * is not stored yet when `is_new`.
   */
  of(word: Word): { payment: PaymentRow; word: VendorPayment; is_new: boolean } | undefined
  /** Keeps what became of a payment for the words that follow in the same batch. */
  keep(payment: PaymentRow): void
}

/**
 * Finds and locks the payments of these words. Where one intent may be charged more than once, the vendor's
 * id tells the charges apart: a charge other than the first is a new payment beside it. The first payment's
 * row is the lock under which that is decided, so the same charge told fifty times makes one.
 */
export async function lockPaymentsOf(
  tx: Tx,
  kit: PaymentsKit,
  words: readonly Word[],
): Promise<LockedPayments> {
  const mayRepeat = (gateway: string): boolean =>
    kit.gateways.find(gateway)?.gateway.may_be_paid_again === true
  const named = await findPaymentIds(tx, words.map(refOf))
  const rows = await lockPayments(tx, distinct(named))
  // Looked up only now, under the lock of the first payment: a rival may have stored the charge meanwhile.
  const repeatable = words.filter(({ gateway }) => mayRepeat(gateway))
  const charged = await findPaymentIds(
    tx,
    repeatable.map(({ gateway, word: { external_id } }) => ({ gateway, external_id })),
  )
  const missing = distinct(charged).filter((id) => !rows.some((row) => row.id === id))
  rows.push(...(await lockPayments(tx, missing)))
  const by_id = new Map(rows.map((row) => [row.id, row]))
  const by_charge = new Map(
    rows.flatMap((row) => (row.external_id === null ? [] : [[chargeOf(row), row.id] as const])),
  )
  const ids = new Map(words.map((word, index) => [word, named[index]]))
  return {
    keep: (payment) => {
      by_id.set(payment.id, payment)
      if (payment.external_id !== null) by_charge.set(chargeOf(payment), payment.id)
    },
    of: (asked) => {
      const { gateway, word } = asked
      const first = by_id.get(ids.get(asked) ?? '')
      if (!mayRepeat(gateway)) return first && { payment: first, word, is_new: false }
      const known = by_id.get(by_charge.get(chargeOf({ gateway, external_id: word.external_id })) ?? '')
      if (known) return { payment: known, word: renamed(word, known), is_new: false }
      if (!first || !isOther(first, asked)) return first && { payment: first, word, is_new: false }
      const payment = repeatOf(first, word, kit.clock.now())
      return { payment, word: renamed(word, payment), is_new: true }
    },
  }
}

/** Stores charges that were made again; the caller writes their outcome next. */
export async function insertRepeats(tx: Tx, payments: readonly PaymentRow[]): Promise<void> {
  for (const payment of payments) {
    const { number: _number, status: _status, ...columns } = payment
    await insertPayment(tx, columns)
  }
}

/** True when money was taken by another charge than the one this payment stands for. */
function isOther(first: PaymentRow, { gateway, word }: Word): boolean {
  const has_money = word.status === 'succeeded' || word.status === 'authorized'
  return (
    has_money &&
    first.gateway === gateway &&
    first.external_id !== null &&
    first.external_id !== word.external_id
  )
}

/** The vendor goes on calling the charge by the payment it was first asked for. */
function renamed(word: VendorPayment, payment: PaymentRow): VendorPayment {
  return word.payment_id === payment.repeats_payment_id && word.payment_id !== undefined
    ? { ...word, payment_id: payment.id }
    : word
}

/**
 * A charge as a payment: asked for as the first was, nothing of it known yet. What the vendor does not tell
 * is taken for a renewal where it renews by itself.
 */
function repeatOf(first: PaymentRow, word: VendorPayment, now: Date): PaymentRow {
  const is_renewal = word.is_renewal ?? first.subscription_period_seconds !== null
  const paid_at = word.paid_at ?? now
  return {
    ...first,
    id: newId('pay', now.getTime()),
    status: 'pending',
    repeats_payment_id: first.id,
    repeat_kind: is_renewal ? 'renewal' : 'paid_again',
    expires_at: is_renewal ? new Date(paid_at.getTime() + RENEWAL_OPEN_MS) : first.expires_at,
    external_id: null,
    checkout_url: null,
    captured_amount: 0n,
    refunded_amount: 0n,
    fee: null,
    fee_currency: null,
    open_asks: 0,
    failure_reason: null,
    mismatch_reason: null,
    mismatch: null,
    authorized_at: null,
    succeeded_at: null,
    finished_at: null,
    next_check_at: null,
    check_attempts: 0,
    created_at: now,
    updated_at: now,
  }
}

function refOf({ gateway, word }: Word) {
  const { payment_id, payment_number, external_id } = word
  return { gateway, payment_id, payment_number, external_id }
}

function chargeOf({ gateway, external_id }: { gateway: string; external_id: string | null }): string {
  return `${gateway} ${external_id}`
}

function distinct(ids: readonly (string | undefined)[]): string[] {
  return [...new Set(ids.filter((id) => id !== undefined))].toSorted()
}
