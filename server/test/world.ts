import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { Emulator } from '@kopilka/emulators/emulator'
import { startYookassaEmulator } from '@kopilka/emulators/yookassa'
import { startApp, type App, type AppSettings } from '../src/app.ts'
import { databaseClock } from '../src/kernel/clock.ts'
import { moneyTablesDigest } from '../src/modules/admin/index.ts'
import { applyCatalog } from '../src/modules/catalog/index.ts'
import { createApiKey, programAsMaker } from '../src/modules/identity/index.ts'
import { seedRateCards, upsertMeter } from '../src/modules/usage/index.ts'
import { askUntilHeard } from './ask-until-heard.ts'
import { testDatabase } from './db.ts'
import { settingsOf, SHOP } from './world-settings.ts'

const CATALOG = path.resolve(import.meta.dirname, '../../examples/catalog.screph.yaml')
export interface Answer<T = Record<string, unknown>> {
  status: number
  headers: Headers
  body: T
  text: string
}

/**
 * A shop with the Screph catalog, a secret key, the sandbox and YooKassa through its emulator, over real
 * HTTP.
 */
export interface World {
  app: App
  yookassa: Emulator
  base_url: string
  database_url: string
  secret_key: string
  /**
   * One call with the secret key; a POST gets a fresh Idempotency-Key unless one is given. '' leaves a header
   * out.
   */
  call<T = Record<string, unknown>>(
    method: string,
    url: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Answer<T>>
  customer(external_id?: string): Promise<string>
  /** The price id of a product of the catalog, by its key and currency. */
  price(product_key: string, currency?: string): Promise<string>
  /** Places an order of one piece and answers it. */
  order(input: { customer_id: string; product_key: string; gateway?: string }): Promise<PlacedOrder>
  /** Waits until the condition holds; throws after `timeout_ms`. */
  eventually<T>(what: string, probe: () => Promise<T | undefined | false>, timeout_ms?: number): Promise<T>
  /** A digest of every table that holds money or units: equal digests mean that nothing was changed. */
  digest(): Promise<string>
  close(): Promise<void>
}

export interface PlacedOrder {
  id: string
  status: string
  total: number
  currency: string
  payment: { id: string; status: string; gateway: string; external_id: string; checkout_url: string }
}

/** Starts a world. `change` sees the settings before the start. */
export async function startWorld(
  change: (settings: AppSettings) => AppSettings = (same) => same,
): Promise<World> {
  const database = await testDatabase()
  const yookassa = await startYookassaEmulator({ settings: SHOP })
  const settings = change(settingsOf(database.url, yookassa.base_url))
  const app = await startApp(settings)
  yookassa.control.settings({ webhook_url: `${app.base_url}/webhooks/payments/yookassa` })
  const secret_key = await seed(app, settings.mode)
  const call = caller(app.base_url, secret_key)
  return {
    app,
    yookassa,
    secret_key,
    call,
    base_url: app.base_url,
    database_url: database.url,
    customer: async (external_id = `user-${randomBytes(6).toString('hex')}`) => {
      const { body } = await call<{ id: string }>('POST', '/v1/customers', { external_id })
      return body.id
    },
    price: (product_key, currency = 'RUB') => priceOf(call, product_key, currency),
    order: async ({ customer_id, product_key, gateway = 'yookassa' }) => {
      const price_id = await priceOf(call, product_key, 'RUB')
      const { body, status, text } = await call<PlacedOrder>('POST', '/v1/orders', {
        customer_id,
        gateway,
        lines: [{ price_id, quantity: 1 }],
        return_url: 'https://shop.example/back',
        receipt_contact: { email: 'buyer@example.com' },
      })
      if (status !== 201) throw new Error(`the order was refused: ${text}`)
      return body
    },
    eventually,
    digest: () => moneyTablesDigest(app.db),
    close: async () => {
      await yookassa.close()
      // The clients were this test's own and ask no more: no draining has to wait for a second of silence.
      app.http.server.closeIdleConnections()
      await app.stop()
      await database.close()
    },
  }
}

async function seed(app: App, mode: AppSettings['mode']): Promise<string> {
  const clock = databaseClock()
  await applyCatalog(app.db, clock, readFileSync(CATALOG, 'utf8'))
  return app.db.transact(async (tx) => {
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
    const { secret } = await createApiKey(tx, clock, {
      mode,
      maker: programAsMaker('command'),
      key: { name: 'world', scopes: ['*'] },
    })
    return secret
  })
}

function caller(base_url: string, secret_key: string): World['call'] {
  const call = async (
    method: string,
    url: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer<unknown>> => {
    const given_key = randomBytes(12).toString('hex')
    return askUntilHeard(async () => {
      const response = await fetch(`${base_url}${url}`, {
        method,
        redirect: 'manual',
        headers: Object.entries({
          authorization: `Bearer ${secret_key}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(method === 'POST' ? { 'idempotency-key': given_key } : {}),
          ...headers,
        }).filter(([, value]) => value !== ''),
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      })
      const text = await response.text()
      return { status: response.status, headers: response.headers, text, body: parse(text) }
    })
  }
  return call as World['call']
}

async function priceOf(call: World['call'], product_key: string, currency: string): Promise<string> {
  const products = await call<{ items: { id: string; key: string }[] }>('GET', '/v1/products?limit=200')
  const product = products.body.items.find((item) => item.key === product_key)
  const prices = await call<{
    items: { id: string; product_id: string; currency: string; is_active: boolean }[]
  }>('GET', '/v1/prices?limit=200')
  const price = prices.body.items.find(
    (item) => item.product_id === product?.id && item.currency === currency && item.is_active,
  )
  if (!price) throw new Error(`no price of ${product_key} in ${currency}`)
  return price.id
}

async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined | false>,
  timeout_ms = 20_000,
): Promise<T> {
  const deadline = performance.now() + timeout_ms
  for (;;) {
    const found = await probe()
    if (found !== undefined && found !== false) return found
    if (performance.now() > deadline) throw new Error(`it did not come about: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
