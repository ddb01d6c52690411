import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startListener } from '../kit/test-listener.ts'
import type { Listener } from '../kit/test-listener.ts'
import type { Payment } from './objects.ts'
import { openShop } from './test-shop.ts'
import type { Shop } from './test-shop.ts'

interface Told {
  type: string
  event: string
  object: Payment & { payment_id?: string }
}

let merchant: Listener
let shop: Shop

beforeEach(async () => {
  merchant = await startListener()
  shop = await openShop({ webhook_url: merchant.url })
})
afterEach(async () => {
  await shop.emulator.close()
  await merchant.close()
})

const told = async () => {
  expect(await shop.emulator.control.settled()).toBe(true)
  return merchant.bodies<Told>()
}

describe('Notifications', () => {
  test('tell each state with the whole object as it was then, unsigned', async () => {
    const { id } = await shop.pay({ capture: false })
    shop.emulator.control.complete(id, 'authorized')
    await told()
    await shop.post(`/payments/${id}/capture`)
    await told()
    await shop.refund(id, '100.00')
    const events = await told()
    expect(events.map(({ type, event, object }) => [type, event, object.status])).toEqual([
      ['notification', 'payment.waiting_for_capture', 'waiting_for_capture'],
      ['notification', 'payment.succeeded', 'succeeded'],
      ['notification', 'refund.succeeded', 'succeeded'],
    ])
    expect(events[1]?.object).toMatchObject({ id, refunded_amount: { value: '0.00' } })
    expect(events[2]?.object.payment_id).toBe(id)
    const names = Object.keys(merchant.received[0]?.headers ?? {})
    expect(names.filter((name) => name.includes('signature'))).toEqual([])
  })

  test('nothing is told about a payment that only waits', async () => {
    await shop.pay()
    expect(await told()).toEqual([])
  })

  test('only 200 means received: 204 is repeated', async () => {
    merchant.answer({ status: 204 })
    const { id } = await shop.pay()
    shop.emulator.control.complete(id, 'canceled')
    await told()
    // The first attempt and eleven repetitions within the vendor's 24 hours.
    expect(merchant.received).toHaveLength(12)
    expect(shop.emulator.control.log({ order: 'desc', limit: 1 }).items).toMatchObject([
      { outcome: 'gave_up' },
    ])
  })

  test('the notification may come before the answer to the call that caused it', async () => {
    const saved = await shop.paid({ save_payment_method: true })
    await told()
    const order: string[] = []
    shop.emulator.control.faults({ timeout_after_charge: 1 })
    const charge = shop
      .post('/payments', {
        amount: { value: '10.00', currency: 'RUB' },
        capture: true,
        payment_method_id: saved.payment_method?.id,
      })
      .catch(() => order.push('cut'))
    while (merchant.received.length < 2) await new Promise((resolve) => setTimeout(resolve, 2))
    order.push('told')
    await shop.emulator.close()
    await charge
    expect(order).toEqual(['told', 'cut'])
  })
})

describe('Forged notifications', () => {
  test('take turns through every lie, beside the true one', async () => {
    shop.emulator.control.faults({ forge: 7 })
    for (let count = 0; count < 7; count += 1) await shop.paid()
    await told()
    const { items } = shop.emulator.control.log({ kind: 'notification', limit: 1000 })
    const notes = items.filter((entry) => entry.is_forged).map((entry) => entry.note)
    expect(new Set(notes)).toEqual(
      new Set([
        'no such refund',
        'amount times 100',
        'metadata of another order',
        'unknown payment',
        'the other mode',
        'not canceled',
      ]),
    )
    expect(items.filter((entry) => !entry.is_forged && entry.outcome === 'delivered')).toHaveLength(7)
  })

  test('nothing a forged notification says is true at the API', async () => {
    const { id } = await shop.pay()
    shop.emulator.control.forge(id)
    const [claim] = await told()
    expect(claim).toMatchObject({
      event: 'payment.succeeded',
      object: { id, status: 'succeeded', paid: true },
    })
    expect(await shop.payment(id)).toMatchObject({ status: 'pending', paid: false })
  })

  test('of a refund that never was, about a paid payment', async () => {
    const { id } = await shop.paid()
    shop.emulator.control.forge(id)
    const claim = (await told()).find(({ event }) => event === 'refund.succeeded')
    expect(claim?.object.payment_id).toBe(id)
    expect(await shop.get(`/refunds/${claim?.object.id ?? ''}`)).toMatchObject({ status: 404 })
  })
})
