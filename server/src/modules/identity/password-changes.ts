import type { Db, Tx } from '#kernel/db'
import { queueMail } from './mails.ts'
import { InvalidCredentials, ProofInvalid } from './people-errors.ts'
import { identityUnlinked } from './people-events.ts'
import type { PeopleKit } from './people-kit.ts'
import { deleteIdentities, findUserByEmail, updateUser, type UserRow } from './people-queries.ts'
import { createProof, getProof, PROOFS, useProof, withdrawProofs } from './proofs.ts'
import { links, ofMailbox } from './registration.ts'
import { endSessions } from './sessions.ts'
import { OF_ALL, takeOneOfAll } from './sign-in.ts'
import { deleteTotp } from './totp-queries.ts'
import { getUserRow, lockUser, plainEmail, publishChange, shown, type User } from './users.ts'

const HOUR_MS = 3_600_000
const OF_NETWORK = { name: 'reset, network', count: 20, period_ms: HOUR_MS }
const OF_USER = { name: 'change password', count: 10, period_ms: HOUR_MS / 4 }

/**
 * Sends a link that sets a new password, if the address is a user's. The answer, the work and the time do not
 * tell.
 * Throws TooManyRequests.
 */
export async function askForReset(
  db: Db,
  kit: PeopleKit,
  input: { email: string; network: string },
): Promise<void> {
  takeOneOfAll(kit)
  const email = plainEmail(input.email)
  await kit.limits.take([{ rule: OF_NETWORK, subject: input.network }, ofMailbox(email), OF_ALL])
  await db.transact(async (tx) => {
    const user = await findUserByEmail(tx, email)
    const { token } = await createProof(tx, kit.clock, {
      kind: PROOFS.password_reset,
      user_id: user?.id ?? null,
      subject: email,
    })
    const kind = user === undefined ? 'none' : 'reset_password'
    await queueMail(tx, kit, { kind, to: email, locale: user?.locale ?? null, values: links(kit, token) })
  })
}

/**
 * Sets a new password by the link of a mail, once, and ends every session. A second factor stays. Whoever
 * opens the mailbox owns the address: if it was never proved before, what was linked until then goes, because
 * somebody else may have signed up with it. Throws ProofInvalid, WeakPassword.
 */
export async function resetPassword(
  db: Db,
  kit: PeopleKit,
  input: { token: string; password: string },
): Promise<User> {
  const proof = await getProof(db, kit.clock, PROOFS.password_reset, input.token)
  if (proof.user_id === null)
    throw new ProofInvalid('It was used, is too old, or was replaced by a newer one.')
  const { name } = await getUserRow(db, proof.user_id)
  await kit.passwords.check(input.password, [proof.subject, name])
  const password_hash = await kit.passwords.hash(input.password)
  return db.transact(async (tx) => {
    const { user_id, subject } = await useProof(tx, kit.clock, PROOFS.password_reset, input.token)
    const user = await lockUser(tx, user_id ?? '')
    if (user.email !== subject) throw new ProofInvalid('The user has another e-mail address by now.')
    if (user.email_verified_at === null) await dropUnproved(tx, kit, user)
    const changed = await setPassword(tx, kit, { user, password_hash, is_email_proved: true })
    return shown(changed)
  })
}

/**
 * Changes the password of somebody signed in, who shows the present one; the first one needs none. Every
 * other session ends. Throws InvalidCredentials, WeakPassword, TooManyRequests.
 */
export async function changePassword(
  db: Db,
  kit: PeopleKit,
  input: { user_id: string; session_id: string; current_password?: string | undefined; password: string },
): Promise<User> {
  const before = await getUserRow(db, input.user_id)
  await provePassword(db, kit, before, input.current_password)
  await kit.passwords.check(input.password, [before.email, before.name])
  const password_hash = await kit.passwords.hash(input.password)
  return db.transact(async (tx) => {
    const user = await lockUser(tx, input.user_id)
    if (user.password_hash !== before.password_hash) throw wrongPassword()
    return shown(await setPassword(tx, kit, { user, password_hash, except: input.session_id }))
  })
}

/**
 * Checks the password of somebody signed in, before a change that would hand the user over. A user without
 * one has nothing to show. Throws InvalidCredentials, TooManyRequests.
 */
export async function provePassword(
  db: Db,
  kit: PeopleKit,
  user: UserRow,
  password: string | undefined,
): Promise<void> {
  if (user.password_hash === null) return
  const attempts = [{ rule: OF_USER, subject: user.id }]
  await kit.limits.take(attempts)
  if (!(await kit.passwords.verify(password ?? '', user.password_hash))) throw wrongPassword()
  await kit.limits.giveBack(attempts)
}

async function setPassword(
  tx: Tx,
  kit: PeopleKit,
  input: { user: UserRow; password_hash: string; is_email_proved?: boolean; except?: string },
): Promise<UserRow> {
  const now = kit.clock.now()
  const { user, password_hash, is_email_proved = false } = input
  const email_verified_at = is_email_proved ? (user.email_verified_at ?? now) : user.email_verified_at
  const changed = await updateUser(
    tx,
    user.id,
    { password_hash, password_changed_at: now, email_verified_at },
    now,
  )
  await endSessions(tx, kit.clock, { user_id: user.id, because: 'password changed', except: input.except })
  await withdrawProofs(tx, kit.clock, user.id, [
    PROOFS.password_reset,
    PROOFS.email_change,
    PROOFS.second_factor,
  ])
  if (changed.email !== null && changed.email_verified_at !== null) {
    const { email: to, locale } = changed
    await queueMail(tx, kit, { kind: 'password_changed', to, locale, values: links(kit) })
    if (user.email_verified_at === null) await publishChange(tx, kit, changed)
  }
  return changed
}

/** What somebody may have left in a user he made with an address that is not his. */
async function dropUnproved(tx: Tx, kit: PeopleKit, user: UserRow): Promise<void> {
  const identities = await deleteIdentities(tx, user.id)
  await deleteTotp(tx, user.id)
  for (const { provider, subject } of identities) {
    const customer_id = user.customer_id ?? ''
    await kit.events.publish(tx, identityUnlinked, { user_id: user.id, customer_id, provider, subject })
  }
}

function wrongPassword(): InvalidCredentials {
  return new InvalidCredentials('The present password is wrong.')
}
