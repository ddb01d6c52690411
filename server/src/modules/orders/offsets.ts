import type { Db, Sql } from '#kernel/db'
import { findGrantsBySource, type GrantState } from '#modules/ledger'
import { claimPrepayments, intendOffset } from '#modules/payments'
import { grantSourceId } from './fulfilment.ts'
import type { OrdersKit } from './orders.ts'
import * as queries from './queries.ts'
import type { LineRow, OrderRow } from './queries.ts'

const DAY_MS = 86_400_000
/**
 * How often a prepayment is looked at whose units are not used up. The law wants the offset at the time of
 * giving; units are given little by little, so an hour is as good as a minute and costs the ledger nothing.
 */
const LOOK_MS = 3_600_000
/** By when what was paid for counts as given whatever is left of it, unless the owner says otherwise. */
const OFFSET_DAYS = 365

/**
 * Writes the offset receipts of prepayments whose units were given since the last look: at the grant, or when
 * every paid grant of the order is used up, expired or taken back, at the latest after the owner's number of
 * days. Answers how many prepayments it looked at. The spends themselves know nothing of this.
 */
export async function settlePrepayments(db: Db, kit: OrdersKit, limit = 200): Promise<number> {
  const now = kit.clock.now()
  const due = await db.transact((tx) => claimPrepayments(tx, now, new Date(now.getTime() + LOOK_MS), limit))
  if (due.length === 0) return 0
  const order_ids = [...new Set(due.map(({ order_id }) => order_id))]
  const orders = new Map((await queries.findOrders(db, order_ids)).map((order) => [order.id, order]))
  const ended = kit.fiscal.offset === 'grant' ? undefined : await endedOrders(db, order_ids, now)
  for (const { payment_id, order_id } of due) {
    const order = orders.get(order_id)
    if (!order || !isFulfilledBy(order, payment_id)) continue
    if (ended === undefined || ended.has(order_id) || isOverdue(order, kit, now)) {
      await db.transact((tx) => intendOffset(tx, kit.payments, payment_id))
    }
  }
  return due.length
}

/** A payment that bought nothing waits for a refund: there is nothing to give against it. */
function isFulfilledBy(order: OrderRow, payment_id: string): boolean {
  return order.status === 'fulfilled' && order.payment_id === payment_id
}

function isOverdue({ fulfilled_at }: OrderRow, kit: OrdersKit, now: Date): boolean {
  const days = kit.fiscal.offset_days ?? OFFSET_DAYS
  return fulfilled_at !== null && now.getTime() - fulfilled_at.getTime() >= days * DAY_MS
}

/** Orders none of whose paid grants has anything left. */
async function endedOrders(sql: Sql, order_ids: readonly string[], now: Date): Promise<Set<string>> {
  const sources = (await queries.linesOfOrders(sql, order_ids)).flatMap(sourcesOfPaid)
  const grants = await findGrantsBySource(sql, sources)
  const by_source = new Map(grants.map((grant) => [grant.source_id, grant]))
  const open = sources.filter(({ source_id }) => isOpen(by_source.get(source_id), now))
  const open_orders = new Set(open.map(({ order_id }) => order_id))
  return new Set(order_ids.filter((id) => !open_orders.has(id)))
}

function sourcesOfPaid(line: LineRow) {
  return line.grants.flatMap((grant, position) =>
    grant.is_paid
      ? [{ source: grant.source, source_id: grantSourceId(line.id, position), order_id: line.order_id }]
      : [],
  )
}

/** What is held is not used up yet. */
function isOpen(grant: GrantState | undefined, now: Date): boolean {
  if (!grant || grant.remaining === 0n) return false
  return grant.held > 0n || grant.expires_at === null || grant.expires_at > now
}
