import { timingSafeEqual } from 'node:crypto'
import formbody from '@fastify/formbody'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { escapeHtml, PAGE_HEADERS, renderPage, wayBack } from '../kit/html.ts'
import type { Problem } from '../kit/openapi.ts'
import { requirePublished } from '../kit/published.ts'
import type { Store } from '../kit/store.ts'
import { createAdjustment } from './adjustments.ts'
import type { AdjustmentBody } from './adjustments.ts'
import { newId, VendorError } from './objects.ts'
import type { Transaction, World } from './objects.ts'
import {
  cancelSubscription,
  chargeSubscription,
  keepSubscription,
  previewCharge,
  subscriptionOf,
} from './subscriptions.ts'
import type { ChargeBody } from './subscriptions.ts'
import { createTransaction, decline, pay, previewTransaction } from './transactions.ts'
import type { PreviewBody, TransactionBody } from './transactions.ts'

type Query = Readonly<Record<string, string>>

const TRANSACTION_FILTERS = ['customer_id', 'status', 'subscription_id', 'origin']

/** Registers the API. Requests are checked against the vendor's published shapes. */
export function registerApi(app: FastifyInstance, world: World): void {
  app.setErrorHandler((error: unknown, _request, reply) => sendError(world, reply, toVendorError(error)))
  app.setNotFoundHandler((_request, reply) =>
    sendError(world, reply, new VendorError(404, 'invalid_url', 'No such path')),
  )
  app.addHook('onRequest', (request, _reply, done) => {
    const given = Buffer.from(request.headers.authorization ?? '')
    const expected = Buffer.from(`Bearer ${world.kit.settings().api_key}`)
    const is_known = given.length === expected.length && timingSafeEqual(given, expected)
    done(is_known ? undefined : new VendorError(403, 'forbidden', 'The API key is not valid here'))
  })
  requirePublished(app, {
    specs: [world.spec],
    queryOf: ({ query }) => queryOf(query as Query),
    bodyOf: ({ method, body }) => (method === 'GET' ? undefined : (body ?? null)),
    refuse,
  })
  app.post('/transactions', async (request, reply) => {
    return reply.code(201).send(one(world, createTransaction(world, request.body as TransactionBody)))
  })
  app.post('/transactions/preview', async ({ body }) => {
    const wanted = body as PreviewBody
    // The published shape lets any address pass, for one of its branches has none.
    if (wanted.address !== undefined) refuse(world.spec.checkSchema('address-preview', wanted.address))
    return one(world, previewTransaction(world, wanted))
  })
  app.get<{ Params: { id: string }; Querystring: Query }>('/transactions/:id', async ({ params, query }) => {
    const transaction = world.transactions.get(params.id)
    if (!transaction) throw new VendorError(404, 'not_found', `Entity ${params.id} not found`)
    return one(world, included(world, transaction, query))
  })
  app.get<{ Querystring: Query }>('/transactions', async (request) =>
    list(
      world,
      request,
      { path: '/transactions', store: world.transactions, filters: TRANSACTION_FILTERS },
      (held) => included(world, held, request.query),
    ),
  )
  app.post('/adjustments', async (request, reply) => {
    return reply.code(201).send(one(world, createAdjustment(world, request.body as AdjustmentBody)))
  })
  app.get<{ Querystring: Query }>('/adjustments', async (request) => {
    const filters = ['transaction_id', 'action', 'status', 'id']
    return list(world, request, { path: '/adjustments', store: world.adjustments, filters }, (held) => held)
  })
  registerSubscriptions(app, world)
  app.get('/event-types', async () => one(world, []))
}

function registerSubscriptions(app: FastifyInstance, world: World): void {
  interface ById {
    Params: { id: string }
  }
  app.get<ById>('/subscriptions/:id', async ({ params }) => one(world, subscriptionOf(world, params.id)))
  app.patch<ById>('/subscriptions/:id', async ({ params, body }) => {
    const subscription = subscriptionOf(world, params.id)
    if ((body as { scheduled_change?: null }).scheduled_change !== null)
      throw new VendorError(400, 'bad_request', 'Only a scheduled change is taken back here')
    return one(world, keepSubscription(world, subscription))
  })
  app.post<ById>('/subscriptions/:id/cancel', async ({ params, body }) => {
    const { effective_from } = body as { effective_from?: string | null }
    return one(world, cancelSubscription(world, subscriptionOf(world, params.id), effective_from))
  })
  app.post<ById>('/subscriptions/:id/charge', async ({ params, body }, reply) => {
    const charged = chargeSubscription(world, subscriptionOf(world, params.id), body as ChargeBody)
    return reply.code(201).send(one(world, charged))
  })
  app.post<ById>('/subscriptions/:id/charge/preview', async ({ params, body }) => {
    return one(world, previewCharge(world, subscriptionOf(world, params.id), body as ChargeBody))
  })
}

function included(world: World, transaction: Transaction, query: Query): object {
  if (!(query['include'] ?? '').split(',').includes('adjustments')) return transaction
  const adjustments = [...world.adjustments.values()].filter((made) => made.transaction_id === transaction.id)
  return { ...transaction, adjustments }
}

interface Listed<Held> {
  path: string
  store: Store<Held>
  filters: readonly string[]
}

/** Newest first; unknown filters are refused. `next` is an address, as the vendor gives it. */
function list<Held extends { id: string; created_at: string }>(
  world: World,
  request: FastifyRequest<{ Querystring: Query }>,
  source: Listed<Held>,
  show: (held: Held) => object,
): object {
  const { query } = request
  const { path, store, filters } = source
  const per_page = Number(query['per_page'] ?? 30)
  const isWithin = createdFilter(query)
  const matching = [...store.values()]
    .toReversed()
    .filter(
      (held) =>
        isWithin(held.created_at) &&
        filters.every(
          (name) => query[name] === undefined || query[name].split(',').includes(fieldOf(held, name)),
        ),
    )
  const { after } = query
  const start = after === undefined ? 0 : matching.findIndex(({ id }) => id === after) + 1
  const items = matching.slice(start, start + per_page)
  const has_more = matching.length > start + per_page
  const search = new URLSearchParams({ ...query, after: items.at(-1)?.id ?? '' })
  const next = `${world.kit.base_url()}${path}?${search.toString()}`
  const pagination = { per_page, next, has_more, estimated_total: matching.length }
  return { data: structuredClone(items.map(show)), meta: { request_id: newId(world, 'req'), pagination } }
}

function fieldOf(held: object, name: string): string {
  const value: unknown = Object.entries(held).find(([field]) => field === name)?.[1]
  return typeof value === 'string' ? value : ''
}

function createdFilter(query: Query): (created_at: string) => boolean {
  const bounds = Object.entries(query).flatMap(([name, bound]) => {
    const [, operator] = /^created_at\[(\w+)\]$/.exec(name) ?? []
    return operator === undefined ? [] : [{ operator, bound }]
  })
  const unknown = bounds.find(({ operator }) => !['GTE', 'GT', 'LTE', 'LT'].includes(operator))
  if (unknown) throw new VendorError(400, 'bad_request', `Unknown operator ${unknown.operator}`)
  return (created_at) =>
    bounds.every(({ operator, bound }) => {
      if (operator === 'GTE') return created_at >= bound
      if (operator === 'GT') return created_at > bound
      return operator === 'LTE' ? created_at <= bound : created_at < bound
    })
}

/** Values with commas are lists. Operators of a time and the cursor are not in the vendor's file. */
function queryOf(query: Query): Record<string, unknown> {
  const lists = ['include', 'status', 'id', 'customer_id', 'transaction_id', 'subscription_id', 'origin']
  return Object.fromEntries(
    Object.entries(query)
      .filter(([name]) => !/^created_at\[|^after$/.test(name))
      .map(([name, value]) => [name, lists.includes(name) ? value.split(',') : value]),
  )
}

function one(world: World, data: object): object {
  return { data: structuredClone(data), meta: { request_id: newId(world, 'req') } }
}

/** The page that stands in for the seller's own with the overlay: POST `action` = pay | decline. */
export function registerPage(app: FastifyInstance, world: World): void {
  void app.register(formbody)
  const config = { emulator_route: 'page' as const }
  const find = (query: Query) => world.transactions.get(query['_ptxn'] ?? '')
  app.get<{ Querystring: Query }>('/pay', { config }, async ({ query }, reply) =>
    show(world, reply, find(query)),
  )
  app.post<{ Querystring: Query; Body: Query | undefined }>(
    '/pay',
    { config },
    async ({ query, body }, reply) => {
      const transaction = find(query)
      if (transaction?.status === 'draft' || transaction?.status === 'ready') {
        if (body?.['action'] === 'pay') pay(world, transaction)
        if (body?.['action'] === 'decline') decline(world, transaction, 'declined')
      }
      return show(world, reply, transaction)
    },
  )
}

/** Minor units as people read them: 250 is 2.50 USD and 250 JPY. */
function money(minor_units: string, currency: string): string {
  const style = { style: 'currency', currency } as const
  const { maximumFractionDigits: places = 2 } = new Intl.NumberFormat('en', style).resolvedOptions()
  return `${(Number(minor_units) / 10 ** places).toFixed(places)} ${currency}`
}

function show(world: World, reply: FastifyReply, transaction: Transaction | undefined): FastifyReply {
  const { total = '0', tax = '0' } = transaction?.details.totals ?? {}
  const currency = transaction?.currency_code ?? ''
  const sum = transaction ? money(total, currency) : '404'
  const within = transaction ? `<p>Tax within: ${escapeHtml(money(tax, currency))}</p>` : ''
  const form = `<form method="post"><button class="main" name="action" value="pay">Pay</button></form>
<form method="post"><button name="action" value="decline">Decline</button></form>`
  const failed = transaction?.payments[0]?.error_code
  const word = failed ?? transaction?.status ?? 'There is no such transaction'
  const state = `<p role="status">${escapeHtml(word)}</p>`
  const name = transaction?.items[0]?.price.description ?? ''
  const body = `<h1>${escapeHtml(sum)}</h1><p>${escapeHtml(name)}</p>${within}${state}${
    transaction?.status === 'draft' ? form : ''
  }${wayBack(world.kit.settings().shop_url, 'Back to the shop')}`
  const page = renderPage({ language: 'en', title: sum, note: 'Paddle emulator: no real money here.', body })
  return reply
    .code(transaction ? 200 : 404)
    .headers(PAGE_HEADERS)
    .send(page)
}

function refuse(problems: readonly Problem[]): void {
  if (problems.length === 0) return
  const fields = problems.map(({ parameter, detail }) => ({ field: parameter, message: detail }))
  throw new VendorError(400, 'bad_request', 'Invalid request.', fields)
}

function toVendorError(error: unknown): VendorError {
  if (error instanceof VendorError) return error
  const status = typeof error === 'object' && error !== null && 'statusCode' in error ? error.statusCode : 500
  if (typeof status === 'number' && status < 500) return new VendorError(400, 'bad_request', 'Cannot be read')
  process.stderr.write(`paddle emulator: ${error instanceof Error ? (error.stack ?? '') : String(error)}\n`)
  return new VendorError(500, 'internal_error', 'The emulator itself failed')
}

function sendError(world: World, reply: FastifyReply, error: VendorError): FastifyReply {
  return reply.code(error.status).send(errorBody(world, error))
}

/** `{error:{type, code, detail, documentation_url, errors?}, meta}`. */
export function errorBody(world: World, error: VendorError): object {
  const type = error.status < 500 ? 'request_error' : 'api_error'
  const documentation_url = `https://developer.paddle.com/errors/shared/${error.code}`
  const errors = error.fields.length > 0 ? { errors: error.fields } : {}
  return {
    error: { type, code: error.code, detail: error.message, documentation_url, ...errors },
    meta: { request_id: newId(world, 'req') },
  }
}
