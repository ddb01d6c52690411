import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Emulator, EmulatorOptions } from '../emulator.ts'
import { startListener } from './test-listener.ts'
import type { Listener } from './test-listener.ts'
import { startCoinVendor } from './test-vendor.ts'

interface Coin {
  id: string
  status: string
  value: number
}

let merchant: Listener
const running: Emulator[] = []

beforeEach(async () => {
  merchant = await startListener()
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((emulator) => emulator.close()))
  await merchant.close()
})

async function start(options: EmulatorOptions<never> = {}): Promise<Emulator> {
  const emulator = await startCoinVendor({
    webhook_url: merchant.url,
    seed: 1,
    retry_scale: 0.0005,
    ...options,
  })
  running.push(emulator)
  return emulator
}

async function mint(emulator: Emulator, value = 5): Promise<string> {
  const response = await fetch(`${emulator.base_url}/coins`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ value }),
  })
  return ((await response.json()) as Coin).id
}

const outcomes = (emulator: Emulator) =>
  emulator.control.log({ kind: 'notification' }).items.map((entry) => entry.outcome)

describe('Delivery', () => {
  test('a refused notification is repeated by the schedule until it is accepted', async () => {
    const emulator = await start()
    merchant.answer({ status: 503 })
    emulator.control.complete(await mint(emulator), 'succeeded')
    while (merchant.received.length < 1) await new Promise((resolve) => setTimeout(resolve, 2))
    merchant.answer({ status: 204 })
    expect(await emulator.control.settled()).toBe(true)
    expect(outcomes(emulator)).toEqual(['refused', 'delivered'])
    // 60 000 ms of the vendor × 0.0005.
    const [first, second] = merchant.received
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThanOrEqual(29)
    expect(first?.text).toBe(second?.text)
  })

  test('after the last attempt it gives up, and a redirect is not followed', async () => {
    const emulator = await start()
    merchant.answer({ status: 302, headers: { location: 'http://127.0.0.1:9/elsewhere' } })
    emulator.control.complete(await mint(emulator), 'succeeded')
    expect(await emulator.control.settled()).toBe(true)
    expect(outcomes(emulator)).toEqual(['refused', 'refused', 'refused', 'gave_up'])
    expect(emulator.control.status().counts.notifications).toMatchObject({
      attempts: 3,
      gave_up: 1,
      pending: 0,
    })
  })

  test('nobody listening is a failure that is repeated, no address is not', async () => {
    const emulator = await start({ webhook_url: 'http://127.0.0.1:9/closed' })
    emulator.control.complete(await mint(emulator), 'succeeded')
    expect(await emulator.control.settled()).toBe(true)
    expect(outcomes(emulator)).toEqual(['failed', 'failed', 'failed', 'gave_up'])
    const silent = await start({ webhook_url: '' })
    silent.control.complete(await mint(silent), 'succeeded')
    expect(await silent.control.settled()).toBe(true)
    expect(outcomes(silent)).toEqual(['no_address'])
  })

  test('a merchant that never answers holds nothing up, and closing does not wait for it', async () => {
    const emulator = await start()
    merchant.answer('never')
    for (let count = 0; count < 5; count += 1) emulator.control.complete(await mint(emulator), 'succeeded')
    expect(await emulator.control.settled(50)).toBe(false)
    const started_at = performance.now()
    await emulator.close()
    expect(performance.now() - started_at).toBeLessThan(2000)
  })

  test('reset drops what is under way', async () => {
    const emulator = await start()
    merchant.answer({ status: 500 })
    emulator.control.complete(await mint(emulator), 'succeeded')
    while (merchant.received.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    emulator.control.reset()
    const seen = merchant.received.length
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(merchant.received.length).toBe(seen)
    expect(emulator.control.status().counts.notifications.pending).toBe(0)
  })

  test('an attempt that reset cut off does not count afterwards', async () => {
    const emulator = await start()
    merchant.answer('never')
    emulator.control.complete(await mint(emulator), 'succeeded')
    while (merchant.received.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    emulator.control.reset()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(emulator.control.status().counts.notifications).toMatchObject({
      attempts: 0,
      failed: 0,
      pending: 0,
    })
    expect(emulator.control.log().items).toEqual([])
  })

  test('can be handed over without a socket', async () => {
    const bodies: (string | undefined)[] = []
    const emulator = await start({
      webhook_url: 'http://merchant.test/',
      transport: async ({ body }) => {
        bodies.push(body)
        return { status: 200, body: '' }
      },
    })
    emulator.control.complete(await mint(emulator), 'succeeded')
    expect(await emulator.control.settled()).toBe(true)
    expect(bodies).toHaveLength(1)
    expect(merchant.received).toHaveLength(0)
  })

  test('500 notifications at once all arrive, once each', async () => {
    const emulator = await start()
    const ids = await Promise.all(Array.from({ length: 500 }, () => mint(emulator)))
    for (const id of ids) emulator.control.complete(id, 'succeeded')
    expect(await emulator.control.settled(15_000)).toBe(true)
    expect(
      merchant
        .bodies<Coin>()
        .map((coin) => coin.id)
        .sort(),
    ).toEqual(ids.toSorted())
  })
})

describe('Faults of notifications', () => {
  test('duplicate sends exact copies at the same moment', async () => {
    const emulator = await start({ faults: { duplicate: 4 } })
    emulator.control.complete(await mint(emulator), 'succeeded')
    await emulator.control.settled()
    expect(merchant.received).toHaveLength(5)
    expect(new Set(merchant.received.map((request) => request.text)).size).toBe(1)
  })

  test('delay_ms holds the first attempt back', async () => {
    const emulator = await start({ faults: { delay_ms: 120 } })
    const id = await mint(emulator)
    const started_at = performance.now()
    emulator.control.complete(id, 'succeeded')
    await emulator.control.settled()
    expect((merchant.received[0]?.at ?? 0) - started_at).toBeGreaterThanOrEqual(119)
  })

  test('lose never sends', async () => {
    const emulator = await start({ faults: { lose: 1 } })
    const [lost, kept] = [await mint(emulator), await mint(emulator)]
    emulator.control.complete(lost, 'succeeded')
    emulator.control.complete(kept, 'succeeded')
    await emulator.control.settled()
    expect(merchant.bodies<Coin>().map((coin) => coin.id)).toEqual([kept])
    expect(outcomes(emulator)).toContain('lost')
  })

  test('reorder lets a later one overtake, and a lone one goes after two seconds', async () => {
    const emulator = await start({ faults: { reorder: 1 } })
    const [first, second] = [await mint(emulator), await mint(emulator)]
    emulator.control.complete(first, 'succeeded')
    emulator.control.complete(second, 'succeeded')
    await emulator.control.settled()
    expect(merchant.bodies<Coin>().map((coin) => coin.id)).toEqual([second, first])

    emulator.control.faults({ reorder: 1 })
    const alone = await mint(emulator)
    const started_at = performance.now()
    emulator.control.complete(alone, 'succeeded')
    await emulator.control.settled()
    expect(merchant.bodies<Coin>().at(-1)?.id).toBe(alone)
    expect(performance.now() - started_at).toBeGreaterThan(1900)
  })

  test('forge puts a false one before the real one, once, and the log says what is false', async () => {
    const emulator = await start({ faults: { forge: 1 } })
    merchant.answer({ status: 401 })
    const id = await mint(emulator, 5)
    emulator.control.complete(id, 'canceled')
    await emulator.control.settled()
    const [false_one, ...real] = merchant.received
    expect(JSON.parse(false_one?.text ?? '')).toMatchObject({ id, status: 'succeeded', value: 6 })
    expect(false_one?.headers['x-mark']).toBe('wrong')
    expect(real).toHaveLength(3)
    expect(emulator.control.log({ kind: 'notification' }).items[0]).toMatchObject({
      is_forged: true,
      note: 'wrong key, other value',
      outcome: 'refused',
    })
  })

  test('a false claim can be sent about an unpaid object, and none about an unknown one', async () => {
    const emulator = await start()
    const id = await mint(emulator)
    const forge = (object: string) =>
      fetch(`${emulator.base_url}/_emulator/payments/${object}/forge`, { method: 'POST' })
    expect(await (await forge(id)).json()).toEqual({ sent: 1 })
    expect((await forge('nobody')).status).toBe(404)
    await emulator.control.settled()
    expect(merchant.bodies<Coin>()).toMatchObject([{ id, status: 'succeeded' }])
  })

  test('a sent notification can be sent again', async () => {
    const emulator = await start()
    emulator.control.complete(await mint(emulator), 'succeeded')
    await emulator.control.settled()
    const { notification_id = '' } = emulator.control.log({ kind: 'notification' }).items[0] ?? {}
    const resend = (id: string) =>
      fetch(`${emulator.base_url}/_emulator/notifications/${id}/resend`, { method: 'POST' })
    expect((await resend(notification_id)).status).toBe(200)
    expect((await resend('999')).status).toBe(404)
    await emulator.control.settled()
    expect(merchant.received).toHaveLength(2)
    expect(merchant.received[0]?.text).toBe(merchant.received[1]?.text)
  })
})
