import type { Sql } from '#kernel/db'
import * as queries from './invariant-queries.ts'
import * as receipts from './receipt-invariant-queries.ts'

/** What must be true of payments at any moment; each finding names the row that breaks it. */
export const paymentInvariants: readonly {
  name: string
  find: (sql: Sql, limit: number, now: Date) => Promise<string[]>
}[] = [
  { name: 'refunds_within_captured', find: queries.refundsOverCaptured },
  { name: 'refunded_amount_adds_up', find: queries.refundedAmountDiffers },
  { name: 'payment_status_fits_amounts', find: queries.statusAgainstAmounts },
  { name: 'nothing_unfinished_without_next_check', find: queries.unfinishedWithoutCheck },
  { name: 'inbox_drained', find: queries.inboxTooOld },
  { name: 'inbox_without_failures', find: queries.inboxFailed },
  { name: 'fiscal_payment_has_its_receipt', find: receipts.paymentsWithoutReceipt },
  { name: 'fiscal_refund_has_its_receipt', find: receipts.refundsWithoutReceipt },
  { name: 'offsets_within_prepayments', find: receipts.offsetsOverPrepayments },
  { name: 'receipt_lines_add_up', find: receipts.receiptsThatDoNotAddUp },
  { name: 'receipts_are_sent', find: receipts.receiptsNobodySends },
]
