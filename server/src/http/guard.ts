import type { FastifyReply, FastifyRequest, onRequestHookHandler, RouteOptions } from 'fastify'
import { AssertionFailed, OperationalError, TooManyRequests, Unauthenticated } from '#kernel/errors'
import { createRateLimiter } from '#kernel/rate-limiter'
import { type Actor, anonymousActor, checkLook, checkWho } from './actor.ts'
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
  /** True while this process has more to do than it can; only probes are answered then. */
  isOverloaded: () => boolean
}

/**
 * The one place that decides about identity and rate of every request. No promise is made when the caller
 * is known.
 */
export function createGuard(options: GuardOptions): Guard {
  const limits = createLimits(options.anonymous_per_minute)
  return {
    addTo: (route) => {
      const own = route.onRequest === undefined ? [] : [route.onRequest].flat()
      const guarded = guardedRoute(route, options.anonymous_per_minute)
      route.onRequest = [...own, guardHook(options, limits, guarded)]
    },
    countUnknownRoute: (request) => {
      if (options.isOverloaded()) throw overloaded()
      limits.count(anonymousOf(request).id, options.anonymous_per_minute)
    },
  }
}

interface Limits {
  /** Counts and throws when there were too many. */
  count(bucket: string, per_minute: number): void
  /** Wrong credentials count as anonymous calls, and at the limit are told so instead: guessing is slow. */
  refusal(request: FastifyRequest, error: unknown): unknown
}

function createLimits(anonymous_per_minute: number): Limits {
  const limiter = createRateLimiter()
  return {
    count: (bucket, per_minute) => {
      const wait_ms = limiter.take(bucket, per_minute, performance.now())
      if (wait_ms > 0) throw tooMany(per_minute, wait_ms)
    },
    refusal: (request, error) => {
      if (!(error instanceof Unauthenticated)) return error
      const wait_ms = limiter.take(anonymousOf(request).id, anonymous_per_minute, performance.now())
      return wait_ms > 0 ? tooMany(anonymous_per_minute, wait_ms) : error
    },
  }
}

type Done = (error?: Error) => void

function guardHook(
  { authenticate, isOverloaded }: GuardOptions,
  limits: Limits,
  route: GuardedRoute,
): onRequestHookHandler {
  return function guard(request: FastifyRequest, _reply: FastifyReply, done: Done): void {
    request.logged = route.logged
    if (isOverloaded() && !route.is_probe) {
      done(overloaded())
      return
    }
    let caller: Actor | undefined | Promise<Actor | undefined> = request.actor ?? undefined
    if (caller === undefined && route.who.proof === undefined) {
      try {
        caller = authenticate(request)
      } catch (error) {
        refuse(limits, request, { error, done })
        return
      }
    }
    if (caller instanceof Promise) {
      caller.then(
        (actor) => admit(limits, request, { actor, route, done }),
        (error: unknown) => refuse(limits, request, { error, done }),
      )
    } else {
      admit(limits, request, { actor: caller, route, done })
    }
  }
}

function admit(
  limits: Limits,
  request: FastifyRequest,
  entry: { actor: Actor | undefined; route: GuardedRoute; done: Done },
): void {
  const { route, done } = entry
  const actor = entry.actor ?? anonymousOf(request)
  request.actor = actor
  try {
    if (actor.kind === 'key') {
      if (actor.rate_limit_per_minute !== undefined) limits.count(actor.id, actor.rate_limit_per_minute)
    } else if (actor.kind === 'anonymous' && route.per_minute !== Number.POSITIVE_INFINITY) {
      limits.count(route.bucket + actor.id, route.per_minute)
    }
    checkWho(actor, route.who)
    checkLook(actor, request.method, route.who)
  } catch (error) {
    done(error as Error)
    return
  }
  done()
}

function refuse(
  limits: Limits,
  request: FastifyRequest,
  { error, done }: { error: unknown; done: Done },
): void {
  done(limits.refusal(request, error) as Error)
}

interface GuardedRoute {
  who: Who
  logged: LoggedRoute | null
  is_probe: boolean
  per_minute: number
  /** Keeps a route with a limit of its own apart; empty for the common limit. */
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
