import type { Clock } from '#kernel/clock'
import { createCoalescer } from '#kernel/coalesce'
import type { Db } from '#kernel/db'
import { Unauthenticated } from '#kernel/errors'
import { sameBytes } from '@kopilka/extension'
import type { PersonIdentity } from './people-authenticator.ts'
import type { PermissionsOf } from './permissions.ts'
import { onSessionsChanged } from './session-changes.ts'
import { findOpenSessions, type OpenSession } from './session-queries.ts'

/** How a session is asked for. */
export type SessionQuestion = { id: string } | { cookie_digest: Buffer }

/** Who is behind the credentials seen lately, by their digests. */
export interface SessionMemory {
  /**
   * What is known and still holds, else undefined; looked up again in the background when it is half as old
   * as it may be.
   */
  recall(digest: string, question: (known: PersonIdentity) => SessionQuestion): PersonIdentity | undefined
  /** Asks the database and remembers. Throws Unauthenticated when there is no such session (any more). */
  lookUp(digest: string, question: SessionQuestion, token_expires_ms?: number): Promise<PersonIdentity>
  /** Shares one look among all who ask for the same at once. */
  once(digest: string, look: () => Promise<PersonIdentity>): Promise<PersonIdentity>
  forget(digest: string): void
  stop(): Promise<void>
}

export interface SessionMemoryOptions {
  clock: Clock
  permissionsOf: PermissionsOf
  is_second_factor_required: boolean
  on_error: (error: unknown) => void
  now_ms: () => number
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

type Answer = { session: OpenSession; permissions: ReadonlySet<string> } | undefined

/** Makes the memory of a process. */
export function createSessionMemory(db: Db, options: SessionMemoryOptions): SessionMemory {
  const { clock, permissionsOf, on_error, now_ms } = options
  const remembered = new Map<string, Remembered>()
  const looks = new Map<string, Promise<PersonIdentity>>()
  // Grows with every change: what was read before a change is not remembered after it.
  let changes = 0
  const reader = createCoalescer<SessionQuestion, Answer>({
    batch_max: 100,
    waiting_max: 2_000,
    flush: (questions) => readSessions(db, permissionsOf, questions),
  })
  const stopListening = onSessionsChanged((ids) => {
    changes++
    // A look under way may have begun before the change: nobody who asks after it shares it.
    looks.clear()
    const ended = ids === 'all' ? undefined : new Set(ids)
    for (const [digest, { identity }] of remembered) {
      if (ended === undefined || ended.has(identity.session_id)) remembered.delete(digest)
    }
  })
  const lookUp: SessionMemory['lookUp'] = async (digest, question, token_expires_ms) => {
    const changes_before = changes
    const answer = await reader.add(question)
    if (answer === undefined || answer.session.expires_at.getTime() <= clock.now_ms()) {
      remembered.delete(digest)
      throw sessionEnded()
    }
    const identity = identityOf(answer, options.is_second_factor_required)
    const expires_ms = token_expires_ms ?? answer.session.expires_at.getTime()
    const value = { identity, read_at: now_ms(), expires_ms, is_refreshing: false }
    if (changes === changes_before) keep(remembered, digest, value)
    return identity
  }
  return {
    lookUp,
    recall: (digest, question) => {
      const known = remembered.get(digest)
      const now = now_ms()
      if (known === undefined || now - known.read_at >= TTL_MS) return undefined
      if (known.expires_ms <= clock.now_ms()) return undefined
      if (now - known.read_at >= REFRESH_MS && !known.is_refreshing) {
        known.is_refreshing = true
        lookUp(digest, question(known.identity), known.expires_ms).catch((error: unknown) => {
          known.is_refreshing = false
          if (!(error instanceof Unauthenticated)) on_error(error)
        })
      }
      return known.identity
    },
    once: (digest, look) => {
      const running = looks.get(digest)
      if (running) return running
      const mine = look().finally(() => {
        if (looks.get(digest) === mine) looks.delete(digest)
      })
      looks.set(digest, mine)
      return mine
    },
    forget: (digest) => {
      remembered.delete(digest)
    },
    stop: () => {
      stopListening()
      return reader.stop()
    },
  }
}

/** Puts a value at the end; the one that was put in longest ago gives way. */
function keep(remembered: Map<string, Remembered>, digest: string, value: Remembered): void {
  remembered.delete(digest)
  if (remembered.size >= REMEMBERED_MAX) remembered.delete(remembered.keys().next().value ?? '')
  remembered.set(digest, value)
}

async function readSessions(
  db: Db,
  permissionsOf: PermissionsOf,
  questions: readonly SessionQuestion[],
): Promise<Answer[]> {
  const sessions = await findOpenSessions(db, {
    ids: questions.flatMap((question) => ('id' in question ? [question.id] : [])),
    cookie_digests: questions.flatMap((question) =>
      'cookie_digest' in question ? [question.cookie_digest] : [],
    ),
  })
  const users = [...new Set(sessions.map(({ user_id }) => user_id))]
  const permissions =
    users.length === 0 ? new Map<string, ReadonlySet<string>>() : await permissionsOf(db, users)
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

function identityOf(
  { session, permissions }: NonNullable<Answer>,
  is_factor_required: boolean,
): PersonIdentity {
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

/** The refusal of a session or token that holds no more. */
export function sessionEnded(): Unauthenticated {
  return new Unauthenticated('This session has ended, or the token is not valid.')
}
