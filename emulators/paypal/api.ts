import { timingSafeEqual } from 'node:crypto'
import formbody from '@fastify/formbody'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Problem } from '../kit/openapi.ts'
import { requirePublished } from '../kit/published.ts'
import { once } from './idempotency.ts'
import { newId, notFound, VendorError } from './objects.ts'
import type { World } from './objects.ts'
import { authorizeOrder, captureOrder, createOrder, planOf } from './orders.ts'
import type { OrderBody } from './orders.ts'
import { captureAuthorization, createRefund, voidAuthorization } from './payments.ts'
import type { RefundBody } from './payments.ts'
import { report } from './report.ts'
import { listDisputes } from './disputes.ts'
import { listCharges, refundSale } from './sales.ts'
import { cancelSubscription, createSubscription, subscriptionOf } from './subscriptions.ts'
import { dropToken } from './vault.ts'
import { CERTIFICATES, isOurs } from './webhooks.ts'

interface ById {
  Params: { id: string }
}
type Query = Readonly<Record<string, string>>

/** The token call and the certificates: all that is answered without a token. */
export function registerOpen(app: FastifyInstance, world: World): void {
  void app.register(formbody)
  app.setErrorHandler((error: unknown, _request, reply) => sendError(world, reply, error))
  // The vendor's own fault, and no operation on money.
  app.post('/v1/oauth2/token', { config: { is_operation: false } }, async (request, reply) => {
    const { client_id, client_secret, token_life_seconds } = world.kit.settings()
    const given = request.headers.authorization ?? ''
    const expected = `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString('base64')}`
    if (!isSame(given, expected))
      return reply
        .code(401)
        .send({ error: 'invalid_client', error_description: 'Client Authentication failed' })
    const { grant_type } = (request.body ?? {}) as { grant_type?: unknown }
    if (grant_type !== 'client_credentials')
      return reply.code(400).send({ error: 'unsupported_grant_type', error_description: 'Unsupported' })
    const access_token = `A21AA${newId(world, 60)}`
    world.access.add(access_token, world.kit.now().getTime() + token_life_seconds * 1000)
    return {
      scope: 'https://uri.paypal.com/services/payments/payment',
      access_token,
      token_type: 'Bearer',
      app_id: 'APP-80W284485P519543T',
      expires_in: token_life_seconds,
      nonce: newId(world, 20),
    }
  })
  for (const [path, pem] of Object.entries(CERTIFICATES)) {
    app.get(path, async (_request, reply) => reply.type('application/x-pem-file').send(pem()))
  }
  app.get('/v1/notifications/certs/*', async (_request, reply) => sendError(world, reply, notFound()))
}

/** Everything that needs a token. Requests are checked against the vendor's published shapes. */
export function registerApi(app: FastifyInstance, world: World): void {
  app.setErrorHandler((error: unknown, _request, reply) => sendError(world, reply, error))
  app.setNotFoundHandler((_request, reply) => sendError(world, reply, notFound()))
  app.addHook('onRequest', (request, _reply, done) => {
    const [, token = ''] = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '') ?? []
    const ends_at = world.access.get(token) ?? 0
    const is_known = ends_at > world.kit.now().getTime()
    const has_body = request.method === 'POST' || request.method === 'PATCH'
    const is_json = /^application\/json\b/.test(request.headers['content-type'] ?? '')
    if (!is_known) done(new VendorError(401, 'AUTHENTICATION_FAILURE'))
    else done(has_body && !is_json ? new VendorError(415, 'UNSUPPORTED_MEDIA_TYPE') : undefined)
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) =>
    done(null, body),
  )
  requirePublished(app, {
    specs: Object.values(world.specs),
    // The next page of events is an address the vendor gives.
    queryOf: ({ query }) =>
      Object.fromEntries(Object.entries(query as Query).filter(([name]) => name !== 'start_id')),
    bodyOf: (request) =>
      request.method === 'GET' || request.method === 'DELETE' ? undefined : bodyOf(request),
    refuse: check,
  })
  registerOrders(app, world)
  registerPayments(app, world)
  registerVault(app, world)
  registerSubscriptions(app, world)
  registerNotifications(app, world)
  const disputes = '/v1/customer/disputes'
  app.get<{ Querystring: Query }>(disputes, async ({ query }) => listDisputes(world, query))
  app.get<ById>(`${disputes}/:id`, async ({ params }) => {
    if (!world.kit.settings().are_disputes_readable) throw new VendorError(403, 'NOT_AUTHORIZED')
    return held(world.disputes.get(params.id))
  })
  app.get<{ Querystring: Query }>('/v1/reporting/transactions', async ({ query }) => {
    return report(world, query)
  })
}

function registerOrders(app: FastifyInstance, world: World): void {
  const path = '/v2/checkout/orders'
  app.post(path, async (request, reply) => {
    const body = bodyOf(request) as OrderBody
    if (body.payment_source && request.headers['paypal-request-id'] === undefined)
      throw invalid('PAYPAL_REQUEST_ID_REQUIRED', 'paypal-request-id')
    const perform = () => {
      const { order } = createOrder(world, body)
      return () => order
    }
    return once(world, request, reply, { life: 'order', status: 201, perform })
  })
  app.get<ById>(`${path}/:id`, async (request) => {
    const { order } = planOf(world, request.params.id)
    if (order.status === 'VOIDED' && !order.purchase_units[0].payments)
      return gone(order.update_time, world, order)
    return structuredClone(order)
  })
  for (const verb of ['capture', 'authorize'] as const) {
    app.post<ById>(`${path}/:id/${verb}`, async (request, reply) => {
      const plan = planOf(world, request.params.id)
      const perform = () => {
        if (verb === 'capture') captureOrder(world, plan)
        else authorizeOrder(world, plan)
        return () => plan.order
      }
      return once(world, request, reply, { life: 'order', status: 201, perform })
    })
  }
}

/** A dead order is shown for a while and then is no more. */
function gone<T>(since: string, world: World, order: T): T {
  if (world.kit.now().getTime() - Date.parse(since) > 6 * 3_600_000) throw notFound()
  return structuredClone(order)
}

function registerPayments(app: FastifyInstance, world: World): void {
  const authorizations = '/v2/payments/authorizations'
  app.get<ById>(`${authorizations}/:id`, async ({ params }) =>
    held(world.authorizations.get(params.id)?.authorization),
  )
  app.post<ById>(`${authorizations}/:id/capture`, async (request, reply) => {
    const body = bodyOf(request) as { amount?: never }
    const perform = () => {
      const capture = captureAuthorization(world, request.params.id, body)
      return () => capture
    }
    return once(world, request, reply, { life: 'payment', status: 201, perform })
  })
  app.post<ById>(`${authorizations}/:id/void`, async (request, reply) => {
    const perform = () => {
      const authorization = voidAuthorization(world, request.params.id)
      return () => authorization
    }
    return once(world, request, reply, { life: 'payment', status: 200, perform })
  })
  app.get<ById>('/v2/payments/captures/:id', async ({ params }) =>
    held(world.captures.get(params.id)?.capture),
  )
  app.post<ById>('/v2/payments/captures/:id/refund', async (request, reply) => {
    const body = bodyOf(request) as RefundBody
    const perform = () => {
      const refund = createRefund(world, request.params.id, body)
      return () => refund
    }
    return once(world, request, reply, { life: 'payment', status: 201, perform })
  })
  app.get<ById>('/v2/payments/refunds/:id', async ({ params }) => held(world.refunds.get(params.id)?.refund))
}

function registerVault(app: FastifyInstance, world: World): void {
  const path = '/v3/vault/payment-tokens'
  app.get<{ Querystring: Query }>(path, async ({ query }) => {
    const payment_tokens = [...world.tokens.values()].filter(
      ({ customer }) => customer.id === query['customer_id'],
    )
    return { customer: { id: query['customer_id'] }, payment_tokens: structuredClone(payment_tokens) }
  })
  app.get<ById>(`${path}/:id`, async ({ params }) => held(world.tokens.get(params.id)))
  app.delete<ById>(`${path}/:id`, async ({ params }, reply) => {
    const token = world.tokens.get(params.id)
    if (!token) throw notFound()
    dropToken(world, token)
    return reply.code(204).send()
  })
}

function registerSubscriptions(app: FastifyInstance, world: World): void {
  const path = '/v1/billing/subscriptions'
  app.post(path, async (request, reply) => {
    const body = bodyOf(request) as { plan_id: string; custom_id?: string }
    const perform = () => {
      const subscription = createSubscription(world, body)
      return () => subscription
    }
    return once(world, request, reply, { life: 'order', status: 201, perform })
  })
  app.get<ById>(`${path}/:id`, async ({ params }) => held(subscriptionOf(world, params.id)))
  app.get<ById & { Querystring: Query }>(`${path}/:id/transactions`, async ({ params, query }) => {
    return listCharges(world, subscriptionOf(world, params.id), query)
  })
  app.post<ById>('/v1/payments/sale/:id/refund', async (request, reply) => {
    const body = bodyOf(request) as Parameters<typeof refundSale>[2]
    const perform = () => {
      const refund = refundSale(world, request.params.id, body)
      return () => refund
    }
    return once(world, request, reply, { life: 'payment', status: 201, perform })
  })
  app.post<ById>(`${path}/:id/cancel`, async (request, reply) => {
    cancelSubscription(world, request.params.id)
    return reply.code(204).send()
  })
}

function registerNotifications(app: FastifyInstance, world: World): void {
  const path = '/v1/notifications'
  const webhookOf = (id: string) => {
    if (id !== world.kit.settings().webhook_id) throw notFound()
    return world.webhook
  }
  app.get<ById>(`${path}/webhooks/:id`, async ({ params }) => ({ id: params.id, ...webhookOf(params.id) }))
  app.patch<ById>(`${path}/webhooks/:id`, async (request) => {
    const webhook = webhookOf(request.params.id)
    const changes = bodyOf(request) as {
      op: string
      path: string
      value: never
    }[]
    for (const change of changes) {
      if (change.op !== 'replace') throw invalid('INVALID_PARAMETER_VALUE', 'op')
      if (change.path === '/url') webhook.url = change.value
      else if (change.path === '/event_types') webhook.event_types = change.value
      else throw invalid('INVALID_PARAMETER_VALUE', 'path')
    }
    return { id: request.params.id, ...webhook }
  })
  // A question, not an operation.
  app.post(`${path}/verify-webhook-signature`, { config: { is_operation: false } }, async (request) => {
    const said = bodyOf(request) as Record<string, unknown>
    const [, raw] = /"webhook_event"\s*:\s*([^]*)\}\s*$/.exec(String(request.body)) ?? []
    return { verification_status: isOurs(world, said, raw ?? '') ? 'SUCCESS' : 'FAILURE' }
  })
  app.get<{ Querystring: Query }>(`${path}/webhooks-events`, async ({ query }) => {
    const { start_id, ...plain } = query
    return listEvents(world, plain, start_id)
  })
}

/** Newest first; the next page is an address, as the vendor gives it. */
function listEvents(world: World, query: Query, start_id: string | undefined): object {
  const size = Number(query['page_size'] ?? 10)
  const from = Date.parse(query['start_time'] ?? '1970-01-01T00:00:00Z')
  const to = Date.parse(query['end_time'] ?? '9999-01-01T00:00:00Z')
  const matching = [...world.events.values()].toReversed().filter((event) => {
    const at = Date.parse(event.create_time)
    const is_asked = query['event_type'] === undefined || event.event_type === query['event_type']
    return is_asked && at >= from && at <= to
  })
  const start = start_id === undefined ? 0 : matching.findIndex(({ id }) => id === start_id)
  const events = structuredClone(matching.slice(Math.max(0, start), Math.max(0, start) + size))
  const next = matching[Math.max(0, start) + size]
  const search = new URLSearchParams({ ...query, start_id: next?.id ?? '' })
  const href = `${world.kit.base_url()}/v1/notifications/webhooks-events?${search.toString()}`
  return { events, count: events.length, links: next ? [{ href, rel: 'next', method: 'GET' }] : [] }
}

function held<T>(object: T | undefined): T {
  if (object === undefined) throw notFound()
  return structuredClone(object)
}

/** Parsed; an empty body counts as an empty object. */
function bodyOf(request: FastifyRequest): unknown {
  const text = typeof request.body === 'string' && request.body !== '' ? request.body : '{}'
  try {
    return JSON.parse(text)
  } catch {
    throw invalid('MALFORMED_REQUEST_JSON', 'body')
  }
}

function check(problems: readonly Problem[]): void {
  if (problems.length === 0) return
  const details = problems.map(({ parameter, keyword, detail }) => ({
    issue: keyword === 'required' ? 'MISSING_REQUIRED_PARAMETER' : 'INVALID_PARAMETER_VALUE',
    description: detail,
    field: `/${parameter.replaceAll('.', '/')}`,
  }))
  throw new VendorError(400, 'INVALID_REQUEST', details)
}

function invalid(issue: string, field: string): VendorError {
  return new VendorError(400, 'INVALID_REQUEST', [
    { issue, description: 'The request cannot be accepted.', field },
  ])
}

function isSame(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function sendError(world: World, reply: FastifyReply, error: unknown): FastifyReply {
  const told = toVendorError(error)
  return reply.code(told.status).send(errorBody(world, told))
}

function toVendorError(error: unknown): VendorError {
  if (error instanceof VendorError) return error
  const status = typeof error === 'object' && error !== null && 'statusCode' in error ? error.statusCode : 500
  if (status === 415) return new VendorError(415, 'UNSUPPORTED_MEDIA_TYPE')
  if (typeof status === 'number' && status < 500) return invalid('MALFORMED_REQUEST', 'body')
  process.stderr.write(`paypal emulator: ${error instanceof Error ? (error.stack ?? '') : String(error)}\n`)
  return new VendorError(500, 'INTERNAL_SERVER_ERROR')
}

/** `{name, message, debug_id, details, links}`. */
export function errorBody(world: World, error: VendorError): object {
  const message = `The request was not carried out: ${error.title.toLowerCase().replaceAll('_', ' ')}.`
  return {
    name: error.title,
    message,
    debug_id: newId(world, 13).toLowerCase(),
    details: error.details,
    links: [],
  }
}
