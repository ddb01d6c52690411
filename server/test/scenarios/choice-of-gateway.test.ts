import { createHmac, randomBytes } from 'node:crypto'
import { createServer, type AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWorld, type Answer, type PlacedOrder, type World } from '../world.ts'
import { SANDBOX_SECRET } from '../world-settings.ts'

type Order = PlacedOrder & { gateway: string }
interface Payment {
  id: string
  order_id: string
  gateway: string
  status: string
  failure_reason: string | null
  mismatch_reason: string | null
  captured_amount: number
  refunded_amount: number
  checkout_url: string
  fee: number | null
  fee_currency: string | null
}
interface Refusal {
  code: string
  order_id?: string
  alternatives?: string[]
  is_nothing_made?: boolean
  detail: string
}

/** Made up here, valid nowhere; its pages are made without the vendor. */
const ROBOKASSA = {
  merchant_login: 'kopilka',
  password1: 'password-one-of-the-world',
  password2: 'password-two-of-the-world',
  is_test: true,
  receipts: false,
}

/** Verbs of a buyer in one world. */
function buyerOf(world: World) {
  const place = async (
    customer_id: string,
    more: Record<string, unknown> = {},
    key = randomBytes(8).toString('hex'),
  ): Promise<Answer<Order & Refusal>> =>
    world.call<Order & Refusal>(
      'POST',
      '/v1/orders',
      {
        customer_id,
        lines: [{ price_id: await world.price('minutes_30'), quantity: 1 }],
        return_url: 'https://shop.example/back',
        receipt_contact: { email: 'buyer@example.com' },
        ...more,
      },
      { 'idempotency-key': key },
    )
  const attempts = async (order_id: string): Promise<Payment[]> => {
    const { body } = await world.call<{ items: Payment[] }>('GET', `/v1/payments?order_id=${order_id}`)
    return body.items.toReversed()
  }
  const again = (order_id: string, body: object = {}) =>
    world.call<Payment & Refusal>('POST', `/v1/orders/${order_id}/payments`, body)
  const press = async (checkout_url: string, button: string): Promise<void> => {
    const body = new URLSearchParams({ button })
    await fetch(checkout_url, { method: 'POST', redirect: 'manual', body })
  }
  const payment = async (id: string) => (await world.call<Payment>('GET', `/v1/payments/${id}`)).body
  const becomes = (id: string, status: string) =>
    world.eventually(`${id} is ${status}`, async () => (await payment(id)).status === status)
  const balance = async (customer_id: string) =>
    (await world.call<{ balance: number }>('GET', `/v1/customers/${customer_id}/wallets/minute`)).body.balance
  const booksAreClean = async () =>
    expect((await world.call('GET', '/v1/verification')).body['findings']).toEqual([])
  return { place, attempts, again, press, payment, becomes, balance, booksAreClean }
}
type Buyer = ReturnType<typeof buyerOf>

const statuses = (payments: readonly Payment[]): string[] =>
  payments.map(({ gateway, status, failure_reason }) => `${gateway} ${status} ${failure_reason ?? ''}`.trim())

/** A success of a sandbox payment, signed as its page signs it. */
async function tellPaid(world: World, order: { id: string; total: number }, payment: Payment): Promise<void> {
  const { rows } = await world.app.db.pool.query<{ number: number; external_id: string }>(
    'select number, external_id from payments.payments where id = $1',
    [payment.id],
  )
  const body = JSON.stringify({
    id: `evt_${payment.id}`,
    type: 'payment.succeeded',
    created_at: new Date().toISOString(),
    payment: {
      id: rows[0]?.external_id,
      payment_id: payment.id,
      payment_number: rows[0]?.number,
      order_id: order.id,
      status: 'succeeded',
      amount: String(order.total),
      currency: 'RUB',
      paid_at: new Date().toISOString(),
    },
  })
  const time = Math.floor(Date.now() / 1000)
  const mac = createHmac('sha256', SANDBOX_SECRET).update(`${time}.${body}`).digest('hex')
  const headers = { authorization: '', 'sandbox-signature': `t=${time},v1=${mac}` }
  const { status } = await world.call('POST', '/webhooks/payments/sandbox', body, headers)
  expect(status).toBe(200)
}

/** A port where nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

describe('an order that names no gateway', () => {
  let world: World
  let buyer: Buyer
  beforeAll(async () => {
    world = await startWorld()
    buyer = buyerOf(world)
  })
  afterAll(() => world?.close())

  it('goes to the one that can take it, says to which, and is the same under the same key', async () => {
    const customer_id = await world.customer()
    const first = await buyer.place(customer_id, {}, 'one-key')
    expect(first.status).toBe(201)
    expect(first.body).toMatchObject({ gateway: 'yookassa', payment: { gateway: 'yookassa' } })
    const second = await buyer.place(customer_id, {}, 'one-key')
    expect(second.text).toBe(first.text)
    world.yookassa.control.complete(first.body.payment.external_id, 'succeeded')
    await buyer.becomes(first.body.payment.id, 'succeeded')
    expect(await buyer.balance(customer_id)).toBe(1800)
    const paid = await buyer.payment(first.body.payment.id)
    expect(paid).toMatchObject({ fee_currency: 'RUB' })
    expect(paid.fee).toBeGreaterThan(0)
  })

  it('goes on to the next one when the first refuses to make it', async () => {
    const customer_id = await world.customer()
    world.yookassa.control.settings({ currency: 'USD' })
    const { body, status } = await buyer.place(customer_id)
    world.yookassa.control.settings({ currency: 'RUB' })
    expect(status).toBe(201)
    expect(body.gateway).toBe('sandbox')
    const [first, second] = await buyer.attempts(body.id)
    expect(first).toMatchObject({ gateway: 'yookassa', status: 'failed' })
    expect(second).toMatchObject({ gateway: 'sandbox', status: 'pending' })
    await buyer.press(body.payment.checkout_url, 'pay')
    await buyer.becomes(body.payment.id, 'succeeded')
    expect(await buyer.balance(customer_id)).toBe(1800)
    await buyer.booksAreClean()
  })

  it('keeps a payment whose outcome is unknown and makes no second one beside it', async () => {
    const customer_id = await world.customer()
    world.yookassa.control.faults({ error_500: 1 })
    const first = await buyer.place(customer_id, {}, 'unknown-key')
    expect(first.status).toBe(503)
    expect(Number(first.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(first.body).toMatchObject({ code: 'gateway_unavailable', order_id: expect.any(String) })
    expect(first.body).not.toHaveProperty('alternatives')
    expect(first.body).not.toHaveProperty('is_nothing_made')
    const order_id = first.body.order_id ?? ''
    const [only, ...more] = await buyer.attempts(order_id)
    expect(more).toEqual([])
    expect(['unknown', 'pending']).toContain(only?.status)
    // Nor does anybody else begin one.
    if (only?.status === 'unknown')
      expect((await buyer.again(order_id, { gateway: 'sandbox' })).status).toBe(409)
    const second = await world.eventually('the same key goes on', async () => {
      const answer = await buyer.place(customer_id, {}, 'unknown-key')
      return answer.status === 201 && answer
    })
    expect(second.body).toMatchObject({ id: order_id, gateway: 'yookassa', payment: { id: only?.id } })
    expect(await buyer.attempts(order_id)).toHaveLength(1)
    const made = world.yookassa.control.objects({ collection: 'payments', limit: 1000 }).items as {
      metadata?: { payment_id?: string }
    }[]
    expect(made.filter((one) => one.metadata?.payment_id === only?.id)).toHaveLength(1)
  })

  it('is refused when nobody can take it, with the reasons', async () => {
    const customer_id = await world.customer()
    const price = await world.price('minutes_30', 'XTR').catch(() => undefined)
    const named = await buyer.place(customer_id, { gateway: 'nobody' })
    expect(named).toMatchObject({ status: 409, body: { code: 'gateway_not_available' } })
    if (price === undefined) return
    world.app.payments.gateways.disable('sandbox')
    const { status, body } = await buyer.place(customer_id, { lines: [{ price_id: price, quantity: 1 }] })
    world.app.payments.gateways.configure('sandbox', { secret: SANDBOX_SECRET, later_seconds: 1 })
    expect(status).toBe(409)
    expect(body.detail).toContain('yookassa (wrong_currency)')
  })

  it('goes where the customer paid last, before the order of the owner', async () => {
    const customer_id = await world.customer()
    world.app.payments.gateways.configure('robokassa', ROBOKASSA)
    const before = await buyer.place(customer_id)
    expect(before.body.gateway).toBe('yookassa')
    const paid = await buyer.place(customer_id, { gateway: 'robokassa' })
    await world.app.db.pool.query(
      `update payments.payments set succeeded_at = now() - interval '1 day' where id = $1`,
      [paid.body.payment.id],
    )
    expect((await buyer.place(customer_id)).body.gateway).toBe('robokassa')
    expect((await buyer.place(await world.customer())).body.gateway).toBe('yookassa')
    world.app.payments.gateways.disable('robokassa')
    expect((await buyer.place(customer_id)).body.gateway).toBe('yookassa')
  })
})

describe('another attempt at an order', () => {
  let world: World
  let buyer: Buyer
  beforeAll(async () => {
    world = await startWorld()
    buyer = buyerOf(world)
  })
  afterAll(() => world?.close())
  const declined = async (): Promise<{ customer_id: string; order: Order; payment: Payment }> => {
    const customer_id = await world.customer()
    const { body } = await buyer.place(customer_id, { gateway: 'sandbox' })
    await buyer.press(body.payment.checkout_url, 'decline')
    await buyer.becomes(body.payment.id, 'failed')
    return { customer_id, order: body, payment: await buyer.payment(body.payment.id) }
  }

  it('goes to a gateway that was not tried, and is granted once when it is paid', async () => {
    const { customer_id, order } = await declined()
    const { status, body } = await buyer.again(order.id)
    expect(status).toBe(201)
    expect(body).toMatchObject({ gateway: 'yookassa', order_id: order.id, status: 'pending' })
    const shown = await world.call<Order>('GET', `/v1/orders/${order.id}`)
    expect(shown.body).toMatchObject({ gateway: 'yookassa', payment: { id: body.id } })
    const { external_id } = shown.body.payment
    world.yookassa.control.complete(external_id, 'succeeded')
    await buyer.becomes(body.id, 'succeeded')
    expect(await buyer.balance(customer_id)).toBe(1800)
    expect((await world.call<Order>('GET', `/v1/orders/${order.id}`)).body.status).toBe('fulfilled')
    // The first gateway made no receipts; the buyer's contact was kept for one that does.
    const receipts = await world.call<{ items: object[] }>('GET', `/v1/receipts?payment_id=${body.id}`)
    expect(receipts.body.items).toMatchObject([{ kind: 'payment', contact: { email: 'buyer@example.com' } }])
    expect((await buyer.again(order.id)).status).toBe(409)
    await buyer.booksAreClean()
  })

  it('paid beside a first one that succeeds after all: one grants, the other goes back whole', async () => {
    const { customer_id, order, payment } = await declined()
    const { body: second } = await buyer.again(order.id, { gateway: 'sandbox' })
    await buyer.press(second.checkout_url, 'pay')
    await buyer.becomes(second.id, 'succeeded')
    await world.call('POST', '/v1/spends', { customer_id, unit: 'minute', amount: 300 })
    await tellPaid(world, order, payment)
    await buyer.becomes(payment.id, 'mismatch')
    expect(await buyer.payment(payment.id)).toMatchObject({
      mismatch_reason: 'order_already_paid',
      captured_amount: 20_000,
    })
    const refund = await world.call('POST', `/v1/payments/${payment.id}/refunds`, { reason: 'paid twice' })
    expect(refund.body).toMatchObject({ status: 'succeeded', amount: 20_000, breakdown: [] })
    expect(await buyer.payment(payment.id)).toMatchObject({ status: 'mismatch', refunded_amount: 20_000 })
    // What the other payment bought is untouched.
    expect(await buyer.balance(customer_id)).toBe(1500)
    expect((await buyer.payment(second.id)).status).toBe('succeeded')
    const more = await world.call('POST', `/v1/payments/${payment.id}/refunds`, { amount: 1, reason: 'more' })
    expect(more.status).toBe(409)
    await buyer.booksAreClean()
  })

  it('waits for the end of the one before, and begins once of fifty at the same moment', async () => {
    const customer_id = await world.customer()
    const { body: open } = await buyer.place(customer_id, { gateway: 'sandbox' })
    const early = await buyer.again(open.id)
    expect(early).toMatchObject({ status: 409, body: { code: 'invalid_state', payment_id: open.payment.id } })
    await world.call('POST', `/v1/payments/${open.payment.id}/cancel`)
    const many = await Promise.all(
      Array.from({ length: 50 }, () => buyer.again(open.id, { gateway: 'sandbox' })),
    )
    expect(many.map(({ status }) => status).toSorted()).toEqual([
      201,
      ...Array.from({ length: 49 }, () => 409),
    ])
    expect(await buyer.attempts(open.id)).toHaveLength(2)
  })

  it('is the same one under the same key, and ends with the order', async () => {
    const { order } = await declined()
    const ask = () =>
      world.call<Payment>(
        'POST',
        `/v1/orders/${order.id}/payments`,
        { gateway: 'sandbox' },
        {
          'idempotency-key': `again-${order.id}`,
        },
      )
    const [first, second] = [await ask(), await ask()]
    expect(second.text).toBe(first.text)
    expect(await buyer.attempts(order.id)).toHaveLength(2)
    await world.call('POST', `/v1/payments/${first.body.id}/cancel`)
    await world.call('POST', `/v1/orders/${order.id}/cancel`)
    expect(await buyer.again(order.id)).toMatchObject({ status: 409, body: { status_now: 'canceled' } })
  })

  it('refuses who may not, what is not there, and what makes no sense', async () => {
    const { order } = await declined()
    const url = `/v1/orders/${order.id}/payments`
    expect((await world.call('POST', url, {}, { authorization: '' })).status).toBe(401)
    expect((await buyer.again('ord_absent')).status).toBe(404)
    expect((await buyer.again(order.id, { gateway: 'nobody' })).status).toBe(409)
    expect((await buyer.again(order.id, { gateway: 7 })).status).toBe(400)
    expect((await buyer.again(order.id, { payment_method_id: 'pm_absent' })).status).toBe(404)
    expect(await buyer.attempts(order.id)).toHaveLength(1)
  })

  it('is not made for ever', async () => {
    const { order } = await declined()
    await world.app.db.pool.query(
      `insert into payments.payments (id, order_id, customer_id, gateway, is_test, status, amount, currency,
         description, return_url, expires_at, created_at, updated_at)
       select id || n, order_id, customer_id, gateway, is_test, 'failed', amount, currency, description,
         return_url, expires_at, created_at, updated_at
         from payments.payments, generate_series(1, 19) n where order_id = $1`,
      [order.id],
    )
    expect(await buyer.again(order.id)).toMatchObject({ status: 409, body: { attempts: 20 } })
  })
})

describe('a gateway that cannot be reached', () => {
  let world: World
  let buyer: Buyer
  beforeAll(async () => {
    const port = await closedPort()
    world = await startWorld((settings) => {
      const yookassa = { ...settings.gateways['yookassa'], base_url: `http://127.0.0.1:${port}/v3` }
      return { ...settings, gateways: { ...settings.gateways, yookassa } }
    })
    buyer = buyerOf(world)
  })
  afterAll(() => world?.close())

  it('is passed over when it was not named: nothing was made there', async () => {
    const customer_id = await world.customer()
    const { status, body } = await buyer.place(customer_id)
    expect(status).toBe(201)
    expect(body.gateway).toBe('sandbox')
    expect(statuses(await buyer.attempts(body.id))).toEqual([
      'yookassa failed gateway_unreachable',
      'sandbox pending',
    ])
    await buyer.press(body.payment.checkout_url, 'pay')
    await buyer.becomes(body.payment.id, 'succeeded')
    expect(await buyer.balance(customer_id)).toBe(1800)
    await buyer.booksAreClean()
  })

  it('is never swapped when it was named, and says who could do it instead', async () => {
    const customer_id = await world.customer()
    const named = await buyer.place(customer_id, { gateway: 'yookassa' })
    expect(named.status).toBe(503)
    expect(named.body).toMatchObject({ is_nothing_made: true, alternatives: ['sandbox'] })
    const order_id = named.body.order_id ?? ''
    const other = await buyer.again(order_id, { gateway: 'sandbox' })
    expect(other).toMatchObject({ status: 201, body: { gateway: 'sandbox' } })
    // The first can never be made any more: the janitor has nothing to go on with.
    expect(statuses(await buyer.attempts(order_id))).toEqual([
      'yookassa failed gateway_unreachable',
      'sandbox pending',
    ])
    await buyer.press(other.body.checkout_url, 'pay')
    await buyer.becomes(other.body.id, 'succeeded')
    expect(await buyer.balance(customer_id)).toBe(1800)
  })

  it('is known to be down after a few failures: others are asked, who named it is told at once', async () => {
    const customer_id = await world.customer()
    const state = async (): Promise<unknown> => {
      const { body } = await world.call<{ items: { id: string; breaker: { state: string } }[] }>(
        'GET',
        '/v1/gateways',
      )
      return body.items.find(({ id }) => id === 'yookassa')?.breaker.state
    }
    for (let turn = 0; turn < 6 && (await state()) !== 'open'; turn++) await buyer.place(customer_id)
    expect(await state()).toBe('open')
    const metrics = await world.call('GET', '/metrics')
    expect(metrics.text).toContain('kopilka_gateway_breaker_state{gateway="yookassa"} 2')
    expect(metrics.text).toContain('kopilka_gateway_breaker_state{gateway="sandbox"} 0')
    const { body } = await buyer.place(customer_id)
    expect(statuses(await buyer.attempts(body.id))).toEqual(['sandbox pending'])
    const count = async (): Promise<unknown> =>
      (await world.app.db.pool.query('select count(*)::int as n from orders.orders')).rows[0]
    const before = await count()
    const named = await buyer.place(customer_id, { gateway: 'yookassa' })
    expect(named).toMatchObject({ status: 503, body: { alternatives: ['sandbox'], is_nothing_made: true } })
    expect(Number(named.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(await count()).toEqual(before)
    world.app.payments.gateways.disable('sandbox')
    const nobody = await buyer.place(customer_id)
    world.app.payments.gateways.configure('sandbox', { secret: SANDBOX_SECRET, later_seconds: 1 })
    expect(nobody).toMatchObject({ status: 503, body: { alternatives: [] } })
    expect(await count()).toEqual(before)
  })
})
