import { z } from 'zod'
import { amount, amountOrZero, pageOf, pageQuery, shortText, storable, timestamp, unitCode } from '#http/wire'

const memberRole = z.enum(['owner', 'admin', 'member', 'viewer']).meta({
  id: 'OrganizationRole',
  description: 'viewer sees, member uses units, admin manages people, owner everything.',
})
const id = z.string().min(1).max(40)

export const organization = z
  .object({
    id: z.string(),
    name: z.string(),
    customer_id: z.string().describe('Whose wallets the members share.'),
    created_at: timestamp,
    updated_at: timestamp,
    closed_at: timestamp.nullable(),
  })
  .meta({ id: 'Organization', description: 'Several users who share wallets.' })
export const organizationPage = pageOf(organization)
export const organizationPath = z.object({ id })
export const organizationQuery = pageQuery.extend({
  user_id: id.optional().describe('Of this user only; users see their own in any case.'),
})
export const newOrganization = z
  .strictObject({
    name: shortText,
    owner_user_id: id.optional().describe('For API keys; a user becomes the owner himself.'),
  })
  .meta({ id: 'NewOrganization' })
export const organizationFacts = z.strictObject({ name: shortText }).meta({ id: 'OrganizationFacts' })

const period = z.enum(['day', 'month', 'total'])
export const memberLimit = z
  .object({ unit: z.string(), period, amount: amountOrZero, used: amountOrZero })
  .meta({ id: 'MemberLimit', description: 'How much of a unit a member may use, by the calendar in UTC.' })
export const limitFacts = z.strictObject({ amount: amountOrZero, period }).meta({ id: 'MemberLimitFacts' })
export const limitPath = z.object({ id, member_id: id, unit: unitCode })

export const member = z
  .object({
    id: z.string(),
    user_id: z.string(),
    role: memberRole,
    limits: z.array(memberLimit),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'Member', description: 'A user’s part in an organization.' })
export const memberPage = pageOf(member)
export const memberPath = z.object({ id, member_id: id })
export const memberFacts = z.strictObject({ role: memberRole }).meta({ id: 'MemberFacts' })

const invitationFacts = {
  id: z.string(),
  organization_id: z.string(),
  role: memberRole,
  email: z.string().nullable(),
  invited_by: z.string(),
  created_at: timestamp,
  expires_at: timestamp,
  accepted_at: timestamp.nullable(),
  revoked_at: timestamp.nullable(),
}
export const invitation = z.object(invitationFacts).meta({ id: 'Invitation' })
export const invitationPage = pageOf(invitation)
export const invitationWithToken = z
  .object({ ...invitationFacts, token: z.string().nullable().describe('Shown once.') })
  .meta({ id: 'InvitationWithToken' })
export const invitationPath = z.object({ id, invitation_id: id })
export const newInvitation = z
  .strictObject({
    role: memberRole,
    email: storable(254)
      .nullable()
      .optional()
      .describe('For the reader; whoever holds the token may accept.'),
  })
  .meta({ id: 'NewInvitation' })
export const acceptance = z.strictObject({ token: z.string().min(1).max(100) }).meta({ id: 'Acceptance' })

export const sharedWallets = z.object({
  items: z.array(
    z
      .object({
        unit: z.string(),
        scale: amount,
        balance: amountOrZero,
        held: amountOrZero,
        available: amountOrZero,
      })
      .meta({ id: 'SharedWallet' }),
  ),
})
export const newSharedSpend = z
  .strictObject({
    unit: unitCode,
    amount,
    reason: storable(200).optional(),
    reference: storable(200).optional(),
    user_id: id.optional().describe('For API keys: the member who uses the units.'),
  })
  .meta({ id: 'NewSharedSpend' })
export const sharedSpend = z
  .object({ id: z.string(), unit: z.string(), amount, balance: amountOrZero, created_at: timestamp })
  .meta({ id: 'SharedSpend' })
