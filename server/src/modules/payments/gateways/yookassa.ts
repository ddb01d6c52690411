import {
  GatewayMisconfigured,
  GatewayUnavailable,
  clipText,
  defineGateway,
  idTime,
  present,
  refusedRefund,
  readAnswer,
} from '@kopilka/extension'
import type { CreatedPayment, PaymentReference, VendorPayment } from '@kopilka/extension'
import { z } from 'zod'
import {
  callApi,
  createdIn,
  externalIdOf,
  findRefund,
  readObject,
  readPage,
  readPayment,
} from './yookassa/api.ts'
import type { Shop } from './yookassa/api.ts'
import { VATS, configSchema } from './yookassa/config.ts'
import type { Config } from './yookassa/config.ts'
import {
  CURRENCIES,
  OBJECT_ID,
  PaymentObject,
  RefundObject,
  toPayment,
  toRefund,
  vendorMoney,
} from './yookassa/objects.ts'
import { readReceipt, registerReceipt } from './yookassa/receipt-calls.ts'
import { oneLineReceipt, receiptForm } from './yookassa/receipts.ts'
import { parseWebhook } from './yookassa/webhook.ts'

/** Methods that need nothing but their name. */
const METHODS = ['bank_card', 'sbp', 'yoo_money', 'sberbank', 'tinkoff_bank', 'sber_loan', 'sber_bnpl']
/** The vendor forgets an idempotence key after 24 hours; one is left for clocks that differ. */
const KEY_LIFE_MS = 23 * 3_600_000

const ShopObject = z.object({
  account_id: z.string(),
  status: z.string(),
  test: z.boolean(),
  fiscalization: z.object({ enabled: z.boolean() }).optional(),
})

/**
 * YooKassa, API v3. What it answers with 400 or 404 about one operation is a refusal: `failed`, with its
 * word. GatewayMisconfigured is 401, 403, 405, 415 and a payment this shop does not have: nothing was done
 * and only the owner can help. Any other answer that cannot be read is GatewayUnavailable. Notifications are
 * not signed: they are hints, and a repeated one is as good a hint as the first.
 */
export default defineGateway<Config>({
  id: 'yookassa',
  title: 'YooKassa',
  currencies: CURRENCIES,
  configSchema,
  isTest: (config) => config.secret_key.startsWith('test_'),
  // The law is about real sales; a test shop takes a receipt and does not ask for one.
  needs: { receipt_contact: (config) => config.receipts && !config.secret_key.startsWith('test_') },
  parseWebhook,

  async createPayment(config, input, context) {
    const method = input.method === 'card' ? 'bank_card' : input.method
    if (method !== undefined && !METHODS.includes(method)) return refused('method_not_supported')
    const form = receiptForm(config, input, input.receipt ?? oneLineReceipt(config, input))
    if (form.refusal !== undefined) return refused(form.refusal)
    const locale = /^(?:ru|be|kk|ky|tg|uz)\b/i.test(input.locale) ? 'ru_RU' : 'en_US'
    return submitPayment({ config, context }, input, {
      // Without the field the vendor would hold the money and void it days later.
      capture: input.capture,
      confirmation: { type: 'redirect', return_url: input.return_url, locale },
      payment_method_data: method === undefined ? undefined : { type: method },
      save_payment_method: input.save_method ? true : undefined,
      receipt: form.receipt,
    })
  },

  async chargeSavedMethod(config, input, context) {
    const form = receiptForm(config, input, input.receipt)
    if (form.refusal !== undefined) return refused(form.refusal)
    return submitPayment({ config, context }, input, {
      capture: true,
      payment_method_id: input.method_external_id,
      receipt: form.receipt,
    })
  },

  /** Without `external_id` the list around the moment of our id is searched for our id in the metadata. */
  async getPayment(config, reference, context) {
    const object = await readPayment({ config, context }, reference)
    return object && toPayment(config, object)
  },

  /** A refused capture answers the payment as it stands, with the reason in `failure_reason`. */
  async capturePayment(config, input, context) {
    const shop = { config, context }
    const form = receiptForm(config, input, input.receipt)
    if (form.refusal !== undefined) return standingPayment(shop, input, form.refusal)
    const key = ['capture', input.payment_id, String(input.amount)]
    const body = { amount: vendorMoney(input), receipt: form.receipt }
    return actOnPayment(shop, input, { verb: 'capture', key, body })
  },

  /** Only a hold can be voided. An unpaid payment is answered as it stands: it lapses by itself. */
  async cancelPayment(config, reference, context) {
    const key = ['cancel', reference.payment_id]
    return actOnPayment({ config, context }, reference, { verb: 'cancel', key, body: {} })
  },

  async refund(config, input, context) {
    const shop = { config, context }
    const form = receiptForm(config, input, input.receipt)
    if (form.refusal !== undefined) return refusedRefund(input, form.refusal)
    const payment_id = await externalIdOf(shop, input.payment)
    if (payment_id === undefined) return refusedRefund(input, 'payment_not_found')
    // The key guards for a day only; a refund taken up again later must be found, not made twice.
    const earlier = await findRefund(shop, payment_id, input.refund_id)
    if (earlier) return earlier
    const reply = await callApi(shop, {
      method: 'POST',
      path: '/refunds',
      key: [input.refund_id],
      body: {
        payment_id,
        amount: vendorMoney(input),
        description: clipText(input.reason, 250),
        metadata: { refund_id: input.refund_id, payment_id: input.payment.payment_id },
        receipt: form.receipt,
      },
    })
    if (reply.refusal === undefined) return toRefund(readAnswer(RefundObject, reply.body))
    if (!reply.is_key_reused) return refusedRefund(input, reply.refusal)
    const made = await findRefund(shop, payment_id, input.refund_id)
    if (made) return made
    throw new GatewayUnavailable('idempotence key reused')
  },

  async getRefund(config, reference, context) {
    const shop = { config, context }
    if (reference.external_id !== undefined) {
      const object = await readObject(shop, '/refunds', reference.external_id, RefundObject)
      return object && toRefund(object)
    }
    const payment_id = await externalIdOf(shop, reference.payment)
    return payment_id === undefined ? undefined : findRefund(shop, payment_id, reference.refund_id)
  },

  receipts: {
    isOn: (config) => config.receipts,
    needsEmail: (config) => config.receipts_need_email,
    carries: ['payment', 'refund'],
    registers: ['payment', 'offset', 'refund'],
    tells: ['payment', 'offset', 'refund'],
    vats: VATS,
  },
  createReceipt: (config, input, context) => registerReceipt({ config, context }, input),
  getReceipt: (config, reference, context) => readReceipt({ config, context }, reference),

  async listPayments(config, range, context) {
    const page = await readPage({ config, context }, '/payments', createdIn(range), PaymentObject)
    return { ...page, items: page.items.map((object) => toPayment(config, object)) }
  },

  async listRefunds(config, range, context) {
    const page = await readPage({ config, context }, '/refunds', createdIn(range), RefundObject)
    return { ...page, items: page.items.map(toRefund) }
  },

  /** Never throws: what cannot be reached or is refused is a `detail`. */
  async checkHealth(config, context) {
    try {
      const reply = await callApi({ config, context }, { method: 'GET', path: '/me' })
      if (reply.refusal !== undefined) return { ok: false, detail: reply.refusal }
      return shopHealth(config, readAnswer(ShopObject, reply.body))
    } catch (error) {
      if (error instanceof GatewayMisconfigured || error instanceof GatewayUnavailable) {
        return { ok: false, detail: error.message }
      }
      throw error
    }
  },
})

/** Creates a payment, or finds the one an earlier try has made. */
async function submitPayment(
  shop: Shop,
  input: { payment_id: string; order_id: string; amount: bigint; currency: string; description: string },
  specific: object,
): Promise<CreatedPayment> {
  const made_at = idTime(input.payment_id)
  if (made_at && shop.context.now.getTime() - made_at.getTime() > KEY_LIFE_MS) {
    const earlier = await readPayment(shop, { payment_id: input.payment_id })
    if (earlier) return created(shop, earlier)
  }
  const reply = await callApi(shop, {
    method: 'POST',
    path: '/payments',
    key: [input.payment_id],
    body: {
      amount: vendorMoney(input),
      description: clipText(input.description, 128),
      metadata: { payment_id: input.payment_id, order_id: input.order_id },
      ...specific,
    },
  })
  if (reply.refusal === undefined) return created(shop, readAnswer(PaymentObject, reply.body))
  if (!reply.is_key_reused) return refused(reply.refusal)
  // The first try had another body, so its payment stands: a refusal here would hide it.
  const made = await readPayment(shop, { payment_id: input.payment_id })
  if (made) return created(shop, made)
  throw new GatewayUnavailable('idempotence key reused')
}

function created(shop: Shop, object: PaymentObject): CreatedPayment {
  const payment = toPayment(shop.config, object)
  const { status, external_id, failure_reason } = payment
  const checkout_url = object.confirmation?.confirmation_url
  return { status, external_id, payment, ...present({ checkout_url, failure_reason }) }
}

function refused(failure_reason: string): CreatedPayment {
  return { status: 'failed', failure_reason }
}

async function actOnPayment(
  shop: Shop,
  reference: PaymentReference,
  action: { verb: 'capture' | 'cancel'; key: readonly string[]; body: object },
): Promise<VendorPayment> {
  const id = await externalIdOf(shop, reference)
  if (id === undefined || !OBJECT_ID.test(id)) throw new GatewayMisconfigured('payment_not_found')
  const { verb, key, body } = action
  const reply = await callApi(shop, { method: 'POST', path: `/payments/${id}/${verb}`, key, body })
  if (reply.refusal === undefined) return toPayment(shop.config, readAnswer(PaymentObject, reply.body))
  return standingPayment(shop, reference, reply.refusal)
}

async function standingPayment(
  shop: Shop,
  reference: PaymentReference,
  failure_reason: string,
): Promise<VendorPayment> {
  const object = await readPayment(shop, reference)
  if (!object) throw new GatewayMisconfigured('payment_not_found')
  return { failure_reason, ...toPayment(shop.config, object) }
}

function shopHealth(config: Config, shop: z.infer<typeof ShopObject>): { ok: boolean; detail: string } {
  if (shop.account_id !== config.shop_id) return { ok: false, detail: 'the key belongs to another shop' }
  if (shop.status !== 'enabled') return { ok: false, detail: 'the shop is not enabled' }
  if (shop.test !== config.secret_key.startsWith('test_'))
    return { ok: false, detail: 'test key and live shop differ' }
  if (shop.fiscalization?.enabled === true && !config.receipts) {
    return { ok: false, detail: 'the shop requires receipts, but receipts are switched off' }
  }
  return { ok: true, detail: shop.test ? 'test shop' : 'live shop' }
}
