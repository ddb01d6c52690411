import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { assert, InvalidRequest, InvalidState, NotFound } from '#kernel/errors'
import { IdempotencyKeyReused } from '#kernel/idempotency'
import { isId, newId, pairId } from '#kernel/ids'
import { checkAmount } from './amounts.ts'
import { carryOver } from './carry-over.ts'
import { InsufficientFunds, unknownUnit } from './errors.ts'
import * as queries from './hold-queries.ts'
import type { HoldRow } from './hold-queries.ts'
import { HOLD_STATUS_FROM, type HoldStatus } from './hold-status.ts'
import { inputDigest, keyDigest, type Keyed } from './keys.ts'
import { getWallet, lockWalletOf, lockWithTarget } from './locks.ts'
import { append, burn, findByKey, findWallet, type NewTransfer, type WalletRow } from './queries.ts'
import { slicePartsOf, slicesOf, sumOf, takeFirst, without, type Slice, type SlicePart } from './slices.ts'
import { findUnits } from './unit-queries.ts'

/** Longest time a hold may last; what takes longer places a new one. */
export const HOLD_TTL_MAX_SECONDS = 86_400

/** A wish to reserve an amount for work whose outcome is not known yet. */
export interface NewHold extends Keyed {
  customer_id: string
  unit: string
  amount: bigint
  /** 1 to 86,400. */
  ttl_seconds: number
  reason?: string | undefined
  reference?: string | undefined
  metadata?: Readonly<Record<string, unknown>> | undefined
}

/** An amount set aside from its wallet's grants until it is captured, released, or its time is over. */
export interface Hold {
  id: string
  customer_id: string
  unit: string
  amount: bigint
  /** How much of it was used up; 0 unless captured. */
  captured: bigint
  status: HoldStatus
  /** Captured after its time was over, from what the wallet had then. */
  is_late: boolean
  /** The spend a capture made. */
  spend_id: string | null
  /** Which grants it is set aside from. */
  slices: Slice[]
  reason: string | null
  reference: string | null
  expires_at: Date
  created_at: Date
  closed_at: Date | null
  /** True when this answer was given before. */
  is_replay: boolean
}

/**
 * Sets an amount aside, in the burn order; once per key. Throws {@link InsufficientFunds}, InvalidRequest
 * for an unknown unit or too long a time, {@link IdempotencyKeyReused}.
 */
export async function placeHold(tx: Tx, clock: Clock, input: NewHold): Promise<Hold> {
  checkAmount(input.amount)
  if (
    !Number.isInteger(input.ttl_seconds) ||
    input.ttl_seconds < 1 ||
    input.ttl_seconds > HOLD_TTL_MAX_SECONDS
  ) {
    throw new InvalidRequest([{ pointer: '/ttl_seconds', detail: `must be 1 to ${HOLD_TTL_MAX_SECONDS}` }])
  }
  const now = clock.now()
  const wallet = await lockWalletOf(tx, input, now)
  if (!wallet) return refuseWithoutWallet(tx, input)
  const wallet_id = wallet.id
  const { amount, ttl_seconds, reason, reference, metadata } = input
  const digests = {
    key_digest: keyDigest(input),
    input_digest: inputDigest('hold', { amount, ttl_seconds, reason, reference, metadata }),
  }
  const replayed = await findReplay(tx, wallet_id, digests, input)
  // As it was then, whatever became of it since.
  if (replayed)
    return { ...toHold(await getWallet(tx, replayed.wallet_id), asPlaced(replayed)), is_replay: true }
  const available = wallet.balance - wallet.held
  if (amount > available) throw new InsufficientFunds(input.unit, available, amount)
  const slices = await burn(tx, wallet_id, amount, now)
  assert(sumOf(slices) === amount, 'a wallet shows more than its grants hold')
  const hold_id = newId('hold', now.getTime())
  const [placed] = await append(
    tx,
    wallet_id,
    [
      {
        kind: 'hold',
        amount,
        slices,
        ...digests,
        actor_id: input.actor_id,
        reason,
        reference,
        metadata,
        hold_id,
      },
    ],
    now,
  )
  assert(placed, 'a transfer was left without an answer')
  const hold = {
    id: hold_id,
    wallet_id,
    amount,
    placed_sequence: placed.sequence,
    created_at: now,
    expires_at: new Date(now.getTime() + ttl_seconds * 1000),
    grant_ids: slices.map(({ id }) => id),
    grant_amounts: slices.map((slice) => slice.amount),
    reason: reason ?? null,
    reference: reference ?? null,
    metadata: metadata ?? null,
  }
  await queries.insertHold(tx, hold)
  return toHold(wallet, asPlaced({ ...hold, status: 'placed', captured: 0n, is_late: false, ...NOT_CLOSED }))
}

/**
 * Uses up a hold, or a smaller part of it; the rest goes back to its grants. Default: all of it. After its
 * time is over the amount is spent directly if the wallet has it, and the hold says that it was late.
 * Throws NotFound, {@link InvalidState} when it was ended before or the amount is larger than what is held,
 * {@link InsufficientFunds} when it is late and the wallet is short, {@link IdempotencyKeyReused}.
 */
export async function captureHold(
  tx: Tx,
  clock: Clock,
  input: Keyed & { hold_id: string; amount?: bigint | undefined },
): Promise<Hold> {
  if (input.amount !== undefined) checkAmount(input.amount)
  const now = clock.now()
  const { hold, wallet, target } = await lockHold(tx, input.hold_id, now)
  const digests = {
    key_digest: keyDigest(input),
    input_digest: inputDigest('capture', { hold_id: hold.id, amount: input.amount }),
  }
  const replayed = await findReplay(tx, target.id, digests, input)
  if (replayed) return { ...toHold(wallet, replayed), is_replay: true }
  if (hold.status !== 'placed' && hold.status !== 'expired') throw ended(hold)
  const amount = input.amount ?? hold.amount
  if (amount > hold.amount) {
    throw new InvalidState(`The hold is of ${hold.amount}; ${amount} cannot be captured.`, {
      held: hold.amount,
    })
  }
  const keyed: Stamp = { ...digests, actor_id: input.actor_id, hold_id: hold.id }
  if (hold.status === 'expired' || hold.expires_at <= now) {
    return captureLate(tx, { hold, wallet, target }, amount, keyed, now)
  }
  const parts = slicePartsOf(hold.grant_ids, hold.grant_amounts)
  const taken = takeFirst(parts, amount)
  const rest = without(parts, taken)
  const [captured] = await append(
    tx,
    wallet.id,
    [
      {
        kind: 'capture',
        amount,
        slices: taken,
        ...keyed,
        ...wordsOf(hold),
        related_sequence: hold.placed_sequence,
      },
      ...(rest.length === 0 ? [] : [releaseOf(hold, rest)]),
    ],
    now,
  )
  assert(captured, 'a transfer was left without an answer')
  await carryOver(tx, wallet.id, now)
  return close(tx, wallet, hold, {
    status: 'captured',
    captured: amount,
    closed_wallet_id: wallet.id,
    closed_sequence: captured.sequence,
    closed_at: now,
  })
}

/**
 * Gives all of a hold back to its grants; what ended meanwhile expires at once. Throws NotFound,
 * {@link InvalidState} when it was ended before, {@link IdempotencyKeyReused}.
 */
export async function releaseHold(tx: Tx, clock: Clock, input: Keyed & { hold_id: string }): Promise<Hold> {
  const now = clock.now()
  const { hold, wallet, target } = await lockHold(tx, input.hold_id, now)
  const digests = { key_digest: keyDigest(input), input_digest: inputDigest('release', { hold_id: hold.id }) }
  const replayed = await findReplay(tx, target.id, digests, input)
  if (replayed) return { ...toHold(wallet, replayed), is_replay: true }
  if (hold.status !== 'placed') throw ended(hold)
  return endHold(tx, wallet, hold, 'released', now, { ...digests, actor_id: input.actor_id })
}

/** Ends a placed hold whose time is over. Answers false when somebody else ended it first. */
export async function expireHold(tx: Tx, clock: Clock, hold_id: string): Promise<boolean> {
  const now = clock.now()
  const { hold, wallet } = await lockHold(tx, hold_id, now)
  if (hold.status !== 'placed' || hold.expires_at > now) return false
  await endHold(tx, wallet, hold, 'expired', now, {})
  return true
}

/** Throws NotFound. */
export async function getHold(sql: Sql, id: string): Promise<Hold> {
  const hold = isId('hold', id) ? await queries.findHold(sql, id) : undefined
  const wallet = hold && (await findWallet(sql, hold.wallet_id))
  if (!hold || !wallet) throw new NotFound(`There is no hold ${id}.`)
  return toHold(wallet, hold)
}

/** What the transfer of a request carries besides its movement. */
type Stamp = Pick<NewTransfer, 'key_digest' | 'input_digest' | 'actor_id' | 'hold_id'>

const NOT_CLOSED = { closed_wallet_id: null, closed_sequence: null, closed_at: null }

interface LockedHold {
  hold: HoldRow
  wallet: WalletRow
  /** Where its customer's units are now: the same wallet unless he was merged into another. */
  target: WalletRow
}

/**
 * Locks the wallet of a hold, and where that was merged into too, then reads the hold as it is under the
 * locks.
 */
async function lockHold(tx: Tx, hold_id: string, now: Date): Promise<LockedHold> {
  const seen = isId('hold', hold_id) ? await queries.findHold(tx, hold_id) : undefined
  if (!seen) throw new NotFound(`There is no hold ${hold_id}.`)
  const { wallet, target } = await lockWithTarget(tx, seen.wallet_id, now)
  const hold = await queries.findHold(tx, hold_id)
  assert(hold, 'a hold is gone')
  return { hold, wallet, target }
}

async function captureLate(
  tx: Tx,
  { hold, wallet, target }: LockedHold,
  amount: bigint,
  keyed: Stamp,
  now: Date,
): Promise<Hold> {
  if (hold.status === 'placed') await endHold(tx, wallet, hold, 'expired', now, {})
  const { balance, held, unit } = await getWallet(tx, target.id)
  if (amount > balance - held) throw new InsufficientFunds(unit, balance - held, amount)
  const slices = await burn(tx, target.id, amount, now)
  const [captured] = await append(
    tx,
    target.id,
    [{ kind: 'late_capture', amount, slices, ...keyed, ...wordsOf(hold) }],
    now,
  )
  assert(captured, 'a transfer was left without an answer')
  return close(tx, wallet, hold, {
    status: 'captured',
    captured: amount,
    is_late: true,
    closed_wallet_id: target.id,
    closed_sequence: captured.sequence,
    closed_at: now,
  })
}

async function endHold(
  tx: Tx,
  wallet: WalletRow,
  hold: HoldRow,
  status: 'released' | 'expired',
  now: Date,
  keyed: Stamp,
): Promise<Hold> {
  const parts = slicePartsOf(hold.grant_ids, hold.grant_amounts)
  const [released] = await append(tx, wallet.id, [{ ...releaseOf(hold, parts), ...keyed }], now)
  assert(released, 'a transfer was left without an answer')
  await carryOver(tx, wallet.id, now)
  return close(tx, wallet, hold, {
    status,
    closed_wallet_id: wallet.id,
    closed_sequence: released.sequence,
    closed_at: now,
  })
}

async function close(
  tx: Tx,
  wallet: WalletRow,
  hold: HoldRow,
  facts: Parameters<typeof queries.closeHold>[3],
): Promise<Hold> {
  const closed = await queries.closeHold(tx, hold.id, HOLD_STATUS_FROM[facts.status], facts)
  assert(closed, 'a hold changed under the lock of its wallet')
  return toHold(wallet, closed)
}

function releaseOf(hold: HoldRow, slices: readonly SlicePart[]): NewTransfer {
  return {
    kind: 'release',
    amount: sumOf(slices),
    slices,
    hold_id: hold.id,
    related_sequence: hold.placed_sequence,
  }
}

function wordsOf(hold: HoldRow): Pick<NewTransfer, 'reason' | 'reference' | 'metadata'> {
  return { reason: hold.reason, reference: hold.reference, metadata: hold.metadata as object | null }
}

async function findReplay(
  tx: Tx,
  wallet_id: bigint,
  digests: { key_digest: Buffer; input_digest: Buffer },
  { idempotency_key }: Keyed,
): Promise<HoldRow | undefined> {
  const transfer = await findByKey(tx, wallet_id, digests.key_digest)
  if (!transfer) return undefined
  if (!transfer.input_digest?.equals(digests.input_digest) || transfer.hold_id === null) {
    throw new IdempotencyKeyReused(
      `The key ${idempotency_key} was used for another request on this wallet; nothing was changed.`,
    )
  }
  return queries.findHold(tx, transfer.hold_id)
}

function asPlaced(hold: HoldRow): HoldRow {
  return { ...hold, status: 'placed', captured: 0n, is_late: false, ...NOT_CLOSED }
}

function toHold(wallet: { customer_id: string; unit: string }, hold: HoldRow): Hold {
  return {
    id: hold.id,
    customer_id: wallet.customer_id,
    unit: wallet.unit,
    amount: hold.amount,
    captured: hold.captured,
    status: hold.status,
    is_late: hold.is_late,
    spend_id:
      hold.status === 'captured' && hold.closed_sequence !== null && hold.closed_wallet_id !== null
        ? pairId('tr', hold.closed_wallet_id, hold.closed_sequence)
        : null,
    slices: slicesOf(hold.wallet_id, slicePartsOf(hold.grant_ids, hold.grant_amounts)),
    reason: hold.reason,
    reference: hold.reference,
    expires_at: hold.expires_at,
    created_at: hold.created_at,
    closed_at: hold.closed_at,
    is_replay: false,
  }
}

function ended(hold: HoldRow): InvalidState {
  return new InvalidState(`The hold is ${hold.status}.`, { hold_status: hold.status })
}

async function refuseWithoutWallet(sql: Sql, input: NewHold): Promise<never> {
  const [unit] = await findUnits(sql, [input.unit])
  if (!unit) throw unknownUnit(input.unit)
  throw new InsufficientFunds(input.unit, 0n, input.amount)
}
