import type { Clock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import { createLimits, type Limits, limitsWithFallback, memoryLimits } from '#kernel/limits'
import type { Log } from '#kernel/log'
import { databaseLimits } from '#modules/identity'
import { redisLimits } from './transports/redis-limits.ts'

/** Where limits on what may be tried are counted. */
export interface LimitSettings {
  store: 'database' | 'memory'
  /** With it they are counted in Redis, and in `store` while that is away. */
  redis_url?: string | undefined
}

/** The limits of one process, by the store its owner chose. */
export async function openLimits(
  db: Db,
  { store, redis_url }: LimitSettings,
  { clock, log }: { clock: Clock; log: Log },
): Promise<Limits> {
  const own = store === 'memory' ? memoryLimits() : databaseLimits(db)
  if (redis_url === undefined) return createLimits(own, clock)
  const on_error = (error: unknown): void => log.warn({ error }, 'limits are not counted in Redis just now')
  return createLimits(limitsWithFallback(await redisLimits(redis_url, on_error), own, on_error), clock)
}
