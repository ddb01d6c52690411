import { baseUrlField, secretField, textField } from '@kopilka/extension'
import { z } from 'zod'

/** What the owner fills in to sell through Paddle Billing. The key tells the mode: sandbox or live. */
export const configSchema = z.object({
  api_key: secretField('API key').regex(/^pdl_(?:live|sdbx)_apikey_\w+$/),
  webhook_secret: secretField('Secret key of the notification destination').regex(/^pdl_ntfset_\w+$/),
  product_id: textField('Product under which purchases are sold; empty: one is made for each', {
    pattern: /^pro_[a-z\d]{26}$/,
  }).optional(),
  checkout_url: z
    .url({ protocol: /^https$/ })
    .max(500)
    .optional()
    .meta({ title: 'Approved page that opens the checkout; empty: the default payment link' }),
  base_url: baseUrlField('', '')
    .unwrap()
    .optional()
    .meta({ title: "API address, when it is not the vendor's own" }),
})

export type Config = z.infer<typeof configSchema>

export function isSandboxKey(config: Config): boolean {
  return config.api_key.startsWith('pdl_sdbx_')
}

export function apiUrl(config: Config): string {
  return (
    config.base_url ?? (isSandboxKey(config) ? 'https://sandbox-api.paddle.com' : 'https://api.paddle.com')
  )
}
