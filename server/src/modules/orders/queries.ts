import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

export type OrderStatus = 'open' | 'fulfilled' | 'canceled' | 'expired'
export type OrderRow = Omit<Selectable<Database['orders.orders']>, 'status'> & { status: OrderStatus }

/** What a line grants when it is paid, frozen from the product's version at the time of the order. */
export interface LineGrant {
  unit: string
  /** For one piece; the grant is this times the quantity. */
  amount: number
  validity_days: number | null
  priority: number
  source: 'purchase' | 'bonus'
  is_paid: boolean
}

export type LineRow = Omit<Selectable<Database['orders.lines']>, 'grants'> & { grants: LineGrant[] }

export async function insertOrder(
  tx: Tx,
  order: Pick<
    OrderRow,
    | 'id'
    | 'customer_id'
    | 'total'
    | 'currency'
    | 'gateway'
    | 'payment_id'
    | 'return_url'
    | 'receipt_contact'
    | 'locale'
    | 'metadata'
    | 'expires_at'
    | 'created_at'
  >,
  lines: readonly LineRow[],
): Promise<void> {
  await tx
    .insertInto('orders.orders')
    .values({
      ...order,
      receipt_contact:
        order.receipt_contact === null ? null : raw`${JSON.stringify(order.receipt_contact)}::jsonb`,
      metadata: raw`${JSON.stringify(order.metadata)}::jsonb`,
      status: 'open',
      updated_at: order.created_at,
    })
    .execute()
  await tx
    .insertInto('orders.lines')
    .values(lines.map((line) => ({ ...line, grants: raw`${JSON.stringify(line.grants)}::jsonb` })))
    .execute()
}

export async function findOrder(sql: Sql, id: string): Promise<OrderRow | undefined> {
  const row = await sql.selectFrom('orders.orders').selectAll().where('id', '=', id).executeTakeFirst()
  return row
}

export async function findOrders(sql: Sql, ids: readonly string[]): Promise<OrderRow[]> {
  const rows = await sql
    .selectFrom('orders.orders')
    .selectAll()
    .where('id', '=', raw<string>`any(${[...ids]}::text[])`)
    .execute()
  return rows
}

export async function linesOfOrders(sql: Sql, order_ids: readonly string[]): Promise<LineRow[]> {
  if (order_ids.length === 0) return []
  const rows = await sql
    .selectFrom('orders.lines')
    .selectAll()
    .where('order_id', '=', raw<string>`any(${[...order_ids]}::text[])`)
    .orderBy('order_id')
    .orderBy('position')
    .execute()
  return rows as unknown as LineRow[]
}

/** Locks in id order, so that two batches never wait for each other in a circle. */
export async function lockOrders(tx: Tx, ids: readonly string[]): Promise<OrderRow[]> {
  if (ids.length === 0) return []
  const rows = await tx
    .selectFrom('orders.orders')
    .selectAll()
    .where('id', '=', raw<string>`any(${[...ids]}::text[])`)
    .orderBy('id')
    .forNoKeyUpdate()
    .execute()
  return rows
}

/**
 * Marks orders as fulfilled by their payments; the fulfilment rows refuse a second time by themselves. A
 * repeat leaves the order as its first payment made it.
 */
export async function markFulfilled(
  tx: Tx,
  fulfilled: readonly { order_id: string; payment_id: string; is_repeat: boolean }[],
  fulfilled_at: Date,
): Promise<void> {
  if (fulfilled.length === 0) return
  const order_ids = fulfilled.map((row) => row.order_id)
  const payment_ids = fulfilled.map((row) => row.payment_id)
  const are_repeats = fulfilled.map((row) => row.is_repeat)
  await raw`
    with rows as (select * from unnest(${order_ids}::text[], ${payment_ids}::text[], ${are_repeats}::bool[])
                    u(order_id, payment_id, is_repeat)),
    done as (insert into orders.fulfilments (order_id, payment_id, is_repeat, created_at)
             select order_id, payment_id, is_repeat, ${fulfilled_at} from rows)
    update orders.orders o
       set status = 'fulfilled', payment_id = rows.payment_id, fulfilled_at = ${fulfilled_at},
           updated_at = ${fulfilled_at}
      from rows
     where o.id = rows.order_id and not rows.is_repeat and o.status = any('{open,expired}')`.execute(tx)
}

/** The fulfilment a payment brought about; none when it was set aside. */
export async function findFulfilment(
  sql: Sql,
  payment_id: string,
): Promise<{ order_id: string; is_repeat: boolean } | undefined> {
  return sql
    .selectFrom('orders.fulfilments')
    .select(['order_id', 'is_repeat'])
    .where('payment_id', '=', payment_id)
    .executeTakeFirst()
}

/** The latest attempt to collect an order. The caller holds its row. */
export async function setPayment(
  tx: Tx,
  id: string,
  change: { payment_id: string; gateway: string; updated_at: Date },
): Promise<void> {
  await tx.updateTable('orders.orders').set(change).where('id', '=', id).execute()
}

export async function setOrderStatus(
  tx: Tx,
  id: string,
  status: OrderStatus,
  updated_at: Date,
): Promise<boolean> {
  const row = await tx
    .updateTable('orders.orders')
    .set({ status, updated_at })
    .where('id', '=', id)
    .where('status', '=', 'open')
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

/** Open orders whose time is over; orders with money on the way are closed by their payment instead. */
export async function expireOrders(tx: Tx, now: Date, limit: number): Promise<number> {
  const result = await tx
    .updateTable('orders.orders')
    .set({ status: 'expired', updated_at: now })
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('orders.orders')
        .select('id')
        .where('status', '=', 'open')
        .where('expires_at', '<=', now)
        .orderBy('expires_at')
        .limit(limit)
        .forUpdate()
        .skipLocked(),
    )
    .executeTakeFirst()
  return Number(result.numUpdatedRows)
}

export async function listOrders(
  sql: Sql,
  filter: { customer_id?: string | undefined; status?: OrderStatus | undefined },
  page: { limit: number; after?: { created_at: Date; id: string } | undefined },
): Promise<OrderRow[]> {
  let query = sql.selectFrom('orders.orders').selectAll()
  if (filter.customer_id !== undefined) query = query.where('customer_id', '=', filter.customer_id)
  if (filter.status !== undefined) query = query.where('status', '=', filter.status)
  if (page.after) {
    const { created_at, id } = page.after
    query = query.where((eb) => eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(created_at, id)))
  }
  const rows = await query
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
  return rows
}

export async function namesOfLines(sql: Sql, ids: readonly string[]): Promise<Map<string, string>> {
  if (ids.length === 0) return new Map()
  const rows = await sql
    .selectFrom('orders.lines')
    .select(['id', 'name'])
    .where('id', '=', raw<string>`any(${[...ids]}::text[])`)
    .execute()
  return new Map(rows.map((row) => [row.id, row.name]))
}
