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
import { InvoiceObject, TransferObject, ourIds } from './objects.ts'

const PAGE_SIZE = 200
/** 20,000 invoices. */
const SEARCH_PAGES_MAX = 100
const SEARCH_BEFORE_MS = 3_600_000
/** What the vendor's ids are made of, widely: what it does not know it says itself. */
const SAFE_ID = /^[0-9A-Za-z-]{1,64}$/

const Answer = z.union([
  z.object({ ok: z.literal(true), result: z.unknown() }),
  z.object({ ok: z.literal(false), error: z.object({ code: z.int(), name: z.string().max(100) }) }),
])
const Items = z.object({ items: z.array(z.unknown()) })

/** The calls of one operation share these. */
export interface App {
  config: Config
  context: GatewayContext
}

/** `refusal` is the vendor's word about this one operation; the operation was not carried out. */
export type Reply = { refusal?: undefined; result: unknown } | { refusal: string }

/**
 * One call of a method. Whether it went well stands in the body, whatever the status. Throws
 * GatewayMisconfigured for 401 and 403: the token is wrong or may not do this. Throws GatewayUnavailable for
 * everything that is not the vendor's form, and for errors of 429 and 5xx.
 */
export async function callApi({ config, context }: App, method: string, parameters: object): Promise<Reply> {
  const answer = await callVendor({
    method: 'POST',
    url: `${apiUrl(config)}/api/${method}`,
    headers: { 'content-type': 'application/json', 'crypto-pay-api-token': config.token },
    body: JSON.stringify(parameters),
    timeout_ms: context.timeout_ms,
  })
  const body = readAnswer(Answer, answer.json())
  if (body.ok) {
    if (answer.status === 200) return { result: body.result }
    throw new GatewayUnavailable(`status ${answer.status}`)
  }
  const { code, name } = body.error
  const refusal = clipText(hideSecrets(name, [config.token]), 100) || 'refused'
  // A right may be missing for one method only, as for transfers; a wrong token is wrong for all.
  if (code === 401 || (code === 403 && method !== 'transfer')) throw new GatewayMisconfigured(refusal)
  if (code === 429 || code >= 500) throw new GatewayUnavailable(`error ${code}`)
  return { refusal }
}

/** By the vendor's id, or by ours when the answer that brought the vendor's was lost. */
export async function readInvoice(
  app: App,
  reference: Pick<PaymentReference, 'payment_id' | 'external_id'>,
): Promise<InvoiceObject | undefined> {
  const { external_id } = reference
  if (external_id === undefined) return findInvoice(app, reference.payment_id)
  if (!SAFE_ID.test(external_id)) return undefined
  const reply = await callApi(app, 'getInvoices', { invoice_ids: external_id })
  if (reply.refusal !== undefined) return undefined
  const { items } = readAnswer(Items, reply.result)
  const invoices = items.map((item) => readAnswer(InvoiceObject, item))
  return invoices.find((invoice) => String(invoice.invoice_id) === external_id)
}

/** The invoice made for a payment of ours. The vendor's list knows no period, only its order. */
export async function findInvoice(app: App, payment_id: string): Promise<InvoiceObject | undefined> {
  const made_ms = idTime(payment_id)?.getTime() ?? 0
  return findInPages(
    async (cursor) => readPage(app, cursor, new Date(made_ms - SEARCH_BEFORE_MS)),
    (invoice) => ourIds(invoice.payload).payment_id === payment_id,
    SEARCH_PAGES_MAX,
  )
}

/**
 * One page of all invoices. The cursor is an offset. The list ends early where it is seen to run from new to
 * old and is already past `not_before`.
 */
export async function readPage(
  app: App,
  cursor: string | undefined,
  not_before: Date,
): Promise<ListPage<InvoiceObject>> {
  const offset = cursor === undefined ? 0 : Number(cursor)
  const reply = await callApi(app, 'getInvoices', { offset, count: PAGE_SIZE })
  if (reply.refusal !== undefined) throw new GatewayMisconfigured(reply.refusal)
  const { items } = readAnswer(Items, reply.result)
  // One foreign invoice in a form we do not know must not hide ours; ours are always of the known form.
  const invoices = items.flatMap((item) => InvoiceObject.safeParse(item).data ?? [])
  const first = invoices[0]
  const last = invoices.at(-1)
  const runs_down = first && last && first.invoice_id > last.invoice_id
  const is_past = runs_down && Date.parse(last.created_at ?? '') < not_before.getTime()
  const next_cursor = items.length < PAGE_SIZE || is_past ? undefined : String(offset + PAGE_SIZE)
  return { items: invoices, ...present({ next_cursor }) }
}

/** The transfer made for a refund of ours: the vendor keeps our id as `spend_id`. */
export async function findTransfer(app: App, refund_id: string): Promise<TransferObject | undefined> {
  const reply = await callApi(app, 'getTransfers', { spend_id: refund_id, count: 10 })
  if (reply.refusal !== undefined) throw new GatewayMisconfigured(reply.refusal)
  const { items } = readAnswer(Items, reply.result)
  const transfers = items.map((item) => readAnswer(TransferObject, item))
  return transfers.find((transfer) => transfer.spend_id === refund_id)
}
