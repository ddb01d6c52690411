import type { Kit } from '../emulator.ts'
import type { BaseSettings } from '../kit/settings.ts'
import type { Spec } from '../kit/openapi.ts'
import type { Store } from '../kit/store.ts'

/** The wire shapes of API v3 as this emulator gives them, and the records behind them. */

export interface Amount {
  /** Decimal string with two digits after the dot. */
  value: string
  currency: string
}

export type PaymentStatus = 'pending' | 'waiting_for_capture' | 'succeeded' | 'canceled'
export type RefundStatus = 'pending' | 'succeeded' | 'canceled'
export type MethodType = 'bank_card' | 'sbp' | 'yoo_money' | 'sberbank' | 'tinkoff_bank' | (string & {})

export interface Card {
  first6: string
  last4: string
  expiry_year: string
  expiry_month: string
  card_type: string
  issuer_country: string
  issuer_name: string
}

export interface PaymentMethod {
  type: MethodType
  id: string
  saved: boolean
  status: 'pending' | 'active' | 'inactive'
  title?: string
  card?: Card
  sbp_operation_id?: string
  payer_bank_details?: { bank_id: string; bic: string }
  account_number?: string
}

export interface Confirmation {
  type: string
  return_url?: string
  enforce?: boolean
  confirmation_url?: string
  confirmation_token?: string
  confirmation_data?: string
}

export interface Payment {
  id: string
  status: PaymentStatus
  amount: Amount
  income_amount?: Amount
  description?: string
  recipient: { account_id: string; gateway_id: string }
  payment_method?: PaymentMethod
  created_at: string
  captured_at?: string
  expires_at?: string
  confirmation?: Confirmation
  test: boolean
  paid: boolean
  refundable: boolean
  refunded_amount?: Amount
  receipt_registration?: 'pending' | 'succeeded' | 'canceled'
  metadata: Record<string, string>
  cancellation_details?: { party: string; reason: string }
  authorization_details?: { rrn: string; auth_code: string; three_d_secure: { applied: boolean } }
  merchant_customer_id?: string
  invoice_details?: { id: string }
}

/** A payment and what the vendor remembers of it without showing. */
export interface PaymentRecord {
  wire: Payment
  /** Kopecks: of the payment, or of its captured part. */
  amount: bigint
  /** Kopecks given back, and those of refunds that are still under way. */
  refunded: bigint
  refunding: bigint
  is_two_stage: boolean
  wants_saving: boolean
  /** The method the merchant chose; absent when the buyer chooses on the page. */
  method_type?: MethodType
  receipt?: Receipt
  return_url?: string
  language: 'ru' | 'en'
  /** Milliseconds of the emulator's clock: until when it may be paid, then until when captured. */
  due_at: number
}

export interface Refund {
  id: string
  payment_id: string
  status: RefundStatus
  created_at: string
  amount: Amount
  description?: string
  cancellation_details?: { party: string; reason: string }
  receipt_registration?: 'pending' | 'succeeded' | 'canceled'
  refund_authorization_details?: { rrn: string }
  refund_method?: { type: 'sbp'; sbp_operation_id: string }
  metadata?: Record<string, string>
}

export interface RefundRecord {
  wire: Refund
  amount: bigint
  receipt?: Receipt
}

export interface ReceiptItem {
  description: string
  quantity: number
  amount: Amount
  vat_code: number
  payment_subject?: string
  payment_mode?: string
  measure?: string
}

/** What the merchant sends inside a payment, a capture or a refund. */
export interface Receipt {
  customer?: { email?: string; phone?: string; full_name?: string; inn?: string }
  items: ReceiptItem[]
  tax_system_code?: number
}

/** A receipt as an object of its own. */
export interface ReceiptObject {
  id: string
  type: 'payment' | 'refund'
  payment_id?: string
  refund_id?: string
  status: 'pending' | 'succeeded' | 'canceled'
  fiscal_document_number?: string
  fiscal_storage_number?: string
  fiscal_attribute?: string
  registered_at?: string
  fiscal_provider_id?: string
  items: ReceiptItem[]
  settlements?: { type: string; amount: Amount }[]
  tax_system_code?: number
}

/** A saved method; `confirmation` only while the buyer has not agreed yet (saving without a payment). */
export interface SavedMethod {
  wire: PaymentMethod & {
    holder: { account_id: string; gateway_id: string }
    confirmation?: Confirmation
  }
  created_at: string
  return_url?: string
  language: 'ru' | 'en'
}

/** A bill with a page of its own. */
export interface Invoice {
  id: string
  status: 'pending' | 'succeeded' | 'canceled'
  cart: { description: string; price: Amount; discount_price?: Amount; quantity: number }[]
  delivery_method?: { type: 'self' | 'sms' | 'email'; url?: string }
  payment_details?: { id: string; status: PaymentStatus }
  created_at: string
  expires_at: string
  description?: string
  cancellation_details?: { party: string; reason: string }
  metadata: Record<string, string>
}

export interface InvoiceRecord {
  wire: Invoice
  /** As it was sent: what the payment is made of. */
  payment_data: object
  /** The last payment made by this invoice. */
  payment_id?: string
  language: 'ru' | 'en'
}

export interface YookassaSettings extends BaseSettings {
  shop_id: string
  secret_key: string
  gateway_id: string
  currency: string
  fiscalization: 'off' | 'third_party' | 'yookassa'
  receipt_outcome: 'succeeded' | 'pending' | 'canceled'
  payment_methods: string[]
  is_autopayment_enabled: boolean
  autopayment_outcome: string
  refund_outcome: string
  pending_minutes: number
  hold_hours: number
  fee_permille: number
}

/** Everything one running emulator knows. */
export interface World {
  kit: Kit<YookassaSettings>
  spec: Spec
  payments: Store<PaymentRecord>
  /** Ids of payments that are neither succeeded nor canceled. */
  open: Set<string>
  refunds: Store<RefundRecord>
  receipts: Store<ReceiptObject>
  methods: Store<SavedMethod>
  invoices: Store<InvoiceRecord>
}

/** An id in the vendor's form: 36 characters. */
export function newId(kit: Pick<World['kit'], 'random'>): string {
  return `${kit.random.hex(8)}-000f-5000-${kit.random.string(1, '89ab')}000-${kit.random.hex(12)}`
}
