import { hash } from 'node:crypto'
import type { Clock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { InvalidState } from '#kernel/errors'
import { IdempotencyKeyReused } from '#kernel/idempotency'
import { least } from '#kernel/money'
import { checkAmount } from './amounts.ts'
import { lockGrantFamily, type GrantFamily } from './grant-family.ts'
import type { GrantRow } from './grant-queries.ts'
import { inputDigest, keyDigest, type Keyed } from './keys.ts'
import { append, burn, type NewTransfer } from './queries.ts'
import * as queries from './revocation-queries.ts'
import { findUnits } from './unit-queries.ts'

/**
 * What becomes of units that are gone already when a grant is taken back by force: forgiven, owed by the
 * customer, or taken from his other grants as far as they reach and then forgiven.
 */
export type ShortfallPolicy = 'write_off' | 'debt' | 'other_grants'

/** A wish to take back a grant, or a part of it, because its money goes back. */
export interface NewRevocation extends Keyed {
  grant_id: string
  /** Default: all that was granted and not taken back before. More than that is not taken. */
  amount?: bigint | undefined
  /** Default `write_off`. */
  shortfall?: ShortfallPolicy | undefined
  reason: string
  /** The refund or dispute; names it when it is undone. */
  reference?: string | undefined
}

/** What became of a revocation at once. Amounts in the unit's smallest part. */
export interface Revoked {
  /** From the grant itself. */
  taken: bigint
  taken_from_others: bigint
  debt: bigint
  written_off: bigint
}

/**
 * Takes back from a grant what is left of it; bonuses that hang on it go first and whole. Answers how much
 * was taken from the grant itself. See {@link takeBack}.
 */
export async function revokeGrant(tx: Tx, clock: Clock, input: NewRevocation): Promise<bigint> {
  return (await takeBack(tx, clock, input)).taken
}

/**
 * Takes back from a grant, once per key; all revocations of a grant together never exceed what was granted.
 * What is held stays with its hold; what a hold or a reversal gives back later is taken then, up to what
 * was written off. Throws NotFound, InvalidState when debt is asked for a unit that may not be owed, {@link
 * IdempotencyKeyReused}.
 */
export async function takeBack(tx: Tx, clock: Clock, input: NewRevocation): Promise<Revoked> {
  if (input.amount !== undefined) checkAmount(input.amount)
  const now = clock.now()
  const family = await lockGrantFamily(tx, input.grant_id, now)
  const { root } = family
  const policy = input.shortfall ?? 'write_off'
  const { grant_id, amount, reason, reference } = input
  const digests = {
    key_digest: keyDigest(input),
    input_digest: inputDigest('revocation', { grant_id, amount, policy, reason, reference }),
  }
  const known = await queries.findRevocation(tx, root.wallet_id, digests.key_digest)
  if (known) return replay(known, digests.input_digest, input)
  for (const child of family.children) await takeChild(tx, child, input, digests.key_digest, now)
  const before = await queries.findOpenRevocations(tx, [root])
  const left = root.granted - before.reduce((sum, one) => sum + one.requested - one.reinstated, 0n)
  const requested = least(amount ?? left, left)
  if (requested <= 0n) return { taken: 0n, taken_from_others: 0n, debt: 0n, written_off: 0n }
  const own = slicesOf(family.pieces, requested)
  const taken = totalOf(own)
  await takeSlices(tx, own, input, now)
  const missing = await coverShortfall(tx, family, requested - taken, policy, input, now)
  await keep(tx, root, input, digests, now, {
    requested,
    taken_at_once: taken,
    others_at_once: totalOf(missing.slices),
    debt: missing.debt,
    written_off: missing.written_off,
    slices: [...own, ...missing.slices],
  })
  return {
    taken,
    taken_from_others: totalOf(missing.slices),
    debt: missing.debt,
    written_off: missing.written_off,
  }
}

/** The key a bonus is taken back under together with its parent. */
export function childKey(parent_key: Buffer, child: GrantRow): Buffer {
  return hash('sha256', `${parent_key.toString('hex')}>${child.wallet_id}/${child.id}`, 'buffer').subarray(
    0,
    16,
  )
}

/** A part taken from a grant, wherever that is. */
export interface PlacedSlice {
  wallet_id: bigint
  id: bigint
  amount: bigint
  is_scheduled: boolean
}

function slicesOf(pieces: readonly GrantRow[], amount: bigint): PlacedSlice[] {
  let left = amount
  return pieces.flatMap(({ wallet_id, id, remaining, held, is_scheduled }) => {
    const slice = least(left, remaining - held)
    left -= slice
    return slice > 0n ? [{ wallet_id, id, amount: slice, is_scheduled }] : []
  })
}

function totalOf(slices: readonly PlacedSlice[]): bigint {
  return slices.reduce((sum, { amount }) => sum + amount, 0n)
}

async function takeSlices(
  tx: Tx,
  slices: readonly PlacedSlice[],
  { actor_id, reason, reference }: NewRevocation,
  now: Date,
): Promise<void> {
  for (const [wallet_id, own] of Map.groupBy(slices, (slice) => slice.wallet_id)) {
    await append(
      tx,
      wallet_id,
      own.map(({ id, amount, is_scheduled }): NewTransfer => ({
        kind: is_scheduled ? 'scheduled_revocation' : 'revocation',
        amount,
        slices: [{ id, amount }],
        actor_id,
        reason,
        reference,
      })),
      now,
    )
  }
}

async function takeChild(
  tx: Tx,
  child: GrantFamily['children'][number],
  input: NewRevocation,
  parent_key: Buffer,
  now: Date,
): Promise<void> {
  const slices = slicesOf(child.pieces, child.root.granted)
  const taken = totalOf(slices)
  if (taken === 0n) return
  await takeSlices(tx, slices, input, now)
  const digests = { key_digest: childKey(parent_key, child.root), input_digest: parent_key }
  await keep(tx, child.root, input, digests, now, {
    requested: taken,
    taken_at_once: taken,
    others_at_once: 0n,
    debt: 0n,
    written_off: 0n,
    slices,
  })
}

async function coverShortfall(
  tx: Tx,
  { root, target_id }: GrantFamily,
  shortfall: bigint,
  policy: ShortfallPolicy,
  input: NewRevocation,
  now: Date,
): Promise<{ debt: bigint; written_off: bigint; slices: PlacedSlice[] }> {
  if (shortfall === 0n || policy === 'write_off') return { debt: 0n, written_off: shortfall, slices: [] }
  const { actor_id, reason, reference } = input
  if (policy === 'debt') {
    const [unit] = await findUnits(tx, [root.unit])
    if (!unit?.is_debt_allowed) throw new InvalidState(`The unit ${root.unit} may not be owed.`)
    await append(tx, target_id, [{ kind: 'debt', amount: shortfall, actor_id, reason, reference }], now)
    return { debt: shortfall, written_off: 0n, slices: [] }
  }
  const others = (await burn(tx, target_id, shortfall, now)).map((slice) => ({
    ...slice,
    wallet_id: target_id,
    is_scheduled: false,
  }))
  await takeSlices(tx, others, input, now)
  return { debt: 0n, written_off: shortfall - totalOf(others), slices: others }
}

async function keep(
  tx: Tx,
  root: GrantRow,
  { actor_id, reason, reference }: NewRevocation,
  digests: { key_digest: Buffer; input_digest: Buffer },
  now: Date,
  facts: {
    requested: bigint
    taken_at_once: bigint
    others_at_once: bigint
    debt: bigint
    written_off: bigint
    slices: readonly PlacedSlice[]
  },
): Promise<void> {
  const { slices, ...amounts } = facts
  await queries.insertRevocation(tx, {
    wallet_id: root.wallet_id,
    grant_id: root.id,
    ...digests,
    ...amounts,
    taken: totalOf(slices),
    debt_at_once: amounts.debt,
    slice_wallet_ids: slices.map((slice) => slice.wallet_id),
    slice_grant_ids: slices.map((slice) => slice.id),
    slice_amounts: slices.map((slice) => slice.amount),
    created_at: now,
    actor_id,
    reason,
    reference: reference ?? null,
  })
}

function replay(known: queries.RevocationRow, input_digest: Buffer, { idempotency_key }: Keyed): Revoked {
  if (!known.input_digest.equals(input_digest)) {
    throw new IdempotencyKeyReused(
      `The key ${idempotency_key} was used for another revocation; nothing was changed.`,
    )
  }
  const { requested, taken_at_once: taken, others_at_once: taken_from_others, debt_at_once: debt } = known
  return { taken, taken_from_others, debt, written_off: requested - taken - taken_from_others - debt }
}
