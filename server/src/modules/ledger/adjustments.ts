import type { Clock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { assert, InvalidRequest, InvalidState } from '#kernel/errors'
import { IdempotencyKeyReused } from '#kernel/idempotency'
import { pairId, readPairId } from '#kernel/ids'
import { checkAmount } from './amounts.ts'
import { InsufficientFunds, unknownUnit } from './errors.ts'
import { grantOnce } from './grants.ts'
import { inputDigest, keyDigest, type Keyed } from './keys.ts'
import { getWallet, lockWalletOf } from './locks.ts'
import { append, burn, findByKey, findTransfer, type NewTransfer, type TransferRow } from './queries.ts'
import { slicePartsOf, slicesOf, type Slice } from './slices.ts'
import { findUnits } from './unit-queries.ts'

/** A correction by staff. */
export interface NewAdjustment extends Keyed {
  customer_id: string
  unit: string
  /** Above zero adds a free grant, below zero takes in the burn order. Not zero. */
  amount: bigint
  /** Why: it stays in the books. */
  reason: string
  /** Of what is added. */
  expires_at?: Date | null | undefined
  reference?: string | undefined
  metadata?: Readonly<Record<string, unknown>> | undefined
}

/** A correction that was booked. */
export interface Adjustment {
  id: string
  customer_id: string
  unit: string
  /** With its sign. */
  amount: bigint
  balance: bigint
  sequence: bigint
  slices: Slice[]
  reason: string | null
  created_at: Date
  /** True when this answer was given before. */
  is_replay: boolean
}

/**
 * Corrects a balance, once per key; never below what is available. Throws {@link InsufficientFunds},
 * InvalidRequest for an unknown unit or an amount of zero, {@link IdempotencyKeyReused}.
 */
export async function adjust(tx: Tx, clock: Clock, input: NewAdjustment): Promise<Adjustment> {
  if (input.amount === 0n) throw new InvalidRequest([{ pointer: '/amount', detail: 'must not be zero' }])
  checkAmount(input.amount < 0n ? -input.amount : input.amount)
  return input.amount > 0n ? add(tx, clock, input) : take(tx, clock, input)
}

/**
 * Forgives what a customer owes, all of it or a part. Answers how much, the same again for the same key.
 * Throws InvalidState when less is owed, {@link IdempotencyKeyReused}.
 */
export async function forgiveDebt(
  tx: Tx,
  clock: Clock,
  input: Keyed & { customer_id: string; unit: string; amount?: bigint | undefined; reason: string },
): Promise<bigint> {
  if (input.amount !== undefined) checkAmount(input.amount)
  const now = clock.now()
  const wallet = await lockWalletOf(tx, input, now)
  if (!wallet) throw new InvalidState('Nothing is owed.', { debt: 0n })
  const { actor_id, reason } = input
  const stamp = {
    actor_id,
    reason,
    key_digest: keyDigest(input),
    input_digest: inputDigest('debt_write_off', { amount: input.amount, reason }),
  }
  const known = await findByKey(tx, wallet.id, stamp.key_digest)
  if (known) return checkSame(known, stamp.input_digest, input).amount
  const amount = input.amount ?? wallet.debt
  if (amount > wallet.debt || wallet.debt === 0n) {
    throw new InvalidState(`${wallet.debt} ${wallet.unit} are owed.`, { debt: wallet.debt })
  }
  await append(tx, wallet.id, [{ kind: 'debt_write_off', amount, ...stamp }], now)
  return amount
}

async function add(tx: Tx, clock: Clock, input: NewAdjustment): Promise<Adjustment> {
  const { expires_at, ...rest } = input
  const made = await grantOnce(tx, clock, { ...rest, expires_at, source: 'manual', is_adjustment: true })
  const place = readPairId('gr', made.id)
  const row = place && (await findTransfer(tx, place.high, place.low))
  assert(row, 'a transfer that was written is gone')
  return { ...(await toAdjustment(tx, row)), is_replay: !made.is_new }
}

async function take(tx: Tx, clock: Clock, input: NewAdjustment): Promise<Adjustment> {
  const now = clock.now()
  const amount = -input.amount
  const wallet = await lockWalletOf(tx, input, now)
  if (!wallet) return refuseWithoutWallet(tx, input)
  const { actor_id, reason, reference, metadata } = input
  const stamp: Partial<NewTransfer> & { key_digest: Buffer; input_digest: Buffer } = {
    actor_id,
    reason,
    reference,
    metadata,
    key_digest: keyDigest(input),
    input_digest: inputDigest('adjustment_out', { amount, reason, reference, metadata }),
  }
  const known = await findByKey(tx, wallet.id, stamp.key_digest)
  if (known)
    return { ...(await toAdjustment(tx, checkSame(known, stamp.input_digest, input))), is_replay: true }
  const available = wallet.balance - wallet.held
  if (amount > available) throw new InsufficientFunds(input.unit, available, amount)
  const slices = await burn(tx, wallet.id, amount, now)
  const [taken] = await append(tx, wallet.id, [{ kind: 'adjustment_out', amount, slices, ...stamp }], now)
  const row = taken && (await findTransfer(tx, wallet.id, taken.sequence))
  assert(row, 'a transfer that was written is gone')
  return toAdjustment(tx, row)
}

function checkSame(known: TransferRow, input_digest: Buffer, { idempotency_key }: Keyed): TransferRow {
  if (known.input_digest?.equals(input_digest)) return known
  throw new IdempotencyKeyReused(
    `The key ${idempotency_key} was used for another request on this wallet; nothing was changed.`,
  )
}

async function toAdjustment(tx: Tx, row: TransferRow): Promise<Adjustment> {
  const { customer_id, unit } = await getWallet(tx, row.wallet_id)
  return {
    id: pairId('tr', row.wallet_id, row.sequence),
    customer_id,
    unit,
    amount: row.kind === 'adjustment_in' ? row.amount : -row.amount,
    balance: row.balance_after,
    sequence: row.sequence,
    slices: slicesOf(row.wallet_id, slicePartsOf(row.grant_ids, row.grant_amounts)),
    reason: row.reason,
    created_at: row.created_at,
    is_replay: false,
  }
}

async function refuseWithoutWallet(tx: Tx, input: NewAdjustment): Promise<never> {
  const [unit] = await findUnits(tx, [input.unit])
  if (!unit) throw unknownUnit(input.unit)
  throw new InsufficientFunds(input.unit, 0n, -input.amount)
}
