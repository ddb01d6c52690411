import {
  GatewayMisconfigured,
  GatewayUnavailable,
  clipText,
  defineGateway,
  present,
  refusedRefund,
} from '@kopilka/extension'
import type {
  CreatePaymentInput,
  CreatedPayment,
  GatewayContext,
  RefundInput,
  VendorRefund,
} from '@kopilka/extension'
import {
  callApi,
  createdIn,
  findAdjustment,
  findTransaction,
  readAdjustment,
  readAdjustments,
  readData,
  readTransaction,
  readTransactions,
} from './paddle/api.ts'
import type { Seller } from './paddle/api.ts'
import { configSchema, isSandboxKey } from './paddle/config.ts'
import type { Config } from './paddle/config.ts'
import {
  AdjustmentObject,
  CURRENCIES,
  TransactionObject,
  reasonOf,
  toPayment,
  toRefund,
} from './paddle/objects.ts'
import type { TransactionObject as Transaction } from './paddle/objects.ts'
import { chargeSubscription } from './paddle/charges.ts'
import { previewPayment } from './paddle/previews.ts'
import { priceOf } from './paddle/price.ts'
import {
  cancelSubscription,
  endSubscription,
  getSubscription,
  resumeSubscription,
} from './paddle/subscriptions.ts'
import { parseWebhook } from './paddle/webhook.ts'

/** Of a price within a transaction. */
const NAME_MAX = 150

/**
 * Paddle Billing, the merchant of record: it collects tax out of the price and sells in its own name. The
 * vendor has no idempotency keys: our ids stand in a transaction's custom data and at the head of an
 * adjustment's reason, and are looked for before anything is made; calls at the same moment share one. A
 * refund is pending until the vendor approves it. Unpaid transactions lapse by themselves, and a kept method
 * cannot be charged but by a charge beside a subscription's plan, whose price carries our ids. What the
 * vendor charges for a subscription by itself is told with it; the catalog knows it by the id of its price.
 */
export default defineGateway<Config>({
  id: 'paddle',
  title: 'Paddle',
  currencies: CURRENCIES,
  configSchema,
  isTest: isSandboxKey,
  parseWebhook: (config, request, context) => parseWebhook(config, request, context.now),

  async createPayment(config, input, context) {
    if (input.method !== undefined) return { status: 'failed', failure_reason: 'method_not_supported' }
    return shared(context, `creating:${input.payment_id}`, () =>
      createTransaction({ config, context }, input),
    )
  },

  async getPayment(config, reference, context) {
    const object = await readTransaction({ config, context }, reference)
    return object && toPayment(config, object)
  },

  previewPayment: (config, input, context) => previewPayment({ config, context }, input),

  async chargeSubscription(config, input, context) {
    return shared(context, `charging:${input.payment_id}`, () =>
      chargeSubscription({ config, context }, input),
    )
  },

  refund_repeats: 'looked_for',
  async refund(config, input, context) {
    return shared(context, `refunding:${input.refund_id}`, () => createAdjustment({ config, context }, input))
  },

  async getRefund(config, reference, context) {
    const seller = { config, context }
    if (reference.external_id !== undefined) {
      const object = await readAdjustment(seller, reference.external_id)
      return object && toRefund(config, object)
    }
    const transaction = await readTransaction(seller, reference.payment)
    const object = transaction && (await findAdjustment(seller, transaction.id, reference.refund_id))
    return object && toRefund(config, object)
  },

  async listPayments(config, range, context) {
    const query = { ...createdIn(range), ...present({ after: range.cursor }) }
    const page = await readTransactions({ config, context }, query)
    return { ...page, items: page.items.map((object) => toPayment(config, object)) }
  },

  /** The vendor's list of adjustments knows no period: what lies outside is left out here. */
  async listRefunds(config, range, context) {
    const page = await readAdjustments(
      { config, context },
      { action: 'refund', ...present({ after: range.cursor }) },
    )
    const refunds = page.items.map((object) => toRefund(config, object))
    const items = refunds.filter(
      ({ created_at }) => created_at !== undefined && created_at >= range.from && created_at < range.to,
    )
    return { ...page, items }
  },

  getSubscription: (config, { external_id }, context) => getSubscription({ config, context }, external_id),
  cancelSubscription: (config, { external_id }, context) =>
    cancelSubscription({ config, context }, external_id),
  endSubscription: (config, { external_id }, context) => endSubscription({ config, context }, external_id),
  resumeSubscription: (config, { external_id }, context) =>
    resumeSubscription({ config, context }, external_id),

  /** Never throws: what cannot be reached or is refused is a `detail`. */
  async checkHealth(config, context) {
    try {
      const reply = await callApi({ config, context }, { method: 'GET', path: '/event-types' })
      if (reply.refusal !== undefined) return { ok: false, detail: reply.refusal }
      return { ok: true, detail: isSandboxKey(config) ? 'sandbox account' : 'live account' }
    } catch (error) {
      if (error instanceof GatewayMisconfigured || error instanceof GatewayUnavailable) {
        return { ok: false, detail: error.message }
      }
      throw error
    }
  },
})

/** Calls for the same thing at the same moment are one call. */
async function shared<T>(context: GatewayContext, key: string, call: () => Promise<T>): Promise<T> {
  const running = context.cache.get(key)?.value
  if (running instanceof Promise) return running as Promise<T>
  const started = call().finally(() => context.cache.delete(key))
  context.cache.set(key, { value: started, expires_at: context.now.getTime() + 60_000 })
  return started
}

async function createTransaction(seller: Seller, input: CreatePaymentInput): Promise<CreatedPayment> {
  const earlier = await findTransaction(seller, input.payment_id)
  if (earlier) return created(seller, earlier)
  const { checkout_url } = seller.config
  const price = priceOf(seller.config, { ...input, fallback: input.order_id }, NAME_MAX)
  const reply = await callApi(seller, {
    method: 'POST',
    path: '/transactions',
    body: {
      items: [{ quantity: 1, price }],
      currency_code: input.currency,
      collection_mode: 'automatic',
      custom_data: { payment_id: input.payment_id, order_id: input.order_id },
      ...(checkout_url === undefined ? {} : { checkout: { url: checkout_url } }),
    },
  })
  if (reply.refusal !== undefined) return { status: 'failed', failure_reason: reply.refusal }
  return created(seller, readData(TransactionObject, reply.body))
}

function created(seller: Seller, object: Transaction): CreatedPayment {
  const payment = toPayment(seller.config, object)
  const { status, external_id, failure_reason } = payment
  const checkout_url = object.checkout?.url ?? undefined
  return { status, external_id, payment, ...present({ checkout_url, failure_reason }) }
}

async function createAdjustment(seller: Seller, input: RefundInput): Promise<VendorRefund> {
  const transaction = await readTransaction(seller, input.payment)
  if (!transaction) return refusedRefund(input, 'payment_not_found')
  const earlier = await findAdjustment(seller, transaction.id, input.refund_id)
  if (earlier) return toRefund(seller.config, earlier)
  // Paid and not yet completed: the vendor refuses now what it will take in a moment.
  if (transaction.status === 'paid') throw new GatewayUnavailable('the transaction is still processed')
  const { totals, line_items } = transaction.details
  if (input.amount > totals.total) return refusedRefund(input, 'more_than_was_paid')
  const [item, ...more] = line_items
  const is_full = input.is_full && input.amount === totals.total
  if (!is_full && (!item || more.length > 0)) return refusedRefund(input, 'several_items_refund_in_full_only')
  const part = {
    type: 'partial',
    tax_mode: 'internal',
    items: [{ item_id: item?.id, type: 'partial', amount: String(input.amount) }],
  }
  const reply = await callApi(seller, {
    method: 'POST',
    path: '/adjustments',
    body: {
      action: 'refund',
      transaction_id: transaction.id,
      reason: reasonOf(input.refund_id, clipText(input.reason, 400)),
      ...(is_full ? { type: 'full' } : part),
    },
  })
  if (reply.refusal !== undefined) return refusedRefund(input, reply.refusal)
  return toRefund(seller.config, readData(AdjustmentObject, reply.body))
}
