import type { FaultBoard } from './faults.ts'
import type { Log, LogEntry } from './log.ts'
import { describeFailure, fetchTransport } from './transport.ts'
import type { DeliveryResponse, Transport } from './transport.ts'

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
  notify: (notification: Notification) => string
  /** Sends a false notification about an object at once; returns how many were sent. */
  forge: (object_id: string) => number
  /** Sends a past notification again, as a vendor's cabinet does; false when it is forgotten or unknown. */
  resend: (notification_id: string) => boolean
  counts: () => DeliveryCounts
  /** True when nothing is under way; false when `timeout_ms` passed first. */
  settled: (timeout_ms: number) => Promise<boolean>
  /** Forgets everything under way and everything sent. */
  reset: () => void
  close: () => void
}

interface Delivery {
  id: string
  notification: Notification
  /** Attempts made so far. */
  attempt: number
  kind: 'real' | 'duplicate' | 'forged'
  note?: string
}

/** What one attempt came to. */
interface Result {
  outcome: 'delivered' | 'refused' | 'failed' | 'no_address'
  status?: number
  response?: string
  note?: string
}

interface State {
  options: DeliveryOptions
  transport: Transport
  counts: DeliveryCounts
  timers: Set<NodeJS.Timeout>
  remembered: Map<string, Notification>
  queue: Delivery[]
  held: { delivery: Delivery; timer: NodeJS.Timeout }[]
  running: number
  next_id: number
  forgery_turn: number
  /** Aborted and replaced by a reset: an attempt of before must not touch what came after. */
  stop: AbortController
}

/** More than this many under way at once are dropped and counted: memory stays bounded. */
const MAX_PENDING = 100_000
const MAX_CONCURRENT = 64
const MAX_REMEMBERED = 1000
/** How long `reorder` holds a notification when no later one comes. */
const REORDER_HOLD_MS = 2000
/** The longest pause a timer can make. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** Builds the engine of one emulator. */
export function createDelivery(options: DeliveryOptions): DeliveryEngine {
  const state: State = {
    options,
    transport: options.transport ?? fetchTransport,
    counts: noCounts(),
    timers: new Set(),
    remembered: new Map(),
    queue: [],
    held: [],
    running: 0,
    next_id: 1,
    forgery_turn: 0,
    stop: new AbortController(),
  }
  return {
    notify: (notification) => notify(state, notification),
    forge(object_id) {
      const forgeries = options.forge(object_id, undefined)
      for (const forgery of forgeries) sendForgery(state, forgery)
      return forgeries.length
    },
    resend(notification_id) {
      const notification = state.remembered.get(notification_id)
      if (!notification) return false
      state.counts.duplicates += 1
      start(state, { id: notification_id, notification, attempt: 0, kind: 'duplicate', note: 'resent' }, 0)
      return true
    },
    counts: () => ({ ...state.counts }),
    async settled(timeout_ms) {
      const until = performance.now() + timeout_ms
      while (state.counts.pending > 0) {
        if (performance.now() >= until) return false
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      return true
    },
    reset() {
      clear(state)
      state.stop = new AbortController()
    },
    close: () => clear(state),
  }
}

function notify(state: State, notification: Notification): string {
  const { faults } = state.options
  const delivery: Delivery = { id: newId(state), notification, attempt: 0, kind: 'real' }
  state.counts.notifications += 1
  remember(state, delivery)
  if (faults.take('forge')) {
    const forgeries = state.options.forge(notification.object_id, notification)
    const forgery = forgeries[state.forgery_turn % Math.max(1, forgeries.length)]
    state.forgery_turn += 1
    if (forgery) sendForgery(state, forgery)
  }
  if (faults.take('lose')) {
    state.counts.lost += 1
    write(state, delivery, 'lost')
    return delivery.id
  }
  const { delay_ms } = faults.current()
  const copies = faults.takeDuplicates()
  if (faults.take('reorder')) hold(state, delivery)
  else start(state, delivery, delay_ms)
  for (let copy = 0; copy < copies; copy += 1) {
    state.counts.duplicates += 1
    start(state, { ...delivery, kind: 'duplicate' }, delay_ms)
  }
  return delivery.id
}

function sendForgery(state: State, forgery: Forgery): void {
  const { note, ...notification } = forgery
  state.counts.forged += 1
  start(state, { id: newId(state), notification, attempt: 0, kind: 'forged', note }, 0)
}

function newId(state: State): string {
  state.next_id += 1
  return String(state.next_id - 1)
}

function remember(state: State, delivery: Delivery): void {
  state.remembered.set(delivery.id, delivery.notification)
  for (const id of state.remembered.keys()) {
    if (state.remembered.size <= MAX_REMEMBERED) break
    state.remembered.delete(id)
  }
}

function start(state: State, delivery: Delivery, delay_ms: number): void {
  if (state.counts.pending >= MAX_PENDING) {
    state.counts.dropped += 1
    write(state, delivery, 'dropped')
    return
  }
  state.counts.pending += 1
  // A delay of 0 still is a turn of the event loop: the vendor's own answer is on its way by then.
  later(state, delay_ms, () => enqueue(state, delivery))
}

function later(state: State, delay_ms: number, act: () => void): NodeJS.Timeout {
  const timer = setTimeout(
    () => {
      state.timers.delete(timer)
      act()
    },
    Math.min(delay_ms, MAX_TIMER_MS),
  )
  state.timers.add(timer)
  return timer
}

function enqueue(state: State, delivery: Delivery): void {
  state.queue.push(delivery)
  pump(state)
}

function pump(state: State): void {
  for (const delivery of state.queue.splice(0, Math.max(0, MAX_CONCURRENT - state.running))) {
    state.running += 1
    void attempt(state, delivery)
  }
}

async function attempt(state: State, delivery: Delivery): Promise<void> {
  const { signal } = state.stop
  const url = delivery.notification.url ?? state.options.address()
  const started_at = performance.now()
  const result = await tryOnce(state, delivery.notification, url, signal)
  if (signal.aborted) return
  state.running -= 1
  delivery.attempt += 1
  finish(state, delivery, result, {
    attempt: delivery.attempt,
    duration_ms: Math.round(performance.now() - started_at),
    ...(url === undefined ? {} : { url }),
  })
  pump(state)
}

async function tryOnce(
  state: State,
  notification: Notification,
  url: string | undefined,
  signal: AbortSignal,
): Promise<Result> {
  if (url === undefined) return { outcome: 'no_address' }
  try {
    const { headers } = notification
    const response = await state.transport({
      url,
      method: notification.method ?? 'POST',
      headers: {
        'user-agent': 'kopilka-emulator',
        ...(typeof headers === 'function' ? headers(state.options.now()) : headers),
      },
      body: notification.method === 'GET' ? undefined : notification.body,
      signal: AbortSignal.any([signal, AbortSignal.timeout(state.options.attempt_timeout_ms)]),
    })
    const outcome = state.options.accepts(response, notification) ? 'delivered' : 'refused'
    return { outcome, status: response.status, response: response.body }
  } catch (error) {
    return { outcome: 'failed', note: describeFailure(error) }
  }
}

function finish(state: State, delivery: Delivery, result: Result, facts: Partial<LogEntry>): void {
  const { counts, options } = state
  const { outcome, ...answer } = result
  counts.attempts += 1
  if (outcome !== 'no_address') counts[outcome] += 1
  write(state, delivery, outcome, { ...facts, ...answer })
  if (delivery.attempt === 1 && delivery.kind === 'real') releaseHeld(state, delivery)
  const pause_ms = delivery.kind === 'real' ? options.retry_schedule_ms[delivery.attempt - 1] : undefined
  if (outcome === 'delivered' || outcome === 'no_address' || pause_ms === undefined) {
    counts.pending -= 1
    if (delivery.kind === 'real' && (outcome === 'refused' || outcome === 'failed')) {
      counts.gave_up += 1
      write(state, delivery, 'gave_up', { attempt: delivery.attempt })
    }
    return
  }
  later(state, pause_ms * options.retry_scale, () => enqueue(state, delivery))
}

function hold(state: State, delivery: Delivery): void {
  state.counts.pending += 1
  const timer = later(state, REORDER_HOLD_MS, () => release(state, delivery))
  state.held.push({ delivery, timer })
}

function release(state: State, delivery: Delivery): void {
  const entry = state.held.find((candidate) => candidate.delivery === delivery)
  if (!entry) return
  state.held = state.held.filter((candidate) => candidate !== entry)
  clearTimeout(entry.timer)
  state.timers.delete(entry.timer)
  enqueue(state, delivery)
}

function releaseHeld(state: State, sent: Delivery): void {
  for (const { delivery } of state.held.slice()) {
    if (Number(delivery.id) < Number(sent.id)) release(state, delivery)
  }
}

function write(state: State, delivery: Delivery, outcome: string, facts: Partial<LogEntry> = {}): void {
  state.options.log.add({
    at: state.options.now().toISOString(),
    kind: 'notification',
    notification_id: delivery.id,
    event: delivery.notification.event,
    object_id: delivery.notification.object_id,
    outcome,
    ...(delivery.notification.body === undefined ? {} : { body: delivery.notification.body }),
    ...(delivery.kind === 'forged' ? { is_forged: true } : {}),
    ...(delivery.kind === 'duplicate' ? { is_duplicate: true } : {}),
    ...(delivery.note === undefined ? {} : { note: delivery.note }),
    ...facts,
  })
}

function clear(state: State): void {
  state.stop.abort()
  for (const timer of state.timers) clearTimeout(timer)
  state.timers.clear()
  state.remembered.clear()
  state.queue = []
  state.held = []
  state.running = 0
  state.forgery_turn = 0
  state.counts = noCounts()
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
