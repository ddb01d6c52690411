import type { VendorRefund } from '@kopilka/extension'
import type { Tx } from '#kernel/db'
import { refundFailed } from './events.ts'
import { recordForeignRefund } from './foreign-refunds.ts'
import type { PaymentsKit } from './kit.ts'
import { recordLostMoney } from './lost-disputes.ts'
import type { PaymentRow } from './payment-queries.ts'
import { withdrawRefundReceipt } from './receipts.ts'
import * as queries from './refund-queries.ts'
import type { RefundRow } from './refund-queries.ts'
import { refundPayload } from './refunds.ts'
import { moveRefunded } from './refunded-money.ts'

/** Said of one of ours that had failed: its units were given back and are taken again. */
const MADE_AFTER_ALL = 'made at the vendor after it was said to have failed'
const MADE_BESIDE = 'made at the vendor beside the one it was taken for'

/**
 * Records a word that contradicts a refund's end (decision 19). Such words come late, twice and in any order,
 * so none is believed as it comes: the vendor is asked anew, and what it says then counts, if nothing befell
 * the refund since the asking began (`seen`). Money that did not go back leaves the buyer his units and the
 * payment its amount; money that went all the same is a refund made at the vendor. The caller holds the
 * payment's row.
 */
export async function correctRefund(
  tx: Tx,
  kit: PaymentsKit,
  {
    payment,
    refund,
    word,
    seen,
  }: { payment: PaymentRow; refund: RefundRow; word: VendorRefund; seen?: RefundRow },
): Promise<string> {
  const now = kit.clock.now()
  if (seen?.revision !== refund.revision) {
    if (kit.gateways.find(payment.gateway)?.gateway.getRefund) {
      await queries.updateRefund(tx, refund.id, { next_check_at: now, updated_at: now })
      return 'contradicts: the vendor is asked again'
    }
    noticePerson(kit, refund, `its gateway cannot be asked, and says now that it ${word.status}`)
    return 'contradicts: a person decides'
  }
  return word.status === 'failed'
    ? undoRefund(tx, kit, payment, refund, word)
    : redoRefund(tx, kit, payment, refund, word)
}

/** It was said to be done, and the money came back to us. */
async function undoRefund(
  tx: Tx,
  kit: PaymentsKit,
  payment: PaymentRow,
  refund: RefundRow,
  word: VendorRefund,
): Promise<string> {
  const now = kit.clock.now()
  const reason = (word.failure_reason ?? 'refused').slice(0, 200)
  await queries.updateRefund(tx, refund.id, {
    status: 'failed',
    failure_reason: reason,
    next_check_at: null,
    finished_at: now,
    updated_at: now,
  })
  const moved = await moveRefunded(tx, kit, payment, -refund.amount)
  await withdrawRefundReceipt(tx, kit, refund.id)
  const failed = { ...refund, status: 'failed' as const, finished_at: now }
  await kit.events.publish(tx, refundFailed, { ...refundPayload(failed, moved, false), reason })
  await recordLostMoney(tx, kit, moved)
  noticePerson(kit, refund, 'it was done and failed later: the buyer has not got his money')
  return 'failed after all'
}

/** It was said to have failed, and the money went. */
async function redoRefund(
  tx: Tx,
  kit: PaymentsKit,
  payment: PaymentRow,
  refund: RefundRow,
  word: VendorRefund,
): Promise<string> {
  const now = kit.clock.now()
  const { external_id } = refund
  // Its id at the vendor names the money that went; what stands here is that it was thought to have failed.
  await queries.updateRefund(tx, refund.id, {
    external_id: `failed:${refund.revision}:${external_id}`,
    next_check_at: null,
    updated_at: now,
  })
  const outcome = await recordForeignRefund(tx, kit, payment, word, MADE_AFTER_ALL)
  if (outcome.startsWith('refused')) {
    await queries.updateRefund(tx, refund.id, {
      external_id,
      failure_reason: 'paid_out_twice',
      updated_at: now,
    })
    noticePerson(kit, refund, 'it failed, was replaced, and went all the same: more than was taken is gone')
    return outcome
  }
  noticePerson(kit, refund, 'it had failed and went all the same: spent units are written off')
  return 'succeeded after all'
}

function noticePerson(kit: PaymentsKit, refund: RefundRow, what: string): void {
  kit.notice('a refund ended otherwise than its vendor had said', {
    refund_id: refund.id,
    payment_id: refund.payment_id,
    what,
  })
}

/**
 * A word of money that went for a refund of ours under another of the vendor's ids than stands here: because
 * it had failed, or because one made in the cabinet was taken for it. It is a refund made at the vendor.
 * Undefined when the word is about something else. The caller holds the payment's row.
 */
export async function recordOtherRefund(
  tx: Tx,
  kit: PaymentsKit,
  { payment, refund, word }: { payment: PaymentRow; refund: RefundRow; word: VendorRefund },
): Promise<string | undefined> {
  const is_other = refund.external_id !== null && word.external_id !== refund.external_id
  const has_failed = refund.status === 'failed'
  if (word.status !== 'succeeded' || !is_other || !(has_failed || word.refund_id === refund.id))
    return undefined
  if (await queries.findRefundByExternalId(tx, payment.id, word.external_id)) return 'nothing_new'
  return recordForeignRefund(tx, kit, payment, word, has_failed ? MADE_AFTER_ALL : MADE_BESIDE)
}
