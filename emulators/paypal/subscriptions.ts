import { ControlError, wrongState } from '../emulator.ts'
import type { CompleteInput } from '../emulator.ts'
import { newId, notFound, nowText, unprocessable } from './objects.ts'
import type { Money, Subscription, World } from './objects.ts'
import { sell } from './sales.ts'
import { tell } from './webhooks.ts'

const MONTH_MS = 30 * 86_400_000
const PRICE: Money = { currency_code: 'USD', value: '10.00' }

/** `POST /v1/billing/subscriptions`: any plan is a month at ten dollars. */
export function createSubscription(
  world: World,
  body: { plan_id: string; custom_id?: string },
): Subscription {
  const id = `I-${newId(world, 12)}`
  const at = nowText(world)
  const subscription: Subscription = {
    id,
    plan_id: body.plan_id,
    status: 'APPROVAL_PENDING',
    ...(body.custom_id === undefined ? {} : { custom_id: body.custom_id }),
    start_time: at,
    billing_info: {
      outstanding_balance: { ...PRICE, value: '0.00' },
      cycle_executions: [{ tenure_type: 'REGULAR', sequence: 1, cycles_completed: 0 }],
      failed_payments_count: 0,
    },
    create_time: at,
    update_time: at,
    links: [{ href: `${world.kit.base_url()}/v1/billing/subscriptions/${id}`, rel: 'self', method: 'GET' }],
  }
  world.subscriptions.add(id, subscription)
  announce(world, 'CREATED', subscription)
  return subscription
}

export function subscriptionOf(world: World, id: string): Subscription {
  const subscription = world.subscriptions.get(id)
  if (!subscription) throw notFound()
  return subscription
}

/** `POST …/cancel`: for good, and the next payment's time is forgotten. */
export function cancelSubscription(world: World, id: string): void {
  const subscription = subscriptionOf(world, id)
  if (subscription.status !== 'ACTIVE' && subscription.status !== 'SUSPENDED')
    throw unprocessable('SUBSCRIPTION_STATUS_INVALID')
  subscription.status = 'CANCELLED'
  subscription.update_time = nowText(world)
  delete subscription.billing_info.next_billing_time
  announce(world, 'CANCELLED', subscription)
}

/**
 * The control API: a period is paid (the first one activates), or its payment fails. `price` is another than
 * the plan's.
 */
export function completeSubscription(
  world: World,
  subscription: Subscription,
  input: CompleteInput,
): Subscription {
  if (subscription.status === 'CANCELLED') throw wrongState(subscription.id, subscription.status)
  if (input.outcome === 'authorized')
    throw new ControlError(400, 'bad_outcome', 'A subscription is paid or not.')
  const { billing_info } = subscription
  if (input.outcome === 'canceled') {
    billing_info.failed_payments_count += 1
    announce(world, 'PAYMENT.FAILED', subscription)
    return subscription
  }
  const is_first = subscription.status === 'APPROVAL_PENDING'
  subscription.status = 'ACTIVE'
  subscription.update_time = nowText(world)
  const price = { ...PRICE, ...(typeof input['price'] === 'string' ? { value: input['price'] } : {}) }
  billing_info.last_payment = { amount: price, time: nowText(world) }
  billing_info.next_billing_time = new Date(world.kit.now().getTime() + MONTH_MS).toISOString()
  const [cycle] = billing_info.cycle_executions
  if (cycle) cycle.cycles_completed += 1
  if (is_first) announce(world, 'ACTIVATED', subscription)
  sell(world, subscription, price)
  return subscription
}

function announce(world: World, word: string, subscription: Subscription): void {
  tell(world, `BILLING.SUBSCRIPTION.${word}`, {
    resource_type: 'subscription',
    resource: subscription,
    object_id: subscription.id,
  })
}
