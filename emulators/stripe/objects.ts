import type { BaseSettings, Kit, Store } from '../emulator.ts'

export interface StripeSettings extends BaseSettings {
  secret_key: string
  webhook_secret: string
  /** A second secret that signs too, as while one is rolled; empty: none. */
  old_webhook_secret: string
  charge_outcome: string
  refund_outcome: string
  fee_permille: number
}

export type Metadata = Record<string, string>

interface Wire {
  id: string
  created: number
  livemode: boolean
}

export interface Session extends Wire {
  object: 'checkout.session'
  mode: 'payment'
  status: 'open' | 'complete' | 'expired'
  payment_status: 'unpaid' | 'paid'
  amount_subtotal: number
  amount_total: number
  currency: string
  client_reference_id: string | null
  customer: string | null
  customer_creation: 'always' | 'if_required'
  customer_email: string | null
  metadata: Metadata
  payment_intent: string | null
  payment_method_types: string[]
  expires_at: number
  locale: string | null
  success_url: string
  cancel_url: string | null
  url: string | null
}

export interface PaymentError {
  type: 'card_error'
  code: string
  decline_code?: string
  message: string
}

export interface Intent extends Wire {
  object: 'payment_intent'
  status:
    | 'requires_payment_method'
    | 'requires_action'
    | 'processing'
    | 'requires_capture'
    | 'succeeded'
    | 'canceled'
  amount: number
  amount_capturable: number
  amount_received: number
  currency: string
  capture_method: 'automatic_async' | 'manual'
  customer: string | null
  description: string | null
  metadata: Metadata
  payment_method: string | null
  payment_method_types: string[]
  setup_future_usage: 'off_session' | 'on_session' | null
  client_secret: string
  last_payment_error: PaymentError | null
  latest_charge: string | null
  cancellation_reason: string | null
  canceled_at: number | null
}

export interface Charge extends Wire {
  object: 'charge'
  status: 'succeeded' | 'pending' | 'failed'
  amount: number
  amount_captured: number
  amount_refunded: number
  balance_transaction: string | null
  captured: boolean
  paid: boolean
  refunded: boolean
  disputed: boolean
  currency: string
  customer: string | null
  metadata: Metadata
  payment_intent: string
  payment_method: string
  payment_method_details: {
    type: 'card'
    card: { brand: string; last4: string; exp_month: number; exp_year: number }
  }
  failure_code: string | null
}

export interface BalanceTransaction {
  id: string
  object: 'balance_transaction'
  amount: number
  fee: number
  net: number
  currency: string
  created: number
  source: string
  type: 'charge'
}

export interface Refund {
  id: string
  object: 'refund'
  amount: number
  charge: string
  created: number
  currency: string
  metadata: Metadata
  payment_intent: string
  reason: string | null
  status: 'pending' | 'succeeded' | 'failed' | 'canceled'
  failure_reason?: string
}

export interface Dispute extends Wire {
  object: 'dispute'
  amount: number
  charge: string
  currency: string
  metadata: Metadata
  payment_intent: string
  reason: string
  status: 'needs_response' | 'won' | 'lost'
}

export interface PaymentMethod extends Wire {
  object: 'payment_method'
  type: 'card'
  customer: string | null
  card: { brand: string; last4: string; exp_month: number; exp_year: number }
}

/** What a page charges when somebody pays on it; not part of the vendor's object. */
export interface SessionPlan {
  session: Session
  description: string
  intent: { metadata: Metadata; description: string | null; capture_method: Intent['capture_method'] }
  setup_future_usage: Intent['setup_future_usage']
}

/** All that one running emulator knows. */
export interface World {
  kit: Kit<StripeSettings>
  sessions: Store<SessionPlan>
  intents: Store<Intent>
  charges: Store<Charge>
  balance: Store<BalanceTransaction>
  refunds: Store<Refund>
  disputes: Store<Dispute>
  methods: Store<PaymentMethod>
}

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** An id of the vendor's form. */
export function newId(world: World, prefix: string): string {
  return `${prefix}_${world.kit.random.string(24, ALPHABET)}`
}

export function seconds(world: World): number {
  return Math.floor(world.kit.now().getTime() / 1000)
}

export function isLive(world: World): boolean {
  return world.kit.settings().secret_key.includes('_live_')
}

/** A refusal in the vendor's shape, with the HTTP status that goes with it. */
export class VendorError extends Error {
  override readonly name = 'VendorError'
  readonly status: number
  readonly fields: Readonly<Record<string, unknown>>
  constructor(status: number, message: string, fields: Record<string, unknown> = {}) {
    super(message)
    this.status = status
    this.fields = fields
  }
}

/** 400 `invalid_request_error`. */
export function invalid(message: string, fields: { code?: string; param?: string } = {}): VendorError {
  return new VendorError(400, message, { type: 'invalid_request_error', ...fields })
}

/** 404 `resource_missing`. */
export function missing(kind: string, id: string): VendorError {
  const fields = { type: 'invalid_request_error', code: 'resource_missing', param: 'id' }
  return new VendorError(404, `No such ${kind}: '${id.slice(0, 60)}'`, fields)
}
