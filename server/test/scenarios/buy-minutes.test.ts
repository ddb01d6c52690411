import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWorld, type PlacedOrder, type World } from '../world.ts'

interface Wallet {
  unit: string
  scale: number
  balance: number
  held: number
  available: number
  next_expiry: string | null
  grants: {
    id: string
    granted: number
    remaining: number
    priority: number
    source: string
    expires_at: string | null
  }[]
}
interface Spend {
  id: string
  balance: number
  slices: { grant_id: string; amount: number }[]
}

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.close())

const wallet = async (customer_id: string): Promise<Wallet> =>
  (await world.call<Wallet>('GET', `/v1/customers/${customer_id}/wallets/minute`)).body
const paid = (payment_id: string, status = 'succeeded'): Promise<unknown> =>
  world.eventually(
    `payment ${payment_id} is ${status}`,
    async () => (await world.call('GET', `/v1/payments/${payment_id}`)).body['status'] === status,
  )

describe('buying minutes through YooKassa', () => {
  it('pays two packages through a storm of notifications, spends, refunds one, adds up', async () => {
    const customer_id = await world.customer()
    world.yookassa.control.faults({ duplicate: 19, reorder: 1 })
    const small = await world.order({ customer_id, product_key: 'minutes_30' })
    const large = await world.order({ customer_id, product_key: 'minutes_100' })
    expect(small).toMatchObject({
      status: 'open',
      total: 20_000,
      currency: 'RUB',
      payment: { status: 'pending' },
    })
    expect(small.payment.external_id).toMatch(/^[0-9a-f-]{36}$/)
    await Promise.all([small, large].map(({ payment }) => pay(payment.external_id)))
    await Promise.all([paid(small.payment.id), paid(large.payment.id)])
    await world.yookassa.control.settled(10_000)
    world.yookassa.control.faults({ duplicate: 0, reorder: 0 })

    await world.call('POST', `/v1/customers/${customer_id}/grants`, {
      unit: 'minute',
      amount: 600,
      priority: 10,
      reason: 'promo',
    })
    const before = await wallet(customer_id)
    expect(before).toMatchObject({ balance: 1800 + 6000 + 600, held: 0, scale: 60 })
    expect(before.grants).toHaveLength(3)

    const spend = await world.call<Spend>('POST', '/v1/spends', { customer_id, unit: 'minute', amount: 3000 })
    expect(spend.status).toBe(201)
    // The promotion first, then what expires first, then the rest.
    const amounts = spend.body.slices.map(({ amount }) => amount)
    expect(amounts).toEqual([600, 1800, 600])
    expect(spend.body.balance).toBe(5400)

    const refund = await world.call('POST', `/v1/payments/${large.payment.id}/refunds`, {
      reason: 'changed his mind',
    })
    expect(refund.status).toBe(201)
    // 500 rubles × 5400 of 6000 seconds left.
    expect(refund.body).toMatchObject({ amount: 45_000, status: 'succeeded' })
    expect(await wallet(customer_id)).toMatchObject({ balance: 0, grants: [] })
    expect((await world.call('GET', `/v1/payments/${large.payment.id}`)).body).toMatchObject({
      status: 'partially_refunded',
      refunded_amount: 45_000,
    })

    await historyAddsUp(customer_id)
    await booksAreClean()
  })

  it('grants once when the same order is paid by twenty equal notifications at the same moment', async () => {
    const customer_id = await world.customer()
    const { payment } = await world.order({ customer_id, product_key: 'minutes_30' })
    world.yookassa.control.faults({ lose: 1 })
    await pay(payment.external_id)
    const body = JSON.stringify({
      type: 'notification',
      event: 'payment.succeeded',
      object: { id: payment.external_id },
    })
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        world.call('POST', '/webhooks/payments/yookassa', body, { authorization: '' }),
      ),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    await paid(payment.id)
    expect((await wallet(customer_id)).balance).toBe(1800)
    await booksAreClean()
  })

  it('finds out by itself about a payment whose notifications are all lost', async () => {
    const customer_id = await world.customer()
    const { payment } = await world.order({ customer_id, product_key: 'minutes_30' })
    world.yookassa.control.faults({ lose: 10 })
    await pay(payment.external_id)
    await paid(payment.id, 'succeeded').catch(async () => {
      // Nobody looked for the first half minute; the janitor comes at twenty-five seconds at the latest.
      await paid(payment.id)
    })
    world.yookassa.control.faults({ lose: 0 })
    expect((await wallet(customer_id)).balance).toBe(1800)
  }, 60_000)

  it('changes nothing for a forged notification, and asks the vendor instead', async () => {
    const customer_id = await world.customer()
    const { payment } = await world.order({ customer_id, product_key: 'minutes_30' })
    const before = await world.digest()
    const forged = JSON.stringify({
      type: 'notification',
      event: 'payment.succeeded',
      object: {
        id: payment.external_id,
        status: 'succeeded',
        paid: true,
        amount: { value: '200.00', currency: 'RUB' },
      },
    })
    const { status } = await world.call('POST', '/webhooks/payments/yookassa', forged, { authorization: '' })
    expect(status).toBe(200)
    await world.app.drain()
    expect(await world.digest()).toBe(before)
    // The real one comes later and is not mistaken for a repeat of the forged one.
    await pay(payment.external_id)
    await paid(payment.id)
    expect((await wallet(customer_id)).balance).toBe(1800)
  })

  it('keeps an order whose vendor did not answer, and grants once when it does', async () => {
    const customer_id = await world.customer()
    world.yookassa.control.faults({ error_500: 1 })
    const price_id = await world.price('minutes_30')
    const body = {
      customer_id,
      gateway: 'yookassa',
      lines: [{ price_id, quantity: 1 }],
      return_url: 'https://shop.example/back',
      receipt_contact: { email: 'buyer@example.com' },
    }
    const key = { 'idempotency-key': `order-${customer_id}` }
    const first = await world.call('POST', '/v1/orders', body, key)
    expect(first.status).toBe(503)
    expect(first.headers.get('retry-after')).not.toBeNull()
    const again = await world.call<PlacedOrder>('POST', '/v1/orders', body, key)
    expect(again.status).toBe(201)
    const listed = await world.call<{ items: PlacedOrder[] }>('GET', `/v1/orders?customer_id=${customer_id}`)
    expect(listed.body.items).toHaveLength(1)
    await pay(again.body.payment.external_id)
    await paid(again.body.payment.id)
    expect((await wallet(customer_id)).balance).toBe(1800)
    await booksAreClean()
  })

  it('takes back what is left when the money is refunded whole, and refuses a second refund', async () => {
    const customer_id = await world.customer()
    const { payment } = await world.order({ customer_id, product_key: 'minutes_30' })
    await pay(payment.external_id)
    await paid(payment.id)
    const refunds = await Promise.all(
      Array.from({ length: 20 }, () =>
        world.call('POST', `/v1/payments/${payment.id}/refunds`, { amount: 20_000, reason: 'race' }),
      ),
    )
    expect(refunds.filter(({ status }) => status === 201)).toHaveLength(1)
    for (const { status, body } of refunds.filter((answer) => answer.status !== 201)) {
      expect(status).toBe(409)
      expect(['refund_too_large', 'invalid_state']).toContain(body['code'])
    }
    expect((await wallet(customer_id)).balance).toBe(0)
    expect((await world.call('GET', `/v1/payments/${payment.id}`)).body['status']).toBe('refunded')
    await booksAreClean()
  })

  it('takes a two-stage payment in part and grants that part', async () => {
    const customer_id = await world.customer()
    const price_id = await world.price('minutes_30')
    const { body: order } = await world.call<PlacedOrder>('POST', '/v1/orders', {
      customer_id,
      gateway: 'yookassa',
      lines: [{ price_id, quantity: 1 }],
      return_url: 'https://shop.example/back',
      receipt_contact: { email: 'buyer@example.com' },
      capture: 'manual',
    })
    world.yookassa.control.complete(order.payment.external_id, { outcome: 'authorized' })
    await paid(order.payment.id, 'authorized')
    expect((await wallet(customer_id)).balance ?? 0).toBe(0)
    const over = await world.call('POST', `/v1/payments/${order.payment.id}/capture`, { amount: 20_001 })
    expect(over.status).toBe(400)
    const captured = await world.call('POST', `/v1/payments/${order.payment.id}/capture`, { amount: 10_000 })
    expect(captured.body).toMatchObject({ status: 'succeeded', captured_amount: 10_000 })
    expect((await wallet(customer_id)).balance).toBe(900)
    await booksAreClean()
  })
})

async function pay(external_id: string): Promise<void> {
  world.yookassa.control.complete(external_id, { outcome: 'succeeded' })
}

async function historyAddsUp(customer_id: string): Promise<void> {
  const { body } = await world.call<{
    items: { kind: string; amount: number; balance: number; sequence: number }[]
  }>('GET', `/v1/customers/${customer_id}/transfers?unit=minute&limit=200`)
  const signs: Record<string, number> = { grant: 1, spend: -1, revocation: -1, expiry: -1, reversal: 1 }
  const items = body.items.toSorted((a, b) => a.sequence - b.sequence)
  let balance = 0
  for (const item of items) {
    balance += (signs[item.kind] ?? 0) * item.amount
    expect(item.balance).toBe(balance)
  }
  expect(items.map(({ sequence }) => sequence)).toEqual(items.map((_, index) => index + 1))
}

async function booksAreClean(): Promise<void> {
  const { body } = await world.call('GET', '/v1/verification')
  expect(body['findings']).toEqual([])
  expect(body['ok']).toBe(true)
}
