import { cardBehaviour, DEFAULT_CARD } from './cards.ts'
import { invalid, isLive, missing, newId, seconds, VendorError } from './objects.ts'
import type { Charge, Intent, PaymentError, PaymentMethod, Session, SessionPlan, World } from './objects.ts'
import { tell } from './webhooks.ts'

/** Below this the vendor refuses: about half a dollar. Zero-decimal currencies are not looked at. */
const AMOUNT_MIN = 50
const AMOUNT_MAX = 99_999_999

export interface SessionBody {
  mode?: string
  line_items?: {
    quantity?: number
    price_data?: { currency: string; unit_amount?: number; product_data?: { name: string } }
  }[]
  success_url?: string
  cancel_url?: string
  client_reference_id?: string
  customer?: string
  customer_email?: string
  customer_creation?: 'always' | 'if_required'
  metadata?: Record<string, string>
  expires_at?: number
  locale?: string
  payment_method_types?: string[]
  payment_intent_data?: {
    capture_method?: Intent['capture_method']
    description?: string
    metadata?: Record<string, string>
    setup_future_usage?: Intent['setup_future_usage']
  }
}

/** `POST /v1/checkout/sessions`, mode payment with inline prices. Throws VendorError 400. */
export function createSession(world: World, body: SessionBody): Session {
  if (body.mode !== 'payment') throw invalid('Only the mode payment is played here', { param: 'mode' })
  const [item, ...more] = body.line_items ?? []
  const price = item?.price_data
  if (!item || !price?.product_data || price.unit_amount === undefined || more.length > 0) {
    throw invalid('Exactly one line item with price_data is played here', { param: 'line_items' })
  }
  const amount = price.unit_amount * (item.quantity ?? 1)
  checkAmount(amount)
  if ((body.client_reference_id ?? '').length > 200) {
    throw invalid('client_reference_id is longer than 200', { param: 'client_reference_id' })
  }
  const now = seconds(world)
  const expires_at = body.expires_at ?? now + 86_400
  if (expires_at < now + 1800 || expires_at > now + 86_400) {
    throw invalid('expires_at must be between 30 minutes and 24 hours from now', { param: 'expires_at' })
  }
  const id = `cs_${isLive(world) ? 'live' : 'test'}_${newId(world, 'a1').slice(3)}`
  const session: Session = {
    id,
    object: 'checkout.session',
    mode: 'payment',
    status: 'open',
    payment_status: 'unpaid',
    amount_subtotal: amount,
    amount_total: amount,
    currency: price.currency.toLowerCase(),
    client_reference_id: body.client_reference_id ?? null,
    customer: body.customer ?? null,
    customer_creation: body.customer_creation ?? 'if_required',
    customer_email: body.customer_email ?? null,
    metadata: body.metadata ?? {},
    payment_intent: null,
    payment_method_types: body.payment_method_types ?? ['card'],
    created: now,
    expires_at,
    livemode: isLive(world),
    locale: body.locale ?? null,
    success_url: body.success_url ?? '',
    cancel_url: body.cancel_url ?? null,
    url: `${world.kit.base_url()}/c/pay/${id}`,
  }
  const {
    metadata = {},
    description = null,
    capture_method = 'automatic_async',
  } = body.payment_intent_data ?? {}
  world.sessions.add(id, {
    session,
    description: price.product_data.name,
    intent: { metadata, description, capture_method },
    setup_future_usage: body.payment_intent_data?.setup_future_usage ?? null,
  })
  return session
}

/** `POST …/expire`. Throws VendorError 400 unless the page is open. */
export function expireSession(world: World, session: Session): Session {
  if (session.status !== 'open') {
    throw invalid(`Only open sessions can be expired; this one is ${session.status}`, { param: 'session' })
  }
  session.status = 'expired'
  session.url = null
  tell(world, 'checkout.session.expired', session)
  return session
}

/** Pages past their time expire. */
export function expireDue(world: World): void {
  const now = seconds(world)
  for (const { session } of world.sessions.values()) {
    if (session.status === 'open' && session.expires_at <= now) expireSession(world, session)
  }
}

/** What the buyer does on the page with a card. A decline leaves the page open. */
export function payOnPage(
  world: World,
  plan: SessionPlan,
  input: { card_number?: string; decline?: { code: string; decline_code?: string }; is_delayed?: boolean },
): void {
  const { session } = plan
  const card_number = input.card_number ?? DEFAULT_CARD
  const intent = intentOfPage(world, plan)
  const method = newMethod(world, card_number)
  if (session.customer_creation === 'always') session.customer ??= newId(world, 'cus')
  intent.customer = session.customer
  const decline = input.decline ?? cardBehaviour(card_number).decline
  if (decline) {
    declineIntent(world, intent, decline)
    return
  }
  if (intent.setup_future_usage === 'off_session') method.customer = session.customer
  session.status = 'complete'
  session.url = null
  if (input.is_delayed) {
    intent.status = 'processing'
    intent.payment_method = method.id
    tell(world, 'checkout.session.completed', session)
    return
  }
  settleIntent(world, intent, method)
  if (intent.status === 'succeeded') session.payment_status = 'paid'
  tell(world, 'checkout.session.completed', session)
}

function intentOfPage(world: World, plan: SessionPlan): Intent {
  const known = plan.session.payment_intent && world.intents.get(plan.session.payment_intent)
  if (known) return known
  const { session, intent } = plan
  const made = newIntent(world, { ...session, ...intent, amount: session.amount_total })
  made.setup_future_usage = plan.setup_future_usage
  session.payment_intent = made.id
  return made
}

export interface IntentBody {
  amount: number
  currency: string
  customer?: string
  payment_method?: string
  off_session?: boolean | string
  confirm?: boolean
  description?: string
  metadata?: Record<string, string>
}

/**
 * `POST /v1/payment_intents` as the charge of a saved method. Throws VendorError 402 for a decline; the
 * intent stays, and is in the error.
 */
export function createIntent(world: World, body: IntentBody): Intent {
  if (body.confirm !== true || body.off_session === undefined || body.payment_method === undefined) {
    throw invalid('Only off-session charges of saved methods are played here', { param: 'off_session' })
  }
  checkAmount(body.amount)
  const method = world.methods.get(body.payment_method)
  if (!method) throw missing('PaymentMethod', body.payment_method)
  if (method.customer === null || method.customer !== body.customer) {
    throw invalid('The payment method belongs to another customer or to none', { param: 'payment_method' })
  }
  const { amount, currency, customer, metadata = {}, description = null } = body
  const intent = newIntent(world, {
    amount,
    currency: currency.toLowerCase(),
    customer,
    metadata,
    description,
    capture_method: 'automatic_async',
    payment_method_types: ['card'],
  })
  const { charge_outcome } = world.kit.settings()
  const later = LATER.get(method)
  const decline = charge_outcome === 'succeeded' ? later : declineOf(charge_outcome)
  if (decline) {
    const error = declineIntent(world, intent, decline)
    throw new VendorError(402, error.message, { ...error, payment_intent: intent })
  }
  settleIntent(world, intent, method)
  return intent
}

/** `POST …/capture`. Throws VendorError 400. */
export function captureIntent(world: World, intent: Intent, amount_to_capture: number | undefined): Intent {
  const amount = amount_to_capture ?? intent.amount_capturable
  if (intent.status !== 'requires_capture') {
    throw invalid(`This PaymentIntent is ${intent.status}`, { code: 'payment_intent_unexpected_state' })
  }
  if (amount < 1 || amount > intent.amount_capturable) {
    throw invalid('More than can be captured', { code: 'amount_too_large', param: 'amount_to_capture' })
  }
  const charge = intent.latest_charge && world.charges.get(intent.latest_charge)
  if (charge) takeMoney(world, intent, charge, amount)
  for (const { session } of world.sessions.values()) {
    if (session.payment_intent === intent.id) session.payment_status = 'paid'
  }
  return intent
}

/** `POST …/cancel`. Throws VendorError 400 for an intent that is over. */
export function cancelIntent(world: World, intent: Intent, reason = 'requested_by_customer'): Intent {
  if (['succeeded', 'canceled', 'processing'].includes(intent.status)) {
    throw invalid(`This PaymentIntent is ${intent.status}`, { code: 'payment_intent_unexpected_state' })
  }
  intent.status = 'canceled'
  intent.amount_capturable = 0
  intent.cancellation_reason = reason
  intent.canceled_at = seconds(world)
  tell(world, 'payment_intent.canceled', intent)
  return intent
}

function checkAmount(amount: number): void {
  if (amount < AMOUNT_MIN) {
    throw invalid('The amount is under the minimum', { code: 'amount_too_small', param: 'amount' })
  }
  if (amount > AMOUNT_MAX) {
    throw invalid('The amount has more than eight digits', { code: 'amount_too_large', param: 'amount' })
  }
}

/** The vendor's code, or a decline code of `card_declined`. */
export function declineOf(word: string): { code: string; decline_code?: string } {
  const codes = ['authentication_required', 'expired_card', 'incorrect_cvc', 'processing_error']
  return codes.includes(word) ? { code: word } : { code: 'card_declined', decline_code: word }
}

/** Methods that were saved from a card whose later charges fail. */
const LATER = new WeakMap<PaymentMethod, { code: string; decline_code?: string }>()

function newMethod(world: World, card_number: string): PaymentMethod {
  const { brand, declines_later } = cardBehaviour(card_number)
  const method: PaymentMethod = {
    id: newId(world, 'pm'),
    object: 'payment_method',
    type: 'card',
    created: seconds(world),
    livemode: isLive(world),
    customer: null,
    card: {
      brand,
      last4: card_number.slice(-4),
      exp_month: 12,
      exp_year: world.kit.now().getUTCFullYear() + 3,
    },
  }
  if (declines_later) LATER.set(method, declines_later)
  world.methods.add(method.id, method)
  return method
}

function newIntent(
  world: World,
  from: Pick<
    Intent,
    'amount' | 'currency' | 'metadata' | 'description' | 'capture_method' | 'payment_method_types'
  > & {
    customer?: string | null | undefined
  },
): Intent {
  const id = newId(world, 'pi')
  const intent: Intent = {
    id,
    object: 'payment_intent',
    status: 'requires_payment_method',
    amount: from.amount,
    amount_capturable: 0,
    amount_received: 0,
    currency: from.currency,
    capture_method: from.capture_method,
    customer: from.customer ?? null,
    description: from.description,
    metadata: { ...from.metadata },
    payment_method: null,
    payment_method_types: from.payment_method_types,
    setup_future_usage: null,
    client_secret: `${id}_secret_${world.kit.random.hex(16)}`,
    last_payment_error: null,
    latest_charge: null,
    cancellation_reason: null,
    canceled_at: null,
    created: seconds(world),
    livemode: isLive(world),
  }
  world.intents.add(id, intent)
  return intent
}

/** The card is declined; the intent waits for another one. */
export function declineIntent(
  world: World,
  intent: Intent,
  decline: { code: string; decline_code?: string },
): PaymentError {
  const error: PaymentError = { type: 'card_error', ...decline, message: 'Your card was declined.' }
  intent.status = 'requires_payment_method'
  intent.payment_method = null
  intent.last_payment_error = error
  tell(world, 'payment_intent.payment_failed', intent)
  return error
}

/** The card pays: a charge is made, held or taken. */
export function settleIntent(world: World, intent: Intent, method: PaymentMethod): void {
  const charge: Charge = {
    id: newId(world, 'ch'),
    object: 'charge',
    status: 'succeeded',
    amount: intent.amount,
    amount_captured: 0,
    amount_refunded: 0,
    balance_transaction: null,
    captured: false,
    paid: true,
    refunded: false,
    disputed: false,
    created: seconds(world),
    currency: intent.currency,
    customer: intent.customer,
    livemode: intent.livemode,
    metadata: { ...intent.metadata },
    payment_intent: intent.id,
    payment_method: method.id,
    payment_method_details: { type: 'card', card: method.card },
    failure_code: null,
  }
  world.charges.add(charge.id, charge)
  intent.latest_charge = charge.id
  intent.payment_method = method.id
  intent.last_payment_error = null
  if (intent.capture_method === 'manual') {
    intent.status = 'requires_capture'
    intent.amount_capturable = intent.amount
    tell(world, 'payment_intent.amount_capturable_updated', intent)
  } else takeMoney(world, intent, charge, intent.amount)
}

function takeMoney(world: World, intent: Intent, charge: Charge, amount: number): void {
  const fee = Math.ceil((amount * world.kit.settings().fee_permille) / 1000)
  const id = newId(world, 'txn')
  world.balance.add(id, {
    id,
    object: 'balance_transaction',
    amount,
    fee,
    net: amount - fee,
    currency: charge.currency,
    created: seconds(world),
    source: charge.id,
    type: 'charge',
  })
  charge.balance_transaction = id
  charge.captured = true
  charge.amount_captured = amount
  intent.status = 'succeeded'
  intent.amount_received = amount
  intent.amount_capturable = 0
  tell(world, 'payment_intent.succeeded', intent)
}
