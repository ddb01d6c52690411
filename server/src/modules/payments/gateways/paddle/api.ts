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
} from '@kopilka/extension'
import type { GatewayContext, ListPage, PaymentReference } from '@kopilka/extension'
import { z } from 'zod'
import { apiUrl } from './config.ts'
import type { Config } from './config.ts'
import { AdjustmentObject, TransactionObject, namesOf, refundIdIn } from './objects.ts'

/** A payment is made within a day of its id; an hour on either side is for clocks that differ. */
const SEARCH_BEFORE_MS = 3_600_000
const SEARCH_AFTER_MS = 25 * 3_600_000
/** Ids of another form tell no time; the core stops asking about a payment after eight days. */
const SEARCH_WIDE_MS = 8 * 86_400_000
const SEARCH_PAGES_MAX = 200
const SAFE_ID = /^[0-9A-Za-z_-]{1,64}$/
const VENDOR_ID = /^(?:txn|adj)_[a-z\d]{26}$/

const DataObject = z.object({ data: z.looseObject({}) })
const ListObject = z.object({
  data: z.array(z.unknown()),
  meta: z.object({ pagination: z.object({ next: z.string().nullish(), has_more: z.boolean() }) }),
})
/** By these ours are told from what else the account sells, whatever form that has. */
const OurNames = z.object({ custom_data: z.object({ payment_id: z.string() }) })
const OurTransaction = z.union([OurNames, z.object({ items: z.tuple([z.object({ price: OurNames })]) })])
const OurAdjustment = z.object({ reason: z.string().refine((reason) => refundIdIn(reason) !== undefined) })
const ErrorObject = z.object({
  error: z.object({ code: z.string().max(100), detail: z.string().optional() }),
})

/** The calls of one operation share these. */
export interface Seller {
  config: Config
  context: GatewayContext
}

/** `refusal` is the vendor's word about this one operation; the operation was not carried out. */
export type Reply = { refusal?: undefined; body: unknown } | { refusal: string; is_missing: boolean }

/**
 * One call. 400 and 404 are a refusal of this operation. Throws GatewayMisconfigured for 401 and 403: nothing
 * was done and the owner must act. Throws GatewayUnavailable for everything else that is no success.
 */
export async function callApi(
  { config, context }: Seller,
  call: { method: 'GET' | 'POST' | 'PATCH'; path: string; body?: object },
): Promise<Reply> {
  const answer = await callVendor({
    method: call.method,
    url: apiUrl(config) + call.path,
    headers: present({
      authorization: `Bearer ${config.api_key}`,
      'paddle-version': '1',
      'content-type': call.body && 'application/json',
    }),
    timeout_ms: context.timeout_ms,
    ...present({ body: call.body && JSON.stringify(call.body) }),
  })
  if (answer.status === 200 || answer.status === 201) return { body: answer.json() }
  const { error } = readAnswer(ErrorObject, answer.json())
  const words = [error.code, error.detail].filter((word) => word !== undefined).join(': ')
  const refusal = clipText(hideSecrets(words, [config.api_key, config.webhook_secret]), 200)
  if (answer.status === 401 || answer.status === 403) throw new GatewayMisconfigured(refusal)
  if (answer.status !== 400 && answer.status !== 404) throw new GatewayUnavailable(`status ${answer.status}`)
  return { refusal, is_missing: answer.status === 404 }
}

/** True for a text of the form of the vendor's own ids of this kind. */
export function isVendorId(kind: 'sub' | 'txn', id: string): boolean {
  return id.startsWith(`${kind}_`) && /^[a-z]{3}_[a-z\d]{26}$/.test(id)
}

/** What stands in an answer's `data`. */
export function readData<T>(schema: z.ZodType<T>, body: unknown): T {
  return readAnswer(schema, readAnswer(DataObject, body).data)
}

/** By the vendor's id, or by ours when the answer that brought the vendor's was lost. */
export async function readTransaction(
  seller: Seller,
  reference: Pick<PaymentReference, 'payment_id' | 'external_id'>,
): Promise<TransactionObject | undefined> {
  const { external_id } = reference
  if (external_id === undefined) return findTransaction(seller, reference.payment_id)
  if (!SAFE_ID.test(external_id)) return undefined
  const path = `/transactions/${external_id}?include=adjustments`
  const reply = await callApi(seller, { method: 'GET', path })
  if (reply.refusal === undefined) return readData(TransactionObject, reply.body)
  if (reply.is_missing || !VENDOR_ID.test(external_id)) return undefined
  throw new GatewayMisconfigured(reply.refusal)
}

/** The transaction made for a payment of ours, looked for around the moment of our id. */
export async function findTransaction(
  seller: Seller,
  payment_id: string,
  among: { subscription_id?: string } = {},
): Promise<TransactionObject | undefined> {
  const made_at = idTime(payment_id)
  const now_ms = seller.context.now.getTime()
  const from = new Date(made_at ? made_at.getTime() - SEARCH_BEFORE_MS : now_ms - SEARCH_WIDE_MS)
  const to = new Date(made_at ? made_at.getTime() + SEARCH_AFTER_MS : now_ms + SEARCH_BEFORE_MS)
  return findInPages(
    (after) => readTransactions(seller, { ...among, ...createdIn({ from, to }), ...present({ after }) }),
    (object) => namesOf(object)['payment_id'] === payment_id,
    SEARCH_PAGES_MAX,
  )
}

/** One page of transactions with their adjustments. */
export function readTransactions(
  seller: Seller,
  query: Readonly<Record<string, string>>,
): Promise<ListPage<TransactionObject>> {
  const search = { ...query, include: 'adjustments', per_page: '30' }
  return readPage(seller, '/transactions', search, { schema: TransactionObject, ours: OurTransaction })
}

/** One page of adjustments. */
export function readAdjustments(
  seller: Seller,
  query: Readonly<Record<string, string>>,
): Promise<ListPage<AdjustmentObject>> {
  const search = { ...query, per_page: '50' }
  return readPage(seller, '/adjustments', search, { schema: AdjustmentObject, ours: OurAdjustment })
}

/** Our refund among the adjustments of a transaction. */
export function findAdjustment(
  seller: Seller,
  transaction_id: string,
  refund_id: string,
): Promise<AdjustmentObject | undefined> {
  return findInPages(
    (after) => readAdjustments(seller, { transaction_id, ...present({ after }) }),
    (object) => refundIdIn(object.reason) === refund_id,
    SEARCH_PAGES_MAX,
  )
}

/** An adjustment by the vendor's id: it can only be listed. */
export async function readAdjustment(seller: Seller, id: string): Promise<AdjustmentObject | undefined> {
  if (!VENDOR_ID.test(id)) return undefined
  return (await readAdjustments(seller, { id })).items.find((object) => object.id === id)
}

/** The vendor's filter for `[from, to)`. */
export function createdIn(range: { from: Date; to: Date }): Record<string, string> {
  return { 'created_at[GTE]': range.from.toISOString(), 'created_at[LT]': range.to.toISOString() }
}

async function readPage<T>(
  seller: Seller,
  path: string,
  query: Readonly<Record<string, string>>,
  form: { schema: z.ZodType<T>; ours: z.ZodType },
): Promise<ListPage<T>> {
  const search = new URLSearchParams(query)
  const reply = await callApi(seller, { method: 'GET', path: `${path}?${search.toString()}` })
  if (reply.refusal !== undefined) throw new GatewayMisconfigured(reply.refusal)
  const { data, meta } = readAnswer(ListObject, reply.body)
  const { next, has_more } = meta.pagination
  // Only the place is taken out of the address of the next page: we do not go where an answer sends us.
  const after = has_more && next && URL.canParse(next) ? new URL(next).searchParams.get('after') : null
  if (has_more && after === null) throw new GatewayUnavailable('a page without a next one')
  const items = data.flatMap((item) => {
    // Something foreign in a form we do not know must not hide ours; ours are always of the known form.
    const is_foreign = !form.ours.safeParse(item).success && !form.schema.safeParse(item).success
    return is_foreign ? [] : [readAnswer(form.schema, item)]
  })
  return { items, ...present({ next_cursor: after ?? undefined }) }
}
