import { eventType } from '#kernel/events'

export interface PaymentPayload {
  payment_id: string
  order_id: string
  customer_id: string
  gateway: string
  amount: string
  currency: string
  is_test: boolean
  /** The payment whose link or subscription this charge was made with, for a charge that repeats one. */
  repeats_payment_id: string | null
  /** `paid_again`: the buyer paid the same link once more. `renewal`: the vendor charged the next period. */
  repeat_kind: 'paid_again' | 'renewal' | null
  /** When the money was taken, ISO 8601. */
  occurred_at: string
}

export interface RefundPayload {
  refund_id: string
  payment_id: string
  order_id: string
  customer_id: string
  amount: string
  currency: string
  /** True when the vendor or the payer's bank forced it: units are taken back whatever was spent. */
  is_forced: boolean
  is_full: boolean
  occurred_at: string
}

export interface VendorSubscriptionPayload {
  vendor_subscription_id: string
  customer_id: string
  gateway: string
  external_id: string
  product_code: string | null
  status: 'active' | 'canceled' | 'expired'
  will_renew: boolean
  expires_at: string | null
  is_test: boolean
  occurred_at: string
}

export interface VendorPeriodPayload {
  vendor_subscription_id: string
  period_id: string
  customer_id: string
  gateway: string
  external_id: string
  product_code: string
  /** The vendor's id of the charge; null where its charges have none. */
  payment_external_id: string | null
  amount: string
  currency: string
  fee: string | null
  fee_currency: string | null
  is_test: boolean
  /** When the vendor took the money; null where it does not tell. */
  paid_at: string | null
  occurred_at: string
}

export interface InboxEventPayload {
  /** To read at `GET /v1/inbox_events` and try again. */
  inbox_event_id: string
  gateway: string
  /** The vendor's name of what it told. */
  type: string
  error: string
  occurred_at: string
}

export const paymentSucceeded = eventType<PaymentPayload>(
  'payment.succeeded',
  'The money of a payment was taken, and as it was asked for.',
)
export const paymentAuthorized = eventType<PaymentPayload>(
  'payment.authorized',
  'The money is reserved on the payer’s side and waits for a capture.',
)
export const paymentFailed = eventType<PaymentPayload & { reason: string }>(
  'payment.failed',
  'The payment will not succeed: refused, canceled or expired.',
)
export const paymentMismatched = eventType<PaymentPayload & { reason: string }>(
  'payment.mismatched',
  'The vendor reports a payment that differs from what was asked; a person has to decide.',
)
export const refundRequested = eventType<RefundPayload>(
  'refund.requested',
  'A refund was recorded and its units are taken back; the vendor is asked next.',
)
export const refundSucceeded = eventType<RefundPayload>(
  'refund.succeeded',
  'The money went back to the payer. One made at the vendor, even after ours failed, has an id of its own.',
)
export const refundFailed = eventType<RefundPayload & { reason: string }>(
  'refund.failed',
  'The vendor refused a refund, or it failed after it was done; the units it had taken are given back.',
)
export const paymentMethodSaved = eventType<{
  saved_method_id: string
  customer_id: string
  gateway: string
}>('payment_method.saved', 'The buyer agreed to keep a payment method and the vendor kept it.')
export const disputeOpened = eventType<RefundPayload>(
  'dispute.opened',
  'The payer contests a payment at the vendor; its units are taken back. `refund_id` is the dispute’s id.',
)
export const disputeWon = eventType<RefundPayload>(
  'dispute.won',
  'A contested payment stands; the units come back to their grants.',
)
export const disputeLost = eventType<RefundPayload>(
  'dispute.lost',
  'The money of a contested payment went back to the payer.',
)
export const differencesFound = eventType<{
  reconciliation_id: string
  gateway: string
  from: string
  to: string
  /** Differences that were not known before. */
  count: number
  kinds: readonly string[]
}>(
  'reconciliation.differences_found',
  'A comparison with a gateway’s own books found differences nobody knew of; a person decides about each.',
)

export interface ReceiptPayload {
  receipt_id: string
  kind: 'payment' | 'refund'
  /** `full`: paid and given. `prepayment`: paid ahead. `offset`: given against a prepayment. `refund`. */
  purpose: 'full' | 'prepayment' | 'offset' | 'refund'
  payment_id: string
  refund_id: string | null
  order_id: string
  customer_id: string
  amount: string
  currency: string
  occurred_at: string
}

export const receiptRegistered = eventType<ReceiptPayload>(
  'receipt.registered',
  'A fiscal receipt is registered with the tax office.',
)
export const receiptFailed = eventType<ReceiptPayload & { reason: string }>(
  'receipt.failed',
  'A fiscal receipt was refused, or no vendor registers it; a person has to act.',
)
export const vendorSubscriptionChanged = eventType<VendorSubscriptionPayload>(
  'vendor_subscription.changed',
  'A subscription the vendor keeps itself began, was renewed or canceled, or ended.',
)
export const vendorPeriodPaid = eventType<VendorPeriodPayload>(
  'vendor_subscription.period_paid',
  'A period of a subscription was paid at the vendor, without a payment made here.',
)
export const inboxEventFailed = eventType<InboxEventPayload>(
  'inbox_event.failed',
  'A vendor’s notification could not be acted on for days; a person has to look, for it may tell of money.',
)
