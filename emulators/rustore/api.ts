import { verify } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ApiError, setStatus, tellSubscription } from './objects.ts'
import type { Invoice, Subscription, World } from './objects.ts'

const CLOCK_SKEW_MS = 60_000

interface Params {
  invoice: string
  action: string
  app: string
  package: string
  product: string
  purchase: string
}

/** The store's API for servers: `/public…`, and `/public/sandbox…` for test purchases. */
export function registerApi(app: FastifyInstance, world: World): void {
  const envelope = (code: string, message: string | null, body: unknown) => ({
    code,
    message,
    body,
    timestamp: world.kit.now().toISOString(),
  })
  app.setErrorHandler((error: unknown, _request, reply) => {
    if (error instanceof ApiError)
      return reply.code(error.status).send(envelope(error.code, error.message, null))
    throw error
  })
  app.setNotFoundHandler((_request, reply) =>
    reply.code(404).send(envelope('NOT_FOUND', 'No such method', null)),
  )
  app.post('/public/auth', async (request) => envelope('OK', null, issueToken(world, request.body)))
  app.post('/public/auth/', async (request) => envelope('OK', null, issueToken(world, request.body)))
  for (const prefix of ['/public', '/public/sandbox']) {
    const is_sandbox = prefix !== '/public'
    const guarded =
      (act: (params: Params, request: FastifyRequest) => unknown) => async (request: FastifyRequest) => {
        checkToken(world, request)
        return envelope('OK', null, act(request.params as Params, request))
      }
    app.get(
      `${prefix}/v2/purchase/:invoice`,
      guarded(({ invoice }) => wireInvoice(world, findInvoice(world, invoice, is_sandbox))),
    )
    app.get(
      `${prefix}/applications/:app/purchases`,
      guarded((params, request) =>
        listPurchases(world, params, request.query as Record<string, string>, is_sandbox),
      ),
    )
    app.put(
      `${prefix}/applications/:app/purchases/:action`,
      guarded((params) => endHold(world, params, is_sandbox)),
    )
    app.patch(
      `${prefix}/applications/:app/invoices/:invoice`,
      guarded((params) => refund(world, params, is_sandbox)),
    )
    app.get(
      `${prefix}/v4/subscription/:package/:product/:purchase`,
      guarded((params) => wireSubscription(world, findSubscription(world, params, is_sandbox))),
    )
    app.post(
      `${prefix}/v2/subscription/:package/:product/:action`,
      guarded((params) => {
        const purchase = params.action.replace(/:acknowledge$/, '')
        findSubscription(world, { ...params, purchase }, is_sandbox).acknowledged = true
        return {}
      }),
    )
    app.patch(
      `${prefix}/v1/applications/:app/subscriptions/:action`,
      guarded((params) => cancelSubscription(world, params, is_sandbox)),
    )
  }
}

function issueToken(world: World, body: unknown): object {
  const { key_id, public_key, token_ttl_seconds } = world.kit.settings()
  const { keyId = '', timestamp = '', signature = '' } = (body ?? {}) as Record<string, string>
  const key = public_key === '' ? world.keys().public_key : public_key
  const moment = new Date(timestamp).getTime()
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(?:Z|[+-]\d\d:\d\d)$/.test(timestamp)) {
    throw new ApiError(400, 'BAD_REQUEST', 'Timestamp not valid')
  }
  if (!(Math.abs(world.kit.now().getTime() - moment) <= CLOCK_SKEW_MS)) {
    throw new ApiError(400, 'ERROR', 'Range timestamp not valid')
  }
  const bytes = Buffer.from(signature, 'base64')
  if (keyId !== key_id || !verify('RSA-SHA512', Buffer.from(keyId + timestamp), key, bytes)) {
    throw new ApiError(401, 'ERROR', 'Signature is not valid')
  }
  const jwe = `eyJ${world.kit.random.hex(80)}`
  world.tokens.set(jwe, world.kit.now().getTime() + token_ttl_seconds * 1000)
  return { jwe, ttl: token_ttl_seconds }
}

function checkToken(world: World, request: FastifyRequest): void {
  const token = request.headers['public-token']
  const until = typeof token === 'string' ? world.tokens.get(token) : undefined
  if (until === undefined || until <= world.kit.now().getTime()) {
    throw new ApiError(401, 'ERROR', 'Jwe token is expired')
  }
}

function findInvoice(world: World, id: string, is_sandbox: boolean): Invoice {
  const invoice = world.invoices.get(id)
  if (invoice?.is_sandbox !== is_sandbox) throw new ApiError(404, 'NOT_FOUND', 'Purchase not found')
  return invoice
}

function checkApp(world: World, app_id: string): void {
  if (app_id !== world.kit.settings().app_id) throw new ApiError(403, 'ERROR', 'Forbidden')
}

function listPurchases(
  world: World,
  { app }: Params,
  query: Record<string, string>,
  is_sandbox: boolean,
): object {
  checkApp(world, app)
  const { appUserId, purchaseStatus, limit = '20', continuation } = query
  const page = world.invoices.page(
    { limit: Math.min(100, Number(limit)), ...(continuation === undefined ? {} : { cursor: continuation }) },
    (invoice) =>
      invoice.is_sandbox === is_sandbox &&
      invoice.app_user_id === appUserId &&
      (purchaseStatus === undefined || invoice.status === purchaseStatus),
  )
  const content = page.items.map((invoice) => wireInvoice(world, invoice))
  return { content, continuation: page.next_cursor ?? null }
}

function endHold(world: World, { app, action }: Params, is_sandbox: boolean): object {
  checkApp(world, app)
  const [id = '', verb] = action.split(':')
  const invoice = [...world.invoices.values()].find((one) => one.purchase_id === id)
  if (invoice?.is_sandbox !== is_sandbox) throw new ApiError(404, 'NOT_FOUND', 'Purchase not found')
  if (verb !== 'confirm' && verb !== 'cancel') throw new ApiError(404, 'NOT_FOUND', 'No such method')
  if (invoice.status !== 'PAID') throw new ApiError(400, 'ERROR', 'Purchase status must be PAID')
  setStatus(world, invoice, verb === 'confirm' ? 'CONFIRMED' : 'REVERSED')
  return {}
}

function refund(world: World, { app, invoice: id }: Params, is_sandbox: boolean): object {
  checkApp(world, app)
  const invoice = findInvoice(world, id, is_sandbox)
  if (invoice.status === 'REFUNDED') throw new ApiError(400, 'ERROR', 'Invoice has already been refunded')
  if (invoice.status !== 'CONFIRMED') throw new ApiError(400, 'ERROR', 'Invoice status must be CONFIRMED')
  setStatus(world, invoice, 'REFUNDED')
  return {}
}

function findSubscription(
  world: World,
  params: Pick<Params, 'package' | 'product' | 'purchase'>,
  is_sandbox: boolean,
): Subscription {
  const subscription = world.subscriptions.get(params.purchase)
  const is_here =
    params.package === world.kit.settings().package_name && subscription?.is_sandbox === is_sandbox
  if (!is_here || subscription?.product_code !== params.product) {
    throw new ApiError(404, 'NOT_FOUND', 'Subscription not found for given purchaseId')
  }
  return subscription
}

function cancelSubscription(world: World, { app, action }: Params, is_sandbox: boolean): object {
  checkApp(world, app)
  const subscription = world.subscriptions.get(action.replace(/:cancel$/, ''))
  if (subscription?.is_sandbox !== is_sandbox) throw new ApiError(404, 'NOT_FOUND', 'Subscription not found')
  if (subscription.auto_renewing) {
    subscription.auto_renewing = false
    tellSubscription(world, subscription, 'CANCELLED', subscription.status)
  }
  return {}
}

function wireInvoice(world: World, invoice: Invoice): object {
  const is_paid = invoice.paid_at !== undefined
  return {
    invoiceId: Number(invoice.id),
    invoiceDate: invoice.created_at,
    refundDate: invoice.refunded_at ?? null,
    invoiceStatus: invoice.status,
    developerPayload: invoice.developer_payload ?? null,
    appId: Number(world.kit.settings().app_id),
    ownerCode: 4_384_191,
    purchaseId: invoice.purchase_id,
    paymentInfo: is_paid
      ? {
          paymentDate: invoice.paid_at,
          maskedPan: '**0001',
          paymentSystem: 'Mir',
          paymentWay: 'СБП',
          paymentWayCode: 'sbp',
        }
      : null,
    order: {
      orderId: invoice.order_id,
      orderNumber: null,
      visualName: invoice.product_code,
      amountCreate: invoice.amount,
      amountCurrent: invoice.amount,
      currency: invoice.currency,
      itemCode: invoice.product_code,
      language: 'ru',
    },
  }
}

function wireSubscription(world: World, subscription: Subscription): object {
  const { renewals, order_id, app_user_id, developer_payload } = subscription
  const is_over = subscription.expires_ms <= world.kit.now().getTime()
  return {
    startTimeMillis: String(subscription.started_ms),
    expiryTimeMillis: String(subscription.expires_ms),
    autoRenewing: subscription.auto_renewing,
    developerPayload: developer_payload ?? null,
    priceCurrencyCode: 'RUB',
    priceAmountMicros: String(subscription.amount * 10_000),
    countryCode: 'RU',
    ...(is_over ? {} : { paymentState: 1 }),
    ...(subscription.auto_renewing ? {} : { cancelReason: 0 }),
    orderId: renewals === 0 ? order_id : `${order_id}..${renewals}`,
    acknowledgementState: subscription.acknowledged ? 1 : 0,
    externalAccountId: app_user_id ?? null,
    purchaseType: subscription.is_sandbox ? 1 : 0,
  }
}
