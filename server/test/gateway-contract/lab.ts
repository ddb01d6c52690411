import { randomBytes } from 'node:crypto'
import type { CreatePaymentInput, GatewayContext } from '@kopilka/extension'
import { present } from '@kopilka/extension'
import { z } from 'zod'
import type { GatewayFixture, Lab, NewPayment } from './fixture.ts'
import { startReceiver } from './receiver.ts'
import { controlVendor } from './vendor-control.ts'

/**
 * Starts the vendor, a receiver for its notifications, and reads the owner's settings by the gateway's
 * schema.
 */
export async function openLab<Config>(
  fixture: GatewayFixture<Config>,
): Promise<Lab<Config> & { close(): Promise<void> }> {
  const { gateway } = fixture
  const receiver = await startReceiver(gateway.id)
  const stand = await fixture.start(receiver.url)
  const config = gateway.configSchema.parse(stand.settings)
  const { vendor_url } = stand
  const context = newContext()
  return {
    fixture,
    gateway,
    stand,
    config,
    context,
    receiver,
    ...(vendor_url === undefined || !fixture.objects
      ? {}
      : { vendor: controlVendor(vendor_url, fixture.objects) }),
    secrets: secretsOf(fixture, stand.settings),
    newPayment: (amount = 59900n) => newPayment(fixture, amount),
    create(payment, given = {}) {
      const { config: other = config, timeout_ms = context.timeout_ms } = given
      const input = createInput(fixture, payment)
      return gateway.createPayment(other, input, { ...context, ...present({ timeout_ms }) })
    },
    async close() {
      await stand.close()
      await receiver.close()
    },
  }
}

/** What the core lends for one call. The vendor's silence must not last longer than a test's patience. */
export function newContext(): GatewayContext {
  return { now: new Date(), base_url: 'https://kopilka.example', cache: new Map(), timeout_ms: 5000 }
}

/** The names of the fields the owner's form hides. */
export function secretFields(schema: z.ZodType): string[] {
  const form = z.toJSONSchema(schema, { io: 'input' })
  return Object.entries(form.properties ?? {})
    .filter(([, field]) => typeof field === 'object' && field['secret'] === true)
    .map(([name]) => name)
}

function secretsOf<Config>(fixture: GatewayFixture<Config>, settings: Record<string, unknown>): string[] {
  return secretFields(fixture.gateway.configSchema).flatMap((name) => {
    const value = settings[name]
    if (typeof value !== 'string') return []
    const bytes = Buffer.from(value, 'utf8')
    return [
      value,
      bytes.toString('base64').replace(/=+$/, ''),
      bytes.toString('hex'),
      encodeURIComponent(value),
    ]
  })
}

let last_number = 1000

function newPayment<Config>(fixture: GatewayFixture<Config>, amount: bigint): NewPayment {
  last_number += 1
  return {
    payment_id: newId('pay'),
    payment_number: last_number,
    order_id: newId('ord'),
    amount,
    currency: fixture.currency,
  }
}

/** The whole of what the core asks when a buyer wants to pay. */
export function createInput<Config>(
  fixture: GatewayFixture<Config>,
  payment: NewPayment,
): CreatePaymentInput {
  return {
    ...payment,
    customer_id: 'cus_00000000000000000000000001',
    description: 'Подписка «Голос», 1 месяц',
    return_url: 'https://shop.example/return?order=1',
    capture: true,
    save_method: false,
    locale: 'ru',
    expires_at: new Date(Date.now() + 3_600_000),
    ...fixture.input,
  }
}

/** An id of the core's form: prefix, the moment, chance. */
export function newId(prefix: string): string {
  const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
  let rest = Date.now()
  let time = ''
  for (let place = 0; place < 10; place++) {
    time = alphabet.charAt(rest % 32) + time
    rest = Math.floor(rest / 32)
  }
  const chance = [...randomBytes(16)].map((byte) => alphabet.charAt(byte & 31)).join('')
  return `${prefix}_${time}${chance}`
}
