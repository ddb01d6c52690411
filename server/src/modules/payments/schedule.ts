import type { PaymentStatus } from './payment-status.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** After this long nothing more is expected; reconciliation and people take over. */
export const CHECKING_MAX_MS = 8 * DAY

/**
 * When the vendor is asked about a payment next. An unknown outcome is asked about at least twice a minute
 * for as long as it is unknown, so it is resolved within a minute of the vendor answering again. A payment
 * whose notification may be lost is asked about every half minute in its first hour, when buyers pay, then
 * rarely.
 */
export function nextPaymentCheck(status: PaymentStatus, created_at: Date, now: Date): Date | null {
  const age = now.getTime() - created_at.getTime()
  if (status === 'unknown') return new Date(now.getTime() + (age < MINUTE ? 3 * SECOND : 25 * SECOND))
  if (status === 'expired') return age < CHECKING_MAX_MS ? new Date(now.getTime() + 6 * HOUR) : null
  if (status === 'pending' || status === 'requires_action' || status === 'authorized') {
    if (age < HOUR) return new Date(now.getTime() + 25 * SECOND)
    if (age < DAY) return new Date(now.getTime() + 5 * MINUTE)
    return age < CHECKING_MAX_MS ? new Date(now.getTime() + HOUR) : null
  }
  return null
}

/** When the vendor is asked about a refund next; there is often no notification that a refund failed. */
export function nextRefundCheck(status: 'pending' | 'unknown', created_at: Date, now: Date): Date {
  const age = now.getTime() - created_at.getTime()
  if (status === 'unknown') return new Date(now.getTime() + (age < MINUTE ? 3 * SECOND : 25 * SECOND))
  // Most vendors have done it by then, some without a word, and somebody may be waiting at the page.
  if (age < MINUTE) return new Date(now.getTime() + 5 * SECOND)
  if (age < HOUR) return new Date(now.getTime() + 30 * SECOND)
  return new Date(now.getTime() + (age < DAY ? 10 * MINUTE : 6 * HOUR))
}

/** How often what only a person can find out is brought to mind. */
export const PERSON_LOOKS_MS = 6 * HOUR

/**
 * Pauses before a notification that could not be handled is tried again: an hour of them, a day, a week. What
 * it tells may be known from nowhere else, so a vendor that is down for days must not make it be given up.
 */
const INBOX_PAUSES = [
  { until_attempt: 150, pause_ms: 25 * SECOND },
  { until_attempt: 426, pause_ms: 5 * MINUTE },
  { until_attempt: 594, pause_ms: HOUR },
] as const

/** After this many attempts, eight days, a person looks. */
export const INBOX_ATTEMPTS_MAX = 594

/** When a notification that failed so often is tried again: 1 s, doubled to 25 s, then rarer by the hour. */
export function nextInboxAttempt(attempts: number, now: Date): Date {
  const step = INBOX_PAUSES.find(({ until_attempt }) => attempts < until_attempt)
  const pause_ms = Math.min(SECOND * 2 ** Math.min(attempts - 1, 30), step?.pause_ms ?? HOUR)
  return new Date(now.getTime() + pause_ms)
}

/** After this long without an answer about a receipt a person looks. */
export const RECEIPT_MAX_MS = 3 * DAY

/** Pause before a receipt is sent or looked for again: 3 s, doubled, at most an hour. */
export function nextReceiptAttempt(attempts: number, now: Date): Date {
  return new Date(now.getTime() + Math.min(3 * SECOND * 2 ** Math.min(attempts, 20), HOUR))
}
