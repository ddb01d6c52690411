import type { Clock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { assert, InvalidRequest } from '#kernel/errors'
import { IdempotencyKeyReused } from '#kernel/idempotency'
import { pairId } from '#kernel/ids'
import { AMOUNT_MAX } from '#kernel/money'
import { checkAmount } from './amounts.ts'
import { balanceTooLarge, InsufficientFunds, unknownUnit } from './errors.ts'
import { findGrants } from './grant-queries.ts'
import { inputDigest, keyDigest, type Keyed } from './keys.ts'
import { getWallet } from './locks.ts'
import {
  append,
  burn,
  ensureWallets,
  findAnswering,
  findByKey,
  findTransfer,
  findWalletIds,
  lockWallets,
  type NewTransfer,
  type TransferRow,
  type WalletRow,
} from './queries.ts'
import { slicePartsOf, slicesOf, type Slice, type SlicePart } from './slices.ts'
import { findUnits } from './unit-queries.ts'

/** A gift of units from one customer to another. */
export interface NewCustomerTransfer extends Keyed {
  from_customer_id: string
  to_customer_id: string
  unit: string
  amount: bigint
  reason?: string | undefined
  reference?: string | undefined
  metadata?: Readonly<Record<string, unknown>> | undefined
}

/** A gift that was made. */
export interface CustomerTransfer {
  id: string
  from_customer_id: string
  to_customer_id: string
  unit: string
  amount: bigint
  /** Of the giver, right after it. */
  balance: bigint
  /** Which of the giver's grants it came from. */
  slices: Slice[]
  /** The grants it became, in the same order and with the same priority, expiry and age. */
  grants: Slice[]
  reason: string | null
  created_at: Date
  /** True when this answer was given before. */
  is_replay: boolean
}

/**
 * Moves units between customers, in the giver's burn order, once per key. Each slice becomes a grant that
 * keeps its priority, expiry and price; the receiver's debt is repaid first. Throws {@link
 * InsufficientFunds}, InvalidRequest for one customer twice or an unknown unit, {@link
 * IdempotencyKeyReused}.
 */
export async function transferUnits(
  tx: Tx,
  clock: Clock,
  input: NewCustomerTransfer,
): Promise<CustomerTransfer> {
  checkAmount(input.amount)
  const now = clock.now()
  const { from, to } = await lockBoth(tx, input, now)
  const { to_customer_id, unit, amount, reason, reference, metadata } = input
  const stamp = {
    key_digest: keyDigest(input),
    actor_id: input.actor_id,
    reason,
    reference,
    metadata,
    input_digest: inputDigest('transfer', { to_customer_id, unit, amount, reason, reference, metadata }),
  }
  const known = await findByKey(tx, from.id, stamp.key_digest)
  if (known) return replay(tx, known, stamp.input_digest, input)
  const available = from.balance - from.held
  if (amount > available) throw new InsufficientFunds(unit, available, amount)
  if (to.balance + to.scheduled + amount > AMOUNT_MAX) throw balanceTooLarge()
  const slices = await burn(tx, from.id, amount, now)
  const [out] = await append(
    tx,
    from.id,
    [{ kind: 'transfer_out', amount, slices, related_wallet_id: to.id, ...stamp }],
    now,
  )
  assert(out, 'a transfer was left without an answer')
  const words = { actor_id: input.actor_id, reason, reference, related_wallet_id: from.id }
  await append(
    tx,
    to.id,
    (await giftsOf(tx, from, out.sequence, slices)).map((row) => ({
      ...row,
      ...words,
      related_sequence: out.sequence,
    })),
    now,
  )
  const row = await findTransfer(tx, from.id, out.sequence)
  assert(row, 'a transfer that was written is gone')
  return toTransfer(tx, row)
}

/** Locks both wallets, making the receiver's; again when either customer was merged meanwhile. */
async function lockBoth(
  tx: Tx,
  { from_customer_id, to_customer_id, unit, amount }: NewCustomerTransfer,
  now: Date,
): Promise<{ from: WalletRow; to: WalletRow }> {
  if ((await findUnits(tx, [unit])).length === 0) throw unknownUnit(unit)
  for (;;) {
    const [from_id] = await findWalletIds(tx, [{ customer_id: from_customer_id, unit }])
    if (from_id === undefined) throw new InsufficientFunds(unit, 0n, amount)
    const [to_id] = await ensureWallets(tx, [{ customer_id: to_customer_id, unit }], now)
    assert(to_id, 'a wallet was not made')
    if (from_id === to_id) {
      throw new InvalidRequest([{ pointer: '/to_customer_id', detail: 'is the same customer' }])
    }
    const wallets = await lockWallets(tx, [from_id, to_id], now)
    const from = wallets.find(({ id }) => id === from_id)
    const to = wallets.find(({ id }) => id === to_id)
    assert(from && to, 'a wallet that was found is gone')
    if (from.merged_into === null && to.merged_into === null) return { from, to }
  }
}

async function giftsOf(
  tx: Tx,
  from: WalletRow,
  sequence: bigint,
  slices: readonly SlicePart[],
): Promise<NewTransfer[]> {
  const grants = await findGrants(
    tx,
    slices.map(({ id }) => ({ wallet_id: from.id, id })),
  )
  const out_id = pairId('tr', from.id, sequence)
  return slices.map(({ id, amount }) => {
    const grant = grants.find((one) => one.id === id)
    assert(grant, 'a grant is gone')
    const {
      priority,
      is_paid,
      starts_at,
      expires_at,
      created_at,
      price_amount,
      price_units,
      price_currency,
    } = grant
    return {
      kind: 'transfer_in',
      amount,
      new_grant: {
        granted: amount,
        priority,
        is_paid,
        starts_at,
        expires_at,
        created_at,
        price_amount,
        price_units,
        price_currency,
        source: 'transfer',
        source_id: `${out_id}:${id}`,
      },
    }
  })
}

async function replay(
  tx: Tx,
  known: TransferRow,
  input_digest: Buffer,
  { idempotency_key }: Keyed,
): Promise<CustomerTransfer> {
  if (known.kind !== 'transfer_out' || !known.input_digest?.equals(input_digest)) {
    throw new IdempotencyKeyReused(
      `The key ${idempotency_key} was used for another request on this wallet; nothing was changed.`,
    )
  }
  return { ...(await toTransfer(tx, known)), is_replay: true }
}

async function toTransfer(tx: Tx, row: TransferRow): Promise<CustomerTransfer> {
  assert(row.related_wallet_id !== null, 'a gift does not name its receiver')
  const from = await getWallet(tx, row.wallet_id)
  const to = await getWallet(tx, row.related_wallet_id)
  const received = await findAnswering(tx, to.id, row.wallet_id, row.sequence)
  return {
    id: pairId('tr', row.wallet_id, row.sequence),
    from_customer_id: from.customer_id,
    to_customer_id: to.customer_id,
    unit: from.unit,
    amount: row.amount,
    balance: row.balance_after,
    slices: slicesOf(from.id, slicePartsOf(row.grant_ids, row.grant_amounts)),
    grants: received.flatMap((one) => slicesOf(to.id, slicePartsOf(one.grant_ids, one.grant_amounts))),
    reason: row.reason,
    created_at: row.created_at,
    is_replay: false,
  }
}
