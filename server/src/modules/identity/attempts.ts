import { hash } from 'node:crypto'
import type { Clock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import { TooManyRequests } from '#kernel/errors'
import * as queries from './attempt-queries.ts'

/** How often something may be tried: `count` at once, which refill evenly over `period_ms`. */
export interface AttemptRule {
  name: string
  count: number
  period_ms: number
}

/** One rule applied to somebody: an address, an account, a device. */
export interface Attempt {
  rule: AttemptRule
  subject: string
}

/**
 * Takes one attempt of each, or none: then throws {@link TooManyRequests} with the seconds to wait. The
 * counts are in the database, so they hold over all processes and outlive a restart; of subjects only digests
 * are kept. Attempts at once are counted one after another: none slips through.
 */
export async function takeAttempts(db: Db, clock: Clock, attempts: readonly Attempt[]): Promise<void> {
  const now = clock.now()
  const rows = attempts.map((attempt) => ({ ...rowOf(attempt), now }))
  await db.transact(async (tx) => {
    for (const row of rows) {
      if (await queries.takeAttempt(tx, row)) continue
      const full_ms = (await queries.findAttempt(tx, row.key_digest))?.full_at.getTime() ?? now.getTime()
      const wait_ms = full_ms + row.interval_ms - row.period_ms - now.getTime()
      throw new TooManyRequests('Too many attempts; wait a little.', Math.max(1, Math.ceil(wait_ms / 1000)))
    }
  })
}

/** Gives attempts back that were not wrong: whoever signs in rightly is never held up by it. */
export async function giveAttemptsBack(db: Db, attempts: readonly Attempt[]): Promise<void> {
  await db.transact((tx) => queries.giveAttemptsBack(tx, attempts.map(rowOf)))
}

/** Forgets what is full again; to be called now and then. */
export async function forgetAttempts(db: Db, clock: Clock): Promise<void> {
  await db.transact((tx) => queries.deleteFullAttempts(tx, clock.now()))
}

function rowOf({ rule, subject }: Attempt): { key_digest: Buffer; interval_ms: number; period_ms: number } {
  return {
    key_digest: hash('sha256', `${rule.name}\n${subject}`, 'buffer'),
    interval_ms: Math.ceil(rule.period_ms / rule.count),
    period_ms: rule.period_ms,
  }
}
