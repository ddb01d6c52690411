import { startRobokassaEmulator } from '@kopilka/emulators/robokassa'
import { startStripeEmulator } from '@kopilka/emulators/stripe'
import { startYookassaEmulator } from '@kopilka/emulators/yookassa'
import type { Emulator } from '@kopilka/emulators/emulator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWorld, type Answer, type PlacedOrder, type World } from '../world.ts'

/** How long a vendor that performs and says nothing holds the line, ms. */
const pace = { hold_ms: 300, retry_scale: 0.001 }
const MINUTES = 1800
const VENDORS = ['yookassa', 'stripe', 'robokassa'] as const
type Vendor = (typeof VENDORS)[number]

let world: World
let vendors: Record<Vendor, Emulator>
const prices = new Map<string, string>()
beforeAll(async () => {
  const shop = { shop_id: '100500', secret_key: 'live_kopilka_world_secret_key' }
  const stripe_keys = { secret_key: 'sk_live_kopilka_world', webhook_secret: 'whsec_kopilka_world_0123' }
  vendors = {
    yookassa: await startYookassaEmulator({ ...pace, settings: shop }),
    stripe: await startStripeEmulator({ ...pace, settings: stripe_keys }),
    robokassa: await startRobokassaEmulator(pace),
  }
  const { yookassa, stripe, robokassa } = vendors
  // Robokassa keeps nothing of test payments: a shop with real money, and vendors that only play.
  world = await startWorld((settings) => ({
    ...settings,
    mode: 'live',
    gateways: {
      yookassa: { ...shop, base_url: `${yookassa.base_url}/v3`, extra_ips: ['127.0.0.1'] },
      stripe: { ...stripe_keys, base_url: stripe.base_url },
      robokassa: {
        merchant_login: 'demo_shop',
        password1: 'robokassa_live_password_1',
        password2: 'robokassa_live_password_2',
        pay_url: `${robokassa.base_url}/Merchant`,
        services_url: robokassa.base_url,
        receipts_url: robokassa.base_url,
        default_vat: 'none',
      },
    },
  }))
  for (const [id, emulator] of Object.entries(vendors))
    emulator.control.settings({ webhook_url: `${world.base_url}/webhooks/payments/${id}` })
  for (const currency of ['RUB', 'USD']) prices.set(currency, await world.price('minutes_30', currency))
}, 60_000)
afterAll(async () => {
  await world?.close()
  for (const emulator of Object.values(vendors ?? {})) await emulator.close()
})

const place = (
  gateway: Vendor,
  customer_id: string,
  more: object,
  key?: string,
): Promise<Answer<PlacedOrder>> =>
  world.call<PlacedOrder>(
    'POST',
    '/v1/orders',
    {
      customer_id,
      gateway,
      lines: [{ price_id: prices.get(gateway === 'stripe' ? 'USD' : 'RUB'), quantity: 1 }],
      return_url: 'https://shop.example/back',
      receipt_contact: { email: 'buyer@example.com' },
      ...more,
    },
    key === undefined ? {} : { 'idempotency-key': key },
  )
const balance = async (customer_id: string): Promise<unknown> =>
  (await world.call('GET', `/v1/customers/${customer_id}/wallets/minute`)).body['balance']

/** Buys once and leaves his card. */
async function keptMethod(gateway: Vendor): Promise<{ customer_id: string; payment_method_id: string }> {
  const customer_id = await world.customer()
  const consent = { save_payment_method: true, consent_text: 'Charge me each month.' }
  const { body, text } = await place(gateway, customer_id, consent)
  if (!body.payment) throw new Error(text)
  await fetch(body.payment.checkout_url, { redirect: 'manual' })
  vendors[gateway].control.complete(body.payment.external_id, 'succeeded')
  const payment_method_id = await world.eventually('the card is kept', async () => {
    const url = `/v1/customers/${customer_id}/payment_methods`
    return (await world.call<{ items: { id: string }[] }>('GET', url)).body.items[0]?.id
  })
  return { customer_id, payment_method_id }
}

/** What the vendor has taken for a payment of ours. */
function charges(gateway: Vendor, payment_id: string): unknown[] {
  const { control } = vendors[gateway]
  const { items } = control.objects(
    gateway === 'stripe' ? { collection: 'intents', limit: 1000 } : { limit: 1000 },
  )
  const isTaken = ({ status, state }: Record<string, unknown>) => status === 'succeeded' || state === 100
  return items.filter(
    (item) => isTaken(item as Record<string, unknown>) && JSON.stringify(item).includes(payment_id),
  )
}

describe.each(VENDORS)('a charge of a kept method at %s', (gateway) => {
  it.each([
    ['the vendor took the money and did not answer', { timeout_after_charge: 1 }],
    ['the vendor did not get the question', { timeout_before_charge: 1 }],
  ])(
    'is one charge and one grant when %s',
    async (_title, faults) => {
      const { customer_id, payment_method_id } = await keptMethod(gateway)
      const { control } = vendors[gateway]
      // No notification helps: our own asking must find it.
      control.faults({ ...faults, lose: 1000 })
      const ask = () => place(gateway, customer_id, { payment_method_id }, `charge-${customer_id}`)
      await ask()
      await Promise.all(Array.from({ length: 20 }, ask))
      await world.eventually(
        'it is granted',
        async () => {
          // The janitor does not wait for its time.
          await world.app.db.pool.query(
            `update payments.payments set next_check_at = now() - interval '1 s'
              where customer_id = $1 and next_check_at > now() + interval '5 s'`,
            [customer_id],
          )
          return (await balance(customer_id)) === 2 * MINUTES
        },
        60_000,
      )
      control.faults({ timeout_after_charge: 0, timeout_before_charge: 0, lose: 0 })
      const orders = await world.call<{ items: { status: string; payment: { id: string } }[] }>(
        'GET',
        `/v1/orders?customer_id=${customer_id}`,
      )
      expect(orders.body.items.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
      expect(charges(gateway, orders.body.items[0]?.payment.id ?? '')).toHaveLength(1)
      expect((await world.call('GET', '/v1/verification')).body['findings']).toEqual([])
      expect(await balance(customer_id)).toBe(2 * MINUTES)
    },
    90_000,
  )
})
