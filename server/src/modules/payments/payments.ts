import type { PaymentReference, VendorPayment } from '@kopilka/extension'
import type { Clock } from '#kernel/clock'
import type { Db, Sql, Tx } from '#kernel/db'
import { InvalidRequest, InvalidState, NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { getChargeable } from './chargeable.ts'
import { paymentFailed, paymentMismatched } from './events.ts'
import { callGateway } from './gateways.ts'
import type { PaymentsKit } from './kit.ts'
import { checkAbilities } from './payment-abilities.ts'
import * as queries from './payment-queries.ts'
import type { PaymentRow } from './payment-queries.ts'
import { CANCELABLE, CAPTURABLE } from './payment-status.ts'
import { recordPaymentWords, toPayload } from './payment-words.ts'
import { receiptUnderLaw } from './receipt-abilities.ts'
import {
  carriedReceipt,
  plainReceipt,
  receiptShare,
  reviveReceipt,
  type FrozenReceipt,
} from './receipt-share.ts'
import { getSavedMethod } from './saved-methods.ts'
import { nextPaymentCheck } from './schedule.ts'

export interface NewPayment {
  /** The id it must have; default: a new one. */
  id?: string
  order_id: string
  customer_id: string
  gateway: string
  amount: bigint
  currency: string
  description: string
  return_url: string
  capture: 'automatic' | 'manual'
  /** The buyer agreed to keep the method for later charges. */
  save_method?: boolean
  /** What he read and agreed to; at most 1000 characters. */
  consent_text?: string
  /** Charge this kept method now, without the buyer. */
  saved_method_id?: string
  method?: string
  locale: string
  telegram_id?: bigint
  email?: string
  receipt?: FrozenReceipt
  expires_at: Date
  /** The vendor charges again after this long, by itself. */
  subscription_period_seconds?: number
  /** Charge this subscription of the vendor's beside its plan, at once and without the buyer. */
  vendor_subscription_id?: string
}

/**
 * Writes the intent of a payment; nothing is asked of the vendor yet. Part of the order's transaction.
 * Throws GatewayNotAvailable, ReceiptContactNeeded, ReceiptNotPossible, NotFound for a saved method or a
 * vendor's subscription that is not his, InvalidState for one that is over.
 */
export async function intendPayment(tx: Tx, kit: PaymentsKit, input: NewPayment): Promise<string> {
  const ready = kit.gateways.get(input.gateway)
  checkAbilities(ready, input)
  const receipt = receiptUnderLaw(kit, ready, input)
  if (input.saved_method_id !== undefined) {
    const method = await getSavedMethod(tx, input.customer_id, input.saved_method_id)
    if (method.gateway !== input.gateway) {
      throw new InvalidRequest([
        { pointer: '/saved_method_id', detail: `belongs to the gateway ${method.gateway}` },
      ])
    }
  }
  const { vendor_subscription_id } = input
  if (vendor_subscription_id !== undefined) await getChargeable(tx, kit, { ...input, vendor_subscription_id })
  const now = kit.clock.now()
  const id = input.id ?? newId('pay', now.getTime())
  await queries.insertPayment(tx, {
    id,
    order_id: input.order_id,
    customer_id: input.customer_id,
    gateway: input.gateway,
    is_test: ready.is_test,
    amount: input.amount,
    currency: input.currency,
    description: input.description.slice(0, 128),
    return_url: input.return_url,
    may_capture_now: input.capture === 'automatic',
    has_save_consent: input.save_method ?? false,
    consent_text: input.save_method === true ? (input.consent_text ?? null) : null,
    method: input.method ?? null,
    saved_method_id: input.saved_method_id ?? null,
    locale: input.locale,
    telegram_id: input.telegram_id ?? null,
    email: input.email ?? null,
    // Kept where the law wants none, too: another gateway may take over, where it does.
    receipt: receipt ?? input.receipt ?? null,
    is_fiscal: receipt !== undefined,
    expires_at: input.expires_at,
    subscription_period_seconds: input.subscription_period_seconds ?? null,
    vendor_subscription_id: vendor_subscription_id ?? null,
    created_at: now,
    // Should this process die before the vendor is asked, the janitor finds the intent.
    next_check_at: new Date(now.getTime() + 45_000),
  })
  return id
}

/**
 * Writes the intent of another attempt to collect the same order: as the one before, but for what is named.
 * Throws as {@link intendPayment}.
 */
export function intendAnother(
  tx: Tx,
  kit: PaymentsKit,
  before: PaymentRow,
  change: Pick<NewPayment, 'gateway'> & Partial<Pick<NewPayment, 'id' | 'method' | 'saved_method_id'>>,
): Promise<string> {
  return intendPayment(tx, kit, {
    order_id: before.order_id,
    customer_id: before.customer_id,
    amount: before.amount,
    currency: before.currency,
    description: before.description,
    return_url: before.return_url,
    capture: before.may_capture_now ? 'automatic' : 'manual',
    save_method: before.has_save_consent,
    locale: before.locale,
    expires_at: before.expires_at,
    ...(before.consent_text === null ? {} : { consent_text: before.consent_text }),
    ...(before.telegram_id === null ? {} : { telegram_id: before.telegram_id }),
    ...(before.email === null ? {} : { email: before.email }),
    ...(before.receipt === null ? {} : { receipt: reviveReceipt(before.receipt) }),
    ...change,
  })
}

/** Throws {@link NotFound}. */
export async function getPayment(sql: Sql, id: string): Promise<PaymentRow> {
  const payment = await queries.findPayment(sql, id)
  if (!payment) throw new NotFound(`There is no payment ${id}.`)
  return payment
}

/** Whether a buyer may still pay: nothing was decided about it and its order's time is not over. */
export async function isPayable(sql: Sql, clock: Clock, payment_id: string): Promise<boolean> {
  const payment = await queries.findPayment(sql, payment_id)
  return payment !== undefined && CANCELABLE.includes(payment.status) && payment.expires_at > clock.now()
}

/**
 * A caller is looking at an unfinished payment: the janitor asks the vendor soon instead of in its own time.
 */
export async function hastenPayment(db: Db, kit: PaymentsKit, payment: PaymentRow): Promise<void> {
  if (payment.next_check_at === null || payment.external_id === null) return
  const now = kit.clock.now()
  if (now.getTime() - payment.created_at.getTime() < 5_000) return
  await db.transact((tx) => queries.hastenCheck(tx, payment.id, now, new Date(now.getTime() + 3_000)))
}

/**
 * Takes an authorized payment, all of it or less. Repeating it is safe.
 * Throws {@link InvalidState} unless it is authorized, InvalidRequest above what was authorized.
 */
export async function capturePayment(
  db: Db,
  kit: PaymentsKit,
  payment_id: string,
  input: { amount?: bigint },
): Promise<PaymentRow> {
  const payment = await getPayment(db, payment_id)
  const amount = input.amount ?? payment.amount
  if (amount > payment.amount) {
    throw new InvalidRequest([
      { pointer: '/amount', detail: `is more than the authorized ${payment.amount}` },
    ])
  }
  if (payment.status === 'succeeded' && payment.captured_amount === amount) return payment
  checkStatus(payment, CAPTURABLE, 'captured')
  const { gateway, config } = kit.gateways.get(payment.gateway)
  const capture = gateway.capturePayment?.bind(gateway)
  if (!capture) throw new InvalidState(`The gateway ${gateway.id} has no two-stage payments.`)
  const whole = payment.is_fiscal ? carriedReceipt(payment.receipt) : undefined
  const part = whole === undefined ? {} : { receipt: plainReceipt(receiptShare(whole, amount)) }
  const reference = { ...referenceOf(payment), amount, ...part }
  const word = await callGateway(() => capture(config, reference, kit.gateways.context(gateway.id)))
  return recordWord(db, kit, payment, word)
}

/** Voids an unpaid or authorized payment. Throws {@link InvalidState} when it is past that. */
export async function cancelPayment(db: Db, kit: PaymentsKit, payment_id: string): Promise<PaymentRow> {
  const payment = await getPayment(db, payment_id)
  if (payment.status === 'canceled') return payment
  checkStatus(payment, CANCELABLE, 'canceled')
  const { gateway, config } = kit.gateways.get(payment.gateway)
  const cancel = gateway.cancelPayment?.bind(gateway)
  if (!cancel || (payment.status !== 'authorized' && payment.external_id === null)) {
    throw new InvalidState(`The gateway ${gateway.id} cannot cancel this payment; it expires by itself.`)
  }
  const word = await callGateway(() => cancel(config, referenceOf(payment), kit.gateways.context(gateway.id)))
  return recordWord(db, kit, payment, word)
}

/** Reads one payment from its vendor and records what it says; answers the vendor's word, if there is one. */
export async function refreshPayment(
  db: Db,
  kit: PaymentsKit,
  payment: PaymentRow,
): Promise<VendorPayment | undefined> {
  const ready = kit.gateways.find(payment.gateway)
  if (!ready) return undefined
  const word = await callGateway(() =>
    ready.gateway.getPayment(ready.config, referenceOf(payment), kit.gateways.context(payment.gateway)),
  )
  if (word) await recordWord(db, kit, payment, word)
  return word
}

/**
 * Sets a settled payment aside for a person: used when the order it pays cannot take it. Nothing was granted.
 */
export async function setMismatch(
  tx: Tx,
  kit: PaymentsKit,
  payment_id: string,
  reason: string,
): Promise<void> {
  const payment = await getLockedPayment(tx, payment_id)
  await queries.updatePayments(tx, [
    {
      id: payment.id,
      status: 'mismatch',
      captured_amount: String(payment.captured_amount),
      refunded_amount: String(payment.refunded_amount),
      external_id: payment.external_id,
      fee: null,
      fee_currency: null,
      failure_reason: payment.failure_reason,
      mismatch_reason: reason,
      mismatch: { captured_amount: String(payment.captured_amount) },
      authorized_at: payment.authorized_at?.toISOString() ?? null,
      succeeded_at: payment.succeeded_at?.toISOString() ?? null,
      finished_at: kit.clock.now().toISOString(),
      next_check_at: null,
      updated_at: kit.clock.now().toISOString(),
    },
  ])
  await kit.events.publish(tx, paymentMismatched, {
    ...toPayload({ ...payment, status: 'mismatch' }),
    reason,
  })
}

/** The payment as a gateway is asked about it. */
export function referenceOf(payment: PaymentRow): PaymentReference {
  return {
    payment_id: payment.id,
    payment_number: payment.number,
    amount: payment.amount,
    currency: payment.currency,
    ...(payment.external_id === null ? {} : { external_id: payment.external_id }),
  }
}

/** Ends an unpaid payment and says so. The caller holds its row. */
export async function failPayment(
  tx: Tx,
  kit: PaymentsKit,
  payment: PaymentRow,
  status: 'failed' | 'canceled' | 'expired',
  reason: string,
): Promise<void> {
  const now = kit.clock.now()
  await queries.setStatus(tx, payment.id, {
    status,
    failure_reason: reason.slice(0, 200),
    next_check_at: nextPaymentCheck(status, payment.created_at, now),
    finished_at: now,
    updated_at: now,
  })
  await kit.events.publish(tx, paymentFailed, { ...toPayload(payment), reason })
}

async function recordWord(
  db: Db,
  kit: PaymentsKit,
  payment: PaymentRow,
  word: VendorPayment,
): Promise<PaymentRow> {
  return db.transact(async (tx) => {
    await recordPaymentWords(tx, kit, [{ gateway: payment.gateway, word }])
    return getPayment(tx, payment.id)
  })
}

function checkStatus(payment: PaymentRow, allowed: readonly string[], done: string): void {
  if (allowed.includes(payment.status)) return
  throw new InvalidState(`A payment that is ${payment.status} cannot be ${done}.`, {
    status_now: payment.status,
  })
}

/** Holds the payment's row until the transaction ends. Throws {@link NotFound}. */
export async function getLockedPayment(tx: Tx, id: string): Promise<PaymentRow> {
  const payment = await queries.lockPayment(tx, id)
  if (!payment) throw new NotFound(`There is no payment ${id}.`)
  return payment
}
