import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { assert, InvalidRequest, NotFound } from '#kernel/errors'
import { IdempotencyKeyReused } from '#kernel/idempotency'
import { pairId, readPairId } from '#kernel/ids'
import { toPage, type Cursors, type Page } from '#kernel/page'
import { checkAmount } from './amounts.ts'
import { balanceTooLarge, unknownUnit } from './errors.ts'
import * as queries from './grant-queries.ts'
import type { GrantInput, GrantOutcome, GrantRow } from './grant-queries.ts'
import { inputDigest, keyDigest } from './keys.ts'
import { findCustomerWallets, type GrantSource } from './queries.ts'

/** Units to be given to a customer under one set of terms. */
export interface NewGrant {
  customer_id: string
  unit: string
  amount: bigint
  source: GrantSource
  /** The name of what this grant is for, unique in its source: the same name again is the same grant. */
  source_id: string
  /** Lower is used up first; default by source: promo 10, bonus and referral 20, subscription 30, paid 50. */
  priority?: number | undefined
  is_paid?: boolean | undefined
  /**
   * What was paid for all of it, in minor units of the currency; for refunds and for what is owed in goods.
   */
  price_amount?: bigint | undefined
  price_currency?: string | undefined
  /** A moment in the future: until then the units do not count. */
  starts_at?: Date | null | undefined
  /** Exclusive. null or undefined: never. */
  expires_at?: Date | null | undefined
  /** The grant whose fate it shares: the bonus of a purchase goes when the purchase is refunded. */
  parent?: { source: GrantSource; source_id: string } | undefined
  reason?: string | undefined
  reference?: string | undefined
  metadata?: Readonly<Record<string, unknown>> | undefined
  actor_id: string
}

/** A grant as it was made. */
export interface GrantResult {
  id: string
  /** False when a grant of this source and name was there. */
  is_new: boolean
  /** The wallet's balance right after it was made. */
  balance: bigint
}

/** A grant as it stands. Amounts are in the unit's smallest part. */
export interface GrantState {
  id: string
  customer_id: string
  unit: string
  granted: bigint
  /** Held units included. */
  remaining: bigint
  held: bigint
  /** Taken back by refunds and disputes. */
  revoked: bigint
  priority: number
  is_paid: boolean
  price_amount: bigint | null
  price_currency: string | null
  source: GrantSource
  source_id: string
  starts_at: Date
  expires_at: Date | null
  created_at: Date
}

/** Grants in one statement at most; more are several. */
const CALL_MAX = 500

const PRIORITIES: Readonly<Record<GrantSource, number>> = {
  promo: 10,
  bonus: 20,
  referral: 20,
  manual: 20,
  refund: 20,
  subscription: 30,
  transfer: 30,
  purchase: 50,
}

/**
 * Makes grants in one call, each once per source and name; what was made before is answered as it was.
 * All or nothing. Throws InvalidRequest for an unknown unit, parent, period or too large an amount, and
 * {@link IdempotencyKeyReused} when a name was used for another customer, unit or amount.
 */
export async function grantMany(tx: Tx, clock: Clock, grants: readonly NewGrant[]): Promise<GrantResult[]> {
  if (grants.length === 0) return []
  const now = clock.now()
  const outcomes: GrantOutcome[] = []
  for (let from = 0; from < grants.length; from += CALL_MAX) {
    const part = grants.slice(from, from + CALL_MAX).map((grant) => inputOf(grant, now))
    outcomes.push(...(await queries.insertGrants(tx, part, now)))
  }
  return grants.map((grant, index) => resultOf(grant, outcomes[index]))
}

/** As {@link grantMany}, of one. */
export async function grant(tx: Tx, clock: Clock, input: NewGrant): Promise<GrantResult> {
  const [result] = await grantMany(tx, clock, [input])
  assert(result, 'a grant was left without an answer')
  return result
}

/** A grant by a person or a program of the owner, once per idempotency key. */
export interface KeyedGrant extends Omit<NewGrant, 'source_id' | 'parent'> {
  idempotency_key: string
  /** Books it as a correction instead of new units. */
  is_adjustment?: boolean | undefined
}

/**
 * Makes a grant under an idempotency key instead of a name. Throws as {@link grantMany}.
 */
export async function grantOnce(tx: Tx, clock: Clock, input: KeyedGrant): Promise<GrantResult> {
  const now = clock.now()
  const { customer_id, unit, actor_id, idempotency_key: _key, is_adjustment, ...facts } = input
  const key_digest = keyDigest(input)
  const grant: NewGrant = {
    ...facts,
    customer_id,
    unit,
    actor_id,
    // The key belongs to one actor and one wallet, and so does this name.
    source_id: `${customer_id}:${unit}:${key_digest.toString('hex')}`,
  }
  const outcomes = await queries.insertGrants(
    tx,
    [
      {
        ...inputOf(grant, now),
        kind: is_adjustment ? 'adjustment_in' : 'grant',
        key_digest: bytea(key_digest),
        input_digest: bytea(inputDigest(is_adjustment ? 'adjustment' : 'grant', facts)),
      },
    ],
    now,
  )
  return resultOf(grant, outcomes[0])
}

/** A grant by its id. Throws NotFound. */
export async function getGrant(sql: Sql, id: string): Promise<GrantState> {
  const [found] = await findGrants(sql, [id])
  if (!found) throw new NotFound(`There is no grant ${id}.`)
  return found
}

/** Grants by id; what is not there is missing. One that moved with its owner is answered as it stands now. */
export async function findGrants(sql: Sql, ids: readonly string[]): Promise<GrantState[]> {
  const places = ids.flatMap((id) => {
    const place = readPairId('gr', id)
    return place ? [{ wallet_id: place.high, id: place.low }] : []
  })
  return statesOf(sql, await queries.findGrants(sql, places))
}

/** Grants by what made them; what is not there is missing. In the order asked. */
export async function findGrantsBySource(
  sql: Sql,
  sources: readonly { source: GrantSource; source_id: string }[],
): Promise<GrantState[]> {
  const rows = await queries.findGrantsBySource(sql, sources)
  const by_name = new Map(rows.map((row) => [`${row.source} ${row.source_id}`, row]))
  const found = sources.flatMap(({ source, source_id }) => by_name.get(`${source} ${source_id}`) ?? [])
  return statesOf(sql, found)
}

/** Every grant of a customer, used up or not, newest first. Throws InvalidRequest for a foreign cursor. */
export async function listGrants(
  sql: Sql,
  cursors: Cursors,
  filter: { customer_id: string; unit?: string | undefined },
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<GrantState>> {
  const list = `grants/${filter.customer_id}/${filter.unit ?? ''}`
  const wallets = await findCustomerWallets(sql, filter)
  const position = page.cursor === undefined ? undefined : cursors.open(list, page.cursor)
  const after = position && {
    created_at: new Date(String(position[0])),
    wallet_id: BigInt(position[1] ?? 0),
    id: BigInt(position[2] ?? 0),
  }
  const rows = await queries.listGrants(
    sql,
    wallets.map(({ id }) => id),
    after,
    page.limit + 1,
  )
  return toPage(
    rows,
    page.limit,
    cursors,
    list,
    (row) => [row.created_at.toISOString(), String(row.wallet_id), String(row.id)],
    plainState,
  )
}

/**
 * What a grant and the parts of it that moved with its owner hold together. The id, terms and what was
 * granted are those of the grant itself.
 */
async function statesOf(sql: Sql, rows: readonly GrantRow[]): Promise<GrantState[]> {
  const parts = Map.groupBy(
    await queries.findParts(sql, rows),
    (part) => `${part.origin_wallet_id}/${part.origin_id}`,
  )
  return rows.map((row) => {
    const whole = [row, ...(parts.get(`${row.wallet_id}/${row.id}`) ?? [])]
    const sum = (pick: (part: GrantRow) => bigint): bigint =>
      whole.reduce((total, part) => total + pick(part), 0n)
    return {
      ...plainState(row),
      customer_id: whole.at(-1)?.customer_id ?? row.customer_id,
      remaining: sum((part) => part.remaining),
      held: sum((part) => part.held),
      revoked: sum((part) => part.revoked),
    }
  })
}

function plainState(row: GrantRow): GrantState {
  return {
    id: pairId('gr', row.wallet_id, row.id),
    customer_id: row.customer_id,
    unit: row.unit,
    granted: row.granted,
    remaining: row.remaining,
    held: row.held,
    revoked: row.revoked,
    priority: row.priority,
    is_paid: row.is_paid,
    price_amount: row.price_amount,
    price_currency: row.price_currency,
    source: row.source,
    source_id: row.source_id,
    starts_at: row.starts_at,
    expires_at: row.expires_at,
    created_at: row.created_at,
  }
}

function inputOf(grant: NewGrant, now: Date): GrantInput {
  checkAmount(grant.amount)
  const { customer_id, unit, amount, source, source_id, actor_id, reason, reference, metadata, parent } =
    grant
  const starts_at = grant.starts_at && grant.starts_at > now ? grant.starts_at : null
  if (grant.expires_at && grant.expires_at <= (starts_at ?? now)) {
    throw new InvalidRequest([
      { pointer: '/expires_at', detail: 'must be later than the start, and in the future' },
    ])
  }
  const is_paid = grant.is_paid ?? source === 'purchase'
  return {
    customer_id,
    unit,
    granted: amount,
    source,
    source_id,
    actor_id,
    reason,
    reference,
    metadata,
    priority: grant.priority ?? (is_paid ? PRIORITIES.purchase : PRIORITIES[source]),
    is_paid,
    starts_at,
    expires_at: grant.expires_at ?? null,
    price_amount: grant.price_amount ?? null,
    price_units: grant.price_amount === undefined ? null : amount,
    price_currency: grant.price_amount === undefined ? null : (grant.price_currency ?? null),
    parent_source: parent?.source,
    parent_source_id: parent?.source_id,
  }
}

function bytea(digest: Buffer): string {
  return `\\x${digest.toString('hex')}`
}

function resultOf(grant: NewGrant, outcome: GrantOutcome | undefined): GrantResult {
  assert(outcome, 'a grant was left without an answer')
  switch (outcome.status) {
    case 'granted':
    case 'existing':
      return {
        id: pairId('gr', outcome.wallet_id, outcome.grant_id),
        is_new: outcome.status === 'granted',
        balance: outcome.balance,
      }
    case 'conflict':
      throw new IdempotencyKeyReused(
        `The grant ${grant.source} ${grant.source_id}, or its key, was made with other facts.`,
      )
    case 'too_large':
      throw balanceTooLarge()
    case 'unknown_unit':
      throw unknownUnit(grant.unit)
    case 'unknown_parent':
      throw new InvalidRequest([
        { pointer: '/parent', detail: `there is no grant ${grant.parent?.source_id ?? ''}` },
      ])
  }
}
