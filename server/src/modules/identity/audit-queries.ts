import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

/** A row of the audit log without its place in the chain. */
export type AuditRow = Omit<Selectable<Database['identity.audit_log']>, 'hash'>

const COLUMNS = [
  'sequence',
  'actor_id',
  'actor_kind',
  'impersonator_id',
  'action',
  'subject_id',
  'before',
  'after',
  'reason',
  'address',
  'request_id',
  'created_at',
] as const

/** Appends a row; waits for whoever appends at the same time. Answers its sequence. */
export async function appendAudit(
  tx: Tx,
  row: Omit<AuditRow, 'sequence' | 'before' | 'after'> & { before: string | null; after: string | null },
): Promise<bigint> {
  const { rows } = await raw<{ sequence: bigint }>`
    select identity.append_audit(${row.actor_id}, ${row.actor_kind}, ${row.impersonator_id}, ${row.action},
      ${row.subject_id}, ${row.before}::jsonb, ${row.after}::jsonb, ${row.reason}, ${row.address},
      ${row.request_id},
      ${row.created_at}) as sequence`.execute(tx)
  return rows[0]?.sequence ?? 0n
}

export interface AuditFilter {
  actor_id?: string | undefined
  action?: string | undefined
  subject_id?: string | undefined
}

/** Newest first; one more than the limit. */
export async function listAudit(
  sql: Sql,
  filter: AuditFilter,
  page: { limit: number; before?: bigint | undefined },
): Promise<AuditRow[]> {
  let query = sql.selectFrom('identity.audit_log').select(COLUMNS)
  const { actor_id } = filter
  if (actor_id !== undefined) {
    query = query.where((eb) => eb.or([eb('actor_id', '=', actor_id), eb('impersonator_id', '=', actor_id)]))
  }
  if (filter.action !== undefined) query = query.where('action', '=', filter.action)
  if (filter.subject_id !== undefined) query = query.where('subject_id', '=', filter.subject_id)
  if (page.before !== undefined) query = query.where('sequence', '<', page.before)
  return query
    .orderBy('sequence', 'desc')
    .limit(page.limit + 1)
    .execute()
}

/** Rows whose hash does not follow from them and the row before, gaps, and an end that is not the head's. */
export async function findBrokenAudit(sql: Sql, limit: number): Promise<string[]> {
  const { rows } = await raw<{ detail: string }>`
    with chain as (
      select entry.sequence, entry.hash,
        lag(entry.sequence, 1, 0::bigint) over w as sequence_before,
        sha256(lag(entry.hash, 1, decode(repeat('00', 32), 'hex')) over w
          || convert_to(identity.canonical_audit(entry), 'UTF8')) as expected
      from identity.audit_log entry window w as (order by entry.sequence)
    ), broken as (
      select sequence, format('audit log %s follows on %s: rows are missing', sequence, sequence_before)
          as detail
        from chain where sequence <> sequence_before + 1
      union all
      select sequence, format('audit log %s was changed, or the row before it was', sequence)
        from chain where hash <> expected and sequence = sequence_before + 1
      union all
      select head.sequence, 
          format('the audit log ends at %s and its head says %s', coalesce(last.sequence, 0), head.sequence)
        from identity.audit_head head
        left join lateral (
          select sequence, hash from identity.audit_log order by sequence desc limit 1
        ) last on true
       where coalesce(last.sequence, 0) <> head.sequence
          or coalesce(last.hash, decode(repeat('00', 32), 'hex')) <> head.hash
      union all
      select 0, 'the head of the audit log is gone' where not exists (select 1 from identity.audit_head)
    )
    select detail from broken order by sequence limit ${limit}`.execute(sql)
  return rows.map((row) => row.detail)
}
