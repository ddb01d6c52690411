import { setTimeout as pause } from 'node:timers/promises'
import type { RouteKit } from '#http/routing'
import type { Clock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import { deleteOldKeys } from '#kernel/idempotency-queries'
import type { JobQueue } from '#kernel/jobs'
import { expireApprovals, type BookWatch } from '#modules/admin'
import { sweepExpiries, sweepHolds, type LedgerKit } from '#modules/ledger'
import { forgetOldEvents, type NotificationsKit } from '#modules/notifications'
import { expireOrders, settlePrepayments, type OrdersKit } from '#modules/orders'
import {
  checkPayments,
  checkRefunds,
  checkVendorSubscriptions,
  forgetMethods,
  reconcileDay,
  sendReceipts,
  type PaymentsKit,
} from '#modules/payments'

/** Sets up what is done again and again, and at times of the day. */
export async function wireJobs(
  jobs: JobQueue,
  {
    db,
    clock,
    ledger,
    payments,
    orders,
    notifications,
    kit,
    watch,
  }: {
    db: Db
    clock: Clock
    ledger: LedgerKit
    payments: PaymentsKit
    orders: OrdersKit
    notifications: NotificationsKit
    kit: RouteKit
    /** Absent: nobody looks by himself. */
    watch: Watch | undefined
  },
): Promise<void> {
  await jobs.every('payments.check', 2, async () => {
    await checkPayments(db, payments)
  })
  await jobs.every('refunds.check', 2, async () => {
    await checkRefunds(db, payments)
  })
  await jobs.every('payment_methods.forget', 5, async () => {
    await forgetMethods(db, payments)
  })
  // Hourly in the morning: a gateway that could not be asked is asked again, what was compared is not.
  await jobs.schedule('payments.reconcile', '23 4-9 * * *', async () => {
    await reconcileDay(db, payments)
  })
  await jobs.every('receipts.send', 2, async () => {
    await sendReceipts(db, payments)
  })
  await jobs.every('receipts.offset', 15, async () => {
    await settlePrepayments(db, orders)
  })
  await jobs.every('vendor_subscriptions.check', 60, async () => {
    await checkVendorSubscriptions(db, payments)
  })
  await jobs.every('holds.expire', 2, async () => {
    await sweepHolds(ledger)
  })
  await jobs.every('grants.expire', 2, async () => {
    await sweepExpiries(ledger)
  })
  await jobs.every('orders.expire', 15, async () => {
    await db.transact((tx) => expireOrders(tx, clock, 500))
    await db.transact((tx) => expireApprovals(tx, clock))
  })
  if (watch !== undefined) await wireWatch(jobs, watch)
  await jobs.schedule('idempotency.forget', '17 3 * * *', async (signal) => {
    // Sixty days: twice what is promised, and no ledger key is among them.
    const before = new Date(kit.clock.now_ms() - 60 * 86_400_000)
    while (!signal.aborted && (await db.transact((tx) => deleteOldKeys(tx, before, 5000))) > 0);
  })
  await jobs.schedule('webhooks.forget', '37 3 * * *', async (signal) => {
    while (!signal.aborted && (await db.transact((tx) => forgetOldEvents(tx, notifications, 5000))) > 0);
  })
}

interface Watch {
  books: BookWatch
  seconds: number
}

async function wireWatch(jobs: JobQueue, { books, seconds }: Watch): Promise<void> {
  await jobs.every('books.verify', seconds, async (signal) => {
    // Not at the start: that has other things to do.
    await pause(seconds * 1000, undefined, { signal, ref: false }).catch(() => undefined)
    if (!signal.aborted) await books.look()
  })
}
