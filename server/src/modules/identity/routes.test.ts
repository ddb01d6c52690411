import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createServer } from '#http/server'
import { frozenClock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import { createCursors } from '#kernel/page'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import {
  createApiKey,
  createAuthenticator,
  createSetupToken,
  identityRoutes,
  programAsMaker,
  type Authenticator,
} from './index.ts'

let database: TestDatabase
let db: Db
let app: FastifyInstance
let authenticator: Authenticator
const clock = frozenClock()
const lines: string[] = []

beforeAll(async () => {
  database = await testDatabase()
  db = database.db
  authenticator = createAuthenticator(db, { clock, mode: 'sandbox' })
  const kit = { db, clock, cursors: createCursors(Buffer.alloc(32, 1)) }
  const write = (fields: object, message: string): void => {
    lines.push(JSON.stringify([message, fields]))
  }
  app = await createServer({
    kit,
    authenticate: authenticator.authenticate,
    version: '1',
    anonymous_per_minute: 10_000,
    log: { info: write, warn: write, error: write },
  })
  identityRoutes(app, kit, { mode: 'sandbox' })
  await app.ready()
})
afterAll(async () => {
  await app.close()
  await authenticator.stop()
  await database.close()
})

const make = async (...scopes: string[]) =>
  db.transact((tx) =>
    createApiKey(tx, clock, {
      mode: 'sandbox',
      maker: programAsMaker('command'),
      key: { name: 'test', scopes },
    }),
  )

type Method = 'GET' | 'POST' | 'DELETE'
const ask = (
  method: Method,
  url: string,
  options: { key?: string; body?: object | undefined; idempotency_key?: string } = {},
) =>
  app.inject({
    method,
    url,
    ...(options.body ? { payload: options.body } : {}),
    headers: {
      ...(options.key ? { authorization: `Bearer ${options.key}` } : {}),
      ...(options.idempotency_key ? { 'idempotency-key': options.idempotency_key } : {}),
    },
  })

describe('/v1/api_keys', () => {
  test('anonymous callers and keys without the scope are turned away from everything', async () => {
    const { secret } = await make('wallets:read', 'spends:write')
    for (const [method, url] of [
      ['GET', '/v1/api_keys'],
      ['POST', '/v1/api_keys'],
      ['GET', '/v1/api_keys/key_x'],
      ['DELETE', '/v1/api_keys/key_x'],
    ] as const) {
      expect([method, url, (await ask(method, url)).statusCode]).toEqual([method, url, 401])
      const answer = await ask(method, url, {
        key: secret,
        body: method === 'POST' ? { name: 'x', scopes: ['*'] } : undefined,
      })
      expect([method, url, answer.statusCode, answer.json().code]).toEqual([
        method,
        url,
        403,
        'missing_scope',
      ])
    }
  })

  test('a key made over HTTP works, is listed without its secret, and ends when it is revoked', async () => {
    const admin = await make('*')
    const made = await ask('POST', '/v1/api_keys', {
      key: admin.secret,
      body: {
        name: 'Shop',
        scopes: ['wallets:read'],
        rate_limit_per_minute: 100,
        expires_at: '2027-01-01T00:00:00Z',
      },
    })
    expect(made.statusCode).toBe(201)
    const { secret, id } = made.json<{ secret: string; id: string }>()
    expect(made.json()).toEqual({
      id: expect.stringMatching(/^key_/),
      name: 'Shop',
      hint: expect.stringMatching(/^sk_test_....…....$/),
      mode: 'sandbox',
      scopes: ['wallets:read'],
      rate_limit_per_minute: 100,
      created_by: admin.id,
      created_at: '2026-03-01T12:00:00.000Z',
      expires_at: '2027-01-01T00:00:00.000Z',
      revoked_at: null,
      last_used_at: null,
      secret: expect.stringMatching(/^sk_test_\w{38}$/),
    })
    const current = await ask('GET', '/v1/api_keys/current', { key: secret })
    expect([current.statusCode, current.json().id]).toEqual([200, id])
    for (const url of ['/v1/api_keys', `/v1/api_keys/${id}`, '/v1/api_keys/current']) {
      const answer = await ask('GET', url, { key: admin.secret })
      expect([url, answer.statusCode, answer.body.includes(secret), /digest/.test(answer.body)]).toEqual([
        url,
        200,
        false,
        false,
      ])
    }
    const revoked = await ask('DELETE', `/v1/api_keys/${id}`, { key: admin.secret })
    expect([revoked.statusCode, revoked.json().revoked_at]).toEqual([200, '2026-03-01T12:00:00.000Z'])
    expect((await ask('GET', '/v1/api_keys/current', { key: secret })).statusCode).toBe(401)
    expect((await ask('DELETE', `/v1/api_keys/${id}`, { key: admin.secret })).json()).toEqual(revoked.json())
  })

  test('a replay makes no second key and does not show the secret again', async () => {
    const admin = await make('admin', 'wallets:read')
    const body = { name: 'Once', scopes: ['wallets:read'] }
    const first = await ask('POST', '/v1/api_keys', { key: admin.secret, body, idempotency_key: 'once' })
    const second = await ask('POST', '/v1/api_keys', { key: admin.secret, body, idempotency_key: 'once' })
    expect([first.statusCode, second.statusCode, second.headers['idempotent-replayed']]).toEqual([
      201,
      201,
      'true',
    ])
    expect(second.json()).toEqual({ ...first.json(), secret: null })
    const other = await ask('POST', '/v1/api_keys', {
      key: admin.secret,
      body: { ...body, name: 'Other' },
      idempotency_key: 'once',
    })
    expect([other.statusCode, other.json().code]).toEqual([422, 'idempotency_key_reused'])
  })

  test('a key cannot raise itself', async () => {
    const { secret } = await make('admin', 'wallets:read')
    for (const scopes of [['*'], ['spends:write'], ['wallets:read', 'grants:write']]) {
      const answer = await ask('POST', '/v1/api_keys', { key: secret, body: { name: 'x', scopes } })
      expect([answer.statusCode, answer.json().code]).toEqual([403, 'missing_scope'])
    }
  })

  test.each([
    [{}, ['/name', '/scopes']],
    [{ name: '', scopes: [] }, ['/name', '/scopes']],
    [{ name: 'x', scopes: ['everything'] }, ['/scopes/0']],
    [{ name: 'x', scopes: ['*'], rate_limit_per_minute: 0 }, ['/rate_limit_per_minute']],
    [{ name: 'x', scopes: ['*'], rate_limit_per_minute: 1.5 }, ['/rate_limit_per_minute']],
    [{ name: 'x', scopes: ['*'], expires_at: 'tomorrow' }, ['/expires_at']],
    [
      { name: 'x', scopes: ['*'], mode: 'live', created_by: 'me', secret: 'sk_test_mine' },
      ['/mode', '/created_by', '/secret'],
    ],
    [{ name: 'x'.repeat(201), scopes: ['*'] }, ['/name']],
  ])('refuses %j', async (body, pointers) => {
    const { secret } = await make('*')
    const answer = await ask('POST', '/v1/api_keys', { key: secret, body })
    expect(answer.statusCode).toBe(400)
    const { errors } = answer.json<{ errors: { pointer: string }[] }>()
    expect(errors.map((error) => error.pointer)).toEqual(pointers)
  })

  test('what does not exist is not found', async () => {
    const { secret } = await make('*')
    expect((await ask('GET', '/v1/api_keys/key_nothing', { key: secret })).statusCode).toBe(404)
    expect((await ask('DELETE', '/v1/api_keys/key_nothing', { key: secret })).statusCode).toBe(404)
  })
})

describe('set-up', () => {
  const newToken = async () => (await db.transact((tx) => createSetupToken(tx, clock))).token
  const post = (token: string) =>
    app.inject({
      method: 'POST',
      url: '/setup',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: new URLSearchParams({ token }).toString(),
    })

  test('the link’s page asks, the button shows the key once, the link is then over', async () => {
    const token = await newToken()
    const page = await app.inject({ url: `/setup?token=${token}` })
    expect([page.statusCode, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8'])
    expect(page.body).toContain(`name="token" value="${token}"`)
    expect(page.body).not.toContain('<script')
    expect(page.headers).toMatchObject({ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' })
    const shown = await post(token)
    const [, secret = ''] = /<pre class="wrap">(sk_test_\w{38})<\/pre>/.exec(shown.body) ?? []
    expect(shown.statusCode).toBe(200)
    expect((await ask('GET', '/v1/api_keys/current', { key: secret })).json()).toMatchObject({
      scopes: ['*'],
      created_by: 'setup',
    })
    for (const again of [await post(token), await app.inject({ url: `/setup?token=${token}` })]) {
      expect([again.statusCode, again.body.includes('sk_test_')]).toEqual([401, false])
      expect(again.body).toContain('This link is not valid any more')
    }
  })

  test('a token exchanged over the interface answers the key once', async () => {
    const token = await newToken()
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => ask('POST', '/v1/setup', { body: { token } })),
    )
    const good = answers.filter((answer) => answer.statusCode === 201)
    expect(good).toHaveLength(1)
    expect(good[0]?.json()).toMatchObject({ scopes: ['*'], secret: expect.stringMatching(/^sk_test_/) })
    for (const answer of answers.filter((one) => one.statusCode !== 201)) {
      expect([answer.statusCode, answer.json().code]).toEqual([401, 'setup_token_invalid'])
    }
  })

  test('text in the address cannot leave its place in the page', async () => {
    const answer = await app.inject({
      url: `/setup?token=${encodeURIComponent('"><script>alert(1)</script>')}`,
    })
    expect([answer.statusCode, answer.body.includes('<script')]).toEqual([401, false])
  })

  test('guessing is cut off at twenty a minute', async () => {
    const seen: number[] = []
    for (let i = 0; i < 25; i++) {
      const answer = await app.inject({
        method: 'POST',
        url: '/v1/setup',
        payload: { token: `setup_${i}` },
        remoteAddress: '203.0.113.77',
      })
      seen.push(answer.statusCode)
    }
    expect(seen).toEqual([...Array.from({ length: 20 }, () => 401), ...Array.from({ length: 5 }, () => 429)])
  })
})

test('no secret and no token of this file stands in a log line', async () => {
  const { secret } = await make('*')
  const token = (await db.transact((tx) => createSetupToken(tx, clock))).token
  lines.length = 0
  await ask('GET', '/v1/api_keys/current', { key: secret })
  await ask('GET', '/v1/api_keys/current', { key: `${secret}x` })
  await app.inject({ url: `/setup?token=${token}` })
  await ask('POST', '/v1/setup', { body: { token } })
  expect(lines.length).toBe(4)
  expect(lines.join('\n')).not.toContain(secret.slice(8, 30))
  expect(lines.join('\n')).not.toContain(token.slice(6))
})
