import { baseUrlField, secretField, textField } from '@kopilka/extension'
import { z } from 'zod'

const HOSTS = { live: 'https://api-m.paypal.com', sandbox: 'https://api-m.sandbox.paypal.com' }
/** Where the vendor keeps the certificates it signs notifications with. */
const CERTIFICATE_ORIGINS = {
  live: ['https://api.paypal.com', 'https://api-m.paypal.com'],
  sandbox: ['https://api.sandbox.paypal.com', 'https://api-m.sandbox.paypal.com'],
}

/** What the owner fills in to sell through PayPal. Credentials do not tell their mode: the owner does. */
export const configSchema = z
  .object({
    client_id: textField('Client ID of the REST app', { pattern: /^[\w-]{16,200}$/ }),
    client_secret: secretField('Secret of the REST app').regex(/^[\w-]+$/),
    webhook_id: textField('Webhook ID, which every notification is signed with', {
      pattern: /^[0-9A-Za-z]{10,50}$/,
    }),
    environment: z.enum(['live', 'sandbox']).default('live').meta({ title: 'Environment' }),
    verification: z
      .enum(['certificate', 'postback'])
      .default('certificate')
      .meta({ title: 'How notifications are verified: here by certificate, or by asking PayPal' }),
    merchant_id: textField('Merchant ID the money must go to; empty: not compared', {
      pattern: /^[0-9A-Z]{13}$/,
    }).optional(),
    brand_name: textField('Name shown to the buyer; empty: that of the account', { max: 127 }).optional(),
    base_url: baseUrlField('', '')
      .unwrap()
      .optional()
      .meta({ title: "API address, when it is not the vendor's own; in the sandbox only" }),
  })
  .refine(({ environment, base_url }) => environment === 'sandbox' || base_url === undefined, {
    error: 'another API address is for the sandbox only: it would also say whose certificates are trusted',
    path: ['base_url'],
  })

export type Config = z.infer<typeof configSchema>

export function isSandbox(config: Config): boolean {
  return config.environment === 'sandbox'
}

export function apiUrl(config: Config): string {
  return config.base_url ?? HOSTS[config.environment]
}

/** Addresses a signing certificate may be fetched from, exact to the port. */
export function certificateOrigins(config: Config): readonly string[] {
  return config.base_url === undefined
    ? CERTIFICATE_ORIGINS[config.environment]
    : [new URL(config.base_url).origin]
}
