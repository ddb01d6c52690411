import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { assert, NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { type Cursors, type Page, toPage } from '#kernel/page'
import { UserDisabled } from './people-errors.ts'
import { userChanged, userCreated } from './people-events.ts'
import type { PeopleKit } from './people-kit.ts'
import * as queries from './people-queries.ts'
import { endSessions } from './sessions.ts'
import { retireStaff } from './staff.ts'

/** Somebody who can sign in, as everybody who may see him sees him: without the hash of the password. */
export type User = Omit<queries.UserRow, 'password_hash'> & { has_password: boolean }

export interface NewPerson {
  email: string | null
  is_email_verified: boolean
  password_hash: string | null
  name: string | null
  locale: string | null
  /** Digits. The identity itself is linked by the caller, in the same transaction. */
  telegram_id?: string | undefined
}

/**
 * Makes a user; his customer is made in the same transaction by a reaction. Throws the unique violation
 * `users_email` when the address is another user's: the caller knows what to say.
 */
export async function createUser(tx: Tx, kit: PeopleKit, person: NewPerson): Promise<queries.UserRow> {
  const now = kit.clock.now()
  const { email, password_hash, name, locale } = person
  const user = await queries.insertUser(tx, {
    id: newId('usr', now.getTime()),
    email,
    email_verified_at: email !== null && person.is_email_verified ? now : null,
    password_hash,
    name,
    locale,
    created_at: now,
  })
  const telegram_id = person.telegram_id ?? null
  await kit.events.publish(tx, userCreated, { user_id: user.id, email, name, locale, telegram_id })
  return getUserRow(tx, user.id)
}

/** An address as it is compared: trimmed and in lower case. */
export function plainEmail(email: string): string {
  return email.trim().normalize('NFKC').toLowerCase()
}

/** Throws {@link NotFound}. */
export async function getUserRow(sql: Sql, id: string): Promise<queries.UserRow> {
  const user = await queries.findUser(sql, id)
  if (!user) throw new NotFound(`There is no user ${id.slice(0, 40)}.`)
  return user
}

/** Throws {@link NotFound}. */
export async function getUser(sql: Sql, id: string): Promise<User> {
  return shown(await getUserRow(sql, id))
}

/**
 * Users newest first, without those merged away or erased. `beginning`: of the address or the name, in any
 * letter case, or the whole id. Throws InvalidRequest for a foreign cursor.
 */
export async function listUsers(
  sql: Sql,
  cursors: Cursors,
  filter: { beginning?: string | undefined },
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<User>> {
  const [created_at, id] = page.cursor === undefined ? [] : cursors.open('users', page.cursor)
  const before = created_at === undefined ? undefined : { created_at: new Date(created_at), id: String(id) }
  const beginning = filter.beginning?.trim().toLowerCase()
  const rows = await queries.listUsers(sql, { limit: page.limit, before, beginning })
  return toPage(rows, page.limit, cursors, 'users', (row) => [row.created_at.toISOString(), row.id], shown)
}

/** A user without the hash of the password. */
export function shown({ password_hash, ...user }: queries.UserRow): User {
  return { ...user, has_password: password_hash !== null }
}

/**
 * Locks a user who may sign in. Throws {@link NotFound} for one who is not there (any more) and
 * {@link UserDisabled} for one staff closed.
 */
export async function lockUser(tx: Tx, id: string): Promise<queries.UserRow> {
  const [user] = await queries.lockUsers(tx, [id])
  if (!user || user.merged_into !== null || user.erased_at !== null)
    throw new NotFound(`There is no user ${id}.`)
  if (user.is_disabled) throw new UserDisabled('The user was closed; ask support.')
  return user
}

/** Changes name and language; null takes a fact away, an absent one stays. Throws as {@link lockUser}. */
export async function updateProfile(
  tx: Tx,
  kit: PeopleKit,
  change: { user_id: string; name?: string | null | undefined; locale?: string | null | undefined },
): Promise<User> {
  const before = await lockUser(tx, change.user_id)
  const { name = before.name, locale = before.locale } = change
  if (name === before.name && locale === before.locale) return shown(before)
  const user = await queries.updateUser(tx, before.id, { name, locale }, kit.clock.now())
  await publishChange(tx, kit, user)
  return shown(user)
}

/** Tells the modules above what a user is called now. */
export async function publishChange(tx: Tx, kit: PeopleKit, user: queries.UserRow): Promise<void> {
  const { id: user_id, name, locale, customer_id } = user
  assert(customer_id !== null, 'a user has a customer')
  // An address that is not proved is nobody's to send receipts to.
  const email = user.email_verified_at === null ? null : user.email
  await kit.events.publish(tx, userChanged, { user_id, email, name, locale, customer_id })
}

/** Gives a user his own customer; called by the reaction that makes it. */
export async function assignCustomer(
  tx: Tx,
  clock: Clock,
  input: { user_id: string; customer_id: string },
): Promise<void> {
  await queries.updateUser(tx, input.user_id, { customer_id: input.customer_id }, clock.now())
}

/**
 * Closes or opens a user; closing ends every session and a part in the staff. Throws {@link NotFound};
 * InvalidState for the last owner.
 */
export async function setDisabled(
  tx: Tx,
  clock: Clock,
  input: { user_id: string; is_disabled: boolean },
): Promise<User> {
  await getUserRow(tx, input.user_id)
  if (input.is_disabled) await retireStaff(tx, clock, input.user_id)
  const user = await queries.updateUser(tx, input.user_id, { is_disabled: input.is_disabled }, clock.now())
  if (input.is_disabled) await endSessions(tx, clock, { user_id: user.id, because: 'user disabled' })
  return shown(user)
}

/** Whether a customer is some user's own. */
export async function isCustomerTaken(sql: Sql, customer_id: string): Promise<boolean> {
  return (await queries.findUserOfCustomer(sql, customer_id)) !== undefined
}
