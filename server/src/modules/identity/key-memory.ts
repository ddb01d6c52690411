import { sameBytes } from '@kopilka/extension'
import { createCoalescer } from '#kernel/coalesce'
import type { Db } from '#kernel/db'
import { findKeysByDigest, type KeyRow } from './queries.ts'

/**
 * The owner of a secret key, as the HTTP edge wants its actors. One object per key, shared by its requests.
 */
export interface KeyIdentity {
  kind: 'key'
  id: string
  scopes: ReadonlySet<string>
  rate_limit_per_minute?: number
}

/** A key as it is remembered. */
export interface KnownKey {
  identity: KeyIdentity
  /** On the clock; `Infinity` when the key does not expire. */
  expires_ms: number
}

/** What this process knows of keys, by the digests of their secrets (base64url). */
export interface KeyMemory {
  /** A key seen lately; one in use is looked up again in the background, so that its requests never wait. */
  recall(digest: string): KnownKey | undefined
  /** Whether this digest was found to be nobody's a moment ago. */
  isWrong(digest: string): boolean
  /** Looks a key up; `undefined` when it is unknown or revoked. */
  find(digest: string): Promise<KnownKey | undefined>
  /** Hears of changes no more and finishes the looks under way. */
  stop(): Promise<void>
}

export interface KeyMemoryOptions {
  on_error: (error: unknown) => void
  now_ms: () => number
  keys_max: number
}

interface Remembered extends KnownKey {
  read_at: number
  is_refreshing: boolean
}

/** A revocation by another process is seen within this time; in this one at once. */
const TTL_MS = 5_000
const REFRESH_MS = 2_500
/** Wrong keys are remembered too, so that one that is tried again and again costs one look per TTL. */
const WRONG_MAX = 1_000
const LOOKUPS_IN_ONE = 100
const WAITING_MAX = 1_000

const listeners = new Set<(id: string) => void>()

/** Tells every memory of this process that a key was changed. To be called after the commit. */
export function keyChanged(id: string): void {
  for (const listener of listeners) listener(id)
}

/** A bounded memory of keys in front of the database. */
export function createKeyMemory(db: Db, options: KeyMemoryOptions): KeyMemory {
  const { on_error, now_ms, keys_max } = options
  const keys = new Map<string, Remembered>()
  const wrong = new Map<string, number>()
  const lookups = new Map<string, Promise<KnownKey | undefined>>()
  const reader = createReader(db)
  // Grows with every change: what was read before a change is not remembered after it.
  let changes = 0
  const forget = (id: string): void => {
    changes++
    // Whoever asks from now on must not be given what a look from before the change brings.
    lookups.clear()
    for (const [digest, key] of keys) if (key.identity.id === id) keys.delete(digest)
  }
  listeners.add(forget)

  const lookUp = async (digest: string): Promise<KnownKey | undefined> => {
    const changes_before = changes
    const row = await reader.add(Buffer.from(digest, 'base64url'))
    const is_current = changes === changes_before
    if (row === undefined) {
      keys.delete(digest)
      if (is_current) keep(wrong, digest, now_ms(), WRONG_MAX)
      return undefined
    }
    const known = {
      identity: identityOf(row),
      expires_ms: row.expires_at?.getTime() ?? Number.POSITIVE_INFINITY,
    }
    if (is_current) keep(keys, digest, { ...known, read_at: now_ms(), is_refreshing: false }, keys_max)
    return known
  }
  return {
    recall: (digest) => {
      const key = keys.get(digest)
      if (key === undefined) return undefined
      const age_ms = now_ms() - key.read_at
      if (age_ms >= TTL_MS) return undefined
      if (age_ms >= REFRESH_MS && !key.is_refreshing) {
        key.is_refreshing = true
        lookUp(digest).catch((error: unknown) => {
          // A database that does not answer is told to the next request, when the time is over.
          key.is_refreshing = false
          on_error(error)
        })
      }
      return key
    },
    isWrong: (digest) => now_ms() - (wrong.get(digest) ?? Number.NEGATIVE_INFINITY) < TTL_MS,
    find: (digest) => {
      const running = lookups.get(digest)
      if (running) return running
      const lookup = lookUp(digest).finally(() => {
        if (lookups.get(digest) === lookup) lookups.delete(digest)
      })
      lookups.set(digest, lookup)
      return lookup
    },
    stop: () => {
      listeners.delete(forget)
      return reader.stop()
    },
  }
}

/** One statement for all who wait: a flood of unknown keys is one question at a time to the database. */
function createReader(db: Db) {
  return createCoalescer<Buffer, KeyRow | undefined>({
    batch_max: LOOKUPS_IN_ONE,
    waiting_max: WAITING_MAX,
    flush: async (digests) => {
      const rows = await findKeysByDigest(db, digests)
      return digests.map((digest) => rows.find((row) => sameBytes(row.secret_digest, digest)))
    },
  })
}

/** Puts a value at the end of a map of bounded size; the oldest gives way. */
function keep<Value>(map: Map<string, Value>, key: string, value: Value, size_max: number): void {
  map.delete(key)
  if (map.size >= size_max) map.delete(map.keys().next().value ?? '')
  map.set(key, value)
}

function identityOf(row: KeyRow): KeyIdentity {
  const { id, scopes, rate_limit_per_minute } = row
  return {
    kind: 'key',
    id,
    scopes: new Set(scopes),
    ...(rate_limit_per_minute === null ? {} : { rate_limit_per_minute }),
  }
}
