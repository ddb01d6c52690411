import type { Db, Tx } from '#kernel/db'
import { AlreadyExists, violatedConstraint } from '#kernel/errors'
import type { Limited } from '#kernel/limits'
import { queueMail } from './mails.ts'
import type { Client, PeopleKit } from './people-kit.ts'
import { findUserByEmail, updateUser } from './people-queries.ts'
import { createProof, PROOFS, useProof } from './proofs.ts'
import type { SessionMode } from './sessions.ts'
import { enterInTx, finish, OF_ALL, type SignInOutcome, takeOneOfAll } from './sign-in.ts'
import { createUser, lockUser, plainEmail, publishChange, shown, type User } from './users.ts'

/** The mailbox has to be opened first; said of known and unknown addresses alike. */
export interface ConfirmationSent {
  status: 'confirmation_sent'
  email: string
}

export interface Registration {
  email: string
  password: string
  name?: string | null | undefined
  locale?: string | null | undefined
  mode: SessionMode
  client: Client
}

const HOUR_MS = 3_600_000
const OF_NETWORK = { name: 'register, network', count: 30, period_ms: HOUR_MS }
/** Mails to one address: whoever types another's address must not flood him. */
const OF_ADDRESS = { name: 'mail, address', count: 5, period_ms: HOUR_MS }

/**
 * Signs somebody up. With confirmed registration a link goes to the address and nothing else happens until it
 * is followed: the answer, the work and the time are the same for an address that is known. With immediate
 * registration the user is signed in at once. Throws WeakPassword, TooManyRequests; AlreadyExists (immediate
 * only).
 */
export async function register(
  db: Db,
  kit: PeopleKit,
  input: Registration,
): Promise<SignInOutcome | ConfirmationSent> {
  takeOneOfAll(kit)
  const email = plainEmail(input.email)
  await kit.passwords.check(input.password, [email, input.name])
  const of_network = { rule: OF_NETWORK, subject: input.client.network }
  await kit.limits.take([of_network, ofMailbox(email), OF_ALL])
  const password_hash = await kit.passwords.hash(input.password)
  const person = { email, password_hash, name: input.name ?? null, locale: input.locale ?? null }
  if (kit.settings.registration === 'immediate') return registerNow(db, kit, { ...input, ...person })
  await db.transact(async (tx) => {
    const known = await findUserByEmail(tx, email)
    // For a known address the same row is written, and its token goes nowhere.
    const { token } = await createProof(tx, kit.clock, {
      kind: PROOFS.registration,
      subject: email,
      facts: person,
    })
    const locale = known?.locale ?? person.locale
    if (known) await queueMail(tx, kit, { kind: 'already_registered', to: email, locale, values: links(kit) })
    else
      await queueMail(tx, kit, { kind: 'confirm_registration', to: email, locale, values: links(kit, token) })
  })
  return { status: 'confirmation_sent', email }
}

/**
 * Makes the user whose address was proved by opening the mail. Throws ProofInvalid; AlreadyExists when the
 * address became another user's meanwhile.
 */
export async function confirmRegistration(db: Db, kit: PeopleKit, token: string): Promise<User> {
  try {
    return await db.transact(async (tx) => {
      const { subject, facts } = await useProof(tx, kit.clock, PROOFS.registration, token)
      const person = facts as { password_hash: string; name: string | null; locale: string | null }
      return shown(await createUser(tx, kit, { ...person, email: subject, is_email_verified: true }))
    })
  } catch (error) {
    throw asTaken(error)
  }
}

async function registerNow(
  db: Db,
  kit: PeopleKit,
  input: {
    email: string
    password_hash: string
    name: string | null
    locale: string | null
    mode: SessionMode
    client: Client
  },
): Promise<SignInOutcome> {
  const { mode, client } = input
  try {
    const entry = await db.transact(async (tx) => {
      const { id } = await createUser(tx, kit, { ...input, is_email_verified: false })
      await sendConfirmation(tx, kit, { user_id: id, email: input.email, locale: input.locale })
      const user = await lockUser(tx, id)
      return enterInTx(tx, kit, { user, methods: ['password'], mode, client })
    })
    return await finish(kit, entry)
  } catch (error) {
    throw asTaken(error)
  }
}

/** Sends the link that proves the address a user signed up with. Throws TooManyRequests. */
export async function sendConfirmationAgain(db: Db, kit: PeopleKit, user_id: string): Promise<void> {
  const user = await db.transact((tx) => lockUser(tx, user_id))
  if (user.email === null || user.email_verified_at !== null) return
  const { email, locale } = user
  await kit.limits.take([ofMailbox(email)])
  await db.transact((tx) => sendConfirmation(tx, kit, { user_id, email, locale }))
}

async function sendConfirmation(
  tx: Tx,
  kit: PeopleKit,
  { user_id, email, locale }: { user_id: string; email: string; locale: string | null },
): Promise<void> {
  const { token } = await createProof(tx, kit.clock, {
    kind: PROOFS.email_confirmation,
    user_id,
    subject: email,
  })
  await queueMail(tx, kit, { kind: 'confirm_email', to: email, locale, values: links(kit, token) })
}

/** Proves the address a user signed up with. Throws ProofInvalid, also when he has another one by now. */
export async function confirmEmail(db: Db, kit: PeopleKit, token: string): Promise<User> {
  return db.transact(async (tx) => {
    const { user_id, subject } = await useProof(tx, kit.clock, PROOFS.email_confirmation, token)
    const user = await lockUser(tx, user_id ?? '')
    if (user.email !== subject || user.email_verified_at !== null) return shown(user)
    const now = kit.clock.now()
    const proved = await updateUser(tx, user.id, { email_verified_at: now }, now)
    await publishChange(tx, kit, proved)
    return shown(proved)
  })
}

/** A mail to an address, as it is counted. */
export function ofMailbox(email: string): Limited {
  return { rule: OF_ADDRESS, subject: email }
}

/** The address of the page behind a link in a mail; the host is ours by the settings, never a request's. */
export function links(kit: PeopleKit, token?: string): Record<string, string> {
  const base = kit.base_url()
  return token === undefined ? { site: base } : { site: base, link: `${base}/auth/mail?token=${token}` }
}

/** The unique violation of an address as the error callers know. */
export function asTaken(error: unknown): unknown {
  if (violatedConstraint(error) !== 'users_email') return error
  return new AlreadyExists('A user with this e-mail address exists already.')
}
