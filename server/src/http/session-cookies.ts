import { parseCookie, stringifySetCookie } from 'cookie'
import type { FastifyReply } from 'fastify'

/**
 * Cookies of browsers. `__Host-` makes the browser insist: only from this host, for all of it, over TLS (or
 * on this machine), so no neighbour's page under the same domain can plant one. Scripts cannot read them.
 */
const SESSION = '__Host-kopilka'
const DEVICE = '__Host-kopilka-device'
const FLOW = '__Host-kopilka-flow'

/** What a browser sent of ours; empty texts count as nothing. */
export interface Cookies {
  session?: string
  device?: string
  flow?: string
}

const HEADER_MAX = 8_192

/** Reads our cookies. Of a header that is far too long nothing is read. */
export function readCookies(header: string | undefined): Cookies {
  if (header === undefined || header.length > HEADER_MAX) return {}
  const { [SESSION]: session, [DEVICE]: device, [FLOW]: flow } = parseCookie(header)
  return { ...(session ? { session } : {}), ...(device ? { device } : {}), ...(flow ? { flow } : {}) }
}

function cookie(name: string, value: string, maxAge: number): string {
  return stringifySetCookie({ name, value, maxAge, path: '/', secure: true, httpOnly: true, sameSite: 'lax' })
}

const DEVICE_SECONDS = 365 * 86_400

/** Signs a browser in. The device cookie outlives the session: it only keeps strangers' guesses apart. */
export function setSessionCookies(
  reply: FastifyReply,
  cookies: { session: string; device: string; max_age_seconds: number },
): void {
  const session = cookie(SESSION, cookies.session, cookies.max_age_seconds)
  const device = cookie(DEVICE, cookies.device, DEVICE_SECONDS)
  reply.header('set-cookie', [session, device])
}

/** Signs a browser out. */
export function clearSessionCookie(reply: FastifyReply): void {
  reply.header('set-cookie', cookie(SESSION, '', 0))
}

/** Keeps what a browser has to show when a vendor sends it back; gone after ten minutes. */
export function setFlowCookie(reply: FastifyReply, flow: string): void {
  reply.header('set-cookie', cookie(FLOW, flow, 600))
}
