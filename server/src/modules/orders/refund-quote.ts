import { least } from '#kernel/money'
import { refundable, type GrantState } from '#modules/ledger'

/** What a grant bought by a payment is still worth, and how that was found. */
export interface QuotedGrant {
  grant_id: string
  unit: string
  granted: bigint
  /** Left, not held and not expired. */
  remaining: bigint
  price: bigint
  refundable: bigint
}

/** The ledger's rule for refundable money, with the unit of each grant for people. Pure. */
export function quoteRefund(grants: readonly GrantState[], now: Date): QuotedGrant[] {
  const units = new Map(grants.map(({ id, unit }) => [id, unit]))
  return refundable(grants, now).lines.map(
    ({ grant_id, granted, units: remaining, price, refundable: worth }) => ({
      grant_id,
      unit: units.get(grant_id) ?? '',
      granted,
      remaining,
      price,
      refundable: worth,
    }),
  )
}

/** A grant with what of its price refunds and disputes bear that still stand. */
export interface BearingGrant extends QuotedGrant {
  borne: bigint
}

/**
 * Which part of a refund each grant bears: first what the grants are still worth, in order; what goes beyond
 * it is borne in order up to what of each price nothing bears yet. Only what is then left, because refunds
 * and disputes reach for the same money, is borne beside them, up to each price. Adds up to the amount as far
 * as the prices reach. Pure.
 */
export function splitRefund(amount: bigint, grants: readonly BearingGrant[]): bigint[] {
  let left = amount
  const shares = grants.map(() => 0n)
  const bearUpTo = (limitOf: (grant: BearingGrant) => bigint): void => {
    grants.forEach((grant, index) => {
      const room = limitOf(grant) - (shares[index] ?? 0n)
      const more = room > 0n ? least(left, room) : 0n
      left -= more
      shares[index] = (shares[index] ?? 0n) + more
    })
  }
  bearUpTo(({ refundable: worth, price, borne }) => least(worth, price - borne))
  bearUpTo(({ price, borne }) => price - borne)
  bearUpTo(({ price }) => price)
  return shares
}
