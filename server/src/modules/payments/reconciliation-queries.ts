import { sql as raw } from 'kysely'
import type { Sql } from '#kernel/db'
import type { OwnPayment, OwnRefund } from './reconcile.ts'

const columns = [
  'id',
  'external_id',
  'status',
  'amount',
  'captured_amount',
  'refunded_amount',
  'currency',
  'created_at',
] as const

type Dated<T> = T & { created_at: Date }

/** Payments of a gateway made in a time. */
export function paymentsOf(sql: Sql, gateway: string, from: Date, to: Date): Promise<Dated<OwnPayment>[]> {
  return sql
    .selectFrom('payments.payments')
    .select(columns)
    .where('gateway', '=', gateway)
    .where('created_at', '>=', from)
    .where('created_at', '<', to)
    .execute()
}

/** Payments by the vendor's ids, whenever they were made. */
export async function paymentsByExternalId(
  sql: Sql,
  gateway: string,
  external_ids: readonly string[],
): Promise<Dated<OwnPayment>[]> {
  if (external_ids.length === 0) return []
  return sql
    .selectFrom('payments.payments')
    .select(columns)
    .where('gateway', '=', gateway)
    .where('external_id', '=', raw<string>`any(${[...external_ids]}::text[])`)
    .execute()
}

/** When the oldest dispute at a gateway was told of whose end was not. */
export async function oldestOpenDispute(sql: Sql, gateway: string): Promise<Date | undefined> {
  const row = await sql
    .selectFrom('payments.disputes as d')
    .innerJoin('payments.payments as p', 'p.id', 'd.payment_id')
    .select('d.created_at')
    .where('p.gateway', '=', gateway)
    .where('d.status', '=', 'open')
    .orderBy('d.created_at')
    .limit(1)
    .executeTakeFirst()
  return row?.created_at
}

/** Disputes by the vendor's ids. */
export async function disputesByExternalId(
  sql: Sql,
  gateway: string,
  external_ids: readonly string[],
): Promise<{ id: string; external_id: string; status: string }[]> {
  if (external_ids.length === 0) return []
  return sql
    .selectFrom('payments.disputes as d')
    .innerJoin('payments.payments as p', 'p.id', 'd.payment_id')
    .select(['d.id', 'd.external_id', 'd.status'])
    .where('p.gateway', '=', gateway)
    .where('d.external_id', '=', raw<string>`any(${[...external_ids]}::text[])`)
    .execute()
}

/** Refunds of a gateway's payments made in a time. */
export function refundsOf(sql: Sql, gateway: string, from: Date, to: Date): Promise<Dated<OwnRefund>[]> {
  return sql
    .selectFrom('payments.refunds as r')
    .innerJoin('payments.payments as p', 'p.id', 'r.payment_id')
    .select(['r.id', 'r.external_id', 'r.status', 'r.amount', 'r.currency', 'r.created_at'])
    .where('p.gateway', '=', gateway)
    .where('r.created_at', '>=', from)
    .where('r.created_at', '<', to)
    .execute()
}
