import { generateKeyPair, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import type { Emulator, EmulatorOptions } from '@kopilka/emulators/emulator'
import { openDoor } from '@kopilka/emulators/kit/door'

/** A gateway of the demo: its vendor, played here, and what the server is told to reach it. */
export interface DemoVendor {
  /** The gateway's id. */
  id: string
  /** What its demo purchases are paid in. */
  currency: string
  base_url: string
  settings: Readonly<Record<string, unknown>>
  emulator: Emulator
}

/** One whose address is open and who is not loaded yet. */
export interface VendorAtTheDoor extends Omit<DemoVendor, 'emulator'> {
  /** Brings the vendor. */
  load(introduction?: Pick<EmulatorOptions, 'webhook_url'>): Promise<DemoVendor>
}

/** How the vendors behave beside their settings. */
export type VendorPace = Pick<EmulatorOptions, 'hold_ms' | 'retry_scale'>

/** What both sides are told of each other, and how the vendor is brought. */
interface Part {
  settings: Readonly<Record<string, unknown>>
  start: (options: EmulatorOptions) => Promise<Emulator>
}

type Casting = (base_url: string) => Part | Promise<Part>

/** Secrets are made anew at every start: none of them is worth anything outside of this machine. */
const secret = (size = 18): string => randomBytes(size).toString('hex')

/** Every vendor there is an emulator of; the first is what the tour pays through. */
const CASTINGS: readonly { id: string; currency: string; cast: Casting }[] = [
  { id: 'yookassa', currency: 'RUB', cast: castYookassa },
  { id: 'robokassa', currency: 'RUB', cast: castRobokassa },
  { id: 'rustore', currency: 'RUB', cast: castRustore },
  { id: 'stripe', currency: 'USD', cast: castStripe },
  { id: 'paypal', currency: 'USD', cast: castPaypal },
  { id: 'paddle', currency: 'USD', cast: castPaddle },
  { id: 'crypto-pay', currency: 'USD', cast: castCryptoPay },
]

/**
 * Opens every vendor's address and answers what the server is told of it. The vendors themselves are loaded
 * afterwards: they are as much program as the server, and nobody needs them before it answers.
 */
export async function openVendors(bot_token: string, pace: VendorPace = {}): Promise<VendorAtTheDoor[]> {
  const castings = [
    ...CASTINGS,
    { id: 'telegram-stars', currency: 'XTR', cast: (base_url: string) => castTelegram(bot_token, base_url) },
  ]
  return Promise.all(
    castings.map(async ({ id, currency, cast }) => {
      const door = await openDoor()
      const { base_url } = door
      const { settings, start } = await cast(base_url)
      const vendor = { id, currency, base_url, settings }
      return {
        ...vendor,
        load: async (introduction = {}) => ({
          ...vendor,
          emulator: await start({ ...pace, ...introduction, door }),
        }),
      }
    }),
  )
}

/** Starts every vendor at once. They are told where to notify by {@link introduce}. */
export async function startVendors(bot_token: string, pace: VendorPace = {}): Promise<DemoVendor[]> {
  const vendors = await openVendors(bot_token, pace)
  return Promise.all(vendors.map((vendor) => vendor.load()))
}

/** Where the server takes the notifications of a gateway. */
export function webhookUrl(base_url: string, id: string): string {
  return `${base_url}/webhooks/payments/${id}`
}

/** Tells every vendor where the server takes its notifications. */
export function introduce(vendors: readonly DemoVendor[], base_url: string): void {
  for (const { id, emulator } of vendors) emulator.control.begin({ webhook_url: webhookUrl(base_url, id) })
}

/** Tells the vendors that are not told by the gateway where their pages lead back to. */
export function showWayBack(vendors: readonly DemoVendor[], shop_url: string): void {
  for (const { emulator } of vendors) {
    if ('shop_url' in emulator.control.status().settings) emulator.control.begin({ shop_url })
  }
}

function castYookassa(base_url: string): Part {
  const shop = { shop_id: '100500', secret_key: `test_${secret()}` }
  return {
    settings: { ...shop, base_url: `${base_url}/v3`, extra_ips: ['127.0.0.1'] },
    start: async (options) => {
      const { startYookassaEmulator } = await import('@kopilka/emulators/yookassa')
      return startYookassaEmulator({ ...options, settings: shop })
    },
  }
}

function castRobokassa(base_url: string): Part {
  const [password1, password2, password3] = [secret(), secret(), secret()]
  const shop = { merchant_login: 'demo_shop', password1, password2, password3 }
  return {
    // A live shop: the vendor's test mode gives nothing back.
    settings: {
      ...shop,
      is_emulated: true,
      pay_url: `${base_url}/Merchant`,
      services_url: base_url,
      receipts_url: base_url,
    },
    start: async (options) => {
      const { startRobokassaEmulator } = await import('@kopilka/emulators/robokassa')
      return startRobokassaEmulator({ ...options, settings: shop })
    },
  }
}

async function castRustore(base_url: string): Promise<Part> {
  const notification_key = randomBytes(32).toString('base64')
  const key_id = String(100_000_000 + (randomBytes(4).readUInt32BE() % 900_000_000))
  const { publicKey: public_key, privateKey } = await promisify(generateKeyPair)('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'der' },
  })
  return {
    settings: {
      key_id,
      private_key: privateKey.toString('base64'),
      app_id: '12345',
      package_name: 'com.example.app',
      notification_key,
      app_url: `${base_url}/app`,
      sandbox: true,
      base_url,
    },
    start: async (options) => {
      const { startRustoreEmulator } = await import('@kopilka/emulators/rustore')
      return startRustoreEmulator({ ...options, settings: { key_id, public_key, notification_key } })
    },
  }
}

function castStripe(base_url: string): Part {
  const keys = { secret_key: `sk_test_${secret()}`, webhook_secret: `whsec_${secret()}` }
  return {
    settings: { ...keys, base_url },
    start: async (options) => {
      const { startStripeEmulator } = await import('@kopilka/emulators/stripe')
      return startStripeEmulator({ ...options, settings: keys })
    },
  }
}

function castPaypal(base_url: string): Part {
  const keys = { client_id: `A${secret()}`, client_secret: `E${secret()}`, webhook_id: secret(8) }
  const merchant_id = 'KOPILKADEMO42'
  return {
    settings: { ...keys, merchant_id, environment: 'sandbox', base_url },
    start: async (options) => {
      const { startPaypalEmulator } = await import('@kopilka/emulators/paypal')
      return startPaypalEmulator({ ...options, settings: { ...keys, merchant_id } })
    },
  }
}

function castPaddle(base_url: string): Part {
  const keys = {
    api_key: `pdl_sdbx_apikey_${secret()}`,
    webhook_secret: `pdl_ntfset_${secret()}`,
  }
  return {
    settings: { ...keys, base_url },
    start: async (options) => {
      const { startPaddleEmulator } = await import('@kopilka/emulators/paddle')
      return startPaddleEmulator({ ...options, settings: keys })
    },
  }
}

function castCryptoPay(base_url: string): Part {
  const token = `12345:AA${secret()}`
  return {
    settings: { token, network: 'testnet', base_url, refunds_by_transfer: true },
    start: async (options) => {
      const { startCryptoPayEmulator } = await import('@kopilka/emulators/crypto-pay')
      return startCryptoPayEmulator({ ...options, settings: { token, are_transfers_enabled: true } })
    },
  }
}

function castTelegram(bot_token: string, base_url: string): Part {
  const secret_token = secret()
  return {
    settings: { bot_token, secret_token, is_test: true, base_url },
    start: async (options) => {
      const { startTelegramEmulator } = await import('@kopilka/emulators/telegram')
      return startTelegramEmulator({
        ...options,
        settings: { bot_token, secret_token, is_test_environment: true },
      })
    },
  }
}
