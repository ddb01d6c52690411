import { GatewayMisconfigured, GatewayUnavailable, defineGateway, present } from '@kopilka/extension'
import type { PaymentReference, RefundReference, VendorPayment, VendorRefund } from '@kopilka/extension'
import { callApi, readToken } from './rustore/api.ts'
import type { Shop } from './rustore/api.ts'
import { configSchema } from './rustore/config.ts'
import type { Config } from './rustore/config.ts'
import { readInvoice, readPurchase, readSubscription, statusOf, toPayment } from './rustore/objects.ts'
import { parseWebhook } from './rustore/webhook.ts'

/**
 * RuStore, Pay SDK methods. The app makes the payment: it takes our payment id from the checkout address,
 * gives it to the SDK as `developerPayload`, and the store's invoice number is the vendor's id from then
 * on. Refunds are of the whole payment and have no object of their own: the invoice's state is all there
 * is. Receipts are the store's.
 */
export default defineGateway<Config>({
  id: 'rustore',
  title: 'RuStore',
  currencies: ['RUB'],
  configSchema,
  isTest: (config) => config.sandbox,
  may_refund_partially: false,
  parseWebhook,

  /** Nothing is asked of the vendor: the address leads into the app. */
  async createPayment(config, input) {
    const url = new URL(config.app_url)
    url.searchParams.set('payment_id', input.payment_id)
    url.searchParams.set('order_id', input.order_id)
    return { status: 'pending', checkout_url: url.href }
  },

  /** By the invoice's number only; before the app told it there is nothing to ask by. */
  async getPayment(config, reference, context) {
    const invoice = await readInvoice({ config, context }, reference.external_id)
    return invoice && toPayment(config, invoice)
  },

  /** Confirms a two-stage purchase: always whole. Give the goods after this, not before. */
  async capturePayment(config, input, context) {
    return endHold({ config, context }, input, 'confirm', input.amount)
  },

  async cancelPayment(config, reference, context) {
    return endHold({ config, context }, reference, 'cancel')
  },

  /** The invoice's state is the guard: what is refunded or on its way is not asked for again. */
  async refund(config, input, context) {
    const shop = { config, context }
    const earlier = await readRefund(shop, input)
    if (earlier) return earlier
    const { external_id = '', amount } = input.payment
    if (!input.is_full || input.amount !== amount) return refusedRefund(input, 'only_whole_payments')
    const invoice = await readInvoice(shop, external_id)
    if (!invoice) return refusedRefund(input, 'payment_not_found')
    const path = `/applications/${config.app_id}/invoices/${invoice.invoiceId}`
    const reply = await callApi(shop, { method: 'PATCH', path })
    if (reply.refusal === undefined || /already been refunded/i.test(reply.refusal)) {
      return (await readRefund(shop, input)) ?? { ...refundFields(input), status: 'pending' }
    }
    if (/try again later/i.test(reply.refusal)) throw new GatewayUnavailable('not now')
    return refusedRefund(input, reply.refusal)
  },

  async getRefund(config, reference, context) {
    return readRefund({ config, context }, reference)
  },

  async getPurchase(config, reference, context) {
    return readPurchase({ config, context }, reference)
  },

  async getSubscription(config, reference, context) {
    return readSubscription({ config, context }, reference)
  },

  async cancelSubscription(config, reference, context) {
    const shop = { config, context }
    const standing = await readSubscription(shop, reference)
    if (!standing?.will_renew) return standing
    const path = `/v1/applications/${config.app_id}/subscriptions/${reference.external_id}:cancel`
    const reply = await callApi(shop, { method: 'PATCH', path })
    if (reply.refusal !== undefined) throw new GatewayMisconfigured(reply.refusal)
    return readSubscription(shop, reference)
  },

  /** Never throws: what cannot be reached or is refused is a `detail`. */
  async checkHealth(config, context) {
    try {
      await readToken({ config, context })
      return { ok: true, detail: config.sandbox ? 'sandbox' : 'live app' }
    } catch (error) {
      if (error instanceof GatewayMisconfigured || error instanceof GatewayUnavailable) {
        return { ok: false, detail: error.message }
      }
      throw error
    }
  },
})

async function endHold(
  shop: Shop,
  reference: PaymentReference,
  verb: 'confirm' | 'cancel',
  amount?: bigint,
): Promise<VendorPayment> {
  const { config } = shop
  const invoice = await readInvoice(shop, reference.external_id)
  if (!invoice) throw new GatewayMisconfigured('payment_not_found')
  const held = toPayment(config, invoice)
  if (statusOf(invoice) !== 'PAID' || !invoice.purchaseId) return { failure_reason: 'not_a_hold', ...held }
  if (amount !== undefined && amount !== held.amount)
    return { failure_reason: 'only_whole_payments', ...held }
  const path = `/applications/${config.app_id}/purchases/${invoice.purchaseId}:${verb}`
  const reply = await callApi(shop, { method: 'PUT', path })
  const after = await readInvoice(shop, reference.external_id)
  if (!after) throw new GatewayUnavailable('the invoice is gone')
  return { ...present({ failure_reason: reply.refusal }), ...toPayment(config, after) }
}

/** The refund as the invoice's state tells it; `undefined` when none was made. */
async function readRefund(shop: Shop, reference: RefundReference): Promise<VendorRefund | undefined> {
  const { payment, external_id } = reference
  const invoice = await readInvoice(shop, payment.external_id ?? external_id?.replace(/^invoice:/, ''))
  if (!invoice) return undefined
  const word = statusOf(invoice)
  if (word !== 'REFUNDED' && word !== 'REFUNDING') return undefined
  const { amount, currency } = toPayment(shop.config, invoice)
  return {
    ...refundFields(reference),
    external_id: `invoice:${invoice.invoiceId}`,
    payment_external_id: invoice.invoiceId,
    status: word === 'REFUNDED' ? 'succeeded' : 'pending',
    amount,
    currency,
    is_test: shop.config.sandbox,
  }
}

function refundFields({ refund_id, payment, amount, currency }: RefundReference) {
  const { external_id = '' } = payment
  return {
    external_id: `invoice:${external_id}`,
    // Asked because of a notification there is no refund of ours yet.
    ...present({ refund_id: refund_id === '' ? undefined : refund_id }),
    payment_external_id: external_id,
    amount,
    currency,
  }
}

function refusedRefund(input: RefundReference, failure_reason: string): VendorRefund {
  return {
    ...refundFields(input),
    external_id: `refused:${input.refund_id}`,
    status: 'failed',
    failure_reason,
  }
}
