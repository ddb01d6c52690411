import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { makeSigner } from '@kopilka/emulators/paypal/certificate'
import { callVendor } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createWebhookSender } from '../../src/transports/webhook.ts'
import { startWorld, type World } from '../world.ts'

const ROOT = path.resolve(import.meta.dirname, '../../..')

/** Attacks by pages, addresses and notifications. */
const SECRET = 'a-secret-of-the-webhook-0123456789'
let world: World
beforeAll(async () => {
  world = await startWorld((same) => ({
    ...same,
    return_url_origins: ['https://shop.example'],
    gateways: {
      ...same.gateways,
      'telegram-stars': {
        bot_token: '1234567890:AAE-made_up_for_tests_0123456789ABCDEFG',
        secret_token: SECRET,
        is_test: true,
      },
    },
  }))
})
afterAll(() => world?.close())

describe('A31: text of strangers', () => {
  const PAYLOADS = ['<img src=x onerror=alert(1)>', '"><script>alert(1)</script>', "'-alert(1)-'", '{{7*7}}']

  test('stays text on the page staff look at, which runs no script at all', async () => {
    for (const text of PAYLOADS) await world.call('POST', '/v1/customers', { external_id: text, name: text })
    const page = await world.call('GET', '/admin/', undefined, { accept: 'text/html' })
    expect(page.status).toBe(200)
    expect(page.text).toContain('&#60;img src=x onerror=alert(1)&#62;')
    for (const text of PAYLOADS.slice(0, 2)) expect(page.text).not.toContain(text)
    const policy = String(page.headers.get('content-security-policy'))
    expect(policy).toMatch(/default-src 'none'/)
    expect(policy).not.toMatch(/script-src|unsafe|\*/)
  })

  test('in answers is JSON that no browser takes for a page', async () => {
    const { headers, text } = await world.call('GET', '/v1/customers?limit=200')
    expect(text).toContain('<img')
    expect(headers.get('content-type')).toMatch(/^application\/json/)
    expect(headers.get('x-content-type-options')).toBe('nosniff')
  })
})

describe('A34: an update that Telegram did not send', () => {
  const message = { message_id: 1, date: 1_700_000_000, chat: { id: 1, type: 'private' }, text: 'hello' }
  const update = JSON.stringify({ update_id: 1, message })
  const send = async (token: string | undefined, body = update): Promise<number> => {
    const headers = token === undefined ? {} : { 'x-telegram-bot-api-secret-token': token }
    const url = '/webhooks/payments/telegram-stars'
    return (await world.call('POST', url, body, { authorization: '', ...headers })).status
  }

  test('is refused before anything of it is kept, but with the right secret', async () => {
    const before = await world.digest()
    for (const token of [
      undefined,
      SECRET.slice(1),
      `${SECRET}x`,
      SECRET.toUpperCase(),
      'x'.repeat(10_000),
    ]) {
      expect([400, 401, 403], token?.slice(0, 50)).toContain(await send(token))
    }
    expect(await send(SECRET.slice(1), '{"update_id":')).toBeGreaterThanOrEqual(400)
    const { rows } = await world.app.db.pool.query(
      "select 1 from payments.inbox where gateway = 'telegram-stars'",
    )
    expect(rows).toEqual([])
    expect(await world.digest()).toBe(before)
    expect(await send(SECRET)).toBe(200)
  })

  test('and is huge, is cut off', async () => {
    const status = await send(undefined, JSON.stringify({ update_id: 1, text: 'x'.repeat(2_000_000) })).catch(
      () => 'cut off',
    )
    expect([413, 'cut off']).toContain(status)
  })
})

describe('a server whose certificate nobody vouches for', () => {
  test('is told nothing, be it a vendor or a receiver of webhooks', async () => {
    const { key, pem } = makeSigner('localhost')
    let told = 0
    const server = createServer(
      { key: key.export({ type: 'pkcs8', format: 'pem' }), cert: pem },
      (_in, out) => {
        told++
        out.end('{}')
      },
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const sender = createWebhookSender({ may_use_http: false, networks: ['127.0.0.1'] })
    try {
      const url = `https://localhost:${(server.address() as AddressInfo).port}/`
      const { signal } = new AbortController()
      expect(await sender.send({ url, headers: {}, body: '{}', signal })).toEqual({ outcome: 'failed' })
      const asked = callVendor({ method: 'POST', url, headers: {}, body: '{}' })
      await expect(asked).rejects.toMatchObject({ reason: 'connection' })
      expect(told).toBe(0)
    } finally {
      sender.close()
      await new Promise((resolve) => server.close(resolve))
    }
  })
})

describe('A55: what helps to look inside', () => {
  const PATHS = [
    '/debug',
    '/debug/pprof/',
    '/.env',
    '/.git/config',
    '/package.json',
    '/server-status',
    '/actuator/env',
    '/console',
    '/phpinfo.php',
    '/graphql',
    '/swagger.json',
    '/v1/debug',
    '/v1/test_clock',
    '/api/internal',
    '/admin/',
    '/admin/users',
    '/../../etc/passwd',
    '/..%2f..%2fetc%2fpasswd',
    '/docs/../../package.json',
    '/metrics',
  ]

  test.each(PATHS)('%s is not there for the world', async (url) => {
    const answer = await world.app.http.inject({ method: 'GET', url, remoteAddress: '203.0.113.9' })
    expect([401, 404]).toContain(answer.statusCode)
    expect(answer.body).not.toMatch(/daemon:|"dependencies"|process_cpu|DATABASE_URL/)
  })

  test('an error tells no path, statement or version of ours', async () => {
    const answers = [
      await world.call('GET', '/nothing'),
      await world.call('POST', '/v1/orders', '{'),
      await world.call('GET', '/v1/customers/%00'),
      await world.call('GET', '/v1/orders?cursor=broken'),
    ]
    for (const { status, text, headers } of answers) {
      expect(status).toBeGreaterThanOrEqual(400)
      expect(text).not.toMatch(/node_modules|\.ts\b|select |at [A-Z]\w+ \(|postgres|fastify/i)
      expect(text).not.toContain(ROOT)
      expect(headers.get('server') ?? headers.get('x-powered-by')).toBeNull()
    }
  })
})

describe('A56: a return address that is not the owner’s', () => {
  test.each([
    'https://evil.example/',
    'https://shop.example.evil.example/',
    'https://shop.example@evil.example/',
    'https://evil.example/https://shop.example',
    'https://evil.example\\@shop.example/',
    'http://shop.example/',
    'https://shop.example:8443/',
    'javascript:alert(1)',
    'data:text/html,x',
    '//evil.example/',
    '/\\evil.example',
    ' https://evil.example/',
  ])('%s is refused, and nothing is ordered', async (return_url) => {
    const customer_id = await world.customer()
    const lines = [{ price_id: await world.price('minutes_30'), quantity: 1 }]
    const before = await world.digest()
    const body = { customer_id, gateway: 'sandbox', lines, return_url }
    expect((await world.call('POST', '/v1/orders', body)).status).toBe(400)
    expect(await world.digest()).toBe(before)
    const good = await world.call('POST', '/v1/orders', { ...body, return_url: 'https://shop.example/back' })
    expect(good.status).toBe(201)
  })
})
