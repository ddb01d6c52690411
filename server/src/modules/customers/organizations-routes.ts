import type { FastifyInstance } from 'fastify'
import type { Actor } from '#http/actor'
import { addRoute, type RouteKit } from '#http/routing'
import type { Sql, Tx } from '#kernel/db'
import { InvalidRequest, InvalidState, NotFound } from '#kernel/errors'
import * as invitations from './organizations-invitations.ts'
import { countMemberUse, limitsOf, removeMemberLimit, setMemberLimit } from './organizations-limits.ts'
import { findMember } from './organizations-queries.ts'
import * as schemas from './organizations-schemas.ts'
import * as organizations from './organizations.ts'
import { pageQuery } from '#http/wire'

/** What organizations need of the books, which are above them. */
export interface SharedBooks {
  /** Wallets of a customer. */
  listWallets(sql: Sql, customer_id: string): Promise<SharedWallet[]>
  /** Spends in this transaction, once per actor and key. Throws InsufficientFunds. */
  spend(tx: Tx, input: SharedSpendInput): Promise<SharedSpend>
}

export interface SharedWallet {
  unit: string
  scale: bigint
  balance: bigint
  held: bigint
  available: bigint
}

export interface SharedSpendInput {
  customer_id: string
  unit: string
  amount: bigint
  reason?: string | undefined
  reference?: string | undefined
  actor_id: string
  idempotency_key: string
}

export interface SharedSpend {
  id: string
  unit: string
  amount: bigint
  balance: bigint
  created_at: Date
}

const READ = { user: true, key: 'customers:read', staff: 'organizations:read' } as const
const WRITE = { user: true, key: 'customers:write', staff: 'organizations:write' } as const
const errors = { 403: ['missing_scope'], 409: ['invalid_state'] } as const
const tag = 'organizations'

/** `/v1/organizations`: users who share wallets. Somebody else's organization is not found. */
export function organizationRoutes(app: FastifyInstance, kit: RouteKit, books: SharedBooks): void {
  ownRoutes(app, kit)
  changeRoutes(app, kit)
  memberRoutes(app, kit)
  limitRoutes(app, kit)
  invitationRoutes(app, kit)
  walletRoutes(app, kit, books)
}

function ownRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { db, clock, cursors } = kit
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/organizations',
    who: WRITE,
    tag,
    status: 201,
    summary: 'Make an organization',
    body: schemas.newOrganization,
    answer: schemas.organization,
    write: async (tx, { actor, body }) => {
      const owner_user_id = userOf(actor, body.owner_user_id, '/owner_user_id')
      return organizations.createOrganization(tx, clock, {
        name: body.name,
        owner_user_id,
        created_by: actor.id,
      })
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/organizations',
    who: READ,
    tag,
    summary: 'List organizations, newest first',
    query: schemas.organizationQuery,
    answer: schemas.organizationPage,
    read: ({ actor, query }) => {
      const sees_all = actor.kind === 'key' || (actor.kind === 'user' && actor.permissions.has(READ.staff))
      const user_id = sees_all ? query.user_id : actor.id
      return organizations.listOrganizations(db, cursors, { user_id }, query)
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/organizations/:id',
    who: READ,
    tag,
    summary: 'Get an organization',
    params: schemas.organizationPath,
    answer: schemas.organization,
    read: async ({ actor, params }) =>
      (await organizations.enterOrganization(db, actor, params.id, 'viewer')).organization,
  })
}

function changeRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { clock } = kit
  addRoute(app, kit, {
    method: 'PATCH',
    url: '/v1/organizations/:id',
    who: WRITE,
    tag,
    summary: 'Rename an organization',
    params: schemas.organizationPath,
    body: schemas.organizationFacts,
    answer: schemas.organization,
    errors,
    write: (tx, { actor, params, body }) =>
      organizations.renameOrganization(tx, clock, actor, { ...params, ...body }),
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/organizations/:id/close',
    who: WRITE,
    tag,
    summary: 'Close an organization for good',
    description: 'Nobody spends from it or changes it any more; what its wallets hold stays.',
    params: schemas.organizationPath,
    answer: schemas.organization,
    errors,
    audit: { action: 'organization.closed' },
    write: (tx, { actor, params }) => organizations.closeOrganization(tx, clock, actor, params.id),
  })
}

function memberRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { db, clock, cursors } = kit
  const shown = async (sql: Sql, member: organizations.Member) => {
    const limits = await limitsOf(sql, clock, [member.id])
    return { ...member, limits: limits.get(member.id) ?? [] }
  }
  const audit = { is_for_people_only: true } as const
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/organizations/:id/members',
    who: READ,
    tag,
    summary: 'List the members',
    params: schemas.organizationPath,
    query: pageQuery,
    answer: schemas.memberPage,
    read: async ({ actor, params, query }) => {
      await organizations.enterOrganization(db, actor, params.id, 'viewer')
      const page = await organizations.listMembers(db, cursors, params.id, query)
      const limits = await limitsOf(
        db,
        clock,
        page.items.map((member) => member.id),
      )
      return {
        ...page,
        items: page.items.map((member) => ({ ...member, limits: limits.get(member.id) ?? [] })),
      }
    },
  })
  addRoute(app, kit, {
    method: 'PATCH',
    url: '/v1/organizations/:id/members/:member_id',
    who: WRITE,
    tag,
    summary: 'Give a member another role',
    description: 'Nobody gives a role above his own. There is always an owner.',
    params: schemas.memberPath,
    body: schemas.memberFacts,
    answer: schemas.member,
    errors,
    audit: { ...audit, action: 'member.changed', after: ({ role }) => ({ role }) },
    write: async (tx, { actor, params, body }) => {
      const place = { organization_id: params.id, member_id: params.member_id }
      return shown(tx, await organizations.changeMemberRole(tx, clock, actor, { ...place, ...body }))
    },
  })
  addRoute(app, kit, {
    method: 'DELETE',
    url: '/v1/organizations/:id/members/:member_id',
    who: WRITE,
    tag,
    summary: 'Remove a member, or leave',
    params: schemas.memberPath,
    answer: schemas.member,
    errors,
    audit: { ...audit, action: 'member.removed', after: () => undefined },
    write: async (tx, { actor, params }) => {
      const place = { organization_id: params.id, member_id: params.member_id }
      return { ...(await organizations.removeMember(tx, clock, actor, place)), limits: [] }
    },
  })
}

function limitRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'PUT',
    url: '/v1/organizations/:id/members/:member_id/limits/:unit',
    who: WRITE,
    tag,
    summary: 'Limit how much of a unit a member may use',
    params: schemas.limitPath,
    body: schemas.limitFacts,
    answer: schemas.memberLimit,
    errors,
    write: (tx, { actor, params: { id, ...place }, body }) =>
      setMemberLimit(tx, kit.clock, actor, { organization_id: id, ...place, ...body }),
  })
  addRoute(app, kit, {
    method: 'DELETE',
    url: '/v1/organizations/:id/members/:member_id/limits/:unit',
    who: WRITE,
    tag,
    summary: 'Take a limit away',
    params: schemas.limitPath,
    answer: schemas.limitPath.pick({ unit: true }),
    errors,
    write: async (tx, { actor, params: { id, ...place } }) => {
      await removeMemberLimit(tx, actor, { organization_id: id, ...place })
      return { unit: place.unit }
    },
  })
}

function invitationRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { db, clock, cursors } = kit
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/organizations/:id/invitations',
    who: WRITE,
    tag,
    status: 201,
    summary: 'Invite somebody',
    description: 'The token is shown in this answer and never again. It works once, for seven days.',
    params: schemas.organizationPath,
    body: schemas.newInvitation,
    answer: schemas.invitationWithToken,
    shown_once: ['token'],
    errors,
    write: (tx, { actor, params, body }) =>
      invitations.createInvitation(tx, clock, actor, { organization_id: params.id, ...body }),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/organizations/:id/invitations',
    who: WRITE,
    tag,
    summary: 'List invitations, newest first',
    params: schemas.organizationPath,
    query: pageQuery,
    answer: schemas.invitationPage,
    errors: { 403: ['missing_scope'] },
    read: async ({ actor, params, query }) => {
      await organizations.enterOrganization(db, actor, params.id, 'admin')
      return invitations.listInvitations(db, cursors, params.id, query)
    },
  })
  addRoute(app, kit, {
    method: 'DELETE',
    url: '/v1/organizations/:id/invitations/:invitation_id',
    who: WRITE,
    tag,
    summary: 'Take an invitation back',
    params: schemas.invitationPath,
    answer: schemas.invitation,
    errors,
    write: (tx, { actor, params: { id, invitation_id } }) =>
      invitations.revokeInvitation(tx, clock, actor, { organization_id: id, invitation_id }),
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/invitations/accept',
    who: { user: true },
    tag,
    status: 201,
    summary: 'Become a member by an invitation',
    body: schemas.acceptance,
    answer: schemas.member,
    errors: { 404: ['invitation_invalid'], 409: ['already_exists'] },
    write: async (tx, { actor, body }) => ({
      ...(await invitations.acceptInvitation(tx, clock, { token: body.token, user_id: actor.id })),
      limits: [],
    }),
  })
}

function walletRoutes(app: FastifyInstance, kit: RouteKit, books: SharedBooks): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/organizations/:id/wallets',
    who: { ...READ, key: 'wallets:read' },
    tag,
    summary: 'List the shared wallets',
    params: schemas.organizationPath,
    answer: schemas.sharedWallets,
    read: async ({ actor, params }) => {
      const { organization } = await organizations.enterOrganization(kit.db, actor, params.id, 'viewer')
      return { items: await books.listWallets(kit.db, organization.customer_id) }
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/organizations/:id/spends',
    who: { user: true, key: 'spends:write' },
    tag,
    status: 201,
    summary: 'Use up units of a shared wallet',
    description: 'Counted against the member’s limit; both happen or neither.',
    params: schemas.organizationPath,
    body: schemas.newSharedSpend,
    answer: schemas.sharedSpend,
    errors: { 402: ['insufficient_funds'], 403: ['missing_scope', 'member_limit_reached'] },
    write: async (tx, { actor, params, body, idempotency_key }) => {
      const { organization, member } = await spender(tx, actor, params.id, body.user_id)
      const { unit, amount, reason, reference } = body
      await countMemberUse(tx, kit.clock, { member_id: member.id, unit, amount })
      return books.spend(tx, {
        customer_id: organization.customer_id,
        unit,
        amount,
        reason,
        reference,
        actor_id: member.user_id,
        idempotency_key,
      })
    },
  })
}

/** The member who uses units: the caller, or whom a key names. */
async function spender(
  tx: Tx,
  actor: Actor,
  id: string,
  user_id: string | undefined,
): Promise<{ organization: organizations.Organization; member: organizations.Member }> {
  const { organization } = await organizations.enterOrganization(tx, actor, id, 'member')
  if (organization.closed_at !== null) throw new InvalidState('This organization was closed.')
  const member = await findMember(tx, { organization_id: id, user_id: userOf(actor, user_id, '/user_id') })
  // A viewer has nothing to use, whoever asks in his name.
  if (!member || member.role === 'viewer') throw new NotFound('There is no such member who may use units.')
  return { organization, member }
}

/** A user acts for himself; a key says for whom. Throws InvalidRequest. */
function userOf(actor: Actor, given: string | undefined, pointer: string): string {
  if (actor.kind === 'user') {
    if (given === undefined || given === actor.id) return actor.id
    throw new InvalidRequest([{ pointer, detail: 'is for API keys' }])
  }
  if (given === undefined) throw new InvalidRequest([{ pointer, detail: 'is needed from an API key' }])
  return given
}
