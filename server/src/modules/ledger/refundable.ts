import { shareRoundedDown } from '#kernel/money'

/** What of a grant its refundable money depends on. */
export interface RefundableGrant {
  id: string
  is_paid: boolean
  granted: bigint
  remaining: bigint
  held: bigint
  /** What was paid for all that was granted, in minor units. */
  price_amount: bigint | null
  price_currency: string | null
  /** null: never. */
  expires_at: Date | null
}

/** How the money for one grant is found. */
export interface RefundableLine {
  grant_id: string
  price: bigint
  granted: bigint
  /** Left, not held and not expired: what the money is for. */
  units: bigint
  refundable: bigint
}

/** Money that can go back, with how it is found; one sum for each currency. */
export interface Refundable {
  totals: { currency: string; amount: bigint }[]
  lines: RefundableLine[]
}

/**
 * Refundable money: price × remaining paid units ÷ granted units, rounded down for each grant. Free, held
 * and expired units are worth nothing. Pure.
 */
export function refundable(grants: readonly RefundableGrant[], now: Date): Refundable {
  const totals = new Map<string, bigint>()
  const lines = grants.map((grant) => {
    const has_ended = grant.expires_at !== null && grant.expires_at <= now
    const units = has_ended ? 0n : grant.remaining - grant.held
    const price = grant.is_paid ? (grant.price_amount ?? 0n) : 0n
    const amount = shareRoundedDown(price, units, grant.granted)
    if (grant.price_currency !== null && price > 0n) {
      totals.set(grant.price_currency, (totals.get(grant.price_currency) ?? 0n) + amount)
    }
    return { grant_id: grant.id, price, granted: grant.granted, units, refundable: amount }
  })
  return { totals: [...totals].map(([currency, amount]) => ({ currency, amount })), lines }
}
