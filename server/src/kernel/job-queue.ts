import type { Clock } from './clock.ts'
import { afterCommit, type Db, type Tx } from './db.ts'
import { assert } from './errors.ts'
import * as queries from './job-queries.ts'
import { createJobStore, type JobStore } from './job-store.ts'
import { createJobTimers } from './job-timers.ts'
import type { JobQueue, NewJob, QueueOptions } from './jobs.ts'
import { createJobWorker, type QueueHandler } from './job-worker.ts'
import type { Log } from './log.ts'

export { migrateJobs } from './job-store.ts'

const STOP_TIMEOUT_MS = 20_000
const NAME = /^[\w.\-/]{1,100}$/

interface Schedule {
  cron: string
  timezone: string
}

export interface JobQueueOptions {
  db: Db
  /**
   * `start_after` is counted from its time, so a moved sandbox clock and the database's agree about a pause.
   */
  clock: Clock
  log: Log
  /** For tests: how often cron is looked at. */
  cron_check_seconds?: number
}

/**
 * The queue of one process over the tables of pg-boss in the schema `jobs`. Jobs are written in the caller's
 * transaction and picked up at once when it commits in a process that works, within half a second elsewhere.
 * A worker that dies is noticed within 15 s, and its jobs start again within 20. At least once: handlers
 * repeat.
 */
export function createJobQueue(options: JobQueueOptions): JobQueue {
  const { db, clock, log } = options
  const store = createJobStore(db, log, options)
  const worker = createJobWorker(store, log)
  const timers = createJobTimers(db.url, log)
  const handlers = new Map<string, QueueHandler>()
  const schedules = new Map<string, Schedule>()
  let state: 'new' | 'serving' | 'working' | 'stopped' = 'new'
  let opening: Promise<void> | undefined
  let is_started = false

  const open = ({ worker: is_worker }: { worker: boolean }): Promise<void> => {
    if (!opening) state = is_worker ? 'working' : 'serving'
    return (opening ??= openStore(store, handlers, is_worker ? schedules : undefined))
  }
  const enqueueMany = async (tx: Tx, queue: string, jobs: readonly NewJob[]): Promise<void> => {
    assert(NAME.test(queue) && queue !== queries.DEAD_LETTERS, `${queue} cannot be the name of a queue`)
    if (jobs.length === 0) return
    await store.insert(
      tx,
      queue,
      jobs.map((job) => ({ ...job, wait_ms: waitOf(job, clock) })),
    )
    afterCommit(() => worker.wake(queue))
  }
  const work = async (
    queue: string,
    handler: QueueHandler['handler'],
    queue_options: QueueOptions = {},
  ): Promise<void> => {
    assert(NAME.test(queue) && queue !== queries.DEAD_LETTERS, `${queue} cannot be the name of a queue`)
    assert(!handlers.has(queue), `two handlers for the queue ${queue}`)
    const entry = { queue, handler, options: queue_options }
    handlers.set(queue, entry)
    if (state === 'serving' || state === 'working') await store.syncQueues(new Map([[queue, queue_options]]))
    worker.add(entry)
  }
  return {
    enqueue: (tx, queue, job) => enqueueMany(tx, queue, [job]),
    enqueueMany,
    work: (queue, handler, queue_options) => work(queue, handler as QueueHandler['handler'], queue_options),
    schedule: async (name, cron, handler, { timezone = 'UTC' } = {}) => {
      assert(state === 'new', 'a schedule is named before the queue starts')
      schedules.set(name, { cron, timezone })
      await work(name, (job) => handler(job.signal), { concurrency: 1, timeout_seconds: 3_600 })
    },
    every: async (name, seconds, handler) => {
      assert(state === 'new', 'a timer is named before the queue starts')
      assert(seconds >= 1, 'a timer runs once a second at most')
      timers.add({ name, seconds, handler })
    },
    deadLetters: (limit) => queries.listDeadLetters(db, limit),
    retryDeadLetter: (id) => retryDeadLetter(db, store, id, (queue) => worker.wake(queue)),
    open,
    start: async (options) => {
      assert(!is_started, 'a queue is started once')
      is_started = true
      await open(options)
      if (state !== 'working') return
      worker.start()
      timers.start()
    },
    stop: async (timeout_ms = STOP_TIMEOUT_MS) => {
      if (state === 'stopped') return
      state = 'stopped'
      await Promise.all([worker.stop(timeout_ms), timers.stop(timeout_ms)])
      await store.close()
    },
  }
}

/** Schedules are those of a process that works. */
async function openStore(
  store: JobStore,
  handlers: ReadonlyMap<string, QueueHandler>,
  schedules: ReadonlyMap<string, Schedule> | undefined,
): Promise<void> {
  // The keeper makes or upgrades the tables; without one it is done here.
  if (schedules) await store.startKeeper()
  else await store.ensureTables()
  await store.syncQueues(new Map([...handlers.values()].map((entry) => [entry.queue, entry.options])))
  if (schedules) await syncSchedules(store, schedules)
}

function waitOf(job: NewJob, clock: Clock): number {
  return job.start_after ? Math.max(0, job.start_after.getTime() - clock.now_ms()) : 0
}

/** Puts a dead job back as a fresh one. When one with its key waits already, that one does the work. */
async function retryDeadLetter(
  db: Db,
  store: JobStore,
  id: string,
  wake: (queue: string) => void,
): Promise<boolean> {
  if (!(await queries.hasJobTables(db))) return false
  const found = await queries.findDeadLetter(db, id)
  if (!found) return false
  const moved = await store.boss.redrive(queries.DEAD_LETTERS, { ids: [found.row_id] })
  if (moved === 0) await store.boss.deleteJob(queries.DEAD_LETTERS, found.row_id)
  wake(found.queue)
  return true
}

/** Schedules that this version does not name any more would make jobs nobody runs. */
async function syncSchedules(store: JobStore, schedules: ReadonlyMap<string, Schedule>): Promise<void> {
  const present = new Map((await store.boss.getSchedules()).map((schedule) => [schedule.name, schedule]))
  for (const name of present.keys()) {
    if (!schedules.has(name)) await store.boss.unschedule(name)
  }
  for (const [name, { cron, timezone }] of schedules) {
    const found = present.get(name)
    if (found?.cron === cron && found.timezone === timezone) continue
    // A tick that fell into a time when nobody worked is made up for once.
    await store.boss.schedule(name, cron, {}, { tz: timezone, missed: 'once' })
  }
}
