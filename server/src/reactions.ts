import type { Clock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { eventTypes, type Events } from '#kernel/events'
import {
  extendForCustomers,
  followLink,
  followUnlink,
  followUser,
  giveCustomers,
  mergeCustomer,
} from '#modules/customers'
import { identityEvents, type BenefitKit } from '#modules/identity'
import { mergeWallets } from '#modules/ledger'
import { recordWebhookEvents, type NotificationsKit } from '#modules/notifications'
import {
  fulfilOrders,
  fulfilVendorPeriods,
  restoreAfterRefund,
  revokeForRefund,
  type OrdersKit,
} from '#modules/orders'
import { moveVendorSubscriptions, paymentEvents } from '#modules/payments'

/**
 * Who reacts to which event: every flow that crosses modules, on one page.
 * `within` is true together with the event or not at all; `after` tells the world, at least once, repeatable.
 */
export function wireReactions(
  events: Events,
  kits: { clock: Clock; orders: OrdersKit; notifications: NotificationsKit; benefits: BenefitKit },
): void {
  const { clock, benefits } = kits
  // Whoever can sign in owns wallets and orders from the first moment.
  events.within(identityEvents.userCreated, (tx, users) => giveCustomers(tx, clock, users))
  events.within(identityEvents.userChanged, (tx, changes) => followUser(tx, clock, changes))
  events.within(identityEvents.identityLinked, (tx, links) => followLink(tx, clock, links))
  // Whoever is known by more than before was given once by all of it.
  const extend = (tx: Tx, people: readonly { customer_id: string }[]): Promise<void> =>
    extendForCustomers(
      tx,
      benefits,
      people.map(({ customer_id }) => customer_id),
    )
  events.within(identityEvents.userChanged, extend)
  events.within(identityEvents.identityLinked, extend)
  events.within(identityEvents.identityUnlinked, (tx, links) => followUnlink(tx, clock, links))
  // Two users who are one person have one customer, with every grant of both.
  events.within(identityEvents.userMerged, async (tx, merges) => {
    for (const { from_customer_id, into_customer_id } of merges) {
      if (from_customer_id === null || from_customer_id === into_customer_id) continue
      await mergeWallets(tx, clock, { from_customer_id, to_customer_id: into_customer_id })
      await moveVendorSubscriptions(tx, clock, { from_customer_id, to_customer_id: into_customer_id })
      await mergeCustomer(tx, clock, { from_id: from_customer_id, into_id: into_customer_id })
    }
    const survivors = merges.map(({ into_customer_id }) => into_customer_id)
    await extendForCustomers(tx, benefits, survivors)
  })
  // Paid and granted are one fact.
  events.within(paymentEvents.paymentSucceeded, (tx, payments) => fulfilOrders(tx, kits.orders, payments))
  // What a vendor's subscription charged without a payment of ours becomes one, and grants.
  events.within(paymentEvents.vendorPeriodPaid, (tx, periods) =>
    fulfilVendorPeriods(tx, kits.orders, periods),
  )
  // What a refund is for is taken back before the vendor is asked, so it cannot be spent meanwhile.
  events.within(paymentEvents.refundRequested, (tx, refunds) => revokeForRefund(tx, kits.orders, refunds))
  // A contested payment takes its units away until it is won.
  events.within(paymentEvents.disputeOpened, (tx, disputes) => revokeForRefund(tx, kits.orders, disputes))
  events.within(paymentEvents.disputeWon, (tx, disputes) => restoreAfterRefund(tx, kits.orders, disputes))
  // A refused refund leaves the customer as he was.
  events.within(paymentEvents.refundFailed, (tx, refunds) => restoreAfterRefund(tx, kits.orders, refunds))
  // What the owner's app is told is written down together with what it is told of; it is sent afterwards.
  for (const type of eventTypes()) {
    events.within(type, (tx, payloads) => recordWebhookEvents(tx, kits.notifications, type.name, payloads))
  }
}
