import type { FastifyInstance } from 'fastify'
import type { ServerLog } from './request-log.ts'

/** Whether this server says goodbye: `/readyz` fails and every answer closes its connection. */
export interface DrainState {
  is_draining: boolean
}

/** What draining needs to know of a connection. */
interface Connection {
  readonly bytesRead: number
  destroy(): unknown
}

export interface DrainOptions {
  /** After this long open requests are cut off. */
  timeout_ms?: number
  /**
   * How long to go on accepting connections after `/readyz` began to fail, for load balancers that poll it.
   */
  grace_ms?: number
  /** Connections on which nothing was sent for this long are closed. */
  quiet_ms?: number
}

/**
 * The connections of a server, kept from its start: an idle one must not be cut while a request is on its
 * way.
 */
export function watchConnections(app: FastifyInstance): void {
  const connections = new Set<Connection>()
  app.server.on('connection', (socket) => {
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
  })
  known.set(app, connections)
}

const known = new WeakMap<FastifyInstance, Set<Connection>>()

/**
 * Stops an HTTP server so that no request that reached it is lost: `/readyz` fails, no connection is
 * accepted any more, running requests finish, every answer from now on says `connection: close`, and a
 * kept-alive connection is closed only when nothing has come in anywhere for `quiet_ms`. What is left after
 * `timeout_ms` is cut off.
 */
export async function drainServer(app: FastifyInstance, options: DrainOptions = {}): Promise<void> {
  const { timeout_ms = 20_000, grace_ms = 0, quiet_ms = 1_000 } = options
  app.drain.is_draining = true
  const deadline = performance.now() + timeout_ms
  if (grace_ms > 0) await pause(grace_ms)
  if (app.server.listening) await stopListening(app, { deadline, quiet_ms })
  await app.close()
}

async function stopListening(
  app: FastifyInstance,
  limits: { deadline: number; quiet_ms: number },
): Promise<void> {
  const connections = known.get(app) ?? new Set()
  let is_closed = false
  const { server } = app
  const closeIdle = server.closeIdleConnections.bind(server)
  // close() would cut idle connections at once, while a client may just be writing its next request to one.
  server.closeIdleConnections = () => undefined
  server.close(() => {
    is_closed = true
  })
  server.closeIdleConnections = closeIdle
  let read_before = -1
  let quiet_since = performance.now()
  while (!is_closed && connections.size > 0) {
    await pause(25)
    const now = performance.now()
    if (now >= limits.deadline) {
      server.closeAllConnections()
      return
    }
    const read_now = [...connections].reduce(
      (sum, connection) => sum + connection.bytesRead,
      connections.size,
    )
    if (read_now !== read_before) quiet_since = now
    read_before = read_now
    if (now - quiet_since < limits.quiet_ms) continue
    closeIdle()
    // Connections browsers open in advance never sent a byte and do not count as idle.
    for (const connection of connections) if (connection.bytesRead === 0) connection.destroy()
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

export interface ShutdownOptions {
  /** Ends everything in order: HTTP first, then workers, then the database. */
  stop: () => Promise<void>
  log: ServerLog
  /** The process ends after this long in any case, with code 1. */
  timeout_ms?: number
  exit?: (code: number) => void
}

/**
 * Ends the process well on SIGTERM and SIGINT: once, with a time limit; a second signal ends it at once.
 * Answers a function that takes the handlers off again.
 */
export function shutdownOnSignals(options: ShutdownOptions): () => void {
  const { stop, log, timeout_ms = 25_000, exit = (code) => process.exit(code) } = options
  let is_stopping = false
  const onSignal = (signal: NodeJS.Signals): void => {
    if (is_stopping) {
      log.warn({ signal }, 'second signal: ending at once')
      exit(1)
      return
    }
    is_stopping = true
    log.info({ signal }, 'stopping')
    const timer = setTimeout(() => {
      log.error({ timeout_ms }, 'stopping took too long: ending')
      exit(1)
    }, timeout_ms)
    stop().then(
      () => {
        clearTimeout(timer)
        log.info({}, 'stopped')
        exit(0)
      },
      (error: unknown) => {
        clearTimeout(timer)
        log.error({ err: error }, 'stopping failed')
        exit(1)
      },
    )
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return () => {
    process.off('SIGTERM', onSignal)
    process.off('SIGINT', onSignal)
  }
}
