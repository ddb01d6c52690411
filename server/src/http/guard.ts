import type { FastifyReply, FastifyRequest, onRequestHookHandler, RouteOptions } from 'fastify'
import { AssertionFailed, OperationalError, TooManyRequests, Unauthenticated } from '#kernel/errors'
import { createRateLimiter } from '#kernel/rate-limiter'
import { type Actor, anonymousActor, checkWho } from './actor.ts'
import { addressKey } from './client-address.ts'
import type { LoggedRoute } from './request-log.ts'
import type { Who } from './who.ts'

/**
 * Says who sent a request by its credentials; `undefined` when it carries none. Answers at once when it
 * knows the credential, else a promise. Throws (or rejects with) Unauthenticated for a credential that is
 * not valid.
 */
export type Authenticate = (request: FastifyRequest) => Actor | undefined | Promise<Actor | undefined>

export interface Guard {
  /**
   * Gives a route the hook that says who calls, counts the call and refuses whoever may not. It runs last
   * of the route's `onRequest` hooks and before the body is read. A facade whose product has credentials of
   * its own sets `request.actor` in an earlier hook and is then only checked. Throws AssertionFailed when
   * the route does not declare `config.who`.
   */
  addTo(route: RouteOptions): void
  /**
   * Counts a request to an address that does not exist, as an anonymous one. Throws TooManyRequests,
   * OperationalError.
   */
  countUnknownRoute(request: FastifyRequest): void
}

export interface GuardOptions {
  authenticate: Authenticate
  /** Requests a minute for one address without a credential. */
  anonymous_per_minute: number
  /** True while the server says goodbye: every answer then asks for the connection to be closed. */
  draining: { readonly is_draining: boolean }
  /** True while this process has more to do than it can; only probes are answered then. */
  isOverloaded: () => boolean
}

/**
 * The one place that decides about identity and rate of every request. No promise is made when the caller
 * is known.
 */
export function createGuard(options: GuardOptions): Guard {
  const limiter = createRateLimiter()
  const { authenticate, draining, isOverloaded } = options

  /** Counts and throws when there were too many. `bucket` keeps a route with a limit of its own apart. */
  const count = (bucket: string, per_minute: number): void => {
    const wait_ms = limiter.take(bucket, per_minute, performance.now())
    if (wait_ms > 0) throw tooMany(per_minute, wait_ms)
  }

  const admit = (request: FastifyRequest, actor: Actor, route: GuardedRoute): void => {
    request.actor = actor
    if (actor.kind === 'key') {
      if (actor.rate_limit_per_minute !== undefined) count(actor.id, actor.rate_limit_per_minute)
    } else if (actor.kind === 'anonymous' && route.per_minute !== Number.POSITIVE_INFINITY) {
      count(route.bucket + actor.id, route.per_minute)
    }
    checkWho(actor, route.who)
  }

  /** Wrong credentials count as anonymous calls, and at the limit are told so instead: guessing is slow. */
  const refusal = (request: FastifyRequest, error: unknown): unknown => {
    if (!(error instanceof Unauthenticated)) return error
    const per_minute = options.anonymous_per_minute
    const wait_ms = limiter.take(anonymousOf(request).id, per_minute, performance.now())
    return wait_ms > 0 ? tooMany(per_minute, wait_ms) : error
  }

  const enter = (
    request: FastifyRequest,
    route: GuardedRoute,
    actor: Actor | undefined,
    done: (error?: Error) => void,
  ): void => {
    try {
      admit(request, actor ?? anonymousOf(request), route)
    } catch (error) {
      done(error as Error)
      return
    }
    done()
  }

  const hookFor = (route: GuardedRoute): onRequestHookHandler =>
    function guard(request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
      request.logged = route.logged
      if (draining.is_draining) reply.header('connection', 'close')
      if (isOverloaded() && !route.is_probe) {
        done(overloaded())
        return
      }
      let caller: Actor | undefined | Promise<Actor | undefined> = request.actor ?? undefined
      if (caller === undefined && route.who.proof === undefined) {
        try {
          caller = authenticate(request)
        } catch (error) {
          done(refusal(request, error) as Error)
          return
        }
      }
      if (caller instanceof Promise) {
        caller.then(
          (actor) => enter(request, route, actor, done),
          (error: unknown) => done(refusal(request, error) as Error),
        )
      } else {
        enter(request, route, caller, done)
      }
    }

  return {
    addTo: (route) => {
      const own = route.onRequest === undefined ? [] : [route.onRequest].flat()
      route.onRequest = [...own, hookFor(guardedRoute(route, options.anonymous_per_minute))]
    },
    countUnknownRoute: (request) => {
      if (isOverloaded()) throw overloaded()
      count(anonymousOf(request).id, options.anonymous_per_minute)
    },
  }
}

interface GuardedRoute {
  who: Who
  logged: LoggedRoute | null
  is_probe: boolean
  per_minute: number
  bucket: string
}

function guardedRoute(route: RouteOptions, common_per_minute: number): GuardedRoute {
  const who = route.config?.who
  if (who === undefined || Object.keys(who).length === 0) {
    throw new AssertionFailed(`${String(route.method)} ${route.url} does not say who may call it`)
  }
  const own_limit =
    route.config?.anonymous_per_minute ?? (who.proof === undefined ? undefined : Number.POSITIVE_INFINITY)
  return {
    who,
    logged: route.config?.logged ?? null,
    is_probe: route.config?.is_probe === true,
    per_minute: own_limit ?? common_per_minute,
    bucket: own_limit === undefined ? '' : `${route.url} `,
  }
}

function anonymousOf(request: FastifyRequest): Actor {
  // A socket that is gone has no address any more.
  return anonymousActor(addressKey(request.ip ?? ''))
}

function overloaded(): OperationalError {
  return new OperationalError('overloaded', 'The server has more to do than it can.', {
    retry_after_seconds: 5,
  })
}

function tooMany(per_minute: number, wait_ms: number): TooManyRequests {
  return new TooManyRequests(`More than ${per_minute} requests a minute.`, Math.ceil(wait_ms / 1000))
}
