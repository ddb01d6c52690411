import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadSpec } from '../kit/openapi.ts'
import { startListener } from '../kit/test-listener.ts'
import type { Listener } from '../kit/test-listener.ts'
import type { Payment, SavedMethod } from './objects.ts'
import { openShop } from './test-shop.ts'
import type { Shop } from './test-shop.ts'

const spec = loadSpec('yookassa')
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

const charge = (payment_method_id: unknown, more: object = {}) =>
  shop.post<Payment>('/payments', {
    amount: { value: '599.00', currency: 'RUB' },
    capture: true,
    payment_method_id,
    ...more,
  })

describe('A saved method', () => {
  test('comes from a payment that asked for it and is charged without the buyer', async () => {
    const first = await shop.paid({ save_payment_method: true })
    expect(first.payment_method).toMatchObject({ id: first.id, saved: true, status: 'active' })
    const { status, body } = await charge(first.payment_method?.id)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      status: 'succeeded',
      paid: true,
      payment_method: { id: first.id, saved: true, card: { last4: '4444' } },
    })
    expect(body.id).not.toBe(first.id)
    expect(body.confirmation).toBeUndefined()
    expect(spec.checkResponse('POST', '/payments', 200, body)).toEqual([])
    await shop.emulator.control.settled()
    expect(merchant.bodies<{ event: string }>().map(({ event }) => event)).toEqual([
      'payment.succeeded',
      'payment.succeeded',
    ])
  })

  test('is not made without asking, by a failed payment, or of a method that cannot be kept', async () => {
    const plain = await shop.paid()
    expect(plain.payment_method).toMatchObject({ saved: false })
    expect(await charge(plain.payment_method?.id)).toMatchObject({ status: 400 })
    const failed = await shop.pay({ save_payment_method: true })
    shop.emulator.control.complete(failed.id, 'canceled')
    expect(await charge(failed.id)).toMatchObject({ status: 400, body: { parameter: 'payment_method_id' } })
    const other = await openShop({ settings: { payment_methods: ['mobile_balance'] } })
    expect(
      await other.post('/payments', {
        amount: { value: '5.00', currency: 'RUB' },
        save_payment_method: true,
        payment_method_data: { type: 'mobile_balance', phone: '79000000000' },
        confirmation: { type: 'external' },
      }),
    ).toMatchObject({ status: 400, body: { parameter: 'save_payment_method' } })
    await other.emulator.close()
  })

  test('holds the money when capture is left out', async () => {
    const { id } = await shop.paid({ save_payment_method: true })
    expect(await charge(id, { capture: undefined })).toMatchObject({
      body: { status: 'waiting_for_capture' },
    })
  })

  test('is refused together with the flag that saves', async () => {
    const { id } = await shop.paid({ save_payment_method: true })
    expect(await charge(id, { save_payment_method: true })).toMatchObject({
      status: 400,
      body: { parameter: 'save_payment_method' },
    })
  })

  test('can be without money, or undecided, when the emulator is told so', async () => {
    const { id } = await shop.paid({ save_payment_method: true })
    shop.emulator.control.settings({ autopayment_outcome: 'insufficient_funds' })
    expect(await charge(id)).toMatchObject({
      status: 200,
      body: { status: 'canceled', cancellation_details: { reason: 'insufficient_funds' } },
    })
    shop.emulator.control.settings({ autopayment_outcome: 'pending' })
    const { body } = await charge(id)
    expect(body).toMatchObject({ status: 'pending', payment_method: { id } })
    shop.emulator.control.complete(body.id, 'succeeded')
    expect(await shop.payment(body.id)).toMatchObject({
      status: 'succeeded',
      payment_method: { id, saved: true },
    })
  })

  test('ends as permission_revoked once the buyer has withdrawn', async () => {
    const { id } = await shop.paid({ save_payment_method: true })
    shop.emulator.control.complete(id, { outcome: 'canceled', object: 'payment_method' })
    expect(await shop.get(`/payment_methods/${id}`)).toMatchObject({
      body: { status: 'inactive', saved: false },
    })
    expect(await charge(id)).toMatchObject({
      status: 200,
      body: { status: 'canceled', cancellation_details: { reason: 'permission_revoked' } },
    })
  })

  test('is forbidden in a shop without autopayments', async () => {
    const { id } = await shop.paid({ save_payment_method: true })
    shop.emulator.control.settings({ is_autopayment_enabled: false })
    expect(await charge(id)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    const asked = await shop.post('/payments', {
      amount: { value: '1.00', currency: 'RUB' },
      save_payment_method: true,
      confirmation: { type: 'redirect', return_url: 'https://shop.example' },
    })
    expect(asked.status).toBe(403)
    expect((await shop.post('/payment_methods', { type: 'bank_card' })).status).toBe(403)
  })
})

describe('Saving without a payment', () => {
  const request = {
    type: 'bank_card',
    confirmation: { type: 'redirect', return_url: 'https://shop.example/saved' },
  }

  test('goes over a page; after that the method is active, announced and chargeable', async () => {
    const { status, body } = await shop.post<SavedMethod['wire']>('/payment_methods', request)
    expect(status).toBe(200)
    expect(body).toMatchObject({ status: 'pending', saved: false })
    expect(spec.checkResponse('POST', '/payment_methods', 200, body)).toEqual([])
    expect((await charge(body.id)).status).toBe(400)
    const page = body.confirmation?.confirmation_url ?? ''
    expect(await (await fetch(page)).text()).toContain('<form')
    const back = await fetch(page, {
      method: 'POST',
      body: new URLSearchParams({ action: 'pay' }),
      redirect: 'manual',
    })
    expect([back.status, back.headers.get('location')]).toEqual([303, 'https://shop.example/saved'])
    const saved = await shop.get(`/payment_methods/${body.id}`)
    expect(saved.body).toMatchObject({ status: 'active', saved: true })
    expect(spec.checkResponse('GET', '/payment_methods/{payment_method_id}', 200, saved.body)).toEqual([])
    await shop.emulator.control.settled()
    expect(merchant.bodies()).toMatchObject([{ event: 'payment_method.active', object: { id: body.id } }])
    expect(await charge(body.id)).toMatchObject({ body: { status: 'succeeded' } })
  })

  test('can be declined, and then stays declined', async () => {
    const { body } = await shop.post<SavedMethod['wire']>('/payment_methods', request)
    const page = body.confirmation?.confirmation_url ?? ''
    for (const action of ['leave', 'decline', 'pay']) {
      await fetch(page, { method: 'POST', body: new URLSearchParams({ action }), redirect: 'manual' })
      const { body: now } = await shop.get(`/payment_methods/${body.id}`)
      expect(now['status']).toBe(action === 'leave' ? 'pending' : 'inactive')
    }
  })

  test('needs a kind and a way to agree', async () => {
    expect(await shop.post('/payment_methods', {})).toMatchObject({
      status: 400,
      body: { parameter: 'type' },
    })
    expect(await shop.post('/payment_methods', { type: 'cash' })).toMatchObject({ status: 400 })
    expect(await shop.post('/payment_methods', { type: 'bank_card' })).toMatchObject({
      status: 400,
      body: { parameter: 'confirmation' },
    })
  })
})
