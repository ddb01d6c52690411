import { ControlError, wrongState } from '../emulator.ts'
import type { CompleteInput } from '../emulator.ts'
import { newId, VendorError } from './objects.ts'
import type { Duration, Subscription, Transaction, World } from './objects.ts'
import { addTransaction, decline, itemOf, move, pay, previewDetails } from './transactions.ts'
import type { TransactionBody } from './transactions.ts'
import { tell } from './webhooks.ts'

const DAY_MS = 86_400_000
const DAYS: Readonly<Record<Duration['interval'], number>> = { day: 1, week: 7, month: 30, year: 365 }

/** A paid transaction of a price that comes again makes a subscription, which keeps the custom data. */
export function beginSubscription(world: World, transaction: Transaction): void {
  const [item] = transaction.items
  const billing_cycle = item?.price.billing_cycle
  if (!item || !billing_cycle || transaction.subscription_id !== null) return
  const now = world.kit.now().toISOString()
  const period = periodFrom(world, billing_cycle)
  const subscription: Subscription = {
    id: newId(world, 'sub'),
    status: 'active',
    customer_id: transaction.customer_id ?? newId(world, 'ctm'),
    address_id: transaction.address_id ?? newId(world, 'add'),
    business_id: null,
    currency_code: transaction.currency_code,
    created_at: now,
    updated_at: now,
    started_at: now,
    first_billed_at: now,
    next_billed_at: period.ends_at,
    paused_at: null,
    canceled_at: null,
    discount: null,
    collection_mode: 'automatic',
    billing_details: null,
    current_billing_period: period,
    billing_cycle,
    scheduled_change: null,
    items: [{ status: 'active', quantity: item.quantity, recurring: true, price: item.price }],
    custom_data: structuredClone(transaction.custom_data),
  }
  transaction.subscription_id = subscription.id
  world.subscriptions.add(subscription.id, subscription)
  tell(world, 'subscription.created', subscription)
}

export function subscriptionOf(world: World, id: string): Subscription {
  const subscription = world.subscriptions.get(id)
  if (!subscription) throw new VendorError(404, 'not_found', `Entity ${id} not found`)
  return subscription
}

/** `POST …/cancel`: at the period's end unless asked otherwise; for good. */
export function cancelSubscription(
  world: World,
  subscription: Subscription,
  effective_from: string | null | undefined,
): Subscription {
  if (subscription.status === 'canceled')
    throw new VendorError(400, 'subscription_is_canceled_action_invalid', 'The subscription is canceled')
  if (effective_from === 'immediately') return end(world, subscription)
  const effective_at = subscription.current_billing_period?.ends_at ?? world.kit.now().toISOString()
  subscription.scheduled_change = { action: 'cancel', effective_at, resume_at: null }
  subscription.next_billed_at = null
  return changed(world, subscription)
}

export interface ChargeBody {
  effective_from: 'immediately' | 'next_billing_period'
  items: TransactionBody['items']
  on_payment_failure?: 'prevent_change' | 'apply_change'
}

/**
 * `POST …/charge`: a transaction of the vendor's own, paid at once. It has the subscription's custom data;
 * what the caller says stands at the item's price. The answer is the subscription. Throws VendorError 400.
 */
export function chargeSubscription(world: World, subscription: Subscription, body: ChargeBody): Subscription {
  const item = chargedItem(world, subscription, body)
  if (world.kit.settings().charge_outcome === 'declined')
    throw new VendorError(400, 'subscription_payment_declined', 'The payment was declined')
  const transaction = addTransaction(world, item, {
    custom_data: structuredClone(subscription.custom_data),
    origin: 'subscription_charge',
    subscription,
  })
  pay(world, transaction)
  return subscription
}

/** `POST …/charge/preview`: the same, and nothing is kept. Throws VendorError 400. */
export function previewCharge(world: World, subscription: Subscription, body: ChargeBody): object {
  const item = chargedItem(world, subscription, body)
  const now = world.kit.now().toISOString()
  const { id: _id, first_billed_at: _first, ...shown } = subscription
  const immediate_transaction = {
    billing_period: subscription.current_billing_period ?? { starts_at: now, ends_at: now },
    details: previewDetails(world, item),
    adjustments: [],
  }
  return { ...shown, immediate_transaction, next_transaction: null, update_summary: null }
}

function chargedItem(world: World, { status, currency_code }: Subscription, body: ChargeBody) {
  if (status !== 'active')
    throw new VendorError(400, 'subscription_locked_renewal', `The subscription is ${status}`)
  if (body.effective_from !== 'immediately')
    throw new VendorError(400, 'bad_request', 'Only immediate charges are played here')
  return itemOf(world, { items: body.items, currency_code })
}

/** `PATCH` with no scheduled change: the cancellation is taken back. */
export function keepSubscription(world: World, subscription: Subscription): Subscription {
  if (subscription.status === 'canceled')
    throw new VendorError(400, 'subscription_update_when_canceled', 'The subscription is canceled')
  subscription.scheduled_change = null
  subscription.next_billed_at = subscription.current_billing_period?.ends_at ?? null
  return changed(world, subscription)
}

/** Cancellations whose time has come. */
export function endSubscriptions(world: World, now: Date): void {
  for (const subscription of world.subscriptions.values()) {
    const at = subscription.scheduled_change?.effective_at
    if (at !== undefined && Date.parse(at) <= now.getTime()) end(world, subscription)
  }
}

/**
 * The control API: the next period is paid, or fails. `charge` charges something else once, this many minor
 * units; `price` is another than the subscription's.
 */
export function completeSubscription(
  world: World,
  subscription: Subscription,
  input: CompleteInput,
): Transaction {
  const { status } = subscription
  const [item] = subscription.items
  if (status === 'canceled' || !item) throw wrongState(subscription.id, status)
  if (input.outcome === 'authorized') throw new ControlError(400, 'bad_outcome', 'It is paid or not.')
  const { charge, price: other } = input
  const is_charge = typeof charge === 'string'
  const amount = is_charge ? charge : typeof other === 'string' ? other : item.price.unit_price.amount
  const { billing_cycle: _cycle, ...once } = item.price
  const price = {
    ...(is_charge ? { ...once, id: newId(world, 'pri') } : item.price),
    unit_price: { ...item.price.unit_price, amount },
  }
  const transaction = addTransaction(
    world,
    { quantity: item.quantity, price },
    {
      custom_data: structuredClone(subscription.custom_data),
      origin: is_charge ? 'subscription_charge' : 'subscription_recurring',
      subscription,
    },
  )
  if (input.outcome === 'canceled') {
    decline(world, transaction, 'declined')
    move(world, transaction, 'past_due')
    subscription.status = 'past_due'
    tell(world, 'subscription.past_due', subscription)
    return transaction
  }
  if (!is_charge) {
    subscription.status = 'active'
    subscription.current_billing_period = periodFrom(world, subscription.billing_cycle)
    subscription.next_billed_at = subscription.current_billing_period.ends_at
    changed(world, subscription)
  }
  pay(world, transaction)
  return transaction
}

function end(world: World, subscription: Subscription): Subscription {
  const now = world.kit.now().toISOString()
  subscription.status = 'canceled'
  subscription.canceled_at = now
  subscription.updated_at = now
  subscription.scheduled_change = null
  subscription.next_billed_at = null
  subscription.current_billing_period = null
  tell(world, 'subscription.canceled', subscription)
  return subscription
}

function changed(world: World, subscription: Subscription): Subscription {
  subscription.updated_at = world.kit.now().toISOString()
  tell(world, 'subscription.updated', subscription)
  return subscription
}

function periodFrom(world: World, { interval, frequency }: Duration): { starts_at: string; ends_at: string } {
  const now = world.kit.now()
  const ends_at = new Date(now.getTime() + DAYS[interval] * frequency * DAY_MS)
  return { starts_at: now.toISOString(), ends_at: ends_at.toISOString() }
}
