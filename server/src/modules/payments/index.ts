export { loadGatewayFiles, createGateways, callGateway } from './gateways.ts'
export type { Gateways, ReadyGateway } from './gateways.ts'
export type { PaymentsKit } from './kit.ts'
export {
  intendPayment,
  intendAnother,
  isPayable,
  getPayment,
  hastenPayment,
  capturePayment,
  setMismatch,
  cancelPayment,
} from './payments.ts'
export { endUntouched, refuseFailed, startCheckout, startPayment } from './payment-start.ts'
export { isFinal } from './payment-status.ts'
export { chooseGateway, downGateways, rankGateways, refuseDown, wishOf } from './gateway-candidates.ts'
export { parseOrderRules, sayRule, type OrderRule } from './gateway-order.ts'
export { forgetMethods, getSavedMethod } from './saved-methods.ts'
export type { NewPayment } from './payments.ts'
export { findPayment, findPayments, findPaymentsOfOrder } from './payment-queries.ts'
export { recordPaymentWords } from './payment-words.ts'
export type { PaymentRow } from './payment-queries.ts'
export { intendRefund, intendWholeRefund, getRefund, lockForRefund, refundableAmount } from './refunds.ts'
export { carryOutRefund } from './refund-asking.ts'
export type { RefundRow } from './refund-queries.ts'
export { refund as refundSchema, refundWire, payment as paymentSchema, paymentWire } from './schemas.ts'
export { drainInbox, receiveWebhook, storeEvents } from './inbox.ts'
export { createInboxLoop, createInboxStore } from './inbox-loop.ts'
export type { StoreEvents } from './inbox.ts'
export { countFailedEvents, listInboxEvents, retryFailedEvents, retryInboxEvent } from './inbox-review.ts'
export type { InboxEventRow } from './inbox-review.ts'
export { claimPrepayments } from './receipt-queries.ts'
export { intendOffset } from './receipts.ts'
export { sendReceipts } from './receipt-sending.ts'
export { isFiscal, registrarOf } from './receipt-abilities.ts'
export type { FrozenItem, FrozenReceipt } from './receipt-share.ts'
export { prepaymentVat, renderedVat } from './receipt-vat.ts'
export { checkPayments, checkRefunds } from './janitor.ts'
export * as paymentEvents from './events.ts'
export type { PaymentPayload, RefundPayload, VendorPeriodPayload } from './events.ts'
export { sandboxRoutes } from './sandbox-routes.ts'
export { paymentRoutes, webhookRoute } from './routes.ts'
export { paymentInvariants } from './invariants.ts'
export { GatewayNotAvailable, PaymentRefused, RefundTooLarge } from './errors.ts'
export { forgetPayments } from './personal-data.ts'
export type { Difference, Reconciliation } from './reconciliation.ts'
export { reconcileDay, runReconciliation } from './reconciliation-runs.ts'
export { addGatewayMetrics, addInboxMetrics } from './gateway-metrics.ts'
export {
  checkVendorSubscriptions,
  claimSubscription,
  listSubscriptions,
  moveVendorSubscriptions,
  setRenewal,
} from './vendor-subscriptions.ts'
export { getSubscriptionOf, presentStatus } from './vendor-subscription-status.ts'
export { previewPayment, type PaymentPreview } from './payment-preview.ts'
export type { VendorSubscriptionRow } from './vendor-subscriptions.ts'
export { adoptPayment, periodExternalId } from './vendor-purchases.ts'
export type { AdoptedPayment } from './vendor-purchases.ts'
export { customerOfAccount } from './vendor-accounts.ts'
