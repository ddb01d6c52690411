/** What the burn order looks at. */
export interface Burnable {
  id: bigint
  priority: number
  /** null: never. */
  expires_at: Date | null
  is_paid: boolean
  created_at: Date
}

/**
 * The order in which grants are used up: lower priority number first, then sooner expiry (none last), then
 * free before paid, then older, then the smaller id. Its twin is the `order by` of ledger.burn and
 * ledger.spend_batch.
 */
export function compareBurnOrder(a: Burnable, b: Burnable): number {
  return (
    a.priority - b.priority ||
    compareExpiry(a.expires_at, b.expires_at) ||
    Number(a.is_paid) - Number(b.is_paid) ||
    a.created_at.getTime() - b.created_at.getTime() ||
    (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
  )
}

/** A grant with what is left of it. */
export interface BurnableGrant extends Burnable {
  remaining: bigint
  held: bigint
}

/**
 * Which grants an amount would come from, in the burn order; less than asked when there is less. For quotes
 * and tests: the database chooses by itself when it spends.
 */
export function burnSlices(
  grants: readonly BurnableGrant[],
  amount: bigint,
  now: Date,
): { id: bigint; amount: bigint }[] {
  const slices: { id: bigint; amount: bigint }[] = []
  let left = amount
  for (const grant of [...grants].sort(compareBurnOrder)) {
    const free = grant.remaining - grant.held
    const has_ended = grant.expires_at !== null && grant.expires_at <= now
    if (left === 0n || free <= 0n || has_ended) continue
    const slice = free < left ? free : left
    slices.push({ id: grant.id, amount: slice })
    left -= slice
  }
  return slices
}

function compareExpiry(a: Date | null, b: Date | null): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null)
  return a.getTime() - b.getTime()
}
