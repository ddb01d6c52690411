import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWorld, type Answer, type World } from '../world.ts'

/** What an integrator builds on: names, shapes and statuses, seen from outside, by HTTP alone. */

let world: World
let customer_id: string
beforeAll(async () => {
  world = await startWorld()
  customer_id = await world.customer()
})
afterAll(() => world?.close())

type Body = Record<string, unknown>
const grant = (amount: unknown, unit = 'minute'): Promise<Answer> =>
  world.call('POST', `/v1/customers/${customer_id}/grants`, { unit, amount, reason: 'a present' })
const spend = (amount: unknown, unit = 'minute'): Promise<Answer> =>
  world.call('POST', '/v1/spends', { customer_id, unit, amount })
const hold = (amount: unknown, unit = 'minute'): Promise<Answer> =>
  world.call('POST', '/v1/holds', { customer_id, unit, amount, ttl_seconds: 60 })
const emulator = (method: string, path: string, body?: unknown): Promise<Response> =>
  fetch(`${world.yookassa.base_url}/_emulator${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: JSON_BODY }),
  })
const JSON_BODY = { 'content-type': 'application/json' }
const items = (answer: Answer): Body[] => answer.body['items'] as Body[]
const statusOf = async (payment_id: string): Promise<unknown> =>
  (await world.call('GET', `/v1/payments/${payment_id}`)).body['status']

describe('the shapes of /v1', () => {
  it.each(['units', 'products', 'prices', 'api_keys', 'customers', 'orders', 'payments', 'refunds'])(
    'the list of %s answers items and next_cursor',
    async (name) => {
      const { status, body } = await world.call('GET', `/v1/${name}`)
      expect(status).toBe(200)
      expect(Object.keys(body).toSorted()).toEqual(['items', 'next_cursor'])
      expect(Array.isArray(body['items'])).toBe(true)
    },
  )

  it('a unit, a thing of the catalog and its price have their names', async () => {
    const [minute] = items(await world.call('GET', '/v1/units')).filter(({ code }) => code === 'minute')
    expect(minute).toMatchObject({ code: 'minute', scale: 60, name: 'Minute' })
    const anonymous = { authorization: '' }
    const catalog = await world.call('GET', '/v1/catalog?currency=RUB&locale=ru', undefined, anonymous)
    expect(items(catalog)[0]).toMatchObject({
      id: expect.stringMatching(/^prod_/),
      kind: 'pack',
      name: '30 минут',
      grants: [{ unit: 'minute', amount: 1800, validity_days: 90, priority: 50 }],
      prices: [{ id: expect.stringMatching(/^price_/), currency: 'RUB', amount: 20_000 }],
    })
  })

  it('a wallet, its grants, a spend and a hold have their names', async () => {
    await grant(100)
    const spent = await spend(30)
    const common = { customer_id, unit: 'minute' }
    expect(spent).toMatchObject({ status: 201, body: { ...common, amount: 30, balance: 70, sequence: 2 } })
    expect(spent.body['slices']).toEqual([{ grant_id: expect.stringMatching(/^gr_/), amount: 30 }])
    expect(Date.parse(String(spent.body['created_at']))).not.toBeNaN()
    const held = await hold(20)
    expect(held).toMatchObject({ status: 201, body: { ...common, amount: 20, status: 'placed' } })
    const { body } = await world.call('GET', `/v1/customers/${customer_id}/wallets/minute`)
    expect(body).toMatchObject({ unit: 'minute', scale: 60, balance: 70, held: 20, available: 50 })
    expect(body['next_expiry']).toBeNull()
    expect((body['grants'] as Body[])[0]).toEqual({
      id: expect.stringMatching(/^gr_/),
      granted: 100,
      remaining: 70,
      held: 20,
      priority: 20,
      source: 'manual',
      expires_at: null,
      created_at: expect.any(String),
    })
    const release = `/v1/holds/${String(held.body['id'])}/release`
    expect((await world.call('POST', release)).body['status']).toBe('released')
  })

  it('an order tells where to pay and what the vendor calls it', async () => {
    const order = await world.order({ customer_id, product_key: 'minutes_30' })
    expect(order).toMatchObject({ id: expect.stringMatching(/^ord_/), total: 20_000, currency: 'RUB' })
    expect(order.payment).toMatchObject({
      id: expect.stringMatching(/^pay_/),
      status: 'pending',
      gateway: 'yookassa',
      external_id: expect.any(String),
      checkout_url: expect.stringMatching(/^http/),
    })
    expect((await fetch(order.payment.checkout_url)).headers.get('content-type')).toContain('text/html')
  })
})

describe('nonsense', () => {
  it('of any kind in an amount is a 400 that names the field, and changes nothing', async () => {
    const before = await world.digest()
    const nonsense = [0, -1, 1.5, 2 ** 53, '5', null, true, [], {}]
    for (const amount of nonsense) {
      for (const ask of [grant, spend, hold]) {
        const { status, body } = await ask(amount)
        expect([amount, status, body['code']]).toEqual([amount, 400, 'invalid_request'])
        expect((body['errors'] as Body[])[0]).toMatchObject({ pointer: '/amount' })
      }
    }
    for (const ask of [grant, spend, hold]) expect((await ask(1, 'parsec')).status).toBe(400)
    expect(await world.digest()).toBe(before)
  })

  it('is told apart by its status', async () => {
    const before = await world.digest()
    const key = { 'idempotency-key': 'contract-1' }
    const body = { customer_id, unit: 'minute', amount: 1_000_000 }
    const poor = await world.call('POST', '/v1/spends', body, key)
    expect(poor).toMatchObject({ status: 402, body: { code: 'insufficient_funds', required: 1_000_000 } })
    const nobody = await world.call('POST', '/v1/spends', { ...body, customer_id: 'external_id:nobody' })
    expect(nobody).toMatchObject({ status: 404, body: { code: 'not_found' } })
    const anonymous = await world.call('POST', '/v1/spends', body, { authorization: '' })
    expect(anonymous).toMatchObject({ status: 401, body: { code: 'unauthenticated' } })
    expect(await world.digest()).toBe(before)
    const once = { 'idempotency-key': 'contract-2' }
    const first = await world.call('POST', '/v1/spends', { ...body, amount: 1 }, once)
    const again = await world.call('POST', '/v1/spends', { ...body, amount: 1 }, once)
    expect([again.status, again.text]).toEqual([first.status, first.text])
    const other = await world.call('POST', '/v1/spends', { ...body, amount: 2 }, once)
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } })
  })
})

describe('the emulator’s control API', () => {
  it('takes every fault as a number and as a rate, and forgets all at a reset', async () => {
    const faults = ['duplicate', 'reorder', 'forge', 'lose', 'timeout_after_charge', 'error_500', 'html_body']
    for (const fault of faults) {
      for (const value of [2, 0.5]) {
        expect((await emulator('PUT', '/faults', { [fault]: value })).status).toBe(200)
      }
    }
    expect((await emulator('PUT', '/faults', { delay_ms: 500 })).status).toBe(200)
    expect((await emulator('PUT', '/faults', { boredom: 1 })).status).toBe(400)
    const about = (await (await emulator('GET', '')).json()) as Body
    expect(about).toMatchObject({ id: 'yookassa', faults: { lose: 0.5, delay_ms: 500 } })
    expect((await emulator('POST', '/reset')).status).toBeLessThan(300)
    const fresh = (await (await emulator('GET', '')).json()) as Body
    expect(fresh).toMatchObject({ faults: { lose: 0, delay_ms: 0 } })
    expect((await (await emulator('GET', '/objects')).json()) as Body).toEqual({
      items: [],
      next_cursor: null,
    })
    // The world's own address is not among the settings it started with.
    world.yookassa.control.settings({ webhook_url: `${world.base_url}/webhooks/payments/yookassa` })
  })

  it.each([
    ['succeeded', 'succeeded'],
    ['authorized', 'authorized'],
    ['canceled', 'failed'],
  ])('completes a payment as %s', async (outcome, status) => {
    const price_id = await world.price('minutes_30')
    const { body } = await world.call<{ payment: { id: string; external_id: string } }>(
      'POST',
      '/v1/orders',
      {
        customer_id,
        gateway: 'yookassa',
        lines: [{ price_id, quantity: 1 }],
        return_url: 'https://shop.example/back',
        receipt_contact: { email: 'buyer@example.com' },
        capture: outcome === 'authorized' ? 'manual' : 'automatic',
      },
    )
    const path = `/payments/${body.payment.external_id}/complete`
    expect((await emulator('POST', path, { outcome })).status).toBe(200)
    await expect.poll(() => statusOf(body.payment.id), { timeout: 10_000 }).toBe(status)
    expect((await emulator('GET', '/log?kind=notification')).status).toBe(200)
  })

  it.each(['error_500', 'html_body'])(
    'a vendor in trouble (%s) is a 503, and nothing is lost',
    async (fault) => {
      await emulator('PUT', '/faults', { [fault]: 1 })
      const price_id = await world.price('minutes_30')
      const order = (): Promise<Answer<{ payment: { id: string; external_id: string } }>> =>
        world.call(
          'POST',
          '/v1/orders',
          {
            customer_id,
            gateway: 'yookassa',
            lines: [{ price_id, quantity: 1 }],
            return_url: 'https://shop.example/back',
            receipt_contact: { email: 'buyer@example.com' },
          },
          { 'idempotency-key': `trouble-${fault}` },
        )
      const refused = await order()
      expect(refused).toMatchObject({ status: 503, body: { code: 'gateway_unavailable' } })
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
      const balance = async (): Promise<number> =>
        Number((await world.call('GET', `/v1/customers/${customer_id}/wallets/minute`)).body['balance'])
      const before = await balance()
      const { status, body } = await order()
      expect(status).toBe(201)
      await emulator('POST', `/payments/${body.payment.external_id}/complete`, { outcome: 'succeeded' })
      await expect.poll(balance, { timeout: 10_000 }).toBe(before + 1800)
      expect((await world.call('GET', '/v1/verification')).body).toMatchObject({ ok: true, findings: [] })
    },
  )
})
