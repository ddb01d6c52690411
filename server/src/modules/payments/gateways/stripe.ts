import {
  GatewayMisconfigured,
  GatewayUnavailable,
  clipText,
  defineGateway,
  idTime,
  present,
  readAnswer,
} from '@kopilka/extension'
import type {
  CreatePaymentInput,
  CreatedPayment,
  GatewayContext,
  PaymentReference,
  RefundInput,
  VendorPayment,
  VendorRefund,
} from '@kopilka/extension'
import { z } from 'zod'
import {
  callApi,
  createdIn,
  findIntent,
  findRefund,
  findSession,
  readPage,
  readPayment,
  readRefund,
} from './stripe/api.ts'
import type { Form, Reply, Shop } from './stripe/api.ts'
import { configSchema, isTestKey } from './stripe/config.ts'
import type { Config } from './stripe/config.ts'
import {
  CURRENCIES,
  IntentObject,
  RefundObject,
  SessionObject,
  intentOf,
  isAmountPossible,
  toPayment,
  toRefund,
} from './stripe/objects.ts'
import type { PaymentObject } from './stripe/objects.ts'
import { parseWebhook, toDispute } from './stripe/webhook.ts'

const METHODS = [
  'card',
  'link',
  'paypal',
  'klarna',
  'sepa_debit',
  'ideal',
  'bancontact',
  'alipay',
  'wechat_pay',
]
const LOCALES =
  'bg cs da de el en es et fi fr hr hu id it ja ko lt lv ms mt nb nl pl pt ro ru sk sl sv th tr vi zh'.split(
    ' ',
  )
/** An id older than this may have been asked about before: look first, the key guards for a day only. */
const FRESH_MS = 60_000
/** A page lives 30 minutes to 24 hours; a margin is left for the way there and for clocks that differ. */
const PAGE_MIN_MS = 31 * 60_000
const PAGE_MAX_MS = 23 * 3_600_000

/**
 * Stripe: hosted Checkout pages, saved methods charged off-session, holds, refunds, disputes. A payment made
 * on a page is known by the page (`cs_…`), the charge of a saved method by its intent (`pi_…`). What the
 * vendor answers with 400, 402 or 404 is a refusal with its word; 401 and 403 are GatewayMisconfigured.
 */
export default defineGateway<Config>({
  id: 'stripe',
  title: 'Stripe',
  currencies: CURRENCIES,
  configSchema,
  isTest: isTestKey,
  parseWebhook: (config, request, context) => parseWebhook(config, request, context.now),

  async createPayment(config, input, context) {
    if (!isAmountPossible(input)) return refused('amount_not_supported')
    if (input.method !== undefined && !METHODS.includes(input.method)) return refused('method_not_supported')
    const shop = { config, context }
    if (!isFresh(input.payment_id, context)) {
      const earlier = await findSession(shop, input.payment_id)
      if (earlier) return created(earlier)
    }
    const form = sessionForm(input, context)
    const reply = await callApi(shop, {
      method: 'POST',
      path: '/v1/checkout/sessions',
      key: [input.payment_id],
      form,
    })
    if (reply.refusal === undefined) return created(readAnswer(SessionObject, reply.body))
    return madeBefore(reply, () => findSession(shop, input.payment_id))
  },

  /** A decline leaves an intent behind; it is told as a failed payment with that intent's id. */
  async chargeSavedMethod(config, input, context) {
    if (!isAmountPossible(input)) return refused('amount_not_supported')
    if (input.customer_external_id === undefined) return refused('customer_missing')
    const shop = { config, context }
    if (!isFresh(input.payment_id, context)) {
      const earlier = await findIntent(shop, input.payment_id)
      if (earlier) return created(earlier)
    }
    const form = {
      amount: input.amount,
      currency: input.currency.toLowerCase(),
      customer: input.customer_external_id,
      payment_method: input.method_external_id,
      off_session: true,
      confirm: true,
      description: clipText(input.description, 500),
      metadata: { payment_id: input.payment_id, order_id: input.order_id, made_by: 'charge' },
      expand: ['latest_charge.balance_transaction'],
    }
    const reply = await callApi(shop, {
      method: 'POST',
      path: '/v1/payment_intents',
      key: [input.payment_id],
      form,
    })
    if (reply.refusal === undefined) return created(readAnswer(IntentObject, reply.body))
    const declined = IntentObject.safeParse(reply.intent)
    if (declined.success) return created(declined.data)
    return madeBefore(reply, () => findIntent(shop, input.payment_id))
  },

  /** The id of an intent that a page has made is answered with the page's payment. */
  async getPayment(config, reference, context) {
    const object = await readPayment({ config, context }, reference)
    return object && toPayment(object)
  },

  /** A refused capture answers the payment as it stands, with the reason in `failure_reason`. */
  async capturePayment(config, input, context) {
    const shop = { config, context }
    const object = await heldPayment(shop, input)
    const intent = intentOf(object)
    if (!intent) return { failure_reason: 'not_authorized', ...toPayment(object) }
    return act(shop, input, {
      path: `/v1/payment_intents/${intent.id}/capture`,
      key: ['capture', input.payment_id, String(input.amount)],
      form: { amount_to_capture: input.amount },
    })
  },

  /** Closes an open page, or lets a hold go. */
  async cancelPayment(config, reference, context) {
    const shop = { config, context }
    const object = await heldPayment(shop, reference)
    const intent = intentOf(object)
    const is_open_page = object.object === 'checkout.session' && object.status === 'open'
    if (!is_open_page && intent?.status !== 'requires_capture') return toPayment(object)
    const path = is_open_page
      ? `/v1/checkout/sessions/${object.id}/expire`
      : `/v1/payment_intents/${intent?.id}/cancel`
    return act(shop, reference, { path, key: ['cancel', reference.payment_id], form: {} })
  },

  async refund(config, input, context) {
    const shop = { config, context }
    const object = await readPayment(shop, input.payment)
    const payment_intent = object && intentOf(object)?.id
    if (payment_intent === undefined) return refusedRefund(input, 'payment_not_found')
    const earlier = await findRefund(shop, payment_intent, input.refund_id)
    if (earlier) return toRefund(earlier)
    const reply = await callApi(shop, {
      method: 'POST',
      path: '/v1/refunds',
      key: [input.refund_id],
      form: {
        payment_intent,
        amount: input.amount,
        metadata: {
          refund_id: input.refund_id,
          payment_id: input.payment.payment_id,
          reason: clipText(input.reason, 400) || undefined,
        },
      },
    })
    if (reply.refusal === undefined) return toRefund(readAnswer(RefundObject, reply.body))
    const made = await findRefund(shop, payment_intent, input.refund_id)
    if (made) return toRefund(made)
    if (reply.is_key_reused) throw new GatewayUnavailable('idempotency key reused')
    return refusedRefund(input, reply.refusal)
  },

  async getRefund(config, reference, context) {
    const shop = { config, context }
    if (reference.external_id !== undefined) {
      const object = await readRefund(shop, reference.external_id)
      return object && toRefund(object)
    }
    const payment = await readPayment(shop, reference.payment)
    const payment_intent = payment && intentOf(payment)?.id
    const found = payment_intent && (await findRefund(shop, payment_intent, reference.refund_id))
    return found ? toRefund(found) : undefined
  },

  /** A method that is no longer attached is forgotten already. */
  async removeSavedMethod(config, method, context) {
    if (!/^\w{1,250}$/.test(method.external_id)) return
    const path = `/v1/payment_methods/${method.external_id}/detach`
    await callApi({ config, context }, { method: 'POST', path, key: ['detach', method.external_id] })
  },

  /** First the pages, then the intents that no page has made; the cursor says where between them we are. */
  async listPayments(config, range, context) {
    const shop = { config, context }
    const [, phase = 'cs', after] = /^(cs|pi):(.*)$/.exec(range.cursor ?? '') ?? []
    const is_pages = phase === 'cs'
    const path = is_pages ? '/v1/checkout/sessions' : '/v1/payment_intents'
    const query: Form = { ...createdIn(range), starting_after: after === '' ? undefined : after }
    const page = await readPage(shop, path, query)
    const objects = page.items.filter((item) => item['mode'] === 'payment' || (!is_pages && !isOfPage(item)))
    const schema: z.ZodType<PaymentObject> = is_pages ? SessionObject : IntentObject
    const items = objects.map((item) => toPayment(readAnswer(schema, item)))
    if (page.next_cursor !== undefined) return { items, next_cursor: `${phase}:${page.next_cursor}` }
    return is_pages ? { items, next_cursor: 'pi:' } : { items }
  },

  async listRefunds(config, range, context) {
    const query: Form = { ...createdIn(range), starting_after: range.cursor }
    const page = await readPage({ config, context }, '/v1/refunds', query)
    return { ...page, items: page.items.map((item) => toRefund(readAnswer(RefundObject, item))) }
  },

  async listDisputes(config, range, context) {
    const query: Form = { ...createdIn(range), starting_after: range.cursor }
    const page = await readPage({ config, context }, '/v1/disputes', query)
    return { ...page, items: page.items.map(toDispute).filter((dispute) => dispute !== undefined) }
  },

  /** Never throws: what cannot be reached or is refused is a `detail`. */
  async checkHealth(config, context) {
    try {
      const reply = await callApi({ config, context }, { method: 'GET', path: '/v1/balance' })
      if (reply.refusal !== undefined) return { ok: false, detail: reply.refusal }
      const { livemode } = readAnswer(z.object({ livemode: z.boolean() }), reply.body)
      if (livemode === isTestKey(config))
        return { ok: false, detail: 'the key and the account differ in mode' }
      return { ok: true, detail: livemode ? 'live account' : 'test account' }
    } catch (error) {
      if (error instanceof GatewayMisconfigured || error instanceof GatewayUnavailable) {
        return { ok: false, detail: error.message }
      }
      throw error
    }
  },
})

function sessionForm(input: CreatePaymentInput, context: GatewayContext): Form {
  const ours = { payment_id: input.payment_id, order_id: input.order_id }
  const language = input.locale.slice(0, 2).toLowerCase()
  return {
    mode: 'payment',
    client_reference_id: input.payment_id,
    success_url: input.return_url,
    cancel_url: input.return_url,
    customer_email: input.email,
    customer_creation: input.save_method ? 'always' : undefined,
    locale: LOCALES.includes(language) ? language : 'auto',
    expires_at: pageEnd(input, context),
    payment_method_types: input.method === undefined ? undefined : [input.method],
    // The buyer's own currency would make the payment's amount another than the order's.
    adaptive_pricing: { enabled: false },
    line_items: [
      {
        quantity: 1,
        price_data: {
          currency: input.currency.toLowerCase(),
          unit_amount: input.amount,
          product_data: { name: clipText(input.description, 250) },
        },
      },
    ],
    metadata: ours,
    // The page's metadata is not copied to the intent.
    payment_intent_data: {
      description: clipText(input.description, 500),
      capture_method: input.capture ? undefined : 'manual',
      setup_future_usage: input.save_method ? 'off_session' : undefined,
      metadata: { ...ours, made_by: 'checkout' },
    },
  }
}

/** Counted from the id's moment, so that a repeat says the same; later only where that would be too soon. */
function pageEnd(input: CreatePaymentInput, context: GatewayContext): number {
  const now_ms = context.now.getTime()
  const made_ms = isFresh(input.payment_id, context)
    ? (idTime(input.payment_id)?.getTime() ?? now_ms)
    : now_ms
  const wanted_ms = Math.min(input.expires_at.getTime(), made_ms + PAGE_MAX_MS)
  return Math.ceil(Math.max(wanted_ms, made_ms + PAGE_MIN_MS + FRESH_MS) / 1000)
}

function isFresh(id: string, context: GatewayContext): boolean {
  const made_at = idTime(id)
  return made_at !== undefined && context.now.getTime() - made_at.getTime() < FRESH_MS
}

/** A refusal, unless it only says that the key was used: then the first try's payment stands. */
async function madeBefore(
  reply: Reply & { refusal: string },
  find: () => Promise<PaymentObject | undefined>,
): Promise<CreatedPayment> {
  if (!reply.is_key_reused) return refused(reply.refusal)
  const made = await find()
  if (made) return created(made)
  throw new GatewayUnavailable('idempotency key reused')
}

function created(object: PaymentObject): CreatedPayment {
  const payment = toPayment(object)
  const { status, external_id, failure_reason } = payment
  const checkout_url = object.object === 'checkout.session' ? (object.url ?? undefined) : undefined
  return { status, external_id, payment, ...present({ checkout_url, failure_reason }) }
}

function refused(failure_reason: string): CreatedPayment {
  return { status: 'failed', failure_reason }
}

function refusedRefund(input: RefundInput, failure_reason: string): VendorRefund {
  const { refund_id, amount, currency } = input
  return {
    external_id: `refused:${refund_id}`,
    refund_id,
    status: 'failed',
    amount,
    currency,
    failure_reason,
  }
}

async function heldPayment(shop: Shop, reference: PaymentReference): Promise<PaymentObject> {
  const object = await readPayment(shop, reference)
  if (!object) throw new GatewayMisconfigured('payment_not_found')
  return object
}

/** Does one thing to a payment and answers how it then stands, which only a read tells in whole. */
async function act(
  shop: Shop,
  reference: PaymentReference,
  call: { path: string; key: readonly string[]; form: Form },
): Promise<VendorPayment> {
  const reply = await callApi(shop, { method: 'POST', ...call })
  const payment = toPayment(await heldPayment(shop, reference))
  return reply.refusal === undefined ? payment : { failure_reason: reply.refusal, ...payment }
}

function isOfPage(item: Record<string, unknown>): boolean {
  const { metadata } = item
  return (
    typeof metadata === 'object' &&
    metadata !== null &&
    'made_by' in metadata &&
    metadata.made_by === 'checkout'
  )
}
