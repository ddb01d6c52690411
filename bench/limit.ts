import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import pg from 'pg'

/**
 * The limit of this database on this machine, found in this run: one UPDATE and one INSERT in each commit.
 */
export interface DatabaseLimit {
  random_tps: number
  hot_tps: number
  /** `pgbench`, or the driver where that is not installed. */
  measured_by: string
}

const CLIENTS = 16
const ACCOUNTS = 10_000

/** Both statements in one round trip: what is measured is the database, not the way to it. */
const STATEMENT = (account: string): string =>
  `with changed as (update bench_limit.accounts set balance = balance - 1, sequence = sequence + 1
     where id = ${account} returning id, sequence)
   insert into bench_limit.entries (account_id, sequence, amount, created_at) select id, sequence, 1, now()
     from changed`

/** Measures `seconds` over many accounts and `seconds` on a single one. */
export async function measureLimit(url: string, seconds: number): Promise<DatabaseLimit> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(`
    drop schema if exists bench_limit cascade; create schema bench_limit;
    create table bench_limit.accounts (id int primary key, balance bigint not null, sequence bigint not null)
      with (fillfactor = 50);
    create table bench_limit.entries (account_id int, sequence bigint, amount bigint, created_at timestamptz,
      primary key (account_id, sequence));
    insert into bench_limit.accounts select n, 1000000000, 0 from generate_series(1, ${ACCOUNTS}) n;
    `)
  await client.query('vacuum analyze bench_limit.accounts')
  const pgbench = findPgbench()
  try {
    const random_tps = pgbench
      ? runPgbench(pgbench, url, seconds, false)
      : await runDriver(url, seconds, false)
    const hot_tps = pgbench ? runPgbench(pgbench, url, seconds, true) : await runDriver(url, seconds, true)
    return { random_tps, hot_tps, measured_by: pgbench ? 'pgbench' : 'the driver' }
  } finally {
    await client.query('drop schema bench_limit cascade')
    await client.end()
  }
}

function findPgbench(): string | undefined {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian)
    ? readdirSync(debian).map((version) => path.join(debian, version, 'bin'))
    : []
  const folders = [...(process.env['PATH'] ?? '').split(path.delimiter), ...versions]
  return folders.map((folder) => path.join(folder, 'pgbench')).find((file) => existsSync(file))
}

function runPgbench(pgbench: string, url: string, seconds: number, is_hot: boolean): number {
  const folder = mkdtempSync(path.join(tmpdir(), 'kopilka-bench-'))
  const script = path.join(folder, 'commit.sql')
  const account = is_hot ? '' : `\\set account random(1, ${ACCOUNTS})\n`
  writeFileSync(script, `${account}${STATEMENT(is_hot ? '1' : ':account')};\n`.replaceAll(/\n {2,}/g, ' '))
  const flags = [
    '-n',
    '-M',
    'prepared',
    '-c',
    String(CLIENTS),
    '-j',
    '2',
    '-T',
    String(seconds),
    '-f',
    script,
  ]
  const run = spawnSync(pgbench, [...flags, url], { encoding: 'utf8' })
  rmSync(folder, { recursive: true, force: true })
  const tps = /tps = ([\d.]+)/.exec(run.stdout ?? '')?.[1]
  if (tps === undefined) throw new Error(`pgbench did not measure: ${run.stderr}`)
  return Math.round(Number(tps))
}

async function runDriver(url: string, seconds: number, is_hot: boolean): Promise<number> {
  const deadline = performance.now() + seconds * 1000
  let commits = 0
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      const client = new pg.Client({ connectionString: url })
      await client.connect()
      while (performance.now() < deadline) {
        const account = is_hot ? 1 : 1 + Math.floor(Math.random() * ACCOUNTS)
        await client.query({ name: 'commit', text: STATEMENT('$1'), values: [account] })
        commits++
      }
      await client.end()
    }),
  )
  return Math.round(commits / seconds)
}
