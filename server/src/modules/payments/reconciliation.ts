import { present, type ListPage, type VendorPayment, type VendorRefund } from '@kopilka/extension'
import type { Db } from '#kernel/db'
import { InvalidRequest, InvalidState } from '#kernel/errors'
import { SANDBOX_GATEWAY } from './gateway-choice.ts'
import { callGateway, type ReadyGateway } from './gateways.ts'
import type { PaymentsKit } from './kit.ts'
import { getPayment, referenceOf } from './payments.ts'
import {
  compareDisputes,
  comparePayments,
  compareRefunds,
  isToldByNobody,
  refundsToLookUp,
  type Difference,
} from './reconcile.ts'
import * as queries from './reconciliation-queries.ts'
import { getRefund } from './refunds.ts'

export type { Difference } from './reconcile.ts'

/** What was compared and what differs. */
export interface Reconciliation {
  gateway: string
  from: Date
  to: Date
  /** `one_by_one`: the vendor has no list; what is there and not here was not looked for. */
  method: 'list' | 'one_by_one'
  payments_here: number
  payments_at_vendor: number
  refunds_here: number
  refunds_at_vendor: number
  differences: Difference[]
}

const PAGES_MAX = 1000
const DAY_MS = 86_400_000
const RANGE_MAX_MS = 92 * DAY_MS
/** Banks decide within months. */
const DISPUTES_MAX_MS = 180 * DAY_MS
/**
 * Our record and the vendor's are made a moment apart; what lies on the edge is looked at on both sides of
 * it.
 */
const EDGE_MS = 3_600_000

/**
 * Compares payments, refunds and disputes of a time with the vendor's own lists, both ways, and says what
 * differs and what could be done. Where the vendor has no list, each of ours is asked about: what only it
 * knows is not seen then. It changes nothing. Throws {@link InvalidRequest} for a range that makes no sense,
 * {@link InvalidState} for the sandbox, which keeps no books, GatewayNotAvailable, OperationalError.
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
  const ready = kit.gateways.get(input.gateway)
  const { id } = ready.gateway
  if (id === SANDBOX_GATEWAY)
    throw new InvalidState(`The gateway ${id} moves no money and has no list to compare with.`)
  const edge = { from: new Date(from.getTime() - EDGE_MS), to: new Date(to.getTime() + EDGE_MS) }
  const wide = await queries.paymentsOf(db, id, edge.from, edge.to)
  const our_refunds = await queries.refundsOf(db, id, edge.from, edge.to)
  const books: Books = { db, kit, ready, range: { from, to } }
  const listed = await listedPayments(books)
  const theirs = listed ?? (await askedPayments(books, wide.filter(isInside)))
  const their_refunds =
    (await listedRefunds(books)) ?? (await askedRefunds(books, our_refunds.filter(isInside)))
  const named = await queries.paymentsByExternalId(
    db,
    id,
    theirs.map((word) => word.external_id),
  )
  const ours = [...new Map([...wide, ...named].map((own) => [own.id, own])).values()]
  const inside = new Set(ours.filter(isInside).map((own) => own.id))
  const refunds_inside = new Set(our_refunds.filter(isInside).map((own) => own.id))
  const differences = [
    ...comparePayments(ours, theirs, { has_other_ids: ready.gateway.lists_other_ids === true }).filter(
      (one) => one.kind !== 'payment_missing_at_vendor' || inside.has(one.id ?? ''),
    ),
    ...(their_refunds ? compareRefunds(our_refunds, their_refunds) : []).filter(
      (one) => one.kind !== 'refund_missing_at_vendor' || refunds_inside.has(one.id ?? ''),
    ),
    ...refundsToLookUp(our_refunds.filter((own) => isInside(own) && !canBeAsked(books, own))),
    ...(await disputeDifferences(books)),
  ]
  return {
    gateway: id,
    from,
    to,
    method: listed ? 'list' : 'one_by_one',
    payments_here: inside.size,
    payments_at_vendor: theirs.length,
    refunds_here: refunds_inside.size,
    refunds_at_vendor: their_refunds?.length ?? 0,
    differences,
  }

  function isInside({ created_at }: { created_at: Date }): boolean {
    return created_at >= from && created_at < to
  }
}

/** What a comparison reads from. */
interface Books {
  db: Db
  kit: PaymentsKit
  ready: ReadyGateway
  range: { from: Date; to: Date }
}

async function listedPayments({ kit, ready, range }: Books): Promise<VendorPayment[] | undefined> {
  const { gateway, config } = ready
  const list = gateway.listPayments?.bind(gateway)
  const context = kit.gateways.context(gateway.id)
  return list && everyPage((cursor) => list(config, { ...range, ...cursor }, context))
}

async function listedRefunds({ kit, ready, range }: Books): Promise<VendorRefund[] | undefined> {
  const { gateway, config } = ready
  const list = gateway.listRefunds?.bind(gateway)
  const context = kit.gateways.context(gateway.id)
  return list && everyPage((cursor) => list(config, { ...range, ...cursor }, context))
}

/** Of the time, and of older disputes whose end nobody told of. */
async function disputeDifferences({ db, kit, ready, range }: Books): Promise<Difference[]> {
  const { gateway, config } = ready
  const list = gateway.listDisputes?.bind(gateway)
  if (!list) return []
  const oldest = await queries.oldestOpenDispute(db, gateway.id)
  // It was opened there before it was told here.
  const opened_ms = oldest === undefined ? range.from.getTime() : oldest.getTime() - DAY_MS
  const earliest_ms = range.to.getTime() - DISPUTES_MAX_MS
  const from = new Date(Math.min(range.from.getTime(), Math.max(opened_ms, earliest_ms)))
  const context = kit.gateways.context(gateway.id)
  const theirs = await everyPage((cursor) => list(config, { from, to: range.to, ...cursor }, context))
  const named = theirs.map(({ external_id }) => external_id)
  return compareDisputes(await queries.disputesByExternalId(db, gateway.id, named), theirs)
}

/** The vendor's word on each of our payments it may know. */
async function askedPayments(
  { db, kit, ready, range }: Books,
  ours: readonly { id: string }[],
): Promise<VendorPayment[]> {
  checkNumber(ours.length, range)
  const { gateway, config } = ready
  const words = await inParts(ours, async ({ id }) => {
    const payment = await getPayment(db, id)
    if (payment.external_id === null && payment.checkout_url === null) return undefined
    const context = kit.gateways.context(gateway.id)
    const word = await callGateway(() => gateway.getPayment(config, referenceOf(payment), context))
    // What was asked about by our id is ours, whatever else the answer names.
    return word && { ...word, payment_id: id }
  })
  return words.filter((word) => word !== undefined)
}

/** Whether a vendor tells of this refund at all: some find one by their own id only, and have no list. */
function canBeAsked({ ready }: Books, { external_id }: { external_id: string | null }): boolean {
  const { listRefunds, refund_repeats } = ready.gateway
  return external_id !== null || listRefunds !== undefined || refund_repeats !== 'never'
}

/** As {@link askedPayments}, for refunds; undefined when the vendor cannot be asked. */
async function askedRefunds(
  books: Books,
  ours: readonly { id: string; external_id: string | null }[],
): Promise<VendorRefund[] | undefined> {
  const { db, kit, ready, range } = books
  const { gateway, config } = ready
  const read = gateway.getRefund?.bind(gateway)
  if (!read) return undefined
  checkNumber(ours.length, range)
  const asked = ours.filter((own) => !isToldByNobody(own.external_id) && canBeAsked(books, own))
  const words = await inParts(asked, async ({ id, external_id }) => {
    const refund = await getRefund(db, id)
    const payment = referenceOf(await getPayment(db, refund.payment_id))
    const { amount, currency } = refund
    const reference = {
      refund_id: id,
      payment,
      amount,
      currency,
      ...present({ external_id: external_id ?? undefined }),
    }
    const word = await callGateway(() => read(config, reference, kit.gateways.context(gateway.id)))
    return word && { ...word, refund_id: id }
  })
  return words.filter((word) => word !== undefined)
}

const ASKED_MAX = 5000
const AT_ONCE = 4

function checkNumber(count: number, { from, to }: { from: Date; to: Date }): void {
  if (count <= ASKED_MAX) return
  const range = `${from.toISOString()} to ${to.toISOString()}`
  throw new InvalidState(`There are more than ${ASKED_MAX} to ask about (${range}); choose a shorter time.`)
}

async function inParts<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const done: R[] = []
  for (let at = 0; at < items.length; at += AT_ONCE)
    done.push(...(await Promise.all(items.slice(at, at + AT_ONCE).map(work))))
  return done
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
