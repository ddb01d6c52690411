/** What one part of a product gives, in the unit's smallest part. */
export interface ProductGrant {
  unit: string
  amount: bigint
  /** Days from the fulfilment; null never expires. */
  validity_days: number | null
  /** Lower is spent first. */
  priority: number
  source: 'purchase' | 'bonus'
  /** Whether the buyer's money is in it: paid units are refundable, a bonus is not. */
  is_paid: boolean
}

/** As a caller writes it; what is absent follows from the source. */
export interface GrantInput {
  unit: string
  amount: bigint
  validity_days?: number | null | undefined
  priority?: number | undefined
  source?: 'purchase' | 'bonus' | undefined
  is_paid?: boolean | undefined
}

/** Parts of one product at most. */
export const GRANTS_MAX = 20
/** A hundred years: longer is "never". */
export const VALIDITY_DAYS_MAX = 36_500
export const PRIORITY_MAX = 1000

/** A bonus is spent before what was paid for. */
const PRIORITY = { purchase: 50, bonus: 20 } as const

/** Fills in what follows from the source: a purchase has priority 50 and is paid, a bonus 20 and is free. */
export function completeGrant(input: GrantInput): ProductGrant {
  const source = input.source ?? 'purchase'
  return {
    unit: input.unit,
    amount: input.amount,
    validity_days: input.validity_days ?? null,
    priority: input.priority ?? PRIORITY[source],
    source,
    is_paid: input.is_paid ?? source === 'purchase',
  }
}

/** The inverse of {@link completeGrant}: leaves out what follows from the source. For files people read. */
export function shortenGrant(grant: ProductGrant): GrantInput {
  return {
    unit: grant.unit,
    amount: grant.amount,
    ...(grant.validity_days === null ? {} : { validity_days: grant.validity_days }),
    ...(grant.source === 'purchase' ? {} : { source: grant.source }),
    ...(grant.priority === PRIORITY[grant.source] ? {} : { priority: grant.priority }),
    ...(grant.is_paid === (grant.source === 'purchase') ? {} : { is_paid: grant.is_paid }),
  }
}

/** What is wrong with the grants of a product, as path within them and sentence; empty when all is well. */
export function grantFaults(
  grants: readonly ProductGrant[],
): { path: (string | number)[]; detail: string }[] {
  const faults: { path: (string | number)[]; detail: string }[] = []
  for (const [index, grant] of grants.entries()) {
    if (grant.source === 'bonus' && grant.is_paid) {
      faults.push({ path: [index, 'is_paid'], detail: 'must be false: a bonus is free' })
    }
  }
  // Refunds divide the price over the paid units; without one there would be nothing to give money back for.
  if (!grants.some((grant) => grant.is_paid)) {
    faults.push({ path: [], detail: 'must have at least one paid grant' })
  }
  return faults
}

/** Whether two lists grant the same in the same order. */
export function sameGrants(first: readonly ProductGrant[], second: readonly ProductGrant[]): boolean {
  return (
    first.length === second.length &&
    first.every((grant, index) => grantText(grant) === textAt(second, index))
  )
}

/** One line for people and for comparing: `1800 minute, 90 days`. */
export function grantText(grant: ProductGrant): string {
  const validity = grant.validity_days === null ? 'for ever' : `${grant.validity_days} days`
  const paid = grant.is_paid ? 'paid' : 'free'
  return `${grant.amount} ${grant.unit}, ${validity}, priority ${grant.priority}, ${grant.source}, ${paid}`
}

function textAt(grants: readonly ProductGrant[], index: number): string | undefined {
  const grant = grants[index]
  return grant && grantText(grant)
}
