import { defineEmulator, startEmulator, unknownObject } from './emulator.ts'
import type { CompleteInput, Emulator, EmulatorOptions, Kit, Vendor } from './emulator.ts'
import { loadSpec } from './kit/openapi.ts'
import { createStore, viewOf } from './kit/store.ts'
import { errorBody, registerApi } from './yookassa/api.ts'
import { CANCEL_REASONS } from './yookassa/cards.ts'
import { VendorError } from './yookassa/errors.ts'
import { createIdempotence } from './yookassa/idempotence.ts'
import { completeInvoice, refreshInvoice } from './yookassa/invoices.ts'
import { completeMethod } from './yookassa/methods.ts'
import { forge } from './yookassa/notifications.ts'
import type {
  InvoiceRecord,
  PaymentRecord,
  ReceiptObject,
  RefundRecord,
  SavedMethod,
  World,
  YookassaSettings,
} from './yookassa/objects.ts'
import { registerPages } from './yookassa/pages.ts'
import { completeRefund, REFUND_REASONS } from './yookassa/refunds.ts'
import { completePayment, expireDue } from './yookassa/transitions.ts'

export type { Payment, Refund, YookassaSettings } from './yookassa/objects.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000

/** YooKassa API v3 from the vendor's side. Base URL for a client: `<base_url>/v3`. */
export const emulator = defineEmulator<YookassaSettings>({
  id: 'yookassa',
  title: 'YooKassa',
  description:
    'API v3: payments, captures, refunds, saved methods, receipts, notifications, hosted pay page.',
  // The vendor repeats for 24 hours with growing pauses; the steps themselves are not published.
  retry_schedule_ms: [
    ...[1, 2, 5, 10, 20, 30].map((minutes) => minutes * MINUTE_MS),
    ...[1, 2, 4, 6, 9].map((hours) => hours * HOUR_MS),
  ],
  attempt_timeout_ms: 30_000,
  settings: {
    shop_id: {
      schema: { type: 'string', pattern: '^\\d{1,20}$' },
      default: '100500',
      description: 'Name in Basic authentication, `recipient.account_id`.',
    },
    secret_key: {
      schema: { type: 'string', pattern: '^(test|live)_[A-Za-z0-9_-]{8,120}$' },
      default: 'test_kopilka_yookassa_secret',
      description: 'Password in Basic authentication; `live_…` makes objects with `test: false`.',
      is_secret: true,
    },
    gateway_id: {
      schema: { type: 'string', pattern: '^\\d{1,20}$' },
      default: '100700',
      description: '`recipient.gateway_id`.',
    },
    currency: {
      schema: { enum: 'RUB EUR USD KZT BYN UAH UZS TRY INR MDL AZN AMD'.split(' ') },
      default: 'RUB',
      description: "The shop's currency; amounts in another are refused.",
    },
    fiscalization: {
      schema: { enum: ['off', 'third_party', 'yookassa'] },
      default: 'off',
      description: 'Whether receipts are required, and by whose rules.',
    },
    receipt_outcome: {
      schema: { enum: ['succeeded', 'pending', 'canceled'] },
      default: 'succeeded',
      description: 'What becomes of receipts.',
    },
    payment_methods: {
      schema: {
        type: 'array',
        minItems: 1,
        maxItems: 20,
        items: { type: 'string', pattern: '^[a-z0-9_]{1,40}$' },
      },
      default: ['bank_card', 'sbp', 'yoo_money', 'sberbank', 'tinkoff_bank'],
      description: 'Methods the shop may use.',
    },
    is_autopayment_enabled: {
      schema: { type: 'boolean' },
      default: true,
      description: 'Off: saving and charging saved methods is answered with 403.',
    },
    autopayment_outcome: {
      schema: { enum: ['succeeded', 'pending', ...Object.keys(CANCEL_REASONS)] },
      default: 'succeeded',
      description: 'How charges of saved methods end; a reason means canceled.',
    },
    refund_outcome: {
      schema: { enum: ['succeeded', 'pending', ...REFUND_REASONS] },
      default: 'succeeded',
      description: 'How refunds end; a reason means canceled.',
    },
    pending_minutes: {
      schema: { type: 'integer', minimum: 1, maximum: 525_600 },
      default: 60,
      description: 'How long a payment waits for the buyer.',
    },
    hold_hours: {
      schema: { type: 'integer', minimum: 1, maximum: 8760 },
      default: 168,
      description: 'How long a held payment waits for a capture.',
    },
    fee_permille: {
      schema: { type: 'integer', minimum: 0, maximum: 500 },
      default: 35,
      description: "The vendor's fee in tenths of a per cent, without VAT; see `income_amount`.",
    },
  },
  create: createVendor,
})

/** Starts the emulator; close it when done. */
export function startYookassaEmulator(options: EmulatorOptions<YookassaSettings> = {}): Promise<Emulator> {
  return startEmulator(emulator, options)
}

function createVendor(kit: Kit<YookassaSettings>): Vendor {
  const world: World = {
    kit,
    spec: loadSpec('yookassa'),
    payments: createStore<PaymentRecord>(),
    open: new Set(),
    refunds: createStore<RefundRecord>(),
    receipts: createStore<ReceiptObject>(),
    methods: createStore<SavedMethod>(),
    invoices: createStore<InvoiceRecord>(),
  }
  const idempotence = createIdempotence()
  return {
    collections: {
      payments: viewOf(world.payments, (record) => record.wire),
      refunds: viewOf(world.refunds, (record) => record.wire),
      receipts: world.receipts,
      payment_methods: viewOf(world.methods, (method) => method.wire),
      invoices: viewOf(world.invoices, (invoice) => refreshInvoice(world, invoice)),
    },
    async routes(app) {
      await app.register(async (api) => registerApi(api, world, idempotence), { prefix: '/v3' })
      await app.register(async (pages) => registerPages(pages, world))
    },
    complete: (id, input) => complete(world, id, input),
    forge: (object_id, notification) => forge(world, object_id, notification),
    // Any other code than 200, also of the same class, means "not delivered" to this vendor.
    accepts: (response) => response.status === 200,
    faultReply: (kind) => {
      const error =
        kind === 'error_500'
          ? new VendorError(500, 'internal_server_error', 'Something went wrong')
          : new VendorError(429, 'too_many_requests', 'Too many requests')
      return { status: error.status, body: JSON.stringify(errorBody(world, error)) }
    },
    tick: (now) => expireDue(world, now),
    reset() {
      const { payments, refunds, receipts, methods, invoices } = world
      for (const store of [payments, refunds, receipts, methods, invoices]) store.clear()
      world.open.clear()
      idempotence.clear()
    },
  }
}

/**
 * A payment, a refund under way, an invoice, or a saved method. A method saved by a payment has the payment's
 * id: `{"object": "payment_method"}` says that the method is meant.
 */
function complete(world: World, id: string, input: CompleteInput): unknown {
  const payment = world.payments.get(id)
  if (payment && input['object'] !== 'payment_method') return completePayment(world, payment, input)
  const refund = world.refunds.get(id)
  if (refund) return completeRefund(world, refund, input)
  const method = world.methods.get(id)
  if (method) return completeMethod(world, method, input)
  const invoice = world.invoices.get(id)
  if (invoice) return completeInvoice(world, invoice, input)
  throw unknownObject(id)
}
