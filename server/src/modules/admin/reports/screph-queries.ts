import { sql as raw } from 'kysely'
import type { Sql } from '#kernel/db'

/** A user with his minutes, for the panel. */
export interface PanelUser {
  id: string
  external_id: string | null
  telegram_id: bigint | null
  email: string | null
  balance: bigint
  paid: bigint
  created_at: Date
}

/** Newest customers with the balance of one unit and what they paid in one currency. */
export async function panelUsers(
  sql: Sql,
  unit: string,
  currency: string,
  limit: number,
): Promise<PanelUser[]> {
  const { rows } = await raw<PanelUser>`
    select c.id, c.external_id, c.telegram_id, c.email, coalesce(w.balance, 0) as balance, c.created_at,
           coalesce((select sum(p.captured_amount - p.refunded_amount)::bigint from payments.payments p
                      where p.customer_id = c.id and p.currency = ${currency} and p.status in ('succeeded',
                        'partially_refunded', 'refunded')), 0) as paid
      from customers.customers c
      left join ledger.wallets w on w.customer_id = c.id and w.unit = ${unit}
     where c.merged_into is null and c.erased_at is null
     order by c.created_at desc, c.id desc limit ${limit}`.execute(sql)
  return rows
}

/** What a product sold, for the panel. */
export interface PanelPackage {
  name: string
  sold: bigint
  revenue: bigint
  currency: string
}

/** What sold best, by revenue. */
export async function panelPackages(sql: Sql, limit: number): Promise<PanelPackage[]> {
  const { rows } = await raw<PanelPackage>`
    select l.name, sum(l.quantity)::bigint as sold, sum(l.amount)::bigint as revenue, o.currency
      from orders.lines l join orders.orders o on o.id = l.order_id
     where o.status = 'fulfilled' group by l.product_id, l.name, o.currency
     order by revenue desc limit ${limit}`.execute(sql)
  return rows
}

/** One payment, for the panel. */
export interface PanelPayment {
  id: string
  customer_id: string
  gateway: string
  status: string
  amount: bigint
  refunded_amount: bigint
  currency: string
  created_at: Date
}

/** The newest payments. */
export async function panelPayments(sql: Sql, limit: number): Promise<PanelPayment[]> {
  const { rows } = await raw<PanelPayment>`
    select id, customer_id, gateway, status, amount, refunded_amount, currency, created_at
      from payments.payments order by created_at desc, id desc limit ${limit}`.execute(sql)
  return rows
}
