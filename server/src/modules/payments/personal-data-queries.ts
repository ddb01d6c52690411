import type { Tx } from '#kernel/db'

/** Empties what payments know of their payers; amounts, states and the vendors' ids stay. */
export async function forgetPayers(tx: Tx, customer_ids: readonly string[], now: Date): Promise<void> {
  await tx
    .updateTable('payments.payments')
    .set({ email: null, telegram_id: null, receipt: null, updated_at: now })
    .where('customer_id', 'in', [...customer_ids])
    .execute()
  await tx
    .updateTable('payments.saved_methods')
    .set((eb) => ({ title: '', removed_at: eb.fn.coalesce('removed_at', eb.val(now)) }))
    .where('customer_id', 'in', [...customer_ids])
    .execute()
  await tx
    .updateTable('payments.vendor_subscriptions')
    .set({ facts: '{}', updated_at: now })
    .where('customer_id', 'in', [...customer_ids])
    .execute()
}
