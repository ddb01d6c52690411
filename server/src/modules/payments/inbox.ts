import {
  GatewayUnavailable,
  type VendorEvent,
  type VendorPayment,
  type WebhookRequest,
} from '@kopilka/extension'
import type { Db, Tx } from '#kernel/db'
import { NotFound, OperationalError } from '#kernel/errors'
import { recordDispute } from './disputes.ts'
import * as queries from './inbox-queries.ts'
import type { InboxRow, NewInboxEvent } from './inbox-queries.ts'
import type { PaymentsKit } from './kit.ts'
import { findPaymentIds, findPayment } from './payment-queries.ts'
import { recordPaymentWords, type PaymentWord } from './payment-words.ts'
import { referenceOf } from './payments.ts'
import { recordRefundWord, WAITS_FOR_PAYMENT } from './refund-words.ts'
import { reviveEvent } from './revive-event.ts'
import { nextInboxAttempt } from './schedule.ts'
import { findSubscription } from './vendor-subscription-queries.ts'
import { askVendor, recordSubscriptionWord } from './vendor-subscriptions.ts'

/**
 * Long enough for every vendor read of a batch (35 s each, in parallel); a dead worker's events wait this
 * long.
 */
const LEASE_MS = 60_000
/** With pauses up to 25 s this is about an hour and a half of a vendor that does not answer. */
const ATTEMPTS_MAX = 200
/** Vendor reads at once: enough to hide latency, few enough not to be throttled. */
const READS_AT_ONCE = 16

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

interface Resolved {
  row: InboxRow
  event: VendorEvent
  /** The object as the vendor tells it; absent when the event carries another kind. */
  payment?: VendorPayment | undefined
  /** When the vendor was asked; absent for what its notification proved. */
  told_at?: Date
  outcome?: string
  error?: string
}

/**
 * Handles up to `limit` waiting notifications. Those that prove all they say are recorded at once; for the
 * others the vendor is asked first, so they are claimed. Should one be poison, they are recorded one by one
 * and it is put aside. Answers how many there were, so that the caller knows whether to go on.
 */
export async function drainInbox(db: Db, kit: PaymentsKit, limit = 200): Promise<number> {
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
      const { count, claimed } = await takeEvents(db, kit, { limit: 200, except: [...asked.keys()] })
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
  for (const { row, event, outcome, error, told_at } of resolved) {
    if (error !== undefined || outcomes.has(row.id)) continue
    if (outcome !== undefined) outcomes.set(row.id, outcome)
    else if (event.kind === 'refund' && event.refund) {
      outcomes.set(row.id, await recordRefundWord(tx, kit, row.gateway, event.refund))
    } else if (event.kind === 'dispute' && event.trust === 'signed') {
      outcomes.set(row.id, await recordDispute(tx, kit, row.gateway, event.dispute))
    } else if (event.kind === 'subscription' && event.subscription) {
      const told = {
        gateway: row.gateway,
        word: event.subscription,
        told_at: told_at ?? event.occurred_at ?? now,
        facts: event.data,
      }
      outcomes.set(row.id, (await recordSubscriptionWord(tx, kit, told)).outcome)
    } else outcomes.set(row.id, `no handler for ${event.kind}`)
  }
  const failed = resolved.flatMap(({ row, error }) =>
    outcomes.get(row.id) === WAITS_FOR_PAYMENT
      ? [{ row, error: WAITS_FOR_PAYMENT }]
      : error === undefined
        ? []
        : [{ row, error }],
  )
  for (const { row } of failed) outcomes.delete(row.id)
  await queries.closeEvents(
    tx,
    [...outcomes].map(([id, outcome]) => ({ id, outcome })),
    now,
  )
  await queries.postponeEvents(
    tx,
    failed.map(({ row, error }) => ({
      id: row.id,
      next_attempt_at: nextInboxAttempt(row.attempts, now),
      error,
      is_dead: row.attempts >= ATTEMPTS_MAX,
    })),
  )
}

async function resolveAll(db: Db, kit: PaymentsKit, rows: readonly InboxRow[]): Promise<Resolved[]> {
  const resolved: Resolved[] = []
  for (let at = 0; at < rows.length; at += READS_AT_ONCE) {
    const part = rows.slice(at, at + READS_AT_ONCE)
    resolved.push(...(await Promise.all(part.map((row) => resolveOne(db, kit, row)))))
  }
  return resolved
}

async function resolveOne(db: Db, kit: PaymentsKit, row: InboxRow): Promise<Resolved> {
  const event = reviveEvent(row.event)
  const proved = provedOf(row, event)
  if (proved) return proved
  try {
    if (event.kind === 'payment') return await readPayment(db, kit, row, event)
    if (event.kind === 'refund') return await readRefund(db, kit, row, event)
    if (event.kind === 'subscription') return await readSubscription(db, kit, row, event)
    if (event.kind === 'dispute') return await nameDisputed(db, kit, row, event)
    // A kind that another version of this program has stored.
    return { row, event }
  } catch (error) {
    if (!(error instanceof GatewayUnavailable || error instanceof OperationalError)) {
      kit.notice('reading a payment from its vendor failed', {
        gateway: row.gateway,
        message: error instanceof Error ? error.message : String(error),
      })
    }
    return { row, event, error: error instanceof Error ? error.message : String(error) }
  }
}

/** An event whose proved bytes hold the whole object: there is nothing to ask the vendor. */
function provedOf(row: InboxRow, event: VendorEvent): Resolved | undefined {
  if (event.trust !== 'signed') return undefined
  if (event.kind === 'payment' && event.payment) return { row, event, payment: event.payment }
  const has_object =
    (event.kind === 'refund' && event.refund) || (event.kind === 'subscription' && event.subscription)
  return has_object ? { row, event } : undefined
}

async function readPayment(
  db: Db,
  kit: PaymentsKit,
  row: InboxRow,
  event: Extract<VendorEvent, { kind: 'payment' }>,
): Promise<Resolved> {
  const { gateway, config } = kit.gateways.get(row.gateway)
  const [id] = await findPaymentIds(db, [{ ...event, gateway: row.gateway }])
  const ours = id === undefined ? undefined : await findPayment(db, id)
  // Without a payment of ours the vendor's object still tells which it is: the notification may have come
  // before the answer to our own create call was stored.
  const reference = ours
    ? { ...referenceOf(ours), ...(event.external_id === undefined ? {} : { external_id: event.external_id }) }
    : event.external_id === undefined
      ? undefined
      : { payment_id: '', payment_number: 0, external_id: event.external_id, amount: 0n, currency: '' }
  if (!reference) return { row, event, outcome: 'not_ours' }
  const payment = await gateway.getPayment(config, reference, kit.gateways.context(row.gateway))
  return payment ? { row, event, payment } : { row, event, outcome: 'unknown_to_vendor' }
}

async function readRefund(
  db: Db,
  kit: PaymentsKit,
  row: InboxRow,
  event: Extract<VendorEvent, { kind: 'refund' }>,
): Promise<Resolved> {
  const { gateway, config } = kit.gateways.get(row.gateway)
  if (!gateway.getRefund) return { row, event, outcome: 'gateway_cannot_read_refunds' }
  const refund = await gateway.getRefund(
    config,
    {
      refund_id: event.refund_id ?? '',
      external_id: event.external_id,
      payment: {
        payment_id: '',
        payment_number: 0,
        amount: 0n,
        currency: '',
        ...(event.payment_external_id === undefined ? {} : { external_id: event.payment_external_id }),
      },
      amount: 0n,
      currency: '',
    },
    kit.gateways.context(row.gateway),
  )
  return refund ? { row, event: { ...event, refund } } : { row, event, outcome: 'unknown_to_vendor' }
}

async function readSubscription(
  db: Db,
  kit: PaymentsKit,
  row: InboxRow,
  event: Extract<VendorEvent, { kind: 'subscription' }>,
): Promise<Resolved> {
  const { external_id } = event
  const known = await findSubscription(db, { gateway: row.gateway, external_id })
  const product_code = event.product_code ?? known?.product_code ?? undefined
  const told_at = kit.clock.now()
  const reference = { external_id, ...(product_code === undefined ? {} : { product_code }) }
  const subscription = await askVendor(kit, row.gateway, reference)
  if (!subscription) return { row, event, outcome: 'unknown_to_vendor' }
  return { row, event: { ...event, subscription }, told_at }
}

/**
 * Vendors may name a contested payment by another of its ids; asked for that, they answer under the one we
 * know.
 */
async function nameDisputed(
  db: Db,
  kit: PaymentsKit,
  row: InboxRow,
  event: Extract<VendorEvent, { kind: 'dispute' }>,
): Promise<Resolved> {
  const external_id = event.dispute.payment_external_id
  const [known] = await findPaymentIds(db, [{ gateway: row.gateway, external_id }])
  if (known !== undefined) return { row, event }
  const { gateway, config } = kit.gateways.get(row.gateway)
  const reference = { payment_id: '', payment_number: 0, external_id, amount: 0n, currency: '' }
  const payment = await gateway.getPayment(config, reference, kit.gateways.context(row.gateway))
  if (!payment) return { row, event, outcome: 'unknown_to_vendor' }
  return { row, event: { ...event, dispute: { ...event.dispute, payment_external_id: payment.external_id } } }
}
