import { ControlError, unknownObject, wrongState } from '../emulator.ts'
import type { CompleteInput } from '../emulator.ts'
import { approve, decideCapture, DECLINES, die } from './orders.ts'
import { decideRefund, dispute } from './payments.ts'
import type { OrderPlan, World } from './objects.ts'
import { completeSale } from './sales.ts'
import { completeSubscription } from './subscriptions.ts'
import { bringToken, dropToken } from './vault.ts'

/** An order, a capture, a refund that waits, a subscription, one of its sales, or a kept agreement. */
export function complete(world: World, id: string, input: CompleteInput): unknown {
  const plan = world.orders.get(id)
  if (plan) return completeOrder(world, plan, input)
  const taken = world.captures.get(id)
  if (taken && input['dispute'] !== undefined) return dispute(world, taken, input['dispute'])
  const held = world.refunds.get(id)
  if (held) return decideRefund(world, held.refund, held, input.outcome === 'succeeded')
  const subscription = world.subscriptions.get(id)
  if (subscription) return completeSubscription(world, subscription, input)
  const sale = world.sales.get(id)
  if (sale) return completeSale(world, sale, input)
  const token = world.tokens.get(id)
  if (token && input.outcome === 'canceled') return dropToken(world, token)
  throw unknownObject(id)
}

/**
 * The buyer approves, or lets the order die; with a reason, approves and cannot pay. What was captured and
 * waits is decided. `vault: created` brings an agreement that was not ready with the order.
 */
function completeOrder(world: World, plan: OrderPlan, input: CompleteInput): unknown {
  const { order } = plan
  if (input['vault'] === 'created') return bringToken(world, plan)
  const capture = order.purchase_units[0].payments?.captures?.at(-1)
  if (capture && input['dispute'] !== undefined) return dispute(world, { capture, order }, input['dispute'])
  if (capture?.status === 'PENDING') {
    decideCapture(world, capture, order, input.outcome === 'succeeded')
    return order
  }
  const is_approvable = order.status === 'CREATED' || order.status === 'PAYER_ACTION_REQUIRED'
  const { reason } = input
  if (input.outcome === 'canceled') {
    if (order.status !== 'APPROVED' && !is_approvable) throw wrongState(order.id, order.status)
    if (reason === undefined) die(world, plan)
    else if (reason === 'DECLINED' || DECLINES.includes(reason)) approve(world, plan, reason)
    else throw new ControlError(400, 'bad_reason', `One of DECLINED, ${DECLINES.join(', ')}.`)
    return order
  }
  // Whoever was declined goes back to the same page and chooses another way to pay.
  const is_declined = order.status === 'APPROVED' && plan.outcome !== undefined
  if (!is_approvable && !is_declined) throw wrongState(order.id, order.status)
  if ((order.intent === 'AUTHORIZE') !== (input.outcome === 'authorized')) {
    throw new ControlError(400, 'bad_outcome', 'An order authorizes if and only if its intent says so.')
  }
  approve(world, plan)
  return order
}
