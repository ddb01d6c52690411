import { ControlError, wrongState } from '../emulator.ts'
import type { CompleteInput } from '../emulator.ts'
import { newId, seconds } from './objects.ts'
import type { Dispute, Intent, Session, SessionPlan, World } from './objects.ts'
import {
  cancelIntent,
  captureIntent,
  declineIntent,
  declineOf,
  expireSession,
  payOnPage,
  settleIntent,
} from './payments.ts'
import { tell } from './webhooks.ts'

/** The control API's `complete` for a page. */
export function completeSession(world: World, plan: SessionPlan, input: CompleteInput): Session {
  const { session } = plan
  const intent = session.payment_intent ? world.intents.get(session.payment_intent) : undefined
  if (intent && session.status === 'complete') {
    completeIntent(world, intent, input)
    return session
  }
  if (session.status !== 'open') throw wrongState(session.id, session.status)
  if (input.outcome === 'canceled') {
    if (input.reason === undefined) return expireSession(world, session)
    payOnPage(world, plan, { decline: declineOf(input.reason) })
    return session
  }
  const is_manual = plan.intent.capture_method === 'manual'
  if (is_manual !== (input.outcome === 'authorized')) {
    throw new ControlError(
      400,
      'bad_outcome',
      'A page authorizes if and only if its capture_method is manual.',
    )
  }
  const { card_number, is_delayed } = input
  payOnPage(world, plan, {
    ...(typeof card_number === 'string' ? { card_number } : {}),
    is_delayed: is_delayed === true,
  })
  return session
}

/** The control API's `complete` for an intent: slow ones end, held ones are taken or let go; disputes. */
export function completeIntent(world: World, intent: Intent, input: CompleteInput): Intent | Dispute {
  if (input['dispute'] !== undefined) return dispute(world, intent, input['dispute'])
  if (intent.status === 'requires_capture') {
    return input.outcome === 'succeeded'
      ? captureIntent(world, intent, undefined)
      : cancelIntent(world, intent, 'automatic')
  }
  if (intent.status !== 'processing') throw wrongState(intent.id, intent.status)
  const session = [...world.sessions.values()].find(
    (plan) => plan.session.payment_intent === intent.id,
  )?.session
  const method = world.methods.get(intent.payment_method ?? '')
  if (!session || !method) throw wrongState(intent.id, intent.status)
  if (input.outcome === 'succeeded') {
    settleIntent(world, intent, method)
    session.payment_status = 'paid'
    tell(world, 'checkout.session.async_payment_succeeded', session)
  } else {
    declineIntent(world, intent, declineOf(input.reason ?? 'insufficient_funds'))
    tell(world, 'checkout.session.async_payment_failed', session)
  }
  return intent
}

function dispute(world: World, intent: Intent, step: unknown): Dispute {
  const charge = intent.latest_charge ? world.charges.get(intent.latest_charge) : undefined
  const known = [...world.disputes.values()].find(({ payment_intent }) => payment_intent === intent.id)
  if (step === 'open' && charge && intent.status === 'succeeded' && !known) {
    const made: Dispute = {
      id: newId(world, 'du'),
      object: 'dispute',
      amount: charge.amount_captured - charge.amount_refunded,
      charge: charge.id,
      created: seconds(world),
      currency: charge.currency,
      livemode: charge.livemode,
      metadata: {},
      payment_intent: intent.id,
      reason: 'fraudulent',
      status: 'needs_response',
    }
    charge.disputed = true
    world.disputes.add(made.id, made)
    tell(world, 'charge.dispute.created', made)
    return made
  }
  if ((step === 'won' || step === 'lost') && known?.status === 'needs_response') {
    known.status = step
    tell(world, 'charge.dispute.closed', known)
    return known
  }
  throw wrongState(intent.id, known?.status ?? intent.status)
}
