import type { BaseSettings, Kit, Store } from '../emulator.ts'
import type { Spec } from '../kit/openapi.ts'

export interface PaypalSettings extends BaseSettings {
  client_id: string
  client_secret: string
  webhook_id: string
  merchant_id: string
  capture_outcome: string
  charge_outcome: string
  refund_outcome: string
  vault_outcome: string
  fee_permille: number
  fee_currency: string
  charge_list_lag_ms: number
  token_life_seconds: number
  are_invoices_unique: boolean
  are_disputes_readable: boolean
}

export interface Money {
  currency_code: string
  value: string
}

export interface Link {
  href: string
  rel: string
  method: string
}

export interface Capture {
  id: string
  status: 'COMPLETED' | 'PENDING' | 'DECLINED' | 'PARTIALLY_REFUNDED' | 'REFUNDED'
  status_details?: { reason: string }
  amount: Money
  final_capture: boolean
  custom_id?: string
  invoice_id?: string
  seller_receivable_breakdown?: { gross_amount: Money; paypal_fee: Money; net_amount: Money }
  supplementary_data: { related_ids: { order_id: string; authorization_id?: string } }
  create_time: string
  update_time: string
  links: Link[]
}

export interface Authorization {
  id: string
  status: 'CREATED' | 'CAPTURED' | 'VOIDED'
  amount: Money
  custom_id?: string
  invoice_id?: string
  supplementary_data: { related_ids: { order_id: string } }
  expiration_time: string
  create_time: string
  update_time: string
  links: Link[]
}

export interface Refund {
  id: string
  status: 'COMPLETED' | 'PENDING' | 'FAILED'
  amount: Money
  custom_id?: string
  invoice_id?: string
  note_to_payer?: string
  create_time: string
  update_time: string
  links: Link[]
}

export interface Vault {
  id?: string
  status: 'VAULTED' | 'APPROVED'
  customer: { id: string }
}

export interface Unit {
  reference_id: string
  amount: Money
  payee: { merchant_id: string }
  description?: string
  custom_id?: string
  invoice_id?: string
  payments?: { captures?: Capture[]; authorizations?: Authorization[]; refunds?: Refund[] }
}

export interface Order {
  id: string
  intent: 'CAPTURE' | 'AUTHORIZE'
  status: 'CREATED' | 'PAYER_ACTION_REQUIRED' | 'APPROVED' | 'COMPLETED' | 'VOIDED'
  payment_source?: {
    paypal: {
      email_address?: string
      account_id?: string
      account_status?: string
      attributes?: { vault?: Vault }
    }
  }
  purchase_units: [Unit]
  create_time: string
  update_time: string
  links: Link[]
}

/** What the vendor knows of an order and does not show in it. */
export interface OrderPlan {
  order: Order
  return_url: string
  cancel_url: string
  locale: string
  wants_vault: boolean
  /** An agreement that is made and not ready yet. */
  late_token?: PaymentToken
  /** What a capture comes to; the setting when absent. */
  outcome?: string
}

export interface PaymentToken {
  id: string
  customer: { id: string }
  payment_source: { paypal: { email_address: string; payer_id: string } }
  /** The order it was made with, for the notification. */
  metadata: { order_id: string }
}

export interface Subscription {
  id: string
  plan_id: string
  status: 'APPROVAL_PENDING' | 'ACTIVE' | 'SUSPENDED' | 'CANCELLED'
  custom_id?: string
  start_time: string
  billing_info: {
    outstanding_balance: Money
    cycle_executions: { tenure_type: 'REGULAR'; sequence: number; cycles_completed: number }[]
    failed_payments_count: number
    last_payment?: { amount: Money; time: string }
    next_billing_time?: string
  }
  create_time: string
  update_time: string
  links: Link[]
}

/** One period of a subscription, an object of the older API. */
export interface Sale {
  id: string
  state: 'completed' | 'partially_refunded' | 'refunded'
  amount: { total: string; currency: string }
  transaction_fee: { value: string; currency: string }
  billing_agreement_id: string
  custom?: string
  create_time: string
  update_time: string
}

export interface SaleRefund {
  id: string
  sale_id: string
  state: 'completed' | 'pending' | 'failed'
  amount: { total: string; currency: string }
  create_time: string
  update_time: string
  links: Link[]
}

export interface Dispute {
  dispute_id: string
  create_time: string
  update_time: string
  disputed_transactions: { seller_transaction_id: string }[]
  reason: string
  status: 'OPEN' | 'RESOLVED'
  dispute_amount: Money
  dispute_outcome?: { outcome_code: string }
  dispute_life_cycle_stage: 'INQUIRY'
}

export interface WebhookEvent {
  id: string
  event_version: '1.0'
  create_time: string
  resource_type: string
  resource_version: '2.0'
  event_type: string
  summary: string
  resource: object
  links: Link[]
}

/** What an idempotency key was used for: `show` tells the latest state of what the first request made. */
export interface Used {
  show: () => object
  expires_at: number
}

/** All that one running emulator knows. */
export interface World {
  kit: Kit<PaypalSettings>
  specs: Record<
    'orders' | 'payments' | 'vault' | 'webhooks' | 'subscriptions' | 'reporting' | 'sales' | 'disputes',
    Spec
  >
  orders: Store<OrderPlan>
  captures: Store<{ capture: Capture; order: Order }>
  authorizations: Store<{ authorization: Authorization; order: Order }>
  refunds: Store<{ refund: Refund; capture: Capture; order: Order }>
  tokens: Store<PaymentToken>
  subscriptions: Store<Subscription>
  sales: Store<Sale>
  sale_refunds: Store<SaleRefund>
  disputes: Store<Dispute>
  events: Store<WebhookEvent>
  /** Access tokens and when they end, ms. */
  access: Store<number>
  keys: Store<Used>
  /** The webhook as it is registered; empty names stand for "all". */
  webhook: { url: string; event_types: { name: string }[] }
}

const ALPHABET = '0123456789ABCDEFGHJKLMNPRSTUVWXY'
const WHOLE_ONLY = ['HUF', 'JPY', 'TWD']
const CURRENCIES =
  'AUD BRL CAD CNY CZK DKK EUR HKD HUF ILS JPY MYR MXN TWD NZD NOK PHP PLN GBP SGD SEK CHF THB USD'.split(' ')

/** An id of the vendor's form for orders, captures, refunds. */
export function newId(world: World, length = 17): string {
  return world.kit.random.string(length, ALPHABET)
}

/** The vendor tells whole seconds. */
export function nowText(world: World): string {
  return world.kit
    .now()
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
}

/** In the currency's parts. Throws VendorError for what the vendor cannot take. */
export function readMoney({ currency_code, value }: Money, field: string): bigint {
  if (!CURRENCIES.includes(currency_code)) throw unprocessable('CURRENCY_NOT_SUPPORTED', field)
  const [, whole, fraction = ''] = /^(\d{1,15})(?:\.(\d+))?$/.exec(value) ?? []
  if (whole === undefined) throw unprocessable('CANNOT_BE_ZERO_OR_NEGATIVE', field)
  if (WHOLE_ONLY.includes(currency_code) && fraction !== '')
    throw unprocessable('DECIMALS_NOT_SUPPORTED', field)
  if (fraction.length > 2) throw unprocessable('DECIMAL_PRECISION', field)
  const parts = BigInt(whole + fraction.padEnd(digitsOf(currency_code), '0'))
  if (parts === 0n) throw unprocessable('CANNOT_BE_ZERO_OR_NEGATIVE', field)
  return parts
}

export function writeMoney(parts: bigint, currency_code: string): Money {
  const digits = digitsOf(currency_code)
  const text = String(parts).padStart(digits + 1, '0')
  const value = digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`
  return { currency_code, value }
}

/** What the vendor keeps of a payment, rounded up; in the currency of the setting, at one to one. */
export function feeOf(world: World, price: Money): Money {
  const { fee_permille, fee_currency } = world.kit.settings()
  const fee = (readMoney(price, 'amount') * BigInt(fee_permille) + 999n) / 1000n
  return { ...writeMoney(fee, price.currency_code), currency_code: fee_currency || price.currency_code }
}

function digitsOf(currency_code: string): number {
  return WHOLE_ONLY.includes(currency_code) ? 0 : 2
}

/** A refusal in the vendor's shape, with the HTTP status that goes with it. */
export class VendorError extends Error {
  override readonly name = 'VendorError'
  readonly status: number
  readonly title: string
  readonly details: readonly { issue: string; description: string; field?: string }[]
  constructor(
    status: number,
    title: string,
    details: readonly { issue: string; description: string; field?: string }[] = [],
  ) {
    super(title)
    this.status = status
    this.title = title
    this.details = details
  }
}

/** 422 with one issue, by which clients decide. */
export function unprocessable(issue: string, field?: string): VendorError {
  const description = `The requested action is not possible: ${issue.toLowerCase().replaceAll('_', ' ')}.`
  return new VendorError(422, 'UNPROCESSABLE_ENTITY', [
    { issue, description, ...(field === undefined ? {} : { field }) },
  ])
}

export function notFound(): VendorError {
  return new VendorError(404, 'RESOURCE_NOT_FOUND', [
    { issue: 'INVALID_RESOURCE_ID', description: 'The specified resource does not exist.' },
  ])
}
