import {
  GatewayMisconfigured,
  GatewayUnavailable,
  clipText,
  defineGateway,
  formatDecimal,
  present,
  readAnswer,
} from '@kopilka/extension'
import type { CreatePaymentInput, CreatedPayment, PaymentReference, VendorPayment } from '@kopilka/extension'
import { z } from 'zod'
import { numberOf, postForm, readOperation, wordsOf } from './robokassa/api.ts'
import type { Shop } from './robokassa/api.ts'
import { VAT_NAMES, configSchema, isTest } from './robokassa/config.ts'
import type { Config } from './robokassa/config.ts'
import { attachReceipt, readSecondReceipt } from './robokassa/receipt-calls.ts'
import { oneLineReceipt, receiptForm } from './robokassa/receipts.ts'
import { readRefund, refundOnce } from './robokassa/refunds.ts'
import { signatureOf } from './robokassa/sign.ts'
import { parseWebhook } from './robokassa/webhook.ts'

/** A longer address is refused by some browsers and proxies; a receipt of many lines is posted instead. */
const ADDRESS_MAX = 6000

const InvoiceAnswer = z.object({ invoiceID: z.string().regex(/^[\w-]{1,64}$/) })

/**
 * Robokassa: classic page, ResultURL and ResultUrl2, status service, holds, recurring charges, refund
 * service, receipts. The vendor's id of a payment is our order number (`InvId`). There is no notification
 * of a failure and none of a refund: the core asks. Test payments can be paid and nothing else; the vendor
 * does not know them after. All the rest is tried at its emulator (`is_emulated`).
 */
export default defineGateway<Config>({
  id: 'robokassa',
  title: 'Robokassa',
  currencies: ['RUB'],
  configSchema,
  isTest,
  needs: { receipt_contact: (config) => config.receipts },
  parseWebhook,

  async createPayment(config, input, context) {
    if (input.method !== undefined && !['card', 'bank_card'].includes(input.method)) {
      return refused('method_not_supported')
    }
    if (!input.capture && (config.is_test || config.result2_certificate === undefined)) {
      return refused(config.is_test ? 'holds_have_no_test_mode' : 'holds_need_the_certificate')
    }
    const form = receiptForm(config, input.amount, input.receipt ?? oneLineReceipt(config, input))
    if (form.refusal !== undefined) return refused(form.refusal)
    const fields = pageFields({ config, context }, input, encoded(form.receipt))
    const address = `${config.pay_url}/Index.aspx?${new URLSearchParams(fields).toString()}`
    const checkout_url =
      address.length <= ADDRESS_MAX ? address : await postedPage({ config, context }, fields)
    return { status: 'pending', external_id: String(input.payment_number), checkout_url }
  },

  async chargeSavedMethod(config, input, context) {
    const shop = { config, context }
    const form = receiptForm(config, input.amount, input.receipt)
    if (form.refusal !== undefined) return refused(form.refusal)
    const number = String(input.payment_number)
    const sum = formatDecimal(input.amount, 2)
    const receipt = encoded(form.receipt)
    const shp = { Shp_payment: input.payment_id, Shp_order: input.order_id }
    const parts = [config.merchant_login, sum, number, receipt]
    const { text } = await postForm(shop, '/Recurring', {
      MerchantLogin: config.merchant_login,
      InvoiceID: number,
      PreviousInvoiceID: input.method_external_id,
      OutSum: sum,
      Description: plainText(input.description),
      ...present({ Receipt: receipt }),
      SignatureValue: signatureOf(config.hash, parts, config.password1, shp),
      ...shp,
    })
    if (text === `OK${number}`) return { status: 'pending', external_id: number }
    // A repeat of a charge that went through is refused too: the vendor's record decides.
    const earlier = await readOperation(shop, input)
    if (!earlier) return refused(wordsOf(shop, text))
    const { payment } = earlier
    return {
      status: payment.status,
      external_id: number,
      payment,
      ...present({ failure_reason: payment.failure_reason }),
    }
  },

  async getPayment(config, reference, context) {
    return (await readOperation({ config, context }, reference))?.payment
  },

  /** The answer's text is not read: what the vendor then holds is. */
  async capturePayment(config, input, context) {
    const receipt = receiptForm(config, input.amount, input.receipt)
    if (receipt.refusal !== undefined) return standing({ config, context }, input, receipt.refusal)
    return endHold({ config, context }, input, {
      path: '/Payment/Confirm',
      sum: formatDecimal(input.amount, 2),
      receipt: encoded(receipt.receipt),
    })
  },

  /** Only a hold can be voided. An unpaid payment is answered as it stands: it lapses by itself. */
  async cancelPayment(config, reference, context) {
    return endHold({ config, context }, reference, { path: '/Payment/Cancel' })
  },

  refund_repeats: 'never',
  refund: (config, input, context) => refundOnce({ config, context }, input),
  getRefund: (config, reference, context) => readRefund({ config, context }, reference),

  /** The vendor makes a second receipt for a payment only, and tells of no other. */
  receipts: {
    isOn: (config) => config.receipts,
    carries: ['payment', 'refund'],
    registers: ['offset'],
    tells: ['offset'],
    vats: VAT_NAMES,
  },
  createReceipt: (config, input, context) => attachReceipt({ config, context }, input),
  getReceipt: (config, reference, context) => readSecondReceipt({ config, context }, reference),

  /** Never throws: what cannot be reached or is refused is a `detail`. */
  async checkHealth(config, context) {
    const nobody = { payment_id: '', payment_number: 1, amount: 0n, currency: 'RUB' }
    try {
      await readOperation({ config, context }, nobody)
      return { ok: true, detail: accountOf(config) }
    } catch (error) {
      if (error instanceof GatewayMisconfigured || error instanceof GatewayUnavailable) {
        return { ok: false, detail: error.message }
      }
      throw error
    }
  },
})

function accountOf({ is_test, is_emulated }: Config): string {
  if (is_test) return 'test passwords cannot be checked'
  return is_emulated ? 'its emulator' : 'live shop'
}

/** What the buyer's browser brings to the payment page. The order of `parts` is the vendor's. */
function pageFields(
  { config, context }: Shop,
  input: CreatePaymentInput,
  receipt: string | undefined,
): Record<string, string> {
  const sum = formatDecimal(input.amount, 2)
  const number = String(input.payment_number)
  const shp = present({
    Shp_payment: input.payment_id,
    Shp_order: input.order_id,
    Shp_save: input.save_method ? '1' : undefined,
  })
  const signed = present({
    Receipt: receipt,
    StepByStep: input.capture ? undefined : 'true',
    ResultUrl2: input.capture ? undefined : `${context.base_url}/webhooks/payments/robokassa`,
    SuccessUrl2: input.return_url,
    SuccessUrl2Method: 'GET',
    FailUrl2: input.return_url,
    FailUrl2Method: 'GET',
  })
  const parts = [config.merchant_login, sum, number, ...Object.values(signed)]
  const culture = /^(?:ru|en|kk)/i.exec(input.locale)?.[0].toLowerCase() ?? 'en'
  return {
    MerchantLogin: config.merchant_login,
    OutSum: sum,
    InvId: number,
    Description: plainText(input.description),
    ...signed,
    SignatureValue: signatureOf(config.hash, parts, config.password1, shp),
    Culture: culture,
    Encoding: 'utf-8',
    ...present({
      Email: input.email,
      IsTest: config.is_test ? '1' : undefined,
      // These must not come with a parent of recurring charges.
      IncCurrLabel: input.method === undefined || input.save_method ? undefined : 'BankCard',
      ExpirationDate: input.save_method ? undefined : input.expires_at.toISOString(),
      Recurring: input.save_method ? 'true' : undefined,
    }),
    ...shp,
  }
}

/** Hands the fields over from server to server and answers the address of the page. */
async function postedPage(shop: Shop, fields: Record<string, string>): Promise<string> {
  const { text } = await postForm(shop, '/Indexjson.aspx', fields)
  const { invoiceID } = readAnswer(InvoiceAnswer, readJson(text))
  return `${shop.config.pay_url}/Index/${invoiceID}`
}

async function endHold(
  shop: Shop,
  reference: PaymentReference,
  act: { path: '/Payment/Confirm' | '/Payment/Cancel'; sum?: string; receipt?: string | undefined },
): Promise<VendorPayment> {
  const { config } = shop
  const held = await standing(shop, reference)
  if (held.status !== 'authorized') return { failure_reason: 'not_a_hold', ...held }
  const number = held.external_id
  // A cancellation has no sum, but its place in the signature stays.
  const parts = [config.merchant_login, act.sum ?? '', number, act.receipt]
  const answer = await postForm(shop, act.path, {
    MerchantLogin: config.merchant_login,
    InvoiceID: number,
    ...present({ OutSum: act.sum, Receipt: act.receipt }),
    SignatureValue: signatureOf(config.hash, parts, config.password1),
  })
  return standing(shop, reference, answer.is_refused ? wordsOf(shop, answer.text) : undefined)
}

async function standing(
  shop: Shop,
  reference: PaymentReference,
  failure_reason?: string,
): Promise<VendorPayment> {
  const operation = numberOf(reference) === undefined ? undefined : await readOperation(shop, reference)
  if (!operation) throw new GatewayMisconfigured('payment_not_found')
  return { ...present({ failure_reason }), ...operation.payment }
}

function refused(failure_reason: string): CreatedPayment {
  return { status: 'failed', failure_reason }
}

/** The very string that is signed and sent: encoded once here, once more by the transport. */
function encoded(receipt: object | undefined): string | undefined {
  return receipt && encodeURIComponent(JSON.stringify(receipt))
}

/** At most 100 characters and none the vendor calls special. */
function plainText(description: string): string {
  const plain = description
    .replaceAll(/[^\p{L}\p{N} .,:;!?()%№+/-]/gu, ' ')
    .replaceAll(/ +/g, ' ')
    .trim()
  return clipText(plain, 98).replace(/…$/, '...')
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
