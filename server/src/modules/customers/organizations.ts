import type { Actor } from '#http/actor'
import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { AlreadyExists, InvalidState, MissingScope, NotFound, violatedConstraint } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { type Cursors, type Page, toPage } from '#kernel/page'
import { createCustomer } from './customers.ts'
import * as queries from './organizations-queries.ts'

/** Several users who share the wallets of `customer_id`. */
export type Organization = queries.OrganizationRow
export type Member = queries.MemberRow
export type OrganizationRole = Member['role']

/** Each may do what those before it may: see, use units, manage people, everything. */
const RANKS: Readonly<Record<OrganizationRole, number>> = { viewer: 0, member: 1, admin: 2, owner: 3 }

/** What a caller may do in an organization. Keys and staff act for the owner of the installation. */
export interface Standing {
  organization: Organization
  role: OrganizationRole
  /** Of a member. */
  member?: Member
}

/**
 * Lets a caller in who may act as `role` there: a member of at least this role, a key (its route asks for the
 * scope), or staff with the permission. Throws {@link NotFound} for strangers as for an unknown id, {@link
 * MissingScope} for members of a lower role.
 */
export async function enterOrganization(
  sql: Sql,
  actor: Actor,
  id: string,
  role: OrganizationRole,
): Promise<Standing> {
  const organization = await queries.findOrganization(sql, id)
  if (!organization) throw unknownOrganization(id)
  if (actor.kind === 'key') return { organization, role: 'owner' }
  if (actor.kind !== 'user') throw unknownOrganization(id)
  const member = await queries.findMember(sql, { organization_id: id, user_id: actor.id })
  if (member && RANKS[member.role] >= RANKS[role]) return { organization, role: member.role, member }
  const permission = role === 'viewer' ? 'organizations:read' : 'organizations:write'
  if (actor.permissions.has(permission)) return { organization, role: 'owner' }
  if (!member) throw unknownOrganization(id)
  throw new MissingScope(`In this organization that takes the role ${role}.`, { organization_role: role })
}

/**
 * As {@link enterOrganization}, holding the organization's row: changes of people happen one after another.
 */
export async function enterToChange(
  tx: Tx,
  actor: Actor,
  id: string,
  role: OrganizationRole,
): Promise<Standing> {
  await queries.lockOrganization(tx, id)
  const standing = await enterOrganization(tx, actor, id, role)
  if (standing.organization.closed_at !== null) throw new InvalidState('This organization was closed.')
  return standing
}

/**
 * Makes an organization with its own customer and its first owner. Throws {@link NotFound} for an unknown
 * user.
 */
export async function createOrganization(
  tx: Tx,
  clock: Clock,
  input: { name: string; owner_user_id: string; created_by: string },
): Promise<Organization> {
  const now = clock.now()
  const customer = await createCustomer(tx, clock, { name: input.name })
  const organization = await queries.insertOrganization(tx, {
    id: newId('org', now.getTime()),
    name: input.name,
    customer_id: customer.id,
    created_by: input.created_by,
    created_at: now,
    updated_at: now,
  })
  await addMember(tx, clock, {
    organization_id: organization.id,
    user_id: input.owner_user_id,
    role: 'owner',
  })
  return organization
}

/** Organizations newest first: of one user, or all. Throws InvalidRequest for a foreign cursor. */
export async function listOrganizations(
  sql: Sql,
  cursors: Cursors,
  filter: { user_id?: string | undefined },
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<Organization>> {
  const [created_at, id] = page.cursor === undefined ? [] : cursors.open('organizations', page.cursor)
  const after = created_at === undefined ? undefined : { created_at: new Date(created_at), id: String(id) }
  const rows = await queries.listOrganizations(sql, filter, { limit: page.limit, after })
  const place = (row: Organization) => [row.created_at.toISOString(), row.id]
  return toPage(rows, page.limit, cursors, 'organizations', place, (row) => row)
}

/** Throws as {@link enterToChange}; admins and owners may. */
export async function renameOrganization(
  tx: Tx,
  clock: Clock,
  actor: Actor,
  { id, name }: { id: string; name: string },
): Promise<Organization> {
  await enterToChange(tx, actor, id, 'admin')
  return queries.updateOrganization(tx, id, { name, updated_at: clock.now() })
}

/** Closes it for good: nobody spends from it or changes it any more; what it holds stays. Owners may. */
export async function closeOrganization(
  tx: Tx,
  clock: Clock,
  actor: Actor,
  id: string,
): Promise<Organization> {
  await enterToChange(tx, actor, id, 'owner')
  const now = clock.now()
  return queries.updateOrganization(tx, id, { closed_at: now, updated_at: now })
}

/** The members, oldest first. Throws InvalidRequest for a foreign cursor. */
export async function listMembers(
  sql: Sql,
  cursors: Cursors,
  organization_id: string,
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<Member>> {
  const list = `members of ${organization_id}`
  const [after] = page.cursor === undefined ? [] : cursors.open(list, page.cursor)
  const rows = await queries.listMembers(sql, organization_id, {
    limit: page.limit,
    after: after === undefined ? undefined : String(after),
  })
  return toPage(
    rows,
    page.limit,
    cursors,
    list,
    (row) => [row.id],
    (row) => row,
  )
}

/** A member by the id of his place there. Throws {@link NotFound}. */
export async function getMember(sql: Sql, organization_id: string, member_id: string): Promise<Member> {
  const member = await queries.findMember(sql, { organization_id, id: member_id })
  if (!member) throw new NotFound(`There is no member ${member_id.slice(0, 40)} in this organization.`)
  return member
}

/**
 * Gives a member another role. Nobody gives a role above his own or changes somebody above him; there is
 * always an owner. Throws as {@link enterToChange}, {@link MissingScope}, {@link InvalidState} for the last
 * owner.
 */
export async function changeMemberRole(
  tx: Tx,
  clock: Clock,
  actor: Actor,
  input: { organization_id: string; member_id: string; role: OrganizationRole },
): Promise<Member> {
  const standing = await enterToChange(tx, actor, input.organization_id, 'admin')
  const member = await getMember(tx, input.organization_id, input.member_id)
  refuseAbove(standing, member.role)
  refuseAbove(standing, input.role)
  if (input.role !== 'owner') await keepAnOwner(tx, member)
  return queries.updateMember(tx, member.id, { role: input.role, updated_at: clock.now() })
}

/**
 * Ends somebody's part in an organization, and the invitations he sent. Everybody may leave; admins remove
 * others of at most their own role. Throws as {@link changeMemberRole}.
 */
export async function removeMember(
  tx: Tx,
  clock: Clock,
  actor: Actor,
  input: { organization_id: string; member_id: string },
): Promise<Member> {
  const standing = await enterToChange(tx, actor, input.organization_id, 'viewer')
  const member = await getMember(tx, input.organization_id, input.member_id)
  if (actor.kind === 'user' && member.user_id !== actor.id) {
    await enterOrganization(tx, actor, input.organization_id, 'admin')
    refuseAbove(standing, member.role)
  }
  await keepAnOwner(tx, member)
  await queries.deleteMember(tx, member.id)
  const place = { organization_id: input.organization_id, invited_by: member.user_id }
  await queries.revokeInvitationsBy(tx, place, clock.now())
  return member
}

/**
 * Takes a user out of every organization, for his erasure. Throws {@link InvalidState} where he is the last
 * owner.
 */
export async function leaveOrganizations(tx: Tx, clock: Clock, user_id: string): Promise<Member[]> {
  const places = await queries.membersOfUser(tx, user_id)
  for (const { organization_id } of places) {
    const organization = await queries.lockOrganization(tx, organization_id)
    const member = await queries.findMember(tx, { organization_id, user_id })
    if (!member) continue
    // A closed organization needs nobody any more.
    if (organization?.closed_at === null) await keepAnOwner(tx, member)
    await queries.deleteMember(tx, member.id)
    await queries.revokeInvitationsBy(tx, { organization_id, invited_by: user_id }, clock.now())
  }
  return places
}

/**
 * Adds a member. The caller holds the organization's row, or has just made it.
 * Throws {@link AlreadyExists}; {@link NotFound} for an unknown user.
 */
export async function addMember(
  tx: Tx,
  clock: Clock,
  input: { organization_id: string; user_id: string; role: OrganizationRole },
): Promise<Member> {
  const now = clock.now()
  const row = { id: newId('mem', now.getTime()), ...input, created_at: now, updated_at: now }
  const member = await insert(tx, row)
  if (!member) throw new AlreadyExists('This user is a member already.')
  return member
}

/** Throws {@link MissingScope} when the role is above what the caller may do there. */
export function refuseAbove(standing: Standing, role: OrganizationRole): void {
  if (RANKS[role] <= RANKS[standing.role]) return
  throw new MissingScope(`That takes the role ${role} in this organization.`, { organization_role: role })
}

async function insert(tx: Tx, row: Member): Promise<Member | undefined> {
  try {
    return await queries.insertMember(tx, row)
  } catch (error) {
    if (violatedConstraint(error) !== 'members_user_id_fkey') throw error
    throw new NotFound(`There is no user ${row.user_id.slice(0, 40)}.`, {}, { cause: error })
  }
}

async function keepAnOwner(tx: Tx, member: Member): Promise<void> {
  if (member.role !== 'owner' || (await queries.countOwners(tx, member.organization_id)) > 1) return
  throw new InvalidState('This is the last owner of the organization; make somebody else an owner first.')
}

function unknownOrganization(id: string): NotFound {
  return new NotFound(`There is no organization ${id.slice(0, 40)}.`)
}
