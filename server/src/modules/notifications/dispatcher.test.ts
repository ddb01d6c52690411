import { Webhook } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { MovableClock } from '#kernel/clock'
import { paymentEvents } from '#modules/payments'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import {
  realFrozenClock,
  startReceiver,
  until,
  webhookLab,
  type Receiver,
  type WebhookLab,
} from '../../../test/webhook-lab.ts'
import { forgetOldEvents, getDelivery, redeliver, testEndpoint } from './deliveries.ts'
import { createEndpoint, deleteEndpoint, getEndpoint, rotateSecret, updateEndpoint } from './endpoints.ts'

let database: TestDatabase
let clock: MovableClock
let lab: WebhookLab
let app: Receiver

beforeAll(async () => {
  database = await testDatabase()
})
afterAll(() => database.close())
beforeEach(async () => {
  await run('truncate notifications.webhook_endpoints, notifications.webhook_events cascade')
  clock = realFrozenClock()
  lab = webhookLab(database.db, clock, { timeout_ms: 15_000 })
  app = await startReceiver()
})
afterEach(async () => {
  await lab.stop()
  await app.close()
  if (lab.errors.length > 0) throw new Error('a sender failed', { cause: lab.errors })
})

interface Row {
  id: string
  event_id: string
  endpoint_id: string
  event_type: string
  status: string
  result: string | null
  status_code: number | null
  attempts: number
}
async function run<T = Row>(text: string, values: unknown[] = []): Promise<T[]> {
  return (await database.db.pool.query(text, values)).rows as T[]
}
const rows = (): Promise<Row[]> => run('select * from notifications.webhook_deliveries order by id')
const endpoint = (facts: { url?: string; event_types?: string[] } = {}) =>
  database.db.transact((tx) => createEndpoint(tx, lab.kit, { url: app.url, ...facts }))
const payload = (n = 1) => ({
  payment_id: `pay_${n}`,
  order_id: 'ord_1',
  customer_id: 'cus_1',
  gateway: 'sandbox',
  amount: '14900',
  currency: 'RUB',
  is_test: true,
  occurred_at: '2026-03-01T12:00:00.000Z',
})
const publish = (...payloads: ReturnType<typeof payload>[]) =>
  database.db.transact((tx) => lab.kit.events.publish(tx, paymentEvents.paymentSucceeded, ...payloads))
/** Nothing is due or under way, and every delivery is in one of these states. */
const settled = (...statuses: string[]): Promise<void> =>
  until(`all are ${statuses.join(' or ')}`, async () => {
    const busy = await run(
      `select d.id from notifications.webhook_deliveries d
         join notifications.webhook_endpoints e on e.id = d.endpoint_id and e.disabled_at is null
        where d.status = 'sending' or d.status = 'pending' and d.next_attempt_at <= $1`,
      [clock.now()],
    )
    const all = await rows()
    return busy.length === 0 && all.length > 0 && all.every((row) => statuses.includes(row.status))
  })
const shownEndpoint = (id: string) => getEndpoint(database.db, id)

describe('an event', () => {
  test('is told to the endpoints that chose it, signed, with what happened', async () => {
    const { secret } = await endpoint({ url: `${app.url}/chosen`, event_types: ['payment.succeeded'] })
    await endpoint({ url: `${app.url}/every`, event_types: ['*'] })
    await endpoint({ url: `${app.url}/other`, event_types: ['payment.failed', 'refund.succeeded'] })
    lab.dispatcher()
    await publish(payload())
    await settled('succeeded')
    expect(app.received.map(({ path }) => path).toSorted()).toEqual(['/chosen', '/every'])
    const got = app.received.find(({ path }) => path === '/chosen')
    const headers = got?.headers as Record<string, string>
    expect(headers['content-type']).toBe('application/json')
    expect(new Webhook(secret).verify(got?.body ?? '', headers)).toEqual({
      id: got?.id,
      type: 'payment.succeeded',
      created_at: clock.now().toISOString(),
      data: payload(),
    })
    // One event has one id, whoever is told.
    expect(new Set(app.received.map(({ id }) => id)).size).toBe(1)
    expect(await rows()).toMatchObject([
      { status: 'succeeded', result: 'succeeded', status_code: 200, attempts: 1 },
      { status: 'succeeded', result: 'succeeded', status_code: 200, attempts: 1 },
    ])
  })

  test('that was rolled back is told to nobody', async () => {
    await endpoint()
    lab.dispatcher()
    const failing = database.db.transact(async (tx) => {
      await lab.kit.events.publish(tx, paymentEvents.paymentSucceeded, payload())
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await rows()).toEqual([])
    expect(app.received).toEqual([])
  })

  test('leaves nothing where nobody asked for it', async () => {
    const disabled = await endpoint()
    const deleted = await endpoint()
    await database.db.transact((tx) =>
      updateEndpoint(tx, lab.kit, { id: disabled.id, facts: { is_disabled: true } }),
    )
    await database.db.transact((tx) => deleteEndpoint(tx, lab.kit, deleted.id))
    await endpoint({ event_types: ['payment.failed'] })
    await publish(payload())
    expect(await run('select * from notifications.webhook_events')).toEqual([])
  })

  test('one of a thousand, with two senders, arrives once each', async () => {
    await endpoint()
    lab.dispatcher({ per_endpoint: 16 })
    lab.dispatcher({ per_endpoint: 16 })
    const payloads = Array.from({ length: 1000 }, (_, n) => payload(n))
    for (let at = 0; at < 1000; at += 200) await publish(...payloads.slice(at, at + 200))
    await until('all arrived', () => app.received.length >= 1000, 50_000)
    await settled('succeeded')
    expect(app.received.length).toBe(1000)
    expect(new Set(app.received.map(({ id }) => id)).size).toBe(1000)
    const told = app.received.map(
      ({ body }) => (JSON.parse(body) as { data: { payment_id: string } }).data.payment_id,
    )
    expect(new Set(told)).toEqual(new Set(payloads.map(({ payment_id }) => payment_id)))
    expect((await rows()).every(({ attempts }) => attempts === 1)).toBe(true)
  }, 90_000)
})

describe('a message that fails', () => {
  test('is tried ten times in a little over three days, under one id, and is then given up', async () => {
    await endpoint()
    app.answer = 500
    lab.dispatcher()
    const begun = clock.now_ms()
    const gaps: number[] = []
    let last = begun
    await publish(payload())
    for (let attempt = 1; attempt <= 10; attempt++) {
      await until(`attempt ${attempt}`, () => app.received.length === attempt)
      await settled('pending', 'failed')
      const [row] = await run<{ next_attempt_at: Date | null }>(
        'select * from notifications.webhook_deliveries',
      )
      if (row?.next_attempt_at == null) break
      const next = row.next_attempt_at.getTime()
      // A moment before, nothing is due.
      clock.set(new Date(next - 1))
      lab.wake()
      await new Promise((resolve) => setTimeout(resolve, 30))
      expect(app.received.length).toBe(attempt)
      gaps.push((next - last) / 1000)
      last = next
      clock.set(new Date(next))
      lab.wake()
    }
    const plan = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
    expect(gaps.length).toBe(plan.length)
    gaps.forEach((gap, n) => {
      expect(gap).toBeGreaterThanOrEqual(plan[n] ?? 0)
      expect(gap).toBeLessThan((plan[n] ?? 0) * 1.1)
    })
    expect((last - begun) / 86_400_000).toBeGreaterThan(3)
    expect(await rows()).toMatchObject([
      { status: 'failed', result: 'failed', status_code: 500, attempts: 10 },
    ])
    expect(new Set(app.received.map(({ id }) => id)).size).toBe(1)
    expect(new Set(app.received.map(({ body }) => body)).size).toBe(1)
  })

  test.each([301, 302, 307, 400, 401, 404, 429, 500, 503])('by %i is tried again', async (code) => {
    await endpoint()
    app.answer = (response) => response.writeHead(code, { location: `${app.url}/elsewhere` }).end()
    lab.dispatcher()
    await publish(payload())
    await settled('pending')
    expect(await rows()).toMatchObject([{ result: 'failed', status_code: code, attempts: 1 }])
    expect(app.received.map(({ path }) => path)).toEqual(['/'])
  })

  test.each([200, 201, 204, 299])('%i is a success', async (code) => {
    await endpoint()
    app.answer = code
    lab.dispatcher()
    await publish(payload())
    await settled('succeeded')
    expect(await rows()).toMatchObject([{ result: 'succeeded', status_code: code, next_attempt_at: null }])
  })

  test('shows only what kind of failure it was', async () => {
    await lab.stop()
    lab = webhookLab(database.db, clock, { timeout_ms: 500 })
    await endpoint({ url: `${app.url}/slow`, event_types: ['payment.succeeded'] })
    const inner = await endpoint({ url: 'http://localhost:6379/', event_types: ['payment.succeeded'] })
    const closed = await startReceiver()
    await closed.close()
    await endpoint({ url: closed.url, event_types: ['payment.succeeded'] })
    await run(`update notifications.webhook_endpoints set url = 'http://10.0.0.1/' where id = $1`, [inner.id])
    app.answer = () => undefined
    lab.dispatcher()
    await publish(payload())
    await settled('pending')
    expect((await rows()).map(({ result, status_code }) => [result, status_code]).toSorted()).toEqual([
      ['failed', null],
      ['refused', null],
      ['timeout', null],
    ])
  })

  test('that cannot be signed is told in the log and holds up nobody', async () => {
    const broken = await endpoint({ url: `${app.url}/broken` })
    await endpoint({ url: `${app.url}/whole` })
    await run(
      `update notifications.webhook_endpoints e set secret = o.secret
         from notifications.webhook_endpoints o where e.id = $1 and o.id <> $1`,
      [broken.id],
    )
    lab.dispatcher()
    await publish(payload())
    await settled('succeeded', 'pending')
    // A secret that was copied from another row does not open.
    expect(app.received.map(({ path }) => path)).toEqual(['/whole'])
    expect(lab.notices).toMatchObject([{ facts: { webhook_endpoint_id: broken.id } }])
    expect(JSON.stringify(lab.notices)).not.toContain('whsec_')
  })

  test('or hangs takes no room from other endpoints', async () => {
    await lab.stop()
    lab = webhookLab(database.db, clock, { timeout_ms: 60_000 })
    for (let n = 0; n < 6; n++) await endpoint({ url: `${app.url}/hangs` })
    await endpoint({ url: `${app.url}/works` })
    app.answer = (response, { path }) => {
      if (path === '/works') response.writeHead(200).end()
    }
    const works = (): number => app.received.filter(({ path }) => path === '/works').length
    lab.dispatcher({ at_once: 30, per_endpoint: 4 })
    const begun = performance.now()
    for (let n = 0; n < 4; n++)
      await publish(...Array.from({ length: 10 }, (_, one) => payload(n * 10 + one)))
    await until('the one that works got all', () => works() === 40)
    expect(performance.now() - begun).toBeLessThan(10_000)
    // Four at once of each that hangs, and no more.
    await until('the others hang', () => app.received.length - works() === 24)
  })
})

describe('an endpoint', () => {
  test('that answers 410 is disabled at once, and the others are told', async () => {
    const gone = await endpoint({ url: `${app.url}/gone`, event_types: ['payment.succeeded'] })
    await endpoint({ url: `${app.url}/other`, event_types: ['webhook_endpoint.disabled'] })
    app.answer = (response, { path }) => response.writeHead(path === '/gone' ? 410 : 200).end()
    lab.dispatcher()
    await publish(payload())
    await until('the other is told', () => app.received.length === 2)
    const disabled_at = clock.now()
    expect(await shownEndpoint(gone.id)).toMatchObject({ disabled_reason: 'gone', disabled_at })
    expect(JSON.parse(app.received[1]?.body ?? '')).toMatchObject({
      type: 'webhook_endpoint.disabled',
      data: { webhook_endpoint_id: gone.id, reason: 'gone', disabled_at: disabled_at.toISOString() },
    })
    clock.advance(4 * 86_400_000)
    await publish(payload(2))
    lab.wake()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(app.received.filter(({ path }) => path === '/gone').length).toBe(1)
  })

  test('where nothing succeeds for five days is disabled; enabled again it gets what waited', async () => {
    const { id } = await endpoint({ event_types: ['payment.succeeded'] })
    app.answer = 500
    lab.dispatcher()
    const fail = async (n: number): Promise<void> => {
      const before = app.received.length
      await publish(payload(n))
      lab.wake()
      await until('it was tried', () => app.received.length > before)
      await settled('pending', 'failed')
    }
    await fail(1)
    const failing_since = clock.now()
    expect(await shownEndpoint(id)).toMatchObject({ failing_since, disabled_at: null })
    clock.advance(5 * 86_400_000 - 1)
    await fail(2)
    expect(await shownEndpoint(id)).toMatchObject({ failing_since, disabled_at: null })
    clock.advance(1)
    await fail(3)
    expect(await shownEndpoint(id)).toMatchObject({ disabled_reason: 'failing' })
    const tried = app.received.length
    app.answer = 200
    clock.advance(86_400_000)
    lab.wake()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(app.received.length).toBe(tried)
    await database.db.transact((tx) => updateEndpoint(tx, lab.kit, { id, facts: { is_disabled: false } }))
    lab.wake()
    await settled('succeeded')
    expect(await shownEndpoint(id)).toMatchObject({
      failing_since: null,
      disabled_at: null,
      disabled_reason: null,
    })
  })

  test('that succeeds once in between is not disabled', async () => {
    const { id } = await endpoint({ event_types: ['payment.succeeded'] })
    lab.dispatcher()
    for (const [n, code] of [500, 200, 500].entries()) {
      app.answer = code
      await publish(payload(n))
      await until('it was tried', () => app.received.length > n)
      await settled('pending', 'succeeded')
      clock.advance(3 * 86_400_000)
      await run(`delete from notifications.webhook_deliveries where status = 'pending'`)
    }
    expect(await shownEndpoint(id)).toMatchObject({ disabled_at: null })
  })

  test('whose secret is rotated gets two signatures for a day, then one', async () => {
    const { id, secret } = await endpoint()
    const fresh = (await database.db.transact((tx) => rotateSecret(tx, lab.kit, { id }))).secret
    lab.dispatcher()
    const next = async (n: number): Promise<[string, Record<string, string>]> => {
      await publish(payload(n))
      lab.wake()
      await until('it arrived', () => app.received.length === n)
      const { body, headers } = app.received[n - 1] ?? { body: '', headers: {} }
      return [body, headers as Record<string, string>]
    }
    clock.advance(86_400_000 - 1)
    const [body, headers] = await next(1)
    expect(new Webhook(secret).verify(body, headers)).toBeTruthy()
    expect(new Webhook(fresh).verify(body, headers)).toBeTruthy()
    clock.advance(1)
    const [later_body, later_headers] = await next(2)
    expect(() => new Webhook(secret).verify(later_body, later_headers)).toThrow()
    expect(new Webhook(fresh).verify(later_body, later_headers)).toBeTruthy()
  })

  test('is tested by one message of its own, tried once', async () => {
    const { id } = await endpoint({ event_types: ['payment.failed'] })
    await endpoint({ url: `${app.url}/other` })
    app.answer = 500
    lab.dispatcher()
    const delivery = await database.db.transact((tx) => testEndpoint(tx, lab.kit, id))
    await settled('failed')
    expect(app.received.map(({ path, body }) => [path, JSON.parse(body)])).toMatchObject([
      ['/', { type: 'webhook_endpoint.tested', data: { webhook_endpoint_id: id } }],
    ])
    expect(await getDelivery(database.db, delivery.id)).toMatchObject({ status: 'failed', status_code: 500 })
  })
})

describe('a delivery', () => {
  test('is made again on request, under its webhook-id, whether it succeeded, failed or waits', async () => {
    await endpoint()
    app.answer = 500
    lab.dispatcher()
    await publish(payload())
    await settled('pending')
    const [row] = await rows()
    const again = () => database.db.transact((tx) => redeliver(tx, lab.kit, row?.id ?? ''))
    await again()
    await until('it came again', () => app.received.length === 2)
    await settled('pending')
    await run(`update notifications.webhook_deliveries set status = 'failed', next_attempt_at = null`)
    app.answer = 200
    await again()
    await settled('succeeded')
    await again()
    await until('it came again', () => app.received.length === 4)
    await settled('succeeded')
    expect(new Set(app.received.map(({ id }) => id)).size).toBe(1)
    expect(await rows()).toMatchObject([{ attempts: 4 }])
  })

  test('is not made again while it is under way, or to an endpoint that is disabled or deleted', async () => {
    const { id } = await endpoint()
    await publish(payload())
    const [row] = await rows()
    const again = () => database.db.transact((tx) => redeliver(tx, lab.kit, row?.id ?? ''))
    await run(`update notifications.webhook_deliveries set status = 'sending'`)
    await expect(again()).rejects.toMatchObject({ code: 'invalid_state' })
    await run(`update notifications.webhook_deliveries set status = 'pending'`)
    await database.db.transact((tx) => updateEndpoint(tx, lab.kit, { id, facts: { is_disabled: true } }))
    await expect(again()).rejects.toMatchObject({ code: 'invalid_state' })
    await database.db.transact((tx) => deleteEndpoint(tx, lab.kit, id))
    expect(await rows()).toMatchObject([{ status: 'canceled' }])
    await expect(again()).rejects.toMatchObject({ code: 'invalid_state' })
  })

  test('that is under way when its process stops is left to the next one', async () => {
    await endpoint()
    await lab.stop()
    lab = webhookLab(database.db, clock, { timeout_ms: 60_000 })
    app.answer = () => undefined
    lab.dispatcher()
    await publish(payload())
    await until('it is under way', () => app.received.length === 1)
    await lab.stop()
    expect(await rows()).toMatchObject([{ status: 'pending', result: null }])
    app.answer = 200
    lab.dispatcher()
    await settled('succeeded')
    expect(new Set(app.received.map(({ id }) => id)).size).toBe(1)
  }, 20_000)

  test('an answer that comes after its lease changes nothing', async () => {
    await endpoint()
    let late: (() => void) | undefined
    app.answer = (response) => {
      late ??= () => response.writeHead(500).end()
      if (app.received.length > 1) response.writeHead(200).end()
    }
    lab.dispatcher()
    await publish(payload())
    await until('it is under way', () => app.received.length === 1)
    clock.advance(60_000)
    const second = webhookLab(database.db, clock)
    second.dispatcher()
    await settled('succeeded')
    late?.()
    await lab.stop()
    expect(await rows()).toMatchObject([{ status: 'succeeded', status_code: 200, attempts: 2 }])
    await second.stop()
  })

  test('is forgotten after thirty days, with its event', async () => {
    await endpoint()
    await publish(payload())
    clock.advance(30 * 86_400_000)
    await publish(payload(2))
    const forget = () => database.db.transact((tx) => forgetOldEvents(tx, lab.kit, 10))
    expect(await forget()).toBe(0)
    clock.advance(1)
    expect([await forget(), await forget()]).toEqual([1, 0])
    expect((await rows()).length).toBe(1)
  })
})
