import type { Db, Sql, Tx } from '#kernel/db'
import { assert, InvalidState, NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { differencesFound } from './events.ts'
import { SANDBOX_GATEWAY } from './gateway-choice.ts'
import type { PaymentsKit } from './kit.ts'
import type { Difference } from './reconcile.ts'
import { reconcile, type Reconciliation } from './reconciliation.ts'
import * as queries from './reconciliation-run-queries.ts'
import type { CountedReconciliation, DifferenceRow } from './reconciliation-run-queries.ts'

export type { CountedReconciliation, DifferenceRow } from './reconciliation-run-queries.ts'

const DAY_MS = 86_400_000
/** What was on its way at midnight is looked at on both days. */
const OVERLAP_MS = 6 * 3_600_000
/** A vendor that could not be asked for longer than this is compared by hand, in parts. */
const CATCH_UP_MAX_MS = 31 * DAY_MS
/** More than this is one problem, not so many; the rest is counted. */
const KEPT_MAX = 5000

/**
 * Compares every gateway with its vendor's books up to the last midnight (UTC), from where it was compared
 * before, with an overlap; what was compared already is not again. A gateway that fails is kept as failed,
 * holds up no other, and is made up for by the next call. Answers how many were compared.
 */
export async function reconcileDay(db: Db, kit: PaymentsKit): Promise<number> {
  const today = Math.floor(kit.clock.now_ms() / DAY_MS) * DAY_MS
  let compared = 0
  for (const { gateway, is_test } of kit.gateways.list()) {
    // Of test payments some vendors keep no books; those with a list do.
    if (gateway.id === SANDBOX_GATEWAY || (is_test && !gateway.listPayments)) continue
    const until = (await queries.comparedUntil(db, gateway.id))?.getTime() ?? today - DAY_MS
    if (until >= today) continue
    const begin = Math.max(Math.min(until, today - DAY_MS), today - CATCH_UP_MAX_MS)
    const range = { gateway: gateway.id, from: new Date(begin - OVERLAP_MS), to: new Date(today) }
    try {
      await runReconciliation(db, kit, range)
      compared += 1
    } catch (error) {
      kit.notice('a gateway could not be compared', { gateway: gateway.id, message: String(error) })
    }
  }
  return compared
}

/**
 * Compares as {@link reconcile} does and keeps what was found: the same time again is the same run, the same
 * difference is kept once, and nothing but a person closes one. Differences nobody knew of are told in
 * `reconciliation.differences_found`. A failure is kept too, and thrown.
 */
export async function runReconciliation(
  db: Db,
  kit: PaymentsKit,
  range: { gateway: string; from: Date; to: Date },
): Promise<Reconciliation & { id: string }> {
  let found: Reconciliation
  try {
    found = await reconcile(db, kit, range)
  } catch (error) {
    // Of a gateway that does not exist, or a time that makes no sense, there is nothing to keep.
    if (kit.gateways.find(range.gateway) && range.from < range.to) {
      const message = error instanceof Error ? error.message : String(error)
      await db.transact((tx) => storeFailure(tx, kit, range, message))
    }
    throw error
  }
  const id = await db.transact((tx) => storeFound(tx, kit, found))
  return { ...found, id }
}

/** A page of comparisons, newest first. */
export const listReconciliations = queries.listReconciliations

/** Throws {@link NotFound}. */
export async function getReconciliation(sql: Sql, id: string): Promise<CountedReconciliation> {
  const run = await queries.findReconciliation(sql, id)
  if (!run) throw new NotFound(`There is no reconciliation ${id}.`)
  return run
}

/** A page of what a comparison found, newest first. Throws {@link NotFound} for a comparison there is not. */
export async function listDifferences(
  sql: Sql,
  filter: Parameters<typeof queries.listDifferences>[1],
  page: Parameters<typeof queries.listDifferences>[2],
): Promise<DifferenceRow[]> {
  await getReconciliation(sql, filter.reconciliation_id)
  return queries.listDifferences(sql, filter, page)
}

/**
 * A person has dealt with a difference, and says how; nothing else is changed. Throws {@link NotFound},
 * {@link InvalidState} when somebody has already: the first note stands.
 */
export async function resolveDifference(
  tx: Tx,
  input: { reconciliation_id: string; id: string; note: string; resolved_by: string; now: Date },
): Promise<DifferenceRow> {
  const difference = await queries.lockDifference(tx, input.reconciliation_id, input.id)
  if (!difference) throw new NotFound(`There is no difference ${input.id} in this reconciliation.`)
  if (difference.status === 'resolved') {
    const { resolved_by, resolved_at } = difference
    throw new InvalidState('This difference was resolved already.', { resolved_by, resolved_at })
  }
  const resolved = { note: input.note, resolved_by: input.resolved_by, resolved_at: input.now }
  await queries.setResolved(tx, input.id, resolved)
  return { ...difference, ...resolved, status: 'resolved' }
}

async function storeFailure(
  tx: Tx,
  kit: PaymentsKit,
  { gateway, from, to }: { gateway: string; from: Date; to: Date },
  error: string,
): Promise<void> {
  const now = kit.clock.now()
  await queries.upsertReconciliation(tx, {
    id: newId('rec', now.getTime()),
    gateway,
    from_at: from,
    to_at: to,
    status: 'failed',
    method: null,
    payments_here: 0,
    payments_at_vendor: 0,
    refunds_here: 0,
    refunds_at_vendor: 0,
    error: error.slice(0, 500),
    created_at: now,
  })
}

async function storeFound(tx: Tx, kit: PaymentsKit, found: Reconciliation): Promise<string> {
  const now = kit.clock.now()
  const { gateway, from, to, method, differences } = found
  const id = await queries.upsertReconciliation(tx, {
    id: newId('rec', now.getTime()),
    gateway,
    from_at: from,
    to_at: to,
    status: 'done',
    method,
    payments_here: found.payments_here,
    payments_at_vendor: found.payments_at_vendor,
    refunds_here: found.refunds_here,
    refunds_at_vendor: found.refunds_at_vendor,
    error: null,
    created_at: now,
  })
  assert(id !== undefined, 'a comparison was not kept')
  const wanted = onceEach(differences)
    .slice(0, KEPT_MAX)
    .map(({ id: subject_id, ...one }) => ({ ...one, subject_id, id: newId('diff', now.getTime()) }))
  const kept = new Set(await queries.keepDifferences(tx, gateway, wanted, now))
  await queries.insertFindings(tx, id, [...kept])
  const fresh = wanted.filter((one) => kept.has(one.id))
  if (fresh.length === 0) return id
  await kit.events.publish(tx, differencesFound, {
    reconciliation_id: id,
    gateway,
    from: from.toISOString(),
    to: to.toISOString(),
    count: fresh.length,
    kinds: [...new Set(fresh.map(({ kind }) => kind))].toSorted(),
  })
  return id
}

function onceEach(differences: readonly Difference[]): Difference[] {
  const keyOf = ({ kind, id, external_id, ours, theirs }: Difference): string =>
    JSON.stringify([kind, id, external_id, ours, theirs])
  return [...new Map(differences.map((one) => [keyOf(one), one])).values()]
}
