/** Counts how often things happen under a key, in this process. */
export interface RateLimiter {
  /**
   * Takes one request from the key's allowance of `per_minute`. Answers 0 when it may pass, otherwise after
   * how many milliseconds the next one may. `Infinity` always passes. A refused request takes nothing.
   */
  take(key: string, per_minute: number, now_ms: number): number
  /** As {@link RateLimiter.take} without taking: how long this key has to wait now. */
  wait(key: string, per_minute: number, now_ms: number): number
  /** Keys remembered now. */
  readonly size: number
}

const MINUTE_MS = 60_000

/**
 * A limiter by the generic cell rate algorithm: a minute's allowance at once, then one by one as it
 * refills. Per key it keeps one number. At most `keys_max` keys are remembered; beyond that the one used
 * longest ago is forgotten, which gives it a full allowance again: the limit is a bound per key, not on the
 * number of keys.
 */
export function createRateLimiter(keys_max = 50_000): RateLimiter {
  // When the key would be empty again. A key moves to the end of the map whenever it takes.
  const empty_at = new Map<string, number>()
  const waitOf = (key: string, per_minute: number, now_ms: number): { wait_ms: number; next_ms: number } => {
    const interval_ms = MINUTE_MS / per_minute
    const next_ms = Math.max(empty_at.get(key) ?? 0, now_ms) + interval_ms
    // A millisecond of tolerance: fractions of an interval must not cost a whole request.
    const over_ms = next_ms - now_ms - MINUTE_MS - 1
    return { wait_ms: over_ms > 0 ? over_ms : 0, next_ms }
  }
  return {
    take: (key, per_minute, now_ms) => {
      if (per_minute === Number.POSITIVE_INFINITY) return 0
      const { wait_ms, next_ms } = waitOf(key, per_minute, now_ms)
      if (wait_ms > 0) return wait_ms
      empty_at.delete(key)
      empty_at.set(key, next_ms)
      if (empty_at.size > keys_max) {
        const { value: oldest } = empty_at.keys().next()
        if (oldest !== undefined) empty_at.delete(oldest)
      }
      return 0
    },
    wait: (key, per_minute, now_ms) =>
      per_minute === Number.POSITIVE_INFINITY ? 0 : waitOf(key, per_minute, now_ms).wait_ms,
    get size() {
      return empty_at.size
    },
  }
}
