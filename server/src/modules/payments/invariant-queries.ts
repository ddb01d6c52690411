import { sql as raw } from 'kysely'
import type { Sql } from '#kernel/db'

/** Runs a query whose rows are sentences about what is wrong. */
async function sentences(sql: Sql, query: ReturnType<typeof raw<{ detail: string }>>): Promise<string[]> {
  const { rows } = await query.execute(sql)
  return rows.map((row) => row.detail)
}

/** Refunds that wait or are unknown count: they may have happened. */
export function refundsOverCaptured(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('payment %s captured %s and has refunds of %s', p.id, p.captured_amount, sum(r.amount)) as
      detail
      from payments.payments p join payments.refunds r on r.payment_id = p.id and r.status <> 'failed'
     group by p.id having sum(r.amount) > p.captured_amount limit ${limit}`,
  )
}

export function refundedAmountDiffers(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('payment %s says %s was refunded, its refunds say %s', p.id, p.refunded_amount,
      coalesce(sum(r.amount), 0)) as detail
      from payments.payments p left join payments.refunds r on r.payment_id = p.id and r.status = 'succeeded'
     group by p.id having p.refunded_amount <> coalesce(sum(r.amount), 0) limit ${limit}`,
  )
}

export function statusAgainstAmounts(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('payment %s is %s with %s captured and %s refunded', id, status, captured_amount,
      refunded_amount) as detail
      from payments.payments
     where (status = 'succeeded' and (captured_amount = 0 or refunded_amount <> 0))
        or (status = 'partially_refunded' and (refunded_amount = 0 or refunded_amount >= captured_amount))
        or (status = 'refunded' and refunded_amount <> captured_amount)
        or (status in ('pending', 'requires_action', 'authorized', 'unknown', 'failed', 'canceled', 'expired')
            and captured_amount <> 0)
     limit ${limit}`,
  )
}

export function unfinishedWithoutCheck(sql: Sql, limit: number, now: Date): Promise<string[]> {
  const too_old = new Date(now.getTime() - 8 * 86_400_000)
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('payment %s is %s and nobody asks about it', id, status) as detail
      from payments.payments
     where status in ('pending', 'requires_action', 'authorized', 'unknown') and next_check_at is null
       and created_at > ${too_old}
    union all
    select format('refund %s is %s and nobody asks about it', id, status)
      from payments.refunds where status in ('pending', 'unknown') and next_check_at is null
     limit ${limit}`,
  )
}

/** Five minutes: by then every vendor that answers has been asked several times. */
export function inboxTooOld(sql: Sql, limit: number, now: Date): Promise<string[]> {
  const too_old = new Date(now.getTime() - 5 * 60_000)
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('notification %s of %s waits since %s: %s', id, gateway, received_at, coalesce(error,
      'not tried')) as detail
      from payments.inbox
     where status in ('received', 'handling') and coalesce(opened_at, received_at) < ${too_old}
     limit ${limit}`,
  )
}

export function inboxFailed(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('notification %s of %s could not be handled: %s', id, gateway, error) as detail
      from payments.inbox where status = 'failed' limit ${limit}`,
  )
}
