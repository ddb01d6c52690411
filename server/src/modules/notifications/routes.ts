import type { FastifyInstance } from 'fastify'
import { addRoute, type RouteKit } from '#http/routing'
import { pageQuery } from '#http/wire'
import { getDelivery, listDeliveries, redeliver, testEndpoint } from './deliveries.ts'
import {
  createEndpoint,
  deleteEndpoint,
  getEndpoint,
  listEndpoints,
  rotateSecret,
  updateEndpoint,
} from './endpoints.ts'
import type { NotificationsKit } from './kit.ts'
import * as wire from './schemas.ts'

const READ = { key: 'webhooks:read', staff: 'webhooks:read' } as const
const WRITE = { key: 'webhooks:write', staff: 'webhooks:write' } as const
const common = { tag: 'webhooks' } as const

/** `/v1/webhook_endpoints` and `/v1/webhook_deliveries`: what the owner's app is told. */
export function notificationRoutes(app: FastifyInstance, kit: RouteKit, own: NotificationsKit): void {
  endpointRoutes(app, kit, own)
  endpointActionRoutes(app, kit, own)
  deliveryRoutes(app, kit, own)
}

function endpointRoutes(app: FastifyInstance, kit: RouteKit, own: NotificationsKit): void {
  const one = { ...common, params: wire.idPath } as const
  const url = '/v1/webhook_endpoints'
  addRoute(app, kit, {
    ...common,
    method: 'POST',
    url,
    who: WRITE,
    summary: 'Create a webhook endpoint',
    description: 'The secret is shown in this answer and never again.',
    body: wire.newEndpoint,
    status: 201,
    answer: wire.endpointWithSecret,
    shown_once: ['secret'],
    errors: { 409: ['invalid_state'] },
    audit: { action: 'webhook_endpoint.created' },
    write: (tx, { body }) => createEndpoint(tx, own, body),
  })
  addRoute(app, kit, {
    ...common,
    method: 'GET',
    url,
    who: READ,
    summary: 'List webhook endpoints, newest first',
    query: pageQuery,
    answer: wire.endpointPage,
    read: ({ query }) => listEndpoints(kit.db, kit.cursors, query),
  })
  addRoute(app, kit, {
    ...one,
    method: 'GET',
    url: `${url}/:id`,
    who: READ,
    summary: 'Get a webhook endpoint',
    answer: wire.endpoint,
    read: ({ params }) => getEndpoint(kit.db, params.id),
  })
  addRoute(app, kit, {
    ...one,
    method: 'PATCH',
    url: `${url}/:id`,
    who: WRITE,
    summary: 'Change a webhook endpoint',
    description: 'What waited while it was disabled goes out when it is enabled.',
    body: wire.endpointChange,
    answer: wire.endpoint,
    audit: { action: 'webhook_endpoint.changed' },
    write: (tx, { params, body }) => updateEndpoint(tx, own, { id: params.id, facts: body }),
  })
  addRoute(app, kit, {
    ...one,
    method: 'DELETE',
    url: `${url}/:id`,
    who: WRITE,
    summary: 'Delete a webhook endpoint',
    description: 'What waits for it is canceled.',
    answer: wire.deletedEndpoint,
    audit: { action: 'webhook_endpoint.deleted' },
    write: async (tx, { params }) => {
      await deleteEndpoint(tx, own, params.id)
      return { id: params.id, is_deleted: true as const }
    },
  })
}

function endpointActionRoutes(app: FastifyInstance, kit: RouteKit, own: NotificationsKit): void {
  const one = { ...common, params: wire.idPath } as const
  const url = '/v1/webhook_endpoints'
  addRoute(app, kit, {
    ...one,
    method: 'POST',
    url: `${url}/:id/rotate_secret`,
    who: WRITE,
    summary: 'Give a webhook endpoint another secret',
    description:
      'For 24 hours the old secret signs too. The new one is shown in this answer and never again.',
    body: wire.rotation,
    answer: wire.endpointWithSecret,
    shown_once: ['secret'],
    audit: { action: 'webhook_endpoint.secret_rotated' },
    write: (tx, { params, body }) => rotateSecret(tx, own, { id: params.id, secret: body?.secret }),
  })
  addRoute(app, kit, {
    ...one,
    method: 'POST',
    url: `${url}/:id/test`,
    who: WRITE,
    summary: 'Send a test message',
    description: 'One attempt; its result is seen at the delivery that is answered.',
    status: 202,
    answer: wire.delivery,
    errors: { 409: ['invalid_state'] },
    write: (tx, { params }) => testEndpoint(tx, own, params.id),
  })
}

function deliveryRoutes(app: FastifyInstance, kit: RouteKit, own: NotificationsKit): void {
  const url = '/v1/webhook_deliveries'
  addRoute(app, kit, {
    ...common,
    method: 'GET',
    url,
    who: READ,
    summary: 'List webhook deliveries, newest first',
    query: wire.deliveryListQuery,
    answer: wire.deliveryPage,
    read: ({ query: { limit, cursor, ...filter } }) =>
      listDeliveries(kit.db, kit.cursors, filter, { limit, cursor }),
  })
  addRoute(app, kit, {
    ...common,
    method: 'GET',
    url: `${url}/:id`,
    who: READ,
    summary: 'Get a webhook delivery',
    params: wire.idPath,
    answer: wire.delivery,
    read: ({ params }) => getDelivery(kit.db, params.id),
  })
  addRoute(app, kit, {
    ...common,
    method: 'POST',
    url: `${url}/:id/redeliver`,
    who: WRITE,
    summary: 'Send a message again',
    description: 'At once and under the same webhook-id, with all ten attempts before it.',
    params: wire.idPath,
    status: 202,
    answer: wire.delivery,
    errors: { 409: ['invalid_state'] },
    write: (tx, { params }) => redeliver(tx, own, params.id),
  })
}
