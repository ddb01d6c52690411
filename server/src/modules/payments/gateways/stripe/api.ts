import {
  GatewayMisconfigured,
  GatewayUnavailable,
  callVendor,
  clipText,
  findInPages,
  hideSecrets,
  idTime,
  present,
  readAnswer,
  vendorKey,
} from '@kopilka/extension'
import type { GatewayContext, ListPage, PaymentReference } from '@kopilka/extension'
import { z } from 'zod'
import type { Config } from './config.ts'
import { IntentObject, RefundObject, SessionObject } from './objects.ts'
import type { PaymentObject } from './objects.ts'

/** Objects have the shape of this version, whatever version the account is set to. */
const API_VERSION = '2026-10-28.endive'
/** A payment is made within a day of its id; an hour on either side is for clocks that differ. */
const SEARCH_BEFORE_MS = 3_600_000
const SEARCH_AFTER_MS = 25 * 3_600_000
/** Ids of another form tell no time; the core stops asking about a payment after eight days. */
const SEARCH_WIDE_MS = 8 * 86_400_000
const SEARCH_PAGES_MAX = 100
/** Everything the vendor's own ids are made of: no dot, no slash, so no other path. */
const SAFE_ID = /^[0-9A-Za-z_-]{1,255}$/

const Expandable = 'payment_intent.latest_charge.balance_transaction'
const ListObject = z.object({
  object: z.literal('list'),
  data: z.array(z.object({ id: z.string() }).loose()),
  has_more: z.boolean(),
})
const ErrorObject = z.object({
  error: z.object({
    type: z.string().max(64).optional(),
    code: z.string().max(64).optional(),
    decline_code: z.string().max(64).optional(),
    message: z.string().optional(),
    payment_intent: z.unknown().optional(),
  }),
})

/** The calls of one operation share these. */
export interface Shop {
  config: Config
  context: GatewayContext
}

/** A form of nested parameters; `undefined` is left out. */
export interface Form {
  [name: string]: string | number | bigint | boolean | undefined | Form | readonly Form[] | readonly string[]
}

export interface Call {
  method: 'GET' | 'POST'
  path: string
  /** What the idempotency key is made of; needed for every POST that makes or moves money. */
  key?: readonly string[]
  form?: Form
}

/** `refusal` is the vendor's word about this operation: no money moved. `intent` was made all the same. */
export type Reply =
  | { refusal?: undefined; body: unknown }
  | { refusal: string; code: string | undefined; is_key_reused: boolean; intent?: unknown }

/**
 * One call. 400, 402 and 404 are a refusal of this operation. Throws GatewayMisconfigured for 401 and 403:
 * nothing was done and the owner must act. Throws GatewayUnavailable for everything else that is not 200,
 * also for 409: the same key is being worked on.
 */
export async function callApi({ config, context }: Shop, call: Call): Promise<Reply> {
  const fields = call.form ? writeForm(call.form) : ''
  const is_post = call.method === 'POST'
  const answer = await callVendor({
    method: call.method,
    url: `${config.base_url}${call.path}${!is_post && fields !== '' ? `?${fields}` : ''}`,
    headers: present({
      authorization: `Bearer ${config.secret_key}`,
      'stripe-version': API_VERSION,
      'content-type': is_post ? 'application/x-www-form-urlencoded' : undefined,
      'idempotency-key': call.key && vendorKey(call.key, 255),
    }),
    timeout_ms: context.timeout_ms,
    ...present({ body: is_post ? fields : undefined }),
  })
  if (answer.status === 200) return { body: answer.json() }
  const { error } = readAnswer(ErrorObject, answer.json())
  const words = [error.decline_code ?? error.code ?? error.type, error.message]
  const text = words.filter((one) => one !== undefined).join(': ') || 'refused'
  const refusal = clipText(hideSecrets(text, [config.secret_key, config.webhook_secret]), 200)
  if (answer.status === 401 || answer.status === 403) throw new GatewayMisconfigured(refusal)
  if (![400, 402, 404].includes(answer.status)) throw new GatewayUnavailable(`status ${answer.status}`)
  const is_key_reused = error.type === 'idempotency_error'
  return { refusal, code: error.code, is_key_reused, intent: error.payment_intent }
}

/** The vendor's way to write nested parameters: `metadata[order_id]=1&line_items[0][quantity]=1`. */
export function writeForm(form: Form): string {
  const fields: string[] = []
  const add = (name: string, value: Form[string]) => {
    if (value === undefined) return
    if (typeof value !== 'object')
      fields.push(`${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`)
    else for (const [key, item] of Object.entries(value)) add(`${name}[${key}]`, item)
  }
  for (const [name, value] of Object.entries(form)) add(name, value)
  return fields.join('&')
}

/** A page's object by the vendor's id, with its intent and charge; `undefined` when there is none. */
export async function readSession(shop: Shop, id: string): Promise<SessionObject | undefined> {
  const body = await readObject(shop, '/v1/checkout/sessions', id, { expand: [Expandable] })
  const mode = z.object({ mode: z.string() }).safeParse(body)
  // Pages that subscribe or only save a card take no payment of ours.
  if (mode.success && mode.data.mode !== 'payment') return undefined
  return body === undefined ? undefined : readAnswer(SessionObject, body)
}

/** A refund by the vendor's id, with its intent; `undefined` when there is none. */
export async function readRefund(shop: Shop, id: string): Promise<RefundObject | undefined> {
  const body = await readObject(shop, '/v1/refunds', id, { expand: ['payment_intent'] })
  return body === undefined ? undefined : readAnswer(RefundObject, body)
}

/**
 * A payment by the vendor's id or by ours. The id of an intent that a page has made leads to the page, which
 * is what the payment is known by here.
 */
export async function readPayment(
  shop: Shop,
  reference: Pick<PaymentReference, 'payment_id' | 'external_id'>,
): Promise<PaymentObject | undefined> {
  const { external_id } = reference
  if (external_id === undefined) {
    return (await findSession(shop, reference.payment_id)) ?? findIntent(shop, reference.payment_id)
  }
  if (!external_id.startsWith('pi_')) return readSession(shop, external_id)
  const expand = ['latest_charge.balance_transaction']
  const body = await readObject(shop, '/v1/payment_intents', external_id, { expand })
  if (body === undefined) return undefined
  const intent = readAnswer(IntentObject, body)
  if (intent.metadata?.['made_by'] !== 'checkout') return intent
  const page = await readPage(shop, '/v1/checkout/sessions', { payment_intent: external_id })
  const session = page.items[0]
  return session === undefined ? intent : readAnswer(SessionObject, session)
}

/** The page made for a payment of ours, looked for around the moment of our id. */
export async function findSession(shop: Shop, payment_id: string): Promise<SessionObject | undefined> {
  const found = await findByOurId(shop, '/v1/checkout/sessions', payment_id)
  return found === undefined ? undefined : readAnswer(SessionObject, found)
}

/** The charge of a saved method made for a payment of ours. */
export async function findIntent(shop: Shop, payment_id: string): Promise<IntentObject | undefined> {
  const found = await findByOurId(shop, '/v1/payment_intents', payment_id)
  return found === undefined ? undefined : readAnswer(IntentObject, found)
}

/** Our refund among the refunds of an intent. */
export async function findRefund(
  shop: Shop,
  payment_intent: string,
  refund_id: string,
): Promise<RefundObject | undefined> {
  const found = await findInPages(
    (cursor) => readPage(shop, '/v1/refunds', { payment_intent, ...present({ starting_after: cursor }) }),
    (item) => metadataOf(item)['refund_id'] === refund_id,
    SEARCH_PAGES_MAX,
  )
  return found === undefined ? undefined : readAnswer(RefundObject, found)
}

export type ListPath = '/v1/checkout/sessions' | '/v1/payment_intents' | '/v1/refunds' | '/v1/disputes'

/** One page of a list, newest first, with everything expanded that the objects' readers look at. */
export async function readPage(
  shop: Shop,
  path: ListPath,
  query: Form,
): Promise<ListPage<Record<string, unknown>>> {
  const expand = {
    '/v1/checkout/sessions': `data.${Expandable}`,
    '/v1/payment_intents': 'data.latest_charge.balance_transaction',
    '/v1/refunds': 'data.payment_intent',
    '/v1/disputes': undefined,
  }[path]
  const form = { ...query, limit: 100, ...(expand === undefined ? {} : { expand: [expand] }) }
  const reply = await callApi(shop, { method: 'GET', path, form })
  if (reply.refusal !== undefined) throw new GatewayMisconfigured(reply.refusal)
  const { data, has_more } = readAnswer(ListObject, reply.body)
  const next_cursor = has_more ? data.at(-1)?.id : undefined
  return { items: data, ...present({ next_cursor }) }
}

/** The vendor's filter for `[from, to)`: it counts whole seconds. */
export function createdIn(range: { from: Date; to: Date }): Form {
  const seconds = (moment: Date) => Math.ceil(moment.getTime() / 1000)
  return { created: { gte: seconds(range.from), lt: seconds(range.to) } }
}

async function readObject(shop: Shop, path: string, id: string, form: Form): Promise<unknown> {
  if (!SAFE_ID.test(id)) return undefined
  const reply = await callApi(shop, { method: 'GET', path: `${path}/${id}`, form })
  // A page instead of JSON must not pass for an object that is not there.
  if (reply.refusal === undefined) return readAnswer(z.looseObject({ id: z.string() }), reply.body)
  if (reply.code === 'resource_missing') return undefined
  throw new GatewayMisconfigured(reply.refusal)
}

async function findByOurId(shop: Shop, path: ListPath, payment_id: string): Promise<unknown> {
  const made_at = idTime(payment_id)
  const now_ms = shop.context.now.getTime()
  const from = new Date(made_at ? made_at.getTime() - SEARCH_BEFORE_MS : now_ms - SEARCH_WIDE_MS)
  const to = new Date(made_at ? made_at.getTime() + SEARCH_AFTER_MS : now_ms + SEARCH_BEFORE_MS)
  const query = createdIn({ from, to })
  return findInPages(
    (cursor) => readPage(shop, path, { ...query, ...present({ starting_after: cursor }) }),
    (item) => metadataOf(item)['payment_id'] === payment_id,
    SEARCH_PAGES_MAX,
  )
}

function metadataOf(item: Record<string, unknown>): Record<string, unknown> {
  const { metadata } = item
  return typeof metadata === 'object' && metadata !== null ? (metadata as Record<string, unknown>) : {}
}
