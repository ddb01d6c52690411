import { sql as raw } from 'kysely'
import type { Tx } from '#kernel/db'

/** Empties what payments know of their payers; amounts, states and the vendors' ids stay. */
export async function forgetPayers(tx: Tx, customer_ids: readonly string[], now: Date): Promise<void> {
  await tx
    .updateTable('payments.payments')
    .set({
      email: null,
      telegram_id: null,
      // A method the vendor tells of only now is not kept for somebody who is gone.
      has_save_consent: false,
      receipt: raw`receipt - 'contact'`,
      updated_at: now,
    })
    .where('customer_id', 'in', [...customer_ids])
    .execute()
  await tx
    .updateTable('payments.refunds')
    .set({ receipt: raw`receipt - 'contact'`, updated_at: now })
    .where('receipt', 'is not', null)
    .where('payment_id', 'in', (eb) =>
      eb
        .selectFrom('payments.payments')
        .select('id')
        .where('customer_id', 'in', [...customer_ids]),
    )
    .execute()
  await tx
    .updateTable('payments.receipts')
    .set({ contact: null, updated_at: now })
    .where('customer_id', 'in', [...customer_ids])
    .execute()
  await tx
    .updateTable('payments.saved_methods')
    .set((eb) => ({
      title: '',
      consent_text: null,
      removed_at: eb.fn.coalesce('removed_at', eb.val(now)),
      // What no vendor was asked to forget yet is asked for now.
      next_forget_at: eb
        .case()
        .when('removed_at', 'is', null)
        .then(eb.val(now))
        .else(eb.ref('next_forget_at'))
        .end(),
    }))
    .where('customer_id', 'in', [...customer_ids])
    .execute()
  await tx
    .updateTable('payments.vendor_subscriptions')
    .set({ facts: '{}', updated_at: now })
    .where('customer_id', 'in', [...customer_ids])
    .execute()
}
