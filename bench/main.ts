import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { measureGrowth } from './growth.ts'
import { measureLimit, type DatabaseLimit } from './limit.ts'
import type { LoadResult } from './load.ts'
import type { LoadOrder } from './load-process.ts'
import {
  countGranted,
  isInboxOpen,
  makeNotifications,
  mixNotifications,
  wrongEffects,
  type SignedNotification,
} from './webhooks.ts'
import { measureColdStart, residentMb, startBenchWorld, UNIT, type BenchWorld } from './world.ts'

/**
 * `npm run bench [-- --quick]`: the whole service against the database's own limit, measured in one run on
 * this machine. Ratios are what counts; absolute figures are this machine's.
 */
const is_quick = process.argv.includes('--quick')
/** Turns of the database's limit, spends over all wallets, and spends on one. */
const ROUNDS = is_quick ? 3 : 7
const ROUND_SECONDS = is_quick ? 1 : 3
const SECONDS = is_quick ? 1.5 : 5
const CONNECTIONS = 64
const RESULTS = path.join(import.meta.dirname, 'results.json')

const rows: string[][] = []
const cold_start_ms = await measureColdStart()
const world = await startBenchWorld(10_000)
try {
  // Every wallet is seen and every path compiled well: what is measured is a server that has been running.
  // After three seconds of load it is still a third slower than after ten.
  await load({ kind: 'spend', customer_ids: world.customer_ids, duration_ms: is_quick ? 3_500 : 12_000 })
  // In turns, so that a machine that is shared slows both alike.
  const limits: DatabaseLimit[] = []
  const randoms: LoadResult[] = []
  const hots: LoadResult[] = []
  for (let round = 0; round < ROUNDS; round++) {
    limits.push(await measureLimit(world.database_url, ROUND_SECONDS))
    randoms.push(await load({ kind: 'spend', customer_ids: world.customer_ids }))
    hots.push(await load({ kind: 'spend', customer_ids: world.customer_ids.slice(0, 1) }))
  }
  const limit = {
    random_tps: median(limits.map(({ random_tps }) => random_tps)),
    hot_tps: median(limits.map(({ hot_tps }) => hot_tps)),
    measured_by: limits[0]?.measured_by ?? '',
  }
  const random = middle(randoms)
  const hot = middle(hots)
  row(
    'database’s limit, random',
    `${limit.random_tps}/s`,
    `one UPDATE + one INSERT per commit, 16 clients, ${limit.measured_by}; median of ${ROUNDS} turns`,
  )
  row('database’s limit, one hot row', `${limit.hot_tps}/s`, '')
  describe('spends, 10,000 wallets', random)
  describe('spends, one hot wallet', hot)
  const reads = { kind: 'balance', customer_ids: world.customer_ids, pipelining: 8 } as const
  if (!is_quick) await load(reads)
  const balance = await load(reads)
  describe('balance reads (8 in flight a connection)', balance)
  const granting = await grantingRun(world, is_quick ? 4_000 : 20_000)
  const mixed = await mixedRun(world, is_quick ? 2_500 : 100_000)
  const rss_mb = residentMb(world.server.pid)
  const growth_ratio = is_quick ? null : await growth()
  const results = {
    spend_random_rps: random.rps,
    spend_hot_rps: hot.rps,
    limit_random_tps: limit.random_tps,
    limit_hot_tps: limit.hot_tps,
    ratio_random: ratio(random.rps, limit.random_tps),
    ratio_hot: ratio(hot.rps, limit.hot_tps),
    p50_ms: random.p50_ms,
    p95_ms: random.p95_ms,
    p99_ms: random.p99_ms,
    p99_hot_ms: hot.p99_ms,
    growth_ratio,
    balance_rps: balance.rps,
    // How these two stand to the same limit: machines differ several times over.
    ratio_balance: ratio(balance.rps, limit.random_tps),
    ratio_webhook: ratio(granting.rps, limit.random_tps),
    balance_p99_ms: balance.p99_ms,
    webhook_rps: granting.rps,
    webhook_ack_p99_ms: granting.ack.p99_ms,
    webhook_mixed_ack_rps: mixed.ack.rps,
    webhook_mixed_ack_p99_ms: mixed.ack.p99_ms,
    webhook_wrong_effects: mixed.wrong,
    cold_start_ms,
    rss_mb,
    cores: availableParallelism(),
    limit_measured_by: limit.measured_by,
    measured_at: new Date().toISOString(),
  }
  row('spends ÷ limit, 10,000 wallets', String(results.ratio_random), '')
  row('spends ÷ limit, one hot wallet', String(results.ratio_hot), '')
  row('balance reads ÷ limit', String(results.ratio_balance), '')
  row('granted ÷ limit', String(results.ratio_webhook), '')
  row('cold start', `${cold_start_ms} ms`, 'empty data directory to ready')
  row('memory', `${rss_mb} MiB`, 'after the load')
  mkdirSync(path.dirname(RESULTS), { recursive: true })
  writeFileSync(RESULTS, `${JSON.stringify(results, null, 2)}\n`)
  if (mixed.wrong > 0) process.exitCode = 1
} finally {
  await world.stop()
}
printTable()

/**
 * How fast payments are granted when the vendor tells of each once and of nothing else; in the second of two
 * turns.
 */
async function grantingRun(target: BenchWorld, count: number): Promise<{ rps: number; ack: LoadResult }> {
  if (!is_quick) {
    const early = randomBytes(3).toString('hex')
    await notify(target, await makeNotifications(target, count, early), { run: early, count })
  }
  const run = randomBytes(3).toString('hex')
  const notifications = await makeNotifications(target, count, run)
  const { ack, seconds } = await notify(target, notifications, { run, count })
  const rps = Math.round(count / seconds)
  row('notifications, granted', `${rps}/s`, `${count} payments, told of once each`)
  return { rps, ack }
}

/** Forged, repeated and shuffled notifications: what is wrong afterwards, and what was answered wrongly. */
async function mixedRun(target: BenchWorld, count: number): Promise<{ ack: LoadResult; wrong: number }> {
  const mixture = await mixNotifications(target, count, randomBytes(3).toString('hex'))
  const { notifications, paid, forged } = mixture
  const { ack } = await notify(target, notifications, { run: mixture.paid_run, count: paid })
  const misjudged = Math.abs((ack.statuses['401'] ?? 0) - forged)
  const unanswered = Math.abs((ack.statuses['200'] ?? 0) - (count - forged))
  const wrong = (await wrongEffects(target, mixture)) + misjudged + unanswered
  describe('notifications, mixed', ack)
  row('wrong effects', String(wrong), `${count} notifications of ${paid} payments, ${forged} of them forged`)
  return { ack, wrong }
}

/** Sends notifications and waits until all are acted on; throws unless `count` payments were granted. */
async function notify(
  target: BenchWorld,
  notifications: SignedNotification[],
  { run, count }: { run: string; count: number },
): Promise<{ ack: LoadResult; seconds: number }> {
  const ack = await load({
    kind: 'webhook',
    notifications,
    requests_max: notifications.length,
    duration_ms: 300_000,
  })
  const acknowledged = performance.now()
  while ((await isInboxOpen(target)) && performance.now() - acknowledged < 60_000)
    await new Promise((resolve) => setTimeout(resolve, 20))
  const handled_ms = performance.now() - acknowledged
  const granted = await countGranted(target, run)
  if (granted !== count) throw new Error(`${granted} of ${count} payments were granted`)
  // From the first request on: the load process's own start is not the server's.
  return { ack, seconds: ack.seconds + handled_ms / 1000 }
}

/** In a world of its own, where nothing was spent before. */
async function growth(): Promise<number> {
  const fresh = await startBenchWorld(10_000)
  try {
    const spend = (): Promise<LoadResult> =>
      load({ kind: 'spend', customer_ids: fresh.customer_ids, duration_ms: 3_000 }, fresh)
    const limit = async (): Promise<number> => (await measureLimit(fresh.database_url, 2)).random_tps
    const { ratio: growth_ratio, points } = await measureGrowth(fresh, [10_000, 1_000_000, 5_000_000], {
      spend,
      limit,
    })
    for (const { transfers, result, share } of points)
      describe(`spends at ${transfers.toLocaleString('en')} transfers (${share.toFixed(2)} × limit)`, result)
    row('share at 5,000,000 ÷ at the beginning', String(growth_ratio), '')
    return growth_ratio
  } finally {
    await fresh.stop()
  }
}

function load(
  order: Partial<LoadOrder> & Pick<LoadOrder, 'kind'>,
  target: BenchWorld = world,
): Promise<LoadResult> {
  const child = fork(path.join(import.meta.dirname, 'load-process.ts'), { serialization: 'advanced' })
  const whole: LoadOrder = {
    port: target.server.port,
    connections: CONNECTIONS,
    pipelining: 1,
    duration_ms: SECONDS * 1000,
    authorization: target.authorization,
    unit: UNIT,
    run: randomBytes(6).toString('hex'),
    ...order,
  }
  return new Promise((resolve, reject) => {
    child.once('message', (result) => resolve(result as LoadResult))
    child.once('error', reject)
    child.once('exit', (code) =>
      code === 0 ? undefined : reject(new Error(`the load process ended with ${code}`)),
    )
    child.send(whole)
  })
}

function describe(name: string, result: LoadResult): void {
  const statuses = Object.entries(result.statuses)
    .map(([status, count]) => `${count}×${status}`)
    .join(' ')
  row(
    name,
    `${result.rps}/s`,
    `p50 ${result.p50_ms} p95 ${result.p95_ms} p99 ${result.p99_ms} ms; ${statuses}`,
  )
}

function row(...cells: string[]): void {
  rows.push(cells)
  process.stdout.write(`${cells.join('  ')}\n`)
}

function printTable(): void {
  const widths = [0, 1].map((column) => Math.max(...rows.map((cells) => (cells[column] ?? '').length)))
  const lines = rows.map(([name = '', figure = '', note = '']) =>
    `${name.padEnd(widths[0] ?? 0)}  ${figure.padStart(widths[1] ?? 0)}  ${note}`.trimEnd(),
  )
  process.stdout.write(`\n${lines.join('\n')}\n\nWritten to ${path.relative(process.cwd(), RESULTS)}\n`)
}

function median(figures: readonly number[]): number {
  return figures.toSorted((a, b) => a - b)[Math.floor(figures.length / 2)] ?? 0
}

/** The run of the median rate, whole. */
function middle(results: readonly LoadResult[]): LoadResult {
  const found = results.find(({ rps }) => rps === median(results.map((result) => result.rps)))
  if (!found) throw new Error('nothing was measured')
  return found
}

function ratio(part: number, whole: number): number {
  return Math.round((part / whole) * 100) / 100
}
