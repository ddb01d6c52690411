import { hash, randomBytes } from 'node:crypto'
import type { Actor } from '#http/actor'
import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { type Cursors, type Page, toPage } from '#kernel/page'
import { InvitationInvalid } from './organizations-errors.ts'
import * as queries from './organizations-queries.ts'
import { addMember, enterToChange, type Member, type OrganizationRole, refuseAbove } from './organizations.ts'

export type Invitation = queries.InvitationRow

const VALID_MS = 7 * 86_400_000

/**
 * Makes an invitation; the token is in the answer and nowhere else. It works once, for seven days, for
 * whoever holds it. Admins and owners may, for at most their own role.
 */
export async function createInvitation(
  tx: Tx,
  clock: Clock,
  actor: Actor,
  input: { organization_id: string; role: OrganizationRole; email?: string | null | undefined },
): Promise<Invitation & { token: string }> {
  const standing = await enterToChange(tx, actor, input.organization_id, 'admin')
  refuseAbove(standing, input.role)
  const now = clock.now()
  const token = `invite_${randomBytes(24).toString('base64url')}`
  const invitation = await queries.insertInvitation(tx, {
    id: newId('inv', now.getTime()),
    organization_id: input.organization_id,
    role: input.role,
    email: input.email?.toLowerCase() ?? null,
    token_digest: digestOf(token),
    invited_by: actor.id,
    created_at: now,
    expires_at: new Date(now.getTime() + VALID_MS),
  })
  return { ...invitation, token }
}

/** Invitations newest first, used ones too. Throws InvalidRequest for a foreign cursor. */
export async function listInvitations(
  sql: Sql,
  cursors: Cursors,
  organization_id: string,
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<Invitation>> {
  const list = `invitations of ${organization_id}`
  const [before] = page.cursor === undefined ? [] : cursors.open(list, page.cursor)
  const rows = await queries.listInvitations(sql, organization_id, {
    limit: page.limit,
    before: before === undefined ? undefined : String(before),
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

/** Takes an invitation back. Throws {@link NotFound}, also for one that was accepted. */
export async function revokeInvitation(
  tx: Tx,
  clock: Clock,
  actor: Actor,
  input: { organization_id: string; invitation_id: string },
): Promise<Invitation> {
  await enterToChange(tx, actor, input.organization_id, 'admin')
  const place = { organization_id: input.organization_id, id: input.invitation_id }
  const revoked = await queries.revokeInvitation(tx, place, clock.now())
  if (!revoked) throw new NotFound('There is no open invitation with this id.')
  return revoked
}

/**
 * Makes a user a member, once per invitation however many ask at the same time.
 * Throws {@link InvitationInvalid}; AlreadyExists when he is one already, and the invitation stays.
 */
export async function acceptInvitation(
  tx: Tx,
  clock: Clock,
  input: { token: string; user_id: string },
): Promise<Member> {
  const now = clock.now()
  const found = await queries.findOpenInvitation(tx, digestOf(input.token), now)
  const organization = found && (await queries.lockOrganization(tx, found.organization_id))
  if (!found || !organization || organization.closed_at !== null) throw notValid()
  if (!(await queries.useInvitation(tx, { id: found.id, accepted_by: input.user_id, now }))) throw notValid()
  const { organization_id, role } = found
  return addMember(tx, clock, { organization_id, user_id: input.user_id, role })
}

function digestOf(token: string): Buffer {
  return hash('sha256', token, 'buffer')
}

function notValid(): InvitationInvalid {
  return new InvitationInvalid('It was used, taken back, or is older than a week. Ask for a new one.')
}
