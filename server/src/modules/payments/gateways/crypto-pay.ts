import {
  GatewayMisconfigured,
  GatewayUnavailable,
  clipText,
  defineGateway,
  formatDecimal,
  present,
  readAnswer,
  refusedRefund,
} from '@kopilka/extension'
import type { CreatePaymentInput, CreatedPayment, RefundReference, VendorRefund } from '@kopilka/extension'
import { z } from 'zod'
import { callApi, findInvoice, findTransfer, readInvoice, readPage } from './crypto-pay/api.ts'
import type { App } from './crypto-pay/api.ts'
import { configSchema } from './crypto-pay/config.ts'
import type { Config } from './crypto-pay/config.ts'
import {
  CURRENCIES,
  InvoiceObject,
  TransferObject,
  assetShare,
  digitsOf,
  isAsset,
  payloadOf,
  toPayment,
} from './crypto-pay/objects.ts'
import { parseWebhook } from './crypto-pay/webhook.ts'

/** Which of the vendor's addresses the buyer is sent to. */
const METHODS = {
  bot: 'bot_invoice_url',
  mini_app: 'mini_app_invoice_url',
  web: 'web_app_invoice_url',
} as const
const EXPIRY_MIN_S = 60
const EXPIRY_MAX_S = 2_678_400

/**
 * Crypto Pay (@CryptoBot): invoices priced in money or in an asset. The vendor has no idempotency key for
 * invoices: our id stands in the invoice's payload and is looked for before one is made; calls at the same
 * moment share one. There are no holds and no saved methods. A refund is a transfer to the buyer's Telegram
 * account in the asset that was paid, and only when the owner has switched it on.
 */
export default defineGateway<Config>({
  id: 'crypto-pay',
  title: 'Crypto Pay',
  currencies: CURRENCIES,
  configSchema,
  isTest: (config) => config.network === 'testnet',
  parseWebhook: (config, request, context) => parseWebhook(config, request, context.now),

  async createPayment(config, input, context) {
    if (input.method !== undefined && !Object.hasOwn(METHODS, input.method))
      return refused('method_not_supported')
    const key = `creating:${input.payment_id}`
    const running = context.cache.get(key)?.value
    if (running instanceof Promise) return running as Promise<CreatedPayment>
    const created = createInvoice({ config, context }, input).finally(() => context.cache.delete(key))
    context.cache.set(key, { value: created, expires_at: context.now.getTime() + 60_000 })
    return created
  },

  async getPayment(config, reference, context) {
    const invoice = await readInvoice({ config, context }, reference)
    return invoice && toPayment(config, invoice)
  },

  /** An unpaid invoice is deleted; one that is over is answered as it stands. */
  async cancelPayment(config, reference, context) {
    const app = { config, context }
    const invoice = await readInvoice(app, reference)
    if (!invoice) throw new GatewayMisconfigured('payment_not_found')
    if (invoice.status !== 'active') return toPayment(config, invoice)
    const reply = await callApi(app, 'deleteInvoice', { invoice_id: invoice.invoice_id })
    if (reply.refusal === undefined) {
      return { ...toPayment(config, invoice), status: 'canceled', failure_reason: 'deleted' }
    }
    const standing = await readInvoice(app, reference)
    return { failure_reason: reply.refusal, ...toPayment(config, standing ?? invoice) }
  },

  async refund(config, input, context) {
    const app = { config, context }
    if (!config.refunds_by_transfer) return refusedRefund(input, 'transfers_switched_off')
    if (!/^\d{1,18}$/.test(input.telegram_id ?? '')) return refusedRefund(input, 'telegram_id_missing')
    // The vendor does not know what a transfer is for: that it is not more than was paid is ours to see.
    if (input.amount > input.payment.amount) return refusedRefund(input, 'more_than_was_paid')
    const earlier = await findTransfer(app, input.refund_id)
    if (earlier) return toRefund(config, input, earlier)
    const invoice = await readInvoice(app, input.payment)
    if (invoice?.status !== 'paid') return refusedRefund(input, 'payment_not_paid')
    const share = assetShare(invoice, { amount: input.amount, of: toPayment(config, invoice).amount })
    if (!share) return refusedRefund(input, 'paid_amount_not_told')
    const reply = await callApi(app, 'transfer', {
      user_id: Number(input.telegram_id),
      asset: share.asset,
      amount: formatDecimal(share.amount, share.digits),
      spend_id: input.refund_id,
      comment: clipText(input.reason, 1024) || undefined,
    })
    if (reply.refusal === undefined) return toRefund(config, input, readAnswer(TransferObject, reply.result))
    // Used twice the same id never pays twice: the refusal may be about a transfer that was made.
    const made = await findTransfer(app, input.refund_id)
    return made ? toRefund(config, input, made) : refusedRefund(input, reply.refusal)
  },

  async getRefund(config, reference, context) {
    const transfer = await findTransfer({ config, context }, reference.refund_id)
    return transfer && toRefund(config, reference, transfer)
  },

  /** The vendor's list knows no period: it is gone through, and what lies outside is left out. */
  async listPayments(config, range, context) {
    const page = await readPage({ config, context }, range.cursor, range.from)
    const payments = page.items.map((invoice) => toPayment(config, invoice))
    const items = payments.filter(
      ({ created_at }) => created_at !== undefined && created_at >= range.from && created_at < range.to,
    )
    return { ...page, items }
  },

  /** Never throws: what cannot be reached or is refused is a `detail`. */
  async checkHealth(config, context) {
    try {
      const reply = await callApi({ config, context }, 'getMe', {})
      if (reply.refusal !== undefined) return { ok: false, detail: reply.refusal }
      const { name } = readAnswer(z.object({ app_id: z.int(), name: z.string().max(200) }), reply.result)
      return { ok: true, detail: `app ${name}, ${config.network}` }
    } catch (error) {
      if (error instanceof GatewayMisconfigured || error instanceof GatewayUnavailable) {
        return { ok: false, detail: error.message }
      }
      throw error
    }
  },
})

async function createInvoice(app: App, input: CreatePaymentInput): Promise<CreatedPayment> {
  const earlier = await findInvoice(app, input.payment_id)
  if (earlier) return created(app, input, earlier)
  const { currency, amount } = input
  const seconds = Math.floor((input.expires_at.getTime() - app.context.now.getTime()) / 1000)
  const price = isAsset(currency)
    ? { currency_type: 'crypto', asset: currency }
    : { currency_type: 'fiat', fiat: currency, accepted_assets: app.config.accepted_assets }
  const reply = await callApi(app, 'createInvoice', {
    ...price,
    amount: formatDecimal(amount, digitsOf(currency)),
    description: clipText(input.description, 1024) || undefined,
    payload: payloadOf(input),
    expires_in: Math.min(Math.max(seconds, EXPIRY_MIN_S), EXPIRY_MAX_S),
    allow_comments: false,
    allow_anonymous: true,
    ...(/^https?:\/\//.test(input.return_url)
      ? { paid_btn_name: 'callback', paid_btn_url: input.return_url }
      : {}),
  })
  if (reply.refusal !== undefined) return refused(reply.refusal)
  return created(app, input, readAnswer(InvoiceObject, reply.result))
}

function created(app: App, input: CreatePaymentInput, invoice: InvoiceObject): CreatedPayment {
  const payment = toPayment(app.config, invoice)
  const { status, external_id, failure_reason } = payment
  const wanted = input.method ?? (input.telegram_id === undefined ? 'web' : 'bot')
  const field = METHODS[wanted as keyof typeof METHODS]
  const checkout_url = invoice[field] ?? invoice.bot_invoice_url
  return { status, external_id, payment, ...present({ checkout_url, failure_reason }) }
}

function refused(failure_reason: string): CreatedPayment {
  return { status: 'failed', failure_reason }
}

/** A transfer tells an asset's amount; the refund is told as it was asked, in the payment's currency. */
function toRefund(config: Config, input: RefundReference, transfer: TransferObject): VendorRefund {
  const { refund_id, amount, currency, payment } = input
  return {
    external_id: String(transfer.transfer_id),
    refund_id,
    status: transfer.status === 'completed' ? 'succeeded' : 'pending',
    amount,
    currency,
    is_test: config.network === 'testnet',
    ...(payment.payment_id === '' ? {} : { payment_id: payment.payment_id }),
  }
}
