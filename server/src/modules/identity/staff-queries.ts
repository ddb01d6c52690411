import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

/** A role as it is kept; what a built-in one holds stands in the program. */
export type RoleRow = Selectable<Database['identity.roles']>
/** A member of staff. `name` and `email` are the user's. */
export type StaffRow = Selectable<Database['identity.staff']> & { name: string | null; email: string | null }

const STAFF = [
  'staff.user_id',
  'staff.role',
  'staff.appointed_by',
  'staff.created_at',
  'staff.updated_at',
  'user.name',
  'user.email',
] as const

export async function findRole(sql: Sql, code: string): Promise<RoleRow | undefined> {
  return sql.selectFrom('identity.roles').selectAll().where('code', '=', code).executeTakeFirst()
}

/** Locks a role against change and removal until the transaction ends. */
export async function lockRole(tx: Tx, code: string): Promise<RoleRow | undefined> {
  return tx.selectFrom('identity.roles').selectAll().where('code', '=', code).forUpdate().executeTakeFirst()
}

/** Roles in order of their codes; one more than the limit. */
export async function listRoles(
  sql: Sql,
  page: { limit: number; after?: string | undefined },
): Promise<RoleRow[]> {
  let query = sql.selectFrom('identity.roles').selectAll()
  if (page.after !== undefined) query = query.where('code', '>', page.after)
  return query
    .orderBy('code')
    .limit(page.limit + 1)
    .execute()
}

/** False when the code is taken. */
export async function insertRole(
  tx: Tx,
  role: Omit<RoleRow, 'is_built_in' | 'updated_at'>,
): Promise<boolean> {
  const row = await tx
    .insertInto('identity.roles')
    .values(role)
    .onConflict((conflict) => conflict.doNothing())
    .returning('code')
    .executeTakeFirst()
  return row !== undefined
}

export async function updateRole(
  tx: Tx,
  role: Pick<RoleRow, 'code' | 'name' | 'permissions'> & { updated_at: Date },
): Promise<void> {
  const { code, ...facts } = role
  await tx.updateTable('identity.roles').set(facts).where('code', '=', code).execute()
}

export async function deleteRole(tx: Tx, code: string): Promise<void> {
  await tx.deleteFrom('identity.roles').where('code', '=', code).execute()
}

/** The users who have this role. */
export async function usersOfRole(sql: Sql, code: string): Promise<string[]> {
  const rows = await sql.selectFrom('identity.staff').select('user_id').where('role', '=', code).execute()
  return rows.map((row) => row.user_id)
}

/** The roles of users who may act; others are missing, those disabled, erased or merged away among them. */
export async function findActiveRoles(
  sql: Sql,
  user_ids: readonly string[],
): Promise<(RoleRow & { user_id: string })[]> {
  return sql
    .selectFrom('identity.staff as staff')
    .innerJoin('identity.users as user', 'user.id', 'staff.user_id')
    .innerJoin('identity.roles as role', 'role.code', 'staff.role')
    .selectAll('role')
    .select('staff.user_id')
    .where('staff.user_id', 'in', [...user_ids])
    .where('user.is_disabled', '=', false)
    .where('user.erased_at', 'is', null)
    .where('user.merged_into', 'is', null)
    .execute()
}

export async function findStaff(sql: Sql, user_id: string): Promise<StaffRow | undefined> {
  return sql
    .selectFrom('identity.staff as staff')
    .innerJoin('identity.users as user', 'user.id', 'staff.user_id')
    .select(STAFF)
    .where('staff.user_id', '=', user_id)
    .executeTakeFirst()
}

export async function findRolesOf(
  sql: Sql,
  user_ids: readonly string[],
): Promise<{ user_id: string; role: string }[]> {
  return sql
    .selectFrom('identity.staff')
    .select(['user_id', 'role'])
    .where('user_id', 'in', [...user_ids])
    .execute()
}

/** The staff in order of their ids; one more than the limit. */
export async function listStaff(
  sql: Sql,
  page: { limit: number; after?: string | undefined },
): Promise<StaffRow[]> {
  let query = sql
    .selectFrom('identity.staff as staff')
    .innerJoin('identity.users as user', 'user.id', 'staff.user_id')
    .select(STAFF)
  if (page.after !== undefined) query = query.where('staff.user_id', '>', page.after)
  return query
    .orderBy('staff.user_id')
    .limit(page.limit + 1)
    .execute()
}

/** Whether there is such a user who could act. */
export async function hasActiveUser(sql: Sql, user_id: string): Promise<boolean> {
  const row = await sql
    .selectFrom('identity.users')
    .select('id')
    .where('id', '=', user_id)
    .where('is_disabled', '=', false)
    .where('erased_at', 'is', null)
    .where('merged_into', 'is', null)
    .executeTakeFirst()
  return row !== undefined
}

/**
 * Locks the row of the owner's role: whoever changes the staff holds it, one at a time, so that two owners
 * cannot each remove the other.
 */
export async function lockStaff(tx: Tx): Promise<void> {
  await tx.selectFrom('identity.roles').select('code').where('code', '=', 'owner').forUpdate().execute()
}

/** Owners who may act, besides one user. */
export async function countOtherOwners(sql: Sql, user_id: string): Promise<number> {
  const { n } = await sql
    .selectFrom('identity.staff as staff')
    .innerJoin('identity.users as user', 'user.id', 'staff.user_id')
    .select((eb) => eb.fn.countAll<bigint>().as('n'))
    .where('staff.role', '=', 'owner')
    .where('staff.user_id', '<>', user_id)
    .where('user.is_disabled', '=', false)
    .where('user.erased_at', 'is', null)
    .where('user.merged_into', 'is', null)
    .executeTakeFirstOrThrow()
  return Number(n)
}

export async function upsertStaff(
  tx: Tx,
  staff: { user_id: string; role: string; appointed_by: string; now: Date },
): Promise<void> {
  const { now, ...facts } = staff
  await tx
    .insertInto('identity.staff')
    .values({ ...facts, created_at: now, updated_at: now })
    .onConflict((conflict) =>
      conflict.column('user_id').doUpdateSet({
        role: facts.role,
        appointed_by: facts.appointed_by,
        updated_at: now,
      }),
    )
    .execute()
}

export async function deleteStaff(tx: Tx, user_id: string): Promise<void> {
  await tx.deleteFrom('identity.staff').where('user_id', '=', user_id).execute()
}

/**
 * Revokes the keys a user made, and the keys those made, that hold a scope outside of `scopes`. Answers their
 * ids.
 */
export async function revokeKeysBeyond(
  tx: Tx,
  maker: { user_id: string; scopes: readonly string[]; now: Date },
): Promise<string[]> {
  if (maker.scopes.includes('*')) return []
  const { rows } = await raw<{ id: string }>`
    with recursive made as (
      select id from identity.api_keys where created_by = ${maker.user_id}
      union
      select key.id from identity.api_keys key join made on key.created_by = made.id
    )
    update identity.api_keys key set revoked_at = ${maker.now}
     where key.id in (select id from made) and key.revoked_at is null
       and not key.scopes <@ ${[...maker.scopes]}::text[]
    returning key.id`.execute(tx)
  return rows.map((row) => row.id)
}

/** The user behind an actor: himself, or whoever made the key, or the key that made it. Null: the program. */
export async function findMaker(sql: Sql, actor_id: string): Promise<string | null> {
  const { rows } = await raw<{ user_id: string }>`
    with recursive chain as (
      select ${actor_id}::text as id
      union
      select key.created_by from chain join identity.api_keys key on key.id = chain.id
    )
    select users.id as user_id from chain join identity.users users on users.id = chain.id limit 1`.execute(
    sql,
  )
  return rows[0]?.user_id ?? null
}
