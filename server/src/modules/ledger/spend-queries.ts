import type { QueryArrayConfig } from 'pg'
import { pgTypes } from '#kernel/db'

/** One spend on its way to the database. Digests are 16 bytes each, see keys.ts. */
export interface SpendItem {
  wallet_id: bigint
  amount: bigint
  key_digest: Buffer
  input_digest: Buffer
  actor_id: string
  reason: string | null
  reference: string | null
  /** JSON text of the caller's own facts. */
  metadata: string | null
}

/** What became of a spend. Only `spent` changed anything. */
export type SpendOutcome =
  | {
      status: 'spent' | 'replayed'
      /** The wallet the spend is kept in: another than asked when its owner was merged after the spend. */
      wallet_id: bigint
      sequence: bigint
      balance: bigint
      grant_ids: bigint[]
      grant_amounts: bigint[]
      created_at: Date
    }
  | { status: 'insufficient'; available: bigint }
  | { status: 'key_reused' }
  | { status: 'unknown_wallet' }

type BatchRow = [item: number, sequence: bigint, balance: bigint, grant_id: bigint]
type RestRow = [
  item: number,
  status: SpendOutcome['status'],
  wallet_id: bigint,
  sequence: bigint,
  balance: bigint,
  available: bigint,
  grant_ids: bigint[],
  grant_amounts: bigint[],
  created_at: Date,
]

const ARGUMENTS = `$1::bigint[], $2::bigint[], $3::bytea, $4::bytea, $5::text[], $6::text[], $7::text[],
  $8::text[]::jsonb[], $9::timestamptz`

/** The common case of many spends in one statement; what it leaves out goes to {@link spendRest}. */
export function spendBatch(items: readonly SpendItem[], now: Date): QueryArrayConfig {
  return {
    name: 'ledger.spendBatch',
    text: `select item, sequence, balance, grant_id from ledger.spend_batch(${ARGUMENTS})`,
    values: argumentsOf(items, now),
    rowMode: 'array',
    types: pgTypes,
  }
}

/** Spends one by one in the order given, with an outcome for each. */
export function spendRest(items: readonly SpendItem[], now: Date): QueryArrayConfig {
  return {
    name: 'ledger.spendRest',
    text: `select item, status, wallet_id, sequence, balance, available, grant_ids, grant_amounts, created_at
      from ledger.spend_rest(${ARGUMENTS})`,
    values: argumentsOf(items, now),
    rowMode: 'array',
    types: pgTypes,
  }
}

/** The outcomes of a batch, at the places of their items; `undefined` where the batch left one out. */
export function readBatch(
  rows: readonly unknown[],
  items: readonly SpendItem[],
  now: Date,
): (SpendOutcome | undefined)[] {
  const outcomes = Array.from<SpendOutcome | undefined>({ length: items.length })
  for (const row of rows) {
    const [item, sequence, balance, grant_id] = row as BatchRow
    const asked = items[item - 1]
    if (!asked) continue
    outcomes[item - 1] = {
      status: 'spent',
      wallet_id: asked.wallet_id,
      sequence,
      balance,
      grant_ids: [grant_id],
      grant_amounts: [asked.amount],
      created_at: now,
    }
  }
  return outcomes
}

/** The outcomes of {@link spendRest}, one for each item. */
export function readRest(rows: readonly unknown[]): SpendOutcome[] {
  return rows.map((row) => {
    const [, status, wallet_id, sequence, balance, available, grant_ids, grant_amounts, created_at] =
      row as RestRow
    if (status === 'insufficient') return { status, available }
    if (status === 'key_reused' || status === 'unknown_wallet') return { status }
    return { status, wallet_id, sequence, balance, grant_ids, grant_amounts, created_at }
  })
}

// Array literals are written here: the driver's own serializer costs about a tenth of the whole spend.
function argumentsOf(items: readonly SpendItem[], now: Date): unknown[] {
  return [
    `{${items.map((item) => item.wallet_id).join(',')}}`,
    `{${items.map((item) => item.amount).join(',')}}`,
    Buffer.concat(items.map((item) => item.key_digest)),
    Buffer.concat(items.map((item) => item.input_digest)),
    textArray(items.map((item) => item.actor_id)),
    textArray(items.map((item) => item.reason)),
    textArray(items.map((item) => item.reference)),
    textArray(items.map((item) => item.metadata)),
    now.toISOString(),
  ]
}

/** A text[] literal. An array of nothing but nulls is sent empty: unnest fills it up with nulls. */
export function textArray(texts: readonly (string | null)[]): string {
  if (texts.every((text) => text === null)) return '{}'
  return `{${texts.map((text) => (text === null ? 'NULL' : quote(text))).join(',')}}`
}

function quote(text: string): string {
  return /["\\]/.test(text) ? `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"` : `"${text}"`
}
