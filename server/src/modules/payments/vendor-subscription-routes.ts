import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { amountOrZero, currency, customerKey, pageOf, pageQuery, timestamp } from '#http/wire'
import { assert } from '#kernel/errors'
import { type Page, toPage } from '#kernel/page'
import { resolveCustomer } from '#modules/customers'
import type { PaymentsKit } from './kit.ts'
import { getVendorSubscription, presentStatus } from './vendor-subscription-status.ts'
import {
  listSubscriptions,
  setRenewal,
  VENDOR_SUBSCRIPTION_STATUSES,
  type VendorSubscriptionRow,
} from './vendor-subscriptions.ts'

const READ = { key: 'payments:read', staff: 'payments:read' } as const
const WRITE = { key: 'payments:write', staff: 'payments:write' } as const
const TAG = 'payments'

const id = z.object({ id: z.string().max(100) })
const status = z.enum(VENDOR_SUBSCRIPTION_STATUSES)
const subscription = z
  .object({
    id: z.string(),
    customer_id: z.string(),
    gateway: z.string(),
    external_id: z.string().describe('The subscription’s id at the vendor.'),
    product_code: z.string().nullable().describe('What the vendor calls the product.'),
    payment_id: z.string().nullable().describe('Our payment that began it, where we asked for it.'),
    is_test: z.boolean(),
    status: status.describe('active: renews. canceled: usable until expires_at. expired: over.'),
    will_renew: z.boolean(),
    is_trial: z.boolean(),
    amount: amountOrZero.nullable().describe('Of one period.'),
    currency: currency.nullable(),
    started_at: timestamp.nullable(),
    expires_at: timestamp.nullable(),
    told_at: timestamp.describe('When the vendor said this.'),
    created_at: timestamp,
  })
  .meta({ id: 'VendorSubscription' })
const subscriptionPage = pageOf(subscription)

const RENEWALS = [
  {
    verb: 'cancel',
    summary: 'End the renewal of a subscription; it is usable until its period is over',
    action: 'vendor_subscription.canceled',
  },
  {
    verb: 'end',
    summary: 'End a subscription at once, where its vendor can; no money is given back by this',
    action: 'vendor_subscription.ended',
  },
  {
    verb: 'resume',
    summary: 'Let a canceled subscription renew again',
    action: 'vendor_subscription.resumed',
  },
] as const

/** Subscriptions that vendors keep themselves: to read, and to have them renewed or not. */
export function vendorSubscriptionRoutes(app: FastifyInstance, kit: RouteKit, payments: PaymentsKit): void {
  listRoutes(app, kit)
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/vendor_subscriptions/:id',
    who: READ,
    tag: TAG,
    summary: 'Read a subscription a vendor keeps',
    params: id,
    answer: subscription,
    read: async ({ params }) => wire(kit, await getVendorSubscription(kit.db, params.id)),
  })
  for (const { verb, summary, action } of RENEWALS) {
    addRoute(app, kit, {
      method: 'POST',
      url: `/v1/vendor_subscriptions/:id/${verb}`,
      who: WRITE,
      tag: TAG,
      summary,
      params: id,
      answer: subscription,
      errors: { 409: ['invalid_state'], 503: ['gateway_unavailable'] },
      audit: { action },
      across: {
        prefix: 'req',
        work: async (_resource_id, { params }) =>
          wire(kit, await setRenewal(kit.db, payments, params.id, verb)),
      },
    })
  }
}

function listRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/vendor_subscriptions',
    who: READ,
    tag: TAG,
    summary: 'List subscriptions that vendors keep, newest first',
    query: pageQuery.extend({
      customer_id: customerKey.optional(),
      gateway: z.string().max(50).optional(),
      status: status.optional().describe('As the vendor said last.'),
    }),
    answer: subscriptionPage,
    read: async ({ query }) => {
      const { customer_id, gateway, status: said } = query
      const customer = customer_id === undefined ? undefined : await resolveCustomer(kit.db, customer_id)
      return page(kit, { customer_id: customer?.id, gateway, status: said }, query)
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/me/vendor_subscriptions',
    who: { user: true },
    tag: 'Me',
    summary: 'List one’s own subscriptions that vendors keep, newest first',
    query: pageQuery,
    answer: subscriptionPage,
    read: async ({ actor, query }) => {
      assert(actor.kind === 'user', 'only users may call this route')
      const customer = await resolveCustomer(kit.db, actor.customer_id)
      return page(kit, { customer_id: customer.id }, query)
    },
  })
}

async function page(
  kit: RouteKit,
  filter: Parameters<typeof listSubscriptions>[1],
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<Page<z.output<typeof subscription>>> {
  const list = `vendor_subscriptions/${filter.customer_id ?? ''}`
  const opened = cursor === undefined ? undefined : kit.cursors.open(list, cursor)
  const after = opened && { created_at: new Date(String(opened[0])), id: String(opened[1]) }
  const rows = await listSubscriptions(kit.db, filter, { limit, after })
  const place = (row: VendorSubscriptionRow) => [row.created_at.toISOString(), row.id]
  return toPage(rows, limit, kit.cursors, list, place, (row) => wire(kit, row))
}

function wire(kit: RouteKit, row: VendorSubscriptionRow): z.output<typeof subscription> {
  const { facts: _facts, next_check_at: _next, updated_at: _updated, ...told } = row
  const now_status = presentStatus(row, kit.clock.now())
  return { ...told, status: now_status, will_renew: row.will_renew && now_status === 'active' }
}
