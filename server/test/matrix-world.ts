import type { LightMyRequestResponse } from 'fastify'
import { BUILT_IN_ROLES } from '../src/modules/identity/index.ts'
import { type Caller, type PeopleLab, startPeopleLab } from './people-lab.ts'
import { nameOf, type Route, type RouteTable, watchRoutes } from './route-table.ts'
import { startWorld, type World } from './world.ts'

type UserId = `usr_${string}`
/** Ids of things that exist, by the path they are read at. */
type Existing = Readonly<Record<string, Readonly<Record<string, string | undefined>>>>

/** Every route, one thing of every kind, and everybody who may or may not reach it. */
export interface Matrix {
  world: World
  lab: PeopleLab
  table: RouteTable
  /**
   * `user` owns what exists, `other` owns nothing of it; `org_…` have a role in his organization; the rest
   * are staff by the names of their roles.
   */
  people: Record<string, UserId>
  /** The path of something that exists; undefined when this matrix has none. */
  existingPath(url: string): string | undefined
  call(route: Route, as: Caller, path: string): Promise<LightMyRequestResponse>
  close(): Promise<void>
}

export async function startMatrix(): Promise<Matrix> {
  const world = await startWorld()
  let table: RouteTable = { routes: [], undeclared: [] }
  const lab = await startPeopleLab(world, (http) => {
    table = watchRoutes(http)
  })
  const people: Record<string, UserId> = {}
  for (const role of ['user', 'other', 'org_admin', 'org_member', 'org_viewer']) {
    people[role] = (await lab.user()) as UserId
  }
  for (const role of Object.keys(BUILT_IN_ROLES)) people[role] = (await lab.user(role)) as UserId
  const existing = await furnish(world, lab, people)
  return {
    world,
    lab,
    table,
    people,
    existingPath: (url) => pathOf(existing, url),
    call: (route, as, path) => {
      const takes_none = route.method === 'GET' || route.method === 'DELETE'
      return lab.call(as, route.method, path, takes_none ? undefined : (BODIES[nameOf(route)] ?? {}))
    },
    close: async () => {
      await lab.close()
      await world.close()
    },
  }
}

const AT_ONCE = 8

/**
 * Does the same with everything, a few at once: what is judged call by call needs no order, and waits for the
 * database less. Throws the first that was thrown, after all have ended.
 */
export async function withEach<T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  const waiting = items[Symbol.iterator]()
  const workers = Array.from({ length: AT_ONCE }, async () => {
    for (let next = waiting.next(); !next.done; next = waiting.next()) await work(next.value)
  })
  for (const ended of await Promise.allSettled(workers)) if (ended.status === 'rejected') throw ended.reason
}

/** Bodies with which a request is well-formed, where an empty one is not. */
export const BODIES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'PATCH /v1/roles/:code': { name: 'x', permissions: [] },
  'PUT /v1/staff/:user_id': { role: 'support' },
  'POST /v1/users/:id/impersonations': { reason: 'x' },
  'PATCH /v1/customers/:id': { name: 'x' },
  'POST /v1/customers/:id/grants': { unit: 'minute', amount: 1, reason: 'x' },
  'POST /v1/customers/:id/adjustments': { unit: 'minute', amount: 1, reason: 'x' },
  'POST /v1/customers/:id/merge': { into_customer_id: 'cus_absent' },
  'POST /v1/customers/:id/erase': { reason: 'x' },
  'POST /v1/spends/:id/reversal': { reason: 'x' },
  'PATCH /v1/organizations/:id': { name: 'x' },
  'PATCH /v1/organizations/:id/members/:member_id': { role: 'viewer' },
  'PUT /v1/organizations/:id/members/:member_id/limits/:unit': { amount: 1, period: 'day' },
  'POST /v1/organizations/:id/invitations': { role: 'viewer' },
  'POST /v1/organizations/:id/spends': { unit: 'minute', amount: 1 },
  'PATCH /v1/units/:code': { name: 'x' },
  'PATCH /v1/products/:id': { name: 'x' },
  'PATCH /v1/prices/:id': { is_active: false },
  'POST /v1/payments/:id/refunds': { reason: 'x' },
  'POST /v1/refunds/:id/outcome': { status: 'failed' },
  'POST /v1/reconciliations/:id/differences/:difference_id/resolve': { note: 'x' },
  'POST /v1/receipts/:id/record': { fiscal_document: '1', fiscal_storage: '1', fiscal_attribute: '1' },
  'PUT /api/v1/admin/tariffs/:tariff_id': { name: 'x' },
  'PATCH /v1/webhook_endpoints/:id': { description: 'x' },
  'POST /api/usage/record/': { seconds: 1 },
  'POST /v1/me/identities/oauth/:provider/finish': { state: 'x', code: 'x', flow_token: 'x' },
}

/** One thing of every kind that can be read by its id. */
async function furnish(world: World, lab: PeopleLab, people: Matrix['people']): Promise<Existing> {
  const made = async (method: string, url: string, body: unknown): Promise<string> => {
    const answer = await world.call<{ id: string }>(method, url, body)
    if (answer.status >= 300) throw new Error(`${method} ${url}: ${answer.text}`)
    return answer.body.id
  }
  const customer = await world.customer()
  const units = { unit: 'minute', amount: 1 }
  const reason = 'for the matrix'
  await made('POST', `/v1/customers/${customer}/grants`, { ...units, amount: 100, reason })
  const products = await world.call<{ items: { id: string; key: string }[] }>('GET', '/v1/products')
  const prices = await world.call<{ items: { id: string }[] }>('GET', '/v1/prices')
  const { id: order, payment } = await paidOrder(world, customer, products.body.items[0]?.key ?? '')
  const url = 'https://shop.example/hook'
  const endpoint = await made('POST', '/v1/webhook_endpoints', { url, event_types: ['*'] })
  const asked = { customer_id: customer, ...units, reason }
  return {
    '/v1/api_keys/:id': { id: await made('POST', '/v1/api_keys', { name: 'm', scopes: ['orders:read'] }) },
    '/v1/roles/:code': { code: 'support' },
    '/v1/staff/:user_id': { user_id: people['owner'] },
    '/admin/users/:id': { id: people['user'] },
    '/v1/users/:id': { id: people['user'] },
    '/v1/meters/:code': { code: 'speech' },
    '/v1/approval_limits/:kind/:measure': { kind: 'adjustment', measure: 'minute' },
    '/v1/customers/:id': { id: customer, unit: 'minute', method_id: await keptMethod(world, customer) },
    '/v1/organizations/:id': await organization(lab, people),
    ...(await ownThings(world, people['user'] ?? '')),
    '/v1/units/:code': { code: 'minute' },
    '/v1/spends/:id': { id: await made('POST', '/v1/spends', { customer_id: customer, ...units }) },
    '/v1/holds/:id': { id: await made('POST', '/v1/holds', { customer_id: customer, ...units }) },
    '/v1/products/:id': { id: products.body.items[0]?.id },
    '/v1/prices/:id': { id: prices.body.items[0]?.id },
    '/v1/payments/:id': { id: payment.id },
    '/v1/orders/:id': { id: order },
    '/v1/refunds/:id': { id: await made('POST', `/v1/payments/${payment.id}/refunds`, { reason }) },
    '/v1/approvals/:id': { id: await made('POST', '/v1/approvals/adjustments', asked) },
    '/v1/webhook_endpoints/:id': { id: endpoint },
    '/v1/webhook_deliveries/:id': { id: await made('POST', `/v1/webhook_endpoints/${endpoint}/test`, {}) },
  }
}

async function keptMethod(world: World, customer_id: string): Promise<string> {
  const id = 'pm_of_the_matrix'
  await world.app.db.pool.query(
    `insert into payments.saved_methods (id, customer_id, gateway, external_id, title, kind, is_test,
       consented_at, created_at)
     values ($1, $2, 'sandbox', 'token of the matrix', 'card', 'card', true, now(), now())`,
    [id, customer_id],
  )
  return id
}

/** What is the user's own and found by an id of its own. */
async function ownThings(world: World, user_id: string): Promise<Existing> {
  const { pool } = world.app.db
  const { rows } = await pool.query<{ customer_id: string }>(
    'select customer_id from identity.users where id = $1',
    [user_id],
  )
  const tariff = { name: '10 checks', checks_count: 10, price_rub: 199 }
  const { body } = await world.call<{ id: string }>('POST', '/api/v1/admin/tariffs', tariff)
  const product = await world.call<{ key: string }>('GET', `/v1/products/${body.id}`)
  const { payment } = await paidOrder(world, rows[0]?.customer_id ?? '', product.body.key)
  await pool.query(
    `insert into identity.sessions (id, user_id, mode, network, methods, created_at, last_used_at,
       expires_at)
     values ('ses_of_the_matrix', $1, 'bearer', '192.0.2.1', '{password}', now(), now(),
       now() + interval '1 day')`,
    [user_id],
  )
  for (const [id, provider] of [
    ['idn_of_the_matrix', 'google'],
    ['idn_that_stays', 'vk'],
  ]) {
    await pool.query(
      `insert into identity.identities (id, user_id, provider, subject, created_at, last_used_at)
       values ($1, $2, $3, $1, now(), now())`,
      [id, user_id, provider],
    )
  }
  return {
    '/v1/me/sessions/:id': { id: 'ses_of_the_matrix' },
    '/v1/me/identities/:id': { id: 'idn_of_the_matrix' },
    '/api/v1/payments/:payment_id': { payment_id: payment.id },
    '/api/v1/admin/tariffs/:tariff_id': { tariff_id: body.id },
  }
}

async function paidOrder(world: World, customer_id: string, product_key: string) {
  const order = await world.order({ customer_id, product_key })
  world.yookassa.control.complete(order.payment.external_id, { outcome: 'succeeded' })
  await world.eventually('the order of the matrix is paid', async () => {
    const { body } = await world.call<{ status: string }>('GET', `/v1/payments/${order.payment.id}`)
    return body.status === 'succeeded'
  })
  return order
}

/** The user's organization, with somebody of every role in it. */
async function organization(lab: PeopleLab, people: Matrix['people']): Promise<Record<string, string>> {
  const owner = people['user'] as Caller
  const { id } = (await lab.call(owner, 'POST', '/v1/organizations', { name: 'Matrix' })).json<{
    id: string
  }>()
  for (const role of ['admin', 'member', 'viewer']) {
    const invited = await lab.call(owner, 'POST', `/v1/organizations/${id}/invitations`, { role })
    const { token } = invited.json<{ token: string }>()
    await lab.call(people[`org_${role}`] as Caller, 'POST', '/v1/invitations/accept', { token })
  }
  const open = await lab.call(owner, 'POST', `/v1/organizations/${id}/invitations`, { role: 'viewer' })
  const members = await lab.call(owner, 'GET', `/v1/organizations/${id}/members`)
  const viewer = members
    .json<{ items: { id: string; role: string }[] }>()
    .items.find((member) => member.role === 'viewer')
  return {
    id,
    unit: 'minute',
    member_id: viewer?.id ?? '',
    invitation_id: open.json<{ id: string }>().id,
  }
}

function pathOf(existing: Existing, url: string): string | undefined {
  const known = Object.keys(existing).find((path) => url === path || url.startsWith(`${path}/`))
  const values = known === undefined ? undefined : existing[known]
  let is_known = true
  const path = url.replaceAll(/:(\w+)/g, (_whole, name: string) => {
    const value = values?.[name]
    if (value === undefined) is_known = false
    return value ?? ''
  })
  return is_known ? path : undefined
}

/** Everything a JSON answer has a name for, as `items[].id`. */
export function memberPaths(value: unknown, at = ''): string[] {
  if (Array.isArray(value)) return [...new Set(value.flatMap((item) => memberPaths(item, `${at}[]`)))]
  if (typeof value !== 'object' || value === null) return [at]
  return Object.entries(value).flatMap(([name, inner]) =>
    memberPaths(inner, at === '' ? name : `${at}.${name}`),
  )
}
