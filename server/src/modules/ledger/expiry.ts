import type { LedgerKit } from './kit.ts'
import { findDueHolds } from './hold-queries.ts'
import { expireHold } from './holds.ts'
import { findDueWallets, lockWallets } from './queries.ts'

/** Wallets settled in one transaction: short locks, so that a spend that waits does not notice. */
const WALLETS_AT_ONCE = 50
const HOLDS_AT_ONCE = 100

/**
 * Closes grants that ended and opens those that start, in every wallet where something is due. A balance is
 * right without it; this writes the transfers soon after the moment. Answers how many wallets were settled.
 */
export async function sweepExpiries(kit: LedgerKit, signal?: AbortSignal): Promise<number> {
  let swept = 0
  for (;;) {
    const now = kit.clock.now()
    const due = await findDueWallets(kit.db, now, WALLETS_AT_ONCE)
    if (due.length === 0 || signal?.aborted) return swept
    await kit.db.transact((tx) => lockWallets(tx, due, now))
    swept += due.length
    if (due.length < WALLETS_AT_ONCE) return swept
  }
}

/** Gives back the holds whose time is over. Answers how many. */
export async function sweepHolds(kit: LedgerKit, signal?: AbortSignal): Promise<number> {
  let swept = 0
  for (;;) {
    const due = await findDueHolds(kit.db, kit.clock.now(), HOLDS_AT_ONCE)
    for (const { id } of due) {
      if (signal?.aborted) return swept
      if (await kit.db.transact((tx) => expireHold(tx, kit.clock, id))) swept += 1
    }
    if (due.length < HOLDS_AT_ONCE) return swept
  }
}
