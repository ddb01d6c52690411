import type { Tx } from '#kernel/db'
import { newId } from '#kernel/ids'
import { least } from '#kernel/money'
import { lostDisputes } from './dispute-queries.ts'
import type { PaymentsKit } from './kit.ts'
import type { PaymentRow } from './payment-queries.ts'
import { writeRefundReceipt } from './receipts.ts'
import { insertRefund, refundsOfPayment } from './refund-queries.ts'
import { moveRefunded } from './refunded-money.ts'

/**
 * Counts the money of a payment's lost disputes as given back, as far as no refund stands for it: when one is
 * lost, and again when a refund beside it fails. Their units went when they were opened, so none are taken
 * again. Answers the payment as it stands then. The caller holds its row.
 */
export async function recordLostMoney(tx: Tx, kit: PaymentsKit, payment: PaymentRow): Promise<PaymentRow> {
  const disputes = await lostDisputes(tx, payment.id)
  if (disputes.length === 0) return payment
  const refunds = await refundsOfPayment(tx, payment.id)
  const standing = refunds.filter(({ status }) => status !== 'failed')
  let left = payment.captured_amount - standing.reduce((sum, { amount }) => sum + amount, 0n)
  let moved = payment
  for (const { id: dispute_id, external_id, amount: contested } of disputes) {
    const reason = `dispute ${dispute_id} lost`
    const recorded = standing
      .filter((refund) => refund.origin === 'vendor' && refund.reason === reason)
      .reduce((sum, { amount }) => sum + amount, 0n)
    const amount = least(contested - recorded, left)
    if (amount <= 0n) continue
    left -= amount
    const now = kit.clock.now()
    const id = newId('re', now.getTime())
    await insertRefund(tx, {
      id,
      payment_id: payment.id,
      status: 'succeeded',
      amount,
      currency: payment.currency,
      reason,
      origin: 'vendor',
      is_full: amount === payment.captured_amount,
      external_id: `dispute:${external_id}${recorded === 0n ? '' : `:${recorded}`}`,
      receipt: null,
      breakdown: null,
      requested_by: `gateway:${payment.gateway}`,
      next_check_at: null,
      created_at: now,
      finished_at: now,
    })
    moved = await moveRefunded(tx, kit, moved, amount)
    await writeRefundReceipt(tx, kit, moved, { id, amount, receipt: null }, 'dispute_lost')
  }
  return moved
}
