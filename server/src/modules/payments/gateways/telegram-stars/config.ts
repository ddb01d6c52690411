import { baseUrlField, secretField, textField } from '@kopilka/extension'
import { z } from 'zod'

/** What the owner fills in to sell for Telegram Stars. */
export const configSchema = z.object({
  bot_token: secretField('Bot token').refine((token) => /^\d{1,20}:[\w-]{10,200}$/.test(token), {
    error: 'must be a token of @BotFather',
  }),
  secret_token: secretField('Secret of the webhook, of your own making').refine(
    (secret) => /^[\w-]{16,256}$/.test(secret),
    { error: 'may have letters, digits, _ and - only' },
  ),
  is_test: z.boolean().default(false).meta({ title: 'Test environment of Telegram' }),
  support_text: textField('Answer to /paysupport: where buyers get help', { max: 2000 }).default(
    'Questions about a payment? Write to us here and tell what you bought and when.',
  ),
  terms_text: textField('Answer to /terms', { max: 2000 }).optional(),
  base_url: baseUrlField('API address', 'https://api.telegram.org'),
})

export type Config = z.infer<typeof configSchema>
