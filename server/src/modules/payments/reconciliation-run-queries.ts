import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

export type ReconciliationRow = Selectable<Database['payments.reconciliations']>
export type DifferenceRow = Selectable<Database['payments.differences']>
export type CountedReconciliation = ReconciliationRow & { differences: number; open_differences: number }

/** Until when a gateway was compared without failing. */
export async function comparedUntil(sql: Sql, gateway: string): Promise<Date | undefined> {
  const row = await sql
    .selectFrom('payments.reconciliations')
    .select('to_at')
    .where('gateway', '=', gateway)
    .where('status', '=', 'done')
    .orderBy('to_at', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row?.to_at
}

/** The same time of the same gateway is one row; what was compared once is not undone by a later failure. */
export async function upsertReconciliation(
  tx: Tx,
  run: Omit<ReconciliationRow, 'updated_at'>,
): Promise<string | undefined> {
  const { id: _id, created_at, gateway: _gateway, from_at: _from, to_at: _to, ...facts } = run
  const row = await tx
    .insertInto('payments.reconciliations')
    .values({ ...run, updated_at: created_at })
    .onConflict((conflict) => {
      const update = conflict
        .columns(['gateway', 'from_at', 'to_at'])
        .doUpdateSet({ ...facts, updated_at: created_at })
      return run.status === 'done' ? update : update.where('payments.reconciliations.status', '=', 'failed')
    })
    .returning('id')
    .executeTakeFirst()
  return row?.id
}

interface NewDifference {
  id: string
  kind: string
  subject_id: string | null
  external_id: string | null
  ours: string
  theirs: string
  proposed: string
}

/** Keeps differences once each; answers their ids. A resolved one that is found again stays resolved. */
export async function keepDifferences(
  tx: Tx,
  gateway: string,
  differences: readonly NewDifference[],
  found_at: Date,
): Promise<string[]> {
  if (differences.length === 0) return []
  const { rows } = await raw<{ id: string }>`
    insert into payments.differences
      (id, gateway, kind, subject_id, external_id, ours, theirs, proposed, created_at, last_found_at)
    select d.id, ${gateway}, d.kind, d.subject_id, d.external_id, d.ours, d.theirs, d.proposed, ${found_at},
           ${found_at}
      from jsonb_to_recordset(${JSON.stringify(differences)}::jsonb) as d(id text, kind text,
        subject_id text, external_id text, ours text, theirs text, proposed text)
    on conflict (gateway, kind, coalesce(subject_id, ''), coalesce(external_id, ''), ours, theirs)
      do update set last_found_at = excluded.last_found_at
    returning id`.execute(tx)
  return rows.map(({ id }) => id)
}

export async function insertFindings(
  tx: Tx,
  reconciliation_id: string,
  difference_ids: readonly string[],
): Promise<void> {
  if (difference_ids.length === 0) return
  await tx
    .insertInto('payments.findings')
    .values(difference_ids.map((difference_id) => ({ reconciliation_id, difference_id })))
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

interface PagePosition {
  limit: number
  after?: { created_at: Date; id: string } | undefined
}

function counted(sql: Sql) {
  return sql
    .selectFrom('payments.reconciliations as r')
    .selectAll('r')
    .select((eb) => [
      eb
        .selectFrom('payments.findings as f')
        .whereRef('f.reconciliation_id', '=', 'r.id')
        .select(raw<number>`count(*)::int`.as('n'))
        .as('differences'),
      eb
        .selectFrom('payments.findings as f')
        .innerJoin('payments.differences as d', 'd.id', 'f.difference_id')
        .whereRef('f.reconciliation_id', '=', 'r.id')
        .where('d.status', '=', 'open')
        .select(raw<number>`count(*)::int`.as('n'))
        .as('open_differences'),
    ])
}

export async function listReconciliations(
  sql: Sql,
  filter: { gateway?: string | undefined },
  { limit, after }: PagePosition,
): Promise<CountedReconciliation[]> {
  let query = counted(sql)
  if (filter.gateway !== undefined) query = query.where('r.gateway', '=', filter.gateway)
  if (after)
    query = query.where((eb) =>
      eb(eb.refTuple('r.created_at', 'r.id'), '<', eb.tuple(after.created_at, after.id)),
    )
  const rows = await query
    .orderBy('r.created_at', 'desc')
    .orderBy('r.id', 'desc')
    .limit(limit + 1)
    .execute()
  return rows as CountedReconciliation[]
}

export async function findReconciliation(sql: Sql, id: string): Promise<CountedReconciliation | undefined> {
  const row = await counted(sql).where('r.id', '=', id).executeTakeFirst()
  return row as CountedReconciliation | undefined
}

export async function listDifferences(
  sql: Sql,
  filter: { reconciliation_id: string; status?: 'open' | 'resolved' | undefined },
  { limit, after }: PagePosition,
): Promise<DifferenceRow[]> {
  let query = sql
    .selectFrom('payments.findings as f')
    .innerJoin('payments.differences as d', 'd.id', 'f.difference_id')
    .selectAll('d')
    .where('f.reconciliation_id', '=', filter.reconciliation_id)
  if (filter.status !== undefined) query = query.where('d.status', '=', filter.status)
  if (after)
    query = query.where((eb) =>
      eb(eb.refTuple('d.created_at', 'd.id'), '<', eb.tuple(after.created_at, after.id)),
    )
  return query
    .orderBy('d.created_at', 'desc')
    .orderBy('d.id', 'desc')
    .limit(limit + 1)
    .execute()
}

/** A difference as this comparison found it, held until the transaction ends. */
export function lockDifference(
  tx: Tx,
  reconciliation_id: string,
  id: string,
): Promise<DifferenceRow | undefined> {
  return tx
    .selectFrom('payments.differences as d')
    .innerJoin('payments.findings as f', 'f.difference_id', 'd.id')
    .selectAll('d')
    .where('f.reconciliation_id', '=', reconciliation_id)
    .where('d.id', '=', id)
    .forNoKeyUpdate(['d'])
    .executeTakeFirst()
}

export async function setResolved(
  tx: Tx,
  id: string,
  resolved: { note: string; resolved_by: string; resolved_at: Date },
): Promise<void> {
  await tx
    .updateTable('payments.differences')
    .set({ status: 'resolved', ...resolved })
    .where('id', '=', id)
    .execute()
}
