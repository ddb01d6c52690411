import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { testDatabase, type TestDatabase } from '../../test/db.ts'
import { databaseClock, frozenClock } from './clock.ts'
import { createJobQueue } from './job-queue.ts'
import { silentLog } from './log.ts'
import { advanceTestClock, startClock, type RunningClock } from './test-clock.ts'

const DAY_MS = 86_400_000
let database: TestDatabase
const running: RunningClock[] = []

beforeAll(async () => {
  database = await testDatabase()
})

afterAll(async () => {
  for (const clock of running) clock.stop()
  await database.close()
})

async function start(mode: 'sandbox' | 'live' = 'sandbox') {
  const started = await startClock(database.db, mode)
  running.push(started)
  return started.clock
}

const databaseNow = async (): Promise<number> => {
  const { rows } = await sql<{
    ms: number
  }>`select extract(epoch from clock_timestamp())::float8 * 1000 as ms`.execute(database.db)
  return rows[0]?.ms ?? 0
}

describe('a frozen clock', () => {
  test('stands still until it is moved', async () => {
    const clock = frozenClock('2026-03-01T12:00:00Z')
    await sleep(5)
    expect(clock.now().toISOString()).toBe('2026-03-01T12:00:00.000Z')
    clock.advance(DAY_MS)
    expect(clock.now().toISOString()).toBe('2026-03-02T12:00:00.000Z')
    clock.set(new Date('2027-01-01T00:00:00Z'))
    expect(clock.now_ms()).toBe(Date.parse('2027-01-01T00:00:00Z'))
  })
})

describe('a database clock', () => {
  test('shows the anchored time and goes on by itself, also when this machine’s clock jumps', async () => {
    const clock = databaseClock()
    clock.anchor(Date.parse('2031-05-01T00:00:00Z'), 0)
    const jump = vi.spyOn(Date, 'now').mockReturnValue(0)
    await sleep(30)
    const shown = clock.now_ms() - Date.parse('2031-05-01T00:00:00Z')
    jump.mockRestore()
    expect(shown).toBeGreaterThanOrEqual(29)
    expect(shown).toBeLessThan(2_000)
  })

  test('never runs backwards over the jitter of anchors, but follows a real correction', () => {
    const clock = databaseClock()
    const base = Date.parse('2031-05-01T00:00:00Z')
    clock.anchor(base, 0)
    let last = clock.now_ms()
    for (let n = 0; n < 1_000; n++) {
      clock.anchor(base + n / 10 - (n % 7), 0)
      expect(clock.now_ms()).toBeGreaterThanOrEqual(last)
      last = clock.now_ms()
    }
    clock.anchor(base - DAY_MS, 0)
    expect(clock.now_ms()).toBeLessThan(base)
  })

  test('shows whole milliseconds', () => {
    const clock = databaseClock()
    clock.anchor(1_700_000_000_000.7, 0.5)
    expect(Number.isInteger(clock.now_ms())).toBe(true)
  })
})

describe('a running clock', () => {
  test('agrees with the database', async () => {
    const clock = await start()
    expect(Math.abs(clock.now_ms() - (await databaseNow()))).toBeLessThan(200)
  })

  test('a database that is away at the start is said so', async () => {
    await expect(
      startClock(
        {
          ...database.db,
          getExecutor: () => {
            throw new Error('away')
          },
        },
        'live',
      ),
    ).rejects.toThrow('away')
  })
})

describe('the test clock', () => {
  test('moves forward for this process at the commit, for others within seconds, for good', async () => {
    const here = await start()
    const elsewhere = await start()
    const before = here.now_ms()
    const moved = await database.db.transact(async (tx) => {
      const answer = await advanceTestClock(tx, 'sandbox', 30 * DAY_MS, here)
      expect(here.now_ms() - before).toBeLessThan(DAY_MS)
      return answer
    })
    expect(moved).toBe(30 * DAY_MS)
    expect(here.now_ms() - before).toBeGreaterThanOrEqual(30 * DAY_MS)
    await vi.waitUntil(() => elsewhere.now_ms() - before >= 30 * DAY_MS, { timeout: 8_000 })
    const later = await start()
    expect(later.now_ms() - before).toBeGreaterThanOrEqual(30 * DAY_MS)
  })

  test('a process that is told to look follows at once', async () => {
    const here = await startClock(database.db, 'sandbox')
    running.push(here)
    const before = here.clock.now_ms()
    await database.db.transact((tx) => advanceTestClock(tx, 'sandbox', DAY_MS))
    await here.anchor()
    expect(here.clock.now_ms() - before).toBeGreaterThanOrEqual(DAY_MS)
  })

  test('adds up, also when fifty move it at once, and a rollback moves nothing', async () => {
    const clock = await start()
    const before = clock.offset_ms
    const move = () => database.db.transact((tx) => advanceTestClock(tx, 'sandbox', 1_000, clock))
    await Promise.all(Array.from({ length: 50 }, move))
    const fresh = await start()
    expect(fresh.offset_ms - before).toBe(50_000)
    await database.db
      .transact(async (tx) => {
        await advanceTestClock(tx, 'sandbox', DAY_MS, fresh)
        throw new Error('no')
      })
      .catch(() => undefined)
    expect(fresh.offset_ms - before).toBe(50_000)
    expect((await start()).offset_ms - before).toBe(50_000)
  })

  test('brings waiting jobs forward', async () => {
    const clock = await start()
    const jobs = createJobQueue({ db: database.db, clock, log: silentLog() })
    await database.db.transact((tx) =>
      jobs.enqueue(tx, 'renew', { data: {}, start_after: new Date(clock.now_ms() + 2 * DAY_MS) }),
    )
    await database.db.transact((tx) => advanceTestClock(tx, 'sandbox', 2 * DAY_MS, clock))
    const { rows } = await sql<object>`
        select start_after <= now() + interval '1 second' as is_due from jobs.job_common`.execute(database.db)
    expect(rows).toEqual([{ is_due: true }])
    await jobs.stop()
  })

  test('is refused in a live installation, which does not look at it either', async () => {
    const clock = await start('live')
    await expect(database.db.transact((tx) => advanceTestClock(tx, 'live', 1, clock))).rejects.toMatchObject({
      code: 'invalid_state',
      status: 409,
    })
    expect(clock.offset_ms).toBe(0)
    expect(Math.abs(clock.now_ms() - (await databaseNow()))).toBeLessThan(200)
  })

  test('goes forward only, by whole milliseconds, and not out of the calendar', async () => {
    const clock = await start()
    for (const milliseconds of [0, -1, 0.5, Number.NaN, Infinity, 2 ** 53, 21 * 366 * DAY_MS]) {
      await expect(
        database.db.transact((tx) => advanceTestClock(tx, 'sandbox', milliseconds, clock)),
        String(milliseconds),
      ).rejects.toMatchObject({ code: 'invalid_request' })
    }
  })
})
