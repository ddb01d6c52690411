import type { Limited } from './limits.ts'

const HOUR_MS = 3_600_000

/**
 * What costs the owner money or trust when it is done by the thousand: how often one network, one account and
 * everybody together may do it in an hour.
 */
const ABUSE_LIMITS = {
  /** Whoever tries stolen cards begins many checkouts. */
  checkout: { network: 60, account: 60, all: 36_000, by_server: 1000 },
  /** Whoever guesses codes enters many; ten in an hour are more than anybody was given. */
  promo_entry: { network: 30, account: 10, all: 6_000, by_server: 10 },
} as const satisfies Readonly<
  Record<string, Readonly<Record<'network' | 'account' | 'all' | 'by_server', number>>>
>

/** What is limited so. Sign-up and sign-in have rules of their own. */
export type LimitedAct = keyof typeof ABUSE_LIMITS

/**
 * The counts an act falls under, to be taken before it is done. Without a network it is the owner's own
 * server that calls for its people: it is trusted with as many as it has, and only what it does for one
 * account is counted, `by_server`.
 */
export function abuseLimits(
  act: LimitedAct,
  by: { account: string; network?: string | undefined },
): Limited[] {
  const counts = ABUSE_LIMITS[act]
  const limited = (whom: keyof typeof counts, subject: string): Limited => ({
    rule: { name: `${act}, ${whom}`, count: counts[whom], period_ms: HOUR_MS },
    subject,
  })
  if (by.network === undefined) return [limited('by_server', by.account)]
  return [limited('network', by.network), limited('account', by.account), limited('all', '')]
}
