import { randomBytes } from 'node:crypto'
import { afterCommit, type Db, type Sql, type Tx } from '#kernel/db'
import { InvalidState, OperationalError } from '#kernel/errors'
import { type SecretBox, SecretUnreadable } from '#kernel/secrets'
import { ProofInvalid } from './people-errors.ts'
import type { Client, PeopleKit } from './people-kit.ts'
import { countAttempt } from './proof-queries.ts'
import { getProof, PROOFS, useProof, withdrawProofs } from './proofs.ts'
import { digestOf } from './secret-token.ts'
import { sessionsChanged } from './session-changes.ts'
import { addSessionMethod } from './session-queries.ts'
import type { Method, SessionMode } from './sessions.ts'
import { enterInTx, finish, type SignInOutcome } from './sign-in.ts'
import { matchTotp, newTotpSecret, totpUri } from './totp.ts'
import * as queries from './totp-queries.ts'
import { lockUser } from './users.ts'

const RECOVERY_CODES = 10
/** Guesses at one challenge; whoever guesses on has to prove the first step again. */
const GUESSES_MAX = 5
const QUARTER_MS = 15 * 60_000
/** A code is one of a million and three are right at any time: thirty guesses an hour need years. */
const OF_USER = { name: 'second factor, user', count: 30, period_ms: 4 * QUARTER_MS }
const OF_USER_AND_NETWORK = { name: 'second factor, network', count: 10, period_ms: QUARTER_MS }

/** What the owner of a new second factor puts into an authenticator app. */
export interface NewSecondFactor {
  secret: string
  uri: string
}

/**
 * Makes a secret for an authenticator app; nothing changes until a code of it is confirmed.
 * Throws InvalidState when the user has a second factor.
 */
export async function beginSecondFactor(
  tx: Tx,
  { clock, box }: PeopleKit,
  input: { user_id: string; account: string; issuer: string },
): Promise<NewSecondFactor> {
  const user = await lockUser(tx, input.user_id)
  const secret = newTotpSecret()
  const is_put = await queries.putTotp(tx, {
    user_id: user.id,
    secret_sealed: box.seal(secret, contextOf(user.id)),
    created_at: clock.now(),
  })
  if (!is_put) throw new InvalidState('There is a second factor already; remove it first.')
  return { secret, uri: totpUri(secret, input.account, input.issuer) }
}

/**
 * Turns the second factor on with a code of the app. Answers the recovery codes: shown once, each good once.
 * The session counts as proved by both from now on. Throws {@link ProofInvalid} for a wrong code,
 * InvalidState.
 */
export async function confirmSecondFactor(
  db: Db,
  kit: PeopleKit,
  input: { user_id: string; session_id: string; code: string; network: string },
): Promise<{ recovery_codes: string[] }> {
  return withGuess(db, kit, input, () =>
    db.transact(async (tx) => {
      await lockUser(tx, input.user_id)
      const totp = await queries.findTotp(tx, input.user_id)
      if (!totp || totp.confirmed_at !== null) throw new InvalidState('There is no second factor to confirm.')
      if (!(await useCode(tx, kit, totp, input.code))) throw wrongCode()
      const codes = Array.from({ length: RECOVERY_CODES }, newRecoveryCode)
      await queries.confirmTotp(tx, {
        user_id: input.user_id,
        confirmed_at: kit.clock.now(),
        recovery_digests: codes.map((code) => digestOf(plainRecoveryCode(code))),
      })
      await addSessionMethod(tx, input.session_id, 'totp')
      afterCommit(() => sessionsChanged([input.session_id]))
      return { recovery_codes: codes }
    }),
  )
}

/**
 * Turns the second factor off, with a code of it. Throws {@link ProofInvalid} for a wrong code, InvalidState.
 */
export async function removeSecondFactor(
  db: Db,
  kit: PeopleKit,
  input: { user_id: string; code: string; network: string },
): Promise<void> {
  await withGuess(db, kit, input, () =>
    db.transact(async (tx) => {
      await lockUser(tx, input.user_id)
      const totp = await queries.findTotp(tx, input.user_id)
      if (!totp || totp.confirmed_at === null) throw new InvalidState('There is no second factor.')
      if (!(await useCode(tx, kit, totp, input.code))) throw wrongCode()
      await queries.deleteTotp(tx, input.user_id)
      await withdrawProofs(tx, kit.clock, input.user_id, [PROOFS.second_factor])
    }),
  )
}

/**
 * The second step of a sign-in. A challenge bears five guesses, a user ten a quarter of an hour from one
 * network.
 * Throws {@link ProofInvalid}, TooManyRequests, UserDisabled.
 */
export async function signInWithSecondFactor(
  db: Db,
  kit: PeopleKit,
  input: { challenge: string; code: string; network: string },
): Promise<SignInOutcome> {
  const { user_id } = await getProof(db, kit.clock, PROOFS.second_factor, input.challenge)
  if (user_id === null) throw wrongCode()
  const digest = digestOf(input.challenge)
  const outcome = await withGuess(db, kit, { user_id, network: input.network }, async () => {
    const entry = await db.transact(async (tx) => {
      const user = await lockUser(tx, user_id)
      const totp = await queries.findTotp(tx, user_id)
      const is_right =
        totp !== undefined && totp.confirmed_at !== null && (await useCode(tx, kit, totp, input.code))
      if (!is_right) {
        const proof = await countAttempt(tx, {
          digest,
          kind: PROOFS.second_factor.name,
          now: kit.clock.now(),
        })
        if (proof && proof.attempts >= GUESSES_MAX)
          await useProof(tx, kit.clock, PROOFS.second_factor, input.challenge)
        return undefined
      }
      const proof = await useProof(tx, kit.clock, PROOFS.second_factor, input.challenge)
      const facts = proof.facts as { methods: Method[]; mode: SessionMode; client: Client }
      return enterInTx(tx, kit, { ...facts, user, methods: [...facts.methods, 'totp'] })
    })
    // Only after the commit, so that the guess is counted.
    if (entry === undefined) throw wrongCode()
    return entry
  })
  return finish(kit, outcome)
}

/** How a user's second factor stands. */
export async function getSecondFactor(
  sql: Sql,
  user_id: string,
): Promise<{ is_on: boolean; recovery_codes_left: number }> {
  const totp = await queries.findTotp(sql, user_id)
  const is_on = totp !== undefined && totp.confirmed_at !== null
  return { is_on, recovery_codes_left: is_on ? totp.recovery_digests.length : 0 }
}

/**
 * Seals secrets under the newest key of the box, a thousand at most. Answers the last user seen, if there are
 * more.
 */
export async function resealSecondFactors(
  tx: Tx,
  box: SecretBox,
  after = '',
): Promise<{ changed: number; next: string | undefined }> {
  const rows = await queries.listTotp(tx, after, 1000)
  let changed = 0
  for (const { user_id, secret_sealed } of rows) {
    const fresh = box.rewrap(secret_sealed, contextOf(user_id))
    if (fresh === undefined) continue
    await queries.resealTotp(tx, user_id, fresh)
    changed++
  }
  return { changed, next: rows.length === 1000 ? rows.at(-1)?.user_id : undefined }
}

/** Counts a guess, and takes the count back when it was right. */
async function withGuess<T>(
  db: Db,
  kit: PeopleKit,
  { user_id, network }: { user_id: string; network: string },
  work: () => Promise<T>,
): Promise<T> {
  const attempts = [
    { rule: OF_USER_AND_NETWORK, subject: `${user_id}\n${network}` },
    { rule: OF_USER, subject: user_id },
  ]
  await kit.limits.take(attempts)
  const answer = await work()
  await kit.limits.giveBack(attempts)
  return answer
}

/** A code of the app, once; or a recovery code, once. */
async function useCode(
  tx: Tx,
  { clock, box }: PeopleKit,
  totp: queries.TotpRow,
  code: string,
): Promise<boolean> {
  const { user_id } = totp
  if (!/^\d{6}$/.test(code)) return queries.useRecoveryCode(tx, user_id, digestOf(plainRecoveryCode(code)))
  const secret = openSecret(box, totp)
  const step = matchTotp(secret, code, clock.now_ms(), Number(totp.last_step))
  return step !== undefined && queries.useTotpStep(tx, user_id, BigInt(step))
}

/**
 * Refuses for now when the key that sealed it is gone or the row was altered; recovery codes work all the
 * same.
 */
function openSecret(box: SecretBox, { user_id, secret_sealed }: queries.TotpRow): string {
  try {
    return box.open(secret_sealed, contextOf(user_id))
  } catch (error) {
    if (!(error instanceof SecretUnreadable)) throw error
    const detail = 'The second factor cannot be read; use a recovery code or ask support.'
    throw new OperationalError('second_factor_unreadable', detail, { cause: error })
  }
}

/** 120 random bits in six groups of four letters: too many to be guessed from a digest that was stolen. */
function newRecoveryCode(): string {
  const letters = 'abcdefghijkmnpqrstuvwxyz23456789'
  const text = [...randomBytes(24)].map((byte) => letters.charAt(byte & 31)).join('')
  return text.replaceAll(/(.{4})(?=.)/g, '$1-')
}

function plainRecoveryCode(code: string): string {
  return code.toLowerCase().replaceAll(/[^a-z0-9]/g, '')
}

function wrongCode(): ProofInvalid {
  return new ProofInvalid('The code is wrong, or was used before.')
}

function contextOf(user_id: string): string {
  return `identity.totp_secrets/${user_id}`
}
