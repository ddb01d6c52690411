import { addCapture } from './orders.ts'
import { newId, notFound, nowText, readMoney, unprocessable, writeMoney } from './objects.ts'
import type { Authorization, Capture, Dispute, Money, Order, Refund, World } from './objects.ts'
import { wrongState } from '../emulator.ts'
import { tell } from './webhooks.ts'

export interface Taken {
  capture: Capture
  order: Order
}

/** `POST /v2/payments/authorizations/{id}/capture`: the whole or less, once. */
export function captureAuthorization(world: World, id: string, body: { amount?: Money }): Capture {
  const { authorization, order } = heldAuthorization(world, id)
  const amount = body.amount ?? authorization.amount
  if (amount.currency_code !== authorization.amount.currency_code) throw unprocessable('CURRENCY_MISMATCH')
  if (readMoney(amount, 'amount') > readMoney(authorization.amount, 'amount'))
    throw unprocessable('MAX_CAPTURE_AMOUNT_EXCEEDED', 'amount')
  authorization.status = 'CAPTURED'
  authorization.update_time = nowText(world)
  const { capture_outcome } = world.kit.settings()
  return addCapture(world, order, { amount, outcome: capture_outcome, authorization_id: id })
}

/** `POST …/void`. */
export function voidAuthorization(world: World, id: string): Authorization {
  const { authorization, order } = heldAuthorization(world, id)
  authorization.status = 'VOIDED'
  authorization.update_time = nowText(world)
  tell(world, 'PAYMENT.AUTHORIZATION.VOIDED', {
    resource_type: 'authorization',
    resource: authorization,
    object_id: order.id,
  })
  return authorization
}

function heldAuthorization(world: World, id: string): { authorization: Authorization; order: Order } {
  const found = world.authorizations.get(id)
  if (!found) throw notFound()
  if (found.authorization.status === 'VOIDED') throw unprocessable('AUTHORIZATION_VOIDED')
  if (found.authorization.status === 'CAPTURED') throw unprocessable('AUTHORIZATION_ALREADY_CAPTURED')
  return found
}

export interface RefundBody {
  amount?: Money
  custom_id?: string
  invoice_id?: string
  note_to_payer?: string
}

/** `POST /v2/payments/captures/{id}/refund`: no body is all that is left. */
export function createRefund(world: World, id: string, body: RefundBody): Refund {
  const taken = world.captures.get(id)
  if (!taken) throw notFound()
  const { capture } = taken
  if (capture.status === 'PENDING') throw unprocessable('PENDING_CAPTURE')
  if (capture.status === 'REFUNDED') throw unprocessable('CAPTURE_FULLY_REFUNDED')
  if (capture.status === 'DECLINED') throw unprocessable('INVALID_RESOURCE_ID')
  const left = readMoney(capture.amount, 'amount') - refundedOf(world, capture)
  const { currency_code } = capture.amount
  const amount = body.amount ?? writeMoney(left, currency_code)
  if (amount.currency_code !== currency_code) throw unprocessable('CURRENCY_MISMATCH', 'amount')
  if (readMoney(amount, 'amount') > left) throw unprocessable('REFUND_AMOUNT_EXCEEDED', 'amount')
  const { refund_outcome } = world.kit.settings()
  const refund = addRefund(world, taken, { ...body, amount })
  refund.status = refund_outcome === 'PENDING' || refund_outcome === 'FAILED' ? refund_outcome : 'COMPLETED'
  announce(world, refund, taken)
  return refund
}

/** A refund that waited ends. */
export function decideRefund(world: World, refund: Refund, taken: Taken, is_done: boolean): Refund {
  if (refund.status !== 'PENDING') throw wrongState(refund.id, refund.status)
  refund.status = is_done ? 'COMPLETED' : 'FAILED'
  refund.update_time = nowText(world)
  announce(world, refund, taken)
  return refund
}

function addRefund(world: World, { capture, order }: Taken, body: RefundBody & { amount: Money }): Refund {
  const id = newId(world)
  const at = nowText(world)
  const base = `${world.kit.base_url()}/v2/payments`
  const refund: Refund = {
    id,
    status: 'COMPLETED',
    ...body,
    create_time: at,
    update_time: at,
    links: [
      { href: `${base}/refunds/${id}`, rel: 'self', method: 'GET' },
      { href: `${base}/captures/${capture.id}`, rel: 'up', method: 'GET' },
    ],
  }
  const unit = order.purchase_units[0]
  unit.payments = { ...unit.payments, refunds: [...(unit.payments?.refunds ?? []), refund] }
  world.refunds.add(id, { refund, capture, order })
  return refund
}

function announce(world: World, refund: Refund, { capture, order }: Taken): void {
  const given = refundedOf(world, capture)
  capture.status =
    given === 0n
      ? 'COMPLETED'
      : given < readMoney(capture.amount, 'amount')
        ? 'PARTIALLY_REFUNDED'
        : 'REFUNDED'
  const type = refund.status === 'COMPLETED' ? 'PAYMENT.CAPTURE.REFUNDED' : `PAYMENT.REFUND.${refund.status}`
  tell(world, type, { resource_type: 'refund', resource: refund, object_id: order.id })
}

/** What was given back or may yet be. */
function refundedOf(world: World, capture: Capture): bigint {
  const own = [...world.refunds.values()].filter((held) => held.capture.id === capture.id)
  return own
    .filter(({ refund }) => refund.status !== 'FAILED')
    .reduce((sum, { refund }) => sum + readMoney(refund.amount, 'amount'), 0n)
}

/** The control API's `dispute`: open, won, lost; or `reversed`, which nobody announces. */
export function dispute(world: World, { capture, order }: Taken, step: unknown): Dispute | Capture {
  const known = [...world.disputes.values()].find(
    ({ disputed_transactions }) => disputed_transactions[0]?.seller_transaction_id === capture.id,
  )
  const is_taken = capture.status === 'COMPLETED' || capture.status === 'PARTIALLY_REFUNDED'
  if (step === 'reversed' && is_taken) {
    reverse(world, { capture, order })
    return capture
  }
  if (step === 'open' && is_taken && !known) return openDispute(world, { capture, order })
  if ((step === 'won' || step === 'lost') && known?.status === 'OPEN') {
    known.status = 'RESOLVED'
    known.update_time = nowText(world)
    known.dispute_outcome = {
      outcome_code: step === 'won' ? 'RESOLVED_SELLER_FAVOUR' : 'RESOLVED_BUYER_FAVOUR',
    }
    if (step === 'lost') reverse(world, { capture, order })
    tellDispute(world, 'RESOLVED', known, order)
    return known
  }
  throw wrongState(capture.id, known?.status ?? capture.status)
}

function openDispute(world: World, { capture, order }: Taken): Dispute {
  const at = nowText(world)
  const made: Dispute = {
    dispute_id: `PP-D-${world.kit.random.string(6, '123456789')}`,
    create_time: at,
    update_time: at,
    disputed_transactions: [{ seller_transaction_id: capture.id }],
    reason: 'UNAUTHORISED',
    status: 'OPEN',
    dispute_amount: capture.amount,
    dispute_life_cycle_stage: 'INQUIRY',
  }
  world.disputes.add(made.dispute_id, made)
  tellDispute(world, 'CREATED', made, order)
  return made
}

/** The money leaves the account; the vendor tells of an object in the form of a refund. */
function reverse(world: World, { capture, order }: Taken): void {
  const href = `${world.kit.base_url()}/v2/payments/captures/${capture.id}`
  const resource = {
    id: newId(world),
    status: 'COMPLETED',
    amount: capture.amount,
    custom_id: capture.custom_id,
    links: [{ href, rel: 'up', method: 'GET' }],
  }
  tell(world, 'PAYMENT.CAPTURE.REVERSED', { resource_type: 'refund', resource, object_id: order.id })
}

function tellDispute(world: World, word: string, made: Dispute, order: Order): void {
  tell(world, `CUSTOMER.DISPUTE.${word}`, {
    resource_type: 'dispute',
    resource: made,
    object_id: order.id,
  })
}
