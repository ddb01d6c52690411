import {
  feeOf,
  newId,
  notFound,
  nowText,
  readMoney,
  unprocessable,
  VendorError,
  writeMoney,
} from './objects.ts'
import type { Authorization, Capture, Money, Order, OrderPlan, World } from './objects.ts'
import { keepToken } from './vault.ts'
import { tell } from './webhooks.ts'

export interface OrderBody {
  intent: 'CAPTURE' | 'AUTHORIZE'
  purchase_units: {
    reference_id?: string
    amount: Money
    description?: string
    custom_id?: string
    invoice_id?: string
  }[]
  payment_source?: {
    paypal?: {
      vault_id?: string
      email_address?: string
      attributes?: { vault?: { store_in_vault?: string } }
      experience_context?: { return_url?: string; cancel_url?: string; locale?: string }
    }
  }
}

/** Captures that end in a decline of the whole call, by the issue the vendor names. */
export const DECLINES = [
  'INSTRUMENT_DECLINED',
  'PAYER_ACTION_REQUIRED',
  'REDIRECT_PAYER_FOR_ALTERNATE_FUNDING',
  'TRANSACTION_REFUSED',
  'PAYER_CANNOT_PAY',
]
/** How long a page can be opened and approved, and an approval captured. */
const APPROVAL_MS = 3 * 3_600_000
const AUTHORIZATION_MS = 29 * 86_400_000

/** `POST /v2/checkout/orders`. With a vaulted source the order is captured at once. */
export function createOrder(world: World, body: OrderBody): OrderPlan {
  const [unit, ...more] = body.purchase_units
  if (!unit || more.length > 0) throw unprocessable('UNSUPPORTED_INTENT', '/purchase_units')
  readMoney(unit.amount, '/purchase_units/@reference_id/amount/value')
  const wallet = body.payment_source?.paypal
  const id = newId(world)
  const base = world.kit.base_url()
  const { return_url = '', cancel_url = return_url, locale = 'en-US' } = wallet?.experience_context ?? {}
  const order: Order = {
    id,
    intent: body.intent,
    status: wallet ? 'PAYER_ACTION_REQUIRED' : 'CREATED',
    ...(wallet ? { payment_source: { paypal: {} } } : {}),
    purchase_units: [
      {
        reference_id: unit.reference_id ?? 'default',
        amount: unit.amount,
        payee: { merchant_id: world.kit.settings().merchant_id },
        ...(unit.description === undefined ? {} : { description: unit.description }),
        ...(unit.custom_id === undefined ? {} : { custom_id: unit.custom_id }),
        ...(unit.invoice_id === undefined ? {} : { invoice_id: unit.invoice_id }),
      },
    ],
    create_time: nowText(world),
    update_time: nowText(world),
    links: [
      { href: `${base}/v2/checkout/orders/${id}`, rel: 'self', method: 'GET' },
      { href: `${base}/checkoutnow?token=${id}`, rel: wallet ? 'payer-action' : 'approve', method: 'GET' },
    ],
  }
  const wants_vault = wallet?.attributes?.vault?.store_in_vault === 'ON_SUCCESS'
  if (wants_vault && world.kit.settings().vault_outcome === 'refused')
    throw unprocessable('NOT_ENABLED_TO_VAULT_PAYMENT_SOURCE')
  const plan: OrderPlan = { order, return_url, cancel_url, locale, wants_vault }
  if (wallet?.vault_id !== undefined) chargeToken(world, plan, wallet.vault_id)
  world.orders.add(id, plan)
  return plan
}

/** Nothing is kept of a declined charge: the call itself is refused. */
function chargeToken(world: World, plan: OrderPlan, vault_id: string): void {
  const token = world.tokens.get(vault_id)
  if (!token) throw unprocessable('TOKEN_ID_NOT_FOUND', '/payment_source/paypal/vault_id')
  const { charge_outcome } = world.kit.settings()
  const { email_address, payer_id } = token.payment_source.paypal
  plan.order.payment_source = { paypal: { email_address, account_id: payer_id, account_status: 'VERIFIED' } }
  if (charge_outcome === 'PAYER_ACTION_REQUIRED') return
  plan.order.links = plan.order.links.filter(({ rel }) => rel === 'self')
  plan.order.status = 'APPROVED'
  plan.outcome = charge_outcome
  if (charge_outcome !== 'APPROVED') captureOrder(world, plan)
}

export function planOf(world: World, id: string): OrderPlan {
  const plan = world.orders.get(id)
  if (!plan) throw notFound()
  return plan
}

/** The buyer agrees on the vendor's page. Nothing is charged by this. */
export function approve(world: World, plan: OrderPlan, outcome?: string): void {
  const { order } = plan
  order.status = 'APPROVED'
  order.update_time = nowText(world)
  order.payment_source = {
    paypal: {
      email_address: 'buyer@personal.example.com',
      account_id: 'QYR5Z8XDVJNXQ',
      account_status: 'VERIFIED',
    },
  }
  if (outcome === undefined) delete plan.outcome
  else plan.outcome = outcome
  tell(world, 'CHECKOUT.ORDER.APPROVED', about(order))
}

/** Nobody approved in time, or what was approved was not taken in time. */
export function die(world: World, { order }: OrderPlan): void {
  const was_approved = order.status === 'APPROVED'
  order.status = 'VOIDED'
  order.update_time = nowText(world)
  if (was_approved) {
    const resource = { order_id: order.id, purchase_units: order.purchase_units }
    tell(world, 'CHECKOUT.PAYMENT-APPROVAL.REVERSED', { ...about(order), resource })
  }
}

/** Orders die by themselves: three hours to approve, three more to be captured. */
export function expireOrders(world: World, now: Date): void {
  for (const plan of world.orders.values()) {
    const { status, create_time, update_time } = plan.order
    const is_open = status === 'CREATED' || status === 'PAYER_ACTION_REQUIRED' || status === 'APPROVED'
    const since = Date.parse(status === 'APPROVED' ? update_time : create_time)
    if (is_open && now.getTime() - since >= APPROVAL_MS) die(world, plan)
  }
}

/** `POST …/capture`. Throws VendorError 422 unless the buyer has approved and can pay. */
export function captureOrder(world: World, plan: OrderPlan): Capture {
  const { order } = plan
  const outcome = ready(world, plan, 'CAPTURE')
  const unit = order.purchase_units[0]
  const capture = addCapture(world, order, { amount: unit.amount, outcome })
  order.status = 'COMPLETED'
  order.update_time = nowText(world)
  if (capture.status !== 'DECLINED') keepToken(world, plan)
  return capture
}

/** `POST …/authorize`. */
export function authorizeOrder(world: World, plan: OrderPlan): Authorization {
  const { order } = plan
  ready(world, plan, 'AUTHORIZE')
  const unit = order.purchase_units[0]
  const id = newId(world)
  const at = nowText(world)
  const authorization: Authorization = {
    id,
    status: 'CREATED',
    amount: unit.amount,
    ...ids(order),
    supplementary_data: { related_ids: { order_id: order.id } },
    expiration_time: new Date(world.kit.now().getTime() + AUTHORIZATION_MS).toISOString(),
    create_time: at,
    update_time: at,
    links: [{ href: `${world.kit.base_url()}/v2/payments/authorizations/${id}`, rel: 'self', method: 'GET' }],
  }
  unit.payments = { authorizations: [authorization] }
  order.status = 'COMPLETED'
  order.update_time = at
  world.authorizations.add(id, { authorization, order })
  tell(world, 'PAYMENT.AUTHORIZATION.CREATED', {
    resource_type: 'authorization',
    resource: authorization,
    object_id: order.id,
  })
  keepToken(world, plan)
  return authorization
}

function ready(world: World, { order, outcome: planned }: OrderPlan, intent: Order['intent']): string {
  const outcome = planned ?? world.kit.settings().capture_outcome
  if (order.intent !== intent) throw unprocessable('ACTION_DOES_NOT_MATCH_INTENT')
  if (order.status === 'VOIDED') throw notFound()
  if (order.status === 'COMPLETED')
    throw unprocessable(intent === 'CAPTURE' ? 'ORDER_ALREADY_CAPTURED' : 'ORDER_ALREADY_AUTHORIZED')
  if (order.status !== 'APPROVED') throw unprocessable('ORDER_NOT_APPROVED')
  const { invoice_id } = order.purchase_units[0]
  const is_taken = [...world.captures.values()].some(({ capture }) => capture.invoice_id === invoice_id)
  if (world.kit.settings().are_invoices_unique && invoice_id !== undefined && is_taken)
    throw unprocessable('DUPLICATE_INVOICE_ID')
  if (outcome === 'RESTRICTED') throw new VendorError(403, 'NOT_AUTHORIZED', [])
  if (DECLINES.includes(outcome)) throw unprocessable(outcome)
  return outcome
}

/** Money moves, waits, or is declined; the merchant is told. */
export function addCapture(
  world: World,
  order: Order,
  input: { amount: Money; outcome: string; authorization_id?: string },
): Capture {
  const id = newId(world)
  const at = nowText(world)
  const base = `${world.kit.base_url()}/v2/payments/captures/${id}`
  const { authorization_id } = input
  const capture: Capture = {
    id,
    status: input.outcome === 'PENDING' || input.outcome === 'DECLINED' ? input.outcome : 'COMPLETED',
    amount: input.amount,
    final_capture: true,
    ...ids(order),
    supplementary_data: {
      related_ids: { order_id: order.id, ...(authorization_id === undefined ? {} : { authorization_id }) },
    },
    create_time: at,
    update_time: at,
    links: [
      { href: base, rel: 'self', method: 'GET' },
      { href: `${base}/refund`, rel: 'refund', method: 'POST' },
      { href: `${world.kit.base_url()}/v2/checkout/orders/${order.id}`, rel: 'up', method: 'GET' },
    ],
  }
  const unit = order.purchase_units[0]
  unit.payments = { ...unit.payments, captures: [...(unit.payments?.captures ?? []), capture] }
  world.captures.add(id, { capture, order })
  if (capture.status === 'PENDING') capture.status_details = { reason: 'PENDING_REVIEW' }
  if (capture.status === 'COMPLETED') settle(world, capture)
  tellCapture(world, capture, order)
  return capture
}

/** A capture that waited is paid out, or not. */
export function decideCapture(world: World, capture: Capture, order: Order, is_paid: boolean): void {
  delete capture.status_details
  capture.status = is_paid ? 'COMPLETED' : 'DECLINED'
  capture.update_time = nowText(world)
  if (is_paid) settle(world, capture)
  tellCapture(world, capture, order)
}

function settle(world: World, capture: Capture): void {
  const { currency_code } = capture.amount
  const gross = readMoney(capture.amount, 'amount')
  const fee = feeOf(world, capture.amount)
  const is_own = fee.currency_code === currency_code
  capture.seller_receivable_breakdown = {
    gross_amount: capture.amount,
    paypal_fee: fee,
    net_amount: is_own ? writeMoney(gross - readMoney(fee, 'fee'), currency_code) : capture.amount,
  }
}

function tellCapture(world: World, capture: Capture, order: Order): void {
  const word = capture.status === 'DECLINED' ? 'DENIED' : capture.status
  tell(world, `PAYMENT.CAPTURE.${word}`, { resource_type: 'capture', resource: capture, object_id: order.id })
}

function ids(order: Order): { custom_id?: string; invoice_id?: string } {
  const { custom_id, invoice_id } = order.purchase_units[0]
  return {
    ...(custom_id === undefined ? {} : { custom_id }),
    ...(invoice_id === undefined ? {} : { invoice_id }),
  }
}

function about(order: Order) {
  return { resource_type: 'checkout-order', resource: order, object_id: order.id }
}
