import formbody from '@fastify/formbody'
import { createStore, defineEmulator, startEmulator } from './emulator.ts'
import type { BaseSettings, Emulator, EmulatorOptions, Kit, Vendor } from './emulator.ts'
import { registerAuthorizePages } from './oauth/authorize.ts'
import { registerGoogle } from './oauth/google.ts'
import { lazyKeys } from './oauth/keys.ts'
import type { IssuedToken, OauthWorld, PendingCode } from './oauth/world.ts'
import { makeTelegramKeys, registerTelegram } from './oauth/telegram.ts'
import { registerVk } from './oauth/vk.ts'

/** What can be wrong with an ID token. */
export const LIES = [
  'none',
  'other_nonce',
  'other_audience',
  'other_issuer',
  'expired',
  'unknown_key',
  'unsigned',
  'hmac_by_public_key',
  'several_audiences',
  'no_subject',
] as const

export interface OauthSettings extends BaseSettings {
  google_client_id: string
  google_client_secret: string
  vk_client_id: string
  telegram_bot_token: string
  redirect_uris: string[]
  lie: string
}

const text = { type: 'string', minLength: 1, maxLength: 200 } as const

/**
 * Sign-in vendors from their side: Google's issuer is `<base_url>/google`, VK ID's base is `<base_url>/vk`.
 */
export const emulator = defineEmulator<OauthSettings>({
  id: 'oauth',
  title: 'Sign-in vendors',
  description:
    'Google and VK ID: the page where a person agrees, codes, tokens, keys; initData as Telegram signs it.',
  settings: {
    google_client_id: { schema: text, default: 'kopilka.apps.example', description: 'Google’s client.' },
    google_client_secret: {
      schema: text,
      default: 'google_emulator_secret',
      description: 'Its secret.',
      is_secret: true,
    },
    vk_client_id: { schema: text, default: '51000000', description: 'VK’s app.' },
    telegram_bot_token: {
      schema: { type: 'string', pattern: '^\\d{3,20}:[\\w-]{20,100}$' },
      default: '1234567890:kopilka_emulator_bot_token_0123456789',
      description: 'The bot whose Mini App data is signed.',
      is_secret: true,
    },
    redirect_uris: {
      schema: { type: 'array', items: { type: 'string' }, maxItems: 20 },
      default: [],
      description: 'Where people may be sent back to, exactly; empty allows any address.',
    },
    lie: {
      schema: { enum: [...LIES] },
      default: 'none',
      description: 'What is wrong with the ID tokens from now on.',
    },
  },
  create: createVendor,
})

/** Starts the emulator; close it when done. */
export function startOauthEmulator(options: EmulatorOptions<OauthSettings> = {}): Promise<Emulator> {
  return startEmulator(emulator, options)
}

function createVendor(kit: Kit<OauthSettings>): Vendor {
  const world: OauthWorld = {
    kit,
    keys: lazyKeys(),
    telegram: makeTelegramKeys(),
    codes: createStore<PendingCode>(10_000),
    tokens: createStore<IssuedToken>(10_000),
  }
  return {
    collections: { codes: world.codes, tokens: world.tokens },
    reset: () => {
      world.codes.clear()
      world.tokens.clear()
    },
    async routes(app) {
      await app.register(formbody)
      registerAuthorizePages(app, world)
      registerGoogle(app, world)
      registerVk(app, world)
      registerTelegram(app, world)
    },
  }
}
