import type { Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

export type DisputeRow = Omit<Selectable<Database['payments.disputes']>, 'status'> & {
  status: 'open' | 'won' | 'lost'
}

export async function findDispute(
  sql: Sql,
  payment_id: string,
  external_id: string,
): Promise<DisputeRow | undefined> {
  const row = await sql
    .selectFrom('payments.disputes')
    .selectAll()
    .where('payment_id', '=', payment_id)
    .where('external_id', '=', external_id)
    .executeTakeFirst()
  return row
}

export async function insertDispute(tx: Tx, dispute: DisputeRow): Promise<void> {
  await tx.insertInto('payments.disputes').values(dispute).execute()
}

/** Money of a payment that its payer contests now: the vendor holds it. */
export async function contestedAmount(sql: Sql, payment_id: string): Promise<bigint> {
  const rows = await sql
    .selectFrom('payments.disputes')
    .select('amount')
    .where('payment_id', '=', payment_id)
    .where('status', '=', 'open')
    .execute()
  return rows.reduce((sum, { amount }) => sum + amount, 0n)
}

/** Disputes of a payment that its payer won, oldest first. */
export async function lostDisputes(sql: Sql, payment_id: string): Promise<DisputeRow[]> {
  const rows = await sql
    .selectFrom('payments.disputes')
    .selectAll()
    .where('payment_id', '=', payment_id)
    .where('status', '=', 'lost')
    .orderBy('created_at')
    .orderBy('id')
    .execute()
  return rows
}

/** Closes an open dispute; answers whether it was open. */
export async function closeDispute(tx: Tx, id: string, status: 'won' | 'lost', now: Date): Promise<boolean> {
  const row = await tx
    .updateTable('payments.disputes')
    .set({ status, closed_at: now, updated_at: now })
    .where('id', '=', id)
    .where('status', '=', 'open')
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

export async function listDisputes(
  sql: Sql,
  filter: { payment_id?: string | undefined },
  page: { limit: number; after?: { created_at: Date; id: string } | undefined },
): Promise<DisputeRow[]> {
  let query = sql.selectFrom('payments.disputes').selectAll()
  if (filter.payment_id !== undefined) query = query.where('payment_id', '=', filter.payment_id)
  if (page.after) {
    const { created_at, id } = page.after
    query = query.where((eb) => eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(created_at, id)))
  }
  return query
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
}
