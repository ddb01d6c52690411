import type { Tx } from '#kernel/db'
import { InvalidState } from '#kernel/errors'
import { receiptRegistered } from './events.ts'
import type { PaymentsKit } from './kit.ts'
import { purposeOf, registrarOf, tellsOf } from './receipt-abilities.ts'
import * as queries from './receipt-queries.ts'
import type { ReceiptRow } from './receipt-queries.ts'
import { mayMoveReceipt } from './receipt-status.ts'
import { getReceipt, receiptPayload } from './receipts.ts'

/**
 * Has a receipt sent again, or looked for now. What was refused gets a new key at the vendor; what may have
 * arrived is looked for first and keeps its key, so that there is never a second. Throws NotFound, and
 * {@link InvalidState} when it is registered, or no vendor takes it.
 */
export async function retryReceipt(tx: Tx, kit: PaymentsKit, id: string): Promise<ReceiptRow> {
  const receipt = await lockOrThrow(tx, id)
  const now = kit.clock.now()
  const ready = kit.gateways.find(receipt.gateway)
  const purpose = purposeOf(receipt)
  if (receipt.status === 'registered') throw notNow(receipt, 'is registered')
  if (receipt.status === 'sent' && !tellsOf(ready, purpose)) {
    throw notNow(receipt, 'lies with the vendor, who tells nothing of it')
  }
  if (receipt.status === 'failed' || receipt.status === 'manual') {
    if (registrarOf(ready, purpose, false) !== 'apart') {
      throw notNow(receipt, `is not registered by ${receipt.gateway}: make it by hand and record it`)
    }
    if (receipt.contact === null) throw notNow(receipt, 'has no contact of the buyer any more')
    const is_refused = receipt.status === 'failed'
    await queries.updateReceipt(tx, id, {
      status: is_refused ? 'pending' : 'unknown',
      registrar: 'apart',
      round: is_refused ? receipt.round + 1 : receipt.round,
      attempts: 0,
      failure_reason: null,
      retried_at: now,
      next_attempt_at: now,
      updated_at: now,
    })
  } else {
    await queries.updateReceipt(tx, id, { next_attempt_at: now, retried_at: now, updated_at: now })
  }
  return getReceipt(tx, id)
}

/**
 * Records that a person registered a receipt by hand, with what the tax office knows it by. The same numbers
 * again change nothing. Throws NotFound, and {@link InvalidState} unless it waits for a person.
 */
export async function recordReceipt(
  tx: Tx,
  kit: PaymentsKit,
  id: string,
  fiscal: { document: string; storage: string; attribute: string },
): Promise<ReceiptRow> {
  const receipt = await lockOrThrow(tx, id)
  if (receipt.status === 'registered' && receipt.fiscal_document === fiscal.document) return receipt
  const is_for_person = receipt.status === 'failed' || receipt.status === 'manual'
  if (!is_for_person || !mayMoveReceipt(receipt.status, 'registered')) {
    throw notNow(receipt, 'does not wait for a person')
  }
  const now = kit.clock.now()
  await queries.updateReceipt(tx, id, {
    status: 'registered',
    registrar: 'person',
    fiscal_document: fiscal.document,
    fiscal_storage: fiscal.storage,
    fiscal_attribute: fiscal.attribute,
    registered_at: now,
    failure_reason: null,
    updated_at: now,
  })
  await kit.events.publish(tx, receiptRegistered, receiptPayload(receipt, now))
  return getReceipt(tx, id)
}

async function lockOrThrow(tx: Tx, id: string): Promise<ReceiptRow> {
  return (await queries.lockReceipt(tx, id)) ?? getReceipt(tx, id)
}

function notNow(receipt: ReceiptRow, why: string): InvalidState {
  return new InvalidState(`This receipt ${why}.`, { status_now: receipt.status })
}
