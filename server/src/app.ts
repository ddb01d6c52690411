import type { FastifyInstance } from 'fastify'
import type { Metrics } from '#http/metrics'
import { createServer } from '#http/server'
import { drainServer } from '#http/shutdown'
import type { RouteKit } from '#http/routing'
import { databaseClock, type Clock } from '#kernel/clock'
import { createDb, type Db } from '#kernel/db'
import { createEvents, type Events } from '#kernel/events'
import { createJobQueue } from '#kernel/job-queue'
import type { JobQueue } from '#kernel/jobs'
import type { Limits } from '#kernel/limits'
import type { Log } from '#kernel/log'
import { createCursors } from '#kernel/page'
import type { SecretBox } from '#kernel/secrets'
import { startClock } from '#kernel/test-clock'
import { createBookWatch, refuseAloneBy, type BookWatch } from '#modules/admin'
import { createCustomerResolver } from '#modules/customers'
import { auditWriter, createAuthenticator, type Authenticator } from '#modules/identity'
import { createLedgerKit, startLedger, stopLedger, type LedgerKit } from '#modules/ledger'
import type { FiscalSettings, OrdersKit, PaidAgainPolicy } from '#modules/orders'
import {
  addGatewayMetrics,
  addInboxMetrics,
  createGateways,
  createInboxLoop,
  createInboxStore,
  drainInbox,
  isPayable,
  loadGatewayFiles,
  type OrderRule,
  type PaymentsKit,
} from '#modules/payments'
import { openLimits, type LimitSettings } from './app-limits.ts'
import { assemblePeople, type PeopleApp, type PeopleAppSettings } from './app-people.ts'
import { createNotifications } from './outgoing.ts'
import { wireReactions } from './reactions.ts'
import { wireJobs } from './app-jobs.ts'
import { addRoutes } from './app-routes.ts'

export type Role = 'api' | 'worker'

/** Everything a process needs to know to run; made by `config.ts`, or by a test. */
export interface AppSettings {
  database_url: string
  /** Fulfilled when our tables and those of the job queue are at this version; absent when they are. */
  migrated?: { books: Promise<unknown>; jobs: Promise<unknown> } | undefined
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
  /** How often the books are verified by themselves, in seconds; 0 is never. Default: 45. */
  verify_seconds?: number | undefined
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
 * Puts a process together: database → clock → gateways → reactions → HTTP and worker; the database is asked
 * for nothing before it is migrated. Everything it starts is stopped by `stop`, in the opposite order.
 */
export async function startApp(settings: AppSettings): Promise<App> {
  const { log, mode, spend_lanes: lanes, spend_batch_max: batch_max } = settings
  const { db, clock, followTime } = openDatabase(settings)
  const jobs = createJobQueue({ db, clock, log })
  const is_worker = settings.roles.includes('worker')
  const events = createEvents(jobs)
  const address = { base_url: settings.base_url }
  const payments = await paymentsKit(settings, { db, clock, events, address })
  const limits = await openLimits(db, settings.limits ?? { store: 'database' }, { clock, log })
  const orders = ordersKit(settings, payments, limits)
  const { kit: notifications, dispatcher } = createNotifications(db, settings, { clock, events })
  const people = assemblePeople(db, settings, { clock, events, jobs, limits, address })
  wireReactions(events, { clock, orders, notifications, benefits: { clock, box: settings.box } })
  const ledger = createLedgerKit(db, clock, { lanes, batch_max })
  const kit = routeKit(settings, db, clock)
  await people.wireJobs()
  const watch = watchBooks(db, settings, { clock, events })
  await wireJobs(jobs, { db, clock, ledger, payments, orders, notifications, kit, watch })
  const opening = openJobs(jobs, settings)
  const authenticator = keyAuthenticator(db, settings, clock)
  const resolver = createCustomerResolver(db)
  const inbox_loop = createInboxLoop(db, payments, log)
  const inbox = createInboxStore(db, () => (is_worker ? inbox_loop.wake() : undefined))
  const http = await openHttp(settings, kit, people.authenticate(authenticator.authenticate), jobs)
  addOwnMetrics(db, http.metrics, { payments, watch })
  const parts = { mode, ledger, payments, orders, notifications, store: inbox.store, resolver, people }
  addRoutes(http, kit, parts)
  await http.ready()
  await settings.migrated?.books
  const stopClock = await followTime()
  await Promise.all([openHot(ledger, settings), opening])
  await jobs.start({ worker: is_worker })
  if (is_worker) {
    await events.startWorkers(jobs)
    inbox_loop.start()
    dispatcher.start()
  }
  await settings.prepare?.({ db, kit, http })
  await listen(http, settings, address)
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

/**
 * It needs its own tables only, so that the server is put together meanwhile; fails where it is awaited.
 */
function openJobs(jobs: JobQueue, { migrated, roles }: AppSettings): Promise<void> {
  const ready = migrated?.jobs ?? Promise.resolve()
  const opening = ready.then(() => jobs.open({ worker: roles.includes('worker') }))
  opening.catch(() => undefined)
  return opening
}

/** A process that answers nobody has its hot connections when it needs them after all. */
async function openHot(ledger: LedgerKit, { roles }: AppSettings): Promise<void> {
  if (roles.includes('api')) await startLedger(ledger)
}

/** Opens the port of a process that answers requests; its address is ours where none was named. */
async function listen(
  http: FastifyInstance,
  { roles, host, port }: AppSettings,
  address: { base_url: string },
): Promise<void> {
  if (!roles.includes('api')) return
  const listening = await http.listen({ host, port })
  if (address.base_url === '') address.base_url = listening
}

/** A minute is promised between a row changed by hand and the alarm. */
const VERIFY_SECONDS = 45

function watchBooks(
  db: Db,
  { log, verify_seconds: seconds = VERIFY_SECONDS }: AppSettings,
  { clock, events }: { clock: Clock; events: Events },
): { books: BookWatch; seconds: number } | undefined {
  if (seconds === 0) return undefined
  return { books: createBookWatch(db, { clock, events, log }), seconds }
}

function addOwnMetrics(
  db: Db,
  metrics: Metrics,
  { payments, watch }: { payments: PaymentsKit; watch: ReturnType<typeof watchBooks> },
): void {
  addGatewayMetrics(metrics, payments.gateways)
  addInboxMetrics(db, metrics, payments.gateways)
  if (!watch) return
  const { books } = watch
  const help = 'Rows that break an invariant of the books or the audit log, at the last look of this process.'
  metrics.gauge('kopilka_findings', help, () => books.counts(), 'invariant')
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

/**
 * The database and the time everything goes by: the database's own, unless a test brings another. Followed
 * from `followTime` on, which answers what stops it.
 */
function openDatabase(settings: AppSettings): {
  db: Db
  clock: Clock
  followTime: () => Promise<() => void>
} {
  const { log } = settings
  const db = createDb({
    url: settings.database_url,
    on_error: (error) => log.warn({ error }, 'a database connection was lost'),
  })
  if (settings.clock) return { db, clock: settings.clock, followTime: async () => () => undefined }
  const clock = databaseClock()
  return { db, clock, followTime: async () => (await startClock(db, settings.mode, clock)).stop }
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
