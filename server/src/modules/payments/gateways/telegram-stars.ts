import {
  GatewayMisconfigured,
  GatewayUnavailable,
  clipText,
  defineGateway,
  present,
  readAnswer,
} from '@kopilka/extension'
import type {
  CreatePaymentInput,
  CreatedPayment,
  PaymentReference,
  RefundReference,
  SubscriptionReference,
  VendorRefund,
  VendorSubscription,
} from '@kopilka/extension'
import { z } from 'zod'
import {
  callBot,
  findTransaction,
  readTransactions,
  searchedSince,
  toMoment,
  toPayment,
  toRefund,
} from './telegram-stars/api.ts'
import type { Found, Shop } from './telegram-stars/api.ts'
import { configSchema } from './telegram-stars/config.ts'
import type { Config } from './telegram-stars/config.ts'
import { openPayload, sealPayload } from './telegram-stars/payload.ts'
import { parseWebhook } from './telegram-stars/webhook.ts'

/** The only period there is: 30 days. */
const PERIOD_SECONDS = 2_592_000
const SUBSCRIPTION_STARS_MAX = 10_000n
const STARS_MAX = 10n ** 15n
const TELEGRAM_ID = /^[1-9]\d{0,19}$/
/** Without these nothing can be paid, or nobody learns of it. */
const UPDATES = ['message', 'pre_checkout_query']

const Me = z.object({ username: z.string().regex(/^\w{1,64}$/) })
const Webhook = z.object({ url: z.string(), allowed_updates: z.array(z.string()).optional() })

/**
 * Telegram Stars. An invoice is a link, or a message of the bot (`method: 'chat'`); nothing exists at
 * Telegram until it is paid, and a link may be paid more than once: each payment has a charge id of its
 * own, which is the vendor's id. Amounts are whole stars. Refunds are of the whole payment; the bot's
 * ledger tells what happened.
 */
export default defineGateway<Config>({
  id: 'telegram-stars',
  title: 'Telegram Stars',
  currencies: ['XTR'],
  configSchema,
  isTest: (config) => config.is_test,
  needs: { telegram_id: true },
  may_refund_partially: false,
  may_be_paid_again: true,
  subscription_periods_seconds: [PERIOD_SECONDS],
  parseWebhook,

  async createPayment(config, input, context) {
    const shop = { config, context }
    const objection = objectionTo(input)
    if (objection !== undefined) return refused(objection)
    const invoice = invoiceOf(config, input)
    return input.method === 'chat' ? sendInvoice(shop, input, invoice) : createLink(shop, input, invoice)
  },

  /** Without the charge id the ledger is searched for our id in the invoice. */
  async getPayment(config, reference, context) {
    const found = await findPayment({ config, context }, reference)
    return found && toPayment(config, found)
  },

  async refund(config, input, context) {
    const shop = { config, context }
    if (!input.is_full || input.amount !== input.payment.amount)
      return refusedRefund(input, 'only_whole_payments')
    const paid =
      input.payment.external_id === undefined || input.telegram_id === undefined
        ? await findPayment(shop, input.payment)
        : undefined
    const charge_id = input.payment.external_id ?? paid?.payment.id
    const user_id = Number(input.telegram_id ?? paid?.payment.source?.user?.id)
    if (charge_id === undefined || !Number.isSafeInteger(user_id))
      return refusedRefund(input, 'payment_not_found')
    const body = { user_id, telegram_payment_charge_id: charge_id }
    // Before the money goes back, so that a lost answer is asked again from here. Its refusal is no matter:
    // the charge may be of a period that is over.
    if (input.is_subscription) await callBot(shop, 'editUserStarSubscription', { ...body, is_canceled: true })
    const { refusal } = await callBot(shop, 'refundStarPayment', body)
    if (refusal !== undefined && !refusal.includes('CHARGE_ALREADY_REFUNDED'))
      return refusedRefund(input, refusal)
    return { ...refundFields(input, charge_id), external_id: `refund:${charge_id}`, status: 'succeeded' }
  },

  async getRefund(config, reference, context) {
    const { external_id, payment, refund_id } = reference
    const charge_id = payment.external_id ?? external_id?.replace(/^refund:/, '')
    const found = await findPayment(
      { config, context },
      { ...payment, ...present({ external_id: charge_id }) },
    )
    if (!found?.refund) return undefined
    return {
      ...toRefund(config, found.refund),
      ...present({ refund_id: refund_id === '' ? undefined : refund_id }),
    }
  },

  /** By the charge of the first payment. Telegram tells nobody when the buyer cancels himself. */
  cancelSubscription: (config, reference, context) => editSubscription({ config, context }, reference, true),
  resumeSubscription: (config, reference, context) => editSubscription({ config, context }, reference, false),

  async listPayments(config, range, context) {
    const lines = await readTransactions({ config, context }, Number(range.cursor ?? 0))
    const paid = lines.filter((line) => line.source?.type === 'user' && isIn(range, toMoment(line)))
    return { items: paid.map((payment) => toPayment(config, { payment })), ...nextCursor(lines, range) }
  },

  async listRefunds(config, range, context) {
    const lines = await readTransactions({ config, context }, Number(range.cursor ?? 0))
    const given = lines.filter((line) => line.receiver?.type === 'user' && isIn(range, toMoment(line)))
    return { items: given.map((line) => toRefund(config, line)), ...nextCursor(lines, range) }
  },

  async registerWebhook(config, context) {
    const url = addressOf(context.base_url)
    const body = { url, secret_token: config.secret_token, allowed_updates: UPDATES }
    const { refusal } = await callBot({ config, context }, 'setWebhook', body)
    if (refusal !== undefined) throw new GatewayMisconfigured(refusal)
  },

  /** Never throws: what cannot be reached or is refused is a `detail`. */
  async checkHealth(config, context) {
    try {
      const answer = await callBot({ config, context }, 'getWebhookInfo', {})
      if (answer.refusal !== undefined) return { ok: false, detail: answer.refusal }
      return webhookHealth(readAnswer(Webhook, answer.result), addressOf(context.base_url))
    } catch (error) {
      if (error instanceof GatewayMisconfigured || error instanceof GatewayUnavailable) {
        return { ok: false, detail: error.message }
      }
      throw error
    }
  },
})

function objectionTo(input: CreatePaymentInput): string | undefined {
  if (input.telegram_id === undefined || !TELEGRAM_ID.test(input.telegram_id)) return 'telegram_id_missing'
  if (input.amount < 1n || input.amount >= STARS_MAX) return 'amount_not_supported'
  if (!input.capture) return 'holds_not_supported'
  const { subscription_period_seconds: period } = input
  if (period === undefined) return undefined
  if (period !== PERIOD_SECONDS) return 'subscription_period_not_supported'
  if (input.method === 'chat') return 'subscriptions_by_link_only'
  return input.amount > SUBSCRIPTION_STARS_MAX ? 'subscription_price_too_high' : undefined
}

function invoiceOf(config: Config, input: CreatePaymentInput): object {
  const {
    payment_id,
    amount,
    telegram_id = '',
    expires_at,
    subscription_period_seconds: subscription_period,
  } = input
  const is_subscription = subscription_period !== undefined
  const title = clipText(input.description, 32)
  return {
    title,
    description: clipText(input.description, 255),
    payload: sealPayload(config, { payment_id, amount, telegram_id, expires_at, is_subscription }),
    provider_token: '',
    currency: 'XTR',
    prices: [{ label: title, amount: Number(amount) }],
    ...present({ subscription_period }),
  }
}

/** The same link for the same payment while this process remembers it. */
async function createLink(shop: Shop, input: CreatePaymentInput, invoice: object): Promise<CreatedPayment> {
  const { cache } = shop.context
  const key = `link:${input.payment_id}`
  const known = cache.get(key)?.value
  if (typeof known === 'string') return { status: 'pending', checkout_url: known }
  const answer = await callBot(shop, 'createInvoiceLink', invoice)
  if (answer.refusal !== undefined) return refused(answer.refusal)
  const checkout_url = readAnswer(z.url({ protocol: /^https?$/ }), answer.result)
  cache.set(key, { value: checkout_url, expires_at: input.expires_at.getTime() })
  return { status: 'pending', checkout_url }
}

/** The invoice lies in the buyer's chat with the bot; the address leads there. */
async function sendInvoice(shop: Shop, input: CreatePaymentInput, invoice: object): Promise<CreatedPayment> {
  const me = await callBot(shop, 'getMe', {})
  if (me.refusal !== undefined) return refused(me.refusal)
  const { username } = readAnswer(Me, me.result)
  const answer = await callBot(shop, 'sendInvoice', { chat_id: Number(input.telegram_id), ...invoice })
  if (answer.refusal !== undefined) return refused(answer.refusal)
  return { status: 'pending', checkout_url: `https://t.me/${username}` }
}

function findPayment(shop: Shop, reference: PaymentReference): Promise<Found | undefined> {
  const { external_id, payment_id } = reference
  const since = searchedSince(payment_id)
  if (external_id !== undefined) return findTransaction(shop, (line) => line.id === external_id, since)
  return findTransaction(
    shop,
    (line) => openPayload(shop.config, line.source?.invoice_payload ?? '')?.payment_id === payment_id,
    since,
  )
}

async function editSubscription(
  shop: Shop,
  reference: SubscriptionReference,
  is_canceled: boolean,
): Promise<VendorSubscription | undefined> {
  const { external_id, telegram_id, payment_external_id: charge_id = external_id } = reference
  const found =
    telegram_id === undefined
      ? await findTransaction(shop, (line) => line.id === charge_id, undefined)
      : undefined
  const user_id = Number(telegram_id ?? found?.payment.source?.user?.id)
  if (!Number.isSafeInteger(user_id)) return undefined
  const body = { user_id, telegram_payment_charge_id: charge_id, is_canceled }
  const { refusal } = await callBot(shop, 'editUserStarSubscription', body)
  if (refusal !== undefined && /CHARGE_NOT_FOUND|CHARGE_ID|USER_ID/.test(refusal)) return undefined
  if (refusal !== undefined) throw new GatewayMisconfigured(refusal)
  const told = found && toPayment(shop.config, found)
  return {
    external_id,
    is_active: found?.refund === undefined,
    will_renew: !is_canceled,
    is_test: shop.config.is_test,
    ...present({
      amount: told?.amount,
      currency: told?.currency,
      started_at: told?.paid_at,
      payment_id: told?.payment_id,
    }),
  }
}

function webhookHealth({ url, allowed_updates }: z.infer<typeof Webhook>, ours: string) {
  if (url !== ours)
    return { ok: false, detail: 'the webhook of the bot is not the address of this installation' }
  const missing = allowed_updates?.length ? UPDATES.filter((name) => !allowed_updates.includes(name)) : []
  return missing.length > 0
    ? { ok: false, detail: `the bot does not send ${missing.join(', ')}` }
    : { ok: true, detail: 'the bot sends its updates here' }
}

function addressOf(base_url: string): string {
  return `${base_url}/webhooks/payments/telegram-stars`
}

function isIn(range: { from: Date; to: Date }, moment: Date): boolean {
  return moment >= range.from && moment < range.to
}

/** The ledger runs from the oldest line: a page that ends after the range is the last one needed. */
function nextCursor(
  lines: Awaited<ReturnType<typeof readTransactions>>,
  range: { to: Date; cursor?: string },
) {
  const last = lines.at(-1)
  if (last === undefined || lines.length < 100 || toMoment(last) >= range.to) return {}
  const offset = Number(range.cursor ?? 0)
  return { next_cursor: String(offset + lines.length) }
}

function refused(failure_reason: string): CreatedPayment {
  return { status: 'failed', failure_reason }
}

function refundFields({ refund_id, amount, currency, payment }: RefundReference, charge_id: string) {
  return { refund_id, amount, currency, payment_id: payment.payment_id, payment_external_id: charge_id }
}

function refusedRefund(input: RefundReference, failure_reason: string): VendorRefund {
  const charge_id = input.payment.external_id ?? ''
  return {
    ...refundFields(input, charge_id),
    external_id: `refused:${input.refund_id}`,
    status: 'failed',
    failure_reason,
  }
}
