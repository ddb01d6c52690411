import type { Db } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import { parseCustomerKey } from './customer-key.ts'
import { findSurvivor } from './queries.ts'

/** Turns what a caller writes for a customer into our id, mostly from memory: for the hot path. */
export interface CustomerResolver {
  /** The answer at once when it is known, else undefined: then ask {@link CustomerResolver.resolve}. */
  peek(id_text: string): { id: string } | undefined
  /** Looks it up and remembers it. Throws {@link NotFound}; what is unknown is never remembered. */
  resolve(id_text: string): Promise<{ id: string }>
  /** Forgets everything and hears of changes no more. */
  close(): void
}

interface Remembered {
  answer: { id: string }
  until: number
}

/**
 * How long an answer is believed: a merge made by another process is seen within this time. In this process a
 * change is seen at once.
 */
const TTL_MS = 30_000
/** About 20 MB when full. */
const ENTRIES_MAX = 100_000
/** More customers than this changed within one TTL: nothing is remembered until they have settled. */
const BARRED_MAX = 10_000

const listeners = new Set<(id: string) => void>()

/** Tells every resolver of this process that the identities of a customer are changing in a transaction. */
export function customerChanged(id: string): void {
  for (const listener of listeners) listener(id)
}

/**
 * A bounded memory of `id_text → id`. A change is told before its transaction commits, when the old answer
 * can still be read; so a changed customer is barred from memory for one TTL, which outlives the transaction.
 */
export function createCustomerResolver(
  db: Db,
  options: { entries_max?: number; ttl_ms?: number; now_ms?: () => number } = {},
): CustomerResolver {
  const entries_max = options.entries_max ?? ENTRIES_MAX
  const ttl_ms = options.ttl_ms ?? TTL_MS
  const now_ms = options.now_ms ?? (() => performance.now())
  const entries = new Map<string, Remembered>()
  const lookups = new Map<string, Promise<{ id: string }>>()
  const barred = new Map<string, number>()
  let all_barred_until = -Infinity
  let restless_until = -Infinity

  const mayKeep = (id: string): boolean => {
    if (all_barred_until > now_ms()) return false
    return (barred.get(id) ?? -Infinity) <= now_ms()
  }
  const listener = (id: string): void => {
    restless_until = now_ms() + ttl_ms
    if (barred.size >= BARRED_MAX) dropSettled(barred, now_ms())
    if (barred.size >= BARRED_MAX) {
      all_barred_until = now_ms() + ttl_ms
      barred.clear()
    }
    barred.set(id, now_ms() + ttl_ms)
  }
  listeners.add(listener)

  const peek = (id_text: string): { id: string } | undefined => {
    const entry = entries.get(id_text)
    if (entry === undefined || entry.until <= now_ms()) return undefined
    return mayKeep(entry.answer.id) ? entry.answer : undefined
  }
  const lookUp = async (id_text: string): Promise<{ id: string }> => {
    const key = parseCustomerKey(id_text)
    const customer = key && (await findSurvivor(db, key))
    if (!customer) throw new NotFound(`There is no customer ${id_text.slice(0, 220)}.`)
    const answer = { id: customer.id }
    if (mayKeep(customer.id)) {
      // The oldest goes first: a Map keeps the order of insertion.
      entries.delete(id_text)
      if (entries.size >= entries_max) entries.delete(entries.keys().next().value ?? '')
      entries.set(id_text, { answer, until: now_ms() + ttl_ms })
    }
    return answer
  }
  return {
    peek,
    resolve: (id_text) => {
      const known = peek(id_text)
      if (known) return Promise.resolve(known)
      // While changes settle, a lookup under way may have begun before a commit its next caller knows of.
      const running = restless_until > now_ms() ? undefined : lookups.get(id_text)
      if (running) return running
      const lookup = lookUp(id_text).finally(() => lookups.delete(id_text))
      lookups.set(id_text, lookup)
      return lookup
    },
    close: () => {
      listeners.delete(listener)
      entries.clear()
    },
  }
}

function dropSettled(barred: Map<string, number>, now: number): void {
  for (const [id, until] of barred) {
    if (until <= now) barred.delete(id)
  }
}
