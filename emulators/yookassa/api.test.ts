import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadSpec } from '../kit/openapi.ts'
import { BASIC, basic, openShop, REDIRECT_PAYMENT } from './test-shop.ts'
import type { Shop } from './test-shop.ts'

const spec = loadSpec('yookassa')
let shop: Shop

beforeAll(async () => {
  shop = await openShop()
})
afterAll(() => shop.emulator.close())

const send = (path: string, init: RequestInit) => fetch(`${shop.emulator.base_url}/v3${path}`, init)
const count = () => shop.emulator.control.status().counts.objects['payments']

describe('Authentication', () => {
  test.each([
    ['nothing', undefined],
    ['another secret', basic('100500', 'test_kopilka_yookassa_secreT')],
    ['another shop', basic('100501', 'test_kopilka_yookassa_secret')],
    ['a token', 'Bearer test_kopilka_yookassa_secret'],
    ['the secret alone', 'Basic test_kopilka_yookassa_secret'],
    ['a name without a password', basic('100500', '')],
  ])('%s is answered with 401 on every path, known or not', async (_what, authorization) => {
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization }
    for (const path of ['/payments', '/me', '/nothing', '/payments/2d6f0c9b-000f-5000-9000-145f6df21d6f']) {
      const response = await send(path, { headers })
      expect(response.status).toBe(401)
      expect(await response.json()).toMatchObject({ type: 'error', code: 'invalid_credentials' })
    }
    const before = count()
    const response = await send('/payments', {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', 'idempotence-key': 'k' },
      body: JSON.stringify(REDIRECT_PAYMENT),
    })
    expect(response.status).toBe(401)
    expect(count()).toBe(before)
  })

  test('follows the settings, and a live key makes live objects', async () => {
    const other = await openShop({ settings: { shop_id: '7', secret_key: 'live_abcdefgh1' } })
    const me = (authorization: string) =>
      fetch(`${other.emulator.base_url}/v3/me`, { headers: { authorization } })
    expect((await me(BASIC)).status).toBe(401)
    const response = await me(basic('7', 'live_abcdefgh1'))
    expect(await response.json()).toMatchObject({ account_id: '7', test: false })
    other.emulator.control.settings({ secret_key: 'live_another_1' })
    expect((await me(basic('7', 'live_abcdefgh1'))).status).toBe(401)
    await other.emulator.close()
  })
})

describe('Idempotence', () => {
  test('the same key with the same body is one payment and the same answer', async () => {
    const before = count() ?? 0
    const first = await shop.post('/payments', REDIRECT_PAYMENT, 'same-1')
    shop.emulator.control.complete(String(first.body['id']), 'succeeded')
    const second = await shop.post('/payments', REDIRECT_PAYMENT, 'same-1')
    expect(second).toEqual(first)
    expect(count()).toBe(before + 1)
  })

  test('50 at once with one key are one payment', async () => {
    const before = count() ?? 0
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => shop.post('/payments', REDIRECT_PAYMENT, 'crowd')),
    )
    expect(new Set(answers.map((answer) => answer.body['id'])).size).toBe(1)
    expect(answers.every((answer) => answer.status === 200)).toBe(true)
    expect(count()).toBe(before + 1)
  })

  test('the same key with another body, or for another operation, is refused', async () => {
    const { body } = await shop.post('/payments', REDIRECT_PAYMENT, 'reused')
    const refused = { status: 400, body: { code: 'invalid_request', parameter: 'Idempotence-Key' } }
    const changed = { ...REDIRECT_PAYMENT, description: 'other' }
    expect(await shop.post('/payments', changed, 'reused')).toMatchObject(refused)
    const refund = { payment_id: body['id'], amount: { value: '1.00', currency: 'RUB' } }
    expect(await shop.post('/refunds', refund, 'reused')).toMatchObject(refused)
  })

  test('a refused request does not use its key up', async () => {
    expect(await shop.post('/payments', {}, 'again')).toMatchObject({ status: 400 })
    expect(await shop.post('/payments', REDIRECT_PAYMENT, 'again')).toMatchObject({ status: 200 })
  })

  test('after 24 hours the key is forgotten', async () => {
    const other = await openShop()
    const first = await other.post('/payments', REDIRECT_PAYMENT, 'old')
    other.emulator.control.advanceClock(24 * 3_600_000 - 1000)
    expect((await other.post('/payments', REDIRECT_PAYMENT, 'old')).body['id']).toBe(first.body['id'])
    other.emulator.control.advanceClock(2000)
    expect((await other.post('/payments', REDIRECT_PAYMENT, 'old')).body['id']).not.toBe(first.body['id'])
    await other.emulator.close()
  })

  test.each([
    ['missing', null],
    ['empty', ''],
    ['65 characters long', 'k'.repeat(65)],
    ['with a space', 'a b'],
    ['with a tilde', 'a~b'],
  ])('a key that is %s is refused', async (_what, key) => {
    expect(await shop.post('/payments', REDIRECT_PAYMENT, key)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', parameter: 'Idempotence-Key' },
    })
  })

  test('64 characters with a colon are accepted', async () => {
    expect(await shop.post('/payments', REDIRECT_PAYMENT, `pay:${'k'.repeat(60)}`)).toMatchObject({
      status: 200,
    })
  })
})

describe('The edges of the API', () => {
  test('unknown objects are 404 in the published shape', async () => {
    const id = '2d6f0c9b-000f-5000-9000-145f6df21d6f'
    for (const [path, published] of [
      [`/payments/${id}`, '/payments/{payment_id}'],
      [`/refunds/${id}`, '/refunds/{refund_id}'],
      [`/receipts/rt-${id}`, '/receipts/{receipt_id}'],
      [`/payment_methods/${id}`, '/payment_methods/{payment_method_id}'],
    ] as const) {
      const { status, body } = await shop.get(path)
      expect(status).toBe(404)
      expect(spec.checkResponse('GET', published, 404, body)).toEqual([])
    }
    expect(await shop.post(`/payments/${id}/capture`, {})).toMatchObject({ status: 404 })
    expect(await shop.get('/nothing')).toMatchObject({ status: 404, body: { code: 'not_found' } })
  })

  test('a wrong method is 405, a wrong content type 415, broken JSON 400', async () => {
    const headers = { authorization: BASIC, 'idempotence-key': 'edge' }
    expect((await send('/payments', { method: 'DELETE', headers })).status).toBe(405)
    expect((await send('/payments/x/capture', { headers })).status).toBe(405)
    const post = (body: string, type?: string) =>
      send('/payments', {
        method: 'POST',
        headers: { ...headers, ...(type === undefined ? {} : { 'content-type': type }) },
        body,
      })
    expect((await post('amount=1', 'application/x-www-form-urlencoded')).status).toBe(415)
    expect((await post('{}', 'text/plain')).status).toBe(415)
    expect((await post('{"amount":', 'application/json')).status).toBe(400)
    expect((await post('{"__proto__":{}}', 'application/json')).status).toBe(400)
    expect((await post('', 'application/json')).status).toBe(400)
    expect((await post('[]', 'application/json')).status).toBe(400)
    expect((await post(`{"description":"${'x'.repeat(2_000_000)}"}`, 'application/json')).status).toBe(400)
  })

  test('webhooks are for partners with a token', async () => {
    expect(await shop.get('/webhooks')).toMatchObject({ status: 403, body: { code: 'forbidden' } })
  })

  test('/me tells the shop in the published shape, with fiscalization when it is on', async () => {
    const { status, body } = await shop.get('/me')
    expect(status).toBe(200)
    expect(spec.checkResponse('GET', '/me', 200, body)).toEqual([])
    expect(body).toMatchObject({ account_id: '100500', test: true, fiscalization_enabled: false })
    const other = await openShop({ settings: { fiscalization: 'yookassa' } })
    const me = await other.get('/me')
    expect(me.body).toMatchObject({ fiscalization: { enabled: true, provider: 'avanpost' } })
    expect(spec.checkResponse('GET', '/me', 200, me.body)).toEqual([])
    await other.emulator.close()
  })
})

describe('Request faults in this vendor’s words', () => {
  test('after a lost answer the same key gives the payment that was made', async () => {
    const other = await openShop({ hold_ms: 50, faults: { timeout_after_charge: 1 } })
    await expect(other.post('/payments', REDIRECT_PAYMENT, 'lost')).rejects.toThrow('fetch failed')
    const { status, body } = await other.post('/payments', REDIRECT_PAYMENT, 'lost')
    expect(status).toBe(200)
    const { items } = other.emulator.control.objects({ collection: 'payments' })
    expect(items).toMatchObject([{ id: body['id'] }])
    await other.emulator.close()
  })

  test('500 leaves it open whether the payment was made; the same key settles it either way', async () => {
    const other = await openShop({ faults: { error_500: 2 } })
    const payments = () => other.emulator.control.status().counts.objects['payments']
    for (const [key, made] of [
      ['performed', 1],
      ['refused', 1],
    ] as const) {
      const answer = await other.post('/payments', REDIRECT_PAYMENT, key)
      expect(answer).toMatchObject({ status: 500, body: { type: 'error', code: 'internal_server_error' } })
      expect(payments()).toBe(made)
    }
    await other.post('/payments', REDIRECT_PAYMENT, 'performed')
    await other.post('/payments', REDIRECT_PAYMENT, 'refused')
    expect(payments()).toBe(2)
    await other.emulator.close()
  })

  test('429 tells how long to wait', async () => {
    shop.emulator.control.faults({ error_429: 1 })
    expect(await shop.post('/payments', REDIRECT_PAYMENT)).toMatchObject({
      status: 429,
      body: { code: 'too_many_requests', retry_after: 1000 },
    })
  })
})
