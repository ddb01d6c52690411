import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { amountOrZero, currency, pageOf, pageQuery, storable, timestamp, unitCode } from '#http/wire'
import type { Sql } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import { supportedLocale } from '#kernel/locale'
import { erasePerson, peopleFigures, saleFigures, unitFigures } from '#modules/admin'
import {
  changeUserAsStaff,
  createUserAsStaff,
  getUser,
  granterOf,
  listAudit,
  listUsers,
  type ManagedUser,
  type PeopleRouteKit,
  rolesOfUsers,
} from '#modules/identity'

const TAG = 'bot-generic'
const SEE = { key: 'admin', staff: 'users:read' } as const
const CHANGE = { key: 'admin', staff: 'users:write' } as const
const OWN_ONLY =
  'Nobody gives or takes a role that holds more than he does, nor changes who stands above him.'

const localeCode = z.string().regex(/^[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}$/)
const roleCode = z.string().regex(/^[a-z][a-z0-9_]{1,39}$/)
const path = z.object({ id: z.string().min(1).max(40) })

const managedUser = z
  .object({
    id: z.string(),
    customer_id: z.string().nullable(),
    email: z.string().nullable(),
    is_email_verified: z.boolean(),
    name: z.string().nullable(),
    locale: z.string(),
    role: z.string().nullable().describe('What he is among the staff; null for everybody else.'),
    status: z.enum(['active', 'disabled', 'deleted']),
    created_at: timestamp,
  })
  .meta({ id: 'BotGenericUser', description: 'A user as bot-generic’s administration shows him.' })

const newUser = z
  .strictObject({
    email: z.email().max(254),
    name: storable(200).optional(),
    locale: localeCode.optional(),
    role: roleCode.optional(),
  })
  .meta({ id: 'BotGenericNewUser' })

const userChange = z
  .strictObject({
    name: storable(200).nullable().optional(),
    locale: localeCode.nullable().optional(),
    is_disabled: z.boolean().optional(),
    role: roleCode.nullable().optional(),
  })
  .meta({ id: 'BotGenericUserChange' })

const stats = z
  .object({
    users: z.object({
      total: amountOrZero,
      disabled: amountOrZero,
      new_in_a_day: amountOrZero,
      new_in_a_month: amountOrZero,
      active_in_a_day: amountOrZero,
      active_in_a_month: amountOrZero,
      staff: amountOrZero,
      organizations: amountOrZero,
    }),
    sales: z.array(
      z.object({
        currency,
        payments: amountOrZero,
        revenue: amountOrZero,
        revenue_in_a_month: amountOrZero,
      }),
    ),
    units: z.array(z.object({ unit: unitCode, wallets: amountOrZero, outstanding: amountOrZero })),
  })
  .meta({ id: 'BotGenericStats', description: 'Money net of refunds, in minor units; months of 30 days.' })

const logRecord = z
  .object({
    id: z.string(),
    user_id: z.string().describe('Who acted: a user, a key, or the program.'),
    impersonator_id: z.string().nullable(),
    action: z.string(),
    subject_id: z.string().nullable(),
    before: z.unknown(),
    after: z.unknown(),
    reason: z.string().nullable(),
    ip: z.string().nullable(),
    request_id: z.string().nullable(),
    created_at: timestamp,
  })
  .meta({ id: 'BotGenericLogRecord', description: 'A row of the audit log.' })

/** bot-generic's `/admin/users`, `/admin/stats` and `/admin/logs`, for staff by what their role allows. */
export function botGenericAdminRoutes(app: FastifyInstance, kit: RouteKit, parts: PeopleRouteKit): void {
  readingRoutes(app, kit)
  writingRoutes(app, kit, parts)
  deletingRoute(app, kit, parts)
  reportRoutes(app, kit)
}

function readingRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { db, cursors } = kit
  addRoute(app, kit, {
    method: 'GET',
    url: '/admin/users',
    who: SEE,
    tag: TAG,
    summary: 'List users, newest first, or those whose address or name begins so',
    query: pageQuery.extend({ search: storable(254).optional() }),
    answer: pageOf(managedUser),
    read: async ({ query: { search, ...query } }) => {
      const page = await listUsers(db, cursors, { beginning: search }, query)
      const roles = await rolesOfUsers(
        db,
        page.items.map((user) => user.id),
      )
      return { ...page, items: page.items.map((user) => wire({ ...user, role: roles.get(user.id) ?? null })) }
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/admin/users/:id',
    who: SEE,
    tag: TAG,
    summary: 'Get a user',
    params: path,
    answer: managedUser,
    read: ({ params: { id } }) => getManaged(db, id).then(wire),
  })
}

function writingRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/admin/users',
    who: CHANGE,
    tag: TAG,
    status: 201,
    summary: 'Make a user, who gets a mail to choose his password',
    description: `The link works for a quarter of an hour; later he asks for another. ${OWN_ONLY}`,
    body: newUser,
    answer: managedUser,
    errors: { 403: ['missing_scope'], 409: ['already_exists'] },
    audit: { action: 'user.created', after: picture },
    write: async (tx, { actor, body }) => wire(await createUserAsStaff(tx, people, granterOf(actor), body)),
  })
  addRoute(app, kit, {
    method: 'PUT',
    url: '/admin/users/:id',
    who: CHANGE,
    tag: TAG,
    summary: 'Change a user: name, language, role, whether he may sign in',
    description: `An absent fact stays, null takes it away. His address only he changes. ${OWN_ONLY}`,
    params: path,
    body: userChange,
    answer: managedUser,
    errors: { 403: ['missing_scope'], 409: ['invalid_state'] },
    audit: {
      action: 'user.changed',
      before: (tx, { params: { id } }) => getManaged(tx, id).then(wire).then(picture),
      after: picture,
    },
    write: async (tx, { actor, params: { id }, body }) =>
      wire(await changeUserAsStaff(tx, people, granterOf(actor), { user_id: id, ...body })),
  })
}

function deletingRoute(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  addRoute(app, kit, {
    method: 'DELETE',
    url: '/admin/users/:id',
    who: { key: 'admin', staff: 'personal_data:erase' },
    tag: TAG,
    summary: 'Forget a user for good',
    description:
      'Ids, amounts and moments stay, so that the books stay whole. To close one, PUT is_disabled.',
    params: path,
    answer: z.object({ id: z.string(), status: z.literal('deleted') }),
    errors: { 403: ['missing_scope'], 409: ['invalid_state'] },
    audit: { action: 'personal_data.erased' },
    write: async (tx, { actor, params: { id } }) => {
      const { customer_id } = await getManaged(tx, id)
      await erasePerson(tx, people, granterOf(actor), customer_id ?? '')
      return { id, status: 'deleted' as const }
    },
  })
}

function reportRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { db, clock, cursors } = kit
  addRoute(app, kit, {
    method: 'GET',
    url: '/admin/stats',
    who: { key: 'admin', staff: 'reports:read' },
    tag: TAG,
    summary: 'How many people there are, what was sold, what they still have',
    answer: stats,
    read: async () => {
      const now = clock.now()
      const [users, sales, units] = await Promise.all([
        peopleFigures(db, now),
        saleFigures(db, now),
        unitFigures(db),
      ])
      return { users, sales, units }
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/admin/logs',
    who: { key: 'admin', staff: 'audit:read' },
    tag: TAG,
    summary: 'Read who did what, newest first',
    query: pageQuery.extend({
      user_id: storable(100).optional(),
      action: storable(100).optional(),
      subject_id: storable(220).optional(),
    }),
    answer: pageOf(logRecord),
    read: async ({ query: { limit, cursor, user_id, ...filter } }) => {
      const page = await listAudit(db, cursors, { ...filter, actor_id: user_id }, { limit, cursor })
      return {
        ...page,
        items: page.items.map(({ sequence, actor_id, address, actor_kind: _kind, ...rest }) => ({
          ...rest,
          id: String(sequence),
          user_id: actor_id,
          ip: address,
        })),
      }
    },
  })
}

/**
 * A user with his role. Somebody merged into another user is not there any more: to forget him would forget
 * the other one. Throws NotFound.
 */
async function getManaged(sql: Sql, id: string): Promise<ManagedUser> {
  const user = await getUser(sql, id)
  if (user.merged_into !== null) throw new NotFound(`There is no user ${id}.`)
  return { ...user, role: (await rolesOfUsers(sql, [id])).get(id) ?? null }
}

/** Of people the log says what they may do, not who they are. */
function picture({ role, status }: { role: string | null; status: string }): object {
  return { role, status }
}

function wire(user: ManagedUser): z.output<typeof managedUser> {
  const { id, customer_id, email, email_verified_at, name, locale, role, created_at } = user
  const is_open = user.is_disabled ? 'disabled' : 'active'
  return {
    id,
    customer_id,
    email,
    is_email_verified: email_verified_at !== null,
    name,
    locale: supportedLocale(locale ?? ''),
    role,
    status: user.erased_at === null ? is_open : 'deleted',
    created_at,
  }
}
