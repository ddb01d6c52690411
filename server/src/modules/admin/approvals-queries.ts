import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

export type ApprovalRow = Selectable<Database['admin.approvals']>
export type ApprovalLimitRow = Selectable<Database['admin.approval_limits']>

export async function findLimit(
  sql: Sql,
  place: Pick<ApprovalLimitRow, 'kind' | 'measure'>,
): Promise<ApprovalLimitRow | undefined> {
  return sql
    .selectFrom('admin.approval_limits')
    .selectAll()
    .where('kind', '=', place.kind)
    .where('measure', '=', place.measure)
    .executeTakeFirst()
}

export async function listLimits(sql: Sql): Promise<ApprovalLimitRow[]> {
  return sql
    .selectFrom('admin.approval_limits')
    .selectAll()
    .orderBy('kind')
    .orderBy('measure')
    .limit(1000)
    .execute()
}

export async function upsertLimit(tx: Tx, row: ApprovalLimitRow): Promise<void> {
  const { amount, updated_by, updated_at } = row
  await tx
    .insertInto('admin.approval_limits')
    .values(row)
    .onConflict((conflict) =>
      conflict.columns(['kind', 'measure']).doUpdateSet({ amount, updated_by, updated_at }),
    )
    .execute()
}

export async function deleteLimit(tx: Tx, place: Pick<ApprovalLimitRow, 'kind' | 'measure'>): Promise<void> {
  await tx
    .deleteFrom('admin.approval_limits')
    .where('kind', '=', place.kind)
    .where('measure', '=', place.measure)
    .execute()
}

/** `input` is JSON text. */
export async function insertApproval(
  tx: Tx,
  row: Pick<
    ApprovalRow,
    | 'id'
    | 'kind'
    | 'amount'
    | 'measure'
    | 'resource_id'
    | 'reason'
    | 'requested_by'
    | 'requested_by_user'
    | 'requested_at'
    | 'expires_at'
  > & { input: string },
): Promise<ApprovalRow> {
  return tx
    .insertInto('admin.approvals')
    .values({ ...row, status: 'pending' })
    .returningAll()
    .executeTakeFirstOrThrow()
}

export async function findApproval(sql: Sql, id: string): Promise<ApprovalRow | undefined> {
  return sql.selectFrom('admin.approvals').selectAll().where('id', '=', id).executeTakeFirst()
}

export async function lockApproval(tx: Tx, id: string): Promise<ApprovalRow | undefined> {
  return tx.selectFrom('admin.approvals').selectAll().where('id', '=', id).forUpdate().executeTakeFirst()
}

/** What somebody agreed to, by the id of what it makes. */
export async function findAgreed(
  sql: Sql,
  place: Pick<ApprovalRow, 'kind' | 'resource_id'>,
): Promise<ApprovalRow | undefined> {
  return sql
    .selectFrom('admin.approvals')
    .selectAll()
    .where('kind', '=', place.kind)
    .where('resource_id', '=', place.resource_id)
    .where('status', '=', 'approved')
    .executeTakeFirst()
}

/** Newest first; one more than the limit. Ids ascend with time. */
export async function listApprovals(
  sql: Sql,
  filter: { status?: ApprovalRow['status'] | undefined },
  page: { limit: number; before?: string | undefined },
): Promise<ApprovalRow[]> {
  let query = sql.selectFrom('admin.approvals').selectAll()
  if (filter.status !== undefined) query = query.where('status', '=', filter.status)
  if (page.before !== undefined) query = query.where('id', '<', page.before)
  return query
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
}

export async function decideApproval(
  tx: Tx,
  decision: {
    id: string
    status: 'approved' | 'rejected'
    decided_by: string
    decided_at: Date
    decision_note: string | null
  },
): Promise<void> {
  const { id, ...facts } = decision
  await tx
    .updateTable('admin.approvals')
    .set(facts)
    .where('id', '=', id)
    .where('status', '=', 'pending')
    .execute()
}

export async function markDone(tx: Tx, id: string, now: Date): Promise<void> {
  await tx
    .updateTable('admin.approvals')
    .set((eb) => ({ done_at: eb.fn.coalesce('done_at', eb.val(now)) }))
    .where('id', '=', id)
    .execute()
}

/** Ends what nobody decided in time. Answers how many. */
export async function expireApprovals(tx: Tx, now: Date): Promise<number> {
  const { numUpdatedRows } = await tx
    .updateTable('admin.approvals')
    .set({ status: 'expired' })
    .where('status', '=', 'pending')
    .where('expires_at', '<=', now)
    .executeTakeFirst()
  return Number(numUpdatedRows)
}

/** What one person did alone to one customer, by kind and currency or unit. */
type LoneActs = Pick<
  Selectable<Database['admin.lone_acts']>,
  'kind' | 'measure' | 'person_id' | 'customer_id'
>

/** Makes whoever does the same to the same customer wait until this one is decided. */
export async function lockLoneActs(tx: Tx, acts: LoneActs): Promise<void> {
  const name = ['admin.lone_acts', acts.kind, acts.measure, acts.person_id, acts.customer_id].join('\n')
  await raw`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`.execute(tx)
}

export async function sumLoneActs(sql: Sql, acts: LoneActs, since: Date): Promise<bigint> {
  const { total } = await sql
    .selectFrom('admin.lone_acts')
    .select(raw<bigint>`coalesce(sum(amount), 0)::bigint`.as('total'))
    .where('kind', '=', acts.kind)
    .where('measure', '=', acts.measure)
    .where('person_id', '=', acts.person_id)
    .where('customer_id', '=', acts.customer_id)
    .where('created_at', '>', since)
    .executeTakeFirstOrThrow()
  return total
}

export async function insertLoneAct(
  tx: Tx,
  act: LoneActs & { amount: bigint; created_at: Date },
): Promise<void> {
  await tx.insertInto('admin.lone_acts').values(act).execute()
}

export async function deleteLoneActs(tx: Tx, before: Date): Promise<void> {
  await tx.deleteFrom('admin.lone_acts').where('created_at', '<=', before).execute()
}
