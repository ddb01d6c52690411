import {
  GatewayMisconfigured,
  GatewayUnavailable,
  type ReceiptReference,
  type VendorReceipt,
} from '@kopilka/extension'
import type { Db, Tx } from '#kernel/db'
import { assert } from '#kernel/errors'
import { receiptFailed, receiptRegistered } from './events.ts'
import type { ReadyGateway } from './gateways.ts'
import type { PaymentsKit } from './kit.ts'
import { findPayment } from './payment-queries.ts'
import { purposeOf, tellsOf } from './receipt-abilities.ts'
import * as queries from './receipt-queries.ts'
import type { ReceiptRow } from './receipt-queries.ts'
import { plainReceipt, reviveItems } from './receipt-share.ts'
import { mayMoveReceipt, type ReceiptStatus } from './receipt-status.ts'
import { receiptPayload } from './receipts.ts'
import { findRefund } from './refund-queries.ts'
import { nextReceiptAttempt, RECEIPT_MAX_MS } from './schedule.ts'

/** Longer than two of the slowest vendor calls (35 s each): a look and a request. */
const CLAIM_MS = 90_000
const AT_ONCE = 8
/** How long an offset waits for the receipt it offsets. */
const PREPAYMENT_MS = 30_000

/**
 * Sends receipts that wait, looks for those whose outcome is unknown, and asks about those a vendor has.
 * Answers how many it looked at. Run again after a crash, or by two processes, it makes no second receipt: an
 * unknown one is looked for first, and asked for again under the same id.
 */
export async function sendReceipts(db: Db, kit: PaymentsKit, limit = 400): Promise<number> {
  let looked_at = 0
  while (looked_at < limit) {
    const now = kit.clock.now()
    // Few at a time: none waits for its turn longer than its claim lasts.
    const due = await db.transact((tx) =>
      queries.claimDueReceipts(tx, now, new Date(now.getTime() + CLAIM_MS), AT_ONCE),
    )
    await Promise.all(due.map((receipt) => attend(db, kit, receipt)))
    looked_at += due.length
    if (due.length < AT_ONCE) break
  }
  return looked_at
}

async function attend(db: Db, kit: PaymentsKit, receipt: ReceiptRow): Promise<void> {
  const ready = kit.gateways.find(receipt.gateway)
  try {
    if (!ready) throw new GatewayMisconfigured(`the gateway ${receipt.gateway} is not set up`)
    const word =
      receipt.status === 'sent'
        ? await look(db, kit, ready, receipt)
        : await register(db, kit, ready, receipt)
    if (word === 'later') return
    if (word) await db.transact((tx) => settleReceipt(tx, kit, receipt.id, word))
    else await db.transact((tx) => planNext(tx, kit, receipt.id, { reason: 'not_found_at_vendor' }))
  } catch (error) {
    // What was unknown before this round stays so, whatever went wrong in it.
    const is_undone = error instanceof GatewayMisconfigured && receipt.status === 'pending'
    await db.transact((tx) => planNext(tx, kit, receipt.id, { reason: reasonOf(error), is_undone }))
    if (!(error instanceof GatewayMisconfigured) && !(error instanceof GatewayUnavailable)) {
      kit.notice('a receipt could not be sent', { receipt_id: receipt.id, message: String(error) })
    }
  }
}

/** Asks for the receipt to be registered, unless the vendor is found to have it; answers its word. */
async function register(
  db: Db,
  kit: PaymentsKit,
  ready: ReadyGateway,
  receipt: ReceiptRow,
): Promise<VendorReceipt | 'later'> {
  if (receipt.purpose === 'offset' && !(await isPrepaymentTold(db, receipt))) {
    await db.transact((tx) => wait(tx, kit, receipt.id, PREPAYMENT_MS))
    return 'later'
  }
  const { gateway, config } = ready
  const create = gateway.createReceipt?.bind(gateway)
  if (!create) throw new GatewayMisconfigured(`${gateway.id} registers no receipts`)
  const context = kit.gateways.context(gateway.id)
  const reference = await referenceOf(db, receipt)
  if (receipt.status === 'unknown') {
    const found = await look(db, kit, ready, receipt)
    // The one that was refused before is not the answer to this round's request.
    if (found && !(found.status === 'failed' && found.external_id === receipt.external_id)) return found
  }
  // From here on it is not known whether the vendor was asked, should this process die.
  if (!(await db.transact((tx) => move(tx, kit, receipt.id, 'unknown', {})))) return 'later'
  const { payment_external_id, refund_external_id, receipt_id } = reference
  return create(
    config,
    {
      receipt_id,
      kind: receipt.kind,
      is_offset: receipt.purpose === 'offset',
      payment_external_id,
      ...(refund_external_id === undefined ? {} : { refund_external_id }),
      receipt: plainReceipt({
        contact: receipt.contact ?? {},
        items: reviveItems(receipt.items),
        ...(receipt.tax_system === null ? {} : { tax_system: receipt.tax_system }),
      }),
    },
    context,
  )
}

/** What the vendor has; `undefined`: it has none, or does not tell. */
async function look(
  db: Db,
  kit: PaymentsKit,
  ready: ReadyGateway,
  receipt: ReceiptRow,
): Promise<VendorReceipt | undefined> {
  const { gateway, config } = ready
  const ask = gateway.getReceipt?.bind(gateway)
  if (!ask || !tellsOf(ready, purposeOf(receipt))) return undefined
  return ask(config, await referenceOf(db, receipt), kit.gateways.context(gateway.id))
}

/** Records the vendor's word about a receipt. Forward only; a repeat changes nothing. */
async function settleReceipt(
  tx: Tx,
  kit: PaymentsKit,
  receipt_id: string,
  word: VendorReceipt,
): Promise<void> {
  const external_id = word.external_id
  if (word.status === 'failed') {
    await fail(tx, kit, receipt_id, 'failed', { reason: word.failure_reason ?? 'refused', external_id })
    return
  }
  const receipt = await queries.lockReceipt(tx, receipt_id)
  if (!receipt) return
  const now = kit.clock.now()
  if (word.status === 'pending') {
    const is_seen = tellsOf(kit.gateways.find(receipt.gateway), purposeOf(receipt))
    if (receipt.status === 'sent') await planNext(tx, kit, receipt_id, { reason: 'not_registered_in_time' })
    else {
      const next_attempt_at = is_seen ? nextReceiptAttempt(0, now) : null
      await move(tx, kit, receipt_id, 'sent', { external_id, attempts: 0, next_attempt_at })
    }
    return
  }
  if (!mayMoveReceipt(receipt.status, 'registered')) return
  const { document, storage, attribute, registered_at } = word.fiscal ?? {}
  await queries.updateReceipt(tx, receipt_id, {
    status: 'registered',
    external_id,
    fiscal_document: document ?? null,
    fiscal_storage: storage ?? null,
    fiscal_attribute: attribute ?? null,
    registered_at: registered_at ?? now,
    failure_reason: null,
    next_attempt_at: null,
    updated_at: now,
  })
  await kit.events.publish(tx, receiptRegistered, receiptPayload(receipt, registered_at ?? now))
}

interface Failure {
  reason: string
  /** True: the vendor was not asked, or said that it did nothing. */
  is_undone?: boolean
}

function reasonOf(error: unknown): string {
  if (error instanceof GatewayMisconfigured) return error.message
  return error instanceof GatewayUnavailable ? 'no_answer' : 'our_mistake'
}

/** Another try later; after three days it is a person's. */
async function planNext(tx: Tx, kit: PaymentsKit, receipt_id: string, failure: Failure): Promise<void> {
  const receipt = await queries.lockReceipt(tx, receipt_id)
  if (!receipt || receipt.next_attempt_at === null) return
  const now = kit.clock.now()
  const next_attempt_at = nextReceiptAttempt(receipt.attempts, now)
  const failure_reason = failure.reason.slice(0, 200)
  const is_over = now.getTime() - startOf(receipt).getTime() > RECEIPT_MAX_MS
  if (!is_over) {
    // A vendor that did nothing has not got it: this receipt waits as before, with the reason.
    const status = failure.is_undone && receipt.status === 'unknown' ? 'pending' : receipt.status
    await queries.updateReceipt(tx, receipt_id, { status, failure_reason, next_attempt_at, updated_at: now })
    return
  }
  if (receipt.status === 'sent' && receipt.is_test) {
    // Test shops often register none: it stays as sent, and nobody is called.
    await queries.updateReceipt(tx, receipt_id, { next_attempt_at: null, updated_at: now })
    return
  }
  await fail(tx, kit, receipt_id, receipt.status === 'pending' ? 'failed' : 'manual', failure)
}

/** The three days count anew when a person had it sent again. */
function startOf(receipt: ReceiptRow): Date {
  return receipt.retried_at ?? receipt.created_at
}

async function fail(
  tx: Tx,
  kit: PaymentsKit,
  receipt_id: string,
  status: 'failed' | 'manual',
  { reason, external_id }: { reason: string; external_id?: string },
): Promise<void> {
  const receipt = await queries.lockReceipt(tx, receipt_id)
  if (!receipt || !mayMoveReceipt(receipt.status, status)) return
  const now = kit.clock.now()
  const failure_reason = reason.slice(0, 200)
  await queries.updateReceipt(tx, receipt_id, {
    status,
    failure_reason,
    next_attempt_at: null,
    updated_at: now,
    ...(external_id === undefined ? {} : { external_id }),
  })
  await kit.events.publish(tx, receiptFailed, { ...receiptPayload(receipt, now), reason: failure_reason })
}

async function move(
  tx: Tx,
  kit: PaymentsKit,
  receipt_id: string,
  status: ReceiptStatus,
  change: Omit<Parameters<typeof queries.updateReceipt>[2], 'updated_at' | 'status'>,
): Promise<boolean> {
  const receipt = await queries.lockReceipt(tx, receipt_id)
  if (!receipt || (receipt.status !== status && !mayMoveReceipt(receipt.status, status))) return false
  await queries.updateReceipt(tx, receipt_id, { ...change, status, updated_at: kit.clock.now() })
  return true
}

/** Waiting for something else is no attempt. */
async function wait(tx: Tx, kit: PaymentsKit, receipt_id: string, wait_ms: number): Promise<void> {
  const receipt = await queries.lockReceipt(tx, receipt_id)
  if (!receipt || receipt.next_attempt_at === null) return
  const now = kit.clock.now()
  const next_attempt_at = new Date(now.getTime() + wait_ms)
  await queries.updateReceipt(tx, receipt_id, { next_attempt_at, attempts: 0, updated_at: now })
}

/** Registered; or with a vendor of whom nothing more is to be learnt. */
async function isPrepaymentTold(db: Db, offset: ReceiptRow): Promise<boolean> {
  const rows = await queries.receiptsOfPayment(db, offset.payment_id)
  const first = rows.find(({ purpose }) => purpose === 'prepayment')
  return first?.status === 'registered' || (first?.status === 'sent' && first.next_attempt_at === null)
}

async function referenceOf(db: Db, receipt: ReceiptRow): Promise<ReceiptReference> {
  const payment = await findPayment(db, receipt.payment_id)
  const refund = receipt.refund_id === null ? undefined : await findRefund(db, receipt.refund_id)
  assert(payment?.external_id, 'a receipt is of a payment the vendor knows')
  return {
    receipt_id: receipt.round === 1 ? receipt.id : `${receipt.id}-${receipt.round}`,
    purpose: purposeOf(receipt),
    payment_external_id: payment.external_id,
    ...(typeof refund?.external_id === 'string' ? { refund_external_id: refund.external_id } : {}),
    // Before it was taken in this round, the id is that of a refused one.
    ...(receipt.status === 'sent' && receipt.external_id !== null
      ? { external_id: receipt.external_id }
      : {}),
  }
}
