import { sql as raw } from 'kysely'
import type { VendorEvent } from '@kopilka/extension'
import type { Sql, Tx } from '#kernel/db'

export const INBOX_STATUSES = ['received', 'handling', 'handled', 'failed'] as const
export type InboxStatus = (typeof INBOX_STATUSES)[number]

/** A notification as people see it: without its bytes, which may hold more about a buyer than they need. */
export interface InboxEventRow {
  id: bigint
  gateway: string
  external_event_id: string
  type: string
  trust: 'signed' | 'hint'
  status: InboxStatus
  outcome: string | null
  error: string | null
  attempts: number
  repeats: number
  received_at: Date
  opened_at: Date | null
  next_attempt_at: Date
  handled_at: Date | null
}

export interface NewInboxEvent {
  gateway: string
  external_event_id: string
  type: string
  trust: 'signed' | 'hint'
  /** The event as JSON text; amounts as strings of digits. */
  event: string
  raw_body: Buffer
  remote_address: string
  received_at: Date
}

export interface InboxRow {
  id: bigint
  gateway: string
  trust: 'signed' | 'hint'
  event: unknown
  attempts: number
}

/**
 * Stores notifications. A repeat of a proved event is dropped. A repeat of a mere hint is opened again: the
 * first may have been forged or early, and reading the vendor's object once more is always safe. So is one of
 * either kind that was given up: the vendor still knows what nobody here does.
 */
export async function insertEvents(tx: Tx, events: readonly NewInboxEvent[]): Promise<void> {
  const rows = JSON.stringify(
    events.map((event) => ({
      gateway: event.gateway,
      external_event_id: event.external_event_id,
      type: event.type,
      trust: event.trust,
      event: event.event,
      raw_body: event.raw_body.toString('hex'),
      remote_address: event.remote_address,
      received_at: event.received_at.toISOString(),
    })),
  )
  await raw`/* payments.insertEvents */
    insert into payments.inbox as i
      (gateway, external_event_id, type, trust, event, raw_body, remote_address, received_at, next_attempt_at)
    select distinct on (u.gateway, u.external_event_id)
           u.gateway, u.external_event_id, u.type, u.trust, u.event::jsonb, decode(u.raw_body, 'hex'),
           u.remote_address, u.received_at, u.received_at
      from json_to_recordset(${rows}::json) as u(
        gateway text, external_event_id text, type text, trust text, event text, raw_body text,
        remote_address text, received_at timestamptz)
     order by u.gateway, u.external_event_id
    on conflict (gateway, external_event_id) do update
       set repeats = i.repeats + 1,
           status = 'received',
           attempts = case when i.status = 'handling' then i.attempts else 0 end,
           opened_at = excluded.received_at,
           next_attempt_at = case when i.status = 'handling' then
             least(i.next_attempt_at, excluded.next_attempt_at + interval '2 seconds')
             else excluded.next_attempt_at end
     where (i.trust = 'hint' and i.status in ('handled', 'handling')) or i.status = 'failed'`.execute(tx)
}

/**
 * Locks waiting events, the longest waiting first; those of a process that died are waiting again after its
 * lease. What another process has locked is left to it, and so
 * are the gateways in `except`.
 */
export async function lockDueEvents(
  tx: Tx,
  now: Date,
  { limit, except = [] }: { limit: number; except?: readonly string[] },
): Promise<InboxRow[]> {
  const { rows } = await raw<InboxRow>`
    select i.id, i.gateway, i.trust, i.event, i.attempts from payments.inbox i
     where i.status in ('received', 'handling') and i.next_attempt_at <= ${now}
       and i.gateway <> all(${[...except]}::text[])
     order by i.next_attempt_at, i.id limit ${limit} for update skip locked`.execute(tx)
  return rows
}

/** Takes locked events for `lease_until`; answers them as they are then. */
export async function claimEvents(
  tx: Tx,
  events: readonly InboxRow[],
  lease_until: Date,
): Promise<InboxRow[]> {
  if (events.length === 0) return []
  await raw`
    update payments.inbox i set status = 'handling', next_attempt_at = ${lease_until}, attempts = attempts + 1
     where i.id = any(${events.map((event) => event.id)}::bigint[])`.execute(tx)
  return events.map((event) => ({ ...event, attempts: event.attempts + 1 }))
}

/**
 * Closes handled events. One that was opened again meanwhile stays open: only a mere hint is, and hints are
 * always claimed first.
 */
export async function closeEvents(
  tx: Tx,
  closed: readonly { id: bigint; outcome: string }[],
  handled_at: Date,
): Promise<void> {
  if (closed.length === 0) return
  await raw`
    update payments.inbox i set status = 'handled', outcome = u.outcome, handled_at = ${handled_at}, error =
      null
      from unnest(${closed.map((row) => row.id)}::bigint[], ${closed.map((row) => row.outcome)}::text[])
        u(id, outcome)
     where i.id = u.id and (i.status = 'handling' or i.trust = 'signed')`.execute(tx)
}

/**
 * Puts an event back for later, or aside for a person when it failed too often. One that proved all it says
 * was not claimed: this was its attempt.
 */
export async function postponeEvents(
  tx: Tx,
  events: readonly { id: bigint; next_attempt_at: Date; error: string; is_dead: boolean }[],
): Promise<void> {
  for (const event of events) {
    await tx
      .updateTable('payments.inbox')
      .set((eb) => ({
        status: event.is_dead ? 'failed' : 'received',
        next_attempt_at: event.next_attempt_at,
        attempts: eb
          .case()
          .when('status', '=', 'received')
          .then(eb('attempts', '+', 1))
          .else(eb.ref('attempts'))
          .end(),
        error: event.error.slice(0, 500),
      }))
      .where('id', '=', event.id)
      .where((eb) => eb.or([eb('status', '=', 'handling'), eb('trust', '=', 'signed')]))
      .execute()
  }
}

/** Of one status, newest first; `after` is the last one of the page before. */
export function listInboxEvents(
  sql: Sql,
  filter: { status: InboxStatus; gateway?: string | undefined },
  page: { limit: number; after?: bigint | undefined },
): Promise<InboxEventRow[]> {
  let query = sql.selectFrom('payments.inbox').select(SHOWN).where('status', '=', filter.status)
  if (filter.gateway !== undefined) query = query.where('gateway', '=', filter.gateway)
  if (page.after !== undefined) query = query.where('id', '<', page.after)
  return query
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .$castTo<InboxEventRow>()
    .execute()
}

export function findInboxEvent(sql: Sql, id: bigint): Promise<InboxEventRow | undefined> {
  return sql
    .selectFrom('payments.inbox')
    .select(SHOWN)
    .where('id', '=', id)
    .$castTo<InboxEventRow>()
    .executeTakeFirst()
}

/** How many were given up, by gateway; gateways without any are missing. */
export async function countFailedEvents(sql: Sql): Promise<Record<string, number>> {
  const { rows } = await raw<{ gateway: string; count: number }>`
    select gateway, count(*)::int as count from payments.inbox where status = 'failed' group by gateway
     order by gateway`.execute(sql)
  return Object.fromEntries(rows.map(({ gateway, count }) => [gateway, count]))
}

export async function lockFailedEvents(
  tx: Tx,
  { gateway, limit }: { gateway?: string | undefined; limit: number },
): Promise<bigint[]> {
  let query = tx.selectFrom('payments.inbox').select('id').where('status', '=', 'failed')
  if (gateway !== undefined) query = query.where('gateway', '=', gateway)
  const rows = await query.orderBy('id').limit(limit).forUpdate().execute()
  return rows.map(({ id }) => id)
}

/** Makes them due now, as if they had just come; one that is being handled is left alone. */
export async function reopenEvents(tx: Tx, ids: readonly bigint[], now: Date): Promise<void> {
  if (ids.length === 0) return
  await tx
    .updateTable('payments.inbox')
    .set({ status: 'received', attempts: 0, opened_at: now, next_attempt_at: now })
    .where('id', 'in', [...ids])
    .where('status', '<>', 'handling')
    .execute()
}

const SHOWN = [
  'id',
  'gateway',
  'external_event_id',
  'type',
  'trust',
  'status',
  'outcome',
  'error',
  'attempts',
  'repeats',
  'received_at',
  'opened_at',
  'next_attempt_at',
  'handled_at',
] as const

/** Wire text of an event for the inbox: amounts as strings of digits, moments as ISO texts. */
export function eventText(event: VendorEvent): string {
  return JSON.stringify(event, (_name, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
}
