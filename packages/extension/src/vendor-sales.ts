import type { PaymentToAsk, VendorPayment } from './gateway.ts'

/** What an app says it bought. */
export interface PurchaseReference {
  /** In the vendor's word, as its SDK gives it to the app. */
  purchase_id: string
  /** Whom the app may have bought it for, in our words; a vendor that lists by buyer is asked by these. */
  account_ids: readonly string[]
}

/** A purchase of a vendor's own app as the vendor tells it. */
export interface VendorPurchase {
  payment: VendorPayment
  /** Of a subscription: the id it is known by too. */
  purchase_id: string
  /** The vendor's name of what was bought; the catalog knows which product it is. */
  product_code: string
  /** The app's own number of the purchase. */
  order_code?: string
  /** Whom the app bought it for, in the app's word. */
  account_id?: string
}

/** How a vendor's own subscription is named to the vendor. */
export interface SubscriptionReference {
  external_id: string
  /** The vendor's id of the payment that began it, where the vendor asks by it. */
  payment_external_id?: string
  /** The vendor's product, where the vendor asks by it. */
  product_code?: string
  /** The payer, where the vendor asks by him. */
  telegram_id?: string
}

/** A subscription the vendor keeps and renews itself, as it tells it. */
export interface VendorSubscription {
  external_id: string
  product_code?: string
  /** True while the buyer may use what was paid for, by the vendor's rules and the call's moment. */
  is_active: boolean
  will_renew: boolean
  is_trial?: boolean
  started_at?: Date
  expires_at?: Date
  /** Of one period, in the currency's minor unit. */
  amount?: bigint
  currency?: string
  /** Whom the app bought it for, in the app's word; bind it to a customer before anything is given. */
  account_id?: string
  payment_id?: string
  order_id?: string
  is_test?: boolean
  /**
   * Names the period that is paid now: another with each charge, `first` before the first renewal. Only where
   * the charges are not told as payments of their own; each name is then granted for once.
   */
  period_id?: string
  /**
   * What the vendor charged for it by itself lately, where it tells charges as payments of their own: each
   * becomes a payment here and is granted for once. What was refunded since is still `succeeded`.
   */
  charges?: readonly VendorCharge[]
}

/** One charge of a subscription. */
export interface VendorCharge extends VendorPayment {
  /** The vendor's name of what it paid for; absent: the subscription's. */
  product_code?: string
}

/** Something beside the plan of a vendor's subscription, to be charged at once. */
export interface ChargeSubscriptionInput extends PaymentToAsk {
  /** The subscription's id at the vendor. */
  subscription_external_id: string
}
