import type { Tx } from '#kernel/db'
import { assert } from '#kernel/errors'
import { findWallet, findWalletIds, lockWallets, type WalletRow } from './queries.ts'

/**
 * Locks a customer's wallet and brings it up to this moment; undefined when he has none in this unit. A
 * customer that was merged, even while the lock was waited for, means the survivor.
 */
export async function lockWalletOf(
  tx: Tx,
  pair: { customer_id: string; unit: string },
  now: Date,
): Promise<WalletRow | undefined> {
  for (;;) {
    const [wallet_id] = await findWalletIds(tx, [pair])
    if (wallet_id === undefined) return undefined
    const [wallet] = await lockWallets(tx, [wallet_id], now)
    assert(wallet, 'a wallet that was found is gone')
    if (wallet.merged_into === null) return wallet
  }
}

/** Locks a wallet together with the one it was merged into; the same twice when it was not. */
export async function lockWithTarget(
  tx: Tx,
  wallet_id: bigint,
  now: Date,
): Promise<{ wallet: WalletRow; target: WalletRow }> {
  for (;;) {
    const { merged_into } = await getWallet(tx, wallet_id)
    const locked = await lockWallets(tx, merged_into === null ? [wallet_id] : [wallet_id, merged_into], now)
    const wallet = locked.find(({ id }) => id === wallet_id)
    const target = locked.find(({ id }) => id === (merged_into ?? wallet_id))
    assert(wallet && target, 'a wallet that was found is gone')
    // It may have been merged while the lock was waited for.
    if (wallet.merged_into === merged_into) return { wallet, target }
  }
}

/** A wallet that must be there. */
export async function getWallet(tx: Tx, wallet_id: bigint): Promise<WalletRow> {
  const wallet = await findWallet(tx, wallet_id)
  assert(wallet, 'a wallet that was found is gone')
  return wallet
}
