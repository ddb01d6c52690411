import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { frozenClock, type Clock, type MovableClock } from '../src/kernel/clock.ts'
import type { Db } from '../src/kernel/db.ts'
import { createEvents, eventTypes } from '../src/kernel/events.ts'
import { createJobQueue } from '../src/kernel/job-queue.ts'
import { silentLog } from '../src/kernel/log.ts'
import { createSecretBox } from '../src/kernel/secrets.ts'
import {
  createDispatcher,
  recordWebhookEvents,
  type Dispatcher,
  type NotificationsKit,
} from '../src/modules/notifications/index.ts'
import { createWebhookSender } from '../src/transports/webhook.ts'

/** A message as the owner's app gets it. */
export interface Received {
  path: string
  headers: IncomingHttpHeaders
  body: string
  /** `webhook-id`. */
  id: string
}

/** The owner's app: keeps what it gets and answers as it is told. */
export interface Receiver {
  url: string
  received: Received[]
  /** How it answers from now on: a status, or by itself. */
  answer: number | ((response: ServerResponse, message: Received) => void)
  close(): Promise<void>
}

/** Starts an app that answers 200 to everything. */
export async function startReceiver(): Promise<Receiver> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const body = Buffer.concat(parts).toString('utf8')
      const id = String(request.headers['webhook-id'])
      const message = { path: request.url ?? '', headers: request.headers, body, id }
      receiver.received.push(message)
      if (typeof receiver.answer === 'number') response.writeHead(receiver.answer).end()
      else receiver.answer(response, message)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received: [],
    answer: 200,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
  return receiver
}

/** What tells an app: a kit with the real transport, and senders. */
export interface WebhookLab {
  kit: NotificationsKit
  notices: { message: string; facts: Readonly<Record<string, string>> }[]
  errors: unknown[]
  /** Starts another sender on the same database, as another process would. */
  dispatcher(options?: { at_once?: number; per_endpoint?: number }): Dispatcher
  /** Wakes every sender. */
  wake(): void
  stop(): Promise<void>
}

/** Makes a lab on a database. Sends to this machine, gives an attempt up after `timeout_ms`. */
export function webhookLab(db: Db, clock: Clock, options: { timeout_ms?: number } = {}): WebhookLab {
  const dispatchers: Dispatcher[] = []
  const wake = (): void => {
    for (const dispatcher of dispatchers) dispatcher.wake()
  }
  const notices: WebhookLab['notices'] = []
  const errors: unknown[] = []
  const events = createEvents(createJobQueue({ db, clock, log: silentLog() }))
  const kit: NotificationsKit = {
    clock,
    events,
    // The world's key, so that a lab can send what a world's server has written.
    box: createSecretBox({ keys: [{ id: 'world', key: Buffer.alloc(32, 7) }] }),
    transport: createWebhookSender({
      may_use_http: true,
      networks: ['127.0.0.1'],
      timeout_ms: options.timeout_ms ?? 5_000,
    }),
    realTime: Date.now,
    wake,
    notice: (message, facts) => notices.push({ message, facts }),
  }
  for (const type of eventTypes()) {
    events.within(type, (tx, payloads) => recordWebhookEvents(tx, kit, type.name, payloads))
  }
  return {
    kit,
    notices,
    errors,
    wake,
    dispatcher: (of = {}) => {
      const dispatcher = createDispatcher(db, kit, { ...of, on_error: (error) => errors.push(error) })
      dispatchers.push(dispatcher)
      dispatcher.start()
      return dispatcher
    },
    stop: async () => {
      await Promise.all(dispatchers.splice(0).map((dispatcher) => dispatcher.stop()))
    },
  }
}

/** A clock that stands still at the real time, so that independent verifiers accept what is signed. */
export function realFrozenClock(): MovableClock {
  return frozenClock(new Date())
}

/** Waits until the condition holds; throws when it does not within `timeout_ms`. */
export async function until(what: string, probe: () => unknown, timeout_ms = 20_000): Promise<void> {
  const deadline = performance.now() + timeout_ms
  while (!(await probe())) {
    if (performance.now() > deadline) throw new Error(`it did not come about: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
