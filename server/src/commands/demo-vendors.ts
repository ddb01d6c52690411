import { randomBytes } from 'node:crypto'
import type { Emulator, EmulatorOptions } from '@kopilka/emulators/emulator'

/** A gateway of the demo: its vendor, played here, and what the server is told to reach it. */
export interface DemoVendor {
  /** The gateway's id. */
  id: string
  /** What its demo purchases are paid in. */
  currency: string
  emulator: Emulator
  settings: Readonly<Record<string, unknown>>
}

/** How the vendors behave beside their settings. */
export type VendorPace = Pick<EmulatorOptions, 'hold_ms' | 'retry_scale'>

type Starter = (pace: VendorPace) => Promise<Omit<DemoVendor, 'id' | 'currency'>>

/** Secrets are made anew at every start: none of them is worth anything outside of this machine. */
const secret = (size = 18): string => randomBytes(size).toString('hex')

/** Every vendor there is an emulator of; the first is what the tour pays through. */
const STARTERS: readonly { id: string; currency: string; start: Starter }[] = [
  { id: 'yookassa', currency: 'RUB', start: startYookassa },
  { id: 'robokassa', currency: 'RUB', start: startRobokassa },
  { id: 'rustore', currency: 'RUB', start: startRustore },
  { id: 'stripe', currency: 'USD', start: startStripe },
  { id: 'paypal', currency: 'USD', start: startPaypal },
  { id: 'paddle', currency: 'USD', start: startPaddle },
  { id: 'crypto-pay', currency: 'USD', start: startCryptoPay },
]

/** Starts every vendor at once. They are told where to notify by {@link introduce}. */
export async function startVendors(bot_token: string, pace: VendorPace = {}): Promise<DemoVendor[]> {
  const starters = [
    ...STARTERS,
    { id: 'telegram-stars', currency: 'XTR', start: () => startTelegram(bot_token, pace) },
  ]
  return Promise.all(starters.map(async ({ start, ...vendor }) => ({ ...vendor, ...(await start(pace)) })))
}

/** Tells every vendor where the server takes its notifications. */
export function introduce(vendors: readonly DemoVendor[], base_url: string): void {
  for (const { id, emulator } of vendors)
    emulator.control.begin({ webhook_url: `${base_url}/webhooks/payments/${id}` })
}

/** Tells the vendors that are not told by the gateway where their pages lead back to. */
export function showWayBack(vendors: readonly DemoVendor[], shop_url: string): void {
  for (const { emulator } of vendors) {
    if ('shop_url' in emulator.control.status().settings) emulator.control.begin({ shop_url })
  }
}

async function startYookassa(pace: VendorPace) {
  const { startYookassaEmulator } = await import('@kopilka/emulators/yookassa')
  const shop = { shop_id: '100500', secret_key: `test_${secret()}` }
  const emulator = await startYookassaEmulator({ ...pace, settings: shop })
  return {
    emulator,
    settings: { ...shop, base_url: `${emulator.base_url}/v3`, extra_ips: ['127.0.0.1'] },
  }
}

async function startRobokassa(pace: VendorPace) {
  const { startRobokassaEmulator } = await import('@kopilka/emulators/robokassa')
  const [password1, password2, password3] = [secret(), secret(), secret()]
  const shop = { merchant_login: 'demo_shop', password1, password2, password3 }
  const emulator = await startRobokassaEmulator({ ...pace, settings: shop })
  const { base_url } = emulator
  return {
    emulator,
    // A live shop: the vendor's test mode gives nothing back.
    settings: {
      ...shop,
      is_emulated: true,
      pay_url: `${base_url}/Merchant`,
      services_url: base_url,
      receipts_url: base_url,
    },
  }
}

async function startRustore(pace: VendorPace) {
  const { startRustoreEmulator } = await import('@kopilka/emulators/rustore')
  const notification_key = randomBytes(32).toString('base64')
  const emulator = await startRustoreEmulator({ ...pace, settings: { notification_key } })
  const made = await emulator.app.inject({ method: 'POST', url: '/console/keys' })
  const { key_id, private_key } = made.json<{ key_id: string; private_key: string }>()
  return {
    emulator,
    settings: {
      key_id,
      private_key,
      app_id: '12345',
      package_name: 'com.example.app',
      notification_key,
      app_url: `${emulator.base_url}/app`,
      sandbox: true,
      base_url: emulator.base_url,
    },
  }
}

async function startStripe(pace: VendorPace) {
  const { startStripeEmulator } = await import('@kopilka/emulators/stripe')
  const keys = { secret_key: `sk_test_${secret()}`, webhook_secret: `whsec_${secret()}` }
  const emulator = await startStripeEmulator({ ...pace, settings: keys })
  return { emulator, settings: { ...keys, base_url: emulator.base_url } }
}

async function startPaypal(pace: VendorPace) {
  const { startPaypalEmulator } = await import('@kopilka/emulators/paypal')
  const keys = { client_id: `A${secret()}`, client_secret: `E${secret()}`, webhook_id: secret(8) }
  const emulator = await startPaypalEmulator({ ...pace, settings: keys })
  const { merchant_id } = emulator.control.status().settings
  return {
    emulator,
    settings: { ...keys, merchant_id, environment: 'sandbox', base_url: emulator.base_url },
  }
}

async function startPaddle(pace: VendorPace) {
  const { startPaddleEmulator } = await import('@kopilka/emulators/paddle')
  const keys = {
    api_key: `pdl_sdbx_apikey_${secret()}`,
    webhook_secret: `pdl_ntfset_${secret()}`,
  }
  const emulator = await startPaddleEmulator({ ...pace, settings: keys })
  return { emulator, settings: { ...keys, base_url: emulator.base_url } }
}

async function startCryptoPay(pace: VendorPace) {
  const { startCryptoPayEmulator } = await import('@kopilka/emulators/crypto-pay')
  const token = `12345:AA${secret()}`
  const emulator = await startCryptoPayEmulator({ ...pace, settings: { token, are_transfers_enabled: true } })
  const { base_url } = emulator
  return { emulator, settings: { token, network: 'testnet', base_url, refunds_by_transfer: true } }
}

async function startTelegram(bot_token: string, pace: VendorPace) {
  const { startTelegramEmulator } = await import('@kopilka/emulators/telegram')
  const secret_token = secret()
  const emulator = await startTelegramEmulator({
    ...pace,
    settings: { bot_token, secret_token, is_test_environment: true },
  })
  return {
    emulator,
    settings: { bot_token, secret_token, is_test: true, base_url: emulator.base_url },
  }
}
