import { databaseClock, type Clock, type DatabaseClock } from './clock.ts'
import { afterCommit, type Db, type Sql, type Tx } from './db.ts'
import { InvalidRequest, InvalidState } from './errors.ts'
import { bringJobsForward, hasJobTables } from './job-queries.ts'
import type { Log } from './log.ts'
import * as queries from './test-clock-queries.ts'

/** How often a process looks at the database's clock; other processes follow a moved test clock this soon. */
const ANCHOR_MS = 3_000
/** What a moved clock makes due is done within this; sweepers come every few seconds. */
const SWEEP_SECONDS = 60
/** Moved further than this, dates leave what calendars and gateways accept. */
const OFFSET_MAX_MS = 20 * 366 * 86_400_000

/** A clock that follows the database's until it is stopped. */
export interface RunningClock {
  clock: DatabaseClock
  /** Takes the database's time and the sandbox's offset now, instead of at the next look. */
  anchor: () => Promise<void>
  stop: () => void
}

/**
 * Anchors a clock to the database's time, now and every few seconds. In a sandbox the time the test clock was
 * moved by is added; a live installation has no test clock, whatever the settings hold. Throws
 * OperationalError when the database does not answer at the start; later it goes on by the monotonic timer.
 */
export async function startClock(
  db: Db,
  mode: 'sandbox' | 'live',
  clock: DatabaseClock = databaseClock(),
  log?: Pick<Log, 'warn'>,
): Promise<RunningClock> {
  const anchor = () => anchorOnce(db, mode, clock)
  await anchor()
  let is_looking = false
  const timer = setInterval(() => {
    if (is_looking) return
    is_looking = true
    anchor()
      .catch((error: unknown) => log?.warn({ err: error }, 'the time of the database could not be read'))
      .finally(() => {
        is_looking = false
      })
  }, ANCHOR_MS)
  timer.unref()
  return { clock, anchor, stop: () => clearInterval(timer) }
}

/**
 * Moves the sandbox's time forward: grants expire, holds end, renewals fall due, and jobs that wait for a
 * moment come forward by as much. The clock that is given follows at the commit, other processes within
 * seconds. Answers how far the clock has been moved in all, in milliseconds. There is no way back: books do
 * not run backwards. Throws InvalidState in a live installation, InvalidRequest for less than a millisecond
 * or more than twenty years.
 */
export async function advanceTestClock(
  tx: Tx,
  mode: 'sandbox' | 'live',
  milliseconds: number,
  clock?: Clock | DatabaseClock,
): Promise<number> {
  if (mode !== 'sandbox') throw new InvalidState('Time cannot be moved in a live installation.')
  if (!Number.isSafeInteger(milliseconds) || milliseconds < 1) {
    throw new InvalidRequest([
      { pointer: '/advance_seconds', detail: 'must be a whole number and more than zero' },
    ])
  }
  const offset_ms = await queries.addToOffset(tx, milliseconds)
  if (offset_ms > OFFSET_MAX_MS) {
    throw new InvalidRequest([
      { pointer: '/advance_seconds', detail: 'would move the clock more than twenty years' },
    ])
  }
  if (await hasJobTables(tx)) await bringJobsForward(tx, milliseconds)
  if (clock && 'anchor' in clock) {
    afterCommit(() => clock.anchor(clock.now_ms() - clock.offset_ms, offset_ms))
  }
  return offset_ms
}

/**
 * The moment to judge by whether work is late. A sandbox's clock that was moved just now made things due
 * that nobody could have done yet; until the sweepers have had their time, the time before any move counts.
 */
export async function latenessMoment(sql: Sql, now: Date): Promise<Date> {
  return new Date(now.getTime() - (await queries.offsetMovedWithin(sql, SWEEP_SECONDS)))
}

async function anchorOnce(db: Db, mode: 'sandbox' | 'live', clock: DatabaseClock): Promise<void> {
  const asked = performance.now()
  const { database_ms, offset_ms } = await queries.readClock(db)
  // The answer is as old as its way back; half of the round trip is the best guess at that.
  const travel_ms = (performance.now() - asked) / 2
  clock.anchor(database_ms + travel_ms, mode === 'sandbox' ? offset_ms : 0)
}
