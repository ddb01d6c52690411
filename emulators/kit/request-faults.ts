import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { FaultBoard, RequestFault } from './faults.ts'
import type { Log } from './log.ts'
import { publishedOperation } from './published.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Emulator routes: `page` is for a person's browser and is spared by the request faults. */
    emulator_route?: 'api' | 'page' | 'control'
    /** Overrides the rule "everything but GET and HEAD acts". */
    is_operation?: boolean
  }
}

/** A vendor's way of saying that something is wrong on its side. */
export interface FaultReply {
  status: number
  headers?: Record<string, string>
  body: string
}

export interface RequestFaultOptions {
  faults: FaultBoard
  log: Log
  now: () => Date
  /** How long an unanswered request is held before its socket is cut, ms. */
  hold_ms: number
  faultReply: (kind: 'error_500' | 'error_429', request: FastifyRequest) => FaultReply
}

const HTML_PAGE =
  '<!doctype html><html><head><title>502 Bad Gateway</title></head>' +
  '<body><h1>Bad Gateway</h1><p>The server is busy. Please try again later.</p></body></html>'

/**
 * Hooks the request faults and the request log into an instance; every route registered below it is touched.
 */
export function installRequestFaults(app: FastifyInstance, options: RequestFaultOptions): void {
  const playing = new WeakMap<FastifyRequest, RequestFault>()

  app.addHook('preHandler', async (request, reply) => {
    const { emulator_route, is_operation } = request.routeOptions.config
    if (emulator_route === 'control' || emulator_route === 'page' || request.is404) return
    const acts = is_operation ?? (request.method !== 'GET' && request.method !== 'HEAD')
    const fault = options.faults.takeForRequest(acts)
    if (!fault) return
    playing.set(request, fault)
    if (!fault.performed) return reply.send('')
  })

  app.addHook('onSend', async (request, reply, payload) => {
    const fault = playing.get(request)
    if (!fault) return payload
    reply.removeHeader('content-length')
    if (fault.kind === 'timeout_before_charge' || fault.kind === 'timeout_after_charge') {
      writeRequest(options, request, undefined, fault)
      // From here on the reply is ours: a client that gives up would otherwise count as answered, and the
      // operation that was held back would be performed after all.
      reply.hijack()
      await hold(request, options.hold_ms)
      request.raw.socket.destroy()
      // Nothing may be written any more, and whoever waits for this reply waits for nothing.
      return new Promise<never>(() => undefined)
    }
    if (fault.kind === 'html_body') {
      void reply.code(fault.performed ? 502 : 200).type('text/html; charset=utf-8')
      return HTML_PAGE
    }
    const answer = options.faultReply(fault.kind, request)
    void reply.code(answer.status).headers({ 'content-type': 'application/json', ...answer.headers })
    return answer.body
  })

  app.addHook('onResponse', async (request, reply) => {
    if (request.routeOptions.config.emulator_route === 'control') return
    const fault = playing.get(request)
    if (fault?.kind.startsWith('timeout')) return
    writeRequest(options, request, reply, fault)
  })
}

function writeRequest(
  options: RequestFaultOptions,
  request: FastifyRequest,
  reply: FastifyReply | undefined,
  fault: RequestFault | undefined,
): void {
  const body = request.body === undefined || request.body === null ? undefined : bodyText(request.body)
  const key = request.headers['idempotence-key'] ?? request.headers['idempotency-key']
  const operation = publishedOperation(request)
  options.log.add({
    at: options.now().toISOString(),
    kind: 'request',
    method: request.method,
    path: request.url,
    ...(operation === undefined ? {} : { operation }),
    ...(request.routeOptions.config.emulator_route === 'page' ? { is_page: true } : {}),
    ...(reply === undefined ? {} : { status: reply.statusCode }),
    ...(typeof key === 'string' ? { headers: { 'idempotency-key': key } } : {}),
    ...(body === undefined ? {} : { body }),
    ...(fault ? { fault: `${fault.kind}${fault.performed ? '' : ' (not performed)'}` } : {}),
  })
}

function bodyText(body: unknown): string {
  if (typeof body === 'string') return body
  if (Buffer.isBuffer(body)) return body.toString('utf8')
  return JSON.stringify(body)
}

/** Waits until the client is gone; closing the server makes it go. */
async function hold(request: FastifyRequest, hold_ms: number): Promise<void> {
  const { socket } = request.raw
  if (socket.destroyed) return
  await new Promise<void>((resolve) => {
    const release = () => {
      clearTimeout(timer)
      socket.removeListener('close', release)
      resolve()
    }
    const timer = setTimeout(release, hold_ms)
    socket.once('close', release)
  })
}
