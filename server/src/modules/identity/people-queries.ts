import type { Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

/** A user with everything but his devices, sessions and second factor. */
export type UserRow = Selectable<Database['identity.users']>

export type Provider = 'telegram' | 'google' | 'vk'
type StoredIdentity = Selectable<Database['identity.identities']>
/** Who a user is at a vendor. */
export type IdentityRow = Omit<StoredIdentity, 'provider'> & { provider: Provider }

const USER = [
  'id',
  'email',
  'email_verified_at',
  'password_hash',
  'name',
  'locale',
  'customer_id',
  'is_disabled',
  'merged_into',
  'erased_at',
  'password_changed_at',
  'created_at',
  'updated_at',
] as const
const IDENTITY = ['id', 'user_id', 'provider', 'subject', 'facts', 'created_at', 'last_used_at'] as const

export type NewUser = Pick<
  UserRow,
  'id' | 'email' | 'email_verified_at' | 'password_hash' | 'name' | 'locale'
> & {
  created_at: Date
}

/** Throws the unique violation `users_email` when the address is another user's. */
export async function insertUser(tx: Tx, user: NewUser): Promise<UserRow> {
  const password_changed_at = user.password_hash === null ? null : user.created_at
  return tx
    .insertInto('identity.users')
    .values({ ...user, password_changed_at, updated_at: user.created_at })
    .returning(USER)
    .executeTakeFirstOrThrow()
}

export async function findUser(sql: Sql, id: string): Promise<UserRow | undefined> {
  return sql.selectFrom('identity.users').select(USER).where('id', '=', id).executeTakeFirst()
}

export async function findUserByEmail(sql: Sql, email: string): Promise<UserRow | undefined> {
  return sql.selectFrom('identity.users').select(USER).where('email', '=', email).executeTakeFirst()
}

export async function findUserOfCustomer(sql: Sql, customer_id: string): Promise<UserRow | undefined> {
  return sql
    .selectFrom('identity.users')
    .select(USER)
    .where('customer_id', '=', customer_id)
    .executeTakeFirst()
}

/** Locks users in the order of their ids. */
export async function lockUsers(tx: Tx, ids: readonly string[]): Promise<UserRow[]> {
  return tx
    .selectFrom('identity.users')
    .select(USER)
    .where('id', 'in', [...ids])
    .orderBy('id')
    .forUpdate()
    .execute()
}

export type UserChange = Partial<Omit<UserRow, 'id' | 'created_at' | 'updated_at'>>

/** Throws the unique violation `users_email` when the address is another user's. */
export async function updateUser(tx: Tx, id: string, change: UserChange, now: Date): Promise<UserRow> {
  return tx
    .updateTable('identity.users')
    .set({ ...change, updated_at: now })
    .where('id', '=', id)
    .returning(USER)
    .executeTakeFirstOrThrow()
}

/** Users merged into this one, however long ago. */
export async function redirectMerged(tx: Tx, from_id: string, into_id: string): Promise<void> {
  await tx
    .updateTable('identity.users')
    .set({ merged_into: into_id })
    .where('merged_into', '=', from_id)
    .execute()
}

/**
 * Users newest first, none merged away or erased; one row more than the limit. `beginning` is what the
 * address or the name begins with, in lower case, or the whole id.
 */
export async function listUsers(
  sql: Sql,
  page: {
    limit: number
    before?: { created_at: Date; id: string } | undefined
    beginning?: string | undefined
  },
): Promise<UserRow[]> {
  const { before, beginning } = page
  let query = sql
    .selectFrom('identity.users')
    .select(USER)
    .where('merged_into', 'is', null)
    .where('erased_at', 'is', null)
  if (beginning !== undefined) {
    const pattern = `${beginning.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`
    query = query.where((eb) =>
      eb.or([
        eb('id', '=', beginning),
        eb('email', 'like', pattern),
        eb(eb.fn<string>('lower', ['name']), 'like', pattern),
      ]),
    )
  }
  if (before !== undefined) {
    query = query.where((eb) =>
      eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(before.created_at, before.id)),
    )
  }
  return query
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
}

export async function insertIdentity(
  tx: Tx,
  identity: Omit<IdentityRow, 'facts' | 'last_used_at'> & { facts: object },
): Promise<IdentityRow> {
  const row = await tx
    .insertInto('identity.identities')
    .values({ ...identity, facts: JSON.stringify(identity.facts), last_used_at: identity.created_at })
    .returning(IDENTITY)
    .executeTakeFirstOrThrow()
  return row
}

export async function findIdentity(
  sql: Sql,
  provider: Provider,
  subject: string,
): Promise<IdentityRow | undefined> {
  const row = await sql
    .selectFrom('identity.identities')
    .select(IDENTITY)
    .where('provider', '=', provider)
    .where('subject', '=', subject)
    .executeTakeFirst()
  return row
}

/** A user's identities, the oldest first. */
export async function listIdentities(sql: Sql, user_id: string): Promise<IdentityRow[]> {
  const rows = await sql
    .selectFrom('identity.identities')
    .select(IDENTITY)
    .where('user_id', '=', user_id)
    .orderBy('id')
    .limit(100)
    .execute()
  return rows
}

export async function touchIdentity(tx: Tx, id: string, facts: object, now: Date): Promise<void> {
  await tx
    .updateTable('identity.identities')
    .set({ facts: JSON.stringify(facts), last_used_at: now })
    .where('id', '=', id)
    .execute()
}

export async function deleteIdentities(
  tx: Tx,
  user_id: string,
  ids?: readonly string[],
): Promise<IdentityRow[]> {
  let query = tx.deleteFrom('identity.identities').where('user_id', '=', user_id)
  if (ids !== undefined) query = query.where('id', 'in', [...ids])
  return await query.returning(IDENTITY).execute()
}

export async function moveIdentities(tx: Tx, from_id: string, into_id: string): Promise<void> {
  await tx
    .updateTable('identity.identities')
    .set({ user_id: into_id })
    .where('user_id', '=', from_id)
    .execute()
}

/** Remembers a device of a user. */
export async function upsertDevice(
  tx: Tx,
  device: { user_id: string; device_id: string; name: string | null; now: Date },
): Promise<void> {
  const { user_id, device_id, name, now } = device
  await tx
    .insertInto('identity.devices')
    .values({ user_id, device_id, name, first_seen_at: now, last_seen_at: now })
    .onConflict((conflict) =>
      conflict.columns(['user_id', 'device_id']).doUpdateSet({ name, last_seen_at: now }),
    )
    .execute()
}

/** A user's devices, the one seen last first. */
export async function listDevices(sql: Sql, user_id: string) {
  return sql
    .selectFrom('identity.devices')
    .select(['device_id', 'name', 'first_seen_at', 'last_seen_at'])
    .where('user_id', '=', user_id)
    .orderBy('last_seen_at', 'desc')
    .orderBy('device_id')
    .limit(100)
    .execute()
}
