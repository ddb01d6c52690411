import { createDecipheriv, sign } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Emulator } from '../emulator.ts'
import { startListener } from '../kit/test-listener.ts'
import type { Listener } from '../kit/test-listener.ts'
import { startRustoreEmulator } from '../rustore.ts'

let merchant: Listener
let emulator: Emulator
let token: string

beforeEach(async () => {
  merchant = await startListener()
  emulator = await startRustoreEmulator({ webhook_url: merchant.url, seed: 1, retry_scale: 0.00001 })
  token = ((await auth()).body['body'] as { jwe: string }).jwe
})
afterEach(async () => {
  await emulator.close()
  await merchant.close()
})

interface Answer {
  status: number
  body: { code: string; message: string | null; body: Record<string, unknown> | null } & Record<
    string,
    unknown
  >
}

const ask = async (method: string, path: string, body?: object, headers: object = {}): Promise<Answer> => {
  const answer = await fetch(emulator.base_url + path, {
    method,
    headers: {
      'public-token': token ?? '',
      ...(body ? { 'content-type': 'application/json' } : {}),
      ...headers,
    },
    ...(body ? { body: JSON.stringify(body) } : {}),
  })
  return { status: answer.status, body: (await answer.json()) as Answer['body'] }
}
async function auth(given: { timestamp?: string; keyId?: string; message?: string } = {}): Promise<Answer> {
  const { private_key = '' } = (await ask('POST', '/console/keys')).body as unknown as Record<string, string>
  const { keyId = '123456789', timestamp = new Date().toISOString() } = given
  const key = { key: Buffer.from(private_key, 'base64'), format: 'der', type: 'pkcs8' } as const
  const signature = sign('RSA-SHA512', Buffer.from(given.message ?? keyId + timestamp), key).toString(
    'base64',
  )
  return ask('POST', '/public/auth', { keyId, timestamp, signature })
}
const buy = async (given: object = {}) => {
  const answer = await ask('POST', '/sdk/purchases', { product_code: 'p', amount: 100, ...given })
  return answer.body as unknown as { invoice_id: string; purchase_id: string; pay_url: string }
}
/** What arrived, opened with the default key: the outer and the inner JSON. */
const told = async () => {
  await emulator.control.settled()
  const key = Buffer.from('a29waWxrYS1lbXVsYXRvci1ub3RpZmljYXRpb24ta2U=', 'base64')
  return merchant.bodies<{ payload: string }>().map(({ payload }): Record<string, unknown> => {
    const bytes = Buffer.from(payload, 'base64')
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12))
    decipher.setAuthTag(bytes.subarray(-16))
    const text = Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString()
    const outer = JSON.parse(text) as { notification_type: string; data: string }
    return { type: outer.notification_type, ...(JSON.parse(outer.data) as Record<string, unknown>) }
  })
}

describe('The API of RuStore', () => {
  test('gives a token for a fresh, rightly signed request only, and asks for it everywhere', async () => {
    const old = new Date(Date.now() - 61_000).toISOString()
    expect((await auth({ timestamp: old })).body.message).toBe('Range timestamp not valid')
    expect((await auth({ message: 'x' })).status).toBe(401)
    expect((await auth({ keyId: '1' })).status).toBe(401)
    expect((await auth({ timestamp: 'now' })).status).toBe(400)
    const { invoice_id } = await buy()
    const path = `/public/v2/purchase/${invoice_id}`
    expect((await ask('GET', path, undefined, { 'public-token': 'x' })).body.message).toBe(
      'Jwe token is expired',
    )
    expect((await ask('GET', path)).body).toMatchObject({
      code: 'OK',
      body: { invoiceStatus: 'CREATED', paymentInfo: null },
    })
    emulator.control.advanceClock(900_000)
    expect((await ask('GET', path)).status).toBe(401)
  })

  test('keeps the sandbox apart', async () => {
    const { invoice_id } = await buy({ is_sandbox: true })
    expect((await ask('GET', `/public/v2/purchase/${invoice_id}`)).body.code).toBe('NOT_FOUND')
    expect((await ask('GET', `/public/sandbox/v2/purchase/${invoice_id}`)).body.code).toBe('OK')
    emulator.control.complete(invoice_id, 'succeeded')
    expect(await told()).toMatchObject([{ type: 'INVOICE_STATUS_SANDBOX', status_new: 'confirmed' }])
  })

  test('confirms and cancels holds, refunds what is confirmed, all of it once', async () => {
    const { invoice_id, purchase_id } = await buy({ is_two_stage: true })
    const confirm = () => ask('PUT', `/public/applications/12345/purchases/${purchase_id}:confirm`)
    const refund = () => ask('PATCH', `/public/applications/12345/invoices/${invoice_id}`)
    expect((await confirm()).body.message).toBe('Purchase status must be PAID')
    emulator.control.complete(invoice_id, 'succeeded')
    expect((await refund()).body.message).toBe('Invoice status must be CONFIRMED')
    expect((await confirm()).body.code).toBe('OK')
    expect((await ask('PATCH', `/public/applications/1/invoices/${invoice_id}`)).status).toBe(403)
    expect((await refund()).body.code).toBe('OK')
    expect((await refund()).body.message).toBe('Invoice has already been refunded')
    expect((await told()).map((event) => event['status_new'])).toEqual(['paid', 'confirmed', 'refunded'])
  })

  test('renews subscriptions by itself until they are canceled', async () => {
    const { invoice_id, purchase_id } = await buy({ is_subscription: true })
    emulator.control.complete(invoice_id, 'succeeded')
    emulator.control.advanceClock(31 * 86_400_000)
    emulator.control.settings({ token_ttl_seconds: 86_400 })
    const timestamp = emulator.control.status().now
    token = ((await auth({ timestamp })).body['body'] as { jwe: string }).jwe
    const path = `/public/v4/subscription/com.example.app/p/${purchase_id}`
    expect((await ask('GET', path)).body.body).toMatchObject({
      autoRenewing: true,
      paymentState: 1,
      priceAmountMicros: '1000000',
    })
    await ask('PATCH', `/public/v1/applications/12345/subscriptions/${purchase_id}:cancel`)
    emulator.control.advanceClock(31 * 86_400_000)
    const events = (await told()).filter((event) => event['type'] === 'SUBSCRIPTION_EVENT')
    expect(events.map((event) => event['subscription_event_type'])).toEqual([
      'ACTIVATED',
      'RENEWED',
      'CANCELLED',
      'CLOSED',
    ])
  })
})

describe('The pay page and notifications of RuStore', () => {
  test('the page pays once; 200 alone means received, sixteen repeats', async () => {
    merchant.answer({ status: 202 })
    const { pay_url } = await buy()
    await fetch(pay_url, { method: 'POST', body: new URLSearchParams({ action: 'pay' }) })
    const page = await fetch(pay_url, { method: 'POST', body: new URLSearchParams({ action: 'decline' }) })
    expect(await page.text()).toContain('CONFIRMED')
    await emulator.control.settled()
    expect(merchant.received).toHaveLength(17)
  })

  test('the app and its pay page lead back to the shop where they were told of one', async () => {
    const link = '<a class="button" rel="noreferrer" href="https://shop.example/">Вернуться в магазин</a>'
    const { pay_url } = await buy()
    const look = async () => {
      const pages = await Promise.all([fetch(pay_url), fetch(new URL('/app', pay_url))])
      return Promise.all(pages.map(async (page) => (await page.text()).includes(link)))
    }
    expect(await look()).toEqual([false, false])
    emulator.control.settings({ shop_url: 'https://shop.example/' })
    expect(await look()).toEqual([true, true])
    await fetch(pay_url, { method: 'POST', body: new URLSearchParams({ action: 'pay' }) })
    expect(await look()).toEqual([true, true])
  })

  test('forged ones do not open with the key', async () => {
    const { invoice_id } = await buy()
    emulator.control.forge(invoice_id)
    await emulator.control.settled()
    expect(merchant.received.length).toBeGreaterThan(0)
    await expect(told()).rejects.toThrow(/./)
  })

  test('the console checks the address with a test event', async () => {
    await ask('POST', '/console/test-event')
    expect(await told()).toMatchObject([{ type: 'TEST_EVENT' }])
  })
})
