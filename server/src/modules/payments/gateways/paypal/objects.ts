import { idTime, present, readMoment } from '@kopilka/extension'
import type { SavedMethod, VendorPayment, VendorPaymentStatus, VendorRefund } from '@kopilka/extension'
import { z } from 'zod'
import { isSandbox } from './config.ts'
import type { Config } from './config.ts'
import { Amount } from './money.ts'

const ORDER_ID = /^([0-9A-Za-z_.]{1,64})-\d{1,10}$/
const WORD = /^[0-9A-Z_]{1,64}$/
const Id = z.string().regex(/^[0-9A-Za-z_-]{1,64}$/)
const Text = z.string().max(300)
const Details = z
  .object({ reason: z.string().max(100).optional() })
  .nullish()
  .catch(undefined)
const Links = z.array(z.object({ rel: z.string(), href: z.string().max(2000) })).optional()

export const CaptureObject = z.object({
  id: Id,
  status: z.string(),
  status_details: Details,
  amount: Amount,
  custom_id: Text.optional(),
  seller_receivable_breakdown: z.object({ paypal_fee: Amount.optional() }).optional().catch(undefined),
  supplementary_data: z
    .object({ related_ids: z.object({ order_id: Id.optional() }).optional() })
    .optional()
    .catch(undefined),
  create_time: z.string().optional(),
})
export type CaptureObject = z.infer<typeof CaptureObject>

const AuthorizationObject = z.object({ id: Id, status: z.string(), status_details: Details, amount: Amount })

export const RefundObject = z.object({
  id: Id,
  status: z.string(),
  status_details: Details,
  amount: Amount,
  custom_id: Text.optional(),
  create_time: z.string().optional(),
  links: Links,
})
export type RefundObject = z.infer<typeof RefundObject>

const UnitObject = z.object({
  custom_id: Text.optional(),
  invoice_id: Text.optional(),
  amount: Amount,
  payee: z.object({ merchant_id: z.string().optional() }).optional().catch(undefined),
  payments: z
    .object({
      captures: z.array(CaptureObject).optional(),
      authorizations: z.array(AuthorizationObject).optional(),
      refunds: z.array(RefundObject).optional(),
    })
    .optional(),
})

const WalletObject = z.object({
  email_address: z.string().max(254).optional(),
  attributes: z
    .object({
      vault: z
        .object({
          id: Id.optional(),
          status: z.string().optional(),
          customer: z.object({ id: Id.optional() }).optional(),
        })
        .optional(),
    })
    .optional(),
})

/** What a new order tells at least; the whole is read apart. */
export const CreatedOrder = z.object({ id: Id, status: z.string(), links: Links })
export type CreatedOrder = z.infer<typeof CreatedOrder>

/** An order as it is shown. One of ours has one purchase unit; only what is used is read. */
export const OrderObject = CreatedOrder.extend({
  intent: z.string(),
  purchase_units: z.array(UnitObject).min(1).max(10),
  payment_source: z.object({ paypal: WalletObject.optional().catch(undefined) }).optional(),
  create_time: z.string().optional(),
  update_time: z.string().optional(),
})
export type OrderObject = z.infer<typeof OrderObject>
type Unit = z.infer<typeof UnitObject>

/** What came of our own call, where the order itself does not tell it. */
export interface Verdict {
  status: VendorPaymentStatus
  failure_reason: string
}

/** The vendor's order in our words. What was captured counts, not what was asked, and no order is money. */
export function toPayment(config: Config, order: OrderObject, verdict?: Verdict): VendorPayment {
  const unit = unitOf(order)
  const told = paymentStatus(order, unit)
  const status = told === 'pending' && verdict ? verdict.status : told
  const is_paid = status === 'succeeded'
  const taken = capturesOf(order).filter(isTaken)
  const { amount, currency } = taken.length > 0 ? sumOf(taken) : amountNow(order, unit)
  const [, order_id] = ORDER_ID.exec(unit.invoice_id ?? '') ?? []
  return {
    external_id: order.id,
    status,
    amount,
    currency,
    is_test: isSandbox(config),
    ...present({
      payment_id: paymentIdIn(unit.custom_id),
      order_id,
      receiver_matches: receiverMatches(config, unit),
      refunded_amount: is_paid ? refundedAmount(unit, currency) : undefined,
      ...(is_paid ? feeOf(taken, currency) : {}),
      failure_reason: told === status ? failureReason(order, status) : verdict?.failure_reason,
      paid_at: is_paid ? readMoment(taken[0]?.create_time) : undefined,
      created_at: readMoment(order.create_time),
      saved_method: is_paid ? savedMethodOf(order) : undefined,
    }),
  }
}

/** The vendor's refund in our words. */
export function toRefund(
  config: Config,
  object: RefundObject,
  payment: { external_id?: string | undefined; payment_id?: string | undefined },
): VendorRefund {
  const is_over = object.status === 'FAILED' || object.status === 'CANCELLED'
  return {
    external_id: object.id,
    status: object.status === 'COMPLETED' ? 'succeeded' : is_over ? 'failed' : 'pending',
    ...object.amount,
    is_test: isSandbox(config),
    ...present({
      refund_id: refundIdIn(object.custom_id),
      payment_external_id: payment.external_id,
      payment_id: payment.payment_id,
      failure_reason: is_over ? wordOf(object.status_details?.reason, object.status) : undefined,
      created_at: readMoment(object.create_time),
    }),
  }
}

/** Our payment's id among the vendor's custom data; `undefined` for whatever else may stand there. */
export function paymentIdIn(value: unknown): string | undefined {
  return typeof value === 'string' && value.startsWith('pay_') && idTime(value) ? value : undefined
}

export function refundIdIn(value: unknown): string | undefined {
  return typeof value === 'string' && !value.startsWith('pay_') && idTime(value) ? value : undefined
}

export function unitOf(order: OrderObject): Unit {
  const [unit] = order.purchase_units
  if (!unit) throw new TypeError('an order has at least one purchase unit: its schema says so')
  return unit
}

export function capturesOf(order: OrderObject): CaptureObject[] {
  return unitOf(order).payments?.captures ?? []
}

export function refundsOf(order: OrderObject): RefundObject[] {
  return unitOf(order).payments?.refunds ?? []
}

/** True while nothing was captured or held of it, nor is on the way to be. */
export function isUntouched(order: OrderObject): boolean {
  const { captures = [], authorizations = [] } = unitOf(order).payments ?? {}
  return captures.length === 0 && authorizations.length === 0
}

/** The authorization that can be captured or voided. */
export function heldAuthorization(order: OrderObject): { id: string } | undefined {
  return unitOf(order).payments?.authorizations?.find(({ status }) => status === 'CREATED')
}

/** True when the money of this capture was taken, whatever was given back since. */
export function isTaken({ status }: CaptureObject): boolean {
  return ['COMPLETED', 'PARTIALLY_REFUNDED', 'REFUNDED'].includes(status)
}

/** The buyer's page: named one way when a payment source was sent, another when not. */
export function payerPage(order: CreatedOrder): string | undefined {
  const link = order.links?.find(({ rel }) => rel === 'payer-action' || rel === 'approve')
  return link && z.url({ protocol: /^https?$/ }).safeParse(link.href).success ? link.href : undefined
}

/** The last part of the address of the object above, e.g. the capture of a refund. */
export function parentId(
  links: { rel: string; href: string }[] | undefined,
  above: 'up' | 'sale' = 'up',
): string | undefined {
  const href = links?.find(({ rel }) => rel === above)?.href
  const id = href?.split('?')[0]?.split('/').at(-1)
  return id !== undefined && Id.safeParse(id).success ? id : undefined
}

/** The vault's customer when the buyer agreed and the token is not told yet. */
export function waitingVaultCustomer(order: OrderObject): string | undefined {
  const vault = order.payment_source?.paypal?.attributes?.vault
  return vault?.status === 'APPROVED' && vault.id === undefined ? vault.customer?.id : undefined
}

/** A kept agreement; `customer_id` is the vault's. */
export function savedMethod(order: OrderObject, id: string, customer_id: string | undefined): SavedMethod {
  return {
    external_id: id,
    kind: 'paypal',
    title: `PayPal ${maskedEmail(order.payment_source?.paypal?.email_address)}`.trim(),
    ...present({ customer_external_id: customer_id }),
  }
}

function savedMethodOf(order: OrderObject): SavedMethod | undefined {
  const vault = order.payment_source?.paypal?.attributes?.vault
  if (vault?.id === undefined || vault.status !== 'VAULTED') return undefined
  return savedMethod(order, vault.id, vault.customer?.id)
}

/** A status this version does not know is pending, never success and never failure. */
function paymentStatus(order: OrderObject, unit: Unit): VendorPaymentStatus {
  const captures = capturesOf(order)
  if (captures.some(isTaken)) return 'succeeded'
  if (captures.some(({ status }) => status !== 'DECLINED' && status !== 'FAILED')) return 'pending'
  const authorization = unit.payments?.authorizations?.at(-1)
  if (authorization) {
    if (authorization.status === 'CREATED') return 'authorized'
    if (authorization.status === 'VOIDED') return 'canceled'
    return authorization.status === 'DENIED' ? 'failed' : 'pending'
  }
  if (captures.length > 0) return 'failed'
  return order.status === 'VOIDED' ? 'canceled' : 'pending'
}

function amountNow(order: OrderObject, unit: Unit): Amount {
  return unit.payments?.authorizations?.at(-1)?.amount ?? capturesOf(order)[0]?.amount ?? unit.amount
}

function sumOf(captures: readonly CaptureObject[]): Amount {
  const currency = captures[0]?.amount.currency ?? ''
  const own = captures.filter((capture) => capture.amount.currency === currency)
  return { currency, amount: own.reduce((sum, { amount }) => sum + amount.amount, 0n) }
}

function refundedAmount(unit: Unit, currency: string): bigint {
  const done = (unit.payments?.refunds ?? []).filter(
    ({ status, amount }) => status === 'COMPLETED' && amount.currency === currency,
  )
  return done.reduce((sum, { amount }) => sum + amount.amount, 0n)
}

/** The vendor may keep its fee in the account's own currency: it is told in that, beside the payment. */
function feeOf(
  captures: readonly CaptureObject[],
  currency: string,
): { fee?: bigint; fee_currency?: string } {
  const fees = captures.flatMap((capture) => capture.seller_receivable_breakdown?.paypal_fee ?? [])
  const [first] = fees
  // Of several in several currencies there is no sum.
  if (!first || fees.some((fee) => fee.currency !== first.currency)) return {}
  return feeIn(currency, { ...first, amount: fees.reduce((sum, { amount }) => sum + amount, 0n) })
}

/** A fee beside a payment in `currency`, which is named only where it differs. */
export function feeIn(currency: string, fee: Amount): { fee: bigint; fee_currency?: string } {
  return fee.currency === currency ? { fee: fee.amount } : { fee: fee.amount, fee_currency: fee.currency }
}

function receiverMatches(config: Config, unit: Unit): boolean | undefined {
  const { merchant_id } = unit.payee ?? {}
  if (config.merchant_id === undefined || merchant_id === undefined) return undefined
  return merchant_id === config.merchant_id
}

function failureReason(order: OrderObject, status: VendorPaymentStatus): string | undefined {
  if (status !== 'failed' && status !== 'canceled') return undefined
  const payments = unitOf(order).payments
  const last = payments?.captures?.at(-1) ?? payments?.authorizations?.at(-1)
  return wordOf(last?.status_details?.reason, last?.status ?? order.status)
}

function wordOf(reason: string | undefined, status: string): string {
  const word = reason !== undefined && WORD.test(reason) ? reason : status
  return WORD.test(word) ? word.toLowerCase() : 'refused'
}

/** What the buyer recognises and nobody else learns from: `b•••@example.com`. */
function maskedEmail(email: string | undefined): string {
  const [, first, host] = /^(.)[^@]*@([^@\s]{1,100})$/u.exec(email ?? '') ?? []
  return first === undefined ? '' : `${first}•••@${host}`
}
