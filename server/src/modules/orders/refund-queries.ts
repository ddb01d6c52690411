import { sql as raw } from 'kysely'
import type { Sql, Tx } from '#kernel/db'

/** What a refund or a dispute took back of one grant. */
export interface Revocation {
  refund_id: string
  customer_id: string
  unit: string
  grant_id: string
  amount: bigint
  /** Paid units it was for and that could not be taken. */
  shortfall: bigint
  /** The money of it that this grant bears. */
  share: bigint
  /** Units it was for that another refund or dispute of the same grant stands for. */
  uncovered: bigint
}

const columns = [
  'refund_id',
  'customer_id',
  'unit',
  'grant_id',
  'amount',
  'shortfall',
  'share',
  'uncovered',
] as const

export async function insertRevocations(
  tx: Tx,
  revocations: readonly Revocation[],
  created_at: Date,
): Promise<void> {
  if (revocations.length === 0) return
  await tx
    .insertInto('orders.refund_revocations')
    .values(revocations.map((revocation) => ({ ...revocation, created_at })))
    .execute()
}

/** Takes the revocations of a refund that are to be undone, once. */
export async function takeRevocations(tx: Tx, refund_id: string, undone_at: Date): Promise<Revocation[]> {
  return tx
    .updateTable('orders.refund_revocations')
    .set({ undone_at })
    .where('refund_id', '=', refund_id)
    .where('undone_at', 'is', null)
    .returning(columns)
    .execute()
}

/** What stands against grants, oldest first. */
export async function standingRevocations(sql: Sql, grant_ids: readonly string[]): Promise<Revocation[]> {
  if (grant_ids.length === 0) return []
  return sql
    .selectFrom('orders.refund_revocations')
    .select(columns)
    .where('grant_id', '=', raw<string>`any(${[...grant_ids]}::text[])`)
    .where('undone_at', 'is', null)
    .orderBy('created_at')
    .orderBy('refund_id')
    .orderBy('grant_id')
    .execute()
}

/** Keeps what a revocation took since. The caller holds the payment's row. */
export async function setTaken(
  tx: Tx,
  { refund_id, grant_id, amount, shortfall, uncovered }: Revocation,
): Promise<void> {
  await tx
    .updateTable('orders.refund_revocations')
    .set({ amount, shortfall, uncovered })
    .where('refund_id', '=', refund_id)
    .where('grant_id', '=', grant_id)
    .execute()
}
