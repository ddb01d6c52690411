import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { addRoute } from './routing.ts'
import { openLab, type Lab } from './server.fixtures/lab.ts'

/** What only real sockets show: framing, slow senders, header tricks. */

let lab: Lab
let calls: string[] = []

beforeAll(async () => {
  lab = await openLab(
    (app, kit) => {
      addRoute(app, kit, {
        method: 'POST',
        url: '/v1/spends',
        who: { key: 'spends:write' },
        summary: 'Spend',
        tag: 'test',
        body: z.strictObject({ amount: z.int() }),
        answer: z.object({ amount: z.int() }),
        read: ({ body }) => {
          calls.push(`spend ${body.amount}`)
          return { amount: body.amount }
        },
      })
      addRoute(app, kit, {
        method: 'GET',
        url: '/v1/admin',
        who: { key: 'admin' },
        summary: 'Admin',
        tag: 'test',
        answer: z.object({ ok: z.boolean() }),
        read: () => {
          calls.push('admin')
          return { ok: true }
        },
      })
      addRoute(app, kit, {
        method: 'GET',
        url: '/open',
        who: { anonymous: true },
        summary: 'Open',
        tag: 'test',
        answer: z.object({ ok: z.boolean() }),
        read: () => ({ ok: true }),
      })
    },
    {
      timeouts: { headers_ms: 400, request_ms: 700, check_ms: 50, keep_alive_ms: 600 },
      anonymous_per_minute: 10_000,
    },
  )
  await lab.app.listen({ host: '127.0.0.1', port: 0 })
})
afterAll(() => lab.close())

const HEAD = 'POST /v1/spends HTTP/1.1\r\nhost: x\r\nauthorization: Bearer root\r\n'
const JSON_TYPE = 'content-type: application/json\r\n'
const CHUNKED = `${HEAD}${JSON_TYPE}transfer-encoding: chunked`
const BODY = '{"amount":5}'

const statuses = (answer: string): number[] =>
  [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]))

async function attack(
  text: string,
  wait_ms = 250,
): Promise<{ statuses: number[]; calls: string[]; answer: string }> {
  calls = []
  const answer = await lab.send(text, wait_ms)
  return { statuses: statuses(answer), calls, answer }
}

test('a plain request works, and two on one connection', async () => {
  const one = `${HEAD}${JSON_TYPE}content-length: ${BODY.length}\r\n\r\n${BODY}`
  expect(await attack(one)).toMatchObject({ statuses: [200], calls: ['spend 5'] })
  expect(await attack(one + one)).toMatchObject({ statuses: [200, 200], calls: ['spend 5', 'spend 5'] })
})

describe('A43: requests that mean two things', () => {
  const SMUGGLED = 'GET /v1/admin HTTP/1.1\r\nhost: x\r\nauthorization: Bearer root\r\n\r\n'

  test.each([
    [
      'length and chunks',
      `${HEAD}${JSON_TYPE}content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    ['chunks and length', `${CHUNKED}\r\ncontent-length: ${SMUGGLED.length + 5}\r\n\r\n0\r\n\r\n${SMUGGLED}`],
    [
      'two lengths',
      `${HEAD}${JSON_TYPE}content-length: 0\r\ncontent-length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`,
    ],
    ['a list of lengths', `${HEAD}${JSON_TYPE}content-length: 0, ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`],
    ['a signed length', `${HEAD}${JSON_TYPE}content-length: +0\r\n\r\n${SMUGGLED}`],
    ['a negative length', `${HEAD}${JSON_TYPE}content-length: -1\r\n\r\n${SMUGGLED}`],
    ['a hexadecimal length', `${HEAD}${JSON_TYPE}content-length: 0x0\r\n\r\n${SMUGGLED}`],
    ['an unknown coding', `${HEAD}${JSON_TYPE}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n${SMUGGLED}`],
    [
      'a coding after chunked',
      `${HEAD}${JSON_TYPE}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    [
      'a coding hidden by a tab',
      `${HEAD}${JSON_TYPE}transfer-encoding:\tchunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    ['a space before the colon', `${HEAD}${JSON_TYPE}content-length : 0\r\n\r\n${SMUGGLED}`],
    ['a folded header', `${HEAD}${JSON_TYPE}x: y\r\n content-length: 0\r\n\r\n${SMUGGLED}`],
    [
      'bare line feeds',
      `${HEAD.replaceAll('\r\n', '\n')}content-type: application/json\ncontent-length: 0\n\n${SMUGGLED}`,
    ],
    ['a bare carriage return', `${HEAD}x: a\rcontent-length: 0\r\n\r\n${SMUGGLED}`],
    ['a zero byte', `${HEAD}x: a\0b\r\ncontent-length: 0\r\n\r\n${SMUGGLED}`],
    [
      'a wrong chunk size',
      `${HEAD}${JSON_TYPE}transfer-encoding: chunked\r\n\r\nzz\r\n${BODY}\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    ['an endless chunk size', `${CHUNKED}\r\n\r\nfffffffffffffffff\r\n${BODY}\r\n0\r\n\r\n${SMUGGLED}`],
  ])('%s: refused, the connection closed, nothing behind it is heard', async (_what, text) => {
    const { statuses: seen, calls: called, answer } = await attack(text)
    expect(called).toEqual([])
    expect(seen).toEqual([400])
    expect(answer).toContain('application/problem+json')
    expect(answer.toLowerCase()).toContain('connection: close')
  })

  test('a body on a GET is no second request', async () => {
    const text = `GET /open HTTP/1.1\r\nhost: x\r\ncontent-length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`
    expect(await attack(text)).toMatchObject({ statuses: [200], calls: [] })
  })

  test('a refused body does not become the next request', async () => {
    // The 415 is answered before the body is read; what follows must not be taken for a request.
    const text = `${HEAD}content-type: garbage\r\ncontent-length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`
    expect(await attack(text)).toMatchObject({ statuses: [415], calls: [] })
    const head = `POST /v1/spends HTTP/1.1\r\nhost: x\r\n${JSON_TYPE}`
    const anonymous = `${head}content-length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`
    expect(await attack(anonymous)).toMatchObject({ statuses: [401], calls: [] })
  })
})

describe('A44: content types by their bytes', () => {
  test.each([
    'application/json\t',
    'application/json\tx',
    '\tapplication/json',
    'application/json \t; charset=utf-8',
    'application/json;\tx=y',
  ])('%j never lets a body past its schema', async (type) => {
    const wrong = '{"amount":"not a number","extra":1}'
    const { statuses: seen, calls: called } = await attack(
      `${HEAD}content-type: ${type}\r\ncontent-length: ${wrong.length}\r\n\r\n${wrong}`,
    )
    expect(called).toEqual([])
    expect([[400], [415]]).toContainEqual(seen)
  })

  test('given twice, the first counts for parser and schema alike', async () => {
    const wrong = '{"amount":"x"}'
    const { calls: called, statuses: seen } = await attack(
      `${HEAD}${JSON_TYPE}content-type: text/plain\r\ncontent-length: ${wrong.length}\r\n\r\n${wrong}`,
    )
    expect([called, seen]).toEqual([[], [400]])
  })
})

describe('A22: addresses as they are sent', () => {
  test.each([
    '/v1/./admin',
    '/v1/x/../admin',
    '/v1/admin/.',
    '//v1/admin',
    '/v1/admin;x=y',
    '/v1/admin%00',
    '/v1%2Fadmin',
    'v1/admin',
    '*',
  ])('%s is not the route', async (path) => {
    const { statuses: seen, calls: called } = await attack(
      `GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer root\r\n\r\n`,
    )
    expect(called).toEqual([])
    expect([400, 404]).toContain(seen[0])
  })

  test('no trick of the path gets past the guard', async () => {
    for (const path of ['http://x/v1/admin', '/v1/admin?', '/v1/admin#', '/v1/%61dmin']) {
      const { statuses: seen, calls: called } = await attack(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`)
      expect(called).toEqual([])
      expect([401, 404, 400]).toContain(seen[0])
    }
  })
})

describe('A43: too much', () => {
  test('headers beyond 16 KiB are 431', async () => {
    const { answer } = await attack(`GET /open HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`)
    expect(statuses(answer)).toEqual([431])
    expect(answer).toContain('headers_too_large')
  })

  test('a body that grows beyond the limit in chunks is 413 and the connection ends', async () => {
    const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`
    const { answer, calls: called } = await attack(
      `${HEAD}${JSON_TYPE}transfer-encoding: chunked\r\n\r\n${chunk.repeat(6)}`,
    )
    expect(statuses(answer)).toEqual([413])
    expect(answer.toLowerCase()).toContain('connection: close')
    expect(called).toEqual([])
  })

  test('a request without a host, or of another protocol, is refused', async () => {
    expect((await attack('GET /open HTTP/1.1\r\n\r\n')).statuses).toEqual([400])
    expect((await attack('GET /open HTTP/3.0\r\nhost: x\r\n\r\n')).statuses).toEqual([400])
    expect((await attack('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03')).statuses).toEqual([400])
    expect((await attack('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')).statuses).toEqual([400])
  })
})

describe('A43: slow senders', () => {
  test('a head that does not end is 408', async () => {
    const begun = performance.now()
    const { answer } = await attack('GET /open HTTP/1.1\r\nhost: x\r\nx: y', 3_000)
    expect(statuses(answer)).toEqual([408])
    expect(performance.now() - begun).toBeLessThan(1_500)
  })

  test('a body that trickles in is 408, and the verb never runs', async () => {
    calls = []
    const answer = await new Promise<string>((resolve) => {
      let text = ''
      const socket = connect(lab.port(), '127.0.0.1', () => {
        socket.write(`${HEAD}${JSON_TYPE}content-length: 1000\r\n\r\n{`)
      })
      const drip = setInterval(() => socket.write(' '), 50)
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1')
      })
      socket.on('error', () => undefined)
      socket.on('close', () => {
        clearInterval(drip)
        resolve(text)
      })
    })
    expect(statuses(answer)).toEqual([408])
    expect(calls).toEqual([])
  })

  test('a hundred of them do not keep others waiting', async () => {
    let cut_off = 0
    const sockets = Array.from({ length: 100 }, () => {
      const socket = connect(lab.port(), '127.0.0.1', () =>
        socket.write(`${HEAD}${JSON_TYPE}content-length: 1000\r\n\r\n{`),
      )
      socket.on('error', () => undefined)
      socket.on('close', () => cut_off++)
      return socket
    })
    const text = 'GET /open HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'
    expect((await attack(text, 5_000)).statuses).toEqual([200])
    expect(cut_off).toBe(0)
    await Promise.all(
      sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve).resume())),
    )
  })

  test('a kept-alive connection nobody uses is closed', async () => {
    const begun = performance.now()
    expect((await attack('GET /open HTTP/1.1\r\nhost: x\r\n\r\n', 5_000)).statuses).toEqual([200])
    expect(performance.now() - begun).toBeLessThan(3_000)
  })

  test('a client that goes away in the middle of its body leaves no error of ours', async () => {
    lab.lines.length = 0
    await new Promise<void>((resolve) => {
      const socket = connect(lab.port(), '127.0.0.1', () => {
        socket.write(`${HEAD}${JSON_TYPE}content-length: 1000\r\n\r\n{`, () => {
          socket.resetAndDestroy()
          resolve()
        })
      })
    })
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(lab.lines.filter((line) => line.level === 'error')).toEqual([])
  })
})
