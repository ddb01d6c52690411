import type { Clock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import type { Events } from '#kernel/events'
import { booksBroken } from './events.ts'
import { type Finding, verifyBooks } from './verification.ts'

/** Verifies the books again and again, and raises the alarm for what was whole before. */
export interface BookWatch {
  /** One look, unless the last one was so long that the database must rest first. */
  look(): Promise<void>
  /** How many findings there were at the last look, by invariant; what was mended is at 0. */
  counts(): Readonly<Record<string, number>>
}

/** What is needed of a log. */
interface Alarm {
  error: (fields: object, message: string) => void
}

/**
 * A verification reads every row, so a large book may take long: the database then rests this many times as
 * long as it worked, and what was changed by hand is found that much later.
 */
const REST = 20
const TOLD_MAX = 500
const LOGGED_MAX = 20

/**
 * Makes the watch of a process. What a process found already is not told again until it was mended; another
 * process that takes over tells it once more.
 */
export function createBookWatch(
  db: Db,
  { clock, events, log }: { clock: Clock; events: Events; log: Alarm },
): BookWatch {
  let known = new Set<string>()
  let counts: Record<string, number> = {}
  let rests_until_ms = 0
  return {
    counts: () => counts,
    look: async () => {
      const began_ms = performance.now()
      if (began_ms < rests_until_ms) return
      const { findings, checked_at } = await verifyBooks(db, clock)
      const ended_ms = performance.now()
      rests_until_ms = ended_ms + REST * (ended_ms - began_ms)
      counts = countsOf(findings, Object.keys(counts))
      const fresh = findings.filter((finding) => !known.has(nameOf(finding)))
      if (fresh.length > 0) {
        const payload = { count: fresh.length, found_at: checked_at.toISOString() }
        await db.transact((tx) =>
          events.publish(tx, booksBroken, { ...payload, findings: fresh.slice(0, TOLD_MAX) }),
        )
        log.error(
          { count: fresh.length, findings: fresh.slice(0, LOGGED_MAX) },
          'the books or the audit log are broken: see GET /v1/verification',
        )
      }
      known = new Set(findings.map(nameOf))
    },
  }
}

const nameOf = ({ invariant, detail }: Finding): string => `${invariant}\n${detail}`

function countsOf(findings: readonly Finding[], before: readonly string[]): Record<string, number> {
  const counts = Object.fromEntries(before.map((name) => [name, 0]))
  for (const { invariant } of findings) counts[invariant] = (counts[invariant] ?? 0) + 1
  return counts
}
