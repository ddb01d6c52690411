import type { FastifyInstance } from 'fastify'
import type { DeliveryCounts } from './delivery.ts'
import { ControlError } from './errors.ts'
import type { Faults } from './faults.ts'
import type { LogEntry, LogQuery } from './log.ts'
import type { Page, PageQuery } from './store.ts'

/** What a completion means in every vendor's words. */
export type Outcome = 'succeeded' | 'canceled' | 'authorized'

export interface CompleteInput {
  outcome: Outcome
  /** The vendor's word for why it was canceled; the vendor's general decline when absent. */
  reason?: string
  /** What else a vendor understands, e.g. a card number. */
  [extra: string]: unknown
}

export interface EmulatorStatus {
  id: string
  title: string
  description: string
  base_url: string
  seed: number
  /** The emulator's clock. */
  now: string
  faults: Faults
  settings: Record<string, unknown>
  counts: {
    requests: number
    objects: Record<string, number>
    notifications: DeliveryCounts
  }
}

/** The control API in-process; the HTTP routes below are a thin skin over it. */
export interface EmulatorControl {
  status: () => EmulatorStatus
  /** One collection of the vendor's objects, newest first; the first collection when none is named. */
  objects: (query?: Partial<PageQuery> & { collection?: string }) => Page<unknown>
  log: (query?: LogQuery) => Page<LogEntry>
  /** Moves a payment as its buyer or the vendor would. Throws ControlError 404, 409, 501. */
  complete: (vendor_payment_id: string, input: CompleteInput | Outcome) => unknown
  /** Sends false notifications that claim this payment was paid; returns how many. */
  forge: (vendor_payment_id: string) => number
  resend: (notification_id: string) => void
  faults: (patch: Partial<Faults>) => Faults
  settings: (patch: Record<string, unknown>) => Record<string, unknown>
  /** As `settings`, and `reset` comes back to it: for an address known only when both sides run. */
  begin: (patch: Record<string, unknown>) => void
  /** Moves the emulator's clock forward; what expires meanwhile expires now. */
  advanceClock: (ms: number) => Date
  /** Waits until no notification is under way; false when `timeout_ms` (default 5000) passed first. */
  settled: (timeout_ms?: number) => Promise<boolean>
  /** Forgets objects, log, faults, deliveries and changed settings. */
  reset: () => void
}

const OUTCOMES: readonly string[] = ['succeeded', 'canceled', 'authorized']
const MAX_LIMIT = 1000

/** Registers `/_emulator…` over the in-process control. */
export function registerControl(app: FastifyInstance, control: EmulatorControl): void {
  const config = { emulator_route: 'control' as const }
  app.get('/_emulator', { config }, async () => control.status())
  app.get('/_emulator/objects', { config }, async (request) => {
    const { limit, cursor, collection } = checkQuery(request.query)
    const page = control.objects({
      limit,
      ...(cursor === undefined ? {} : { cursor }),
      ...(collection === undefined ? {} : { collection }),
    })
    return { items: page.items, next_cursor: page.next_cursor ?? null }
  })
  app.get('/_emulator/log', { config }, async (request) => {
    const { limit, cursor, kind, order } = checkQuery(request.query)
    const page = control.log({
      limit,
      ...(cursor === undefined ? {} : { cursor }),
      ...(kind === undefined ? {} : { kind }),
      ...(order === undefined ? {} : { order }),
    })
    return { items: page.items, next_cursor: page.next_cursor ?? null }
  })
  app.post<{ Params: { id: string } }>('/_emulator/payments/:id/complete', { config }, async (request) =>
    control.complete(request.params.id, checkComplete(request.body)),
  )
  app.post<{ Params: { id: string } }>('/_emulator/payments/:id/forge', { config }, async (request) => ({
    sent: control.forge(request.params.id),
  }))
  app.post<{ Params: { id: string } }>('/_emulator/notifications/:id/resend', { config }, async (request) => {
    control.resend(request.params.id)
    return { resent: request.params.id }
  })
  app.put('/_emulator/faults', { config }, async (request) => control.faults(request.body as Partial<Faults>))
  app.put('/_emulator/settings', { config }, async (request) =>
    control.settings(request.body as Record<string, unknown>),
  )
  app.post('/_emulator/clock', { config }, async (request) => ({
    now: control.advanceClock(checkAdvance(request.body)).toISOString(),
  }))
  app.post('/_emulator/reset', { config }, async () => {
    control.reset()
    return control.status()
  })
}

/** Checks the body of `complete`; a bare outcome is allowed in-process. Throws ControlError 400. */
export function checkComplete(body: unknown): CompleteInput {
  const input: unknown = typeof body === 'string' ? { outcome: body } : body
  if (typeof input === 'object' && input !== null && 'outcome' in input) {
    const { outcome } = input
    if (typeof outcome === 'string' && OUTCOMES.includes(outcome)) {
      if (!('reason' in input) || typeof input.reason === 'string') return input as CompleteInput
    }
  }
  throw new ControlError(400, 'bad_outcome', `Send {"outcome": ${OUTCOMES.join(' | ')}, "reason"?: text}.`)
}

function checkAdvance(body: unknown): number {
  if (typeof body === 'object' && body !== null && 'advance_ms' in body) {
    const { advance_ms } = body
    // Ten years: further than any vendor's deadline, near enough for dates to stay valid.
    if (Number.isInteger(advance_ms) && Number(advance_ms) >= 0 && Number(advance_ms) <= 315_360_000_000) {
      return Number(advance_ms)
    }
  }
  throw new ControlError(400, 'bad_clock', 'Send {"advance_ms": milliseconds}, not negative.')
}

interface ListQuery {
  limit: number
  cursor?: string
  kind?: 'request' | 'notification'
  order?: 'asc' | 'desc'
  collection?: string
}

function checkQuery(query: unknown): ListQuery {
  const given = query as Record<string, unknown>
  const checked: ListQuery = { limit: 100 }
  const refuse = (name: string) => new ControlError(400, 'bad_query', 'This parameter is wrong.', { name })
  for (const [name, value] of Object.entries(given)) {
    if (typeof value !== 'string') throw refuse(name)
    if (name === 'limit') {
      checked.limit = Number(value)
      if (!Number.isInteger(checked.limit) || checked.limit < 1 || checked.limit > MAX_LIMIT)
        throw refuse(name)
    } else if (name === 'cursor' && /^\d{1,15}$/.test(value)) checked.cursor = value
    else if (name === 'kind' && (value === 'request' || value === 'notification')) checked.kind = value
    else if (name === 'order' && (value === 'asc' || value === 'desc')) checked.order = value
    else if (name === 'collection') checked.collection = value
    else throw refuse(name)
  }
  return checked
}
