import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { networkOfPerson } from '#http/client-address'
import { addRoute, type RouteKit } from '#http/routing'
import { timestamp } from '#http/wire'
import { InvalidRequest, NotFound } from '#kernel/errors'
import { vendorCodeOf } from '#modules/catalog'
import { person } from '#modules/identity'
import { readWallet } from '#modules/ledger'
import { claimPurchase, getOrder, placeOrder, PurchaseDiffers, type OrdersKit } from '#modules/orders'
import {
  claimSubscription,
  listSubscriptions,
  presentStatus,
  setRenewal,
  type PaymentRow,
  type PaymentsKit,
  type VendorSubscriptionRow,
} from '#modules/payments'
import {
  BoughtInApp,
  buyerOf,
  pointsOf,
  priceOf,
  productsOnSale,
  RUSTORE,
  TAG,
  UNIT,
} from './rustore-words.ts'

const ME = { user: true } as const
/** Product codes the store is asked by when the app does not name the product. */
const CODES_MAX = 20
/** Subscriptions shown and looked through; nobody has as many. */
const SUBSCRIPTIONS_MAX = 100

const vendorId = z.string().regex(/^[\w.-]{1,100}$/, 'must be an id of the store')
const productCode = z.string().min(1).max(150)

const verified = z.object({
  verified: z.boolean(),
  status: z.string(),
  paymentId: z.string(),
  orderId: z.string(),
  productId: z.string(),
  points: z.int().describe('What the purchase gave.'),
  balance: z.int().describe('One’s points now.'),
})
const subscription = z.object({
  id: z.string(),
  subscriptionToken: z.string(),
  productId: z.string().nullable(),
  store: z.string(),
  status: z.enum(['active', 'canceled', 'expired']),
  isActive: z.boolean(),
  willRenew: z.boolean(),
  isTrial: z.boolean(),
  expiresAt: timestamp.nullable(),
})

interface Parts {
  orders: OrdersKit
  payments: PaymentsKit
}

/** What the app bought in the store, verified there; and its subscriptions, which the store keeps. */
export function rustorePurchaseRoutes(app: FastifyInstance, kit: RouteKit, parts: Parts): void {
  verifyPurchaseRoute(app, kit, parts)
  verifySubscriptionRoute(app, kit, parts)
  statusRoute(app, kit)
  createRoute(app, kit, parts)
  renewalRoutes(app, kit, parts)
}

function verifyPurchaseRoute(app: FastifyInstance, kit: RouteKit, { orders }: Parts): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/api/payments/verify',
    who: ME,
    tag: TAG,
    summary: 'Verify a purchase with the store and give what was bought, once',
    description:
      'The app sets appUserId of the SDK to the person’s id, or sends invoiceId: the store finds no ' +
      'purchase by its purchaseId alone.',
    body: z.strictObject({
      purchaseId: vendorId,
      orderId: vendorId,
      productId: productCode,
      invoiceId: z
        .string()
        .regex(/^[1-9]\d{0,17}$/)
        .optional(),
    }),
    answer: verified,
    errors: { 409: ['purchase_differs', 'purchase_not_paid', 'product_unknown'] },
    is_keyed: false,
    read: async (call) => {
      const { purchaseId, orderId, productId, invoiceId } = call.body
      const customer = await buyerOf(kit.db, call)
      const payment = await claimPurchase(kit.db, orders, {
        gateway: RUSTORE,
        customer_id: customer.id,
        purchase_id: purchaseId,
        invoice_id: invoiceId,
        product_code: productId,
        order_code: orderId,
        account_ids: [person(call.actor).id],
      })
      return verifiedWire(kit, payment, productId)
    },
  })
}

async function verifiedWire(
  kit: RouteKit,
  payment: PaymentRow,
  productId: string,
): Promise<z.output<typeof verified>> {
  if (payment.status === 'mismatch') {
    throw new PurchaseDiffers('What was paid is not what we ask for this; support looks at it.', {
      payment_id: payment.id,
    })
  }
  const { customer_id } = payment
  const { order, lines } = await getOrder(kit.db, payment.order_id)
  const wallet = await readWallet(kit.db, kit.clock, { customer_id, unit: UNIT })
  const is_given = payment.status === 'succeeded'
  const grants = lines.flatMap((line) =>
    line.grants.map((grant) => ({ ...grant, amount: grant.amount * Number(line.quantity) })),
  )
  return {
    verified: is_given,
    status: payment.status,
    paymentId: payment.id,
    orderId: order.id,
    productId,
    points: is_given ? pointsOf(grants) : 0,
    balance: Number(wallet.available),
  }
}

function verifySubscriptionRoute(app: FastifyInstance, kit: RouteKit, { payments }: Parts): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/api/subscriptions/verify',
    who: ME,
    tag: TAG,
    summary: 'Verify a subscription with the store and bind it to the person',
    description: 'subscriptionToken is the purchaseId the SDK gives for the subscription.',
    body: z.strictObject({ subscriptionToken: vendorId, productId: productCode.optional() }),
    answer: subscription,
    is_keyed: false,
    read: async (call) => {
      const { subscriptionToken, productId } = call.body
      const customer = await buyerOf(kit.db, call)
      const codes =
        productId === undefined
          ? (await productsOnSale(kit)).map((product) => vendorCodeOf(RUSTORE, product))
          : [productId]
      const found = await claimSubscription(kit.db, payments, {
        gateway: RUSTORE,
        external_id: subscriptionToken,
        product_codes: codes.slice(0, CODES_MAX),
        customer_id: customer.id,
      })
      return subscriptionWire(kit, found)
    },
  })
}

function statusRoute(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/api/subscriptions/status',
    who: ME,
    tag: TAG,
    summary: 'One’s subscriptions, as the store told them',
    answer: z.object({ isActive: z.boolean(), subscriptions: z.array(subscription) }),
    read: async (call) => {
      const customer = await buyerOf(kit.db, call)
      const rows = await ownSubscriptions(kit, customer.id)
      const subscriptions = rows.map((row) => subscriptionWire(kit, row))
      return { isActive: subscriptions.some((one) => one.isActive), subscriptions }
    },
  })
}

function createRoute(app: FastifyInstance, kit: RouteKit, { orders, payments }: Parts): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/api/subscriptions/create',
    who: ME,
    tag: TAG,
    status: 201,
    summary: 'Begin a subscription where the gateway lets a server do so; RuStore’s are bought in the app',
    body: z.strictObject({
      productId: productCode,
      gateway: z.string().min(1).max(50).default(RUSTORE),
    }),
    answer: z.object({ orderId: z.string(), paymentId: z.string(), paymentUrl: z.string().nullable() }),
    errors: { 409: ['bought_in_app', 'gateway_not_available', 'not_on_sale'] },
    across: {
      prefix: 'ord',
      work: async (order_id, call) => {
        const { productId, gateway: gateway_id } = call.body
        const { gateway } = payments.gateways.get(gateway_id)
        const [period] = gateway.subscription_periods_seconds ?? []
        const [currency] = gateway.currencies
        if (period === undefined || currency === undefined) {
          throw new BoughtInApp(
            `${gateway.title} sells subscriptions in the app only: buy it there with the store’s SDK, then ` +
              'send its purchaseId to /api/subscriptions/verify.',
          )
        }
        const price_id = priceOf(await productsOnSale(kit), productId, currency)
        const customer = await buyerOf(kit.db, call)
        const { order, payment } = await placeOrder(kit.db, orders, order_id, {
          customer_id: customer.id,
          lines: [{ price_id, quantity: 1 }],
          gateway: gateway_id,
          return_url: `${payments.gateways.context(gateway_id).base_url}/docs`,
          subscription_period_seconds: period,
          network: networkOfPerson(call),
        })
        return {
          orderId: order.id,
          paymentId: payment?.id ?? '',
          paymentUrl: payment?.checkout_url ?? null,
        }
      },
    },
  })
}

function renewalRoutes(app: FastifyInstance, kit: RouteKit, { payments }: Parts): void {
  for (const [verb, will_renew] of [
    ['cancel', false],
    ['renew', true],
  ] as const) {
    addRoute(app, kit, {
      method: 'POST',
      url: `/api/subscriptions/${verb}`,
      who: ME,
      tag: TAG,
      summary: will_renew
        ? 'Let a canceled subscription renew again, where the store can'
        : 'End the renewal; what was paid stays usable',
      body: z.strictObject({ id: vendorId.optional(), subscriptionToken: vendorId.optional() }),
      answer: subscription,
      errors: { 409: ['invalid_state'], 503: ['gateway_unavailable'] },
      across: {
        prefix: 'req',
        work: async (_resource_id, call) => {
          const { id, subscriptionToken } = call.body
          if (id === undefined && subscriptionToken === undefined) {
            throw new InvalidRequest([{ pointer: '/id', detail: 'or subscriptionToken is needed' }])
          }
          const customer = await buyerOf(kit.db, call)
          const own = (await ownSubscriptions(kit, customer.id)).find(
            (row) => row.id === id || row.external_id === subscriptionToken,
          )
          if (!own) throw new NotFound('You have no such subscription.')
          return subscriptionWire(
            kit,
            await setRenewal(kit.db, payments, own.id, will_renew ? 'resume' : 'cancel'),
          )
        },
      },
    })
  }
}

function ownSubscriptions(kit: RouteKit, customer_id: string): Promise<VendorSubscriptionRow[]> {
  return listSubscriptions(kit.db, { customer_id }, { limit: SUBSCRIPTIONS_MAX })
}

function subscriptionWire(kit: RouteKit, row: VendorSubscriptionRow): z.output<typeof subscription> {
  const status = presentStatus(row, kit.clock.now())
  return {
    id: row.id,
    subscriptionToken: row.external_id,
    productId: row.product_code,
    store: row.gateway,
    status,
    isActive: status !== 'expired',
    willRenew: row.will_renew && status === 'active',
    isTrial: row.is_trial,
    expiresAt: row.expires_at,
  }
}
