/** `closed`: calls go. `open`: it is known to be down. `half_open`: one call is let through to find out. */
type BreakerState = 'closed' | 'open' | 'half_open'

/** What is remembered of a gateway's last calls; by the process's own clock. */
export interface Breaker {
  state: BreakerState
  /** Failures since the last success. */
  failures: number
  /** Ends of the last calls, oldest first, for the rate. */
  recent: readonly { at_ms: number; is_failure: boolean }[]
  opened_at_ms: number | undefined
  /** When the next probe is due; only while it is not closed. */
  probe_at_ms: number | undefined
  /** How often it was opened since it was last closed: the pause doubles. */
  openings: number
  /** Why the last call failed, in a word. */
  reason: string | undefined
}

/** So many failures one after the other open it. */
const FAILURES_MAX = 5
/** Or half of at least so many calls within a minute: a vendor that answers every second call is down too. */
const RATE_CALLS_MIN = 10
const RATE_WINDOW_MS = 60_000
const RECENT_MAX = 50
/** The first pause before a probe; doubled with every failed probe. */
const PAUSE_MS = 5_000
const PAUSE_MAX_MS = 60_000

/** As a gateway begins: nothing is known against it. */
export const CLOSED: Breaker = {
  state: 'closed',
  failures: 0,
  recent: [],
  opened_at_ms: undefined,
  probe_at_ms: undefined,
  openings: 0,
  reason: undefined,
}

/** The vendor answered: whatever was thought of it, it is there. Pure. */
export function afterSuccess(breaker: Breaker, now_ms: number): Breaker {
  const recent = breaker.state === 'closed' ? withCall(breaker, now_ms, false) : []
  return { ...CLOSED, recent }
}

/** A call came to nothing. A late failure of a call that began before does not prolong the pause. Pure. */
export function afterFailure(breaker: Breaker, now_ms: number, reason: string): Breaker {
  const failures = breaker.failures + 1
  const recent = withCall(breaker, now_ms, true)
  const next = { ...breaker, failures, recent, reason }
  if (breaker.state === 'open') return next
  if (breaker.state === 'closed' && failures < FAILURES_MAX && !isRateHigh(recent)) return next
  const openings = breaker.openings + 1
  const pause_ms = Math.min(PAUSE_MS * 2 ** (openings - 1), PAUSE_MAX_MS)
  return {
    ...next,
    state: 'open',
    openings,
    opened_at_ms: breaker.opened_at_ms ?? now_ms,
    probe_at_ms: now_ms + pause_ms,
  }
}

/** Opens half when a probe is due; whoever moves it there makes the probe. Pure. */
export function beforeProbe(breaker: Breaker, now_ms: number): Breaker | undefined {
  const is_due = breaker.probe_at_ms !== undefined && breaker.probe_at_ms <= now_ms
  if (breaker.state === 'closed' || !is_due) return undefined
  // Should whoever probes never tell, the next may after a pause.
  return { ...breaker, state: 'half_open', probe_at_ms: now_ms + PAUSE_MAX_MS }
}

function withCall(breaker: Breaker, at_ms: number, is_failure: boolean): Breaker['recent'] {
  const fresh = breaker.recent.filter((call) => call.at_ms > at_ms - RATE_WINDOW_MS)
  return [...fresh, { at_ms, is_failure }].slice(-RECENT_MAX)
}

function isRateHigh(recent: Breaker['recent']): boolean {
  const failed = recent.filter((call) => call.is_failure).length
  return recent.length >= RATE_CALLS_MIN && failed * 2 >= recent.length
}
