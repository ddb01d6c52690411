import { createHmac, hash } from 'node:crypto'
import { sameBytes } from '@kopilka/extension'
import type { Clock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import { createLoop } from '#kernel/loop'
import type { SecretBox } from '#kernel/secrets'
import type { AccessTokens } from './access-tokens.ts'
import { nobodyIsStaff, type PermissionsOf } from './permissions.ts'
import { createSessionMemory, sessionEnded } from './session-memory.ts'
import { markSessionsUsed } from './session-queries.ts'
import { idleEnd } from './sessions.ts'

/** A person who is signed in, as the HTTP edge wants its actors. One object per session and look. */
export interface PersonIdentity {
  kind: 'user'
  id: string
  session_id: string
  customer_id: string
  permissions: ReadonlySet<string>
  /** Whether the person still has to prove a second factor before the permissions hold. */
  needs_second_factor: boolean
  impersonator_id?: string
}

/** Knows who is behind an access token or a session cookie. Of secrets only digests are held. */
export interface PeopleAuthenticator {
  /** At once for a token seen before, else a promise. Throws (or rejects with) Unauthenticated. */
  byAccessToken(token: string): PersonIdentity | Promise<PersonIdentity>
  /** The same for the cookie of a browser's session. */
  byCookie(secret: string): PersonIdentity | Promise<PersonIdentity>
  /** What pages send with every request of this session that changes something. */
  csrfTokenOf(cookie: string): string
  isCsrfToken(cookie: string, csrf_token: string): boolean
  /** Writes what is known of cookies' use, which happens twice a minute anyway. */
  flush(): Promise<void>
  /** Writes what is known of cookies' use and looks nothing up any more. Repeatable. */
  stop(): Promise<void>
}

export interface PeopleAuthenticatorOptions {
  clock: Clock
  box: SecretBox
  tokens: AccessTokens
  permissionsOf?: PermissionsOf
  staff_second_factor?: 'optional' | 'required'
  on_error?: (error: unknown) => void
  /** For tests. */
  now_ms?: () => number
}

/** How far behind a cookie's last use may be. */
const FLUSH_MS = 30_000

/**
 * Makes the authenticator of a process. A token's signature is checked once, its session every few seconds.
 */
export function createPeopleAuthenticator(db: Db, options: PeopleAuthenticatorOptions): PeopleAuthenticator {
  const { clock, tokens, box, on_error = () => undefined } = options
  const memory = createSessionMemory(db, {
    clock,
    on_error,
    permissionsOf: options.permissionsOf ?? nobodyIsStaff,
    is_second_factor_required: options.staff_second_factor === 'required',
    now_ms: options.now_ms ?? (() => performance.now()),
  })
  const uses = createCookieUses(db, clock, on_error)
  const csrf_keys = box.deriveKeys('csrf tokens')
  const csrf = (key: Buffer, cookie: string): string =>
    createHmac('sha256', key).update(cookie).digest('base64url')
  let stopping: Promise<void> | undefined
  return {
    byAccessToken: (token) => {
      const digest = hash('sha256', token, 'base64url')
      const known = memory.recall(digest, ({ session_id }) => ({ id: session_id }))
      if (known !== undefined) return known
      return memory.once(digest, async () => {
        const { session_id, user_id, expires_ms } = await tokens.verify(token)
        const identity = await memory.lookUp(digest, { id: session_id }, expires_ms)
        if (identity.id === user_id) return identity
        memory.forget(digest)
        throw sessionEnded()
      })
    },
    byCookie: (secret) => {
      const cookie_digest = hash('sha256', secret, 'buffer')
      const digest = cookie_digest.toString('base64url')
      const known = memory.recall(digest, () => ({ cookie_digest }))
      if (known !== undefined) return uses.note(known)
      return memory.once(digest, async () => uses.note(await memory.lookUp(digest, { cookie_digest })))
    },
    csrfTokenOf: (cookie) => csrf(csrf_keys[0] ?? Buffer.alloc(0), cookie),
    isCsrfToken: (cookie, csrf_token) => csrf_keys.some((key) => sameBytes(csrf(key, cookie), csrf_token)),
    flush: uses.write,
    stop: () => (stopping ??= memory.stop().then(uses.stop)),
  }
}

/** Gathers when browsers' sessions were used, and moves their ends on every half a minute. */
function createCookieUses(db: Db, clock: Clock, on_error: (error: unknown) => void) {
  const used = new Map<string, number>()
  const write = async (): Promise<void> => {
    if (used.size === 0) return
    const expires_at = idleEnd(clock)
    const uses = [...used].map(([id, used_ms]) => ({ id, used_at: new Date(used_ms), expires_at }))
    used.clear()
    await db.transact((tx) => markSessionsUsed(tx, uses))
  }
  const flusher = createLoop({
    work: async () => {
      await write()
      return false
    },
    pause_ms: FLUSH_MS,
    on_error,
  })
  flusher.start()
  return {
    write,
    note: (identity: PersonIdentity): PersonIdentity => {
      used.set(identity.session_id, clock.now_ms())
      return identity
    },
    stop: async (): Promise<void> => {
      await flusher.stop()
      // Nobody's stop should fail for the sake of a moment of last use.
      await write().catch(on_error)
    },
  }
}
