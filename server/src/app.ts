import type { FastifyInstance } from 'fastify'
import { createServer } from '#http/server'
import { drainServer } from '#http/shutdown'
import type { RouteKit } from '#http/routing'
import { databaseClock, type Clock } from '#kernel/clock'
import { createCoalescer } from '#kernel/coalesce'
import { createDb, type Db } from '#kernel/db'
import { createEvents, type Events } from '#kernel/events'
import { deleteOldKeys } from '#kernel/idempotency-queries'
import { createJobQueue } from '#kernel/job-queue'
import type { JobQueue } from '#kernel/jobs'
import type { Limits } from '#kernel/limits'
import type { Log } from '#kernel/log'
import { createLoop, type Loop } from '#kernel/loop'
import { createCursors } from '#kernel/page'
import type { SecretBox } from '#kernel/secrets'
import { startClock } from '#kernel/test-clock'
import {
  adminRoutes,
  approvalRoutes,
  expireApprovals,
  personalDataRoutes,
  refuseAloneBy,
} from '#modules/admin'
import { catalogRoutes } from '#modules/catalog'
import {
  createCustomerResolver,
  customerRoutes,
  organizationRoutes,
  type CustomerResolver,
  type SharedBooks,
} from '#modules/customers'
import { auditWriter, createAuthenticator, identityRoutes, type Authenticator } from '#modules/identity'
import {
  createLedgerKit,
  ledgerRoutes,
  listWallets,
  spendWithin,
  startLedger,
  stopLedger,
  sweepExpiries,
  sweepHolds,
  type LedgerKit,
} from '#modules/ledger'
import { forgetOldEvents, notificationRoutes, type NotificationsKit } from '#modules/notifications'
import {
  expireOrders,
  orderRoutes,
  settlePrepayments,
  type FiscalSettings,
  type OrdersKit,
  type PaidAgainPolicy,
} from '#modules/orders'
import {
  addGatewayMetrics,
  checkPayments,
  checkRefunds,
  checkVendorSubscriptions,
  createGateways,
  drainInbox,
  forgetMethods,
  isPayable,
  loadGatewayFiles,
  paymentRoutes,
  reconcileDay,
  sandboxRoutes,
  sendReceipts,
  storeEvents,
  type OrderRule,
  type PaymentsKit,
  type StoreEvents,
} from '#modules/payments'
import { usageRoutes } from '#modules/usage'
import { botGenericAdminRoutes } from './facades/bot-generic-admin.ts'
import { botGenericRoutes } from './facades/bot-generic.ts'
import { mutualCheckRoutes } from './facades/mutual-check.ts'
import { rustorePointsRoutes } from './facades/rustore-points.ts'
import { screphAdminRoutes } from './facades/screph-admin.ts'
import { screphRoutes } from './facades/screph.ts'
import { openLimits, type LimitSettings } from './app-limits.ts'
import { assemblePeople, type PeopleApp, type PeopleAppSettings } from './app-people.ts'
import { createNotifications } from './outgoing.ts'
import { wireReactions } from './reactions.ts'

export type Role = 'api' | 'worker'

/** Everything a process needs to know to run; made by `config.ts`, or by a test. */
export interface AppSettings {
  database_url: string
  mode: 'sandbox' | 'live'
  roles: readonly Role[]
  host: string
  port: number
  /** Where the world reaches this server; empty: the address it listens on. */
  base_url: string
  /** 32 bytes that sign cursors. */
  cursor_key: Buffer
  /** Seals secrets that lie in the database. */
  box: SecretBox
  gateways: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** The owner's rules of which gateway is chosen; absent: as they are set up. */
  gateway_order?: readonly OrderRule[] | undefined
  extension_folders: readonly string[]
  return_url_origins: readonly string[]
  /** Networks outgoing webhooks may reach although they are not public. */
  webhook_networks: readonly string[]
  cors_origins: readonly string[]
  trusted_proxies: readonly string[]
  anonymous_per_minute: number
  /** Default: in the database. */
  limits?: LimitSettings | undefined
  metrics_token?: string | undefined
  spend_lanes?: number | undefined
  spend_batch_max?: number | undefined
  fiscal: FiscalSettings
  /** What is done with a link that was paid once more. */
  paid_again?: PaidAgainPolicy | undefined
  people?: PeopleAppSettings | undefined
  version: string
  log: Log
  /** For tests: a clock of their own instead of the database's. */
  clock?: Clock
  /** Work to be done before anybody is answered, e.g. filling a shop. */
  prepare?: (parts: Pick<App, 'db' | 'kit' | 'http'>) => Promise<void>
}

export interface App {
  base_url: string
  http: FastifyInstance
  db: Db
  kit: RouteKit
  ledger: LedgerKit
  payments: PaymentsKit
  orders: OrdersKit
  jobs: JobQueue
  people: PeopleApp['routes']
  /** Adds every route of the program to another server; for tests of who may call what. */
  addRoutes: (http: FastifyInstance) => void
  /** Handles every notification that waits; for tests and drills. */
  drain: () => Promise<void>
  stop(): Promise<void>
}

/**
 * Puts a process together: database → clock → gateways → reactions → HTTP and worker. The database is
 * migrated already. Everything it starts is stopped by `stop`, in the opposite order.
 */
export async function startApp(settings: AppSettings): Promise<App> {
  const { log, mode, spend_lanes: lanes, spend_batch_max: batch_max } = settings
  const { db, clock, stopClock } = await openDatabase(settings)
  const jobs = createJobQueue({ db, clock, log })
  const events = createEvents(jobs)
  const address = { base_url: settings.base_url }
  const payments = await paymentsKit(settings, { db, clock, events, address })
  const limits = await openLimits(db, settings.limits ?? { store: 'database' }, { clock, log })
  const orders = ordersKit(settings, payments, limits)
  const { kit: notifications, dispatcher } = createNotifications(db, settings, { clock, events })
  const people = assemblePeople(db, settings, { clock, events, jobs, limits, address })
  wireReactions(events, { clock, orders, notifications })
  const ledger = createLedgerKit(db, clock, { lanes, batch_max })
  const kit = routeKit(settings, db, clock)
  const authenticator = keyAuthenticator(db, settings, clock)
  const resolver = createCustomerResolver(db)
  const inbox_loop = inboxLoop(db, payments, log)
  const inbox = inboxStore(db, settings.roles.includes('worker') ? inbox_loop : undefined)
  const http = await openHttp(settings, kit, people.authenticate(authenticator.authenticate), jobs)
  addGatewayMetrics(http.metrics, payments.gateways)
  const parts = { mode, ledger, payments, orders, notifications, store: inbox.store, resolver, people }
  addRoutes(http, kit, parts)
  await people.wireJobs()
  await wireJobs(jobs, { db, clock, ledger, payments, orders, notifications, kit })
  await Promise.all([startLedger(ledger), jobs.start({ worker: settings.roles.includes('worker') })])
  if (settings.roles.includes('worker')) {
    await events.startWorkers(jobs)
    inbox_loop.start()
    dispatcher.start()
  }
  await settings.prepare?.({ db, kit, http })
  if (settings.roles.includes('api')) {
    const listening = await http.listen({ host: settings.host, port: settings.port })
    if (address.base_url === '') address.base_url = listening
  }
  const stop = inOrder([
    () => drainServer(http),
    inbox.stop,
    inbox_loop.stop,
    () => jobs.stop(),
    () => dispatcher.stop(),
    () => stopLedger(ledger),
    () => authenticator.stop(),
    () => people.stop(),
    () => resolver.close(),
    () => limits.stop(),
    stopClock,
    () => db.close(),
  ])
  return {
    base_url: address.base_url,
    http,
    db,
    kit,
    ledger,
    payments,
    orders,
    jobs,
    people: people.routes,
    addRoutes: (other) => addRoutes(other, kit, parts),
    drain: async () => {
      while ((await drainInbox(db, payments)) > 0);
    },
    stop,
  }
}

function routeKit({ cursor_key }: AppSettings, db: Db, clock: Clock): RouteKit {
  return {
    db,
    clock,
    cursors: createCursors(cursor_key),
    audit: auditWriter(clock),
    refuseAlone: refuseAloneBy(clock),
  }
}

/** The database and the time everything goes by: the database's own, unless a test brings another. */
async function openDatabase(settings: AppSettings): Promise<{ db: Db; clock: Clock; stopClock: () => void }> {
  const { log } = settings
  const db = createDb({
    url: settings.database_url,
    on_error: (error) => log.warn({ error }, 'a database connection was lost'),
  })
  if (settings.clock) return { db, clock: settings.clock, stopClock: () => undefined }
  const { clock, stop } = await startClock(db, settings.mode, databaseClock())
  return { db, clock, stopClock: stop }
}

function keyAuthenticator(db: Db, { mode, log }: AppSettings, clock: Clock): Authenticator {
  const on_error = (error: unknown) => log.warn({ error }, 'keys could not be looked after')
  return createAuthenticator(db, { clock, mode, on_error })
}

/** Ends things one after the other, once, however often it is asked. */
function inOrder(steps: readonly (() => unknown)[]): () => Promise<void> {
  let ending: Promise<void> | undefined
  const end = async (): Promise<void> => {
    for (const step of steps) await step()
  }
  return () => (ending ??= end())
}

/** Loads what `startApp` would load by itself; to be done while a database is still starting. */
export async function loadAhead(): Promise<void> {
  await loadGatewayFiles([])
}

/** Loads every gateway file and sets up those that have settings. */
async function paymentsKit(
  settings: AppSettings,
  { db, clock, events, address }: { db: Db; clock: Clock; events: Events; address: { base_url: string } },
): Promise<PaymentsKit> {
  const { log, mode } = settings
  const gateways = createGateways(await loadGatewayFiles(settings.extension_folders), {
    clock,
    mode,
    base_url: () => address.base_url,
    log_refused: (gateway, reason) => log.warn({ gateway, reason }, 'a gateway is not used'),
    isPayable: (payment_id) => isPayable(db, clock, payment_id),
    rules: settings.gateway_order ?? [],
    on_breaker: (gateway, { state, reason, failures }) => {
      if (state === 'closed') log.info({ gateway }, 'a gateway answers again')
      else log.error({ gateway, reason, failures }, 'a gateway does not answer; payments go elsewhere')
    },
  })
  for (const [id, values] of Object.entries(settings.gateways)) gateways.configure(id, values)
  const fiscal_gateways = settings.fiscal.gateways
  return {
    clock,
    events,
    gateways,
    fiscal_gateways,
    notice: (message, facts) => log.warn(facts, message),
  }
}

function ordersKit(settings: AppSettings, payments: PaymentsKit, limits: Limits): OrdersKit {
  const isReturnUrlAllowed = returnUrlCheck(settings)
  const { fiscal, paid_again = 'refund_second' } = settings
  return { clock: payments.clock, payments, limits, fiscal, paid_again, isReturnUrlAllowed }
}

function openHttp(
  settings: AppSettings,
  kit: RouteKit,
  authenticate: Parameters<typeof createServer>[0]['authenticate'],
  jobs: JobQueue,
): Promise<FastifyInstance> {
  return createServer({
    readiness: [{ name: 'jobs', check: async () => (await jobs.deadLetters(1)).length >= 0 }],
    kit,
    authenticate,
    log: settings.log,
    version: settings.version,
    base_url: settings.base_url,
    cors_origins: settings.cors_origins,
    trusted_proxies: settings.trusted_proxies,
    anonymous_per_minute: settings.anonymous_per_minute,
    metrics_token: settings.metrics_token,
  })
}

interface Parts {
  mode: 'sandbox' | 'live'
  ledger: LedgerKit
  payments: PaymentsKit
  orders: OrdersKit
  notifications: NotificationsKit
  store: StoreEvents
  resolver: CustomerResolver
  people: PeopleApp
}

/** Every route there is, but those the HTTP edge adds itself. */
function addRoutes(http: FastifyInstance, kit: RouteKit, parts: Parts): void {
  identityRoutes(http, kit, { mode: parts.mode })
  parts.people.addRoutes(http, kit)
  customerRoutes(http, kit)
  organizationRoutes(http, kit, sharedBooks(kit.clock))
  ledgerRoutes(http, kit, parts.ledger, parts.resolver)
  catalogRoutes(http, kit)
  paymentRoutes(http, kit, parts.payments, parts.store)
  sandboxRoutes(http, kit, parts.payments, parts.store)
  orderRoutes(http, kit, parts.orders)
  usageRoutes(http, kit)
  notificationRoutes(http, kit, parts.notifications)
  adminRoutes(http, kit, { mode: parts.mode })
  approvalRoutes(http, kit, parts.orders)
  personalDataRoutes(http, kit)
  screphRoutes(http, kit, { ...parts, people: parts.people.routes })
  botGenericRoutes(http, kit, parts.people.routes)
  mutualCheckRoutes(http, kit, parts)
  botGenericAdminRoutes(http, kit, parts.people.routes)
  rustorePointsRoutes(http, kit, { ...parts, people: parts.people.routes })
  screphAdminRoutes(http, kit)
}

/** Organizations share a customer's wallets; the books are above them. */
function sharedBooks(clock: Clock): SharedBooks {
  return {
    listWallets: (sql, customer_id) => listWallets(sql, clock, customer_id),
    spend: (tx, input) => spendWithin(tx, clock, input),
  }
}

/**
 * Bursts of notifications are stored together: one commit for as many as came while the last one was written.
 */
function inboxStore(db: Db, loop: Loop | undefined): { store: StoreEvents; stop: () => Promise<void> } {
  const write = storeEvents(db)
  const coalescer = createCoalescer<Parameters<StoreEvents>[0], undefined>({
    batch_max: 200,
    flush: async (batches) => {
      await write(batches.flat())
      loop?.wake()
      return batches.map(() => undefined)
    },
  })
  return {
    store: async (events) => {
      if (events.length > 0) await coalescer.add(events)
    },
    stop: () => coalescer.stop(),
  }
}

function inboxLoop(db: Db, payments: PaymentsKit, log: Log): Loop {
  return createLoop({
    work: async () => (await drainInbox(db, payments)) > 0,
    pause_ms: 500,
    on_error: (error) => log.error({ error }, 'the inbox could not be handled'),
  })
}

async function wireJobs(
  jobs: JobQueue,
  {
    db,
    clock,
    ledger,
    payments,
    orders,
    notifications,
    kit,
  }: {
    db: Db
    clock: Clock
    ledger: LedgerKit
    payments: PaymentsKit
    orders: OrdersKit
    notifications: NotificationsKit
    kit: RouteKit
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
  await jobs.schedule('idempotency.forget', '17 3 * * *', async (signal) => {
    // Sixty days: twice what is promised, and no ledger key is among them.
    const before = new Date(kit.clock.now_ms() - 60 * 86_400_000)
    while (!signal.aborted && (await db.transact((tx) => deleteOldKeys(tx, before, 5000))) > 0);
  })
  await jobs.schedule('webhooks.forget', '37 3 * * *', async (signal) => {
    while (!signal.aborted && (await db.transact((tx) => forgetOldEvents(tx, notifications, 5000))) > 0);
  })
}

/** An empty list allows any https address, and plain http in the sandbox. */
function returnUrlCheck(settings: AppSettings): (url: string) => boolean {
  const origins = new Set(settings.return_url_origins)
  return (text) => {
    const url = URL.parse(text)
    if (!url) return false
    if (origins.size > 0) return origins.has(url.origin)
    return url.protocol === 'https:' || settings.mode === 'sandbox'
  }
}
