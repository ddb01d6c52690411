import type { SavedMethod, VendorPayment } from '@kopilka/extension'
import type { Db, Sql, Tx } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { paymentMethodSaved } from './events.ts'
import type { PaymentsKit } from './kit.ts'
import type { PaymentRow } from './payment-queries.ts'
import { isSettled } from './payment-status.ts'
import * as queries from './saved-method-queries.ts'

export type { SavedMethodRow } from './saved-method-queries.ts'

/**
 * Keeps the payment methods of buyers who agreed to it and whose payment succeeded; the same method again
 * only refreshes what is shown. Without the buyer's consent nothing is kept, whatever the vendor offers.
 */
export async function saveMethods(
  tx: Tx,
  kit: PaymentsKit,
  changes: readonly { payment: PaymentRow; word: VendorPayment }[],
): Promise<void> {
  for (const { payment, word } of changes) {
    if (payment.status !== 'succeeded' || !isToKeep(payment, word)) continue
    await publishSaved(tx, kit, payment, await queries.upsertMethod(tx, methodOf(kit, payment, word)))
  }
}

/**
 * Keeps methods that vendors tell of only after the payment has succeeded. One that was told before is left
 * as it is: most of all one the customer has removed since.
 */
export async function saveLateMethods(
  tx: Tx,
  kit: PaymentsKit,
  told: readonly { payment: PaymentRow; word: VendorPayment }[],
): Promise<void> {
  for (const { payment, word } of told) {
    if (!isSettled(payment.status) || !isToKeep(payment, word)) continue
    const saved = await queries.insertMethod(tx, methodOf(kit, payment, word))
    if (saved) await publishSaved(tx, kit, payment, saved)
  }
}

/** The vendor no longer has this method: nobody's consent to it stands. Answers an outcome for the inbox. */
export async function dropMethod(
  tx: Tx,
  kit: PaymentsKit,
  method: { gateway: string; external_id: string },
): Promise<string> {
  const dropped = await queries.markGone(tx, method, kit.clock.now())
  return dropped === 0 ? 'nothing_new' : 'removed'
}

type ToKeep = VendorPayment & { saved_method: SavedMethod }

function isToKeep(payment: PaymentRow, word: VendorPayment): word is ToKeep {
  return payment.has_save_consent && word.saved_method !== undefined
}

function methodOf(kit: PaymentsKit, payment: PaymentRow, { saved_method }: ToKeep) {
  const now = kit.clock.now()
  return {
    id: newId('pm', now.getTime()),
    customer_id: payment.customer_id,
    gateway: payment.gateway,
    external_id: saved_method.external_id,
    customer_external_id: saved_method.customer_external_id ?? null,
    kind: saved_method.kind,
    title: saved_method.title.slice(0, 100),
    is_test: payment.is_test,
    consented_at: payment.created_at,
    consent_text: payment.consent_text,
    consent_locale: payment.locale,
    expires_at: saved_method.expires_at ?? null,
    created_at: now,
  }
}

async function publishSaved(
  tx: Tx,
  kit: PaymentsKit,
  { customer_id, gateway }: PaymentRow,
  { id: saved_method_id }: { id: string },
): Promise<void> {
  await kit.events.publish(tx, paymentMethodSaved, { saved_method_id, customer_id, gateway })
}

/**
 * A customer's kept methods, newest first, with those whose vendors have not yet let them go. At most 50.
 */
export function listSavedMethods(sql: Sql, customer_id: string): Promise<queries.SavedMethodRow[]> {
  return queries.methodsOfCustomer(sql, customer_id)
}

/** Throws {@link NotFound} when it is not there, was removed, or is another customer's. */
export async function getSavedMethod(
  sql: Sql,
  customer_id: string,
  id: string,
): Promise<queries.SavedMethodRow> {
  const method = await queries.findMethod(sql, id)
  if (!method || method.customer_id !== customer_id || method.removed_at !== null) {
    throw new NotFound(`There is no saved payment method ${id}.`)
  }
  return method
}

/** Where a method is between its consent and its end. Pure. */
export function methodStatus({
  removed_at,
  forgotten_at,
}: Pick<queries.SavedMethodRow, 'removed_at' | 'forgotten_at'>): 'active' | 'removing' | 'removed' {
  if (removed_at === null) return 'active'
  return forgotten_at === null ? 'removing' : 'removed'
}

/**
 * Whether a method may be charged; it cannot be removed until this transaction has ended, so a charge is
 * agreed on before a removal or not at all.
 */
export async function isMethodKept(tx: Tx, id: string): Promise<boolean> {
  const method = await queries.shareMethod(tx, id)
  return method !== undefined && method.removed_at === null
}

/**
 * Removes a method and answers it: from this moment it is never charged again. Its vendor is asked to
 * forget it by {@link forgetMethods}. Twice is once. Throws {@link NotFound}.
 */
export async function removeSavedMethod(
  tx: Tx,
  customer_id: string,
  id: string,
  now: Date,
): Promise<queries.SavedMethodRow> {
  const method = await queries.findMethod(tx, id)
  if (!method || method.customer_id !== customer_id) {
    throw new NotFound(`There is no saved payment method ${id}.`)
  }
  await queries.markRemoved(tx, id, now)
  return { ...method, removed_at: method.removed_at ?? now }
}

/** Longer than the slowest vendor call (35 s). */
const CLAIM_MS = 45_000
const MINUTE_MS = 60_000
const AGAIN_MAX_MS = 6 * 3_600_000
/** About three months of a vendor that does not answer; then people have to. */
const ATTEMPTS_MAX = 365

/**
 * Asks vendors to forget what customers removed, where they can be asked; answers how many it looked at. A
 * removal ends when the vendor has answered and no charge from before it is open.
 */
export async function forgetMethods(db: Db, kit: PaymentsKit, limit = 20): Promise<number> {
  const now = kit.clock.now()
  const due = await db.transact((tx) =>
    queries.claimForgetting(tx, now, new Date(now.getTime() + CLAIM_MS), limit),
  )
  for (const method of due) await forgetMethod(db, kit, method)
  return due.length
}

async function forgetMethod(db: Db, kit: PaymentsKit, method: queries.SavedMethodRow): Promise<void> {
  const attempts = method.forget_attempts
  try {
    if (await queries.hasOpenCharge(db, method.id)) {
      await again(Math.min(attempts * 5_000, MINUTE_MS))
      return
    }
    await askToForget(kit, method)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const is_last = attempts >= ATTEMPTS_MAX
    if (attempts === 1 || is_last)
      kit.notice('a vendor does not forget a payment method', { saved_method_id: method.id, message })
    if (is_last) await db.transact((tx) => queries.setNextForget(tx, method.id, null))
    else await again(Math.min(MINUTE_MS * 2 ** Math.min(attempts, 12), AGAIN_MAX_MS))
    return
  }
  await db.transact((tx) => queries.markForgotten(tx, method.id, kit.clock.now()))

  function again(pause_ms: number): Promise<void> {
    const next = new Date(kit.clock.now().getTime() + pause_ms)
    return db.transact((tx) => queries.setNextForget(tx, method.id, next))
  }
}

/** A gateway that is not set up any more, or has no such call, leaves nothing to be asked. */
async function askToForget(
  kit: PaymentsKit,
  { gateway: id, external_id }: queries.SavedMethodRow,
): Promise<void> {
  const ready = kit.gateways.find(id)
  await ready?.gateway.removeSavedMethod?.(ready.config, { external_id }, kit.gateways.context(id))
}
