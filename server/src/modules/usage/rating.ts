/** How a duration is rounded before it is charged, on the selling and on the buying side alike. */
export interface RoundingRule {
  increment_ms: bigint
  minimum_ms: bigint
  /** Channels are counted in groups of this many: 2 means that one channel costs as much as two. */
  channel_group: number
  /** Increments that an event without any duration costs. */
  empty_increments: number
}

/**
 * `ceil(channels ÷ channel_group) × max(minimum, ceil(duration ÷ increment) × increment)`, in milliseconds.
 * An event without duration costs its empty increments and no minimum. Pure.
 */
export function billableMs(rule: RoundingRule, duration_ms: bigint, channels: number): bigint {
  const groups = BigInt(Math.ceil(channels / rule.channel_group))
  if (duration_ms === 0n) return groups * BigInt(rule.empty_increments) * rule.increment_ms
  const rounded = ((duration_ms + rule.increment_ms - 1n) / rule.increment_ms) * rule.increment_ms
  return groups * (rounded > rule.minimum_ms ? rounded : rule.minimum_ms)
}

/** What a session owes now: the rounded sum so far less what it has paid; never negative. Pure. */
export function sessionBillableMs(
  rule: RoundingRule,
  session: { duration_ms: bigint; billed_ms: bigint },
  duration_ms: bigint,
  channels: number,
): bigint {
  const owed = billableMs(rule, session.duration_ms + duration_ms, channels) - session.billed_ms
  return owed > 0n ? owed : 0n
}

/** Milliseconds in the unit's smallest parts, rounded up: what is begun is paid. Pure. */
export function partsOf(billable_ms: bigint, part_ms: bigint): bigint {
  return (billable_ms + part_ms - 1n) / part_ms
}

/** What the provider charges for rounded milliseconds, in billionths of its currency, rounded up. Pure. */
export function costNano(billable_ms: bigint, increment_ms: bigint, nano_per_increment: bigint): bigint {
  return (billable_ms * nano_per_increment + increment_ms - 1n) / increment_ms
}
