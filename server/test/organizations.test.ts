import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { LightMyRequestResponse } from 'fastify'
import { type Caller, type PeopleLab, startPeopleLab } from './people-lab.ts'
import { startWorld, type World } from './world.ts'

let world: World
let lab: PeopleLab

beforeAll(async () => {
  world = await startWorld()
  lab = await startPeopleLab(world)
})
afterAll(async () => {
  await lab?.close()
  await world?.close()
})

const outcome = (answer: LightMyRequestResponse) => [answer.statusCode, answer.json<{ code?: string }>().code]
const KEY: Caller = { scopes: ['*'] }
type Role = 'owner' | 'admin' | 'member' | 'viewer'

interface Crew {
  id: string
  customer_id: string
  user: Record<Role, `usr_${string}`>
  place: Record<Role, string>
}

/** An organization with one member of every role. */
async function crew(): Promise<Crew> {
  const user = {} as Crew['user']
  const place = {} as Crew['place']
  for (const role of ['owner', 'admin', 'member', 'viewer'] as const) {
    user[role] = (await lab.user()) as `usr_${string}`
  }
  const made = await lab.call(user.owner, 'POST', '/v1/organizations', { name: 'Crew' })
  const { id, customer_id } = made.json<{ id: string; customer_id: string }>()
  for (const role of ['admin', 'member', 'viewer'] as const) {
    const joined = await join(id, user.owner, user[role], role)
    expect(joined.statusCode).toBe(201)
  }
  const { items } = (await lab.call(user.viewer, 'GET', `/v1/organizations/${id}/members`)).json<{
    items: { id: string; role: Role }[]
  }>()
  for (const member of items) place[member.role] = member.id
  return { id, customer_id, user, place }
}

async function invite(id: string, as: Caller, role: Role): Promise<string> {
  const made = await lab.call(as, 'POST', `/v1/organizations/${id}/invitations`, { role })
  return made.json<{ token: string }>().token
}
async function join(id: string, as: Caller, user: Caller, role: Role): Promise<LightMyRequestResponse> {
  return lab.call(user, 'POST', '/v1/invitations/accept', { token: await invite(id, as, role) })
}
const grant = async (customer_id: string, amount: number): Promise<void> => {
  const body = { unit: 'minute', amount, reason: 'test' }
  const { status, text } = await world.call('POST', `/v1/customers/${customer_id}/grants`, body)
  if (status !== 201) throw new Error(text)
}
const spend = (as: Caller, id: string, amount: number, key?: string, more: object = {}) =>
  lab.call(as, 'POST', `/v1/organizations/${id}/spends`, { unit: 'minute', amount, ...more }, key)

describe('an organization', () => {
  test('is the owner’s who made it, with wallets of its own', async () => {
    const { id, user, customer_id } = await crew()
    const mine = await lab.call(user.member, 'GET', '/v1/organizations')
    expect(mine.json<{ items: { id: string }[] }>().items.map((one) => one.id)).toEqual([id])
    await grant(customer_id, 50)
    const wallets = await lab.call(user.viewer, 'GET', `/v1/organizations/${id}/wallets`)
    expect(wallets.json()).toMatchObject({ items: [{ unit: 'minute', balance: 50, available: 50 }] })
  })

  test('is nothing to strangers: 404 on every route, as for one that does not exist', async () => {
    const { id, place } = await crew()
    const stranger = (await lab.user()) as `usr_${string}`
    for (const organization of [id, 'org_00000000000000000000000000']) {
      for (const [method, path, body] of ROUTES(place.member)) {
        const answer = await lab.call(stranger, method, `/v1/organizations/${organization}${path}`, body)
        expect([method, path, answer.statusCode]).toEqual([method, path, 404])
      }
    }
  })

  test('lets each role do what it is for', async () => {
    const { id, user, place } = await crew()
    for (const [method, path, body, role] of ROUTES(place.viewer)) {
      for (const [caller, rank] of [
        ['viewer', 0],
        ['member', 1],
        ['admin', 2],
      ] as const) {
        if (rank >= RANK[role]) continue
        const answer = await lab.call(user[caller], method, `/v1/organizations/${id}${path}`, body)
        expect([caller, method, path, answer.statusCode]).toEqual([caller, method, path, 403])
      }
    }
  })

  test('lets staff see it and change it by permission, and keys by scope', async () => {
    const { id } = await crew()
    const support = (await lab.user('support')) as `usr_${string}`
    const admin = (await lab.user('admin')) as `usr_${string}`
    expect((await lab.call(support, 'GET', `/v1/organizations/${id}`)).statusCode).toBe(200)
    expect((await lab.call(support, 'PATCH', `/v1/organizations/${id}`, { name: 'x' })).statusCode).toBe(404)
    expect((await lab.call(admin, 'PATCH', `/v1/organizations/${id}`, { name: 'x' })).statusCode).toBe(200)
    const reader: Caller = { scopes: ['customers:read'] }
    expect((await lab.call(reader, 'GET', `/v1/organizations/${id}`)).statusCode).toBe(200)
    expect((await lab.call(reader, 'PATCH', `/v1/organizations/${id}`, { name: 'x' })).statusCode).toBe(403)
  })

  test('that is closed spends nothing and changes nothing', async () => {
    const { id, user, customer_id, place } = await crew()
    await grant(customer_id, 5)
    expect((await lab.call(user.owner, 'POST', `/v1/organizations/${id}/close`)).statusCode).toBe(200)
    expect(outcome(await spend(user.member, id, 1))).toEqual([409, 'invalid_state'])
    const change = await lab.call(user.owner, 'PATCH', `/v1/organizations/${id}/members/${place.member}`, {
      role: 'viewer',
    })
    expect(outcome(change)).toEqual([409, 'invalid_state'])
  })
})

const RANK = { viewer: 0, member: 1, admin: 2, owner: 3 }
/** Every route of one organization with the least role that may use it. */
const ROUTES = (member_id: string) =>
  [
    ['GET', '', undefined, 'viewer'],
    ['GET', '/members', undefined, 'viewer'],
    ['GET', '/wallets', undefined, 'viewer'],
    ['POST', '/spends', { unit: 'minute', amount: 1 }, 'member'],
    ['PATCH', '', { name: 'Other' }, 'admin'],
    ['PATCH', `/members/${member_id}`, { role: 'member' }, 'admin'],
    ['PUT', `/members/${member_id}/limits/minute`, { amount: 1, period: 'day' }, 'admin'],
    ['DELETE', `/members/${member_id}/limits/minute`, undefined, 'admin'],
    ['GET', '/invitations', undefined, 'admin'],
    ['POST', '/invitations', { role: 'viewer' }, 'admin'],
    ['DELETE', '/invitations/inv_0', undefined, 'admin'],
    ['POST', '/close', undefined, 'owner'],
  ] as const

describe('nobody rises above himself', () => {
  test('an admin neither makes owners nor touches one', async () => {
    const { id, user, place } = await crew()
    const change = (as: Caller, member_id: string, role: Role) =>
      lab.call(as, 'PATCH', `/v1/organizations/${id}/members/${member_id}`, { role })
    expect(outcome(await change(user.admin, place.admin, 'owner'))).toEqual([403, 'missing_scope'])
    expect(outcome(await change(user.admin, place.owner, 'viewer'))).toEqual([403, 'missing_scope'])
    const removed = await lab.call(user.admin, 'DELETE', `/v1/organizations/${id}/members/${place.owner}`)
    expect(outcome(removed)).toEqual([403, 'missing_scope'])
    const invited = await lab.call(user.admin, 'POST', `/v1/organizations/${id}/invitations`, {
      role: 'owner',
    })
    expect(outcome(invited)).toEqual([403, 'missing_scope'])
    expect((await change(user.admin, place.viewer, 'member')).statusCode).toBe(200)
  })

  test('a user cannot make an organization for another', async () => {
    const other = await lab.user()
    const user = (await lab.user()) as `usr_${string}`
    const body = { name: 'x', owner_user_id: other }
    expect(outcome(await lab.call(user, 'POST', '/v1/organizations', body))).toEqual([400, 'invalid_request'])
    expect((await lab.call(KEY, 'POST', '/v1/organizations', body)).statusCode).toBe(201)
    const unknown = { name: 'x', owner_user_id: 'usr_nobody' }
    expect(outcome(await lab.call(KEY, 'POST', '/v1/organizations', unknown))).toEqual([404, 'not_found'])
  })

  test('the last owner neither leaves nor is lowered, and of two who go at once one stays', async () => {
    const { id, user, place } = await crew()
    const path = (member_id: string) => `/v1/organizations/${id}/members/${member_id}`
    expect(outcome(await lab.call(user.owner, 'DELETE', path(place.owner)))).toEqual([409, 'invalid_state'])
    for (let round = 0; round < 5; round++) {
      await lab.call(KEY, 'PATCH', path(place.admin), { role: 'owner' })
      await lab.call(KEY, 'PATCH', path(place.owner), { role: 'owner' })
      const answers = await Promise.all([
        lab.call(user.owner, 'PATCH', path(place.owner), { role: 'viewer' }),
        lab.call(user.admin, 'PATCH', path(place.admin), { role: 'viewer' }),
      ])
      expect(answers.map((answer) => answer.statusCode).toSorted()).toEqual([200, 409])
    }
  })
})

describe('an invitation', () => {
  test('works once of twenty at once, and is kept as a digest only', async () => {
    const { id, user } = await crew()
    const token = await invite(id, user.owner, 'member')
    const crowd = await Promise.all(Array.from({ length: 20 }, () => lab.user()))
    const answers = await Promise.all(
      crowd.map((one) => lab.call(one as Caller, 'POST', '/v1/invitations/accept', { token })),
    )
    expect(answers.map((answer) => answer.statusCode).toSorted()).toEqual([201, ...Array(19).fill(404)])
    const { rows } = await world.app.db.pool.query<{ text: string }>(
      `select (select string_agg(i::text, '') from customers.invitations i)
         || (select string_agg(k::text, '') from kernel.idempotency_keys k) as text`,
    )
    expect(rows[0]?.text).not.toContain(token)
  })

  test('ends with whoever sent it, when taken back, and is for no key and no stranger’s eyes', async () => {
    const { id, user, place } = await crew()
    const of_admin = await invite(id, user.admin, 'member')
    await lab.call(user.owner, 'DELETE', `/v1/organizations/${id}/members/${place.admin}`)
    const someone = (await lab.user()) as Caller
    const accept = (token: string, as: Caller = someone) =>
      lab.call(as, 'POST', '/v1/invitations/accept', { token })
    expect(outcome(await accept(of_admin))).toEqual([404, 'invitation_invalid'])
    const made = await lab.call(user.owner, 'POST', `/v1/organizations/${id}/invitations`, { role: 'viewer' })
    const { id: invitation_id, token } = made.json<{ id: string; token: string }>()
    expect(outcome(await accept(token, KEY))).toEqual([403, 'missing_scope'])
    await lab.call(user.owner, 'DELETE', `/v1/organizations/${id}/invitations/${invitation_id}`)
    expect(outcome(await accept(token))).toEqual([404, 'invitation_invalid'])
    expect(outcome(await accept('invite_made_up'))).toEqual([404, 'invitation_invalid'])
  })
})

describe('shared units', () => {
  test('are used by members, once per key, all or nothing', async () => {
    const { id, user, customer_id } = await crew()
    await grant(customer_id, 10)
    const first = await spend(user.member, id, 4, 'one')
    expect(first.json()).toMatchObject({ amount: 4, balance: 6 })
    const again = await spend(user.member, id, 4, 'one')
    expect([again.body, again.headers['idempotent-replayed']]).toEqual([first.body, 'true'])
    expect(outcome(await spend(user.member, id, 7))).toEqual([402, 'insufficient_funds'])
    expect((await spend(KEY, id, 1, undefined, { user_id: user.member })).statusCode).toBe(201)
    expect(outcome(await spend(KEY, id, 1))).toEqual([400, 'invalid_request'])
    expect(outcome(await spend(KEY, id, 1, undefined, { user_id: user.viewer }))).toEqual([404, 'not_found'])
  })

  test('are limited per member, exactly, with fifty requests at once', async () => {
    const { id, user, place, customer_id } = await crew()
    await grant(customer_id, 1000)
    const path = `/v1/organizations/${id}/members/${place.member}/limits/minute`
    await lab.call(user.admin, 'PUT', path, { amount: 20, period: 'day' })
    const answers = await Promise.all(Array.from({ length: 50 }, () => spend(user.member, id, 1)))
    const count = (status: number) => answers.filter((answer) => answer.statusCode === status).length
    expect([count(201), count(403)]).toEqual([20, 30])
    const refused = answers.find((answer) => answer.statusCode === 403)
    expect(refused?.json()).toMatchObject({
      code: 'member_limit_reached',
      limit: 20,
      used: 20,
      period: 'day',
    })
    expect((await spend(user.admin, id, 21)).statusCode).toBe(201)
    const wallets = await lab.call(user.viewer, 'GET', `/v1/organizations/${id}/wallets`)
    expect(wallets.json()).toMatchObject({ items: [{ balance: 1000 - 20 - 21 }] })
    await lab.call(user.admin, 'DELETE', path)
    expect((await spend(user.member, id, 1)).statusCode).toBe(201)
  })

  test('refused by the wallet are not counted against the limit', async () => {
    const { id, user, place, customer_id } = await crew()
    await grant(customer_id, 3)
    await lab.call(user.admin, 'PUT', `/v1/organizations/${id}/members/${place.member}/limits/minute`, {
      amount: 10,
      period: 'total',
    })
    expect(outcome(await spend(user.member, id, 5))).toEqual([402, 'insufficient_funds'])
    const { items } = (await lab.call(user.viewer, 'GET', `/v1/organizations/${id}/members`)).json<{
      items: { id: string; limits: { used: number }[] }[]
    }>()
    expect(items.find((member) => member.id === place.member)?.limits).toMatchObject([{ used: 0 }])
  })
})

test('the books verify, and nothing of all this was a mistake of ours', async () => {
  expect(lab.failures).toEqual([])
  const { body } = await world.call<{ ok: boolean; findings: unknown[] }>('GET', '/v1/verification')
  expect(body.findings).toEqual([])
})
