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
import type { GatewayContext, ListPage, PaymentReference, VendorRefund } from '@kopilka/extension'
import { z } from 'zod'
import type { Config } from './config.ts'
import { OBJECT_ID, PaymentObject, RefundObject, toRefund } from './objects.ts'

/**
 * A payment is made within a day of its id: the key that guards the call lives no longer.
 * An hour on either side is for clocks that differ.
 */
const SEARCH_BEFORE_MS = 3_600_000
const SEARCH_AFTER_MS = 25 * 3_600_000
/** Ids of another form tell no time; the core stops asking about a payment after eight days. */
const SEARCH_WIDE_MS = 8 * 86_400_000
/** 10,000 objects within the window. */
const SEARCH_PAGES_MAX = 100

const ListObject = z.object({ items: z.array(z.unknown()), next_cursor: z.string().min(1).optional() })
const ErrorObject = z.object({
  type: z.literal('error'),
  code: z.string().max(64),
  description: z.string().optional(),
  parameter: z.string().optional(),
})

/** The calls of one operation share these. */
export interface Shop {
  config: Config
  context: GatewayContext
}

export interface Call {
  method: 'GET' | 'POST'
  path: string
  /** What the idempotence key is made of; needed for every POST. */
  key?: readonly string[]
  body?: object
}

/** Collections that are read and listed. Ids of receipts have a form of their own. */
type ListPath = '/payments' | '/refunds' | '/receipts'

/** `refusal` is the vendor's word about this one operation; the operation was not carried out. */
export type Reply = { refusal?: undefined; body: unknown } | { refusal: string; is_key_reused: boolean }

/**
 * One call. 400 and 404 are a refusal of this operation. Throws GatewayMisconfigured for 401, 403, 405 and
 * 415: nothing was done and the owner must act. Throws GatewayUnavailable for everything that is not the
 * vendor's form.
 */
export async function callApi({ config, context }: Shop, call: Call): Promise<Reply> {
  const credentials = `${config.shop_id}:${config.secret_key}`
  const answer = await callVendor({
    method: call.method,
    url: config.base_url + call.path,
    headers: present({
      authorization: `Basic ${Buffer.from(credentials, 'utf8').toString('base64')}`,
      'content-type': call.body && 'application/json',
      'idempotence-key': call.key && vendorKey(call.key, 64),
    }),
    timeout_ms: context.timeout_ms,
    ...present({ body: call.body && JSON.stringify(call.body) }),
  })
  if (answer.status === 200) return { body: answer.json() }
  const error = readAnswer(ErrorObject, answer.json())
  const words = [error.code, error.parameter, error.description].filter((word) => word !== undefined)
  const refusal = clipText(hideSecrets(words.join(': '), [credentials, config.secret_key]), 200)
  if ([401, 403, 405, 415].includes(answer.status)) throw new GatewayMisconfigured(refusal)
  if (answer.status !== 400 && answer.status !== 404) throw new GatewayUnavailable(`status ${answer.status}`)
  return { refusal, is_key_reused: error.parameter?.toLowerCase() === 'idempotence-key' }
}

/** One object by the vendor's id; `undefined` when it knows none, or when the id cannot be one of its ids. */
export async function readObject<T>(
  shop: Shop,
  path: ListPath,
  id: string,
  schema: z.ZodType<T>,
): Promise<T | undefined> {
  if (path !== '/receipts' && !OBJECT_ID.test(id)) return undefined
  const reply = await callApi(shop, { method: 'GET', path: `${path}/${id}` })
  return reply.refusal === undefined ? readAnswer(schema, reply.body) : undefined
}

/** One page of a list, newest first. */
export async function readPage<T>(
  shop: Shop,
  path: ListPath,
  query: Readonly<Record<string, string>>,
  schema: z.ZodType<T>,
): Promise<ListPage<T>> {
  const search = new URLSearchParams({ ...query, limit: '100' })
  const reply = await callApi(shop, { method: 'GET', path: `${path}?${search.toString()}` })
  if (reply.refusal !== undefined) throw new GatewayMisconfigured(reply.refusal)
  const { items, next_cursor } = readAnswer(ListObject, reply.body)
  return { items: items.map((item) => readAnswer(schema, item)), ...present({ next_cursor }) }
}

/** The vendor's filter for `[from, to)`: its names have dots. */
export function createdIn(range: { from: Date; to: Date; cursor?: string }): Record<string, string> {
  const period = { 'created_at.gte': range.from.toISOString(), 'created_at.lt': range.to.toISOString() }
  return range.cursor === undefined ? period : { ...period, cursor: range.cursor }
}

/** By the vendor's id, or by ours when the answer that brought the vendor's was lost. */
export async function readPayment(
  shop: Shop,
  reference: Pick<PaymentReference, 'payment_id' | 'external_id'>,
): Promise<PaymentObject | undefined> {
  if (reference.external_id !== undefined)
    return readObject(shop, '/payments', reference.external_id, PaymentObject)
  const made_at = idTime(reference.payment_id)
  const now_ms = shop.context.now.getTime()
  const from_ms = made_at ? made_at.getTime() - SEARCH_BEFORE_MS : now_ms - SEARCH_WIDE_MS
  const to_ms = made_at ? made_at.getTime() + SEARCH_AFTER_MS : now_ms + SEARCH_BEFORE_MS
  const query = createdIn({ from: new Date(from_ms), to: new Date(to_ms) })
  return findInPages(
    (cursor) => readPage(shop, '/payments', { ...query, ...present({ cursor }) }, PaymentObject),
    (object) => object.metadata?.['payment_id'] === reference.payment_id,
    SEARCH_PAGES_MAX,
  )
}

/** The vendor's id of a payment; `undefined` when it has none of ours. */
export async function externalIdOf(shop: Shop, reference: PaymentReference): Promise<string | undefined> {
  return reference.external_id ?? (await readPayment(shop, reference))?.id
}

/** Our refund among the refunds of a payment. */
export async function findRefund(
  shop: Shop,
  payment_external_id: string,
  refund_id: string,
): Promise<VendorRefund | undefined> {
  const query = { payment_id: payment_external_id }
  const object = await findInPages(
    (cursor) => readPage(shop, '/refunds', { ...query, ...present({ cursor }) }, RefundObject),
    (refund) => refund.metadata?.['refund_id'] === refund_id,
    SEARCH_PAGES_MAX,
  )
  return object && toRefund(object)
}
