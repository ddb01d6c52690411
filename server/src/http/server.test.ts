import type { RouteShorthandOptions } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { addRoute } from './routing.ts'
import { openLab, type Lab } from './server.fixtures/lab.ts'
import { amount } from './wire.ts'

let lab: Lab
const ROOT = { authorization: 'Bearer root' }

beforeAll(async () => {
  lab = await openLab((app, kit) => {
    addRoute(app, kit, {
      method: 'GET',
      url: '/v1/things/:id',
      who: { key: 'wallets:read' },
      summary: 'Get',
      tag: 'test',
      params: z.object({ id: z.string().max(220) }),
      query: z.object({ limit: z.coerce.number().int().max(9).optional() }),
      answer: z.object({ id: z.string() }),
      read: ({ params }) => ({ id: params.id, secret: 'never shown' }),
    })
    addRoute(app, kit, {
      method: 'POST',
      url: '/v1/things',
      who: { key: 'spends:write' },
      summary: 'Make',
      tag: 'test',
      status: 201,
      body: z.strictObject({ amount, nested: z.unknown().optional() }),
      answer: z.object({ amount }),
      read: ({ body }) => ({ amount: body.amount }),
    })
    addRoute(app, kit, {
      method: 'GET',
      url: '/balance/',
      who: { anonymous: true },
      summary: 'Slash',
      tag: 'test',
      answer: z.object({ ok: z.boolean() }),
      read: () => ({ ok: true }),
    })
    addRoute(app, kit, {
      method: 'GET',
      url: '/who',
      who: { key: 'any' },
      summary: 'Who',
      tag: 'test',
      answer: z.object({ id: z.string() }),
      read: ({ actor }) => ({ id: actor.id }),
    })
    addRoute(app, kit, {
      method: 'POST',
      url: '/form',
      who: { anonymous: true },
      summary: 'Form',
      tag: 'test',
      is_form: true,
      body: z.strictObject({ token: z.string() }),
      answer: z.object({ token: z.string() }),
      read: ({ body }) => ({ token: body.token }),
    })
    addRoute(app, kit, {
      method: 'POST',
      url: '/hook',
      who: { proof: 'a signature' },
      summary: 'Hook',
      tag: 'test',
      raw_body: true,
      answer: z.string(),
      body_max_bytes: 200_000,
      reply: async (_call, reply, request) => reply.send(`"${request.raw_body?.toString('hex') ?? 'none'}"`),
    })
    addRoute(app, kit, {
      method: 'GET',
      url: '/liar',
      who: { anonymous: true },
      summary: 'Liar',
      tag: 'test',
      answer: z.object({ amount }),
      read: () => ({ amount: -1n }),
    })
  })
})
afterAll(() => lab.close())

const post = (payload: unknown, headers: Record<string, string> = {}) =>
  lab.app.inject({
    method: 'POST',
    url: '/v1/things',
    headers: { ...ROOT, 'content-type': 'application/json', ...headers },
    payload: typeof payload === 'string' || Buffer.isBuffer(payload) ? payload : JSON.stringify(payload),
  })

describe('who may', () => {
  test('a route that does not say who may call it is not added', async () => {
    for (const options of [{}, { config: {} }, { config: { who: {} } }] as RouteShorthandOptions[]) {
      const opening = openLab((app) => {
        app.get('/open', options, () => 'x')
      })
      await expect(opening).rejects.toThrow('GET /open does not say who may call it')
    }
  })

  test.each([
    ['nobody', {}, 401, 'unauthenticated'],
    ['a wrong key', { authorization: 'Bearer nonsense' }, 401, 'unauthenticated'],
    [
      'a wrong key that has to be looked up',
      { authorization: 'Bearer late-nonsense' },
      401,
      'unauthenticated',
    ],
    ['a key without the scope', { authorization: 'Bearer reader' }, 403, 'missing_scope'],
    ['the same, looked up', { authorization: 'Bearer late-reader' }, 403, 'missing_scope'],
  ])('%s is refused before the body is read', async (_who, headers, status, code) => {
    const answer = await lab.app.inject({
      method: 'POST',
      url: '/v1/things',
      headers: { ...headers, 'content-type': 'application/json' },
      payload: '{broken',
    })
    expect([answer.statusCode, answer.json().code]).toEqual([status, code])
  })

  test('a key is let in whether it is known at once or looked up', async () => {
    for (const authorization of ['Bearer reader', 'Bearer late-reader']) {
      const answer = await lab.app.inject({ url: '/who', headers: { authorization } })
      expect([answer.statusCode, answer.json()]).toEqual([200, { id: 'key_reader' }])
    }
  })

  test('a wrong key is refused even where nobody needs one', async () => {
    expect(
      (await lab.app.inject({ url: '/balance/', headers: { authorization: 'Bearer nonsense' } })).statusCode,
    ).toBe(401)
    expect((await lab.app.inject('/balance/')).statusCode).toBe(200)
  })

  test('where a vendor proves itself otherwise, its Authorization header is its own business', async () => {
    const headers = { authorization: 'Bearer nonsense', 'content-type': 'application/json' }
    expect((await lab.app.inject({ method: 'POST', url: '/hook', headers, payload: '{' })).statusCode).toBe(
      200,
    )
  })
})

describe('addresses', () => {
  test.each([
    ['/v1/things', 'GET'],
    ['/v1/things/x', 'POST'],
    ['/v1/things/x', 'DELETE'],
    ['/v1/things/x/', 'GET'],
    ['/V1/things/x', 'GET'],
    ['/v1/Things/x', 'GET'],
    ['//v1/things/x', 'GET'],
    ['/v1//things/x', 'GET'],
    ['/v1%2fthings/x', 'GET'],
    ['/balance', 'GET'],
    ['/balance//', 'GET'],
    ['/v1/things/x', 'PROPFIND'],
  ])('%s by %s is nothing', async (url, method) => {
    const answer = await lab.app.inject({ method: method as 'GET', url, headers: ROOT })
    expect([answer.statusCode, answer.json().code]).toEqual([404, 'not_found'])
    expect(answer.headers['content-type']).toContain('application/problem+json')
  })

  test('a slash inside a parameter stays inside', async () => {
    const answer = await lab.app.inject({ url: '/v1/things/external_id:a%2Fb', headers: ROOT })
    expect(answer.json()).toEqual({ id: 'external_id:a/b' })
  })

  test('the longest customer key passes, in any alphabet; longer ones are refused', async () => {
    const cyrillic = encodeURIComponent('ж'.repeat(220))
    expect((await lab.app.inject({ url: `/v1/things/${cyrillic}`, headers: ROOT })).statusCode).toBe(200)
    expect((await lab.app.inject({ url: `/v1/things/${'x'.repeat(221)}`, headers: ROOT })).statusCode).toBe(
      400,
    )
    const endless = await lab.app.inject({ url: `/v1/things/${'x'.repeat(9_000)}`, headers: ROOT })
    expect([endless.statusCode, endless.json().code]).toEqual([414, 'path_too_long'])
  })

  test('a broken escape in the path is malformed', async () => {
    const answer = await lab.app.inject({ url: '/v1/things/%zz', headers: ROOT })
    expect([answer.statusCode, answer.json().code]).toEqual([400, 'invalid_request'])
    expect(answer.headers).toMatchObject({
      'content-type': 'application/problem+json; charset=utf-8',
      'x-content-type-options': 'nosniff',
      'x-request-id': answer.json().instance,
    })
    expect(lab.lines.at(-1)?.fields).toMatchObject({
      status: 400,
      route: 'unmatched',
      path: '/v1/things/%zz',
    })
  })

  test('A22: the method is that of the request, whatever headers or members claim', async () => {
    for (const headers of [
      { 'x-http-method-override': 'DELETE' },
      { 'x-method-override': 'POST' },
      { 'x-http-method': 'PUT' },
    ]) {
      const answer = await lab.app.inject({
        url: '/v1/things/x?_method=DELETE',
        headers: { ...ROOT, ...headers },
      })
      expect([answer.statusCode, answer.json()]).toEqual([200, { id: 'x' }])
    }
  })

  test('A23: a query given twice is refused, not guessed at', async () => {
    expect((await lab.app.inject({ url: '/v1/things/x?limit=1&limit=2', headers: ROOT })).statusCode).toBe(
      400,
    )
    expect((await lab.app.inject({ url: '/v1/things/x?limit=1', headers: ROOT })).statusCode).toBe(200)
  })

  test('HEAD answers as GET without the body and is guarded like it', async () => {
    const head = await lab.app.inject({ method: 'HEAD', url: '/v1/things/x', headers: ROOT })
    expect([head.statusCode, head.body, head.headers['content-length']]).toEqual([200, '', '10'])
    expect((await lab.app.inject({ method: 'HEAD', url: '/v1/things/x' })).statusCode).toBe(401)
  })

  test('OPTIONS answers nothing without a list of origins', async () => {
    const answer = await lab.app.inject({
      method: 'OPTIONS',
      url: '/v1/things',
      headers: { origin: 'https://evil.example' },
    })
    expect(answer.statusCode).toBe(404)
    expect(answer.headers['access-control-allow-origin']).toBeUndefined()
  })
})

describe('bodies', () => {
  test('JSON is taken with and without its charset', async () => {
    for (const type of [
      'application/json',
      'application/json; charset=utf-8',
      'application/json;charset=UTF-8',
      'APPLICATION/JSON',
    ]) {
      const answer = await post({ amount: 5 }, { 'content-type': type })
      expect([type, answer.statusCode, answer.json()]).toEqual([type, 201, { amount: 5 }])
    }
  })

  test.each([
    'text/plain',
    'text/plain; application/json',
    'application/json\tx',
    'application/json x',
    'application/jsonx',
    'application/json-patch+json',
    'application/json; charset=utf-16',
    'application/json; charset=utf-8; boundary=x',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/xml',
    ' ',
    'application',
    '*/*',
    'application/json, text/plain',
    'application/json;',
    'text/json',
  ])('a body called %j is 415', async (type) => {
    const answer = await post('{"amount":5}', { 'content-type': type })
    expect([answer.statusCode, answer.json().code]).toEqual([415, 'unsupported_media_type'])
  })

  test('a body without a type is 415', async () => {
    const answer = await lab.app.inject({
      method: 'POST',
      url: '/v1/things',
      headers: { ...ROOT, 'content-length': '12' },
      payload: Buffer.from('{"amount":5}'),
    })
    expect(answer.statusCode).toBe(415)
  })

  test('a compressed body is 415, not decompressed', async () => {
    const answer = await post({ amount: 5 }, { 'content-encoding': 'gzip' })
    expect(answer.statusCode).toBe(415)
  })

  test.each([
    ['broken', '{"amount":5'],
    ['two values', '{"amount":5}{"amount":5}'],
    ['a comment', '{"amount":5}//'],
    ['NaN', '{"amount":NaN}'],
    ['a prototype', '{"amount":5,"__proto__":{"is_admin":true}}'],
    ['an escaped prototype', '{"amount":5,"\\u005f_proto__":{}}'],
    ['a nested prototype', '{"amount":5,"nested":{"__proto__":null}}'],
    ['a constructor', '{"amount":5,"nested":{"constructor":{"prototype":{"is_admin":true}}}}'],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['65 levels', `{"amount":5,"nested":${'['.repeat(64)}${']'.repeat(64)}}`],
    ['thirty thousand levels', `{"amount":5,"nested":${'['.repeat(30_000)}${']'.repeat(30_000)}}`],
  ])('%s is malformed and changes nothing of ours', async (_what, payload) => {
    const answer = await post(payload)
    expect([answer.statusCode, answer.json().code, answer.json().errors[0].pointer]).toEqual([
      400,
      'invalid_request',
      '',
    ])
    expect(Object.hasOwn(Object.prototype, 'is_admin')).toBe(false)
  })

  test('64 levels and brackets in texts are fine', async () => {
    expect((await post(`{"amount":5,"nested":${'['.repeat(63)}${']'.repeat(63)}}`)).statusCode).toBe(201)
    expect((await post({ amount: 5, nested: '[{\\"'.repeat(1_000) })).statusCode).toBe(201)
    expect((await post({ amount: 5, nested: '\\' })).statusCode).toBe(201)
    expect((await post({ amount: 5, nested: Array.from({ length: 500 }, () => [{}]) })).statusCode).toBe(201)
  })

  test('no body at all is told which members it lacks', async () => {
    const answer = await lab.app.inject({ method: 'POST', url: '/v1/things', headers: ROOT })
    expect(answer.json().errors).toEqual([{ pointer: '/amount', detail: 'is missing' }])
    expect((await post('')).json().errors).toEqual([{ pointer: '/amount', detail: 'is missing' }])
  })

  test('a body beyond the limit is 413', async () => {
    const answer = await post({ amount: 5, nested: 'x'.repeat(65_536) })
    expect([answer.statusCode, answer.json().code]).toEqual([413, 'body_too_large'])
    expect((await post({ amount: 5, nested: 'x'.repeat(65_000) })).statusCode).toBe(201)
  })

  test('forms are taken where they are asked for, and JSON there too', async () => {
    const form = (payload: string) =>
      lab.app.inject({
        method: 'POST',
        url: '/form',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        payload,
      })
    expect((await form('token=a%20b')).json()).toEqual({ token: 'a b' })
    expect((await form('token=a&token=b')).statusCode).toBe(400)
    expect((await form('token=a&__proto__=b')).statusCode).toBe(400)
    expect((await lab.app.inject({ method: 'POST', url: '/form', payload: { token: 'x' } })).json()).toEqual({
      token: 'x',
    })
  })

  test('raw bodies keep every byte of every type', async () => {
    const bytes = Buffer.from([0xef, 0xbb, 0xbf, 0x7b, 0x00, 0xff, 0x7d])
    for (const type of [
      'application/json',
      'application/x-www-form-urlencoded',
      'text/plain',
      'application/xml',
      'x/y',
    ]) {
      const answer = await lab.app.inject({
        method: 'POST',
        url: '/hook',
        headers: { 'content-type': type },
        payload: bytes,
      })
      expect([type, answer.statusCode, answer.body]).toEqual([type, 200, `"${bytes.toString('hex')}"`])
    }
    const untyped = await lab.app.inject({
      method: 'POST',
      url: '/hook',
      headers: { 'content-length': '7' },
      payload: bytes,
    })
    expect(untyped.body).toBe(`"${bytes.toString('hex')}"`)
    const large = await lab.app.inject({
      method: 'POST',
      url: '/hook',
      headers: { 'content-type': 'x/y' },
      payload: Buffer.alloc(200_000),
    })
    expect(large.statusCode).toBe(200)
    const too_large = await lab.app.inject({
      method: 'POST',
      url: '/hook',
      headers: { 'content-type': 'x/y' },
      payload: Buffer.alloc(200_001),
    })
    expect(too_large.statusCode).toBe(413)
  })
})

describe('answers', () => {
  test('A24: hold what the schema names and nothing else', async () => {
    const answer = await lab.app.inject({ url: '/v1/things/x', headers: ROOT })
    expect(answer.body).toBe('{"id":"x"}')
  })

  test('an answer that breaks its schema is our mistake, not the caller’s', async () => {
    const answer = await lab.app.inject('/liar')
    expect([answer.statusCode, answer.json().code]).toEqual([500, 'internal_error'])
    expect(lab.lines.at(-1)?.level).toBe('error')
  })

  test('A32: every answer carries the headers that keep browsers honest', async () => {
    for (const url of ['/v1/things/x', '/nothing', '/healthz', '/openapi.json', '/liar']) {
      const { headers } = await lab.app.inject({ url, headers: ROOT })
      expect([url, headers]).toEqual([
        url,
        expect.objectContaining({
          'x-content-type-options': 'nosniff',
          'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
          'x-frame-options': 'DENY',
          'cache-control': url === '/openapi.json' ? 'public, max-age=60' : 'no-store',
        }),
      ])
      expect(headers['strict-transport-security']).toBeUndefined()
      expect(headers['server'] ?? headers['x-powered-by']).toBeUndefined()
    }
  })

  test('an id is made for every request, and none is believed', async () => {
    const ids = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const { headers } = await lab.app.inject({
          url: '/balance/',
          headers: { 'x-request-id': 'mine-mine-mine', 'request-id': 'mine' },
        })
        return String(headers['x-request-id'])
      }),
    )
    expect(new Set(ids).size).toBe(50)
    for (const id of ids) expect(id).toMatch(/^req_[0-9a-hjkmnp-tv-z]{26}$/)
  })

  test('a caller without an Idempotency-Key is told the one made for him; a bad one is refused', async () => {
    expect((await post({ amount: 1 })).headers['idempotency-key']).toMatch(/^req_/)
    expect((await post({ amount: 1 }, { 'idempotency-key': 'mine' })).headers['idempotency-key']).toBe('mine')
    const bad = await post({ amount: 1 }, { 'idempotency-key': 'ключ' })
    expect([bad.statusCode, bad.json().errors[0].pointer]).toEqual([400, '/headers/idempotency-key'])
    expect((await post({ amount: 1 }, { 'idempotency-key': 'x'.repeat(256) })).statusCode).toBe(400)
  })
})

describe('too much to do', () => {
  test('some are turned away with a time to come back, probes are answered, and it passes', async () => {
    const other = await openLab((app, kit) => {
      addRoute(app, kit, {
        method: 'GET',
        url: '/x',
        who: { anonymous: true },
        summary: 'x',
        tag: 't',
        answer: z.object({ ok: z.boolean() }),
        read: () => ({ ok: true }),
      })
    })
    const ask = async (url: string): Promise<number> => (await other.app.inject(url)).statusCode
    expect(await ask('/x')).toBe(200)
    // Turns of 0.7 s, until the plugin has looked at the average of a whole second of them.
    for (let turn = 0; turn < 5; turn++) {
      const until = performance.now() + 700
      while (performance.now() < until);
      await new Promise((resolve) => setImmediate(resolve))
    }
    const refused = await other.app.inject('/x')
    expect([refused.statusCode, refused.json().code, refused.headers['retry-after']]).toEqual([
      503,
      'overloaded',
      '5',
    ])
    expect([await ask('/healthz'), await ask('/nothing')]).toEqual([200, 503])
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    expect(await ask('/x')).toBe(200)
    await other.close()
  })
})

describe('other settings', () => {
  test('A30: pages of listed origins may call; no other origin, and not null', async () => {
    const other = await openLab(
      (app, kit) => {
        addRoute(app, kit, {
          method: 'GET',
          url: '/x',
          who: { key: 'any' },
          summary: 'x',
          tag: 't',
          answer: z.object({ ok: z.boolean() }),
          read: () => ({ ok: true }),
        })
      },
      { cors_origins: ['https://shop.example', 'null', '*'], base_url: 'https://pay.example' },
    )
    const preflight = (origin: string) =>
      other.app.inject({
        method: 'OPTIONS',
        url: '/x',
        headers: {
          origin,
          'access-control-request-method': 'GET',
          'access-control-request-headers': 'authorization, x-evil',
        },
      })
    const allowed = await preflight('https://shop.example')
    expect([
      allowed.statusCode,
      allowed.headers['access-control-allow-origin'],
      allowed.headers['vary'],
    ]).toEqual([204, 'https://shop.example', 'Origin'])
    expect(allowed.headers['access-control-allow-headers']).toBe(
      'authorization, content-type, idempotency-key',
    )
    expect(allowed.headers['access-control-allow-credentials']).toBeUndefined()
    for (const origin of [
      'null',
      'https://evil.example',
      'https://shop.example.evil.example',
      'http://shop.example',
      'https://SHOP.example',
      '*',
    ]) {
      for (const answer of [
        await preflight(origin),
        await other.app.inject({ url: '/x', headers: { ...ROOT, origin } }),
      ]) {
        expect([origin, answer.headers['access-control-allow-origin']]).toEqual([origin, undefined])
      }
    }
    const call = await other.app.inject({ url: '/x', headers: { ...ROOT, origin: 'https://shop.example' } })
    expect([call.statusCode, call.headers['access-control-allow-origin']]).toEqual([
      200,
      'https://shop.example',
    ])
    const refused = await other.app.inject({ url: '/x', headers: { origin: 'https://shop.example' } })
    expect([refused.statusCode, refused.headers['access-control-allow-origin']]).toEqual([
      401,
      'https://shop.example',
    ])
    expect(call.headers['strict-transport-security']).toBe('max-age=31536000')
    await other.close()
  })

  test('forwarded addresses and ids are believed from a trusted proxy only', async () => {
    const route = (app: Lab['app'], kit: Lab['kit']): void => {
      addRoute(app, kit, {
        method: 'GET',
        url: '/ip',
        who: { anonymous: true },
        summary: 'x',
        tag: 't',
        answer: z.object({ ip: z.string() }),
        read: ({ ip }) => ({ ip }),
      })
      app.get('/origin', { config: { who: { anonymous: true } } }, ({ protocol, host }, reply) =>
        reply.send(`${protocol} ${host}`),
      )
    }
    const headers = {
      'x-forwarded-for': '6.6.6.6, 203.0.113.9',
      'x-real-ip': '6.6.6.6',
      'x-request-id': 'trace-0123456789',
    }
    const ask = (of: Lab, remoteAddress: string) => of.app.inject({ url: '/ip', headers, remoteAddress })
    const trusting = await openLab(route, { trusted_proxies: ['10.0.0.0/8'] })
    const through = await ask(trusting, '10.1.2.3')
    expect([through.json().ip, through.headers['x-request-id']]).toEqual(['203.0.113.9', 'trace-0123456789'])
    const around = await ask(trusting, '198.51.100.7')
    expect(around.json().ip).toBe('198.51.100.7')
    expect(around.headers['x-request-id']).toMatch(/^req_/)
    // Whoever is no proxy of ours cannot say under which name and protocol he came.
    const spoofed = await trusting.app.inject({
      url: '/origin',
      remoteAddress: '198.51.100.7',
      headers: { host: 'real.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' },
    })
    expect(spoofed.body).toBe('http real.example')
    const odd = await trusting.app.inject({
      url: '/ip',
      remoteAddress: '10.1.2.3',
      headers: { 'x-request-id': 'a b\tc<script>' },
    })
    expect(odd.headers['x-request-id']).toMatch(/^req_/)
    await trusting.close()
    const trustless = await openLab(route)
    const plain = await ask(trustless, '10.1.2.3')
    expect(plain.json().ip).toBe('10.1.2.3')
    await trustless.close()
  })
})
