import { sql as raw } from 'kysely'
import type { Sql } from '#kernel/db'

async function sentences(sql: Sql, query: ReturnType<typeof raw<{ detail: string }>>): Promise<string[]> {
  const { rows } = await query.execute(sql)
  return rows.map((row) => row.detail)
}

/** A failed receipt counts as none; that there are not two is the database's own guarantee. */
export function paymentsWithoutReceipt(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('payment %s of %s has no receipt that stands (%s)', p.id, p.gateway,
                  coalesce(r.status || coalesce(': ' || r.failure_reason, ''), 'none')) as detail
      from payments.payments p
      left join payments.receipts r on r.payment_id = p.id and r.purpose in ('full', 'prepayment')
     where p.is_fiscal and p.status in ('succeeded', 'partially_refunded', 'refunded')
       and (r.id is null or r.status = 'failed' or r.amount <> p.captured_amount)
     limit ${limit}`,
  )
}

export function refundsWithoutReceipt(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('refund %s of payment %s has no receipt that stands (%s)', f.id, p.id,
                  coalesce(r.status || coalesce(': ' || r.failure_reason, ''), 'none')) as detail
      from payments.refunds f join payments.payments p on p.id = f.payment_id and p.is_fiscal
      left join payments.receipts r on r.refund_id = f.id
     where f.status = 'succeeded' and (r.id is null or r.status = 'failed' or r.amount <> f.amount)
     limit ${limit}`,
  )
}

/** What was paid ahead is given, or given back, once: never both. */
export function offsetsOverPrepayments(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('offset %s of %s is more than what is left of the prepayment %s', o.id, o.amount,
                  coalesce(f.id, 'none')) as detail
      from payments.receipts o
      left join payments.receipts f on f.payment_id = o.payment_id and f.purpose = 'prepayment'
     where o.purpose = 'offset'
       and o.amount > coalesce(f.amount, 0) - coalesce((
             select sum(b.amount) from payments.receipts b
              where b.payment_id = o.payment_id and b.purpose = 'refund'
                and exists (select 1 from jsonb_array_elements(b.items) i
                             where i ->> 'payment_mode' = 'full_prepayment')), 0)
     limit ${limit}`,
  )
}

/** Quantities have at most three decimals, so a line is a whole number of thousandths. */
export function receiptsThatDoNotAddUp(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('the lines of receipt %s do not add up to %s', r.id, r.amount) as detail
      from payments.receipts r
     where r.amount <> (select sum((i ->> 'unit_amount')::numeric * (i ->> 'quantity')::numeric)
                          from jsonb_array_elements(r.items) i)
     limit ${limit}`,
  )
}

export function receiptsNobodySends(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('receipt %s is %s and nobody sends it', id, status) as detail
      from payments.receipts where status in ('pending', 'unknown') and next_attempt_at is null
     limit ${limit}`,
  )
}
