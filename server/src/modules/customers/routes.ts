import type { FastifyInstance } from 'fastify'
import { addRoute, type RouteKit } from '#http/routing'
import { createCustomer, listCustomers, resolveCustomer, updateCustomer } from './customers.ts'
import { customer, customerFacts, customerListQuery, customerPage, customerPath } from './schemas.ts'

/** `/v1/customers`: who owns wallets and orders. */
export function customerRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { db, clock, cursors } = kit
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/customers',
    who: { key: 'customers:write' },
    summary: 'Create a customer',
    description: 'An external or Telegram id that is taken answers 409 with `existing_id`.',
    tag: 'Customers',
    body: customerFacts,
    status: 201,
    answer: customer,
    errors: { 409: ['already_exists'] },
    write: (tx, { body }) => createCustomer(tx, clock, body),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/customers',
    who: { key: 'customers:read' },
    summary: 'List customers, newest first',
    tag: 'Customers',
    query: customerListQuery,
    answer: customerPage,
    read: ({ query: { limit, cursor, ...filter } }) => listCustomers(db, cursors, filter, { limit, cursor }),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/customers/:id',
    who: { key: 'customers:read' },
    summary: 'Get a customer',
    description: 'By our id, `external_id:…` or `telegram_id:…`. A merged customer answers its survivor.',
    tag: 'Customers',
    params: customerPath,
    answer: customer,
    read: ({ params }) => resolveCustomer(db, params.id),
  })
  addRoute(app, kit, {
    method: 'PATCH',
    url: '/v1/customers/:id',
    who: { key: 'customers:write' },
    summary: 'Change facts of a customer',
    description: 'An absent member leaves its fact, null takes it away.',
    tag: 'Customers',
    params: customerPath,
    body: customerFacts,
    answer: customer,
    errors: { 409: ['already_exists', 'invalid_state'] },
    write: (tx, { params, body }) => updateCustomer(tx, clock, { id_text: params.id, facts: body }),
  })
}
