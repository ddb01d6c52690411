import { wrongState } from '../emulator.ts'
import type { CompleteInput } from '../emulator.ts'
import { invalid, missing, newId, seconds } from './objects.ts'
import type { Charge, Refund, World } from './objects.ts'
import { tell } from './webhooks.ts'

export interface RefundBody {
  payment_intent?: string
  charge?: string
  amount?: number
  reason?: string
  metadata?: Record<string, string>
}

/** `POST /v1/refunds`. Refunds under way count as given back. Throws VendorError 400 and 404. */
export function createRefund(world: World, body: RefundBody): Refund {
  const charge = chargeOf(world, body)
  const rest = charge.amount_captured - charge.amount_refunded
  if (rest === 0) throw invalid('The charge has already been refunded', { code: 'charge_already_refunded' })
  const amount = body.amount ?? rest
  if (amount < 1)
    throw invalid('Invalid positive integer', { code: 'parameter_invalid_integer', param: 'amount' })
  if (amount > rest) {
    throw invalid(`The refund of ${amount} is greater than unrefunded amount on charge (${rest})`, {
      param: 'amount',
    })
  }
  const { refund_outcome } = world.kit.settings()
  const refund: Refund = {
    id: newId(world, 're'),
    object: 'refund',
    amount,
    charge: charge.id,
    created: seconds(world),
    currency: charge.currency,
    metadata: body.metadata ?? {},
    payment_intent: charge.payment_intent,
    reason: body.reason ?? null,
    status: refund_outcome === 'pending' ? 'pending' : 'succeeded',
  }
  world.refunds.add(refund.id, refund)
  charge.amount_refunded += amount
  charge.refunded = charge.amount_refunded === charge.amount_captured
  tell(world, 'refund.created', refund)
  tell(world, 'charge.refunded', charge)
  if (refund_outcome === 'failed') fail(world, refund, charge)
  return refund
}

/** The control API's `complete` for a refund: one under way succeeds, any may still fail. */
export function completeRefund(world: World, refund: Refund, input: CompleteInput): Refund {
  const charge = world.charges.get(refund.charge)
  if (!charge || refund.status === 'failed') throw wrongState(refund.id, refund.status)
  if (input.outcome === 'canceled') fail(world, refund, charge)
  else if (refund.status === 'pending') {
    refund.status = 'succeeded'
    tell(world, 'refund.updated', refund)
  } else throw wrongState(refund.id, refund.status)
  return refund
}

function fail(world: World, refund: Refund, charge: Charge): void {
  refund.status = 'failed'
  refund.failure_reason = 'expired_or_canceled_card'
  charge.amount_refunded -= refund.amount
  charge.refunded = false
  tell(world, 'refund.failed', refund)
}

function chargeOf(world: World, body: RefundBody): Charge {
  if (body.charge !== undefined) {
    const charge = world.charges.get(body.charge)
    if (!charge) throw missing('charge', body.charge)
    return charge
  }
  if (body.payment_intent === undefined)
    throw invalid('payment_intent or charge is needed', { param: 'payment_intent' })
  const intent = world.intents.get(body.payment_intent)
  if (!intent) throw missing('payment_intent', body.payment_intent)
  const charge = intent.latest_charge ? world.charges.get(intent.latest_charge) : undefined
  if (!charge || intent.status !== 'succeeded') {
    throw invalid('This PaymentIntent has no successful charge to refund', { param: 'payment_intent' })
  }
  return charge
}
