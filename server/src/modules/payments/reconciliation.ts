import type { ListPage } from '@kopilka/extension'
import type { Db } from '#kernel/db'
import { InvalidRequest, InvalidState } from '#kernel/errors'
import { callGateway } from './gateways.ts'
import type { PaymentsKit } from './kit.ts'
import { comparePayments, compareRefunds, type Difference } from './reconcile.ts'
import * as queries from './reconciliation-queries.ts'

export type { Difference } from './reconcile.ts'

/** What was compared and what differs. */
export interface Reconciliation {
  gateway: string
  from: Date
  to: Date
  payments_here: number
  payments_at_vendor: number
  refunds_here: number
  refunds_at_vendor: number
  differences: Difference[]
}

const PAGES_MAX = 1000
const RANGE_MAX_MS = 92 * 86_400_000
/**
 * Our record and the vendor's are made a moment apart; what lies on the edge is looked at on both sides of
 * it.
 */
const EDGE_MS = 3_600_000

/**
 * Compares every payment and refund of a time with the vendor's own list, both ways, and says what differs
 * and what could be done. It changes nothing. Throws {@link InvalidRequest} for a range that makes no sense,
 * {@link InvalidState} when the gateway has no list, GatewayNotAvailable, OperationalError.
 */
export async function reconcile(
  db: Db,
  kit: PaymentsKit,
  input: { gateway: string; from: Date; to: Date },
): Promise<Reconciliation> {
  const { from, to } = input
  if (!(from < to) || to.getTime() - from.getTime() > RANGE_MAX_MS) {
    throw new InvalidRequest([{ pointer: '/from', detail: 'must be before `to`, by at most 92 days' }])
  }
  const { gateway, config } = kit.gateways.get(input.gateway)
  const listPayments = gateway.listPayments?.bind(gateway)
  if (!listPayments)
    throw new InvalidState(`The gateway ${gateway.id} has no list of payments to compare with.`)
  const listRefunds = gateway.listRefunds?.bind(gateway)
  const context = kit.gateways.context(gateway.id)
  const theirs = await everyPage((cursor) => listPayments(config, { from, to, ...cursor }, context))
  const their_refunds = listRefunds
    ? await everyPage((cursor) => listRefunds(config, { from, to, ...cursor }, context))
    : []
  const edge = { from: new Date(from.getTime() - EDGE_MS), to: new Date(to.getTime() + EDGE_MS) }
  const wide = await queries.paymentsOf(db, gateway.id, edge.from, edge.to)
  const named = await queries.paymentsByExternalId(
    db,
    gateway.id,
    theirs.map((word) => word.external_id),
  )
  const ours = [...new Map([...wide, ...named].map((own) => [own.id, own])).values()]
  const our_refunds = await queries.refundsOf(db, gateway.id, edge.from, edge.to)
  const isInside = (moment: Date): boolean => moment >= from && moment < to
  const inside = new Set(ours.filter((own) => isInside(own.created_at)).map((own) => own.id))
  const refunds_inside = new Set(our_refunds.filter((own) => isInside(own.created_at)).map((own) => own.id))
  const differences = [
    ...comparePayments(ours, theirs).filter(
      (one) => one.kind !== 'payment_missing_at_vendor' || inside.has(one.id ?? ''),
    ),
    ...(listRefunds ? compareRefunds(our_refunds, their_refunds) : []).filter(
      (one) => one.kind !== 'refund_missing_at_vendor' || refunds_inside.has(one.id ?? ''),
    ),
  ]
  return {
    gateway: gateway.id,
    from,
    to,
    payments_here: inside.size,
    payments_at_vendor: theirs.length,
    refunds_here: refunds_inside.size,
    refunds_at_vendor: their_refunds.length,
    differences,
  }
}

async function everyPage<T>(read: (cursor: { cursor?: string }) => Promise<ListPage<T>>): Promise<T[]> {
  const items: T[] = []
  let cursor: string | undefined
  for (let page = 0; page < PAGES_MAX; page++) {
    const from = cursor === undefined ? {} : { cursor }
    const answer = await callGateway(() => read(from))
    items.push(...answer.items)
    cursor = answer.next_cursor
    if (cursor === undefined) return items
  }
  throw new InvalidState(`The vendor lists more than ${PAGES_MAX} pages; choose a shorter time.`)
}
