import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Metrics } from './metrics.ts'

/** What the edge needs of a log; pino's logger is one. */
export interface ServerLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Of successful requests to hot routes, every this many is logged. */
const HOT_SAMPLE = 100

/**
 * What is done after a response was sent: one line in the log and one count. Lines hold the path without its query,
 * which may carry tokens, and no header and no body. Routes are counted by their pattern, so ids are no labels.
 */
export function createRequestLog(
  log: ServerLog,
  metrics: Metrics,
): (request: FastifyRequest, reply: FastifyReply, done: () => void) => void {
  let hot_count = 0
  return (request, reply, done) => {
    const { config, url } = request.routeOptions
    const route = url ?? 'unmatched'
    const elapsed_ms = reply.elapsedTime
    metrics.countRequest(request.method, route, reply.statusCode, elapsed_ms / 1000)
    const failure = request.failure
    if (failure === null && config.is_hot === true && hot_count++ % HOT_SAMPLE !== 0) {
      done()
      return
    }
    const fields = {
      request_id: request.id,
      method: request.method,
      path: pathOf(request.url),
      route,
      status: reply.statusCode,
      duration_ms: Math.round(elapsed_ms * 100) / 100,
      // A request that was refused before it was known who sent it has no actor.
      ...(request.actor ? { actor_id: request.actor.id } : {}),
      ...(failure === null ? {} : { code: failure.code }),
    }
    if (failure?.fault === 'ours') log.error({ ...fields, err: failure.error }, 'request failed')
    else if (failure?.fault === 'world') log.warn({ ...fields, err: failure.error }, 'request could not be done')
    else log.info(fields, 'request')
    done()
  }
}

const PATH_MAX = 300

function pathOf(url: string): string {
  const query_at = url.indexOf('?')
  return (query_at === -1 ? url : url.slice(0, query_at)).slice(0, PATH_MAX)
}
