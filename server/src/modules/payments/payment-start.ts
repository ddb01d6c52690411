import { GatewayMisconfigured, GatewayUnavailable, watchCalls, type CreatedPayment } from '@kopilka/extension'
import type { Db, Tx } from '#kernel/db'
import { assert, OperationalError } from '#kernel/errors'
import { PaymentRefused } from './errors.ts'
import { asGatewayError } from './gateways.ts'
import type { PaymentsKit } from './kit.ts'
import * as queries from './payment-queries.ts'
import type { PaymentRow } from './payment-queries.ts'
import { isFinal } from './payment-status.ts'
import { recordPaymentWords } from './payment-words.ts'
import { failPayment, getLockedPayment, getPayment } from './payments.ts'
import { carriedReceipt } from './receipt-share.ts'
import { isMethodKept } from './saved-methods.ts'
import { findMethod } from './saved-method-queries.ts'
import { nextPaymentCheck } from './schedule.ts'
import { getVendorSubscription } from './vendor-subscription-status.ts'

/** Longer than all calls of one charge together (35 s each): before this nobody else asks. */
const CHARGE_LEASE_MS = 180_000
/** What a vendor was still at when the line broke shows among its charges by then. */
const CHARGE_APPEARS_MS = 60_000

interface StartOptions {
  /**
   * Another gateway can collect instead: a payment that was certainly not made at the vendor is ended as
   * `failed`, and the next may begin. One whose outcome is unknown never is.
   */
  gives_up?: boolean
  /** The vendor is known not to answer: it is not asked. */
  is_down?: boolean
}

/**
 * Asks the vendor to create a payment whose intent is written, and records the answer. Called again for the
 * same payment it repeats the same request under the same key, so there is one payment at the vendor.
 * Answers a payment that is `failed` when the vendor refused. Throws OperationalError `gateway_unavailable`
 * when it is not known what came of it (the payment is then `unknown` and the janitor resolves it; with the
 * fact `is_nothing_made` when it is certain that nothing was made), {@link NotFound}.
 */
export async function startPayment(
  db: Db,
  kit: PaymentsKit,
  payment_id: string,
  { gives_up = false, is_down = false }: StartOptions = {},
): Promise<PaymentRow> {
  const payment = await getPayment(db, payment_id)
  if (payment.checkout_url !== null || isFinal(payment.status)) return payment
  if (is_down) return skipVendor(db, kit, payment, gives_up)
  // From here on it is not known whether the vendor was asked, should this process die.
  if (!(await db.transact((tx) => claimAsk(tx, kit, payment_id)))) return getPayment(db, payment_id)
  const created = await askVendor(db, kit, payment, gives_up)
  if (created === undefined) return getPayment(db, payment_id)
  return db.transact(async (tx) => {
    const locked = await getLockedPayment(tx, payment_id)
    const now = kit.clock.now()
    if (created.status === 'failed' || created.status === 'canceled') {
      const reason = created.failure_reason ?? created.status
      if (!isFinal(locked.status)) await failPayment(tx, kit, locked, created.status, reason)
      return getPayment(tx, payment_id)
    }
    if (locked.status === 'unknown') {
      const next_check_at = nextPaymentCheck('pending', locked.created_at, now)
      await queries.setStatus(tx, payment_id, { status: 'pending', next_check_at, updated_at: now })
    }
    await queries.setCreated(tx, payment_id, {
      external_id: created.external_id ?? null,
      checkout_url: created.checkout_url ?? null,
      next_check_at: nextPaymentCheck('pending', locked.created_at, now) ?? now,
      updated_at: now,
    })
    if (created.payment)
      await recordPaymentWords(tx, kit, [{ gateway: payment.gateway, word: created.payment }])
    return getPayment(tx, payment_id)
  })
}

/**
 * As {@link startPayment}, but a refusal is thrown as {@link PaymentRefused}: for callers that need the page.
 */
export async function startCheckout(
  db: Db,
  kit: PaymentsKit,
  payment_id: string,
  options: StartOptions = {},
): Promise<PaymentRow> {
  return refuseFailed(await startPayment(db, kit, payment_id, options))
}

/** Throws {@link PaymentRefused} for a payment that ended without money. */
export function refuseFailed(payment: PaymentRow): PaymentRow {
  if (payment.status === 'failed' || payment.status === 'canceled') {
    throw new PaymentRefused(`The gateway refused: ${payment.failure_reason ?? payment.status}.`, {
      payment_id: payment.id,
      reason: payment.failure_reason,
    })
  }
  return payment
}

/**
 * Counts one question more that may make something at the vendor. A kept method is looked at under its lock:
 * a charge is agreed on before the method was removed, or never. Answers false when there is nothing to ask.
 */
async function claimAsk(tx: Tx, kit: PaymentsKit, payment_id: string): Promise<boolean> {
  const payment = await getLockedPayment(tx, payment_id)
  if (payment.checkout_url !== null || isFinal(payment.status)) return false
  if (payment.saved_method_id !== null && !(await isMethodKept(tx, payment.saved_method_id))) {
    if (!isUntouched(payment)) {
      const detail = 'The method was removed meanwhile; what became of its charge is being found out.'
      throw new OperationalError('gateway_unavailable', detail, { retry_after_seconds: 25 })
    }
    await failPayment(tx, kit, payment, 'failed', 'payment_method_removed')
    return false
  }
  if (payment.vendor_subscription_id !== null) {
    // The vendor knows of it: what became of it is told, and asking again could charge again.
    if (payment.external_id !== null) return false
    await claimCharge(tx, kit, payment)
  }
  await queries.addAsk(tx, payment_id, 1)
  return true
}

/**
 * Charges of a subscription are asked for by one at a time, and again only when what the last one made would
 * show at the vendor: it takes a second request for another charge.
 */
async function claimCharge(tx: Tx, kit: PaymentsKit, { id, asking_until }: PaymentRow): Promise<void> {
  const now = kit.clock.now()
  if (asking_until !== null && asking_until > now) {
    const retry_after_seconds = Math.ceil((asking_until.getTime() - now.getTime()) / 1000)
    const detail = 'The charge was asked for a moment ago; what became of it is being found out.'
    throw new OperationalError('gateway_unavailable', detail, { retry_after_seconds })
  }
  await queries.setAskingUntil(tx, id, new Date(now.getTime() + CHARGE_LEASE_MS))
}

/**
 * Ends a payment that was tried and certainly reached no vendor; answers false when it may have, or when its
 * first try is still to come.
 */
export async function endUntouched(tx: Tx, kit: PaymentsKit, payment_id: string): Promise<boolean> {
  const payment = await getLockedPayment(tx, payment_id)
  if (isFinal(payment.status)) return true
  if (payment.status !== 'unknown' || !isUntouched(payment)) return false
  await failPayment(tx, kit, payment, 'failed', 'gateway_unreachable')
  return true
}

/** Nothing can have come about at the vendor: it was never reached. */
function isUntouched(payment: PaymentRow): boolean {
  return payment.open_asks === 0 && payment.external_id === null && payment.checkout_url === null
}

async function skipVendor(
  db: Db,
  kit: PaymentsKit,
  { id }: PaymentRow,
  gives_up: boolean,
): Promise<PaymentRow> {
  const is_nothing_made = await db.transact(async (tx) => {
    const locked = await getLockedPayment(tx, id)
    if (!isUntouched(locked) || isFinal(locked.status)) return false
    if (gives_up) await failPayment(tx, kit, locked, 'failed', 'gateway_down')
    return true
  })
  const payment = await getPayment(db, id)
  if (isFinal(payment.status) || payment.checkout_url !== null) return payment
  await markUnknown(db, kit, id)
  throw unavailable(is_nothing_made, 5)
}

/** Undefined when nothing was made and the payment was ended in favour of another gateway. */
async function askVendor(
  db: Db,
  kit: PaymentsKit,
  payment: PaymentRow,
  gives_up: boolean,
): Promise<CreatedPayment | undefined> {
  const { result, calls } = await watchCalls(() => requestPayment(db, kit, payment))
  if (result.status === 'fulfilled') return result.value
  const error: unknown = result.reason
  const is_unreached = error instanceof GatewayUnavailable && !error.was_sent && !calls.has_reached
  if (is_unreached || error instanceof GatewayMisconfigured) {
    const reason = is_unreached ? 'gateway_unreachable' : 'gateway_misconfigured'
    const found = await db.transact((tx) => recordNothing(tx, kit, payment.id, gives_up ? reason : undefined))
    if (found.is_ended) return undefined
    await markUnknown(db, kit, payment.id)
    if (is_unreached) throw unavailable(found.is_nothing_made, (error.retry_after_ms ?? 2000) / 1000, error)
  } else if (error instanceof GatewayUnavailable) await markUnknown(db, kit, payment.id)
  throw asGatewayError(error)
}

function unavailable(
  is_nothing_made: boolean,
  retry_after_seconds: number,
  cause?: unknown,
): OperationalError {
  const detail = is_nothing_made
    ? 'The gateway cannot be reached; nothing was made there.'
    : 'The gateway does not answer now; nothing was lost.'
  const facts = is_nothing_made ? { is_nothing_made } : {}
  return new OperationalError('gateway_unavailable', detail, { retry_after_seconds, facts, cause })
}

/** The question came to nothing for certain; with a reason the payment ends, if all before did too. */
async function recordNothing(
  tx: Tx,
  kit: PaymentsKit,
  payment_id: string,
  end_reason: string | undefined,
): Promise<{ is_nothing_made: boolean; is_ended: boolean }> {
  const locked = await getLockedPayment(tx, payment_id)
  const open_asks = Math.max(locked.open_asks - 1, 0)
  await queries.addAsk(tx, payment_id, open_asks - locked.open_asks)
  const is_nothing_made = isUntouched({ ...locked, open_asks }) && !isFinal(locked.status)
  if (is_nothing_made && locked.asking_until !== null) await queries.setAskingUntil(tx, payment_id, null)
  const is_ended = is_nothing_made && end_reason !== undefined
  if (is_ended) await failPayment(tx, kit, locked, 'failed', end_reason)
  return { is_nothing_made, is_ended }
}

async function requestPayment(db: Db, kit: PaymentsKit, payment: PaymentRow): Promise<CreatedPayment> {
  const { gateway, config } = kit.gateways.get(payment.gateway)
  const context = kit.gateways.context(gateway.id)
  const receipt = payment.is_fiscal ? carriedReceipt(payment.receipt) : undefined
  const common = {
    payment_id: payment.id,
    payment_number: payment.number,
    order_id: payment.order_id,
    customer_id: payment.customer_id,
    amount: payment.amount,
    currency: payment.currency,
    description: payment.description,
    ...(receipt === undefined ? {} : { receipt }),
  }
  const charge = gateway.chargeSavedMethod?.bind(gateway)
  const { vendor_subscription_id } = payment
  if (vendor_subscription_id !== null) {
    const chargeAt = gateway.chargeSubscription?.bind(gateway)
    assert(chargeAt, `${gateway.id} charged subscriptions when this payment was written`)
    const { external_id } = await getVendorSubscription(db, vendor_subscription_id)
    return chargeAt(config, { ...common, subscription_external_id: external_id }, context)
  }
  const method = payment.saved_method_id === null ? undefined : await findMethod(db, payment.saved_method_id)
  if (method && charge) {
    const { external_id, customer_external_id } = method
    const owner = customer_external_id === null ? {} : { customer_external_id }
    return charge(config, { ...common, method_external_id: external_id, ...owner }, context)
  }
  return gateway.createPayment(
    config,
    {
      ...common,
      return_url: payment.return_url,
      capture: payment.may_capture_now,
      save_method: payment.has_save_consent,
      locale: payment.locale,
      expires_at: payment.expires_at,
      ...(payment.method === null ? {} : { method: payment.method }),
      ...(payment.telegram_id === null ? {} : { telegram_id: String(payment.telegram_id) }),
      ...(payment.email === null ? {} : { email: payment.email }),
      ...(payment.subscription_period_seconds === null
        ? {}
        : { subscription_period_seconds: payment.subscription_period_seconds }),
    },
    context,
  )
}

async function markUnknown(db: Db, kit: PaymentsKit, payment_id: string): Promise<void> {
  await db.transact(async (tx) => {
    const locked = await getLockedPayment(tx, payment_id)
    const now = kit.clock.now()
    if (locked.asking_until !== null && locked.external_id === null)
      await queries.setAskingUntil(tx, payment_id, new Date(now.getTime() + CHARGE_APPEARS_MS))
    if (locked.status !== 'pending' || locked.external_id !== null) return
    const next_check_at = nextPaymentCheck('unknown', locked.created_at, now)
    await queries.setStatus(tx, payment_id, { status: 'unknown', next_check_at, updated_at: now })
  })
}
