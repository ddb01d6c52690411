import type { Clock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { assert } from '#kernel/errors'
import { IdempotencyKeyReused } from '#kernel/idempotency'
import { least } from '#kernel/money'
import { checkAmount } from './amounts.ts'
import { carryOver } from './carry-over.ts'
import { lockGrantFamily, type GrantFamily } from './grant-family.ts'
import { findGrants } from './grant-queries.ts'
import { inputDigest, keyDigest, type Keyed } from './keys.ts'
import { getWallet } from './locks.ts'
import { append, findByKey, lockWallets, type NewTransfer } from './queries.ts'
import * as queries from './revocation-queries.ts'
import type { RevocationRow } from './revocation-queries.ts'
import { childKey } from './revocations.ts'

/** A wish to undo what a revocation took: the refund was refused, or the dispute was won. */
export interface NewReinstatement extends Keyed {
  grant_id: string
  /** Default, or when it reaches what was taken at once: everything, the debt and the bonuses too. */
  amount?: bigint | undefined
  reason: string
  /** Undoes the revocations of this refund or dispute only. */
  reference?: string | undefined
}

interface Part {
  wallet_id: bigint
  id: bigint
  amount: bigint
}

/**
 * Gives back what revocations took, to the grants it was taken from; debt is canceled, and what of it was
 * repaid comes back as a grant. A grant that ended meanwhile expires at once. Answers how many units the
 * grant's owner got back; nothing when it was undone before. Throws NotFound, {@link IdempotencyKeyReused}.
 */
export async function reinstateGrant(tx: Tx, clock: Clock, input: NewReinstatement): Promise<bigint> {
  if (input.amount !== undefined) checkAmount(input.amount)
  const now = clock.now()
  const family = await lockGrantFamily(tx, input.grant_id, now)
  const digests = {
    key_digest: keyDigest(input),
    input_digest: inputDigest('reinstatement', {
      grant_id: input.grant_id,
      amount: input.amount,
      reason: input.reason,
      reference: input.reference,
    }),
  }
  const known = await findByKey(tx, family.target_id, digests.key_digest)
  if (known) {
    if (known.input_digest?.equals(digests.input_digest)) return BigInt((known.metadata as Kept).given_back)
    throw new IdempotencyKeyReused(`The key ${input.idempotency_key} was used for another request.`)
  }
  const open = (await queries.findOpenRevocations(tx, [family.root])).filter(
    ({ reference }) => input.reference === undefined || reference === input.reference,
  )
  const at_once = open.reduce((sum, one) => sum + one.taken_at_once, 0n)
  const is_whole = input.amount === undefined || input.amount >= at_once
  const undone = open.map((one) => (is_whole ? undoAll(one, now) : undefined))
  const parts = is_whole ? undone.flatMap((one) => one?.parts ?? []) : []
  if (!is_whole) {
    let left = input.amount ?? 0n
    for (const [index, one] of open.entries()) {
      const some = undoSome(one, left)
      undone[index] = some
      parts.push(...some.parts)
      left -= totalOf(some.parts)
    }
  }
  const children = is_whole ? await undoChildren(tx, family, open, now) : []
  const owed = is_whole ? open.reduce((sum, one) => sum + one.debt, 0n) : 0n
  for (const one of [...undone, ...children]) if (one) await queries.updateRevocation(tx, one.revocation)
  const given = totalOf(parts)
  const wishes = [...parts, ...children.flatMap((child) => child.parts)]
  await giveBack(tx, family, wishes, owed, input, { ...digests, given_back: given + owed }, now)
  return given + owed
}

/** What the first transfer of a reinstatement remembers for a replay. */
interface Kept {
  given_back: string
}

interface Undone {
  revocation: RevocationRow
  parts: Part[]
}

function undoAll(row: RevocationRow, now: Date): Undone {
  return {
    parts: partsOf(row),
    revocation: {
      ...row,
      taken: 0n,
      debt: 0n,
      written_off: 0n,
      reinstated: row.requested,
      reinstated_at: now,
      slice_wallet_ids: [],
      slice_grant_ids: [],
      slice_amounts: [],
    },
  }
}

/** Gives back units only, the last taken first. */
function undoSome(row: RevocationRow, amount: bigint): Undone {
  const kept: Part[] = []
  const given: Part[] = []
  let left = least(amount, row.taken)
  for (const part of partsOf(row).toReversed()) {
    const give = least(left, part.amount)
    left -= give
    if (give > 0n) given.push({ ...part, amount: give })
    if (give < part.amount) kept.unshift({ ...part, amount: part.amount - give })
  }
  const total = totalOf(given)
  return {
    parts: given,
    revocation: {
      ...row,
      taken: row.taken - total,
      reinstated: row.reinstated + total,
      slice_wallet_ids: kept.map((part) => part.wallet_id),
      slice_grant_ids: kept.map((part) => part.id),
      slice_amounts: kept.map((part) => part.amount),
    },
  }
}

async function undoChildren(
  tx: Tx,
  { children }: GrantFamily,
  parents: readonly RevocationRow[],
  now: Date,
): Promise<Undone[]> {
  const open = await queries.findOpenRevocations(
    tx,
    children.map((child) => child.root),
  )
  const keys = new Set(
    children.flatMap(({ root }) =>
      parents.map((parent) => childKey(parent.key_digest, root).toString('hex')),
    ),
  )
  return open.filter((one) => keys.has(one.key_digest.toString('hex'))).map((one) => undoAll(one, now))
}

async function giveBack(
  tx: Tx,
  { root, target_id }: GrantFamily,
  parts: readonly Part[],
  owed: bigint,
  { actor_id, reason, reference }: NewReinstatement,
  stamp: { key_digest: Buffer; input_digest: Buffer; given_back: bigint },
  now: Date,
): Promise<void> {
  const wallet_ids = [...new Set([target_id, ...parts.map((part) => part.wallet_id)])]
  await lockWallets(tx, wallet_ids, now)
  const grants = new Map(
    (await findGrants(tx, parts)).map((grant) => [`${grant.wallet_id}/${grant.id}`, grant]),
  )
  const words = { actor_id, reason, reference }
  const rows = parts.map(({ wallet_id, id, amount }): [bigint, NewTransfer] => {
    const grant = grants.get(`${wallet_id}/${id}`)
    assert(grant, 'a grant is gone')
    const kind = grant.starts_at > now ? 'scheduled_reinstatement' : 'reinstatement'
    return [wallet_id, { kind, amount, slices: [{ id, amount }], ...words }]
  })
  const { debt } = await getWallet(tx, target_id)
  const canceled = least(owed, debt)
  if (canceled > 0n) rows.push([target_id, { kind: 'debt_cancellation', amount: canceled, ...words }])
  if (owed > canceled) {
    const amount = owed - canceled
    const source_id = `reinstated:${root.wallet_id}:${root.id}:${stamp.key_digest.toString('hex')}`
    const new_grant = { granted: amount, priority: root.priority, is_paid: root.is_paid, source_id }
    rows.push([target_id, { kind: 'grant', amount, new_grant: { ...new_grant, source: 'refund' }, ...words }])
  }
  // Debt is canceled first: units that come back would otherwise repay it.
  rows.sort(([, a], [, b]) => Number(b.kind === 'debt_cancellation') - Number(a.kind === 'debt_cancellation'))
  const { given_back, ...digests } = stamp
  for (const [index, [wallet_id, row]] of rows.entries()) {
    const kept =
      index === 0 ? { ...digests, metadata: { given_back: String(given_back) } satisfies Kept } : {}
    await append(tx, wallet_id, [{ ...row, ...kept }], now)
  }
  for (const wallet_id of wallet_ids) await carryOver(tx, wallet_id, now)
}

function partsOf(row: RevocationRow): Part[] {
  return row.slice_amounts.map((amount, index) => ({
    wallet_id: row.slice_wallet_ids[index] ?? 0n,
    id: row.slice_grant_ids[index] ?? 0n,
    amount,
  }))
}

function totalOf(parts: readonly Part[]): bigint {
  return parts.reduce((sum, { amount }) => sum + amount, 0n)
}
