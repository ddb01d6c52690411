import { sql } from 'kysely'
import type { Sql } from '#kernel/db'

/** What the server says about itself. */
export interface ServerFacts {
  /** `180004` is 18.4. */
  version_number: number
  version: string
  database_ms: number
  fsync: string
  synchronous_commit: string
  full_page_writes: string
  encoding: string
  connections_max: number
  connections_used: number
}

export async function readServerFacts(db: Sql): Promise<ServerFacts> {
  const { rows } = await sql<ServerFacts>`
    select current_setting('server_version_num')::int as version_number,
      current_setting('server_version') as version,
      extract(epoch from clock_timestamp())::float8 * 1000 as database_ms,
      current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit,
      current_setting('full_page_writes') as full_page_writes, current_setting('server_encoding') as encoding,
      current_setting('max_connections')::int as connections_max,
      (select count(*)::int from pg_stat_activity
        where backend_type = 'client backend') as connections_used`.execute(db)
  const [facts] = rows
  if (!facts) throw new Error('the database answered nothing')
  return facts
}

/** Numbers of the migrations that were applied; `undefined` for a database that never was ours. */
export async function appliedMigrations(db: Sql): Promise<number[] | undefined> {
  const { rows } = await sql<{ is_there: boolean }>`
    select to_regclass('kernel.migrations') is not null as is_there`.execute(db)
  if (rows[0]?.is_there !== true) return undefined
  const applied = await sql<{ number: number }>`select number from kernel.migrations order by number`.execute(
    db,
  )
  return applied.rows.map((row) => row.number)
}
