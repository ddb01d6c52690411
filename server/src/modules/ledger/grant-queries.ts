import { sql as raw } from 'kysely'
import type { Sql, Tx } from '#kernel/db'
import { wireJson } from '#kernel/json'
import type { GrantColumns, GrantSource } from './queries.ts'

export interface GrantRow {
  wallet_id: bigint
  id: bigint
  customer_id: string
  unit: string
  granted: bigint
  remaining: bigint
  held: bigint
  revoked: bigint
  priority: number
  is_paid: boolean
  is_scheduled: boolean
  price_amount: bigint | null
  price_units: bigint | null
  price_currency: string | null
  source: GrantSource
  source_id: string
  starts_at: Date
  /** null: never. */
  expires_at: Date | null
  created_at: Date
  parent_wallet_id: bigint | null
  parent_id: bigint | null
  origin_wallet_id: bigint | null
  origin_id: bigint | null
}

/** One grant for ledger.grant_many. */
export interface GrantInput extends GrantColumns {
  customer_id: string
  unit: string
  kind?: 'grant' | 'adjustment_in'
  key_digest?: string | undefined
  input_digest?: string | undefined
  actor_id: string
  reason?: string | null | undefined
  reference?: string | null | undefined
  metadata?: object | null | undefined
  parent_source?: string | undefined
  parent_source_id?: string | undefined
}

export interface GrantOutcome {
  status: 'granted' | 'existing' | 'conflict' | 'too_large' | 'unknown_unit' | 'unknown_parent'
  wallet_id: bigint
  grant_id: bigint
  balance: bigint
}

export async function insertGrants(
  tx: Tx,
  grants: readonly GrantInput[],
  now: Date,
): Promise<GrantOutcome[]> {
  const { rows } = await raw<GrantOutcome>`
    select status, wallet_id, grant_id, balance
    from ledger.grant_many(${wireJson(grants)}::jsonb, ${now}::timestamptz)
    order by item`.execute(tx)
  return rows
}

function grants(sql: Sql) {
  return (
    sql
      .selectFrom('ledger.grants as g')
      .innerJoin('ledger.wallets as w', 'w.id', 'g.wallet_id')
      .select([
        'g.wallet_id',
        'g.id',
        'w.customer_id',
        'w.unit',
        'g.granted',
        'g.remaining',
        'g.held',
        'g.revoked',
        'g.priority',
        'g.is_paid',
        'g.is_scheduled',
        'g.price_amount',
        'g.price_units',
        'g.price_currency',
        'g.source',
        'g.source_id',
        'g.starts_at',
        'g.created_at',
        'g.parent_wallet_id',
        'g.parent_id',
        'g.origin_wallet_id',
        'g.origin_id',
      ])
      // The driver reads `infinity` as a number.
      .select((eb) =>
        eb.fn<Date | null>('nullif', ['g.expires_at', raw`'infinity'::timestamptz`]).as('expires_at'),
      )
  )
}

/** Grants by their numbers, in no order. */
export async function findGrants(
  sql: Sql,
  ids: readonly { wallet_id: bigint; id: bigint }[],
): Promise<GrantRow[]> {
  if (ids.length === 0) return []
  return grants(sql)
    .where((eb) =>
      eb(
        eb.refTuple('g.wallet_id', 'g.id'),
        'in',
        ids.map(({ wallet_id, id }) => eb.tuple(wallet_id, id)),
      ),
    )
    .execute()
}

/** Grants by what made them, in no order. */
export async function findGrantsBySource(
  sql: Sql,
  sources: readonly { source: GrantSource; source_id: string }[],
): Promise<GrantRow[]> {
  if (sources.length === 0) return []
  return grants(sql)
    .where((eb) =>
      eb(
        eb.refTuple('g.source', 'g.source_id'),
        'in',
        sources.map((one) => eb.tuple(one.source, one.source_id)),
      ),
    )
    .execute()
}

/** What is left of grants whose owner was merged into another: the parts that moved, oldest first. */
export async function findParts(
  sql: Sql,
  origins: readonly { wallet_id: bigint; id: bigint }[],
): Promise<GrantRow[]> {
  if (origins.length === 0) return []
  return grants(sql)
    .where((eb) =>
      eb(
        eb.refTuple('g.origin_wallet_id', 'g.origin_id'),
        'in',
        origins.map(({ wallet_id, id }) => eb.tuple(wallet_id, id)),
      ),
    )
    .orderBy('g.wallet_id')
    .orderBy('g.id')
    .execute()
}

/** Grants that share the fate of another, e.g. the bonus of a purchase; oldest first. */
export function findChildren(sql: Sql, parent: { wallet_id: bigint; id: bigint }): Promise<GrantRow[]> {
  return grants(sql)
    .where('g.parent_wallet_id', '=', parent.wallet_id)
    .where('g.parent_id', '=', parent.id)
    .orderBy('g.wallet_id')
    .orderBy('g.id')
    .execute()
}

/** Grants of a wallet that are not used up, in the order they were made. */
export function findRemaining(sql: Sql, wallet_id: bigint): Promise<GrantRow[]> {
  return grants(sql)
    .where('g.wallet_id', '=', wallet_id)
    .where((eb) => eb.or([eb('g.is_open', '=', true), eb('g.is_scheduled', '=', true)]))
    .orderBy('g.id')
    .execute()
}

/** Grants of wallets, newest first, from a position on. */
export function listGrants(
  sql: Sql,
  wallet_ids: readonly bigint[],
  after: { created_at: Date; wallet_id: bigint; id: bigint } | undefined,
  limit: number,
): Promise<GrantRow[]> {
  if (wallet_ids.length === 0) return Promise.resolve([])
  return grants(sql)
    .where('g.wallet_id', 'in', wallet_ids)
    .$if(after !== undefined, (query) =>
      query.where((eb) =>
        eb(
          eb.refTuple('g.created_at', 'g.wallet_id', 'g.id'),
          '<',
          eb.tuple(after?.created_at ?? new Date(0), after?.wallet_id ?? 0n, after?.id ?? 0n),
        ),
      ),
    )
    .orderBy('g.created_at', 'desc')
    .orderBy('g.wallet_id', 'desc')
    .orderBy('g.id', 'desc')
    .limit(limit)
    .execute()
}
