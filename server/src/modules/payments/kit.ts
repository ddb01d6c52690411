import type { Clock } from '#kernel/clock'
import type { Events } from '#kernel/events'
import type { Gateways } from './gateways.ts'

/** What the verbs of this module need besides a database: they exist once in a process. */
export interface PaymentsKit {
  clock: Clock
  events: Events
  gateways: Gateways
  /** Gateways whose payments need a fiscal receipt; `auto`, or absent: those that ask for one themselves. */
  fiscal_gateways?: 'auto' | readonly string[] | undefined
  /** A line for people when something is refused or odd; holds no secret. */
  notice: (message: string, facts: Readonly<Record<string, unknown>>) => void
}
