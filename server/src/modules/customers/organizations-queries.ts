import type { Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

export type OrganizationRow = Selectable<Database['customers.organizations']>
export type MemberRow = Selectable<Database['customers.members']>
export type InvitationRow = Omit<Selectable<Database['customers.invitations']>, 'token_digest'>
export type LimitRow = Selectable<Database['customers.member_limits']>

const INVITATION = [
  'id',
  'organization_id',
  'role',
  'email',
  'invited_by',
  'created_at',
  'expires_at',
  'accepted_at',
  'accepted_by',
  'revoked_at',
] as const

export async function insertOrganization(
  tx: Tx,
  row: Omit<OrganizationRow, 'closed_at'>,
): Promise<OrganizationRow> {
  return tx.insertInto('customers.organizations').values(row).returningAll().executeTakeFirstOrThrow()
}

export async function findOrganization(sql: Sql, id: string): Promise<OrganizationRow | undefined> {
  return sql.selectFrom('customers.organizations').selectAll().where('id', '=', id).executeTakeFirst()
}

/** Whoever changes who is in an organization holds its row, one at a time. */
export async function lockOrganization(tx: Tx, id: string): Promise<OrganizationRow | undefined> {
  return tx
    .selectFrom('customers.organizations')
    .selectAll()
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
}

/** Organizations newest first, of one member if asked; one more than the limit. */
export async function listOrganizations(
  sql: Sql,
  filter: { user_id?: string | undefined },
  page: { limit: number; after?: { created_at: Date; id: string } | undefined },
): Promise<OrganizationRow[]> {
  const { after } = page
  let query = sql.selectFrom('customers.organizations as organization').selectAll('organization')
  if (filter.user_id !== undefined) {
    query = query
      .innerJoin('customers.members as member', 'member.organization_id', 'organization.id')
      .where('member.user_id', '=', filter.user_id)
  }
  if (after) {
    query = query.where((eb) =>
      eb(
        eb.refTuple('organization.created_at', 'organization.id'),
        '<',
        eb.tuple(after.created_at, after.id),
      ),
    )
  }
  return query
    .orderBy('organization.created_at', 'desc')
    .orderBy('organization.id', 'desc')
    .limit(page.limit + 1)
    .execute()
}

export async function updateOrganization(
  tx: Tx,
  id: string,
  change: Partial<Pick<OrganizationRow, 'name' | 'closed_at'>> & { updated_at: Date },
): Promise<OrganizationRow> {
  return tx
    .updateTable('customers.organizations')
    .set(change)
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirstOrThrow()
}

/** `undefined` when the user is in the organization already. */
export async function insertMember(tx: Tx, row: MemberRow): Promise<MemberRow | undefined> {
  return tx
    .insertInto('customers.members')
    .values(row)
    .onConflict((conflict) => conflict.constraint('members_once').doNothing())
    .returningAll()
    .executeTakeFirst()
}

export async function findMember(
  sql: Sql,
  place: { organization_id: string; user_id: string } | { organization_id: string; id: string },
): Promise<MemberRow | undefined> {
  const query = sql
    .selectFrom('customers.members')
    .selectAll()
    .where('organization_id', '=', place.organization_id)
  return 'id' in place
    ? query.where('id', '=', place.id).executeTakeFirst()
    : query.where('user_id', '=', place.user_id).executeTakeFirst()
}

/** Members in order of their ids, oldest first; one more than the limit. */
export async function listMembers(
  sql: Sql,
  organization_id: string,
  page: { limit: number; after?: string | undefined },
): Promise<MemberRow[]> {
  let query = sql.selectFrom('customers.members').selectAll().where('organization_id', '=', organization_id)
  if (page.after !== undefined) query = query.where('id', '>', page.after)
  return query
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()
}

/** The organizations a user is in, with his part. */
export async function membersOfUser(sql: Sql, user_id: string): Promise<MemberRow[]> {
  return sql
    .selectFrom('customers.members')
    .selectAll()
    .where('user_id', '=', user_id)
    .orderBy('organization_id')
    .execute()
}

export async function countOwners(sql: Sql, organization_id: string): Promise<number> {
  const { n } = await sql
    .selectFrom('customers.members')
    .select((eb) => eb.fn.countAll<bigint>().as('n'))
    .where('organization_id', '=', organization_id)
    .where('role', '=', 'owner')
    .executeTakeFirstOrThrow()
  return Number(n)
}

export async function updateMember(
  tx: Tx,
  id: string,
  change: { role: MemberRow['role']; updated_at: Date },
): Promise<MemberRow> {
  return tx
    .updateTable('customers.members')
    .set(change)
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirstOrThrow()
}

export async function deleteMember(tx: Tx, id: string): Promise<void> {
  await tx.deleteFrom('customers.members').where('id', '=', id).execute()
}

export async function insertInvitation(
  tx: Tx,
  row: Omit<InvitationRow, 'accepted_at' | 'accepted_by' | 'revoked_at'> & { token_digest: Buffer },
): Promise<InvitationRow> {
  return tx.insertInto('customers.invitations').values(row).returning(INVITATION).executeTakeFirstOrThrow()
}

/** Invitations newest first; one more than the limit. */
export async function listInvitations(
  sql: Sql,
  organization_id: string,
  page: { limit: number; before?: string | undefined },
): Promise<InvitationRow[]> {
  let query = sql
    .selectFrom('customers.invitations')
    .select(INVITATION)
    .where('organization_id', '=', organization_id)
  if (page.before !== undefined) query = query.where('id', '<', page.before)
  return query
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
}

/** Revokes an invitation nobody accepted; `undefined` when there is no such one. A repeat changes nothing. */
export async function revokeInvitation(
  tx: Tx,
  place: { organization_id: string; id: string },
  now: Date,
): Promise<InvitationRow | undefined> {
  return tx
    .updateTable('customers.invitations')
    .set((eb) => ({ revoked_at: eb.fn.coalesce('revoked_at', eb.val(now)) }))
    .where('organization_id', '=', place.organization_id)
    .where('id', '=', place.id)
    .where('accepted_at', 'is', null)
    .returning(INVITATION)
    .executeTakeFirst()
}

/** Takes back what a member invited others to, when he is no longer there. */
export async function revokeInvitationsBy(
  tx: Tx,
  place: { organization_id: string; invited_by: string },
  now: Date,
): Promise<void> {
  await tx
    .updateTable('customers.invitations')
    .set({ revoked_at: now })
    .where('organization_id', '=', place.organization_id)
    .where('invited_by', '=', place.invited_by)
    .where('accepted_at', 'is', null)
    .where('revoked_at', 'is', null)
    .execute()
}

/** The organization of an invitation that could be accepted now. */
export async function findOpenInvitation(
  sql: Sql,
  token_digest: Buffer,
  now: Date,
): Promise<InvitationRow | undefined> {
  return sql
    .selectFrom('customers.invitations')
    .select(INVITATION)
    .where('token_digest', '=', token_digest)
    .where('accepted_at', 'is', null)
    .where('revoked_at', 'is', null)
    .where('expires_at', '>', now)
    .executeTakeFirst()
}

/** Uses an invitation up; of many at once, one gets true. */
export async function useInvitation(
  tx: Tx,
  use: { id: string; accepted_by: string; now: Date },
): Promise<boolean> {
  const row = await tx
    .updateTable('customers.invitations')
    .set({ accepted_at: use.now, accepted_by: use.accepted_by })
    .where('id', '=', use.id)
    .where('accepted_at', 'is', null)
    .where('revoked_at', 'is', null)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

export async function findLimits(sql: Sql, member_ids: readonly string[]): Promise<LimitRow[]> {
  if (member_ids.length === 0) return []
  return sql
    .selectFrom('customers.member_limits')
    .selectAll()
    .where('member_id', 'in', [...member_ids])
    .orderBy('unit')
    .execute()
}

export async function lockLimit(
  tx: Tx,
  place: { member_id: string; unit: string },
): Promise<LimitRow | undefined> {
  return tx
    .selectFrom('customers.member_limits')
    .selectAll()
    .where('member_id', '=', place.member_id)
    .where('unit', '=', place.unit)
    .forUpdate()
    .executeTakeFirst()
}

/** Sets a limit; what was used in the present period stays counted when the period is the same. */
export async function upsertLimit(tx: Tx, row: LimitRow): Promise<LimitRow> {
  const { member_id: _member_id, unit: _unit, ...facts } = row
  return tx
    .insertInto('customers.member_limits')
    .values(row)
    .onConflict((conflict) => conflict.columns(['member_id', 'unit']).doUpdateSet(facts))
    .returningAll()
    .executeTakeFirstOrThrow()
}

export async function deleteLimit(tx: Tx, place: { member_id: string; unit: string }): Promise<boolean> {
  const row = await tx
    .deleteFrom('customers.member_limits')
    .where('member_id', '=', place.member_id)
    .where('unit', '=', place.unit)
    .returning('unit')
    .executeTakeFirst()
  return row !== undefined
}
