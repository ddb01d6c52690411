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

/**
 * Which part of a refund each grant bears: first what the grants are still worth, in order; what goes beyond
 * it is borne in order up to each price. Adds up to the amount as far as the prices reach. Pure.
 */
export function splitRefund(amount: bigint, grants: readonly QuotedGrant[]): bigint[] {
  let left = amount
  const shares = grants.map((grant) => {
    const share = least(left, grant.refundable)
    left -= share
    return share
  })
  return shares.map((share, index) => {
    const more = least(left, (grants[index]?.price ?? 0n) - share)
    left -= more
    return share + more
  })
}
