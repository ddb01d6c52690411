import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, startWorld, type World } from '../world.ts'

/** Attacks on prices, quantities, the order of steps and refunds. */
let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.close())

const code = (answer: Answer): unknown => [answer.status, answer.body['code']]
const BACK = 'https://shop.example/back'

async function bought(): Promise<{
  customer_id: string
  order_id: string
  payment_id: string
  total: number
}> {
  const customer_id = await world.customer()
  const order = await world.order({ customer_id, product_key: 'minutes_30' })
  world.yookassa.control.complete(order.payment.external_id, { outcome: 'succeeded' })
  await world.eventually('it is paid', async () => {
    const { body } = await world.call<{ status: string }>('GET', `/v1/payments/${order.payment.id}`)
    return body.status === 'succeeded'
  })
  return { customer_id, order_id: order.id, payment_id: order.payment.id, total: order.total }
}

const NO_AMOUNTS = [0, -1, -0.5, 1.5, 1e21, 2 ** 53, 2 ** 53 + 2, '1', '1e3', '0x10', null, true, [1], {}]

describe('A16: amounts and quantities that are none', () => {
  test('are refused everywhere, and move nothing', async () => {
    const customer_id = await world.customer()
    await world.call('POST', `/v1/customers/${customer_id}/grants`, {
      unit: 'minute',
      amount: 100,
      reason: 'x',
    })
    const price_id = await world.price('minutes_30')
    const { payment_id } = await bought()
    const before = await world.digest()
    const requests = (amount: unknown): [string, object][] => [
      ['/v1/spends', { customer_id, unit: 'minute', amount }],
      ['/v1/spends/batch', { items: [{ customer_id, unit: 'minute', amount }] }],
      ['/v1/holds', { customer_id, unit: 'minute', amount }],
      [
        '/v1/transfers',
        { from_customer_id: customer_id, to_customer_id: customer_id, unit: 'minute', amount },
      ],
      [`/v1/customers/${customer_id}/grants`, { unit: 'minute', amount, reason: 'x' }],
      [`/v1/payments/${payment_id}/refunds`, { amount, reason: 'x' }],
      [
        '/v1/orders',
        { customer_id, gateway: 'sandbox', return_url: BACK, lines: [{ price_id, quantity: amount }] },
      ],
    ]
    const passed: unknown[] = []
    for (const amount of NO_AMOUNTS) {
      for (const [url, body] of requests(amount)) {
        const answer = await world.call('POST', url, body)
        if (answer.status !== 400) passed.push([url, amount, answer.status, answer.text.slice(0, 120)])
      }
    }
    expect(passed).toEqual([])
    expect(await world.digest()).toBe(before)
  })

  test('beyond what an order may total are refused', async () => {
    const customer_id = await world.customer()
    const price_id = await world.price('minutes_30')
    for (const quantity of [1001, 2 ** 31, Number.MAX_SAFE_INTEGER]) {
      const lines = [{ price_id, quantity }]
      const body = { customer_id, gateway: 'sandbox', return_url: BACK, lines }
      expect([quantity, (await world.call('POST', '/v1/orders', body)).status]).toEqual([quantity, 400])
    }
  })
})

test('A17: an order keeps its price and terms, whatever becomes of the price meanwhile', async () => {
  const customer_id = await world.customer()
  const price_id = await world.price('minutes_100')
  const order = await world.order({ customer_id, product_key: 'minutes_100' })
  const price = await world.call<{ product_id: string; amount: number }>('GET', `/v1/prices/${price_id}`)
  const { product_id, amount } = price.body
  expect((await world.call('PATCH', `/v1/prices/${price_id}`, { is_active: false })).status).toBe(200)
  const raised = { product_id, currency: 'RUB', amount: amount * 3 }
  expect((await world.call('POST', '/v1/prices', raised)).status).toBe(201)
  world.yookassa.control.complete(order.payment.external_id, { outcome: 'succeeded' })
  await world.eventually('it is fulfilled', async () => {
    const { body } = await world.call<{ status: string }>('GET', `/v1/orders/${order.id}`)
    return body.status === 'fulfilled'
  })
  const paid = await world.call<{ captured_amount: number }>('GET', `/v1/payments/${order.payment.id}`)
  expect(paid.body.captured_amount).toBe(amount)
  const wallet = await world.call<{ balance: number }>('GET', `/v1/customers/${customer_id}/wallets/minute`)
  expect(wallet.body.balance).toBe(6_000)
  // The old price is for nobody who comes now.
  const lines = [{ price_id, quantity: 1 }]
  const late = await world.call('POST', '/v1/orders', {
    customer_id,
    gateway: 'sandbox',
    return_url: BACK,
    lines,
  })
  expect(code(late)).toEqual([409, 'not_on_sale'])
})

describe('A18: a step that is skipped or taken twice', () => {
  test('of an order and its payment is refused, and moves nothing', async () => {
    const customer_id = await world.customer()
    const open = await world.order({ customer_id, product_key: 'minutes_30' })
    const { order_id, payment_id } = await bought()
    const before = await world.digest()
    for (const [url, body] of [
      [`/v1/payments/${open.payment.id}/capture`, {}],
      [`/v1/payments/${payment_id}/capture`, { amount: 1 }],
      [`/v1/payments/${payment_id}/cancel`, {}],
      [`/v1/orders/${order_id}/cancel`, {}],
    ] as const) {
      const answer = await world.call('POST', url, body)
      expect([url, answer.status, answer.body['code']]).toEqual([url, 409, 'invalid_state'])
    }
    // To capture again what is captured is the same capture.
    expect((await world.call('POST', `/v1/payments/${payment_id}/capture`, {})).status).toBe(200)
    const unpaid = await world.call('POST', `/v1/payments/${open.payment.id}/refunds`, {
      amount: 1,
      reason: 'x',
    })
    expect(unpaid.status).toBe(409)
    expect(await world.digest()).toBe(before)
  })

  test('of a hold is refused: captured or released it is over', async () => {
    const customer_id = await world.customer()
    await world.call('POST', `/v1/customers/${customer_id}/grants`, {
      unit: 'minute',
      amount: 100,
      reason: 'x',
    })
    const hold = async (): Promise<string> =>
      (await world.call<{ id: string }>('POST', '/v1/holds', { customer_id, unit: 'minute', amount: 10 }))
        .body.id
    const act = (id: string, verb: string) => world.call('POST', `/v1/holds/${id}/${verb}`, {})
    const [captured, released] = [await hold(), await hold()]
    expect((await act(captured, 'capture')).status).toBe(200)
    expect((await act(released, 'release')).status).toBe(200)
    const before = await world.digest()
    expect((await act(captured, 'release')).status).toBe(409)
    expect((await act(released, 'capture')).status).toBe(409)
    const more = await world.call('POST', `/v1/holds/${captured}/capture`, { amount: 10 })
    expect(more.status).toBe(409)
    expect(await world.digest()).toBe(before)
  })
})

describe('A19: a refund', () => {
  test('of the whole amount asked for twenty times at once is made once', async () => {
    const { payment_id, customer_id, total } = await bought()
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        world.call('POST', `/v1/payments/${payment_id}/refunds`, { amount: total, reason: 'x' }),
      ),
    )
    const made = answers.filter((answer) => answer.status === 201)
    expect(made).toHaveLength(1)
    for (const answer of answers) expect([201, 409]).toContain(answer.status)
    const { body } = await world.call<{ refunded_amount: number }>('GET', `/v1/payments/${payment_id}`)
    expect(body.refunded_amount).toBe(total)
    const wallet = await world.call<{ balance: number }>('GET', `/v1/customers/${customer_id}/wallets/minute`)
    expect(wallet.body.balance).toBe(0)
  })

  test('is never more than was paid, in parts neither, and never of somebody who did not pay', async () => {
    const { payment_id, total } = await bought()
    const refund = (amount: number) =>
      world.call('POST', `/v1/payments/${payment_id}/refunds`, { amount, reason: 'x' })
    expect(code(await refund(total + 1))).toEqual([409, 'refund_too_large'])
    expect((await refund(total - 1)).status).toBe(201)
    expect(code(await refund(2))).toEqual([409, 'refund_too_large'])
    expect((await refund(1)).status).toBe(201)
    expect((await refund(1)).status).toBe(409)
    const absent = await world.call('POST', '/v1/payments/pay_absent/refunds', { amount: 1, reason: 'x' })
    expect(absent.status).toBe(404)
  })
})

test('and after all of this the books verify', async () => {
  const { body } = await world.call<{ findings: unknown[] }>('GET', '/v1/verification')
  expect(body.findings).toEqual([])
})
