import type { RefuseAlone } from '#http/routing'
import type { Db, Sql, Tx } from '#kernel/db'
import { InvalidState, NotFound } from '#kernel/errors'
import { least, shareRoundedUp } from '#kernel/money'
import { findGrants, findGrantsBySource, reinstateGrant, takeBack, type GrantState } from '#modules/ledger'
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
import * as revocations from './refund-queries.ts'
import type { Revocation } from './refund-queries.ts'
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
 * and kept as the shortfall. What was held stays with its hold. What another refund or dispute stands for
 * already is kept as uncovered: should that one come to nothing, this one takes it.
 */
export async function revokeForRefund(
  tx: Tx,
  kit: OrdersKit,
  refunds: readonly RefundPayload[],
): Promise<void> {
  for (const refund of refunds) {
    const grants = await grantsOfPayment(tx, refund.payment_id)
    const standing = await revocations.standingRevocations(
      tx,
      grants.map(({ id }) => id),
    )
    const taken: Revocation[] = []
    for (const { grant, units, share } of unitsToRevoke(grants, refund, { standing, now: kit.clock.now() })) {
      const wanted = least(units, grant.granted)
      const reason = refund.is_forced ? 'refund made at the gateway' : 'refund'
      const back = await takeUnits(tx, kit, refund.refund_id, { grant_id: grant.id, wanted, reason })
      taken.push({
        refund_id: refund.refund_id,
        customer_id: refund.customer_id,
        unit: grant.unit,
        grant_id: grant.id,
        amount: back.taken,
        shortfall: grant.is_paid ? wanted - back.taken : 0n,
        share,
        uncovered: grant.is_paid ? wanted - back.covered : least(grant.revoked, grant.granted),
      })
    }
    await revocations.insertRevocations(tx, taken, kit.clock.now())
  }
}

/** Of a grant, for a refund; `after` tells apart what is taken when another refund came to nothing. */
async function takeUnits(
  tx: Tx,
  kit: OrdersKit,
  refund_id: string,
  { grant_id, wanted, reason, after }: { grant_id: string; wanted: bigint; reason: string; after?: string },
): Promise<{ taken: bigint; covered: bigint }> {
  if (wanted === 0n) return { taken: 0n, covered: 0n }
  const key = `refund:${refund_id}:${grant_id}`
  const { taken, taken_from_others, debt, written_off } = await takeBack(tx, kit.clock, {
    grant_id,
    amount: wanted,
    reason,
    reference: refund_id,
    actor_id: `refund:${refund_id}`,
    idempotency_key: after === undefined ? key : `${key}:after:${after}`,
  })
  return { taken, covered: taken + taken_from_others + debt + written_off }
}

/**
 * Gives back to the unit what a refused refund or a won dispute had taken: reaction to `refund.failed` and
 * `dispute.won`. What other refunds and disputes of the same purchase stand for goes over to them.
 */
export async function restoreAfterRefund(
  tx: Tx,
  kit: OrdersKit,
  refunds: readonly RefundPayload[],
): Promise<void> {
  for (const { refund_id } of refunds) {
    const undone = await revocations.takeRevocations(tx, refund_id, kit.clock.now())
    for (const { grant_id } of undone) {
      // Without an amount: what was written off is undone too, also when nothing was left to take.
      await reinstateGrant(tx, kit.clock, {
        grant_id,
        reason: 'the refund was refused',
        reference: refund_id,
        actor_id: `refund:${refund_id}`,
        idempotency_key: `refund-undone:${refund_id}:${grant_id}`,
      })
    }
    const grant_ids = undone.map(({ grant_id }) => grant_id)
    for (const standing of await revocations.standingRevocations(tx, grant_ids)) {
      if (standing.shortfall > 0n || standing.uncovered > 0n) await takeAnew(tx, kit, standing, refund_id)
    }
  }
}

/**
 * Takes for a refund that stands what it could not have while another one had it: what it took goes back and
 * is taken anew with the rest, so that what it wrote off is what really is gone.
 */
async function takeAnew(tx: Tx, kit: OrdersKit, standing: Revocation, after: string): Promise<void> {
  const { refund_id, grant_id, amount, shortfall, uncovered } = standing
  const reason = 'another refund of it came to nothing'
  await reinstateGrant(tx, kit.clock, {
    grant_id,
    reason,
    reference: refund_id,
    actor_id: `refund:${refund_id}`,
    idempotency_key: `refund-anew:${refund_id}:${grant_id}:after:${after}`,
  })
  // Of a bonus nothing is missed but what others had.
  const is_bonus = shortfall === 0n
  const wanted = amount + (is_bonus ? uncovered : shortfall)
  const { taken, covered } = await takeUnits(tx, kit, refund_id, { grant_id, wanted, reason, after })
  await revocations.setTaken(tx, {
    ...standing,
    amount: taken,
    shortfall: is_bonus ? 0n : wanted - taken,
    uncovered: wanted - covered,
  })
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
  { standing, now }: { standing: readonly Revocation[]; now: Date },
): { grant: GrantState; units: bigint; share: bigint }[] {
  const bonuses = grants
    .filter((grant) => !grant.is_paid)
    .map((grant) => ({ grant, units: grant.remaining, share: 0n }))
  const all_paid = grants.filter((grant) => grant.is_paid)
  if (refund.is_full) {
    const whole = all_paid.map((grant) => ({ grant, units: grant.granted, share: grant.price_amount ?? 0n }))
    return [...bonuses, ...whole]
  }
  const paid = all_paid.filter((grant) => (grant.price_amount ?? 0n) > 0n)
  const bearing = quoteRefund(paid, now).map((quoted) => ({ ...quoted, borne: borneBy(quoted, standing) }))
  const shares = splitRefund(BigInt(refund.amount), bearing)
  return [
    ...bonuses,
    ...paid.map((grant, index) => {
      const share = shares[index] ?? 0n
      return { grant, units: shareRoundedUp(grant.granted, share, grant.price_amount ?? 1n), share }
    }),
  ]
}

/** Money of a grant's price that what stands against it bears. */
function borneBy({ grant_id, price }: QuotedGrant, standing: readonly Revocation[]): bigint {
  const own = standing.filter((revocation) => revocation.grant_id === grant_id)
  return least(
    price,
    own.reduce((sum, { share }) => sum + share, 0n),
  )
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
