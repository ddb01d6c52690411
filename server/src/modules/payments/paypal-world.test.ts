import type { Capture, Sale, Subscription } from '@kopilka/emulators/paypal'
import { startPaypalEmulator } from '@kopilka/emulators/paypal'
import type { Emulator } from '@kopilka/emulators/emulator'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { PAYPAL_APP } from '../../../test/paypal-lab.ts'
import { compareBooks } from '../../../test/reconciliation-lab.ts'
import { startWorld } from '../../../test/world.ts'
import type { PlacedOrder, World } from '../../../test/world.ts'
import { startPayment } from './payment-start.ts'
import { recordPaymentWords } from './payment-words.ts'
import { intendPayment } from './payments.ts'

let world: World
let emulator: Emulator
beforeAll(async () => {
  emulator = await startPaypalEmulator({ settings: PAYPAL_APP, retry_scale: 0.001, hold_ms: 500 })
  world = await startWorld((settings) => ({
    ...settings,
    gateways: {
      ...settings.gateways,
      paypal: { ...PAYPAL_APP, environment: 'sandbox', base_url: emulator.base_url },
    },
  }))
  emulator.control.settings({ webhook_url: `${world.base_url}/webhooks/payments/paypal` })
  await sellClub(PLAN)
})
afterEach(() => {
  emulator.control.faults({ lose: 0, duplicate: 0, forge: 0, reorder: 0, timeout_after_charge: 0 })
  emulator.control.settings({ vault_outcome: 'VAULTED', fee_currency: '', charge_list_lag_ms: 0 })
})
afterAll(async () => {
  await world?.close()
  await emulator?.close()
})

/** Half an hour of speech, in seconds. */
const MINUTES = 1800

async function order(customer_id: string, more: object = {}): Promise<PlacedOrder> {
  const price_id = await world.price('minutes_30', 'USD')
  const { body, status, text } = await world.call<PlacedOrder>('POST', '/v1/orders', {
    customer_id,
    gateway: 'paypal',
    lines: [{ price_id, quantity: 1 }],
    return_url: 'https://shop.example/back',
    ...more,
  })
  if (status !== 201) throw new Error(`the order was refused: ${text}`)
  return body
}

const payment = async (id: string): Promise<Record<string, unknown>> =>
  (await world.call('GET', `/v1/payments/${id}`)).body
const balance = async (customer_id: string): Promise<unknown> =>
  (await world.call('GET', `/v1/customers/${customer_id}/wallets/minute`)).body['balance']
const captures = (payment_id: string): Capture[] =>
  (emulator.control.objects({ collection: 'captures', limit: 1000 }).items as Capture[]).filter(
    ({ custom_id }) => custom_id === payment_id,
  )
const becomes = (id: string, status: string, timeout_ms = 20_000) =>
  world.eventually(`${id} is ${status}`, async () => (await payment(id))['status'] === status, timeout_ms)
const booksAreClean = async (): Promise<void> =>
  expect((await world.call('GET', '/v1/verification')).body['findings']).toEqual([])

describe('a purchase through PayPal', () => {
  it('is captured and granted once, whatever is repeated and forged on the way', async () => {
    const customer_id = await world.customer()
    const placed = await order(customer_id)
    emulator.control.faults({ duplicate: 5, forge: 3 })
    emulator.control.complete(placed.payment.external_id, 'succeeded')
    await becomes(placed.payment.id, 'succeeded')
    await emulator.control.settled()
    expect(captures(placed.payment.id)).toHaveLength(1)
    expect(await balance(customer_id)).toBe(MINUTES)
    expect(await payment(placed.payment.id)).toMatchObject({ amount: placed.total, currency: 'USD' })
    await booksAreClean()
  })

  it('is captured by our own asking when the buyer never returns and no notification comes', async () => {
    const customer_id = await world.customer()
    const placed = await order(customer_id)
    emulator.control.faults({ lose: 100 })
    emulator.control.complete(placed.payment.external_id, 'succeeded')
    await becomes(placed.payment.id, 'succeeded', 50_000)
    expect(captures(placed.payment.id)).toHaveLength(1)
    expect(await balance(customer_id)).toBe(MINUTES)
  })

  it('that was canceled here is not captured when the buyer approves it later', async () => {
    const customer_id = await world.customer()
    const placed = await order(customer_id)
    const canceled = await world.call('POST', `/v1/payments/${placed.payment.id}/cancel`, {})
    expect(canceled.body).toMatchObject({ status: 'canceled' })
    emulator.control.complete(placed.payment.external_id, 'succeeded')
    expect(await emulator.control.settled()).toBe(true)
    await world.eventually('the event was looked at', async () => {
      const { items } = emulator.control.log({ kind: 'request', limit: 1000, order: 'desc' })
      return items[0]?.path === `/v2/checkout/orders/${placed.payment.external_id}`
    })
    // A capture would follow that look at once; it is given the time to.
    await new Promise((resolve) => setTimeout(resolve, 1000))
    expect(captures(placed.payment.id)).toEqual([])
    expect(await balance(customer_id)).toBe(0)
  })

  it('whose charge of a kept agreement was never answered is resolved to exactly one', async () => {
    const customer_id = await world.customer()
    const first = await order(customer_id, { save_payment_method: true })
    emulator.control.complete(first.payment.external_id, 'succeeded')
    await becomes(first.payment.id, 'succeeded')
    const { body } = await world.call<{ items: { id: string; title: string }[] }>(
      'GET',
      `/v1/customers/${customer_id}/payment_methods`,
    )
    expect(body.items).toMatchObject([{ title: 'PayPal b•••@personal.example.com' }])
    const second = await order(customer_id)
    const { db, payments: kit } = world.app
    const id = await db.transact((tx) =>
      intendPayment(tx, kit, {
        order_id: second.id,
        customer_id,
        gateway: 'paypal',
        amount: BigInt(second.total),
        currency: 'USD',
        description: 'the next period',
        return_url: 'https://shop.example/back',
        capture: 'automatic',
        saved_method_id: body.items[0]?.id ?? '',
        locale: 'en',
        expires_at: new Date(Date.now() + 3_600_000),
      }),
    )
    // No notification helps: our own asking must find it.
    emulator.control.faults({ timeout_after_charge: 1, lose: 100 })
    await expect(startPayment(db, kit, id)).rejects.toMatchObject({ code: 'gateway_unavailable' })
    // The janitor may have been quicker than this look.
    expect(['unknown', 'succeeded']).toContain((await payment(id)).status)
    await becomes(id, 'succeeded')
    expect(captures(id)).toHaveLength(1)
    expect(await balance(customer_id)).toBe(2 * MINUTES)
    await booksAreClean()
  })

  it('contested loses its units and its money once, though the vendor tells it twice', async () => {
    const customer_id = await world.customer()
    const placed = await order(customer_id)
    emulator.control.complete(placed.payment.external_id, 'succeeded')
    await becomes(placed.payment.id, 'succeeded')
    const dispute = (step: string) =>
      emulator.control.complete(placed.payment.external_id, { outcome: 'canceled', dispute: step })
    dispute('open')
    await world.eventually('the units are gone', async () => (await balance(customer_id)) === 0)
    expect(await payment(placed.payment.id)).toMatchObject({ status: 'succeeded' })
    dispute('lost')
    await becomes(placed.payment.id, 'refunded')
    await emulator.control.settled()
    expect(await payment(placed.payment.id)).toMatchObject({ refunded_amount: placed.total })
    expect(await balance(customer_id)).toBe(0)
    await booksAreClean()
  })
})

describe('a dispute of PayPal that nobody told of', () => {
  it('is named by the comparison of the books, and so is an end that was not told', async () => {
    const customer_id = await world.customer()
    const placed = await order(customer_id)
    emulator.control.complete(placed.payment.external_id, 'succeeded')
    await becomes(placed.payment.id, 'succeeded')
    await emulator.control.settled()
    const contest = async (dispute: string, lose: number): Promise<void> => {
      emulator.control.faults({ lose })
      emulator.control.complete(placed.payment.external_id, { outcome: 'canceled', dispute })
      await emulator.control.settled()
      emulator.control.faults({ lose: 0 })
    }
    const external_id = `contest:${captures(placed.payment.id)[0]?.id}`
    const named = async () =>
      (await compareBooks({ world }, 'paypal')).differences.find((found) => found.external_id === external_id)
    expect(await named()).toBeUndefined()
    await contest('open', 100)
    expect(await named()).toMatchObject({ kind: 'dispute_missing_here', theirs: 'open, 250 USD' })
    const [lost] = emulator.control
      .log({ kind: 'notification', order: 'desc', limit: 100 })
      .items.filter(({ outcome }) => outcome === 'lost')
    emulator.control.resend(lost?.notification_id ?? '')
    await world.eventually('the units are gone', async () => (await balance(customer_id)) === 0)
    expect(await named()).toBeUndefined()
    await contest('won', 100)
    expect(await named()).toMatchObject({ kind: 'dispute_status_differs', ours: 'open' })
    await booksAreClean()
  })
})

/** A plan of the vendor's, and ten minutes of speech for each of its periods at ten dollars. */
const PLAN = 'P-5ML4271244454362WXNWU5NQ'
const PERIOD = 600

async function sellClub(plan: string): Promise<void> {
  const must = (url: string, body: unknown): Promise<string> =>
    world.eventually(`${url} answers`, async () => {
      const answer = await world.call<{ id: string }>('POST', url, body)
      // A server that was just started on a busy machine may turn callers away for a moment.
      if (answer.status !== 201 && answer.status !== 503) throw new Error(`${url}: ${answer.text}`)
      return answer.status === 201 && answer.body.id
    })
  const product_id = await must('/v1/products', {
    key: `club_${plan.slice(-6).toLowerCase()}`,
    name: 'Club',
    grants: [{ unit: 'minute', amount: PERIOD }],
    metadata: { paypal_product_id: plan },
  })
  await must('/v1/prices', { product_id, currency: 'USD', amount: 1000 })
}

/** What the owner's app does at the vendor: the buyer is named in the subscription. */
async function subscribe(custom_id: string, plan_id = PLAN): Promise<string> {
  const { client_id, client_secret } = PAYPAL_APP
  const basic = Buffer.from(`${client_id}:${client_secret}`).toString('base64')
  const token = await fetch(`${emulator.base_url}/v1/oauth2/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${basic}` },
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  })
  const { access_token } = (await token.json()) as { access_token: string }
  const made = await fetch(`${emulator.base_url}/v1/billing/subscriptions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${access_token}`,
      'content-type': 'application/json',
      prefer: 'return=representation',
    },
    body: JSON.stringify({ plan_id, custom_id }),
  })
  return ((await made.json()) as Subscription).id
}

/** The next period is paid; answers its sale. */
function renew(subscription_id: string, more: object = {}): Sale {
  emulator.control.complete(subscription_id, { outcome: 'succeeded', ...more })
  const sales = emulator.control.objects({ collection: 'sales', limit: 1 }).items as Sale[]
  if (sales[0]?.billing_agreement_id !== subscription_id) throw new Error('the sale is not the newest')
  return sales[0]
}

interface ShownPayment {
  id: string
  status: string
  amount: number
  refunded_amount: number
  fee: number | null
  fee_currency: string | null
  mismatch_reason: string | null
}
const paymentsOf = async ({ id }: Pick<Sale, 'id'>): Promise<ShownPayment[]> =>
  (await world.call<{ items: ShownPayment[] }>('GET', `/v1/payments?external_id=${id}`)).body.items
const holds = (customer_id: string, units: number, timeout_ms = 20_000) =>
  world.eventually(
    `${customer_id} holds ${units}`,
    async () => (await balance(customer_id)) === units,
    timeout_ms,
  )

interface ShownEvent {
  id: string
  type: string
  status: string
  error: string | null
  outcome: string | null
}
const inbox = async (status: string): Promise<ShownEvent[]> =>
  (await world.call<{ items: ShownEvent[] }>('GET', `/v1/inbox_events?status=${status}&limit=100`)).body.items
/** The notification that waits for this, when there is one. */
const waits = (what: string) =>
  world.eventually(`a notification waits for ${what}`, async () =>
    (await inbox('received')).find(({ error }) => error?.includes(what) === true),
  )
const retry = (event: ShownEvent) => world.call('POST', `/v1/inbox_events/${event.id}/retry`, {})

describe('a subscription PayPal renews by itself', () => {
  it('is one payment and one grant for each period, though each is told fifty times', async () => {
    const customer_id = await world.customer()
    const id = await subscribe(customer_id)
    emulator.control.faults({ duplicate: 49, forge: 2, reorder: 3 })
    const first = renew(id)
    const second = renew(id)
    await holds(customer_id, 2 * PERIOD)
    await emulator.control.settled(20_000)
    emulator.control.faults({ duplicate: 0 })
    const third = renew(id)
    await holds(customer_id, 3 * PERIOD)
    for (const sale of [first, second, third]) {
      expect(await paymentsOf(sale)).toMatchObject([{ status: 'succeeded', amount: 1000, fee: 34 }])
    }
    const { body } = await world.call('GET', `/v1/vendor_subscriptions?customer_id=${customer_id}`)
    expect(body['items']).toMatchObject([{ external_id: id, status: 'active', product_code: PLAN }])
    await booksAreClean()
  }, 60_000)

  it('whose notifications are all lost is found by the next one that comes', async () => {
    const customer_id = await world.customer()
    const id = await subscribe(customer_id)
    emulator.control.faults({ lose: 100 })
    renew(id)
    renew(id)
    await emulator.control.settled()
    emulator.control.faults({ lose: 0 })
    renew(id)
    await holds(customer_id, 3 * PERIOD)
    expect(await emulator.control.settled()).toBe(true)
    await booksAreClean()
  })

  it('is granted for a period that is told a month late, or listed only later', async () => {
    const customer_id = await world.customer()
    const id = await subscribe(customer_id)
    emulator.control.advanceClock(-30 * 86_400_000)
    const old = renew(id)
    emulator.control.advanceClock(30 * 86_400_000)
    await holds(customer_id, PERIOD)
    expect(await paymentsOf(old)).toMatchObject([{ status: 'succeeded' }])
    emulator.control.settings({ charge_list_lag_ms: 86_400_000 })
    renew(id)
    await waits('its charge')
    expect(await balance(customer_id)).toBe(PERIOD)
    emulator.control.settings({ charge_list_lag_ms: 0 })
    await holds(customer_id, 2 * PERIOD, 60_000)
    await booksAreClean()
  })

  it('waits for its customer and its product, and is granted once when they are there', async () => {
    const external_id = `stranger-${Date.now()}`
    const plan = 'P-0NOTYETSOLD4362WXNWU5ABC'
    const id = await subscribe(external_id, plan)
    const first = renew(id)
    const event = await waits('a customer')
    const customer_id = await world.customer(external_id)
    expect((await retry(event)).status).toBe(200)
    const unsold = await waits('a product')
    expect([await balance(customer_id), await paymentsOf(first)]).toEqual([0, []])
    await sellClub(plan)
    const answers = await Promise.all(Array.from({ length: 10 }, () => retry(unsold)))
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200))
    await holds(customer_id, PERIOD)
    expect(await paymentsOf(first)).toHaveLength(1)
    await booksAreClean()
  })

  it('gives back part of a period in the cabinet, and the rest by us, each once', async () => {
    const customer_id = await world.customer()
    const sale = renew(await subscribe(customer_id))
    await holds(customer_id, PERIOD)
    emulator.control.faults({ duplicate: 5 })
    emulator.control.complete(sale.id, { outcome: 'canceled', refund: '4.00' })
    await holds(customer_id, 360)
    const [paid] = await paymentsOf(sale)
    expect(paid).toMatchObject({ status: 'partially_refunded', refunded_amount: 400 })
    const refund = await world.call('POST', `/v1/payments/${paid?.id}/refunds`, { reason: 'unhappy' })
    expect([refund.status, refund.body['status'], refund.body['amount']]).toEqual([201, 'succeeded', 600])
    await emulator.control.settled()
    expect(await balance(customer_id)).toBe(0)
    expect(emulator.control.objects({ collection: 'sale_refunds', limit: 10 }).items).toHaveLength(2)
    expect(await paymentsOf(sale)).toMatchObject([{ status: 'refunded', refunded_amount: 1000 }])
    await booksAreClean()
  })

  it('gives a refund that is told before its period back, when the period is known', async () => {
    const customer_id = await world.customer()
    const id = await subscribe(customer_id)
    // What told of its beginning would find the charge.
    await world.eventually('its beginning was looked at', async () => {
      const { body } = await world.call<{ items: unknown[] }>(
        'GET',
        `/v1/vendor_subscriptions?customer_id=${customer_id}`,
      )
      return body.items.length === 1
    })
    emulator.control.faults({ lose: 100 })
    const sale = renew(id)
    await emulator.control.settled()
    emulator.control.faults({ lose: 0 })
    emulator.control.complete(sale.id, { outcome: 'canceled', refund: '10.00' })
    await waits('its payment')
    renew(id)
    await world.eventually('the first period was given back', async () => {
      const [paid] = await paymentsOf(sale)
      return paid?.status === 'refunded'
    })
    await holds(customer_id, PERIOD)
    expect(await paymentsOf(sale)).toMatchObject([{ refunded_amount: 1000 }])
    await booksAreClean()
  })

  it('loses the units of a period the payer’s bank took back, once', async () => {
    const customer_id = await world.customer()
    const id = await subscribe(customer_id)
    const sale = renew(id)
    renew(id)
    await holds(customer_id, 2 * PERIOD)
    emulator.control.faults({ duplicate: 5 })
    emulator.control.complete(sale.id, { outcome: 'canceled', dispute: 'reversed' })
    await world.eventually(
      'the money is gone',
      async () => (await paymentsOf(sale))[0]?.status === 'refunded',
    )
    await emulator.control.settled()
    expect(await balance(customer_id)).toBe(PERIOD)
    await booksAreClean()
  })

  it('grants nothing for a period at another price than ours, and keeps it for a person', async () => {
    const customer_id = await world.customer()
    const sale = renew(await subscribe(customer_id), { price: '9.00' })
    const kept = await world.eventually('the money is seen', async () => (await paymentsOf(sale))[0])
    expect(kept).toMatchObject({ status: 'mismatch', mismatch_reason: 'wrong_amount' })
    expect(await balance(customer_id)).toBe(0)
    await booksAreClean()
  })
})

describe('an agreement in PayPal’s vault', () => {
  const methods = async (customer_id: string): Promise<{ id: string }[]> =>
    (await world.call<{ items: { id: string }[] }>('GET', `/v1/customers/${customer_id}/payment_methods`))
      .body.items
  const paidAt = async (customer_id: string): Promise<string> => {
    const { payment: made } = await order(customer_id, { save_payment_method: true })
    emulator.control.complete(made.external_id, 'succeeded')
    await becomes(made.id, 'succeeded')
    return made.external_id
  }

  it('is kept although it is ready long after the payment, and goes when the buyer ends it', async () => {
    const customer_id = await world.customer()
    emulator.control.settings({ vault_outcome: 'LATE' })
    const external_id = await paidAt(customer_id)
    expect(await methods(customer_id)).toEqual([])
    const token = emulator.control.complete(external_id, { outcome: 'succeeded', vault: 'created' })
    await world.eventually('it is kept', async () => (await methods(customer_id)).length === 1)
    const { id } = token as { id: string }
    emulator.control.faults({ duplicate: 3 })
    emulator.control.complete(id, 'canceled')
    await world.eventually('it is gone', async () => (await methods(customer_id)).length === 0)
    await booksAreClean()
  })

  it('that the customer removed does not come back when it is told again', async () => {
    const customer_id = await world.customer()
    const external_id = await paidAt(customer_id)
    const [kept] = await methods(customer_id)
    const url = `/v1/customers/${customer_id}/payment_methods/${kept?.id}`
    expect((await world.call('DELETE', url)).status).toBe(200)
    const { db, payments: kit } = world.app
    const { gateway, config } = kit.gateways.get('paypal')
    const reference = { payment_id: '', payment_number: 0, external_id, amount: 0n, currency: 'USD' }
    const word = await gateway.getPayment(config, reference, kit.gateways.context('paypal'))
    if (!word?.saved_method) throw new Error('the vendor tells the agreement with its order')
    await db.transact((tx) => recordPaymentWords(tx, kit, [{ gateway: 'paypal', word }]))
    const { rows } = await db.pool.query(
      'select 1 from payments.saved_methods where customer_id = $1 and removed_at is null',
      [customer_id],
    )
    expect(rows).toEqual([])
  })
})

describe('PayPal’s fee', () => {
  it('in another currency than the payment’s is kept with its currency', async () => {
    emulator.control.settings({ fee_currency: 'EUR' })
    const customer_id = await world.customer()
    const placed = await order(customer_id)
    emulator.control.complete(placed.payment.external_id, 'succeeded')
    await becomes(placed.payment.id, 'succeeded')
    expect(await payment(placed.payment.id)).toMatchObject({ currency: 'USD', fee_currency: 'EUR' })
    expect((await payment(placed.payment.id))['fee']).toBeGreaterThan(0)
    const sale = renew(await subscribe(customer_id))
    await holds(customer_id, MINUTES + PERIOD)
    expect(await paymentsOf(sale)).toMatchObject([{ fee: 34, fee_currency: 'EUR' }])
    await booksAreClean()
  })
})
