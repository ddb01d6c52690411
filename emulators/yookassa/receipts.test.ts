import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadSpec } from '../kit/openapi.ts'
import type { Payment, ReceiptObject } from './objects.ts'
import { openShop, REDIRECT_PAYMENT } from './test-shop.ts'
import type { Shop } from './test-shop.ts'

const spec = loadSpec('yookassa')
const item = {
  description: 'Subscription for a month',
  quantity: 1,
  amount: { value: '599.00', currency: 'RUB' },
  vat_code: 1,
  payment_subject: 'service',
  payment_mode: 'full_payment',
  measure: 'piece',
}
const receipt = { customer: { email: 'buyer@shop.example' }, items: [item] }

let strict: Shop
let other: Shop
let off: Shop

beforeAll(async () => {
  strict = await openShop({ settings: { fiscalization: 'yookassa' } })
  other = await openShop({ settings: { fiscalization: 'third_party' } })
  off = await openShop()
})
afterAll(() => Promise.all([strict, other, off].map((shop) => shop.emulator.close())))

const send = (shop: Shop, sent: unknown) =>
  shop.post<Payment>('/payments', { ...REDIRECT_PAYMENT, receipt: sent })
const invalid = (parameter: string) => ({ status: 400, body: { code: 'invalid_request', parameter } })

describe('A receipt with a payment', () => {
  test('is registered when the payment succeeds, and canceled with it', async () => {
    const { body } = await send(strict, receipt)
    expect(body.receipt_registration).toBe('pending')
    strict.emulator.control.complete(body.id, 'succeeded')
    expect(await strict.payment(body.id)).toMatchObject({ receipt_registration: 'succeeded' })
    const { body: list } = await strict.get<{ items: ReceiptObject[] }>(`/receipts?payment_id=${body.id}`)
    expect(list.items).toMatchObject([{ type: 'payment', status: 'succeeded', items: [{ vat_code: 1 }] }])
    expect(spec.checkResponse('GET', '/receipts', 200, list)).toEqual([])
    const one = await strict.get(`/receipts/${list.items[0]?.id ?? ''}`)
    expect(spec.checkResponse('GET', '/receipts/{receipt_id}', 200, one.body)).toEqual([])

    const unpaid = (await send(strict, receipt)).body
    strict.emulator.control.complete(unpaid.id, 'canceled')
    expect(await strict.payment(unpaid.id)).toMatchObject({ receipt_registration: 'canceled' })
  })

  test('is required when fiscalization is on, and only then', async () => {
    expect(await send(strict, undefined)).toMatchObject(invalid('receipt'))
    expect(await send(other, undefined)).toMatchObject(invalid('receipt'))
    expect(await send(off, undefined)).toMatchObject({ status: 200 })
    const { body } = await send(off, receipt)
    expect(body.receipt_registration).toBeUndefined()
  })

  test('needs an email for the vendor’s own service, email or phone otherwise', async () => {
    const by_phone = { ...receipt, customer: { phone: '79000000000' } }
    expect(await send(strict, by_phone)).toMatchObject(invalid('receipt.customer.email'))
    expect(await send(other, by_phone)).toMatchObject({ status: 200 })
    expect(await send(other, { items: [item] })).toMatchObject(invalid('receipt.customer'))
    expect(await send(off, { items: [item] })).toMatchObject({ status: 200 })
  })

  const changed = (changes: object) => ({ ...receipt, items: [{ ...item, ...changes }] })
  test.each([
    [
      'a phone with a plus',
      { ...receipt, customer: { email: 'a@b.ru', phone: '+79000000000' } },
      'receipt.customer.phone',
    ],
    ['a broken email', { ...receipt, customer: { email: 'nobody' } }, 'receipt.customer.email'],
    ['a short INN', { ...receipt, customer: { email: 'a@b.ru', inn: '123' } }, 'receipt.customer.inn'],
    ['no items', { ...receipt, items: [] }, 'receipt.items'],
    ['81 items', { ...receipt, items: Array.from({ length: 81 }, () => item) }, 'receipt.items'],
    ['no description', changed({ description: '' }), 'receipt.items.0.description'],
    ['a description of 129', changed({ description: 'x'.repeat(129) }), 'receipt.items.0.description'],
    ['a quantity as text', changed({ quantity: '1' }), 'receipt.items.0.quantity'],
    ['quantity 0', changed({ quantity: 0 }), 'receipt.items.0.quantity'],
    ['a quantity of four decimals', changed({ quantity: 1.0001 }), 'receipt.items.0.quantity'],
    ['VAT code 13', changed({ vat_code: 13 }), 'receipt.items.0.vat_code'],
    ['no measure', changed({ measure: undefined }), 'receipt.items.0.measure'],
    ['no payment mode', changed({ payment_mode: undefined }), 'receipt.items.0.payment_mode'],
    ['no payment subject', changed({ payment_subject: undefined }), 'receipt.items.0.payment_subject'],
    ['a mode it does not register', changed({ payment_mode: 'advance' }), 'receipt.items.0.payment_mode'],
    ['a sum one kopeck short', changed({ amount: { value: '598.99', currency: 'RUB' } }), 'receipt'],
    ['a sum twice too high', changed({ quantity: 2 }), 'receipt'],
  ])('with %s is refused', async (_what, sent, parameter) => {
    expect(await send(strict, sent)).toMatchObject(invalid(parameter))
  })

  test('adds up exactly with fractional quantities', async () => {
    const items = [
      { ...item, quantity: 0.333, amount: { value: '1000.00', currency: 'RUB' } },
      { ...item, quantity: 2, amount: { value: '133.00', currency: 'RUB' } },
    ]
    expect(await send(strict, { ...receipt, items })).toMatchObject({ status: 200 })
  })

  test('takes the sum seriously even when nothing is registered', async () => {
    expect(await send(off, changed({ quantity: 2 }))).toMatchObject(invalid('receipt'))
  })
})

describe('Receipts of refunds and of their own', () => {
  async function paid(): Promise<string> {
    const { body } = await send(strict, receipt)
    strict.emulator.control.complete(body.id, 'succeeded')
    return body.id
  }

  test('a part of a refund needs its own receipt, the whole takes that of the payment', async () => {
    const id = await paid()
    expect(await strict.refund(id, '200.00')).toMatchObject(invalid('receipt'))
    const part = { ...receipt, items: [{ ...item, amount: { value: '200.00', currency: 'RUB' } }] }
    expect(await strict.refund(id, '200.00', { receipt: part })).toMatchObject({
      status: 200,
      body: { receipt_registration: 'succeeded' },
    })
    const whole = await strict.refund(await paid(), '599.00')
    expect(whole).toMatchObject({ status: 200, body: { receipt_registration: 'succeeded' } })
    const { body: list } = await strict.get<{ items: ReceiptObject[] }>(
      `/receipts?refund_id=${whole.body.id}`,
    )
    expect(list.items).toMatchObject([{ type: 'refund' }])
  })

  test('the settlement after a prepayment is registered on its own', async () => {
    const payment_id = await paid()
    const settlements = [{ type: 'prepayment', amount: { value: '599.00', currency: 'RUB' } }]
    const sent = { type: 'payment', payment_id, ...receipt, send: true, settlements }
    const { status, body } = await strict.post('/receipts', sent)
    expect(status).toBe(200)
    expect(spec.checkResponse('POST', '/receipts', 200, body)).toEqual([])
    expect(body).toMatchObject({ type: 'payment', payment_id, status: 'succeeded', settlements })

    const short = [{ type: 'prepayment', amount: { value: '1.00', currency: 'RUB' } }]
    expect(await strict.post('/receipts', { ...sent, settlements: short })).toMatchObject(
      invalid('settlements'),
    )
    expect(await strict.post('/receipts', { ...sent, settlements: undefined })).toMatchObject(
      invalid('settlements'),
    )
    const unknown = '2d6f0c9b-000f-5000-9000-145f6df21d6f'
    expect(await strict.post('/receipts', { ...sent, payment_id: unknown })).toMatchObject({ status: 404 })
    expect(await strict.post('/receipts', { ...sent, payment_id: undefined })).toMatchObject(
      invalid('payment_id'),
    )
    expect(await off.post('/receipts', sent)).toMatchObject({ status: 403 })
  })
})
