import type { Forgery, Notification } from '../emulator.ts'
import { toAmount } from './money.ts'
import { newId } from './objects.ts'
import type { Payment, PaymentMethod, Refund, World } from './objects.ts'

export type EventName =
  | 'payment.waiting_for_capture'
  | 'payment.succeeded'
  | 'payment.canceled'
  | 'payment_method.active'
  | 'refund.succeeded'

/** Tells the merchant; the object is copied as it is at this moment. There is no signature of any kind. */
export function tell(world: World, event: EventName, object: Payment | Refund | PaymentMethod): void {
  world.kit.notify(notification(event, object))
}

function notification(event: EventName, object: { id: string }): Notification {
  return {
    object_id: object.id,
    event,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'notification', event, object }),
  }
}

/**
 * Lies anyone could send, since nothing is signed: success of an unpaid payment, another amount, another
 * order, the other mode, an unknown object, a refund that never was. About an unknown id: none.
 */
export function forge(world: World, object_id: string, real: Notification | undefined): Forgery[] {
  const refund = world.refunds.get(object_id)?.wire
  const record = world.payments.get(refund?.payment_id ?? object_id)
  if (!record) return []
  const payment = record.wire
  const paid = paidCopy(world, payment)
  const lie = (event: EventName, object: Payment | Refund, note: string): Forgery => ({
    ...notification(event, object),
    note,
  })
  const claim =
    payment.status === 'succeeded'
      ? lie('refund.succeeded', inventedRefund(world, payment), 'no such refund')
      : lie('payment.succeeded', paid, 'not paid')
  if (real === undefined) return [claim]
  const more = toAmount(record.amount * 100n, payment.amount.currency)
  const metadata = Object.fromEntries(
    Object.entries(payment.metadata).map(([key, value]) => [key, `${value}-forged`]),
  )
  const lies = [
    claim,
    lie('payment.succeeded', { ...paid, amount: more, income_amount: more }, 'amount times 100'),
    lie('payment.succeeded', { ...paid, metadata }, 'metadata of another order'),
    lie('payment.succeeded', { ...paid, id: newId(world.kit) }, 'unknown payment'),
    lie('payment.succeeded', { ...paid, test: !payment.test }, 'the other mode'),
  ]
  if (payment.status === 'canceled') return lies
  const canceled = { ...payment, status: 'canceled' as const, paid: false }
  return [...lies, lie('payment.canceled', canceled, 'not canceled')]
}

function inventedRefund(world: World, payment: Payment): Refund {
  const created_at = world.kit.now().toISOString()
  const { amount } = payment
  return { id: newId(world.kit), payment_id: payment.id, status: 'succeeded', created_at, amount }
}

function paidCopy(world: World, payment: Payment): Payment {
  const now = world.kit.now().toISOString()
  const { confirmation: _, cancellation_details: __, ...rest } = payment
  return { ...rest, status: 'succeeded', paid: true, refundable: true, captured_at: now }
}
