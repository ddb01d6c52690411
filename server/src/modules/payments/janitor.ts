import { GatewayUnavailable } from '@kopilka/extension'
import type { Db } from '#kernel/db'
import { OperationalError } from '#kernel/errors'
import type { PaymentsKit } from './kit.ts'
import { claimDuePayments, lockPayment, setNextCheck, type PaymentRow } from './payment-queries.ts'
import { isFinal } from './payment-status.ts'
import { startPayment } from './payment-start.ts'
import { capturePayment, failPayment, getPayment, refreshPayment } from './payments.ts'
import { claimDueRefunds } from './refund-queries.ts'
import { checkRefund } from './refund-asking.ts'
import { CHECKING_MAX_MS, nextPaymentCheck } from './schedule.ts'

/** Until the vendor answers or the next round comes; a janitor that died leaves its payments this long. */
const CLAIM_MS = 20_000
const AT_ONCE = 8
/** How long an intent the vendor knows nothing of may still be on its way to the vendor. */
const NEVER_CREATED_MS = 10 * 60_000

/**
 * Asks vendors about payments whose notification did not come and about intents whose outcome is unknown.
 * Answers how many it looked at. One gateway that is down does not hold up the others.
 */
export async function checkPayments(db: Db, kit: PaymentsKit, limit = 100): Promise<number> {
  const now = kit.clock.now()
  const due = await db.transact((tx) => claimDuePayments(tx, now, new Date(now.getTime() + CLAIM_MS), limit))
  await inParts(due, (payment) => checkPayment(db, kit, payment))
  return due.length
}

/** As {@link checkPayments}, for refunds that wait, are unknown, or were said to have ended otherwise. */
export async function checkRefunds(db: Db, kit: PaymentsKit, limit = 100): Promise<number> {
  const now = kit.clock.now()
  const due = await db.transact((tx) => claimDueRefunds(tx, now, new Date(now.getTime() + CLAIM_MS), limit))
  await inParts(
    due,
    (refund) => checkRefund(db, kit, refund),
    (refund, error) => notice(kit, error, { refund_id: refund.id }),
  )
  return due.length

  function notice(target: PaymentsKit, error: unknown, facts: Record<string, unknown>): void {
    if (!isWorldFailure(error))
      target.notice('a refund could not be checked', { ...facts, message: String(error) })
  }
}

async function checkPayment(db: Db, kit: PaymentsKit, payment: PaymentRow): Promise<void> {
  try {
    if (payment.external_id === null && payment.checkout_url === null) await recoverIntent(db, kit, payment)
    else await refreshPayment(db, kit, payment)
    await takeHold(db, kit, payment.id)
  } catch (error) {
    if (!isWorldFailure(error)) {
      kit.notice('a payment could not be checked', { payment_id: payment.id, message: String(error) })
    }
  }
  await planNext(db, kit, payment.id)
}

/** Vendors of apps reserve first, whatever was asked: what is to be charged at once is taken when seen. */
async function takeHold(db: Db, kit: PaymentsKit, payment_id: string): Promise<void> {
  const payment = await getPayment(db, payment_id)
  const can_capture = kit.gateways.find(payment.gateway)?.gateway.capturePayment !== undefined
  if (payment.status === 'authorized' && payment.may_capture_now && can_capture)
    await capturePayment(db, kit, payment_id, {})
}

/**
 * An intent without an answer: the vendor is asked whether it knows it; if not, it is asked again, or given
 * up.
 */
async function recoverIntent(db: Db, kit: PaymentsKit, payment: PaymentRow): Promise<void> {
  const word = await refreshPayment(db, kit, payment)
  const now = kit.clock.now()
  const is_open = payment.expires_at > now
  const age_ms = now.getTime() - payment.created_at.getTime()
  if (is_open && (word !== undefined || age_ms < NEVER_CREATED_MS)) {
    // The same id makes the same payment; this also brings the checkout address the buyer needs.
    await startPayment(db, kit, payment.id)
    return
  }
  if (word !== undefined) return
  await db.transact(async (tx) => {
    const locked = await lockPayment(tx, payment.id)
    if (!locked || isFinal(locked.status) || locked.external_id !== null) return
    await failPayment(tx, kit, locked, 'failed', 'never_created')
  })
}

async function planNext(db: Db, kit: PaymentsKit, payment_id: string): Promise<void> {
  await db.transact(async (tx) => {
    const payment = await lockPayment(tx, payment_id)
    if (!payment || isFinal(payment.status)) return
    const now = kit.clock.now()
    const may_expire = payment.status === 'pending' || payment.status === 'requires_action'
    if (may_expire && payment.expires_at <= now) {
      await failPayment(tx, kit, payment, 'expired', 'expired')
      return
    }
    const is_given_up = now.getTime() - payment.created_at.getTime() > CHECKING_MAX_MS
    await setNextCheck(
      tx,
      payment_id,
      is_given_up ? null : nextPaymentCheck(payment.status, payment.created_at, now),
    )
  })
}

async function inParts<T>(
  items: readonly T[],
  work: (item: T) => Promise<void>,
  failed: (item: T, error: unknown) => void = () => undefined,
): Promise<void> {
  for (let at = 0; at < items.length; at += AT_ONCE) {
    await Promise.all(
      items.slice(at, at + AT_ONCE).map((item) => work(item).catch((error: unknown) => failed(item, error))),
    )
  }
}

function isWorldFailure(error: unknown): boolean {
  return error instanceof GatewayUnavailable || error instanceof OperationalError
}
