import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { randomBytes } from 'node:crypto'
import { startOauthEmulator } from '@kopilka/emulators/oauth'
import { startSmtpEmulator } from '@kopilka/emulators/smtp'
import { applyCatalog } from '#modules/catalog'
import { createApiKey, programAsMaker } from '#modules/identity'
import { seedRateCards, upsertMeter } from '#modules/usage'
import { startApp, type App } from '../app.ts'
import { startShop } from '../../../examples/shop.ts'
import type { Boot } from './boot.ts'
import {
  openVendors,
  showWayBack,
  webhookUrl,
  type DemoVendor,
  type VendorAtTheDoor,
} from './demo-vendors.ts'
import { endWell } from './serving.ts'

const CATALOG = path.resolve(import.meta.dirname, '../../../examples/catalog.screph.yaml')

interface Credentials {
  base_url: string
  secret_key: string
  /** Where a visitor clicks; empty until the server answers. */
  shop_url: string
  /** Addresses of the vendors played, by gateway, and of the mail server and the sign-in vendors. */
  emulators: Record<string, string>
}

/** Everything that runs beside the shop. */
export type DemoWorld = Awaited<ReturnType<typeof startWorld>>

/** Opens the addresses of the vendors the demo is paid through, and starts those it mails and signs in by. */
export async function startWorld() {
  const bot_token = `1234567890:${randomBytes(24).toString('base64url')}`
  const [vendors, people] = await Promise.all([openVendors(bot_token), startPeopleEmulators(bot_token)])
  return { vendors, people }
}

/** Runs the server with a seeded Screph shop that is paid through emulated vendors. */
export async function runDemo(booted: Boot, { vendors, people }: DemoWorld): Promise<void> {
  const { host, port } = booted.settings
  let credentials: Credentials = {
    base_url: `http://${host}:${port}`,
    secret_key: '',
    shop_url: '',
    emulators: { ...addressesOf(vendors), ...people.addresses },
  }
  const app = await startApp({
    ...booted.settings,
    gateways: {
      ...booted.settings.gateways,
      ...Object.fromEntries(vendors.map(({ id, settings }) => [id, settings])),
      sandbox: { secret: randomBytes(24).toString('base64url') },
    },
    people: { ...booted.settings.people, ...people.settings },
    // Whoever waits until the server answers finds the shop, the key and the file.
    prepare: async (parts) => {
      const [secret_key] = await Promise.all([secretKey(booted, parts), seedShop(parts)])
      credentials = { ...credentials, secret_key }
      keepCredentials(booted, credentials)
    },
  })
  const { secret_key } = credentials
  const shop = await startShop({ api_url: app.base_url, secret_key, gateways: vendors })
  credentials = { ...credentials, base_url: app.base_url, shop_url: shop.base_url }
  const file = keepCredentials(booted, credentials)
  const loading = loadVendors(vendors, app.base_url)
  endWell(booted, app, async () => {
    const loaded = await loading
    await Promise.all([shop.close(), people.close(), ...loaded.map(({ emulator }) => emulator.close())])
  })
  showWayBack(await loading, shop.base_url)
  process.stdout.write(tour(credentials, path.relative(process.cwd(), file)))
}

/** One after the other: whoever asks the server meanwhile is answered in between. */
async function loadVendors(vendors: readonly VendorAtTheDoor[], base_url: string): Promise<DemoVendor[]> {
  const loaded: DemoVendor[] = []
  for (const vendor of vendors) {
    await new Promise((resolve) => setTimeout(resolve, 30))
    loaded.push(await vendor.load({ webhook_url: webhookUrl(base_url, vendor.id) }))
  }
  return loaded
}

function addressesOf(vendors: readonly VendorAtTheDoor[]): Record<string, string> {
  return Object.fromEntries(vendors.map(({ id, base_url }) => [id, base_url]))
}

/** A mail server that delivers nothing, and what Telegram would sign for the demo's bot. */
async function startPeopleEmulators(bot_token: string) {
  const mail = await startSmtpEmulator()
  const sign_in = await startOauthEmulator({ settings: { telegram_bot_token: bot_token } })
  const answer = await sign_in.app.inject({ method: 'GET', url: '/telegram/public_key' })
  const { public_key } = answer.json<{ public_key: string }>()
  return {
    addresses: { mail: mail.base_url, sign_in: sign_in.base_url },
    settings: {
      mail: { smtp_url: mail.smtp_url, from: 'Kopilka <no-reply@demo.example>' },
      telegram: { bot_token, public_key },
    },
    close: async () => {
      await Promise.all([mail.close(), sign_in.close()])
    },
  }
}

type Parts = Pick<App, 'db' | 'kit' | 'http'>

/** Puts the shop in; a second start changes nothing. */
async function seedShop(app: Parts): Promise<void> {
  const {
    db,
    kit: { clock },
  } = app
  const selling = applyCatalog(db, clock, readFileSync(CATALOG, 'utf8'))
  const metering = db.transact(async (tx) => {
    await upsertMeter(
      tx,
      {
        code: 'speech',
        name: 'Speech recognition',
        unit: 'minute',
        part_ms: 1000n,
        increment_ms: 15_000n,
        minimum_ms: 15_000n,
        channel_group: 1,
        round_per: 'session',
        empty_increments: 0,
        is_active: true,
      },
      clock.now(),
    )
    await seedRateCards(tx, clock)
  })
  await Promise.all([selling, metering])
}

function credentialsFile({ config }: Boot): string {
  return path.join(config.data_directory, 'credentials.json')
}

/** The key of the last start is kept, so that a script written yesterday works today. */
async function secretKey(booted: Boot, app: Parts): Promise<string> {
  const file = credentialsFile(booted)
  if (existsSync(file)) {
    const { secret_key } = JSON.parse(readFileSync(file, 'utf8')) as Credentials
    const answer = await app.http.inject({
      method: 'GET',
      url: '/v1/api_keys/current',
      headers: { authorization: `Bearer ${secret_key}` },
    })
    if (answer.statusCode === 200) return secret_key
  }
  const { secret } = await app.db.transact((tx) =>
    createApiKey(tx, app.kit.clock, {
      mode: 'sandbox',
      maker: programAsMaker('command'),
      key: { name: 'Demo', scopes: ['*'] },
    }),
  )
  return secret
}

function keepCredentials(booted: Boot, credentials: Credentials): string {
  const file = credentialsFile(booted)
  mkdirSync(path.dirname(file), { recursive: true })
  const text = `${JSON.stringify(credentials, null, 2)}\n`
  writeFileSync(file, text, { mode: 0o600 })
  // Who moved the data may look for the file in the very directory that was named.
  if (booted.is_data_moved)
    writeFileSync(path.join(path.dirname(file), '..', 'credentials.json'), text, { mode: 0o600 })
  return file
}

function vendorLines(emulators: Record<string, string>): string {
  const vendors = Object.entries(emulators).filter(([id]) => id !== 'mail' && id !== 'sign_in')
  return vendors.map(([id, url]) => `${id.padEnd(14)} ${url}/_emulator`).join(`\n${' '.repeat(22)}`)
}

function tour({ base_url, secret_key, shop_url, emulators }: Credentials, file: string): string {
  return `
Kopilka demo: ${base_url} (sandbox, no real money). Ctrl-C stops everything.
  API documentation   ${base_url}/docs
  Admin               ${base_url}/admin/   (user name: the secret key, no password)
  A shop to click in  ${shop_url}/   (pay through any of the emulated vendors, refund)
  Vendors, emulated   ${vendorLines(emulators)}
  Mails, caught       ${emulators['mail']}/
  Secret key          ${secret_key}
  All of this         ${file}

A short tour, to copy and paste into another terminal:

API=${base_url}
YOOKASSA=${emulators['yookassa']}
KEY='Authorization: Bearer ${secret_key}'
JSON='Content-Type: application/json'

# 1. What is sold
curl -s "$API/v1/catalog?currency=RUB"

# 2. Buy 30 minutes as the user alice: answers payment_id, external_id and the page to pay on
curl -s -X POST "$API/api/orders/" -H "$KEY" -H "$JSON" -H 'X-User-Id: alice' \\
  -H "Idempotency-Key: order-$RANDOM" -d '{"package_id":"minutes_30","email":"alice@example.com"}'

# 3. Pay: open payment_url in a browser, or let the emulator do it (EXTERNAL_ID from step 2)
curl -s -X POST "$YOOKASSA/_emulator/payments/EXTERNAL_ID/complete" -H "$JSON" -d '{"outcome":"succeeded"}'

# 4. The balance, package by package
curl -s "$API/api/users/me/balance/" -H "$KEY" -H 'X-User-Id: alice'

# 5. Record 37 seconds of recognition: three blocks of 15 seconds are charged
curl -s -X POST "$API/api/usage/record/" -H "$KEY" -H "$JSON" -H 'X-User-Id: alice' \\
  -H "Idempotency-Key: usage-$RANDOM" -d '{"seconds":37,"provider":"yandex"}'

# 6. Every movement, and what explains it
curl -s "$API/v1/customers/external_id:alice/transfers" -H "$KEY"

# 7. Give back what is left (PAYMENT_ID from step 2)
curl -s -X POST "$API/v1/payments/PAYMENT_ID/refunds" -H "$KEY" -H "$JSON" \\
  -H "Idempotency-Key: refund-$RANDOM" -d '{"reason":"try it"}'

# 8. Are the books right?
curl -s "$API/v1/verification" -H "$KEY"

# 9. Sign up by e-mail: follow the link in ${emulators['mail']}/, then sign in
BOB='{"email":"bob@example.com","password":"correct horse battery"}'
curl -s -X POST "$API/v1/auth/register" -H "$JSON" -d "$BOB"
curl -s -X POST "$API/v1/auth/login" -H "$JSON" -d "$BOB"

# 10. Sign in as a Telegram Mini App does, with data the emulator signs
curl -s "${emulators['sign_in']}/telegram/init_data?id=777000111" |
  curl -s -X POST "$API/v1/auth/telegram" -H "$JSON" -d @-

`
}
