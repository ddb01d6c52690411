import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDb, type Db } from '../src/kernel/db.ts'
import { type LimitCell, type LimitStore, limitsWithFallback, memoryLimits } from '../src/kernel/limits.ts'
import { databaseLimits } from '../src/modules/identity/index.ts'
import { redisLimits, tryRedis } from '../src/transports/redis-limits.ts'
import { testDatabase, type TestDatabase } from './db.ts'
import { HAS_REDIS, type RedisServer, startRedis } from './redis-server.ts'

let database: TestDatabase
let db: Db
let redis: RedisServer | undefined
const opened: LimitStore[] = []

beforeAll(async () => {
  database = await testDatabase()
  db = createDb({ url: database.url, max: 20 })
  if (HAS_REDIS) redis = await startRedis()
})
afterAll(async () => {
  for (const store of opened) await store.stop()
  await redis?.kill()
  await db?.close()
  await database?.close()
})

const START = Date.parse('2026-03-01T12:00:00.000Z')
let number = 0
/** Five at once, one more every two seconds. */
const cell = (): LimitCell => {
  const key = Buffer.alloc(32)
  key.writeUInt32BE((number += 1))
  return { key, interval_ms: 2_000, period_ms: 10_000 }
}
const kept = (store: LimitStore): LimitStore => {
  opened.push(store)
  return store
}
async function openRedis(fallback: LimitStore = memoryLimits()): Promise<LimitStore> {
  const nothing = (): void => undefined
  return kept(limitsWithFallback(await redisLimits(redis?.url ?? '', nothing), fallback, nothing))
}
/** How many of `times` uses, one after the other, are let through. */
async function passed(store: LimitStore, one: LimitCell, times: number, now_ms = START): Promise<number> {
  let count = 0
  for (let index = 0; index < times; index++) if ((await store.take([one], now_ms)) === 0) count++
  return count
}

const STORES = [
  { name: 'memory', is_there: true, is_shared: false, open: async () => kept(memoryLimits()) },
  { name: 'the database', is_there: true, is_shared: true, open: async () => kept(databaseLimits(db)) },
  {
    name: HAS_REDIS ? 'Redis' : 'Redis (skipped: this machine has no redis-server)',
    is_there: HAS_REDIS,
    is_shared: true,
    open: () => openRedis(),
  },
]

for (const { name, is_there, is_shared, open } of STORES) {
  describe.skipIf(!is_there)(`limits in ${name}`, () => {
    test('let a count through at once, say how long to wait, and refill evenly', async () => {
      const [store, one] = [await open(), cell()]
      expect(await passed(store, one, 8)).toBe(5)
      expect(await store.take([one], START)).toBe(2_000)
      expect(await store.take([one], START + 1_500)).toBe(500)
      expect(await passed(store, one, 3, START + 2_000)).toBe(1)
      expect(await passed(store, one, 9, START + 3_600_000)).toBe(5)
    })

    test('let exactly the count through of fifty at once', async () => {
      const [store, one] = [await open(), cell()]
      const waits = await Promise.all(Array.from({ length: 50 }, () => store.take([one], START)))
      expect(waits.filter((wait_ms) => wait_ms === 0)).toHaveLength(5)
    })

    test('take one of each or none', async () => {
      const [store, roomy, full] = [await open(), cell(), cell()]
      await passed(store, full, 5)
      for (const both of [
        [roomy, full],
        [full, roomy],
      ]) {
        expect(await store.take(both, START)).toBe(2_000)
      }
      expect(await passed(store, roomy, 8)).toBe(5)
    })

    test('take the same cells in any order at once without a deadlock', async () => {
      const [store, a, b] = [await open(), cell(), cell()]
      const waits = await Promise.all(
        Array.from({ length: 40 }, (_, index) => store.take(index % 2 === 0 ? [a, b] : [b, a], START)),
      )
      expect(waits.filter((wait_ms) => wait_ms === 0)).toHaveLength(5)
    })

    test('give back what was right, and never more than was taken', async () => {
      const [store, one, unused] = [await open(), cell(), cell()]
      await passed(store, one, 5)
      await store.giveBack([one, unused])
      expect(await passed(store, one, 3)).toBe(1)
      expect(await passed(store, unused, 8)).toBe(5)
    })

    test('forget who is full again and nobody else', async () => {
      const [store, one] = [await open(), cell()]
      await passed(store, one, 5)
      await store.forget(START + 1_000)
      expect(await passed(store, one, 1, START + 1_000)).toBe(0)
      await store.forget(START + 11_000)
      expect(await passed(store, one, 8, START + 11_000)).toBe(5)
    })

    test('are the same for two processes where they should be', async () => {
      const [here, there, one] = [await open(), await open(), cell()]
      expect(await passed(here, one, 3)).toBe(3)
      expect(await passed(there, one, 8)).toBe(is_shared ? 2 : 5)
    })
  })
}

test('memory keeps a bounded number and forgets who came longest ago', async () => {
  const store = memoryLimits(2)
  const [first, second, third] = [cell(), cell(), cell()]
  for (const one of [first, second, third]) await passed(store, one, 5)
  expect(await passed(store, third, 1)).toBe(0)
  expect(await passed(store, first, 1)).toBe(1)
})

describe.skipIf(!HAS_REDIS)('F30: when Redis is away', () => {
  test('the fallback counts, and Redis again when it is back', async () => {
    const store = await openRedis(databaseLimits(db))
    const one = cell()
    expect(await passed(store, one, 5)).toBe(5)
    await redis?.kill()
    expect(await passed(store, one, 8)).toBe(5)
    await redis?.restart()
    const other = await openRedis()
    // Its client tries again by itself: then the two share what is counted.
    let shared = 0
    for (let tries = 0; tries < 100 && shared !== 4; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      const next = cell()
      await store.take([next], START)
      shared = await passed(other, next, 8)
    }
    expect(shared).toBe(4)
  })

  test('a process starts all the same, and doctor says why it does not answer', async () => {
    const nobody = 'redis://127.0.0.1:9'
    const nothing = (): void => undefined
    const store = kept(limitsWithFallback(await redisLimits(nobody, nothing), memoryLimits(), nothing))
    expect(await passed(store, cell(), 8)).toBe(5)
    expect(await tryRedis(nobody)).toMatch(/ECONNREFUSED|did not answer/)
  })
})
