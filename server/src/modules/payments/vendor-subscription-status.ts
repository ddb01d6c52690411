import type { Sql } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import { findSubscriptionById } from './vendor-subscription-queries.ts'
import type { VendorSubscriptionRow, VendorSubscriptionStatus } from './vendor-subscription-queries.ts'

/** Whether a subscription is over is a matter of the moment: a vendor need not say so. Pure. */
export function presentStatus(row: VendorSubscriptionRow, now: Date): VendorSubscriptionStatus {
  return row.expires_at !== null && row.expires_at <= now ? 'expired' : row.status
}

/** Throws {@link NotFound}. */
export async function getVendorSubscription(sql: Sql, id: string): Promise<VendorSubscriptionRow> {
  const row = await findSubscriptionById(sql, id)
  if (!row) throw new NotFound(`There is no subscription ${id}.`)
  return row
}

/** Throws {@link NotFound} when it is not there or another customer's. */
export async function getSubscriptionOf(
  sql: Sql,
  customer_id: string,
  id: string,
): Promise<VendorSubscriptionRow> {
  const row = await findSubscriptionById(sql, id)
  if (row?.customer_id !== customer_id) throw new NotFound(`There is no subscription ${id}.`)
  return row
}
