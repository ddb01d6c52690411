import { createStore, defineEmulator, startEmulator, unknownObject, wrongState } from './emulator.ts'
import type {
  DeliveryResponse,
  Emulator,
  EmulatorOptions,
  Forgery,
  Kit,
  Notification,
  Vendor,
} from './emulator.ts'
import { loadSpec } from './kit/openapi.ts'
import { SHOP_URL_FIELD } from './kit/settings.ts'
import { viewOf } from './kit/store.ts'
import { callMethod, registerMethods } from './telegram/methods.ts'
import { BotError } from './telegram/objects.ts'
import type { Invoice, StarPayment, StoredFile, TelegramSettings, World } from './telegram/objects.ts'
import { charge, paidMessage, refund, renewDue } from './telegram/payments.ts'
import { registerUsers } from './telegram/users.ts'

const SECOND_MS = 1000

/** The Telegram Bot API from Telegram's side: `<base_url>/bot<token>/<method>`. */
export const emulator = defineEmulator<TelegramSettings>({
  id: 'telegram',
  title: 'Telegram Bot API',
  description:
    'Bot API 10.1: updates, messages, buttons, files, Telegram Stars with subscriptions and refunds.',
  // "A reasonable number of times"; the steps are not published, pending updates live for a day.
  retry_schedule_ms: [1, 2, 5, 10, 30, 60, 300, 900, 3600].map((seconds) => seconds * SECOND_MS),
  attempt_timeout_ms: 60_000,
  settings: {
    shop_url: SHOP_URL_FIELD,
    bot_token: {
      schema: { type: 'string', pattern: '^\\d{1,20}:[\\w-]{10,200}$' },
      default: '1234567890:kopilka_emulator_bot_token_0123456789',
      description: 'The bot.',
      is_secret: true,
    },
    bot_username: {
      schema: { type: 'string', pattern: '^\\w{5,32}$' },
      default: 'kopilka_test_bot',
      description: 'Its name.',
    },
    secret_token: {
      schema: { type: 'string', pattern: '^[\\w-]{0,256}$' },
      default: 'kopilka_emulator_webhook_secret',
      description: 'Sent with updates to `webhook_url`; setWebhook brings its own.',
      is_secret: true,
    },
    is_test_environment: {
      schema: { type: 'boolean' },
      default: false,
      description: 'On: methods are at `/bot<token>/test/…` only.',
    },
    pre_checkout_timeout_ms: {
      schema: { type: 'integer', minimum: 1, maximum: 60_000 },
      default: 10_000,
      description: 'How long the answer to a question before payment is waited for.',
    },
    messages_per_second: {
      schema: { type: 'integer', minimum: 0, maximum: 1000 },
      default: 30,
      description: 'Flood control over all chats; 0 is none.',
    },
    messages_per_chat_second: {
      schema: { type: 'integer', minimum: 0, maximum: 1000 },
      default: 1,
      description: 'Flood control of one chat after a burst of five; 0 is none.',
    },
  },
  create: createVendor,
})

/** Starts the emulator; close it when done. */
export function startTelegramEmulator(options: EmulatorOptions<TelegramSettings> = {}): Promise<Emulator> {
  return startEmulator(emulator, options)
}

function createVendor(kit: Kit<TelegramSettings>): Vendor {
  const world: World = {
    kit,
    spec: loadSpec('telegram'),
    users: new Map(),
    messages: createStore(),
    invoices: createStore<Invoice>(),
    payments: createStore<StarPayment>(),
    ledger: [],
    files: createStore<StoredFile>(1000),
    queue: [],
    waiting: new Set(),
    questions: new Map(),
    callbacks: new Map(),
    webhook: { url: '', secret_token: '', allowed_updates: undefined },
    buckets: new Map(),
    next: { update: 1, message: 1 },
  }
  return {
    collections: {
      payments: world.payments,
      invoices: world.invoices,
      messages: world.messages,
      files: viewOf(world.files, ({ id, path, bytes }) => ({ id, path, size: bytes.length })),
    },
    async routes(app) {
      await app.register(async (api) => registerMethods(api, world))
      await app.register(async (pages) => registerUsers(pages, world))
    },
    complete(id, { outcome, user_id = 777_000_111 }) {
      const payment = world.payments.get(id)
      if (payment && outcome === 'canceled') {
        if (payment.refunded_at !== undefined) throw wrongState(id, 'refunded')
        refund(world, payment.user_id, id)
        return payment
      }
      const invoice = world.invoices.get(id)
      if (!invoice || outcome === 'canceled') throw unknownObject(id)
      return charge(world, invoice, Number(user_id), true)
    },
    forge: (object_id, real) => forge(world, object_id, real),
    accepts: (response, notification) => takeReply(world, response, notification),
    faultReply: (kind) => {
      const [error_code, description] =
        kind === 'error_500' ? [500, 'Internal Server Error'] : [429, 'Too Many Requests: retry after 1']
      const parameters = kind === 'error_429' ? { parameters: { retry_after: 1 } } : {}
      return {
        status: error_code,
        body: JSON.stringify({ ok: false, error_code, description, ...parameters }),
      }
    },
    tick: () => renewDue(world),
    reset() {
      for (const store of [world.messages, world.invoices, world.payments, world.files]) store.clear()
      for (const map of [world.users, world.questions, world.callbacks, world.buckets]) map.clear()
      world.ledger = []
      world.queue = []
      world.webhook = { url: '', secret_token: '', allowed_updates: undefined }
    },
  }
}

/** A webhook's answer may be a method call of the bot; what comes of it is not told to anybody. */
function takeReply(world: World, response: DeliveryResponse, notification: Notification): boolean {
  if (response.status < 200 || response.status >= 300) return false
  if (notification.event === 'forged') return true
  let call: Record<string, unknown> | undefined
  try {
    call = JSON.parse(response.body) as Record<string, unknown>
  } catch {
    // Any text is a good answer; only JSON with a method is a call.
    return true
  }
  const { method, ...body } = typeof call === 'object' && call !== null ? call : {}
  if (typeof method !== 'string') return true
  callMethod(world, method, body).catch((error: unknown) => {
    if (!(error instanceof BotError)) throw error
    world.kit.logRequest({ method: 'REPLY', path: method, status: error.code, body: error.message })
  })
  return true
}

/** Lies of someone who knows the address and not the secret; and, beside a true one, another amount. */
function forge(world: World, object_id: string, real: Notification | undefined): Forgery[] {
  const payment = world.payments.get(object_id)
  if (!payment) return []
  const url = world.webhook.url || world.kit.settings().webhook_url
  const lie = (note: string, headers: Record<string, string>, changes: object): Forgery => ({
    object_id,
    event: 'forged',
    note,
    url,
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ update_id: 0, message: paidMessage(world, payment, changes) }),
  })
  const header = 'x-telegram-bot-api-secret-token'
  const other = { telegram_payment_charge_id: `${payment.id}x` }
  const lies = [
    lie('no secret token', {}, other),
    lie('an empty secret token', { [header]: '' }, other),
    lie('another secret token', { [header]: 'x'.repeat(32) }, other),
  ]
  return real ? lies : lies.slice(0, 1)
}
