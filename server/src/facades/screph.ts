import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { networkOfPerson } from '#http/client-address'
import { addRoute, type Call, type RouteKit } from '#http/routing'
import { timestamp } from '#http/wire'
import type { PeopleRouteKit } from '#modules/identity'
import { readWallet } from '#modules/ledger'
import { namesOfGrants, placeOrder, type OrdersKit } from '#modules/orders'
import { webhookRoute, type PaymentsKit, type StoreEvents } from '#modules/payments'
import { recordMeterEvent } from '#modules/usage'
import { ensureUser, getUser, minutesOf, onSale, packWire, priceOf, UNIT } from './screph-words.ts'
import { screphPeopleRoutes } from './screph-people.ts'

/** The meter Screph's recognition is charged by. */
const METER = 'speech'

const READ = { key: 'wallets:read', user: true } as const
const BUY = { key: 'orders:write', user: true } as const
const SPEND = { key: 'usage:write', user: true } as const
const TAG = 'screph'

const pack = z.object({
  id: z.string(),
  price_id: z.string(),
  name: z.string(),
  minutes: z.number(),
  price: z.string().describe('In the currency’s main unit, as a decimal.'),
  price_minor: z.int(),
  currency: z.string(),
  validity_days: z.int().nullable(),
})
const packs = z.object({ items: z.array(pack), next_cursor: z.string().nullable() })

const ownedPack = z.object({
  id: z.string(),
  name: z.string().nullable(),
  minutes: z.number(),
  remaining_minutes: z.number(),
  seconds: z.int(),
  remaining_seconds: z.int(),
  priority: z.int(),
  purchased_at: timestamp,
  expires_at: timestamp.nullable(),
})
const balance = z.object({
  user_id: z.string(),
  unit: z.string(),
  minutes: z.number(),
  balance_seconds: z.int(),
  available_seconds: z.int(),
  held_seconds: z.int(),
  next_expiry: timestamp.nullable(),
  packages: z.array(ownedPack),
})

const orderBody = z.strictObject({
  package_id: z.string().min(1).max(100),
  quantity: z.int().min(1).max(100).default(1),
  gateway: z.string().max(50).default('yookassa'),
  currency: z
    .string()
    .regex(/^[A-Z]{3,5}$/)
    .default('RUB'),
  return_url: z
    .url({ protocol: /^https?$/ })
    .max(2048)
    .optional(),
  email: z.email().max(254).optional(),
  phone: z
    .string()
    .regex(/^\+?[0-9]{10,15}$/)
    .optional(),
})
const placed = z.object({
  id: z.string(),
  status: z.string(),
  total: z.int(),
  currency: z.string(),
  payment_id: z.string(),
  external_id: z.string().nullable(),
  payment_url: z.string().nullable(),
})

const usageBody = z.union([
  z.strictObject({
    seconds: z.number().min(0).max(86_400),
    provider: z.string().min(1).max(50).optional(),
    session_id: z.string().min(1).max(200).optional(),
  }),
  z.strictObject({
    minutes: z.number().min(0).max(1440),
    provider: z.string().min(1).max(50).optional(),
    session_id: z.string().min(1).max(200).optional(),
  }),
])
const charged = z.object({
  id: z.string(),
  charged_seconds: z.int(),
  charged_minutes: z.number(),
  packages: z.array(z.object({ id: z.string(), name: z.string().nullable(), seconds: z.int() })),
  remaining_seconds: z.int(),
  remaining_minutes: z.number(),
})

export interface ScrephKit {
  orders: OrdersKit
  payments: PaymentsKit
  store: StoreEvents
  people: PeopleRouteKit
}

/**
 * Screph's own paths: minute packages, balance by package, usage in seconds. Its server calls with a secret
 * key on behalf of the user named by `X-User-Id`: our id, an external id or a Telegram id. Its users call
 * with a token of their own, and only ever for themselves.
 */
export function screphRoutes(app: FastifyInstance, kit: RouteKit, screph: ScrephKit): void {
  packageRoutes(app, kit)
  orderRoutes(app, kit, screph)
  balanceRoutes(app, kit)
  usageRoute(app, kit)
  screphPeopleRoutes(app, kit, screph.people)
  // The addresses Screph gave its vendors, beside our own.
  webhookRoute(app, kit, screph.payments, screph.store, {
    url: '/payments/webhook/:gateway/',
    is_hidden: true,
  })
}

function packageRoutes(app: FastifyInstance, kit: RouteKit): void {
  for (const url of ['/api/packages/', '/packages/']) {
    addRoute(app, kit, {
      method: 'GET',
      url,
      who: { anonymous: true },
      tag: TAG,
      summary: 'Packages of minutes on sale',
      query: z.object({
        currency: z
          .string()
          .regex(/^[A-Z]{3,5}$/)
          .default('RUB'),
        locale: z.string().max(10).optional(),
      }),
      answer: packs,
      read: async ({ query }) => {
        const items = (await onSale(kit)).flatMap((product) =>
          packWire(product, query.currency, query.locale),
        )
        return { items, next_cursor: null }
      },
    })
  }
}

function orderRoutes(app: FastifyInstance, kit: RouteKit, screph: ScrephKit): void {
  const place = async (order_id: string, call: Call, body: z.output<typeof orderBody>) => {
    const price_id = priceOf(await onSale(kit), body.package_id, body.currency)
    const customer = await kit.db.transact((tx) => ensureUser(tx, kit, call))
    const contact =
      body.email === undefined && body.phone === undefined
        ? undefined
        : { email: body.email, phone: body.phone }
    const { order, payment } = await placeOrder(kit.db, screph.orders, order_id, {
      customer_id: customer.id,
      lines: [{ price_id, quantity: body.quantity }],
      gateway: body.gateway,
      return_url: body.return_url ?? `${screph.payments.gateways.context(body.gateway).base_url}/docs`,
      receipt_contact: contact,
      network: networkOfPerson(call),
    })
    return {
      id: order.id,
      status: order.status,
      total: Number(order.total),
      currency: order.currency,
      payment_id: payment?.id ?? '',
      external_id: payment?.external_id ?? null,
      payment_url: payment?.checkout_url ?? null,
    }
  }
  addRoute(app, kit, {
    method: 'POST',
    url: '/api/orders/',
    who: BUY,
    tag: TAG,
    status: 201,
    summary: 'Order a package; answers the payment link',
    body: orderBody,
    answer: placed,
    across: { prefix: 'ord', work: (order_id, call) => place(order_id, call, call.body) },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/packages/:id/buy/',
    who: BUY,
    tag: TAG,
    status: 201,
    summary: 'Buy a package; answers the payment link',
    params: z.object({ id: z.string().max(100) }),
    body: orderBody.omit({ package_id: true }).prefault({}),
    answer: placed,
    across: {
      prefix: 'ord',
      work: (order_id, call) => place(order_id, call, { ...call.body, package_id: call.params.id }),
    },
  })
}

function balanceRoutes(app: FastifyInstance, kit: RouteKit): void {
  for (const url of ['/api/users/me/balance/', '/balance/']) {
    addRoute(app, kit, {
      method: 'GET',
      url,
      who: READ,
      tag: TAG,
      summary: 'Balance with active packages and their expiry',
      answer: balance,
      read: async (call) => {
        const customer = await getUser(kit.db, call)
        return balanceOf(kit, customer.id)
      },
    })
  }
}

function usageRoute(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/api/usage/record/',
    who: SPEND,
    tag: TAG,
    summary: 'Spend what was recognised: seconds in, blocks out',
    body: usageBody,
    answer: charged,
    errors: { 402: ['insufficient_funds'] },
    write: async (tx, call) => {
      const customer = await getUser(tx, call)
      const { body } = call
      const milliseconds = 'seconds' in body ? body.seconds * 1000 : body.minutes * 60_000
      const event = await recordMeterEvent(tx, kit.clock, {
        customer_id: customer.id,
        meter: METER,
        event_id: call.idempotency_key,
        // A fraction of a millisecond is noise of the client's arithmetic, never less than was used.
        duration_ms: BigInt(Math.ceil(Number(milliseconds.toFixed(3)))),
        channels: 1,
        provider: body.provider,
        session_id: body.session_id,
        actor_id: call.actor.id,
      })
      const names = await namesOfGrants(
        tx,
        event.slices.map((slice) => slice.grant_id),
      )
      return {
        id: event.id,
        charged_seconds: Number(event.amount),
        charged_minutes: minutesOf(event.amount),
        packages: event.slices.map((slice) => ({
          id: slice.grant_id,
          name: names.get(slice.grant_id) ?? null,
          seconds: slice.amount,
        })),
        remaining_seconds: Number(event.balance_after),
        remaining_minutes: minutesOf(event.balance_after),
      }
    },
  })
}

async function balanceOf(kit: RouteKit, customer_id: string): Promise<z.output<typeof balance>> {
  const wallet = await readWallet(kit.db, kit.clock, { customer_id, unit: UNIT })
  const names = await namesOfGrants(
    kit.db,
    wallet.grants.map((grant) => grant.id),
  )
  return {
    user_id: customer_id,
    unit: UNIT,
    minutes: minutesOf(wallet.available),
    balance_seconds: Number(wallet.balance),
    available_seconds: Number(wallet.available),
    held_seconds: Number(wallet.held),
    next_expiry: wallet.next_expiry,
    packages: wallet.grants.map((grant) => ({
      id: grant.id,
      name: names.get(grant.id) ?? null,
      minutes: minutesOf(grant.granted),
      remaining_minutes: minutesOf(grant.remaining),
      seconds: Number(grant.granted),
      remaining_seconds: Number(grant.remaining),
      priority: grant.priority,
      purchased_at: grant.created_at,
      expires_at: grant.expires_at,
    })),
  }
}
