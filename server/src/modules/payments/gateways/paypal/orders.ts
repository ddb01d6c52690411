import { GatewayUnavailable, findInPages, idTime, readAnswer } from '@kopilka/extension'
import type { ListPage, PaymentReference } from '@kopilka/extension'
import { z } from 'zod'
import { callApi, readObject } from './api.ts'
import type { Reply, Shop } from './api.ts'
import {
  CaptureObject,
  OrderObject,
  isUntouched,
  paymentIdIn,
  unitOf,
  waitingVaultCustomer,
} from './objects.ts'
import type { Verdict } from './objects.ts'

const ORDERS = '/v2/checkout/orders'
const EVENTS = '/v1/notifications/webhooks-events'
/** A payment is made within a day of its id; an hour on either side is for clocks that differ. */
const SEARCH_BEFORE_MS = 3_600_000
const SEARCH_AFTER_MS = 25 * 3_600_000
/** Ids of another form tell no time; the core stops asking about a payment after eight days. */
const SEARCH_WIDE_MS = 8 * 86_400_000
const SEARCH_PAGES_MAX = 100
/** How long our own books may take to say whether a payment is still wanted. */
const PAYABLE_WAIT_MS = 3000
/** A declined approval is not tried again for so long unless the order changed: attempts are counted. */
const DECLINED_MS = 600_000
const VAULT_LOOKS = 3
const VAULT_PAUSE_MS = 700

/** The buyer goes back to the same page and may choose another way to pay. */
const ASKS_BUYER = ['INSTRUMENT_DECLINED', 'PAYER_ACTION_REQUIRED', 'REDIRECT_PAYER_FOR_ALTERNATE_FUNDING']
const IS_OVER = [
  'PAYER_CANNOT_PAY',
  'TRANSACTION_REFUSED',
  'COMPLIANCE_VIOLATION',
  'MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED',
  'PAYER_ACCOUNT_RESTRICTED',
  'PAYER_ACCOUNT_LOCKED_OR_CLOSED',
  'PAYEE_ACCOUNT_RESTRICTED',
]
/** Another of our calls does it or has done it: the order says what came of it. */
const IS_DONE = ['ORDER_ALREADY_CAPTURED', 'ORDER_ALREADY_AUTHORIZED', 'ORDER_NOT_APPROVED']

const EventList = z.object({
  events: z.array(z.object({ resource: z.unknown() })).optional(),
  links: z.array(z.object({ rel: z.string(), href: z.string() })).optional(),
})
const TokenList = z.object({
  payment_tokens: z.array(z.object({ id: z.string().max(64) })).optional(),
})

/** An order as it stands, and what came of a call of ours that the order itself does not show. */
export interface Standing {
  order: OrderObject
  verdict?: Verdict
}

/**
 * A payment by the vendor's id of its order or of its capture, or by ours when the answer that brought the
 * vendor's was lost: there is no list of orders, so the events the vendor keeps are looked through.
 */
export async function readOrder(
  shop: Shop,
  reference: Pick<PaymentReference, 'payment_id' | 'external_id'>,
): Promise<OrderObject | undefined> {
  const { external_id, payment_id } = reference
  if (external_id === undefined) return findOrder(shop, payment_id)
  const order = await readObject(shop, OrderObject, { path: ORDERS, id: external_id })
  if (order) return order
  // Disputes name the capture.
  const capture = await readCapture(shop, external_id)
  const id = capture?.supplementary_data?.related_ids?.order_id
  return id === undefined ? undefined : readObject(shop, OrderObject, { path: ORDERS, id })
}

export function readCapture(shop: Shop, id: string): Promise<CaptureObject | undefined> {
  return readObject(shop, CaptureObject, { path: '/v2/payments/captures', id })
}

/** The order of a payment of ours in which money moved, found in the events around our id's moment. */
export async function findOrder(shop: Shop, payment_id: string): Promise<OrderObject | undefined> {
  const made_at = idTime(payment_id)
  const now_ms = shop.context.now.getTime()
  const from = new Date(made_at ? made_at.getTime() - SEARCH_BEFORE_MS : now_ms - SEARCH_WIDE_MS)
  const to = new Date(made_at ? made_at.getTime() + SEARCH_AFTER_MS : now_ms + SEARCH_BEFORE_MS)
  for (const event_type of [
    'PAYMENT.CAPTURE.COMPLETED',
    'PAYMENT.CAPTURE.PENDING',
    'PAYMENT.CAPTURE.DENIED',
  ]) {
    const capture = await findInPages(
      (cursor) => readEvents(shop, { event_type, from, to, cursor }),
      ({ custom_id }) => custom_id === payment_id,
      SEARCH_PAGES_MAX,
    )
    const id = capture?.supplementary_data?.related_ids?.order_id
    if (id !== undefined) return readObject(shop, OrderObject, { path: ORDERS, id })
  }
  return undefined
}

/**
 * Takes the money of an order its buyer has approved, or holds it: nothing is charged before this call of
 * ours, and no buyer needs to return for it. The key is of the approval, so whoever comes first takes it for
 * all. An order that is not ours, or whose payment is no longer wanted, is left alone and dies by itself.
 * Throws GatewayUnavailable when it is not known what came of it.
 */
export async function takeApproved(shop: Shop, order: OrderObject): Promise<Standing> {
  const payment_id = paymentIdIn(unitOf(order).custom_id)
  if (order.status !== 'APPROVED' || payment_id === undefined) return { order }
  if (!isUntouched(order)) return { order }
  const approval = [payment_id, order.id, order.update_time ?? '']
  const declined = shop.context.cache.get(declinedKey(approval))
  if (declined && declined.expires_at > shop.context.now.getTime()) {
    return { order, verdict: { status: 'requires_action', failure_reason: String(declined.value) } }
  }
  if (!(await isWanted(shop, payment_id))) return { order }
  return take(shop, order, approval)
}

/** As {@link takeApproved} for an order whose payment is known to be wanted: it is being made now. */
export async function take(shop: Shop, order: OrderObject, approval: readonly string[]): Promise<Standing> {
  const verb = order.intent === 'AUTHORIZE' ? 'authorize' : 'capture'
  const path = `${ORDERS}/${order.id}/${verb}`
  const reply = await callApi(shop, { method: 'POST', path, key: [verb, ...approval] })
  const verdict = verdictOf(reply)
  if (verdict?.status === 'requires_action') {
    rememberDecline(shop.context, approval, verdict.failure_reason)
    return { order, verdict }
  }
  if (verdict) return { order, verdict }
  const taken = await readObject(shop, OrderObject, { path: ORDERS, id: order.id })
  if (!taken) throw new GatewayUnavailable('an order is gone that was just taken')
  return { order: taken }
}

/**
 * The token of an agreement that the vendor had not ready when the order was paid: it is a matter of seconds,
 * and later nobody would ask again. Not found, the payment stands all the same, without the agreement.
 */
export async function findVaultToken(
  shop: Shop,
  order: OrderObject,
): Promise<{ id: string; customer_id: string } | undefined> {
  const customer_id = waitingVaultCustomer(order)
  if (customer_id === undefined) return undefined
  const query = new URLSearchParams({ customer_id })
  for (let look = 0; look < VAULT_LOOKS; look++) {
    if (look > 0) await new Promise((resolve) => setTimeout(resolve, VAULT_PAUSE_MS))
    const path = `/v3/vault/payment-tokens?${query.toString()}`
    const reply = await callApi(shop, { method: 'GET', path })
    if (reply.refusal !== undefined) return undefined
    const [token, ...more] = readAnswer(TokenList, reply.body).payment_tokens ?? []
    // Several agreements of one buyer cannot be told apart.
    if (more.length > 0) return undefined
    if (token) return { id: token.id, customer_id }
  }
  return undefined
}

function verdictOf(reply: Reply): Verdict | undefined {
  if (reply.refusal === undefined || IS_DONE.includes(reply.issue)) return undefined
  if (reply.issue === 'ORDER_COMPLETION_IN_PROGRESS') throw new GatewayUnavailable('being captured')
  const failure_reason = reply.refusal
  if (ASKS_BUYER.includes(reply.issue)) return { status: 'requires_action', failure_reason }
  // A word this version does not know is neither success nor failure.
  return { status: IS_OVER.includes(reply.issue) ? 'failed' : 'pending', failure_reason }
}

/** Without an answer of our own books nothing is taken; the approval waits hours, and we ask again. */
async function isWanted({ context }: Shop, payment_id: string): Promise<boolean> {
  if (!context.isPayable) return true
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new GatewayUnavailable('our books do not answer')), PAYABLE_WAIT_MS)
  })
  try {
    return await Promise.race([context.isPayable(payment_id), late])
  } catch (error) {
    if (error instanceof TypeError || error instanceof GatewayUnavailable) throw error
    throw new GatewayUnavailable('our books do not answer', { cause: error })
  } finally {
    clearTimeout(timer)
  }
}

async function readEvents(
  shop: Shop,
  asked: { event_type: string; from: Date; to: Date; cursor: string | undefined },
): Promise<ListPage<z.infer<typeof CaptureObject>>> {
  const query = new URLSearchParams({
    event_type: asked.event_type,
    start_time: asked.from.toISOString(),
    end_time: asked.to.toISOString(),
    page_size: '100',
  })
  const search = asked.cursor ?? `?${query.toString()}`
  const reply = await callApi(shop, { method: 'GET', path: EVENTS + search })
  // A refused search must not say "there is none".
  if (reply.refusal !== undefined) throw new GatewayUnavailable(reply.refusal)
  const { events = [], links = [] } = readAnswer(EventList, reply.body)
  const items = events.flatMap(({ resource }) => CaptureObject.safeParse(resource).data ?? [])
  const next = links.find(({ rel }) => rel === 'next')?.href
  if (next === undefined) return { items }
  // Only the query is taken out of the address: we do not go where an answer sends us.
  const next_cursor = URL.canParse(next) ? new URL(next).search : ''
  if (next_cursor === '' || next_cursor === asked.cursor) throw new GatewayUnavailable('no next page')
  return { items, next_cursor }
}

/** Forgets what is over, so that declines do not pile up. */
function rememberDecline({ cache, now }: Shop['context'], approval: readonly string[], reason: string): void {
  for (const [key, { expires_at }] of cache) {
    if (key.startsWith('declined:') && expires_at <= now.getTime()) cache.delete(key)
  }
  cache.set(declinedKey(approval), { value: reason, expires_at: now.getTime() + DECLINED_MS })
}

function declinedKey(approval: readonly string[]): string {
  return `declined:${approval.join('.')}`
}
