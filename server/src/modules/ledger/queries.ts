import { sql as raw } from 'kysely'
import type { Sql, Tx } from '#kernel/db'
import { wireJson } from '#kernel/json'
import { slicePartsOf, type SlicePart } from './slices.ts'
import type { SpendItem, SpendOutcome } from './spend-queries.ts'
import type { TransferKind } from './transfer-kinds.ts'

export type GrantSource =
  | 'purchase'
  | 'subscription'
  | 'promo'
  | 'bonus'
  | 'referral'
  | 'refund'
  | 'manual'
  | 'transfer'

export interface WalletRow {
  id: bigint
  customer_id: string
  unit: string
  balance: bigint
  held: bigint
  scheduled: bigint
  debt: bigint
  sequence: bigint
  merged_into: bigint | null
}

/** The columns of a grant that is made; the ledger fills in the rest. */
export interface GrantColumns {
  granted: bigint
  priority: number
  is_paid: boolean
  source: GrantSource
  source_id: string
  starts_at?: Date | null
  expires_at?: Date | null
  created_at?: Date
  price_amount?: bigint | null
  price_units?: bigint | null
  price_currency?: string | null
  parent_wallet_id?: bigint | null
  parent_id?: bigint | null
  origin_wallet_id?: bigint | null
  origin_id?: bigint | null
}

/** One transfer to append. With `new_grant` it opens a grant and has no slices of its own. */
export interface NewTransfer {
  kind: TransferKind
  amount: bigint
  slices?: readonly SlicePart[]
  new_grant?: GrantColumns
  key_digest?: Buffer | undefined
  input_digest?: Buffer | undefined
  actor_id?: string | undefined
  reason?: string | null | undefined
  reference?: string | null | undefined
  metadata?: object | null | undefined
  hold_id?: string | undefined
  related_wallet_id?: bigint | undefined
  related_sequence?: bigint | undefined
}

export interface Appended {
  sequence: bigint
  balance_after: bigint
  held_after: bigint
}

export interface TransferRow {
  wallet_id: bigint
  sequence: bigint
  kind: string
  amount: bigint
  balance_after: bigint
  held_after: bigint
  grant_ids: bigint[]
  grant_amounts: bigint[]
  key_digest: Buffer | null
  input_digest: Buffer | null
  actor_id: string | null
  reason: string | null
  reference: string | null
  metadata: unknown
  hold_id: string | null
  related_wallet_id: bigint | null
  related_sequence: bigint | null
  created_at: Date
}

/** Where a customer's units of a kind are, and whose they are: the survivor's when he was merged. */
export interface WalletPlace {
  id: bigint
  customer_id: string
}

/**
 * Wallets at the places of the pairs asked for; undefined where there is none. A customer that was merged
 * means the survivor.
 */
export async function findWalletPlaces(
  sql: Sql,
  pairs: readonly { customer_id: string; unit: string }[],
): Promise<(WalletPlace | undefined)[]> {
  const { rows } = await raw<{ id: bigint | null; customer_id: string }>`
    select w.id, w.customer_id
    from unnest(${pairs.map((pair) => pair.customer_id)}::text[], ${pairs.map((pair) => pair.unit)}::text[])
      with ordinality p (customer_id, unit, place)
    left join ledger.merged_customers m on m.customer_id = p.customer_id
    left join ledger.wallets w on w.customer_id = coalesce(m.survivor_id, p.customer_id) and w.unit = p.unit
    order by p.place`.execute(sql)
  return rows.map(({ id, customer_id }) => (id === null ? undefined : { id, customer_id }))
}

/** As {@link findWalletPlaces}, the numbers only. */
export async function findWalletIds(
  sql: Sql,
  pairs: readonly { customer_id: string; unit: string }[],
): Promise<(bigint | undefined)[]> {
  return (await findWalletPlaces(sql, pairs)).map((place) => place?.id)
}

/**
 * Locks wallets in order of id, starts and ends the grants that are due, and answers them as they are then.
 */
export async function lockWallets(tx: Tx, wallet_ids: readonly bigint[], now: Date): Promise<WalletRow[]> {
  const { rows } = await raw<WalletRow>`
    select id, customer_id, unit, balance, held, scheduled, debt, sequence, merged_into
    from ledger.lock_wallets(${wallet_ids}::bigint[], ${now}::timestamptz)`.execute(tx)
  return rows
}

/**
 * Makes the wallets that are not there, in one order everywhere; answers their numbers at the places asked
 * for.
 */
export async function ensureWallets(
  tx: Tx,
  pairs: readonly { customer_id: string; unit: string }[],
  now: Date,
): Promise<bigint[]> {
  await raw`
    insert into ledger.wallets (customer_id, unit, created_at)
    select distinct coalesce(m.survivor_id, p.customer_id), p.unit, ${now}::timestamptz
    from unnest(${pairs.map((pair) => pair.customer_id)}::text[], ${pairs.map((pair) => pair.unit)}::text[])
      p (customer_id, unit)
    left join ledger.merged_customers m on m.customer_id = p.customer_id
    order by 1, 2
    on conflict do nothing`.execute(tx)
  const ids = await findWalletIds(tx, pairs)
  return ids.flatMap((id) => id ?? [])
}

/** Slices for an amount in the burn order; fewer than asked for when there is less. The wallet is locked. */
export async function burn(tx: Tx, wallet_id: bigint, amount: bigint, now: Date): Promise<SlicePart[]> {
  const { rows } = await raw<{ grant_ids: bigint[]; grant_amounts: bigint[] }>`
    select grant_ids, grant_amounts
    from ledger.burn(${wallet_id}, ${amount}, ${now}::timestamptz)`.execute(tx)
  return rows.flatMap((row) => slicePartsOf(row.grant_ids, row.grant_amounts))
}

/** Appends transfers to a locked wallet, in order, and settles it; answers one row per transfer. */
export async function append(
  tx: Tx,
  wallet_id: bigint,
  transfers: readonly NewTransfer[],
  now: Date,
): Promise<Appended[]> {
  const body = transfers.map(({ slices, key_digest, input_digest, ...transfer }) => ({
    ...transfer,
    grant_ids: slices?.map(({ id }) => id),
    grant_amounts: slices?.map(({ amount }) => amount),
    key_digest: key_digest?.toString('hex'),
    input_digest: input_digest?.toString('hex'),
  }))
  const { rows } = await raw<Appended>`
    select sequence, balance_after, held_after
    from ledger.append(${wallet_id}, ${wireJson(body)}::jsonb, ${now}::timestamptz)
    order by item`.execute(tx)
  return rows
}

const walletColumns = [
  'id',
  'customer_id',
  'unit',
  'balance',
  'held',
  'scheduled',
  'debt',
  'sequence',
  'merged_into',
] as const

const transferColumns = [
  'wallet_id',
  'sequence',
  'kind',
  'amount',
  'balance_after',
  'held_after',
  'grant_ids',
  'grant_amounts',
  'key_digest',
  'input_digest',
  'actor_id',
  'reason',
  'reference',
  'metadata',
  'hold_id',
  'related_wallet_id',
  'related_sequence',
  'created_at',
] as const

/** The transfer a key was used for in a wallet, or in one whose owner was merged into this one's. */
export function findByKey(sql: Sql, wallet_id: bigint, key_digest: Buffer): Promise<TransferRow | undefined> {
  return sql
    .selectFrom('ledger.transfers')
    .select(transferColumns)
    .where('wallet_id', 'in', (eb) =>
      eb
        .selectFrom('ledger.wallets')
        .select('id')
        .where((or) => or.or([or('id', '=', wallet_id), or('merged_into', '=', wallet_id)])),
    )
    .where('key_digest', '=', key_digest)
    .executeTakeFirst()
}

export function findTransfer(
  sql: Sql,
  wallet_id: bigint,
  sequence: bigint,
): Promise<TransferRow | undefined> {
  return sql
    .selectFrom('ledger.transfers')
    .select(transferColumns)
    .where('wallet_id', '=', wallet_id)
    .where('sequence', '=', sequence)
    .executeTakeFirst()
}

/** Transfers of a wallet that undo or follow another one, oldest first. */
export function findRelated(sql: Sql, wallet_id: bigint, related_sequence: bigint): Promise<TransferRow[]> {
  return sql
    .selectFrom('ledger.transfers')
    .select(transferColumns)
    .where('wallet_id', '=', wallet_id)
    .where('related_sequence', '=', related_sequence)
    .where('related_wallet_id', 'is', null)
    .orderBy('sequence')
    .execute()
}

/** Transfers of a wallet that answer one of another wallet, e.g. the grants a gift became; oldest first. */
export function findAnswering(
  sql: Sql,
  wallet_id: bigint,
  related_wallet_id: bigint,
  related_sequence: bigint,
): Promise<TransferRow[]> {
  return sql
    .selectFrom('ledger.transfers')
    .select(transferColumns)
    .where('wallet_id', '=', wallet_id)
    .where('related_sequence', '=', related_sequence)
    .where('related_wallet_id', '=', related_wallet_id)
    .orderBy('sequence')
    .execute()
}

export function findWallet(sql: Sql, id: bigint): Promise<WalletRow | undefined> {
  return sql.selectFrom('ledger.wallets').select(walletColumns).where('id', '=', id).executeTakeFirst()
}

/** One spend inside the caller's transaction, by the same function the lanes use for what is not common. */
export async function spendOne(tx: Tx, item: SpendItem, now: Date): Promise<SpendOutcome> {
  const { rows } = await raw<{
    status: SpendOutcome['status']
    wallet_id: bigint
    sequence: bigint
    balance: bigint
    available: bigint
    grant_ids: bigint[]
    grant_amounts: bigint[]
    created_at: Date
  }>`
    select status, wallet_id, sequence, balance, available, grant_ids, grant_amounts, created_at
    from ledger.spend_rest(array[${item.wallet_id}::bigint], array[${item.amount}::bigint],
      ${item.key_digest},
      ${item.input_digest}, array[${item.actor_id}::text], array[${item.reason}::text],
      array[${item.reference}::text], array[${item.metadata}::jsonb], ${now}::timestamptz)`.execute(tx)
  const row = rows[0]
  if (!row) return { status: 'unknown_wallet' }
  const { status, available, ...done } = row
  if (status === 'insufficient') return { status, available }
  if (status === 'key_reused' || status === 'unknown_wallet') return { status }
  return { status, ...done }
}

/** Wallets of a customer in order of their units, at most as many as there may be units. */
export function findCustomerWallets(
  sql: Sql,
  filter: { customer_id: string; unit?: string | undefined },
): Promise<{ id: bigint; unit: string; scale: bigint }[]> {
  return sql
    .selectFrom('ledger.wallets as w')
    .innerJoin('ledger.units as u', 'u.code', 'w.unit')
    .select(['w.id', 'w.unit', 'u.scale'])
    .where('w.customer_id', '=', filter.customer_id)
    .$if(filter.unit !== undefined, (query) => query.where('w.unit', '=', filter.unit ?? ''))
    .orderBy('w.unit')
    .limit(1_000)
    .execute()
}

/** Wallets whose balance time alone has changed since they were settled, the longest first. */
export async function findDueWallets(sql: Sql, now: Date, limit: number): Promise<bigint[]> {
  const rows = await sql
    .selectFrom('ledger.wallets')
    .select('id')
    .where('next_expiry', '<=', now)
    .orderBy('next_expiry')
    .limit(limit)
    .execute()
  return rows.map(({ id }) => id)
}

/** Wallets whose movements are a customer's history: his own and those merged into them. At most 50. */
export function findHistoryWallets(
  sql: Sql,
  filter: { customer_id: string; unit?: string | undefined },
): Promise<{ id: bigint; unit: string }[]> {
  return sql
    .selectFrom('ledger.wallets as w')
    .select(['w.id', 'w.unit'])
    .where((eb) =>
      eb.or([
        eb('w.customer_id', '=', filter.customer_id),
        eb(
          'w.merged_into',
          'in',
          eb.selectFrom('ledger.wallets').select('id').where('customer_id', '=', filter.customer_id),
        ),
      ]),
    )
    .$if(filter.unit !== undefined, (query) => query.where('w.unit', '=', filter.unit ?? ''))
    .orderBy('w.id')
    .limit(50)
    .execute()
}

/** The last transfers of each wallet before a sequence, newest first in each; `limit` of each at most. */
export async function findTransfersBefore(
  sql: Sql,
  wallets: readonly (readonly [wallet_id: bigint, before: bigint | undefined])[],
  limit: number,
): Promise<TransferRow[]> {
  if (wallets.length === 0) return []
  const befores = wallets.map(([, before]) => before ?? 2n ** 63n - 1n)
  const { rows } = await raw<TransferRow>`
    select t.*
    from unnest(${wallets.map(([id]) => id)}::bigint[], ${befores}::bigint[]) w (wallet_id, before)
    cross join lateral (
      select ${raw.join(transferColumns.map((column) => raw.ref(column)))}
      from ledger.transfers x
      where x.wallet_id = w.wallet_id and x.sequence < w.before
      order by x.sequence desc
      limit ${limit}
    ) t
    order by t.wallet_id, t.sequence desc`.execute(sql)
  return rows
}
