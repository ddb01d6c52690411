import type { Clock } from '#kernel/clock'
import type { Events } from '#kernel/events'
import type { SecretBox } from '#kernel/secrets'

/** What came of one sending; see `transports/webhook.ts`. */
export type SendResult =
  | { outcome: 'answered'; status_code: number }
  | { outcome: 'failed' | 'timeout' | 'refused' | 'aborted' }

/** The way out: the one that may be handed addresses that strangers chose. */
export interface WebhookTransport {
  isAllowedUrl(url: string): boolean
  send(request: {
    url: string
    headers: Readonly<Record<string, string>>
    body: string
    signal: AbortSignal
  }): Promise<SendResult>
}

/** What the verbs of this module work with; made once by the composition root. */
export interface NotificationsKit {
  clock: Clock
  events: Events
  /** Seals the endpoints' secrets. */
  box: SecretBox
  transport: WebhookTransport
  /**
   * Milliseconds of the real time: receivers compare a signature's moment with their own clock, which knows
   * nothing of a sandbox whose clock was moved.
   */
  realTime: () => number
  /** Tells this process that there may be something to deliver. */
  wake: () => void
  /** A line in the log. */
  notice: (message: string, facts: Readonly<Record<string, string>>) => void
}
