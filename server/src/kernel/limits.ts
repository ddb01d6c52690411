import { hash } from 'node:crypto'
import type { Clock } from './clock.ts'
import { TooManyRequests } from './errors.ts'

/** How often something may be done: `count` at once, which refill evenly over `period_ms`. */
export interface LimitRule {
  name: string
  count: number
  period_ms: number
}

/** One rule applied to somebody: an address, an account, a device, or everybody together. */
export interface Limited {
  rule: LimitRule
  subject: string
}

/** What a store knows of a limited subject: no name of it, only a digest. */
export interface LimitCell {
  key: Buffer
  /** After how long one use is given back. */
  interval_ms: number
  period_ms: number
}

/**
 * Where counts are kept. By the generic cell rate algorithm a cell is one moment: when its allowance would be
 * full again. Every store counts uses at once one after another, so that none slips through.
 */
export interface LimitStore {
  /**
   * Takes one use of every cell and answers 0, or takes none and answers how many milliseconds the one that
   * refused has to wait. Throws OperationalError when the store cannot be asked: then nothing is let through.
   */
  take(cells: readonly LimitCell[], now_ms: number): Promise<number>
  /** Gives one use of every cell back. */
  giveBack(cells: readonly LimitCell[]): Promise<void>
  /** Forgets cells that are full again; they mean the same as none. */
  forget(now_ms: number): Promise<void>
  stop(): Promise<void>
}

/** Limits on what may be tried, over all processes that share the store. */
export interface Limits {
  /** Counts one use of each, or none and throws {@link TooManyRequests} with the seconds to wait. */
  take(limited: readonly Limited[]): Promise<void>
  /** Gives uses back that turned out to be right: whoever signs in rightly is never held up by it. */
  giveBack(limited: readonly Limited[]): Promise<void>
  forget(): Promise<void>
  stop(): Promise<void>
}

export function createLimits(store: LimitStore, clock: Clock): Limits {
  return {
    take: async (limited) => {
      const wait_ms = await store.take(limited.map(cellOf), clock.now_ms())
      if (wait_ms <= 0) return
      throw new TooManyRequests('Too many attempts; wait a little.', Math.max(1, Math.ceil(wait_ms / 1000)))
    },
    giveBack: (limited) => store.giveBack(limited.map(cellOf)),
    forget: () => store.forget(clock.now_ms()),
    stop: () => store.stop(),
  }
}

/**
 * Counts in this process: for one process only, and gone when it ends. At most `cells_max` are kept; beyond
 * them the one used longest ago is forgotten.
 */
export function memoryLimits(cells_max = 200_000): LimitStore {
  const full_at = new Map<string, number>()
  return {
    take: async (cells, now_ms) => {
      const next = new Map<string, number>()
      for (const { key, interval_ms, period_ms } of cells) {
        const name = key.toString('latin1')
        const full_ms = Math.max(next.get(name) ?? full_at.get(name) ?? 0, now_ms) + interval_ms
        if (full_ms > now_ms + period_ms) return full_ms - now_ms - period_ms
        next.set(name, full_ms)
      }
      for (const [name, full_ms] of next) {
        full_at.delete(name)
        full_at.set(name, full_ms)
      }
      while (full_at.size > cells_max) full_at.delete(full_at.keys().next().value ?? '')
      return 0
    },
    giveBack: async (cells) => {
      for (const { key, interval_ms } of cells) {
        const name = key.toString('latin1')
        const full_ms = full_at.get(name)
        if (full_ms !== undefined) full_at.set(name, full_ms - interval_ms)
      }
    },
    forget: async (now_ms) => {
      for (const [name, full_ms] of full_at) if (full_ms <= now_ms) full_at.delete(name)
    },
    stop: async () => undefined,
  }
}

/**
 * Counts in a store that may be away, and in another one while it is: a limit that is lost would be none.
 * What was counted in one is not known to the other.
 */
export function limitsWithFallback(
  first: Pick<LimitStore, 'take' | 'giveBack' | 'stop'>,
  fallback: LimitStore,
  on_error: (error: unknown) => void,
): LimitStore {
  const orElse = async <T>(work: () => Promise<T>, instead: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      on_error(error)
      return instead()
    }
  }
  return {
    take: (cells, now_ms) =>
      orElse(
        () => first.take(cells, now_ms),
        () => fallback.take(cells, now_ms),
      ),
    giveBack: (cells) =>
      orElse(
        () => first.giveBack(cells),
        () => fallback.giveBack(cells),
      ),
    // The first one forgets by itself.
    forget: (now_ms) => fallback.forget(now_ms),
    stop: async () => {
      await first.stop()
      await fallback.stop()
    },
  }
}

function cellOf({ rule, subject }: Limited): LimitCell {
  return {
    key: hash('sha256', `${rule.name}\n${subject}`, 'buffer'),
    interval_ms: Math.ceil(rule.period_ms / rule.count),
    period_ms: rule.period_ms,
  }
}
