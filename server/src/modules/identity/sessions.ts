import { createHmac, randomBytes } from 'node:crypto'
import type { Clock } from '#kernel/clock'
import { afterCommit, type Db, type Sql, type Tx } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import type { SecretBox } from '#kernel/secrets'
import { RefreshTokenInvalid } from './people-errors.ts'
import type { Client, PeopleKit } from './people-kit.ts'
import { findUser, upsertDevice } from './people-queries.ts'
import * as queries from './session-queries.ts'
import { digestOf, newToken } from './secret-token.ts'
import { sessionsChanged } from './session-changes.ts'

/** A session without its secret. */
export type Session = queries.SessionRow

export type SessionMode = 'bearer' | 'cookie'

/** How a person was proved. */
export type Method = 'password' | 'email' | 'telegram' | 'google' | 'vk' | 'totp'

/** A session that was just opened, with the secret its client keeps: shown once. */
export interface OpenedSession {
  session: Session
  /** Of mode bearer. */
  refresh_token: string | null
  /** Of mode cookie. */
  cookie: string | null
}

const DAY_MS = 86_400_000
/** Without any use. */
const IDLE_MS = 30 * DAY_MS
/** However much it is used; the same as in the statement that moves the end of cookies on. */
const LONGEST_MS = 180 * DAY_MS
/** A retry after a lost answer comes within seconds. */
const GRACE_MS = 10_000
const NAME_MAX = 200

/**
 * Opens a session. The caller has locked the user's row, so that a change of password at the same moment ends
 * this session too, or refuses it. An earlier session of the same device ends.
 */
export async function openSession(
  tx: Tx,
  clock: Clock,
  input: {
    user_id: string
    mode: SessionMode
    methods: readonly Method[]
    client: Client
    impersonator_id?: string | undefined
    /** For impersonation; never longer than other sessions. */
    valid_ms?: number | undefined
  },
): Promise<OpenedSession> {
  const { user_id, mode, client } = input
  const now = clock.now()
  const device_id = client.device_id ?? null
  const device_name = client.device_name?.slice(0, NAME_MAX) ?? null
  if (device_id !== null && input.impersonator_id === undefined) {
    await upsertDevice(tx, { user_id, device_id, name: device_name, now })
    tell(await queries.endSessions(tx, { user_id, device_id, because: 'replaced', now }))
  }
  const cookie = mode === 'cookie' ? newToken('cs') : undefined
  const session = await queries.insertSession(tx, {
    id: newId('ses', now.getTime()),
    user_id,
    mode,
    cookie_digest: cookie?.digest ?? null,
    device_id,
    device_name,
    network: client.network,
    methods: [...input.methods],
    impersonator_id: input.impersonator_id ?? null,
    created_at: now,
    expires_at: new Date(now.getTime() + (input.valid_ms ?? IDLE_MS)),
  })
  if (cookie) return { session, refresh_token: null, cookie: cookie.token }
  const first = newToken('rt')
  await addToken(tx, session, first.digest, now)
  return { session, refresh_token: first.token, cookie: null }
}

/**
 * Exchanges a refresh token for the next one. Of many at once with the same token all get the same successor,
 * and so does a retry within ten seconds. A token that comes back later was copied: its session ends, for the
 * thief and for the owner. Throws {@link RefreshTokenInvalid}.
 */
export async function refreshSession(
  db: Db,
  kit: PeopleKit,
  input: { refresh_token: string; network: string },
): Promise<{ session: Session; refresh_token: string }> {
  const outcome = await db.transact((tx) => rotate(tx, kit, input))
  // Only after the commit, so that the end of a stolen session stays.
  if ('refused' in outcome) throw new RefreshTokenInvalid(outcome.refused)
  return outcome
}

type Rotation = { session: Session; refresh_token: string } | { refused: string }

const UNKNOWN: Rotation = { refused: 'It is unknown, or its session has ended.' }

async function rotate(
  tx: Tx,
  { clock, box }: PeopleKit,
  { refresh_token, network }: { refresh_token: string; network: string },
): Promise<Rotation> {
  const digest = digestOf(refresh_token)
  const session_id = await queries.findSessionOfToken(tx, digest)
  // The lock of the session makes requests with its tokens wait for each other.
  const session = session_id === undefined ? undefined : await queries.lockSession(tx, session_id)
  const token = session && (await queries.findRefreshToken(tx, digest))
  const now = clock.now()
  if (!session || !token || session.ended_at !== null || session.expires_at <= now) return UNKNOWN
  const user = await findUser(tx, session.user_id)
  if (!user || user.is_disabled || user.merged_into !== null || user.erased_at !== null) return UNKNOWN
  if (token.used_at === null) {
    const next = successor(box, refresh_token, token.salt)[0] ?? ''
    await queries.useRefreshToken(tx, digest, now)
    const generation = session.generation + 1
    const expires_ms = Math.min(now.getTime() + IDLE_MS, session.created_at.getTime() + LONGEST_MS)
    const moved = await queries.moveSessionOn(tx, {
      id: session.id,
      generation,
      last_used_at: now,
      expires_at: new Date(expires_ms),
      network,
    })
    await addToken(tx, moved, digestOf(next), now)
    return { session: moved, refresh_token: next }
  }
  const is_previous = token.generation === session.generation - 1
  if (is_previous && now.getTime() - token.used_at.getTime() <= GRACE_MS) {
    for (const next of successor(box, refresh_token, token.salt)) {
      if (await queries.findRefreshToken(tx, digestOf(next))) return { session, refresh_token: next }
    }
  }
  tell(await queries.endSessions(tx, { id: session.id, because: 'refresh token came again', now }))
  return { refused: 'It was used before. To be safe its session was ended: sign in again.' }
}

async function addToken(tx: Tx, session: Session, digest: Buffer, now: Date): Promise<void> {
  const { id: session_id, generation } = session
  await queries.insertRefreshToken(tx, {
    digest,
    session_id,
    generation,
    salt: randomBytes(16),
    created_at: now,
  })
}

/**
 * What follows a refresh token: computed, so that a retry gets the same without it being kept anywhere.
 * Whoever has the database but not the key, or the key but not the token, cannot compute it. One for each key
 * there is, today's first.
 */
function successor(box: SecretBox, token: string, salt: Buffer): string[] {
  return box.deriveKeys('refresh tokens').map((key) => {
    const secret = createHmac('sha256', key).update(salt).update(token).digest('base64url')
    return `rt_${secret}`
  })
}

/** Ends one session; a repeat changes nothing. Throws {@link NotFound} when it is not this user's. */
export async function endSession(
  tx: Tx,
  clock: Clock,
  input: { id: string; user_id: string; because: string },
): Promise<void> {
  const session = await queries.lockSession(tx, input.id)
  if (!session || session.user_id !== input.user_id) throw new NotFound(`There is no session ${input.id}.`)
  tell(await queries.endSessions(tx, { id: input.id, because: input.because, now: clock.now() }))
}

/** Ends the session a refresh token belongs to; does nothing when there is none: signing out always works. */
export async function endSessionOfToken(tx: Tx, clock: Clock, refresh_token: string): Promise<void> {
  const id = await queries.findSessionOfToken(tx, digestOf(refresh_token))
  if (id !== undefined) tell(await queries.endSessions(tx, { id, because: 'signed out', now: clock.now() }))
}

/**
 * Ends all sessions of a user, but one that may be named, or one alone (`id`): after a change of password, of
 * roles, or on request. They are over in this process with the commit, in others within five seconds. Answers
 * how many.
 */
export async function endSessions(
  tx: Tx,
  clock: Clock,
  input: { user_id: string; because: string; id?: string; except?: string | undefined },
): Promise<number> {
  const ended = await queries.endSessions(tx, { ...input, now: clock.now() })
  tell(ended)
  return ended.length
}

/** A user's open sessions, the one used last first; at most 200. */
export async function listSessions(sql: Sql, clock: Clock, user_id: string): Promise<Session[]> {
  return queries.listSessions(sql, user_id, clock.now())
}

/** How far a session's end is moved on by a use now. */
export function idleEnd(clock: Clock): Date {
  return new Date(clock.now_ms() + IDLE_MS)
}

function tell(ids: readonly string[]): void {
  afterCommit(() => sessionsChanged(ids))
}
