import type { QueryArrayConfig } from 'pg'
import { sql as raw } from 'kysely'
import { pgTypes, type Sql } from '#kernel/db'
import type { GrantSource } from './queries.ts'

/** A grant as a balance shows it. */
export interface ReadGrant {
  id: bigint
  granted: bigint
  remaining: bigint
  held: bigint
  priority: number
  is_paid: boolean
  source: GrantSource
  expires_at: Date | null
  created_at: Date
}

/**
 * A wallet at a moment. Grants are in no order; `is_due` means that time has moved on since it was last
 * settled.
 */
export interface ReadWallet {
  id: bigint
  balance: bigint
  held: bigint
  debt: bigint
  is_due: boolean
  /** Its owner was merged into another: his units are elsewhere. */
  is_merged: boolean
  grants: ReadGrant[]
}

/** Rows of grants in one answer; beyond it the wallets are read again with a limit for each. */
export const GRANT_ROWS_MAX = 5_000

type Row = [
  wallet_id: bigint,
  is_wallet: boolean,
  balance: bigint,
  held: bigint,
  debt: bigint,
  is_due: boolean,
  /** Of a grant its number; of a wallet the one it was merged into. */
  id: bigint | null,
  granted: bigint,
  remaining: bigint,
  priority: number,
  is_paid: boolean,
  source: GrantSource,
  expires_at: Date | number,
  created_at: Date,
]

/**
 * Wallets and their open grants, both sides of a union: one snapshot, and two plain index scans instead of
 * a join, which reads twice as fast.
 */
export function readWallets(wallet_ids: readonly bigint[], now: Date): QueryArrayConfig {
  return {
    name: 'ledger.readWallets',
    text: `select w.id, true, w.balance, w.held, w.debt, w.next_expiry <= $2::timestamptz, w.merged_into,
        null::bigint, null::bigint, null::smallint, null::boolean, null::text, null::timestamptz,
        null::timestamptz
      from ledger.wallets w where w.id = any($1::bigint[])
      union all
      (select g.wallet_id, false, null, g.held, null, null, g.id, g.granted, g.remaining, g.priority,
        g.is_paid, g.source, g.expires_at, g.created_at
      from ledger.grants g where g.wallet_id = any($1::bigint[]) and g.is_open
      limit ${GRANT_ROWS_MAX})`,
    values: [`{${wallet_ids.join(',')}}`, now.toISOString()],
    rowMode: 'array',
    types: pgTypes,
  }
}

/**
 * The same with the figures as settling now would leave them, and at most `limit` grants of each wallet, in
 * the burn order. For wallets where something is due or that have very many grants.
 */
export function readLiveWallets(wallet_ids: readonly bigint[], now: Date, limit: number): QueryArrayConfig {
  return {
    name: 'ledger.readLiveWallets',
    text: 'select * from ledger.read_live($1::bigint[], $2::timestamptz, $3::int)',
    values: [`{${wallet_ids.join(',')}}`, now.toISOString(), limit],
    rowMode: 'array',
    types: pgTypes,
  }
}

type LiveRow = {
  wallet_id: bigint
  is_wallet: boolean
  balance: bigint
  held: bigint
  debt: bigint
  is_due: boolean
  id: bigint | null
  granted: bigint
  remaining: bigint
  priority: number
  is_paid: boolean
  source: GrantSource
  expires_at: Date | number
  created_at: Date
}

function arrayOf(row: LiveRow): Row {
  return [
    row.wallet_id,
    row.is_wallet,
    row.balance,
    row.held,
    row.debt,
    row.is_due,
    row.id,
    row.granted,
    row.remaining,
    row.priority,
    row.is_paid,
    row.source,
    row.expires_at,
    row.created_at,
  ]
}

/** Wallets of an answer by their number, and how many grants it held. */
export function readRows(rows: readonly unknown[]): {
  wallets: Map<bigint, ReadWallet>
  grant_count: number
} {
  const wallets = new Map<bigint, ReadWallet>()
  const grants: Row[] = []
  for (const row of rows as Row[]) {
    const [id, is_wallet, balance, held, debt, is_due, merged_into] = row
    const is_merged = is_wallet && merged_into !== null
    if (is_wallet) wallets.set(id, { id, balance, held, debt, is_due, is_merged, grants: [] })
    else grants.push(row)
  }
  for (const row of grants) wallets.get(row[0])?.grants.push(grantOf(row))
  return { wallets, grant_count: grants.length }
}

function grantOf(row: Row): ReadGrant {
  const [, , , held, , , id, granted, remaining, priority, is_paid, source, expires_at, created_at] = row
  // The driver reads `infinity` as a number.
  const ends = typeof expires_at === 'number' ? null : expires_at
  return { id: id ?? 0n, granted, remaining, held, priority, is_paid, source, expires_at: ends, created_at }
}

/** The same through an ordinary connection or transaction. */
export async function readLive(
  sql: Sql,
  wallet_ids: readonly bigint[],
  now: Date,
  limit: number,
): Promise<Map<bigint, ReadWallet>> {
  const { rows } = await raw<LiveRow>`
    select * from ledger.read_live(${wallet_ids}::bigint[], ${now}::timestamptz, ${limit})`.execute(sql)
  return readRows(rows.map(arrayOf)).wallets
}
