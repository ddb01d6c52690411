import { fork, type ChildProcess } from 'node:child_process'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { databaseClock } from '../../src/kernel/clock.ts'
import { notificationEvents } from '../../src/modules/notifications/index.ts'
import { startWorld, type World } from '../world.ts'
import { startReceiver, until, webhookLab, type Receiver } from '../webhook-lab.ts'

const MESSAGES = 40
const KILLS = 5

let world: World
let app: Receiver
beforeAll(async () => {
  world = await startWorld((settings) => ({ ...settings, roles: ['api'] }))
  app = await startReceiver()
})
const children = new Set<ChildProcess>()
afterAll(async () => {
  await Promise.all([...children].map(end))
  await app.close()
  await world.close()
})

describe('senders that are killed between sending and recording', () => {
  test('lose no message, and repeat only what was under way, under its webhook-id', async () => {
    const made = await world.call<{ id: string }>('POST', '/v1/webhook_endpoints', { url: app.url })
    expect(made.status).toBe(201)
    const { kit } = webhookLab(world.app.db, databaseClock())
    const payload = { webhook_endpoint_id: made.body.id }
    await world.app.db.transact((tx) =>
      kit.events.publish(
        tx,
        notificationEvents.webhookEndpointTested,
        ...Array.from({ length: MESSAGES }, () => payload),
      ),
    )
    // Whenever a message has arrived and is not answered, its sender dies; the lease of the dead
    // one is cut short.
    const cut: Record<string, number> = {}
    for (let kill = 0; kill < KILLS; kill++) {
      const before = app.received.length
      app.answer = (response) => {
        if (app.received.length - before < 5) response.writeHead(200).end()
      }
      const sender = await startSender()
      await until('a message is under way', () => app.received.length - before >= 5)
      await end(sender)
      const { rows } = await world.app.db.pool.query<{ event_id: string }>(
        `update notifications.webhook_deliveries set next_attempt_at = last_attempt_at
          where status = 'sending' returning event_id`,
      )
      expect(rows.length).toBeGreaterThan(0)
      for (const { event_id } of rows) cut[event_id] = (cut[event_id] ?? 0) + 1
    }
    app.answer = 200
    const sender = await startSender()
    await until('everything is told', async () => {
      const { rows } = await world.app.db.pool.query<{ open: bigint }>(
        `select count(*) as open from notifications.webhook_deliveries where status <> 'succeeded'`,
      )
      return rows[0]?.open === 0n
    })
    await end(sender)
    const times: Record<string, number> = {}
    for (const { id } of app.received) times[id] = (times[id] ?? 0) + 1
    expect(Object.keys(times).length).toBe(MESSAGES)
    // Each kill repeats a message once at most.
    for (const [id, count] of Object.entries(times)) {
      expect(count).toBeLessThanOrEqual(1 + (cut[id] ?? 0))
    }
  }, 90_000)
})

describe('a payment', () => {
  test('is told to the app over the whole way, once paid and once refunded', async () => {
    const own = await startReceiver()
    const shop = await startWorld()
    try {
      const types = ['payment.succeeded', 'refund.requested', 'refund.succeeded']
      await shop.call('POST', '/v1/webhook_endpoints', { url: own.url, event_types: types })
      const customer_id = await shop.customer()
      const order = await shop.order({ customer_id, product_key: 'minutes_30' })
      shop.yookassa.control.faults({ duplicate: 3 })
      shop.yookassa.control.complete(order.payment.external_id, 'succeeded')
      await until('the payment is told', () => own.received.length === 1)
      expect(JSON.parse(own.received[0]?.body ?? '')).toMatchObject({
        id: own.received[0]?.id,
        type: 'payment.succeeded',
        data: { payment_id: order.payment.id, customer_id, amount: String(order.total), currency: 'RUB' },
      })
      const wallet = await shop.call<{ balance: number }>(
        'GET',
        `/v1/customers/${customer_id}/wallets/minute`,
      )
      expect(wallet.body.balance).toBe(1800)
      const refund = await shop.call<{ id: string }>('POST', `/v1/payments/${order.payment.id}/refunds`, {
        reason: 'changed my mind',
      })
      expect(refund.status).toBe(201)
      await until('the refund is told', () => own.received.length >= 3)
      // The vendor repeats its notifications; the app is told once.
      await new Promise((resolve) => setTimeout(resolve, 500))
      const told = own.received.map(
        ({ body }) => JSON.parse(body) as { type: string; data: { refund_id?: string } },
      )
      expect(told.map(({ type }) => type).toSorted()).toEqual(types)
      expect(told.find(({ type }) => type === 'refund.succeeded')?.data.refund_id).toBe(refund.body.id)
    } finally {
      await shop.close()
      await own.close()
    }
  }, 60_000)
})

async function startSender(): Promise<ChildProcess> {
  const child = fork(path.join(import.meta.dirname, 'webhook-process.ts'), [world.database_url], {
    execArgv: [],
  })
  children.add(child)
  await new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve())
    child.once('exit', (code) => reject(new Error(`the sender ended with ${code} before it was ready`)))
  })
  return child
}

function end(child: ChildProcess): Promise<void> {
  children.delete(child)
  return new Promise((resolve) => {
    child.removeAllListeners('exit')
    child.once('exit', () => resolve())
    child.kill('SIGKILL')
  })
}
