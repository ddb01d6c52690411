import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { testDatabase, type TestDatabase } from '../../test/db.ts'
import { databaseClock } from './clock.ts'
import { createEvents, eventType, type Events } from './events.ts'
import { createJobQueue } from './job-queue.ts'
import type { JobQueue } from './jobs.ts'
import { silentLog } from './log.ts'

const paid = eventType<{ order_id: string }>('order.paid', 'The money of an order has come.')
const closed = eventType<{ order_id: string }>('order.closed', 'An order takes no more payments.')

let database: TestDatabase

beforeAll(async () => {
  database = await testDatabase()
})

afterAll(async () => {
  await database.close()
})

async function withEvents(work: (events: Events, jobs: JobQueue) => Promise<void>): Promise<void> {
  const jobs = createJobQueue({ db: database.db, clock: databaseClock(), log: silentLog() })
  try {
    await work(createEvents(jobs), jobs)
  } finally {
    await jobs.stop(2_000)
  }
}

async function jobCount(queue: string): Promise<number> {
  const { rows } = await sql<{
    count: number
  }>`select count(*)::int as count from jobs.job where name = ${queue}`.execute(database.db)
  return rows[0]?.count ?? 0
}

describe('an event', () => {
  test('runs what must be true together in the publisher’s transaction, once for all published', async () => {
    await withEvents(async (events) => {
      const seen: unknown[] = []
      events.within(paid, async (tx, payloads) => {
        seen.push(payloads)
        await sql`insert into kernel.settings (name, value) values ('events.test', '1')`.execute(tx)
      })
      await database.db.transact((tx) =>
        events.publish(tx, paid, { order_id: 'ord_1' }, { order_id: 'ord_2' }),
      )
      expect(seen).toEqual([[{ order_id: 'ord_1' }, { order_id: 'ord_2' }]])
    })
  })

  test('a reaction within that fails takes the whole transaction with it, jobs too', async () => {
    await withEvents(async (events, jobs) => {
      await jobs.start({ worker: false })
      events.after(paid, 'tell', async () => undefined)
      events.within(closed, async () => {
        throw new Error('the books do not allow it')
      })
      const publishing = database.db.transact(async (tx) => {
        await events.publish(tx, paid, { order_id: 'ord_3' })
        await events.publish(tx, closed, { order_id: 'ord_3' })
      })
      await expect(publishing).rejects.toThrow('the books do not allow it')
      expect(await jobCount('order.paid/tell')).toBe(0)
    })
  })

  test('each reaction after it gets a job per event, and runs after the commit', async () => {
    await withEvents(async (events, jobs) => {
      const told: string[] = []
      events.after(paid, 'mail', async ({ order_id }, job_id) => {
        expect(job_id).toMatch(/^[0-9a-f-]{36}$/)
        told.push(`mail ${order_id}`)
      })
      events.after(paid, 'webhook', async ({ order_id }) => void told.push(`webhook ${order_id}`))
      await jobs.start({ worker: true })
      await events.startWorkers(jobs)
      await database.db.transact(async (tx) => {
        await events.publish(tx, paid, { order_id: 'a' }, { order_id: 'b' })
        expect(told).toEqual([])
      })
      await vi.waitUntil(() => told.length === 4, { timeout: 5_000 })
      expect(told.toSorted()).toEqual(['mail a', 'mail b', 'webhook a', 'webhook b'])
      expect(events.queues()).toEqual(['order.paid/mail', 'order.paid/webhook'])
    })
  })

  test('a reaction that fails is repeated alone; the others are not', async () => {
    await withEvents(async (events, jobs) => {
      const runs = { good: 0, bad: 0 }
      events.after(closed, 'good', async () => void (runs.good += 1))
      events.after(closed, 'bad', async () => {
        runs.bad += 1
        if (runs.bad === 1) throw new Error('not yet')
      })
      await events.startWorkers(jobs)
      await jobs.start({ worker: true })
      await database.db.transact((tx) => events.publish(tx, closed, { order_id: 'c' }))
      await vi.waitUntil(() => runs.bad === 2, { timeout: 10_000 })
      expect(runs.good).toBe(1)
    })
  })

  test('that nobody reacts to, or published with nothing, does nothing', async () => {
    await withEvents(async (events) => {
      let runs = 0
      events.within(paid, async () => void (runs += 1))
      await database.db.transact(async (tx) => {
        await events.publish(tx, paid)
        await events.publish(tx, closed, { order_id: 'x' })
      })
      expect(runs).toBe(0)
    })
  })

  test('two reactions of one name would share a queue and are refused', async () => {
    await withEvents(async (events) => {
      events.after(paid, 'tell', async () => undefined)
      expect(() => events.after(paid, 'tell', async () => undefined)).toThrow('order.paid/tell')
      expect(() => events.after(closed, 'tell', async () => undefined)).not.toThrow()
    })
  })
})
