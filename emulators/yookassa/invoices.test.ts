import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadSpec } from '../kit/openapi.ts'
import type { Invoice } from './objects.ts'
import { openShop } from './test-shop.ts'
import type { Shop } from './test-shop.ts'

const spec = loadSpec('yookassa')
let shop: Shop

beforeAll(async () => {
  shop = await openShop()
})
afterAll(() => shop.emulator.close())

const price = { value: '150.00', currency: 'RUB' }
const request = (changes: object = {}) => ({
  payment_data: { amount: { value: '300.00', currency: 'RUB' }, capture: true, metadata: { order_id: '5' } },
  cart: [{ description: 'Package <b>', price, quantity: 2 }],
  delivery_method_data: { type: 'self' },
  expires_at: new Date(Date.now() + 86_400_000).toISOString(),
  description: 'Bill 5',
  ...changes,
})

async function bill(changes?: object): Promise<Invoice> {
  const { status, body } = await shop.post<Invoice>('/invoices', request(changes))
  expect(status).toBe(200)
  return body
}
const read = async (id: string) => (await shop.get<Invoice>(`/invoices/${id}`)).body
const press = (url: string, action: string) =>
  fetch(url, { method: 'POST', body: new URLSearchParams({ action }), redirect: 'manual' })

describe('An invoice', () => {
  test('has a page; the buyer pays there, may be refused once and try again', async () => {
    const invoice = await bill()
    expect(invoice.id).toHaveLength(39)
    expect(spec.checkResponse('POST', '/invoices', 200, invoice)).toEqual([])
    const page = invoice.delivery_method?.url ?? ''
    const html = await (await fetch(page)).text()
    expect(html).toContain('Package &lt;b&gt; × 2: 150.00 RUB')

    const first = (await press(page, 'pay')).headers.get('location') ?? ''
    await press(first, 'decline')
    expect(await read(invoice.id)).toMatchObject({ status: 'pending' })
    const second = (await press(page, 'pay')).headers.get('location') ?? ''
    expect(second).not.toBe(first)
    expect((await press(page, 'pay')).headers.get('location')).toBe(second)
    expect((await press(second, 'pay')).headers.get('location')).toBe(page)

    const paid = await read(invoice.id)
    expect(paid).toMatchObject({ status: 'succeeded', payment_details: { status: 'succeeded' } })
    expect(paid.delivery_method).toBeUndefined()
    expect(spec.checkResponse('GET', '/invoices/{invoice_id}', 200, paid)).toEqual([])
    expect(await shop.payment(paid.payment_details?.id ?? '')).toMatchObject({
      amount: { value: '300.00' },
      metadata: { order_id: '5' },
      invoice_details: { id: invoice.id },
    })
    expect((await press(page, 'pay')).status).toBe(200)
    expect(await (await fetch(page)).text()).toContain('Оплачено')
  })

  test('follows a two-stage payment: shown while held, canceled with it', async () => {
    const invoice = await bill({ payment_data: { amount: { value: '300.00', currency: 'RUB' } } })
    shop.emulator.control.complete(invoice.id, 'authorized')
    const held = await read(invoice.id)
    expect(held).toMatchObject({ status: 'pending', payment_details: { status: 'waiting_for_capture' } })
    await shop.post(`/payments/${held.payment_details?.id ?? ''}/cancel`)
    expect(await read(invoice.id)).toMatchObject({
      status: 'canceled',
      cancellation_details: { party: 'merchant', reason: 'payment_canceled' },
    })
  })

  test('ends by its date, or by the merchant', async () => {
    const other = await openShop()
    const { body } = await other.post<Invoice>('/invoices', request())
    const { body: withdrawn } = await other.post<Invoice>('/invoices', request())
    other.emulator.control.complete(withdrawn.id, 'canceled')
    expect(() => other.emulator.control.complete(withdrawn.id, 'succeeded')).toThrow('already')
    other.emulator.control.advanceClock(86_400_000)
    expect(await other.get(`/invoices/${body.id}`)).toMatchObject({
      body: { status: 'canceled', cancellation_details: { party: 'yoo_money', reason: 'invoice_expired' } },
    })
    expect(await other.get(`/invoices/${withdrawn.id}`)).toMatchObject({
      body: { cancellation_details: { party: 'merchant', reason: 'invoice_canceled' } },
    })
    await other.emulator.close()
  })

  test.each([
    [{ cart: [] }, 'cart'],
    [{ cart: [{ description: 'x', quantity: 1 }] }, 'cart.0.price'],
    [{ expires_at: '2020-01-01T00:00:00.000Z' }, 'expires_at'],
    [{ expires_at: 'tomorrow' }, 'expires_at'],
    [{ payment_data: {} }, 'payment_data.amount'],
    [{ payment_data: { amount: { value: '0.00', currency: 'RUB' } } }, 'payment_data.amount.value'],
    [{ delivery_method_data: { type: 'sms' } }, 'delivery_method_data.phone'],
  ])('with %j is refused', async (changes, parameter) => {
    expect(await shop.post('/invoices', request(changes))).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', parameter },
    })
  })

  test('whose payment the shop may no longer make has a page that says so', async () => {
    const other = await openShop()
    const { body } = await other.post<Invoice>('/invoices', request())
    other.emulator.control.settings({ fiscalization: 'yookassa' })
    const response = await press(body.delivery_method?.url ?? '', 'pay')
    expect(response.status).toBe(400)
    expect(await response.text()).toContain('Receipt is missing')
    const broken = await fetch(body.delivery_method?.url ?? '', {
      method: 'POST',
      headers: { 'content-type': 'application/xml' },
      body: '<a/>',
    })
    expect(broken.status).toBe(400)
    await other.emulator.close()
  })

  test('that nobody made is 404', async () => {
    const id = 'in-e44e8088-bd73-43b1-959a-954f3a7d0c54'
    expect(await shop.get(`/invoices/${id}`)).toMatchObject({
      status: 404,
      body: { parameter: 'invoice_id' },
    })
    const page = `${shop.emulator.base_url}/checkout/invoices/v1/contract?invoiceId=${id}`
    expect((await fetch(page)).status).toBe(404)
  })
})
