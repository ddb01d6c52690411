import { createPublicKey } from 'node:crypto'
import { baseUrlField, isLocalUrl, secretField, textField } from '@kopilka/extension'
import { z } from 'zod'

/** VAT rates in our words and in the vendor's. */
export const VATS = {
  none: 'none',
  '0': 'vat0',
  '5': 'vat5',
  '7': 'vat7',
  '10': 'vat10',
  '20': 'vat20',
  '22': 'vat22',
  '5/105': 'vat105',
  '7/107': 'vat107',
  '10/110': 'vat110',
  '20/120': 'vat120',
  '22/122': 'vat122',
} as const

/** Hash algorithms a shop may have chosen in its technical settings. */
export const HASHES = ['md5', 'sha256', 'sha384', 'sha512'] as const
export type Hash = (typeof HASHES)[number]

export const VAT_NAMES = Object.keys(VATS) as [keyof typeof VATS, ...(keyof typeof VATS)[]]

const ADDRESSES = ['pay_url', 'services_url', 'receipts_url'] as const

const fields = z.object({
  merchant_login: textField('Shop identifier (MerchantLogin)', { max: 100, pattern: /^[\w.-]+$/ }),
  password1: secretField('Password #1'),
  password2: secretField('Password #2'),
  password3: secretField('Password #3, for refunds').optional(),
  is_test: z.boolean().default(false).meta({ title: 'Test mode: the passwords above are the test pair' }),
  is_emulated: z
    .boolean()
    .default(false)
    .meta({ title: 'The vendor is its emulator on this machine: a live shop that moves no money' }),
  hash: z.enum(HASHES).default('sha256').meta({ title: "Hash algorithm of the shop's technical settings" }),
  pay_url: baseUrlField('Payment interface', 'https://auth.robokassa.ru/Merchant'),
  services_url: baseUrlField('Refund service', 'https://services.robokassa.ru'),
  receipts_url: baseUrlField('Second receipts', 'https://ws.roboxchange.com'),
  result2_certificate: z
    .string()
    .trim()
    .max(10_000)
    .refine(isPublicKey, { error: 'must be an RSA certificate or public key in PEM' })
    .optional()
    .meta({ title: 'Certificate of signed notifications (ResultUrl2), PEM; needed for holds' }),
  refund_body: z.enum(['json', 'raw']).default('json').meta({ title: 'Form of a refund request' }),
  refund_algorithm: z.enum(['HS256', 'HS384', 'HS512']).default('HS256').meta({ title: 'Refund signature' }),
  receipts: z.boolean().default(true).meta({ title: 'Send fiscal receipts (54-FZ)' }),
  tax_system: z.int().min(1).max(6).optional().meta({ title: 'Tax system code, 1 to 6' }),
  default_vat: z
    .enum(VAT_NAMES)
    .optional()
    .meta({ title: 'VAT of a purchase that brings an e-mail but no receipt' }),
})

/** What the owner fills in to sell through Robokassa. */
export const configSchema = fields
  .refine(({ is_emulated, is_test }) => !(is_emulated && is_test), {
    path: ['is_emulated'],
    error: 'is for a live shop: leave is_test off',
  })
  .refine((config) => !config.is_emulated || ADDRESSES.every((name) => isLocalUrl(config[name])), {
    path: ['is_emulated'],
    error: `needs ${ADDRESSES.join(', ')} on this machine: the vendor's own addresses move money`,
  })

export type Config = z.infer<typeof configSchema>

/**
 * Whether no money moves. The vendor's test mode takes payments and nothing else: no state, no hold, no
 * refund. All of these are only in its live mode, which moves no money when the vendor is played on this
 * machine.
 */
export function isTest({ is_test, is_emulated }: Config): boolean {
  return is_test || is_emulated
}

function isPublicKey(text: string): boolean {
  try {
    return createPublicKey(text).asymmetricKeyType === 'rsa'
  } catch {
    // Node throws for whatever is no key; the field's own message says what is wanted.
    return false
  }
}
