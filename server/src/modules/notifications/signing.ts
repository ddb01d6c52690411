import { createHmac, randomBytes } from 'node:crypto'

const PREFIX = 'whsec_'
const BYTES_MIN = 24
const BYTES_MAX = 64
const NEW_BYTES = 32

/** A new secret in the form of Standard Webhooks. */
export function newSecret(): string {
  return PREFIX + randomBytes(NEW_BYTES).toString('base64')
}

/** True for `whsec_` and the base64 of 24 to 64 bytes. */
export function isSecret(text: string): boolean {
  const encoded = text.slice(PREFIX.length)
  const key = Buffer.from(encoded, 'base64')
  return (
    text.startsWith(PREFIX) &&
    key.length >= BYTES_MIN &&
    key.length <= BYTES_MAX &&
    key.toString('base64') === encoded
  )
}

/**
 * The three headers of Standard Webhooks, signed with every secret that is valid now: whoever still checks
 * with the old one finds his signature too. `sent_at_ms` is the real time of this attempt.
 */
export function signedHeaders(message: {
  id: string
  body: string
  sent_at_ms: number
  secrets: readonly string[]
}): Record<string, string> {
  const timestamp = String(Math.floor(message.sent_at_ms / 1000))
  const content = `${message.id}.${timestamp}.${message.body}`
  const signatures = message.secrets.map((secret) => {
    const key = Buffer.from(secret.slice(PREFIX.length), 'base64')
    return `v1,${createHmac('sha256', key).update(content).digest('base64')}`
  })
  return {
    'webhook-id': message.id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
  }
}
