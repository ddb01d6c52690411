import type { FastifyRequest } from 'fastify'
import { InvalidRequest } from '#kernel/errors'
import { newId } from '#kernel/ids'

/** Visible ASCII without spaces at the ends; 255 characters as in the IETF draft's examples of servers. */
const FORM = /^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/

/**
 * The caller's `Idempotency-Key`. Without the header a key is made for this one request and sent back,
 * so the write is still recorded under a key, but a retry without it is a new intent.
 * Throws InvalidRequest when the header is malformed or given twice.
 */
export function idempotencyKeyOf(request: FastifyRequest): string {
  const header = request.headers['idempotency-key']
  if (header === undefined) return newId('req')
  if (typeof header === 'string' && FORM.test(header)) return header
  throw new InvalidRequest([
    { pointer: '/headers/idempotency-key', detail: 'must be 1 to 255 visible ASCII characters, once' },
  ])
}
