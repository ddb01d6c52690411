import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Payment } from './objects.ts'
import { openShop } from './test-shop.ts'
import type { Shop } from './test-shop.ts'

let shop: Shop

beforeAll(async () => {
  shop = await openShop()
})
afterAll(() => shop.emulator.close())

const pageOf = (payment: Payment) => payment.confirmation?.confirmation_url ?? ''
const press = (payment: Payment, fields: Record<string, string>) =>
  fetch(pageOf(payment), { method: 'POST', body: new URLSearchParams(fields), redirect: 'manual' })

describe('The pay page', () => {
  test('shows the sum, the purpose and the ways to go, in the language asked for', async () => {
    const ru = await fetch(pageOf(await shop.pay({ description: 'Заказ 72' })))
    expect(ru.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(ru.headers.get('content-security-policy')).toContain("default-src 'none'")
    const html = await ru.text()
    expect(html).toContain('<html lang="ru">')
    for (const part of [
      '599.00 RUB',
      'Заказ 72',
      'Заплатить',
      'Отклонить',
      'insufficient_funds',
      'Уйти без оплаты',
    ]) {
      expect(html).toContain(part)
    }
    const confirmation = { type: 'redirect', return_url: 'https://shop.example/', locale: 'en_US' }
    const en = await (await fetch(pageOf(await shop.pay({ confirmation })))).text()
    expect(en).toContain('<html lang="en">')
    expect(en).toContain('Leave without paying')
  })

  test('paying succeeds and goes back to the shop', async () => {
    const payment = await shop.pay()
    const response = await press(payment, { action: 'pay', card_number: '5555 5555 5555 4444' })
    expect([response.status, response.headers.get('location')]).toEqual([
      303,
      'https://shop.example/return?order=1',
    ])
    expect(await shop.payment(payment.id)).toMatchObject({
      status: 'succeeded',
      payment_method: { type: 'bank_card', saved: false, card: { last4: '4444' } },
      authorization_details: { three_d_secure: { applied: false } },
    })
    expect(await (await fetch(pageOf(payment))).text()).toContain('Оплачено')
  })

  test.each([false, undefined])('with capture %s a payment is held until its capture', async (capture) => {
    const payment = await shop.pay({ capture })
    await press(payment, { action: 'pay' })
    expect(await shop.payment(payment.id)).toMatchObject({ status: 'waiting_for_capture', paid: true })
  })

  test('a 3-D Secure card asks once more; agreeing pays', async () => {
    const payment = await shop.pay()
    const asked = await press(payment, { action: 'pay', card_number: '5555555555554477', save: 'yes' })
    expect(asked.status).toBe(200)
    const html = await asked.text()
    expect(html).toContain('value="confirm_3ds"')
    expect(html).toContain('name="card_number" value="5555555555554477"')
    expect(html).toContain('name="save"')
    expect(await shop.payment(payment.id)).toMatchObject({ status: 'pending' })
    await press(payment, { action: 'confirm_3ds', card_number: '5555555555554477', save: 'yes' })
    expect(await shop.payment(payment.id)).toMatchObject({
      status: 'succeeded',
      payment_method: { saved: true },
      authorization_details: { three_d_secure: { applied: true } },
    })
  })

  test('refusing 3-D Secure cancels', async () => {
    const payment = await shop.pay()
    await press(payment, { action: 'refuse_3ds' })
    expect(await shop.payment(payment.id)).toMatchObject({
      status: 'canceled',
      cancellation_details: { party: 'payment_network', reason: '3d_secure_failed' },
    })
  })

  test.each([
    ['5555555555554600', 'payment_network', 'insufficient_funds'],
    ['5555555555554535', 'payment_network', 'call_issuer'],
    ['4119098878796485', 'yoo_money', 'fraud_suspected'],
  ])('card %s is declined by %s: %s', async (card_number, party, reason) => {
    const payment = await shop.pay()
    const response = await press(payment, { action: 'pay', card_number })
    expect(response.status).toBe(303)
    expect(await shop.payment(payment.id)).toMatchObject({
      status: 'canceled',
      cancellation_details: { party, reason },
    })
  })

  test('declining takes the chosen reason, an invented one is the general decline', async () => {
    const chosen = await shop.pay()
    await press(chosen, { action: 'decline', reason: 'fraud_suspected' })
    expect(await shop.payment(chosen.id)).toMatchObject({
      cancellation_details: { reason: 'fraud_suspected' },
    })
    const invented = await shop.pay()
    await press(invented, { action: 'decline', reason: '__proto__' })
    expect(await shop.payment(invented.id)).toMatchObject({
      cancellation_details: { reason: 'general_decline' },
    })
  })

  test('leaving goes back and leaves the payment as it was', async () => {
    const payment = await shop.pay()
    expect((await press(payment, { action: 'leave' })).status).toBe(303)
    expect(await shop.payment(payment.id)).toMatchObject({ status: 'pending' })
    await press(payment, { action: 'pay' })
    expect(await shop.payment(payment.id)).toMatchObject({ status: 'succeeded' })
  })

  test('the buyer chooses the method unless the merchant has chosen', async () => {
    const free = await shop.pay()
    await press(free, { action: 'pay', method: 'sbp' })
    expect(await shop.payment(free.id)).toMatchObject({
      payment_method: { type: 'sbp', sbp_operation_id: expect.any(String) },
    })
    const fixed = await shop.pay({ payment_method_data: { type: 'yoo_money' } })
    await press(fixed, { action: 'pay', method: 'sbp' })
    expect(await shop.payment(fixed.id)).toMatchObject({ payment_method: { type: 'yoo_money' } })
  })

  test('a page left open cannot change a payment that is over', async () => {
    const payment = await shop.pay()
    await press(payment, { action: 'pay' })
    const after = await shop.payment(payment.id)
    for (const action of ['pay', 'decline', 'refuse_3ds', 'confirm_3ds']) {
      expect((await press(payment, { action })).status).toBe(303)
    }
    expect(await shop.payment(payment.id)).toEqual(after)
  })

  test('a number that is no card number is asked for again', async () => {
    const payment = await shop.pay()
    for (const card_number of ['', '1234', 'x'.repeat(16), '5'.repeat(20)]) {
      const response = await press(payment, { action: 'pay', card_number })
      expect(response.status).toBe(400)
      expect(await response.text()).toContain('role="alert"')
    }
    expect(await shop.payment(payment.id)).toMatchObject({ status: 'pending' })
  })

  test('50 presses at once pay once', async () => {
    const payment = await shop.pay()
    const answers = await Promise.all(Array.from({ length: 50 }, () => press(payment, { action: 'pay' })))
    expect(answers.every((answer) => answer.status === 303)).toBe(true)
    const { items } = shop.emulator.control.log({ kind: 'notification', limit: 1000 })
    expect(items.filter((entry) => entry.object_id === payment.id)).toHaveLength(1)
  })

  test('what the merchant wrote cannot become markup', async () => {
    const evil = '"><script>alert(1)</script>'
    const confirmation = { type: 'redirect', return_url: `https://shop.example/?q=${evil}` }
    const payment = await shop.pay({ description: evil, confirmation })
    expect(await (await fetch(pageOf(payment))).text()).not.toContain('<script>')
    shop.emulator.control.complete(payment.id, 'succeeded')
    expect(await (await fetch(pageOf(payment))).text()).not.toContain('<script>')
  })

  test('an unknown payment has a page that says so', async () => {
    for (const query of ['', '?orderId=', '?orderId=nobody', '?orderId=a&orderId=b']) {
      const response = await fetch(`${shop.emulator.base_url}/checkout/payments/v2/contract${query}`)
      expect(response.status).toBe(404)
      expect(await response.text()).toContain('Такого платежа нет')
    }
  })

  test('request faults never touch it', async () => {
    const payment = await shop.pay()
    shop.emulator.control.faults({ error_500: 5, scope: 'all' })
    expect((await press(payment, { action: 'leave' })).status).toBe(303)
    shop.emulator.control.faults({ error_500: 0, scope: 'operations' })
  })
})
