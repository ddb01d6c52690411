import { sign } from 'node:crypto'
import {
  GatewayMisconfigured,
  GatewayUnavailable,
  callVendor,
  clipText,
  hideSecrets,
  present,
  readAnswer,
} from '@kopilka/extension'
import type { GatewayContext, VendorAnswer } from '@kopilka/extension'
import { z } from 'zod'
import { readPrivateKey } from './config.ts'
import type { Config } from './config.ts'

/** Confirming may take the vendor half a minute. */
const TIMEOUT_MS = 40_000
/** A token is left unused for its last minute. */
const TOKEN_MARGIN_SECONDS = 60

const Envelope = z.object({ code: z.string().max(64), message: z.string().nullish(), body: z.unknown() })
const Token = z.object({ jwe: z.string().min(1).max(10_000), ttl: z.number().int().positive() })

/** The calls of one operation share these. */
export interface Shop {
  config: Config
  context: GatewayContext
}

export interface Call {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH'
  /** After `/public` or `/public/sandbox`. */
  path: string
}

/** `refusal` is the vendor's word about this one operation; `is_unknown`: there is no such object. */
export type Reply = { refusal?: undefined; body: unknown } | { refusal: string; is_unknown: boolean }

/**
 * The signature of a token request: RSA with SHA-512 over the key's id and the timestamp, nothing between.
 */
export function signAuth(config: Pick<Config, 'key_id' | 'private_key'>, timestamp: string): string {
  const key = readPrivateKey(config.private_key)
  if (key === undefined) throw new GatewayMisconfigured('the private key cannot be read')
  return sign('RSA-SHA512', Buffer.from(config.key_id + timestamp), key).toString('base64')
}

/**
 * One call with a token, which is fetched when there is none and once more when it is refused. Throws
 * GatewayMisconfigured when the keys are refused, GatewayUnavailable for what is not the vendor's form.
 */
export async function callApi(shop: Shop, call: Call): Promise<Reply> {
  const { config, context } = shop
  const request = async () =>
    callVendor({
      method: call.method,
      url: `${config.base_url}/public${config.sandbox ? '/sandbox' : ''}${call.path}`,
      headers: { 'public-token': await readToken(shop) },
      timeout_ms: context.timeout_ms ?? TIMEOUT_MS,
    })
  let answer = await request()
  if (isTokenRefused(answer)) {
    context.cache.delete(tokenKey(config))
    answer = await request()
  }
  const { code, message, body } = readAnswer(Envelope, answer.json())
  if (answer.status === 200 && code === 'OK') return { body }
  const refusal = wordsOf(shop, [code, message ?? ''])
  if (answer.status === 401 || answer.status === 403) throw new GatewayMisconfigured(refusal)
  if (![200, 400, 404, 409, 422].includes(answer.status)) {
    throw new GatewayUnavailable(`status ${answer.status}`)
  }
  const is_unknown = answer.status === 404 || code === 'NOT_FOUND' || /not found/i.test(message ?? '')
  return { refusal, is_unknown }
}

/** The token, from memory or from the vendor; callers at once share one request. */
export function readToken(shop: Shop): Promise<string> {
  const { config, context } = shop
  const key = tokenKey(config)
  const held = context.cache.get(key)
  if (held && held.expires_at > context.now.getTime()) return held.value as Promise<string>
  const asked = requestToken(shop)
    .then(({ jwe, ttl }) => {
      const life_ms = Math.max(1, ttl - TOKEN_MARGIN_SECONDS) * 1000
      context.cache.set(key, { value: asked, expires_at: context.now.getTime() + life_ms })
      return jwe
    })
    .catch((error: unknown) => {
      context.cache.delete(key)
      throw error
    })
  context.cache.set(key, { value: asked, expires_at: context.now.getTime() + TIMEOUT_MS })
  return asked
}

async function requestToken(shop: Shop): Promise<z.infer<typeof Token>> {
  const { config, context } = shop
  const timestamp = context.now.toISOString()
  const signature = signAuth(config, timestamp)
  const answer = await callVendor({
    method: 'POST',
    url: `${config.base_url}/public/auth/`,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ keyId: config.key_id, timestamp, signature }),
    timeout_ms: context.timeout_ms ?? TIMEOUT_MS,
  })
  const { code, message, body } = readAnswer(Envelope, answer.json())
  if (answer.status !== 200 || code !== 'OK') {
    throw new GatewayMisconfigured(wordsOf(shop, [code, message ?? '', signature]))
  }
  return readAnswer(Token, body)
}

function isTokenRefused(answer: VendorAnswer): boolean {
  if (answer.status === 401 || answer.status === 403) return true
  const { data } = Envelope.safeParse(answer.json())
  return data !== undefined && data.code !== 'OK' && /jwe token is expired/i.test(data.message ?? '')
}

/** Other keys or another address: another token. */
function tokenKey(config: Config): string {
  return `token:${config.base_url}:${config.key_id}`
}

function wordsOf({ config }: Shop, [code = '', message = '', signature]: string[]): string {
  const secrets = [config.private_key, config.notification_key, ...Object.values(present({ signature }))]
  return clipText(hideSecrets(`${code}: ${message}`, secrets), 200)
}
