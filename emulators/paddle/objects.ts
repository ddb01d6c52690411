import type { BaseSettings, Kit, Store } from '../emulator.ts'
import type { Spec } from '../kit/openapi.ts'

export interface PaddleSettings extends BaseSettings {
  shop_url: string
  api_key: string
  webhook_secret: string
  /** A second secret that signs too, as while one is rotated; empty: none. */
  old_webhook_secret: string
  refund_outcome: string
  completion: string
  charge_outcome: string
  tax_permille: number
  fee_permille: number
}

export interface Totals {
  subtotal: string
  discount: string
  tax: string
  total: string
}

export interface Payment {
  payment_attempt_id: string
  stored_payment_method_id: string
  amount: string
  status: 'captured' | 'error'
  error_code: string | null
  created_at: string
  captured_at: string | null
}

export interface Price {
  description: string
  name?: string | null
  unit_price: { amount: string; currency_code: string }
  tax_mode?: string
  product_id?: string
  product?: { name: string; tax_category: string }
  /** The buyer pays again after each of these: a subscription. */
  billing_cycle?: Duration | null
  custom_data?: Record<string, unknown> | null
}

export interface Duration {
  interval: 'day' | 'week' | 'month' | 'year'
  frequency: number
}

export interface Transaction {
  id: string
  status: 'draft' | 'ready' | 'billed' | 'paid' | 'completed' | 'canceled' | 'past_due'
  customer_id: string | null
  address_id: string | null
  business_id: null
  custom_data: Record<string, unknown> | null
  currency_code: string
  origin: 'api' | 'subscription_recurring' | 'subscription_charge'
  subscription_id: string | null
  invoice_number: string | null
  collection_mode: 'automatic'
  discount_id: null
  items: { quantity: number; price: Price & { id: string } }[]
  details: {
    totals: Totals & {
      credit: string
      credit_to_balance: string
      balance: string
      grand_total: string
      fee: string | null
      earnings: string | null
      currency_code: string
    }
    line_items: { id: string; price_id: string; quantity: number; tax_rate: string; totals: Totals }[]
  }
  payments: Payment[]
  checkout: { url: string | null }
  created_at: string
  updated_at: string
  billed_at: string | null
}

export interface Adjustment {
  id: string
  action: string
  type: 'full' | 'partial'
  transaction_id: string
  subscription_id: string | null
  customer_id: string
  reason: string
  credit_applied_to_balance: null
  currency_code: string
  status: 'pending_approval' | 'approved' | 'rejected' | 'reversed'
  items: { id: string; item_id: string; type: 'full' | 'partial'; amount: string | null }[]
  totals: {
    subtotal: string
    tax: string
    total: string
    fee: string
    earnings: string
    currency_code: string
  }
  created_at: string
  updated_at: string
}

export interface Subscription {
  id: string
  status: 'active' | 'canceled' | 'past_due'
  customer_id: string
  address_id: string
  business_id: null
  currency_code: string
  created_at: string
  updated_at: string
  started_at: string
  first_billed_at: string
  next_billed_at: string | null
  paused_at: null
  canceled_at: string | null
  discount: null
  collection_mode: 'automatic'
  billing_details: null
  current_billing_period: { starts_at: string; ends_at: string } | null
  billing_cycle: Duration
  scheduled_change: { action: 'cancel'; effective_at: string; resume_at: null } | null
  items: { status: 'active'; quantity: number; recurring: true; price: Price & { id: string } }[]
  custom_data: Record<string, unknown> | null
}

/** All that one running emulator knows. */
export interface World {
  kit: Kit<PaddleSettings>
  spec: Spec
  transactions: Store<Transaction>
  adjustments: Store<Adjustment>
  subscriptions: Store<Subscription>
}

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'

/** An id of the vendor's form: a prefix and 26 letters. */
export function newId(world: World, prefix: string): string {
  return `${prefix}_01${world.kit.random.string(24, ALPHABET)}`
}

/** A refusal in the vendor's shape, with the HTTP status that goes with it. */
export class VendorError extends Error {
  override readonly name = 'VendorError'
  readonly status: number
  readonly code: string
  readonly fields: readonly { field: string; message: string }[]
  constructor(
    status: number,
    code: string,
    message: string,
    fields: { field: string; message: string }[] = [],
  ) {
    super(message)
    this.status = status
    this.code = code
    this.fields = fields
  }
}

/** A part with its tax taken out, rounded half up. */
export function withoutTax(total: bigint, tax_permille: number): bigint {
  const divisor = 1000n + BigInt(tax_permille)
  return (2n * total * 1000n + divisor) / (2n * divisor)
}
