import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { assert, DomainError, NotFound } from '#kernel/errors'
import { IdempotencyKeyReused } from '#kernel/idempotency'
import { pairId, readPairId } from '#kernel/ids'
import { checkAmount } from './amounts.ts'
import { InsufficientFunds, unknownUnit } from './errors.ts'
import { inputDigest, keyDigest, type Keyed } from './keys.ts'
import type { LedgerKit } from './kit.ts'
import * as queries from './queries.ts'
import { slicePartsOf, slicesOf, type Slice } from './slices.ts'
import type { SpendItem, SpendOutcome } from './spend-queries.ts'
import { SPEND_KINDS } from './transfer-kinds.ts'
import { findUnits } from './unit-queries.ts'

/** A wish to use up an amount of a unit. */
export interface NewSpend extends Keyed {
  customer_id: string
  unit: string
  /** In the unit's smallest part. */
  amount: bigint
  reason?: string | undefined
  /** What it was for: an order, a job, a usage event of the caller. */
  reference?: string | undefined
  metadata?: Readonly<Record<string, unknown>> | undefined
}

/** A spend that was done: how much, from which grants, and the balance right after it. */
export interface Spend {
  id: string
  customer_id: string
  unit: string
  amount: bigint
  balance: bigint
  sequence: bigint
  slices: Slice[]
  created_at: Date
  /** True when this answer was given before. */
  is_replay: boolean
}

/**
 * Spends an amount, all or nothing, in the burn order; once per key, with the same answer for ever.
 * Together with other spends of the moment: see SpendLanes. Not for use inside a transaction.
 * Throws {@link InsufficientFunds}, IdempotencyKeyReused, InvalidRequest for an unknown unit,
 * OperationalError.
 */
export async function spend(kit: LedgerKit, input: NewSpend): Promise<Spend> {
  checkAmount(input.amount)
  const { directory } = kit
  const { customer_id, unit } = input
  const place = directory.peek(customer_id, unit) ?? (await directory.find(customer_id, unit))
  if (place === undefined) return refuseWithoutWallet(kit.db, input)
  const outcome = await kit.lanes.spend(itemOf(input, place))
  // A wallet that is short may be one whose owner was merged since it was remembered.
  const moved = outcome.status === 'insufficient' ? await directory.findMoved(input, place.id) : undefined
  if (moved === undefined) return toSpend(input, place, outcome)
  return toSpend(input, moved, await kit.lanes.spend(itemOf(input, moved)))
}

/** The answer to one of many spends. */
export type SpendResult = { spend: Spend } | { error: DomainError }

/**
 * Many spends in one call, each by itself: one that is refused does not stop the others.
 * Answers in the order asked. Throws OperationalError when the database failed for any of them.
 */
export async function spendMany(kit: LedgerKit, inputs: readonly NewSpend[]): Promise<SpendResult[]> {
  const settled = await Promise.allSettled(inputs.map((input) => spend(kit, input)))
  return settled.map((one) => {
    if (one.status === 'fulfilled') return { spend: one.value }
    if (one.reason instanceof DomainError) return { error: one.reason }
    throw one.reason
  })
}

/**
 * As {@link spend}, inside the caller's transaction: both happen or neither. The wallet stays locked until
 * it ends.
 */
export async function spendWithin(tx: Tx, clock: Clock, input: NewSpend): Promise<Spend> {
  checkAmount(input.amount)
  const [place] = await queries.findWalletPlaces(tx, [input])
  if (place === undefined) return refuseWithoutWallet(tx, input)
  return toSpend(input, place, await queries.spendOne(tx, itemOf(input, place), clock.now()))
}

/** A spend, or the captured part of a hold, by its id. Throws NotFound. */
export async function getSpend(sql: Sql, id: string): Promise<Spend> {
  const place = readPairId('tr', id)
  const row = place && (await queries.findTransfer(sql, place.high, place.low))
  const wallet = row && (await queries.findWallet(sql, row.wallet_id))
  if (!row || !wallet || !SPEND_KINDS.has(row.kind)) throw new NotFound(`There is no spend ${id}.`)
  return spendOfRow(wallet, row)
}

/** A kept transfer as a spend. */
export function spendOfRow(wallet: { customer_id: string; unit: string }, row: queries.TransferRow): Spend {
  return {
    id: pairId('tr', row.wallet_id, row.sequence),
    customer_id: wallet.customer_id,
    unit: wallet.unit,
    amount: row.amount,
    balance: row.balance_after,
    sequence: row.sequence,
    slices: slicesOf(row.wallet_id, slicePartsOf(row.grant_ids, row.grant_amounts)),
    created_at: row.created_at,
    is_replay: false,
  }
}

function itemOf(input: NewSpend, place: queries.WalletPlace): SpendItem {
  const { amount, reason, reference, metadata } = input
  return {
    wallet_id: place.id,
    amount,
    key_digest: keyDigest(input),
    input_digest: inputDigest('spend', { amount, reason, reference, metadata }),
    actor_id: input.actor_id,
    reason: reason ?? null,
    reference: reference ?? null,
    metadata: metadata === undefined ? null : JSON.stringify(metadata),
  }
}

function toSpend(input: NewSpend, place: queries.WalletPlace, outcome: SpendOutcome): Spend {
  if (outcome.status === 'insufficient')
    throw new InsufficientFunds(input.unit, outcome.available, input.amount)
  if (outcome.status === 'key_reused') {
    throw new IdempotencyKeyReused(
      `The key ${input.idempotency_key} was used for another request on this wallet; nothing was changed.`,
    )
  }
  assert(outcome.status !== 'unknown_wallet', 'a wallet that was found is gone')
  return {
    id: pairId('tr', outcome.wallet_id, outcome.sequence),
    customer_id: place.customer_id,
    unit: input.unit,
    amount: input.amount,
    balance: outcome.balance,
    sequence: outcome.sequence,
    slices: slicesOf(outcome.wallet_id, slicePartsOf(outcome.grant_ids, outcome.grant_amounts)),
    created_at: outcome.created_at,
    is_replay: outcome.status === 'replayed',
  }
}

async function refuseWithoutWallet(sql: Sql, input: NewSpend): Promise<never> {
  const [unit] = await findUnits(sql, [input.unit])
  if (!unit) throw unknownUnit(input.unit)
  throw new InsufficientFunds(input.unit, 0n, input.amount)
}
