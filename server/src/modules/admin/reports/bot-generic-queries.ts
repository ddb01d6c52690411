import { sql as raw } from 'kysely'
import type { Sql } from '#kernel/db'

/** How many people there are, and how many of them came or were there lately. */
export interface PeopleFigures {
  total: bigint
  disabled: bigint
  new_in_a_day: bigint
  new_in_a_month: bigint
  active_in_a_day: bigint
  active_in_a_month: bigint
  staff: bigint
  organizations: bigint
}

const DAY_MS = 86_400_000

/** People without those merged away or erased. Active is who has a session that was used. */
export async function peopleFigures(sql: Sql, now: Date): Promise<PeopleFigures> {
  const [day, month] = [1, 30].map((days) => new Date(now.getTime() - days * DAY_MS))
  const { rows } = await raw<PeopleFigures>`
    select count(*) as total,
      count(*) filter (where is_disabled) as disabled,
      count(*) filter (where created_at > ${day}) as new_in_a_day,
      count(*) filter (where created_at > ${month}) as new_in_a_month,
      (select count(distinct user_id) from identity.sessions
        where last_used_at > ${day} and impersonator_id is null) as active_in_a_day,
      (select count(distinct user_id) from identity.sessions
        where last_used_at > ${month} and impersonator_id is null) as active_in_a_month,
      (select count(*) from identity.staff) as staff,
      (select count(*) from customers.organizations where closed_at is null) as organizations
      from identity.users where merged_into is null and erased_at is null`.execute(sql)
  const [figures] = rows
  if (figures === undefined) throw new Error('a count has one row')
  return figures
}

/** What was sold in one currency, net of what was given back. */
export interface SaleFigures {
  currency: string
  payments: bigint
  revenue: bigint
  revenue_in_a_month: bigint
}

/** By currency, as the payments say. */
export async function saleFigures(sql: Sql, now: Date): Promise<SaleFigures[]> {
  const month = new Date(now.getTime() - 30 * DAY_MS)
  const { rows } = await raw<SaleFigures>`
    select currency, count(*) as payments,
      sum(captured_amount - refunded_amount)::bigint as revenue,
      coalesce(sum(captured_amount - refunded_amount) filter (where created_at > ${month}), 0)::bigint
        as revenue_in_a_month
      from payments.payments
     where status in ('succeeded', 'partially_refunded', 'refunded')
     group by currency order by currency`.execute(sql)
  return rows
}

/** What customers still have of one unit. */
export interface UnitFigures {
  unit: string
  wallets: bigint
  outstanding: bigint
}

/** By unit, wallets with something in them. */
export async function unitFigures(sql: Sql): Promise<UnitFigures[]> {
  const { rows } = await raw<UnitFigures>`
    select unit, count(*) as wallets, sum(balance)::bigint as outstanding
      from ledger.wallets where balance > 0 group by unit order by unit`.execute(sql)
  return rows
}
