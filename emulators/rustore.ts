import formbody from '@fastify/formbody'
import type { FastifyInstance } from 'fastify'
import { createStore, defineEmulator, startEmulator, unknownObject, wrongState } from './emulator.ts'
import type {
  CompleteInput,
  Emulator,
  EmulatorOptions,
  Forgery,
  Kit,
  Notification,
  Vendor,
} from './emulator.ts'
import { escapeHtml, PAGE_HEADERS, renderPage, wayBack } from './kit/html.ts'
import { SHOP_URL_FIELD } from './kit/settings.ts'
import { registerApi } from './rustore/api.ts'
import { registerAppPage } from './rustore/app-page.ts'
import { encrypted, invoiceNotification, lazyKeys, setStatus, tellSubscription } from './rustore/objects.ts'
import type { Invoice, RustoreSettings, Subscription, World } from './rustore/objects.ts'

const MINUTE_MS = 60_000
const MONTH_MS = 30 * 86_400_000
/** An unconfirmed hold is released by itself. */
const HOLD_MS = 6 * 3_600_000
const OPEN_MS = 20 * MINUTE_MS

const text = (value: string, description: string, schema: object = {}, is_secret = false) => ({
  schema: { type: 'string', maxLength: 2000, ...schema },
  default: value,
  description,
  is_secret,
})

/** RuStore from the vendor's side: the API for servers at `<base_url>/public`, and the app's SDK. */
export const emulator = defineEmulator<RustoreSettings>({
  id: 'rustore',
  title: 'RuStore',
  description: 'Purchases and subscriptions of the Pay SDK, their server API, encrypted notifications.',
  // 16 repeats within 36 hours with growing pauses; the steps are not published.
  retry_schedule_ms: [1, 2, 5, 10, 15, 30, 45, 60, 75, 90, 120, 150, 180, 240, 420, 717].map(
    (minutes) => minutes * MINUTE_MS,
  ),
  attempt_timeout_ms: 3000,
  settings: {
    shop_url: SHOP_URL_FIELD,
    key_id: text('123456789', 'Id of the API key.', { pattern: '^\\w{1,40}$' }),
    public_key: text('', 'PEM of the API key; empty: one is made, POST /console/keys shows it.'),
    app_id: text('12345', 'Number of the app.', { pattern: '^[1-9]\\d{0,11}$' }),
    package_name: text('com.example.app', 'Package of the app.'),
    notification_key: text(
      'a29waWxrYS1lbXVsYXRvci1ub3RpZmljYXRpb24ta2U=',
      'Key of notifications: 32 bytes in base64.',
      { pattern: '^[A-Za-z0-9+/]{43}=$' },
      true,
    ),
    token_ttl_seconds: {
      schema: { type: 'integer', minimum: 1, maximum: 86_400 },
      default: 900,
      description: 'How long a token lives.',
    },
  },
  create: createVendor,
})

/** Starts the emulator; close it when done. */
export function startRustoreEmulator(options: EmulatorOptions<RustoreSettings> = {}): Promise<Emulator> {
  return startEmulator(emulator, options)
}

function createVendor(kit: Kit<RustoreSettings>): Vendor {
  const world: World = {
    kit,
    invoices: createStore<Invoice>(),
    subscriptions: createStore<Subscription>(),
    tokens: new Map(),
    keys: lazyKeys(),
  }
  const { invoices, subscriptions } = world
  return {
    collections: { invoices, subscriptions },
    async routes(app) {
      await app.register(async (api) => registerApi(api, world))
      await app.register(async (pages) => registerApp(pages, world))
    },
    complete: (id, input) => complete(world, id, input),
    forge: (object_id, real) => forge(world, object_id, real),
    accepts: (response) => response.status === 200,
    faultReply: (kind) => ({
      status: kind === 'error_500' ? 500 : 429,
      body: JSON.stringify({ code: 'ERROR', message: 'Something went wrong', body: null }),
    }),
    tick: (now) => expireDue(world, now),
    reset() {
      invoices.clear()
      subscriptions.clear()
      world.tokens.clear()
    },
  }
}

/**
 * What the buyer's phone does: `POST /sdk/purchases` `{product_code, amount, developer_payload?,
 * order_id?, app_user_id?, is_two_stage?, is_sandbox?, is_subscription?}` answers `{invoice_id,
 * purchase_id, pay_url}`; the page pays or declines. `POST /console/keys` is the console's "new key",
 * `POST /console/test-event` its check.
 */
function registerApp(app: FastifyInstance, world: World): void {
  void app.register(formbody)
  const config = { emulator_route: 'page' as const }
  app.post('/sdk/purchases', { config }, async (request, reply) => {
    const { amount, product_code, ...more } = (request.body ?? {}) as Record<string, unknown>
    if (!Number.isSafeInteger(amount) || Number(amount) < 1 || typeof product_code !== 'string') {
      return reply.code(400).send({ error: 'product_code and amount (kopecks) are needed' })
    }
    return buy(world, { ...(more as Partial<Invoice>), product_code, amount: Number(amount) })
  })
  registerAppPage(app, {
    buy: (purchase) => buy(world, purchase as unknown as Purchase),
    shop_url: () => world.kit.settings().shop_url,
  })
  app.get<{ Params: { id: string } }>('/pay/:id', { config }, async (request, reply) =>
    reply.headers(PAGE_HEADERS).send(payPage(world, world.invoices.get(request.params.id))),
  )
  app.post<{ Params: { id: string } }>('/pay/:id', { config }, async (request, reply) => {
    const invoice = world.invoices.get(request.params.id)
    const { action } = (request.body ?? {}) as { action?: string }
    if (invoice?.status === 'CREATED') pay(world, invoice, action === 'pay')
    return reply.headers(PAGE_HEADERS).send(payPage(world, invoice))
  })
  app.post('/console/keys', { config }, async () => ({
    key_id: world.kit.settings().key_id,
    private_key: world.keys().private_key,
  }))
  app.post('/console/test-event', { config }, async () => {
    world.kit.notify(encrypted(world, { object_id: 'test', type: 'TEST_EVENT', data: {} }))
    return {}
  })
}

type Purchase = Partial<Invoice> & { product_code: string; amount: number; is_subscription?: boolean }

function buy(world: World, purchase: Purchase) {
  const invoice = addInvoice(world, purchase)
  if (purchase.is_subscription === true) addSubscription(world, invoice)
  const { id: invoice_id, purchase_id } = invoice
  return { invoice_id, purchase_id, pay_url: `${world.kit.base_url()}/pay/${invoice_id}` }
}

function addInvoice(world: World, given: Purchase): Invoice {
  const { developer_payload, app_user_id, order_id, product_code, amount } = given
  const invoice: Invoice = {
    id: String(555_001 + world.invoices.size),
    purchase_id: world.kit.random.uuid(),
    product_code,
    status: 'CREATED',
    amount,
    currency: 'RUB',
    order_id: order_id ?? world.kit.random.uuid(),
    is_two_stage: given.is_two_stage === true,
    is_sandbox: given.is_sandbox === true,
    created_at: world.kit.now().toISOString(),
    ...(developer_payload === undefined ? {} : { developer_payload }),
    ...(app_user_id === undefined ? {} : { app_user_id }),
  }
  world.invoices.add(invoice.id, invoice)
  return invoice
}

function addSubscription(world: World, invoice: Invoice): void {
  const { purchase_id: id, product_code, amount, order_id, developer_payload, app_user_id } = invoice
  world.subscriptions.add(id, {
    id,
    product_code,
    amount,
    status: 'CLOSED',
    auto_renewing: false,
    started_ms: world.kit.now().getTime(),
    expires_ms: world.kit.now().getTime(),
    renewals: 0,
    invoice_id: invoice.id,
    order_id,
    acknowledged: false,
    is_sandbox: invoice.is_sandbox,
    ...(developer_payload === undefined ? {} : { developer_payload }),
    ...(app_user_id === undefined ? {} : { app_user_id }),
  })
}

function pay(world: World, invoice: Invoice, is_paid: boolean, reason?: string): void {
  const declined = reason === 'rejected' ? 'REJECTED' : 'CANCELLED'
  setStatus(world, invoice, is_paid ? (invoice.is_two_stage ? 'PAID' : 'CONFIRMED') : declined)
  const subscription = world.subscriptions.get(invoice.purchase_id)
  if (!is_paid || !subscription) return
  subscription.status = 'ACTIVE'
  subscription.auto_renewing = true
  subscription.expires_ms = world.kit.now().getTime() + MONTH_MS
  tellSubscription(world, subscription, 'ACTIVATED', 'CLOSED')
}

/** An invoice by its number; a subscription by its purchase: paid again for a period, or ended. */
function complete(world: World, id: string, { outcome, reason }: CompleteInput): unknown {
  const subscription = world.subscriptions.get(id)
  if (subscription) {
    if (subscription.status !== 'ACTIVE') throw wrongState(id, subscription.status)
    if (outcome === 'canceled') closeSubscription(world, subscription)
    else renew(world, subscription)
    return subscription
  }
  const invoice = world.invoices.get(id)
  if (!invoice) throw unknownObject(id)
  if (reason === 'refunded' && invoice.status === 'CONFIRMED') {
    setStatus(world, invoice, 'REFUNDED')
    return invoice
  }
  if (invoice.status !== 'CREATED') throw wrongState(id, invoice.status)
  pay(world, invoice, outcome !== 'canceled', reason)
  return invoice
}

function renew(world: World, subscription: Subscription): void {
  const { product_code, amount, is_sandbox, order_id } = subscription
  const invoice = addInvoice(world, { product_code, amount, is_sandbox, order_id })
  setStatus(world, invoice, 'CONFIRMED')
  subscription.invoice_id = invoice.id
  subscription.renewals += 1
  subscription.expires_ms += MONTH_MS
  tellSubscription(world, subscription, 'RENEWED', 'ACTIVE')
}

function closeSubscription(world: World, subscription: Subscription): void {
  subscription.status = 'CLOSED'
  subscription.auto_renewing = false
  subscription.expires_ms = Math.min(subscription.expires_ms, world.kit.now().getTime())
  tellSubscription(world, subscription, 'CLOSED', 'ACTIVE')
}

function expireDue(world: World, now: Date): void {
  for (const invoice of world.invoices.values()) {
    const age_ms = now.getTime() - new Date(invoice.paid_at ?? invoice.created_at).getTime()
    if (invoice.status === 'CREATED' && age_ms > OPEN_MS) setStatus(world, invoice, 'EXPIRED')
    if (invoice.status === 'PAID' && age_ms > HOLD_MS) setStatus(world, invoice, 'REVERSED')
  }
  for (const subscription of world.subscriptions.values()) {
    if (subscription.status !== 'ACTIVE' || subscription.expires_ms > now.getTime()) continue
    if (subscription.auto_renewing) renew(world, subscription)
    else closeSubscription(world, subscription)
  }
}

/**
 * Lies of someone without the key: another key, a cut or altered payload, plain text; with a true id
 * beside.
 */
function forge(world: World, object_id: string, real: Notification | undefined): Forgery[] {
  const invoice = world.invoices.get(object_id)
  if (!invoice) return []
  const claim = { status_new: 'confirmed' }
  const key = Buffer.alloc(32, 7).toString('base64')
  const other_key = invoiceNotification(world, invoice, invoice.status, claim, { key })
  const lies: Forgery[] = [{ ...other_key, note: 'encrypted with another key' }]
  const told = JSON.parse((real ?? other_key).body ?? '{}') as { payload: string }
  const lie = (payload: string, note: string) => {
    lies.push({ ...other_key, body: JSON.stringify({ ...told, payload }), note })
  }
  const bytes = Buffer.from(told.payload, 'base64')
  bytes[20] = (bytes[20] ?? 0) ^ 1
  lie(bytes.toString('base64'), 'one byte altered')
  lie(bytes.subarray(0, -16).toString('base64'), 'without the tag')
  lie(Buffer.from(JSON.stringify(claim)).toString('base64'), 'not encrypted')
  return lies
}

function payPage(world: World, invoice: Invoice | undefined): string {
  const rows = invoice
    ? `<h1>${(invoice.amount / 100).toFixed(2)} ₽</h1><p>${escapeHtml(invoice.product_code)}</p>`
    : '<h1>404</h1>'
  const form = `<form method="post"><button class="main" name="action" value="pay">Оплатить</button></form>
<form method="post"><button name="action" value="decline">Отказаться</button></form>`
  const state = invoice?.status === 'CREATED' ? form : `<p role="status">${invoice?.status ?? ''}</p>`
  const body = rows + state + wayBack(world.kit.settings().shop_url, 'Вернуться в магазин')
  return renderPage({
    language: 'ru',
    title: 'RuStore',
    note: 'Эмулятор RuStore: деньги не списываются.',
    body,
  })
}
