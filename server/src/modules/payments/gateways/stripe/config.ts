import { baseUrlField, secretField } from '@kopilka/extension'
import { z } from 'zod'

/** What the owner fills in to sell through Stripe. */
export const configSchema = z.object({
  secret_key: secretField('Secret or restricted key').regex(/^(?:sk|rk)_(?:test|live)_\w+$/),
  webhook_secret: secretField('Signing secret of the webhook endpoint').regex(/^whsec_\w+$/),
  base_url: baseUrlField('API address', 'https://api.stripe.com'),
})

export type Config = z.infer<typeof configSchema>

/** The key says which mode every call and every event belongs to. */
export function isTestKey(config: Config): boolean {
  return /^(?:sk|rk)_test_/.test(config.secret_key)
}
