import { createStore, defineEmulator, startEmulator, unknownObject } from './emulator.ts'
import type { Emulator, EmulatorOptions, Kit, Vendor } from './emulator.ts'
import { loadSpec } from './kit/openapi.ts'
import { SHOP_URL_FIELD } from './kit/settings.ts'
import { completeAdjustment } from './paddle/adjustments.ts'
import { errorBody, registerApi, registerPage } from './paddle/api.ts'
import { VendorError } from './paddle/objects.ts'
import type { PaddleSettings, World } from './paddle/objects.ts'
import { completeSubscription, endSubscriptions } from './paddle/subscriptions.ts'
import { completeTransaction } from './paddle/transactions.ts'
import { forge } from './paddle/webhooks.ts'

export type { Adjustment, PaddleSettings, Subscription, Transaction } from './paddle/objects.ts'

const MINUTE_MS = 60_000

/** Paddle Billing from the vendor's side. Base URL for a client: `<base_url>`. */
export const emulator = defineEmulator<PaddleSettings>({
  id: 'paddle',
  title: 'Paddle',
  description:
    'Billing API v1: transactions and their previews, subscriptions and charges beside their plan, ' +
    'adjustments that wait for approval, chargebacks, notifications.',
  // 20 attempts within the first hour, 60 within three days.
  retry_schedule_ms: [
    ...Array.from({ length: 19 }, () => 3 * MINUTE_MS),
    ...Array.from({ length: 40 }, () => 106 * MINUTE_MS),
  ],
  attempt_timeout_ms: 5000,
  settings: {
    shop_url: SHOP_URL_FIELD,
    api_key: {
      schema: { type: 'string', pattern: '^pdl_(live|sdbx)_apikey_\\w{8,200}$' },
      default: 'pdl_sdbx_apikey_kopilka_emulator',
      description: 'Bearer token.',
      is_secret: true,
    },
    webhook_secret: {
      schema: { type: 'string', pattern: '^pdl_ntfset_\\w{8,200}$' },
      default: 'pdl_ntfset_kopilka_emulator',
      description: 'Signs notifications.',
      is_secret: true,
    },
    old_webhook_secret: {
      schema: { type: 'string', pattern: '^(pdl_ntfset_\\w{8,200})?$' },
      default: '',
      description: 'Signs too, after the first, as while a secret is rotated.',
      is_secret: true,
    },
    refund_outcome: {
      schema: { enum: ['approved', 'pending_approval', 'rejected'] },
      default: 'approved',
      description: 'What becomes of refunds; live accounts wait for approval.',
    },
    completion: {
      schema: { enum: ['at_once', 'later'] },
      default: 'at_once',
      description: '`later`: a paid transaction stays `paid` until it is completed again.',
    },
    charge_outcome: {
      schema: { enum: ['paid', 'declined'] },
      default: 'paid',
      description: 'What becomes of a charge of a subscription beside its plan.',
    },
    tax_permille: {
      schema: { type: 'integer', minimum: 0, maximum: 500 },
      default: 200,
      description: 'Tax in tenths of a per cent.',
    },
    fee_permille: {
      schema: { type: 'integer', minimum: 0, maximum: 500 },
      default: 50,
      description: "The vendor's fee in tenths of a per cent.",
    },
  },
  create: createVendor,
})

/** Starts the emulator; close it when done. */
export function startPaddleEmulator(options: EmulatorOptions<PaddleSettings> = {}): Promise<Emulator> {
  return startEmulator(emulator, options)
}

function createVendor(kit: Kit<PaddleSettings>): Vendor {
  const world: World = {
    kit,
    spec: loadSpec('paddle'),
    transactions: createStore(),
    adjustments: createStore(),
    subscriptions: createStore(),
  }
  const { transactions, adjustments, subscriptions } = world
  return {
    collections: { transactions, adjustments, subscriptions },
    async routes(app) {
      await app.register(async (page) => registerPage(page, world))
      await app.register(async (api) => registerApi(api, world), { prefix: '/' })
    },
    complete(id, input) {
      const transaction = transactions.get(id)
      if (transaction) return completeTransaction(world, transaction, input)
      const adjustment = adjustments.get(id)
      if (adjustment) return completeAdjustment(world, adjustment, input)
      const subscription = subscriptions.get(id)
      if (subscription) return completeSubscription(world, subscription, input)
      throw unknownObject(id)
    },
    forge: (object_id, notification) => forge(world, object_id, notification),
    accepts: (response) => response.status === 200,
    faultReply(kind) {
      const error =
        kind === 'error_500'
          ? new VendorError(500, 'internal_error', 'Something went wrong')
          : new VendorError(429, 'too_many_requests', 'Too many requests')
      return { status: error.status, body: JSON.stringify(errorBody(world, error)) }
    },
    tick: (now) => endSubscriptions(world, now),
    reset() {
      subscriptions.clear()
      transactions.clear()
      adjustments.clear()
    },
  }
}
