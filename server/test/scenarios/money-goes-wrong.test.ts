import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWorld, type PlacedOrder, type World } from '../world.ts'
import { SANDBOX_SECRET } from '../world-settings.ts'

interface Payment {
  id: string
  status: string
  mismatch_reason: string | null
  captured_amount: number
  refunded_amount: number
}

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.close())

const payment = async (id: string): Promise<Payment> =>
  (await world.call<Payment>('GET', `/v1/payments/${id}`)).body
const balance = async (customer_id: string): Promise<number> =>
  (await world.call<{ balance: number }>('GET', `/v1/customers/${customer_id}/wallets/minute`)).body.balance
const becomes = (id: string, status: string): Promise<unknown> =>
  world.eventually(`payment ${id} is ${status}`, async () => (await payment(id)).status === status, 40_000)
const booksAreClean = async (): Promise<void> => {
  const { body } = await world.call('GET', '/v1/verification')
  expect(body['findings']).toEqual([])
}

/** A notification as the sandbox signs it; `change` alters the object before it is signed. */
function signed(
  order: PlacedOrder,
  change: Record<string, unknown> = {},
  at = new Date(),
): { body: string; headers: Record<string, string> } {
  const body = JSON.stringify({
    id: `evt_${Math.random()}`,
    type: 'payment.succeeded',
    created_at: at.toISOString(),
    payment: {
      id: order.payment.external_id,
      payment_id: order.payment.id,
      payment_number: numbers.get(order.payment.id) ?? 0,
      order_id: order.id,
      status: 'succeeded',
      amount: String(order.total),
      currency: order.currency,
      paid_at: at.toISOString(),
      ...change,
    },
  })
  const time = Math.floor(Date.now() / 1000)
  const mac = createHmac('sha256', SANDBOX_SECRET).update(`${time}.${body}`).digest('hex')
  return { body, headers: { authorization: '', 'sandbox-signature': `t=${time},v1=${mac}` } }
}

const numbers = new Map<string, number>()
async function sandboxOrder(customer_id: string): Promise<PlacedOrder> {
  const order = await world.order({ customer_id, product_key: 'minutes_30', gateway: 'sandbox' })
  const { rows } = await world.app.db.pool.query<{ number: number }>(
    'select number from payments.payments where id = $1',
    [order.payment.id],
  )
  numbers.set(order.payment.id, rows[0]?.number ?? 0)
  return order
}
async function tell(order: PlacedOrder, change: Record<string, unknown> = {}, at?: Date): Promise<number> {
  const { body, headers } = signed(order, change, at)
  const { status } = await world.call('POST', '/webhooks/payments/sandbox', body, headers)
  await world.eventually('the inbox is empty', async () => {
    const { rows } = await world.app.db.pool.query(
      "select 1 from payments.inbox where status <> 'handled' limit 1",
    )
    return rows.length === 0
  })
  return status
}

describe('a signed notification that is not what was asked', () => {
  it.each([
    ['a smaller amount', { amount: '100' }, 'wrong_amount'],
    ['a larger amount', { amount: '20001' }, 'wrong_amount'],
    ['another currency', { currency: 'USD' }, 'wrong_currency'],
    ['another order', { order_id: 'ord_another' }, 'wrong_order'],
    ['another payment at the vendor', { id: 'sbx_another' }, 'wrong_external_id'],
  ])('keeps %s for a person and grants nothing', async (_title, change, reason) => {
    const customer_id = await world.customer()
    const order = await sandboxOrder(customer_id)
    expect(await tell(order, change)).toBe(200)
    expect(await payment(order.payment.id)).toMatchObject({ status: 'mismatch', mismatch_reason: reason })
    expect(await balance(customer_id)).toBe(0)
    // What is right afterwards does not undo a doubt that a person has to clear.
    await tell(order)
    expect(await balance(customer_id)).toBe(0)
    await booksAreClean()
  })

  it('changes nothing when it is forged or names another gateway’s payment', async () => {
    const customer_id = await world.customer()
    const order = await sandboxOrder(customer_id)
    const { body, headers } = signed(order)
    const forged = await world.call('POST', '/webhooks/payments/sandbox', body, {
      ...headers,
      'sandbox-signature': `t=${Math.floor(Date.now() / 1000)},v1=${'0'.repeat(64)}`,
    })
    expect(forged.status).toBeGreaterThanOrEqual(400)
    const yookassa = await world.order({ customer_id, product_key: 'minutes_30' })
    await tell({ ...yookassa, payment: { ...yookassa.payment } })
    expect((await payment(yookassa.payment.id)).status).toBe('pending')
    expect((await payment(order.payment.id)).status).toBe('pending')
    expect(await balance(customer_id)).toBe(0)
  })
})

describe('an order and its money', () => {
  it('sets aside what was paid after the order’s time, and gives it back whole on request', async () => {
    const customer_id = await world.customer()
    const order = await sandboxOrder(customer_id)
    const late = new Date(Date.now() + 25 * 3_600_000)
    await tell(order, {}, late)
    expect(await payment(order.payment.id)).toMatchObject({
      status: 'mismatch',
      mismatch_reason: 'order_expired',
      captured_amount: 20_000,
    })
    expect(await balance(customer_id)).toBe(0)
    await booksAreClean()
    const refund = () =>
      world.call('POST', `/v1/payments/${order.payment.id}/refunds`, { reason: 'paid too late' })
    expect((await refund()).body).toMatchObject({ status: 'succeeded', amount: 20_000, breakdown: [] })
    expect((await refund()).status).toBe(409)
    expect(await payment(order.payment.id)).toMatchObject({ status: 'mismatch', refunded_amount: 20_000 })
    await booksAreClean()
  })

  it.each([
    ['more', 20_001],
    ['less', 100],
  ])('gives back what was taken when it was %s than was asked', async (_title, amount) => {
    const order = await sandboxOrder(await world.customer())
    await tell(order, { amount: String(amount) })
    expect(await payment(order.payment.id)).toMatchObject({ status: 'mismatch', captured_amount: amount })
    const refund = await world.call('POST', `/v1/payments/${order.payment.id}/refunds`, {
      reason: 'not what was asked',
    })
    expect(refund.body).toMatchObject({ status: 'succeeded', amount })
    expect(await payment(order.payment.id)).toMatchObject({ status: 'mismatch', refunded_amount: amount })
    await booksAreClean()
  })

  it('sets aside the money of a canceled order', async () => {
    const customer_id = await world.customer()
    const order = await sandboxOrder(customer_id)
    expect((await world.call('POST', `/v1/orders/${order.id}/cancel`)).body['status']).toBe('canceled')
    await tell(order)
    expect(await payment(order.payment.id)).toMatchObject({
      status: 'mismatch',
      mismatch_reason: 'order_canceled',
      captured_amount: 20_000,
    })
    expect(await balance(customer_id)).toBe(0)
    const refund = await world.call('POST', `/v1/payments/${order.payment.id}/refunds`, {
      reason: 'canceled order',
    })
    expect(refund.body).toMatchObject({ status: 'succeeded', amount: 20_000 })
    await booksAreClean()
  })

  it('takes back whatever is left when the refund was made in the vendor’s cabinet', async () => {
    const customer_id = await world.customer()
    const { payment: started } = await world.order({ customer_id, product_key: 'minutes_30' })
    world.yookassa.control.complete(started.external_id, 'succeeded')
    await becomes(started.id, 'succeeded')
    await world.call('POST', '/v1/spends', { customer_id, unit: 'minute', amount: 600 })
    const made = await fetch(`${world.yookassa.base_url}/v3/refunds`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from('100500:test_kopilka_world_secret_key').toString('base64')}`,
        'content-type': 'application/json',
        'idempotence-key': `cabinet-${started.id}`,
      },
      body: JSON.stringify({ payment_id: started.external_id, amount: { value: '200.00', currency: 'RUB' } }),
    })
    expect(made.status).toBe(200)
    await becomes(started.id, 'refunded')
    expect(await balance(customer_id)).toBe(0)
    await booksAreClean()
  })

  it('gives the units back when the vendor refuses a refund', async () => {
    const customer_id = await world.customer()
    const { payment: started } = await world.order({ customer_id, product_key: 'minutes_30' })
    world.yookassa.control.complete(started.external_id, 'succeeded')
    await becomes(started.id, 'succeeded')
    world.yookassa.control.settings({ refund_outcome: 'insufficient_funds' })
    const { body } = await world.call('POST', `/v1/payments/${started.id}/refunds`, {
      amount: 20_000,
      reason: 'try',
    })
    world.yookassa.control.settings({ refund_outcome: 'succeeded' })
    expect(body).toMatchObject({ status: 'failed' })
    expect(await balance(customer_id)).toBe(1800)
    expect(await payment(started.id)).toMatchObject({ status: 'succeeded', refunded_amount: 0 })
    await booksAreClean()
  })

  it('writes nothing off for a refund that was refused, although nothing was left to take', async () => {
    const customer_id = await world.customer()
    const { payment: started } = await world.order({ customer_id, product_key: 'minutes_30' })
    world.yookassa.control.complete(started.external_id, 'succeeded')
    await becomes(started.id, 'succeeded')
    await world.call('POST', '/v1/spends', { customer_id, unit: 'minute', amount: 1800 })
    world.yookassa.control.settings({ refund_outcome: 'insufficient_funds' })
    const { body } = await world.call<{ id: string; status: string }>(
      'POST',
      `/v1/payments/${started.id}/refunds`,
      { amount: 20_000, reason: 'try' },
    )
    world.yookassa.control.settings({ refund_outcome: 'succeeded' })
    expect(body.status).toBe('failed')
    const { rows } = await world.app.db.pool.query(
      `select written_off::int, taken::int, debt::int, reinstated = requested as is_undone
         from ledger.revocations where reference = $1`,
      [body.id],
    )
    expect(rows).toEqual([{ written_off: 0, taken: 0, debt: 0, is_undone: true }])
    await booksAreClean()
  })

  it('finds out what became of a refund whose answer was lost, and gives the money back once', async () => {
    const customer_id = await world.customer()
    const { payment: started } = await world.order({ customer_id, product_key: 'minutes_30' })
    world.yookassa.control.complete(started.external_id, 'succeeded')
    await becomes(started.id, 'succeeded')
    world.yookassa.control.faults({ error_500: 1, lose: 10 })
    const { body } = await world.call<{ id: string; status: string }>(
      'POST',
      `/v1/payments/${started.id}/refunds`,
      { amount: 20_000, reason: 'lost answer' },
    )
    world.yookassa.control.faults({ error_500: 0, lose: 0 })
    expect(['unknown', 'succeeded']).toContain(body.status)
    await world.eventually(
      'the refund is known',
      async () => (await world.call('GET', `/v1/refunds/${body.id}`)).body['status'] === 'succeeded',
      40_000,
    )
    expect((await payment(started.id)).refunded_amount).toBe(20_000)
    const refunds = world.yookassa.control.objects({ collection: 'refunds', limit: 1000 }).items as {
      payment_id: string
    }[]
    expect(refunds.filter((refund) => refund.payment_id === started.external_id)).toHaveLength(1)
    await booksAreClean()
  })
})

describe('the sandbox’s pay page', () => {
  it.each([
    ['pay', 1800, 'succeeded'],
    ['twice', 1800, 'succeeded'],
    ['later', 1800, 'succeeded'],
    ['decline', 0, 'failed'],
  ])('does what its button %s says', async (button, expected, status) => {
    const customer_id = await world.customer()
    const order = await world.order({ customer_id, product_key: 'minutes_30', gateway: 'sandbox' })
    const page = await fetch(order.payment.checkout_url)
    expect(page.status).toBe(200)
    const pressed = await fetch(order.payment.checkout_url, {
      method: 'POST',
      redirect: 'manual',
      body: new URLSearchParams({ button }),
    })
    expect(pressed.status).toBe(303)
    expect(pressed.headers.get('location')).toBe('https://shop.example/back')
    await becomes(order.payment.id, status)
    expect(await balance(customer_id)).toBe(expected)
  })
})
