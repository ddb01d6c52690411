import type { FastifyRequest } from 'fastify'
import { DomainError, Unauthenticated } from '#kernel/errors'
import type { Actor } from './actor.ts'
import type { Authenticate } from './guard.ts'
import { readCookies } from './session-cookies.ts'

/** A request with a session cookie that changes something was not made by a page of ours. */
export class CsrfRefused extends DomainError {
  readonly code = 'csrf_refused'
  readonly status = 403
  readonly title = 'This request was not made by a page of ours.'
}

/** What knows people; answers at once when it can. */
export interface PeopleCallers {
  byAccessToken(token: string): Actor | Promise<Actor>
  byCookie(secret: string): Actor | Promise<Actor>
  isCsrfToken(cookie: string, csrf_token: string): boolean
}

/** Reading methods change nothing, so a foreign page gains nothing by them: it cannot see the answer. */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])
/** Every JSON Web Token begins so: `{"` in Base64; no API key does. */
const TOKEN_HEAD = 'Bearer eyJ'

/**
 * Who sent a request, by whatever it carries: an access token, an API key, or the cookie of a browser's
 * session. An Authorization header goes before a cookie, and needs no CSRF token, because no foreign page can
 * make a browser send one. A cookie that is not valid any more counts as none. Throws Unauthenticated, {@link
 * CsrfRefused}.
 */
export function authenticateCallers(
  keys: Authenticate,
  people: PeopleCallers,
  base_url: () => string,
): Authenticate {
  return (request) => {
    const { authorization, cookie } = request.headers
    if (authorization !== undefined) {
      if (authorization.startsWith(TOKEN_HEAD)) return people.byAccessToken(authorization.slice(7))
      return keys(request)
    }
    if (cookie === undefined) return undefined
    const { session } = readCookies(cookie)
    if (session === undefined) return undefined
    const caller = bySession(people, session)
    if (SAFE.has(request.method)) return caller
    const allow = (actor: Actor | undefined): Actor | undefined => {
      if (actor !== undefined) checkOrigin(request, session, people, base_url())
      return actor
    }
    return caller instanceof Promise ? caller.then(allow) : allow(caller)
  }
}

function bySession(people: PeopleCallers, session: string): Actor | undefined | Promise<Actor | undefined> {
  const orNobody = (error: unknown): undefined => {
    if (error instanceof Unauthenticated) return undefined
    throw error
  }
  try {
    const caller = people.byCookie(session)
    return caller instanceof Promise ? caller.catch(orNobody) : caller
  } catch (error) {
    return orNobody(error)
  }
}

/** The page must know the session's CSRF token, and the browser must not say that another site asked. */
function checkOrigin(
  request: FastifyRequest,
  session: string,
  people: PeopleCallers,
  base_url: string,
): void {
  if (isForeign(request, base_url)) throw new CsrfRefused('It comes from a page of another site.')
  const token = request.headers['x-csrf-token']
  if (typeof token !== 'string' || !people.isCsrfToken(session, token)) {
    throw new CsrfRefused('Send the session’s csrf_token as X-CSRF-Token.')
  }
}

/**
 * Whether the browser says that a page of another site made this request. Programs say nothing, and are no
 * browsers. `Origin: null` is what a sandboxed or redirected page sends: it is foreign.
 */
export function isForeign(request: Pick<FastifyRequest, 'headers'>, base_url: string): boolean {
  const { origin, host } = request.headers
  const site = request.headers['sec-fetch-site']
  if (site === 'cross-site' || site === 'same-site') return true
  if (origin === undefined) return false
  const own = base_url === '' ? undefined : URL.parse(base_url)?.origin
  return own === undefined ? URL.parse(origin)?.host !== host : origin !== own
}
