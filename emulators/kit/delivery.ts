import type { FaultBoard } from './faults.ts'
import type { Log } from './log.ts'

/** What a vendor wants to tell the merchant. */
export interface Notification {
  /** The object it is about, for the log and for forgeries. */
  object_id: string
  /** The vendor's name of the event, for the log. */
  event: string
  /** Where to. Absent: `settings.webhook_url`. */
  url?: string
  method?: 'POST' | 'GET'
  /** A function is asked at every attempt, for vendors that sign the time of sending. */
  headers?: Record<string, string> | ((sent_at: Date) => Record<string, string>)
  body?: string
}

/** A false notification. `note` says what is wrong with it; it is written to the log. */
export interface Forgery extends Notification {
  note: string
}

/** The merchant's answer to one attempt. */
export interface DeliveryResponse {
  status: number
  body: string
}

/** One HTTP call; replaceable, so that a test can hand notifications over without a socket. */
export type Transport = (request: TransportRequest) => Promise<DeliveryResponse>

export interface TransportRequest {
  url: string
  method: string
  headers: Record<string, string>
  body: string | undefined
  signal: AbortSignal
}

export interface DeliveryOptions {
  faults: FaultBoard
  log: Log
  now: () => Date
  /** The merchant's address; undefined when none is set: the notification is logged and dropped. */
  address: () => string | undefined
  /** Delays between attempts in the vendor's own time, ms. */
  retry_schedule_ms: readonly number[]
  /** The vendor's time is multiplied by this: 1/60 turns a minute into a second. */
  retry_scale: number
  attempt_timeout_ms: number
  /** Says whether the vendor takes this answer for "received". */
  accepts: (response: DeliveryResponse, notification: Notification) => boolean
  /** Builds the forged copies that may go beside a notification. */
  forge: (object_id: string, notification: Notification | undefined) => readonly Forgery[]
  transport?: Transport
}

export interface DeliveryCounts {
  notifications: number
  attempts: number
  delivered: number
  refused: number
  failed: number
  gave_up: number
  lost: number
  duplicates: number
  forged: number
  dropped: number
  pending: number
}

/** Sends notifications at least once, by the vendor's schedule, through the fault switches. */
export interface DeliveryEngine {
  /** Never blocks and never throws; returns the notification's id. */
  notify(notification: Notification): string
  /** Sends a false notification about an object at once; returns how many were sent. */
  forge(object_id: string): number
  /** Sends a past notification again, as a vendor's cabinet does; false when it is forgotten or unknown. */
  resend(notification_id: string): boolean
  counts(): DeliveryCounts
  /** True when nothing is under way; false when `timeout_ms` passed first. */
  settled(timeout_ms: number): Promise<boolean>
  /** Forgets everything under way and everything sent. */
  reset(): void
  close(): void
}

interface Delivery {
  id: string
  notification: Notification
  attempt: number
  kind: 'real' | 'duplicate' | 'forged'
  note?: string
}

/** More than this many under way at once are dropped and counted: memory stays bounded. */
const MAX_PENDING = 100_000
const MAX_CONCURRENT = 64
const MAX_REMEMBERED = 1000
/** How long `reorder` holds a notification when no later one comes. */
const REORDER_HOLD_MS = 2000
const MAX_RESPONSE_BYTES = 65_536

/** Builds the engine of one emulator. */
export function createDelivery(options: DeliveryOptions): DeliveryEngine {
  const { faults } = options
  const transport = options.transport ?? fetchTransport
  const timers = new Set<NodeJS.Timeout>()
  const remembered = new Map<string, Notification>()
  let counts = noCounts()
  let stop = new AbortController()
  let queue: Delivery[] = []
  let held: { delivery: Delivery; timer: NodeJS.Timeout }[] = []
  let running = 0
  let next_id = 1
  let forgery_turn = 0

  const later = (delay_ms: number, act: () => void) => {
    const timer = setTimeout(() => {
      timers.delete(timer)
      act()
    }, delay_ms)
    timers.add(timer)
    return timer
  }

  const write = (delivery: Delivery, outcome: string, extra: Record<string, unknown> = {}) => {
    options.log.add({
      at: options.now().toISOString(),
      kind: 'notification',
      notification_id: delivery.id,
      event: delivery.notification.event,
      object_id: delivery.notification.object_id,
      outcome,
      ...(delivery.kind === 'forged' ? { is_forged: true } : {}),
      ...(delivery.kind === 'duplicate' ? { is_duplicate: true } : {}),
      ...(delivery.note === undefined ? {} : { note: delivery.note }),
      ...extra,
    })
  }

  const enqueue = (delivery: Delivery) => {
    queue.push(delivery)
    pump()
  }
  const pump = () => {
    while (running < MAX_CONCURRENT && queue.length > 0) {
      const batch = queue.splice(0, MAX_CONCURRENT - running)
      for (const delivery of batch) {
        running += 1
        void attempt(delivery, stop.signal)
      }
    }
  }
  const start = (delivery: Delivery, delay_ms: number) => {
    if (counts.pending >= MAX_PENDING) {
      counts.dropped += 1
      write(delivery, 'dropped')
      return
    }
    counts.pending += 1
    if (delay_ms > 0) later(delay_ms, () => enqueue(delivery))
    // Even without a delay the caller's own reply gets a chance to leave first: the next turn of the loop.
    else later(0, () => enqueue(delivery))
  }

  const attempt = async (delivery: Delivery, signal: AbortSignal) => {
    const { notification } = delivery
    const url = notification.url ?? options.address()
    const started_at = performance.now()
    let result: { outcome: string; status?: number; response?: string; note?: string }
    if (url === undefined) result = { outcome: 'no_address' }
    else {
      const sent_at = options.now()
      const headers =
        typeof notification.headers === 'function' ? notification.headers(sent_at) : notification.headers
      const request = {
        url,
        method: notification.method ?? 'POST',
        headers: { 'user-agent': 'kopilka-emulator', ...headers },
        body: notification.method === 'GET' ? undefined : notification.body,
        signal: AbortSignal.any([signal, AbortSignal.timeout(options.attempt_timeout_ms)]),
      }
      result = await send(transport, request, (answer) => options.accepts(answer, notification))
    }
    if (signal.aborted) return
    running -= 1
    finish(delivery, result, { url, duration_ms: Math.round(performance.now() - started_at) })
    pump()
  }

  const finish = (
    delivery: Delivery,
    result: { outcome: string; status?: number; response?: string; note?: string },
    facts: { url: string | undefined; duration_ms: number },
  ) => {
    delivery.attempt += 1
    counts.attempts += 1
    const { url, duration_ms } = facts
    const note = result.note ?? delivery.note
    const is_last = delivery.kind !== 'real' || delivery.attempt > options.retry_schedule_ms.length
    const is_over = result.outcome === 'delivered' || result.outcome === 'no_address' || is_last
    if (result.outcome === 'delivered') counts.delivered += 1
    if (result.outcome === 'refused') counts.refused += 1
    if (result.outcome === 'failed') counts.failed += 1
    write(delivery, result.outcome, {
      attempt: delivery.attempt,
      duration_ms,
      ...(url === undefined ? {} : { url }),
      ...(result.status === undefined ? {} : { status: result.status }),
      ...(result.response === undefined ? {} : { response: result.response }),
      ...(note === undefined ? {} : { note }),
    })
    if (delivery.attempt === 1 && delivery.kind === 'real') releaseHeld(delivery)
    if (is_over) {
      counts.pending -= 1
      if (delivery.kind === 'real' && result.outcome !== 'delivered' && result.outcome !== 'no_address') {
        counts.gave_up += 1
        write(delivery, 'gave_up', { attempt: delivery.attempt })
      }
      return
    }
    const wait_ms = (options.retry_schedule_ms[delivery.attempt - 1] ?? 0) * options.retry_scale
    later(Math.min(wait_ms, 2 ** 31 - 1), () => enqueue(delivery))
  }

  const hold = (delivery: Delivery) => {
    counts.pending += 1
    const timer = later(REORDER_HOLD_MS, () => release(delivery))
    held.push({ delivery, timer })
  }
  const release = (delivery: Delivery) => {
    const entry = held.find((candidate) => candidate.delivery === delivery)
    if (!entry) return
    held = held.filter((candidate) => candidate !== entry)
    clearTimeout(entry.timer)
    timers.delete(entry.timer)
    enqueue(delivery)
  }
  const releaseHeld = (sent: Delivery) => {
    for (const entry of held.slice()) {
      if (Number(entry.delivery.id) < Number(sent.id)) release(entry.delivery)
    }
  }

  const sendForgery = (forgery: Forgery) => {
    const { note, ...notification } = forgery
    counts.forged += 1
    start({ id: String(next_id++), notification, attempt: 0, kind: 'forged', note }, 0)
  }

  return {
    notify(notification) {
      const delivery: Delivery = { id: String(next_id++), notification, attempt: 0, kind: 'real' }
      remembered.set(delivery.id, notification)
      for (const id of remembered.keys()) {
        if (remembered.size <= MAX_REMEMBERED) break
        remembered.delete(id)
      }
      counts.notifications += 1
      if (faults.take('forge')) {
        const forgeries = options.forge(notification.object_id, notification)
        const forgery = forgeries[forgery_turn % Math.max(1, forgeries.length)]
        forgery_turn += 1
        if (forgery) sendForgery(forgery)
      }
      if (faults.take('lose')) {
        counts.lost += 1
        write(delivery, 'lost')
        return delivery.id
      }
      const { delay_ms } = faults.current()
      const copies = faults.takeDuplicates()
      if (faults.take('reorder')) hold(delivery)
      else start(delivery, delay_ms)
      for (let copy = 0; copy < copies; copy += 1) {
        counts.duplicates += 1
        start({ ...delivery, kind: 'duplicate' }, delay_ms)
      }
      return delivery.id
    },
    forge(object_id) {
      const forgeries = options.forge(object_id, undefined)
      for (const forgery of forgeries) sendForgery(forgery)
      return forgeries.length
    },
    resend(notification_id) {
      const notification = remembered.get(notification_id)
      if (!notification) return false
      counts.duplicates += 1
      start({ id: notification_id, notification, attempt: 0, kind: 'duplicate', note: 'resent' }, 0)
      return true
    },
    counts: () => ({ ...counts }),
    async settled(timeout_ms) {
      const until = performance.now() + timeout_ms
      while (counts.pending > 0) {
        if (performance.now() >= until) return false
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      return true
    },
    reset() {
      clear()
      stop = new AbortController()
    },
    close: () => clear(),
  }

  function clear(): void {
    stop.abort()
    for (const timer of timers) clearTimeout(timer)
    timers.clear()
    remembered.clear()
    queue = []
    held = []
    running = 0
    forgery_turn = 0
    counts = noCounts()
  }
}

async function send(
  transport: Transport,
  request: TransportRequest,
  accepts: (response: DeliveryResponse) => boolean,
): Promise<{ outcome: string; status?: number; response?: string; note?: string }> {
  try {
    const response = await transport(request)
    const outcome = accepts(response) ? 'delivered' : 'refused'
    return { outcome, status: response.status, response: response.body }
  } catch (error) {
    return { outcome: 'failed', note: describe(error) }
  }
}

/** The real transport: no redirects, at most 64 KiB of the answer are read. */
async function fetchTransport(request: TransportRequest): Promise<DeliveryResponse> {
  const response = await fetch(request.url, {
    method: request.method,
    headers: request.headers,
    ...(request.body === undefined ? {} : { body: request.body }),
    redirect: 'manual',
    signal: request.signal,
  })
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk)
    size += chunk.byteLength
    if (size >= MAX_RESPONSE_BYTES) break
  }
  return { status: response.status, body: Buffer.concat(chunks).toString('utf8') }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error'
  const cause = error.cause instanceof Error && 'code' in error.cause ? `: ${String(error.cause.code)}` : ''
  return `${error.name}${cause}`
}

function noCounts(): DeliveryCounts {
  return {
    notifications: 0,
    attempts: 0,
    delivered: 0,
    refused: 0,
    failed: 0,
    gave_up: 0,
    lost: 0,
    duplicates: 0,
    forged: 0,
    dropped: 0,
    pending: 0,
  }
}
