import {
  GatewayMisconfigured,
  GatewayUnavailable,
  watchCalls,
  type PaymentReference,
  type RefundReference,
} from '@kopilka/extension'
import type { Db, Tx } from '#kernel/db'
import { InvalidState } from '#kernel/errors'
import type { ReadyGateway } from './gateways.ts'
import type { PaymentsKit } from './kit.ts'
import { lockPayment, type PaymentRow } from './payment-queries.ts'
import { getPayment, referenceOf } from './payments.ts'
import { carriedReceipt } from './receipt-share.ts'
import * as queries from './refund-queries.ts'
import type { RefundRow } from './refund-queries.ts'
import { settleRefund } from './refund-words.ts'
import { ASKING_MS, getRefund } from './refunds.ts'
import { nextRefundCheck, PERSON_LOOKS_MS } from './schedule.ts'

/** Longer than all calls of one request together (35 s each): before this nobody else asks. */
const LEASE_MS = 120_000
/** What a vendor was still at when the line broke shows among its refunds by then. */
const APPEARS_MS = 60_000

/** Why a refund stays `unknown` until a person has looked in the vendor's cabinet. */
const NOT_ANSWERED = 'not_answered'
/** Why a refund stays as it is though its vendor had confirmed it. */
const UNKNOWN_TO_VENDOR = 'unknown_to_vendor'
/** Reasons of refunds that only a person can end. */
export const WAITS_FOR_PERSON: readonly string[] = [NOT_ANSWERED, UNKNOWN_TO_VENDOR]

/** A refund at its vendor. */
interface Errand {
  refund: RefundRow
  payment: PaymentRow
  ready: ReadyGateway
}

/**
 * Asks the vendor to give the money back, under the refund's own id, and records the answer. Repeating it is
 * safe, whoever repeats it and whatever became of the process that asked before: one asks at a time, and what
 * may have been asked for is looked for first. Where the vendor takes a second request for another refund and
 * cannot be asked about the first, it is asked once, ever. An outcome that is not known is kept as `unknown`:
 * it is not an error to the caller, for the refund stands. Throws NotFound, {@link InvalidState}.
 */
export async function carryOutRefund(db: Db, kit: PaymentsKit, refund_id: string): Promise<RefundRow> {
  const refund = await getRefund(db, refund_id)
  if (isEnded(refund)) return refund
  const payment = await getPayment(db, refund.payment_id)
  const ready = kit.gateways.get(payment.gateway)
  if (!ready.gateway.refund) throw new InvalidState(`The gateway ${ready.gateway.id} cannot refund.`)
  const errand = { refund, payment, ready }
  if (await mayAsk(db, kit, errand)) await ask(db, kit, errand)
  return getRefund(db, refund_id)
}

/**
 * Brings a refund whose time has come on: asks, looks, or looks again at one that ended when the vendor has
 * said since that it ended otherwise.
 */
export async function checkRefund(db: Db, kit: PaymentsKit, refund: RefundRow): Promise<void> {
  if (!isEnded(refund)) {
    const payment = await getPayment(db, refund.payment_id)
    if (kit.gateways.find(payment.gateway)) await carryOutRefund(db, kit, refund.id)
    return
  }
  const payment = await getPayment(db, refund.payment_id)
  const ready = kit.gateways.find(payment.gateway)
  if (ready && (await look(db, kit, { refund, payment, ready })) === 'unclear') return
  await db.transact((tx) =>
    queries.updateRefund(
      tx,
      refund.id,
      { next_check_at: null, updated_at: kit.clock.now() },
      refund.revision,
    ),
  )
}

/** Whether the vendor may be asked for it now; what it holds of it already is recorded. */
async function mayAsk(db: Db, kit: PaymentsKit, errand: Errand): Promise<boolean> {
  const { refund } = errand
  const { getRefund: read, refund_repeats = 'same' } = errand.ready.gateway
  const is_known = refund.external_id !== null
  if (refund.status === 'pending' && !is_known) return true
  // A repeat is then the way to ask what became of it.
  if (!read && refund_repeats === 'same') return true
  if (!read || (!is_known && refund_repeats === 'never')) {
    await db.transact((tx) => leaveToPerson(tx, kit, refund.id, NOT_ANSWERED))
    return false
  }
  const found = await look(db, kit, errand)
  if (found !== 'none' || !is_known) return found === 'none'
  // It was confirmed once: asked for again it would be another one.
  await db.transact((tx) => leaveToPerson(tx, kit, refund.id, UNKNOWN_TO_VENDOR))
  return false
}

/** Records what the vendor tells of a refund now. */
async function look(
  db: Db,
  kit: PaymentsKit,
  { refund, payment, ready }: Errand,
): Promise<'told' | 'none' | 'unclear'> {
  const { gateway, config } = ready
  const read = gateway.getRefund?.bind(gateway)
  if (!read) return 'none'
  const reference: RefundReference = {
    refund_id: refund.id,
    ...(refund.external_id === null ? {} : { external_id: refund.external_id }),
    payment: refundedReference(payment),
    amount: refund.amount,
    currency: refund.currency,
  }
  let word
  try {
    word = await read(config, reference, kit.gateways.context(gateway.id))
  } catch (error) {
    // The janitor looks again soon; nothing is asked for meanwhile.
    if (error instanceof GatewayUnavailable) return 'unclear'
    throw error
  }
  if (!word) return 'none'
  await db.transact((tx) => settleRefund(tx, kit, refund.id, word, refund))
  return 'told'
}

async function ask(db: Db, kit: PaymentsKit, { refund, payment, ready }: Errand): Promise<void> {
  const { gateway, config } = ready
  const claim = await db.transact((tx) => claimAsk(tx, kit, refund))
  const refundAt = gateway.refund?.bind(gateway)
  if (!claim || !refundAt) return
  const receipt = carriedReceipt(refund.receipt)
  const { result, calls } = await watchCalls(() =>
    refundAt(
      config,
      {
        refund_id: refund.id,
        payment: refundedReference(payment),
        amount: refund.amount,
        currency: refund.currency,
        reason: refund.reason,
        is_full: refund.is_full,
        ...(receipt === undefined ? {} : { receipt }),
        ...(payment.telegram_id === null ? {} : { telegram_id: String(payment.telegram_id) }),
        ...(payment.subscription_period_seconds === null ? {} : { is_subscription: true }),
      },
      kit.gateways.context(gateway.id),
    ),
  )
  if (result.status === 'fulfilled') {
    await db.transact((tx) => settleRefund(tx, kit, refund.id, result.value))
    return
  }
  const error: unknown = result.reason
  const is_unreached = error instanceof GatewayUnavailable && !error.was_sent && !calls.has_reached
  const is_nothing_made =
    is_unreached ||
    error instanceof GatewayMisconfigured ||
    (error instanceof GatewayUnavailable && error.is_nothing_made)
  const outcome = is_nothing_made && claim.is_first ? ('pending' as const) : ('unknown' as const)
  const may_appear = !is_nothing_made && gateway.refund_repeats === 'looked_for'
  await db.transact((tx) => endAsk(tx, kit, { refund, claim, outcome, may_appear }))
  if (!(error instanceof GatewayUnavailable)) throw error
  if (outcome === 'unknown' && gateway.refund_repeats === 'never')
    await db.transact((tx) => leaveToPerson(tx, kit, refund.id, NOT_ANSWERED))
}

interface Claim {
  revision: number
  /** The vendor was certainly not asked for it before. */
  is_first: boolean
}

/**
 * Writes down that the vendor is asked from here on, before it is. Undefined when somebody else is at it, or
 * anything befell the refund since it was looked at.
 */
async function claimAsk(tx: Tx, kit: PaymentsKit, seen: RefundRow): Promise<Claim | undefined> {
  await lockPayment(tx, seen.payment_id)
  const refund = await getRefund(tx, seen.id)
  const now = kit.clock.now()
  const is_taken = refund.asking_until !== null && refund.asking_until > now
  if (isEnded(refund) || is_taken || refund.revision !== seen.revision) return undefined
  const is_first = refund.status === 'pending' && refund.external_id === null
  const revision = await queries.updateRefund(tx, refund.id, {
    status: refund.external_id === null ? 'unknown' : refund.status,
    asking_until: new Date(now.getTime() + LEASE_MS),
    next_check_at: new Date(now.getTime() + ASKING_MS),
    updated_at: now,
  })
  return revision === undefined ? undefined : { revision, is_first }
}

/** The request is over, without an answer that ends the refund. Who came after it has the say. */
async function endAsk(
  tx: Tx,
  kit: PaymentsKit,
  end: { refund: RefundRow; claim: Claim; outcome: 'pending' | 'unknown'; may_appear: boolean },
): Promise<void> {
  const { refund, claim, outcome, may_appear } = end
  const now = kit.clock.now()
  const change = {
    status: refund.external_id === null ? outcome : refund.status,
    asking_until: may_appear ? new Date(now.getTime() + APPEARS_MS) : null,
    next_check_at: nextRefundCheck('unknown', refund.created_at, now),
    updated_at: now,
  }
  await queries.updateRefund(tx, refund.id, change, claim.revision)
}

/** Says once that a person has to look; the refund goes on counting as given back. */
async function leaveToPerson(
  tx: Tx,
  kit: PaymentsKit,
  refund_id: string,
  failure_reason: string,
): Promise<void> {
  const { payment_id } = await getRefund(tx, refund_id)
  await lockPayment(tx, payment_id)
  const refund = await getRefund(tx, refund_id)
  const now = kit.clock.now()
  if (isEnded(refund) || (refund.asking_until !== null && refund.asking_until > now)) return
  const next_check_at = new Date(now.getTime() + PERSON_LOOKS_MS)
  await queries.updateRefund(tx, refund_id, { failure_reason, next_check_at, updated_at: now })
  if (refund.failure_reason === failure_reason) return
  kit.notice('what became of a refund only a person can find out, in the vendor’s cabinet', {
    refund_id,
    payment_id,
    reason: failure_reason,
  })
}

function isEnded({ status }: RefundRow): boolean {
  return status === 'succeeded' || status === 'failed'
}

/** Of a mismatch the money that was taken counts, not what was asked. */
function refundedReference(payment: PaymentRow): PaymentReference {
  const reference = referenceOf(payment)
  return payment.status === 'mismatch' ? { ...reference, amount: payment.captured_amount } : reference
}
