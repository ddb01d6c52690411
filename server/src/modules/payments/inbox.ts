import type { WebhookRequest } from '@kopilka/extension'
import type { Db, Tx } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import { recordDispute } from './disputes.ts'
import { inboxEventFailed } from './events.ts'
import * as queries from './inbox-queries.ts'
import type { InboxRow, NewInboxEvent } from './inbox-queries.ts'
import { provedOf, resolveAll, type Resolved } from './inbox-reading.ts'
import type { PaymentsKit } from './kit.ts'
import { recordPaymentWords, type PaymentWord } from './payment-words.ts'
import { WAITS_FOR_PAYMENT } from './foreign-refunds.ts'
import { recordRefundWord } from './refund-words.ts'
import { reviveEvent } from './revive-event.ts'
import { dropMethod } from './saved-methods.ts'
import { INBOX_ATTEMPTS_MAX, nextInboxAttempt } from './schedule.ts'
import { WAITS_FOR_CHARGE, WAITS_FOR_CUSTOMER, WAITS_FOR_PRODUCT } from './subscription-charges.ts'
import { recordSubscriptionWord } from './vendor-subscriptions.ts'

/**
 * Long enough for every vendor read of a batch (35 s each, in parallel); a dead worker's events wait this
 * long.
 */
const LEASE_MS = 60_000

/** Notifications handled in one round at most. */
export const INBOX_ROUND_MAX = 200

export type StoreEvents = (events: readonly NewInboxEvent[]) => Promise<void>

/** What to answer the vendor with. */
export interface WebhookAnswer {
  status: number
  content_type: string
  body: string
}

/**
 * Takes a vendor's notification: verified on its raw bytes, stored, answered at once; the worker acts on it
 * later. A refused one leaves nothing behind but a line in the log. Throws {@link NotFound} for a gateway
 * that is not set up, OperationalError when it cannot be stored: the vendor then repeats it.
 */
export async function receiveWebhook(
  kit: PaymentsKit,
  store: StoreEvents,
  gateway_id: string,
  request: WebhookRequest,
): Promise<WebhookAnswer> {
  const ready = kit.gateways.find(gateway_id)
  if (!ready) throw new NotFound('There is no such webhook here.')
  const context = kit.gateways.context(gateway_id)
  const result = await ready.gateway.parseWebhook(ready.config, request, context)
  if (result.verdict === 'refused') {
    kit.notice('a notification was refused', {
      gateway: gateway_id,
      reason: result.reason,
      remote_address: request.remote_address,
    })
    return { status: result.status, content_type: 'text/plain; charset=utf-8', body: 'refused' }
  }
  const received_at = kit.clock.now()
  // A vendor's question has no events and a few seconds to be answered in: the database is not waited for.
  if (result.events.length > 0)
    await store(
      result.events.map((event) => ({
        gateway: gateway_id,
        external_event_id: event.external_event_id.slice(0, 300),
        type: event.type.slice(0, 100),
        trust: event.trust,
        event: queries.eventText(event),
        raw_body: request.raw_body,
        remote_address: request.remote_address,
        received_at,
      })),
    )
  return {
    status: result.answer?.status ?? 200,
    content_type: result.answer?.content_type ?? 'text/plain; charset=utf-8',
    body: result.answer?.body ?? '',
  }
}

/**
 * Stores events in one transaction; the server puts a coalescer around it so that bursts cost few commits.
 */
export function storeEvents(db: Db): StoreEvents {
  return async (events) => {
    if (events.length > 0) await db.transact((tx) => queries.insertEvents(tx, events))
  }
}

/**
 * Handles up to `limit` waiting notifications. Those that prove all they say are recorded at once; for the
 * others the vendor is asked first, so they are claimed. Should one be poison, they are recorded one by one
 * and it is put aside. Answers how many there were, so that the caller knows whether to go on.
 */
export async function drainInbox(db: Db, kit: PaymentsKit, limit = INBOX_ROUND_MAX): Promise<number> {
  const { count, claimed } = await takeEvents(db, kit, { limit })
  await Promise.all([...byGateway(claimed).values()].map((rows) => askAndRecord(db, kit, rows)))
  return count
}

/** Rounds of {@link drainInbox} in which a vendor that hangs holds up no other one's notifications. */
export interface InboxRounds {
  /** One round; answers how many notifications there were. Vendors may still be asked afterwards. */
  round(): Promise<number>
  /** Waits for the vendors that are being asked. */
  settled(): Promise<void>
}

/** `wake` is called when a vendor has answered, for more of its notifications may wait. */
export function createInboxRounds(
  db: Db,
  kit: PaymentsKit,
  { wake, on_error }: { wake: () => void; on_error: (error: unknown) => void },
): InboxRounds {
  const asked = new Map<string, Promise<void>>()
  const ask = (gateway: string, rows: readonly InboxRow[]): void => {
    const done = askAndRecord(db, kit, rows)
      .catch(on_error)
      .finally(() => {
        asked.delete(gateway)
        wake()
      })
    asked.set(gateway, done)
  }
  return {
    round: async () => {
      const { count, claimed } = await takeEvents(db, kit, {
        limit: INBOX_ROUND_MAX,
        except: [...asked.keys()],
      })
      for (const [gateway, rows] of byGateway(claimed)) ask(gateway, rows)
      return count
    },
    settled: async () => {
      await Promise.all(asked.values())
    },
  }
}

function byGateway(rows: readonly InboxRow[]): Map<string, InboxRow[]> {
  return Map.groupBy(rows, (row) => row.gateway)
}

/** Reads from the vendor what these notifications did not prove, and records it. */
async function askAndRecord(db: Db, kit: PaymentsKit, rows: readonly InboxRow[]): Promise<void> {
  const resolved = await resolveAll(db, kit, rows)
  try {
    await db.transact((tx) => recordAll(tx, kit, resolved))
  } catch {
    // The failing one is not known from a failed whole; each alone shows it and spares the others.
    for (const one of resolved) await recordAlone(db, kit, one)
  }
}

/** Records what can be recorded without asking anybody, and claims the rest, in one transaction. */
async function takeEvents(
  db: Db,
  kit: PaymentsKit,
  which: { limit: number; except?: readonly string[] },
): Promise<{ count: number; claimed: InboxRow[] }> {
  const take = async (tx: Tx, isReady: (row: InboxRow) => boolean) => {
    const now = kit.clock.now()
    const rows = await queries.lockDueEvents(tx, now, which)
    const ready = rows.filter(isReady)
    const rest = rows.filter((row) => !ready.includes(row))
    const claimed = await queries.claimEvents(tx, rest, new Date(now.getTime() + LEASE_MS))
    await recordAll(
      tx,
      kit,
      ready.map((row) => provedOf(row, reviveEvent(row.event)) ?? { row, event: reviveEvent(row.event) }),
    )
    return { count: rows.length, claimed }
  }
  try {
    return await db.transact((tx) => take(tx, (row) => provedOf(row, reviveEvent(row.event)) !== undefined))
  } catch {
    // One of them is poison, or the database failed: claimed, they are recorded so that each is spared.
    return db.transact((tx) => take(tx, () => false))
  }
}

async function recordAlone(db: Db, kit: PaymentsKit, one: Resolved): Promise<void> {
  try {
    await db.transact((tx) => recordAll(tx, kit, [one]))
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    kit.notice('a notification could not be recorded', {
      gateway: one.row.gateway,
      inbox_id: String(one.row.id),
      message,
    })
    await db.transact((tx) => recordAll(tx, kit, [{ row: one.row, event: one.event, error: message }]))
  }
}

async function recordAll(tx: Tx, kit: PaymentsKit, resolved: readonly Resolved[]): Promise<void> {
  const now = kit.clock.now()
  const outcomes = new Map<bigint, string>()
  const words: (PaymentWord & { inbox_id: bigint })[] = []
  for (const { row, payment } of resolved) {
    if (payment) words.push({ inbox_id: row.id, gateway: row.gateway, word: payment })
  }
  const recorded = await recordPaymentWords(tx, kit, words)
  words.forEach((word, index) => outcomes.set(word.inbox_id, recorded[index] ?? 'recorded'))
  for (const one of resolved) {
    if (one.error === undefined && !outcomes.has(one.row.id))
      outcomes.set(one.row.id, await recordOther(tx, kit, one))
  }
  const failed = resolved.flatMap(({ row, event, error = outcomes.get(row.id) ?? '' }) =>
    !outcomes.has(row.id) || WAITS.has(error) ? [{ row, event, error }] : [],
  )
  for (const { row } of failed) outcomes.delete(row.id)
  await queries.closeEvents(
    tx,
    [...outcomes].map(([id, outcome]) => ({ id, outcome })),
    now,
  )
  await postpone(tx, kit, failed, now)
}

/** Outcomes with which a notification waits: what it tells belongs to something that is not here yet. */
const WAITS: ReadonlySet<string> = new Set([
  WAITS_FOR_PAYMENT,
  WAITS_FOR_CHARGE,
  WAITS_FOR_CUSTOMER,
  WAITS_FOR_PRODUCT,
])

/** Records what is told of anything but a payment; answers its outcome. */
async function recordOther(tx: Tx, kit: PaymentsKit, one: Resolved): Promise<string> {
  const { row, event, outcome } = one
  if (outcome !== undefined) return outcome
  if (event.kind === 'refund' && event.refund) return recordRefundWord(tx, kit, row.gateway, event.refund)
  if (event.kind === 'dispute' && event.trust === 'signed')
    return recordDispute(tx, kit, row.gateway, event.dispute)
  if (event.kind === 'method_removed' && event.trust === 'signed')
    return dropMethod(tx, kit, { gateway: row.gateway, external_id: event.external_id })
  if (event.kind !== 'subscription' || !event.subscription) return `no handler for ${event.kind}`
  const { subscription: word, charge_external_id } = event
  const told_at = one.told_at ?? event.occurred_at ?? kit.clock.now()
  const told = { gateway: row.gateway, word, told_at, facts: event.data }
  const recorded = await recordSubscriptionWord(tx, kit, told)
  if (charge_external_id === undefined) return recorded.outcome
  if (recorded.outcome === 'not_bound') return WAITS_FOR_CUSTOMER
  if (recorded.without_product?.includes(charge_external_id)) return WAITS_FOR_PRODUCT
  const is_listed = word.charges?.some(({ external_id }) => external_id === charge_external_id)
  return is_listed === true ? recorded.outcome : WAITS_FOR_CHARGE
}

/** Puts off what failed or waits; what did so for too long is given up, and people are told. */
async function postpone(
  tx: Tx,
  kit: PaymentsKit,
  failed: readonly Pick<Resolved & { error: string }, 'row' | 'event' | 'error'>[],
  now: Date,
): Promise<void> {
  const postponed = failed.map(({ row, error }) => ({
    id: row.id,
    next_attempt_at: nextInboxAttempt(row.attempts, now),
    error,
    is_dead: row.attempts >= INBOX_ATTEMPTS_MAX,
  }))
  await queries.postponeEvents(tx, postponed)
  const dead = failed.filter(({ row }) => row.attempts >= INBOX_ATTEMPTS_MAX)
  if (dead.length === 0) return
  await kit.events.publish(
    tx,
    inboxEventFailed,
    ...dead.map(({ row, event, error }) => ({
      inbox_event_id: String(row.id),
      gateway: row.gateway,
      type: event.type,
      error: error.slice(0, 500),
      occurred_at: now.toISOString(),
    })),
  )
}
