import { createHash } from 'node:crypto'
import type { Kit, Store } from '../emulator.ts'
import type { OauthSettings } from '../oauth.ts'
import type { Keys } from './keys.ts'
import type { TelegramKeys } from './telegram.ts'

/** Who a person said to be on the page. */
export interface Person {
  id: string
  name: string
  email: string
}

/** A code that was given and not exchanged yet. */
export interface PendingCode {
  vendor: 'google' | 'vk'
  person: Person
  client_id: string
  redirect_uri: string
  code_challenge: string
  nonce: string
  state: string
  /** VK's own. */
  device_id: string
  expires_ms: number
}

export interface IssuedToken {
  vendor: 'google' | 'vk'
  person: Person
}

export interface OauthWorld {
  kit: Kit<OauthSettings>
  keys: Keys
  telegram: TelegramKeys
  codes: Store<PendingCode>
  tokens: Store<IssuedToken>
}

/** Fields of a form. */
export type Form = Readonly<Record<string, string | undefined>>

/**
 * Takes a code in exchange, once. Answers what is wrong as the vendors name it.
 */
export function takeCode(world: OauthWorld, vendor: 'google' | 'vk', form: Form): PendingCode | string {
  const code = form['code'] ?? ''
  const pending = world.codes.get(code)
  if (!pending || pending.vendor !== vendor || pending.expires_ms < world.kit.now().getTime()) {
    return 'invalid_grant'
  }
  world.codes.delete(code)
  const challenge = createHash('sha256')
    .update(form['code_verifier'] ?? '')
    .digest('base64url')
  if (challenge !== pending.code_challenge) return 'invalid_grant'
  if (form['redirect_uri'] !== pending.redirect_uri) return 'redirect_uri_mismatch'
  if (form['client_id'] !== pending.client_id) return 'invalid_client'
  if (form['grant_type'] !== 'authorization_code') return 'unsupported_grant_type'
  return pending
}

/** A body or a query as plain texts. */
export function fieldsOf(value: unknown): Form {
  if (typeof value !== 'object' || value === null) return {}
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, field]) => (typeof field === 'string' ? [[name, field]] : [])),
  )
}
