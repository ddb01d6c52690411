import type { z } from 'zod'
import type {
  CreateReceiptInput,
  Receipt,
  ReceiptAbilities,
  ReceiptReference,
  VendorReceipt,
} from './receipt-contract.ts'
import type { PreviewPaymentInput, PreviewedPayment } from './payment-preview.ts'
import type {
  ChargeSubscriptionInput,
  PurchaseReference,
  SubscriptionReference,
  VendorPurchase,
  VendorSubscription,
} from './vendor-sales.ts'
import type { WebhookResult } from './vendor-events.ts'
import type { WebhookRequest } from './webhook.ts'

/**
 * The contract of a payment gateway: one file, stateless, configuration and input in, a value out.
 * It sees no database and no order. Amounts are bigint in the currency's minor unit (Stars: whole stars).
 * `payment_id` and `refund_id` are ours and the idempotency key outside: the same id twice is one payment.
 */
export interface Gateway<Config = unknown> {
  /** Equal to the file's name; the webhook path is `/webhooks/payments/{id}`. */
  id: string
  title: string
  /** ISO 4217 codes, or `XTR`; the currencies this gateway can take at all. */
  currencies: readonly string[]
  /** What the owner fills in. Secrets (`.meta({ secret: true })`) are encrypted and never shown. */
  configSchema: z.ZodType<Config>
  /** True when these credentials move no real money. Events of the other mode are refused. */
  isTest(config: Config): boolean
  /** Which optional needs the checkout has to meet before `createPayment` is called. */
  needs?: {
    /** A fiscal receipt contact (e-mail or phone). */
    receipt_contact?: boolean | ((config: Config) => boolean)
    /** A Telegram user id of the buyer. */
    telegram_id?: boolean
  }
  /**
   * Creates a payment at the vendor. Called again with the same `payment_id` after an unknown outcome,
   * it must lead to the same one payment (vendor's idempotency key, unique order number, or a look-up first).
   * A refusal is a value (`status: 'failed'`). Throws GatewayUnavailable when the outcome is unknown.
   */
  createPayment(config: Config, input: CreatePaymentInput, context: GatewayContext): Promise<CreatedPayment>
  /**
   * The vendor's word on one payment; `undefined` when the vendor knows none. Throws GatewayUnavailable.
   * Where a buyer only approves and the seller takes the money, this takes it, once, if `isPayable` says so.
   */
  getPayment(
    config: Config,
    reference: PaymentReference,
    context: GatewayContext,
  ): Promise<VendorPayment | undefined>
  /**
   * Verifies a notification on its raw bytes and says what it is about. Pure but for certificate look-ups.
   * Nothing with trust `hint` is believed: the core reads the object again with `getPayment`/`getRefund`.
   */
  parseWebhook(
    config: Config,
    request: WebhookRequest,
    context: GatewayContext,
  ): Promise<WebhookResult> | WebhookResult
  /** Takes an authorized payment (two-stage). Leave it out when the vendor cannot. */
  capturePayment?(
    config: Config,
    input: PaymentReference & { amount: bigint; currency: string; receipt?: Receipt },
    context: GatewayContext,
  ): Promise<VendorPayment>
  /** Voids an authorized or unpaid payment. */
  cancelPayment?(config: Config, reference: PaymentReference, context: GatewayContext): Promise<VendorPayment>
  /**
   * Gives money back; the same `refund_id` twice is one refund. "Already refunded" is success. The core asks
   * one at a time, and with `getRefund` looks before it asks again.
   */
  refund?(config: Config, input: RefundInput, context: GatewayContext): Promise<VendorRefund>
  /** False when a refund must be of the whole payment. Default true. */
  may_refund_partially?: boolean
  /**
   * What a second request with the same `refund_id` is at the vendor, when the first had no answer. `same`:
   * the first one (a key, or the payment's own state guards). `looked_for`: another refund, but `getRefund`
   * finds the first. `never`: another refund, and nobody can find the first: the core asks once, ever, and a
   * person looks. Default `same`.
   */
  refund_repeats?: 'same' | 'looked_for' | 'never'
  /**
   * True where one `createPayment` may be charged more than once (a link that stays open, a subscription the
   * vendor renews): every `external_id` is then a payment of its own. Default false.
   */
  may_be_paid_again?: boolean
  /** Periods after which the vendor charges again by itself, in seconds; absent where it cannot. */
  subscription_periods_seconds?: readonly number[]
  getRefund?(
    config: Config,
    reference: RefundReference,
    context: GatewayContext,
  ): Promise<VendorRefund | undefined>
  /** Charges a method the buyer agreed to keep, without the buyer. */
  chargeSavedMethod?(
    config: Config,
    input: ChargeSavedMethodInput,
    context: GatewayContext,
  ): Promise<CreatedPayment>
  /**
   * What a buyer would pay for this now, tax included, where the vendor knows better than our price. Makes
   * nothing at the vendor. Throws GatewayUnavailable.
   */
  previewPayment?(
    config: Config,
    input: PreviewPaymentInput,
    context: GatewayContext,
  ): Promise<PreviewedPayment>
  /**
   * Charges something beside the plan of a subscription the vendor keeps, at once and without the buyer.
   * The vendor may take a second request for another charge: the core asks one at a time, and this looks for
   * the `payment_id` before it asks again. A refusal is a value. Throws GatewayUnavailable when the outcome
   * is unknown.
   */
  chargeSubscription?(
    config: Config,
    input: ChargeSubscriptionInput,
    context: GatewayContext,
  ): Promise<CreatedPayment>
  /** Asks the vendor to forget a saved method, where the vendor has such a call. */
  removeSavedMethod?(config: Config, method: { external_id: string }, context: GatewayContext): Promise<void>
  /** What this vendor does with fiscal receipts; absent: nothing, and a person makes those of its sales. */
  receipts?: ReceiptAbilities<Config>
  /**
   * Registers a receipt by a call of its own: the offset after a prepayment, or one that was not carried.
   * The same `receipt_id` twice is one receipt. A refusal is a value. Throws GatewayUnavailable when the
   * outcome is unknown.
   */
  createReceipt?(config: Config, input: CreateReceiptInput, context: GatewayContext): Promise<VendorReceipt>
  /** The vendor's word on one receipt; `undefined` when it knows none. Throws GatewayUnavailable. */
  getReceipt?(
    config: Config,
    reference: ReceiptReference,
    context: GatewayContext,
  ): Promise<VendorReceipt | undefined>
  /** Every payment created at the vendor in `[from, to)`, for reconciliation. */
  listPayments?(
    config: Config,
    range: { from: Date; to: Date; cursor?: string },
    context: GatewayContext,
  ): Promise<ListPage<VendorPayment>>
  /**
   * True where `listPayments` names a payment by another of the vendor's ids than `createPayment`, and by our
   * `payment_id`. Default false.
   */
  lists_other_ids?: boolean
  listRefunds?(
    config: Config,
    range: { from: Date; to: Date; cursor?: string },
    context: GatewayContext,
  ): Promise<ListPage<VendorRefund>>
  /** Every dispute opened at the vendor in `[from, to)`, as it stands now, for reconciliation. */
  listDisputes?(
    config: Config,
    range: { from: Date; to: Date; cursor?: string },
    context: GatewayContext,
  ): Promise<ListPage<VendorDispute>>
  /**
   * The vendor's word on what was bought in its own app, without a payment made by us before; `undefined`
   * when it knows none. Whose it is and what it costs is compared by the core.
   */
  getPurchase?(
    config: Config,
    reference: PurchaseReference,
    context: GatewayContext,
  ): Promise<VendorPurchase | undefined>
  /** The vendor's word on a subscription it keeps itself; `undefined` when it knows none. */
  getSubscription?(
    config: Config,
    reference: SubscriptionReference,
    context: GatewayContext,
  ): Promise<VendorSubscription | undefined>
  /** Ends the renewal; what was paid stays usable. Already ended is success. */
  cancelSubscription?(
    config: Config,
    reference: SubscriptionReference,
    context: GatewayContext,
  ): Promise<VendorSubscription | undefined>
  /**
   * Ends it at once, with what is left of its paid period, where the vendor can. Gives no money back.
   * Already ended is success.
   */
  endSubscription?(
    config: Config,
    reference: SubscriptionReference,
    context: GatewayContext,
  ): Promise<VendorSubscription | undefined>
  /** Lets a subscription renew again that was canceled and has not ended, where the vendor can. */
  resumeSubscription?(
    config: Config,
    reference: SubscriptionReference,
    context: GatewayContext,
  ): Promise<VendorSubscription | undefined>
  /** Tells the vendor where and about what to notify this Kopilka; the same again and again is harmless. */
  registerWebhook?(config: Config, context: GatewayContext): Promise<void>
  /** A cheap call that shows whether the credentials work; for `doctor` and the circuit breaker's probe. */
  checkHealth?(config: Config, context: GatewayContext): Promise<{ ok: boolean; detail: string }>
}

/** What the core lends a gateway for one call. */
export interface GatewayContext {
  now: Date
  /** Public base URL of this Kopilka, without a trailing slash: for return and notification addresses. */
  base_url: string
  /** Keeps small values between calls in this process (access tokens, certificates); never money facts. */
  cache: Map<string, { value: unknown; expires_at: number }>
  /**
   * Whether a payment of ours may still be paid, for vendors that ask before they take the money or leave the
   * taking to us. The gateway waits for it briefly; without an answer it goes by what it has signed itself,
   * or takes nothing.
   */
  isPayable?: (payment_id: string) => Promise<boolean>
  /** The longest one call to the vendor may take; a gateway hands it to `callVendor`. Absent: 35 s. */
  timeout_ms?: number
}

/** What is to be paid for, in our words. */
export interface PaymentToAsk {
  payment_id: string
  /** A number unique per installation, for vendors that want an integer order number. At most 2^31−1. */
  payment_number: number
  order_id: string
  customer_id: string
  amount: bigint
  currency: string
  description: string
}

export interface CreatePaymentInput extends PaymentToAsk {
  return_url: string
  /** Charge at once, or only authorize and wait for a capture. */
  capture: boolean
  /** Ask the vendor to keep the payment method for later charges; the buyer has agreed. */
  save_method: boolean
  /** A method the buyer chose on our side, in the vendor's word, e.g. `sbp`. */
  method?: string
  locale: string
  expires_at: Date
  receipt?: Receipt
  telegram_id?: string
  email?: string
  /** Native subscription of the vendor where it has one (Telegram Stars: 2592000). */
  subscription_period_seconds?: number
}

export interface ChargeSavedMethodInput {
  payment_id: string
  payment_number: number
  order_id: string
  customer_id: string
  amount: bigint
  currency: string
  description: string
  /** The saved method's id at the vendor. */
  method_external_id: string
  /** The vendor's customer, where methods belong to one. */
  customer_external_id?: string
  receipt?: Receipt
}

/** The vendor's status in the common words. `pending` also stands for a status this version does not know. */
export type VendorPaymentStatus =
  | 'pending'
  | 'requires_action'
  | 'authorized'
  | 'succeeded'
  | 'canceled'
  | 'failed'

export interface CreatedPayment {
  status: VendorPaymentStatus
  /** The vendor's id. `undefined` only where the vendor gives none before payment (Robokassa, Stars). */
  external_id?: string
  /** Where the buyer goes to pay; absent for a charge of a saved method. */
  checkout_url?: string
  /** Says why in the vendor's word when `failed` or `canceled`. */
  failure_reason?: string
  /** When the vendor answers with the whole object at once (charges of saved methods). */
  payment?: VendorPayment
}

export interface PaymentReference {
  payment_id: string
  payment_number: number
  external_id?: string
  amount: bigint
  currency: string
}

export interface RefundReference {
  refund_id: string
  external_id?: string
  payment: PaymentReference
  amount: bigint
  currency: string
}

export interface RefundInput {
  refund_id: string
  payment: PaymentReference
  amount: bigint
  currency: string
  reason: string
  /** True when this refund returns all that was captured and nothing was refunded before. */
  is_full: boolean
  receipt?: Receipt
  telegram_id?: string
  /** A charge of a subscription: who gets his money back is not charged again. */
  is_subscription?: boolean
}

/** A payment as the vendor tells it, in our words. Absent fields are not told by this vendor. */
export interface VendorPayment {
  external_id: string
  /** Our payment id or number, as the vendor gives it back; compared with ours. */
  payment_id?: string
  payment_number?: number
  order_id?: string
  status: VendorPaymentStatus
  amount: bigint
  currency: string
  is_test?: boolean
  /** The merchant account the money went to, where the vendor tells; compared with the configuration. */
  receiver_matches?: boolean
  refunded_amount?: bigint
  /** What the vendor keeps, in `fee_currency` or the payment's currency. */
  fee?: bigint
  /** Absent: the payment's currency. */
  fee_currency?: string
  failure_reason?: string
  paid_at?: Date
  created_at?: Date
  saved_method?: SavedMethod
  /**
   * With `may_be_paid_again`: true for a charge the vendor made by itself for a later period, false for one
   * the buyer made; absent when the vendor does not tell.
   */
  is_renewal?: boolean
}

export interface SavedMethod {
  external_id: string
  customer_external_id?: string
  kind: string
  /** What the buyer recognises, e.g. `Mir •••• 4477`. */
  title: string
  expires_at?: Date
}

export interface VendorRefund {
  /** A refund refused before the vendor made an object of it has an id of ours: `refused:{refund_id}`. */
  external_id: string
  refund_id?: string
  payment_external_id?: string
  payment_id?: string
  status: 'pending' | 'succeeded' | 'failed'
  amount: bigint
  currency: string
  failure_reason?: string
  is_test?: boolean
  created_at?: Date
}

export interface VendorDispute {
  external_id: string
  payment_external_id: string
  status: 'open' | 'won' | 'lost'
  amount: bigint
  currency: string
  reason: string
  is_test?: boolean
}

export interface ListPage<T> {
  items: readonly T[]
  next_cursor?: string
}

/** Checks a gateway file's types; a gateway file's default export. */
export function defineGateway<Config>(gateway: Gateway<Config>): Gateway<Config> {
  return gateway
}
