import type { VendorPayment } from '@kopilka/extension'
import type { Sql, Tx } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { paymentMethodSaved } from './events.ts'
import type { PaymentsKit } from './kit.ts'
import type { PaymentRow } from './payment-queries.ts'
import * as queries from './saved-method-queries.ts'

export type { SavedMethodRow } from './saved-method-queries.ts'

/**
 * Keeps the payment methods of buyers who agreed to it and whose payment succeeded; the same method again
 * only refreshes what is shown. Without the buyer's consent nothing is kept, whatever the vendor offers.
 */
export async function saveMethods(
  tx: Tx,
  kit: PaymentsKit,
  changes: readonly { payment: PaymentRow; word: VendorPayment }[],
): Promise<void> {
  for (const { payment, word } of changes) {
    if (payment.status !== 'succeeded' || !payment.has_save_consent || word.saved_method === undefined)
      continue
    const now = kit.clock.now()
    const saved = await queries.upsertMethod(tx, {
      id: newId('pm', now.getTime()),
      customer_id: payment.customer_id,
      gateway: payment.gateway,
      external_id: word.saved_method.external_id,
      customer_external_id: word.saved_method.customer_external_id ?? null,
      kind: word.saved_method.kind,
      title: word.saved_method.title.slice(0, 100),
      is_test: payment.is_test,
      consented_at: payment.created_at,
      expires_at: word.saved_method.expires_at ?? null,
      created_at: now,
    })
    await kit.events.publish(tx, paymentMethodSaved, {
      saved_method_id: saved.id,
      customer_id: payment.customer_id,
      gateway: payment.gateway,
    })
  }
}

/** A customer's kept methods, newest first; removed ones are not shown. At most 50. */
export function listSavedMethods(sql: Sql, customer_id: string): Promise<queries.SavedMethodRow[]> {
  return queries.methodsOfCustomer(sql, customer_id)
}

/** Throws {@link NotFound} when it is not there, was removed, or is another customer's. */
export async function getSavedMethod(
  sql: Sql,
  customer_id: string,
  id: string,
): Promise<queries.SavedMethodRow> {
  const method = await queries.findMethod(sql, id)
  if (!method || method.customer_id !== customer_id || method.removed_at !== null) {
    throw new NotFound(`There is no saved payment method ${id}.`)
  }
  return method
}

/** Forgets a method: it is never charged again. Twice is once. Throws {@link NotFound}. */
export async function removeSavedMethod(tx: Tx, customer_id: string, id: string, now: Date): Promise<void> {
  await getSavedMethod(tx, customer_id, id)
  await queries.markRemoved(tx, id, now)
}
