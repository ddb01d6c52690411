import { least, shareRoundedDown } from '#kernel/money'

/** What of a grant the quote looks at. */
export interface PricedGrant {
  id: string
  unit: string
  granted: bigint
  remaining: bigint
  held: bigint
  is_paid: boolean
  price_amount: bigint | null
}

export interface QuotedGrant {
  grant_id: string
  unit: string
  granted: bigint
  remaining: bigint
  price: bigint
  refundable: bigint
}

/**
 * What each grant is still worth: price × units that are left and not held ÷ units granted, rounded down.
 * Free grants are worth nothing. Pure.
 */
export function quoteRefund(grants: readonly PricedGrant[]): QuotedGrant[] {
  return grants.map((grant) => {
    const price = grant.is_paid ? (grant.price_amount ?? 0n) : 0n
    const remaining = grant.remaining - grant.held
    return {
      grant_id: grant.id,
      unit: grant.unit,
      granted: grant.granted,
      remaining,
      price,
      refundable: shareRoundedDown(price, remaining, grant.granted),
    }
  })
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
