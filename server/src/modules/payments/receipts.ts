import { receiptContact } from '@kopilka/extension'
import type { Sql, Tx } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { receiptFailed, type ReceiptPayload } from './events.ts'
import type { PaymentsKit } from './kit.ts'
import { lockPayment, type PaymentRow } from './payment-queries.ts'
import { isSettled } from './payment-status.ts'
import { purposeOf, registrarOf, tellsOf } from './receipt-abilities.ts'
import * as queries from './receipt-queries.ts'
import type { ReceiptRow } from './receipt-queries.ts'
import {
  receiptShare,
  renderedItems,
  reviveItems,
  reviveReceipt,
  takenByLine,
  type FrozenItem,
  type FrozenReceipt,
} from './receipt-share.ts'
import { refundsOfPayment, type RefundRow } from './refund-queries.ts'
import { nextReceiptAttempt } from './schedule.ts'

/**
 * Writes the receipt of each payment that succeeded now and is under the law, in the transaction of its
 * success: `full`, or `prepayment`, whose offset is looked for from then on. One that is there stays.
 */
export async function writePaymentReceipts(
  tx: Tx,
  kit: PaymentsKit,
  payments: readonly PaymentRow[],
): Promise<void> {
  const rows = payments.flatMap((payment) => {
    if (!payment.is_fiscal) return []
    if (payment.receipt === null) {
      kit.notice('a payment needs a receipt and has none; make it by hand', { payment_id: payment.id })
      return []
    }
    const receipt = receiptShare(reviveReceipt(payment.receipt), payment.captured_amount)
    const items = receipt.items.map((item, index) => ({ position: index, ...item }))
    const is_prepayment = items.some(({ rendered }) => rendered !== undefined)
    const purpose = is_prepayment ? ('prepayment' as const) : ('full' as const)
    const is_carried = receiptContact(receipt.contact) !== undefined
    return [newReceipt(kit, payment, { ...receipt, items }, { purpose, is_carried })]
  })
  await insert(tx, kit, rows)
}

/**
 * The receipt a refund of this amount carries to the vendor: the lines less what earlier refunds took of
 * them, as a prepayment given back, or as a service given back once its offset is written. Null: there is
 * none to send. The caller holds the payment's row.
 */
export async function refundReceipt(
  sql: Sql,
  payment: PaymentRow,
  amount: bigint,
): Promise<FrozenReceipt | null> {
  if (!payment.is_fiscal || payment.receipt === null) return null
  const receipt = await shareOfRefund(sql, payment, amount)
  return receiptContact(receipt.contact) === undefined ? null : receipt
}

/** Writes the receipt of a refund that succeeded now. `cause` says why the money went where it was not us. */
export async function writeRefundReceipt(
  tx: Tx,
  kit: PaymentsKit,
  payment: PaymentRow,
  refund: Pick<RefundRow, 'id' | 'amount' | 'receipt'>,
  cause: 'asked' | 'made_at_the_vendor' | 'dispute_lost' = 'asked',
): Promise<void> {
  if (!payment.is_fiscal || payment.receipt === null) return
  const receipt =
    refund.receipt === null
      ? await shareOfRefund(tx, payment, refund.amount, refund.id)
      : reviveReceipt(refund.receipt)
  // A refund made in the vendor's cabinet got its receipt there, where the vendor makes those of refunds.
  const is_carried = cause === 'asked' ? refund.receipt !== null : cause === 'made_at_the_vendor'
  const row = newReceipt(kit, payment, receipt, { purpose: 'refund', refund_id: refund.id, is_carried })
  const is_seen = tellsOf(kit.gateways.find(payment.gateway), 'refund')
  const is_for_person = cause === 'dispute_lost' || (cause === 'made_at_the_vendor' && !is_seen)
  await insert(tx, kit, [is_for_person ? { ...row, ...forPerson(cause) } : row])
}

/**
 * Leaves the receipt of a refund that failed after it was done to a person: one that was not sent must not
 * be, and one the tax office may have needs a correction.
 */
export async function withdrawRefundReceipt(tx: Tx, kit: PaymentsKit, refund_id: string): Promise<void> {
  const receipt = await queries.lockReceiptOfRefund(tx, refund_id)
  if (!receipt) return
  const now = kit.clock.now()
  const is_unsent = receipt.status === 'pending' && receipt.attempts === 0
  const reason = is_unsent ? 'refund_failed_do_not_register' : 'refund_failed_correction_needed'
  if (receipt.status !== 'registered')
    await queries.updateReceipt(tx, receipt.id, { ...forPerson(reason), updated_at: now })
  await kit.events.publish(tx, receiptFailed, { ...receiptPayload(receipt, now), reason })
}

/**
 * Writes the offset of a prepayment: what was paid for is given now. Of the whole payment at once, less what
 * went back. `waiting`: money of the payment is moving, look again later. Nothing is asked of the vendor yet.
 */
export async function intendOffset(
  tx: Tx,
  kit: PaymentsKit,
  payment_id: string,
): Promise<'written' | 'nothing_left' | 'waiting'> {
  const payment = await lockPayment(tx, payment_id)
  const rows = await queries.receiptsOfPayment(tx, payment_id)
  const prepayment = rows.find(({ purpose }) => purpose === 'prepayment')
  if (!payment || !prepayment || prepayment.offset_check_at === null) return 'nothing_left'
  if (!isSettled(payment.status) || (await queries.isMoneyMoving(tx, payment_id))) return 'waiting'
  const left = prepayment.amount - payment.refunded_amount
  await queries.updateReceipt(tx, prepayment.id, { offset_check_at: null, updated_at: kit.clock.now() })
  if (left <= 0n) return 'nothing_left'
  const taken = takenByLine(await itemsTaken(tx, payment_id, rows))
  const receipt = receiptShare(frozenOf(prepayment), left, taken)
  const offset = { ...receipt, items: renderedItems(receipt.items) }
  await insert(tx, kit, [newReceipt(kit, payment, offset, { purpose: 'offset', is_carried: false })])
  return 'written'
}

/** Throws {@link NotFound}. */
export async function getReceipt(sql: Sql, id: string): Promise<ReceiptRow> {
  const receipt = await queries.findReceipt(sql, id)
  if (!receipt) throw new NotFound(`There is no receipt ${id}.`)
  return receipt
}

/** The facts of a receipt as its events carry them. */
export function receiptPayload(receipt: ReceiptRow, at: Date): ReceiptPayload {
  return {
    receipt_id: receipt.id,
    kind: receipt.kind,
    purpose: receipt.purpose,
    payment_id: receipt.payment_id,
    refund_id: receipt.refund_id,
    order_id: receipt.order_id,
    customer_id: receipt.customer_id,
    amount: String(receipt.amount),
    currency: receipt.currency,
    occurred_at: at.toISOString(),
  }
}

type NewReceipt = Parameters<typeof queries.insertReceipts>[1][number]

function newReceipt(
  kit: PaymentsKit,
  payment: PaymentRow,
  receipt: FrozenReceipt,
  about: { purpose: ReceiptRow['purpose']; refund_id?: string; is_carried: boolean },
): NewReceipt {
  const now = kit.clock.now()
  const ready = kit.gateways.find(payment.gateway)
  const purpose = purposeOf(about)
  const contact = receiptContact(receipt.contact) ?? null
  const registrar = registrarOf(ready, purpose, about.is_carried)
  // What the vendor has got already needs no contact any more.
  const is_for_person = registrar === 'person' || (registrar === 'apart' && contact === null)
  const amount = [...takenByLine(receipt.items).values()].reduce((sum, part) => sum + part, 0n)
  const row: NewReceipt = {
    id: newId('rcpt', now.getTime()),
    kind: about.purpose === 'refund' ? 'refund' : 'payment',
    purpose: about.purpose,
    payment_id: payment.id,
    refund_id: about.refund_id ?? null,
    order_id: payment.order_id,
    customer_id: payment.customer_id,
    gateway: payment.gateway,
    is_test: payment.is_test,
    status: registrar === 'operation' ? 'sent' : 'pending',
    registrar,
    amount,
    currency: payment.currency,
    contact,
    items: receipt.items,
    tax_system: receipt.tax_system ?? null,
    failure_reason: null,
    next_attempt_at:
      registrar === 'operation' ? (tellsOf(ready, purpose) ? nextReceiptAttempt(0, now) : null) : now,
    offset_check_at: about.purpose === 'prepayment' ? now : null,
    created_at: now,
  }
  if (!is_for_person) return row
  return { ...row, ...forPerson(registrar === 'person' ? 'gateway_registers_none' : 'contact_missing') }
}

function forPerson(
  failure_reason: string,
): Pick<NewReceipt, 'status' | 'registrar' | 'next_attempt_at' | 'failure_reason'> {
  return { status: 'manual', registrar: 'person', next_attempt_at: null, failure_reason }
}

async function insert(tx: Tx, kit: PaymentsKit, rows: readonly NewReceipt[]): Promise<void> {
  const inserted = await queries.insertReceipts(tx, rows)
  const manual = inserted.filter(({ status }) => status === 'manual')
  await kit.events.publish(
    tx,
    receiptFailed,
    ...manual.map((row) => ({
      ...receiptPayload(row, row.created_at),
      reason: row.failure_reason ?? 'manual',
    })),
  )
}

async function shareOfRefund(
  sql: Sql,
  payment: PaymentRow,
  amount: bigint,
  but_refund_id?: string,
): Promise<FrozenReceipt> {
  const rows = await queries.receiptsOfPayment(sql, payment.id)
  const first = rows.find(({ purpose }) => purpose === 'full' || purpose === 'prepayment')
  const base = first ? frozenOf(first) : reviveReceipt(payment.receipt)
  const taken = takenByLine(await itemsTaken(sql, payment.id, rows, but_refund_id))
  const share = receiptShare(base, amount, taken)
  const is_rendered = rows.some(({ purpose }) => purpose === 'offset')
  return is_rendered ? { ...share, items: renderedItems(share.items) } : share
}

/** The lines of every refund that happened or may have. */
async function itemsTaken(
  sql: Sql,
  payment_id: string,
  rows: readonly ReceiptRow[],
  but_refund_id?: string,
): Promise<FrozenItem[]> {
  const refunds = await refundsOfPayment(sql, payment_id)
  const of_refund = new Map(rows.map((row) => [row.refund_id, row]))
  return refunds
    .filter(({ id, status }) => status !== 'failed' && id !== but_refund_id)
    .flatMap(({ id, receipt }) => {
      if (receipt !== null) return [...reviveReceipt(receipt).items]
      const row = of_refund.get(id)
      return row ? reviveItems(row.items) : []
    })
}

function frozenOf(receipt: ReceiptRow): FrozenReceipt {
  return {
    contact: receipt.contact ?? {},
    items: reviveItems(receipt.items),
    ...(receipt.tax_system === null ? {} : { tax_system: receipt.tax_system }),
  }
}
