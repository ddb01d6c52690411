import { formatDecimal, parseDecimal, present, readMoment, savedCard } from '@kopilka/extension'
import type { SavedMethod, VendorPayment, VendorPaymentStatus, VendorRefund } from '@kopilka/extension'
import { z } from 'zod'
import type { Config } from './config.ts'

/** The codes of the vendor's specification; each has two decimal places. */
export const CURRENCIES = ['RUB', 'EUR', 'USD', 'KZT', 'BYN', 'UAH', 'UZS', 'TRY', 'INR', 'MDL', 'AZN', 'AMD']
const DIGITS = 2

/** The form of the vendor's payment and refund ids. */
export const OBJECT_ID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i
const OUR_ID = /^[0-9A-Za-z_.-]{1,64}$/
const REASON = /^[0-9a-z_]{1,64}$/
/** Reasons that are nobody's failure: time ran out or the shop took it back. */
const CANCELED_REASONS = ['expired_on_confirmation', 'expired_on_capture', 'canceled_by_merchant']

const Money = z.object({
  value: z.string().refine((text) => parseDecimal(text, DIGITS) !== undefined),
  currency: z.enum(CURRENCIES),
})
const Metadata = z.record(z.string(), z.unknown()).nullish()
const Cancellation = z.object({ party: z.string(), reason: z.string() }).optional()

/** Only what is used is read; the rest of the vendor's object, now or later, is ignored. */
export const PaymentObject = z.object({
  id: z.string().regex(OBJECT_ID),
  status: z.string(),
  amount: Money,
  income_amount: Money.optional(),
  refunded_amount: Money.optional(),
  created_at: z.string().optional(),
  captured_at: z.string().optional(),
  test: z.boolean().optional(),
  metadata: Metadata,
  recipient: z.object({ account_id: z.string().optional() }).optional(),
  confirmation: z.object({ confirmation_url: z.url({ protocol: /^https?$/ }).optional() }).optional(),
  cancellation_details: Cancellation,
  payment_method: z
    .object({
      id: z.string().min(1).max(200),
      type: z.string(),
      saved: z.boolean(),
      title: z.string().optional(),
      card: z
        .object({
          last4: z.string(),
          card_type: z.string(),
          expiry_year: z.string().regex(/^\d{4}$/),
          expiry_month: z.string().regex(/^(?:0?[1-9]|1[0-2])$/),
        })
        .optional(),
    })
    .optional(),
})
export type PaymentObject = z.infer<typeof PaymentObject>

export const RefundObject = z.object({
  id: z.string().regex(OBJECT_ID),
  payment_id: z.string().regex(OBJECT_ID),
  status: z.string(),
  amount: Money,
  created_at: z.string().optional(),
  metadata: Metadata,
  cancellation_details: Cancellation,
})
export type RefundObject = z.infer<typeof RefundObject>

/** The vendor's payment in our words. `refunded_amount` is the only trace of refunds: the status stays. */
export function toPayment(config: Config, object: PaymentObject): VendorPayment {
  const shop_id = object.recipient?.account_id
  const is_paid = object.status === 'succeeded'
  const amount = minorUnits(object.amount)
  return {
    external_id: object.id,
    status: paymentStatus(object),
    amount,
    currency: object.amount.currency,
    ...present({
      payment_id: ourId(object.metadata?.['payment_id']),
      order_id: ourId(object.metadata?.['order_id']),
      is_test: object.test,
      receiver_matches: shop_id === undefined ? undefined : shop_id === config.shop_id,
      refunded_amount: refundedAmount(object),
      fee: is_paid ? feeOf(object, amount) : undefined,
      failure_reason: object.status === 'canceled' ? cancelReason(object) : undefined,
      paid_at: is_paid ? readMoment(object.captured_at) : undefined,
      created_at: readMoment(object.created_at),
      saved_method: savedMethod(object.payment_method),
    }),
  }
}

/** The vendor's refund in our words; it does not tell whether it is a test. */
export function toRefund(object: RefundObject): VendorRefund {
  const status =
    object.status === 'canceled' ? 'failed' : object.status === 'succeeded' ? 'succeeded' : 'pending'
  return {
    external_id: object.id,
    payment_external_id: object.payment_id,
    status,
    amount: minorUnits(object.amount),
    currency: object.amount.currency,
    ...present({
      refund_id: ourId(object.metadata?.['refund_id']),
      payment_id: ourId(object.metadata?.['payment_id']),
      failure_reason: status === 'failed' ? cancelReason(object) : undefined,
      created_at: readMoment(object.created_at),
    }),
  }
}

/** Minor units as the vendor wants them: `59900n` is `{ value: '599.00' }`. */
export function vendorMoney(money: { amount: bigint; currency: string }): {
  value: string
  currency: string
} {
  return { value: formatDecimal(money.amount, DIGITS), currency: money.currency }
}

/** One of our ids out of the vendor's metadata; `undefined` for whatever else may stand there. */
export function ourId(value: unknown): string | undefined {
  return typeof value === 'string' && OUR_ID.test(value) ? value : undefined
}

function minorUnits(money: { value: string }): bigint {
  const amount = parseDecimal(money.value, DIGITS)
  if (amount === undefined) throw new RangeError('the schema lets only readable amounts through')
  return amount
}

/** What the vendor kept; a shop that receives more than was paid tells of no fee. */
function feeOf({ income_amount }: PaymentObject, amount: bigint): bigint | undefined {
  const income = income_amount && minorUnits(income_amount)
  return income === undefined || income > amount ? undefined : amount - income
}

function paymentStatus(object: PaymentObject): VendorPaymentStatus {
  switch (object.status) {
    case 'succeeded':
      return 'succeeded'
    case 'waiting_for_capture':
      return 'authorized'
    case 'canceled': {
      const { party, reason = '' } = object.cancellation_details ?? {}
      return party === 'merchant' || CANCELED_REASONS.includes(reason) ? 'canceled' : 'failed'
    }
    default:
      return 'pending'
  }
}

/** The vendor's word; one that is missing or has no form of a word is a general decline. */
function cancelReason(object: { cancellation_details?: { reason: string } | undefined }): string {
  const reason = object.cancellation_details?.reason ?? ''
  return REASON.test(reason) ? reason : 'general_decline'
}

function refundedAmount(object: PaymentObject): bigint | undefined {
  if (object.refunded_amount) return minorUnits(object.refunded_amount)
  return object.status === 'succeeded' ? 0n : undefined
}

function savedMethod(method: PaymentObject['payment_method']): SavedMethod | undefined {
  if (!method?.saved) return undefined
  const { id: external_id, type: kind, card } = method
  if (!card) return { external_id, kind, title: method.title ?? kind }
  const { card_type: brand, last4 } = card
  const expiry = { expiry_year: Number(card.expiry_year), expiry_month: Number(card.expiry_month) }
  return savedCard({ external_id, kind, brand, last4, ...expiry })
}
