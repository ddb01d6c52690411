import { createCoalescer } from '#kernel/coalesce'
import type { Db } from '#kernel/db'
import type { Log } from '#kernel/log'
import { createLoop, type Loop } from '#kernel/loop'
import { createInboxRounds, INBOX_ROUND_MAX, storeEvents, type StoreEvents } from './inbox.ts'
import type { PaymentsKit } from './kit.ts'

/** How soon notifications are seen that another process stored. */
const PAUSE_MS = 500
/** The second worker rests until it is woken; this long only if that were ever missed. */
const SECOND_PAUSE_MS = 60_000

/** Stores notifications for the whole process. */
export interface InboxStore {
  store: StoreEvents
  stop: () => Promise<void>
}

/**
 * Bursts are stored together: one commit for as many as came while others were written. Two are under way at
 * most: while one waits for the disk the next is filled. `wake` is called when there is something to handle.
 */
export function createInboxStore(db: Db, wake: () => void): InboxStore {
  const write = storeEvents(db)
  const coalescer = createCoalescer<Parameters<StoreEvents>[0], undefined>({
    batch_max: INBOX_ROUND_MAX,
    concurrency: 2,
    flush: async (batches) => {
      await write(batches.flat())
      wake()
      return batches.map(() => undefined)
    },
  })
  return {
    store: async (events) => {
      if (events.length > 0) await coalescer.add(events)
    },
    stop: () => coalescer.stop(),
  }
}

/**
 * Handles what is stored, in rounds. When one was full a second worker helps until the heap is gone: while
 * the database works for one, this process works for the other. They share as two processes do.
 */
export function createInboxLoop(db: Db, kit: PaymentsKit, log: Log): Loop {
  const on_error = (error: unknown): void => log.error({ error }, 'the inbox could not be handled')
  const rounds = createInboxRounds(db, kit, { wake: () => first.wake(), on_error })
  const first = createLoop({
    work: async () => {
      const count = await rounds.round()
      if (count === INBOX_ROUND_MAX) second.wake()
      return count > 0
    },
    pause_ms: PAUSE_MS,
    on_error,
  })
  const second = createLoop({
    work: async () => (await rounds.round()) === INBOX_ROUND_MAX,
    pause_ms: SECOND_PAUSE_MS,
    on_error,
  })
  return {
    start: () => {
      first.start()
      second.start()
    },
    wake: () => first.wake(),
    stop: async () => {
      await Promise.all([first.stop(), second.stop()])
      await rounds.settled()
    },
  }
}
