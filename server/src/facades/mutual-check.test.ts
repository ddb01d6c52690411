import { createHash, randomUUID } from 'node:crypto'
import type { Emulator } from '@kopilka/emulators/emulator'
import { startRobokassaEmulator } from '@kopilka/emulators/robokassa'
import { startTelegramEmulator } from '@kopilka/emulators/telegram'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { expectCheckoutLimits } from '../../test/checkout-limits.ts'
import { newId } from '../kernel/ids.ts'
import { startWorld, type Answer, type World } from '../../test/world.ts'

interface Tariff {
  id: string
  name: string
  checks_count: number
  price_rub: string | null
  price_stars: number | null
  is_active: boolean
}
interface Paid {
  payment_id: string
  status: string
  is_paid: boolean
  tariff_id: string
  checks_count: number
  amount: string
  currency: string
  payment_url: string
  invoice_link?: string
}

const LOGIN = 'demo_shop'
const SHOP = {
  merchant_login: LOGIN,
  test_password1: 'mutual-check-test-password-1',
  test_password2: 'mutual-check-test-password-2',
}
const BOT_TOKEN = '1234567890:mutual_check_bot_token_0123456789'
const BOT_SECRET = 'mutual_check_webhook_secret'
const CALLBACK = '/api/v1/payments/robokassa/callback'

let world: World
let robokassa: Emulator
let telegram: Emulator
let people = 900_100
beforeAll(async () => {
  robokassa = await startRobokassaEmulator({ settings: SHOP, retry_scale: 0.001 })
  telegram = await startTelegramEmulator({
    settings: { bot_token: BOT_TOKEN, secret_token: BOT_SECRET, messages_per_chat_second: 0 },
    retry_scale: 0.001,
  })
  world = await startWorld((settings) => ({
    ...settings,
    gateways: {
      ...settings.gateways,
      robokassa: {
        merchant_login: LOGIN,
        password1: SHOP.test_password1,
        password2: SHOP.test_password2,
        is_test: true,
        pay_url: `${robokassa.base_url}/Merchant`,
        services_url: robokassa.base_url,
        receipts_url: robokassa.base_url,
      },
      'telegram-stars': {
        bot_token: BOT_TOKEN,
        secret_token: BOT_SECRET,
        is_test: true,
        base_url: telegram.base_url,
      },
    },
  }))
  robokassa.control.settings({ webhook_url: `${world.base_url}${CALLBACK}` })
  telegram.control.settings({
    webhook_url: `${world.base_url}/webhooks/payments/telegram-stars`,
    is_test_environment: true,
  })
})
afterAll(async () => {
  await robokassa?.close()
  await telegram?.close()
  await world?.close()
})

const someone = (): number => ++people
const tariff = async (changes: object = {}): Promise<Tariff> => {
  const facts = { name: '10 checks', checks_count: 10, price_rub: 199, price_stars: 120, ...changes }
  const { body, status, text } = await world.call<Tariff>('POST', '/api/v1/admin/tariffs', facts)
  if (status !== 201) throw new Error(text)
  return body
}
const create = async (tariff_id: string, user_id: number): Promise<Paid> => {
  const body = { tariff_id, user_id, email: 'u@example.com' }
  const answer = await world.call<Paid>('POST', '/api/v1/payments/create', body)
  if (answer.status !== 201) throw new Error(answer.text)
  return answer.body
}
const checks = async (user_id: number): Promise<number> => {
  const url = `/v1/customers/telegram_id:${user_id}/wallets/check`
  return (await world.call<{ balance: number }>('GET', url)).body.balance
}
const becomes = (payment_id: string, status: string): Promise<unknown> =>
  world.eventually(`payment ${payment_id} is ${status}`, async () => {
    const { body } = await world.call<Paid>('GET', `/api/v1/payments/${payment_id}/status`)
    return body.status === status
  })
/** The buyer opens the page; answers the order number Robokassa knows the payment by. */
const open = async ({ payment_url }: Paid): Promise<string> => {
  expect((await fetch(payment_url)).status).toBe(200)
  return new URL(payment_url).searchParams.get('InvId') ?? ''
}
const callback = (body: string): Promise<Answer> =>
  world.call('POST', CALLBACK, body, {
    authorization: '',
    'content-type': 'application/x-www-form-urlencoded',
  })
/** A callback as Robokassa signs it, for any sum. */
const signed = ({ payment_url }: Paid, sum = '199.000000'): string => {
  const asked = new URL(payment_url).searchParams
  const number = asked.get('InvId') ?? ''
  const shp = [...asked].filter(([name]) => name.startsWith('Shp_')).toSorted(([a], [b]) => (a < b ? -1 : 1))
  const base = [sum, number, SHOP.test_password2, ...shp.map(([name, value]) => `${name}=${value}`)]
  const signature = createHash('sha256').update(base.join(':')).digest('hex')
  const fields: [string, string][] = [
    ['OutSum', sum],
    ['InvId', number],
    ['SignatureValue', signature],
    ['IsTest', '1'],
    ...shp,
  ]
  return new URLSearchParams(fields).toString()
}
/** The headers of somebody who has just signed up. */
const person = async (): Promise<Record<string, string>> => {
  const body = { email: `${randomUUID()}@mail.example`, password: 'correct horse battery' }
  const { text, body: entered } = await world.call('POST', '/v1/auth/register', body, { authorization: '' })
  if (typeof entered['access_token'] !== 'string') throw new Error(text)
  return { authorization: `Bearer ${entered['access_token']}` }
}
const grantsOf = async (payment_id: string): Promise<number> => {
  const { rows } = await world.app.db.pool.query<{ count: string }>(
    `select count(*) from ledger.grants g join orders.lines l on g.source_id like l.id || '%'
     join payments.payments p on p.order_id = l.order_id where p.id = $1`,
    [payment_id],
  )
  return Number(rows[0]?.count)
}
const booksAreClean = async (): Promise<void> => {
  expect((await world.call('GET', '/v1/verification')).body['findings']).toEqual([])
}

describe('checks through Robokassa', () => {
  it('are granted once: created, paid, its notification repeated twenty times at once', async () => {
    const user = someone()
    const { id } = await tariff()
    const made = await create(id, user)
    expect(made).toMatchObject({
      status: 'pending',
      is_paid: false,
      tariff_id: id,
      checks_count: 10,
      amount: '199.00',
      currency: 'RUB',
    })
    const number = await open(made)
    robokassa.control.complete(number, 'succeeded')
    await becomes(made.payment_id, 'succeeded')
    const real = signed(made)
    const answers = await Promise.all(Array.from({ length: 20 }, () => callback(real)))
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`))).toEqual(
      new Set([`200 OK${number}`]),
    )
    await world.app.drain()
    expect(await checks(user)).toBe(10)
    expect(await grantsOf(made.payment_id)).toBe(1)
    const { body } = await world.call<Paid>('GET', `/api/v1/payments/${made.payment_id}`)
    expect(body).toMatchObject({ status: 'succeeded', is_paid: true, payment_method: 'robokassa' })
    await booksAreClean()
  })

  it('stay where they are when the callback is forged, in any of the ways there are', async () => {
    const user = someone()
    const made = await create((await tariff()).id, user)
    const number = await open(made)
    const before = await world.digest()
    expect(robokassa.control.forge(number)).toBe(5)
    await robokassa.control.settled(10_000)
    for (const form of [
      `OutSum=199.000000&InvId=${number}`,
      `OutSum=199.000000&InvId=${number}&SignatureValue=`,
      `OutSum=199.000000&InvId=${number}&SignatureValue=${'0'.repeat(64)}&Shp_payment=${made.payment_id}`,
    ]) {
      const { status, text } = await callback(form)
      expect([status, text.includes('OK')]).toEqual([400, false])
    }
    await world.app.drain()
    expect(await world.digest()).toBe(before)
    expect(await checks(user)).toBe(0)
  })

  it('are not granted for another amount, though Robokassa signed it', async () => {
    const user = someone()
    const made = await create((await tariff()).id, user)
    const answer = await callback(signed(made, '1.00'))
    expect(answer.status).toBe(200)
    await becomes(made.payment_id, 'mismatch')
    expect(await checks(user)).toBe(0)
    const { body } = await world.call<Paid>('GET', `/api/v1/payments/${made.payment_id}`)
    expect(body).toMatchObject({ status: 'mismatch', is_paid: false })
    await booksAreClean()
  })

  it('need a contact for the receipt and a tariff that is sold for rubles', async () => {
    const { id } = await tariff()
    const without = await world.call('POST', '/api/v1/payments/create', { tariff_id: id, user_id: someone() })
    expect([without.status, without.body['code']]).toEqual([400, 'receipt_contact_needed'])
    const for_stars = await tariff({ price_rub: null })
    const body = { tariff_id: for_stars.id, user_id: someone(), email: 'u@example.com' }
    expect((await world.call('POST', '/api/v1/payments/create', body)).status).toBe(404)
    await world.call('DELETE', `/api/v1/admin/tariffs/${id}`)
    const off = await world.call('POST', '/api/v1/payments/create', { ...body, tariff_id: id })
    expect([off.status, off.body['code']]).toEqual([409, 'not_on_sale'])
  })
})

describe('checks for Telegram Stars', () => {
  const press = async (user_id: number, link: string | undefined) => {
    const answer = await fetch(`${telegram.base_url}/users/${user_id}/pay`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ link }),
    })
    return (await answer.json()) as { status: string; reason?: string }
  }

  it('are granted when the link is paid', async () => {
    const user = someone()
    const { id } = await tariff()
    const { body, status } = await world.call<Paid>('POST', '/api/v1/payments/telegram-stars', {
      tariff_id: id,
      user_id: user,
    })
    expect(status).toBe(201)
    expect(body).toMatchObject({ amount: '120', currency: 'XTR', status: 'pending' })
    expect(body.invoice_link).toMatch(/^http/)
    expect(await press(user, body.invoice_link)).toMatchObject({ status: 'paid' })
    await becomes(body.payment_id, 'succeeded')
    expect(await checks(user)).toBe(10)
    expect(await grantsOf(body.payment_id)).toBe(1)
    await booksAreClean()
  })

  it('need a user of Telegram', async () => {
    const { id } = await tariff()
    const { body, status } = await world.call<{ errors: { pointer: string }[] }>(
      'POST',
      '/api/v1/payments/telegram-stars',
      { tariff_id: id },
      { 'x-user-id': 'external_id:somebody-without-telegram' },
    )
    expect([status, body.errors[0]?.pointer]).toEqual([400, '/user_id'])
  })
})

describe('whose payment it is', () => {
  it('is nobody’s business but the buyer’s: for others it is not there', async () => {
    const [buyer, other] = [someone(), someone()]
    await world.call('POST', '/v1/customers', { telegram_id: other })
    const made = await create((await tariff()).id, buyer)
    for (const suffix of ['', '/status']) {
      const url = `/api/v1/payments/${made.payment_id}${suffix}`
      expect((await world.call('GET', `${url}?user_id=${buyer}`)).status).toBe(200)
      expect((await world.call('GET', url, undefined, { 'x-user-id': String(buyer) })).status).toBe(200)
      const absent = await world.call('GET', `/api/v1/payments/pay_absent${suffix}?user_id=${other}`)
      for (const stranger of [
        await world.call('GET', `${url}?user_id=${other}`),
        await world.call('GET', `${url}?user_id=424242424242`),
        await world.call('GET', url, undefined, { 'x-user-id': String(other) }),
      ]) {
        expect(stranger.status).toBe(404)
        expect(stranger.body['code']).toBe(absent.body['code'])
      }
      expect(
        (await world.call('GET', `${url}?user_id=${buyer}`, undefined, { 'x-user-id': '1' })).status,
      ).toBe(400)
    }
  })

  it('a person with a token buys and reads for himself only', async () => {
    const [own, other] = [await person(), await person()]
    const { id } = await tariff()
    const body = { tariff_id: id, email: 'u@example.com' }
    const made = await world.call<Paid>('POST', '/api/v1/payments/create', body, own)
    expect(made.status).toBe(201)
    const url = `/api/v1/payments/${made.body.payment_id}`
    expect((await world.call('GET', url, undefined, own)).status).toBe(200)
    expect((await world.call('GET', url, undefined, other)).status).toBe(404)
    const for_another = { ...body, user_id: someone() }
    expect((await world.call('POST', '/api/v1/payments/create', for_another, own)).status).toBe(404)
    for (const [method, path] of [
      ['GET', '/api/v1/admin/tariffs'],
      ['POST', '/api/v1/admin/tariffs'],
      ['DELETE', `/api/v1/admin/tariffs/${id}`],
    ] as const) {
      const given = method === 'POST' ? {} : undefined
      expect((await world.call(method, path, given, own)).status).toBe(403)
      expect((await world.call(method, path, given, { authorization: '' })).status).toBe(401)
    }
  })

  it('A60: bought by a person it is counted by network, account and everybody together', async () => {
    const own = await person()
    const { id } = await tariff()
    const body = { tariff_id: id, email: 'u@example.com' }
    const buys = async (): Promise<number> =>
      (await world.call('POST', '/api/v1/payments/create', body, own)).status
    expect(await buys()).toBe(201)
    const { body: me } = await world.call('GET', '/v1/me', undefined, own)
    await expectCheckoutLimits(world, me['customer_id'], buys)
    expect(await buys()).toBe(201)
  })

  it('a key used for one user is refused for another, who does not get the first one’s answer', async () => {
    const { id } = await tariff()
    const key = { 'idempotency-key': randomUUID() }
    const body = { tariff_id: id, email: 'u@example.com' }
    const [first, second] = [String(someone()), String(someone())]
    const made = await world.call<Paid>('POST', '/api/v1/payments/create', body, {
      ...key,
      'x-user-id': first,
    })
    const again = await world.call<Paid>('POST', '/api/v1/payments/create', body, {
      ...key,
      'x-user-id': first,
    })
    expect([made.status, again.text]).toEqual([201, made.text])
    const taken = await world.call('POST', '/api/v1/payments/create', body, { ...key, 'x-user-id': second })
    expect(taken.status).toBe(422)
  })

  it('a purchase without a user, or of a payment that bought no checks, is refused', async () => {
    const { id } = await tariff()
    const nobody = await world.call('POST', '/api/v1/payments/create', { tariff_id: id, email: 'u@e.com' })
    expect(nobody.status).toBe(400)
    const customer_id = await world.customer()
    const minutes = await world.order({ customer_id, product_key: 'minutes_30' })
    expect((await world.call('GET', `/api/v1/payments/${minutes.payment.id}`)).status).toBe(404)
  })
})

describe('tariffs', () => {
  const all = async (url: string, headers = {}): Promise<Tariff[]> => {
    const found: Tariff[] = []
    let cursor = ''
    do {
      const { body } = await world.call<{ items: Tariff[]; next_cursor: string | null }>(
        'GET',
        `${url}?limit=2${cursor}`,
        undefined,
        headers,
      )
      found.push(...body.items)
      cursor = body.next_cursor === null ? '' : `&cursor=${encodeURIComponent(body.next_cursor)}`
    } while (cursor !== '')
    return found
  }

  it('are made, shown, changed and taken off sale', async () => {
    const made = await tariff({ name: 'Пять проверок', checks_count: 5, price_rub: '99.90' })
    expect(made).toEqual({
      id: expect.stringMatching(/^prod_/),
      name: 'Пять проверок',
      checks_count: 5,
      price_rub: '99.90',
      price_stars: 120,
      is_active: true,
    })
    const url = `/api/v1/admin/tariffs/${made.id}`
    expect(await all('/api/v1/tariffs', { authorization: '' })).toContainEqual(made)
    const change = { checks_count: 6, price_rub: 120, price_stars: null }
    const changed = await world.call<Tariff>('PUT', url, change)
    expect(changed.body).toEqual({ ...made, checks_count: 6, price_rub: '120.00', price_stars: null })
    expect((await world.call<Tariff>('PUT', url, change)).body).toEqual(changed.body)
    const off = { ...changed.body, is_active: false }
    for (let time = 0; time < 2; time++) {
      expect((await world.call<Tariff>('DELETE', url)).body).toEqual(off)
    }
    expect(await all('/api/v1/admin/tariffs')).toContainEqual(off)
    expect((await all('/api/v1/tariffs')).map(({ id }) => id)).not.toContain(made.id)
    expect((await world.call<Tariff>('PUT', url, { is_active: true })).body.is_active).toBe(true)
    // Minutes are sold here too, and are no tariff.
    expect((await all('/api/v1/admin/tariffs')).every(({ checks_count }) => checks_count > 0)).toBe(true)
    const { body } = await world.call<{ items: { id: string; key: string }[] }>('GET', '/v1/products')
    const minutes = body.items.find(({ key }) => key === 'minutes_30')?.id
    expect((await world.call('DELETE', `/api/v1/admin/tariffs/${minutes}`)).status).toBe(404)
  })

  it('a change leaves to who bought before what he bought, also when he pays afterwards', async () => {
    const user = someone()
    const { id } = await tariff()
    const made = await create(id, user)
    await world.call('PUT', `/api/v1/admin/tariffs/${id}`, { checks_count: 1, price_rub: 500, name: 'Less' })
    robokassa.control.complete(await open(made), 'succeeded')
    await becomes(made.payment_id, 'succeeded')
    expect(await checks(user)).toBe(10)
    const { body } = await world.call<Paid>('GET', `/api/v1/payments/${made.payment_id}`)
    expect(body).toMatchObject({ checks_count: 10, amount: '199.00', tariff_name: '10 checks' })
    expect(await create(id, user)).toMatchObject({ checks_count: 1, amount: '500.00' })
  })

  it.each([
    [{}],
    [{ price_rub: null, price_stars: null }],
    [{ price_rub: 0 }],
    [{ price_rub: -1 }],
    [{ price_rub: '1,5' }],
    [{ price_rub: 1.999 }],
    [{ price_rub: '1e3' }],
    [{ price_stars: 1.5 }],
    [{ price_stars: 0 }],
    [{ checks_count: 0 }],
    [{ checks_count: '5' }],
    [{ name: '' }],
    [{ currency: 'RUB' }],
  ])('refuses %j as malformed', async (wrong) => {
    const good = { name: 'x', checks_count: 1, price_rub: 1, price_stars: 1 }
    const body = Object.keys(wrong).length === 0 ? {} : { ...good, ...wrong }
    expect((await world.call('POST', '/api/v1/admin/tariffs', body)).status).toBe(400)
  })

  it('one that is not there is 404', async () => {
    const url = `/api/v1/admin/tariffs/${newId('prod')}`
    expect((await world.call('PUT', url, { name: 'x' })).status).toBe(404)
    expect((await world.call('DELETE', url)).status).toBe(404)
  })
})
