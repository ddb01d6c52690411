import { createStore, defineEmulator, startEmulator, unknownObject } from './emulator.ts'
import type { CompleteInput, Emulator, EmulatorOptions, Kit, Vendor } from './emulator.ts'
import { viewOf } from './kit/store.ts'
import { createKeys, errorBody, registerApi } from './stripe/api.ts'
import { completeIntent, completeSession } from './stripe/complete.ts'
import { VendorError } from './stripe/objects.ts'
import type { StripeSettings, World } from './stripe/objects.ts'
import { registerPage } from './stripe/page.ts'
import { expireDue } from './stripe/payments.ts'
import { completeRefund } from './stripe/refunds.ts'
import { forge } from './stripe/webhooks.ts'

export type { Charge, Dispute, Intent, Refund, Session, StripeSettings } from './stripe/objects.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000

/** Stripe from the vendor's side. Base URL for a client: `<base_url>`; paths begin with `/v1`. */
export const emulator = defineEmulator<StripeSettings>({
  id: 'stripe',
  title: 'Stripe',
  description: 'Checkout pages, off-session charges, holds, refunds, disputes, signed events.',
  // Up to three days with growing pauses; the steps themselves are not published.
  retry_schedule_ms: [
    ...[1, 5, 30].map((minutes) => minutes * MINUTE_MS),
    ...[1, 2, 4, 8, 16, 24].map((hours) => hours * HOUR_MS),
  ],
  settings: {
    secret_key: {
      schema: { type: 'string', pattern: '^(sk|rk)_(test|live)_\\w{8,200}$' },
      default: 'sk_test_kopilka_stripe_secret',
      description: 'Bearer token; `sk_live_…` makes objects with `livemode: true`.',
      is_secret: true,
    },
    webhook_secret: {
      schema: { type: 'string', pattern: '^whsec_\\w{8,200}$' },
      default: 'whsec_kopilka_stripe_endpoint',
      description: 'Signs events.',
      is_secret: true,
    },
    old_webhook_secret: {
      schema: { type: 'string', pattern: '^(whsec_\\w{8,200})?$' },
      default: '',
      description: 'Signs events too, as for a day after a secret was rolled.',
      is_secret: true,
    },
    charge_outcome: {
      schema: {
        enum: 'succeeded authentication_required expired_card insufficient_funds generic_decline'.split(' '),
      },
      default: 'succeeded',
      description: 'How charges of saved methods end.',
    },
    refund_outcome: {
      schema: { enum: ['succeeded', 'pending', 'failed'] },
      default: 'succeeded',
      description: 'How refunds end; `failed` first succeeds and then fails, as a bank does.',
    },
    fee_permille: {
      schema: { type: 'integer', minimum: 0, maximum: 500 },
      default: 29,
      description: "The vendor's fee in tenths of a per cent, rounded up.",
    },
  },
  create: createVendor,
})

/** Starts the emulator; close it when done. */
export function startStripeEmulator(options: EmulatorOptions<StripeSettings> = {}): Promise<Emulator> {
  return startEmulator(emulator, options)
}

function createVendor(kit: Kit<StripeSettings>): Vendor {
  const world: World = {
    kit,
    sessions: createStore(),
    intents: createStore(),
    charges: createStore(),
    balance: createStore(),
    refunds: createStore(),
    disputes: createStore(),
    methods: createStore(),
  }
  const { sessions, intents, charges, balance, refunds, disputes, methods } = world
  const keys = createKeys()
  return {
    collections: {
      sessions: viewOf(sessions, (plan) => plan.session),
      intents,
      charges,
      refunds,
      disputes,
      payment_methods: methods,
    },
    async routes(app) {
      await app.register(async (api) => registerApi(api, world, keys), { prefix: '/v1' })
      await app.register(async (page) => registerPage(page, world))
    },
    complete: (id, input) => complete(world, id, input),
    forge: (object_id, notification) => forge(world, object_id, notification),
    faultReply(kind) {
      const error =
        kind === 'error_500'
          ? new VendorError(500, 'Something went wrong', { type: 'api_error' })
          : new VendorError(429, 'Request rate limit exceeded', { code: 'rate_limit' })
      return { status: error.status, body: JSON.stringify(errorBody(error)) }
    },
    tick: () => expireDue(world),
    reset() {
      for (const store of [sessions, intents, charges, balance, refunds, disputes, methods]) store.clear()
      keys.clear()
    },
  }
}

/** A page, an intent (`{"dispute": "open" | "won" | "lost"}` for its dispute), or a refund. */
function complete(world: World, id: string, input: CompleteInput): unknown {
  const plan = world.sessions.get(id)
  if (plan && input['dispute'] === undefined) return completeSession(world, plan, input)
  const intent = world.intents.get(plan?.session.payment_intent ?? id)
  if (intent) return completeIntent(world, intent, input)
  const refund = world.refunds.get(id)
  if (refund) return completeRefund(world, refund, input)
  throw unknownObject(id)
}
