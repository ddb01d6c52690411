import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'
import type { Position } from './endpoint-queries.ts'

/** A delivery as it is kept. */
export type DeliveryRow = Selectable<Database['notifications.webhook_deliveries']>

/** An event as the endpoints are told of it; `body` is what is signed. */
export type EventRow = Selectable<Database['notifications.webhook_events']>

export interface NewDelivery {
  id: string
  event_id: string
  endpoint_id: string
  attempts_left: number
}

/** Writes events and who is to be told of them; due at once. */
export async function insertDeliveries(
  tx: Tx,
  type: string,
  events: readonly EventRow[],
  deliveries: readonly NewDelivery[],
  now: Date,
): Promise<void> {
  await raw`
    insert into notifications.webhook_events (id, type, body, created_at)
    select u.id, ${type}, u.body, ${now}
      from unnest(${events.map(({ id }) => id)}::text[], ${events.map(({ body }) => body)}::text[])
        as u(id, body)`.execute(tx)
  await raw`
    insert into notifications.webhook_deliveries
      (id, event_id, endpoint_id, event_type, status, attempts_left, next_attempt_at, created_at)
    select u.id, u.event_id, u.endpoint_id, ${type}, 'pending', u.attempts_left, ${now}, ${now}
      from jsonb_to_recordset(${JSON.stringify(deliveries)}::jsonb)
        as u(id text, event_id text, endpoint_id text, attempts_left int)`.execute(tx)
}

/** A delivery that this process may send now, with everything that takes. */
export interface ClaimedDelivery {
  id: string
  event_id: string
  endpoint_id: string
  /** The number of this attempt. */
  attempts: number
  /** After this one. */
  attempts_left: number
  body: string
  url: string
  secret: string
  previous_secret: string | null
  previous_secret_expires_at: Date | null
}

/**
 * Takes due deliveries until `lease_until`, oldest first, at most `per_endpoint` of one endpoint less those
 * `busy` with it, and one of an endpoint that fails: one that hangs cannot take the room of the others.
 * Those of a process that died are taken again when their lease is over.
 */
export async function claimDeliveries(
  tx: Tx,
  claim: {
    now: Date
    lease_until: Date
    room: number
    per_endpoint: number
    busy: readonly (readonly [endpoint_id: string, count: number])[]
  },
): Promise<ClaimedDelivery[]> {
  const { now, lease_until, room, per_endpoint, busy } = claim
  const { rows } = await raw<ClaimedDelivery>`
    with due as materialized (
      select one.id
        from notifications.webhook_endpoints e
        left join unnest(${busy.map(([id]) => id)}::text[], ${busy.map(([, count]) => count)}::int[])
          b(endpoint_id, count) on b.endpoint_id = e.id
       cross join lateral (
         select d.id, d.next_attempt_at
           from notifications.webhook_deliveries d
          where d.endpoint_id = e.id and d.status in ('pending', 'sending') and d.next_attempt_at <= ${now}
          order by d.next_attempt_at, d.id
          limit greatest(0, case when e.failing_since is null then ${per_endpoint}::int else 1 end
            - coalesce(b.count, 0))
            for no key update skip locked) one
       where e.deleted_at is null and e.disabled_at is null
       order by one.next_attempt_at, one.id
       limit ${room})
    update notifications.webhook_deliveries d
       set status = 'sending', attempts = d.attempts + 1, attempts_left = greatest(0, d.attempts_left - 1),
           next_attempt_at = ${lease_until}, last_attempt_at = ${now}
      from due, notifications.webhook_endpoints e, notifications.webhook_events v
     where d.id = due.id and e.id = d.endpoint_id and v.id = d.event_id
    returning d.id, d.event_id, d.endpoint_id, d.attempts, d.attempts_left, v.body,
              e.url, e.secret, e.previous_secret, e.previous_secret_expires_at`.execute(tx)
  return rows
}

/** What an attempt ended with. */
export interface AttemptEnd {
  id: string
  /** The number of the attempt; an answer to an older one than the last changes nothing. */
  attempts: number
  status: 'pending' | 'succeeded' | 'failed'
  result: 'succeeded' | 'failed' | 'timeout' | 'refused' | null
  status_code: number | null
  next_attempt_at: string | null
  /** 1 gives back an attempt that did not take place. */
  given_back: number
}

/** Records ends; answers the ids of those that still counted. */
export async function endAttempts(tx: Tx, ends: readonly AttemptEnd[]): Promise<Set<string>> {
  const { rows } = await raw<{ id: string }>`
    with ended as materialized (
      select u.* from jsonb_to_recordset(${JSON.stringify(ends)}::jsonb)
        as u(id text, attempts int, status text, result text, status_code int, next_attempt_at timestamptz,
             given_back int)),
    locked as materialized (
      select d.id from notifications.webhook_deliveries d join ended u on u.id = d.id
       order by d.id for no key update of d)
    update notifications.webhook_deliveries d
       set status = u.status, result = coalesce(u.result, d.result), next_attempt_at = u.next_attempt_at,
           status_code = case when u.result is null then d.status_code else u.status_code end,
           attempts_left = d.attempts_left + u.given_back
      from ended u, locked l
     where d.id = u.id and l.id = u.id and d.status = 'sending' and d.attempts = u.attempts
    returning d.id`.execute(tx)
  return new Set(rows.map(({ id }) => id))
}

export async function findDelivery(sql: Sql, id: string): Promise<DeliveryRow | undefined> {
  return sql
    .selectFrom('notifications.webhook_deliveries')
    .selectAll()
    .where('id', '=', id)
    .executeTakeFirst()
}

export async function lockDelivery(tx: Tx, id: string): Promise<DeliveryRow | undefined> {
  return tx
    .selectFrom('notifications.webhook_deliveries')
    .selectAll()
    .where('id', '=', id)
    .forNoKeyUpdate()
    .executeTakeFirst()
}

/** Makes a locked delivery due now, with new attempts. */
export async function reopenDelivery(
  tx: Tx,
  id: string,
  reopened: { attempts_left: number; now: Date },
): Promise<DeliveryRow> {
  return tx
    .updateTable('notifications.webhook_deliveries')
    .set({ status: 'pending', attempts_left: reopened.attempts_left, next_attempt_at: reopened.now })
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirstOrThrow()
}

/** Closes what an endpoint that was deleted has not got. */
export async function cancelDeliveries(tx: Tx, endpoint_id: string): Promise<void> {
  await tx
    .updateTable('notifications.webhook_deliveries')
    .set({ status: 'canceled', next_attempt_at: null })
    .where('endpoint_id', '=', endpoint_id)
    .where('status', 'in', ['pending', 'sending'])
    .execute()
}

/** Conditions of a list; several mean all of them. */
export interface DeliveryFilter {
  webhook_endpoint_id?: string | undefined
  status?: DeliveryRow['status'] | undefined
  event_type?: string | undefined
}

/** Newest first; one row more than the limit. */
export async function listDeliveries(
  sql: Sql,
  filter: DeliveryFilter,
  page: { limit: number; after?: Position | undefined },
): Promise<DeliveryRow[]> {
  let query = sql.selectFrom('notifications.webhook_deliveries').selectAll()
  const { webhook_endpoint_id, status, event_type } = filter
  const { after } = page
  if (webhook_endpoint_id !== undefined) query = query.where('endpoint_id', '=', webhook_endpoint_id)
  if (status !== undefined) query = query.where('status', '=', status)
  if (event_type !== undefined) query = query.where('event_type', '=', event_type)
  if (after) {
    query = query.where((eb) =>
      eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(after.created_at, after.id)),
    )
  }
  return query
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
}

/** Deletes events made before a moment with their deliveries; answers how many, `limit` at most. */
export async function deleteOldEvents(tx: Tx, before: Date, limit: number): Promise<number> {
  const { numAffectedRows } = await raw`
    delete from notifications.webhook_events
     where id in (select id from notifications.webhook_events where created_at < ${before}
                   order by created_at limit ${limit})`.execute(tx)
  return Number(numAffectedRows ?? 0n)
}
