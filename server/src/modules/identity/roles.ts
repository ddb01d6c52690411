import type { Actor } from '#http/actor'
import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { AlreadyExists, InvalidState, MissingScope, NotFound } from '#kernel/errors'
import { type Cursors, type Page, toPage } from '#kernel/page'
import { BUILT_IN_ROLES, lackingOf } from './staff-permissions.ts'
import type { PermissionsOf } from './permissions.ts'
import * as queries from './staff-queries.ts'
import { endRightsBeyond } from './staff-rights.ts'

/** A set of permissions with a name. */
export interface Role {
  code: string
  name: string
  permissions: readonly string[]
  is_built_in: boolean
  created_at: Date
}

/** Who gives rights: an actor and what he holds. `*` is everything. */
export interface Granter {
  id: string
  permissions: ReadonlySet<string>
}

/** What an actor may hand on: a key its scopes, a user his permissions. */
export function granterOf(actor: Actor): Granter {
  if (actor.kind === 'key') return { id: actor.id, permissions: actor.scopes }
  return { id: actor.id, permissions: actor.kind === 'user' ? actor.permissions : new Set() }
}

export interface RoleFacts {
  code: string
  name: string
  permissions: readonly string[]
}

/** What a user may do for the owner; nothing for everybody who is not staff, or may not act. */
export async function permissionsOf(sql: Sql, user_id: string): Promise<ReadonlySet<string>> {
  return (await permissionsOfMany(sql, [user_id])).get(user_id) ?? new Set()
}

/** As {@link permissionsOf}; users without permissions are missing. At least one id. */
export const permissionsOfMany: PermissionsOf = async (sql, user_ids) => {
  const roles = await queries.findActiveRoles(sql, user_ids)
  return new Map(roles.map((row) => [row.user_id, new Set(roleOf(row).permissions)]))
}

/** Throws {@link NotFound}. */
export async function getRole(sql: Sql, code: string): Promise<Role> {
  const role = await queries.findRole(sql, code)
  if (!role) throw unknownRole(code)
  return roleOf(role)
}

/** Every role, built-in ones too. Throws InvalidRequest for a foreign cursor. */
export async function listRoles(
  sql: Sql,
  cursors: Cursors,
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<Role>> {
  const [after] = page.cursor === undefined ? [] : cursors.open('roles', page.cursor)
  const rows = await queries.listRoles(sql, {
    limit: page.limit,
    after: after === undefined ? undefined : String(after),
  })
  return toPage(rows, page.limit, cursors, 'roles', (row) => [row.code], roleOf)
}

/** Makes a role. Throws {@link MissingScope} for a permission its maker lacks; {@link AlreadyExists}. */
export async function createRole(tx: Tx, clock: Clock, granter: Granter, facts: RoleFacts): Promise<Role> {
  refuseBeyond(granter, facts.permissions)
  const permissions = [...new Set(facts.permissions)].toSorted()
  const role = {
    code: facts.code,
    name: facts.name,
    permissions,
    created_by: granter.id,
    created_at: clock.now(),
  }
  if (!(await queries.insertRole(tx, role))) throw new AlreadyExists(`There is a role ${facts.code} already.`)
  return getRole(tx, facts.code)
}

/**
 * Changes a role of the owner's own making; whoever has it holds the new permissions at once.
 * Throws {@link NotFound}; {@link InvalidState} for a built-in one; {@link MissingScope} when the changer
 * lacks a permission the role has or is to have.
 */
export async function updateRole(tx: Tx, clock: Clock, granter: Granter, facts: RoleFacts): Promise<Role> {
  const before = await lockOwnRole(tx, granter, facts.code)
  refuseBeyond(granter, facts.permissions)
  const permissions = [...new Set(facts.permissions)].toSorted()
  await queries.updateRole(tx, { code: facts.code, name: facts.name, permissions, updated_at: clock.now() })
  if (permissions.join() !== before.permissions.join()) {
    for (const user_id of await queries.usersOfRole(tx, facts.code)) {
      await endRightsBeyond(tx, clock, user_id, new Set(permissions))
    }
  }
  return getRole(tx, facts.code)
}

/** Throws as {@link updateRole}, and {@link InvalidState} while somebody has the role. */
export async function deleteRole(tx: Tx, granter: Granter, code: string): Promise<Role> {
  const role = await lockOwnRole(tx, granter, code)
  const users = await queries.usersOfRole(tx, code)
  if (users.length > 0) throw new InvalidState(`${users.length} of the staff have the role ${code}.`)
  await queries.deleteRole(tx, code)
  return role
}

/** Nobody gives, changes or takes away more than he holds himself. Throws {@link MissingScope}. */
export function refuseBeyond(granter: Granter, permissions: Iterable<string>): void {
  const [lacking] = lackingOf(granter.permissions, permissions)
  if (lacking === undefined) return
  throw new MissingScope(`Nobody gives or takes what he does not hold himself: ${lacking}.`, {
    permission: lacking,
  })
}

async function lockOwnRole(tx: Tx, granter: Granter, code: string): Promise<Role> {
  const row = await queries.lockRole(tx, code)
  if (!row) throw unknownRole(code)
  if (row.is_built_in) throw new InvalidState(`The role ${code} belongs to the program.`)
  refuseBeyond(granter, row.permissions)
  return roleOf(row)
}

function roleOf(row: queries.RoleRow): Role {
  const { code, name, is_built_in, created_at } = row
  return {
    code,
    name,
    is_built_in,
    created_at,
    permissions: BUILT_IN_ROLES[is_built_in ? code : ''] ?? row.permissions,
  }
}

function unknownRole(code: string): NotFound {
  return new NotFound(`There is no role ${code.slice(0, 40)}.`)
}
