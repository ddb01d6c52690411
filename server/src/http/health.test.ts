import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { createDb } from '#kernel/db'
import { testDatabase, type TestDatabase } from '../../test/db.ts'
import { openLab, type Lab } from './server.fixtures/lab.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await testDatabase()
})
afterAll(() => database.close())

let lab: Lab | undefined
afterEach(async () => {
  // The shared database of this file outlives its servers.
  await lab?.app.close()
  lab = undefined
})

async function ask(url: string, options: { ip?: string; headers?: Record<string, string> } = {}) {
  if (!lab) throw new Error('no lab')
  return lab.app.inject({ url, remoteAddress: options.ip ?? '127.0.0.1', headers: options.headers ?? {} })
}

describe('/readyz', () => {
  test('is ready when the database answers with every migration and each part says so', async () => {
    lab = await openLab(undefined, { db: database.db, readiness: [{ name: 'jobs', check: () => true }] })
    const answer = await ask('/readyz')
    expect([answer.statusCode, answer.json()]).toEqual([
      200,
      { status: 'ready', checks: { database: 'ok', migrations: 'ok', jobs: 'ok' } },
    ])
  })

  test('is not ready while the schema is of another version', async () => {
    lab = await openLab(undefined, { db: database.db })
    await database.db.pool.query(
      `insert into kernel.migrations (number, name, digest) values (9999, '9999_later.sql', 'x')`,
    )
    const newer = await ask('/readyz')
    await database.db.pool.query('delete from kernel.migrations where number = 9999')
    expect([newer.statusCode, newer.json().checks]).toEqual([503, { database: 'ok', migrations: 'failed' }])
    expect(newer.headers['retry-after']).toBe('1')
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect((await ask('/readyz')).statusCode).toBe(200)
  })

  test('is not ready when a part is not, says no, throws or stays silent', async () => {
    const readiness = [
      { name: 'no', check: () => false },
      { name: 'throws', check: () => Promise.reject(new Error('secret detail')) },
      {
        name: 'throws_at_once',
        check: () => {
          throw new Error('secret detail')
        },
      },
      { name: 'silent', check: () => new Promise<boolean>(() => undefined) },
    ]
    lab = await openLab(undefined, { db: database.db, readiness })
    const begun = performance.now()
    const answer = await ask('/readyz')
    expect(performance.now() - begun).toBeLessThan(1_500)
    expect([answer.statusCode, answer.json().checks]).toEqual([
      503,
      {
        database: 'ok',
        migrations: 'ok',
        no: 'failed',
        throws: 'failed',
        throws_at_once: 'failed',
        silent: 'failed',
      },
    ])
    expect(answer.body).not.toContain('secret')
  })

  test('is not ready while draining, and still alive', async () => {
    lab = await openLab(undefined, { db: database.db })
    lab.app.drain.is_draining = true
    const answer = await ask('/readyz')
    expect([answer.statusCode, answer.json()]).toEqual([
      503,
      { status: 'not_ready', checks: { draining: 'failed' } },
    ])
    expect(answer.headers['connection']).toBe('close')
    expect((await ask('/healthz')).statusCode).toBe(200)
  })

  test('answers in a second when the database hangs, and asks it one question for many probes', async () => {
    const sockets: Socket[] = []
    const hole: Server = createTcpServer((socket) => sockets.push(socket))
    await new Promise<void>((resolve) => hole.listen(0, '127.0.0.1', resolve))
    const db = createDb({ url: `postgres://x:x@127.0.0.1:${(hole.address() as AddressInfo).port}/x` })
    lab = await openLab(undefined, { db })
    for (let round = 0; round < 2; round++) {
      const begun = performance.now()
      const answers = await Promise.all(Array.from({ length: 50 }, () => ask('/readyz')))
      expect(performance.now() - begun).toBeLessThan(1_500)
      expect(answers.map((answer) => answer.statusCode)).toEqual(Array.from({ length: 50 }, () => 503))
    }
    expect((await ask('/healthz')).statusCode).toBe(200)
    expect(sockets).toHaveLength(1)
    for (const socket of sockets) socket.destroy()
    hole.close()
    await db.close()
  })
})

describe('/metrics', () => {
  const TOKEN = 'a-token-of-some-length'

  test('shows requests and the pool to machines of the same network', async () => {
    lab = await openLab(undefined, { db: database.db })
    await ask('/readyz')
    for (const ip of ['127.0.0.1', '10.0.0.5', '::1', 'fd12::1']) {
      const answer = await ask('/metrics', { ip })
      expect([ip, answer.statusCode, answer.headers['content-type']]).toEqual([
        ip,
        200,
        expect.stringContaining('text/plain'),
      ])
      expect(answer.body).toContain(
        'kopilka_http_request_duration_seconds_count{method="GET",route="/readyz",status="200"} 1',
      )
      expect(answer.body).toMatch(/kopilka_database_connections\{state="idle"\} \d/)
    }
  })

  test('A55: does not exist for the world', async () => {
    lab = await openLab(undefined, { db: database.db, metrics_token: TOKEN })
    const stranger = await ask('/metrics', { ip: '203.0.113.1' })
    const nothing = await ask('/nothing', { ip: '203.0.113.1' })
    const shape = (answer: typeof stranger) => ({ ...answer.json<Record<string, unknown>>(), instance: '' })
    expect([stranger.statusCode, shape(stranger)]).toEqual([404, shape(nothing)])
    for (const authorization of ['Bearer wrong', 'Bearer ', `Basic ${TOKEN}`, TOKEN]) {
      expect((await ask('/metrics', { ip: '203.0.113.1', headers: { authorization } })).statusCode).toBe(404)
    }
    expect(
      (await ask('/metrics', { ip: '203.0.113.1', headers: { authorization: `Bearer ${TOKEN}` } }))
        .statusCode,
    ).toBe(200)
  })

  test('does not take a proxy that is not known for a neighbour', async () => {
    lab = await openLab(undefined, { db: database.db })
    for (const name of ['x-forwarded-for', 'forwarded', 'x-real-ip']) {
      expect((await ask('/metrics', { headers: { [name]: '10.0.0.1' } })).statusCode).toBe(404)
    }
    await lab.app.close()
    lab = await openLab(undefined, { db: database.db, trusted_proxies: ['127.0.0.1'] })
    expect((await ask('/metrics', { headers: { 'x-forwarded-for': '203.0.113.1' } })).statusCode).toBe(404)
    expect((await ask('/metrics', { headers: { 'x-forwarded-for': '10.0.0.9' } })).statusCode).toBe(200)
  })

  test('without a token, or with an empty one, nobody is let in by it', async () => {
    lab = await openLab(undefined, { db: database.db })
    const guess = { ip: '203.0.113.1', headers: { authorization: 'Bearer undefined' } }
    expect((await ask('/metrics', guess)).statusCode).toBe(404)
    await lab.app.close()
    lab = await openLab(undefined, { db: database.db, metrics_token: '' })
    expect(
      (await ask('/metrics', { ip: '203.0.113.1', headers: { authorization: 'Bearer ' } })).statusCode,
    ).toBe(404)
  })

  test('takes counters and gauges of other parts', async () => {
    lab = await openLab(undefined, { db: database.db })
    const counter = lab.app.metrics.counter('kopilka_test_total', 'A test.', ['kind'])
    counter.inc({ kind: 'a' }, 2)
    let level = 3
    lab.app.metrics.gauge('kopilka_test_level', 'A level.', () => level)
    level = 4
    const { body } = await ask('/metrics')
    expect(body).toContain('kopilka_test_total{kind="a"} 2')
    expect(body).toContain('kopilka_test_level 4')
  })

  test('shows the rest when a figure does not come, or fails, and asks for it once', async () => {
    lab = await openLab(undefined, { db: database.db })
    const { metrics } = lab.app
    const never = vi.fn(() => new Promise<number>(() => undefined))
    metrics.gauge('kopilka_test_hangs', 'A figure of a database that hangs.', never)
    metrics.gauge('kopilka_test_fails', 'A figure of a database that is away.', () =>
      Promise.reject(new Error('away')),
    )
    metrics.gauge('kopilka_test_fine', 'A figure.', () => Promise.resolve({ here: 1 }), 'kind')
    for (const { statusCode, body } of await Promise.all([ask('/metrics'), ask('/metrics')])) {
      expect(statusCode).toBe(200)
      expect(body).toContain('kopilka_test_fine{kind="here"} 1')
      expect(body).not.toMatch(/^kopilka_test_(hangs|fails) /m)
    }
    expect(never).toHaveBeenCalledTimes(1)
  })
})
