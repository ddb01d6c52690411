import type { Tx } from '#kernel/db'
import { assert, NotFound } from '#kernel/errors'
import { readPairId } from '#kernel/ids'
import { findChildren, findGrants, findParts, type GrantRow } from './grant-queries.ts'
import { findWallet, lockWallets } from './queries.ts'

/** A grant with everything that shares its fate, under the locks of all wallets concerned. */
export interface GrantFamily {
  /** The grant as it was made. */
  root: GrantRow
  /** The grant and the parts of it that moved with its owner. */
  pieces: GrantRow[]
  /** Bonuses: each with its own pieces. */
  children: { root: GrantRow; pieces: GrantRow[] }[]
  /** Where its owner's units of this kind are now. */
  target_id: bigint
}

/** Locks and reads a grant's family. Throws NotFound. */
export async function lockGrantFamily(tx: Tx, grant_id: string, now: Date): Promise<GrantFamily> {
  const place = readPairId('gr', grant_id)
  const [named] = place ? await findGrants(tx, [{ wallet_id: place.high, id: place.low }]) : []
  if (!named) throw new NotFound(`There is no grant ${grant_id}.`)
  const root_place =
    named.origin_wallet_id !== null && named.origin_id !== null
      ? { wallet_id: named.origin_wallet_id, id: named.origin_id }
      : { wallet_id: named.wallet_id, id: named.id }
  for (;;) {
    const before = await readFamily(tx, root_place)
    const needed = walletsOf(before)
    await lockWallets(tx, needed, now)
    const family = await readFamily(tx, root_place)
    // A merge or a new bonus between the two looks may have brought in another wallet.
    if (walletsOf(family).every((id) => needed.includes(id))) return family
  }
}

async function readFamily(tx: Tx, place: { wallet_id: bigint; id: bigint }): Promise<GrantFamily> {
  const [root] = await findGrants(tx, [place])
  const wallet = await findWallet(tx, place.wallet_id)
  assert(root && wallet, 'a grant is gone')
  const children = await findChildren(tx, place)
  const child_parts = await findParts(tx, children)
  return {
    root,
    pieces: [root, ...(await findParts(tx, [place]))],
    children: children.map((child) => ({
      root: child,
      pieces: [
        child,
        ...child_parts.filter(
          (part) => part.origin_wallet_id === child.wallet_id && part.origin_id === child.id,
        ),
      ],
    })),
    target_id: wallet.merged_into ?? wallet.id,
  }
}

function walletsOf({ pieces, children, target_id }: GrantFamily): bigint[] {
  const grants = [...pieces, ...children.flatMap((child) => child.pieces)]
  return [...new Set([target_id, ...grants.map((grant) => grant.wallet_id)])]
}
