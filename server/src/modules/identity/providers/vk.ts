import { callVendor, GatewayUnavailable } from '@kopilka/extension'

export interface VkSettings {
  client_id: string
  /** Registered with VK ID, exactly. */
  redirect_uri: string
  /** Another one only for the emulator. */
  base_url?: string | undefined
}

const BASE_URL = 'https://id.vk.com'
const TIMEOUT_MS = 10_000

interface Person {
  subject: string
  name: string | null
  email: string | null
  is_email_verified: boolean
  locale: string | null
}

/**
 * Sign-in by VK ID: OAuth 2.1 with PKCE, without a client secret. Who somebody is comes from `user_info` by
 * the token, never from a token that was merely decoded. VK does not say that it checked the address, so it
 * proves nothing.
 */
export function vkProvider(settings: VkSettings) {
  const base_url = settings.base_url ?? BASE_URL
  const { client_id, redirect_uri } = settings
  return {
    id: 'vk' as const,
    title: 'VK ID',
    redirect_uri,
    authorizeUrl: (input: { state: string; code_challenge: string }): string => {
      const query = new URLSearchParams({
        response_type: 'code',
        client_id,
        redirect_uri,
        state: input.state,
        code_challenge: input.code_challenge,
        code_challenge_method: 'S256',
        scope: 'vkid.personal_info email',
      })
      return `${base_url}/authorize?${query}`
    },
    exchange: async (input: {
      code: string
      code_verifier: string
      state: string
      device_id?: string | undefined
    }): Promise<Person | { refused: string }> => {
      if (input.device_id === undefined) return { refused: 'VK’s device_id is missing' }
      const answer = await postForm(`${base_url}/oauth2/auth`, {
        grant_type: 'authorization_code',
        code: input.code,
        code_verifier: input.code_verifier,
        client_id,
        device_id: input.device_id,
        redirect_uri,
        state: input.state,
      })
      // VK answers 200 to refusals too.
      const { access_token, state } = answer
      if (typeof access_token !== 'string') return { refused: refusalOf(answer) }
      if (state !== undefined && state !== input.state) return { refused: 'the state is another one' }
      const info = await postForm(`${base_url}/oauth2/user_info`, { client_id, access_token })
      const user = info['user']
      if (typeof user !== 'object' || user === null) return { refused: refusalOf(info) }
      return personOf(user as Record<string, unknown>)
    },
  }
}

function personOf(user: Record<string, unknown>): Person | { refused: string } {
  const { user_id, first_name, last_name, email } = user
  const subject = typeof user_id === 'string' || typeof user_id === 'number' ? String(user_id) : ''
  if (!/^[1-9]\d{0,18}$/.test(subject)) return { refused: 'it names nobody' }
  const name = [first_name, last_name].filter((part) => typeof part === 'string' && part !== '').join(' ')
  return {
    subject,
    name: name === '' ? null : name,
    email: typeof email === 'string' && email.length <= 254 ? email : null,
    is_email_verified: false,
    locale: null,
  }
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

function refusalOf(answer: Record<string, unknown>): string {
  return `it was refused (${String(answer['error'] ?? 'no answer').slice(0, 60)})`
}
