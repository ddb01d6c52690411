import { baseUrlField, secretField, textField } from '@kopilka/extension'
import { z } from 'zod'

const HOSTS = { mainnet: 'https://pay.crypt.bot', testnet: 'https://testnet-pay.crypt.bot' }

/** What the owner fills in to sell through Crypto Pay. A token does not tell its network: the owner does. */
export const configSchema = z
  .object({
    token: secretField('API token').regex(/^\d{1,20}:[\w-]{16,200}$/),
    network: z.enum(['mainnet', 'testnet']).default('mainnet').meta({ title: 'Network' }),
    base_url: baseUrlField('', '')
      .unwrap()
      .optional()
      .meta({ title: "API address, when it is not the vendor's own" }),
    accepted_assets: textField('Assets taken for prices in money, e.g. USDT,TON; empty: all', {
      pattern: /^[A-Z0-9]{2,10}(?:,[A-Z0-9]{2,10})*$/,
    }).optional(),
    refunds_by_transfer: z
      .boolean()
      .default(false)
      .meta({ title: "Give money back by transfer to the buyer's Telegram account (the app must allow it)" }),
  })
  .refine(
    ({ network, base_url }) => !Object.values(HOSTS).some((h) => h === base_url && h !== HOSTS[network]),
    {
      error: 'the API address is of the other network',
      path: ['base_url'],
    },
  )

export type Config = z.infer<typeof configSchema>

export function apiUrl(config: Config): string {
  return config.base_url ?? HOSTS[config.network]
}
