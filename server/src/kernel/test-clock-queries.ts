import { sql } from 'kysely'
import type { Sql, Tx } from './db.ts'

const NAME = 'test_clock_offset_ms'

/** The database's time at this very moment and how far the sandbox's clock was moved. */
export async function readClock(db: Sql): Promise<{ database_ms: number; offset_ms: number }> {
  const { rows } = await sql<{ database_ms: number; offset_ms: number }>`
    select extract(epoch from clock_timestamp())::float8 * 1000 as database_ms,
      coalesce(
        (select (value #>> '{}')::float8 from kernel.settings where name = ${NAME}), 0) as offset_ms`.execute(
    db,
  )
  return rows[0] ?? { database_ms: Date.now(), offset_ms: 0 }
}

/** Adds to the offset and answers the new one. Waits for a rival that moves the clock too. */
export async function addToOffset(tx: Tx, milliseconds: number): Promise<number> {
  const { rows } = await sql<{ offset_ms: number }>`
    insert into kernel.settings as s (name, value)
    values (${NAME}, to_jsonb(${milliseconds}::int8))
    on conflict (name) do update
      set value = to_jsonb((s.value #>> '{}')::int8 + ${milliseconds}::int8), updated_at = default
    returning (value #>> '{}')::float8 as offset_ms`.execute(tx)
  return rows[0]?.offset_ms ?? 0
}

/** How far the sandbox's clock has been moved in all, if it was moved in the last `seconds`; else 0. */
export async function offsetMovedWithin(db: Sql, seconds: number): Promise<number> {
  const { rows } = await sql<{ offset_ms: number }>`
    select (value #>> '{}')::float8 as offset_ms
    from kernel.settings
    where name = ${NAME} and updated_at > clock_timestamp() - make_interval(secs => ${seconds})`.execute(db)
  return rows[0]?.offset_ms ?? 0
}
