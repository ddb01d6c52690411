import type { Sql, Tx } from '#kernel/db'
import { InvalidState, NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { RefundTooLarge } from './errors.ts'
import { refundRequested, type RefundPayload } from './events.ts'
import type { PaymentsKit } from './kit.ts'
import { lockPayment, type PaymentRow } from './payment-queries.ts'
import { REFUNDABLE } from './payment-status.ts'
import { contestedAmount } from './dispute-queries.ts'
import { refundReceipt } from './receipts.ts'
import * as queries from './refund-queries.ts'
import type { RefundRow } from './refund-queries.ts'

export interface NewRefund {
  refund_id: string
  payment_id: string
  amount: bigint
  reason: string
  requested_by: string
  /** How the amount came about, shown to people. */
  breakdown?: object
  /** True: units are taken back even when they were spent (the operator decided so). */
  is_forced?: boolean
  /** True: nobody waits to carry it out; the janitor asks the vendor at once. */
  is_automatic?: boolean
}

/** Longer than the slowest vendor call (35 s): whoever asked has an answer by then, or is dead. */
export const ASKING_MS = 45_000

/** What can still be given back: captured, less all refunds that are not refused and what is contested. */
export async function refundableAmount(sql: Sql, payment: PaymentRow): Promise<bigint> {
  const refunds = await queries.refundsOfPayment(sql, payment.id)
  const reserved = refunds.filter(({ status }) => status !== 'failed')
  const given_back = reserved.reduce((sum, { amount }) => sum + amount, 0n)
  const left = payment.captured_amount - given_back - (await contestedAmount(sql, payment.id))
  return left > 0n ? left : 0n
}

/**
 * Locks the payment so that two refunds of it cannot pass each other. Throws NotFound, {@link InvalidState}.
 */
export async function lockForRefund(tx: Tx, payment_id: string): Promise<PaymentRow> {
  const payment = await lockPayment(tx, payment_id)
  if (!payment) throw new NotFound(`There is no payment ${payment_id}.`)
  // A mismatched payment took money that bought nothing: giving it back is what is mostly decided about it.
  const is_refundable =
    REFUNDABLE.includes(payment.status) || (payment.status === 'mismatch' && payment.captured_amount > 0n)
  if (!is_refundable) {
    throw new InvalidState(`A payment that is ${payment.status} has nothing to give back.`, {
      status_now: payment.status,
    })
  }
  return payment
}

/**
 * Writes the intent of a refund and takes the units back (`refund.requested`), in one transaction; the vendor
 * is asked by carryOutRefund. Refunds that wait or are unknown count as given back.
 * Throws {@link RefundTooLarge}, {@link InvalidState}, NotFound.
 */
export async function intendRefund(tx: Tx, kit: PaymentsKit, input: NewRefund): Promise<RefundRow> {
  const existing = await queries.findRefund(tx, input.refund_id)
  if (existing) return existing
  const payment = await lockForRefund(tx, input.payment_id)
  const { gateway } = kit.gateways.get(payment.gateway)
  if (!gateway.refund)
    throw new InvalidState(`The gateway ${gateway.id} cannot refund; give the money back by hand.`)
  const left = await refundableAmount(tx, payment)
  if (input.amount > left) {
    throw new RefundTooLarge(`Of this payment ${left} can still be given back, ${input.amount} was asked.`, {
      refundable: left,
      requested: input.amount,
    })
  }
  const is_full = input.amount === payment.captured_amount
  if (!is_full && gateway.may_refund_partially === false) {
    throw new InvalidState(`The gateway ${gateway.id} gives back whole payments only.`, { refundable: left })
  }
  const now = kit.clock.now()
  await queries.insertRefund(tx, {
    id: input.refund_id,
    payment_id: payment.id,
    status: 'pending',
    amount: input.amount,
    currency: payment.currency,
    reason: input.reason,
    origin: 'api',
    is_full,
    external_id: null,
    receipt: await refundReceipt(tx, payment, input.amount),
    breakdown: input.breakdown ?? null,
    requested_by: input.requested_by,
    next_check_at: input.is_automatic ? now : new Date(now.getTime() + ASKING_MS),
    created_at: now,
    finished_at: null,
  })
  const refund = await getRefund(tx, input.refund_id)
  await kit.events.publish(tx, refundRequested, refundPayload(refund, payment, input.is_forced ?? false))
  return refund
}

/**
 * Writes the intent to give back all of a payment that nobody decides about; the janitor carries it out.
 * False when its gateway cannot refund, or not now: the payment then waits for a person.
 */
export async function intendWholeRefund(
  tx: Tx,
  kit: PaymentsKit,
  input: Pick<NewRefund, 'payment_id' | 'reason' | 'requested_by'>,
): Promise<boolean> {
  const payment = await lockForRefund(tx, input.payment_id)
  if (!kit.gateways.find(payment.gateway)?.gateway.refund) return false
  const amount = await refundableAmount(tx, payment)
  if (amount !== payment.captured_amount) return false
  const refund_id = newId('re', kit.clock.now().getTime())
  await intendRefund(tx, kit, { ...input, refund_id, amount, is_automatic: true })
  return true
}

/** Throws {@link NotFound}. */
export async function getRefund(sql: Sql, id: string): Promise<RefundRow> {
  const refund = await queries.findRefund(sql, id)
  if (!refund) throw new NotFound(`There is no refund ${id}.`)
  return refund
}

/** The facts of a refund as its events carry them. */
export function refundPayload(refund: RefundRow, payment: PaymentRow, is_forced: boolean): RefundPayload {
  return {
    refund_id: refund.id,
    payment_id: payment.id,
    order_id: payment.order_id,
    customer_id: payment.customer_id,
    amount: String(refund.amount),
    currency: refund.currency,
    is_forced,
    is_full: refund.is_full,
    occurred_at: (refund.finished_at ?? refund.created_at).toISOString(),
  }
}
