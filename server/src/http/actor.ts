import { MissingScope, Unauthenticated } from '#kernel/errors'
import type { Who } from './who.ts'

/** Whoever is calling. `id` is what idempotency keys, limits and the audit log are kept under. */
export type Actor = AnonymousActor | KeyActor | UserActor

export interface AnonymousActor {
  kind: 'anonymous'
  id: string
}

/** A secret API key: the owner's own servers. */
export interface KeyActor {
  kind: 'key'
  id: string
  /** `*` holds everything. */
  scopes: ReadonlySet<string>
  /** Requests a minute for this key; undefined is without a limit. */
  rate_limit_per_minute?: number
}

/** A person who signed in. Staff are users who hold permissions. */
export interface UserActor {
  kind: 'user'
  id: string
  session_id: string
  customer_id: string
  permissions: ReadonlySet<string>
  /** The staff member behind this session while he looks through this user's eyes. */
  impersonator_id?: string
  /** Staff whose permissions wait until a second factor is proved in this session. */
  needs_second_factor?: boolean
}

/**
 * Whoever sends no credential. `network` is the address (IPv6: its /64) limits and keys are counted under.
 */
export function anonymousActor(network: string): AnonymousActor {
  return { kind: 'anonymous', id: `ip:${network}` }
}

/**
 * Whether this actor may use a route at all, before anything is looked up. Ownership is checked by the verb.
 * Throws {@link Unauthenticated} for anonymous callers and {@link MissingScope} for the wrong key or role.
 */
export function checkWho(actor: Actor, who: Who): void {
  if (who.anonymous || who.proof !== undefined) return
  if (actor.kind === 'anonymous') {
    throw new Unauthenticated('Send a secret API key or an access token as `Authorization: Bearer …`.')
  }
  if (actor.kind === 'key') {
    if (who.key === 'any') return
    if (who.key !== undefined && (actor.scopes.has(who.key) || actor.scopes.has('*'))) return
    throw new MissingScope(
      who.key === undefined ? 'API keys may not call this.' : `This API key lacks the scope ${who.key}.`,
      who.key === undefined ? {} : { scope: who.key },
    )
  }
  if (who.user) return
  if (who.staff !== undefined && actor.permissions.has(who.staff)) return
  throw new MissingScope(
    'Your role does not allow this.',
    who.staff === undefined ? {} : { permission: who.staff },
  )
}

/**
 * Whoever looks through another's eyes sees and changes nothing, whatever that person may do. Throws
 * {@link MissingScope}.
 */
export function checkLook(actor: Actor, method: string, who: Who): void {
  if (actor.kind !== 'user' || actor.impersonator_id === undefined) return
  if (method === 'GET' || method === 'HEAD' || who.anonymous || who.proof !== undefined) return
  throw new MissingScope('A look through somebody’s eyes changes nothing.')
}
