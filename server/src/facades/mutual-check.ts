import type { FastifyInstance } from 'fastify'
import { formatDecimal } from '@kopilka/extension'
import { z } from 'zod'
import { networkOfPerson } from '#http/client-address'
import { addRoute, type Call, type RouteKit } from '#http/routing'
import { timestamp } from '#http/wire'
import type { Sql } from '#kernel/db'
import { InvalidRequest, NotFound } from '#kernel/errors'
import { currencyDigits } from '#kernel/money'
import { resolveCustomer, type Customer } from '#modules/customers'
import { getOrder, placeOrder, type OrdersKit } from '#modules/orders'
import {
  getPayment,
  hastenPayment,
  webhookRoute,
  type PaymentsKit,
  type StoreEvents,
} from '#modules/payments'
import { checksIn, getTariffPrice, RUB, STARS, tariffRoutes, UNIT } from './mutual-check-tariffs.ts'
import { ensureNamedUser, findNamedUser } from './named-user.ts'

const TAG = 'mutual-check'
const BUY = { key: 'orders:write', user: true } as const
const READ = { key: 'payments:read', user: true } as const

const userId = z
  .union([z.int().min(1), z.string().min(1).max(220)])
  .transform(String)
  .describe('Whom the call is for: a Telegram id, an external id or ours. Or send X-User-Id.')
const returnUrl = z.url({ protocol: /^https?$/ }).max(2048)

const newPayment = z.strictObject({
  tariff_id: z.string().min(1).max(64),
  user_id: userId.optional(),
  email: z.email().max(254).optional().describe('For the fiscal receipt.'),
  phone: z
    .string()
    .regex(/^\+?[0-9]{10,15}$/)
    .optional(),
  return_url: returnUrl.optional(),
})
const newStarsPayment = z.strictObject({
  tariff_id: z.string().min(1).max(64),
  user_id: userId.optional(),
})
const payment = z
  .object({
    payment_id: z.string(),
    status: z.string(),
    is_paid: z.boolean(),
    tariff_id: z.string(),
    tariff_name: z.string(),
    checks_count: z.int(),
    amount: z.string().describe('In the currency’s main unit, as a decimal; Stars are whole.'),
    currency: z.string(),
    payment_method: z.string(),
    payment_url: z.string().nullable().describe('Where it is paid.'),
    created_at: timestamp,
    paid_at: timestamp.nullable(),
  })
  .meta({ id: 'TariffPayment' })
const starsPayment = payment.extend({ invoice_link: z.string().nullable() })
const paymentStatus = z.object({ payment_id: z.string(), status: z.string(), is_paid: z.boolean() })
const paymentPath = z.object({ payment_id: z.string().max(100) })
const paymentQuery = z.object({ user_id: userId.optional() })

export interface MutualCheckKit {
  orders: OrdersKit
  payments: PaymentsKit
  store: StoreEvents
}

/**
 * The mutual-follow check's own paths: checks are sold by tariffs, through Robokassa or for Telegram Stars.
 * Its bot calls with a secret key on behalf of a user; a person calls with a token of his own, for himself.
 */
export function mutualCheckRoutes(app: FastifyInstance, kit: RouteKit, parts: MutualCheckKit): void {
  tariffRoutes(app, kit)
  buyRoutes(app, kit, parts)
  paymentRoutes(app, kit, parts)
  // Robokassa's ResultURL at the address the product has in its cabinet: the same door, the same proof.
  webhookRoute(app, kit, parts.payments, parts.store, {
    url: '/api/v1/payments/robokassa/callback',
    gateway: 'robokassa',
    is_hidden: false,
  })
}

function buyRoutes(app: FastifyInstance, kit: RouteKit, parts: MutualCheckKit): void {
  const errors = {
    402: ['payment_refused'],
    409: ['not_on_sale', 'gateway_not_available'],
    503: ['gateway_unavailable'],
  }
  addRoute(app, kit, {
    method: 'POST',
    url: '/api/v1/payments/create',
    who: BUY,
    tag: TAG,
    status: 201,
    summary: 'Buy a tariff through Robokassa; answers the payment link',
    body: newPayment,
    answer: payment,
    errors,
    across: {
      prefix: 'ord',
      work: (order_id, call) =>
        buy(kit, parts, { order_id, call, body: call.body, gateway: 'robokassa', currency: RUB }),
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/api/v1/payments/telegram-stars',
    who: BUY,
    tag: TAG,
    status: 201,
    summary: 'Buy a tariff for Telegram Stars; answers the invoice link',
    body: newStarsPayment,
    answer: starsPayment,
    errors,
    across: {
      prefix: 'ord',
      work: async (order_id, call) => {
        const { body } = call
        const made = await buy(kit, parts, {
          order_id,
          call,
          body,
          gateway: 'telegram-stars',
          currency: STARS,
        })
        return { ...made, invoice_link: made.payment_url }
      },
    },
  })
}

function paymentRoutes(app: FastifyInstance, kit: RouteKit, { payments }: MutualCheckKit): void {
  const read = async (call: Call<z.output<typeof paymentPath>, z.output<typeof paymentQuery>>) => {
    const { payment_id } = call.params
    const found = await getPayment(kit.db, payment_id)
    await refuseStranger(kit.db, call, found.customer_id, new NotFound(`There is no payment ${payment_id}.`))
    await hastenPayment(kit.db, payments, found)
    return paymentOf(kit.db, payment_id)
  }
  addRoute(app, kit, {
    method: 'GET',
    url: '/api/v1/payments/:payment_id',
    who: READ,
    tag: TAG,
    summary: 'Read a payment of a tariff',
    params: paymentPath,
    query: paymentQuery,
    answer: payment,
    read,
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/api/v1/payments/:payment_id/status',
    who: READ,
    tag: TAG,
    summary: 'Whether a payment of a tariff came through',
    params: paymentPath,
    query: paymentQuery,
    answer: paymentStatus,
    read: async (call) => {
      const { payment_id, status, is_paid } = await read(call)
      return { payment_id, status, is_paid }
    },
  })
}

interface Purchase {
  order_id: string
  call: Call
  body: z.output<typeof newPayment>
  gateway: string
  currency: string
}

async function buy(
  kit: RouteKit,
  { orders, payments }: MutualCheckKit,
  { order_id, call, body, gateway, currency }: Purchase,
): Promise<z.output<typeof payment>> {
  const { email, phone, return_url } = body
  const { id: price_id } = await getTariffPrice(kit.db, body.tariff_id, currency)
  const customer = await buyer(kit, call, body.user_id)
  if (currency === STARS && customer.telegram_id === null) {
    throw new InvalidRequest([
      { pointer: '/user_id', detail: 'has no Telegram id: Stars are paid there only' },
    ])
  }
  const placed = await placeOrder(kit.db, orders, order_id, {
    customer_id: customer.id,
    lines: [{ price_id, quantity: 1 }],
    gateway,
    return_url: return_url ?? `${payments.gateways.context(gateway).base_url}/docs`,
    receipt_contact: email === undefined && phone === undefined ? undefined : { email, phone },
    network: networkOfPerson(call),
  })
  return paymentOf(kit.db, placed.payment?.id ?? '')
}

/** A payment in this product's words. Throws {@link NotFound} also for one that bought no checks. */
async function paymentOf(sql: Sql, payment_id: string): Promise<z.output<typeof payment>> {
  const found = await getPayment(sql, payment_id)
  const { lines } = await getOrder(sql, found.order_id)
  const line = lines.find(({ grants }) => grants.some(({ unit }) => unit === UNIT))
  if (!line) throw new NotFound(`There is no payment ${payment_id}.`)
  return {
    payment_id,
    status: found.status,
    is_paid: found.status === 'succeeded' || found.status === 'partially_refunded',
    tariff_id: line.product_id,
    tariff_name: line.name,
    checks_count: checksIn(line.grants) * Number(line.quantity),
    amount: formatDecimal(found.amount, currencyDigits(found.currency)),
    currency: found.currency,
    payment_method: found.gateway,
    payment_url: found.checkout_url,
    created_at: found.created_at,
    paid_at: found.succeeded_at,
  }
}

/** Who buys: the person himself, or whom the bot speaks for, who is made if he is new. */
async function buyer(kit: RouteKit, call: Call, user_id: string | undefined): Promise<Customer> {
  const named = namedIn(call, user_id)
  const { actor } = call
  if (actor.kind === 'user') {
    const own = await resolveCustomer(kit.db, actor.customer_id)
    if (named !== undefined && (await findNamedUser(kit.db, named.id))?.id !== own.id) {
      throw new NotFound(`There is no user ${named.id}.`)
    }
    return own
  }
  if (named === undefined) {
    throw new InvalidRequest([
      { pointer: '/user_id', detail: 'names the user this call is for: send it once' },
    ])
  }
  return kit.db.transact((tx) => ensureNamedUser(tx, kit.clock, named))
}

/**
 * Throws `refusal` when the object is not of the person who calls, or whom the bot speaks for. A bot that
 * names nobody reads as the owner does.
 */
async function refuseStranger(
  sql: Sql,
  call: Call<unknown, { user_id?: string | undefined }>,
  customer_id: string,
  refusal: NotFound,
): Promise<void> {
  const { actor } = call
  const named = namedIn(call, call.query.user_id)
  const asked = actor.kind === 'user' ? [actor.customer_id] : []
  if (named) asked.push(named.id)
  // Whoever was merged is his survivor on both sides.
  const owner = asked.length > 0 ? await resolveCustomer(sql, customer_id) : undefined
  for (const id of asked) {
    if ((await findNamedUser(sql, id))?.id !== owner?.id) throw refusal
  }
}

/** The name of the user in the call; throws {@link InvalidRequest} when it is there twice and differs. */
function namedIn(call: Call, user_id: string | undefined): { id: string; pointer: string } | undefined {
  const header = call.headers['x-user-id']
  const pointer = '/headers/x-user-id'
  if (header === undefined) return user_id === undefined ? undefined : { id: user_id, pointer: '/user_id' }
  const is_one = typeof header === 'string' && header.length > 0 && header.length <= 220
  if (!is_one || (user_id !== undefined && user_id !== header)) {
    throw new InvalidRequest([{ pointer, detail: 'names the user this call is for: send it once' }])
  }
  return { id: header, pointer }
}
