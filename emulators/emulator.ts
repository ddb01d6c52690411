import { fastify } from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { checkComplete, registerControl } from './kit/control.ts'
import type { CompleteInput, EmulatorControl, EmulatorStatus } from './kit/control.ts'
import { createDelivery } from './kit/delivery.ts'
import type { DeliveryEngine, Forgery, Notification } from './kit/delivery.ts'
import type { Door } from './kit/door.ts'
import { ControlError, unknownObject } from './kit/errors.ts'
import { createFaults } from './kit/faults.ts'
import type { FaultBoard, Faults } from './kit/faults.ts'
import { createLog } from './kit/log.ts'
import type { Log } from './kit/log.ts'
import { newSeed, seededRandom } from './kit/random.ts'
import type { Random } from './kit/random.ts'
import { installRequestFaults } from './kit/request-faults.ts'
import type { FaultReply } from './kit/request-faults.ts'
import { createSettings, WEBHOOK_URL_FIELD } from './kit/settings.ts'
import type { BaseSettings, SettingFields, SettingsBoard } from './kit/settings.ts'
import type { Collection } from './kit/store.ts'
import type { DeliveryResponse, Transport } from './kit/transport.ts'

export type { CompleteInput, EmulatorControl, Outcome } from './kit/control.ts'
export type { Forgery, Notification } from './kit/delivery.ts'
export { ControlError, unknownObject, wrongState } from './kit/errors.ts'
export type { Faults } from './kit/faults.ts'
export type { Random } from './kit/random.ts'
export type { FaultReply } from './kit/request-faults.ts'
export type { BaseSettings, SettingField, SettingFields } from './kit/settings.ts'
export { createStore } from './kit/store.ts'
export type { Collection, Page, PageQuery, Store } from './kit/store.ts'
export type { DeliveryResponse, Transport } from './kit/transport.ts'

/** A vendor, as a file of this folder describes it. */
export interface EmulatorDefinition<Settings extends BaseSettings = BaseSettings> {
  /** Equal to the file's name. */
  id: string
  title: string
  /** One or two sentences: which part of which API version is played. */
  description: string
  /** Every setting but `webhook_url`, which all have. */
  settings: SettingFields<Omit<Settings, 'webhook_url'>>
  /** Delays between delivery attempts in the vendor's time, ms; empty when the vendor does not repeat. */
  retry_schedule_ms?: readonly number[]
  /** How long the vendor waits for an answer to a notification, ms; 10 000 when absent. */
  attempt_timeout_ms?: number
  /** Builds the vendor's state and behaviour; called once per running emulator. */
  create(kit: Kit<Settings>): Vendor
}

/** What the base lends a vendor. */
export interface Kit<Settings extends BaseSettings = BaseSettings> {
  /** Where this emulator is reached, without a trailing slash; for links to its own pages. */
  base_url: () => string
  /** The emulator's clock, always read through here: tests move it. */
  now: () => Date
  settings: () => Readonly<Settings>
  /** For vendors whose API changes a setting (e.g. a webhook address). Throws ControlError 400. */
  changeSettings: (patch: Partial<Settings>) => void
  /** For ids and invented figures; faults have a sequence of their own. */
  random: Random
  /** Sends a notification in the background; never blocks, never throws. Returns its id. */
  notify: (notification: Notification) => string
  /** Writes a request that did not come over this server's HTTP (SMTP, a socket) to the log. */
  logRequest: (entry: { method: string; path: string; status?: number; body?: string }) => void
  /** Uses a fault up, for behaviour outside HTTP replies. */
  takeFault: FaultBoard['take']
}

/** A vendor's behaviour. Only `routes`, `collections` and `reset` are required. */
export interface Vendor {
  /** Registers the vendor's own paths; runs in a Fastify context of its own. */
  routes(app: FastifyInstance): void | Promise<void>
  /** What `/_emulator/objects` shows; the first is shown when none is named. */
  collections: Readonly<Record<string, Collection>>
  /** Moves a payment; returns the vendor's object. Throws `unknownObject`, `wrongState`. */
  complete?(vendor_payment_id: string, input: CompleteInput): unknown
  /**
   * False notifications about an object: beside a real one when `notification` is given, else claiming that
   * an unpaid object was paid. Empty when nothing can be claimed.
   */
  forge?(object_id: string, notification: Notification | undefined): readonly Forgery[]
  /** Whether an answer counts as "received"; any 2xx when absent. */
  accepts?(response: DeliveryResponse, notification: Notification): boolean
  /** The vendor's words for 500 and 429. */
  faultReply?(kind: 'error_500' | 'error_429', request: FastifyRequest): FaultReply
  /** Called about once a second and after the clock was moved: expire what is due. */
  tick?(now: Date): void
  /** Forget every object. */
  reset(): void
  /** For what listens beside HTTP. */
  start?(options: { host: string }): void | Promise<void>
  close?(): void | Promise<void>
}

/** How to run an emulator. Everything may be left out. */
export interface EmulatorOptions<Settings extends BaseSettings = BaseSettings> {
  /** 0 or absent: a free one. */
  port?: number
  /** 127.0.0.1 when absent: emulators have no access control of their own. */
  host?: string
  /** An address that is open already, instead of `port`; it is closed with the emulator. */
  door?: Door
  /** The same as `settings.webhook_url`. */
  webhook_url?: string
  settings?: Partial<Settings>
  faults?: Partial<Faults>
  /** The same seed gives the same ids and the same random faults. Absent: a fresh one. */
  seed?: number
  /** Multiplies the vendor's delays between delivery attempts; 1/60 when absent: a minute is a second. */
  retry_scale?: number
  /** How long a request without an answer is held, ms; 60 000 when absent. */
  hold_ms?: number
  /** Lines of log to keep; 1000 when absent. */
  log_size?: number
  /** The time; the machine's when absent. `advanceClock` adds to it. */
  now?: () => Date
  /** Hands notifications over instead of HTTP, e.g. by `app.inject`. */
  transport?: Transport
}

/** A running emulator. */
export interface Emulator {
  id: string
  title: string
  base_url: string
  app: FastifyInstance
  control: EmulatorControl
  /** Stops listening, cuts open sockets, cancels every timer and delivery. May be called twice. */
  close(): Promise<void>
}

/** Checks a definition's types; the `emulator` export of a vendor's file. */
export function defineEmulator<Settings extends BaseSettings>(
  definition: EmulatorDefinition<Settings>,
): EmulatorDefinition<Settings> {
  return definition
}

/** Starts a vendor on HTTP. Throws ControlError for bad settings or faults, and when the port is taken. */
export async function startEmulator<Settings extends BaseSettings>(
  definition: EmulatorDefinition<Settings>,
  options: EmulatorOptions<Settings> = {},
): Promise<Emulator> {
  const parts = assemble(definition, options)
  const { app, vendor, delivery, place } = parts
  const host = options.host ?? '127.0.0.1'
  await app.register(async (scope) => vendor.routes(scope))
  if (options.door) {
    place.base_url = options.door.base_url
    await app.ready()
  } else place.base_url = await listen(app, { port: options.port ?? 0, host })
  await vendor.start?.({ host })
  options.door?.admit(app.server)
  const ticking = setInterval(() => vendor.tick?.(parts.now()), 1000)
  ticking.unref()
  let closing: Promise<void> | undefined
  const close = async () => {
    clearInterval(ticking)
    delivery.close()
    await vendor.close?.()
    await options.door?.close()
    await app.close()
  }
  return {
    id: definition.id,
    title: definition.title,
    base_url: place.base_url,
    app,
    control: parts.control,
    close: () => (closing ??= close()),
  }
}

/** Answers where it is reached. */
async function listen(app: FastifyInstance, options: { port: number; host: string }): Promise<string> {
  await app.listen(options)
  const address = app.server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const { host } = options
  const shown_host = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `http://${shown_host.includes(':') ? `[${shown_host}]` : shown_host}:${port}`
}

interface Parts {
  app: FastifyInstance
  vendor: Vendor
  delivery: DeliveryEngine
  control: EmulatorControl
  place: { base_url: string }
  now: () => Date
}

function assemble<Settings extends BaseSettings>(
  definition: EmulatorDefinition<Settings>,
  options: EmulatorOptions<Settings>,
): Parts {
  const seed = options.seed ?? newSeed()
  const clock = createClock(options.now ?? (() => new Date()))
  const faults = createFaults(seededRandom(seed, 'faults'))
  faults.set(options.faults ?? {})
  const fields = { webhook_url: WEBHOOK_URL_FIELD, ...definition.settings }
  const settings = createSettings<Settings>(
    fields as SettingFields<Settings>,
    {
      ...options.settings,
      ...(options.webhook_url === undefined ? {} : { webhook_url: options.webhook_url }),
    } as Partial<Settings>,
  )
  const log = createLog(options.log_size ?? 1000, settings.secrets)
  const place = { base_url: '' }
  const app = createApp()
  const delivery = createDelivery({
    faults,
    log,
    now: clock.now,
    address: () => settings.current().webhook_url || undefined,
    retry_schedule_ms: definition.retry_schedule_ms ?? [],
    retry_scale: options.retry_scale ?? 1 / 60,
    attempt_timeout_ms: definition.attempt_timeout_ms ?? 10_000,
    accepts: (response, notification) =>
      vendor.accepts
        ? vendor.accepts(response, notification)
        : response.status >= 200 && response.status < 300,
    forge: (object_id, notification) => vendor.forge?.(object_id, notification) ?? [],
    ...(options.transport ? { transport: options.transport } : {}),
  })
  const kit: Kit<Settings> = {
    base_url: () => place.base_url,
    now: clock.now,
    settings: settings.current,
    changeSettings: (patch) => void settings.set(patch),
    random: seededRandom(seed, 'objects'),
    notify: delivery.notify,
    logRequest: (entry) => log.add({ at: clock.now().toISOString(), kind: 'request', ...entry }),
    takeFault: faults.take,
  }
  const vendor = definition.create(kit)
  const counter = countRequests(app)
  installRequestFaults(app, {
    faults,
    log,
    now: clock.now,
    hold_ms: options.hold_ms ?? 60_000,
    faultReply: (kind, request) => vendor.faultReply?.(kind, request) ?? plainFaultReply(kind),
  })
  const boards = { definition, seed, clock, faults, settings, log, delivery, vendor, place, counter }
  const control = createControl(boards)
  registerControl(app, control)
  return { app, vendor, delivery, control, place, now: clock.now }
}

interface Boards {
  definition: Pick<EmulatorDefinition, 'id' | 'title' | 'description'>
  seed: number
  clock: Clock
  faults: FaultBoard
  settings: Pick<SettingsBoard<object>, 'set' | 'begin' | 'masked' | 'reset'>
  log: Log
  delivery: DeliveryEngine
  vendor: Vendor
  place: { base_url: string }
  counter: { requests: number }
}

function createControl(boards: Boards): EmulatorControl {
  const { definition, clock, faults, settings, log, delivery, vendor, place, counter } = boards
  const status = (): EmulatorStatus => ({
    id: definition.id,
    title: definition.title,
    description: definition.description,
    base_url: place.base_url,
    seed: boards.seed,
    now: clock.now().toISOString(),
    faults: faults.current(),
    settings: settings.masked(),
    counts: {
      requests: counter.requests,
      objects: Object.fromEntries(Object.entries(vendor.collections).map(([name, c]) => [name, c.size])),
      notifications: delivery.counts(),
    },
  })
  return {
    status,
    objects({ collection, limit = 100, cursor } = {}) {
      const name = collection ?? Object.keys(vendor.collections)[0] ?? ''
      const found = Object.hasOwn(vendor.collections, name) ? vendor.collections[name] : undefined
      if (!found) {
        const known = Object.keys(vendor.collections)
        throw new ControlError(404, 'unknown_collection', 'There is no such collection.', { known })
      }
      return found.page({ limit, ...(cursor === undefined ? {} : { cursor }) })
    },
    log: (query) => log.page(query),
    complete(vendor_payment_id, input) {
      if (!vendor.complete)
        throw new ControlError(501, 'not_supported', 'Nothing is completed at this vendor.')
      return vendor.complete(vendor_payment_id, checkComplete(input))
    },
    forge(vendor_payment_id) {
      if (!vendor.forge) throw new ControlError(501, 'not_supported', 'This vendor sends no notifications.')
      const sent = delivery.forge(vendor_payment_id)
      if (sent === 0) throw unknownObject(vendor_payment_id)
      return sent
    },
    resend(notification_id) {
      if (!delivery.resend(notification_id)) throw unknownObject(notification_id)
    },
    faults: (patch) => faults.set(patch),
    settings(patch) {
      settings.set(patch)
      return settings.masked()
    },
    begin: (patch) => settings.begin(patch),
    advanceClock(ms) {
      clock.advance(ms)
      vendor.tick?.(clock.now())
      return clock.now()
    },
    settled: (timeout_ms = 5000) => delivery.settled(timeout_ms),
    reset() {
      delivery.reset()
      faults.reset()
      settings.reset()
      log.clear()
      clock.reset()
      vendor.reset()
      counter.requests = 0
    },
  }
}

interface Clock {
  now: () => Date
  advance: (ms: number) => void
  reset: () => void
}

function createClock(source: () => Date): Clock {
  let offset_ms = 0
  return {
    now: () => (offset_ms === 0 ? source() : new Date(source().getTime() + offset_ms)),
    advance(ms) {
      offset_ms += ms
    },
    reset() {
      offset_ms = 0
    },
  }
}

function createApp(): FastifyInstance {
  const app = fastify({
    bodyLimit: 1_048_576,
    forceCloseConnections: true,
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    keepAliveTimeout: 72_000,
  })
  app.setErrorHandler((error: unknown, _request, reply) => {
    if (error instanceof ControlError) {
      return reply
        .code(error.status)
        .send({ error: { code: error.code, message: error.message, ...error.details } })
    }
    const status = statusOf(error)
    const message = error instanceof Error && status < 500 ? error.message : 'The emulator itself failed.'
    if (status >= 500)
      process.stderr.write(`emulator: ${error instanceof Error ? error.stack : String(error)}\n`)
    return reply
      .code(status)
      .send({ error: { code: status < 500 ? 'bad_request' : 'emulator_bug', message } })
  })
  return app
}

function statusOf(error: unknown): number {
  if (typeof error !== 'object' || error === null || !('statusCode' in error)) return 500
  return typeof error.statusCode === 'number' ? error.statusCode : 500
}

function countRequests(app: FastifyInstance): { requests: number } {
  const counter = { requests: 0 }
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.routeOptions.config.emulator_route !== 'control') counter.requests += 1
    done()
  })
  return counter
}

function plainFaultReply(kind: 'error_500' | 'error_429'): FaultReply {
  const status = kind === 'error_500' ? 500 : 429
  return { status, body: JSON.stringify({ error: { code: kind } }) }
}
