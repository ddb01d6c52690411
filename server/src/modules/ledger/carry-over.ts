import type { Tx } from '#kernel/db'
import { assert, InvalidState } from '#kernel/errors'
import { pairId } from '#kernel/ids'
import { AMOUNT_MAX } from '#kernel/money'
import { findRemaining, type GrantRow } from './grant-queries.ts'
import { getWallet } from './locks.ts'
import { append, type GrantColumns, type NewTransfer, type WalletRow } from './queries.ts'
import { sumOf, type SlicePart } from './slices.ts'

/** What was moved on, in the unit's smallest part. */
export interface Moved {
  amount: bigint
  scheduled: bigint
  debt: bigint
}

/**
 * Moves on what came back to a wallet whose owner was merged into another: by transfers, each grant with
 * its terms. Does nothing to a wallet that was not merged. The caller has locked both wallets.
 */
export async function carryOver(tx: Tx, wallet_id: bigint, now: Date): Promise<void> {
  const wallet = await getWallet(tx, wallet_id)
  if (wallet.merged_into !== null) await moveAll(tx, wallet, await getWallet(tx, wallet.merged_into), now)
}

/**
 * Moves everything that is free from one wallet to another. What is held stays until its hold ends, and
 * then follows. Throws InvalidState when the other wallet would hold more than 2^53 − 1.
 */
export async function moveAll(tx: Tx, from: WalletRow, to: WalletRow, now: Date): Promise<Moved> {
  const grants = (await findRemaining(tx, from.id)).filter((grant) => grant.remaining > grant.held)
  const open = grants.filter((grant) => !grant.is_scheduled)
  const scheduled = grants.filter((grant) => grant.is_scheduled)
  const moved = { amount: sumOf(freeOf(open)), scheduled: sumOf(freeOf(scheduled)), debt: from.debt }
  if (
    to.balance + to.scheduled + moved.amount + moved.scheduled > AMOUNT_MAX ||
    to.debt + moved.debt > AMOUNT_MAX
  ) {
    throw new InvalidState('The wallet they are moved to would hold more than 2^53 − 1.')
  }
  await moveGrants(tx, from, to, open, 'transfer', now)
  await moveGrants(tx, from, to, scheduled, 'scheduled_transfer', now)
  if (moved.debt > 0n) {
    const [out] = await append(
      tx,
      from.id,
      [{ kind: 'debt_transfer_out', amount: moved.debt, related_wallet_id: to.id }],
      now,
    )
    await append(
      tx,
      to.id,
      [
        {
          kind: 'debt_transfer_in',
          amount: moved.debt,
          related_wallet_id: from.id,
          related_sequence: out?.sequence,
        },
      ],
      now,
    )
  }
  return moved
}

async function moveGrants(
  tx: Tx,
  from: WalletRow,
  to: WalletRow,
  grants: readonly GrantRow[],
  kind: 'transfer' | 'scheduled_transfer',
  now: Date,
): Promise<void> {
  if (grants.length === 0) return
  const slices = freeOf(grants)
  const [out] = await append(
    tx,
    from.id,
    [{ kind: `${kind}_out`, amount: sumOf(slices), slices, reason: 'merge', related_wallet_id: to.id }],
    now,
  )
  assert(out, 'a transfer was left without an answer')
  const out_id = pairId('tr', from.id, out.sequence)
  await append(
    tx,
    to.id,
    grants.map((grant): NewTransfer => ({
      kind: `${kind}_in`,
      amount: grant.remaining - grant.held,
      new_grant: partOf(grant, out_id),
      reason: 'merge',
      related_wallet_id: from.id,
      related_sequence: out.sequence,
    })),
    now,
  )
}

/**
 * The free part of a grant as a grant of its own: the same terms, and the name of the grant it comes from.
 */
function partOf(grant: GrantRow, out_id: string): GrantColumns {
  const base = grant.source_id.split('>')[0] ?? grant.source_id
  return {
    granted: grant.remaining - grant.held,
    priority: grant.priority,
    is_paid: grant.is_paid,
    source: grant.source,
    source_id: `${base.slice(0, 230)}>${out_id}>${grant.id}`,
    starts_at: grant.starts_at,
    expires_at: grant.expires_at,
    created_at: grant.created_at,
    price_amount: grant.price_amount,
    price_units: grant.price_units,
    price_currency: grant.price_currency,
    origin_wallet_id: grant.origin_wallet_id ?? grant.wallet_id,
    origin_id: grant.origin_id ?? grant.id,
  }
}

function freeOf(grants: readonly GrantRow[]): SlicePart[] {
  return grants.map((grant) => ({ id: grant.id, amount: grant.remaining - grant.held }))
}
