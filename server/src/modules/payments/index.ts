export { loadGatewayFiles, createGateways, callGateway } from './gateways.ts'
export type { Gateways, ReadyGateway } from './gateways.ts'
export type { PaymentsKit } from './kit.ts'
export {
  intendPayment,
  isPayable,
  startPayment,
  startCheckout,
  getPayment,
  capturePayment,
  setMismatch,
  cancelPayment,
} from './payments.ts'
export type { NewPayment } from './payments.ts'
export { findPayment, findPaymentsOfOrder } from './payment-queries.ts'
export { recordPaymentWords } from './payment-words.ts'
export type { PaymentRow } from './payment-queries.ts'
export {
  intendRefund,
  intendWholeRefund,
  carryOutRefund,
  getRefund,
  lockForRefund,
  refundableAmount,
} from './refunds.ts'
export type { RefundRow } from './refund-queries.ts'
export { refund as refundSchema, refundWire, payment as paymentSchema, paymentWire } from './schemas.ts'
export { drainInbox, receiveWebhook, storeEvents } from './inbox.ts'
export type { StoreEvents } from './inbox.ts'
export { checkPayments, checkRefunds } from './janitor.ts'
export * as paymentEvents from './events.ts'
export type { PaymentPayload, RefundPayload, VendorPeriodPayload } from './events.ts'
export { sandboxRoutes } from './sandbox-routes.ts'
export { paymentRoutes, webhookRoute } from './routes.ts'
export { paymentInvariants } from './invariants.ts'
export { GatewayNotAvailable, PaymentRefused, RefundTooLarge, RefundRefused } from './errors.ts'
export { forgetPayments } from './personal-data.ts'
export { reconcile } from './reconciliation.ts'
export type { Difference, Reconciliation } from './reconciliation.ts'
export {
  checkVendorSubscriptions,
  claimSubscription,
  listSubscriptions,
  moveVendorSubscriptions,
  presentStatus,
  setRenewal,
} from './vendor-subscriptions.ts'
export type { VendorSubscriptionRow } from './vendor-subscriptions.ts'
export { adoptPayment, periodExternalId } from './vendor-purchases.ts'
export type { AdoptedPayment } from './vendor-purchases.ts'
export { customerOfAccount } from './vendor-accounts.ts'
