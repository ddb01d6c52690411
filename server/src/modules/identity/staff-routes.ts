import type { FastifyInstance } from 'fastify'
import { addRoute, type RouteKit } from '#http/routing'
import { listAudit } from './audit.ts'
import { PERMISSIONS, type Permission } from './staff-permissions.ts'
import { createRole, deleteRole, getRole, granterOf, listRoles, updateRole } from './roles.ts'
import * as schemas from './staff-schemas.ts'
import { appointStaff, dismissStaff, getStaff, listStaff } from './staff.ts'
import { pageQuery } from '#http/wire'

const READ = { key: 'admin', staff: 'staff:read' } as const
const APPOINT = { key: 'admin', staff: 'staff:write' } as const
const SHAPE = { key: 'admin', staff: 'roles:write' } as const
const BEYOND = { 403: ['missing_scope'], 409: ['invalid_state'] } as const
const OWN_ONLY = 'Nobody gives, changes or takes away more than he holds himself.'

/** `/v1/roles`, `/v1/staff` and `/v1/audit_log`: who may do what for the owner, and what was done. */
export function staffRoutes(app: FastifyInstance, kit: RouteKit): void {
  roleRoutes(app, kit)
  roleChangeRoutes(app, kit)
  memberRoutes(app, kit)
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/audit_log',
    who: { key: 'admin', staff: 'audit:read' },
    tag: 'staff',
    summary: 'Read who did what, newest first',
    query: schemas.auditQuery,
    answer: schemas.auditPage,
    read: ({ query: { limit, cursor, ...filter } }) =>
      listAudit(kit.db, kit.cursors, filter, { limit, cursor }),
  })
}

function roleRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { db, cursors } = kit
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/permissions',
    who: READ,
    tag: 'staff',
    summary: 'List everything that can be allowed',
    answer: schemas.permissionList,
    read: () => ({
      items: Object.entries(PERMISSIONS).map(([word, description]) => ({
        permission: word as Permission,
        description,
      })),
    }),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/roles',
    who: READ,
    tag: 'staff',
    summary: 'List the roles',
    query: pageQuery,
    answer: schemas.rolePage,
    read: ({ query }) => listRoles(db, cursors, query).then(rolesWire),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/roles/:code',
    who: READ,
    tag: 'staff',
    summary: 'Get a role',
    params: schemas.rolePath,
    answer: schemas.role,
    read: async ({ params }) => roleWire(await getRole(db, params.code)),
  })
}

function roleChangeRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { clock } = kit
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/roles',
    who: SHAPE,
    tag: 'staff',
    status: 201,
    summary: 'Make a role',
    description: OWN_ONLY,
    body: schemas.newRole,
    answer: schemas.role,
    errors: { 403: ['missing_scope'], 409: ['already_exists'] },
    audit: { action: 'role.created', subject: (_call, made) => made.code },
    write: async (tx, { actor, body }) => roleWire(await createRole(tx, clock, granterOf(actor), body)),
  })
  addRoute(app, kit, {
    method: 'PATCH',
    url: '/v1/roles/:code',
    who: SHAPE,
    tag: 'staff',
    summary: 'Change a role of one’s own making',
    description: `${OWN_ONLY} Whoever has the role holds the new permissions.`,
    params: schemas.rolePath,
    body: schemas.roleFacts,
    answer: schemas.role,
    errors: BEYOND,
    audit: {
      action: 'role.changed',
      subject: (_call, role) => role.code,
      before: (tx, { params }) => getRole(tx, params.code),
    },
    write: async (tx, { actor, params, body }) =>
      roleWire(await updateRole(tx, clock, granterOf(actor), { code: params.code, ...body })),
  })
  addRoute(app, kit, {
    method: 'DELETE',
    url: '/v1/roles/:code',
    who: SHAPE,
    tag: 'staff',
    summary: 'Take a role away that nobody has',
    params: schemas.rolePath,
    answer: schemas.role,
    errors: BEYOND,
    audit: { action: 'role.deleted', subject: (_call, role) => role.code },
    write: async (tx, { actor, params }) => roleWire(await deleteRole(tx, granterOf(actor), params.code)),
  })
}

function memberRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { db, clock, cursors } = kit
  // Of people the log says what they may do, not who they are.
  const picture = ({ role }: { role: string }): { role: string } => ({ role })
  const before = (tx: Parameters<typeof getStaff>[0], { params }: { params: { user_id: string } }) =>
    getStaff(tx, params.user_id).then(picture, () => undefined)
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/staff',
    who: READ,
    tag: 'staff',
    summary: 'List the staff',
    query: pageQuery,
    answer: schemas.staffPage,
    read: ({ query }) => listStaff(db, cursors, query),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/staff/:user_id',
    who: READ,
    tag: 'staff',
    summary: 'Get a member of the staff',
    params: schemas.staffPath,
    answer: schemas.staffMember,
    read: ({ params }) => getStaff(db, params.user_id),
  })
  addRoute(app, kit, {
    method: 'PUT',
    url: '/v1/staff/:user_id',
    who: APPOINT,
    tag: 'staff',
    summary: 'Give a user a role',
    description: `${OWN_ONLY} There is always an owner. Keys he made that hold more than he does end.`,
    params: schemas.staffPath,
    body: schemas.appointment,
    answer: schemas.staffMember,
    errors: BEYOND,
    audit: { action: 'staff.appointed', subject: ({ params }) => params.user_id, before, after: picture },
    write: (tx, { actor, params, body }) => appointStaff(tx, clock, granterOf(actor), { ...params, ...body }),
  })
  addRoute(app, kit, {
    method: 'DELETE',
    url: '/v1/staff/:user_id',
    who: APPOINT,
    tag: 'staff',
    summary: 'End a user’s part in the staff',
    description: 'Keys he made end with it. There is always an owner left.',
    params: schemas.staffPath,
    answer: schemas.staffMember,
    errors: BEYOND,
    audit: {
      action: 'staff.dismissed',
      subject: ({ params }) => params.user_id,
      before,
      after: () => undefined,
    },
    write: (tx, { actor, params }) => dismissStaff(tx, clock, granterOf(actor), params.user_id),
  })
}

function roleWire(role: Awaited<ReturnType<typeof getRole>>) {
  return { ...role, permissions: [...role.permissions] }
}

function rolesWire(page: Awaited<ReturnType<typeof listRoles>>) {
  return { ...page, items: page.items.map(roleWire) }
}
