import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { InvalidState, NotFound } from '#kernel/errors'
import { type Cursors, type Page, toPage } from '#kernel/page'
import { getRole, type Granter, refuseBeyond } from './roles.ts'
import { endRightsBeyond } from './staff-rights.ts'
import * as queries from './staff-queries.ts'

/** A user who does something for the owner. */
export type StaffMember = queries.StaffRow

/** Throws {@link NotFound}. */
export async function getStaff(sql: Sql, user_id: string): Promise<StaffMember> {
  const found = await queries.findStaff(sql, user_id)
  if (!found) throw new NotFound(`No member of the staff is ${user_id.slice(0, 40)}.`)
  return found
}

/** The staff in order of their ids. Throws InvalidRequest for a foreign cursor. */
export async function listStaff(
  sql: Sql,
  cursors: Cursors,
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<StaffMember>> {
  const [after] = page.cursor === undefined ? [] : cursors.open('staff', page.cursor)
  const rows = await queries.listStaff(sql, {
    limit: page.limit,
    after: after === undefined ? undefined : String(after),
  })
  return toPage(
    rows,
    page.limit,
    cursors,
    'staff',
    (row) => [row.user_id],
    (row) => row,
  )
}

/**
 * Gives a user a role, instead of the one he had. The granter must hold all of the new role and all of the
 * old one: nobody raises himself or another above himself, nobody lowers who stands above him. Keys the user
 * made that hold more than he does now end. Throws {@link NotFound} for an unknown user or role;
 * MissingScope; {@link InvalidState} when no owner would be left.
 */
export async function appointStaff(
  tx: Tx,
  clock: Clock,
  granter: Granter,
  { user_id, role: code }: { user_id: string; role: string },
): Promise<StaffMember> {
  await queries.lockStaff(tx)
  const role = await getRole(tx, code)
  if (!(await queries.hasActiveUser(tx, user_id)))
    throw new NotFound(`There is no user ${user_id.slice(0, 40)}.`)
  await refuseAbove(tx, granter, user_id)
  refuseBeyond(granter, role.permissions)
  if (code !== 'owner') await keepAnOwner(tx, user_id)
  await queries.upsertStaff(tx, { user_id, role: code, appointed_by: granter.id, now: clock.now() })
  await endRightsBeyond(tx, clock, user_id, new Set(role.permissions))
  return getStaff(tx, user_id)
}

/**
 * Ends a user's part in the staff, and every key he made that holds anything.
 * Throws {@link NotFound}; MissingScope; {@link InvalidState} when no owner would be left.
 */
export async function dismissStaff(
  tx: Tx,
  clock: Clock,
  granter: Granter,
  user_id: string,
): Promise<StaffMember> {
  await queries.lockStaff(tx)
  const member = await getStaff(tx, user_id)
  await refuseAbove(tx, granter, user_id)
  await keepAnOwner(tx, user_id)
  await queries.deleteStaff(tx, user_id)
  await endRightsBeyond(tx, clock, user_id, new Set())
  return member
}

/**
 * To be called in the transaction that disables, erases or merges away a user: there stays an owner who can
 * act, and nobody is staff without acting. Throws {@link InvalidState} for the last owner.
 */
export async function retireStaff(tx: Tx, clock: Clock, user_id: string): Promise<void> {
  await queries.lockStaff(tx)
  if (!(await queries.findStaff(tx, user_id))) return
  await keepAnOwner(tx, user_id)
  await queries.deleteStaff(tx, user_id)
  await endRightsBeyond(tx, clock, user_id, new Set())
}

/** The roles of those of these users who are staff. */
export async function rolesOfUsers(
  sql: Sql,
  user_ids: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  if (user_ids.length === 0) return new Map()
  return new Map((await queries.findRolesOf(sql, user_ids)).map((row) => [row.user_id, row.role]))
}

/** The user who answers for an actor: himself, or whoever made the key. Null: a key the program made. */
export async function personBehind(sql: Sql, actor_id: string): Promise<string | null> {
  return queries.findMaker(sql, actor_id)
}

/**
 * Nobody changes, closes or forgets a member of staff who holds more than he does. Throws MissingScope.
 */
export async function refuseAbove(tx: Tx, granter: Granter, user_id: string): Promise<void> {
  await queries.lockStaff(tx)
  const present = await queries.findStaff(tx, user_id)
  if (present) refuseBeyond(granter, (await getRole(tx, present.role)).permissions)
}

/** Called under the lock of {@link queries.lockStaff}. */
async function keepAnOwner(tx: Tx, user_id: string): Promise<void> {
  const present = await queries.findStaff(tx, user_id)
  if (present?.role !== 'owner' || (await queries.countOtherOwners(tx, user_id)) > 0) return
  throw new InvalidState('This is the last owner; appoint another one first.')
}
