import { eventTypes, type Events } from '#kernel/events'
import { recordWebhookEvents, type NotificationsKit } from '#modules/notifications'
import { fulfilOrders, restoreAfterRefund, revokeForRefund, type OrdersKit } from '#modules/orders'
import { paymentEvents } from '#modules/payments'

/**
 * Who reacts to which event: every flow that crosses modules, on one page.
 * `within` is true together with the event or not at all; `after` tells the world, at least once, repeatable.
 */
export function wireReactions(
  events: Events,
  kits: { orders: OrdersKit; notifications: NotificationsKit },
): void {
  // Paid and granted are one fact.
  events.within(paymentEvents.paymentSucceeded, (tx, payments) => fulfilOrders(tx, kits.orders, payments))
  // What a refund is for is taken back before the vendor is asked, so it cannot be spent meanwhile.
  events.within(paymentEvents.refundRequested, (tx, refunds) => revokeForRefund(tx, kits.orders, refunds))
  // A refused refund leaves the customer as he was.
  events.within(paymentEvents.refundFailed, (tx, refunds) => restoreAfterRefund(tx, kits.orders, refunds))
  // What the owner's app is told is written down together with what it is told of; it is sent afterwards.
  for (const type of eventTypes()) {
    events.within(type, (tx, payloads) => recordWebhookEvents(tx, kits.notifications, type.name, payloads))
  }
}
