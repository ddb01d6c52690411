import { createCoalescer } from '#kernel/coalesce'
import type { Db } from '#kernel/db'
import { createLoop } from '#kernel/loop'
import { attemptDelivery, recordAttempts, type Attempted } from './attempts.ts'
import { claimDeliveries, type ClaimedDelivery } from './delivery-queries.ts'
import type { NotificationsKit } from './kit.ts'

/** Longer than an attempt may take with its record; a dead process's deliveries wait this long. */
const LEASE_MS = 60_000
/** How soon another process's events are seen, and pauses that are over. */
const PAUSE_MS = 1_000
/**
 * How long a stop waits for attempts under way; those that take longer are made again by the next
 * process.
 */
const STOP_MS = 5_000

export interface DispatcherOptions {
  /** Attempts under way at once in this process. */
  at_once?: number
  /** Of them to one endpoint; to one that fails, one. */
  per_endpoint?: number
  on_error: (error: unknown) => void
}

/** Sends what is due, for as long as a process lives. */
export interface Dispatcher {
  start(): void
  wake(): void
  stop(): Promise<void>
}

/**
 * Makes the sender of deliveries. Every process with a worker has one; a row lock keeps them apart. A process
 * that is killed between sending and recording leaves a delivery that is made once more, under
 * its webhook-id.
 */
export function createDispatcher(db: Db, kit: NotificationsKit, options: DispatcherOptions): Dispatcher {
  const { at_once = 64, per_endpoint = 4, on_error } = options
  const under_way = new Set<Promise<void>>()
  const busy = new Map<string, number>()
  const stopping = new AbortController()
  const results = createCoalescer<Attempted, undefined>({
    batch_max: 100,
    flush: async (attempted) => {
      await db.transact((tx) => recordAttempts(tx, kit, attempted))
      return attempted.map(() => undefined)
    },
  })

  const deliver = async (delivery: ClaimedDelivery): Promise<void> => {
    try {
      await results.add({ delivery, result: await attemptDelivery(kit, delivery, stopping.signal) })
    } catch (error) {
      // Not recorded, so it is made again when its lease is over.
      on_error(error)
    }
  }
  const begin = (delivery: ClaimedDelivery): void => {
    const { endpoint_id } = delivery
    busy.set(endpoint_id, (busy.get(endpoint_id) ?? 0) + 1)
    const attempt = deliver(delivery).then(() => {
      under_way.delete(attempt)
      const left = (busy.get(endpoint_id) ?? 1) - 1
      if (left > 0) busy.set(endpoint_id, left)
      else busy.delete(endpoint_id)
      loop.wake()
    })
    under_way.add(attempt)
  }
  const round = async (): Promise<boolean> => {
    const room = at_once - under_way.size
    if (room <= 0) return false
    const now = kit.clock.now()
    const lease_until = new Date(now.getTime() + LEASE_MS)
    const claimed = await db.transact((tx) =>
      claimDeliveries(tx, { now, lease_until, room, per_endpoint, busy: [...busy] }),
    )
    claimed.forEach(begin)
    return claimed.length > 0
  }
  const loop = createLoop({ work: round, pause_ms: PAUSE_MS, on_error })
  return {
    start: loop.start,
    wake: loop.wake,
    stop: async () => {
      await loop.stop()
      const timer = setTimeout(() => stopping.abort(), STOP_MS)
      await Promise.all(under_way)
      clearTimeout(timer)
      await results.stop()
    },
  }
}
