import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { testDatabase, type TestDatabase } from '../../test/db.ts'
import { databaseClock, frozenClock, type Clock } from './clock.ts'
import { bringJobsForward } from './job-queries.ts'
import { createJobQueue } from './job-queue.ts'
import { createJobTimers } from './job-timers.ts'
import type { Job, JobQueue, NewJob, QueueOptions } from './jobs.ts'
import { silentLog } from './log.ts'

let database: TestDatabase
const queues: JobQueue[] = []
const children: ChildProcess[] = []

beforeAll(async () => {
  database = await testDatabase()
})

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await Promise.all(queues.splice(0).map((queue) => queue.stop(500)))
  await sql`delete from jobs.job_common`.execute(database.db)
})

afterAll(async () => {
  await database.close()
})

function makeQueue(options: { clock?: Clock; cron_check_seconds?: number } = {}): JobQueue {
  const queue = createJobQueue({ db: database.db, clock: databaseClock(), log: silentLog(), ...options })
  queues.push(queue)
  return queue
}

type Handler = (job: Job<{ n: number }>) => Promise<void>

async function startWorker(name: string, handler: Handler, options: QueueOptions = {}): Promise<JobQueue> {
  const queue = makeQueue()
  await queue.work(name, handler, options)
  await queue.start({ worker: true })
  return queue
}

async function put(queue: JobQueue, name: string, ...jobs: NewJob[]): Promise<void> {
  await database.db.transact((tx) => queue.enqueueMany(tx, name, jobs))
}

const numbers = (count: number): NewJob[] => Array.from({ length: count }, (_, n) => ({ data: { n } }))

/** Retries wait for seconds; a test does not. */
async function hurry(): Promise<void> {
  await sql`update jobs.job_common set start_after = now() where state < 'active'`.execute(database.db)
}

async function jobRows(name: string) {
  const { rows } = await sql<{ state: string; retry_count: number; data: { n: number } }>`
    select state::text, retry_count, data from jobs.job_common
    where name = ${name} order by created_on`.execute(database.db)
  return rows
}

const until = (condition: () => unknown, timeout = 10_000): Promise<void> =>
  vi.waitUntil(async () => Boolean(await condition()), { timeout, interval: 20 }).then(() => undefined)

describe('writing a job', () => {
  test('works before any start and in a process that never works: tables and queue are made', async () => {
    const queue = makeQueue()
    await put(queue, 'first.of_all', { data: { n: 1 } })
    expect(await jobRows('first.of_all')).toMatchObject([{ state: 'created', data: { n: 1 } }])
    const serving = makeQueue()
    await serving.start({ worker: false })
    await put(serving, 'first.of_all', { data: { n: 2 } })
    expect(await jobRows('first.of_all')).toHaveLength(2)
  })

  test('the job exists if and only if the transaction commits', async () => {
    const seen: number[] = []
    const queue = await startWorker('commit.or_not', async (job) => void seen.push(job.data.n))
    await expect(
      database.db.transact(async (tx) => {
        await queue.enqueue(tx, 'commit.or_not', { data: { n: 1 } })
        throw new Error('changed my mind')
      }),
    ).rejects.toThrow('changed my mind')
    await database.db.transact(async (tx) => {
      await queue.enqueue(tx, 'commit.or_not', { data: { n: 2 } })
      await sleep(700)
      expect(seen).toEqual([])
    })
    await until(() => seen.length > 0)
    expect(seen).toEqual([2])
  })

  test('of jobs with one key one waits; another key and no key are another matter', async () => {
    const queue = makeQueue()
    const job = (n: number, singleton_key?: string): NewJob => ({
      data: { n },
      ...(singleton_key ? { singleton_key } : {}),
    })
    await put(queue, 'one.waits', job(1, 'a'), job(2, 'a'), job(3, 'b'), job(4), job(5))
    await Promise.all(Array.from({ length: 50 }, (_, n) => put(queue, 'one.waits', job(n + 10, 'a'))))
    expect((await jobRows('one.waits')).map((row) => row.data.n).toSorted((a, b) => a - b)).toEqual([
      1, 3, 4, 5,
    ])
  })

  test('a job for later is counted from our clock, and comes forward with the sandbox’s', async () => {
    const seen: number[] = []
    const clock = frozenClock('2031-01-01T00:00:00Z')
    const queue = makeQueue({ clock })
    await queue.work<{ n: number }>('for.later', async (job) => void seen.push(job.data.n))
    await queue.start({ worker: true })
    await put(
      queue,
      'for.later',
      { data: { n: 1 }, start_after: new Date('2031-01-01T01:00:00Z') },
      { data: { n: 2 }, start_after: new Date('2030-12-31T00:00:00Z') },
    )
    await until(() => seen.length > 0)
    await sleep(700)
    expect(seen).toEqual([2])
    await database.db.transact((tx) => bringJobsForward(tx, 3_599_000))
    await until(() => seen.length > 1)
    expect(seen).toEqual([2, 1])
  })

  test('names and keys are limited', async () => {
    const queue = makeQueue()
    for (const name of ['', 'a b', 'x'.repeat(101), "'; drop", 'dead_letters']) {
      await expect(put(queue, name, { data: {} })).rejects.toThrow('cannot be the name')
    }
    await expect(put(queue, 'a', { data: {}, singleton_key: 'k'.repeat(201) })).rejects.toThrow('too long')
  })
})

describe('running jobs', () => {
  test('a job starts at once in the process that wrote it, and within a second elsewhere', async () => {
    let started_at = 0
    const queue = await startWorker('how.soon', async () => {
      started_at = performance.now()
    })
    await put(queue, 'how.soon', { data: {} })
    await until(() => started_at > 0)
    started_at = 0
    const here = performance.now()
    await put(queue, 'how.soon', { data: {} })
    await until(() => started_at > 0)
    expect(started_at - here).toBeLessThan(250)
    started_at = 0
    const elsewhere = performance.now()
    await put(makeQueue(), 'how.soon', { data: {} })
    await until(() => started_at > 0)
    expect(started_at - elsewhere).toBeLessThan(1_000)
  })

  test('two hundred jobs run once each over two processes, never more at once than allowed', async () => {
    const seen: number[] = []
    let running = 0
    let running_max = 0
    const handler: Handler = async (job) => {
      running += 1
      running_max = Math.max(running_max, running)
      await sleep(1)
      seen.push(job.data.n)
      running -= 1
    }
    const first = await startWorker('two.hundred', handler, { concurrency: 3 })
    await startWorker('two.hundred', handler, { concurrency: 3 })
    await put(first, 'two.hundred', ...numbers(200))
    await until(() => seen.length >= 200)
    await sleep(300)
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, n) => n))
    expect(running_max).toBeLessThanOrEqual(6)
    expect(running_max).toBeGreaterThan(1)
  })

  test('a failed job is tried again under the same id, after a pause that grows', async () => {
    const attempts: { id: string; attempt: number }[] = []
    const queue = await startWorker('try.again', async ({ id, attempt }) => {
      attempts.push({ id, attempt })
      if (attempt < 3) throw new Error('not yet')
    })
    await put(queue, 'try.again', { data: {} })
    const pauses: number[] = []
    for (const attempt of [1, 2]) {
      await until(() => attempts.length === attempt)
      await until(async () => (await jobRows('try.again'))[0]?.state === 'retry')
      const { rows } = await sql<{ seconds: number }>`
        select extract(epoch from start_after - now())::float8 as seconds from jobs.job_common
        where name = 'try.again'`.execute(database.db)
      pauses.push(rows[0]?.seconds ?? 0)
      await hurry()
    }
    await until(async () => (await jobRows('try.again'))[0]?.state === 'completed')
    expect(attempts.map(({ attempt }) => attempt)).toEqual([1, 2, 3])
    expect(new Set(attempts.map(({ id }) => id)).size).toBe(1)
    expect(pauses[0]).toBeGreaterThan(1.5)
    expect(pauses[0]).toBeLessThan(4.1)
    expect(pauses[1]).toBeGreaterThan(3.5)
    expect(pauses[1]).toBeLessThan(8.1)
  })

  test('a poison job ends in the dead letters and does not stop the others', async () => {
    const done: number[] = []
    const queue = await startWorker(
      'with.poison',
      async (job) => {
        if (job.data.n === 0)
          throw Object.assign(new Error('cannot be done with sk_live_0123456789abcdef0123456789'), {
            code: 'poison',
            facts: { big: 5n },
          })
        done.push(job.data.n)
      },
      { attempts_max: 3, concurrency: 1 },
    )
    await put(queue, 'with.poison', ...numbers(10))
    await until(() => done.length === 9)
    await until(async () => {
      await hurry()
      return (await queue.deadLetters(10)).length > 0
    })
    const [letter, ...others] = await queue.deadLetters(10)
    expect(others).toEqual([])
    expect(letter).toMatchObject({ queue: 'with.poison', data: { n: 0 }, failed_at: expect.any(Date) })
    expect(letter?.error).toContain('cannot be done')
    expect(letter?.error).not.toContain('0123456789abcdef')
  })

  test('a dead letter put back runs with all its attempts and its old id', async () => {
    let is_broken = true
    const ids: string[] = []
    const queue = await startWorker(
      'put.back',
      async (job) => {
        ids.push(job.id)
        if (is_broken) throw new Error('broken')
      },
      { attempts_max: 1 },
    )
    await put(queue, 'put.back', { data: { n: 7 } })
    await until(async () => (await queue.deadLetters(1)).length === 1)
    const [letter] = await queue.deadLetters(1)
    expect(letter?.id).toBe(ids[0])
    is_broken = false
    expect(await queue.retryDeadLetter(letter?.id ?? '')).toBe(true)
    await until(() => ids.length === 2)
    expect(ids[1]).toBe(ids[0])
    expect(await queue.deadLetters(1)).toEqual([])
    expect(await queue.retryDeadLetter(letter?.id ?? '')).toBe(false)
    expect(await queue.retryDeadLetter('nonsense')).toBe(false)
  })

  test('a dead letter whose key waits again leaves the work to the one that waits', async () => {
    const queue = await startWorker(
      'same.key',
      async () => {
        throw new Error('broken')
      },
      { attempts_max: 1 },
    )
    await put(queue, 'same.key', { data: { n: 1 }, singleton_key: 'k' })
    await until(async () => (await queue.deadLetters(1)).length === 1)
    await put(queue, 'same.key', {
      data: { n: 2 },
      singleton_key: 'k',
      start_after: new Date(Date.now() + 60_000),
    })
    expect(await queue.retryDeadLetter((await queue.deadLetters(1))[0]?.id ?? '')).toBe(true)
    expect(await queue.deadLetters(1)).toEqual([])
    expect(
      (await jobRows('same.key')).filter((row) => row.state === 'created').map((row) => row.data.n),
    ).toEqual([2])
  })

  test('a job that runs too long is told so and tried again, though it does not listen', async () => {
    const signals: AbortSignal[] = []
    const queue = await startWorker(
      'too.long',
      async (job) => {
        signals.push(job.signal)
        if (job.attempt === 1) await sleep(60_000, undefined, { ref: false })
      },
      { timeout_seconds: 1 },
    )
    await put(queue, 'too.long', { data: {} })
    await until(async () => (await jobRows('too.long'))[0]?.state === 'retry')
    expect(signals[0]?.aborted).toBe(true)
    expect(String(signals[0]?.reason)).toContain('longer than 1 s')
    await hurry()
    await until(async () => (await jobRows('too.long'))[0]?.state === 'completed')
  })

  test('a handler that throws at once, not by a promise, fails its job and nothing else', async () => {
    const queue = await startWorker(
      'throws.at_once',
      () => {
        throw new Error('at once')
      },
      { attempts_max: 1 },
    )
    await put(queue, 'throws.at_once', { data: {} })
    await until(async () => (await queue.deadLetters(1)).length === 1)
  })

  test('lost connections are opened again and no job is lost', async () => {
    const seen: number[] = []
    const queue = await startWorker('lost.connections', async (job) => {
      await sleep(20)
      seen.push(job.data.n)
    })
    await put(queue, 'lost.connections', ...numbers(30))
    for (let round = 0; round < 3; round++) {
      await sleep(50)
      await sql`select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'kopilka-jobs' and datname = current_database()`.execute(database.db)
    }
    await until(() => new Set(seen).size === 30, 25_000)
  })
})

describe('stopping', () => {
  test('what runs may finish; what waits stays', async () => {
    const done: number[] = []
    const queue = await startWorker(
      'finish.what_runs',
      async (job) => {
        await sleep(300)
        done.push(job.data.n)
      },
      { concurrency: 2 },
    )
    await put(queue, 'finish.what_runs', ...numbers(6))
    await until(async () => (await jobRows('finish.what_runs')).some((row) => row.state === 'active'))
    await queue.stop(5_000)
    const rows = await jobRows('finish.what_runs')
    expect(done).toHaveLength(2)
    expect(rows.filter((row) => row.state === 'completed')).toHaveLength(2)
    expect(rows.filter((row) => row.state === 'created')).toHaveLength(4)
  })

  test('what does not finish in time is told so and given back with no attempt lost', async () => {
    let reason: unknown
    const queue = await startWorker('give.back', async (job) => {
      await new Promise((resolve) => {
        job.signal.addEventListener('abort', () => {
          reason = job.signal.reason
          resolve(undefined)
        })
      })
    })
    await put(queue, 'give.back', { data: { n: 1 } })
    await until(async () => (await jobRows('give.back'))[0]?.state === 'active')
    const started = performance.now()
    await queue.stop(300)
    expect(performance.now() - started).toBeLessThan(2_000)
    expect(String(reason)).toContain('the process stops')
    expect(await jobRows('give.back')).toMatchObject([{ state: 'retry', retry_count: 0 }])
    let attempt = 0
    await startWorker('give.back', async (job) => {
      attempt = job.attempt
    })
    await until(() => attempt > 0, 2_000)
    expect(attempt).toBe(1)
  })
})

describe('a process that is killed', () => {
  test('its job starts again elsewhere within 30 s', { timeout: 60_000 }, async () => {
    const child = await startChild(`
      await queue.work('killed', async () => { console.log('running'); await new Promise(() => undefined) })
      await queue.start({ worker: true })`)
    await put(makeQueue(), 'killed', { data: { n: 1 } })
    await firstLine(child, 'running')
    let attempt = 0
    await startWorker('killed', async (job) => {
      attempt = job.attempt
    })
    child.kill('SIGKILL')
    const killed_at = performance.now()
    await until(() => attempt > 0, 40_000)
    expect(attempt).toBe(2)
    expect(performance.now() - killed_at).toBeLessThan(30_000)
  })

  test('its timers go on elsewhere within seconds', { timeout: 60_000 }, async () => {
    const child = await startChild(`
      await queue.every('tick', 1, async () => { console.log('ticked') })
      await queue.start({ worker: true })`)
    await firstLine(child, 'ticked')
    let ticks = 0
    const queue = makeQueue()
    await queue.every('tick', 1, async () => {
      ticks += 1
    })
    await queue.start({ worker: true })
    await sleep(2_500)
    expect(ticks).toBe(0)
    child.kill('SIGKILL')
    await until(() => ticks > 0, 5_000)
  })
})

describe('timers', () => {
  test('over three processes one runs at a time, without overlap, again and again', async () => {
    let running = 0
    let running_max = 0
    let runs = 0
    for (let process_number = 0; process_number < 3; process_number++) {
      const queue = makeQueue()
      await queue.every('sweep', 1, async () => {
        running += 1
        runs += 1
        running_max = Math.max(running_max, running)
        await sleep(1_300)
        running -= 1
      })
      await queue.start({ worker: true })
    }
    await until(() => runs >= 3, 15_000)
    expect(running_max).toBe(1)
  })

  test('one that fails runs again at its next time, and does not disturb the others', async () => {
    let failures = 0
    let runs = 0
    const queue = makeQueue()
    await queue.every('fails', 1, async () => {
      failures += 1
      throw new Error('no')
    })
    await queue.every('works', 1, async () => {
      runs += 1
    })
    await queue.start({ worker: true })
    await until(() => failures >= 2 && runs >= 2)
  })

  test('begin one after the other: all at once they would take every connection', async () => {
    let from = 0
    const log = { ...silentLog(), info: () => void (from = performance.now()) }
    const timers = createJobTimers(database.url, log)
    const begun: number[] = []
    const handler = async () => void begun.push(performance.now() - from)
    for (let n = 0; n < 6; n++) timers.add({ name: `apart.${n}`, seconds: 60, handler })
    timers.start()
    await until(() => begun.length === 6)
    await timers.stop(5_000)
    expect(begun.at(-1)).toBeGreaterThan(250)
  })

  test('stop asks a running one to end and waits for it', async () => {
    let has_ended = false
    let is_running = false
    const queue = makeQueue()
    await queue.every('long', 1, async (signal) => {
      is_running = true
      await sleep(30_000, undefined, { signal }).catch(() => undefined)
      await sleep(100)
      has_ended = true
    })
    await queue.start({ worker: true })
    await until(() => is_running)
    await queue.stop(5_000)
    expect(has_ended).toBe(true)
  })

  test('when the session is cut, it goes on with a new one', async () => {
    let runs = 0
    const queue = makeQueue()
    await queue.every('cut', 1, async () => {
      runs += 1
    })
    await queue.start({ worker: true })
    await until(() => runs > 0)
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'kopilka-timers' and datname = current_database()`.execute(database.db)
    const before = runs
    await until(() => runs > before + 1)
  })

  test('a process that only serves runs none', async () => {
    let runs = 0
    const queue = makeQueue()
    await queue.every('not.here', 1, async () => {
      runs += 1
    })
    await queue.start({ worker: false })
    await sleep(1_500)
    expect(runs).toBe(0)
  })
})

describe('schedules', () => {
  test('a cron schedule fires once a tick over two processes', { timeout: 90_000 }, async () => {
    // Near the end of a minute two ticks would be right.
    const into_minute_ms = Date.now() % 60_000
    if (into_minute_ms > 45_000) await sleep(60_500 - into_minute_ms)
    const ticks: number[] = []
    for (let process_number = 0; process_number < 2; process_number++) {
      const queue = makeQueue({ cron_check_seconds: 1 })
      await queue.schedule('report.daily', '*/1 * * * *', async () => void ticks.push(Date.now()))
      await queue.start({ worker: true })
    }
    // The tick that has just been is made up for, so this does not wait for the next minute's turn for long.
    await until(() => ticks.length > 0, 58_000)
    await sleep(1_500)
    expect(ticks).toHaveLength(1)
  })

  test('the zone is kept, a changed rule replaces the old one, a forgotten one is removed', async () => {
    const first = makeQueue()
    await first.schedule('kept', '0 3 * * *', async () => undefined, { timezone: 'Europe/Moscow' })
    await first.schedule('forgotten', '0 4 * * *', async () => undefined)
    await first.start({ worker: true })
    const read = async () =>
      (await sql<object>`select name, cron, timezone from jobs.schedule order by name`.execute(database.db))
        .rows
    expect(await read()).toEqual([
      { name: 'forgotten', cron: '0 4 * * *', timezone: 'UTC' },
      { name: 'kept', cron: '0 3 * * *', timezone: 'Europe/Moscow' },
    ])
    const second = makeQueue()
    await second.schedule('kept', '30 3 * * *', async () => undefined, { timezone: 'Europe/Moscow' })
    await second.start({ worker: true })
    expect(await read()).toEqual([{ name: 'kept', cron: '30 3 * * *', timezone: 'Europe/Moscow' }])
  })

  test('nonsense is refused at the start', async () => {
    const queue = makeQueue()
    await queue.schedule('nonsense', '99 99 * * *', async () => undefined)
    await expect(queue.start({ worker: true })).rejects.toThrow(/cron|constraint|nonsense|99/i)
  })
})

test('a start on tables that are there takes less than half a second', async () => {
  const queue = makeQueue()
  for (let n = 0; n < 20; n++) await queue.work(`quick.start/${n}`, async () => undefined)
  await queue.start({ worker: true })
  await queue.stop()
  const again = makeQueue()
  for (let n = 0; n < 20; n++) await again.work(`quick.start/${n}`, async () => undefined)
  const started = performance.now()
  await again.start({ worker: true })
  expect(performance.now() - started).toBeLessThan(500)
})

async function startChild(body: string): Promise<ChildProcess> {
  const file = (name: string): string => JSON.stringify(path.join(import.meta.dirname, name))
  const program = `
    const { createDb } = await import(${file('db.ts')})
    const { createJobQueue } = await import(${file('job-queue.ts')})
    const { databaseClock } = await import(${file('clock.ts')})
    const { silentLog } = await import(${file('log.ts')})
    const db = createDb({ url: ${JSON.stringify(database.url)} })
    const queue = createJobQueue({ db, clock: databaseClock(), log: silentLog() })
    ${body}`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  return child
}

async function firstLine(child: ChildProcess, line: string): Promise<void> {
  const [chunk] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
  expect(chunk.toString()).toContain(line)
}
