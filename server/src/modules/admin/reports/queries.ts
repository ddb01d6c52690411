import { sql as raw } from 'kysely'
import type { Sql } from '#kernel/db'

/** The one place that reads across modules; it only reads. */

async function sentences(sql: Sql, query: ReturnType<typeof raw<{ detail: string }>>): Promise<string[]> {
  const { rows } = await query.execute(sql)
  return rows.map((row) => row.detail)
}

/** Money that was taken for an order and granted nothing: the worst there is, together with its opposite. */
export function succeededWithoutFulfilment(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('payment %s of order %s is %s and was not fulfilled', p.id, p.order_id, p.status) as detail
      from payments.payments p
      join orders.orders o on o.id = p.order_id
     where p.status in ('succeeded', 'partially_refunded', 'refunded')
       and not exists (select 1 from orders.fulfilments f where f.payment_id = p.id and f.order_id =
         p.order_id)
     limit ${limit}`,
  )
}

export function fulfilmentWithoutPayment(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('order %s was fulfilled by payment %s, which is %s', f.order_id, f.payment_id,
      coalesce(p.status, 'absent')) as detail
      from orders.fulfilments f
      left join payments.payments p on p.id = f.payment_id and p.order_id = f.order_id
     where p.id is null or p.status not in ('succeeded', 'partially_refunded', 'refunded')
     limit ${limit}`,
  )
}

export function orderStatusAgainstFulfilment(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('order %s is %s and %s', o.id, o.status,
             case when f.order_id is null then 'has no fulfilment' else 'was fulfilled' end) as detail
      from orders.orders o left join orders.fulfilments f on f.order_id = o.id
     where (o.status = 'fulfilled') <> (f.order_id is not null)
     limit ${limit}`,
  )
}

export function orderTotalAgainstLines(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('order %s totals %s, its lines %s', o.id, o.total, coalesce(sum(l.amount), 0)) as detail
      from orders.orders o left join orders.lines l on l.order_id = o.id
     group by o.id having o.total <> coalesce(sum(l.amount), 0) limit ${limit}`,
  )
}

export function paymentAgainstOrder(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('payment %s asks %s %s for order %s of %s %s', p.id, p.amount, p.currency, o.id, o.total,
      o.currency) as detail
      from payments.payments p join orders.orders o on o.id = p.order_id
     where p.amount <> o.total or p.currency <> o.currency or p.customer_id <> o.customer_id
     limit ${limit}`,
  )
}

/** Units of source purchase or bonus that no fulfilled order's line explains. */
export function purchaseGrantWithoutFulfilment(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('grant %s in wallet %s has source %s %s and no fulfilled order', g.id, g.wallet_id,
      g.source, g.source_id) as detail
      from ledger.grants g
      left join orders.lines l on l.id = split_part(g.source_id, ':', 1)
      left join orders.fulfilments f on f.order_id = l.order_id
       and (split_part(g.source_id, ':', 3) = '' or f.payment_id = split_part(g.source_id, ':', 3))
     where g.source in ('purchase', 'bonus') and f.order_id is null and g.source_id like 'line\\_%'
     limit ${limit}`,
  )
}

/** Lines of fulfilled orders whose units are not in the ledger. */
export function fulfilledLineWithoutGrant(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('line %s of fulfilled order %s granted %s of %s grants by payment %s', l.id, l.order_id,
      count(g.id),
      jsonb_array_length(l.grants), f.payment_id) as detail
      from orders.fulfilments f
      join payments.payments p on p.id = f.payment_id and p.captured_amount = p.amount
      join orders.lines l on l.order_id = f.order_id
      cross join lateral generate_series(0, jsonb_array_length(l.grants) - 1) n
      left join ledger.grants g
        on g.source_id = l.id || ':' || n || case when f.is_repeat then ':' || f.payment_id else '' end
     group by l.id, f.payment_id having count(g.id) <> jsonb_array_length(l.grants)
     limit ${limit}`,
  )
}

/** Every table that holds money or units, for showing that a refused request changed none of them. */
export async function moneyTablesDigest(sql: Sql): Promise<string> {
  const { rows } = await raw<{ digest: string }>`
    select md5(string_agg(part, '|' order by part)) as digest from (
      select 'wallets:' || coalesce(md5(string_agg(w::text, '' order by w.id)), '') as part from
        ledger.wallets w
      union all select 'grants:' || coalesce(md5(string_agg(g::text, '' order by g.wallet_id, g.id)), '')
        from ledger.grants g
      union all select 'transfers:' || coalesce(md5(string_agg(t::text, '' order by t.wallet_id,
        t.sequence)), '') from ledger.transfers t
      union all select 'holds:' || coalesce(md5(string_agg(h::text, '' order by h.id)), '') from
        ledger.holds h
      union all select 'payments:' || coalesce(md5(string_agg((p.id, p.status, p.captured_amount,
        p.refunded_amount)::text, '' order by p.id)), '') from payments.payments p
      union all select 'refunds:' || coalesce(md5(string_agg(r::text, '' order by r.id)), '') from
        payments.refunds r
      union all select 'fulfilments:' || coalesce(md5(string_agg(f::text, '' order by f.payment_id)), '') from
        orders.fulfilments f
    ) parts`.execute(sql)
  return rows[0]?.digest ?? ''
}
