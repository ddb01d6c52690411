import type { Tx } from '#kernel/db'
import { shareRoundedDown, splitByWeights } from '#kernel/money'
import { grantMany, type NewGrant } from '#modules/ledger'
import { intendWholeRefund, setMismatch, type PaymentPayload } from '#modules/payments'
import type { OrdersKit, PaidAgainPolicy } from './orders.ts'
import * as queries from './queries.ts'
import type { LineGrant, LineRow, OrderRow } from './queries.ts'

const DAY_MS = 86_400_000

/**
 * Gives what was paid for: reaction to `payment.succeeded`, within its transaction. One order is fulfilled
 * once, by one payment, and once more by each renewal of the vendor's subscription that pays for it. A link
 * that was paid again goes by the owner's policy; every other second payment, and one of an order that was
 * canceled, is set aside for a person and grants nothing. Set-based: a burst of payments is one set of
 * grants.
 */
export async function fulfilOrders(
  tx: Tx,
  kit: OrdersKit,
  payments: readonly PaymentPayload[],
): Promise<void> {
  const order_ids = [...new Set(payments.map((payment) => payment.order_id))].toSorted()
  const orders = new Map((await queries.lockOrders(tx, order_ids)).map((order) => [order.id, order]))
  const fulfilled = new Set<string>()
  const fulfilments: Fulfilment[] = []
  for (const payment of payments) {
    const order = orders.get(payment.order_id)
    // A payment may be for something else than an order of ours; whoever made it reacts to it.
    if (!order) continue
    const is_repeat = order.status === 'fulfilled' || fulfilled.has(order.id)
    const reason = reasonAgainst(order, { ...payment, is_repeat }, kit.paid_again)
    if (reason !== undefined) {
      await setAside(tx, kit, payment, reason)
      continue
    }
    fulfilled.add(order.id)
    fulfilments.push({ order, payment, is_repeat })
  }
  if (fulfilments.length === 0) return
  const now = kit.clock.now()
  const lines = await queries.linesOfOrders(tx, [...fulfilled])
  const grants = fulfilments.flatMap(({ order, payment, is_repeat }) =>
    lines
      .filter((line) => line.order_id === order.id)
      .flatMap((line) => grantsOfLine(order, line, payment, { now, is_repeat })),
  )
  await grantMany(tx, kit.clock, grants)
  const done = fulfilments.map(({ order, payment: { payment_id }, is_repeat }) => ({
    order_id: order.id,
    payment_id,
    is_repeat,
  }))
  await queries.markFulfilled(tx, done, now)
}

interface Fulfilment {
  order: OrderRow
  payment: PaymentPayload
  is_repeat: boolean
}

/** Why a payment grants nothing; undefined when it does. */
function reasonAgainst(
  order: OrderRow,
  { is_repeat, repeat_kind }: PaymentPayload & { is_repeat: boolean },
  paid_again: PaidAgainPolicy,
): string | undefined {
  if (order.status === 'canceled') return 'order_canceled'
  if (!is_repeat || repeat_kind === 'renewal') return undefined
  return repeat_kind === 'paid_again' && paid_again === 'grant_again' ? undefined : 'order_already_paid'
}

/** Keeps money that bought nothing for a person, or gives it back at once where the owner decided so. */
async function setAside(tx: Tx, kit: OrdersKit, payment: PaymentPayload, reason: string): Promise<void> {
  await setMismatch(tx, kit.payments, payment.payment_id, reason)
  if (payment.repeat_kind !== 'paid_again' || kit.paid_again !== 'refund_second') return
  const { payment_id } = payment
  await intendWholeRefund(tx, kit.payments, {
    payment_id,
    reason: 'the link was paid already',
    requested_by: 'policy:paid_again',
  })
}

/**
 * Name of a grant in the ledger: the order's line and the position in what it grants; the payment too, when
 * it is not the one the order was first fulfilled by.
 */
export function grantSourceId(line_id: string, position: number, repeat_payment_id?: string): string {
  const name = `${line_id}:${position}`
  return repeat_payment_id === undefined ? name : `${name}:${repeat_payment_id}`
}

/**
 * The grants of one paid line. The line's price is shared by its paid grants; a bonus hangs on the first of
 * them and shares its fate. A two-stage payment that took less than the total grants that share, rounded
 * down. Pure.
 */
export function grantsOfLine(
  order: OrderRow,
  line: LineRow,
  payment: PaymentPayload,
  { now, is_repeat }: { now: Date; is_repeat: boolean },
): NewGrant[] {
  const repeat = is_repeat ? payment.payment_id : undefined
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
        source_id: grantSourceId(line.id, position, repeat),
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
                source_id: grantSourceId(line.id, parent, repeat),
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
