export const RECEIPT_STATUSES = ['pending', 'unknown', 'sent', 'registered', 'failed', 'manual'] as const

/**
 * Where a receipt is. `sent`: a vendor has it and did not say yet that it is registered; where no vendor
 * tells that, it stays so. `unknown`: a vendor was asked and it is not known what came of it. `manual`: no
 * vendor registers it, or none knows of it; a person has to.
 */
export type ReceiptStatus = (typeof RECEIPT_STATUSES)[number]

const MOVES: Readonly<Record<ReceiptStatus, readonly ReceiptStatus[]>> = {
  pending: ['unknown', 'sent', 'registered', 'failed', 'manual'],
  unknown: ['pending', 'sent', 'registered', 'failed', 'manual'],
  sent: ['registered', 'failed', 'manual'],
  registered: [],
  failed: ['pending', 'registered'],
  manual: ['pending', 'unknown', 'registered'],
}

/** Whether a receipt may go from one status to the other. What the tax office has is final. */
export function mayMoveReceipt(from: ReceiptStatus, to: ReceiptStatus): boolean {
  return MOVES[from].includes(to)
}
