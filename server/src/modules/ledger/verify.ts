import type { Clock } from '#kernel/clock'
import type { Db, Sql } from '#kernel/db'
import * as holdings from './verify-holdings-queries.ts'
import * as books from './verify-queries.ts'

/**
 * Something that must be true at any moment; what it finds are sentences, each naming the row that breaks
 * it.
 */
export interface Invariant {
  name: string
  find: (sql: Sql, limit: number, now: Date) => Promise<string[]>
}

/** A broken invariant. */
export interface Finding {
  invariant: string
  detail: string
}

/** What a verification found. */
export interface Verification {
  ok: boolean
  checked_at: Date
  findings: Finding[]
}

/**
 * What must be true of the ledger. Other modules have lists of their own; together they are the
 * verification.
 */
export const ledgerInvariants: readonly Invariant[] = [
  { name: 'sequence_without_gaps', find: books.sequenceGaps },
  { name: 'hash_chain_intact', find: books.brokenChains },
  { name: 'transfers_well_formed', find: books.malformedTransfers },
  { name: 'balances_follow_each_other', find: books.brokenBalances },
  { name: 'wallet_is_sum_of_transfers', find: books.walletsAgainstTransfers },
  { name: 'books_balance', find: books.accountsAgainstWallets },
  { name: 'nothing_lost_between_wallets', find: books.transfersUnderWay },
  { name: 'grant_is_sum_of_transfers', find: holdings.grantsAgainstTransfers },
  { name: 'grant_made_by_its_transfer', find: holdings.grantsAgainstOpening },
  { name: 'wallet_is_sum_of_grants', find: holdings.walletsAgainstGrants },
  { name: 'amounts_in_bounds', find: holdings.amountsOutOfBounds },
  { name: 'next_expiry_not_late', find: holdings.lateNextExpiry },
  { name: 'nothing_used_after_expiry', find: holdings.usesAfterExpiry },
  { name: 'expiries_are_booked', find: holdings.overdueExpiries },
  { name: 'one_transfer_for_each_key', find: holdings.doubleKeys },
  { name: 'reversals_within_spends', find: holdings.reversalsOverSpends },
  { name: 'held_is_sum_of_holds', find: holdings.heldAgainstHolds },
  { name: 'holds_fit_their_transfers', find: holdings.holdsAgainstTransfers },
  { name: 'holds_end_in_time', find: holdings.overdueHolds },
  { name: 'revoked_is_sum_of_revocations', find: holdings.revokedAgainstRevocations },
  { name: 'merged_wallets_are_empty', find: holdings.leftInMerged },
]

/** More of one kind tells nothing new. */
const FINDINGS_MAX = 50

/**
 * Runs invariants as queries in one snapshot. Reads only, and takes no lock that holds up a spend.
 */
export async function verify(
  db: Db,
  clock: Clock,
  invariants: readonly Invariant[] = ledgerInvariants,
): Promise<Verification> {
  const checked_at = clock.now()
  const findings = await db.transact(
    async (tx) => {
      const found: Finding[] = []
      for (const { name, find } of invariants) {
        const details = await find(tx, FINDINGS_MAX, checked_at)
        found.push(...details.map((detail) => ({ invariant: name, detail })))
      }
      return found
    },
    { isolation: 'repeatable read', read_only: true },
  )
  return { ok: findings.length === 0, checked_at, findings }
}
