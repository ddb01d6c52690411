export { callVendor, GatewayMisconfigured, GatewayUnavailable, watchCalls } from './http.ts'
export type { VendorAnswer, VendorCall } from './http.ts'
export { defineGateway } from './gateway.ts'
export type {
  ChargeSavedMethodInput,
  CreatePaymentInput,
  CreatedPayment,
  Gateway,
  GatewayContext,
  ListPage,
  PaymentReference,
  RefundInput,
  RefundReference,
  SavedMethod,
  VendorDispute,
  VendorPayment,
  VendorPaymentStatus,
  VendorRefund,
} from './gateway.ts'
export type {
  ChargeOf,
  DisputeEvent,
  MethodRemovedEvent,
  PaymentEvent,
  RefundEvent,
  SubscriptionEvent,
  VendorEvent,
  WebhookResult,
} from './vendor-events.ts'
export type {
  CreateReceiptInput,
  Receipt,
  ReceiptAbilities,
  ReceiptItem,
  ReceiptPurpose,
  ReceiptReference,
  VendorReceipt,
} from './receipt-contract.ts'
export type { PreviewPaymentInput, PreviewedPayment } from './payment-preview.ts'
export type {
  ChargeSubscriptionInput,
  PurchaseReference,
  SubscriptionReference,
  VendorCharge,
  VendorPurchase,
  VendorSubscription,
} from './vendor-sales.ts'
export { formatDecimal, parseDecimal } from './decimal.ts'
export { sameBytes } from './compare.ts'
export { addressCheck, isAddressEntry } from './addresses.ts'
export type { AddressCheck } from './addresses.ts'
export { baseUrlField, isLocalUrl, secretField, textField } from './config-fields.ts'
export { findInPages, readAnswer, readMoment } from './answers.ts'
export { idTime, vendorKey } from './our-ids.ts'
export { present } from './present.ts'
export { refusedRefund } from './refused-refund.ts'
export { savedCard } from './saved-card.ts'
export { VAT_RATES, receiptContact, phoneDigits, receiptTotal } from './receipt.ts'
export { clipText, hideSecrets } from './text.ts'
export { readJsonBody, singleHeader } from './webhook.ts'
export type { WebhookRequest } from './webhook.ts'
