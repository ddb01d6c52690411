import formbody from '@fastify/formbody'
import { createStore, defineEmulator, startEmulator, unknownObject, wrongState } from './emulator.ts'
import type { Emulator, EmulatorOptions, Forgery, Kit, Notification, Vendor } from './emulator.ts'
import { FORM_HEADERS, lazyKey, resultForm, setState } from './robokassa/objects.ts'
import type { Payment, Refund, RobokassaSettings, SecondReceipt, World } from './robokassa/objects.ts'
import { registerPages } from './robokassa/pages.ts'
import { registerServices } from './robokassa/services.ts'

const MINUTE_MS = 60_000
/** Holds live five days by the vendor's own module. */
const HOLD_MS = 5 * 86_400_000

const secret = (value: string, description: string) => ({
  schema: { type: 'string', minLength: 8, maxLength: 100 },
  default: value,
  description,
  is_secret: true,
})
const flag = (description: string) => ({ schema: { type: 'boolean' }, default: true, description })

/** Robokassa from the vendor's side: `<base_url>/Merchant`, refunds and receipts at `<base_url>`. */
export const emulator = defineEmulator<RobokassaSettings>({
  id: 'robokassa',
  title: 'Robokassa',
  description: 'Classic page, ResultURL, ResultUrl2, OpStateExt, holds, recurring, refunds, second receipts.',
  // The steps are not published; a shop saw about one a minute at first.
  retry_schedule_ms: [1, 1, 1, 5, 15, 60, 180].map((minutes) => minutes * MINUTE_MS),
  settings: {
    merchant_login: {
      schema: { type: 'string', pattern: '^[\\w.-]{1,100}$' },
      default: 'demo_shop',
      description: 'Identifier of the shop.',
    },
    password1: secret('robokassa_live_password_1', 'Password #1.'),
    password2: secret('robokassa_live_password_2', 'Password #2.'),
    password3: secret('robokassa_live_password_3', 'Password #3, of the refund service.'),
    test_password1: secret('robokassa_test_password_1', 'Password #1 of the test mode.'),
    test_password2: secret('robokassa_test_password_2', 'Password #2 of the test mode.'),
    hash: {
      schema: { enum: ['md5', 'sha256', 'sha384', 'sha512'] },
      default: 'sha256',
      description: 'Hash algorithm of the technical settings.',
    },
    fee_permille: {
      schema: { type: 'integer', minimum: 0, maximum: 500 },
      default: 40,
      description: "The vendor's fee in tenths of a per cent.",
    },
    refund_outcome: {
      schema: { enum: ['finished', 'processing', 'canceled'] },
      default: 'finished',
      description: 'What becomes of refunds.',
    },
    receipt_code: {
      schema: { enum: [0, 1, 2, 3, 1000] },
      default: 2,
      description: 'What the status of second receipts says: 0 and 1 wait, 2 registered, 3 error.',
    },
    is_refund_api_enabled: flag('Off: refunds are answered with 401.'),
    is_recurring_enabled: flag('Off: recurring payments are refused with error 34.'),
  },
  create: createVendor,
})

/** Starts the emulator; close it when done. */
export function startRobokassaEmulator(options: EmulatorOptions<RobokassaSettings> = {}): Promise<Emulator> {
  return startEmulator(emulator, options)
}

function createVendor(kit: Kit<RobokassaSettings>): Vendor {
  const world: World = {
    kit,
    payments: createStore<Payment>(),
    refunds: createStore<Refund>(),
    receipts: createStore<SecondReceipt>(),
    key: lazyKey(),
  }
  const { payments, refunds, receipts } = world
  return {
    collections: { payments, refunds, receipts },
    async routes(app) {
      await app.register(formbody)
      app.removeContentTypeParser('application/json')
      // A JWT comes as a quoted string, raw, or by a type of its own: always read as text.
      app.addContentTypeParser(
        ['application/json', 'application/jwt', 'text/plain'],
        { parseAs: 'string' },
        (_request, body, done) => done(null, body),
      )
      registerPages(app, world)
      registerServices(app, world)
    },
    complete(id, { outcome }) {
      const payment = payments.get(id)
      if (!payment) throw unknownObject(id)
      if (payment.state !== 5) throw wrongState(id, String(payment.state))
      setState(
        world,
        payment,
        outcome === 'canceled' ? 10 : outcome === 'authorized' || payment.is_hold ? 20 : 100,
      )
      return payment
    },
    forge: (object_id, real) => forge(world, object_id, real),
    accepts: (response, notification) =>
      notification.event === 'ResultUrl2'
        ? response.status >= 200 && response.status < 300
        : response.status === 200 && response.body.trim() === `OK${notification.object_id}`,
    tick: (now) => expireDue(world, now),
    reset() {
      for (const store of [payments, refunds, receipts]) store.clear()
    },
  }
}

function expireDue(world: World, now: Date): void {
  for (const payment of world.payments.values()) {
    const is_late = payment.expires_at !== undefined && new Date(payment.expires_at) <= now
    const is_old_hold = now.getTime() - new Date(payment.state_at).getTime() > HOLD_MS
    if ((payment.state === 5 && is_late) || (payment.state === 20 && is_old_hold))
      setState(world, payment, 10)
  }
}

/** Every lie without the second password: none, an old or another signature, another sum or order. */
function forge(world: World, object_id: string, real: Notification | undefined): Forgery[] {
  const payment = world.payments.get(object_id)
  if (!payment) return []
  const lie = (note: string, changes: Parameters<typeof resultForm>[2]): Forgery => ({
    object_id,
    event: 'ResultURL',
    headers: FORM_HEADERS,
    body: resultForm(world, payment, changes),
    note,
  })
  const signature = new URLSearchParams(real?.body ?? '').get('SignatureValue') ?? '0'.repeat(64)
  return [
    lie('no signature', { signature: '' }),
    lie('signed with the first password', { password: world.kit.settings().password1 }),
    lie('signed with an empty password', { password: '' }),
    lie('another sum under the true signature', { amount: payment.amount * 100, signature }),
    lie('another order under the true signature', { inv_id: `${payment.inv_id}1`, signature }),
  ]
}
