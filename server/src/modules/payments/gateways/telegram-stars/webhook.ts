import { GatewayUnavailable, present, readJsonBody, sameBytes, singleHeader } from '@kopilka/extension'
import type { GatewayContext, VendorEvent, WebhookRequest, WebhookResult } from '@kopilka/extension'
import { z } from 'zod'
import type { Config } from './config.ts'
import { openPayload } from './payload.ts'
import type { Payload } from './payload.ts'

/** Telegram waits ten seconds for the answer; a slow database gets three of them. */
const PAYABLE_WAIT_MS = 3000
const PAID_MEMORY_MS = 86_400_000

const User = z.object({ id: z.number().int().positive(), language_code: z.string().optional() })
const Paid = {
  currency: z.string(),
  total_amount: z.number().int().nonnegative(),
  invoice_payload: z.string().max(200),
}
const ChargeId = z.string().regex(/^\S{1,200}$/)
const Update = z.object({
  update_id: z.number().int(),
  pre_checkout_query: z.object({ id: z.string().min(1).max(100), from: User, ...Paid }).optional(),
  message: z
    .object({
      date: z.number().int().nonnegative().max(9_999_999_999),
      chat: z.object({ id: z.number().int(), type: z.string() }),
      from: User.optional(),
      text: z.string().optional(),
      successful_payment: z
        .object({
          ...Paid,
          telegram_payment_charge_id: ChargeId,
          subscription_expiration_date: z.number().int().nonnegative().max(9_999_999_999).optional(),
          is_recurring: z.boolean().optional(),
          is_first_recurring: z.boolean().optional(),
        })
        .optional(),
      refunded_payment: z.object({ ...Paid, telegram_payment_charge_id: ChargeId }).optional(),
    })
    .optional(),
})
type Update = z.infer<typeof Update>
type Query = NonNullable<Update['pre_checkout_query']>
type Message = NonNullable<Update['message']>
type Payment = NonNullable<Message['successful_payment']>

/**
 * Reads an update of the bot; the secret token in its header is the proof. A question before payment is
 * answered in the same breath, by what we signed into the invoice. A payment that is not exactly as we
 * asked is only a hint: the core then reads the ledger. What concerns no invoice of ours is accepted and
 * names nothing. Never throws.
 */
export async function parseWebhook(
  config: Config,
  request: WebhookRequest,
  context: GatewayContext,
): Promise<WebhookResult> {
  const token = singleHeader(request, 'x-telegram-bot-api-secret-token') ?? ''
  if (!sameBytes(token, config.secret_token)) return refused(401, 'wrong secret token')
  if (request.method !== 'POST') return refused(400, 'not a POST')
  const { success, data: update } = Update.safeParse(readJsonBody(request))
  if (!success) return refused(400, 'not an update')
  if (update.pre_checkout_query) return answerQuery(config, update.pre_checkout_query, context)
  const { message } = update
  if (message?.successful_payment) {
    return { verdict: 'accepted', events: paidEvents(config, message, message.successful_payment, context) }
  }
  if (message?.refunded_payment) {
    return { verdict: 'accepted', events: refundedEvents(config, message, message.refunded_payment) }
  }
  return {
    verdict: 'accepted',
    events: [],
    ...present({ answer: message && answerCommand(config, message) }),
  }
}

async function answerQuery(config: Config, query: Query, context: GatewayContext): Promise<WebhookResult> {
  const objection = await objectionTo(config, query, context)
  const answer = {
    method: 'answerPreCheckoutQuery',
    pre_checkout_query_id: query.id,
    ok: objection === undefined,
    ...present({ error_message: objection && wordsOf(objection, query.from.language_code) }),
  }
  return { verdict: 'accepted', events: [], answer: jsonAnswer(answer) }
}

type Objection = 'foreign' | 'payer' | 'amount' | 'expired' | 'closed'

/** Why this must not be paid; what needs the database is asked last and not waited for long. */
async function objectionTo(
  config: Config,
  query: Query,
  context: GatewayContext,
): Promise<Objection | undefined> {
  const payload = openPayload(config, query.invoice_payload)
  if (!payload) return 'foreign'
  if (String(query.from.id) !== payload.telegram_id) return 'payer'
  if (!isAsAsked(payload, query)) return 'amount'
  if (payload.expires_at <= context.now) return 'expired'
  if (context.cache.has(paidKey(payload)) && !payload.is_subscription) return 'closed'
  return (await isPayable(payload, context)) ? undefined : 'closed'
}

async function isPayable({ payment_id }: Payload, context: GatewayContext): Promise<boolean> {
  if (!context.isPayable) return true
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, PAYABLE_WAIT_MS, true)
  })
  try {
    return await Promise.race([context.isPayable(payment_id), late])
  } catch (error) {
    // The database is away: what we signed ourselves decides. A mistake of code is still one.
    if (error instanceof TypeError || error instanceof GatewayUnavailable) throw error
    return true
  } finally {
    clearTimeout(timer)
  }
}

function paidEvents(config: Config, message: Message, paid: Payment, context: GatewayContext): VendorEvent[] {
  const payload = openPayload(config, paid.invoice_payload)
  if (!payload) return []
  const external_id = paid.telegram_payment_charge_id
  const occurred_at = momentOf(message.date)
  const { payment_id, amount, is_subscription } = payload
  if (!is_subscription) {
    context.cache.set(paidKey(payload), { value: true, expires_at: context.now.getTime() + PAID_MEMORY_MS })
  }
  const is_as_asked = isAsAsked(payload, paid) && String(message.from?.id) === payload.telegram_id
  const base = {
    external_event_id: `paid:${external_id}`,
    trust: is_as_asked ? 'signed' : 'hint',
    occurred_at,
  } as const
  const word = {
    external_id,
    payment_id,
    status: 'succeeded',
    amount,
    currency: 'XTR',
    is_test: config.is_test,
    paid_at: occurred_at,
    ...(is_subscription ? { is_renewal: isRenewal(paid) } : {}),
  } as const
  const payment: VendorEvent = {
    ...base,
    kind: 'payment',
    type: 'successful_payment',
    external_id,
    payment_id,
    ...(is_as_asked ? { payment: word } : {}),
  }
  if (!is_subscription || !is_as_asked) return [payment]
  return [payment, { ...base, ...subscriptionEvent(config, payload, paid, context) }]
}

/** The payload, and so our payment id, is the same in every renewal; the charge is not. */
function subscriptionEvent(config: Config, payload: Payload, paid: Payment, context: GatewayContext) {
  const { payment_id, amount } = payload
  const { subscription_expiration_date: until, telegram_payment_charge_id: charge_id } = paid
  const is_renewal = isRenewal(paid)
  const expires_at = until === undefined ? undefined : momentOf(until)
  return {
    external_event_id: `subscription:${charge_id}`,
    kind: 'subscription',
    type: is_renewal ? 'subscription renewed' : 'subscription started',
    external_id: payment_id,
    data: { ...paid, is_renewal },
    subscription: {
      external_id: payment_id,
      payment_id,
      is_active: expires_at === undefined || expires_at > context.now,
      will_renew: true,
      amount,
      currency: 'XTR',
      is_test: config.is_test,
      ...present({ expires_at }),
    },
  } as const
}

function isRenewal(paid: Payment): boolean {
  return paid.is_recurring === true && paid.is_first_recurring !== true
}

function momentOf(unix_seconds: number): Date {
  return new Date(Number(`${unix_seconds}000`))
}

function refundedEvents(
  config: Config,
  message: Message,
  refunded: NonNullable<Message['refunded_payment']>,
): VendorEvent[] {
  const payload = openPayload(config, refunded.invoice_payload)
  if (!payload) return []
  const id = refunded.telegram_payment_charge_id
  const base = {
    kind: 'refund',
    external_event_id: `refunded:${id}`,
    type: 'refunded_payment',
    occurred_at: momentOf(message.date),
    external_id: `refund:${id}`,
    payment_external_id: id,
  } as const
  if (!isAsAsked(payload, refunded)) return [{ ...base, trust: 'hint' }]
  const { payment_id, amount } = payload
  const facts = { external_id: `refund:${id}`, payment_external_id: id, payment_id, amount, currency: 'XTR' }
  return [{ ...base, trust: 'signed', refund: { ...facts, status: 'succeeded', is_test: config.is_test } }]
}

function answerCommand(config: Config, { chat, text = '' }: Message) {
  const command = /^\/(paysupport|terms)(?:@\w+)?(?:\s|$)/.exec(text)?.[1]
  const words =
    command === 'paysupport' ? config.support_text : command === 'terms' ? config.terms_text : undefined
  if (words === undefined) return undefined
  return jsonAnswer({ method: 'sendMessage', chat_id: chat.id, text: words })
}

function isAsAsked(payload: Payload, told: { currency: string; total_amount: number }): boolean {
  return told.currency === 'XTR' && BigInt(told.total_amount) === payload.amount
}

function paidKey({ payment_id }: Payload): string {
  return `paid:${payment_id}`
}

const WORDS: Readonly<Record<Objection, readonly [ru: string, en: string]>> = {
  foreign: ['Этот счёт выставлен не здесь.', 'This invoice was not made here.'],
  payer: ['Этот счёт выставлен другому покупателю.', 'This invoice was made for somebody else.'],
  amount: ['Цена изменилась. Попросите новый счёт.', 'The price has changed. Ask for a new invoice.'],
  expired: ['Срок счёта истёк. Попросите новый.', 'This invoice has expired. Ask for a new one.'],
  closed: ['Этот счёт уже оплачен или закрыт.', 'This invoice is already paid or closed.'],
}

function wordsOf(objection: Objection, language_code = 'en'): string {
  return WORDS[objection][language_code.startsWith('ru') ? 0 : 1]
}

function jsonAnswer(body: object) {
  return { status: 200, content_type: 'application/json', body: JSON.stringify(body) }
}

function refused(status: 400 | 401, reason: string): WebhookResult {
  return { verdict: 'refused', status, reason }
}
