import { z } from 'zod'
import { amount, amountOrZero, currency, pageOf, pageQuery, timestamp } from '#http/wire'
import type { DisputeRow } from './dispute-queries.ts'
import { PAYMENT_STATUSES } from './payment-status.ts'
import type { PaymentRow } from './payment-queries.ts'
import type { RefundRow } from './refund-queries.ts'
import { methodStatus, type SavedMethodRow } from './saved-methods.ts'

export const paymentStatus = z.enum(PAYMENT_STATUSES)

export const payment = z
  .object({
    id: z.string(),
    order_id: z.string(),
    customer_id: z.string(),
    status: paymentStatus,
    gateway: z.string(),
    is_test: z.boolean(),
    amount,
    currency,
    captured_amount: amountOrZero,
    refunded_amount: amountOrZero,
    fee: amountOrZero.nullable().describe('What the vendor keeps, where it tells.'),
    fee_currency: z.string().nullable(),
    external_id: z.string().nullable().describe('The payment’s id at the vendor.'),
    checkout_url: z.string().nullable().describe('Where the buyer pays.'),
    capture: z.enum(['automatic', 'manual']),
    failure_reason: z.string().nullable(),
    mismatch_reason: z.string().nullable().describe('Why a person has to look; set when status is mismatch.'),
    repeats_payment_id: z
      .string()
      .nullable()
      .describe('The payment whose link or subscription this charge was made with.'),
    repeat_kind: z.enum(['paid_again', 'renewal']).nullable(),
    vendor_subscription_id: z
      .string()
      .nullable()
      .describe('The subscription that is charged beside its plan.'),
    expires_at: timestamp,
    created_at: timestamp,
    succeeded_at: timestamp.nullable(),
  })
  .meta({ id: 'Payment' })

export const refund = z
  .object({
    id: z.string(),
    payment_id: z.string(),
    status: z.enum(['pending', 'unknown', 'succeeded', 'failed']),
    amount,
    currency,
    reason: z.string(),
    origin: z.enum(['api', 'vendor']),
    external_id: z.string().nullable(),
    failure_reason: z.string().nullable(),
    breakdown: z
      .array(
        z.object({
          grant_id: z.string(),
          unit: z.string(),
          granted: amountOrZero,
          remaining: amountOrZero,
          price: amountOrZero,
          refundable: amountOrZero,
        }),
      )
      .describe(
        'What each grant bought by the payment is still worth: price × remaining ÷ granted, rounded down.',
      ),
    created_at: timestamp,
    finished_at: timestamp.nullable(),
  })
  .meta({ id: 'Refund' })

export const dispute = z
  .object({
    id: z.string(),
    payment_id: z.string(),
    external_id: z.string(),
    status: z.enum(['open', 'won', 'lost']),
    amount,
    currency,
    reason: z.string(),
    created_at: timestamp,
    closed_at: timestamp.nullable(),
  })
  .meta({ id: 'Dispute' })
export const disputePage = pageOf(dispute)
export const disputeFilter = pageQuery.extend({ payment_id: z.string().max(100).optional() })

export const savedMethod = z
  .object({
    id: z.string(),
    customer_id: z.string(),
    gateway: z.string(),
    kind: z.string(),
    title: z.string(),
    status: z
      .enum(['active', 'removing', 'removed'])
      .describe('removing: never charged again; the vendor has not let it go yet.'),
    consented_at: timestamp,
    consent_text: z.string().nullable().describe('What the buyer read and agreed to.'),
    consent_locale: z.string().nullable(),
    expires_at: timestamp.nullable(),
    created_at: timestamp,
  })
  .meta({ id: 'SavedMethod' })

export const paymentPage = pageOf(payment)
export const refundPage = pageOf(refund)
export const savedMethodList = pageOf(savedMethod)

export const paymentFilter = pageQuery.extend({
  customer_id: z.string().max(100).optional(),
  order_id: z.string().max(100).optional(),
  status: paymentStatus.optional(),
  gateway: z.string().max(50).optional(),
  external_id: z.string().max(200).optional(),
})
export const refundFilter = pageQuery.extend({
  payment_id: z.string().max(100).optional(),
  status: z.enum(['pending', 'unknown', 'succeeded', 'failed']).optional(),
})
export const seenOutcome = z.strictObject({
  status: z.enum(['succeeded', 'failed']).describe('failed: the vendor has made none; the units come back.'),
  external_id: z
    .string()
    .regex(/^[\w-]{1,64}$/)
    .optional()
    .describe('The vendor’s own number of it, if it shows one.'),
})
export const captureBody = z.strictObject({ amount: amount.optional() })

/** The payment as the API shows it. */
export function paymentWire(row: PaymentRow): z.output<typeof payment> {
  return {
    id: row.id,
    order_id: row.order_id,
    customer_id: row.customer_id,
    status: row.status,
    gateway: row.gateway,
    is_test: row.is_test,
    amount: row.amount,
    currency: row.currency,
    captured_amount: row.captured_amount,
    refunded_amount: row.refunded_amount,
    fee: row.fee,
    fee_currency: row.fee_currency,
    external_id: row.external_id,
    checkout_url: row.checkout_url,
    capture: row.may_capture_now ? 'automatic' : 'manual',
    failure_reason: row.failure_reason,
    mismatch_reason: row.mismatch_reason,
    repeats_payment_id: row.repeats_payment_id,
    repeat_kind: row.repeat_kind,
    vendor_subscription_id: row.vendor_subscription_id,
    expires_at: row.expires_at,
    created_at: row.created_at,
    succeeded_at: row.succeeded_at,
  }
}

/** The refund as the API shows it. */
export function refundWire(row: RefundRow): z.output<typeof refund> {
  const breakdown = (row.breakdown ?? []) as Record<
    'granted' | 'remaining' | 'price' | 'refundable',
    number
  >[]
  return {
    id: row.id,
    payment_id: row.payment_id,
    status: row.status,
    amount: row.amount,
    currency: row.currency,
    reason: row.reason,
    origin: row.origin,
    external_id: row.external_id,
    failure_reason: row.failure_reason,
    breakdown: breakdown.map((line) => ({
      ...(line as unknown as { grant_id: string; unit: string }),
      granted: BigInt(line.granted),
      remaining: BigInt(line.remaining),
      price: BigInt(line.price),
      refundable: BigInt(line.refundable),
    })),
    created_at: row.created_at,
    finished_at: row.finished_at,
  }
}

export function savedMethodWire(row: SavedMethodRow): z.output<typeof savedMethod> {
  const { id, customer_id, gateway, kind, title, expires_at, created_at } = row
  const { consented_at, consent_text, consent_locale } = row
  const consent = { consented_at, consent_text, consent_locale }
  return {
    id,
    customer_id,
    gateway,
    kind,
    title,
    status: methodStatus(row),
    ...consent,
    expires_at,
    created_at,
  }
}

export function disputeWire({ updated_at: _updated, ...row }: DisputeRow): z.output<typeof dispute> {
  return row
}
