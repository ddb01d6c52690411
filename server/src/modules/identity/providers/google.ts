import { callVendor, GatewayUnavailable } from '@kopilka/extension'
import { createLocalJWKSet, errors, jwtVerify, type JSONWebKeySet } from 'jose'

export interface GoogleSettings {
  client_id: string
  client_secret: string
  /** Registered with Google, exactly. */
  redirect_uri: string
  /** Where discovery begins; another one only for the emulator. */
  issuer?: string | undefined
}

const ISSUER = 'https://accounts.google.com'
const TIMEOUT_MS = 10_000
/** Google turns its keys over every few days; an unknown key is looked for at once in any case. */
const KEYS_MS = 3_600_000
/** Not more often than this for keys that are made up. */
const KEYS_AGAIN_MS = 10_000
const SKEW_SECONDS = 60

interface Endpoints {
  issuer: string
  authorization_endpoint: string
  token_endpoint: string
  jwks_uri: string
}

interface Person {
  subject: string
  name: string | null
  email: string | null
  is_email_verified: boolean
  locale: string | null
}

/**
 * Sign-in by Google: OpenID Connect with PKCE. People are known by `sub`, never by their address. An address
 * counts as proved only when Google runs the mailbox: gmail.com, or a domain of Workspace (`hd`).
 */
export function googleProvider(settings: GoogleSettings) {
  const issuer = settings.issuer ?? ISSUER
  const endpoints = remembered(async () =>
    readEndpoints(await getJson(`${issuer}/.well-known/openid-configuration`)),
  )
  const keys = remembered(async () => readKeys(await getJson((await endpoints()).jwks_uri)))
  return {
    id: 'google' as const,
    title: 'Google',
    redirect_uri: settings.redirect_uri,
    authorizeUrl: async (input: {
      state: string
      nonce: string
      code_challenge: string
    }): Promise<string> => {
      const { authorization_endpoint } = await endpoints()
      const query = new URLSearchParams({
        response_type: 'code',
        client_id: settings.client_id,
        redirect_uri: settings.redirect_uri,
        scope: 'openid email profile',
        state: input.state,
        nonce: input.nonce,
        code_challenge: input.code_challenge,
        code_challenge_method: 'S256',
      })
      return `${authorization_endpoint}?${query}`
    },
    exchange: async (input: {
      code: string
      code_verifier: string
      nonce: string
      now: Date
    }): Promise<Person | { refused: string }> => {
      const { token_endpoint } = await endpoints()
      const answer = await postForm(token_endpoint, {
        grant_type: 'authorization_code',
        code: input.code,
        code_verifier: input.code_verifier,
        client_id: settings.client_id,
        client_secret: settings.client_secret,
        redirect_uri: settings.redirect_uri,
      })
      const id_token = answer['id_token']
      if (typeof id_token !== 'string') return { refused: refusalOf(answer) }
      const check = { client_id: settings.client_id, nonce: input.nonce, now: input.now }
      const first = await readIdToken(id_token, await keys(), check, issuer)
      if (first !== 'unknown key') return first
      const second = await readIdToken(id_token, await keys(KEYS_AGAIN_MS), check, issuer)
      return second === 'unknown key' ? { refused: 'the key of the ID token is not Google’s' } : second
    },
  }
}

interface IdTokenCheck {
  client_id: string
  nonce: string
  now: Date
}

async function readIdToken(
  id_token: string,
  keys: JSONWebKeySet,
  { client_id, nonce, now }: IdTokenCheck,
  issuer: string,
): Promise<Person | { refused: string } | 'unknown key'> {
  try {
    const { payload } = await jwtVerify(id_token, createLocalJWKSet(keys), {
      algorithms: ['RS256'],
      // Google writes both.
      issuer: [issuer, issuer.replace(/^https?:\/\//, '')],
      audience: client_id,
      currentDate: now,
      clockTolerance: SKEW_SECONDS,
      requiredClaims: ['sub', 'iat', 'exp'],
    })
    if (payload['nonce'] !== nonce) return { refused: 'the nonce is another one' }
    const is_for_several = Array.isArray(payload.aud) && payload.aud.length > 1
    if (is_for_several && payload['azp'] !== client_id) return { refused: 'it was made for another client' }
    const { sub, email, name, hd, locale } = payload as Record<string, unknown>
    if (typeof sub !== 'string' || sub === '' || sub.length > 255) return { refused: 'it names nobody' }
    const address = typeof email === 'string' && email.length <= 254 ? email : null
    const is_of_google = address !== null && (/@gmail\.com$/i.test(address) || typeof hd === 'string')
    return {
      subject: sub,
      name: typeof name === 'string' ? name : null,
      email: address,
      is_email_verified: payload['email_verified'] === true && is_of_google,
      locale: typeof locale === 'string' ? locale : null,
    }
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey) return 'unknown key'
    if (error instanceof errors.JOSEError) return { refused: `the ID token is not valid (${error.code})` }
    throw error
  }
}

function readEndpoints(found: Record<string, unknown>): Endpoints {
  const { issuer, authorization_endpoint, token_endpoint, jwks_uri } = found
  if (
    typeof issuer !== 'string' ||
    typeof authorization_endpoint !== 'string' ||
    typeof token_endpoint !== 'string' ||
    typeof jwks_uri !== 'string'
  ) {
    throw new GatewayUnavailable('discovery without endpoints')
  }
  return { issuer, authorization_endpoint, token_endpoint, jwks_uri }
}

function readKeys({ keys }: Record<string, unknown>): JSONWebKeySet {
  if (!Array.isArray(keys)) throw new GatewayUnavailable('a key set without keys')
  return { keys: keys as JSONWebKeySet['keys'] }
}

/**
 * Keeps an answer for a while; failures are not kept. `fresh_ms` asks for one that is not older than that.
 */
function remembered<T>(ask: () => Promise<T>): (fresh_ms?: number) => Promise<T> {
  let kept: { answer: Promise<T>; at: number } | undefined
  return (fresh_ms = KEYS_MS) => {
    if (kept !== undefined && performance.now() - kept.at < fresh_ms) return kept.answer
    const answer = ask()
    const mine = { answer, at: performance.now() }
    kept = mine
    answer.catch(() => {
      if (kept === mine) kept = undefined
    })
    return answer
  }
}

async function getJson(url: string): Promise<Record<string, unknown>> {
  const answer = await callVendor({ method: 'GET', url, timeout_ms: TIMEOUT_MS, body_max_bytes: 100_000 })
  return objectOf(answer.status, answer.json())
}

async function postForm(url: string, form: Record<string, string>): Promise<Record<string, unknown>> {
  const answer = await callVendor({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
    body: new URLSearchParams(form).toString(),
    timeout_ms: TIMEOUT_MS,
    body_max_bytes: 100_000,
  })
  const body = answer.json()
  if (typeof body !== 'object' || body === null) throw new GatewayUnavailable('an answer that is not JSON')
  return body as Record<string, unknown>
}

function objectOf(status: number, body: unknown): Record<string, unknown> {
  if (status !== 200 || typeof body !== 'object' || body === null)
    throw new GatewayUnavailable(`status ${status}`)
  return body as Record<string, unknown>
}

function refusalOf(answer: Record<string, unknown>): string {
  return `the code was refused (${String(answer['error'] ?? 'no ID token').slice(0, 60)})`
}
