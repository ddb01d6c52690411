import type { Clock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { forgetBuyers } from './personal-data-queries.ts'

/** Forgets contacts and the caller's own facts on all orders of these customers. Repeatable. */
export async function forgetOrders(tx: Tx, clock: Clock, customer_ids: readonly string[]): Promise<void> {
  await forgetBuyers(tx, customer_ids, clock.now())
}
