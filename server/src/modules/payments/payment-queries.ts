import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'
import { wireJson } from '#kernel/json'
import type { PaymentStatus } from './payment-status.ts'

export type PaymentRow = Omit<Selectable<Database['payments.payments']>, 'status' | 'repeat_kind'> & {
  status: PaymentStatus
  repeat_kind: 'paid_again' | 'renewal' | null
}

export async function insertPayment(
  tx: Tx,
  payment: Pick<
    PaymentRow,
    | 'id'
    | 'order_id'
    | 'customer_id'
    | 'gateway'
    | 'is_test'
    | 'amount'
    | 'currency'
    | 'description'
    | 'return_url'
    | 'may_capture_now'
    | 'has_save_consent'
    | 'consent_text'
    | 'method'
    | 'saved_method_id'
    | 'locale'
    | 'telegram_id'
    | 'email'
    | 'receipt'
    | 'is_fiscal'
    | 'expires_at'
    | 'created_at'
    | 'next_check_at'
    | 'subscription_period_seconds'
  > &
    Partial<
      Pick<PaymentRow, 'external_id' | 'repeats_payment_id' | 'repeat_kind' | 'vendor_subscription_id'>
    >,
): Promise<void> {
  await tx
    .insertInto('payments.payments')
    .values({
      ...payment,
      receipt: payment.receipt === null ? null : raw`${wireJson(payment.receipt)}::jsonb`,
      status: 'pending',
      updated_at: payment.created_at,
    })
    .execute()
}

/** Absent is undefined; the door's `getPayment` throws. */
export async function findPayment(sql: Sql, id: string): Promise<PaymentRow | undefined> {
  const row = await sql.selectFrom('payments.payments').selectAll().where('id', '=', id).executeTakeFirst()
  return row
}

/** These payments, in no order; those that are not there are missing. */
export async function findPayments(sql: Sql, ids: readonly string[]): Promise<PaymentRow[]> {
  if (ids.length === 0) return []
  return sql
    .selectFrom('payments.payments')
    .selectAll()
    .where('id', '=', raw<string>`any(${[...ids]}::text[])`)
    .execute()
}

/** Every attempt to pay an order, newest first; at most fifty. */
export async function findPaymentsOfOrder(sql: Sql, order_id: string): Promise<PaymentRow[]> {
  const rows = await sql
    .selectFrom('payments.payments')
    .selectAll()
    .where('order_id', '=', order_id)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(50)
    .execute()
  return rows
}

export async function lockPayment(tx: Tx, id: string): Promise<PaymentRow | undefined> {
  return (await lockPayments(tx, [id]))[0]
}

/** Locks in id order, as everything that locks payments does: two processes never wait for each other. */
export async function lockPayments(tx: Tx, ids: readonly string[]): Promise<PaymentRow[]> {
  if (ids.length === 0) return []
  const rows = await tx
    .selectFrom('payments.payments')
    .selectAll()
    .where('id', '=', raw<string>`any(${[...ids]}::text[])`)
    .orderBy('id')
    .forNoKeyUpdate()
    .execute()
  return rows
}

export interface PaymentRef {
  gateway: string
  payment_id?: string | undefined
  payment_number?: number | undefined
  external_id?: string | undefined
}

/**
 * Finds our payment for each reference a vendor gave: by our id, our number, or the vendor's id. In order.
 */
export async function findPaymentIds(sql: Sql, refs: readonly PaymentRef[]): Promise<(string | undefined)[]> {
  if (refs.length === 0) return []
  const { rows } = await raw<{ n: number; id: string }>`
    select r.n::int as n, p.id
      from jsonb_to_recordset(${JSON.stringify(refs.map(namesOf))}::jsonb)
        as r(n int, gateway text, payment_id text, payment_number int, external_id text)
     cross join lateral (
       select id from payments.payments where r.payment_id is not null and id = r.payment_id
       union all
       select id from payments.payments where r.payment_id is null and r.payment_number is not null
         and number = r.payment_number
       union all
       select id from payments.payments where r.payment_id is null and r.payment_number is null
         and gateway = r.gateway and external_id = r.external_id
     ) p`.execute(sql)
  const found = new Map(rows.map((row) => [row.n, row.id]))
  return refs.map((_, n) => found.get(n))
}

/** Only the names: whoever asks may hold more, such as amounts that are no JSON. */
function namesOf({ gateway, payment_id, payment_number, external_id }: PaymentRef, n: number): object {
  return { n, gateway, payment_id, payment_number, external_id }
}

export interface PaymentChange {
  id: string
  status: PaymentStatus
  captured_amount: string
  refunded_amount: string
  external_id: string | null
  fee: string | null
  fee_currency: string | null
  failure_reason: string | null
  mismatch_reason: string | null
  mismatch: object | null
  authorized_at: string | null
  succeeded_at: string | null
  finished_at: string | null
  next_check_at: string | null
  updated_at: string
}

/** Writes what was decided about locked payments, all in one statement. */
export async function updatePayments(tx: Tx, changes: readonly PaymentChange[]): Promise<void> {
  if (changes.length === 0) return
  await raw`
    update payments.payments p
       set status = u.status, captured_amount = u.captured_amount, refunded_amount = u.refunded_amount,
           external_id = coalesce(p.external_id, u.external_id), fee = coalesce(u.fee, p.fee),
           fee_currency = case when u.fee is null then p.fee_currency else u.fee_currency end,
           failure_reason = u.failure_reason, mismatch_reason = u.mismatch_reason, mismatch = u.mismatch,
           authorized_at = u.authorized_at, succeeded_at = u.succeeded_at, finished_at = u.finished_at,
           next_check_at = u.next_check_at, updated_at = u.updated_at
      from jsonb_to_recordset(${JSON.stringify(changes)}::jsonb) as u(
        id text, status text, captured_amount bigint, refunded_amount bigint, external_id text, fee bigint,
        fee_currency text, failure_reason text, mismatch_reason text, mismatch jsonb,
        authorized_at timestamptz,
        succeeded_at timestamptz, finished_at timestamptz, next_check_at timestamptz, updated_at timestamptz)
     where p.id = u.id`.execute(tx)
}

export async function setCreated(
  tx: Tx,
  id: string,
  created: { external_id: string | null; checkout_url: string | null; next_check_at: Date; updated_at: Date },
): Promise<void> {
  await tx
    .updateTable('payments.payments')
    .set((eb) => ({
      external_id: eb.fn.coalesce('external_id', eb.val(created.external_id)),
      checkout_url: eb.fn.coalesce(eb.val(created.checkout_url), 'checkout_url'),
      next_check_at: created.next_check_at,
      updated_at: created.updated_at,
    }))
    .where('id', '=', id)
    .execute()
}

export async function setStatus(
  tx: Tx,
  id: string,
  change: {
    status: PaymentStatus
    next_check_at: Date | null
    updated_at: Date
    failure_reason?: string | null
    finished_at?: Date
  },
): Promise<void> {
  await tx.updateTable('payments.payments').set(change).where('id', '=', id).execute()
}

/** Takes payments whose time to be asked about has come, and puts the next time far enough for one round. */
export async function claimDuePayments(
  tx: Tx,
  now: Date,
  again_at: Date,
  limit: number,
): Promise<PaymentRow[]> {
  const rows = await tx
    .updateTable('payments.payments')
    .set((eb) => ({ next_check_at: again_at, check_attempts: eb('check_attempts', '+', 1) }))
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('payments.payments')
        .select('id')
        .where('next_check_at', '<=', now)
        .orderBy('next_check_at')
        .limit(limit)
        .forUpdate()
        .skipLocked(),
    )
    .returningAll()
    .execute()
  return rows
}

/** Counts questions to the vendor whose outcome may be a payment there. The caller holds the row. */
export async function addAsk(tx: Tx, id: string, more: number): Promise<void> {
  await tx
    .updateTable('payments.payments')
    .set((eb) => ({ open_asks: eb('open_asks', '+', more) }))
    .where('id', '=', id)
    .execute()
}

/** Until when nobody else may ask the vendor for this payment; null: anybody may. */
export async function setAskingUntil(tx: Tx, id: string, asking_until: Date | null): Promise<void> {
  await tx.updateTable('payments.payments').set({ asking_until }).where('id', '=', id).execute()
}

export async function setFee(
  tx: Tx,
  { id, fee, fee_currency }: { id: string; fee: bigint; fee_currency: string },
): Promise<void> {
  await tx.updateTable('payments.payments').set({ fee, fee_currency }).where('id', '=', id).execute()
}

/** Where a customer last paid with success. */
export async function findLastUsedGateway(sql: Sql, customer_id: string): Promise<string | undefined> {
  const row = await sql
    .selectFrom('payments.payments')
    .select('gateway')
    .where('customer_id', '=', customer_id)
    .where('succeeded_at', 'is not', null)
    .orderBy('succeeded_at', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row?.gateway
}

export async function setNextCheck(tx: Tx, id: string, next_check_at: Date | null): Promise<void> {
  await tx.updateTable('payments.payments').set({ next_check_at }).where('id', '=', id).execute()
}

/** Somebody is looking: the next check comes now, unless one was made moments ago. */
export async function hastenCheck(tx: Tx, id: string, now: Date, not_before: Date): Promise<void> {
  await tx
    .updateTable('payments.payments')
    .set({ next_check_at: now })
    .where('id', '=', id)
    .where('next_check_at', '>', not_before)
    .execute()
}

export interface PaymentFilter {
  customer_id?: string | undefined
  order_id?: string | undefined
  status?: PaymentStatus | undefined
  gateway?: string | undefined
  external_id?: string | undefined
}

export async function listPayments(
  sql: Sql,
  filter: PaymentFilter,
  page: { limit: number; after?: { created_at: Date; id: string } | undefined },
): Promise<PaymentRow[]> {
  let query = sql.selectFrom('payments.payments').selectAll()
  if (filter.customer_id !== undefined) query = query.where('customer_id', '=', filter.customer_id)
  if (filter.order_id !== undefined) query = query.where('order_id', '=', filter.order_id)
  if (filter.status !== undefined) query = query.where('status', '=', filter.status)
  if (filter.gateway !== undefined) query = query.where('gateway', '=', filter.gateway)
  if (filter.external_id !== undefined) query = query.where('external_id', '=', filter.external_id)
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
