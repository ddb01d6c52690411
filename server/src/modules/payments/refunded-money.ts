import type { Tx } from '#kernel/db'
import type { PaymentsKit } from './kit.ts'
import { updatePayments, type PaymentRow } from './payment-queries.ts'
import { statusAfterRefunds } from './payment-status.ts'

/**
 * Counts money as given back, or no longer so (a negative amount): the payment's status follows, but a
 * mismatch stays one. Answers the payment as it stands then. The caller holds its row.
 */
export async function moveRefunded(
  tx: Tx,
  kit: PaymentsKit,
  payment: PaymentRow,
  amount: bigint,
): Promise<PaymentRow> {
  const refunded_amount = payment.refunded_amount + amount
  const now = kit.clock.now()
  const status =
    payment.status === 'mismatch' ? 'mismatch' : statusAfterRefunds(payment.captured_amount, refunded_amount)
  await updatePayments(tx, [
    {
      id: payment.id,
      status,
      captured_amount: String(payment.captured_amount),
      refunded_amount: String(refunded_amount),
      external_id: payment.external_id,
      fee: null,
      fee_currency: null,
      failure_reason: payment.failure_reason,
      mismatch_reason: payment.mismatch_reason,
      mismatch: payment.mismatch as object | null,
      authorized_at: payment.authorized_at?.toISOString() ?? null,
      succeeded_at: payment.succeeded_at?.toISOString() ?? null,
      finished_at: payment.finished_at?.toISOString() ?? null,
      next_check_at: null,
      updated_at: now.toISOString(),
    },
  ])
  return { ...payment, status, refunded_amount, next_check_at: null, updated_at: now }
}
