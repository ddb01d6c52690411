import { randomBytes } from 'node:crypto'
import { startRustoreEmulator } from '@kopilka/emulators/rustore'
import type { Emulator } from '@kopilka/emulators/emulator'
import type { AppSettings } from '../src/app.ts'
import { checkVendorSubscriptions } from '../src/modules/payments/index.ts'
import { startWorld, type Answer, type World } from './world.ts'

export const PRICE = 59_900
const NOTIFICATION_KEY = 'a29waWxrYS1lbXVsYXRvci1ub3RpZmljYXRpb24ta2U='

/** A person with the app on his phone. */
export interface AppUser {
  id: string
  token: string
  customer_id: string
  call<T = Record<string, unknown>>(method: string, url: string, body?: unknown): Promise<Answer<T>>
  points(): Promise<number>
}

export interface Purchase {
  invoice_id: string
  purchase_id: string
  order_id: string
}

/** What the app calls for a purchase. */
export interface Claim {
  purchaseId: string
  orderId: string
  productId: string
  invoiceId?: string
}

/** The shop of an app that sells points through the emulated store. */
export interface RustoreLab {
  world: World
  rustore: Emulator
  user(): Promise<AppUser>
  /** What the SDK does on the phone; paid unless told otherwise. */
  buy(input: {
    product_code?: string
    amount?: number
    app_user_id?: string
    developer_payload?: string
    is_two_stage?: boolean
    is_subscription?: boolean
    is_sandbox?: boolean
    is_paid?: boolean
    order_id?: string
  }): Promise<Purchase>
  claimOf(purchase: Purchase, changes?: Partial<Claim>): Claim
  /** The janitor asks about every subscription now. */
  checkSubscriptions(): Promise<void>
  close(): Promise<void>
}

/** Starts one; a sandbox installation, so purchases are of the store's sandbox unless told otherwise. */
export async function startRustoreLab(
  change: (settings: AppSettings) => AppSettings = (same) => same,
): Promise<RustoreLab> {
  const rustore = await startRustoreEmulator({ retry_scale: 0.001, hold_ms: 300 })
  const made = await fetch(`${rustore.base_url}/console/keys`, { method: 'POST' })
  const { key_id, private_key } = (await made.json()) as Record<string, string>
  const world = await startWorld((settings) =>
    change({
      ...settings,
      people: { password_cost: { memory_kib: 64, passes: 1 } },
      gateways: {
        ...settings.gateways,
        rustore: {
          key_id,
          private_key,
          app_id: '12345',
          package_name: 'com.example.app',
          notification_key: NOTIFICATION_KEY,
          app_url: 'https://app.example/buy',
          sandbox: true,
          base_url: rustore.base_url,
        },
      },
    }),
  )
  rustore.control.settings({
    webhook_url: `${world.base_url}/api/webhooks/rustore`,
    notification_key: NOTIFICATION_KEY,
  })
  await furnish(world)
  return {
    world,
    rustore,
    user: () => newUser(world),
    buy: async ({ is_paid = true, ...given }) => {
      const order_id = given.order_id ?? `app-${randomBytes(8).toString('hex')}`
      const answer = await fetch(`${rustore.base_url}/sdk/purchases`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          product_code: 'points_100',
          amount: PRICE,
          is_sandbox: true,
          ...given,
          order_id,
        }),
      })
      const { invoice_id = '', purchase_id = '' } = (await answer.json()) as Record<string, string>
      if (is_paid) rustore.control.complete(invoice_id, 'succeeded')
      return { invoice_id, purchase_id, order_id }
    },
    claimOf: ({ purchase_id, order_id }, changes = {}) => ({
      purchaseId: purchase_id,
      orderId: order_id,
      productId: 'points_100',
      ...changes,
    }),
    checkSubscriptions: async () => {
      const { db, payments } = world.app
      const due = `update payments.vendor_subscriptions set next_check_at = now() - interval '1 s'`
      await db.pool.query(due)
      await checkVendorSubscriptions(db, payments)
    },
    close: async () => {
      await world.close()
      await rustore.close()
    },
  }
}

async function furnish(world: World): Promise<void> {
  const must = async (url: string, body: unknown): Promise<string> => {
    const answer = await world.call<{ id: string }>('POST', url, body)
    if (answer.status !== 201) throw new Error(`${url}: ${answer.text}`)
    return answer.body.id
  }
  await must('/v1/units', { code: 'point', name: 'Point' })
  const products = [
    { key: 'points_100', name: '100 points', amount: 100, price: PRICE },
    {
      key: 'club',
      name: 'Club',
      amount: 50,
      price: 29_900,
      metadata: { rustore_product_id: 'club_monthly' },
    },
  ]
  for (const { key, name, amount, price, ...more } of products) {
    const grants = [{ unit: 'point', amount }]
    const product_id = await must('/v1/products', { key, name, grants, ...more })
    await must('/v1/prices', { product_id, currency: 'RUB', amount: price })
  }
}

async function newUser(world: World): Promise<AppUser> {
  const email = `${randomBytes(6).toString('hex')}@mail.example`
  const body = { email, password: 'correct horse battery', deviceId: 'phone' }
  const entered = await world.call<{ token: string; user: { id: string } }>(
    'POST',
    '/api/auth/register',
    body,
    { authorization: '' },
  )
  if (entered.status !== 201) throw new Error(`nobody was signed up: ${entered.text}`)
  const { token, user } = entered.body
  const call: AppUser['call'] = (method, url, sent) =>
    world.call(method, url, sent, { authorization: `Bearer ${token}` })
  const { rows } = await world.app.db.pool.query<{ customer_id: string }>(
    'select customer_id from identity.users where id = $1',
    [user.id],
  )
  return {
    id: user.id,
    token,
    call,
    customer_id: rows[0]?.customer_id ?? '',
    points: async () => (await call<{ points: number }>('GET', '/api/points/balance')).body.points,
  }
}
