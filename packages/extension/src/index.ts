export { callVendor, GatewayMisconfigured, GatewayUnavailable } from './http.ts'
export type { VendorAnswer, VendorCall } from './http.ts'
export { defineGateway } from './gateway.ts'
export type {
  ChargeSavedMethodInput,
  CreatePaymentInput,
  CreatedPayment,
  DisputeEvent,
  Gateway,
  GatewayContext,
  ListPage,
  PaymentEvent,
  PaymentReference,
  PurchaseReference,
  Receipt,
  ReceiptItem,
  RefundEvent,
  RefundInput,
  RefundReference,
  SavedMethod,
  SubscriptionEvent,
  SubscriptionReference,
  VendorDispute,
  VendorEvent,
  VendorPayment,
  VendorPaymentStatus,
  VendorPurchase,
  VendorRefund,
  VendorSubscription,
  WebhookRequest,
  WebhookResult,
} from './gateway.ts'
export { formatDecimal, parseDecimal } from './decimal.ts'
export { sameBytes } from './compare.ts'
export { addressCheck, isAddressEntry } from './addresses.ts'
export type { AddressCheck } from './addresses.ts'
export { baseUrlField, secretField, textField } from './config-fields.ts'
export { findInPages, readAnswer, readMoment } from './answers.ts'
export { idTime, vendorKey } from './our-ids.ts'
export { present } from './present.ts'
export { savedCard } from './saved-card.ts'
export { phoneDigits, receiptTotal } from './receipt.ts'
export { clipText, hideSecrets } from './text.ts'
export { readJsonBody, singleHeader } from './webhook.ts'
