import type { WriteAudit } from '#http/routing'
import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { wireJson } from '#kernel/json'
import { type Cursors, type Page, toPage } from '#kernel/page'
import * as queries from './audit-queries.ts'

/** Who did what to what, from where. */
export type AuditRecord = queries.AuditRow
export type AuditFilter = queries.AuditFilter

export interface NewAuditRecord {
  /** The caller, as the HTTP edge knows him; `program` for commands. */
  actor: { kind: 'key' | 'user' | 'anonymous' | 'program'; id: string; impersonator_id?: string }
  /** `noun.past_participle` */
  action: string
  subject_id?: string | undefined
  /**
   * What it was and what it became. No secrets, and of people only what changed, never their e-mail or name.
   */
  before?: unknown
  after?: unknown
  reason?: string | undefined
  address?: string | undefined
  request_id?: string | undefined
}

/** Longer pictures are left out: the log says what was done, the thing itself says what it is. */
const PICTURE_MAX = 16_384

/**
 * Writes one row of the audit log in the transaction of what it tells, so that neither is without the other.
 * To be called last: until the commit, everybody else who writes the log waits. Answers the row's number.
 */
export async function writeAudit(tx: Tx, clock: Clock, record: NewAuditRecord): Promise<bigint> {
  return queries.appendAudit(tx, {
    actor_id: record.actor.id,
    actor_kind: record.actor.kind,
    impersonator_id: record.actor.impersonator_id ?? null,
    action: record.action,
    subject_id: record.subject_id ?? null,
    before: picture(record.before),
    after: picture(record.after),
    reason: record.reason ?? null,
    address: record.address ?? null,
    request_id: record.request_id ?? null,
    created_at: clock.now(),
  })
}

/** What routes that say `audit` write through; see {@link writeAudit}. */
export function auditWriter(clock: Clock): WriteAudit {
  return async (tx, act) => {
    await writeAudit(tx, clock, act)
  }
}

/** The log, newest first. Throws InvalidRequest for a foreign cursor. */
export async function listAudit(
  sql: Sql,
  cursors: Cursors,
  filter: AuditFilter,
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<AuditRecord>> {
  const [before] = page.cursor === undefined ? [] : cursors.open('audit_log', page.cursor)
  const rows = await queries.listAudit(sql, filter, {
    limit: page.limit,
    before: before === undefined ? undefined : BigInt(before),
  })
  return toPage(
    rows,
    page.limit,
    cursors,
    'audit_log',
    (row) => [String(row.sequence)],
    (row) => row,
  )
}

/** What must be true of the audit log, for verification. */
export const identityInvariants = [
  { name: 'audit_log_is_whole', find: (sql: Sql, limit: number) => queries.findBrokenAudit(sql, limit) },
] as const

function picture(value: unknown): string | null {
  if (value === undefined || value === null) return null
  const text = wireJson(value)
  return text.length <= PICTURE_MAX ? text : wireJson({ is_left_out: true, length: text.length })
}
