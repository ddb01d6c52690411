import type { Tx } from '#kernel/db'

/** Empties what orders know of their buyers; what was bought for how much stays. */
export async function forgetBuyers(tx: Tx, customer_ids: readonly string[], now: Date): Promise<void> {
  await tx
    .updateTable('orders.orders')
    .set({ receipt_contact: null, metadata: '{}', updated_at: now })
    .where('customer_id', 'in', [...customer_ids])
    .execute()
}
