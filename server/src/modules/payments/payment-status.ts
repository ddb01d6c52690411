import type { VendorPaymentStatus } from '@kopilka/extension'

export const PAYMENT_STATUSES = [
  'pending',
  'requires_action',
  'authorized',
  'unknown',
  'expired',
  'failed',
  'canceled',
  'mismatch',
  'succeeded',
  'partially_refunded',
  'refunded',
] as const

/**
 * Where a payment is. `unknown`: we asked the vendor and do not know what came of it; the janitor finds out.
 * `mismatch`: the vendor's word differs from what was asked; nothing was granted, a person decides.
 */
export type PaymentStatus = (typeof PAYMENT_STATUSES)[number]

/**
 * How far along a status is. Vendors repeat and reorder their notifications, so a payment only ever moves up:
 * whatever the order of arrival, the outcome is the same. Money that was taken outweighs every other word.
 */
const RANK: Readonly<Record<PaymentStatus, number>> = {
  unknown: 0,
  pending: 1,
  requires_action: 2,
  authorized: 3,
  expired: 4,
  failed: 5,
  canceled: 6,
  mismatch: 7,
  succeeded: 8,
  partially_refunded: 9,
  refunded: 10,
}

const SETTLED: ReadonlySet<PaymentStatus> = new Set(['succeeded', 'partially_refunded', 'refunded'])

/** Statuses in which nothing more is expected from the vendor. */
const FINAL: ReadonlySet<PaymentStatus> = new Set([
  'failed',
  'canceled',
  'mismatch',
  'succeeded',
  'partially_refunded',
  'refunded',
])

/**
 * Whether the vendor's word may move a payment from one status to the other. A mismatch waits for a person.
 */
export function mayMove(from: PaymentStatus, to: PaymentStatus): boolean {
  if (SETTLED.has(from) || from === 'mismatch') return false
  return RANK[to] > RANK[from]
}

/** True when the money was taken, whatever was given back since. */
export function isSettled(status: PaymentStatus): boolean {
  return SETTLED.has(status)
}

/** True when nothing more is expected from the vendor. */
export function isFinal(status: PaymentStatus): boolean {
  return FINAL.has(status)
}

/** A vendor's status in the common words is one of ours already. */
export function fromVendorStatus(status: VendorPaymentStatus): PaymentStatus {
  return status
}

/** The status of a settled payment by what was given back. */
export function statusAfterRefunds(captured: bigint, refunded: bigint): PaymentStatus {
  if (refunded === 0n) return 'succeeded'
  return refunded < captured ? 'partially_refunded' : 'refunded'
}

/** From which statuses a payment can be refunded, captured or canceled by us. */
export const REFUNDABLE: readonly PaymentStatus[] = ['succeeded', 'partially_refunded']
export const CAPTURABLE: readonly PaymentStatus[] = ['authorized']
export const CANCELABLE: readonly PaymentStatus[] = ['pending', 'requires_action', 'authorized']
