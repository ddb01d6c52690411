import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { networkOfPerson } from '#http/client-address'
import { addRoute, type RouteKit } from '#http/routing'
import { toPage } from '#kernel/page'
import { resolveCustomer } from '#modules/customers'
import {
  findPayments,
  getPayment,
  paymentSchema,
  paymentWire,
  refundSchema,
  refundWire,
} from '#modules/payments'
import { payAgain, placeOrder } from './collect.ts'
import { cancelOrder, getOrder, listOrders, type OrdersKit } from './orders.ts'
import { previewOrder } from './preview.ts'
import { linesOfOrders } from './queries.ts'
import { refundPayment } from './refunds.ts'
import * as schemas from './schemas.ts'

const READ = { key: 'orders:read', staff: 'orders:read' } as const
const WRITE = { key: 'orders:write' } as const
const id = z.object({ id: z.string().max(100) })

/** Adds the routes of orders, and of refunds, which give back what an order granted. */
export function orderRoutes(app: FastifyInstance, kit: RouteKit, orders: OrdersKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/orders',
    who: WRITE,
    tag: 'orders',
    status: 201,
    summary: 'Place an order and get the page where it is paid',
    body: schemas.newOrder,
    answer: schemas.order,
    errors: {
      402: ['payment_refused'],
      409: ['not_on_sale', 'gateway_not_available', 'invalid_state'],
      503: ['gateway_unavailable'],
    },
    across: {
      prefix: 'ord',
      work: async (order_id, call) => {
        const placed = await placeOrder(kit.db, orders, order_id, {
          ...call.body,
          network: networkOfPerson(call),
        })
        return schemas.orderWire(placed.order, placed.lines, placed.payment)
      },
    },
  })
  previewRoute(app, kit, orders)
  attemptRoute(app, kit, orders)
  readingRoutes(app, kit)
  cancelRoute(app, kit)
  refundRoute(app, kit, orders)
}

function previewRoute(app: FastifyInstance, kit: RouteKit, orders: OrdersKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/orders/preview',
    who: WRITE,
    tag: 'orders',
    summary: 'Ask what a buyer would pay, tax included, without placing an order',
    is_keyed: false,
    body: schemas.orderToPreview,
    answer: schemas.orderPreview,
    errors: {
      402: ['payment_refused'],
      409: ['not_on_sale', 'gateway_not_available', 'invalid_state'],
      503: ['gateway_unavailable'],
    },
    read: ({ body }) => previewOrder(kit.db, orders, body),
  })
}

function attemptRoute(app: FastifyInstance, kit: RouteKit, orders: OrdersKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/orders/:id/payments',
    who: WRITE,
    tag: 'orders',
    status: 201,
    summary: 'Try again to pay an open order, with another gateway if need be',
    description:
      'The payment before must have ended without money: cancel it first when it is still open. ' +
      'Should both be paid all the same, the second is a mismatch and can be refunded whole.',
    params: id,
    body: schemas.newAttempt,
    answer: paymentSchema,
    errors: {
      402: ['payment_refused'],
      409: ['invalid_state', 'gateway_not_available'],
      503: ['gateway_unavailable'],
    },
    across: {
      prefix: 'pay',
      work: async (payment_id, { params, body }) =>
        paymentWire(await payAgain(kit.db, orders, payment_id, { ...body, order_id: params.id })),
    },
  })
}

function readingRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/orders/:id',
    who: READ,
    tag: 'orders',
    summary: 'Read an order',
    params: id,
    answer: schemas.order,
    read: async ({ params }) => {
      const found = await getOrder(kit.db, params.id)
      return schemas.orderWire(found.order, found.lines, found.payment)
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/orders',
    who: READ,
    tag: 'orders',
    summary: 'List orders, newest first',
    query: schemas.orderFilter,
    answer: schemas.orderPage,
    read: async ({ query }) => {
      const customer =
        query.customer_id === undefined ? undefined : await resolveCustomer(kit.db, query.customer_id)
      const opened = query.cursor === undefined ? undefined : kit.cursors.open('orders', query.cursor)
      const after = opened && { created_at: new Date(String(opened[0])), id: String(opened[1]) }
      const filter = { customer_id: customer?.id, status: query.status }
      const rows = await listOrders(kit.db, filter, { limit: query.limit, after })
      const lines = await linesOfOrders(
        kit.db,
        rows.map((row) => row.id),
      )
      const payments = await findPayments(
        kit.db,
        rows.flatMap(({ payment_id }) => (payment_id === null ? [] : [payment_id])),
      )
      const paymentOf = new Map(payments.map((payment) => [payment.id, payment]))
      return toPage(
        rows,
        query.limit,
        kit.cursors,
        'orders',
        (row) => [row.created_at.toISOString(), row.id],
        (row) => schemas.orderWire(row, lines, paymentOf.get(row.payment_id ?? '')),
      )
    },
  })
}

function cancelRoute(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/orders/:id/cancel',
    who: WRITE,
    tag: 'orders',
    summary: 'Close an order nobody paid',
    params: id,
    answer: schemas.order,
    errors: { 409: ['invalid_state'] },
    write: async (tx, { params }) => {
      await cancelOrder(tx, kit.clock, params.id)
      const found = await getOrder(tx, params.id)
      return schemas.orderWire(found.order, found.lines, found.payment)
    },
  })
}

function refundRoute(app: FastifyInstance, kit: RouteKit, orders: OrdersKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/payments/:id/refunds',
    who: { key: 'refunds:write', staff: 'refunds:write' },
    tag: 'payments',
    status: 201,
    summary: 'Give money back and take back the units it bought',
    params: id,
    body: schemas.newRefund,
    answer: refundSchema,
    errors: { 403: ['approval_required'], 409: ['invalid_state', 'refund_too_large'] },
    audit: { action: 'refund.requested' },
    across: {
      prefix: 're',
      work: async (refund_id, { params, body, actor }) => {
        await getPayment(kit.db, params.id)
        return refundWire(
          await refundPayment(kit.db, orders, {
            refund_id,
            payment_id: params.id,
            amount: body.amount,
            reason: body.reason,
            requested_by: actor.id,
            refuseAlone: kit.refuseAlone,
          }),
        )
      },
    },
  })
}
