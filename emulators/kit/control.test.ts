import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Emulator } from '../emulator.ts'
import { startListener } from './test-listener.ts'
import type { Listener } from './test-listener.ts'
import { startCoinVendor } from './test-vendor.ts'

let emulator: Emulator
let merchant: Listener

beforeEach(async () => {
  merchant = await startListener()
  emulator = await startCoinVendor({ webhook_url: merchant.url, seed: 1, retry_scale: 0.001 })
})
afterEach(async () => {
  await emulator.close()
  await merchant.close()
})

async function call(method: string, path: string, body?: unknown): Promise<{ status: number; body: never }> {
  const response = await fetch(emulator.base_url + path, {
    method,
    ...(body === undefined
      ? {}
      : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })
  return { status: response.status, body: (await response.json()) as never }
}

async function mint(value = 5): Promise<string> {
  const { body } = await call('POST', '/coins', { value })
  return (body as { id: string }).id
}

describe('The control API', () => {
  test('tells what the emulator is, without its secrets', async () => {
    await mint()
    const { status, body } = await call('GET', '/_emulator')
    expect(status).toBe(200)
    expect(body).toMatchObject({
      id: 'coin',
      seed: 1,
      base_url: emulator.base_url,
      settings: { webhook_url: merchant.url, api_key: '[set]' },
      faults: { duplicate: 0, scope: 'operations' },
      counts: { requests: 1, objects: { coins: 1 }, notifications: { pending: 0 } },
    })
    expect(JSON.stringify(body)).not.toContain('coin_key_12345')
  })

  test('pages objects newest first until next_cursor is null', async () => {
    for (let value = 1; value <= 5; value += 1) await mint(value)
    const seen: number[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const page = await call('GET', `/_emulator/objects?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`)
      const { items, next_cursor } = page.body as { items: { value: number }[]; next_cursor: string | null }
      seen.push(...items.map((coin) => coin.value))
      cursor = next_cursor
    }
    expect(seen).toEqual([5, 4, 3, 2, 1])
  })

  test.each([
    '/_emulator/objects?limit=0',
    '/_emulator/objects?limit=1001',
    '/_emulator/objects?limit=x',
    '/_emulator/objects?cursor=%27--',
    '/_emulator/objects?color=red',
    '/_emulator/objects?limit=1&limit=2',
    '/_emulator/log?kind=other',
    '/_emulator/log?order=up',
  ])('refuses %s', async (path) => {
    const { status, body } = await call('GET', path)
    expect(status).toBe(400)
    expect(body).toMatchObject({ error: { code: 'bad_query' } })
  })

  test('knows only its own collections', async () => {
    for (const name of ['bills', '__proto__', 'constructor']) {
      const { status, body } = await call('GET', `/_emulator/objects?collection=${name}`)
      expect(status).toBe(404)
      expect(body).toMatchObject({ error: { code: 'unknown_collection', known: ['coins'] } })
    }
  })

  test('completes a payment once; a second time is a wrong state', async () => {
    const id = await mint()
    const path = `/_emulator/payments/${id}/complete`
    expect(await call('POST', path, { outcome: 'succeeded' })).toMatchObject({
      status: 200,
      body: { status: 'succeeded' },
    })
    expect(await call('POST', path, { outcome: 'canceled' })).toMatchObject({
      status: 409,
      body: { error: { code: 'wrong_state', status: 'succeeded' } },
    })
  })

  test('refuses an unknown payment and an unknown outcome', async () => {
    const id = await mint()
    expect(await call('POST', '/_emulator/payments/nobody/complete', { outcome: 'succeeded' })).toMatchObject(
      {
        status: 404,
        body: { error: { code: 'unknown_object' } },
      },
    )
    for (const body of [{}, { outcome: 'paid' }, [], { outcome: 'canceled', reason: 5 }, null]) {
      expect(await call('POST', `/_emulator/payments/${id}/complete`, body)).toMatchObject({ status: 400 })
    }
    expect(await call('GET', `/coins/${id}`)).toMatchObject({ body: { status: 'new' } })
  })

  test('changes settings it knows and refuses others, keeping what was', async () => {
    expect(await call('PUT', '/_emulator/settings', { webhook_url: '' })).toMatchObject({
      status: 200,
      body: { webhook_url: '' },
    })
    for (const patch of [{ color: 'red' }, { api_key: 'short' }, { webhook_url: 'ftp://x' }, []]) {
      expect(await call('PUT', '/_emulator/settings', patch)).toMatchObject({
        status: 400,
        body: { error: { code: 'bad_settings' } },
      })
    }
    expect((await call('GET', '/_emulator')).body).toMatchObject({ settings: { webhook_url: '' } })
  })

  test('merges faults and refuses unknown ones', async () => {
    await call('PUT', '/_emulator/faults', { lose: 1 })
    expect(await call('PUT', '/_emulator/faults', { duplicate: 2 })).toMatchObject({
      body: { lose: 1, duplicate: 2 },
    })
    expect(await call('PUT', '/_emulator/faults', { explode: 1 })).toMatchObject({
      status: 400,
      body: { error: { code: 'bad_faults', fault: 'explode' } },
    })
  })

  test('moves its clock forward only', async () => {
    const before = Date.parse(emulator.control.status().now)
    const { body } = await call('POST', '/_emulator/clock', { advance_ms: 3_600_000 })
    const { now } = body as { now: string }
    expect(Date.parse(now) - before).toBeGreaterThanOrEqual(3_600_000)
    for (const advance_ms of [-1, 0.5, '5', 1e15, null]) {
      expect(await call('POST', '/_emulator/clock', { advance_ms })).toMatchObject({ status: 400 })
    }
  })

  test('reset forgets everything and restores the starting settings', async () => {
    await mint()
    await call('PUT', '/_emulator/settings', { webhook_url: '', api_key: 'another_key_1' })
    await call('PUT', '/_emulator/faults', { lose: 5 })
    await call('POST', '/_emulator/clock', { advance_ms: 1e9 })
    const { status, body } = await call('POST', '/_emulator/reset')
    expect(status).toBe(200)
    expect(body).toMatchObject({
      settings: { webhook_url: merchant.url },
      faults: { lose: 0 },
      counts: { requests: 0, objects: { coins: 0 } },
    })
    expect(Math.abs(Date.parse((body as { now: string }).now) - Date.now())).toBeLessThan(60_000)
    expect((await call('GET', '/_emulator/log')).body).toEqual({ items: [], next_cursor: null })
  })

  test('logs requests and notifications with secrets cut out', async () => {
    await call('POST', '/coins?token=abc', { value: 1, secret_key: 'hide-me', note: 'coin_key_12345' })
    const id = await mint()
    emulator.control.complete(id, 'succeeded')
    expect(await emulator.control.settled()).toBe(true)
    const { body } = await call('GET', '/_emulator/log')
    const { items } = body as { items: Record<string, unknown>[] }
    expect(items).toMatchObject([
      { kind: 'request', method: 'POST', path: '/coins?token=[redacted]', status: 200 },
      { kind: 'request', method: 'POST', path: '/coins' },
      { kind: 'notification', event: 'coin.succeeded', object_id: id, outcome: 'delivered', status: 200 },
    ])
    expect(JSON.stringify(items)).not.toMatch(/hide-me|coin_key_12345/)
  })

  test('what is not JSON, or poisons prototypes, is refused', async () => {
    const put = (body: string, type = 'application/json') =>
      fetch(`${emulator.base_url}/_emulator/faults`, {
        method: 'PUT',
        headers: { 'content-type': type },
        body,
      })
    expect((await put('{')).status).toBe(400)
    expect((await put('{"__proto__":{"lose":1}}')).status).toBe(400)
    expect((await put('lose=1', 'application/x-www-form-urlencoded')).status).toBe(415)
    expect((await put(`{"a":"${'x'.repeat(1_100_000)}"}`)).status).toBe(413)
  })
})

describe('A running emulator', () => {
  test('closes twice without harm, and its port is free again', async () => {
    const port = Number(new URL(emulator.base_url).port)
    await emulator.close()
    await emulator.close()
    const again = await startCoinVendor({ port })
    expect(again.base_url).toBe(`http://127.0.0.1:${port}`)
    await again.close()
  })

  test('the same seed gives the same ids, another seed others', async () => {
    const ids = async (seed: number) => {
      const other = await startCoinVendor({ seed })
      const response = await fetch(`${other.base_url}/coins`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"value":1}',
      })
      await other.close()
      return ((await response.json()) as { id: string }).id
    }
    expect(await ids(9)).toBe(await ids(9))
    expect(await ids(9)).not.toBe(await ids(10))
  })

  test('does not start with settings it does not understand', async () => {
    await expect(startCoinVendor({ settings: { api_key: 'x' } })).rejects.toMatchObject({
      code: 'bad_settings',
    })
    await expect(startCoinVendor({ webhook_url: 'not an address' })).rejects.toMatchObject({
      code: 'bad_settings',
    })
    await expect(startCoinVendor({ faults: { lose: -1 } })).rejects.toMatchObject({ code: 'bad_faults' })
  })
})
