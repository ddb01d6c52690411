import { present, readMoment } from '@kopilka/extension'
import type { VendorCharge, VendorPayment, VendorPaymentStatus, VendorRefund } from '@kopilka/extension'
import { z } from 'zod'
import { isSandboxKey } from './config.ts'
import type { Config } from './config.ts'

/** The vendor's list without the rouble, whose buyers it does not serve. */
export const CURRENCIES = (
  'USD EUR GBP JPY AUD CAD CHF HKD SGD SEK ARS BRL CNY COP CZK DKK HUF ILS INR KRW MXN NOK NZD PLN ' +
  'THB TRY TWD UAH VND ZAR'
).split(' ')

const OUR_ID = /^[0-9A-Za-z_.-]{1,64}$/
const WORD = /^[0-9a-z_]{1,64}$/
/** Our refund's id at the head of an adjustment's reason: the vendor keeps nothing else of ours there. */
const REASON_ID = /^\[([0-9A-Za-z_.-]{1,64})\]/

/** Minor units as text. */
export const Amount = z
  .string()
  .regex(/^\d{1,15}$/)
  .transform(BigInt)
export const Id = z.string().regex(/^\w{1,64}$/)
export const Currency = z.string().regex(/^[A-Z]{3}$/)

export const AdjustmentObject = z.object({
  id: Id,
  action: z.string(),
  status: z.string(),
  transaction_id: Id,
  reason: z.string(),
  currency_code: Currency,
  totals: z.object({ total: Amount }),
  created_at: z.string().optional(),
})
export type AdjustmentObject = z.infer<typeof AdjustmentObject>

/** Only what is used is read. `adjustments` are there when they were asked for. */
export const TransactionObject = z.object({
  id: Id,
  status: z.string(),
  currency_code: Currency,
  custom_data: z.record(z.string(), z.unknown()).nullish(),
  origin: z.string().optional(),
  subscription_id: Id.nullish(),
  items: z
    .array(
      z.object({
        price: z
          .object({
            id: Id.optional(),
            custom_data: z.record(z.string(), z.unknown()).nullish().catch(undefined),
          })
          .nullish(),
      }),
    )
    .optional()
    .catch(undefined),
  created_at: z.string().optional(),
  billed_at: z.string().nullish(),
  checkout: z.object({ url: z.url({ protocol: /^https?$/ }).nullish() }).nullish(),
  details: z.object({
    totals: z.object({ total: Amount, fee: Amount.nullish() }),
    line_items: z.array(z.object({ id: Id })),
  }),
  payments: z
    .array(
      z.object({
        status: z.string(),
        error_code: z.string().nullish(),
        captured_at: z.string().nullish(),
      }),
    )
    .optional(),
  adjustments: z.array(AdjustmentObject).optional(),
})
export type TransactionObject = z.infer<typeof TransactionObject>

/** The vendor's transaction in our words. The total counts, with tax: that is what the buyer was told. */
export function toPayment(config: Config, object: TransactionObject): VendorPayment {
  const status = paymentStatus(object.status)
  const is_paid = status === 'succeeded'
  const { total, fee } = object.details.totals
  return {
    external_id: object.id,
    status,
    amount: total,
    currency: object.currency_code,
    is_test: isSandboxKey(config),
    ...present({
      payment_id: ourId(namesOf(object)['payment_id']),
      order_id: ourId(namesOf(object)['order_id']),
      refunded_amount: object.adjustments && is_paid ? refundedAmount(object.adjustments) : undefined,
      fee: is_paid ? (fee ?? undefined) : undefined,
      failure_reason:
        status === 'failed' || status === 'canceled' ? failureReason(object, status) : undefined,
      paid_at: is_paid ? paidAt(object) : undefined,
      created_at: readMoment(object.created_at),
    }),
  }
}

/**
 * A transaction of a subscription: a renewal unless it is the one that began it, or one we asked for. The
 * price's id says what it was for.
 */
export function toCharge(config: Config, object: TransactionObject): VendorCharge {
  return {
    ...toPayment(config, object),
    is_renewal: isVendorsOwn(object.origin) && ourId(namesOf(object)['payment_id']) === undefined,
    ...present({ product_code: object.items?.[0]?.price?.id }),
  }
}

/**
 * Our names of a transaction. What is charged for a subscription carries the custom data of the one that
 * began it; of what we charge beside the plan, the price that was made for it has ours.
 */
export function namesOf({
  origin,
  custom_data,
  items,
}: Pick<TransactionObject, 'origin' | 'custom_data' | 'items'>): Record<string, unknown> {
  if (!isVendorsOwn(origin)) return custom_data ?? {}
  const is_charge = origin === 'subscription_charge' && items?.length === 1
  return (is_charge ? items[0]?.price?.custom_data : undefined) ?? {}
}

/** Made by the vendor for a subscription, and not at somebody's checkout. */
export function isVendorsOwn(origin: unknown): boolean {
  return typeof origin === 'string' && origin.startsWith('subscription_')
}

/** The vendor's adjustment in our words: done when approved, not when made. */
export function toRefund(config: Config, object: AdjustmentObject): VendorRefund {
  const is_over = ['rejected', 'reversed'].includes(object.status)
  const status = object.status === 'approved' ? 'succeeded' : is_over ? 'failed' : 'pending'
  return {
    external_id: object.id,
    payment_external_id: object.transaction_id,
    status,
    amount: object.totals.total,
    currency: object.currency_code,
    is_test: isSandboxKey(config),
    ...present({
      refund_id: refundIdIn(object.reason),
      failure_reason: is_over ? object.status : undefined,
      created_at: readMoment(object.created_at),
    }),
  }
}

/** One of our ids out of the vendor's custom data; `undefined` for whatever else may stand there. */
export function ourId(value: unknown): string | undefined {
  return typeof value === 'string' && OUR_ID.test(value) ? value : undefined
}

export function refundIdIn(reason: unknown): string | undefined {
  return typeof reason === 'string' ? REASON_ID.exec(reason)?.[1] : undefined
}

export function reasonOf(refund_id: string, reason: string): string {
  return `[${refund_id}] ${reason}`.trim()
}

function paymentStatus(status: string): VendorPaymentStatus {
  if (status === 'paid' || status === 'completed') return 'succeeded'
  if (status === 'past_due') return 'failed'
  return status === 'canceled' ? 'canceled' : 'pending'
}

function refundedAmount(adjustments: readonly AdjustmentObject[]): bigint {
  const approved = adjustments.filter(({ action, status }) => action === 'refund' && status === 'approved')
  return approved.reduce((sum, { totals }) => sum + totals.total, 0n)
}

function failureReason(object: TransactionObject, status: VendorPaymentStatus): string {
  const word = object.payments?.find(({ error_code }) => error_code)?.error_code
  if (status === 'failed' && word && WORD.test(word)) return word
  return object.status
}

function paidAt(object: TransactionObject): Date | undefined {
  const captured = object.payments?.find(({ status }) => status === 'captured')
  return readMoment(captured?.captured_at ?? object.billed_at ?? undefined)
}
