import type { Db } from '#kernel/db'
import type { LimitStore } from '#kernel/limits'
import * as queries from './attempt-queries.ts'

/**
 * Counts in the database: the same for all processes, and they outlive a restart. Of whom they are about only
 * digests are kept.
 */
export function databaseLimits(db: Db): LimitStore {
  return {
    take: async (cells, now_ms) => {
      const now = new Date(now_ms)
      // In one order, so that two who take the same cells never wait for each other.
      const rows = cells.toSorted((a, b) => a.key.compare(b.key))
      let wait_ms = 0
      await db
        .transact(async (tx) => {
          for (const { key, interval_ms, period_ms } of rows) {
            if (await queries.takeAttempt(tx, { key_digest: key, now, interval_ms, period_ms })) continue
            const full_ms = (await queries.findAttempt(tx, key))?.full_at.getTime() ?? now_ms
            wait_ms = Math.max(1, full_ms + interval_ms - period_ms - now_ms)
            throw new Refused()
          }
        })
        .catch((error: unknown) => {
          if (!(error instanceof Refused)) throw error
        })
      return wait_ms
    },
    giveBack: (cells) =>
      db.transact((tx) =>
        queries.giveAttemptsBack(
          tx,
          cells
            .toSorted((a, b) => a.key.compare(b.key))
            .map(({ key, interval_ms }) => ({ key_digest: key, interval_ms })),
        ),
      ),
    forget: (now_ms) => db.transact((tx) => queries.deleteFullAttempts(tx, new Date(now_ms))),
    stop: async () => undefined,
  }
}

/** Undoes what was taken before the cell that refused. */
class Refused extends Error {}
