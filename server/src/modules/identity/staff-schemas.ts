import { z } from 'zod'
import { pageOf, pageQuery, shortText, storable, timestamp } from '#http/wire'
import { PERMISSIONS, type Permission } from './staff-permissions.ts'

const words = Object.keys(PERMISSIONS) as [Permission, ...Permission[]]
const permission = z
  .enum(words)
  .meta({ id: 'Permission', description: 'What a member of staff may be allowed.' })
const roleCode = z.string().regex(/^[a-z][a-z0-9_]{1,39}$/)

/** Everything that can be allowed. */
export const permissionList = z.object({ items: z.array(z.object({ permission, description: z.string() })) })

export const role = z
  .object({
    code: z.string(),
    name: z.string(),
    permissions: z.array(z.string()),
    is_built_in: z.boolean(),
    created_at: timestamp,
  })
  .meta({ id: 'Role', description: 'A set of permissions with a name.' })
export const rolePage = pageOf(role)

const permissions = z.array(permission).max(words.length)
export const newRole = z
  .strictObject({ code: roleCode, name: shortText, permissions })
  .meta({ id: 'NewRole' })
export const roleFacts = z.strictObject({ name: shortText, permissions }).meta({ id: 'RoleFacts' })
export const rolePath = z.object({ code: z.string().min(1).max(40) })

export const staffMember = z
  .object({
    user_id: z.string(),
    role: z.string(),
    name: z.string().nullable(),
    email: z.string().nullable(),
    appointed_by: z.string(),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'StaffMember', description: 'A user who does something for the owner.' })
export const staffPage = pageOf(staffMember)
export const staffPath = z.object({ user_id: z.string().min(1).max(40) })
export const appointment = z.strictObject({ role: roleCode }).meta({ id: 'Appointment' })

const sequence = z.codec(z.int().min(1), z.bigint(), { decode: BigInt, encode: Number })
export const auditRecord = z
  .object({
    sequence,
    actor_id: z.string(),
    actor_kind: z.enum(['key', 'user', 'anonymous', 'program']),
    impersonator_id: z
      .string()
      .nullable()
      .describe('The member of staff who did it through the actor’s eyes.'),
    action: z.string(),
    subject_id: z.string().nullable(),
    before: z.unknown(),
    after: z.unknown(),
    reason: z.string().nullable(),
    address: z.string().nullable(),
    request_id: z.string().nullable(),
    created_at: timestamp,
  })
  .meta({ id: 'AuditRecord', description: 'Who did what to what, from where.' })
export const auditPage = pageOf(auditRecord)
export const auditQuery = pageQuery.extend({
  actor_id: storable(100).optional(),
  action: storable(100).optional(),
  subject_id: storable(220).optional(),
})
