import { createCoalescer } from '#kernel/coalesce'
import type { Db } from '#kernel/db'
import { findWalletPlaces, type WalletPlace } from './queries.ts'
import { findUnits } from './unit-queries.ts'

/** Finds wallets, mostly from memory: a pair keeps its wallet for good, unless customers are merged. */
export interface WalletDirectory {
  /** The wallet if it is known at once. */
  peek(customer_id: string, unit: string): WalletPlace | undefined
  /** Undefined when the customer has no wallet in this unit; that is not remembered. */
  find(customer_id: string, unit: string): Promise<WalletPlace | undefined>
  /** The wallet the pair has now, when it is another than the one remembered: its owner was merged. */
  findMoved(pair: { customer_id: string; unit: string }, remembered: bigint): Promise<WalletPlace | undefined>
  /** A unit's scale, which never changes, if it is known at once. */
  peekScale(unit: string): bigint | undefined
  /** A unit's scale; undefined when there is no such unit. */
  findScale(unit: string): Promise<bigint | undefined>
}

/** Pairs remembered in each of two generations; about 30 MB when both are full. */
const GENERATION_MAX = 100_000

/** A memory of wallets bounded by two generations: what was not asked for during one is forgotten. */
export function createWalletDirectory(db: Db, generation_max = GENERATION_MAX): WalletDirectory {
  let young = new Map<string, WalletPlace>()
  let old = new Map<string, WalletPlace>()
  const remember = (name: string, place: WalletPlace): void => {
    if (young.size >= generation_max) {
      old = young
      young = new Map()
    }
    young.set(name, place)
  }
  const scales = new Map<string, bigint>()
  const lookups = createCoalescer<{ customer_id: string; unit: string }, WalletPlace | undefined>({
    flush: (pairs) => findWalletPlaces(db, pairs),
    batch_max: 500,
  })
  const peek = (customer_id: string, unit: string): WalletPlace | undefined => {
    const name = `${customer_id}\n${unit}`
    const known = young.get(name)
    if (known !== undefined) return known
    const place = old.get(name)
    if (place !== undefined) remember(name, place)
    return place
  }
  return {
    peek,
    find: async (customer_id, unit) => {
      const known = peek(customer_id, unit)
      if (known !== undefined) return known
      const place = await lookups.add({ customer_id, unit })
      if (place !== undefined) remember(`${customer_id}\n${unit}`, place)
      return place
    },
    findMoved: async ({ customer_id, unit }, remembered) => {
      const place = await lookups.add({ customer_id, unit })
      if (place === undefined || place.id === remembered) return undefined
      remember(`${customer_id}\n${unit}`, place)
      return place
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
