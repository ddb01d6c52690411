import type { Tx } from '#kernel/db'
import { assert } from '#kernel/errors'
import { shareRoundedDown, splitByWeights } from '#kernel/money'
import { grantMany, type NewGrant } from '#modules/ledger'
import { setMismatch, type PaymentPayload } from '#modules/payments'
import type { OrdersKit } from './orders.ts'
import * as queries from './queries.ts'
import type { LineGrant, LineRow, OrderRow } from './queries.ts'

const DAY_MS = 86_400_000

/**
 * Gives what was paid for: reaction to `payment.succeeded`, within its transaction. One order is fulfilled
 * once, by one payment; a second payment of the same order, or of one that was canceled, is set aside for a
 * person and grants nothing. Set-based: a burst of payments is one set of grants.
 */
export async function fulfilOrders(
  tx: Tx,
  kit: OrdersKit,
  payments: readonly PaymentPayload[],
): Promise<void> {
  const order_ids = [...new Set(payments.map((payment) => payment.order_id))].toSorted()
  const orders = new Map((await queries.lockOrders(tx, order_ids)).map((order) => [order.id, order]))
  const fulfilled = new Map<string, PaymentPayload>()
  for (const payment of payments) {
    const order = orders.get(payment.order_id)
    // A payment may be for something else than an order of ours; whoever made it reacts to it.
    if (!order) continue
    const reason =
      order.status === 'canceled'
        ? 'order_canceled'
        : order.status === 'fulfilled' || fulfilled.has(order.id)
          ? 'order_already_paid'
          : undefined
    if (reason === undefined) fulfilled.set(order.id, payment)
    else await setMismatch(tx, kit.payments, payment.payment_id, reason)
  }
  if (fulfilled.size === 0) return
  const now = kit.clock.now()
  const lines = await queries.linesOfOrders(tx, [...fulfilled.keys()])
  const grants = lines.flatMap((line) => {
    const order = orders.get(line.order_id)
    const payment = fulfilled.get(line.order_id)
    assert(order && payment, 'a line without its order was fulfilled')
    return grantsOfLine(order, line, payment, now)
  })
  await grantMany(tx, kit.clock, grants)
  const done = [...fulfilled].map(([order_id, { payment_id }]) => ({ order_id, payment_id }))
  await queries.markFulfilled(tx, done, now)
}

/** Name of a grant in the ledger: the order's line and the position in what it grants. */
export function grantSourceId(line_id: string, position: number): string {
  return `${line_id}:${position}`
}

/**
 * The grants of one paid line. The line's price is shared by its paid grants; a bonus hangs on the first of
 * them and shares its fate. A two-stage payment that took less than the total grants that share, rounded
 * down. Pure.
 */
export function grantsOfLine(order: OrderRow, line: LineRow, payment: PaymentPayload, now: Date): NewGrant[] {
  const paid = BigInt(payment.amount)
  const line_price = paid === order.total ? line.amount : shareRoundedDown(line.amount, paid, order.total)
  const prices = splitByWeights(
    line_price,
    line.grants.map((grant) => (grant.is_paid ? 1n : 0n)),
  )
  const parent = line.grants.findIndex((grant) => grant.is_paid)
  return line.grants.flatMap((grant, position) => {
    const whole = BigInt(grant.amount) * line.quantity
    const amount = paid === order.total ? whole : shareRoundedDown(whole, paid, order.total)
    if (amount === 0n) return []
    return [
      {
        customer_id: order.customer_id,
        unit: grant.unit,
        amount,
        priority: grant.priority,
        source: grant.source,
        source_id: grantSourceId(line.id, position),
        is_paid: grant.is_paid,
        expires_at: expiryOf(grant, now),
        reason: grant.source,
        reference: payment.payment_id,
        actor_id: `gateway:${payment.gateway}`,
        ...(grant.is_paid ? { price_amount: prices[position] ?? 0n, price_currency: order.currency } : {}),
        ...(grant.source === 'bonus' && parent >= 0
          ? {
              parent: {
                source: line.grants[parent]?.source ?? 'purchase',
                source_id: grantSourceId(line.id, parent),
              },
            }
          : {}),
      },
    ]
  })
}

function expiryOf(grant: LineGrant, now: Date): Date | null {
  return grant.validity_days === null ? null : new Date(now.getTime() + grant.validity_days * DAY_MS)
}
