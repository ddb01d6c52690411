import { createCoalescer } from '#kernel/coalesce'
import type { Db } from '#kernel/db'
import { findWalletIds } from './queries.ts'
import { findUnits } from './unit-queries.ts'

/**
 * Finds the number of a wallet, mostly from memory: the pair keeps it for good, unless customers are
 * merged.
 */
export interface WalletDirectory {
  /** The number if it is known at once. */
  peek(customer_id: string, unit: string): bigint | undefined
  /**
   * The number; undefined when the customer has no wallet in this unit. What is not there is not
   * remembered.
   */
  find(customer_id: string, unit: string): Promise<bigint | undefined>
  /** The number the pair has now, when it is another than the one remembered: its owner was merged. */
  findMoved(pair: { customer_id: string; unit: string }, remembered: bigint): Promise<bigint | undefined>
  /** A unit's scale, which never changes, if it is known at once. */
  peekScale(unit: string): bigint | undefined
  /** A unit's scale; undefined when there is no such unit. */
  findScale(unit: string): Promise<bigint | undefined>
}

/** Pairs remembered in each of two generations; about 30 MB when both are full. */
const GENERATION_MAX = 100_000

/** A memory of wallets bounded by two generations: what was not asked for during one is forgotten. */
export function createWalletDirectory(db: Db, generation_max = GENERATION_MAX): WalletDirectory {
  let young = new Map<string, bigint>()
  let old = new Map<string, bigint>()
  const remember = (name: string, id: bigint): void => {
    if (young.size >= generation_max) {
      old = young
      young = new Map()
    }
    young.set(name, id)
  }
  const scales = new Map<string, bigint>()
  const lookups = createCoalescer<{ customer_id: string; unit: string }, bigint | undefined>({
    flush: (pairs) => findWalletIds(db, pairs),
    batch_max: 500,
  })
  const peek = (customer_id: string, unit: string): bigint | undefined => {
    const name = `${customer_id}\n${unit}`
    const known = young.get(name)
    if (known !== undefined) return known
    const id = old.get(name)
    if (id !== undefined) remember(name, id)
    return id
  }
  return {
    peek,
    find: async (customer_id, unit) => {
      const known = peek(customer_id, unit)
      if (known !== undefined) return known
      const id = await lookups.add({ customer_id, unit })
      if (id !== undefined) remember(`${customer_id}\n${unit}`, id)
      return id
    },
    findMoved: async ({ customer_id, unit }, remembered) => {
      const id = await lookups.add({ customer_id, unit })
      if (id === undefined || id === remembered) return undefined
      remember(`${customer_id}\n${unit}`, id)
      return id
    },
    peekScale: (unit) => scales.get(unit),
    findScale: async (unit) => {
      const [found] = await findUnits(db, [unit])
      // Bounded by the number of units there may be: only what exists is kept.
      if (found) scales.set(unit, found.scale)
      return found?.scale
    },
  }
}
