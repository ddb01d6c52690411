import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startPeopleLab, type Caller, type PeopleLab } from '../people-lab.ts'
import { everyGateway, startPeerWorld, type PeerWorld } from '../peer-world.ts'
import { startPeopleWorld, type PeopleWorld, type Tokens } from '../people-world.ts'

/** What befell other projects through people and their requests; see docs/security/peer-failures.md. */

let world: PeerWorld
let lab: PeopleLab
beforeAll(async () => {
  world = await startPeerWorld({ robokassa: everyGateway()['robokassa'] ?? {} })
  lab = await startPeopleLab(world)
})
afterAll(async () => {
  await lab?.close()
  await world?.close()
})

describe('B19: somebody else’s object, one’s own price, a stronger key, no owner left', () => {
  it('B19: a person reads nothing of another’s, and cannot tell it from what is not there', async () => {
    const stranger = (await lab.user()) as Caller
    const facts = { name: 'Ten checks', checks_count: 10, price_rub: 199 }
    const { body: tariff } = await world.call<{ id: string }>('POST', '/api/v1/admin/tariffs', facts)
    const purchase = { tariff_id: tariff.id, user_id: 990_001, email: 'buyer@example.com' }
    const url = '/api/v1/payments/create'
    const { body: made } = await world.call<{ payment_id: string }>('POST', url, purchase)
    const read = `/api/v1/payments/${made.payment_id}`
    expect((await world.call('GET', `${read}?user_id=990001`)).status).toBe(200)
    for (const path of [read, `${read}/status`, '/api/v1/payments/pay_absent']) {
      const answer = await lab.call(stranger, 'GET', path)
      expect([path, answer.statusCode, answer.json<{ code: string }>().code]).toEqual([
        path,
        404,
        'not_found',
      ])
    }
    const { order } = await world.bought()
    for (const path of [`/v1/payments/${order.payment.id}`, `/v1/orders/${order.id}`, '/v1/payments']) {
      expect((await lab.call(stranger, 'GET', path)).statusCode).toBe(403)
    }
  })

  it('B19: the price is ours: a request that brings its own is refused', async () => {
    const customer_id = await world.customer()
    const price_id = await world.price('minutes_300')
    const order = {
      customer_id,
      gateway: 'yookassa',
      lines: [{ price_id, quantity: 1 }],
      return_url: 'https://shop.example/back',
      receipt_contact: { email: 'buyer@example.com' },
    }
    for (const wrong of [
      { ...order, total: 1 },
      { ...order, amount: 1 },
      { ...order, lines: [{ price_id, quantity: 1, unit_amount: 1 }] },
      { ...order, lines: [{ price_id, quantity: 0 }] },
      { ...order, lines: [{ price_id, quantity: -1 }] },
      { ...order, lines: [{ price_id, quantity: 0.01 }] },
    ]) {
      expect((await world.call('POST', '/v1/orders', wrong)).status).toBe(400)
    }
    expect((await world.call('POST', '/v1/orders', order)).body).toMatchObject({ total: 120_000 })
  })

  it('B19: nobody makes a key, a role or a colleague stronger than he is', async () => {
    const developer = (await lab.user('developer')) as Caller
    const admin = (await lab.user('admin')) as Caller
    const somebody = await lab.user()
    for (const scope of ['*', 'admin', 'refunds:write']) {
      const answer = await lab.call(developer, 'POST', '/v1/api_keys', { name: 'k', scopes: [scope] })
      expect([scope, answer.statusCode]).toEqual([scope, 403])
    }
    const weak: Caller = { scopes: ['admin', 'orders:read'] }
    expect((await lab.call(weak, 'POST', '/v1/api_keys', { name: 'k', scopes: ['*'] })).statusCode).toBe(403)
    const promoted = await lab.call(admin, 'PUT', `/v1/staff/${somebody}`, { role: 'owner' })
    expect(promoted.statusCode).toBe(403)
    expect((await lab.call(developer, 'PUT', `/v1/staff/${somebody}`, { role: 'support' })).statusCode).toBe(
      403,
    )
  })

  it('B19: two owners who dismiss each other at once leave one', async () => {
    const owners = [await lab.user('owner'), await lab.user('owner')] as const
    const [first, second] = owners
    await Promise.all([
      lab.call(first as Caller, 'DELETE', `/v1/staff/${second}`),
      lab.call(second as Caller, 'DELETE', `/v1/staff/${first}`),
    ])
    const { rows } = await world.app.db.pool.query(
      "select 1 from identity.staff where role = 'owner' and user_id = any($1)",
      [owners],
    )
    expect(rows).toHaveLength(1)
  })
})

describe('B20: the framework’s own holes', () => {
  /** One request as it is, byte for byte; answers the status. */
  const raw = (text: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const { hostname, port } = new URL(world.base_url)
      const socket = connect(Number(port), hostname, () => socket.end(text))
      let answer = ''
      socket.on('data', (part: Buffer) => (answer += part.toString('latin1')))
      socket.on('error', reject)
      socket.on('close', () => resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0)))
    })

  it.each([
    'application/json\t; charset=utf-8',
    'application/json;\tcharset=utf-8',
    '\tapplication/json',
    'application/json\ttext/html',
    'application/json ;',
    'application/jsonx',
    'text/plain',
    'application/vnd.api+json',
    'APPLICATION/JSON\ta',
  ])('B20: the Content-Type %j lets no body past its schema', async (type) => {
    const customer_id = await world.customer()
    const before = await world.digest()
    // The amount is a text: checked it is refused, unchecked it would reach the books.
    const body = JSON.stringify({ unit: 'minute', amount: '1000', reason: 'x', is_forged: true })
    const status = await raw(
      `POST /v1/customers/${customer_id}/grants HTTP/1.1\r\nhost: x\r\nconnection: close\r\n` +
        `authorization: Bearer ${world.secret_key}\r\ncontent-type: ${type}\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    )
    expect([400, 415]).toContain(status)
    expect(await world.digest()).toBe(before)
  })

  it('B20: a stranger’s X-Forwarded-Host and -Proto stand in no address we give out', async () => {
    const headers = {
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'https',
      'x-forwarded-for': '203.0.113.9',
      forwarded: 'host=evil.example;proto=https',
    }
    const customer_id = await world.customer()
    const order = {
      customer_id,
      gateway: 'sandbox',
      lines: [{ price_id: await world.price('minutes_30'), quantity: 1 }],
      return_url: 'https://shop.example/back',
    }
    const placed = await world.call<{ payment: { checkout_url: string } }>(
      'POST',
      '/v1/orders',
      order,
      headers,
    )
    expect(placed.status).toBe(201)
    expect(new URL(placed.body.payment.checkout_url).origin).toBe(world.base_url)
    const refused = await world.call('GET', '/v1/orders/ord_absent', undefined, headers)
    const spec = await world.call('GET', '/openapi.json', undefined, headers)
    for (const { text } of [placed, refused, spec]) expect(text).not.toContain('evil.example')
  })
})

describe('B21: one proof, used by two at once', () => {
  let people: PeopleWorld
  beforeAll(async () => {
    people = await startPeopleWorld()
  })
  afterAll(() => people?.close())

  const mailLink = async (to: string): Promise<string> => {
    const token = (await people.mails(to)).at(-1)?.token
    if (token === undefined) throw new Error(`no link was mailed to ${to}`)
    return token
  }

  it('B21: of twenty who bring one password link at once, one is let in', async () => {
    const { email } = await people.person()
    await people.send('POST', '/v1/auth/password/forgot', { body: { email } })
    const token = await mailLink(email)
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        people.send<Tokens>('POST', '/v1/auth/password/reset', {
          body: { token, password: `a new password ${index}` },
        }),
      ),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  })

  it('B21: of ten people who open one Telegram account at once, one has it', async () => {
    const owners = await Promise.all(Array.from({ length: 10 }, () => people.person()))
    const user = { id: 880_011, first_name: 'Anna' }
    // A proof of his own each, for one that is used again is refused for that alone.
    const proofs = owners.map((_, index) =>
      people.telegram.initData(user, new Date(people.clock.now().getTime() - index * 1000)),
    )
    const answers = await Promise.all(
      owners.map(({ access_token: token }, index) =>
        people.send('POST', '/v1/me/identities/telegram', { token, body: { init_data: proofs[index] } }),
      ),
    )
    expect(answers.filter(({ status }) => status < 300)).toHaveLength(1)
    const { rows } = await people.app.db.pool.query(
      "select 1 from identity.identities where subject = '880011'",
    )
    expect(rows).toHaveLength(1)
  })
})
