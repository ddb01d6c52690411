import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { addressKey, isPrivateAddress } from './client-address.ts'
import { addRoute } from './routing.ts'
import { openLab, type Lab } from './server.fixtures/lab.ts'
import type { ServerOptions } from './server.ts'

let lab: Lab
afterEach(() => lab?.close())

const ok = {
  answer: z.object({ ok: z.boolean() }),
  read: () => ({ ok: true }),
  summary: 'x',
  tag: 't',
} as const

async function open(options: Partial<ServerOptions> = {}): Promise<void> {
  lab = await openLab((app, kit) => {
    addRoute(app, kit, { ...ok, method: 'GET', url: '/open', who: { anonymous: true } })
    addRoute(app, kit, { ...ok, method: 'GET', url: '/other', who: { anonymous: true } })
    addRoute(app, kit, {
      ...ok,
      method: 'GET',
      url: '/rare',
      who: { anonymous: true },
      anonymous_per_minute: 2,
    })
    addRoute(app, kit, { ...ok, method: 'GET', url: '/keyed', who: { key: 'any' } })
    addRoute(app, kit, { ...ok, method: 'GET', url: '/hook', who: { proof: 'a signature' } })
    void app.register(async (scope) => {
      // As a facade does whose product has its own credentials.
      scope.addHook('onRequest', (request, _reply, done) => {
        if (request.headers['x-product'] === 'yes') {
          request.actor = { kind: 'key', id: 'key_product', scopes: new Set(['orders:read']) }
        }
        done()
      })
      addRoute(scope, kit, {
        method: 'GET',
        url: '/product',
        who: { key: 'orders:read' },
        summary: 'x',
        tag: 't',
        answer: z.object({ id: z.string() }),
        read: ({ actor }) => ({ id: actor.id }),
      })
    })
  }, options)
}

async function ask(
  url: string,
  options: { ip?: string; key?: string; times?: number; headers?: Record<string, string> } = {},
): Promise<number[]> {
  const seen: number[] = []
  for (let i = 0; i < (options.times ?? 1); i++) {
    const answer = await lab.app.inject({
      url,
      remoteAddress: options.ip ?? '203.0.113.1',
      headers: { ...options.headers, ...(options.key ? { authorization: `Bearer ${options.key}` } : {}) },
    })
    seen.push(answer.statusCode)
  }
  return seen
}

const good = (count: number): number[] => Array.from({ length: count }, () => 200)

describe('anonymous callers', () => {
  test('have a hundred requests a minute for one address, then 429 with the time to wait', async () => {
    await open()
    expect(await ask('/open', { times: 100 })).toEqual(good(100))
    const answer = await lab.app.inject({ url: '/open', remoteAddress: '203.0.113.1' })
    expect([answer.statusCode, answer.json().code, answer.headers['retry-after']]).toEqual([
      429,
      'too_many_requests',
      '1',
    ])
    expect(await ask('/open', { ip: '203.0.113.2' })).toEqual([200])
  })

  test('A45: share the allowance over routes, spellings of a path and unknown addresses', async () => {
    await open({ anonymous_per_minute: 4 })
    expect(
      [await ask('/open'), await ask('/other'), await ask('/OPEN'), await ask('/open?x=1')].flat(),
    ).toEqual([200, 200, 404, 200])
    expect(
      [await ask('/open'), await ask('/other'), await ask('/nothing'), await ask('/OPEN')].flat(),
    ).toEqual([429, 429, 429, 429])
  })

  test('A45: do not get a new allowance by headers', async () => {
    await open({ anonymous_per_minute: 3 })
    const seen: number[] = []
    for (let i = 0; i < 6; i++) {
      seen.push(
        ...(await ask('/open', {
          headers: {
            'x-forwarded-for': `198.51.100.${i}`,
            'x-real-ip': `198.51.100.${i}`,
            forwarded: `for=198.51.100.${i}`,
            'cf-connecting-ip': `198.51.100.${i}`,
          },
        })),
      )
    }
    expect(seen).toEqual([200, 200, 200, 429, 429, 429])
  })

  test('A45: of one IPv6 network of 64 bits count as one', async () => {
    await open({ anonymous_per_minute: 3 })
    const seen: number[] = []
    for (let i = 1; i <= 5; i++) seen.push(...(await ask('/open', { ip: `2001:db8:1:2:${i}::${i}` })))
    expect(seen).toEqual([200, 200, 200, 429, 429])
    expect(await ask('/open', { ip: '2001:db8:1:3::1' })).toEqual([200])
  })

  test('behind a trusted proxy count by their own address', async () => {
    await open({ anonymous_per_minute: 2, trusted_proxies: ['10.0.0.1'] })
    const through = (address: string) =>
      ask('/open', { ip: '10.0.0.1', headers: { 'x-forwarded-for': `1.2.3.4, ${address}` } })
    expect(
      [await through('198.51.100.1'), await through('198.51.100.1'), await through('198.51.100.1')].flat(),
    ).toEqual([200, 200, 429])
    expect(await through('198.51.100.2')).toEqual([200])
  })

  test('have a route’s own limit instead of the common one where it has one', async () => {
    await open({ anonymous_per_minute: 3 })
    expect(await ask('/rare', { times: 3 })).toEqual([200, 200, 429])
    expect(await ask('/open', { times: 4 })).toEqual([200, 200, 200, 429])
  })

  test('are not counted where a vendor proves itself, nor on probes', async () => {
    await open({ anonymous_per_minute: 1 })
    expect(await ask('/hook', { times: 300 })).toEqual(good(300))
    expect(await ask('/healthz', { times: 300 })).toEqual(good(300))
    expect(await ask('/open')).toEqual([200])
  })

  test('who guess keys are counted and then told to wait instead', async () => {
    await open({ anonymous_per_minute: 3 })
    const seen: number[] = []
    for (let i = 0; i < 5; i++)
      seen.push(...(await ask('/keyed', { key: i % 2 ? `guess-${i}` : `late-guess-${i}` })))
    expect(seen).toEqual([401, 401, 401, 429, 429])
    // A good key from the same address goes on working.
    expect(await ask('/keyed', { key: 'root' })).toEqual([200])
  })

  test('without any credential are counted once for a refusal', async () => {
    await open({ anonymous_per_minute: 4 })
    expect(await ask('/keyed', { times: 5 })).toEqual([401, 401, 401, 401, 429])
  })
})

describe('keys', () => {
  test('are not held to the limit of addresses', async () => {
    await open({ anonymous_per_minute: 2 })
    expect(await ask('/keyed', { key: 'root', times: 300 })).toEqual(good(300))
    expect(await ask('/open', { key: 'root', times: 10 })).toEqual(good(10))
  })

  test('have their own limit, from wherever they call', async () => {
    await open()
    const seen: number[] = []
    for (let i = 0; i < 5; i++)
      seen.push(...(await ask(i % 2 ? '/keyed' : '/open', { key: 'slow', ip: `198.51.100.${i}` })))
    expect(seen).toEqual([200, 200, 200, 429, 429])
  })
})

test('a facade with its own credentials says who calls, and the guard asks whether he may', async () => {
  await open()
  const answer = await lab.app.inject({
    url: '/product',
    headers: { 'x-product': 'yes', authorization: 'Token of the product' },
  })
  expect(answer.json()).toEqual({ id: 'key_product' })
  expect((await lab.app.inject('/product')).statusCode).toBe(401)
  expect((await lab.app.inject({ url: '/keyed', headers: { 'x-product': 'yes' } })).statusCode).toBe(401)
})

test('HEAD counts once', async () => {
  await open({ anonymous_per_minute: 3 })
  const seen: number[] = []
  for (let i = 0; i < 4; i++) seen.push((await lab.app.inject({ method: 'HEAD', url: '/open' })).statusCode)
  expect(seen).toEqual([200, 200, 200, 429])
})

test.each([
  ['203.0.113.7', '203.0.113.7'],
  ['::ffff:203.0.113.7', '203.0.113.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:0db8:0001:0002::1', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['::', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['1::', '1:0:0:0::/64'],
  ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
  ['1:2:3:4:5:6:192.0.2.1', '1:2:3:4::/64'],
  ['', 'unknown'],
  ['unix:/tmp/x', 'unknown'],
  ['x'.repeat(10_000), 'unknown'],
])('the address %j is counted as %s', (address, key) => {
  expect(addressKey(address)).toBe(key)
})

test('machines of the same owner are told from the world', () => {
  for (const address of [
    '127.0.0.1',
    '10.1.2.3',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '::1',
    'fd00::1',
    'fe80::1',
    '::ffff:10.0.0.1',
  ]) {
    expect([address, isPrivateAddress(address)]).toEqual([address, true])
  }
  for (const address of [
    '8.8.8.8',
    '172.32.0.1',
    '11.0.0.1',
    '192.169.0.1',
    '2001:db8::1',
    '::ffff:8.8.8.8',
    '',
    'localhost',
  ]) {
    expect([address, isPrivateAddress(address)]).toEqual([address, false])
  }
})
