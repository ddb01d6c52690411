import { hash } from 'node:crypto'
import { sameBytes } from '@kopilka/extension'
import type { Clock } from '#kernel/clock'
import { createCoalescer } from '#kernel/coalesce'
import type { Db } from '#kernel/db'
import { Unauthenticated } from '#kernel/errors'
import { createLoop } from '#kernel/loop'
import { findKeysByDigest, type KeyRow, markUsed } from './queries.ts'
import { type KeyMode, readSecretKey } from './secret-key.ts'

/**
 * The owner of a secret key, as the HTTP edge wants its actors. One object per key, shared by its requests.
 */
export interface KeyIdentity {
  kind: 'key'
  id: string
  scopes: ReadonlySet<string>
  rate_limit_per_minute?: number
}

/** What the authenticator looks at of a request. */
export interface Credentials {
  readonly headers: { readonly authorization?: string | undefined }
}

export interface Authenticator {
  /**
   * Who sent this: `undefined` without an Authorization header. The key stands in `Bearer sk_…`, or in
   * Basic as the user name without a password. A key seen in the last five seconds is answered at once,
   * others by a promise. Throws (or rejects with) Unauthenticated; OperationalError when the database does
   * not answer.
   */
  authenticate(request: Credentials): KeyIdentity | undefined | Promise<KeyIdentity>
  /** Writes what is known of keys' last use and looks nothing up any more. Repeatable. */
  stop(): Promise<void>
}

export interface AuthenticatorOptions {
  clock: Clock
  /** Keys of the other mode are refused. */
  mode: KeyMode
  /** Something in the background failed; requests went on. */
  on_error?: (error: unknown) => void
  /** For tests. */
  now_ms?: () => number
  keys_max?: number
  flush_ms?: number
}

interface Remembered {
  identity: KeyIdentity
  read_at: number
  /** On the clock; `Infinity` when the key does not expire. */
  expires_ms: number
  is_refreshing: boolean
}

/** A revocation by another process is seen within this time; in this one at once. */
const TTL_MS = 5_000
/** A key in use is looked up again in the background from here on, so that its requests never wait. */
const REFRESH_MS = 2_500
const KEYS_MAX = 10_000
/** Wrong keys are remembered too, so that one that is tried again and again costs one look per TTL. */
const WRONG_MAX = 1_000
const LOOKUPS_IN_ONE = 100
/** How far behind `last_used_at` may be. */
const FLUSH_MS = 30_000

const listeners = new Set<(id: string) => void>()

/** Tells every authenticator of this process that a key was changed. To be called after the commit. */
export function keyChanged(id: string): void {
  for (const listener of listeners) listener(id)
}

/**
 * Knows who a secret key belongs to. Holds digests of secrets, and of the secrets themselves the one seen
 * last.
 */
export function createAuthenticator(db: Db, options: AuthenticatorOptions): Authenticator {
  const { clock, mode, on_error = () => undefined, keys_max = KEYS_MAX, flush_ms = FLUSH_MS } = options
  const now_ms = options.now_ms ?? (() => performance.now())
  const keys = new Map<string, Remembered>()
  const wrong = new Map<string, number>()
  const used = new Map<string, number>()
  const lookups = new Map<string, Promise<KeyIdentity>>()
  // Grows with every change: what was read before a change is not remembered after it.
  let changes = 0
  // Most installations have one busy key: its digest need not be computed for every request.
  let latest = { authorization: '', secret: '', digest: '' }

  // One statement for all who wait: a flood of unknown keys is one question at a time to the database.
  const reader = createCoalescer<Buffer, KeyRow | undefined>({
    batch_max: LOOKUPS_IN_ONE,
    waiting_max: 1_000,
    flush: async (digests) => {
      const rows = await findKeysByDigest(db, digests)
      return digests.map((digest) => rows.find((row) => sameBytes(row.secret_digest, digest)))
    },
  })

  const forget = (id: string): void => {
    changes++
    for (const [digest, key] of keys) if (key.identity.id === id) keys.delete(digest)
  }
  listeners.add(forget)

  const lookUp = async (digest: string): Promise<KeyIdentity> => {
    const changes_before = changes
    const row = await reader.add(Buffer.from(digest, 'base64url'))
    const is_current = changes === changes_before
    if (row === undefined || row.mode !== mode) {
      keys.delete(digest)
      if (is_current) keep(wrong, digest, now_ms(), WRONG_MAX)
      throw notValid()
    }
    const identity = identityOf(row)
    const expires_ms = row.expires_at?.getTime() ?? Number.POSITIVE_INFINITY
    if (is_current)
      keep(keys, digest, { identity, read_at: now_ms(), expires_ms, is_refreshing: false }, keys_max)
    if (expires_ms <= clock.now_ms()) throw expired()
    used.set(identity.id, clock.now_ms())
    return identity
  }
  const lookUpOnce = (digest: string): Promise<KeyIdentity> => {
    const running = lookups.get(digest)
    if (running) return running
    const lookup = lookUp(digest).finally(() => lookups.delete(digest))
    lookups.set(digest, lookup)
    return lookup
  }
  const refresh = (digest: string, key: Remembered): void => {
    key.is_refreshing = true
    lookUp(digest).catch((error: unknown) => {
      // Revoked or expired is told to the next request; a database that does not answer, when the TTL is
      // over.
      key.is_refreshing = false
      if (!(error instanceof Unauthenticated)) on_error(error)
    })
  }

  const writeUses = async (): Promise<void> => {
    if (used.size === 0) return
    const taken = [...used]
    used.clear()
    const uses = taken.map(([id, used_ms]) => ({ id, used_at: new Date(used_ms) }))
    try {
      await db.transact((tx) => markUsed(tx, uses))
    } catch (error) {
      for (const [id, used_ms] of taken) if (!used.has(id)) used.set(id, used_ms)
      throw error
    }
  }
  const flusher = createLoop({
    work: async () => {
      await writeUses()
      return false
    },
    pause_ms: flush_ms,
    on_error,
  })
  flusher.start()
  let stopping: Promise<void> | undefined
  const stop = async (): Promise<void> => {
    listeners.delete(forget)
    await flusher.stop()
    await reader.stop()
    // Nobody's stop fails for the sake of a moment of last use.
    await writeUses().catch(on_error)
  }

  return {
    authenticate: (request) => {
      const { authorization } = request.headers
      if (authorization === undefined) return undefined
      if (authorization !== latest.authorization) {
        const given = secretOf(authorization)
        latest = { authorization, secret: given, digest: hash('sha256', given, 'base64url') }
      }
      const { secret, digest } = latest
      const key = keys.get(digest)
      const now = now_ms()
      if (key !== undefined && now - key.read_at < TTL_MS) {
        const moment = clock.now_ms()
        if (key.expires_ms <= moment) throw expired()
        if (now - key.read_at >= REFRESH_MS && !key.is_refreshing) refresh(digest, key)
        used.set(key.identity.id, moment)
        return key.identity
      }
      const key_mode = readSecretKey(secret)
      if (key_mode === undefined) throw notValid()
      if (key_mode !== mode) throw ofOtherMode(key_mode)
      if (now - (wrong.get(digest) ?? Number.NEGATIVE_INFINITY) < TTL_MS) throw notValid()
      return lookUpOnce(digest)
    },
    stop: () => (stopping ??= stop()),
  }
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

function secretOf(authorization: string): string {
  if (authorization.startsWith('Bearer ')) return authorization.slice(7)
  const [, scheme = '', value = ''] = /^(Bearer|Basic) +(\S+)$/i.exec(authorization) ?? []
  if (scheme.toLowerCase() === 'bearer') return value
  if (scheme.toLowerCase() !== 'basic') {
    throw new Unauthenticated('Send the secret API key as `Authorization: Bearer sk_…`.')
  }
  const [user = '', ...rest] = Buffer.from(value, 'base64').toString('utf8').split(':')
  if (rest.join('') !== '')
    throw new Unauthenticated('The secret API key is the user name; there is no password.')
  return user
}

function notValid(): Unauthenticated {
  return new Unauthenticated('This is not a valid API key.')
}

function expired(): Unauthenticated {
  return new Unauthenticated('This API key has expired.')
}

function ofOtherMode(mode: KeyMode): Unauthenticated {
  return new Unauthenticated(
    mode === 'live'
      ? 'This is a live key, and this server runs in the sandbox.'
      : 'This is a key of the sandbox, and this server runs live.',
  )
}
