import type { Sql, Tx } from '#kernel/db'

/** Who a merged customer is now; undefined for one that was not merged. */
export async function findSurvivor(sql: Sql, customer_id: string): Promise<string | undefined> {
  const row = await sql
    .selectFrom('ledger.merged_customers')
    .select('survivor_id')
    .where('customer_id', '=', customer_id)
    .executeTakeFirst()
  return row?.survivor_id
}

/** Remembers that a customer is another from now on, and whoever was merged into him before as well. */
export async function insertMerged(
  tx: Tx,
  merged: { customer_id: string; survivor_id: string; merged_at: Date },
): Promise<void> {
  await tx.insertInto('ledger.merged_customers').values(merged).execute()
  await tx
    .updateTable('ledger.merged_customers')
    .set({ survivor_id: merged.survivor_id })
    .where('survivor_id', '=', merged.customer_id)
    .execute()
}

/** Wallets a customer, or who was merged into him, ever had. */
export function findOwnWallets(sql: Sql, customer_id: string): Promise<{ id: bigint; unit: string }[]> {
  return sql
    .selectFrom('ledger.wallets')
    .select(['id', 'unit'])
    .where('customer_id', '=', customer_id)
    .orderBy('id')
    .execute()
}

/** Marks a wallet, and those merged into it before, as merged into another. */
export async function setMergedInto(tx: Tx, wallet_id: bigint, target_id: bigint): Promise<void> {
  await tx
    .updateTable('ledger.wallets')
    .set({ merged_into: target_id })
    .where((eb) => eb.or([eb('id', '=', wallet_id), eb('merged_into', '=', wallet_id)]))
    .execute()
  await tx.updateTable('ledger.wallets').set({ has_merged: true }).where('id', '=', target_id).execute()
}

/** Wallets that were merged into others before. */
export async function findMergedInto(sql: Sql, wallet_ids: readonly bigint[]): Promise<bigint[]> {
  if (wallet_ids.length === 0) return []
  const rows = await sql
    .selectFrom('ledger.wallets')
    .select('id')
    .where('merged_into', 'in', wallet_ids)
    .orderBy('id')
    .execute()
  return rows.map(({ id }) => id)
}
