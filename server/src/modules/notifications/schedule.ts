const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** Pauses between attempts, the example of Standard Webhooks: ten attempts in a little over three days. */
const PAUSES_MS: readonly number[] = [
  5 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
]

/** Attempts of one message, the first included. */
export const ATTEMPTS = PAUSES_MS.length + 1

/** An endpoint where nothing succeeded for this long is left alone. */
export const FAILING_MAX_MS = 5 * 24 * HOUR

/** How long a secret that was replaced still signs. */
export const OLD_SECRET_MS = 24 * HOUR

/** How long events and their deliveries are kept. */
export const KEPT_MS = 30 * 24 * HOUR

/**
 * When to try again after a failure; `undefined` when `attempts_left` is none. `jitter` of 0 to 999 lengthens
 * the pause by up to a tenth, so that what failed together does not come back together.
 */
export function nextAttempt(failure: {
  attempts_left: number
  failed_at: Date
  jitter: number
}): Date | undefined {
  const { attempts_left, failed_at, jitter } = failure
  if (attempts_left <= 0) return undefined
  const pause = PAUSES_MS[Math.max(0, PAUSES_MS.length - attempts_left)] ?? 24 * HOUR
  return new Date(failed_at.getTime() + pause + Math.floor((pause * jitter) / 10_000))
}
