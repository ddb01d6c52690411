import { AsyncLocalStorage } from 'node:async_hooks'
import { Kysely, PostgresDialect, type Transaction } from 'kysely'
import pg from 'pg'
import type { DB } from './database.gen.ts'
import { withPulse } from './db-pulse.ts'
import { assert, isDatabaseUnavailable, OperationalError, sqlState } from './errors.ts'

export type Database = DB

/** Reads only: the selecting half of Kysely. Works inside and outside a transaction. */
export type Sql = Pick<
  Kysely<Database>,
  'selectFrom' | 'selectNoFrom' | 'with' | 'withRecursive' | 'fn' | 'dynamic' | 'getExecutor'
>

/** Writes inside the caller's transaction. No network and no sleep while one is open. */
export type Tx = Transaction<Database>

/** Owns its transactions and may call the world between them. Not to be used inside a transaction. */
export type Db = Sql & {
  /**
   * Runs `work` in one transaction: all of it or nothing. Repeated up to three times when the database
   * reports a deadlock or a serialization failure, so `work` must be repeatable (it has no side effects
   * outside). Throws OperationalError `database_unavailable` when the database cannot be reached, or hangs;
   * of one that broke in its commit it is unknown whether it is done.
   */
  transact<T>(work: (tx: Tx) => Promise<T>, options?: TransactOptions): Promise<T>
  /** The pool beneath, for the hot path's named statements and for LISTEN. */
  readonly pool: pg.Pool
  readonly url: string
  close(): Promise<void>
}

export interface TransactOptions {
  isolation?: 'read committed' | 'repeatable read' | 'serializable'
  read_only?: boolean
}

// int8 and numeric sums as bigint, never as a float or a string; dates as plain text.
const types = new pg.TypeOverrides()
types.setTypeParser(20, (text: string) => BigInt(text))
types.setTypeParser(1016, (text: string) => parseBigintArray(text))
types.setTypeParser(1082, (text: string) => text)
export const pgTypes = types

/** What this call runs in. Work that was started inside and outlives the transaction finds it closed. */
interface Inside {
  is_open: boolean
  after_commit: (() => void)[]
}

const inside = new AsyncLocalStorage<Inside>()
const ATTEMPTS = 3

export interface DbOptions {
  url: string
  /** Connections at most; the default suits one process beside the hot path's own connections. */
  max?: number
  application_name?: string
  on_error?: (error: Error) => void
}

/** Opens a pool. Nothing is connected until the first statement. */
export function createDb(options: DbOptions): Db {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.max ?? 10,
    types,
    application_name: options.application_name ?? 'kopilka',
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    options: '-c timezone=UTC -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s',
  })
  surviveLostConnections(pool)
  // Without a listener a lost idle connection would end the process.
  pool.on('error', (error) => options.on_error?.(error))
  const kysely = new Kysely<Database>({
    dialect: new PostgresDialect({ pool: withPulse(pool, options.url) }),
  })
  const outside = <A extends unknown[], R>(method: (...args: A) => R): ((...args: A) => R) => {
    return (...args) => {
      assert(!isInside(), 'db was used inside a transaction: use the tx that is open')
      return method.apply(kysely, args)
    }
  }
  return {
    selectFrom: outside(kysely.selectFrom),
    selectNoFrom: outside(kysely.selectNoFrom) as Kysely<Database>['selectNoFrom'],
    with: outside(kysely.with),
    withRecursive: outside(kysely.withRecursive) as Kysely<Database>['withRecursive'],
    getExecutor: outside(kysely.getExecutor),
    fn: kysely.fn,
    dynamic: kysely.dynamic,
    transact: (work, transact_options) => transact(kysely, work, transact_options ?? {}),
    pool,
    url: options.url,
    close: () => kysely.destroy(),
  }
}

/**
 * A pool listens to its connections only while they are idle. One that is lost between two statements of a
 * transaction would end the process; with this the next statement fails instead.
 */
export function surviveLostConnections(pool: pg.Pool): void {
  pool.on('connect', (client) => {
    client.on('error', () => undefined)
  })
}

/**
 * Runs `work` right after the transaction it is called in has committed, before `transact` answers; not when
 * it is rolled back. For what lives in this process: dropping a cached value, waking a worker. `work` must
 * not throw. Outside of a transaction it runs at once.
 */
export function afterCommit(work: () => void): void {
  const transaction = inside.getStore()
  if (transaction?.is_open) transaction.after_commit.push(work)
  else work()
}

function isInside(): boolean {
  return inside.getStore()?.is_open === true
}

async function transact<T>(
  kysely: Kysely<Database>,
  work: (tx: Tx) => Promise<T>,
  options: TransactOptions,
): Promise<T> {
  assert(!isInside(), 'a transaction was opened inside a transaction: pass the tx that is open')
  for (let attempt = 1; ; attempt++) {
    const context: Inside = { is_open: true, after_commit: [] }
    const outcome = await attemptOnce(kysely, work, options, context)
    if ('answer' in outcome) {
      for (const follow of context.after_commit) follow()
      return outcome.answer
    }
    if (!isRepeatable(outcome.error) || attempt >= ATTEMPTS) throw asOperational(outcome.error)
    await new Promise((resolve) => setTimeout(resolve, attempt * 10 + Math.random() * 20))
  }
}

async function attemptOnce<T>(
  kysely: Kysely<Database>,
  work: (tx: Tx) => Promise<T>,
  options: TransactOptions,
  context: Inside,
): Promise<{ answer: T } | { error: unknown }> {
  try {
    let builder = kysely.transaction()
    if (options.isolation) builder = builder.setIsolationLevel(options.isolation)
    if (options.read_only) builder = builder.setAccessMode('read only')
    return { answer: await builder.execute((tx) => inside.run(context, () => work(tx))) }
  } catch (error) {
    return { error }
  } finally {
    context.is_open = false
  }
}

/** 40001 serialization failure, 40P01 deadlock: the transaction did nothing and may be run again. */
function isRepeatable(error: unknown): boolean {
  const state = sqlState(error)
  return state === '40001' || state === '40P01'
}

/** Turns a failure to reach the database into an OperationalError; leaves every other error as it is. */
export function asOperational(error: unknown): unknown {
  if (error instanceof OperationalError || !isDatabaseUnavailable(error)) return error
  return new OperationalError('database_unavailable', 'The database does not answer now; nothing was lost.', {
    cause: error,
  })
}

/** One dimension, as all our arrays have. A null inside stays one. */
function parseBigintArray(text: string): (bigint | null)[] {
  const inner = text.slice(1, -1)
  return inner === '' ? [] : inner.split(',').map((item) => (item === 'NULL' ? null : BigInt(item)))
}
