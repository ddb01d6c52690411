import { GatewayMisconfigured, present, readAnswer, readMoment } from '@kopilka/extension'
import type { ListPage, VendorDispute } from '@kopilka/extension'
import { z } from 'zod'
import { callApi, readObject } from './api.ts'
import type { Shop } from './api.ts'
import { isSandbox } from './config.ts'
import type { Config } from './config.ts'
import { Amount } from './money.ts'

const Id = z.string().regex(/^[0-9A-Za-z_-]{1,64}$/)
const DISPUTES = '/v1/customer/disputes'
/** The vendor looks back 180 days; a margin is left for clocks that differ. */
const LOOK_BACK_MS = 179 * 86_400_000
const PAGE_SIZE = 50

const DisputeObject = z.object({
  status: z.string(),
  reason: z.string().max(200).optional(),
  dispute_amount: Amount,
  dispute_outcome: z.object({ outcome_code: z.string().optional() }).optional(),
  disputed_transactions: z.array(z.object({ seller_transaction_id: Id })).min(1),
})
/** The list tells neither what is contested nor how it ended: each is read by itself. */
const DisputeList = z.object({
  items: z.array(z.object({ dispute_id: z.string().max(255), create_time: z.string() })).optional(),
  links: z.array(z.object({ rel: z.string(), href: z.string() })).optional(),
})

/** Ends of a dispute in the vendor's words; any other leaves it open. */
const LOST = ['RESOLVED_BUYER_FAVOUR', 'ACCEPTED']
const WON = ['RESOLVED_SELLER_FAVOUR', 'RESOLVED_WITH_PAYOUT', 'CANCELED_BY_BUYER', 'DENIED']

/** A dispute in our words, and whether it was closed undecided: another one takes its place. */
export function disputeOf(
  config: Config,
  object: unknown,
): { dispute: VendorDispute; is_undecided: boolean } | undefined {
  const { data } = DisputeObject.safeParse(object)
  const capture_id = data?.disputed_transactions[0]?.seller_transaction_id
  if (!data || capture_id === undefined) return undefined
  const { status, reason = 'dispute', dispute_amount, dispute_outcome } = data
  const is_closed = status === 'RESOLVED'
  const outcome = is_closed ? (dispute_outcome?.outcome_code ?? '') : ''
  const end = LOST.includes(outcome) ? 'lost' : WON.includes(outcome) ? 'won' : 'open'
  const facts = { ...dispute_amount, status: end, reason: reason.toLowerCase() } as const
  return { dispute: contest(config, capture_id, facts), is_undecided: is_closed && end === 'open' }
}

/** Whatever contests a captured payment is one contest here, named by the payment. */
export function contest(
  config: Config,
  capture_id: string,
  facts: Pick<VendorDispute, 'status' | 'reason' | 'amount' | 'currency'>,
): VendorDispute {
  return {
    external_id: `contest:${capture_id}`,
    payment_external_id: capture_id,
    ...facts,
    is_test: isSandbox(config),
  }
}

/**
 * Disputes opened in a time, as they stand. None where the vendor keeps them from the owner's app: reading
 * them is a permission of its own, and its notifications tell of them all the same.
 */
export async function listDisputes(
  shop: Shop,
  range: { from: Date; to: Date; cursor?: string },
): Promise<ListPage<VendorDispute>> {
  // What was opened in the time was changed no earlier.
  const after_ms = Math.max(range.from.getTime(), shop.context.now.getTime() - LOOK_BACK_MS)
  const query = new URLSearchParams({
    page_size: String(PAGE_SIZE),
    update_time_after: new Date(after_ms).toISOString(),
    ...present({ next_page_token: range.cursor }),
  })
  const reply = await callApi(shop, { method: 'GET', path: `${DISPUTES}?${query}`, may_be_denied: true })
  if (reply.refusal !== undefined) {
    if (reply.is_denied) return { items: [] }
    throw new GatewayMisconfigured(reply.refusal)
  }
  const { items: listed = [], links = [] } = readAnswer(DisputeList, reply.body)
  const items: VendorDispute[] = []
  for (const { dispute_id, create_time } of listed) {
    const opened_at = readMoment(create_time)
    if (opened_at === undefined || opened_at < range.from || opened_at >= range.to) continue
    const found = disputeOf(
      shop.config,
      await readObject(shop, z.unknown(), { path: DISPUTES, id: dispute_id }),
    )
    if (found && !found.is_undecided) items.push(found.dispute)
  }
  const next = links.find(({ rel }) => rel === 'next')?.href
  const next_cursor = next === undefined ? undefined : tokenIn(next)
  return { items, ...present({ next_cursor }) }
}

function tokenIn(address: string): string | undefined {
  return URL.canParse(address)
    ? (new URL(address).searchParams.get('next_page_token') ?? undefined)
    : undefined
}
