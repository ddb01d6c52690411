import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { expectCheckoutLimits } from '../../test/checkout-limits.ts'
import { startWorld, type World } from '../../test/world.ts'

interface Packs {
  items: {
    id: string
    price_id: string
    name: string
    minutes: number
    price: string
    currency: string
    validity_days: number
  }[]
}
interface Placed {
  id: string
  payment_id: string
  external_id: string
  payment_url: string
  total: number
}
interface Balance {
  minutes: number
  available_seconds: number
  packages: { id: string; name: string; remaining_seconds: number; expires_at: string | null }[]
}
interface Charged {
  charged_seconds: number
  packages: { id: string; name: string; seconds: number }[]
  remaining_seconds: number
}

let world: World
let people = 0
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.close())

const someone = (): Record<string, string> => ({ 'x-user-id': `screph-user-${++people}` })
const buy = async (user: Record<string, string>, package_id: string): Promise<Placed> => {
  const { body, status, text } = await world.call<Placed>(
    'POST',
    '/api/orders/',
    { package_id, email: 'u@example.com' },
    user,
  )
  if (status !== 201) throw new Error(text)
  world.yookassa.control.complete(body.external_id, 'succeeded')
  await world.eventually(
    'paid',
    async () => (await world.call('GET', `/v1/payments/${body.payment_id}`)).body['status'] === 'succeeded',
  )
  return body
}

describe('Screph’s packages', () => {
  it.each(['/api/packages/', '/packages/'])(
    'are shown to anybody at %s, in the language and currency asked for',
    async (url) => {
      const { body, status } = await world.call<Packs>('GET', `${url}?locale=ru`, undefined, {
        authorization: '',
      })
      expect(status).toBe(200)
      expect(
        body.items.map(({ name, minutes, price, currency, validity_days }) => [
          name,
          minutes,
          price,
          currency,
          validity_days,
        ]),
      ).toEqual([
        ['30 минут', 30, '200.00', 'RUB', 90],
        ['100 минут', 100, '500.00', 'RUB', 180],
        ['300 минут', 300, '1200.00', 'RUB', 365],
      ])
    },
  )

  it('answers the paths as they are spelled and no others', async () => {
    expect((await world.call('GET', '/api/packages')).status).toBe(404)
    expect((await world.call('GET', '/API/packages/')).status).toBe(404)
  })
})

describe('buying and using minutes', () => {
  it('buys by the package’s id, its key or its price, and shows each package with its expiry', async () => {
    const user = someone()
    const { body: packs } = await world.call<Packs>('GET', '/packages/')
    const [first] = packs.items
    await buy(user, first?.id ?? '')
    const bought = await world.call<Placed>(
      'POST',
      `/packages/${first?.price_id}/buy/`,
      { email: 'u@example.com' },
      user,
    )
    expect(bought.status).toBe(201)
    expect(bought.body.payment_url).toMatch(/^http/)
    const { body } = await world.call<Balance>('GET', '/api/users/me/balance/', undefined, user)
    expect(body).toMatchObject({ minutes: 30, available_seconds: 1800 })
    expect(body.packages).toHaveLength(1)
    expect(body.packages[0]).toMatchObject({ name: '30 minutes', remaining_seconds: 1800 })
    const days = (new Date(body.packages[0]?.expires_at ?? 0).getTime() - Date.now()) / 86_400_000
    expect(Math.round(days)).toBe(90)
    expect((await world.call<Balance>('GET', '/balance/', undefined, user)).body.minutes).toBe(30)
  })

  it('A60: by one’s own token is counted by network, account and everybody together', async () => {
    const sign_up = { email: 'screph-buyer@mail.example', password: 'correct horse battery' }
    const { body: entered } = await world.call('POST', '/v1/auth/register', sign_up, { authorization: '' })
    const own = { authorization: `Bearer ${entered['access_token']}` }
    const { body: me } = await world.call('GET', '/v1/me', undefined, own)
    const order = { package_id: 'minutes_30', email: 'u@example.com' }
    const buys = async (url: string): Promise<number> => (await world.call('POST', url, order, own)).status
    expect(await buys('/api/orders/')).toBe(201)
    await expectCheckoutLimits(world, me['customer_id'], () => buys('/api/orders/'))
    expect(await buys('/api/orders/')).toBe(201)
  })

  it('charges seconds in blocks of fifteen, over several packages, oldest expiry first', async () => {
    const user = someone()
    await buy(user, 'minutes_100')
    await buy(user, 'minutes_30')
    const used = await world.call<Charged>(
      'POST',
      '/api/usage/record/',
      { seconds: 37, provider: 'yandex' },
      user,
    )
    expect(used.status).toBe(200)
    expect(used.body).toMatchObject({ charged_seconds: 45, remaining_seconds: 7755 })
    expect(used.body.packages).toMatchObject([{ name: '30 minutes', seconds: 45 }])
    const over = await world.call<Charged>('POST', '/api/usage/record/', { minutes: 40 }, user)
    expect(over.body.packages).toMatchObject([
      { name: '30 minutes', seconds: 1755 },
      { name: '100 minutes', seconds: 645 },
    ])
  })

  it('charges a streamed session for a block when it is begun, not for every piece', async () => {
    const user = someone()
    await buy(user, 'minutes_30')
    const charged: number[] = []
    const left: number[] = []
    for (let piece = 0; piece < 6; piece++) {
      const { body } = await world.call<Charged>(
        'POST',
        '/api/usage/record/',
        { seconds: 3, session_id: 's1' },
        user,
      )
      charged.push(body.charged_seconds)
      left.push(body.remaining_seconds)
    }
    expect(charged).toEqual([15, 0, 0, 0, 0, 15])
    // What is left is told also when nothing was charged.
    expect(left).toEqual([1785, 1785, 1785, 1785, 1785, 1770])
  })

  it('charges once for one report sent fifty times, and refuses its key for another', async () => {
    const user = someone()
    await buy(user, 'minutes_30')
    const headers = { ...user, 'idempotency-key': `usage-${people}` }
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => world.call('POST', '/api/usage/record/', { seconds: 60 }, headers)),
    )
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    expect((await world.call<Balance>('GET', '/balance/', undefined, user)).body.available_seconds).toBe(1740)
    expect((await world.call('POST', '/api/usage/record/', { seconds: 61 }, headers)).status).toBe(422)
  })

  it('answers 402 and takes nothing when there is not enough', async () => {
    const user = someone()
    await buy(user, 'minutes_30')
    const { status, body } = await world.call('POST', '/api/usage/record/', { minutes: 31 }, user)
    expect(status).toBe(402)
    expect(body).toMatchObject({ code: 'insufficient_funds', required: 1860, available: 1800 })
    expect((await world.call<Balance>('GET', '/balance/', undefined, user)).body.available_seconds).toBe(1800)
  })

  it.each([
    [{}],
    [{ seconds: -1 }],
    [{ seconds: '37' }],
    [{ seconds: 10, minutes: 1 }],
    [{ seconds: 1e9 }],
    [{ seconds: 5, extra: 1 }],
  ])('refuses %j as malformed', async (body) => {
    const user = someone()
    await world.call('POST', '/auth/register/', {}, user)
    expect((await world.call('POST', '/api/usage/record/', body, user)).status).toBe(400)
  })
})

describe('who may', () => {
  it('knows users by external and by Telegram id, and asks for one', async () => {
    const registered = await world.call(
      'POST',
      '/auth/register/',
      { email: 'a@example.com', name: 'Ann' },
      { 'x-user-id': '777001' },
    )
    expect(registered.body).toMatchObject({ telegram_id: 777_001, email: 'a@example.com' })
    expect((await world.call('POST', '/auth/login/', {}, { 'x-user-id': 'telegram_id:777001' })).status).toBe(
      200,
    )
    expect((await world.call('GET', '/profile/', undefined, { 'x-user-id': '777001' })).body['name']).toBe(
      'Ann',
    )
    const changed = await world.call('PATCH', '/profile/', { name: 'Anna' }, { 'x-user-id': '777001' })
    expect(changed.body['name']).toBe('Anna')
    expect((await world.call('GET', '/balance/')).status).toBe(400)
    expect((await world.call('GET', '/balance/', undefined, { 'x-user-id': 'nobody-at-all' })).status).toBe(
      404,
    )
  })

  it.each([
    ['POST', '/api/orders/'],
    ['GET', '/api/users/me/balance/'],
    ['POST', '/api/usage/record/'],
    ['GET', '/admin/'],
    ['GET', '/profile/'],
  ])('refuses %s %s without a key', async (method, url) => {
    const body = method === 'POST' ? {} : undefined
    expect((await world.call(method, url, body, { authorization: '', 'x-user-id': 'x' })).status).toBe(401)
  })

  it('shows the panel to whoever has the key as the user name', async () => {
    const basic = Buffer.from(`${world.secret_key}:`).toString('base64')
    const { status, text, headers } = await world.call('GET', '/admin/', undefined, {
      authorization: `Basic ${basic}`,
    })
    expect(status).toBe(200)
    expect(headers.get('content-type')).toContain('text/html')
    for (const word of ['Packages on sale', 'Users and balances', 'Transactions'])
      expect(text).toContain(word)
    const refused = await world.call('GET', '/admin/', undefined, { authorization: '', accept: 'text/html' })
    expect(refused.headers.get('www-authenticate')).toContain('Basic')
  })

  it('takes YooKassa’s notifications at the path Screph gave it', async () => {
    const user = someone()
    const { body } = await world.call<Placed>(
      'POST',
      '/api/orders/',
      { package_id: 'minutes_30', email: 'u@example.com' },
      user,
    )
    world.yookassa.control.faults({ lose: 5 })
    world.yookassa.control.complete(body.external_id, 'succeeded')
    const notification = {
      type: 'notification',
      event: 'payment.succeeded',
      object: { id: body.external_id },
    }
    const told = await world.call('POST', '/payments/webhook/yookassa/', notification, { authorization: '' })
    world.yookassa.control.faults({ lose: 0 })
    expect(told.status).toBe(200)
    await world.eventually(
      'paid',
      async () => (await world.call('GET', `/v1/payments/${body.payment_id}`)).body['status'] === 'succeeded',
    )
  })
})
