import { createHash, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { createSpec } from '../kit/openapi.ts'
import type { Problem, Spec } from '../kit/openapi.ts'
import { requirePublished } from '../kit/published.ts'
import { createStore } from '../kit/store.ts'
import type { Store } from '../kit/store.ts'
import { parseForm } from './form.ts'
import { invalid, isLive, missing, VendorError } from './objects.ts'
import type { Intent, SessionPlan, World } from './objects.ts'
import { cancelIntent, captureIntent, createIntent, createSession, expireSession } from './payments.ts'
import type { IntentBody, SessionBody } from './payments.ts'
import { createRefund } from './refunds.ts'
import type { RefundBody } from './refunds.ts'

const KEY_LIFE_MS = 24 * 3_600_000
/** Parameters the vendor has added since its file was published; they are taken without a look. */
const NEWER = ['adaptive_pricing']
/** Lists that the file does not filter by time yet; the vendor's own library does. */
const NEWER_FILTERS: Readonly<Record<string, string>> = { '/v1/checkout/sessions': 'created' }

interface Answer {
  fingerprint: string
  status: number
  body: unknown
  expires_at: number
}

export type Keys = Store<Answer>
/** Answers by idempotency key. */
export const createKeys = (): Keys => createStore<Answer>(100_000)

interface ById {
  Params: { id: string }
}

/** Registers `/v1`. Requests are checked against the vendor's published shapes. */
export function registerApi(app: FastifyInstance, world: World, keys: Keys): void {
  app.setErrorHandler((error: unknown, _request, reply) => sendError(reply, toVendorError(error)))
  app.setNotFoundHandler((request, reply) => {
    const url = request.url.split('?')[0] ?? ''
    return sendError(reply, new VendorError(404, `Unrecognized request URL (${request.method}: ${url})`))
  })
  app.addHook('onRequest', (request, _reply, done) => {
    done(isAuthorized(world, request.headers.authorization) ? undefined : unauthorized())
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body))
  requirePublished(app, {
    specs: [spec()],
    // The file that is at hand has no list of disputes.
    unpublished: ['/v1/disputes'],
    queryOf: (request) => {
      const newer = NEWER_FILTERS[request.url.split('?', 1)[0] ?? '']
      return Object.fromEntries(Object.entries(queryOf(request)).filter(([name]) => name !== newer))
    },
    is_form: true,
    bodyOf: (request) =>
      request.method === 'GET' ? undefined : withoutNewer(readFields(String(request.body ?? ''))),
    refuse,
  })
  registerSessions(app, world, keys)
  registerIntents(app, world, keys)
  registerRest(app, world, keys)
}

function registerSessions(app: FastifyInstance, world: World, keys: Keys): void {
  const path = '/checkout/sessions'
  app.post(
    path,
    act(world, keys, path, (form) => createSession(world, form as SessionBody)),
  )
  app.post<ById>(
    `${path}/:id/expire`,
    act(world, keys, `${path}/{session}/expire`, (_form, id) =>
      expireSession(world, planOf(world, id).session),
    ),
  )
  app.get<ById>(`${path}/:id`, async (request) =>
    show(world, request, planOf(world, request.params.id).session),
  )
  app.get(path, async (request) =>
    list(world, request, path, {
      store: world.sessions,
      show: (plan: SessionPlan) => plan.session,
      filters: ['payment_intent', 'customer', 'status'],
    }),
  )
}

function registerIntents(app: FastifyInstance, world: World, keys: Keys): void {
  const path = '/payment_intents'
  app.post(
    path,
    act(world, keys, path, (form) => createIntent(world, form as unknown as IntentBody)),
  )
  app.post<ById>(
    `${path}/:id/capture`,
    act(world, keys, `${path}/{intent}/capture`, (form, id) =>
      captureIntent(world, intentOf(world, id), form['amount_to_capture'] as number | undefined),
    ),
  )
  app.post<ById>(
    `${path}/:id/cancel`,
    act(world, keys, `${path}/{intent}/cancel`, (form, id) =>
      cancelIntent(world, intentOf(world, id), form['cancellation_reason'] as string | undefined),
    ),
  )
  app.get<ById>(`${path}/:id`, async (request) => show(world, request, intentOf(world, request.params.id)))
  app.get(path, async (request) =>
    list(world, request, path, {
      store: world.intents,
      show: (intent: Intent) => intent,
      filters: ['customer'],
    }),
  )
}

function registerRest(app: FastifyInstance, world: World, keys: Keys): void {
  app.post(
    '/refunds',
    act(world, keys, '/refunds', (form) => createRefund(world, form as RefundBody)),
  )
  app.get<ById>('/refunds/:id', async (request) => {
    const refund = world.refunds.get(request.params.id)
    if (!refund) throw missing('refund', request.params.id)
    return show(world, request, refund)
  })
  app.get('/refunds', async (request) => {
    const filters = ['payment_intent', 'charge']
    return list(world, request, '/refunds', { store: world.refunds, show: (refund) => refund, filters })
  })
  app.get('/disputes', async (request) => {
    const filters = ['payment_intent', 'charge']
    return list(world, request, '/disputes', { store: world.disputes, show: (dispute) => dispute, filters })
  })
  app.post<ById>(
    '/payment_methods/:id/detach',
    act(world, keys, '/payment_methods/{payment_method}/detach', (_form, id) => {
      const method = world.methods.get(id)
      if (!method) throw missing('PaymentMethod', id)
      if (method.customer === null) throw invalid('The payment method is not attached to a customer')
      method.customer = null
      return method
    }),
  )
  app.get('/balance', async () => ({
    object: 'balance',
    available: [],
    pending: [],
    livemode: isLive(world),
  }))
}

/** One POST: the key is looked at before the form. Declines are remembered, bad requests are not. */
function act(world: World, keys: Keys, path: string, perform: (form: Form, id: string) => object) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const text = typeof request.body === 'string' ? request.body : ''
    const key = request.headers['idempotency-key']
    if (key !== undefined && (typeof key !== 'string' || key === '' || key.length > 255)) {
      throw invalid('Idempotency keys have 1 to 255 characters')
    }
    const fingerprint = createHash('sha256').update(`${request.url}\n${text}`).digest('base64')
    const known = key === undefined ? undefined : keys.get(key)
    const now_ms = world.kit.now().getTime()
    if (known && known.expires_at > now_ms) {
      if (known.fingerprint !== fingerprint) {
        const message = 'A key can only be used with the parameters it was first used with.'
        throw new VendorError(400, message, { type: 'idempotency_error' })
      }
      return reply.code(known.status).header('idempotent-replayed', 'true').send(known.body)
    }
    const answer = answerOf(world, readFields(text), { path, id: idIn(request), perform })
    if (key !== undefined) keys.add(key, { ...answer, fingerprint, expires_at: now_ms + KEY_LIFE_MS })
    return reply.code(answer.status).send(answer.body)
  }
}

/** Checked against the vendor's file before it is read by these names. */
type Form = Record<string, unknown>

function answerOf(
  world: World,
  form: Record<string, unknown>,
  call: { path: string; id: string; perform: (form: Form, id: string) => object },
): { status: number; body: unknown } {
  const checked = withoutNewer(form)
  refuse(spec().checkForm('POST', `/v1${call.path}`, checked))
  try {
    const made = call.perform(checked, call.id)
    return { status: 200, body: structuredClone(expanded(world, made, pathsOf(checked['expand']))) }
  } catch (error) {
    if (!(error instanceof VendorError) || error.status !== 402) throw error
    return { status: 402, body: structuredClone(errorBody(error)) }
  }
}

function withoutNewer(form: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(form).filter(([name]) => !NEWER.includes(name)))
}

function show(world: World, request: FastifyRequest, object: object): unknown {
  const query = queryOf(request)
  const unknown = Object.keys(query).find((name) => name !== 'expand')
  if (unknown !== undefined) throw invalid(`Received unknown parameter: ${unknown}`, { param: unknown })
  return expanded(world, object, pathsOf(query['expand']))
}

interface Listed<Held> {
  store: Store<Held>
  show: (held: Held) => object
  filters: readonly string[]
}

/** Newest first; filters the vendor does not know are refused. */
function list<Held>(world: World, request: FastifyRequest, path: string, source: Listed<Held>): unknown {
  const query = queryOf(request)
  const known = ['limit', 'starting_after', 'created', 'expand', ...source.filters]
  const unknown = Object.keys(query).find((name) => !known.includes(name))
  if (unknown !== undefined) throw invalid(`Received unknown parameter: ${unknown}`, { param: unknown })
  const limit = Number(query['limit'] ?? 10)
  if (!Number.isInteger(limit) || limit < 1 || limit > 100)
    throw invalid('limit is 1 to 100', { param: 'limit' })
  const paths = pathsOf(query['expand']).map(([first, ...rest]) => {
    if (first !== 'data') throw invalid('A list expands below data', { param: 'expand' })
    return rest
  })
  const within = createdFilter(query['created'])
  const all = [...source.store.values()]
    .toReversed()
    .map((held) => source.show(held) as Record<string, unknown>)
  const matching = all.filter(
    (object) =>
      within(object['created'] as number) &&
      source.filters.every((name) => query[name] === undefined || query[name] === object[name]),
  )
  const after = query['starting_after']
  const start = after === undefined ? 0 : matching.findIndex((object) => object['id'] === after) + 1
  if (after !== undefined && start === 0) throw missing('object', typeof after === 'string' ? after : '')
  const data = matching.slice(start, start + limit).map((object) => expanded(world, object, paths))
  return { object: 'list', data, has_more: matching.length > start + limit, url: `/v1${path}` }
}

function createdFilter(value: unknown): (created: number) => boolean {
  if (value === undefined) return () => true
  if (typeof value !== 'object' || value === null) return (created) => created === Number(value)
  const bounds = Object.entries(value).map(([name, text]) => [name, Number(text)] as const)
  if (
    bounds.some(([name, bound]) => !['gt', 'gte', 'lt', 'lte'].includes(name) || !Number.isInteger(bound))
  ) {
    throw invalid('created is a time or a range', { param: 'created' })
  }
  return (created) =>
    bounds.every(([name, bound]) => {
      if (name === 'gt') return created > bound
      if (name === 'gte') return created >= bound
      return name === 'lt' ? created < bound : created <= bound
    })
}

/** Replaces ids by their objects along paths such as `payment_intent.latest_charge`; at most four levels. */
function expanded(world: World, object: object, paths: readonly (readonly string[])[]): object {
  const copy: Record<string, unknown> = { ...object }
  for (const [name = '', ...rest] of paths) {
    const value = copy[name]
    if (value === undefined) throw invalid(`This property cannot be expanded (${name}).`, { param: 'expand' })
    if (value === null) continue
    const held = typeof value === 'string' ? objectOf(world, value) : value
    if (!held) throw invalid(`This property cannot be expanded (${name}).`, { param: 'expand' })
    copy[name] = expanded(world, held, rest.length > 0 ? [rest] : [])
  }
  return copy
}

function objectOf(world: World, id: string): object | undefined {
  return world.intents.get(id) ?? world.charges.get(id) ?? world.balance.get(id) ?? world.methods.get(id)
}

function pathsOf(value: unknown): string[][] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw invalid('expand is a list', { param: 'expand' })
  const paths = value.map((path) => String(path).split('.'))
  if (paths.some((path) => path.length > 4)) {
    throw invalid('You cannot expand more than 4 levels of a property.', { param: 'expand' })
  }
  return paths
}

let loaded: Spec | undefined

/** Unknown names are refused at every level; the vendor's file says so of the outermost only. */
function spec(): Spec {
  const text = readFileSync(new URL('../specs/stripe.json', import.meta.url), 'utf8')
  loaded ??= createSpec(
    JSON.parse(text, (_name, value: unknown) => {
      const is_object =
        typeof value === 'object' && value !== null && 'properties' in value && 'type' in value
      return is_object && value.type === 'object' ? { additionalProperties: false, ...value } : value
    }) as Record<string, unknown>,
  )
  return loaded
}

function refuse([problem]: readonly Problem[]): void {
  if (!problem) return
  const param = problem.parameter.replace(/\.([^.]+)/g, '[$1]')
  const unknown = problem.keyword === 'unknown'
  throw invalid(unknown ? `Received unknown parameter: ${param}` : `${param} ${problem.detail}`, {
    param,
    ...(unknown ? { code: 'parameter_unknown' } : {}),
  })
}

function readFields(text: string): Record<string, unknown> {
  try {
    return parseForm(text)
  } catch (error) {
    if (error instanceof RangeError) throw invalid(error.message)
    throw error
  }
}

function queryOf(request: FastifyRequest): Record<string, unknown> {
  return readFields(request.url.split('?')[1] ?? '')
}

function idIn(request: FastifyRequest): string {
  const { params } = request
  return typeof params === 'object' && params !== null && 'id' in params ? String(params.id) : ''
}

function planOf(world: World, id: string): SessionPlan {
  const plan = world.sessions.get(id)
  if (!plan) throw missing('checkout.session', id)
  return plan
}

function intentOf(world: World, id: string): Intent {
  const intent = world.intents.get(id)
  if (!intent) throw missing('payment_intent', id)
  return intent
}

function isAuthorized(world: World, header: string | undefined): boolean {
  const { secret_key } = world.kit.settings()
  const [scheme, value = ''] = header?.split(' ') ?? []
  const given =
    scheme?.toLowerCase() === 'basic'
      ? Buffer.from(value, 'base64').subarray(0, -1)
      : scheme?.toLowerCase() === 'bearer'
        ? Buffer.from(value)
        : Buffer.alloc(0)
  const expected = Buffer.from(secret_key)
  return given.length === expected.length && timingSafeEqual(given, expected)
}

function unauthorized(): VendorError {
  return new VendorError(401, 'Invalid API Key provided', { type: 'invalid_request_error' })
}

function toVendorError(error: unknown): VendorError {
  if (error instanceof VendorError) return error
  const status = typeof error === 'object' && error !== null && 'statusCode' in error ? error.statusCode : 500
  if (typeof status === 'number' && status < 500) return invalid('The request cannot be read')
  process.stderr.write(`stripe emulator: ${error instanceof Error ? (error.stack ?? '') : String(error)}\n`)
  return new VendorError(500, 'The emulator itself failed', { type: 'api_error' })
}

function sendError(reply: FastifyReply, error: VendorError): FastifyReply {
  return reply.code(error.status).send(errorBody(error))
}

/** `{error:{type, code?, decline_code?, message, param?, payment_intent?}}`. */
export function errorBody(error: VendorError): { error: Record<string, unknown> } {
  return { error: { type: 'invalid_request_error', ...error.fields, message: error.message } }
}
