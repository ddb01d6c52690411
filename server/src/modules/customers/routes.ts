import type { FastifyInstance } from 'fastify'
import { addRoute, type RouteKit } from '#http/routing'
import { createCustomer, listCustomers, resolveCustomer, updateCustomer } from './customers.ts'
import { customer, customerFacts, customerListQuery, customerPage, customerPath } from './schemas.ts'

const READ = { key: 'customers:read', staff: 'customers:read' } as const
const WRITE = { key: 'customers:write', staff: 'customers:write' } as const

/** `/v1/customers`: who owns wallets and orders. */
export function customerRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { db, clock, cursors } = kit
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/customers',
    who: WRITE,
    summary: 'Create a customer',
    description: 'An external or Telegram id that is taken answers 409 with `existing_id`.',
    tag: 'customers',
    body: customerFacts,
    status: 201,
    answer: customer,
    errors: { 409: ['already_exists'] },
    audit: { action: 'customer.created', is_for_people_only: true, after: () => undefined },
    write: (tx, { body }) => createCustomer(tx, clock, body),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/customers',
    who: READ,
    summary: 'List customers, newest first',
    tag: 'customers',
    query: customerListQuery,
    answer: customerPage,
    read: ({ query: { limit, cursor, ...filter } }) => listCustomers(db, cursors, filter, { limit, cursor }),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/customers/:id',
    who: READ,
    summary: 'Get a customer',
    description: 'By our id, `external_id:…` or `telegram_id:…`. A merged customer answers its survivor.',
    tag: 'customers',
    params: customerPath,
    answer: customer,
    read: ({ params }) => resolveCustomer(db, params.id),
  })
  addRoute(app, kit, {
    method: 'PATCH',
    url: '/v1/customers/:id',
    who: WRITE,
    summary: 'Change facts of a customer',
    description: 'An absent member leaves its fact, null takes it away.',
    tag: 'customers',
    params: customerPath,
    body: customerFacts,
    answer: customer,
    errors: { 409: ['already_exists', 'invalid_state'] },
    audit: {
      action: 'customer.changed',
      is_for_people_only: true,
      after: (_customer, { body }) => ({ changed: Object.keys(body) }),
    },
    write: (tx, { params, body }) => updateCustomer(tx, clock, { id_text: params.id, facts: body }),
  })
}
