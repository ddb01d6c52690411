import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { toPage } from '#kernel/page'
import { resolveCustomer } from '#modules/customers'
import { listDisputes } from './dispute-queries.ts'
import type { StoreEvents } from './inbox.ts'
import { receiveWebhook } from './inbox.ts'
import { inboxRoutes } from './inbox-routes.ts'
import type { PaymentsKit } from './kit.ts'
import { listPayments } from './payment-queries.ts'
import { cancelPayment, capturePayment, getPayment, hastenPayment } from './payments.ts'
import { receiptRoutes } from './receipt-routes.ts'
import { listRefunds } from './refund-queries.ts'
import { recordSeenOutcome } from './refund-review.ts'
import { getRefund } from './refunds.ts'
import { listSavedMethods, removeSavedMethod } from './saved-methods.ts'
import { gatewayRoute } from './gateway-routes.ts'
import { reconciliationRoutes } from './reconciliation-routes.ts'
import * as schemas from './schemas.ts'
import { vendorSubscriptionRoutes } from './vendor-subscription-routes.ts'

const id = z.object({ id: z.string().max(100) })
const READ = { key: 'payments:read', staff: 'payments:read' } as const
const WRITE = { key: 'payments:write', staff: 'payments:write' } as const
const WEBHOOK_MAX_BYTES = 262_144

/** Adds the routes of payments, refunds (reading), saved methods and the vendors' notifications. */
export function paymentRoutes(
  app: FastifyInstance,
  kit: RouteKit,
  payments: PaymentsKit,
  store: StoreEvents,
): void {
  readingRoutes(app, kit, payments)
  refundReviewRoute(app, kit, payments)
  disputeRoute(app, kit)
  twoStageRoutes(app, kit, payments)
  savedMethodRoutes(app, kit)
  gatewayRoute(app, kit, payments)
  reconciliationRoutes(app, kit)
  receiptRoutes(app, kit, payments)
  vendorSubscriptionRoutes(app, kit, payments)
  inboxRoutes(app, kit)
  webhookRoute(app, kit, payments, store, { url: '/webhooks/payments/:gateway', is_hidden: false })
}

function readingRoutes(app: FastifyInstance, kit: RouteKit, payments: PaymentsKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/payments',
    who: READ,
    tag: 'payments',
    summary: 'List payments, newest first',
    query: schemas.paymentFilter,
    answer: schemas.paymentPage,
    read: async ({ query }) => {
      const rows = await listPayments(kit.db, query, {
        limit: query.limit,
        after: after(kit, 'payments', query.cursor),
      })
      return toPage(rows, query.limit, kit.cursors, 'payments', position, schemas.paymentWire)
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/payments/:id',
    who: READ,
    tag: 'payments',
    summary: 'Read a payment',
    params: id,
    answer: schemas.payment,
    read: async ({ params }) => {
      const payment = await getPayment(kit.db, params.id)
      await hastenPayment(kit.db, payments, payment)
      return schemas.paymentWire(payment)
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/refunds',
    who: READ,
    tag: 'payments',
    summary: 'List refunds, newest first',
    query: schemas.refundFilter,
    answer: schemas.refundPage,
    read: async ({ query }) => {
      const rows = await listRefunds(kit.db, query, {
        limit: query.limit,
        after: after(kit, 'refunds', query.cursor),
      })
      return toPage(rows, query.limit, kit.cursors, 'refunds', position, schemas.refundWire)
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/refunds/:id',
    who: READ,
    tag: 'payments',
    summary: 'Read a refund',
    params: id,
    answer: schemas.refund,
    read: async ({ params }) => schemas.refundWire(await getRefund(kit.db, params.id)),
  })
}

function refundReviewRoute(app: FastifyInstance, kit: RouteKit, payments: PaymentsKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/refunds/:id/outcome',
    who: { key: 'refunds:write', staff: 'refunds:write' },
    tag: 'payments',
    summary: 'Record what a person saw at the vendor of a refund that waits for one (not_answered)',
    params: id,
    body: schemas.seenOutcome,
    answer: schemas.refund,
    errors: { 409: ['invalid_state'] },
    audit: { action: 'refund.outcome_recorded' },
    write: async (tx, { params, body }) =>
      schemas.refundWire(await recordSeenOutcome(tx, payments, params.id, body)),
  })
}

function disputeRoute(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/disputes',
    who: READ,
    tag: 'payments',
    summary: 'List payments that were contested, newest first',
    query: schemas.disputeFilter,
    answer: schemas.disputePage,
    read: async ({ query }) => {
      const rows = await listDisputes(kit.db, query, {
        limit: query.limit,
        after: after(kit, 'disputes', query.cursor),
      })
      return toPage(rows, query.limit, kit.cursors, 'disputes', position, schemas.disputeWire)
    },
  })
}

function twoStageRoutes(app: FastifyInstance, kit: RouteKit, payments: PaymentsKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/payments/:id/capture',
    who: WRITE,
    tag: 'payments',
    summary: 'Take an authorized payment, all of it or less',
    params: id,
    body: schemas.captureBody,
    answer: schemas.payment,
    errors: { 409: ['invalid_state'] },
    audit: { action: 'payment.captured' },
    across: {
      prefix: 'req',
      work: async (_resource_id, { params, body }) => {
        const input = body.amount === undefined ? {} : { amount: body.amount }
        return schemas.paymentWire(await capturePayment(kit.db, payments, params.id, input))
      },
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/payments/:id/cancel',
    who: WRITE,
    tag: 'payments',
    summary: 'Void a payment that was not taken yet',
    params: id,
    answer: schemas.payment,
    errors: { 409: ['invalid_state'] },
    audit: { action: 'payment.canceled' },
    across: {
      prefix: 'req',
      work: async (_resource_id, { params }) =>
        schemas.paymentWire(await cancelPayment(kit.db, payments, params.id)),
    },
  })
}

function savedMethodRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/customers/:id/payment_methods',
    who: READ,
    tag: 'payments',
    summary: 'List the payment methods a customer agreed to keep',
    params: id,
    answer: schemas.savedMethodList,
    read: async ({ params }) => {
      const customer = await resolveCustomer(kit.db, params.id)
      const rows = await listSavedMethods(kit.db, customer.id)
      return { items: rows.map(schemas.savedMethodWire), next_cursor: null }
    },
  })
  addRoute(app, kit, {
    method: 'DELETE',
    url: '/v1/customers/:id/payment_methods/:method_id',
    who: WRITE,
    tag: 'payments',
    summary: 'Forget a kept payment method',
    params: id.extend({ method_id: z.string().max(100) }),
    answer: z.object({ removed: z.literal(true), status: z.enum(['removing', 'removed']) }),
    audit: { action: 'payment_method.removed', is_for_people_only: true },
    write: async (tx, { params }) => {
      const customer = await resolveCustomer(tx, params.id)
      const method = await removeSavedMethod(tx, customer.id, params.method_id, kit.clock.now())
      const status = method.forgotten_at === null ? ('removing' as const) : ('removed' as const)
      return { removed: true as const, status }
    },
  })
}

/**
 * Adds a door for vendors' notifications; `address` is for products whose vendors know another path: with
 * `:gateway` in it, or for the one gateway it names.
 */
export function webhookRoute(
  app: FastifyInstance,
  kit: RouteKit,
  payments: PaymentsKit,
  store: StoreEvents,
  address: { url: string; is_hidden: boolean; gateway?: string },
): void {
  const { url, is_hidden, gateway } = address
  const named = z.string().max(50)
  addRoute(app, kit, {
    url,
    is_hidden,
    method: 'POST',
    who: { anonymous: true, proof: 'the gateway verifies its notification on the raw bytes' },
    tag: 'webhooks',
    summary: 'A vendor’s notification',
    raw_body: true,
    body_max_bytes: WEBHOOK_MAX_BYTES,
    anonymous_per_minute: Number.POSITIVE_INFINITY,
    params: z.object({ gateway: gateway === undefined ? named : named.default(gateway) }),
    answer: z.string(),
    reply: async ({ params, ip }, reply, request) => {
      const answer = await receiveWebhook(payments, store, params.gateway, {
        method: request.method,
        path: request.url,
        headers: request.headers,
        query: request.query as Record<string, string | string[] | undefined>,
        raw_body: request.raw_body ?? Buffer.alloc(0),
        remote_address: ip,
      })
      return reply.status(answer.status).type(answer.content_type).serializer(String).send(answer.body)
    },
  })
}

function after(
  kit: RouteKit,
  list: string,
  cursor: string | undefined,
): { created_at: Date; id: string } | undefined {
  if (cursor === undefined) return undefined
  const [created_at, row_id] = kit.cursors.open(list, cursor)
  return { created_at: new Date(String(created_at)), id: String(row_id) }
}

function position(row: { created_at: Date; id: string }): [string, string] {
  return [row.created_at.toISOString(), row.id]
}
