import { sql as raw, type Insertable, type Selectable, type Updateable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

type Table = Database['notifications.webhook_endpoints']

/** An endpoint as it is kept; the secrets are sealed. */
export type EndpointRow = Selectable<Table>

/** Where a list goes on: after this row. */
export interface Position {
  created_at: Date
  id: string
}

/** Counts the endpoints that are not deleted; callers wait for each other, so the count stays true. */
export async function countEndpoints(tx: Tx): Promise<number> {
  await raw`select pg_advisory_xact_lock(hashtext('notifications.webhook_endpoints'))`.execute(tx)
  const row = await tx
    .selectFrom('notifications.webhook_endpoints')
    .select((eb) => eb.fn.countAll<bigint>().as('count'))
    .where('deleted_at', 'is', null)
    .executeTakeFirstOrThrow()
  return Number(row.count)
}

export async function insertEndpoint(tx: Tx, endpoint: Insertable<Table>): Promise<EndpointRow> {
  return tx
    .insertInto('notifications.webhook_endpoints')
    .values(endpoint)
    .returningAll()
    .executeTakeFirstOrThrow()
}

export async function findEndpoint(sql: Sql, id: string): Promise<EndpointRow | undefined> {
  return sql
    .selectFrom('notifications.webhook_endpoints')
    .selectAll()
    .where('id', '=', id)
    .where('deleted_at', 'is', null)
    .executeTakeFirst()
}

/** Newest first; one row more than the limit. */
export async function listEndpoints(
  sql: Sql,
  page: { limit: number; after?: Position | undefined },
): Promise<EndpointRow[]> {
  let query = sql.selectFrom('notifications.webhook_endpoints').selectAll().where('deleted_at', 'is', null)
  const { after } = page
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

/** Locks an endpoint until the transaction ends; deliveries may be added meanwhile. */
export async function lockEndpoint(tx: Tx, id: string): Promise<EndpointRow | undefined> {
  return tx
    .selectFrom('notifications.webhook_endpoints')
    .selectAll()
    .where('id', '=', id)
    .where('deleted_at', 'is', null)
    .forNoKeyUpdate()
    .executeTakeFirst()
}

/** Changes a locked endpoint. */
export async function updateEndpoint(tx: Tx, id: string, change: Updateable<Table>): Promise<EndpointRow> {
  return tx
    .updateTable('notifications.webhook_endpoints')
    .set(change)
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirstOrThrow()
}

/** The endpoints that want to be told of events of this type. */
export async function findMatchingEndpoints(sql: Sql, type: string): Promise<string[]> {
  const { rows } = await raw<{ id: string }>`
    select id
      from notifications.webhook_endpoints
     where deleted_at is null and disabled_at is null and event_types && array['*', ${type}]::text[]
     order by id`.execute(sql)
  return rows.map(({ id }) => id)
}

/** Every endpoint's sealed secrets, for a new key. */
export async function listSealed(
  sql: Sql,
): Promise<Pick<EndpointRow, 'id' | 'secret' | 'previous_secret'>[]> {
  return sql
    .selectFrom('notifications.webhook_endpoints')
    .select(['id', 'secret', 'previous_secret'])
    .where('deleted_at', 'is', null)
    .orderBy('id')
    .execute()
}
