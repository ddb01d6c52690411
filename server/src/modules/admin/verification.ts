import type { Clock } from '#kernel/clock'
import type { Db, Sql } from '#kernel/db'
import { latenessMoment } from '#kernel/test-clock'
import { identityInvariants } from '#modules/identity'
import { ledgerInvariants } from '#modules/ledger'
import { paymentInvariants } from '#modules/payments'
import * as reports from './reports/queries.ts'

export interface Finding {
  invariant: string
  /** Names the row that breaks it. */
  detail: string
}

export interface Verification {
  ok: boolean
  checked_at: Date
  findings: Finding[]
}

interface Invariant {
  name: string
  find: (sql: Sql, limit: number, now: Date) => Promise<string[]>
}

/** More of one kind tells nothing new. */
const FINDINGS_MAX = 50

/** What must be true between modules. */
const crossInvariants: readonly Invariant[] = [
  { name: 'succeeded_payment_is_fulfilled_once', find: reports.succeededWithoutFulfilment },
  { name: 'fulfilment_has_its_payment', find: reports.fulfilmentWithoutPayment },
  { name: 'order_status_fits_fulfilment', find: reports.orderStatusAgainstFulfilment },
  { name: 'order_total_adds_up', find: reports.orderTotalAgainstLines },
  { name: 'payment_asks_what_the_order_costs', find: reports.paymentAgainstOrder },
  { name: 'no_purchase_grant_without_fulfilment', find: reports.purchaseGrantWithoutFulfilment },
  { name: 'fulfilled_line_is_granted', find: reports.fulfilledLineWithoutGrant },
]

/** Every invariant there is, by name. */
export function allInvariants(): Invariant[] {
  return [...identityInvariants, ...ledgerInvariants, ...paymentInvariants, ...crossInvariants]
}

/**
 * Runs every invariant as a query in one snapshot of the books; each finding names the row that breaks it.
 * Reads only, takes no locks that hold up a spend.
 */
export async function verifyBooks(db: Db, clock: Clock): Promise<Verification> {
  const checked_at = clock.now()
  const findings = await db.transact(
    async (tx) => {
      const found: Finding[] = []
      const moment = await latenessMoment(tx, checked_at)
      for (const { name, find } of allInvariants()) {
        for (const detail of await find(tx, FINDINGS_MAX, moment)) found.push({ invariant: name, detail })
      }
      return found
    },
    { isolation: 'repeatable read', read_only: true },
  )
  return { ok: findings.length === 0, checked_at, findings }
}
