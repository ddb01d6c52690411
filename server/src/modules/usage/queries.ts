import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

export type MeterRow = Omit<Selectable<Database['usage.meters']>, 'round_per'> & {
  round_per: 'request' | 'session'
}
export type RateCardRow = Omit<Selectable<Database['usage.rate_cards']>, 'round_per'> & {
  round_per: 'request' | 'session'
}
export type MeterEventRow = Omit<Selectable<Database['usage.meter_events']>, 'slices'> & {
  slices: { grant_id: string; amount: number }[]
}
export type SessionRow = Selectable<Database['usage.sessions']>

export async function findMeter(sql: Sql, code: string): Promise<MeterRow | undefined> {
  const row = await sql.selectFrom('usage.meters').selectAll().where('code', '=', code).executeTakeFirst()
  return row
}

export async function listMeters(sql: Sql, limit: number, after: string | undefined): Promise<MeterRow[]> {
  let query = sql.selectFrom('usage.meters').selectAll()
  if (after !== undefined) query = query.where('code', '>', after)
  return await query
    .orderBy('code')
    .limit(limit + 1)
    .execute()
}

/** Sets what a use costs; the same again changes nothing. */
export async function upsertMeter(
  tx: Tx,
  meter: Omit<MeterRow, 'created_at' | 'updated_at'>,
  now: Date,
): Promise<MeterRow> {
  const { code: _code, ...changes } = meter
  const row = await tx
    .insertInto('usage.meters')
    .values({ ...meter, created_at: now, updated_at: now })
    .onConflict((conflict) => conflict.column('code').doUpdateSet({ ...changes, updated_at: now }))
    .returningAll()
    .executeTakeFirstOrThrow()
  return row
}

/** The card that was in force at the moment; of several the newest. */
export async function findRateCard(
  sql: Sql,
  provider: string,
  mode: string,
  at: Date,
): Promise<RateCardRow | undefined> {
  const row = await sql
    .selectFrom('usage.rate_cards')
    .selectAll()
    .where('provider', '=', provider)
    .where('mode', '=', mode)
    .where('effective_from', '<=', at)
    .where((eb) => eb.or([eb('effective_to', 'is', null), eb('effective_to', '>', at)]))
    .orderBy('effective_from', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row
}

export async function listRateCards(
  sql: Sql,
  limit: number,
  after: string | undefined,
): Promise<RateCardRow[]> {
  let query = sql.selectFrom('usage.rate_cards').selectAll()
  if (after !== undefined) query = query.where('id', '>', after)
  return await query
    .orderBy('id')
    .limit(limit + 1)
    .execute()
}

export async function upsertRateCard(tx: Tx, card: RateCardRow): Promise<RateCardRow> {
  const {
    id: _id,
    created_at: _created,
    provider: _provider,
    mode: _mode,
    effective_from: _from,
    ...changes
  } = card
  const row = await tx
    .insertInto('usage.rate_cards')
    .values(card)
    .onConflict((conflict) => conflict.columns(['provider', 'mode', 'effective_from']).doUpdateSet(changes))
    .returningAll()
    .executeTakeFirstOrThrow()
  return row
}

/** The session's row, locked; made when it is new. Pieces of one session are rated one after another. */
export async function lockSession(
  tx: Tx,
  key: { customer_id: string; meter: string; session_id: string; channels: number },
  now: Date,
): Promise<SessionRow> {
  await tx
    .insertInto('usage.sessions')
    .values({ ...key, duration_ms: 0n, billed_ms: 0n, updated_at: now })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  return tx
    .selectFrom('usage.sessions')
    .selectAll()
    .where('customer_id', '=', key.customer_id)
    .where('meter', '=', key.meter)
    .where('session_id', '=', key.session_id)
    .forUpdate()
    .executeTakeFirstOrThrow()
}

export async function updateSession(tx: Tx, session: SessionRow): Promise<void> {
  await tx
    .updateTable('usage.sessions')
    .set({
      duration_ms: session.duration_ms,
      billed_ms: session.billed_ms,
      cost_ms: session.cost_ms,
      updated_at: session.updated_at,
    })
    .where('customer_id', '=', session.customer_id)
    .where('meter', '=', session.meter)
    .where('session_id', '=', session.session_id)
    .execute()
}

export async function findSession(
  sql: Sql,
  key: { customer_id: string; meter: string; session_id: string },
): Promise<SessionRow | undefined> {
  return sql
    .selectFrom('usage.sessions')
    .selectAll()
    .where('customer_id', '=', key.customer_id)
    .where('meter', '=', key.meter)
    .where('session_id', '=', key.session_id)
    .executeTakeFirst()
}

export async function findEvent(
  sql: Sql,
  key: { customer_id: string; meter: string; event_id: string },
): Promise<MeterEventRow | undefined> {
  const row = await sql
    .selectFrom('usage.meter_events')
    .selectAll()
    .where('customer_id', '=', key.customer_id)
    .where('meter', '=', key.meter)
    .where('event_id', '=', key.event_id)
    .executeTakeFirst()
  return row as MeterEventRow | undefined
}

/** Serialises the callers of one event: the second waits and then finds the first one's row. */
export async function lockEventName(
  tx: Tx,
  key: { customer_id: string; meter: string; event_id: string },
): Promise<void> {
  const name = `${key.customer_id} ${key.meter} ${key.event_id}`
  await raw`select pg_advisory_xact_lock(hashtextextended(${name}, 7))`.execute(tx)
}

export async function insertEvent(tx: Tx, event: MeterEventRow): Promise<void> {
  await tx
    .insertInto('usage.meter_events')
    .values({ ...event, slices: raw`${JSON.stringify(event.slices)}::jsonb` })
    .execute()
}

export async function listEvents(
  sql: Sql,
  filter: { customer_id?: string | undefined; meter?: string | undefined },
  page: { limit: number; after?: { created_at: Date; id: string } | undefined },
): Promise<MeterEventRow[]> {
  let query = sql.selectFrom('usage.meter_events').selectAll()
  if (filter.customer_id !== undefined) query = query.where('customer_id', '=', filter.customer_id)
  if (filter.meter !== undefined) query = query.where('meter', '=', filter.meter)
  if (page.after) {
    const { created_at, id } = page.after
    query = query.where((eb) => eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(created_at, id)))
  }
  const rows = await query
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
  return rows as unknown as MeterEventRow[]
}
