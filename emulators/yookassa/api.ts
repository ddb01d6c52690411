import { timingSafeEqual } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { requirePublished } from '../kit/published.ts'
import { notFound, refuseProblems, VendorError } from './errors.ts'
import type { Idempotence } from './idempotence.ts'
import { createInvoice, readInvoice } from './invoices.ts'
import { isEqual, isWithin, listPage } from './lists.ts'
import type { ListQuery } from './lists.ts'
import { createMethod } from './methods.ts'
import type { PaymentRecord, World } from './objects.ts'
import { cancelPayment, capturePayment, createPayment } from './payments.ts'
import { createReceipt } from './receipts.ts'
import { createRefund } from './refunds.ts'

interface ById {
  Params: { id: string }
}
interface ByQuery {
  Querystring: ListQuery
}

/** Paths under `/v3` that exist with some method: another method on them is 405 and not 404. */
const KNOWN_PATHS = [
  /^\/v3\/(payments|refunds|receipts|payment_methods|invoices|me|webhooks)$/,
  /^\/v3\/(payments|refunds|receipts|payment_methods|invoices|webhooks)\/[^/]{1,64}$/,
  /^\/v3\/payments\/[^/]{1,64}\/(capture|cancel)$/,
]

/** Registers API v3 in a scope with the prefix `/v3`. */
export function registerApi(app: FastifyInstance, world: World, idempotence: Idempotence): void {
  app.setErrorHandler((error: unknown, _request, reply) => sendError(world, reply, toVendorError(error)))
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0] ?? ''
    const is_known = KNOWN_PATHS.some((pattern) => pattern.test(path))
    const refusal = is_known
      ? new VendorError(405, 'method_not_allowed', 'This method is not allowed here')
      : new VendorError(404, 'not_found', 'There is no such path')
    return sendError(world, reply, refusal)
  })
  app.addHook('onRequest', (request, _reply, done) => {
    done(isAuthorized(world, request.headers.authorization) ? undefined : unauthorized())
  })
  acceptJsonOnly(app)
  requirePublished(app, {
    specs: [world.spec],
    prefix: '/v3',
    bodyOf: ({ method, url, body }) => {
      // The body of these may be left out.
      const is_bare = (body ?? null) === null && /\/(?:capture|cancel)$/.test(url)
      return method === 'GET' || method === 'DELETE' || is_bare ? undefined : (body ?? null)
    },
    refuse: refuseProblems,
  })
  registerPayments(app, world, idempotence)
  registerRefunds(app, world, idempotence)
  registerRest(app, world, idempotence)
}

/** JSON and nothing else; an empty body is no body, as `cancel` is called with one. */
function acceptJsonOnly(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body.length === 0) done(null, undefined)
    else void parse(request, body.toString(), done)
  })
}

function registerPayments(app: FastifyInstance, world: World, idempotence: Idempotence): void {
  app.post('/payments', async (request) =>
    perform(world, idempotence, request, () => createPayment(world, request.body)),
  )
  app.get<ById>('/payments/:id', async (request) => paymentOf(world, request.params.id).wire)
  app.get<ByQuery>('/payments', async ({ query }) =>
    listPage(query, {
      store: world.payments,
      show: (record: PaymentRecord) => record.wire,
      matches: (payment) =>
        isEqual(query, 'status', payment.status) &&
        isEqual(query, 'payment_method', payment.payment_method?.type) &&
        isWithin(query, 'created_at', payment.created_at) &&
        isWithin(query, 'captured_at', payment.captured_at),
    }),
  )
  app.post<ById>('/payments/:id/capture', async (request) =>
    perform(world, idempotence, request, () =>
      capturePayment(world, paymentOf(world, request.params.id), request.body),
    ),
  )
  app.post<ById>('/payments/:id/cancel', async (request) =>
    perform(world, idempotence, request, () => cancelPayment(world, paymentOf(world, request.params.id))),
  )
}

function registerRefunds(app: FastifyInstance, world: World, idempotence: Idempotence): void {
  app.post('/refunds', async (request) =>
    perform(world, idempotence, request, () => createRefund(world, request.body)),
  )
  app.get<ById>('/refunds/:id', async (request) => {
    const refund = world.refunds.get(request.params.id)
    if (!refund) throw notFound('There is no such refund', 'refund_id')
    return refund.wire
  })
  app.get<ByQuery>('/refunds', async ({ query }) =>
    listPage(query, {
      store: world.refunds,
      show: (record) => record.wire,
      matches: (refund) =>
        isEqual(query, 'payment_id', refund.payment_id) &&
        isEqual(query, 'status', refund.status) &&
        isWithin(query, 'created_at', refund.created_at),
    }),
  )
}

function registerRest(app: FastifyInstance, world: World, idempotence: Idempotence): void {
  app.post('/receipts', async (request) =>
    perform(world, idempotence, request, () => createReceipt(world, request.body)),
  )
  app.get<ById>('/receipts/:id', async (request) => {
    const receipt = world.receipts.get(request.params.id)
    if (!receipt) throw notFound('There is no such receipt', 'receipt_id')
    return receipt
  })
  app.get<ByQuery>('/receipts', async ({ query }) =>
    listPage(query, {
      store: world.receipts,
      show: (receipt) => receipt,
      matches: (receipt) =>
        isEqual(query, 'payment_id', receipt.payment_id) &&
        isEqual(query, 'refund_id', receipt.refund_id) &&
        isEqual(query, 'status', receipt.status) &&
        isWithin(query, 'created_at', receipt.registered_at),
    }),
  )
  app.post('/payment_methods', async (request) =>
    perform(world, idempotence, request, () => createMethod(world, request.body)),
  )
  app.get<ById>('/payment_methods/:id', async (request) => {
    const method = world.methods.get(request.params.id)
    if (!method) throw notFound('There is no such payment method', 'payment_method_id')
    return method.wire
  })
  app.post('/invoices', async (request) =>
    perform(world, idempotence, request, () => createInvoice(world, request.body)),
  )
  app.get<ById>('/invoices/:id', async (request) => readInvoice(world, request.params.id))
  app.get('/me', async () => describeShop(world))
  const webhooks = async () => {
    throw new VendorError(403, 'forbidden', 'Webhooks are managed with an OAuth token only')
  }
  app.get('/webhooks', webhooks)
  app.post('/webhooks', webhooks)
  app.delete('/webhooks/:id', webhooks)
}

/** One POST of the vendor: the idempotence key is looked at before the body. */
function perform(
  world: World,
  idempotence: Idempotence,
  request: FastifyRequest,
  act: () => unknown,
): unknown {
  return idempotence.once(
    {
      key: request.headers['idempotence-key'],
      method: request.method,
      path: request.url,
      body: request.body,
      now: world.kit.now(),
    },
    act,
  )
}

function paymentOf(world: World, id: string): PaymentRecord {
  const record = world.payments.get(id)
  if (!record) throw notFound('There is no such payment', 'payment_id')
  return record
}

function describeShop(world: World): Record<string, unknown> {
  const { shop_id, secret_key, fiscalization, payment_methods } = world.kit.settings()
  const provider = fiscalization === 'yookassa' ? 'avanpost' : 'atol'
  return {
    account_id: shop_id,
    status: 'enabled',
    test: secret_key.startsWith('test_'),
    fiscalization_enabled: fiscalization !== 'off',
    ...(fiscalization === 'off' ? {} : { fiscalization: { enabled: true, provider } }),
    payment_methods,
  }
}

function isAuthorized(world: World, header: string | undefined): boolean {
  const { shop_id, secret_key } = world.kit.settings()
  const [scheme, encoded] = header?.split(' ') ?? []
  if (scheme?.toLowerCase() !== 'basic' || encoded === undefined) return false
  const given = Buffer.from(encoded, 'base64')
  const expected = Buffer.from(`${shop_id}:${secret_key}`)
  return given.length === expected.length && timingSafeEqual(given, expected)
}

function unauthorized(): VendorError {
  return new VendorError(401, 'invalid_credentials', 'Shop id or secret key is wrong', 'Authorization')
}

function toVendorError(error: unknown): VendorError {
  if (error instanceof VendorError) return error
  const status =
    typeof error === 'object' && error !== null && 'statusCode' in error ? error.statusCode : undefined
  if (status === 415) return new VendorError(415, 'invalid_request', 'Content-Type must be application/json')
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return new VendorError(400, 'invalid_request', 'The body is not acceptable JSON')
  }
  process.stderr.write(
    `yookassa emulator: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  )
  return new VendorError(500, 'internal_server_error', 'The emulator itself failed')
}

function sendError(world: World, reply: FastifyReply, error: VendorError): FastifyReply {
  return reply.code(error.status).send(errorBody(world, error))
}

/** `{type, id, code, description, parameter?, retry_after?}`. */
export function errorBody(world: World, error: VendorError): Record<string, unknown> {
  const { random } = world.kit
  return {
    type: 'error',
    id: random.uuid(),
    code: error.code,
    description: error.message,
    ...(error.parameter === undefined ? {} : { parameter: error.parameter }),
    ...(error.status === 429 ? { retry_after: 1000 } : {}),
  }
}
