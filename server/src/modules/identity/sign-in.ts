import { createHmac, randomBytes } from 'node:crypto'
import { sameBytes } from '@kopilka/extension'
import type { Db, Tx } from '#kernel/db'
import { TooManyRequests } from '#kernel/errors'
import type { Limited } from '#kernel/limits'
import type { SecretBox } from '#kernel/secrets'
import { InvalidCredentials } from './people-errors.ts'
import type { Client, PeopleKit } from './people-kit.ts'
import { findUserByEmail, lockUsers, updateUser, type UserRow } from './people-queries.ts'
import { createProof, PROOFS } from './proofs.ts'
import { hasSecondFactor } from './second-factor-state.ts'
import { wasSeenFrom } from './session-queries.ts'
import { type Method, type OpenedSession, openSession, type SessionMode } from './sessions.ts'
import { lockUser, plainEmail, shown, type User } from './users.ts'

/** Somebody is signed in. */
export interface SignedIn extends OpenedSession {
  status: 'signed_in'
  user: User
  /** Of mode bearer. */
  access_token: string | null
  expires_in: number
  /** Shows at the next sign-in that this device was let in before; its attempts are then counted apart. */
  device_token: string
}

/** The first step was right; a code of the second factor is needed. */
export interface SecondFactorNeeded {
  status: 'second_factor_required'
  challenge: string
  expires_at: Date
}

export type SignInOutcome = SignedIn | SecondFactorNeeded

const QUARTER_MS = 15 * 60_000
/** Wrong passwords; right ones are given back. An office or a mobile operator may share one address. */
const OF_NETWORK = { name: 'sign in, network', count: 60, period_ms: QUARTER_MS }
/** Of strangers to an account together: whoever guesses from many addresses is stopped here. */
const OF_ACCOUNT = { name: 'sign in, account', count: 10, period_ms: QUARTER_MS }
/** Of a device or network that was let in before: a stranger's guesses do not hold its owner up. */
const OF_KNOWN = { name: 'sign in, known', count: 10, period_ms: QUARTER_MS }
/**
 * Of all strangers to all accounts together. Who was let in before from this device or network is not
 * counted, so that a flood does not keep out who belongs here.
 */
export const OF_ALL: Limited = {
  rule: { name: 'sign in, all', count: 6_000, period_ms: 10 * 60_000 },
  subject: '',
}
/** Of this process: about what its processors could check. */
const ALL_PER_MINUTE = 1_200
const KNOWN_NETWORK_MS = 30 * 86_400_000
const DEVICE_TOKEN_MS = 365 * 86_400_000

/**
 * Signs in by e-mail and password. Unknown addresses cost the same statements and the same hash as known
 * ones.
 * Throws {@link InvalidCredentials}, TooManyRequests, UserDisabled (to whoever knows the password),
 * OperationalError.
 */
export async function signInWithPassword(
  db: Db,
  kit: PeopleKit,
  input: {
    email: string
    password: string
    mode: SessionMode
    client: Client
    device_token?: string | undefined
  },
): Promise<SignInOutcome> {
  const { device_token = '' } = input
  const device = readDeviceToken(kit.box, device_token, kit.clock.now_ms())
  if (device === undefined) takeOneOfAll(kit)
  const email = plainEmail(input.email)
  const user = await findUserByEmail(db, email)
  const { attempts, is_stranger } = await attemptsOf(db, kit, { ...input, email, user, device })
  await kit.limits.take(is_stranger ? [...attempts, OF_ALL] : attempts)
  const is_right = await kit.passwords.verify(input.password, user?.password_hash)
  if (!is_right || user === undefined)
    throw new InvalidCredentials('Nobody signs in with this address and password.')
  await kit.limits.giveBack(attempts)
  const password_hash = await fresherHash(kit, user, input.password)
  return enter(db, kit, {
    user_id: user.id,
    methods: ['password'],
    mode: input.mode,
    client: input.client,
    check: async (tx, locked) => {
      // Changed between the look and the lock: the password that was checked is the old one.
      if (locked.password_hash !== user.password_hash) {
        throw new InvalidCredentials('Nobody signs in with this address and password.')
      }
      if (password_hash !== undefined) await updateUser(tx, user.id, { password_hash }, kit.clock.now())
    },
  })
}

/**
 * Lets a proved person in: opens a session, or asks for the second factor first. `check` runs on the locked
 * user.
 * Throws NotFound, UserDisabled, and what `check` throws.
 */
export async function enter(
  db: Db,
  kit: PeopleKit,
  input: {
    user_id: string
    methods: readonly Method[]
    mode: SessionMode
    client: Client
    check?: (tx: Tx, user: UserRow) => Promise<void>
  },
): Promise<SignInOutcome> {
  const outcome = await db.transact(async (tx) => {
    const user = await lockUser(tx, input.user_id)
    await input.check?.(tx, user)
    return enterInTx(tx, kit, { ...input, user })
  })
  return finish(kit, outcome)
}

/** What was decided in a transaction; {@link finish} adds what is signed outside of it. */
export type Entry = SecondFactorNeeded | { status: 'signed_in'; user: User; opened: OpenedSession }

/** As {@link enter} for a user the caller has locked. */
export async function enterInTx(
  tx: Tx,
  kit: PeopleKit,
  input: { user: UserRow; methods: readonly Method[]; mode: SessionMode; client: Client },
): Promise<Entry> {
  const { user, methods, mode, client } = input
  if (!methods.includes('totp') && (await hasSecondFactor(tx, user.id))) {
    const { token, expires_at } = await createProof(tx, kit.clock, {
      kind: PROOFS.second_factor,
      user_id: user.id,
      facts: { methods, mode, client },
    })
    return { status: 'second_factor_required', challenge: token, expires_at }
  }
  const opened = await openSession(tx, kit.clock, { user_id: user.id, mode, methods, client })
  return { status: 'signed_in', user: shown(user), opened }
}

/** Signs the access token of a session that was opened. */
export async function finish(kit: PeopleKit, entry: Entry): Promise<SignInOutcome> {
  if (entry.status !== 'signed_in') return entry
  const { user, opened } = entry
  const { session } = opened
  const device_token = deviceTokenFor(kit, user.id)
  if (session.mode === 'cookie') {
    const expires_in = Math.floor((session.expires_at.getTime() - kit.clock.now_ms()) / 1000)
    return { status: 'signed_in', ...opened, user, access_token: null, expires_in, device_token }
  }
  const signed = await kit.tokens.sign({ user_id: user.id, session_id: session.id })
  return { status: 'signed_in', ...opened, user, ...signed, device_token }
}

/** Throws TooManyRequests when this process has all the sign-ins it can do. */
export function takeOneOfAll(kit: PeopleKit): void {
  const wait_ms = kit.limiter.take('all sign-ins', ALL_PER_MINUTE, performance.now())
  if (wait_ms > 0) {
    throw new TooManyRequests('Too many people sign in just now.', Math.max(1, Math.ceil(wait_ms / 1000)))
  }
}

/** Which counts an attempt falls under. The same statements are made whether the user exists or not. */
async function attemptsOf(
  db: Db,
  { clock }: PeopleKit,
  input: { email: string; user: UserRow | undefined; client: Client; device: Device | undefined },
): Promise<{ attempts: Limited[]; is_stranger: boolean }> {
  const { email, user, client, device } = input
  const since = new Date(clock.now_ms() - KNOWN_NETWORK_MS)
  const was_seen = await wasSeenFrom(db, { email, network: client.network, since })
  const of_network = { rule: OF_NETWORK, subject: client.network }
  const known = (place: string) => [of_network, { rule: OF_KNOWN, subject: `${email}\n${place}` }]
  if (device !== undefined && device.user_id === user?.id) {
    return { attempts: known(`device ${device.id}`), is_stranger: false }
  }
  if (was_seen) return { attempts: known(`network ${client.network}`), is_stranger: false }
  return { attempts: [of_network, { rule: OF_ACCOUNT, subject: email }], is_stranger: true }
}

/** The hash at today's cost, when the stored one was made at another. */
async function fresherHash(kit: PeopleKit, user: UserRow, password: string): Promise<string | undefined> {
  if (user.password_hash === null || !kit.passwords.isOutdated(user.password_hash)) return undefined
  return kit.passwords.hash(password)
}

/**
 * A token that shows that a device was let in before. Whoever proved to own the account gets one, so that
 * strangers' guesses cannot keep the owner out.
 */
export function deviceTokenFor({ box, clock }: PeopleKit, user_id: string): string {
  const expires = Math.floor((clock.now_ms() + DEVICE_TOKEN_MS) / 1000)
  const body = `${user_id}.${randomBytes(12).toString('base64url')}.${expires}`
  return `${body}.${macOf(box.deriveKey('device tokens'), body)}`
}

interface Device {
  user_id: string
  id: string
}

function readDeviceToken(box: SecretBox, token: string, now_ms: number): Device | undefined {
  const [user_id = '', id = '', expires = '', mac = '', ...rest] = token.slice(0, 200).split('.')
  if (
    rest.length > 0 ||
    !/^\d{1,11}$/.test(expires) ||
    BigInt(expires) * 1000n < BigInt(Math.floor(now_ms))
  ) {
    return undefined
  }
  const body = `${user_id}.${id}.${expires}`
  const is_ours = box.deriveKeys('device tokens').some((key) => sameBytes(macOf(key, body), mac))
  return is_ours ? { user_id, id } : undefined
}

function macOf(key: Buffer, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url')
}

/** Locks the users in one order, so that two who lock the same users never wait for each other. */
export async function lockBoth(
  tx: Tx,
  ids: readonly [string, string],
): Promise<readonly [UserRow, UserRow] | undefined> {
  const rows = await lockUsers(tx, ids)
  const [first, second] = ids.map((id) => rows.find((row) => row.id === id))
  return first && second ? [first, second] : undefined
}
