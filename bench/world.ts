import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { databaseClock } from '../server/src/kernel/clock.ts'
import { createDb } from '../server/src/kernel/db.ts'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../server/src/kernel/embedded-postgres.ts'
import { migrateJobs } from '../server/src/kernel/job-queue.ts'
import { migrate } from '../server/src/kernel/migrate.ts'
import { createApiKey, programAsMaker } from '../server/src/modules/identity/index.ts'
import { ensureUnit, grantMany } from '../server/src/modules/ledger/index.ts'

const MAIN = path.resolve(import.meta.dirname, '../server/src/main.ts')
export const UNIT = 'minute'
export const SANDBOX_SECRET = randomBytes(24).toString('hex')

/**
 * A database of its own with durable commits, and the server in a process of its own, as an owner would run
 * it.
 */
export interface BenchWorld {
  database_url: string
  superuser_url: string
  folder: string
  authorization: string
  customer_ids: string[]
  server: ServerProcess
  stop: () => Promise<void>
}

export interface ServerProcess {
  port: number
  pid: number
  started_in_ms: number
  stop: () => Promise<void>
}

/** Starts a database, fills it with `wallets` customers of one grant each, and starts the server on it. */
export async function startBenchWorld(wallets: number): Promise<BenchWorld> {
  const folder = mkdtempSync(path.join(tmpdir(), 'kopilka-bench-'))
  const database = await startEmbeddedPostgres({ data_directory: path.join(folder, 'postgres') })
  await migrate(database.url)
  await migrateJobs(database.url)
  const customer_ids = await seedWallets(database.url, wallets)
  const secret = await makeKey(database.url)
  const server = await startServer(folder, database)
  return {
    database_url: database.url,
    superuser_url: database.superuser_url,
    folder,
    customer_ids,
    server,
    authorization: `Bearer ${secret}`,
    stop: async () => {
      await server.stop()
      await database.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/**
 * From the start of the process to the first request answered, with an empty data directory: as after an
 * install.
 */
export async function measureColdStart(): Promise<number> {
  const folder = mkdtempSync(path.join(tmpdir(), 'kopilka-cold-'))
  const server = await startServer(folder, undefined)
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
  return server.started_in_ms
}

/** Resident memory of a process in MiB. */
export function residentMb(pid: number): number {
  const kilobytes = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Math.round(Number(kilobytes ?? 0) / 1024)
}

/** Starts the server; answers when it is ready. */
export async function startServer(
  folder: string,
  database: EmbeddedPostgres | undefined,
): Promise<ServerProcess> {
  const started = performance.now()
  const port = await freePort()
  const child = spawn(process.execPath, [MAIN, 'serve'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      PORT: String(port),
      HOST: '127.0.0.1',
      KOPILKA_DATA_DIR: folder,
      KOPILKA_LOG_LEVEL: 'error',
      NODE_ENV: 'production',
      KOPILKA_ANONYMOUS_PER_MINUTE: '1000000',
      KOPILKA_GATEWAY_SANDBOX_SECRET: SANDBOX_SECRET,
      ...(database ? { DATABASE_URL: database.url } : {}),
    },
  })
  await untilReady(child, port)
  return {
    port,
    pid: child.pid ?? 0,
    started_in_ms: Math.round(performance.now() - started),
    stop: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null) resolve()
        child.once('exit', () => resolve())
        child.kill('SIGTERM')
      }),
  }
}

async function untilReady(child: ChildProcess, port: number): Promise<void> {
  const deadline = performance.now() + 30_000
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`the server ended with code ${child.exitCode}`)
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined)
    if (answer?.status === 200) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error('the server did not become ready')
}

async function seedWallets(url: string, wallets: number): Promise<string[]> {
  const db = createDb({ url, max: 2 })
  const clock = databaseClock()
  await db.transact((tx) => ensureUnit(tx, clock, { code: UNIT, scale: 60n, name: 'Minute' }))
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<{ id: string }>(
    `
    insert into customers.customers (id, external_id, metadata, search, created_at, updated_at)
    select 'cus_' || lpad(n::text, 26, '0'), 'bench-' || n,
      '{}', ''::tsvector, now(), now() from generate_series(1, $1) n returning id`,
    [wallets],
  )
  await client.end()
  const ids = rows.map((row) => row.id)
  for (let at = 0; at < ids.length; at += 1000) {
    await db.transact(async (tx) => {
      await grantMany(
        tx,
        clock,
        ids.slice(at, at + 1000).map((customer_id) => ({
          customer_id,
          unit: UNIT,
          amount: 1_000_000_000n,
          source: 'manual',
          source_id: `bench:${customer_id}`,
          reason: 'bench',
          reference: 'bench',
          actor_id: 'bench',
          priority: 50,
          is_paid: false,
        })),
      )
    })
  }
  await db.close()
  return ids
}

async function makeKey(url: string): Promise<string> {
  const db = createDb({ url, max: 1 })
  const { secret } = await db.transact((tx) =>
    createApiKey(tx, databaseClock(), {
      mode: 'sandbox',
      maker: programAsMaker('command'),
      key: { name: 'bench', scopes: ['*'] },
    }),
  )
  await db.close()
  return secret
}

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net')
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}
