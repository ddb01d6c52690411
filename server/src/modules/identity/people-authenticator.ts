import { createHmac, hash } from 'node:crypto'
import { sameBytes } from '@kopilka/extension'
import type { Clock } from '#kernel/clock'
import { createCoalescer } from '#kernel/coalesce'
import type { Db } from '#kernel/db'
import { Unauthenticated } from '#kernel/errors'
import { createLoop } from '#kernel/loop'
import type { SecretBox } from '#kernel/secrets'
import type { AccessTokens } from './access-tokens.ts'
import { nobodyIsStaff, type PermissionsOf } from './permissions.ts'
import { onSessionsChanged } from './session-changes.ts'
import { findOpenSessions, markSessionsUsed, type OpenSession } from './session-queries.ts'
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

interface Remembered {
  identity: PersonIdentity
  read_at: number
  /** On the clock: the end of the access token, or of the cookie's session. */
  expires_ms: number
  is_refreshing: boolean
}

/** The end of a session by another process is seen within this time; in this one at once. */
const TTL_MS = 5_000
/** A session in use is looked up again in the background from here on, so that its requests never wait. */
const REFRESH_MS = 2_500
const REMEMBERED_MAX = 50_000
const FLUSH_MS = 30_000

type Question = { id: string } | { cookie_digest: Buffer }
type Answer = { session: OpenSession; permissions: ReadonlySet<string> } | undefined

/** Makes the authenticator of a process. A token's signature is checked once, its session every few seconds. */
export function createPeopleAuthenticator(db: Db, options: PeopleAuthenticatorOptions): PeopleAuthenticator {
  const { clock, tokens, box, permissionsOf = nobodyIsStaff, on_error = () => undefined } = options
  const now_ms = options.now_ms ?? (() => performance.now())
  const csrf_keys = box.deriveKeys('csrf tokens')
  const remembered = new Map<string, Remembered>()
  const lookups = new Map<string, Promise<PersonIdentity>>()
  const cookies_used = new Map<string, number>()
  // Grows with every change: what was read before a change is not remembered after it.
  let changes = 0

  const reader = createCoalescer<Question, Answer>({
    batch_max: 100,
    waiting_max: 2_000,
    flush: (questions) => readSessions(db, permissionsOf, questions),
  })
  const stopListening = onSessionsChanged((ids) => {
    changes++
    if (ids === 'all') return remembered.clear()
    const ended = new Set(ids)
    for (const [digest, { identity }] of remembered) if (ended.has(identity.session_id)) remembered.delete(digest)
  })

  const remember = (digest: string, value: Remembered): void => {
    remembered.delete(digest)
    if (remembered.size >= REMEMBERED_MAX) remembered.delete(remembered.keys().next().value ?? '')
    remembered.set(digest, value)
  }
  const lookUp = async (digest: string, question: Question, token_expires_ms?: number): Promise<PersonIdentity> => {
    const changes_before = changes
    const answer = await reader.add(question)
    if (answer === undefined || answer.session.expires_at.getTime() <= clock.now_ms()) {
      remembered.delete(digest)
      throw ended()
    }
    const identity = identityOf(answer, options.staff_second_factor === 'required')
    const expires_ms = token_expires_ms ?? answer.session.expires_at.getTime()
    if (changes === changes_before) remember(digest, { identity, read_at: now_ms(), expires_ms, is_refreshing: false })
    return identity
  }
  const lookUpOnce = (digest: string, look: () => Promise<PersonIdentity>): Promise<PersonIdentity> => {
    const running = lookups.get(digest)
    if (running) return running
    const lookup = look().finally(() => lookups.delete(digest))
    lookups.set(digest, lookup)
    return lookup
  }
  /** What is remembered and still holds; looked up again in the background when it is half as old as it may be. */
  const recall = (digest: string, question: (identity: PersonIdentity) => Question): PersonIdentity | undefined => {
    const known = remembered.get(digest)
    const now = now_ms()
    if (known === undefined || now - known.read_at >= TTL_MS) return undefined
    if (known.expires_ms <= clock.now_ms()) throw ended()
    if (now - known.read_at >= REFRESH_MS && !known.is_refreshing) {
      known.is_refreshing = true
      lookUp(digest, question(known.identity), known.expires_ms).catch((error: unknown) => {
        known.is_refreshing = false
        if (!(error instanceof Unauthenticated)) on_error(error)
      })
    }
    return known.identity
  }

  const writeUses = async (): Promise<void> => {
    if (cookies_used.size === 0) return
    const expires_at = idleEnd(clock)
    const uses = [...cookies_used].map(([id, used_ms]) => ({ id, used_at: new Date(used_ms), expires_at }))
    cookies_used.clear()
    await db.transact((tx) => markSessionsUsed(tx, uses))
  }
  const flusher = createLoop({
    work: async () => {
      await writeUses()
      return false
    },
    pause_ms: FLUSH_MS,
    on_error,
  })
  flusher.start()
  let stopping: Promise<void> | undefined
  const stop = async (): Promise<void> => {
    stopListening()
    await flusher.stop()
    await reader.stop()
    await writeUses()
  }
  const csrf = (key: Buffer, cookie: string): string => createHmac('sha256', key).update(cookie).digest('base64url')

  return {
    byAccessToken: (token) => {
      const digest = hash('sha256', token, 'base64url')
      const known = recall(digest, ({ session_id }) => ({ id: session_id }))
      if (known !== undefined) return known
      return lookUpOnce(digest, async () => {
        const { session_id, user_id, expires_ms } = await tokens.verify(token)
        const identity = await lookUp(digest, { id: session_id }, expires_ms)
        if (identity.id === user_id) return identity
        remembered.delete(digest)
        throw ended()
      })
    },
    byCookie: (secret) => {
      const cookie_digest = hash('sha256', secret, 'buffer')
      const digest = cookie_digest.toString('base64url')
      const note = (identity: PersonIdentity): PersonIdentity => {
        cookies_used.set(identity.session_id, clock.now_ms())
        return identity
      }
      const known = recall(digest, () => ({ cookie_digest }))
      if (known !== undefined) return note(known)
      return lookUpOnce(digest, async () => note(await lookUp(digest, { cookie_digest })))
    },
    csrfTokenOf: (cookie) => csrf(csrf_keys[0] ?? Buffer.alloc(0), cookie),
    isCsrfToken: (cookie, csrf_token) => csrf_keys.some((key) => sameBytes(csrf(key, cookie), csrf_token)),
    stop: () => (stopping ??= stop()),
  }
}

async function readSessions(
  db: Db,
  permissionsOf: PermissionsOf,
  questions: readonly Question[],
): Promise<Answer[]> {
  const sessions = await findOpenSessions(db, {
    ids: questions.flatMap((question) => ('id' in question ? [question.id] : [])),
    cookie_digests: questions.flatMap((question) => ('cookie_digest' in question ? [question.cookie_digest] : [])),
  })
  const users = [...new Set(sessions.map(({ user_id }) => user_id))]
  const permissions = users.length === 0 ? new Map<string, ReadonlySet<string>>() : await permissionsOf(db, users)
  return questions.map((question) => {
    const session = sessions.find((one) =>
      'id' in question
        ? // A cookie's session has no access tokens.
          one.id === question.id && one.cookie_digest === null
        : one.cookie_digest !== null && sameBytes(one.cookie_digest, question.cookie_digest),
    )
    return session && { session, permissions: permissions.get(session.user_id) ?? NOTHING }
  })
}

const NOTHING: ReadonlySet<string> = new Set()

function identityOf({ session, permissions }: NonNullable<Answer>, is_factor_required: boolean): PersonIdentity {
  const needs_second_factor = is_factor_required && permissions.size > 0 && !session.methods.includes('totp')
  return {
    kind: 'user',
    id: session.user_id,
    session_id: session.id,
    // Empty only between two statements of a sign-up that is not committed, so never.
    customer_id: session.customer_id ?? '',
    // Whoever looks through another's eyes has that person's rights, not the person's office.
    permissions: needs_second_factor || session.impersonator_id !== null ? NOTHING : permissions,
    needs_second_factor,
    ...(session.impersonator_id === null ? {} : { impersonator_id: session.impersonator_id }),
  }
}

function ended(): Unauthenticated {
  return new Unauthenticated('This session has ended, or the token is not valid.')
}
