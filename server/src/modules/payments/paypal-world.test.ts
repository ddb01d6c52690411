import type { Capture } from '@kopilka/emulators/paypal'
import { startPaypalEmulator } from '@kopilka/emulators/paypal'
import type { Emulator } from '@kopilka/emulators/emulator'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { PAYPAL_APP } from '../../../test/paypal-lab.ts'
import { startWorld } from '../../../test/world.ts'
import type { PlacedOrder, World } from '../../../test/world.ts'
import { startPayment } from './payment-start.ts'
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
})
afterEach(() => emulator.control.faults({ lose: 0, duplicate: 0, forge: 0, timeout_after_charge: 0 }))
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
