import { hash } from 'node:crypto'
import type { Clock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import { Unauthenticated } from '#kernel/errors'
import { createKeyMemory, type KeyIdentity, type KnownKey } from './key-memory.ts'
import { createLastUses } from './last-uses.ts'
import { type KeyMode, readSecretKey } from './secret-key.ts'

/** What the authenticator looks at of a request. */
export interface Credentials {
  readonly headers: { readonly authorization?: string | undefined }
}

export interface Authenticator {
  /**
   * Who sent this: `undefined` without an Authorization header. The key stands in `Bearer sk_…`, or in Basic
   * as the user name without a password. A key seen in the last five seconds is answered at once, others by a
   * promise. Throws (or rejects with) Unauthenticated; OperationalError when too many unknown keys wait;
   * what the database throws when it does not answer.
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

const KEYS_MAX = 10_000
/** How far behind `last_used_at` may be. */
const FLUSH_MS = 30_000

/**
 * Knows who a secret key belongs to. Holds digests of secrets, and of the secrets themselves the one seen
 * last.
 */
export function createAuthenticator(db: Db, options: AuthenticatorOptions): Authenticator {
  const { clock, mode, on_error = () => undefined } = options
  const memory = createKeyMemory(db, {
    on_error,
    now_ms: options.now_ms ?? (() => performance.now()),
    keys_max: options.keys_max ?? KEYS_MAX,
  })
  const uses = createLastUses(db, { flush_ms: options.flush_ms ?? FLUSH_MS, on_error })
  // Most installations have one busy key: its digest need not be computed for every request.
  let latest = { authorization: '', secret: '', digest: '' }

  const admit = (key: KnownKey | undefined): KeyIdentity => {
    if (key === undefined) throw notValid()
    const moment_ms = clock.now_ms()
    if (key.expires_ms <= moment_ms) throw new Unauthenticated('This API key has expired.')
    uses.note(key.identity.id, moment_ms)
    return key.identity
  }
  let stopping: Promise<void> | undefined
  return {
    authenticate: (request) => {
      const { authorization } = request.headers
      if (authorization === undefined) return undefined
      if (authorization !== latest.authorization) {
        const given = secretOf(authorization)
        latest = { authorization, secret: given, digest: hash('sha256', given, 'base64url') }
      }
      const { secret, digest } = latest
      const known = memory.recall(digest)
      if (known !== undefined) return admit(known)
      const key_mode = readSecretKey(secret)
      if (key_mode === undefined || memory.isWrong(digest)) throw notValid()
      if (key_mode !== mode) throw ofOtherMode(key_mode)
      return memory.find(digest).then(admit)
    },
    stop: () => (stopping ??= memory.stop().then(() => uses.stop())),
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
  if (rest.join('') !== '') {
    throw new Unauthenticated('The secret API key is the user name; there is no password.')
  }
  return user
}

function notValid(): Unauthenticated {
  return new Unauthenticated('This is not a valid API key.')
}

function ofOtherMode(mode: KeyMode): Unauthenticated {
  return new Unauthenticated(
    mode === 'live'
      ? 'This is a live key, and this server runs in the sandbox.'
      : 'This is a key of the sandbox, and this server runs live.',
  )
}
