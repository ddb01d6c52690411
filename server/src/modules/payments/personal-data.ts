import type { Clock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { forgetPayers } from './personal-data-queries.ts'

/** Forgets contacts and kept methods of these customers; what was bought stays on
 * the receipts, and those to come are a person's to make. Repeatable. */
export async function forgetPayments(tx: Tx, clock: Clock, customer_ids: readonly string[]): Promise<void> {
  await forgetPayers(tx, customer_ids, clock.now())
}
