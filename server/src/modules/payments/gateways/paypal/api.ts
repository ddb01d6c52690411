import { createHash } from 'node:crypto'
import {
  GatewayMisconfigured,
  GatewayUnavailable,
  callVendor,
  clipText,
  hideSecrets,
  present,
  readAnswer,
  vendorKey,
} from '@kopilka/extension'
import type { GatewayContext, VendorAnswer } from '@kopilka/extension'
import { z } from 'zod'
import { apiUrl } from './config.ts'
import type { Config } from './config.ts'

/** How long others wait for a token that is being fetched, before they fetch one themselves. */
const TOKEN_FETCH_MS = 60_000
/** Nine tenths of each second of a token's life. */
const RENEW_MS_A_SECOND = 900
/** Everything the vendor's own ids are made of: no dot, no slash, so no other path. */
const SAFE_ID = /^[0-9A-Za-z_-]{1,64}$/

const TokenObject = z.object({
  access_token: z.string().min(16).max(4000).regex(/^\S+$/),
  expires_in: z.int().min(1).max(10_000_000),
})
const OAuthError = z.object({ error: z.string().max(100) })
const ErrorObject = z.object({
  name: z.string().max(100),
  details: z
    .array(z.object({ issue: z.string().max(100), description: z.string().optional() }))
    .optional()
    .catch(undefined),
})

/** The calls of one operation share these. */
export interface Shop {
  config: Config
  context: GatewayContext
}

export interface Call {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  path: string
  /** What the idempotency key is made of; needed for every POST that makes or moves money. */
  key?: readonly string[]
  body?: object
  /** 403 is an answer here: the owner's app may lack a permission it can do without. */
  may_be_denied?: boolean
  /** JSON that must go out letter by letter, instead of `body`. */
  raw?: string
}

/** `issue` is the vendor's word about this operation, which was not carried out; `refusal` is for people. */
export type Reply =
  | { refusal?: undefined; body: unknown }
  | { refusal: string; issue: string; is_missing: boolean; is_denied?: boolean }

/**
 * One call. 400, 404 and 422 are a refusal of this operation. Throws GatewayMisconfigured for 403 and a
 * second 401: nothing was done and the owner must act. Throws GatewayUnavailable for everything else that is
 * no success, also for 409: a request under the same key is being worked on.
 */
export async function callApi(shop: Shop, call: Call): Promise<Reply> {
  let token = await accessToken(shop)
  let answer = await send(shop, call, token)
  if (answer.status === 401) {
    // Tokens may be withdrawn before their time; a second refusal is the credentials' own.
    await forgetToken(shop, token)
    token = await accessToken(shop)
    answer = await send(shop, call, token)
  }
  if (answer.status === 204) return { body: undefined }
  if (answer.status >= 200 && answer.status < 300) return { body: answer.json() }
  const { name, details } = readAnswer(ErrorObject, answer.json())
  const issue = details?.[0]?.issue ?? name
  const words = [issue, details?.[0]?.description].filter((word) => word !== undefined).join(': ')
  const refusal = clipText(hideSecrets(words, [...secretsOf(shop.config), token]), 200)
  if (answer.status === 403 && call.may_be_denied === true)
    return { refusal, issue, is_missing: false, is_denied: true }
  if (answer.status === 401 || answer.status === 403) throw new GatewayMisconfigured(refusal)
  if (![400, 404, 422].includes(answer.status)) throw new GatewayUnavailable(`status ${answer.status}`)
  return { refusal, issue, is_missing: answer.status === 404 }
}

/**
 * An object by the vendor's id; `undefined` when there is none, or when the id is none of the vendor's form.
 * Throws GatewayMisconfigured for any other refusal.
 */
export async function readObject<T>(
  shop: Shop,
  schema: z.ZodType<T>,
  place: { path: string; id: string },
): Promise<T | undefined> {
  if (!SAFE_ID.test(place.id)) return undefined
  const reply = await callApi(shop, { method: 'GET', path: `${place.path}/${place.id}` })
  if (reply.refusal === undefined) return readAnswer(schema, reply.body)
  // The vendor refuses an id of another length by its form.
  if (reply.is_missing || reply.issue.startsWith('INVALID_')) return undefined
  throw new GatewayMisconfigured(reply.refusal)
}

/** True for a text that can stand in a path as one of the vendor's ids. */
export function isSafeId(id: string): boolean {
  return SAFE_ID.test(id)
}

/**
 * One token for all calls: asked for once by however many wait for it, renewed at nine tenths of its life.
 * Throws GatewayMisconfigured when the credentials are refused, GatewayUnavailable.
 */
async function accessToken(shop: Shop): Promise<string> {
  const { cache, now } = shop.context
  const key = tokenKey(shop.config)
  const held = cache.get(key)
  if (held && held.expires_at > now.getTime()) return held.value as Promise<string>
  const asked = fetchToken(shop)
  const entry = { value: asked.then(({ token }) => token), expires_at: now.getTime() + TOKEN_FETCH_MS }
  cache.set(key, entry)
  try {
    const { token, renew_ms } = await asked
    entry.expires_at = now.getTime() + renew_ms
    return token
  } catch (error) {
    // Whoever waits for the same promise gets the same error; the next one asks anew.
    await entry.value.catch(() => undefined)
    if (cache.get(key) === entry) cache.delete(key)
    throw error
  }
}

async function fetchToken({ config, context }: Shop): Promise<{ token: string; renew_ms: number }> {
  const credentials = Buffer.from(`${config.client_id}:${config.client_secret}`).toString('base64')
  const answer = await callVendor({
    method: 'POST',
    url: `${apiUrl(config)}/v1/oauth2/token`,
    headers: {
      authorization: `Basic ${credentials}`,
      'content-type': 'application/x-www-form-urlencoded',
    },
    body: 'grant_type=client_credentials',
    timeout_ms: context.timeout_ms,
  })
  if (answer.status === 200) {
    const { access_token, expires_in } = readAnswer(TokenObject, answer.json())
    return { token: access_token, renew_ms: expires_in * RENEW_MS_A_SECOND }
  }
  const { error } = readAnswer(OAuthError, answer.json())
  throw new GatewayMisconfigured(clipText(hideSecrets(error, secretsOf(config)), 100))
}

/** Another call may have fetched a new one meanwhile: only the refused one goes. */
async function forgetToken({ config, context }: Shop, token: string): Promise<void> {
  const held = context.cache.get(tokenKey(config))
  if (held && (await held.value) === token) held.expires_at = 0
}

/** Changed credentials have another token; the secret itself is no key of a cache. */
function tokenKey(config: Config): string {
  const words = JSON.stringify([apiUrl(config), config.client_id, config.client_secret])
  return `token:${createHash('sha256').update(words).digest('hex')}`
}

function secretsOf(config: Config): string[] {
  return [`${config.client_id}:${config.client_secret}`, config.client_secret]
}

function send({ config, context }: Shop, call: Call, token: string): Promise<VendorAnswer> {
  const is_write = call.method === 'POST' || call.method === 'PATCH'
  return callVendor({
    method: call.method,
    url: apiUrl(config) + call.path,
    headers: present({
      authorization: `Bearer ${token}`,
      // Also without a body: a POST of another type is refused.
      'content-type': is_write ? 'application/json' : undefined,
      'paypal-request-id': call.key && vendorKey(call.key, 108),
      prefer: is_write ? 'return=representation' : undefined,
    }),
    timeout_ms: context.timeout_ms,
    ...present({ body: is_write ? (call.raw ?? JSON.stringify(call.body ?? {})) : undefined }),
  })
}
