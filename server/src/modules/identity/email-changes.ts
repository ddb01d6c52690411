import type { Db } from '#kernel/db'
import { queueMail } from './mails.ts'
import { ProofInvalid } from './people-errors.ts'
import type { PeopleKit } from './people-kit.ts'
import { findUserByEmail, updateUser } from './people-queries.ts'
import { createProof, PROOFS, useProof, withdrawProofs } from './proofs.ts'
import { provePassword } from './password-changes.ts'
import { asTaken, links, ofMailbox } from './registration.ts'
import { endSessions } from './sessions.ts'
import { getUserRow, lockUser, plainEmail, publishChange, shown, type User } from './users.ts'

/**
 * Sends a link to a new address; the user keeps the old one until it is followed. Only the newest link works.
 * The answer does not tell whether the address is another user's. Throws InvalidCredentials, TooManyRequests.
 */
export async function askForEmail(
  db: Db,
  kit: PeopleKit,
  input: { user_id: string; email: string; password?: string | undefined },
): Promise<void> {
  const email = plainEmail(input.email)
  const before = await getUserRow(db, input.user_id)
  await provePassword(db, kit, before, input.password)
  await kit.limits.take([ofMailbox(email)])
  await db.transact(async (tx) => {
    const user = await lockUser(tx, input.user_id)
    await withdrawProofs(tx, kit.clock, user.id, [PROOFS.email_change])
    const owner = await findUserByEmail(tx, email)
    const { token } = await createProof(tx, kit.clock, {
      kind: PROOFS.email_change,
      user_id: user.id,
      subject: email,
      facts: { from: user.email },
    })
    const kind = owner === undefined ? 'change_email' : 'address_taken'
    await queueMail(tx, kit, { kind, to: email, locale: user.locale, values: links(kit, token) })
  })
}

/**
 * Puts the new address in place by the link of a mail, once, and ends every session but none is opened. A
 * link made for an address the user does not have any more is refused. Throws ProofInvalid; AlreadyExists
 * when the address became another user's meanwhile.
 */
export async function confirmEmailChange(db: Db, kit: PeopleKit, token: string): Promise<User> {
  try {
    return await db.transact(async (tx) => {
      const { user_id, subject, facts } = await useProof(tx, kit.clock, PROOFS.email_change, token)
      const user = await lockUser(tx, user_id ?? '')
      if (user.email !== (facts as { from: string | null }).from) {
        throw new ProofInvalid('The user has another e-mail address by now.')
      }
      const now = kit.clock.now()
      const changed = await updateUser(tx, user.id, { email: subject, email_verified_at: now }, now)
      await endSessions(tx, kit.clock, { user_id: user.id, because: 'e-mail address changed' })
      // Links sent to the old mailbox end with it.
      await withdrawProofs(tx, kit.clock, user.id, [PROOFS.password_reset, PROOFS.email_confirmation])
      await publishChange(tx, kit, changed)
      if (user.email !== null && user.email_verified_at !== null) {
        await queueMail(tx, kit, {
          kind: 'email_changed',
          to: user.email,
          locale: user.locale,
          values: links(kit),
        })
      }
      return shown(changed)
    })
  } catch (error) {
    throw asTaken(error)
  }
}
