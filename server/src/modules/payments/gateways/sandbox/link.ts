import { createHmac } from 'node:crypto'
import { sameBytes } from '@kopilka/extension'
import { z } from 'zod'

/** Schemes a browser must never be sent to. */
const FORBIDDEN_SCHEMES = ['javascript:', 'data:', 'vbscript:', 'blob:', 'file:', 'about:']
const TOKEN = /^([0-9A-Za-z_-]{1,12000})\.([0-9a-f]{64})$/

const SandboxLink = z.object({
  payment_id: z.string(),
  payment_number: z.int(),
  order_id: z.string(),
  amount: z
    .string()
    .regex(/^\d{1,18}$/)
    .transform(BigInt),
  currency: z.string().regex(/^[A-Z]{3}$/),
  description: z.string(),
  return_url: z.string(),
  capture: z.boolean(),
  save_method: z.boolean(),
  locale: z.string(),
  expires_at: z.coerce.date(),
})

/** What the sandbox's payment page knows about a payment: all of it stands, signed, in the page's address. */
export type SandboxLink = z.infer<typeof SandboxLink>

/** May the buyer be sent to this address after the page? */
export function isReturnUrl(text: string): boolean {
  return text.length <= 2048 && URL.canParse(text) && !FORBIDDEN_SCHEMES.includes(new URL(text).protocol)
}

/** The address of a payment's page. */
export function sandboxLinkUrl(secret: string, base_url: string, link: SandboxLink): string {
  const text = JSON.stringify({ ...link, amount: String(link.amount) })
  const content = Buffer.from(text, 'utf8').toString('base64url')
  const path = encodeURIComponent(link.payment_id)
  return `${base_url}/sandbox/pay/${path}?link=${content}.${signature(secret, content)}`
}

/**
 * Reads the `link` parameter of a page's address; `undefined` when it is not signed by this secret, was
 * altered, or belongs to another payment's page. Says nothing about `expires_at`: the page does.
 */
export function readSandboxLink(secret: string, payment_id: string, token: unknown): SandboxLink | undefined {
  const match = typeof token === 'string' ? TOKEN.exec(token) : null
  const [, content = '', given = ''] = match ?? []
  if (!match || !sameBytes(given, signature(secret, content))) return undefined
  const link = SandboxLink.safeParse(JSON.parse(Buffer.from(content, 'base64url').toString('utf8')))
  return link.success && link.data.payment_id === payment_id ? link.data : undefined
}

/** The leading word keeps a page's signature from ever being a notification's, which begins with digits. */
function signature(secret: string, content: string): string {
  return createHmac('sha256', secret).update(`link.${content}`).digest('hex')
}
