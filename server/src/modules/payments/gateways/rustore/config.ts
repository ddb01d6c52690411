import { createPrivateKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { baseUrlField, textField } from '@kopilka/extension'
import { z } from 'zod'

/** What the owner fills in to sell through RuStore. */
export const configSchema = z.object({
  key_id: textField('API key id', { max: 40, pattern: /^\w+$/ }),
  private_key: z
    .string()
    .trim()
    .min(16)
    .max(10_000)
    .refine((text) => readPrivateKey(text) !== undefined, { error: 'must be an RSA private key' })
    .meta({ title: 'Private key of the API key: base64 from the console, or PEM', secret: true }),
  app_id: textField('Number of the app in the console', { max: 12, pattern: /^[1-9]\d*$/ }),
  package_name: textField('Package name', { max: 200, pattern: /^[\w.]+$/ }),
  notification_key: z
    .string()
    .trim()
    .refine((text) => readAesKey(text) !== undefined, { error: 'must be 32 bytes in base64 or hexadecimal' })
    .meta({ title: 'Key of server notifications', secret: true }),
  app_url: z
    .url({ protocol: /^https?$/ })
    .max(300)
    .meta({ title: 'Address that opens the purchase in the app; the payment id is added to it' }),
  sandbox: z.boolean().default(false).meta({ title: 'Sandbox: test payments only' }),
  base_url: baseUrlField('API address', 'https://public-api.rustore.ru'),
})

export type Config = z.infer<typeof configSchema>

/** Base64 of PKCS#8 without armour as the console gives it, or PEM, also with `\n` written out. */
export function readPrivateKey(text: string): KeyObject | undefined {
  try {
    const key = text.includes('-----BEGIN')
      ? createPrivateKey(text.replaceAll('\\n', '\n'))
      : createPrivateKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'pkcs8' })
    return key.asymmetricKeyType === 'rsa' ? key : undefined
  } catch {
    // Node throws for whatever is no key; the field's own message says what is wanted.
    return undefined
  }
}

/** 32 bytes of base64 or of 64 hexadecimal digits; `undefined` for anything else. */
export function readAesKey(text: string): Buffer | undefined {
  const bytes = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, 'hex') : strictBase64(text)
  return bytes?.length === 32 ? bytes : undefined
}

/** Bytes of base64 in its one proper spelling; `undefined` for any other text. */
export function strictBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.length > 0 && bytes.toString('base64') === text ? bytes : undefined
}
