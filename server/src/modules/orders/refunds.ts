import type { RefuseAlone } from '#http/routing'
import type { Db, Sql, Tx } from '#kernel/db'
import { InvalidState, NotFound } from '#kernel/errors'
import { least, shareRoundedUp } from '#kernel/money'
import { findGrants, findGrantsBySource, reinstateGrant, revokeGrant, type GrantState } from '#modules/ledger'
import {
  carryOutRefund,
  getRefund,
  intendRefund,
  lockForRefund,
  refundableAmount,
  type PaymentRow,
  type RefundPayload,
  type RefundRow,
} from '#modules/payments'
import { grantSourceId } from './fulfilment.ts'
import type { OrdersKit } from './orders.ts'
import * as queries from './queries.ts'
import type { Revocation } from './queries.ts'
import { quoteRefund, splitRefund, type QuotedGrant } from './refund-quote.ts'

export interface NewOrderRefund {
  refund_id: string
  payment_id: string
  /** Default: what the units that are left are worth. */
  amount?: bigint | undefined
  reason: string
  requested_by: string
  /**
   * Refuses what one person may not give back alone: of this payment together with what was given back
   * before, and of this customer's payments together with what the same person gave back lately.
   */
  refuseAlone?: RefuseAlone | undefined
}

/**
 * Gives money back for what is left of a purchase. Without an amount: price × remaining paid units ÷ granted
 * units of each grant, rounded down. With an amount: that, at most what was captured, the reason being the
 * operator's; units that are gone are then written off. The units are taken back in the transaction of the
 * intent, before the vendor is asked. Called again with the same refund id it goes on where it stopped.
 * Throws NotFound, {@link InvalidState}, RefundTooLarge.
 */
export async function refundPayment(db: Db, kit: OrdersKit, input: NewOrderRefund): Promise<RefundRow> {
  await db.transact(async (tx) => {
    const payment = await lockForRefund(tx, input.payment_id)
    const quoted = quoteRefund(await grantsOfPayment(tx, payment.id), kit.clock.now())
    const left = await refundableAmount(tx, payment)
    const amount = input.amount ?? defaultAmount(payment, quoted, left)
    if (amount === 0n) {
      throw new InvalidState(
        'Nothing of this purchase is left to refund; name an amount to give money back all the same.',
        {
          refundable: 0n,
          captured_left: left,
        },
      )
    }
    if (input.refuseAlone && !(await isIntended(tx, input.refund_id))) {
      await input.refuseAlone(tx, {
        kind: 'refund',
        measure: payment.currency,
        amount,
        amount_of_all: payment.captured_amount - left + amount,
        actor_id: input.requested_by,
        customer_id: payment.customer_id,
        resource_id: input.refund_id,
      })
    }
    await intendRefund(tx, kit.payments, {
      refund_id: input.refund_id,
      payment_id: payment.id,
      amount,
      reason: input.reason,
      requested_by: input.requested_by,
      breakdown: quoted,
    })
  })
  await carryOutRefund(db, kit.payments, input.refund_id)
  return getRefund(db, input.refund_id)
}

async function isIntended(sql: Sql, refund_id: string): Promise<boolean> {
  try {
    await getRefund(sql, refund_id)
    return true
  } catch (error) {
    if (error instanceof NotFound) return false
    throw error
  }
}

/**
 * Takes back what a refund is for: reaction to `refund.requested`. A bonus goes first and whole; then as many
 * paid units as the money bought, from what is left of exactly those grants. What is missing is written off
 * and kept as the shortfall. What was held stays with its hold.
 */
export async function revokeForRefund(
  tx: Tx,
  kit: OrdersKit,
  refunds: readonly RefundPayload[],
): Promise<void> {
  for (const refund of refunds) {
    const grants = await grantsOfPayment(tx, refund.payment_id)
    const revocations: Revocation[] = []
    for (const { grant, units } of unitsToRevoke(grants, refund, kit.clock.now())) {
      const wanted = least(units, grant.granted)
      const taken =
        wanted === 0n
          ? 0n
          : await revokeGrant(tx, kit.clock, {
              grant_id: grant.id,
              amount: wanted,
              reason: refund.is_forced ? 'refund made at the gateway' : 'refund',
              reference: refund.refund_id,
              actor_id: `refund:${refund.refund_id}`,
              idempotency_key: `refund:${refund.refund_id}:${grant.id}`,
            })
      revocations.push({
        refund_id: refund.refund_id,
        customer_id: refund.customer_id,
        unit: grant.unit,
        grant_id: grant.id,
        amount: taken,
        shortfall: grant.is_paid ? wanted - taken : 0n,
      })
    }
    await queries.insertRevocations(tx, revocations, kit.clock.now())
  }
}

/** Gives back to the unit what a refused refund had taken: reaction to `refund.failed`. */
export async function restoreAfterRefund(
  tx: Tx,
  kit: OrdersKit,
  refunds: readonly RefundPayload[],
): Promise<void> {
  for (const { refund_id } of refunds) {
    for (const revocation of await queries.takeRevocations(tx, refund_id, kit.clock.now())) {
      // Without an amount: what was written off is undone too, also when nothing was left to take.
      await reinstateGrant(tx, kit.clock, {
        grant_id: revocation.grant_id,
        reason: 'the refund was refused',
        reference: refund_id,
        actor_id: `refund:${refund_id}`,
        idempotency_key: `refund-undone:${refund_id}:${revocation.grant_id}`,
      })
    }
  }
}

/** Names of the products that gave the grants, by grant id; those without a product are missing. */
export async function namesOfGrants(sql: Sql, grant_ids: readonly string[]): Promise<Map<string, string>> {
  const grants = await findGrants(sql, grant_ids)
  const line_ids = new Map(grants.map((grant) => [grant.id, grant.source_id.split(':')[0] ?? '']))
  const names = await queries.namesOfLines(sql, [...new Set(line_ids.values())])
  return new Map(
    [...line_ids].flatMap(([grant_id, line_id]) => {
      const name = names.get(line_id)
      return name === undefined ? [] : [[grant_id, name] as const]
    }),
  )
}

function unitsToRevoke(
  grants: readonly GrantState[],
  refund: RefundPayload,
  now: Date,
): { grant: GrantState; units: bigint }[] {
  const bonuses = grants.filter((grant) => !grant.is_paid).map((grant) => ({ grant, units: grant.remaining }))
  if (refund.is_full) {
    return [
      ...bonuses,
      ...grants.filter((grant) => grant.is_paid).map((grant) => ({ grant, units: grant.granted })),
    ]
  }
  const paid = grants.filter((grant) => grant.is_paid && (grant.price_amount ?? 0n) > 0n)
  const shares = splitRefund(BigInt(refund.amount), quoteRefund(paid, now))
  return [
    ...bonuses,
    ...paid.map((grant, index) => ({
      grant,
      units: shareRoundedUp(grant.granted, shares[index] ?? 0n, grant.price_amount ?? 1n),
    })),
  ]
}

/**
 * What this very payment bought. One that was set aside bought nothing: the units of the payment that did
 * fulfil the order are not its to give back.
 */
async function grantsOfPayment(sql: Sql, payment_id: string): Promise<GrantState[]> {
  const fulfilment = await queries.findFulfilment(sql, payment_id)
  if (!fulfilment) return []
  const repeat = fulfilment.is_repeat ? payment_id : undefined
  const lines = await queries.linesOfOrders(sql, [fulfilment.order_id])
  const sources = lines.flatMap((line) =>
    line.grants.map((grant, position) => ({
      source: grant.source,
      source_id: grantSourceId(line.id, position, repeat),
    })),
  )
  return findGrantsBySource(sql, sources)
}

/** A payment that bought nothing (it was set aside) gives back all it took. */
function defaultAmount(payment: PaymentRow, quoted: readonly QuotedGrant[], left: bigint): bigint {
  if (payment.status === 'mismatch') return left
  return least(
    left,
    quoted.reduce((sum, grant) => sum + grant.refundable, 0n),
  )
}
