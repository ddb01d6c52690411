import { sql as raw } from 'kysely'
import type { Sql, Tx } from '#kernel/db'

/** One attempt as the statement sees it; intervals in milliseconds. */
export interface AttemptRow {
  key_digest: Buffer
  now: Date
  interval_ms: number
  period_ms: number
}

/** Takes one attempt from a key's allowance; false when it is used up, and then nothing is taken. */
export async function takeAttempt(tx: Tx, attempt: AttemptRow): Promise<boolean> {
  const { key_digest, now, interval_ms, period_ms } = attempt
  const { rows } = await raw<{ full_at: Date }>`
    insert into identity.attempts as a (key_digest, full_at)
    values (${key_digest}, ${now}::timestamptz + ${interval_ms} * interval '1 millisecond')
    on conflict (key_digest) do update
    set full_at = greatest(a.full_at, ${now}) + ${interval_ms} * interval '1 millisecond'
    where greatest(a.full_at, ${now}) + ${interval_ms} * interval '1 millisecond'
      <= ${now}::timestamptz + ${period_ms} * interval '1 millisecond'
    returning full_at`.execute(tx)
  return rows.length > 0
}

/** Gives attempts back that turned out to be right. */
export async function giveAttemptsBack(
  tx: Tx,
  attempts: readonly { key_digest: Buffer; interval_ms: number }[],
): Promise<void> {
  for (const { key_digest, interval_ms } of attempts) {
    await raw`
      update identity.attempts
      set full_at = full_at - ${interval_ms} * interval '1 millisecond'
      where key_digest = ${key_digest}`.execute(tx)
  }
}

export async function findAttempt(sql: Sql, key_digest: Buffer): Promise<{ full_at: Date } | undefined> {
  return sql
    .selectFrom('identity.attempts')
    .select('full_at')
    .where('key_digest', '=', key_digest)
    .executeTakeFirst()
}

/** Forgets keys whose allowance is full again; they mean the same as no row. */
export async function deleteFullAttempts(tx: Tx, now: Date): Promise<void> {
  await tx.deleteFrom('identity.attempts').where('full_at', '<=', now).execute()
}
