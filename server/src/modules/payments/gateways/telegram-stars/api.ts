import {
  GatewayMisconfigured,
  GatewayUnavailable,
  callVendor,
  clipText,
  hideSecrets,
  idTime,
  present,
  readAnswer,
} from '@kopilka/extension'
import type { GatewayContext, VendorPayment, VendorRefund } from '@kopilka/extension'
import { z } from 'zod'
import type { Config } from './config.ts'
import { openPayload } from './payload.ts'

const PAGE_SIZE = 100
/** 10,000 transactions back from now. */
const PAGES_MAX = 100
/** Clocks differ. */
const SEARCH_BEFORE_MS = 3_600_000

const Reply = z.union([
  z.object({ ok: z.literal(true), result: z.unknown() }),
  z.object({ ok: z.literal(false), error_code: z.number().int(), description: z.string() }),
])
const Partner = z.object({
  type: z.string(),
  user: z.object({ id: z.number().int() }).optional(),
  invoice_payload: z.string().optional(),
  affiliate: z.object({ amount: z.number().int() }).optional(),
})
/** One line of the bot's ledger: a payment has a source, a refund of the same id a receiver. */
export const Transaction = z.object({
  id: z.string().min(1).max(200),
  amount: z.number().int(),
  date: z.number().int(),
  source: Partner.optional(),
  receiver: Partner.optional(),
})
export type Transaction = z.infer<typeof Transaction>
const Transactions = z.object({ transactions: z.array(Transaction) })

/** The calls of one operation share these. */
export interface Shop {
  config: Config
  context: GatewayContext
}

/** `refusal` is Telegram's word about this one call; it did nothing. */
export type Answer = { refusal?: undefined; result: unknown } | { refusal: string }

/**
 * One method. Throws GatewayMisconfigured for a refused token, GatewayUnavailable when the outcome is
 * unknown.
 */
export async function callBot({ config, context }: Shop, method: string, body: object): Promise<Answer> {
  const environment = config.is_test ? '/test' : ''
  const answer = await callVendor({
    method: 'POST',
    url: `${config.base_url}/bot${config.bot_token}${environment}/${method}`,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    timeout_ms: context.timeout_ms,
  })
  const reply = readAnswer(Reply, answer.json())
  if (reply.ok) return { result: reply.result }
  const refusal = clipText(hideSecrets(reply.description, [config.bot_token, config.secret_token]), 200)
  if ([401, 404, 409].includes(answer.status)) throw new GatewayMisconfigured(refusal)
  if (answer.status !== 400 && answer.status !== 403) throw new GatewayUnavailable(`status ${answer.status}`)
  return { refusal }
}

/** One page of the ledger, oldest first. */
export async function readTransactions(shop: Shop, offset: number): Promise<Transaction[]> {
  const answer = await callBot(shop, 'getStarTransactions', { offset, limit: PAGE_SIZE })
  if (answer.refusal !== undefined) throw new GatewayUnavailable(answer.refusal)
  return readAnswer(Transactions, answer.result).transactions
}

export interface Found {
  payment: Transaction
  refund?: Transaction
}

/**
 * Looks for a payment from the newest line of the ledger backwards; lines older than `since` end the search.
 * Throws GatewayUnavailable when the search was cut short.
 */
export async function findTransaction(
  shop: Shop,
  matches: (line: Transaction) => boolean,
  since: Date | undefined,
): Promise<Found | undefined> {
  const refunds = new Map<string, Transaction>()
  let page_start = await lastPageStart(shop)
  for (let page_number = 0; page_number < PAGES_MAX; page_number++) {
    const lines = await readTransactions(shop, page_start)
    for (const line of lines.toReversed()) {
      if (line.receiver !== undefined) refunds.set(line.id, line)
      else if (matches(line)) return { payment: line, ...present({ refund: refunds.get(line.id) }) }
    }
    const oldest = lines[0]
    if (page_start === 0 || (since && oldest && toMoment(oldest) < since)) return undefined
    page_start = Math.max(0, page_start - PAGE_SIZE)
  }
  throw new GatewayUnavailable('too many transactions to search')
}

/** The moment before which a payment of ours cannot be in the ledger. */
export function searchedSince(payment_id: string): Date | undefined {
  const made_at = idTime(payment_id)
  return made_at && new Date(made_at.getTime() - SEARCH_BEFORE_MS)
}

/**
 * The ledger has no last page to ask for: doubling steps, then halves; the place is kept for the next
 * search.
 */
async function lastPageStart(shop: Shop): Promise<number> {
  const { cache, now } = shop.context
  const key = `ledger:${shop.config.base_url}:${shop.config.bot_token.split(':')[0] ?? ''}`
  const known = cache.get(key)?.value
  let low = typeof known === 'number' ? known : 0
  let high = await emptyAfter(shop, low, (start) => {
    low = start
  })
  while (high - low > PAGE_SIZE) {
    const middle = low + Math.floor((high - low) / (2 * PAGE_SIZE)) * PAGE_SIZE
    if ((await readTransactions(shop, middle)).length === 0) high = middle
    else low = middle
  }
  cache.set(key, { value: low, expires_at: now.getTime() + 86_400_000 })
  return low
}

/** Doubles its steps until a page is empty; tells of every page that is not. */
async function emptyAfter(shop: Shop, from: number, seen: (start: number) => void): Promise<number> {
  let start = from
  for (let step = PAGE_SIZE; ; step *= 2) {
    start += step
    if ((await readTransactions(shop, start)).length === 0) return start
    seen(start)
  }
}

/** A line of the ledger in our words. An affiliate's part is what does not reach the bot. */
export function toPayment(config: Config, { payment, refund }: Found): VendorPayment {
  const payload = openPayload(config, payment.source?.invoice_payload ?? '')
  const amount = BigInt(payment.amount)
  return {
    external_id: payment.id,
    status: 'succeeded',
    amount,
    currency: 'XTR',
    is_test: config.is_test,
    refunded_amount: refund ? amount : 0n,
    paid_at: toMoment(payment),
    created_at: toMoment(payment),
    ...present({
      payment_id: payload?.payment_id,
      fee: payment.source?.affiliate ? BigInt(payment.source.affiliate.amount) : undefined,
    }),
  }
}

/** A refund in the ledger: the payment's own id, and money that went out. */
export function toRefund(config: Config, line: Transaction): VendorRefund {
  return {
    external_id: `refund:${line.id}`,
    payment_external_id: line.id,
    status: 'succeeded',
    amount: BigInt(line.amount),
    currency: 'XTR',
    is_test: config.is_test,
    created_at: toMoment(line),
  }
}

/** Payments and refunds of a line's own moment: seconds since 1970. */
export function toMoment(line: Transaction): Date {
  return new Date(Number(`${line.date}000`))
}
