import { callVendor, defineGateway, GatewayUnavailable, type Gateway } from '@kopilka/extension'
import { createServer, type Server } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, it, test } from 'vitest'
import { z } from 'zod'
import { frozenClock, type MovableClock } from '#kernel/clock'
import { afterFailure, afterSuccess, beforeProbe, CLOSED, type Breaker } from './breaker.ts'
import { createGatewayHealth, type GatewayHealth } from './gateway-health.ts'

describe('a breaker', () => {
  const failed = (times: number, from: Breaker = CLOSED, at_ms = 0): Breaker => {
    let breaker = from
    for (let count = 0; count < times; count++) breaker = afterFailure(breaker, at_ms, 'timeout')
    return breaker
  }

  it('opens at the fifth failure one after the other, not at the fourth', () => {
    expect(failed(4)).toMatchObject({ state: 'closed', failures: 4, probe_at_ms: undefined })
    expect(failed(5)).toMatchObject({ state: 'open', failures: 5, opened_at_ms: 0, probe_at_ms: 5_000 })
    expect(failed(4, afterSuccess(failed(4), 1)).state).toBe('closed')
  })

  it('opens when half of ten calls within a minute fail, and forgets calls of long ago', () => {
    let breaker = CLOSED
    for (let call = 0; call < 10; call++) {
      const is_last = call === 9
      breaker = call % 2 === 0 ? afterSuccess(breaker, call) : afterFailure(breaker, call, 'status 502')
      expect(breaker.state).toBe(is_last ? 'open' : 'closed')
    }
    let slow = CLOSED
    for (let call = 0; call < 20; call++) {
      const at_ms = call * 10_000
      slow = call % 2 === 0 ? afterSuccess(slow, at_ms) : afterFailure(slow, at_ms, 'status 502')
    }
    expect(slow.state).toBe('closed')
  })

  it('lets one probe through when its pause is over, and doubles the pause up to a minute', () => {
    let breaker = failed(5)
    let now = 0
    const pauses: number[] = []
    for (let round = 0; round < 6; round++) {
      const due = breaker.probe_at_ms ?? 0
      pauses.push(due - now)
      expect(beforeProbe(breaker, due - 1)).toBeUndefined()
      const probing = beforeProbe(breaker, due)
      expect(probing?.state).toBe('half_open')
      expect(beforeProbe(probing ?? CLOSED, due)).toBeUndefined()
      now = due
      breaker = afterFailure(probing ?? CLOSED, now, 'timeout')
      expect(breaker).toMatchObject({ state: 'open', opened_at_ms: 0 })
    }
    expect(pauses).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000])
    expect(afterSuccess(breaker, now)).toEqual(CLOSED)
    expect(beforeProbe(CLOSED, 1e12)).toBeUndefined()
  })

  it('is not held open longer by calls that began before it opened', () => {
    expect(failed(3, failed(5), 4_000)).toMatchObject({ state: 'open', failures: 8, probe_at_ms: 5_000 })
  })
})

let vendor: Server
let base_url: string
let status = 200
let asked = 0
beforeAll(async () => {
  vendor = createServer((_request, response) => {
    asked += 1
    response.writeHead(status, { 'content-type': 'application/json' }).end('{}')
  })
  await new Promise<void>((resolve) => vendor.listen(0, '127.0.0.1', resolve))
  const address = vendor.address()
  base_url = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`
})
afterAll(() => new Promise((resolve) => vendor.close(resolve)))

/** A gateway whose calls are one request each. */
const file: Gateway = defineGateway({
  id: 'plain',
  title: 'Plain',
  currencies: ['RUB'],
  configSchema: z.unknown(),
  isTest: () => true,
  createPayment: async () => ({ status: 'pending', checkout_url: 'https://vendor.example/pay' }),
  getPayment: async () => {
    await callVendor({ method: 'GET', url: base_url })
    return undefined
  },
  parseWebhook: () => ({ verdict: 'refused', status: 400, reason: 'not asked' }),
  checkHealth: async () => {
    try {
      await callVendor({ method: 'GET', url: base_url })
      return { ok: true, detail: 'there' }
    } catch (error) {
      // As the gateways do: what cannot be reached is told in a value.
      return { ok: false, detail: String(error) }
    }
  },
})
const context = { now: new Date(), base_url: 'http://127.0.0.1', cache: new Map() }
const reference = { payment_id: 'pay_1', payment_number: 1, amount: 1n, currency: 'RUB' }

describe('the health of gateways', () => {
  let clock: MovableClock
  let health: GatewayHealth
  let gateway: Gateway
  let changes: string[]
  beforeEach(() => {
    clock = frozenClock()
    changes = []
    health = createGatewayHealth(clock, (id, { state }) => changes.push(`${id} ${state}`))
    gateway = health.watch(file)
    status = 200
  })
  const read = () => gateway.getPayment({}, reference, context)
  const isUp = (waits = true) => health.isUp({ gateway, config: {} }, context, { waits })
  const bringDown = async (): Promise<void> => {
    status = 503
    for (let call = 0; call < 5; call++) await expect(read()).rejects.toBeInstanceOf(GatewayUnavailable)
  }

  it('is told by the calls themselves, and its change is told once', async () => {
    expect(await isUp()).toBe(true)
    await bringDown()
    expect(health.of('plain')).toMatchObject({ state: 'open', reason: 'status 503', failures: 5 })
    expect(await isUp()).toBe(false)
    expect(changes).toEqual(['plain open'])
    status = 200
    await read()
    expect(health.of('plain').state).toBe('closed')
    expect(changes).toEqual(['plain open', 'plain closed'])
  })

  it('asks once by the cheap call when the pause is over, however many want to know', async () => {
    await bringDown()
    status = 200
    asked = 0
    expect(await isUp()).toBe(false)
    expect(asked).toBe(0)
    clock.advance(5_000)
    const answers = await Promise.all(Array.from({ length: 50 }, () => isUp()))
    expect(new Set(answers)).toEqual(new Set([true]))
    expect(asked).toBe(1)
    expect(health.of('plain').state).toBe('closed')
  })

  it('stays open when the probe finds nobody, although the gateway says so in a value', async () => {
    await bringDown()
    clock.advance(5_000)
    expect(await isUp()).toBe(false)
    expect(health.of('plain')).toMatchObject({ state: 'open', openings: 2 })
    expect(changes).toEqual(['plain open'])
  })

  it('does not make who has a choice wait for the probe', async () => {
    await bringDown()
    status = 200
    clock.advance(5_000)
    expect(await isUp(false)).toBe(false)
    expect(await isUp(false)).toBe(false)
    expect(await isUp()).toBe(true)
  })

  it('is not shaken by a vendor that asks for patience, nor mended by a page made without it', async () => {
    status = 429
    for (let call = 0; call < 12; call++) await expect(read()).rejects.toThrow()
    expect(health.of('plain').state).toBe('closed')
    await bringDown()
    await gateway.createPayment({}, {} as never, context)
    expect(health.of('plain').state).toBe('open')
  })

  test('a gateway without a cheap call is probed by the next call itself', async () => {
    const { checkHealth: _none, ...rest } = file
    gateway = health.watch(rest)
    await bringDown()
    clock.advance(5_000)
    expect(await isUp()).toBe(true)
    expect(health.of('plain').state).toBe('half_open')
    expect(await isUp()).toBe(false)
    await expect(read()).rejects.toThrow()
    expect(health.of('plain').state).toBe('open')
    clock.advance(10_000)
    expect(await isUp()).toBe(true)
    status = 200
    await read()
    expect(health.of('plain').state).toBe('closed')
  })

  test('a gateway that is an object of a class keeps its methods and its own idea of itself', async () => {
    class Owner {
      id = 'owner'
      #base = 'https://vendor.example'
      parseWebhook() {
        return { verdict: 'refused', status: 400, reason: this.id }
      }
      async createPayment() {
        return { status: 'pending', checkout_url: this.#base }
      }
    }
    const owner = health.watch(new Owner() as unknown as Gateway)
    expect(await owner.createPayment({}, {} as never, context)).toMatchObject({
      checkout_url: 'https://vendor.example',
    })
    expect(owner.parseWebhook({}, {} as never, context)).toMatchObject({ reason: 'owner' })
  })

  test('a probe that throws leaves it open, and a mistake of ours counts for nothing', async () => {
    gateway = health.watch({ ...file, checkHealth: () => Promise.reject(new Error('a mistake')) })
    await bringDown()
    clock.advance(5_000)
    expect(await isUp()).toBe(false)
    expect(health.of('plain')).toMatchObject({ state: 'open', reason: 'the probe failed' })
    const broken = health.watch({
      ...file,
      id: 'broken',
      getPayment: () => Promise.reject(new TypeError('ours')),
    })
    for (let call = 0; call < 12; call++)
      await expect(broken.getPayment({}, reference, context)).rejects.toThrow('ours')
    expect(health.of('broken').state).toBe('closed')
  })
})
