import type { Limited } from './limits.ts'

const HOUR_MS = 3_600_000

/**
 * What costs the owner money or trust when it is done by the thousand: how often one network, one account and
 * everybody together may do it.
 */
const ABUSE_LIMITS = {
  /** Whoever tries stolen cards begins many checkouts. */
  checkout: { network: 60, account: 60, all: 36_000 },
  /** Whoever guesses codes enters many; ten in an hour are more than anybody was given. */
  promo_entry: { network: 30, account: 10, all: 6_000 },
} as const satisfies Readonly<Record<string, Readonly<Record<'network' | 'account' | 'all', number>>>>

/** What is limited so. Sign-up and sign-in have rules of their own. */
export type LimitedAct = keyof typeof ABUSE_LIMITS

/**
 * The counts an act falls under, to be taken before it is done. Without a network only the account and all
 * are counted: the owner's own server calls for many people from one address.
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
  const of_network = by.network === undefined ? [] : [limited('network', by.network)]
  return [...of_network, limited('account', by.account), limited('all', '')]
}
