import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'
import { wireJson } from '#kernel/json'

export const VENDOR_SUBSCRIPTION_STATUSES = ['active', 'canceled', 'expired'] as const
export type VendorSubscriptionStatus = (typeof VENDOR_SUBSCRIPTION_STATUSES)[number]

export type VendorSubscriptionRow = Omit<Selectable<Database['payments.vendor_subscriptions']>, 'status'> & {
  status: VendorSubscriptionStatus
}

/** Inserts unless the vendor's subscription is known; waits for a rival's commit. True when it is new. */
export async function insertSubscription(tx: Tx, row: VendorSubscriptionRow): Promise<boolean> {
  const inserted = await tx
    .insertInto('payments.vendor_subscriptions')
    .values({ ...row, facts: raw`${wireJson(row.facts)}::jsonb` })
    .onConflict((conflict) => conflict.columns(['gateway', 'external_id']).doNothing())
    .returning('id')
    .executeTakeFirst()
  return inserted !== undefined
}

export async function lockSubscription(
  tx: Tx,
  key: { gateway: string; external_id: string },
): Promise<VendorSubscriptionRow | undefined> {
  return tx
    .selectFrom('payments.vendor_subscriptions')
    .selectAll()
    .where('gateway', '=', key.gateway)
    .where('external_id', '=', key.external_id)
    .forNoKeyUpdate()
    .executeTakeFirst()
}

export async function lockSubscriptionOf(
  tx: Tx,
  payment_id: string,
): Promise<VendorSubscriptionRow | undefined> {
  return tx
    .selectFrom('payments.vendor_subscriptions')
    .selectAll()
    .where('payment_id', '=', payment_id)
    .forNoKeyUpdate()
    .executeTakeFirst()
}

export async function findSubscription(
  sql: Sql,
  key: { gateway: string; external_id: string },
): Promise<VendorSubscriptionRow | undefined> {
  return sql
    .selectFrom('payments.vendor_subscriptions')
    .selectAll()
    .where('gateway', '=', key.gateway)
    .where('external_id', '=', key.external_id)
    .executeTakeFirst()
}

export async function findSubscriptionById(sql: Sql, id: string): Promise<VendorSubscriptionRow | undefined> {
  return sql.selectFrom('payments.vendor_subscriptions').selectAll().where('id', '=', id).executeTakeFirst()
}

export async function updateSubscription(tx: Tx, row: VendorSubscriptionRow): Promise<void> {
  const { id, customer_id: _owner, gateway: _gateway, external_id: _name, created_at: _at, ...columns } = row
  await tx
    .updateTable('payments.vendor_subscriptions')
    .set({ ...columns, facts: raw`${wireJson(row.facts)}::jsonb` })
    .where('id', '=', id)
    .execute()
}

export async function setSubscriptionCheck(tx: Tx, id: string, next_check_at: Date | null): Promise<void> {
  await tx.updateTable('payments.vendor_subscriptions').set({ next_check_at }).where('id', '=', id).execute()
}

/** Subscriptions of one customer become another's: two customers are one person. */
export async function moveSubscriptions(tx: Tx, from_id: string, to_id: string, now: Date): Promise<void> {
  await tx
    .updateTable('payments.vendor_subscriptions')
    .set({ customer_id: to_id, updated_at: now })
    .where('customer_id', '=', from_id)
    .execute()
}

/** Takes subscriptions whose time to be asked about has come. */
export async function claimDueSubscriptions(
  tx: Tx,
  now: Date,
  again_at: Date,
  limit: number,
): Promise<VendorSubscriptionRow[]> {
  return tx
    .updateTable('payments.vendor_subscriptions')
    .set({ next_check_at: again_at })
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('payments.vendor_subscriptions')
        .select('id')
        .where('next_check_at', '<=', now)
        .orderBy('next_check_at')
        .limit(limit)
        .forUpdate()
        .skipLocked(),
    )
    .returningAll()
    .execute()
}

export async function listSubscriptions(
  sql: Sql,
  filter: {
    customer_id?: string | undefined
    gateway?: string | undefined
    status?: VendorSubscriptionStatus | undefined
  },
  page: { limit: number; after?: { created_at: Date; id: string } | undefined },
): Promise<VendorSubscriptionRow[]> {
  let query = sql.selectFrom('payments.vendor_subscriptions').selectAll()
  if (filter.customer_id !== undefined) query = query.where('customer_id', '=', filter.customer_id)
  if (filter.gateway !== undefined) query = query.where('gateway', '=', filter.gateway)
  if (filter.status !== undefined) query = query.where('status', '=', filter.status)
  if (page.after) {
    const { created_at, id } = page.after
    query = query.where((eb) => eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(created_at, id)))
  }
  return query
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
}

/** Takes one period of a purchase for granting; false when it was taken before. Waits for a rival. */
export async function claimPeriod(
  tx: Tx,
  period: { gateway: string; external_id: string; period_id: string; created_at: Date },
): Promise<boolean> {
  const row = await tx
    .insertInto('payments.vendor_periods')
    .values(period)
    .onConflict((conflict) => conflict.columns(['gateway', 'external_id', 'period_id']).doNothing())
    .returning('period_id')
    .executeTakeFirst()
  return row !== undefined
}
