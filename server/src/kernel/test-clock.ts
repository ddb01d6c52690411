import type { Clock, DatabaseClock } from './clock.ts'
import type { Db, Tx } from './db.ts'
import { InvalidRequest, InvalidState } from './errors.ts'
import * as queries from './test-clock-queries.ts'

/** How often the clock is set by the database's; a clock drifts far less than a millisecond in this time. */
const ANCHOR_MS = 2_000
/** Ten years in one step: enough for any subscription, and no overflow of a date. */
const ADVANCE_MAX_MS = 10 * 365 * 86_400_000

/** A clock that follows the database until it is stopped. */
export interface RunningClock {
  clock: Clock
  /** Takes the database's time and the sandbox's offset now, instead of at the next look. */
  anchor: () => Promise<void>
  stop: () => void
}

/**
 * Sets the clock by the database's and keeps it so. In a sandbox it also carries the test clock's offset, which every
 * process sees within two seconds. A database that does not answer leaves the clock running by its own timer.
 */
export async function startClock(db: Db, mode: 'sandbox' | 'live', clock: DatabaseClock): Promise<RunningClock> {
  const anchor = async (): Promise<void> => {
    const { database_ms, offset_ms } = await queries.readTime(db)
    clock.anchor(database_ms, mode === 'sandbox' ? offset_ms : 0)
  }
  await anchor()
  const timer = setInterval(() => {
    anchor().catch(() => undefined)
  }, ANCHOR_MS)
  timer.unref()
  return { clock, anchor, stop: () => clearInterval(timer) }
}

/**
 * Moves a sandbox's time forward, for trying out expiries and deadlines. Never back: what happened stays in the past.
 * Answers the whole offset in milliseconds. Throws {@link InvalidState} on a live installation, {@link InvalidRequest}.
 */
export async function advanceTestClock(tx: Tx, mode: 'sandbox' | 'live', milliseconds: number): Promise<number> {
  if (mode !== 'sandbox') throw new InvalidState('Time cannot be moved on a live installation.')
  if (!Number.isInteger(milliseconds) || milliseconds <= 0 || milliseconds > ADVANCE_MAX_MS) {
    throw new InvalidRequest([{ pointer: '/advance_seconds', detail: 'must be more than zero and at most ten years' }])
  }
  return queries.addOffset(tx, milliseconds)
}
