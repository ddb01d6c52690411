import { eventType } from '#kernel/events'
import type { Finding } from './verification.ts'

export interface BooksBrokenPayload {
  /** What was not found broken before, at most 500 of them; `GET /v1/verification` has what is broken now. */
  findings: Finding[]
  count: number
  /** ISO 8601. */
  found_at: string
}

export const booksBroken = eventType<BooksBrokenPayload>(
  'books.broken',
  'Rows were found that break what is true of the books or the audit log, such as those changed by hand.',
)
