import { VendorError } from './objects.ts'
import type { Dispute, World } from './objects.ts'

const PAGE_SIZE = 10

/**
 * Newest first, in a summary that names no transaction and no outcome. The next page is an address, as the
 * vendor gives it. Throws {@link VendorError} 403 for an app without the permission.
 */
export function listDisputes(world: World, query: Readonly<Record<string, string>>): object {
  if (!world.kit.settings().are_disputes_readable) throw new VendorError(403, 'NOT_AUTHORIZED')
  const { update_time_after, update_time_before, disputed_transaction_id, next_page_token } = query
  const [after_ms, before_ms] = [Date.parse(update_time_after ?? ''), Date.parse(update_time_before ?? '')]
  const matching = [...world.disputes.values()]
    .toReversed()
    .filter(
      ({ update_time, disputed_transactions: [contested] }) =>
        !(Date.parse(update_time) < after_ms) &&
        !(Date.parse(update_time) > before_ms) &&
        [undefined, contested?.seller_transaction_id].includes(disputed_transaction_id),
    )
  const size = Number(query['page_size'] ?? PAGE_SIZE)
  const start = next_page_token === undefined ? 0 : Number(next_page_token)
  const address = (token: number): string => {
    const search = new URLSearchParams({ ...query, next_page_token: String(token) })
    return `${world.kit.base_url()}/v1/customer/disputes?${search.toString()}`
  }
  const items = matching.slice(start, start + size).map((made) => summaryOf(world, made))
  const links = [{ href: address(start), rel: 'self', method: 'GET' }]
  if (matching.length > start + size) links.push({ href: address(start + size), rel: 'next', method: 'GET' })
  return items.length === 0 ? { links } : { items, links }
}

function summaryOf(world: World, made: Dispute): object {
  const { disputed_transactions: _contested, dispute_outcome: _outcome, ...summary } = made
  const href = `${world.kit.base_url()}/v1/customer/disputes/${made.dispute_id}`
  return { ...structuredClone(summary), links: [{ href, rel: 'self', method: 'GET' }] }
}
