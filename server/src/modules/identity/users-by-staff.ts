import type { Tx } from '#kernel/db'
import { MissingScope, NotFound } from '#kernel/errors'
import { queueMail } from './mails.ts'
import type { PeopleKit } from './people-kit.ts'
import { lockUsers, updateUser, type UserRow } from './people-queries.ts'
import { createProof, PROOFS } from './proofs.ts'
import { asTaken, links } from './registration.ts'
import type { Granter } from './roles.ts'
import { lackingOf } from './staff-permissions.ts'
import { appointStaff, dismissStaff, refuseAbove, rolesOfUsers } from './staff.ts'
import { createUser, getUser, plainEmail, publishChange, setDisabled, type User } from './users.ts'

/** A user as staff see him: with his role, if he has one. */
export interface ManagedUser extends User {
  role: string | null
}

/**
 * Makes a user for somebody, who gets a mail with a link to choose his own password: staff never know it. The
 * address counts as proved when that link is followed. Throws AlreadyExists; NotFound for an unknown role;
 * MissingScope for a role that holds more than the granter, or without the right to appoint.
 */
export async function createUserAsStaff(
  tx: Tx,
  kit: PeopleKit,
  granter: Granter,
  input: {
    email: string
    name?: string | null | undefined
    locale?: string | null | undefined
    role?: string | null | undefined
  },
): Promise<ManagedUser> {
  const { name = null, locale = null, role = null } = input
  const email = plainEmail(input.email)
  const person = { email, name, locale, is_email_verified: false, password_hash: null }
  const { id } = await createUser(tx, kit, person).catch((error: unknown) => {
    throw asTaken(error)
  })
  if (role !== null) await setRole(tx, kit, granter, { user_id: id, role })
  const { token } = await createProof(tx, kit.clock, {
    kind: PROOFS.password_reset,
    user_id: id,
    subject: email,
  })
  await queueMail(tx, kit, { kind: 'reset_password', to: email, locale, values: links(kit, token) })
  return managed(tx, id)
}

/**
 * Changes what staff may change of a user: name, language, whether he may sign in, his role (null takes it
 * away); an absent fact stays. Not his address, which is how he gets in: only he can prove a new one.
 * Throws NotFound, also for who was erased or merged away; MissingScope for somebody who holds more than
 * the granter; InvalidState when no owner would be left.
 */
export async function changeUserAsStaff(
  tx: Tx,
  kit: PeopleKit,
  granter: Granter,
  change: {
    user_id: string
    name?: string | null | undefined
    locale?: string | null | undefined
    is_disabled?: boolean | undefined
    role?: string | null | undefined
  },
): Promise<ManagedUser> {
  const { user_id, is_disabled, role } = change
  await refuseAbove(tx, granter, user_id)
  const before = await lockManaged(tx, user_id)
  const { name = before.name, locale = before.locale } = change
  if (name !== before.name || locale !== before.locale) {
    await publishChange(tx, kit, await updateUser(tx, user_id, { name, locale }, kit.clock.now()))
  }
  // Opened before he is appointed, closed after: who may not sign in is no member of the staff.
  if (is_disabled === false && before.is_disabled) await setDisabled(tx, kit.clock, { user_id, is_disabled })
  if (role !== undefined) await setRole(tx, kit, granter, { user_id, role })
  if (is_disabled === true && !before.is_disabled) await setDisabled(tx, kit.clock, { user_id, is_disabled })
  return managed(tx, user_id)
}

/** As a user who may sign in is locked, but one staff closed too. */
async function lockManaged(tx: Tx, user_id: string): Promise<UserRow> {
  const [row] = await lockUsers(tx, [user_id])
  if (row && row.merged_into === null && row.erased_at === null) return row
  throw new NotFound(`There is no user ${user_id.slice(0, 40)}.`)
}

async function setRole(
  tx: Tx,
  { clock }: PeopleKit,
  granter: Granter,
  { user_id, role }: { user_id: string; role: string | null },
): Promise<void> {
  if (lackingOf(granter.permissions, ['staff:write']).length > 0) {
    throw new MissingScope('Only who may appoint staff gives or takes roles.', { permission: 'staff:write' })
  }
  const present = (await rolesOfUsers(tx, [user_id])).get(user_id) ?? null
  if (role === present) return
  if (role === null) await dismissStaff(tx, clock, granter, user_id)
  else await appointStaff(tx, clock, granter, { user_id, role })
}

async function managed(tx: Tx, user_id: string): Promise<ManagedUser> {
  const user = await getUser(tx, user_id)
  return { ...user, role: (await rolesOfUsers(tx, [user_id])).get(user_id) ?? null }
}
