import { createHmac } from 'node:crypto'
import { startRobokassaEmulator } from '@kopilka/emulators/robokassa'
import type { Emulator } from '@kopilka/emulators/emulator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { lookAtPayment, lookAtRefunds } from '../peer-world.ts'
import { compareBooks } from '../reconciliation-lab.ts'
import { startWorld, type PlacedOrder, type World } from '../world.ts'

/**
 * Robokassa gives nothing back in its test mode: these are a live installation's refunds, from the order to
 * the vendor's books, with the vendor played beside it.
 */

/** Made up here, valid nowhere. */
const SHOP = {
  merchant_login: 'live_shop',
  password1: 'refunds-live-password-1-abcdef',
  password2: 'refunds-live-password-2-abcdef',
  password3: 'refunds-live-password-3-abcdef',
}
const MINUTES = 1800
const TOTAL = 20_000
const SLOW_MS = 90_000

let world: World
let vendor: Emulator
beforeAll(async () => {
  vendor = await startRobokassaEmulator({ settings: SHOP, retry_scale: 0.001, hold_ms: 500 })
  world = await startWorld((settings) => ({ ...settings, mode: 'live', gateways: { robokassa: shop() } }))
  vendor.control.settings({ webhook_url: `${world.base_url}/webhooks/payments/robokassa` })
}, SLOW_MS)
afterAll(async () => {
  await world?.close()
  await vendor?.close()
})

const shop = (changes: object = {}): Record<string, unknown> => ({
  ...SHOP,
  pay_url: `${vendor.base_url}/Merchant`,
  services_url: vendor.base_url,
  receipts_url: vendor.base_url,
  ...changes,
})

interface Bought {
  customer_id: string
  order: PlacedOrder
  payment_id: string
}
interface Refund {
  id: string
  status: string
  amount: number
  failure_reason: string | null
}

/** Somebody pays on Robokassa's page with real money, as this installation sees it. */
async function bought(): Promise<Bought> {
  const customer_id = await world.customer()
  const order = await world.order({ customer_id, product_key: 'minutes_30', gateway: 'robokassa' })
  await (await fetch(order.payment.checkout_url)).text()
  vendor.control.complete(order.payment.external_id, 'succeeded')
  await becomes(order.payment.id, 'succeeded')
  return { customer_id, order, payment_id: order.payment.id }
}

const paymentOf = async (id: string) => (await world.call('GET', `/v1/payments/${id}`)).body
const becomes = (id: string, status: string): Promise<unknown> =>
  world.eventually(`payment ${id} is ${status}`, async () => (await paymentOf(id))['status'] === status)
const balance = async (customer_id: string): Promise<number> =>
  (await world.call<{ balance: number }>('GET', `/v1/customers/${customer_id}/wallets/minute`)).body.balance
const ask = (payment_id: string, body: object) =>
  world.call<Refund>('POST', `/v1/payments/${payment_id}/refunds`, { reason: 'asked for', ...body })
const refundsOf = async (payment_id: string): Promise<Refund[]> =>
  (await world.call<{ items: Refund[] }>('GET', `/v1/refunds?payment_id=${payment_id}`)).body.items
const refundBecomes = (payment_id: string, id: string, status: string): Promise<Refund> =>
  world.eventually(`refund ${id} is ${status}`, async () =>
    (await refundsOf(payment_id)).find((refund) => refund.id === id && refund.status === status),
  )
const look = (payment_id: string): Promise<void> => lookAtRefunds(world, payment_id)

interface AtVendor {
  id: string
  op_key: string
  amount: number
  label: string
}
function atVendor({ order }: Bought): AtVendor[] {
  const payments = vendor.control.objects({ collection: 'payments', limit: 1000 }).items as AtVendor[]
  const op_key = payments.find(({ id }) => id === order.payment.external_id)?.op_key
  const refunds = vendor.control.objects({ collection: 'refunds', limit: 1000 }).items as AtVendor[]
  return refunds.filter((refund) => refund.op_key === op_key).toReversed()
}

/** Bodies of the requests to give back, oldest first. */
function asked(): string[] {
  const { items } = vendor.control.log({ kind: 'request', limit: 1000, order: 'asc' })
  return items.filter(({ path }) => path?.endsWith('/Refund/Create')).map(({ body = '' }) => body)
}

/** What a JWT says, when Password #3 signed it. */
function opened(jwt: string): Record<string, unknown> {
  const [head = '', body = '', signature = ''] = jwt.split('.')
  expect(createHmac('sha256', SHOP.password3).update(`${head}.${body}`).digest('base64url')).toBe(signature)
  return JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, unknown>
}

async function booksAreClean(): Promise<void> {
  expect((await world.call('GET', '/v1/verification')).body['findings']).toEqual([])
}

describe.each(['json', 'raw'] as const)('money given back through Robokassa, asked for as %s', (form) => {
  beforeAll(() => world.app.payments.gateways.configure('robokassa', shop({ refund_body: form })))

  it('goes in parts until all of it is back, and the units with it', async () => {
    const sale = await bought()
    const before = asked().length
    const part = await ask(sale.payment_id, { amount: TOTAL / 4 })
    expect(part).toMatchObject({ status: 201, body: { amount: TOTAL / 4 } })
    await look(sale.payment_id)
    await refundBecomes(sale.payment_id, part.body.id, 'succeeded')
    expect(await paymentOf(sale.payment_id)).toMatchObject({
      status: 'partially_refunded',
      refunded_amount: TOTAL / 4,
      is_test: false,
    })
    expect(await balance(sale.customer_id)).toBe((MINUTES / 4) * 3)
    const rest = await ask(sale.payment_id, {})
    expect(rest.body).toMatchObject({ amount: (TOTAL / 4) * 3 })
    await look(sale.payment_id)
    await becomes(sale.payment_id, 'refunded')
    expect(await balance(sale.customer_id)).toBe(0)
    expect(atVendor(sale).map(({ amount }) => amount)).toEqual([TOTAL / 4, (TOTAL / 4) * 3])
    const bodies = asked().slice(before)
    expect(bodies).toHaveLength(2)
    expect(bodies.every((body) => body.startsWith('"') === (form === 'json'))).toBe(true)
    const [first, second] = bodies.map((body) => opened(body.replaceAll('"', '')))
    expect([first?.['RefundSum'], second?.['RefundSum']]).toEqual([50, 150])
    // Nothing is left: the next one is refused before anybody is asked.
    expect((await ask(sale.payment_id, { amount: 1 })).status).toBeGreaterThanOrEqual(400)
    expect(asked()).toHaveLength(before + 2)
    await booksAreClean()
  })

  it('goes whole without a sum', async () => {
    const sale = await bought()
    const whole = await ask(sale.payment_id, {})
    await look(sale.payment_id)
    await becomes(sale.payment_id, 'refunded')
    expect(whole.body).toMatchObject({ amount: TOTAL })
    expect(opened((asked().at(-1) ?? '').replaceAll('"', ''))).not.toHaveProperty('RefundSum')
    expect(atVendor(sale)).toMatchObject([{ amount: TOTAL }])
    expect(await balance(sale.customer_id)).toBe(0)
  })
})

describe('money that Robokassa does not give back', () => {
  it('stays paid when the vendor cancels, and the units come back', async () => {
    const sale = await bought()
    vendor.control.settings({ refund_outcome: 'canceled' })
    const { body } = await ask(sale.payment_id, {})
    await look(sale.payment_id)
    expect(await refundBecomes(sale.payment_id, body.id, 'failed')).toMatchObject({
      failure_reason: 'canceled',
    })
    vendor.control.settings({ refund_outcome: 'finished' })
    expect(await paymentOf(sale.payment_id)).toMatchObject({ status: 'succeeded', refunded_amount: 0 })
    expect(await balance(sale.customer_id)).toBe(MINUTES)
    await booksAreClean()
  })

  it('waits as long as the vendor is at it', async () => {
    const sale = await bought()
    vendor.control.settings({ refund_outcome: 'processing' })
    const { body } = await ask(sale.payment_id, {})
    vendor.control.settings({ refund_outcome: 'finished' })
    await look(sale.payment_id)
    expect((await refundsOf(sale.payment_id)).map(({ id, status }) => [id, status])).toEqual([
      [body.id, 'pending'],
    ])
    expect(await balance(sale.customer_id)).toBe(0)
    const made = atVendor(sale)[0]
    if (made) made.label = 'finished'
    await look(sale.payment_id)
    await becomes(sale.payment_id, 'refunded')
    expect(atVendor(sale)).toHaveLength(1)
  })

  it('is refused by the vendor when somebody gave it back in the cabinet, and never sent twice', async () => {
    const sale = await bought()
    const payments = vendor.control.objects({ collection: 'payments', limit: 1000 }).items
    const own = (payments as { id: string; refunded: number }[]).find(
      ({ id }) => id === sale.order.payment.external_id,
    )
    if (own) own.refunded = TOTAL / 2
    const { body } = await ask(sale.payment_id, { amount: TOTAL })
    await look(sale.payment_id)
    expect(await refundBecomes(sale.payment_id, body.id, 'failed')).toMatchObject({
      failure_reason: 'NotEnoughOperationFunds',
    })
    expect(atVendor(sale)).toEqual([])
    expect(await balance(sale.customer_id)).toBe(MINUTES)
  })
})

describe('a refund that Robokassa does not answer', () => {
  it.each([
    ['timeout_after_charge', 1],
    ['timeout_before_charge', 0],
  ] as const)('(%s) is asked for once, and its money is counted as given back', async (fault, made) => {
    const sale = await bought()
    const before = asked().length
    vendor.control.faults({ [fault]: 1 })
    const { body } = await ask(sale.payment_id, {})
    expect(body).toMatchObject({ amount: TOTAL })
    for (let time = 0; time < 3; time++) await look(sale.payment_id)
    const [refund] = await refundsOf(sale.payment_id)
    expect(['pending', 'unknown']).toContain(refund?.status)
    expect(asked().length).toBe(before + 1)
    expect(atVendor(sale)).toHaveLength(made)
    expect(await balance(sale.customer_id)).toBe(0)
    // What is not known to have failed cannot be given back once more.
    expect((await ask(sale.payment_id, { amount: 1 })).status).toBe(409)
    expect(asked().length).toBe(before + 1)
    await booksAreClean()
  })
})

describe('what Robokassa does not tell, or tells by its second notification only', () => {
  const begun = async (more: object = {}): Promise<Bought> => {
    const customer_id = await world.customer()
    const price_id = await world.price('minutes_30')
    const { body: order } = await world.call<PlacedOrder>('POST', '/v1/orders', {
      customer_id,
      gateway: 'robokassa',
      lines: [{ price_id, quantity: 1 }],
      return_url: 'https://shop.example/back',
      receipt_contact: { email: 'buyer@example.com' },
      ...more,
    })
    expect((await fetch(order.payment.checkout_url)).status).toBe(200)
    return { customer_id, order, payment_id: order.payment.id }
  }
  it.each([
    ['declined', 'canceled', 'canceled', 0],
    ['paid', 'succeeded', 'succeeded', MINUTES],
  ] as const)(
    'a payment that was %s is found by asking for its state',
    async (_what, outcome, status, granted) => {
      const { customer_id, order, payment_id } = await begun()
      const { attempts } = vendor.control.status().counts.notifications
      vendor.control.faults({ lose: 1000 })
      vendor.control.complete(order.payment.external_id, outcome)
      vendor.control.faults({ lose: 0 })
      await lookAtPayment(world, payment_id)
      await becomes(payment_id, status)
      expect(vendor.control.status().counts.notifications.attempts).toBe(attempts)
      expect(await balance(customer_id)).toBe(granted)
      await booksAreClean()
    },
  )

  it('a hold grants nothing, is taken for less and grants that, or goes back whole', async () => {
    const result2_certificate = await (await fetch(`${vendor.base_url}/jwtsign.cer`)).text()
    world.app.payments.gateways.configure('robokassa', shop({ result2_certificate }))
    const [kept, freed] = [await begun({ capture: 'manual' }), await begun({ capture: 'manual' })]
    for (const { order, customer_id, payment_id } of [kept, freed]) {
      vendor.control.complete(order.payment.external_id, 'succeeded')
      await becomes(payment_id, 'authorized')
      expect(await balance(customer_id)).toBe(0)
    }
    const captured = await world.call('POST', `/v1/payments/${kept.payment_id}/capture`, { amount: 10_000 })
    expect(captured.body).toMatchObject({ status: 'succeeded', captured_amount: 10_000 })
    expect(await balance(kept.customer_id)).toBe(MINUTES / 2)
    const canceled = await world.call('POST', `/v1/payments/${freed.payment_id}/cancel`)
    expect([canceled.status, canceled.body['status']]).toEqual([200, 'canceled'])
    expect(await balance(freed.customer_id)).toBe(0)
    const held = vendor.control.objects({ collection: 'payments', limit: 1000 }).items as {
      id: string
      state: number
    }[]
    const states = [kept, freed].map(
      ({ order }) => held.find(({ id }) => id === order.payment.external_id)?.state,
    )
    expect(states).toEqual([100, 10])
    await booksAreClean()
  })
})

describe('the books of Robokassa', () => {
  it('are asked payment by payment, and a sum or a payment that is not theirs is named', async () => {
    const [fine, other, absent] = [await bought(), await bought(), await bought()]
    const { pool } = world.app.db
    const compare = async (): Promise<Record<string, string>> => {
      const { differences } = await compareBooks({ world }, 'robokassa')
      return Object.fromEntries(differences.map(({ id, kind }) => [id, kind]))
    }
    const ours = [fine, other, absent].map(({ payment_id }) => payment_id)
    // One refund whose answer was lost, about which nobody can be asked, hides nothing of the rest.
    const lost = await bought()
    vendor.control.faults({ timeout_after_charge: 1 })
    const { id: lost_refund } = (await ask(lost.payment_id, {})).body
    expect((await compare())[lost_refund]).toBe('refund_missing_at_vendor')
    expect(Object.keys(await compare()).filter((id) => ours.includes(id))).toEqual([])
    const set = (change: string, { payment_id }: Bought): Promise<unknown> =>
      pool.query(`update payments.payments set ${change} where id = $1`, [payment_id])
    await set('captured_amount = captured_amount - 1', other)
    await set("external_id = '900000001'", absent)
    const found = await compare()
    await set('captured_amount = captured_amount + 1', other)
    await set(`external_id = '${absent.order.payment.external_id}'`, absent)
    expect(ours.map((id) => found[id])).toEqual([
      undefined,
      'payment_amount_differs',
      'payment_missing_at_vendor',
    ])
    await booksAreClean()
  })
})
