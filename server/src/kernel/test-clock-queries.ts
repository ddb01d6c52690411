import { sql as raw } from 'kysely'
import type { Sql, Tx } from './db.ts'

const NAME = 'test_clock_offset_ms'

export async function readTime(sql: Sql): Promise<{ database_ms: number; offset_ms: number }> {
  const { rows } = await raw<{ database_ms: string; offset_ms: string }>`
    select (extract(epoch from clock_timestamp()) * 1000)::bigint::text as database_ms,
           coalesce((select value #>> '{}' from kernel.settings where name = ${NAME}), '0') as offset_ms`
    .execute(sql as never)
  return { database_ms: Number(rows[0]?.database_ms), offset_ms: Number(rows[0]?.offset_ms) }
}

export async function addOffset(tx: Tx, milliseconds: number): Promise<number> {
  const { rows } = await raw<{ offset_ms: string }>`
    insert into kernel.settings (name, value) values (${NAME}, to_jsonb(${milliseconds}::bigint))
    on conflict (name) do update
      set value = to_jsonb((kernel.settings.value #>> '{}')::bigint + ${milliseconds}::bigint), updated_at = now()
    returning value #>> '{}' as offset_ms`.execute(tx)
  return Number(rows[0]?.offset_ms)
}
