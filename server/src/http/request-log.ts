import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { Metrics } from './metrics.ts'
import type { CountRequest } from './request-counts.ts'

/** What the edge needs of a log; pino's logger is one. */
export interface ServerLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** What is known of a route when one of its requests has its answer. */
export interface LoggedRoute {
  /** The pattern, e.g. `/v1/spends/:id`: ids do not become names of figures. */
  pattern: string
  is_hot: boolean
  count: CountRequest
}

export interface RequestLog {
  /** Prepares what a route's requests are counted and logged as, in `config.logged`. */
  addTo(route: RouteOptions): void
  /**
   * To be called with every answer as it is sent: one line in the log and one count. Lines hold the path
   * without its query, which may carry tokens, and no header and no body.
   */
  note(request: FastifyRequest, reply: FastifyReply): void
}

/** Of successful requests to hot routes, every this many is logged. */
const HOT_SAMPLE = 100
const PATH_MAX = 300

/**
 * The log of requests. It hangs on sending, not on Fastify's `onResponse`, which costs two listeners a
 * request.
 */
export function createRequestLog(log: ServerLog, metrics: Metrics): RequestLog {
  const unmatched: LoggedRoute = {
    pattern: 'unmatched',
    is_hot: false,
    count: metrics.requests.of('any', 'unmatched'),
  }
  let hot_count = 0
  return {
    addTo: (route) => {
      const logged: LoggedRoute = {
        pattern: route.url,
        is_hot: route.config?.is_hot === true,
        count: metrics.requests.of(String(route.method), route.url),
      }
      route.config = { ...route.config, logged }
    },
    note: (request, reply) => {
      // The guard sets it; a request refused before that has to be asked for its route.
      const route = request.logged ?? request.routeOptions.config.logged ?? unmatched
      const elapsed_ms = performance.now() - request.begun_at
      route.count(reply.statusCode, elapsed_ms)
      const { failure } = request
      if (failure === null && route.is_hot && hot_count++ % HOT_SAMPLE !== 0) return
      const fields = {
        request_id: request.id,
        method: request.method,
        path: pathOf(request.url),
        route: route.pattern,
        status: reply.statusCode,
        duration_ms: Math.round(elapsed_ms * 100) / 100,
        // A request that was refused before it was known who sent it has no actor.
        ...(request.actor ? { actor_id: request.actor.id } : {}),
        ...(failure === null ? {} : { code: failure.code }),
      }
      if (failure?.fault === 'ours') log.error({ ...fields, err: failure.error }, 'request failed')
      else if (failure?.fault === 'world')
        log.warn({ ...fields, err: failure.error }, 'request could not be done')
      else log.info(fields, 'request')
    },
  }
}

function pathOf(url: string): string {
  const query_at = url.indexOf('?')
  return (query_at === -1 ? url : url.slice(0, query_at)).slice(0, PATH_MAX)
}
