import type { Actor } from './actor.ts'
import type { Who } from './who.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set before any handler runs, by the authentication hook. */
    actor: Actor
    /** The untouched bytes of the body, on routes that ask for them. */
    raw_body?: Buffer
  }
  interface FastifyContextConfig {
    who?: Who
    anonymous_per_minute?: number | undefined
    raw_body?: boolean
  }
}
