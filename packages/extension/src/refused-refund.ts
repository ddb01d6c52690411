import type { RefundReference, VendorRefund } from './gateway.ts'

/** A refund the vendor refused, and made no object of: its id is ours. */
export function refusedRefund(
  { refund_id, amount, currency }: Pick<RefundReference, 'refund_id' | 'amount' | 'currency'>,
  failure_reason: string,
): VendorRefund {
  const external_id = `refused:${refund_id}`
  return { external_id, refund_id, status: 'failed', amount, currency, failure_reason }
}
