import type { Clock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { assert, InvalidRequest, InvalidState } from '#kernel/errors'
import { moveAll, type Moved } from './carry-over.ts'
import { getWallet } from './locks.ts'
import * as merges from './merge-queries.ts'
import { ensureWallets, lockWallets } from './queries.ts'

/** What a merge moved, by unit. */
export interface MergedWallet extends Moved {
  unit: string
}

/**
 * Gives everything one customer has to another, in every unit, by transfers: grants keep priority, expiry,
 * price and age; a debt goes along. What is held stays with its hold, which can still be captured or
 * released under its id; what that gives back follows by itself. From then on the first customer's id means
 * the second in every verb of the ledger, and his idempotency keys count as the survivor's. Repeatable.
 * Throws InvalidRequest for one customer twice, InvalidState when either was merged elsewhere.
 */
export async function mergeWallets(
  tx: Tx,
  clock: Clock,
  input: { from_customer_id: string; to_customer_id: string },
): Promise<MergedWallet[]> {
  const { from_customer_id, to_customer_id } = input
  if (from_customer_id === to_customer_id) {
    throw new InvalidRequest([{ pointer: '/to_customer_id', detail: 'is the same customer' }])
  }
  const now = clock.now()
  await rememberMerge(tx, from_customer_id, to_customer_id, now)
  const own = await merges.findOwnWallets(tx, from_customer_id)
  if (own.length === 0) return []
  const targets = await ensureWallets(
    tx,
    own.map(({ unit }) => ({ customer_id: to_customer_id, unit })),
    now,
  )
  const earlier = await merges.findMergedInto(
    tx,
    own.map(({ id }) => id),
  )
  await lockWallets(tx, [...own.map(({ id }) => id), ...targets, ...earlier], now)
  const moved: MergedWallet[] = []
  for (const [index, { id, unit }] of own.entries()) {
    const target_id = targets[index]
    assert(target_id, 'a wallet was not made')
    await merges.setMergedInto(tx, id, target_id)
    moved.push({ unit, ...(await moveAll(tx, await getWallet(tx, id), await getWallet(tx, target_id), now)) })
  }
  return moved
}

async function rememberMerge(tx: Tx, customer_id: string, survivor_id: string, now: Date): Promise<void> {
  const [known, onward] = [
    await merges.findSurvivor(tx, customer_id),
    await merges.findSurvivor(tx, survivor_id),
  ]
  if (onward !== undefined) throw new InvalidState(`${survivor_id} was merged into ${onward}.`)
  if (known !== undefined && known !== survivor_id)
    throw new InvalidState(`${customer_id} was merged into ${known}.`)
  if (known === undefined) await merges.insertMerged(tx, { customer_id, survivor_id, merged_at: now })
}
