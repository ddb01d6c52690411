/**
 * The time everything in the domain goes by. Statements take it as a parameter.
 * It follows the database's clock, not this machine's: several nodes then agree, and a machine whose clock
 * jumps does not move an expiry. Between two looks at the database it advances by the monotonic timer.
 */
export interface Clock {
  now(): Date
  now_ms(): number
}

/** A clock that can be moved: for tests and for an integrator's sandbox. */
export interface MovableClock extends Clock {
  set(moment: Date): void
  advance(milliseconds: number): void
}

/** A clock that is anchored to the database and may carry a sandbox offset. */
export interface DatabaseClock extends Clock {
  /** Takes the database's time as read just now and the offset of the sandbox's test clock. */
  anchor(database_ms: number, offset_ms: number): void
  readonly offset_ms: number
}

/** A clock that stands still until it is moved. */
export function frozenClock(start: Date | string = '2026-03-01T12:00:00.000Z'): MovableClock {
  let moment = new Date(start).getTime()
  return {
    now: () => new Date(moment),
    now_ms: () => moment,
    set: (next) => {
      moment = next.getTime()
    },
    advance: (milliseconds) => {
      moment += milliseconds
    },
  }
}

/**
 * A look at the database is a few milliseconds wrong, now this way, now that way; more is a real correction.
 */
const JITTER_MS = 1_000

/**
 * The clock of a running server; until the first anchor it shows this machine's time. It never runs
 * backwards: where an anchor would set it back a little, it stands still until time has caught up.
 */
export function databaseClock(): DatabaseClock {
  let base_ms = Date.now()
  let base_monotonic = performance.now()
  let offset_ms = 0
  let latest_ms = 0
  const now_ms = (): number => {
    const shown = Math.floor(base_ms + offset_ms + (performance.now() - base_monotonic))
    if (shown > latest_ms || latest_ms - shown > JITTER_MS) latest_ms = shown
    return latest_ms
  }
  return {
    now: () => new Date(now_ms()),
    now_ms,
    anchor: (database_ms, next_offset_ms) => {
      base_ms = database_ms
      base_monotonic = performance.now()
      offset_ms = next_offset_ms
    },
    get offset_ms() {
      return offset_ms
    },
  }
}
