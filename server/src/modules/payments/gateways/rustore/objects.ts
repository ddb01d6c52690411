import { GatewayUnavailable, present, readAnswer, readMoment } from '@kopilka/extension'
import type {
  PurchaseReference,
  SubscriptionReference,
  VendorPayment,
  VendorPaymentStatus,
  VendorPurchase,
  VendorSubscription,
} from '@kopilka/extension'
import { z } from 'zod'
import { callApi } from './api.ts'
import type { Shop } from './api.ts'
import type { Config } from './config.ts'

/** Invoice numbers of the vendor. */
export const INVOICE_ID = /^[1-9]\d{0,17}$/
const PURCHASE_ID = /^[\w-]{1,64}$/
const PRODUCT_CODE = /^[\w.-]{1,150}$/
/** Purchases of one buyer that are looked through: 1000, the newest of which matter. */
const PAGES_MAX = 10
const ACCOUNT_ID = /^[\w.@:-]{1,200}$/
const OUR_ID = /^[a-z]{2,8}_[0-9a-z]{1,40}$/

const Kopecks = z.number().int().nonnegative()
const Id = z.union([z.string(), z.number().int()]).transform(String)

/** Only what is used is read; the rest of the vendor's object, now or later, is ignored. */
export const Invoice = z.object({
  invoiceId: Id,
  invoiceStatus: z.string().max(40),
  invoiceDate: z.string().nullish(),
  refundDate: z.string().nullish(),
  developerPayload: z.string().nullish(),
  appId: Id,
  purchaseId: z.string().regex(PURCHASE_ID).nullish(),
  paymentInfo: z.object({ paymentDate: z.string().nullish() }).nullish(),
  order: z.object({
    orderId: z.string().nullish(),
    amountCreate: Kopecks,
    amountCurrent: Kopecks,
    currency: z.string().max(8),
    itemCode: z.string().max(150).nullish(),
  }),
})
export type Invoice = z.infer<typeof Invoice>

const Millis = z.string().regex(/^\d{1,15}$/)
const Subscription = z.object({
  startTimeMillis: Millis.nullish(),
  expiryTimeMillis: Millis,
  autoRenewing: z.boolean().nullish(),
  developerPayload: z.string().nullish(),
  priceCurrencyCode: z.string().max(8).nullish(),
  priceAmountMicros: z
    .string()
    .regex(/^\d{1,18}$/)
    .nullish(),
  paymentState: z.number().int().nullish(),
  orderId: z.string().nullish(),
  externalAccountId: z.string().max(200).nullish(),
  purchaseType: z.number().int().nullish(),
})

const STATUSES = new Map<string, VendorPaymentStatus>([
  ['PAID', 'authorized'],
  ['CONFIRMED', 'succeeded'],
  ['CANCELLED', 'canceled'],
  ['EXPIRED', 'canceled'],
  ['REVERSED', 'canceled'],
  ['REJECTED', 'failed'],
  // Money was taken; that it went back is told by the refunded amount.
  ['REFUNDED', 'succeeded'],
  ['REFUNDING', 'succeeded'],
])

/** Reads one invoice; `undefined` when the vendor has none, or when the id cannot be one of its ids. */
export async function readInvoice(shop: Shop, external_id: string | undefined): Promise<Invoice | undefined> {
  if (external_id === undefined || !INVOICE_ID.test(external_id)) return undefined
  const reply = await callApi(shop, { method: 'GET', path: `/v2/purchase/${external_id}` })
  if (reply.refusal === undefined) {
    const invoice = readAnswer(Invoice, reply.body)
    if (invoice.invoiceId !== external_id) throw new GatewayUnavailable('another invoice than asked')
    return invoice
  }
  if (reply.is_unknown) return undefined
  throw new GatewayUnavailable(reply.refusal)
}

/** The vendor's status in upper case: some of its pages and notifications write it small. */
export function statusOf(invoice: Invoice): string {
  return invoice.invoiceStatus.toUpperCase()
}

/** The vendor's invoice in our words. The amount of money taken is what stands now, not what was asked. */
export function toPayment(config: Config, invoice: Invoice): VendorPayment {
  const word = statusOf(invoice)
  const status = STATUSES.get(word) ?? 'pending'
  const { order } = invoice
  const amount = BigInt(word === 'CONFIRMED' ? order.amountCurrent : order.amountCreate)
  return {
    external_id: invoice.invoiceId,
    status,
    amount,
    currency: order.currency,
    is_test: config.sandbox,
    receiver_matches: invoice.appId === config.app_id,
    ...ourIds(invoice.developerPayload, order.orderId),
    ...present({
      refunded_amount: status === 'succeeded' ? (word === 'REFUNDED' ? amount : 0n) : undefined,
      failure_reason: status === 'canceled' || status === 'failed' ? word.toLowerCase() : undefined,
      paid_at: status === 'succeeded' ? readMoment(invoice.paymentInfo?.paymentDate ?? undefined) : undefined,
      created_at: readMoment(invoice.invoiceDate ?? undefined),
    }),
  }
}

const Purchases = z.object({
  content: z.array(z.object({ invoiceId: Id, purchaseId: z.string().nullish() })).max(1000),
  continuation: z.string().max(500).nullish(),
})

/**
 * A purchase by its invoice number, or by the purchase id among those of the buyer: the store looks up by no
 * other. Found among a buyer's own it is proved to be his.
 */
export async function readPurchase(
  shop: Shop,
  { purchase_id, account_ids }: PurchaseReference,
): Promise<VendorPurchase | undefined> {
  if (INVOICE_ID.test(purchase_id)) {
    const invoice = await readInvoice(shop, purchase_id)
    return invoice && toPurchase(shop.config, invoice)
  }
  if (!PURCHASE_ID.test(purchase_id)) return undefined
  for (const account_id of account_ids.filter((id) => ACCOUNT_ID.test(id))) {
    const invoice = await readInvoice(shop, await findInvoiceId(shop, account_id, purchase_id))
    if (invoice) return { ...toPurchase(shop.config, invoice), account_id }
  }
  return undefined
}

async function findInvoiceId(
  shop: Shop,
  account_id: string,
  purchase_id: string,
): Promise<string | undefined> {
  let continuation: string | undefined
  for (let page = 0; page < PAGES_MAX; page++) {
    const query = new URLSearchParams({
      appUserId: account_id,
      limit: '100',
      ...present({ continuation }),
    })
    const path = `/applications/${shop.config.app_id}/purchases?${query}`
    const reply = await callApi(shop, { method: 'GET', path })
    if (reply.refusal !== undefined) {
      if (reply.is_unknown) return undefined
      throw new GatewayUnavailable(reply.refusal)
    }
    const { content, continuation: next } = readAnswer(Purchases, reply.body)
    const found = content.find(({ purchaseId }) => purchaseId === purchase_id)
    if (found) return found.invoiceId
    if (!next) return undefined
    continuation = next
  }
  return undefined
}

function toPurchase(config: Config, invoice: Invoice): VendorPurchase {
  const { orderId, itemCode } = invoice.order
  return {
    payment: toPayment(config, invoice),
    purchase_id: invoice.purchaseId ?? invoice.invoiceId,
    product_code: itemCode ?? '',
    ...present({
      order_code: orderId ?? undefined,
      account_id: accountOf(invoice.developerPayload ?? ''),
    }),
  }
}

/** The app may name its user in a JSON payload. */
function accountOf(payload: string): string | undefined {
  const fields = payloadFields(payload)
  const told = fields['account_id'] ?? fields['user_id']
  return typeof told === 'string' && ACCOUNT_ID.test(told) ? told : undefined
}

/** Reads a subscription (v4). Usable means: its time is not over, and it is paid or a free trial. */
export async function readSubscription(
  shop: Shop,
  reference: SubscriptionReference,
): Promise<VendorSubscription | undefined> {
  const { external_id, product_code } = reference
  if (product_code === undefined || !PURCHASE_ID.test(external_id) || !PRODUCT_CODE.test(product_code)) {
    return undefined
  }
  const { config, context } = shop
  const path = `/v4/subscription/${config.package_name}/${product_code}/${external_id}`
  const reply = await callApi(shop, { method: 'GET', path })
  if (reply.refusal !== undefined) {
    if (reply.is_unknown) return undefined
    throw new GatewayUnavailable(reply.refusal)
  }
  const told = readAnswer(Subscription, reply.body)
  const expires_at = new Date(Number(told.expiryTimeMillis))
  const is_paid = told.paymentState === 1 || told.paymentState === 2
  return {
    external_id,
    product_code,
    is_active: is_paid && expires_at > context.now,
    will_renew: told.autoRenewing === true,
    is_trial: told.paymentState === 2,
    expires_at,
    is_test: config.sandbox || told.purchaseType === 1,
    // The N-th renewal's order has `..N` at its end.
    ...ourIds(told.developerPayload, told.orderId?.replace(/\.\.\d+$/, '')),
    ...present({
      started_at: told.startTimeMillis ? new Date(Number(told.startTimeMillis)) : undefined,
      amount: kopecksOfMicros(told.priceAmountMicros ?? undefined),
      currency: told.priceCurrencyCode ?? undefined,
      account_id: told.externalAccountId ?? undefined,
      period_id: told.paymentState === 1 ? periodOf(told.orderId ?? undefined) : undefined,
    }),
  }
}

/** The order of the N-th renewal ends in `..N`; without an order the period has no name. */
function periodOf(order_id: string | undefined): string | undefined {
  if (order_id === undefined) return undefined
  const renewal = /\.\.(\d{1,6})$/.exec(order_id)?.[1]
  return renewal === undefined || Number(renewal) === 0 ? 'first' : `renewal-${Number(renewal)}`
}

/** A rouble is a million micros; a price that is no whole number of kopecks is not told. */
function kopecksOfMicros(micros: string | undefined): bigint | undefined {
  if (micros === undefined || BigInt(micros) % 10_000n !== 0n) return undefined
  return BigInt(micros) / 10_000n
}

/** The app passes our payment id on: as the whole payload, or as `payment_id` of a JSON object. */
function ourIds(payload: string | null | undefined, order_id: string | null | undefined) {
  const ourId = (value: unknown) => (typeof value === 'string' && OUR_ID.test(value) ? value : undefined)
  const fields = payloadFields(payload ?? '')
  return present({
    payment_id: ourId(payload) ?? ourId(fields['payment_id']),
    order_id: ourId(fields['order_id']) ?? ourId(order_id),
  })
}

function payloadFields(payload: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(payload)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    // Any text may stand there: the app's developer writes it.
    return {}
  }
}
