import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { freePort, isRunning } from '../embedded-lab.ts'

interface Credentials {
  base_url: string
  secret_key: string
  emulators: { yookassa: string }
}

const MAIN = path.resolve(import.meta.dirname, '../../src/main.ts')
const WAIT = { timeout: 60_000, interval: 50 }

/** A path with spaces, as people have them. */
const folder = path.join(mkdtempSync(path.join(tmpdir(), 'kopilka-demo-')), 'my data')
let port: number
let demo: ChildProcess
let printed = ''
let shop: Credentials

beforeAll(async () => {
  port = await freePort()
  demo = startDemo()
  demo.stdout?.on('data', (text: Buffer) => {
    printed += text.toString()
  })
  // Not until all is said: whoever comes as soon as the server answers is served, by its vendors too.
  await vi.waitUntil(isAnswering, WAIT)
  shop = JSON.parse(readFileSync(path.join(folder, 'demo', 'credentials.json'), 'utf8')) as Credentials
}, 90_000)
afterAll(async () => {
  if (demo.exitCode === null) {
    demo.kill('SIGKILL')
    await once(demo, 'exit')
  }
  rmSync(path.dirname(folder), { recursive: true, force: true })
})

async function isAnswering(): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined)
  return answer?.status === 200
}

function startDemo(): ChildProcess {
  return spawn(process.execPath, [MAIN, 'demo'], {
    env: { PATH: process.env['PATH'], PORT: String(port), KOPILKA_DATA_DIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

type Body = Record<string, unknown>

async function call(method: string, url: string, body?: unknown): Promise<{ status: number; body: Body }> {
  const answer = await fetch(url.startsWith('http') ? url : shop.base_url + url, {
    method,
    headers: {
      authorization: `Bearer ${shop.secret_key}`,
      'x-user-id': 'alice',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: (await answer.json()) as Body }
}

/** Buys 30 minutes and pays; answers the payment's id when the units are there. */
async function buy(expected_seconds: number): Promise<string> {
  const order = await call('POST', '/api/orders/', { package_id: 'minutes_30', email: 'alice@example.com' })
  expect(order.status).toBe(201)
  const external_id = String(order.body['external_id'])
  const complete = `${shop.emulators.yookassa}/_emulator/payments/${external_id}/complete`
  expect((await call('POST', complete, { outcome: 'succeeded' })).status).toBe(200)
  const balance = async (): Promise<unknown> =>
    (await call('GET', '/api/users/me/balance/')).body['balance_seconds']
  // By its notification: the janitor would take half a minute.
  await expect.poll(balance, { timeout: 15_000, interval: 50 }).toBe(expected_seconds)
  return String(order.body['payment_id'])
}

describe('the demo as a newcomer meets it', () => {
  it('says where everything is, and its tour works from buying to the refund', async () => {
    expect(shop).toMatchObject({
      base_url: `http://127.0.0.1:${port}`,
      secret_key: expect.stringMatching(/^sk_test_/),
    })
    const payment_id = await buy(1800)
    await vi.waitUntil(() => printed.includes('A short tour'), WAIT)
    for (const part of [shop.base_url, shop.secret_key, shop.emulators.yookassa, '/docs', '/admin/']) {
      expect(printed).toContain(part)
    }
    const usage = await call('POST', '/api/usage/record/', { seconds: 37, provider: 'yandex' })
    expect(usage.body).toMatchObject({ charged_seconds: 45, remaining_seconds: 1755 })
    const history = await call('GET', '/v1/customers/external_id:alice/transfers')
    expect((history.body['items'] as Body[]).map(({ kind }) => kind)).toEqual(['spend', 'grant'])
    const refund = await call('POST', `/v1/payments/${payment_id}/refunds`, { reason: 'try it' })
    // 200 rubles × 1755 of 1800 seconds.
    expect(refund).toMatchObject({ status: 201, body: { amount: 19_500, status: 'succeeded' } })
    expect((await call('GET', '/v1/verification')).body).toMatchObject({ ok: true, findings: [] })
  })

  it('is still told of payments after its emulator was reset', async () => {
    expect((await call('POST', `${shop.emulators.yookassa}/_emulator/reset`)).status).toBe(200)
    await buy(1800)
  })

  it('answers 503 while its database is down, loses nothing, and has it back by itself', async () => {
    const cluster = path.join(folder, 'demo', 'postgres', 'cluster', 'postmaster.pid')
    const pid = Number(readFileSync(cluster, 'utf8').split('\n', 1)[0])
    process.kill(pid, 'SIGKILL')
    await expect.poll(() => isRunning(pid), WAIT).toBe(false)
    const readiness = async (): Promise<number> => (await fetch(`${shop.base_url}/readyz`)).status
    const states = new Set<number>()
    const ready = async (): Promise<number> => {
      const status = await readiness()
      states.add(status)
      return status
    }
    await expect.poll(ready, WAIT).toBe(200)
    expect([...states].every((status) => status === 200 || status === 503)).toBe(true)
    expect((await call('GET', '/api/users/me/balance/')).body).toMatchObject({ balance_seconds: 1800 })
    expect((await call('GET', '/v1/verification')).body).toMatchObject({ ok: true })
  })

  it('refuses to start a second time at the same port, and says so instead of hanging', async () => {
    const second = startDemo()
    let said = ''
    second.stderr?.on('data', (text: Buffer) => {
      said += text.toString()
    })
    const [code] = (await once(second, 'exit')) as [number | null]
    expect(code).toBe(1)
    expect(said).toContain('EADDRINUSE')
    expect((await fetch(`${shop.base_url}/healthz`)).status).toBe(200)
  })

  it('ends with everything it started on Ctrl-C', async () => {
    const cluster = path.join(folder, 'demo', 'postgres', 'cluster', 'postmaster.pid')
    const pid = Number(readFileSync(cluster, 'utf8').split('\n', 1)[0])
    demo.kill('SIGINT')
    const [code] = (await once(demo, 'exit')) as [number | null]
    expect(code).toBe(0)
    expect(isRunning(pid)).toBe(false)
    await expect(fetch(`${shop.emulators.yookassa}/_emulator`)).rejects.toThrow('fetch failed')
  })
})
