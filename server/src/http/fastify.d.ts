import type { Actor } from './actor.ts'
import type { DrainState } from './shutdown.ts'
import type { Metrics } from './metrics.ts'
import type { Failure } from './problem.ts'
import type { LoggedRoute } from './request-log.ts'
import type { Who } from './who.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Where the world reaches this server, without a slash at the end; empty when it is not known. */
    base_url: string
    metrics: Metrics
    drain: DrainState
  }
  interface FastifyRequest {
    /** Set before any handler runs, by the guard of its route. */
    actor: Actor
    /** The untouched bytes of the body, on routes that ask for them. */
    raw_body?: Buffer
    /** What went wrong, once something did; for the log. */
    failure: Failure | null
    /** When the request came in, on `performance.now()`. */
    begun_at: number
    logged: LoggedRoute | null
  }
  interface FastifyContextConfig {
    who?: Who
    anonymous_per_minute?: number | undefined
    /** Keeps the body's bytes and parses nothing. */
    raw_body?: boolean
    /** Takes an HTML form instead of JSON. */
    is_form?: boolean
    /** Called thousands of times a second: only one request in a hundred is logged, failures always. */
    is_hot?: boolean
    /** Asked by machines that watch this one; answered under any load. */
    is_probe?: boolean
    logged?: LoggedRoute
    /** Takes an Idempotency-Key. */
    is_keyed?: boolean
    /** What the audit log calls it, when it is kept there. */
    audit_action?: string | undefined
  }
}
