import type { Server } from 'node:http'
import { getHeapStatistics } from 'node:v8'
import cors from '@fastify/cors'
import underPressure from '@fastify/under-pressure'
import { addressCheck } from '@kopilka/extension'
import Fastify, {
  type FastifyHttpOptions,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify'
import { serializerCompiler } from 'fastify-type-provider-zod'
import { NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { addBodyParsers } from './body-parsers.ts'
import { addDocsPage } from './docs-page.ts'
import { type Authenticate, createGuard } from './guard.ts'
import { addHealthRoutes, type ReadinessCheck } from './health.ts'
import { addPoolMetrics, createMetrics, type Metrics } from './metrics.ts'
import { addOpenApi } from './openapi.ts'
import { gatherPipelinedAnswers } from './pipelined-answers.ts'
import { problemText, sendProblem } from './problem.ts'
import { createRequestLog, type ServerLog } from './request-log.ts'
import type { RouteKit } from './routing.ts'
import { securityHeaders } from './security-headers.ts'
import { watchConnections } from './shutdown.ts'
import { validatorCompiler } from './validation.ts'

/**
 * Limits of a connection, all in milliseconds. The defaults suit clients from slow phones to vendors'
 * servers.
 */
export interface Timeouts {
  /** Until the head of a request is complete. */
  headers_ms: number
  /** Until the whole request is there, its body included. */
  request_ms: number
  /** Without a byte in either direction. Longer than the slowest vendor call a handler may wait for. */
  silence_ms: number
  /** Until the next request on a kept-alive connection; longer than what proxies in front keep theirs. */
  keep_alive_ms: number
  /** How often connections are looked at. */
  check_ms: number
}

const TIMEOUTS: Timeouts = {
  headers_ms: 10_000,
  request_ms: 20_000,
  silence_ms: 65_000,
  keep_alive_ms: 72_000,
  check_ms: 2_000,
}

export interface ServerOptions {
  kit: RouteKit
  /** Who sent a request; see {@link Authenticate}. */
  authenticate: Authenticate
  log: ServerLog
  /** Of this program, for openapi.json. */
  version: string
  /** Where the world reaches this server, e.g. `https://pay.example.com`; empty when that is not known. */
  base_url?: string
  /** Origins whose pages may call the API, each exactly as browsers send it. */
  cors_origins?: readonly string[]
  /** Addresses and networks of proxies whose X-Forwarded-For and X-Request-Id are believed. */
  trusted_proxies?: readonly string[]
  /** Requests a minute for one address without a credential. */
  anonymous_per_minute?: number
  /** With it `/metrics` may be read from anywhere. */
  metrics_token?: string | undefined
  readiness?: readonly ReadinessCheck[]
  metrics?: Metrics
  timeouts?: Partial<Timeouts>
}

const BODY_MAX_BYTES = 65_536
const HEADERS_MAX_BYTES = 16_384
const HEADERS_MAX = 100
/**
 * A customer key of 220 letters may be three times as long in percent encoding, and twelve times in
 * Cyrillic.
 */
const PARAMETER_MAX = 2_640
/**
 * The average turn of the event loop takes this long: a request waits for several turns, so better to turn
 * some away than to let all wait. A server that is merely busy has turns of a few milliseconds.
 */
const LOOP_DELAY_MAX_MS = 500
const ANONYMOUS_PER_MINUTE = 100

/**
 * Makes the HTTP server with everything around the routes: limits, identity, errors, log, metrics, health,
 * `/openapi.json` and `/docs`. Routes are added to what it answers, then `listen` is called. Every route
 * must say `config.who`, or adding it throws AssertionFailed.
 */
export async function createServer(options: ServerOptions): Promise<FastifyInstance> {
  const base_url = (options.base_url ?? '').replace(/\/+$/, '')
  const trusted_proxies = options.trusted_proxies ?? []
  const drain = { is_draining: false }
  const metrics = options.metrics ?? createMetrics()
  const request_log = createRequestLog(options.log, metrics)
  const headers = Object.entries(securityHeaders(base_url))
  const begin = (request: FastifyRequest, reply: FastifyReply): void => {
    request.begun_at = performance.now()
    for (const [name, value] of headers) reply.header(name, value)
    reply.header('x-request-id', request.id)
    if (drain.is_draining) reply.header('connection', 'close')
  }
  const app = Fastify({
    ...fastifyOptions(options, trusted_proxies),
    // An address that cannot be read reaches no route and no hook.
    frameworkErrors: (error, request, reply) => {
      begin(request, reply)
      sendProblem(error, request, reply, base_url)
      request_log.note(request, reply)
    },
  })
  const timeouts = { ...TIMEOUTS, ...options.timeouts }
  app.server.headersTimeout = timeouts.headers_ms
  app.server.maxHeadersCount = HEADERS_MAX
  watchConnections(app)
  gatherPipelinedAnswers(app.server)

  decorate(app, { base_url, metrics, drain })
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply, base_url))
  addBodyParsers(app)

  app.addHook('onRequest', (request, reply, done) => {
    begin(request, reply)
    done()
  })
  const guard = createGuard({
    authenticate: options.authenticate,
    anonymous_per_minute: options.anonymous_per_minute ?? ANONYMOUS_PER_MINUTE,
    isOverloaded: await watchLoad(app),
  })
  // Before the guard's hook: the plugin's own route answers preflights and needs no guard.
  await addCors(app, options.cors_origins ?? [])
  app.addHook('onSend', (request, reply, _payload, done) => {
    request_log.note(request, reply)
    done()
  })
  app.addHook('onRoute', (route) => {
    request_log.addTo(route)
    guard.addTo(route)
  })
  app.setNotFoundHandler((request) => {
    guard.countUnknownRoute(request)
    throw new NotFound('There is nothing at this address.')
  })
  addPoolMetrics(metrics, options.kit.db.pool)
  addHealthRoutes(app, {
    sql: options.kit.db,
    readiness: options.readiness ?? [],
    metrics_token: options.metrics_token,
    trusts_proxies: trusted_proxies.length > 0,
  })
  await addOpenApi(app, { version: options.version, base_url })
  addDocsPage(app)
  return app
}

function decorate(app: FastifyInstance, own: Pick<FastifyInstance, 'base_url' | 'metrics' | 'drain'>): void {
  app.decorate('base_url', own.base_url)
  app.decorate('metrics', own.metrics)
  app.decorate('drain', own.drain)
  app.decorateRequest('actor')
  app.decorateRequest('failure', null)
  app.decorateRequest('begun_at', 0)
  app.decorateRequest('logged', null)
}

function fastifyOptions(
  options: ServerOptions,
  trusted_proxies: readonly string[],
): FastifyHttpOptions<Server> {
  const timeouts = { ...TIMEOUTS, ...options.timeouts }
  return {
    logger: false,
    bodyLimit: BODY_MAX_BYTES,
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    requestTimeout: timeouts.request_ms,
    connectionTimeout: timeouts.silence_ms,
    keepAliveTimeout: timeouts.keep_alive_ms,
    forceCloseConnections: true,
    // Draining is done before Fastify hears of it; whoever still gets through is served.
    return503OnClosing: false,
    trustProxy: trusted_proxies.length > 0 ? [...trusted_proxies] : false,
    genReqId: requestIds(trusted_proxies),
    requestIdHeader: false,
    routerOptions: {
      caseSensitive: true,
      ignoreTrailingSlash: false,
      ignoreDuplicateSlashes: false,
      maxParamLength: PARAMETER_MAX,
    },
    http: {
      maxHeaderSize: HEADERS_MAX_BYTES,
      insecureHTTPParser: false,
      requireHostHeader: true,
      connectionsCheckingInterval: timeouts.check_ms,
    },
    clientErrorHandler: answerBrokenRequest,
  }
}

/** Our own ids; a trusted proxy's, if it sends one that can stand in a log line. */
function requestIds(trusted_proxies: readonly string[]): NonNullable<FastifyHttpOptions<Server>['genReqId']> {
  const isTrusted = trusted_proxies.length > 0 ? addressCheck(trusted_proxies) : undefined
  const nextId = idCounter()
  return (request) => {
    if (isTrusted !== undefined) {
      const given = request.headers['x-request-id']
      const is_usable = typeof given === 'string' && /^[\w.-]{8,100}$/.test(given)
      if (is_usable && isTrusted(request.socket.remoteAddress ?? '')) return given
    }
    return nextId()
  }
}

/** Ids of requests: a fresh one every 32,768 requests, and a count in its last three letters in between. */
function idCounter(): () => string {
  let beginning = ''
  let count = ID_COUNTS
  return () => {
    if (count === ID_COUNTS) {
      beginning = newId('req').slice(0, -3)
      count = 0
    }
    const end =
      ID_LETTERS.charAt(count >> 10) + ID_LETTERS.charAt((count >> 5) & 31) + ID_LETTERS.charAt(count & 31)
    count++
    return beginning + end
  }
}

const ID_LETTERS = '0123456789abcdefghjkmnpqrstvwxyz'
const ID_COUNTS = 32 ** 3

interface BrokenSocket {
  readonly writable: boolean
  destroy(): unknown
  end(text: string): unknown
}

/** What Node could not even read as a request: no route, no hook and no log line see it. */
function answerBrokenRequest(error: Error & { code?: string }, socket: BrokenSocket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const [status, reason, code, title] = BROKEN[error.code ?? ''] ?? BROKEN_OTHERWISE
  const body = problemText({ type: `/errors/${code}`, title, status, code })
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\ncontent-type: application/problem+json\r\nconnection: close\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

type Broken = readonly [status: number, reason: string, code: string, title: string]
const BROKEN_OTHERWISE: Broken = [400, 'Bad Request', 'invalid_request', 'The request is malformed.']
const BROKEN: Readonly<Record<string, Broken>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [
    408,
    'Request Timeout',
    'request_timeout',
    'The request did not arrive in time.',
  ],
  HPE_HEADER_OVERFLOW: [
    431,
    'Request Header Fields Too Large',
    'headers_too_large',
    'The headers are too large.',
  ],
}

/**
 * Answers whether this process has more to do than it can. The plugin lives in a scope of its own, because
 * its hook reads every route's options for every request; here one comparison is enough.
 */
async function watchLoad(app: FastifyInstance): Promise<() => boolean> {
  let isOverloaded = (): boolean => false
  await app.register(async (scope) => {
    await scope.register(underPressure, {
      maxEventLoopDelay: LOOP_DELAY_MAX_MS,
      maxHeapUsedBytes: Math.floor(getHeapStatistics().heap_size_limit * 0.9),
      sampleInterval: 1_000,
    })
    isOverloaded = () => scope.isUnderPressure()
  })
  return isOverloaded
}

/** Pages of listed origins may call; every other origin, `null` among them, gets no permission. */
async function addCors(app: FastifyInstance, origins: readonly string[]): Promise<void> {
  const listed = origins.filter((origin) => origin !== 'null' && origin !== '*')
  if (listed.length === 0) return
  await app.register(cors, {
    origin: [...listed],
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowedHeaders: ['authorization', 'content-type', 'idempotency-key'],
    // A plain OPTIONS is no preflight and no mistake either.
    strictPreflight: false,
    exposedHeaders: ['idempotency-key', 'idempotent-replayed', 'retry-after', 'x-request-id'],
    credentials: false,
    maxAge: 600,
  })
}
