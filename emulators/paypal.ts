import { createStore, defineEmulator, startEmulator } from './emulator.ts'
import type { Emulator, EmulatorOptions, Kit, Vendor } from './emulator.ts'
import { loadSpec } from './kit/openapi.ts'
import { viewOf } from './kit/store.ts'
import { errorBody, registerApi, registerOpen } from './paypal/api.ts'
import { complete } from './paypal/complete.ts'
import { VendorError } from './paypal/objects.ts'
import type { PaypalSettings, World } from './paypal/objects.ts'
import { DECLINES, expireOrders } from './paypal/orders.ts'
import { registerPage } from './paypal/page.ts'
import { forge } from './paypal/webhooks.ts'

export type {
  Capture,
  Order,
  PaymentToken,
  PaypalSettings,
  Refund,
  Sale,
  Subscription,
  WebhookEvent,
} from './paypal/objects.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000

/** PayPal from the vendor's side. Base URL for a client: `<base_url>`; paths begin with `/v1` to `/v3`. */
export const emulator = defineEmulator<PaypalSettings>({
  id: 'paypal',
  title: 'PayPal',
  description: 'Orders v2, payments, vault, subscriptions, disputes, reports, events signed by certificate.',
  // 25 repeats over three days; the steps themselves are not published.
  retry_schedule_ms: [
    ...[1, 2, 4, 8, 15, 30].map((minutes) => minutes * MINUTE_MS),
    ...Array.from({ length: 19 }, () => 3.7 * HOUR_MS),
  ],
  attempt_timeout_ms: 30_000,
  settings: {
    client_id: {
      schema: { type: 'string', pattern: '^[\\w-]{16,200}$' },
      default: 'AKopilkaEmulatorClient0123456789',
      description: 'Of the REST app.',
    },
    client_secret: {
      schema: { type: 'string', pattern: '^[\\w-]{16,200}$' },
      default: 'EKopilkaEmulatorSecret0123456789',
      description: 'Of the REST app.',
      is_secret: true,
    },
    webhook_id: {
      schema: { type: 'string', pattern: '^[0-9A-Za-z]{10,50}$' },
      default: '1JE4291016473214C',
      description: 'Part of what notifications are signed over.',
    },
    merchant_id: {
      schema: { type: 'string', pattern: '^[0-9A-Z]{13}$' },
      default: 'KPLKAEMULATR2',
      description: 'The account the money goes to.',
    },
    capture_outcome: {
      schema: { enum: ['COMPLETED', 'PENDING', 'DECLINED', 'RESTRICTED', ...DECLINES] },
      default: 'COMPLETED',
      description: 'What captures come to, unless the buyer was declined on the page.',
    },
    charge_outcome: {
      schema: { enum: ['COMPLETED', 'PENDING', 'DECLINED', 'APPROVED', 'RESTRICTED', ...DECLINES] },
      default: 'COMPLETED',
      description: 'What charges of saved methods come to; `APPROVED` leaves the capture to the client.',
    },
    refund_outcome: {
      schema: { enum: ['COMPLETED', 'PENDING', 'FAILED'] },
      default: 'COMPLETED',
      description: 'How refunds end.',
    },
    vault_outcome: {
      schema: { enum: ['VAULTED', 'APPROVED', 'LATE', 'refused'] },
      default: 'VAULTED',
      description:
        '`APPROVED`: the token is not told with the order; `LATE`: nor ready before it is completed with ' +
        '`vault: created`; `refused`: the account has no vault.',
    },
    fee_permille: {
      schema: { type: 'integer', minimum: 0, maximum: 500 },
      default: 34,
      description: "The vendor's fee in tenths of a per cent, rounded up.",
    },
    fee_currency: {
      schema: { type: 'string', pattern: '^([A-Z]{3})?$' },
      default: '',
      description: 'What the fee is kept in, at one to one; empty: the currency of the payment.',
    },
    charge_list_lag_ms: {
      schema: { type: 'integer', minimum: 0, maximum: 86_400_000 },
      default: 0,
      description: 'How long a sale of a subscription is missing in its list of transactions.',
    },
    token_life_seconds: {
      schema: { type: 'integer', minimum: 1, maximum: 100_000 },
      default: 32_400,
      description: 'How long an access token is valid.',
    },
    are_disputes_readable: {
      schema: { type: 'boolean' },
      default: true,
      description: 'Off: the app has no permission for disputes and is answered 403.',
    },
    are_invoices_unique: {
      schema: { type: 'boolean' },
      default: false,
      description: 'The account takes no second payment with the same `invoice_id`.',
    },
  },
  create: createVendor,
})

/** Starts the emulator; close it when done. */
export function startPaypalEmulator(options: EmulatorOptions<PaypalSettings> = {}): Promise<Emulator> {
  return startEmulator(emulator, options)
}

function createVendor(kit: Kit<PaypalSettings>): Vendor {
  const specs = {
    orders: loadSpec('paypal-orders'),
    payments: loadSpec('paypal-payments'),
    vault: loadSpec('paypal-vault'),
    webhooks: loadSpec('paypal-webhooks'),
    subscriptions: loadSpec('paypal-subscriptions'),
    reporting: loadSpec('paypal-reporting'),
    sales: loadSpec('paypal-sales'),
    disputes: loadSpec('paypal-disputes'),
  }
  const world: World = {
    kit,
    specs,
    orders: createStore(),
    captures: createStore(),
    authorizations: createStore(),
    refunds: createStore(),
    tokens: createStore(),
    subscriptions: createStore(),
    sales: createStore(),
    sale_refunds: createStore(),
    disputes: createStore(),
    events: createStore(50_000),
    access: createStore(10_000),
    keys: createStore(100_000),
    webhook: newWebhook(kit),
  }
  const { orders, captures, authorizations, refunds, tokens, subscriptions, disputes, events } = world
  return {
    collections: {
      orders: viewOf(orders, ({ order }) => order),
      captures: viewOf(captures, ({ capture }) => capture),
      authorizations: viewOf(authorizations, ({ authorization }) => authorization),
      refunds: viewOf(refunds, ({ refund }) => refund),
      payment_tokens: tokens,
      subscriptions,
      sales: world.sales,
      sale_refunds: world.sale_refunds,
      disputes,
      events,
    },
    async routes(app) {
      await app.register(async (open) => registerOpen(open, world))
      await app.register(async (page) => registerPage(page, world))
      await app.register(async (api) => registerApi(api, world), { prefix: '/' })
    },
    complete: (id, input) => complete(world, id, input),
    forge: (object_id, notification) => forge(world, object_id, notification),
    faultReply(kind) {
      const error =
        kind === 'error_500'
          ? new VendorError(500, 'INTERNAL_SERVER_ERROR')
          : new VendorError(429, 'RATE_LIMIT_REACHED')
      return { status: error.status, body: JSON.stringify(errorBody(world, error)) }
    },
    tick: (now) => expireOrders(world, now),
    reset() {
      const stores = [orders, captures, authorizations, refunds, tokens, subscriptions, disputes, events]
      for (const store of [...stores, world.sales, world.sale_refunds, world.access, world.keys])
        store.clear()
      world.webhook = newWebhook(kit)
    },
  }
}

function newWebhook(kit: Kit<PaypalSettings>): World['webhook'] {
  const { webhook_url } = kit.settings()
  return { url: webhook_url || 'https://shop.example/hook', event_types: [{ name: '*' }] }
}
