import { randomUUID } from 'node:crypto'
import pg from 'pg'
import {
  fromKysely,
  PgBoss,
  type ConstructorOptions,
  type Db as BossDatabase,
  type JobWithMetadata,
} from 'pg-boss'
import { surviveLostConnections, type Db, type Tx } from './db.ts'
import { assert } from './errors.ts'
import * as queries from './job-queries.ts'
import type { NewJob, QueueOptions } from './jobs.ts'
import type { Log } from './log.ts'
import { createRedactor } from './log-redaction.ts'

const SCHEMA = 'jobs'
const CONNECTIONS = 3
const BATCH_MAX = 1_000
const KEY_MAX = 200
const HOUR = 3_600
const YEAR = 365 * 24 * HOUR

/**
 * A worker that has not been heard of for this long is dead; with {@link CHECK_SECONDS} this bounds a
 * restart.
 */
const HEARTBEAT_SECONDS = 10
const CHECK_SECONDS = 5
/** The first pause; each next one is twice as long, plus up to as much again by chance, an hour at most. */
const RETRY_SECONDS = 2

const redactor = createRedactor()

const ATTEMPTS_DEFAULT = 8
export const TIMEOUT_SECONDS_DEFAULT = 60

/** A job with what is needed to settle it. */
export type StoredJob = JobWithMetadata<object>

/**
 * The job library behind our interface: storage, retries, dead letters and cron are its own; running is ours.
 */
export interface JobStore {
  /** Jobs are written with this; it runs nothing by itself. */
  boss: PgBoss
  pool: pg.Pool
  /** Makes the tables when this database has none yet, or older ones. */
  ensureTables(): Promise<void>
  /** Creates queues that are missing and corrects those whose options changed. */
  syncQueues(queues: ReadonlyMap<string, QueueOptions>): Promise<void>
  insert(tx: Tx, queue: string, jobs: readonly (NewJob & { wait_ms: number })[]): Promise<void>
  fetch(queue: string, limit: number): Promise<StoredJob[]>
  /** False when the attempt was not ours any more. */
  complete(queue: string, job: StoredJob): Promise<boolean>
  fail(queue: string, job: StoredJob, error: unknown): Promise<boolean>
  /** Answers the ids that are still ours. */
  touch(queue: string, jobs: readonly StoredJob[]): Promise<Set<string>>
  release(queue: string, jobs: readonly StoredJob[]): Promise<void>
  /** Starts what has to run somewhere: lost leases, cron, cleaning. */
  startKeeper(): Promise<void>
  close(): Promise<void>
}

/**
 * Makes or upgrades the job tables. Repeatable; safe when several processes do it at once. Done by every
 * start, and by `migrate` so that the role that serves needs no right to create tables.
 */
export async function migrateJobs(url: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: url, max: 1, application_name: 'kopilka-migrate' })
  surviveLostConnections(pool)
  // What waits for an answer hears of a loss by itself; a connection that only ends has nobody to tell.
  pool.on('error', () => undefined)
  try {
    await migrateTables(poolDatabase(pool))
  } finally {
    await pool.end()
  }
}

async function migrateTables(database: BossDatabase): Promise<void> {
  const boss = createBoss(database, { migrate: true })
  boss.on('error', () => undefined)
  await boss.start()
  await boss.stop({ graceful: false })
}

/** Opens the store; nothing is connected until the first use. */
export function createJobStore(db: Db, log: Log, options: { cron_check_seconds?: number } = {}): JobStore {
  const pool = openPool(db.url, log)
  const database = poolDatabase(pool)
  const boss = createBoss(database, { migrate: false })
  boss.on('error', (error) => log.warn({ err: error }, 'the job store reported an error'))
  const registry = createRegistry(boss, db.url)
  let keeper: PgBoss | undefined
  return {
    boss,
    pool,
    ensureTables: () => migrateTables(database),
    syncQueues: registry.sync,
    insert: async (tx, queue, jobs) => {
      await registry.ensure(queue)
      for (let at = 0; at < jobs.length; at += BATCH_MAX) {
        await boss.insert(queue, jobs.slice(at, at + BATCH_MAX).map(toInsert), { db: fromKysely(tx) })
      }
    },
    fetch: (queue, limit) => boss.fetch<object>(queue, { batchSize: limit, includeMetadata: true }),
    complete: async (queue, job) => affected(await boss.complete(queue, [attemptOf(job)])) > 0,
    fail: async (queue, job, error) =>
      affected(await boss.fail(queue, [attemptOf(job)], describe(error))) > 0,
    touch: async (queue, jobs) => {
      const answer = await boss.touch(queue, jobs.map(attemptOf))
      const ours: unknown = 'settled' in answer ? answer.settled : undefined
      assert(Array.isArray(ours), 'the job store does not tell which jobs are ours')
      return new Set(ours.map(String))
    },
    release: (queue, jobs) => {
      const attempts = jobs.map((job) => ({ id: job.id, retry_count: job.retryCount }))
      return queries.releaseJobs(pool, queue, attempts)
    },
    startKeeper: async () => {
      keeper = createBoss(database, keeperSettings(options.cron_check_seconds))
      keeper.on('error', (error) => log.warn({ err: error }, 'keeping the job store failed for now'))
      keeper.on('warning', (warning) => log.warn({ warning: warning.data }, warning.message))
      await keeper.start()
    },
    close: async () => {
      await keeper?.stop({ graceful: false })
      await pool.end()
    },
  }
}

function openPool(url: string, log: Log): pg.Pool {
  const pool = new pg.Pool({
    connectionString: url,
    max: CONNECTIONS,
    application_name: 'kopilka-jobs',
    connectionTimeoutMillis: 5_000,
    options: '-c timezone=UTC -c lock_timeout=10s',
    allowExitOnIdle: true,
  })
  surviveLostConnections(pool)
  pool.on('error', (error) => log.warn({ err: error }, 'a connection of the job queue was lost'))
  return pool
}

/** Which queues exist; makes them when they do not. */
interface Registry {
  ensure(queue: string): Promise<void>
  sync(queues: ReadonlyMap<string, QueueOptions>): Promise<void>
}

function createRegistry(boss: PgBoss, url: string): Registry {
  const known = new Map<string, Promise<void>>()
  const wanted = new Map<string, QueueOptions>()
  const create = async (queue: string): Promise<void> => {
    if (!(await boss.isInstalled())) await migrateJobs(url)
    if (queue !== queries.DEAD_LETTERS) await ensure(queries.DEAD_LETTERS)
    await boss.createQueue(queue, queueSettings(queue, wanted.get(queue) ?? {}))
  }
  const ensure = (queue: string): Promise<void> => {
    const found = known.get(queue)
    if (found) return found
    const made = create(queue)
    known.set(queue, made)
    // A failure is for the caller to see; the next one tries again.
    made.catch(() => known.delete(queue))
    return made
  }
  const sync = async (queues: ReadonlyMap<string, QueueOptions>): Promise<void> => {
    for (const [queue, queue_options] of queues) wanted.set(queue, queue_options)
    const present = new Map((await boss.getQueues()).map((queue) => [queue.name, queue]))
    for (const queue of [queries.DEAD_LETTERS, ...queues.keys()]) {
      const found = present.get(queue)
      const { policy: _fixed, ...settings } = queueSettings(queue, queues.get(queue) ?? {})
      if (!found) await ensure(queue)
      else if (differs(found, settings)) await boss.updateQueue(queue, settings)
      known.set(queue, Promise.resolve())
    }
  }
  return { ensure, sync }
}

function keeperSettings(cron_check_seconds: number | undefined): ConstructorOptions {
  return {
    migrate: true,
    supervise: true,
    schedule: true,
    superviseIntervalSeconds: CHECK_SECONDS,
    monitorIntervalSeconds: CHECK_SECONDS,
    maintenanceIntervalSeconds: 300,
    cronMonitorIntervalSeconds: cron_check_seconds ?? 15,
    cronWorkerIntervalSeconds: cron_check_seconds ?? 5,
  }
}

function createBoss(db: BossDatabase, options: ConstructorOptions): PgBoss {
  return new PgBoss({
    db,
    schema: SCHEMA,
    supervise: false,
    schedule: false,
    // Flows are not used; this only spaces out the look for them.
    flowIntervalSeconds: HOUR,
    ...options,
  })
}

/**
 * Lends the library our pool. Its maintenance sends `begin; …; commit` as one text: when that fails, the
 * connection would go back to the pool inside a broken transaction.
 */
function poolDatabase(pool: pg.Pool): BossDatabase {
  return {
    executeSql: async (text, values) => {
      const client = await pool.connect()
      try {
        const result = await (values && values.length > 0 ? client.query(text, values) : client.query(text))
        client.release()
        return result
      } catch (error) {
        await client.query('rollback').then(
          () => client.release(),
          (lost: unknown) => client.release(lost instanceof Error ? lost : true),
        )
        throw error
      }
    },
  }
}

function queueSettings(queue: string, options: QueueOptions) {
  const is_dead = queue === queries.DEAD_LETTERS
  return {
    // One waiting job per key, held by the database. Jobs without a key get their own id as one.
    policy: is_dead ? 'standard' : 'short',
    retryLimit: (options.attempts_max ?? ATTEMPTS_DEFAULT) - 1,
    retryDelay: RETRY_SECONDS,
    retryBackoff: true,
    retryDelayMax: HOUR,
    // Our own timer ends a run that takes too long; this one is for a process that cannot.
    expireInSeconds: (options.timeout_seconds ?? TIMEOUT_SECONDS_DEFAULT) + 30,
    heartbeatSeconds: HEARTBEAT_SECONDS,
    // Waiting work is never thrown away because nobody worked for a while.
    retentionSeconds: is_dead ? 10 * YEAR : YEAR,
    // Finished jobs are of no use and make every look at the table dearer.
    deleteAfterSeconds: HOUR,
    ...(is_dead ? {} : { deadLetter: queries.DEAD_LETTERS }),
  }
}

function differs(found: object, settings: object): boolean {
  return Object.entries(settings).some(([name, value]) => Reflect.get(found, name) !== value)
}

function toInsert(job: NewJob & { wait_ms: number }) {
  const id = randomUUID()
  assert((job.singleton_key ?? '').length <= KEY_MAX, 'the key of a job is too long')
  return {
    id,
    data: job.data,
    singletonKey: job.singleton_key ?? id,
    // As an interval: the store counts from the database's clock, whatever ours shows.
    ...(job.wait_ms > 0 ? { startAfter: `${job.wait_ms} milliseconds` } : {}),
  }
}

function attemptOf(job: StoredJob): { id: string; retryCount: number } {
  return { id: job.id, retryCount: job.retryCount }
}

function affected(answer: object): number {
  return 'affected' in answer && typeof answer.affected === 'number' ? answer.affected : 0
}

/** What is kept about a failure: enough to know it again, nothing that could be a secret or without end. */
function describe(error: unknown): object {
  const message = redactor.text(error instanceof Error ? error.message : String(error)).slice(0, 2_000)
  if (!(error instanceof Error)) return { message }
  const code = 'code' in error && typeof error.code === 'string' ? { code: error.code } : {}
  return { name: error.name, message, ...code }
}
