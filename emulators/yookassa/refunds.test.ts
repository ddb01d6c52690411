import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadSpec } from '../kit/openapi.ts'
import { startListener } from '../kit/test-listener.ts'
import type { Listener } from '../kit/test-listener.ts'
import type { Refund } from './objects.ts'
import { openShop } from './test-shop.ts'
import type { Shop } from './test-shop.ts'

const spec = loadSpec('yookassa')
let shop: Shop
let merchant: Listener

beforeAll(async () => {
  merchant = await startListener()
  shop = await openShop({ webhook_url: merchant.url })
})
afterAll(async () => {
  await shop.emulator.close()
  await merchant.close()
})

const invalid = (parameter: string) => ({ status: 400, body: { code: 'invalid_request', parameter } })

describe('Refunding', () => {
  test('in parts until all is given back; the payment stays succeeded', async () => {
    const { id } = await shop.paid()
    const first = await shop.refund(id, '200.00', { description: 'part', metadata: { refund_id: 'r-1' } })
    expect(first).toMatchObject({
      status: 200,
      body: {
        payment_id: id,
        status: 'succeeded',
        amount: { value: '200.00' },
        metadata: { refund_id: 'r-1' },
      },
    })
    expect(spec.checkResponse('POST', '/refunds', 200, first.body)).toEqual([])
    expect(await shop.payment(id)).toMatchObject({ refunded_amount: { value: '200.00' }, refundable: true })
    expect(await shop.refund(id, '399.01')).toMatchObject(invalid('amount.value'))
    expect(await shop.refund(id, '399.00')).toMatchObject({ status: 200 })
    expect(await shop.payment(id)).toMatchObject({
      status: 'succeeded',
      refunded_amount: { value: '599.00' },
      refundable: false,
    })
    expect(await shop.refund(id, '0.01')).toMatchObject(invalid('payment_id'))
  })

  test('50 at once never give back more than was paid', async () => {
    const { id } = await shop.paid()
    const answers = await Promise.all(Array.from({ length: 50 }, () => shop.refund(id, '100.00')))
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(5)
    expect(await shop.payment(id)).toMatchObject({ refunded_amount: { value: '500.00' } })
  })

  test.each([
    ['0.00', 'amount.value'],
    ['-5.00', 'amount.value'],
    ['5,00', 'amount.value'],
    ['600.00', 'amount.value'],
  ])('of %s is refused', async (value, parameter) => {
    const { id } = await shop.paid()
    expect(await shop.refund(id, value)).toMatchObject(invalid(parameter))
    expect(await shop.payment(id)).toMatchObject({ refunded_amount: { value: '0.00' } })
  })

  test('of an unknown, unpaid or canceled payment is refused', async () => {
    expect(await shop.refund('2d6f0c9b-000f-5000-9000-145f6df21d6f', '1.00')).toMatchObject(
      invalid('payment_id'),
    )
    expect(await shop.refund('short', '1.00')).toMatchObject(invalid('payment_id'))
    const { id } = await shop.pay()
    expect(await shop.refund(id, '1.00')).toMatchObject(invalid('payment_id'))
    shop.emulator.control.complete(id, 'canceled')
    expect(await shop.refund(id, '1.00')).toMatchObject(invalid('payment_id'))
  })

  test('needs an amount, in the currency of the shop, and a short description', async () => {
    const { id: payment_id } = await shop.paid()
    expect(await shop.post('/refunds', { payment_id })).toMatchObject(invalid('amount'))
    const amount = { value: '1.00', currency: 'USD' }
    expect(await shop.post('/refunds', { payment_id, amount })).toMatchObject(invalid('amount.currency'))
    const description = 'x'.repeat(251)
    expect(await shop.refund(payment_id, '1.00', { description })).toMatchObject(invalid('description'))
  })

  test('is listed and read by id', async () => {
    const { id } = await shop.paid()
    const { body: refund } = await shop.refund(id, '5.00')
    expect(await shop.get(`/refunds/${refund.id}`)).toEqual({ status: 200, body: refund })
    const list = await shop.get<{ items: Refund[] }>(`/refunds?payment_id=${id}&status=succeeded`)
    expect(list.body.items).toEqual([refund])
    expect(spec.checkResponse('GET', '/refunds', 200, list.body)).toEqual([])
    expect(
      (await shop.get<{ items: Refund[] }>(`/refunds?payment_id=${id}&status=canceled`)).body.items,
    ).toEqual([])
    expect(await shop.get('/refunds?status=lost')).toMatchObject({ status: 400 })
  })
})

describe('Refunds that do not succeed at once', () => {
  test('one under way reserves its money, is not announced, and can succeed or fail later', async () => {
    const other = await openShop({
      seed: 2,
      webhook_url: merchant.url,
      settings: { refund_outcome: 'pending' },
    })
    const { id } = await other.paid()
    const first = (await other.refund(id, '400.00')).body
    expect(first.status).toBe('pending')
    expect(await other.payment(id)).toMatchObject({ refunded_amount: { value: '0.00' } })
    expect(await other.refund(id, '200.00')).toMatchObject(invalid('amount.value'))

    expect(() => other.emulator.control.complete(first.id, { outcome: 'canceled', reason: 'mood' })).toThrow(
      'refund',
    )
    other.emulator.control.complete(first.id, { outcome: 'canceled', reason: 'rejected_by_payee' })
    const failed = await other.get<Refund>(`/refunds/${first.id}`)
    expect(failed.body).toMatchObject({
      status: 'canceled',
      cancellation_details: { party: 'refund_network', reason: 'rejected_by_payee' },
    })
    expect(spec.checkResponse('GET', '/refunds/{refund_id}', 200, failed.body)).toEqual([])

    const second = (await other.refund(id, '599.00')).body
    other.emulator.control.complete(second.id, 'succeeded')
    expect(await other.payment(id)).toMatchObject({ refunded_amount: { value: '599.00' }, refundable: false })
    expect(() => other.emulator.control.complete(second.id, 'succeeded')).toThrow('already')
    await other.emulator.control.settled()
    const told = merchant
      .bodies<{ event: string; object: Refund }>()
      .filter(({ object }) => object.payment_id === id)
    expect(told.map(({ event, object }) => [event, object.id])).toEqual([['refund.succeeded', second.id]])
    await other.emulator.close()
  })

  test('a shop without money is told so in the object, with status 200', async () => {
    const other = await openShop({ settings: { refund_outcome: 'insufficient_funds' } })
    const { id } = await other.paid()
    expect(await other.refund(id, '599.00')).toMatchObject({
      status: 200,
      body: { status: 'canceled', cancellation_details: { reason: 'insufficient_funds' } },
    })
    expect(await other.payment(id)).toMatchObject({ refunded_amount: { value: '0.00' }, refundable: true })
    await other.emulator.close()
  })
})
