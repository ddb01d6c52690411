import type { Clock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { assert, InvalidState, NotFound } from '#kernel/errors'
import { IdempotencyKeyReused } from '#kernel/idempotency'
import { pairId, readPairId } from '#kernel/ids'
import { AMOUNT_MAX } from '#kernel/money'
import { checkAmount } from './amounts.ts'
import { carryOver } from './carry-over.ts'
import { inputDigest, keyDigest, type Keyed } from './keys.ts'
import { lockWithTarget } from './locks.ts'
import { append, findByKey, findRelated, findTransfer, type TransferRow, type WalletRow } from './queries.ts'
import { slicePartsOf, slicesOf, takeFirst, without, type Slice, type SlicePart } from './slices.ts'
import { SPEND_KINDS } from './transfer-kinds.ts'

/** A wish to give back what a spend took. */
export interface NewReversal extends Keyed {
  spend_id: string
  /** Default: all that was not given back before. */
  amount?: bigint | undefined
  reason?: string | undefined
  reference?: string | undefined
}

/** What was given back, to which grants. */
export interface Reversal {
  id: string
  spend_id: string
  customer_id: string
  unit: string
  amount: bigint
  /** Right after it; a grant that ended meanwhile expires in the next transfer. */
  balance: bigint
  sequence: bigint
  slices: Slice[]
  reason: string | null
  created_at: Date
  /** True when this answer was given before. */
  is_replay: boolean
}

/**
 * Gives back what a spend or a capture took, all or a part, to the grants it was taken from, the last taken
 * first; all reversals of a spend together never exceed it. What goes to a grant that ended meanwhile
 * expires at once, what goes to one that was refunded is taken at once, each by a transfer of its own.
 * Throws NotFound, InvalidState with `reversible` when more is asked than is left, {@link
 * IdempotencyKeyReused}.
 */
export async function reverseSpend(tx: Tx, clock: Clock, input: NewReversal): Promise<Reversal> {
  if (input.amount !== undefined) checkAmount(input.amount)
  const now = clock.now()
  const place = readPairId('tr', input.spend_id)
  const spend = place && (await findTransfer(tx, place.high, place.low))
  if (!spend || !SPEND_KINDS.has(spend.kind)) throw new NotFound(`There is no spend ${input.spend_id}.`)
  const { wallet, target } = await lockWithTarget(tx, spend.wallet_id, now)
  const { amount: asked, reason, reference, spend_id } = input
  const digests = {
    key_digest: keyDigest(input),
    input_digest: inputDigest('reversal', { spend_id, amount: asked, reason, reference }),
  }
  const known = await findByKey(tx, target.id, digests.key_digest)
  if (known) return replay(wallet, known, digests.input_digest, input)

  const { parts, left } = await reversible(tx, spend)
  const amount = asked ?? left
  if (amount > left || left === 0n) {
    throw new InvalidState(`Of the spend ${left} can still be given back.`, { reversible: left })
  }
  if (wallet.balance + wallet.scheduled + amount > AMOUNT_MAX) {
    throw new InvalidState('The wallet would hold more than 2^53 − 1.')
  }
  const slices = takeFirst(parts.toReversed(), amount)
  const [given] = await append(
    tx,
    wallet.id,
    [
      {
        kind: 'reversal',
        amount,
        slices,
        ...digests,
        actor_id: input.actor_id,
        reason,
        reference,
        related_sequence: spend.sequence,
      },
    ],
    now,
  )
  assert(given, 'a transfer was left without an answer')
  await carryOver(tx, wallet.id, now)
  const row = await findTransfer(tx, wallet.id, given.sequence)
  assert(row, 'a transfer that was written is gone')
  return toReversal(wallet, row)
}

/** What of a spend was not given back yet, by grant in the order it was taken. */
async function reversible(tx: Tx, spend: TransferRow): Promise<{ parts: SlicePart[]; left: bigint }> {
  const related = await findRelated(tx, spend.wallet_id, spend.sequence)
  const before = related.filter(({ kind }) => kind === 'reversal')
  const given = before.flatMap((row) => slicePartsOf(row.grant_ids, row.grant_amounts))
  const parts = without(slicePartsOf(spend.grant_ids, spend.grant_amounts), given)
  return { parts, left: spend.amount - before.reduce((sum, row) => sum + row.amount, 0n) }
}

function replay(
  wallet: WalletRow,
  known: TransferRow,
  input_digest: Buffer,
  { idempotency_key }: Keyed,
): Reversal {
  if (known.kind !== 'reversal' || !known.input_digest?.equals(input_digest)) {
    throw new IdempotencyKeyReused(
      `The key ${idempotency_key} was used for another request on this wallet; nothing was changed.`,
    )
  }
  assert(known.wallet_id === wallet.id, 'a reversal stands in another wallet than its spend')
  return { ...toReversal(wallet, known), is_replay: true }
}

function toReversal(wallet: WalletRow, row: TransferRow): Reversal {
  return {
    id: pairId('tr', row.wallet_id, row.sequence),
    spend_id: pairId('tr', row.wallet_id, row.related_sequence ?? 0n),
    customer_id: wallet.customer_id,
    unit: wallet.unit,
    amount: row.amount,
    balance: row.balance_after,
    sequence: row.sequence,
    slices: slicesOf(row.wallet_id, slicePartsOf(row.grant_ids, row.grant_amounts)),
    reason: row.reason,
    created_at: row.created_at,
    is_replay: false,
  }
}
