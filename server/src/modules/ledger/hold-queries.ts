import type { Sql, Tx } from '#kernel/db'
import type { HoldStatus } from './hold-status.ts'

export interface HoldRow {
  id: string
  wallet_id: bigint
  amount: bigint
  captured: bigint
  status: HoldStatus
  is_late: boolean
  placed_sequence: bigint
  closed_wallet_id: bigint | null
  closed_sequence: bigint | null
  grant_ids: bigint[]
  grant_amounts: bigint[]
  reason: string | null
  reference: string | null
  metadata: unknown
  expires_at: Date
  created_at: Date
  closed_at: Date | null
}

const columns = [
  'id',
  'wallet_id',
  'amount',
  'captured',
  'status',
  'is_late',
  'placed_sequence',
  'closed_wallet_id',
  'closed_sequence',
  'grant_ids',
  'grant_amounts',
  'reason',
  'reference',
  'metadata',
  'expires_at',
  'created_at',
  'closed_at',
] as const

export function findHold(sql: Sql, id: string): Promise<HoldRow | undefined> {
  return sql.selectFrom('ledger.holds').select(columns).where('id', '=', id).executeTakeFirst()
}

/** Placed holds whose time is over, the longest first. */
export function findDueHolds(
  sql: Sql,
  now: Date,
  limit: number,
): Promise<{ id: string; wallet_id: bigint }[]> {
  return sql
    .selectFrom('ledger.holds')
    .select(['id', 'wallet_id'])
    .where('status', '=', 'placed')
    .where('expires_at', '<=', now)
    .orderBy('expires_at')
    .limit(limit)
    .execute()
}

export async function insertHold(
  tx: Tx,
  hold: Omit<
    HoldRow,
    'status' | 'captured' | 'is_late' | 'closed_wallet_id' | 'closed_sequence' | 'closed_at' | 'metadata'
  > & {
    metadata: object | null
  },
): Promise<void> {
  await tx
    .insertInto('ledger.holds')
    .values({
      ...hold,
      metadata: hold.metadata === null ? null : JSON.stringify(hold.metadata),
      status: 'placed',
    })
    .execute()
}

/**
 * Ends a hold that is in one of the states `from`; answers it as it is then, or undefined when it is in
 * none.
 */
export function closeHold(
  tx: Tx,
  id: string,
  from: readonly HoldStatus[],
  facts: {
    status: HoldStatus
    captured?: bigint
    is_late?: boolean
    closed_wallet_id: bigint
    closed_sequence: bigint
    closed_at: Date
  },
): Promise<HoldRow | undefined> {
  return tx
    .updateTable('ledger.holds')
    .set(facts)
    .where('id', '=', id)
    .where('status', 'in', from)
    .returning(columns)
    .executeTakeFirst()
}
