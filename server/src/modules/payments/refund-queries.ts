import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'
import { wireJson } from '#kernel/json'

export type RefundStatus = 'pending' | 'unknown' | 'succeeded' | 'failed'
export type RefundRow = Omit<Selectable<Database['payments.refunds']>, 'status' | 'origin'> & {
  status: RefundStatus
  origin: 'api' | 'vendor'
}

/** What of a refund is not said when it is written. */
type SetLater = 'check_attempts' | 'updated_at' | 'failure_reason' | 'revision' | 'asking_until'

export async function insertRefund(tx: Tx, refund: Omit<RefundRow, SetLater>): Promise<void> {
  await tx
    .insertInto('payments.refunds')
    .values({
      ...refund,
      receipt: refund.receipt === null ? null : raw`${wireJson(refund.receipt)}::jsonb`,
      breakdown: refund.breakdown === null ? null : raw`${wireJson(refund.breakdown)}::jsonb`,
      updated_at: refund.created_at,
    })
    .execute()
}

export async function findRefund(sql: Sql, id: string): Promise<RefundRow | undefined> {
  const row = await sql.selectFrom('payments.refunds').selectAll().where('id', '=', id).executeTakeFirst()
  return row
}

export async function findRefundByExternalId(
  sql: Sql,
  payment_id: string,
  external_id: string,
): Promise<RefundRow | undefined> {
  const row = await sql
    .selectFrom('payments.refunds')
    .selectAll()
    .where('payment_id', '=', payment_id)
    .where('external_id', '=', external_id)
    .executeTakeFirst()
  return row
}

export async function refundsOfPayment(sql: Sql, payment_id: string): Promise<RefundRow[]> {
  const rows = await sql
    .selectFrom('payments.refunds')
    .selectAll()
    .where('payment_id', '=', payment_id)
    .orderBy('created_at')
    .orderBy('id')
    .limit(500)
    .execute()
  return rows
}

/**
 * Changes a refund and answers its new revision; undefined when it is not at the revision given. The caller
 * holds its payment's row.
 */
export async function updateRefund(
  tx: Tx,
  id: string,
  change: Partial<
    Pick<
      RefundRow,
      'status' | 'external_id' | 'failure_reason' | 'next_check_at' | 'finished_at' | 'asking_until'
    >
  > & { updated_at: Date },
  at_revision?: number,
): Promise<number | undefined> {
  let update = tx
    .updateTable('payments.refunds')
    .set((eb) => ({ ...change, revision: eb('revision', '+', 1) }))
    .where('id', '=', id)
  if (at_revision !== undefined) update = update.where('revision', '=', at_revision)
  const row = await update.returning('revision').executeTakeFirst()
  return row?.revision
}

export async function claimDueRefunds(
  tx: Tx,
  now: Date,
  again_at: Date,
  limit: number,
): Promise<RefundRow[]> {
  const rows = await tx
    .updateTable('payments.refunds')
    .set((eb) => ({ next_check_at: again_at, check_attempts: eb('check_attempts', '+', 1) }))
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('payments.refunds')
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

export async function listRefunds(
  sql: Sql,
  filter: { payment_id?: string | undefined; status?: RefundStatus | undefined },
  page: { limit: number; after?: { created_at: Date; id: string } | undefined },
): Promise<RefundRow[]> {
  let query = sql.selectFrom('payments.refunds').selectAll()
  if (filter.payment_id !== undefined) query = query.where('payment_id', '=', filter.payment_id)
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
