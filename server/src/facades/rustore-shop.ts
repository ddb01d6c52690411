import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { networkOfPerson } from '#http/client-address'
import { addRoute, type Call, type RouteKit } from '#http/routing'
import { amount, currency, pageQuery, shortText, storable, timestamp } from '#http/wire'
import { listTransfers, readWallet, spendWithin, type Transfer } from '#modules/ledger'
import { placeOrder, type OrdersKit } from '#modules/orders'
import type { PaymentsKit } from '#modules/payments'
import { keepLists } from './rustore-product-list.ts'
import { buyerOf, priceOf, productsOnSale, productWire, RUSTORE, TAG, UNIT } from './rustore-words.ts'

const ME = { user: true } as const
const product = z.object({
  productId: z.string().describe('The store’s code of the product.'),
  id: z.string(),
  name: z.string(),
  description: z.string().nullable(),
  points: z.int(),
  price: z.string().describe('In the currency’s main unit, as a decimal.'),
  priceMinor: z.int(),
  currency,
  validityDays: z.int().nullable(),
})
const products = z.object({ products: z.array(product) })
const localeCode = z.string().regex(/^[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}$/)

const balance = z.object({
  points: z.int().describe('What can be spent now.'),
  total: z.int(),
  held: z.int(),
  nextExpiry: timestamp.nullable(),
})
const bought = z.object({
  orderId: z.string(),
  paymentId: z.string(),
  status: z.string(),
  amount: z.int(),
  currency,
  paymentUrl: z.string().nullable().describe('Where it is paid; of RuStore an address that opens the app.'),
})
const movement = z.object({
  id: z.string(),
  type: z.string(),
  direction: z.enum(['in', 'out', 'held']),
  amount: z.int(),
  points: z.int().describe('The balance right after it.'),
  reason: z.string().nullable(),
  createdAt: timestamp,
})

/** The app's shop: products, and points bought, counted and spent. */
export function rustoreShopRoutes(
  app: FastifyInstance,
  kit: RouteKit,
  parts: { orders: OrdersKit; payments: PaymentsKit },
): void {
  productRoute(app, kit)
  balanceRoutes(app, kit)
  buyRoute(app, kit, parts)
  spendRoute(app, kit)
}

function productRoute(app: FastifyInstance, kit: RouteKit): void {
  const keep = keepLists<z.output<typeof products>>(kit.clock)
  addRoute(app, kit, {
    method: 'GET',
    url: '/api/products',
    who: { anonymous: true },
    tag: TAG,
    summary: 'Products on sale, by the store’s codes',
    query: z.object({ currency: currency.default('RUB'), locale: localeCode.optional() }),
    answer: products,
    read: ({ query: { currency: code, locale } }) =>
      keep(`${code} ${locale?.toLowerCase() ?? ''}`, async () => {
        const found = await productsOnSale(kit)
        return { products: found.flatMap((one) => productWire(one, code, locale)) }
      }),
  })
}

function balanceRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/api/points/balance',
    who: ME,
    tag: TAG,
    summary: 'One’s points',
    answer: balance,
    read: async (call) => {
      const customer = await buyerOf(kit.db, call)
      const wallet = await readWallet(kit.db, kit.clock, { customer_id: customer.id, unit: UNIT })
      return {
        points: Number(wallet.available),
        total: Number(wallet.balance),
        held: Number(wallet.held),
        nextExpiry: wallet.next_expiry,
      }
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/api/points/history',
    who: ME,
    tag: TAG,
    summary: 'How one’s points came and went, newest first',
    query: pageQuery,
    answer: z.object({ items: z.array(movement), nextCursor: z.string().nullable() }),
    read: async (call) => {
      const customer = await buyerOf(kit.db, call)
      const filter = { customer_id: customer.id, unit: UNIT }
      const page = await listTransfers(kit.db, kit.cursors, filter, call.query)
      return { items: page.items.map(movementWire), nextCursor: page.next_cursor }
    },
  })
}

function buyRoute(
  app: FastifyInstance,
  kit: RouteKit,
  { orders, payments }: { orders: OrdersKit; payments: PaymentsKit },
): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/api/points/buy',
    who: ME,
    tag: TAG,
    status: 201,
    summary: 'Order points; RuStore’s are paid in the app, which passes paymentId on as developerPayload',
    body: z.strictObject({
      productId: z.string().min(1).max(150),
      gateway: z.string().min(1).max(50).default(RUSTORE),
      currency: currency.default('RUB'),
      returnUrl: z
        .url({ protocol: /^https?$/ })
        .max(2048)
        .optional(),
      email: z.email().max(254).optional(),
    }),
    answer: bought,
    errors: { 402: ['payment_refused'], 409: ['not_on_sale', 'gateway_not_available'] },
    across: {
      prefix: 'ord',
      work: async (order_id, call) => {
        const { productId, gateway, returnUrl, email } = call.body
        const price_id = priceOf(await productsOnSale(kit), productId, call.body.currency)
        const customer = await buyerOf(kit.db, call)
        const { order, payment } = await placeOrder(kit.db, orders, order_id, {
          customer_id: customer.id,
          lines: [{ price_id, quantity: 1 }],
          gateway,
          return_url: returnUrl ?? `${payments.gateways.context(gateway).base_url}/docs`,
          receipt_contact: email === undefined ? undefined : { email },
          network: networkOfPerson(call),
        })
        return {
          orderId: order.id,
          paymentId: payment?.id ?? '',
          status: payment?.status ?? order.status,
          amount: Number(order.total),
          currency: order.currency,
          paymentUrl: payment?.checkout_url ?? null,
        }
      },
    },
  })
}

function spendRoute(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/api/points/spend',
    who: ME,
    tag: TAG,
    status: 201,
    summary: 'Use up points',
    body: z.strictObject({ amount, reason: storable(200).optional(), reference: shortText.optional() }),
    answer: z.object({ id: z.string(), spent: z.int(), points: z.int() }),
    errors: { 402: ['insufficient_funds'] },
    write: async (tx, call: Call<unknown, unknown, SpendBody>) => {
      const customer = await buyerOf(tx, call)
      const spend = await spendWithin(tx, kit.clock, {
        ...call.body,
        customer_id: customer.id,
        unit: UNIT,
        actor_id: call.actor.id,
        idempotency_key: call.idempotency_key,
      })
      return { id: spend.id, spent: Number(spend.amount), points: Number(spend.balance) }
    },
  })
}

interface SpendBody {
  amount: bigint
  reason?: string | undefined
  reference?: string | undefined
}

/** Of a hold the points stay in the balance until it is captured. */
function movementWire(transfer: Transfer): z.output<typeof movement> {
  const { id, kind, from, to, reason } = transfer
  const is_inside = (account: string): boolean => account === 'wallet' || account === 'held'
  const direction = is_inside(from) && is_inside(to) ? 'held' : is_inside(to) ? 'in' : 'out'
  return {
    id,
    type: kind,
    direction,
    amount: Number(transfer.amount),
    points: Number(transfer.balance),
    reason,
    createdAt: transfer.created_at,
  }
}
