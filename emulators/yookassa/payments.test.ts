import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadSpec } from '../kit/openapi.ts'
import type { Payment } from './objects.ts'
import { openShop, REDIRECT_PAYMENT } from './test-shop.ts'
import type { Shop } from './test-shop.ts'

const spec = loadSpec('yookassa')
let shop: Shop

beforeAll(async () => {
  shop = await openShop()
})
afterAll(() => shop.emulator.close())

const invalid = (parameter: string) => ({
  status: 400,
  body: { type: 'error', code: 'invalid_request', parameter },
})

describe('Creating a payment', () => {
  test('answers with a pending payment in the published shape and a page to go to', async () => {
    const { status, body } = await shop.post<Payment>('/payments', REDIRECT_PAYMENT)
    expect(status).toBe(200)
    expect(spec.checkResponse('POST', '/payments', 200, body)).toEqual([])
    expect(body).toMatchObject({
      status: 'pending',
      paid: false,
      refundable: false,
      test: true,
      amount: { value: '599.00', currency: 'RUB' },
      recipient: { account_id: '100500', gateway_id: '100700' },
      metadata: { order_id: '1001' },
      confirmation: { type: 'redirect', return_url: 'https://shop.example/return?order=1' },
    })
    expect(body.id).toHaveLength(36)
    expect(body.confirmation?.confirmation_url).toContain(`orderId=${body.id}`)
    expect(await shop.get(`/payments/${body.id}`)).toEqual({ status: 200, body })
  })

  test('gives each kind of confirmation what it needs', async () => {
    const confirm = async (confirmation: object, more: object = {}) =>
      (await shop.pay({ confirmation, ...more })).confirmation
    expect(await confirm({ type: 'embedded' })).toEqual({
      type: 'embedded',
      confirmation_token: expect.any(String),
    })
    expect(await confirm({ type: 'external' })).toEqual({ type: 'external' })
    const sbp = { payment_method_data: { type: 'sbp' } }
    expect(await confirm({ type: 'qr' }, sbp)).toMatchObject({
      type: 'qr',
      confirmation_data: expect.any(String),
    })
    const mobile = { type: 'mobile_application', return_url: 'app.example://back' }
    expect(await confirm(mobile)).toMatchObject({ confirmation_url: expect.any(String) })
  })

  test.each([
    [{ amount: undefined }, 'amount'],
    [{ amount: { value: 599, currency: 'RUB' } }, 'amount.value'],
    [{ amount: { value: '0.00', currency: 'RUB' } }, 'amount.value'],
    [{ amount: { value: '-1.00', currency: 'RUB' } }, 'amount.value'],
    [{ amount: { value: '1,00', currency: 'RUB' } }, 'amount.value'],
    [{ amount: { value: '1e3', currency: 'RUB' } }, 'amount.value'],
    [{ amount: { value: '1.001', currency: 'RUB' } }, 'amount.value'],
    [{ amount: { value: ' 1.00', currency: 'RUB' } }, 'amount.value'],
    [{ amount: { value: '1'.repeat(40), currency: 'RUB' } }, 'amount.value'],
    [{ amount: { value: '1.00', currency: 'USD' } }, 'amount.currency'],
    [{ amount: { value: '1.00', currency: 'rub' } }, 'amount.currency'],
    [{ capture: 'true' }, 'capture'],
    [{ description: 'x'.repeat(129) }, 'description'],
    [{ metadata: { order_id: 1001 } }, 'metadata.order_id'],
    [{ metadata: { ['k'.repeat(33)]: 'v' } }, `metadata.${'k'.repeat(33)}`],
    [{ metadata: { note: 'v'.repeat(513) } }, 'metadata.note'],
    [{ metadata: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`k${n}`, 'v'])) }, 'metadata'],
    [{ confirmation: undefined }, 'confirmation'],
    [{ confirmation: { type: 'redirect' } }, 'confirmation.return_url'],
    [{ confirmation: { type: 'redirect', return_url: 'shop' } }, 'confirmation.return_url'],
    [{ confirmation: { type: 'redirect', return_url: 'javascript:alert(1)' } }, 'confirmation.return_url'],
    [{ confirmation: { type: 'qr' } }, 'confirmation.type'],
    [{ payment_method_data: { type: 'barter' } }, 'payment_method_data.type'],
    [{ payment_method_data: { type: 'cash' } }, 'payment_method_data.type'],
    [{ payment_method_id: 'nobody', confirmation: undefined }, 'payment_method_id'],
    [{ payment_method_id: 'a', payment_method_data: { type: 'sbp' } }, 'payment_method_id'],
    [{ payment_token: 'a', payment_method_data: { type: 'sbp' } }, 'payment_method_id'],
    [{ recipient: { gateway_id: '1' } }, 'recipient.gateway_id'],
    [{ merchant_customer_id: 'x'.repeat(201) }, 'merchant_customer_id'],
  ])('refuses %j and creates nothing', async (changes, parameter) => {
    const before = shop.emulator.control.status().counts.objects['payments']
    const answer = await shop.post('/payments', { ...REDIRECT_PAYMENT, ...changes })
    expect(answer).toMatchObject(invalid(parameter))
    expect(spec.checkResponse('POST', '/payments', 400, answer.body)).toEqual([])
    expect(shop.emulator.control.status().counts.objects['payments']).toBe(before)
  })

  test('is forbidden where the shop has no right: splitting and deals', async () => {
    const transfers = [{ account_id: '1', amount: { value: '1.00', currency: 'RUB' } }]
    expect(await shop.post('/payments', { ...REDIRECT_PAYMENT, transfers })).toMatchObject({
      status: 403,
      body: { code: 'forbidden' },
    })
  })

  test('an amount with one decimal is understood and given back with two', async () => {
    const payment = await shop.pay({ amount: { value: '599.5', currency: 'RUB' } })
    expect(payment.amount.value).toBe('599.50')
  })

  test.each([
    ['5555555555554444', 'succeeded', undefined],
    ['5555555555554600', 'canceled', 'insufficient_funds'],
    ['5555555555554543', 'canceled', 'card_expired'],
    ['2201382000000054', 'canceled', 'country_forbidden'],
    ['5555555555554477', 'canceled', '3d_secure_failed'],
  ])('with the data of card %s and nobody to confirm ends at once as %s', async (number, status, reason) => {
    const payment = await shop.pay({
      confirmation: undefined,
      payment_method_data: {
        type: 'bank_card',
        card: { number, expiry_year: '2030', expiry_month: '01', csc: '123' },
      },
    })
    expect(payment).toMatchObject({
      status,
      payment_method: { card: { last4: number.slice(-4), expiry_year: '2030' } },
    })
    expect(payment.cancellation_details?.reason).toBe(reason)
  })

  test('shows of a card only its first six and last four digits, and logs no more', async () => {
    const number = '4793128161644804'
    const card = { number, expiry_year: '2030', expiry_month: '01', csc: '987' }
    const payment = await shop.pay({ payment_method_data: { type: 'bank_card', card } })
    expect(payment).toMatchObject({ status: 'pending', payment_method: { card: { first6: '479312' } } })
    expect(JSON.stringify(payment)).not.toContain(number)
    const log = JSON.stringify(shop.emulator.control.log({ limit: 1000 }))
    expect(log).not.toMatch(/4793128161644804|"987"/)
  })
})

describe('The states of a payment', () => {
  test('one stage: pending, then succeeded for good', async () => {
    const payment = await shop.paid()
    expect(payment).toMatchObject({
      status: 'succeeded',
      paid: true,
      refundable: true,
      refunded_amount: { value: '0.00' },
      // 599.00 − 3.5 % (20.97) − 22 % of that (4.62).
      income_amount: { value: '573.41' },
      authorization_details: { three_d_secure: { applied: false } },
    })
    expect(payment.confirmation).toBeUndefined()
    expect(spec.checkResponse('GET', '/payments/{payment_id}', 200, payment)).toEqual([])
  })

  test('capture left out means two stages', async () => {
    const { id } = await shop.pay({ capture: undefined })
    shop.emulator.control.complete(id, 'authorized')
    const held = await shop.payment(id)
    expect(held).toMatchObject({ status: 'waiting_for_capture', paid: true, refundable: false })
    expect(Date.parse(held.expires_at ?? '') - Date.parse(held.created_at)).toBeGreaterThan(6.9 * 86_400_000)
    expect(await shop.refund(id, '1.00')).toMatchObject(invalid('payment_id'))
    const captured = await shop.post<Payment>(`/payments/${id}/capture`)
    expect(captured).toMatchObject({
      status: 200,
      body: { status: 'succeeded', amount: { value: '599.00' } },
    })
    expect(captured.body.expires_at).toBeUndefined()
    expect(spec.checkResponse('POST', '/payments/{payment_id}/capture', 200, captured.body)).toEqual([])
  })

  test('a part may be captured, more than is held may not', async () => {
    const { id } = await shop.pay({ capture: false })
    shop.emulator.control.complete(id, 'authorized')
    const capture = (value: string) =>
      shop.post(`/payments/${id}/capture`, { amount: { value, currency: 'RUB' } })
    expect(await capture('599.01')).toMatchObject(invalid('amount.value'))
    expect(await capture('0.00')).toMatchObject(invalid('amount.value'))
    expect(await capture('100.00')).toMatchObject({
      body: { status: 'succeeded', amount: { value: '100.00' } },
    })
    expect(await shop.refund(id, '100.01')).toMatchObject(invalid('amount.value'))
    expect(await shop.refund(id, '100.00')).toMatchObject({ status: 200 })
  })

  test('a hold can be let go, by an empty body', async () => {
    const { id } = await shop.pay({ capture: false })
    shop.emulator.control.complete(id, 'authorized')
    expect(await shop.post(`/payments/${id}/cancel`)).toMatchObject({
      status: 200,
      body: {
        status: 'canceled',
        paid: false,
        cancellation_details: { party: 'merchant', reason: 'canceled_by_merchant' },
      },
    })
  })

  test('every step from a wrong state is refused and changes nothing', async () => {
    const pending = await shop.pay()
    const succeeded = await shop.paid()
    const canceled = await shop.pay()
    shop.emulator.control.complete(canceled.id, { outcome: 'canceled', reason: 'fraud_suspected' })
    for (const { id } of [pending, succeeded, canceled]) {
      const before = await shop.payment(id)
      expect(await shop.post(`/payments/${id}/capture`, {})).toMatchObject(invalid('payment_id'))
      expect(await shop.post(`/payments/${id}/cancel`, {})).toMatchObject(invalid('payment_id'))
      expect(await shop.payment(id)).toEqual(before)
    }
    for (const { id } of [succeeded, canceled]) {
      for (const outcome of ['succeeded', 'authorized', 'canceled'] as const) {
        expect(() => shop.emulator.control.complete(id, outcome)).toThrow('already')
      }
    }
  })

  test('a canceled payment says who and why, and an invented reason is refused', async () => {
    const { id } = await shop.pay()
    expect(() => shop.emulator.control.complete(id, { outcome: 'canceled', reason: 'bad_mood' })).toThrow(
      'reason',
    )
    shop.emulator.control.complete(id, { outcome: 'canceled', reason: 'insufficient_funds' })
    const payment = await shop.payment(id)
    expect(payment).toMatchObject({
      status: 'canceled',
      cancellation_details: { party: 'payment_network', reason: 'insufficient_funds' },
    })
    expect(spec.checkResponse('GET', '/payments/{payment_id}', 200, payment)).toEqual([])
  })

  test('nobody pays within the hour: canceled; nobody captures within seven days: canceled', async () => {
    const other = await openShop()
    const unpaid = await other.pay()
    const held = await other.pay({ capture: false })
    other.emulator.control.complete(held.id, 'authorized')
    other.emulator.control.advanceClock(59 * 60_000)
    expect(await other.payment(unpaid.id)).toMatchObject({ status: 'pending' })
    other.emulator.control.advanceClock(60_000)
    expect(await other.payment(unpaid.id)).toMatchObject({
      status: 'canceled',
      cancellation_details: { party: 'yoo_money', reason: 'expired_on_confirmation' },
    })
    expect(await other.payment(held.id)).toMatchObject({ status: 'waiting_for_capture' })
    other.emulator.control.advanceClock(7 * 86_400_000)
    expect(await other.payment(held.id)).toMatchObject({
      cancellation_details: { reason: 'expired_on_capture' },
    })
    await other.emulator.close()
  })
})

describe('Listing payments', () => {
  test('filters by status, method and time, pages to the end without loss', async () => {
    const other = await openShop()
    const ids: string[] = []
    for (let count = 0; count < 12; count += 1) ids.push((await other.pay()).id)
    other.emulator.control.complete(ids[3] ?? '', { outcome: 'succeeded', method: 'sbp' })
    const list = (query: string) =>
      other.get<{ items: Payment[]; next_cursor?: string }>(`/payments?${query}`)

    const first = await list('')
    expect(first.body.items).toHaveLength(10)
    expect(spec.checkResponse('GET', '/payments', 200, first.body)).toEqual([])
    const rest = await list(`cursor=${first.body.next_cursor ?? ''}`)
    expect(rest.body.next_cursor).toBeUndefined()
    expect([...first.body.items, ...rest.body.items].map((item) => item.id)).toEqual(ids.toReversed())

    expect((await list('status=succeeded')).body.items.map((item) => item.id)).toEqual([ids[3]])
    expect((await list('payment_method=sbp')).body.items.map((item) => item.id)).toEqual([ids[3]])
    expect((await list('payment_method=bank_card')).body.items).toEqual([])
    const { created_at = '' } = first.body.items[9] ?? {}
    const since = encodeURIComponent(created_at)
    const newer = (await list(`limit=100&created_at.gt=${since}`)).body.items
    expect(newer.every((item) => item.created_at > created_at)).toBe(true)
    expect(
      (await list(`limit=100&created_at.gte=${since}&created_at.lte=${since}`)).body.items.length,
    ).toBeGreaterThan(0)
    expect((await list('captured_at.gte=2000-01-01T00:00:00.000Z')).body.items).toHaveLength(1)
    await other.emulator.close()
  })

  test.each([
    'limit=0',
    'limit=101',
    'limit=ten',
    'status=paid',
    'created_at.gte=yesterday',
    'created_at[gte]=x',
    'cursor=zzz',
  ])('refuses %s', async (query) => {
    expect(await shop.get(`/payments?${query}`)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request' },
    })
  })
})
