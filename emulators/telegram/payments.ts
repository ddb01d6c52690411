import { addMessage, botUser, BotError, pushUpdate, seconds, userOf, wireUser } from './objects.ts'
import type { Invoice, StarPayment, World } from './objects.ts'

const PERIOD_SECONDS = 2_592_000

/** Checks an invoice as Telegram does for stars. Throws {@link BotError}. */
export function addInvoice(world: World, body: Record<string, unknown>, is_link: boolean): Invoice {
  const { title, description, payload, currency, prices, provider_token, subscription_period } = body
  const lines = Array.isArray(prices) ? (prices as { label: string; amount: number }[]) : []
  const refuse = (text: string) => new BotError(400, `Bad Request: ${text}`)
  if (currency !== 'XTR') throw refuse('CURRENCY_INVALID')
  if (provider_token !== undefined && provider_token !== '') throw refuse('PAYMENT_PROVIDER_INVALID')
  const bytes = Buffer.byteLength(String(payload))
  if (bytes < 1 || bytes > 128) throw refuse('INVOICE_PAYLOAD_INVALID')
  const amount = lines[0]?.amount ?? 0
  if (lines.length !== 1 || amount < 1) throw refuse('STARS_INVOICE_INVALID')
  if (subscription_period !== undefined) {
    if (!is_link || subscription_period !== PERIOD_SECONDS) throw refuse('SUBSCRIPTION_PERIOD_INVALID')
    if (amount > 10_000) throw refuse('CURRENCY_TOTAL_AMOUNT_INVALID')
  }
  const invoice: Invoice = {
    id: world.kit.random.string(16, 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'),
    title: String(title),
    description: String(description),
    payload: String(payload),
    amount,
    ...(subscription_period === undefined ? {} : { subscription_period: PERIOD_SECONDS }),
  }
  world.invoices.add(invoice.id, invoice)
  return invoice
}

export type PayOutcome = { status: 'paid'; payment: StarPayment } | { status: 'failed'; reason: string }

/**
 * A user presses Pay: the bot is asked, and only its timely yes takes the stars. Each press is a payment of
 * its own.
 */
export async function pay(world: World, invoice: Invoice, user_id: number): Promise<PayOutcome> {
  const id = world.kit.random.string(18, '0123456789')
  const from = wireUser(userOf(world, user_id))
  const { amount: total_amount, payload: invoice_payload } = invoice
  const answered = new Promise<{ ok: boolean; error_message?: string } | undefined>((resolve) => {
    const timer = setTimeout(resolve, world.kit.settings().pre_checkout_timeout_ms, undefined)
    timer.unref()
    world.questions.set(id, (answer) => {
      clearTimeout(timer)
      resolve(answer)
    })
  })
  pushUpdate(world, 'pre_checkout_query', { id, from, currency: 'XTR', total_amount, invoice_payload })
  const answer = await answered
  world.questions.delete(id)
  if (!answer) return { status: 'failed', reason: 'timeout' }
  if (!answer.ok) return { status: 'failed', reason: answer.error_message ?? '' }
  return { status: 'paid', payment: charge(world, invoice, user_id, true) }
}

/** Takes the stars and tells the bot; a renewal has the payload and the buyer of the first payment. */
export function charge(world: World, invoice: Invoice, user_id: number, is_first: boolean): StarPayment {
  const date = seconds(world)
  const { subscription_period } = invoice
  const payment: StarPayment = {
    id: `stx${world.kit.random.string(40, 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789')}`,
    user_id,
    amount: invoice.amount,
    invoice_payload: invoice.payload,
    date,
    invoice_id: invoice.id,
    ...(subscription_period === undefined
      ? {}
      : {
          subscription_period,
          expires: date + subscription_period,
          is_recurring: true,
          is_first_recurring: is_first,
        }),
  }
  world.payments.add(payment.id, payment)
  world.ledger.push({ payment, is_refund: false, date })
  pushUpdate(world, 'message', paidMessage(world, payment))
  return payment
}

/** The service message of a payment, with changes for lies. */
export function paidMessage(world: World, payment: StarPayment, changes: object = {}): object {
  const successful_payment = {
    currency: 'XTR',
    total_amount: payment.amount,
    invoice_payload: payment.invoice_payload,
    telegram_payment_charge_id: payment.id,
    provider_payment_charge_id: `${payment.user_id}_0`,
    ...(payment.expires === undefined
      ? {}
      : { subscription_expiration_date: payment.expires, is_recurring: true }),
    ...(payment.is_first_recurring ? { is_first_recurring: true } : {}),
    ...changes,
  }
  return addMessage(world, payment.user_id, userOf(world, payment.user_id), { successful_payment })
}

/** Gives a payment back, whole. Throws {@link BotError}. */
export function refund(world: World, user_id: number, charge_id: string): true {
  const payment = world.payments.get(charge_id)
  if (charge_id === '') throw new BotError(400, 'Bad Request: CHARGE_ID_EMPTY')
  if (!payment) throw new BotError(400, 'Bad Request: CHARGE_NOT_FOUND')
  if (payment.user_id !== user_id) throw new BotError(400, 'Bad Request: USER_ID_INVALID')
  if (payment.refunded_at !== undefined) throw new BotError(400, 'Bad Request: CHARGE_ALREADY_REFUNDED')
  const date = seconds(world)
  payment.refunded_at = date
  payment.is_canceled = true
  world.ledger.push({ payment, is_refund: true, date })
  const refunded_payment = {
    currency: 'XTR',
    total_amount: payment.amount,
    invoice_payload: payment.invoice_payload,
    telegram_payment_charge_id: payment.id,
  }
  pushUpdate(world, 'message', addMessage(world, user_id, botUser(world), { refunded_payment }))
  return true
}

/** The ledger as getStarTransactions shows it. */
export function transactions(world: World, offset: number, limit: number): object[] {
  return world.ledger.slice(offset, offset + limit).map(({ payment, is_refund, date }) => {
    const partner = {
      type: 'user',
      transaction_type: 'invoice_payment',
      user: wireUser(userOf(world, payment.user_id)),
      invoice_payload: payment.invoice_payload,
      ...(payment.subscription_period === undefined
        ? {}
        : { subscription_period: payment.subscription_period }),
    }
    return {
      id: payment.id,
      amount: payment.amount,
      date,
      ...(is_refund ? { receiver: partner } : { source: partner }),
    }
  })
}

/** Subscriptions that are due renew, unless somebody canceled them. */
export function renewDue(world: World): void {
  const now = seconds(world)
  // A renewal adds to the store that is walked through: only what is there now is looked at.
  const standing = Array.from(world.payments.values())
  for (const payment of standing) {
    if (payment.expires === undefined || payment.expires > now || payment.is_recurring !== true) continue
    payment.is_recurring = false
    const invoice = world.invoices.get(payment.invoice_id)
    if (!payment.is_canceled && invoice) charge(world, invoice, payment.user_id, false)
  }
}
