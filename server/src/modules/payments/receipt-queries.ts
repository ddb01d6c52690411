import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'
import { wireJson } from '#kernel/json'
import type { ReceiptStatus } from './receipt-status.ts'

type Stored = Selectable<Database['payments.receipts']>
export type ReceiptRow = Omit<Stored, 'status' | 'kind' | 'purpose' | 'registrar'> & {
  status: ReceiptStatus
  kind: 'payment' | 'refund'
  purpose: 'full' | 'prepayment' | 'offset' | 'refund'
  registrar: 'operation' | 'apart' | 'person'
}

type NewRow = Pick<
  ReceiptRow,
  | 'id'
  | 'kind'
  | 'purpose'
  | 'payment_id'
  | 'refund_id'
  | 'order_id'
  | 'customer_id'
  | 'gateway'
  | 'is_test'
  | 'status'
  | 'registrar'
  | 'amount'
  | 'currency'
  | 'contact'
  | 'items'
  | 'tax_system'
  | 'failure_reason'
  | 'next_attempt_at'
  | 'offset_check_at'
  | 'created_at'
>

/** Writes receipts; one of the same purpose that is there stays. Answers those that are new. */
export async function insertReceipts(tx: Tx, rows: readonly NewRow[]): Promise<ReceiptRow[]> {
  if (rows.length === 0) return []
  const inserted = await tx
    .insertInto('payments.receipts')
    .values(
      rows.map((row) => ({
        ...row,
        contact: row.contact === null ? null : raw`${wireJson(row.contact)}::jsonb`,
        items: raw`${wireJson(row.items)}::jsonb`,
        updated_at: row.created_at,
      })),
    )
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .execute()
  return inserted
}

export async function findReceipt(sql: Sql, id: string): Promise<ReceiptRow | undefined> {
  const row = await sql.selectFrom('payments.receipts').selectAll().where('id', '=', id).executeTakeFirst()
  return row
}

export async function lockReceipt(tx: Tx, id: string): Promise<ReceiptRow | undefined> {
  const row = await tx
    .selectFrom('payments.receipts')
    .selectAll()
    .where('id', '=', id)
    .forNoKeyUpdate()
    .executeTakeFirst()
  return row
}

/** The receipt of a refund, locked. */
export async function lockReceiptOfRefund(tx: Tx, refund_id: string): Promise<ReceiptRow | undefined> {
  const row = await tx
    .selectFrom('payments.receipts')
    .selectAll()
    .where('refund_id', '=', refund_id)
    .where('purpose', '=', 'refund')
    .forNoKeyUpdate()
    .executeTakeFirst()
  return row
}

/** Every receipt about one payment: the first, the offset, those of its refunds. */
export async function receiptsOfPayment(sql: Sql, payment_id: string): Promise<ReceiptRow[]> {
  const rows = await sql
    .selectFrom('payments.receipts')
    .selectAll()
    .where('payment_id', '=', payment_id)
    .orderBy('created_at')
    .orderBy('id')
    .limit(1000)
    .execute()
  return rows
}

export async function updateReceipt(
  tx: Tx,
  id: string,
  change: Partial<
    Pick<
      ReceiptRow,
      | 'status'
      | 'registrar'
      | 'external_id'
      | 'fiscal_document'
      | 'fiscal_storage'
      | 'fiscal_attribute'
      | 'registered_at'
      | 'failure_reason'
      | 'round'
      | 'attempts'
      | 'retried_at'
      | 'next_attempt_at'
      | 'offset_check_at'
    >
  > & { updated_at: Date },
): Promise<void> {
  await tx.updateTable('payments.receipts').set(change).where('id', '=', id).execute()
}

/** Takes receipts whose time has come, and puts the next time far enough for one round of calls. */
export async function claimDueReceipts(
  tx: Tx,
  now: Date,
  again_at: Date,
  limit: number,
): Promise<ReceiptRow[]> {
  const rows = await tx
    .updateTable('payments.receipts')
    .set((eb) => ({ next_attempt_at: again_at, attempts: eb('attempts', '+', 1) }))
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('payments.receipts')
        .select('id')
        .where('next_attempt_at', '<=', now)
        .orderBy('next_attempt_at')
        .limit(limit)
        .forUpdate()
        .skipLocked(),
    )
    .returningAll()
    .execute()
  return rows
}

/** Takes prepayments whose offset is to be looked at, and puts the next look later. */
export async function claimPrepayments(
  tx: Tx,
  now: Date,
  again_at: Date,
  limit: number,
): Promise<ReceiptRow[]> {
  const rows = await tx
    .updateTable('payments.receipts')
    .set({ offset_check_at: again_at })
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('payments.receipts')
        .select('id')
        .where('offset_check_at', '<=', now)
        .orderBy('offset_check_at')
        .limit(limit)
        .forUpdate()
        .skipLocked(),
    )
    .returningAll()
    .execute()
  return rows
}

/** Whether money of the payment is on its way back, or contested: nothing is offset meanwhile. */
export async function isMoneyMoving(sql: Sql, payment_id: string): Promise<boolean> {
  const { rows } = await raw<{ is_moving: boolean }>`
    select exists (select 1 from payments.refunds
                    where payment_id = ${payment_id} and status in ('pending', 'unknown'))
        or exists (select 1 from payments.disputes where payment_id = ${payment_id} and status = 'open')
           as is_moving`.execute(sql)
  return rows[0]?.is_moving ?? false
}

interface ReceiptFilter {
  payment_id?: string | undefined
  order_id?: string | undefined
  customer_id?: string | undefined
  status?: ReceiptStatus | undefined
}

export async function listReceipts(
  sql: Sql,
  filter: ReceiptFilter,
  page: { limit: number; after?: { created_at: Date; id: string } | undefined },
): Promise<ReceiptRow[]> {
  let query = sql.selectFrom('payments.receipts').selectAll()
  if (filter.payment_id !== undefined) query = query.where('payment_id', '=', filter.payment_id)
  if (filter.order_id !== undefined) query = query.where('order_id', '=', filter.order_id)
  if (filter.customer_id !== undefined) query = query.where('customer_id', '=', filter.customer_id)
  if (filter.status !== undefined) query = query.where('status', '=', filter.status)
  if (page.after) {
    const { created_at, id } = page.after
    query = query.where((eb) => eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(created_at, id)))
  }
  const rows = await query
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
  return rows
}
