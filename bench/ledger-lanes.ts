/**
 * Measures the ledger's hot paths beneath HTTP: `node bench/ledger-lanes.ts [--seconds 5] [--lanes 1] [url]`.
 * 64 callers spend over 10,000 wallets and on a single one, and read balances; beside it the database's own
 * limit of one UPDATE and one INSERT per commit, measured in the same run. Without a url an embedded database
 * is started for the run. It must be a database that holds nothing: wallets are made in it.
 */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { databaseClock } from '../server/src/kernel/clock.ts'
import { createDb, type Db } from '../server/src/kernel/db.ts'
import { startEmbeddedPostgres } from '../server/src/kernel/embedded-postgres.ts'
import { migrate } from '../server/src/kernel/migrate.ts'
import {
  createLedgerKit,
  ensureUnit,
  grantMany,
  showWallet,
  spend,
  startLedger,
  stopLedger,
  type LedgerKit,
} from '../server/src/modules/ledger/index.ts'
import { measureLimit } from './limit.ts'

const WALLETS = 10_000
const CALLERS = 64
const UNIT = 'bench'

const { values, positionals } = parseArgs({
  options: { seconds: { type: 'string', default: '5' }, lanes: { type: 'string', default: '1' } },
  allowPositionals: true,
})
const seconds = Number(values.seconds)
const lanes = Number(values.lanes)

const customerOf = (n: number): string => `cus_bench_${n}`
/** Makes the keys of this run unlike those of any other. */
const run = randomUUID()
let spends = 0

const anyCustomer = (): string => customerOf(Math.floor(Math.random() * WALLETS))

if (positionals[0] === undefined) await withEmbedded(measure)
else await measure(positionals[0])

async function withEmbedded(work: (url: string) => Promise<void>): Promise<void> {
  const data_directory = mkdtempSync(path.join(tmpdir(), 'kopilka-bench-'))
  const server = await startEmbeddedPostgres({ data_directory })
  try {
    await work(server.url)
  } finally {
    await server.stop()
    rmSync(data_directory, { recursive: true, force: true })
  }
}

async function measure(url: string): Promise<void> {
  await migrate(url)
  const db = createDb({ url, max: 4 })
  const clock = databaseClock()
  const kit = createLedgerKit(db, clock, { lanes })
  try {
    await seed(db, kit)
    await startLedger(kit)
    const limit = await measureLimit(url, seconds)
    const random = await callers(() => spendOne(kit, anyCustomer()))
    const hot = await callers(() => spendOne(kit, customerOf(0)))
    const reads = await callers(() => showWallet(kit, { customer_id: anyCustomer(), unit: UNIT }))
    console.table({
      [`limit over ${WALLETS} rows (${limit.measured_by})`]: { per_second: limit.random_tps },
      'limit on one row': { per_second: limit.hot_tps },
      [`spends over ${WALLETS} wallets`]: { ...random, of_limit: ratio(random.per_second, limit.random_tps) },
      'spends on one wallet': { ...hot, of_limit: ratio(hot.per_second, limit.hot_tps) },
      'wallet reads': reads,
    })
  } finally {
    await stopLedger(kit)
    await db.close()
  }
}

async function seed(db: Db, kit: LedgerKit): Promise<void> {
  await db.transact((tx) => ensureUnit(tx, kit.clock, { code: UNIT, scale: 1n, name: 'Bench' }))
  for (let from = 0; from < WALLETS; from += 500) {
    await db.transact((tx) =>
      grantMany(
        tx,
        kit.clock,
        Array.from({ length: 500 }, (_, n) => ({
          customer_id: customerOf(from + n),
          unit: UNIT,
          amount: 1_000_000_000n,
          source: 'manual' as const,
          source_id: `bench:${from + n}`,
          actor_id: 'bench',
        })),
      ),
    )
  }
}

function spendOne(kit: LedgerKit, customer_id: string): Promise<unknown> {
  const idempotency_key = `${run}-${spends++}`
  return spend(kit, { customer_id, unit: UNIT, amount: 1n, actor_id: 'key_bench', idempotency_key })
}

interface Rate {
  per_second: number
  p50_ms: number
  p99_ms: number
  /** Processor time of this process for each call, in microseconds; the database's comes on top. */
  cpu_us: number
}

/** Keeps {@link CALLERS} calls under way, each starting its next when one ends. */
async function callers(call: () => Promise<unknown>): Promise<Rate> {
  const until = performance.now() + seconds * 1000
  const times: number[] = []
  const cpu = process.cpuUsage()
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      while (performance.now() < until) {
        const started = performance.now()
        await call()
        times.push(performance.now() - started)
      }
    }),
  )
  const { user, system } = process.cpuUsage(cpu)
  times.sort((a, b) => a - b)
  const at = (share: number): number => Math.round((times[Math.floor(times.length * share)] ?? 0) * 10) / 10
  return {
    per_second: Math.round(times.length / seconds),
    p50_ms: at(0.5),
    p99_ms: at(0.99),
    cpu_us: Math.round((user + system) / times.length),
  }
}

function ratio(rate: number, limit: number): number {
  return Math.round((rate / limit) * 100) / 100
}
