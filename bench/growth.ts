import pg from 'pg'
import type { LoadResult } from './load.ts'
import type { BenchWorld } from './world.ts'

export interface GrowthPoint {
  /** Rows of the table when the measuring began. */
  transfers: number
  result: LoadResult
  /** The rate as a share of the database's limit at that time. */
  share: number
}

/** Turns at each size: of one bad moment of a shared machine nothing follows. */
const TURNS = 3

/**
 * Measures the same load at growing sizes of the transfers table, in turns with the database's limit, so that
 * a machine that slows down meanwhile is not taken for growth; the ratio is the last share to the first. The
 * world must be a new one: its own spends are transfers too.
 */
export async function measureGrowth(
  world: BenchWorld,
  sizes: readonly number[],
  { spend, limit }: { spend: () => Promise<LoadResult>; limit: () => Promise<number> },
): Promise<{ ratio: number; points: GrowthPoint[] }> {
  const points: GrowthPoint[] = []
  for (const size of sizes) {
    const transfers = await growTransfers(world, size)
    await spend()
    const turns: { result: LoadResult; share: number }[] = []
    for (let turn = 0; turn < TURNS; turn++) {
      const most = await limit()
      const result = await spend()
      turns.push({ result, share: result.rps / most })
    }
    const [, middle] = turns.toSorted((a, b) => a.share - b.share)
    if (middle) points.push({ transfers, ...middle })
  }
  const first = points[0]?.share ?? 0
  const last = points.at(-1)?.share ?? 0
  return { ratio: first === 0 ? 0 : Math.round((last / first) * 100) / 100, points }
}

/**
 * Fills the history up to `transfers` rows in wallets that are not under load: the tables and indexes are as
 * large as they would be, and the chains of the measured wallets stay whole. Answers how many rows there are.
 */
async function growTransfers(world: BenchWorld, transfers: number): Promise<number> {
  const client = new pg.Client({ connectionString: world.database_url })
  await client.connect()
  const counted = await client.query<{ count: string }>('select count(*) from ledger.transfers')
  const present = Number(counted.rows[0]?.count ?? 0)
  const missing = transfers - present
  const CHUNK = 250_000
  for (let made = 0; made < missing; made += CHUNK) {
    const rows = Math.min(CHUNK, missing - made)
    await client.query(`
      insert into ledger.transfers (wallet_id, sequence, kind, amount, balance_after, held_after, grant_ids,
        grant_amounts,
        key_digest, input_digest, hash, created_at)
      select 1000000 + (n % 50000), ${present + made} + n, 'spend', 1, 1, 0, array[1]::bigint[],
        array[1]::bigint[],
        decode(md5((${present + made} + n)::text), 'hex'), decode(md5(n::text), 'hex'),
        sha256((${present + made} + n)::text::bytea), now()
      from generate_series(1, ${rows}) n`)
  }
  await client.end()
  const superuser = new pg.Client({ connectionString: world.superuser_url })
  await superuser.connect()
  await superuser.query('vacuum analyze ledger.transfers')
  await superuser.query('checkpoint')
  await superuser.end()
  return Math.max(present, transfers)
}
