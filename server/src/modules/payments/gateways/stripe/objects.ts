import { present, savedCard } from '@kopilka/extension'
import type { SavedMethod, VendorPayment, VendorPaymentStatus, VendorRefund } from '@kopilka/extension'
import { z } from 'zod'

/** Without those whose minor unit at the vendor is not the world's: ISK, UGX, MGA and a few like them. */
export const CURRENCIES = (
  'USD EUR GBP AED AUD BGN BRL CAD CHF CZK DKK GEL HKD HUF IDR ILS INR KES KZT MDL MXN MYR NOK NZD PHP PLN ' +
  'QAR RON RSD SAR SEK SGD THB TRY TWD UAH UZS ZAR CLP JPY KRW PYG VND XAF XOF BHD JOD KWD OMR TND'
).split(' ')
/** Three decimals, the last of which must be 0. */
const THREE_DECIMALS = ['BHD', 'JOD', 'KWD', 'OMR', 'TND']

const OUR_ID = /^[0-9A-Za-z_.-]{1,64}$/
const WORD = /^[0-9a-z_]{1,64}$/
const Amount = z.int().nonnegative()
const Metadata = z.record(z.string(), z.string()).nullish()

const BalanceTransaction = z.object({ fee: z.int(), currency: z.string() })
const Card = z.object({
  brand: z.string().nullable(),
  last4: z.string().nullable(),
  exp_month: z.int().min(1).max(12),
  exp_year: z.int().min(2000).max(9999),
})
const Charge = z.object({
  amount_refunded: Amount,
  created: z.int(),
  balance_transaction: z.union([z.string(), BalanceTransaction]).nullish(),
  payment_method_details: z.object({ type: z.string().max(64), card: Card.nullish() }).nullish(),
})

/** Only what is used is read. The charge is expanded wherever an intent is asked for. */
export const IntentObject = z.object({
  id: z.string().regex(/^pi_\w{1,250}$/),
  object: z.literal('payment_intent'),
  status: z.string(),
  amount: Amount,
  amount_received: Amount,
  amount_capturable: Amount.nullish(),
  currency: z.string(),
  livemode: z.boolean(),
  created: z.int(),
  metadata: Metadata,
  cancellation_reason: z.string().nullish(),
  customer: z.string().nullish(),
  payment_method: z.string().max(200).nullish(),
  setup_future_usage: z.string().nullish(),
  last_payment_error: z.object({ code: z.string().nullish(), decline_code: z.string().nullish() }).nullish(),
  latest_charge: z.union([z.string(), Charge]).nullish(),
})
export type IntentObject = z.infer<typeof IntentObject>

export const SessionObject = z.object({
  id: z.string().regex(/^cs_\w{1,250}$/),
  object: z.literal('checkout.session'),
  mode: z.literal('payment'),
  status: z.string().nullable(),
  payment_status: z.string(),
  amount_total: Amount,
  currency: z.string(),
  livemode: z.boolean(),
  created: z.int(),
  metadata: Metadata,
  url: z.url({ protocol: /^https?$/ }).nullish(),
  payment_intent: z.union([z.string(), IntentObject]).nullish(),
})
export type SessionObject = z.infer<typeof SessionObject>

export const RefundObject = z.object({
  id: z.string().regex(/^(?:re|pyr)_\w{1,250}$/),
  object: z.literal('refund'),
  status: z.string().nullable(),
  amount: Amount,
  currency: z.string(),
  created: z.int(),
  metadata: Metadata,
  failure_reason: z.string().nullish(),
  payment_intent: z
    .union([z.string(), z.object({ id: z.string(), metadata: Metadata, livemode: z.boolean() })])
    .nullish(),
})
export type RefundObject = z.infer<typeof RefundObject>

/** A payment is a page the buyer was sent to, or an intent of its own: the charge of a saved method. */
export type PaymentObject = SessionObject | IntentObject

/** The intent of a payment where the vendor has made one: on a page only when the buyer begins to pay. */
export function intentOf(object: PaymentObject): IntentObject | undefined {
  if (object.object === 'payment_intent') return object
  return typeof object.payment_intent === 'object' ? (object.payment_intent ?? undefined) : undefined
}

/** The vendor's payment in our words. What was captured counts, not what was asked. */
export function toPayment(object: PaymentObject): VendorPayment {
  const intent = intentOf(object)
  const charge = typeof intent?.latest_charge === 'object' ? intent.latest_charge : undefined
  const status = paymentStatus(object, intent)
  const is_paid = status === 'succeeded'
  const currency = (intent ?? object).currency.toUpperCase()
  const fee = typeof charge?.balance_transaction === 'object' ? charge.balance_transaction : undefined
  const fee_currency = fee?.currency.toUpperCase()
  return {
    external_id: object.id,
    status,
    amount: BigInt(vendorAmountNow(object, intent, status)),
    currency,
    is_test: !object.livemode,
    created_at: moment(object.created),
    ...present({
      payment_id: ourId(object.metadata?.['payment_id']),
      order_id: ourId(object.metadata?.['order_id']),
      refunded_amount: charge && is_paid ? BigInt(charge.amount_refunded) : undefined,
      fee: is_paid && fee ? BigInt(fee.fee) : undefined,
      fee_currency: is_paid && fee_currency !== currency ? fee_currency : undefined,
      failure_reason: failureReason(object, intent, status),
      paid_at: is_paid && charge ? moment(charge.created) : undefined,
      saved_method: is_paid && intent ? savedMethod(intent, charge ?? undefined) : undefined,
    }),
  }
}

/**
 * The vendor's refund in our words. Its payment is named by our id only: the vendor ties it to an intent, and
 * a payment made on a page is known here by the page.
 */
export function toRefund(object: RefundObject): VendorRefund {
  const intent = typeof object.payment_intent === 'object' ? object.payment_intent : undefined
  const currency = object.currency.toUpperCase()
  const status =
    object.status === 'succeeded'
      ? 'succeeded'
      : object.status === 'failed' || object.status === 'canceled'
        ? 'failed'
        : 'pending'
  return {
    external_id: object.id,
    status,
    amount: BigInt(object.amount),
    currency,
    created_at: moment(object.created),
    ...present({
      refund_id: ourId(object.metadata?.['refund_id']),
      payment_id: ourId(object.metadata?.['payment_id']) ?? ourId(intent?.metadata?.['payment_id']),
      failure_reason: status === 'failed' ? word(object.failure_reason, 'refund_failed') : undefined,
      is_test: intent ? !intent.livemode : undefined,
    }),
  }
}

/** Minor units are the same here and there, but the vendor cannot take every amount of three decimals. */
export function isAmountPossible(money: { amount: bigint; currency: string }): boolean {
  return !THREE_DECIMALS.includes(money.currency) || money.amount % 10n === 0n
}

/** One of our ids out of the vendor's metadata; `undefined` for whatever else may stand there. */
export function ourId(value: unknown): string | undefined {
  return typeof value === 'string' && OUR_ID.test(value) ? value : undefined
}

/** The vendor's word, or a general one when it is missing or has no form of a word. */
function word(text: string | null | undefined, general: string): string {
  return text && WORD.test(text) ? text : general
}

function moment(seconds: number): Date {
  return new Date(seconds * 1000)
}

/** Money facts first: only the intent knows them. A declined attempt does not end a page that is open. */
function paymentStatus(object: PaymentObject, intent: IntentObject | undefined): VendorPaymentStatus {
  if (intent?.status === 'succeeded') return 'succeeded'
  if (intent?.status === 'requires_capture') return 'authorized'
  if (intent?.status === 'canceled') return 'canceled'
  return object.object === 'payment_intent' ? intentStatus(object) : pageStatus(object, intent)
}

function intentStatus(intent: IntentObject): VendorPaymentStatus {
  if (intent.status === 'requires_action') return 'requires_action'
  return intent.status === 'requires_payment_method' && intent.last_payment_error ? 'failed' : 'pending'
}

function pageStatus(session: SessionObject, intent: IntentObject | undefined): VendorPaymentStatus {
  if (session.status === 'expired') return 'canceled'
  const is_over = session.status === 'complete' && session.payment_status === 'unpaid'
  return is_over && intent?.status === 'requires_payment_method' ? 'failed' : 'pending'
}

function vendorAmountNow(
  object: PaymentObject,
  intent: IntentObject | undefined,
  status: VendorPaymentStatus,
): number {
  if (status === 'succeeded' && intent) return intent.amount_received
  if (status === 'authorized' && intent) return intent.amount_capturable ?? intent.amount
  return object.object === 'checkout.session' ? object.amount_total : object.amount
}

function failureReason(
  object: PaymentObject,
  intent: IntentObject | undefined,
  status: VendorPaymentStatus,
): string | undefined {
  const error = intent?.last_payment_error
  if (status === 'failed') return word(error?.decline_code ?? error?.code, 'declined')
  if (status !== 'canceled') return undefined
  if (intent?.status === 'canceled') return word(intent.cancellation_reason, 'canceled')
  return object.object === 'checkout.session' ? 'expired' : 'canceled'
}

function savedMethod(
  intent: IntentObject,
  charge: z.infer<typeof Charge> | undefined,
): SavedMethod | undefined {
  const { customer, payment_method: external_id } = intent
  if (intent.setup_future_usage !== 'off_session' || !customer || !external_id) return undefined
  const details = charge?.payment_method_details
  const kind = details?.type ?? 'card'
  const card = details?.card
  if (!card) return { external_id, customer_external_id: customer, kind, title: kind }
  const saved = savedCard({
    external_id,
    kind,
    brand: card.brand ?? kind,
    last4: card.last4 ?? '••••',
    expiry_year: card.exp_year,
    expiry_month: card.exp_month,
  })
  return { ...saved, customer_external_id: customer }
}
