import type { FastifyReply, FastifyRequest } from 'fastify'
import { VendorError } from './objects.ts'
import type { World } from './objects.ts'

const HOUR_MS = 3_600_000
/** How long the vendor remembers a `PayPal-Request-Id`, by what it was used for. */
export const KEY_LIVES = { order: 6 * HOUR_MS, payment: 45 * 24 * HOUR_MS } as const

/**
 * Performs a POST once per key and path. A repeat is answered with the latest state of what the first one
 * made, and 200; a refused request uses no key up.
 */
export function once(
  world: World,
  request: FastifyRequest,
  reply: FastifyReply,
  act: { life: keyof typeof KEY_LIVES; status: number; perform: () => () => object },
): object {
  const given = request.headers['paypal-request-id']
  const key = typeof given === 'string' ? `${request.url} ${given}` : undefined
  if (typeof given === 'string' && given.length > 108)
    throw new VendorError(400, 'INVALID_REQUEST', [
      { issue: 'INVALID_STRING_LENGTH', description: 'The value of a field is too long.' },
    ])
  const now = world.kit.now().getTime()
  const used = key === undefined ? undefined : world.keys.get(key)
  if (used && used.expires_at > now) {
    void reply.code(200)
    return answer(request, used.show())
  }
  const show = act.perform()
  if (key !== undefined) world.keys.add(key, { show, expires_at: now + KEY_LIVES[act.life] })
  void reply.code(act.status)
  return answer(request, show())
}

/** The whole object only when it was asked for; `id`, `status` and `links` otherwise. */
function answer(request: FastifyRequest, body: object): object {
  if (request.headers['prefer'] === 'return=representation') return structuredClone(body)
  const { id, status, links } = body as { id?: unknown; status?: unknown; links?: unknown }
  return { id, status, links }
}
