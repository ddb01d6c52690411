import type { Clock } from '#kernel/clock'
import type { Sql } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import { pairId } from '#kernel/ids'
import { type Balance, balanceOf, GRANTS_SHOWN_MAX } from './balance-reader.ts'
import type { LedgerKit } from './kit.ts'
import { findCustomerWallets, findWalletIds, type GrantSource } from './queries.ts'
import { readLive } from './reader-queries.ts'
import { findUnits } from './unit-queries.ts'

/** A grant as its wallet shows it. */
export interface WalletGrant {
  id: string
  granted: bigint
  /** Held units included. */
  remaining: bigint
  held: bigint
  priority: number
  source: GrantSource
  /** null: never. */
  expires_at: Date | null
  created_at: Date
}

/** A customer's holding of one unit. Amounts are in the unit's smallest part. */
export interface Wallet {
  unit: string
  /** How many smallest parts make one unit as people read it. */
  scale: bigint
  /** Held units included; expired ones never. */
  balance: bigint
  held: bigint
  /** What can be spent now: balance less held. */
  available: bigint
  /** What is owed after a forced refund; new units repay it first. */
  debt: bigint
  /** When the next of the grants shown ends; null: none does. */
  next_expiry: Date | null
  /** What is not used up, in the order it will be used; at most a hundred. */
  grants: WalletGrant[]
  has_more_grants: boolean
}

/**
 * A customer's wallet as it stands now; empty when he never had this unit. Throws NotFound for an unknown
 * unit.
 */
export async function readWallet(
  sql: Sql,
  clock: Clock,
  { customer_id, unit }: { customer_id: string; unit: string },
): Promise<Wallet> {
  const [known] = await findUnits(sql, [unit])
  if (!known) throw new NotFound(`There is no unit ${unit}.`)
  const [wallet_id] = await findWalletIds(sql, [{ customer_id, unit }])
  if (wallet_id === undefined) return emptyWallet(unit, known.scale)
  const wallets = await readLive(sql, [wallet_id], clock.now(), GRANTS_SHOWN_MAX + 1)
  const found = wallets.get(wallet_id)
  return found ? walletOf(unit, known.scale, wallet_id, balanceOf(found)) : emptyWallet(unit, known.scale)
}

/** As {@link readWallet}, together with other reads of the moment; for the hot path. */
export async function showWallet(
  kit: LedgerKit,
  { customer_id, unit }: { customer_id: string; unit: string },
): Promise<Wallet> {
  const { directory, reader } = kit
  const scale = directory.peekScale(unit) ?? (await directory.findScale(unit))
  if (scale === undefined) throw new NotFound(`There is no unit ${unit}.`)
  let place = directory.peek(customer_id, unit) ?? (await directory.find(customer_id, unit))
  let balance = place && (await reader.read(place.id))
  if (place && balance?.is_merged) {
    place = await directory.findMoved({ customer_id, unit }, place.id)
    balance = place && (await reader.read(place.id))
  }
  return place && balance ? walletOf(unit, scale, place.id, balance) : emptyWallet(unit, scale)
}

/** Every wallet a customer has, in order of their units. */
export async function listWallets(sql: Sql, clock: Clock, customer_id: string): Promise<Wallet[]> {
  const known = await findCustomerWallets(sql, { customer_id })
  const wallets = await readLive(
    sql,
    known.map(({ id }) => id),
    clock.now(),
    GRANTS_SHOWN_MAX + 1,
  )
  return known.flatMap(({ id, unit, scale }) => {
    const found = wallets.get(id)
    return found ? [walletOf(unit, scale, id, balanceOf(found))] : []
  })
}

function walletOf(unit: string, scale: bigint, wallet_id: bigint, balance: Balance): Wallet {
  const ends = balance.grants.flatMap(({ expires_at }) => (expires_at === null ? [] : [expires_at.getTime()]))
  return {
    unit,
    scale,
    balance: balance.balance,
    held: balance.held,
    available: balance.balance - balance.held,
    debt: balance.debt,
    next_expiry: ends.length === 0 ? null : new Date(Math.min(...ends)),
    grants: balance.grants.map(
      ({ id, granted, remaining, held, priority, source, expires_at, created_at }) => ({
        id: pairId('gr', wallet_id, id),
        granted,
        remaining,
        held,
        priority,
        source,
        expires_at,
        created_at,
      }),
    ),
    has_more_grants: balance.has_more_grants,
  }
}

function emptyWallet(unit: string, scale: bigint): Wallet {
  const nothing = { balance: 0n, held: 0n, available: 0n, debt: 0n }
  return { unit, scale, ...nothing, next_expiry: null, grants: [], has_more_grants: false }
}
