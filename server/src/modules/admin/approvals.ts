import type { Actor } from '#http/actor'
import type { RefuseAlone } from '#http/routing'
import type { Clock } from '#kernel/clock'
import type { Db, Sql, Tx } from '#kernel/db'
import { InvalidRequest, InvalidState, MissingScope, NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { type Cursors, type Page, toPage } from '#kernel/page'
import { resolveCustomer } from '#modules/customers'
import { personBehind, writeAudit } from '#modules/identity'
import { adjust, getUnit } from '#modules/ledger'
import { type OrdersKit, refundPayment } from '#modules/orders'
import { getPayment } from '#modules/payments'
import * as queries from './approvals-queries.ts'
import { ApprovalRequired } from './errors.ts'

/** Something one person asked for and another has to agree to. */
export type Approval = queries.ApprovalRow
export type ApprovalLimit = queries.ApprovalLimitRow

const VALID_MS = 7 * 86_400_000
/** How long what one person did alone counts with what he does next. */
const LONE_ACTS_MS = 86_400_000

/** What a decider must be allowed himself: nobody agrees to what he could not do. */
const PERMISSION = { adjustment: 'adjustments:write', refund: 'refunds:write' } as const

/**
 * Refuses acts above their limit that nobody agreed to. What the same person did alone to the same customer
 * within a day counts with it, so that a large act is not done in small parts, whichever keys he uses.
 * Without a limit for this currency or unit nothing is refused. Throws {@link ApprovalRequired}.
 */
export function refuseAloneBy(clock: Clock): RefuseAlone {
  return async (tx, act) => {
    const { kind, measure, actor_id, resource_id } = act
    const limit = await queries.findLimit(tx, { kind, measure })
    if (!limit) return
    const agreed = resource_id === undefined ? undefined : await queries.findAgreed(tx, { kind, resource_id })
    if (agreed) return
    const person_id = (await personBehind(tx, actor_id)) ?? actor_id
    // Payments keep the customer they were made by, also when he was merged into another one.
    const { id: customer_id } = await resolveCustomer(tx, act.customer_id)
    const person = { kind, measure, person_id, customer_id }
    const now = clock.now()
    const amount = sizeOf(act.amount)
    await queries.lockLoneActs(tx, person)
    const lately = await queries.sumLoneActs(tx, person, new Date(now.getTime() - LONE_ACTS_MS))
    if (sizeOf(act.amount_of_all ?? act.amount) > limit.amount || lately + amount > limit.amount) {
      throw new ApprovalRequired(
        `One person may do this to one customer up to ${limit.amount} ${measure} a day; ` +
          'ask for it under /v1/approvals.',
        { kind, measure, limit: limit.amount, lately },
      )
    }
    await queries.insertLoneAct(tx, { ...person, amount, created_at: now })
  }
}

export async function listApprovalLimits(sql: Sql): Promise<ApprovalLimit[]> {
  return queries.listLimits(sql)
}

/** Sets what one person may do alone, in a currency or unit; null takes the limit away. */
export async function setApprovalLimit(
  tx: Tx,
  clock: Clock,
  input: { kind: Approval['kind']; measure: string; amount: bigint | null; actor_id: string },
): Promise<void> {
  const { kind, measure, amount, actor_id } = input
  if (amount === null) return queries.deleteLimit(tx, { kind, measure })
  await queries.upsertLimit(tx, { kind, measure, amount, updated_by: actor_id, updated_at: clock.now() })
}

/** Asks for a refund of an amount. Throws NotFound. */
export async function requestRefund(
  tx: Tx,
  clock: Clock,
  actor: Actor,
  input: { payment_id: string; amount: bigint; reason: string },
): Promise<Approval> {
  const { payment_id, amount, reason } = input
  const payment = await getPayment(tx, payment_id)
  const resource_id = newId('re', clock.now_ms())
  const asked = { measure: payment.currency, amount, reason, input: { payment_id } }
  return request(tx, clock, actor, { kind: 'refund', resource_id, ...asked })
}

/** Asks for a correction of a balance. Throws NotFound, InvalidRequest for nothing or an unknown unit. */
export async function requestAdjustment(
  tx: Tx,
  clock: Clock,
  actor: Actor,
  input: { customer_id: string; unit: string; amount: bigint; reason: string },
): Promise<Approval> {
  if (input.amount === 0n) throw new InvalidRequest([{ pointer: '/amount', detail: 'must not be zero' }])
  const { id: customer_id } = await resolveCustomer(tx, input.customer_id)
  const { code: unit } = await getUnit(tx, input.unit)
  const { amount, reason } = input
  const resource_id = newId('appr', clock.now_ms())
  const asked = { measure: unit, amount, reason, input: { customer_id } }
  return request(tx, clock, actor, { kind: 'adjustment', resource_id, ...asked })
}

/** Throws {@link NotFound}. */
export async function getApproval(sql: Sql, id: string): Promise<Approval> {
  const found = await queries.findApproval(sql, id)
  if (!found) throw unknownApproval(id)
  return found
}

/** Newest first. Throws InvalidRequest for a foreign cursor. */
export async function listApprovals(
  sql: Sql,
  cursors: Cursors,
  filter: { status?: Approval['status'] | undefined },
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<Approval>> {
  const [before] = page.cursor === undefined ? [] : cursors.open('approvals', page.cursor)
  const rows = await queries.listApprovals(sql, filter, {
    limit: page.limit,
    before: before === undefined ? undefined : String(before),
  })
  return toPage(
    rows,
    page.limit,
    cursors,
    'approvals',
    (row) => [row.id],
    (row) => row,
  )
}

/**
 * Agrees to what somebody else asked for and does it. Called again it goes on where it stopped, so that it is
 * done once however often it is called. Throws {@link NotFound}; {@link MissingScope} for one's own request
 * (a key's is its maker's) and for what the decider may not do himself; {@link InvalidState} when it was
 * decided or is too old; and what the act itself throws: it can be agreed to again then.
 */
export async function approve(
  db: Db,
  kit: { clock: Clock; orders: OrdersKit },
  actor: Actor,
  input: { id: string; note?: string | undefined },
): Promise<Approval> {
  const approval = await db.transact(async (tx) => {
    const found = await lockForDecision(tx, kit.clock, actor, input.id, 'approved')
    if (found.status === 'pending') await decide(tx, kit.clock, actor, found, 'approved', input.note)
    if (found.kind === 'adjustment' && found.done_at === null) await adjustAgreed(tx, kit.clock, found)
    return found
  })
  if (approval.kind === 'refund' && approval.done_at === null) {
    const { payment_id } = approval.input as { payment_id: string }
    const { resource_id: refund_id, amount, reason, requested_by } = approval
    const refuseAlone = refuseAloneBy(kit.clock)
    await refundPayment(db, kit.orders, { refund_id, payment_id, amount, reason, requested_by, refuseAlone })
    await db.transact((tx) => queries.markDone(tx, approval.id, kit.clock.now()))
  }
  return getApproval(db, approval.id)
}

/**
 * Refuses what somebody else asked for; the requester may take it back himself. Throws as {@link approve}.
 */
export async function reject(
  tx: Tx,
  clock: Clock,
  actor: Actor,
  input: { id: string; note?: string | undefined },
): Promise<Approval> {
  const found = await lockForDecision(tx, clock, actor, input.id, 'rejected')
  if (found.status === 'pending') await decide(tx, clock, actor, found, 'rejected', input.note)
  return getApproval(tx, found.id)
}

/** Ends requests nobody decided within a week, and forgets what one did alone a day ago. */
export async function expireApprovals(tx: Tx, clock: Clock): Promise<number> {
  await queries.deleteLoneActs(tx, new Date(clock.now_ms() - LONE_ACTS_MS))
  return queries.expireApprovals(tx, clock.now())
}

async function request(
  tx: Tx,
  clock: Clock,
  actor: Actor,
  asked: Pick<Approval, 'kind' | 'resource_id' | 'measure' | 'amount' | 'reason'> & { input: object },
): Promise<Approval> {
  const now = clock.now()
  return queries.insertApproval(tx, {
    ...asked,
    id: newId('appr', now.getTime()),
    input: JSON.stringify(asked.input),
    requested_by: actor.id,
    requested_by_user: await personBehind(tx, actor.id),
    requested_at: now,
    expires_at: new Date(now.getTime() + VALID_MS),
  })
}

async function lockForDecision(
  tx: Tx,
  clock: Clock,
  actor: Actor,
  id: string,
  decision: 'approved' | 'rejected',
): Promise<Approval> {
  const found = await queries.lockApproval(tx, id)
  if (!found) throw unknownApproval(id)
  if (actor.kind !== 'user' || !actor.permissions.has(PERMISSION[found.kind])) {
    throw new MissingScope('Nobody agrees to what he may not do himself.', {
      permission: PERMISSION[found.kind],
    })
  }
  if (actor.id === found.requested_by || actor.id === found.requested_by_user) {
    throw new MissingScope('Somebody else has to decide about one’s own request.')
  }
  if (found.status === 'pending' && found.expires_at <= clock.now())
    throw new InvalidState('It is too old now.')
  // A repeat of the same decision by the same person finishes what was begun.
  const is_repeat = found.status === decision && found.decided_by === actor.id
  if (found.status !== 'pending' && !is_repeat) {
    throw new InvalidState(`It is ${found.status} already.`, { status_now: found.status })
  }
  return found
}

async function decide(
  tx: Tx,
  clock: Clock,
  actor: Actor,
  approval: Approval,
  status: 'approved' | 'rejected',
  note: string | undefined,
): Promise<void> {
  const { id } = approval
  const decided_at = clock.now()
  await queries.decideApproval(tx, {
    id,
    status,
    decided_by: actor.id,
    decided_at,
    decision_note: note ?? null,
  })
  await writeAudit(tx, clock, {
    actor,
    action: `approval.${status}`,
    subject_id: id,
    after: { kind: approval.kind, amount: approval.amount, measure: approval.measure },
    reason: note,
  })
}

async function adjustAgreed(tx: Tx, clock: Clock, approval: Approval): Promise<void> {
  const { customer_id } = approval.input as { customer_id: string }
  const { amount, measure: unit, reason, requested_by: actor_id, id } = approval
  await adjust(tx, clock, {
    customer_id,
    unit,
    amount,
    reason,
    actor_id,
    reference: id,
    idempotency_key: `approval:${id}`,
  })
  await queries.markDone(tx, id, clock.now())
}

function sizeOf(amount: bigint): bigint {
  return amount < 0n ? -amount : amount
}

function unknownApproval(id: string): NotFound {
  return new NotFound(`There is no approval ${id.slice(0, 40)}.`)
}
