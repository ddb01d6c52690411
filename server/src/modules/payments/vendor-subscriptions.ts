import type { SubscriptionReference, VendorSubscription } from '@kopilka/extension'
import type { Clock } from '#kernel/clock'
import type { Db, Sql, Tx } from '#kernel/db'
import { InvalidState, NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { findVendorTerms } from '#modules/catalog'
import { findCustomer } from '#modules/customers'
import { customerOfAccount } from './vendor-accounts.ts'
import { vendorPeriodPaid, vendorSubscriptionChanged, type VendorSubscriptionPayload } from './events.ts'
import { callGateway } from './gateways.ts'
import type { PaymentsKit } from './kit.ts'
import { findPayment } from './payment-queries.ts'
import { takeCharges } from './subscription-charges.ts'
import * as queries from './vendor-subscription-queries.ts'
import type { VendorSubscriptionRow } from './vendor-subscription-queries.ts'
import { getVendorSubscription, presentStatus } from './vendor-subscription-status.ts'

export { listSubscriptions, VENDOR_SUBSCRIPTION_STATUSES } from './vendor-subscription-queries.ts'
export type { VendorSubscriptionRow, VendorSubscriptionStatus } from './vendor-subscription-queries.ts'

/** A renewal may be told a while after the period's end: the vendor repeats a failed charge. */
const GRACE_MS = 3_600_000
/** Vendors renew and notify; asking is for what got lost. */
const ASK_AGAIN_MS = 6 * 3_600_000
/** After this long without a renewal nothing more is expected. */
const GIVEN_UP_MS = 16 * 86_400_000

/** What a vendor says of a subscription it keeps, proved or read from it. */
export interface SubscriptionWord {
  gateway: string
  word: VendorSubscription
  /** When the vendor said it, or was asked. */
  told_at: Date
  /** The notification in the vendor's words, for people. */
  facts?: Readonly<Record<string, unknown>> | undefined
  /** Who claims it; absent for a notification. */
  customer_id?: string | undefined
}

export interface RecordedSubscription {
  outcome: 'recorded' | 'nothing_new' | 'not_bound' | 'another_customer' | 'wrong_mode'
  subscription?: VendorSubscriptionRow
  /** Charges of it that could not be granted for: the catalog does not sell what they paid. */
  without_product?: readonly string[]
}

/**
 * Keeps what a vendor says of a subscription. It belongs to one customer for good: to whoever's payment began
 * it, else to whom the app named to the vendor, else to who claimed it first. An older word changes nothing.
 * A paid period or charge that no payment of ours stands for is told to the modules above, once.
 */
export async function recordSubscriptionWord(
  tx: Tx,
  kit: PaymentsKit,
  told: SubscriptionWord,
): Promise<RecordedSubscription> {
  const { gateway, word } = told
  const ready = kit.gateways.get(gateway)
  if (word.is_test !== undefined && word.is_test !== ready.is_test) return { outcome: 'wrong_mode' }
  const key = { gateway, external_id: word.external_id }
  const owner_id = (await queries.findSubscription(tx, key))?.customer_id ?? (await ownerOf(tx, told))
  if (owner_id === undefined) return { outcome: 'not_bound' }
  const now = kit.clock.now()
  const payment = await beginningOf(tx, told)
  const fresh = merged(newRow(told, owner_id, { now, is_test: ready.is_test }), told, now)
  fresh.payment_id = payment?.id ?? null
  const is_new = await queries.insertSubscription(tx, fresh)
  const row = await queries.lockSubscription(tx, key)
  if (!row) return { outcome: 'not_bound' }
  if (!(await isOwner(tx, row, told.customer_id))) return { outcome: 'another_customer' }
  const next = is_new || told.told_at < row.told_at ? row : merged(row, told, now)
  if (next !== row) await queries.updateSubscription(tx, next)
  if (is_new || isChanged(row, next)) await kit.events.publish(tx, vendorSubscriptionChanged, payloadOf(next))
  await publishPeriod(tx, kit, next, word)
  const without_product = await takeCharges(tx, kit, next, word.charges ?? [])
  const outcome = next === row && !is_new ? 'nothing_new' : 'recorded'
  return { outcome, subscription: next, without_product }
}

/**
 * A period is granted for once, whoever tells it. The first one of a subscription that a payment of ours
 * began is paid by that payment.
 */
async function publishPeriod(
  tx: Tx,
  kit: PaymentsKit,
  row: VendorSubscriptionRow,
  word: VendorSubscription,
): Promise<void> {
  const { period_id, amount, currency } = word
  const is_paid = word.is_active && word.is_trial !== true && amount !== undefined && amount > 0n
  if (period_id === undefined || !is_paid || currency === undefined || row.product_code === null) return
  const now = kit.clock.now()
  const { gateway, external_id, product_code } = row
  const is_paid_here = period_id === 'first' && row.payment_id !== null
  if (!is_paid_here && !(await findVendorTerms(tx, { gateway, code: product_code, currency, at: now }))) {
    await waitForTerms(tx, kit, row, currency)
    return
  }
  if (!(await queries.claimPeriod(tx, { gateway, external_id, period_id, created_at: now }))) return
  if (is_paid_here) return
  await kit.events.publish(tx, vendorPeriodPaid, {
    vendor_subscription_id: row.id,
    period_id,
    customer_id: row.customer_id,
    gateway,
    external_id,
    product_code,
    payment_external_id: null,
    amount: String(amount),
    currency,
    fee: null,
    fee_currency: null,
    is_test: row.is_test,
    paid_at: null,
    occurred_at: now.toISOString(),
  })
}

/** A period nobody can grant yet stays unclaimed: it is granted when the catalog knows what it is of. */
async function waitForTerms(
  tx: Tx,
  kit: PaymentsKit,
  { id, gateway, product_code, next_check_at }: VendorSubscriptionRow,
  currency: string,
): Promise<void> {
  const again_ms = kit.clock.now_ms() + ASK_AGAIN_MS
  const is_sooner = next_check_at !== null && next_check_at.getTime() < again_ms
  if (!is_sooner) await queries.setSubscriptionCheck(tx, id, new Date(again_ms))
  kit.notice('a period was paid of a product the catalog has no terms for: it is granted once it has', {
    vendor_subscription_id: id,
    gateway,
    product_code,
    currency,
  })
}

/**
 * Asks the vendor about a subscription a customer says is his, and keeps it. Product codes are tried in
 * order, for vendors that ask by them. Throws {@link NotFound} when the vendor knows none or it is somebody
 * else's, which is not told apart; OperationalError; GatewayNotAvailable.
 */
export async function claimSubscription(
  db: Db,
  kit: PaymentsKit,
  claim: { gateway: string; external_id: string; product_codes: readonly string[]; customer_id: string },
): Promise<VendorSubscriptionRow> {
  const { gateway, external_id, customer_id } = claim
  const known = await queries.findSubscription(db, { gateway, external_id })
  const codes = known?.product_code == null ? claim.product_codes : [known.product_code]
  for (const product_code of codes) {
    const told_at = kit.clock.now()
    const word = await askVendor(kit, gateway, { external_id, product_code })
    if (!word) continue
    const told = { gateway, word, told_at, customer_id }
    const { outcome, subscription } = await db.transact((tx) => recordSubscriptionWord(tx, kit, told))
    if (subscription) return subscription
    kit.notice('a subscription was not given to who claims it', { gateway, external_id, outcome })
    break
  }
  throw new NotFound('The store knows no such subscription of yours.')
}

/** `cancel`: not renewed, usable until the period is over. `end`: over at once. `resume`: renewed again. */
export type RenewalWish = 'cancel' | 'end' | 'resume'

const VERBS = { cancel: 'cancelSubscription', end: 'endSubscription', resume: 'resumeSubscription' } as const
const NOT_HERE = {
  cancel: 'are canceled by the buyer, at the vendor.',
  end: 'cannot be ended before their period is over: cancel them at its end.',
  resume: 'are resumed by the buyer, at the vendor.',
} as const

/**
 * Tells the vendor not to renew, to end at once, or to renew again. What was granted stays usable. Repeating
 * it is safe. Throws {@link NotFound}, {@link InvalidState} when the vendor cannot or it is over,
 * OperationalError.
 */
export async function setRenewal(
  db: Db,
  kit: PaymentsKit,
  id: string,
  wish: RenewalWish,
): Promise<VendorSubscriptionRow> {
  const row = await getVendorSubscription(db, id)
  const is_over = presentStatus(row, kit.clock.now()) === 'expired'
  if (is_over && wish !== 'resume') return row
  if (is_over) throw new InvalidState('This subscription is over; a new one has to be bought.')
  const { gateway, config } = kit.gateways.get(row.gateway)
  const call = gateway[VERBS[wish]]?.bind(gateway)
  if (!call) throw new InvalidState(`Subscriptions of ${gateway.title} ${NOT_HERE[wish]}`)
  const reference = await referenceOf(db, row)
  const asked_at = kit.clock.now()
  // Should the answer be lost, the janitor reads what came of it.
  await db.transact((tx) => queries.setSubscriptionCheck(tx, id, asked_at))
  const word = await callGateway(() => call(config, reference, kit.gateways.context(gateway.id)))
  if (!word) throw new InvalidState(`${gateway.title} knows no such subscription now.`)
  await db.transact(async (tx) => {
    // The answer to what we asked outweighs everything told before, whatever the vendor's clock says.
    const standing = await getVendorSubscription(tx, id)
    const told_at = new Date(Math.max(kit.clock.now_ms(), standing.told_at.getTime()))
    await recordSubscriptionWord(tx, kit, { gateway: row.gateway, word, told_at })
  })
  return getVendorSubscription(db, id)
}

/** The subscription that a payment began renews no more: the vendor was told so together with a refund. */
export async function noteCanceled(tx: Tx, kit: PaymentsKit, payment_id: string): Promise<void> {
  const row = await queries.lockSubscriptionOf(tx, payment_id)
  if (!row?.will_renew) return
  const now = kit.clock.now()
  const ended: VendorSubscriptionRow = { ...row, status: 'canceled', will_renew: false, updated_at: now }
  await queries.updateSubscription(tx, ended)
  await kit.events.publish(tx, vendorSubscriptionChanged, payloadOf(ended))
}

/**
 * Asks vendors about subscriptions whose period ended without a word, and ends those that are over. Answers
 * how many it looked at.
 */
export async function checkVendorSubscriptions(db: Db, kit: PaymentsKit, limit = 50): Promise<number> {
  const now = kit.clock.now()
  const again_at = new Date(now.getTime() + ASK_AGAIN_MS)
  const due = await db.transact((tx) => queries.claimDueSubscriptions(tx, now, again_at, limit))
  for (const row of due) {
    try {
      await checkOne(db, kit, row)
    } catch (error) {
      kit.notice('a subscription could not be checked', { id: row.id, message: String(error) })
    }
  }
  return due.length
}

/** Subscriptions follow their owner into the customer he was merged with. */
export function moveVendorSubscriptions(
  tx: Tx,
  clock: Clock,
  { from_customer_id, to_customer_id }: { from_customer_id: string; to_customer_id: string },
): Promise<void> {
  return queries.moveSubscriptions(tx, from_customer_id, to_customer_id, clock.now())
}

/** Reads one subscription from its vendor; undefined when it knows none or has no such call. */
export async function askVendor(
  kit: PaymentsKit,
  gateway_id: string,
  reference: SubscriptionReference,
): Promise<VendorSubscription | undefined> {
  const { gateway, config } = kit.gateways.get(gateway_id)
  const ask = gateway.getSubscription?.bind(gateway)
  return ask && callGateway(() => ask(config, reference, kit.gateways.context(gateway_id)))
}

async function checkOne(db: Db, kit: PaymentsKit, row: VendorSubscriptionRow): Promise<void> {
  if (!kit.gateways.find(row.gateway)) return
  const told_at = kit.clock.now()
  const word = await askVendor(kit, row.gateway, await referenceOf(db, row))
  if (word) {
    const told = { gateway: row.gateway, word, told_at }
    await db.transact((tx) => recordSubscriptionWord(tx, kit, told))
    return
  }
  await db.transact(async (tx) => {
    const locked = await queries.lockSubscription(tx, row)
    if (!locked) return
    const ended = { ...locked, updated_at: told_at, next_check_at: nextCheck(locked, told_at) }
    ended.status = presentStatus(locked, told_at)
    ended.will_renew = ended.status === 'active'
    await queries.updateSubscription(tx, ended)
    if (isChanged(locked, ended)) await kit.events.publish(tx, vendorSubscriptionChanged, payloadOf(ended))
  })
}

async function referenceOf(sql: Sql, row: VendorSubscriptionRow): Promise<SubscriptionReference> {
  const payment = row.payment_id === null ? undefined : await findPayment(sql, row.payment_id)
  return {
    external_id: row.external_id,
    ...(row.product_code === null ? {} : { product_code: row.product_code }),
    ...(payment?.external_id == null ? {} : { payment_external_id: payment.external_id }),
    ...(payment?.telegram_id == null ? {} : { telegram_id: String(payment.telegram_id) }),
  }
}

/** The payment of ours that began it, if the vendor names one of this gateway. */
async function beginningOf(sql: Sql, { gateway, word }: SubscriptionWord) {
  const payment = word.payment_id === undefined ? undefined : await findPayment(sql, word.payment_id)
  return payment?.gateway === gateway ? payment : undefined
}

async function ownerOf(sql: Sql, told: SubscriptionWord): Promise<string | undefined> {
  const payment = await beginningOf(sql, told)
  if (payment) return (await findCustomer(sql, payment.customer_id))?.id
  const { account_id } = told.word
  const named = account_id === undefined ? undefined : await customerOfAccount(sql, account_id)
  return named ?? told.customer_id
}

async function isOwner(sql: Sql, row: VendorSubscriptionRow, claimant: string | undefined): Promise<boolean> {
  if (claimant === undefined || row.customer_id === claimant) return true
  return (await findCustomer(sql, row.customer_id))?.id === claimant
}

function newRow(
  { gateway, word, told_at }: SubscriptionWord,
  customer_id: string,
  { now, is_test }: { now: Date; is_test: boolean },
): VendorSubscriptionRow {
  return {
    id: newId('vsub', now.getTime()),
    customer_id,
    gateway,
    external_id: word.external_id,
    product_code: null,
    payment_id: null,
    is_test,
    status: 'expired',
    will_renew: false,
    is_trial: false,
    amount: null,
    currency: null,
    started_at: null,
    expires_at: null,
    facts: {},
    told_at,
    next_check_at: null,
    created_at: now,
    updated_at: now,
  }
}

/** What stands, with what the vendor says now; what it does not say stays. */
function merged(row: VendorSubscriptionRow, told: SubscriptionWord, now: Date): VendorSubscriptionRow {
  const { word } = told
  const expires_at = word.expires_at ?? row.expires_at
  const is_over = !word.is_active || (expires_at !== null && expires_at <= now)
  const will_renew = word.will_renew && !is_over
  const next: VendorSubscriptionRow = {
    ...row,
    product_code: word.product_code ?? row.product_code,
    status: is_over ? 'expired' : will_renew ? 'active' : 'canceled',
    will_renew,
    is_trial: word.is_trial ?? row.is_trial,
    amount: word.amount ?? row.amount,
    currency: word.currency ?? row.currency,
    started_at: word.started_at ?? row.started_at,
    expires_at,
    facts: told.facts ?? row.facts,
    told_at: told.told_at,
    updated_at: now,
  }
  return { ...next, next_check_at: nextCheck(next, now) }
}

function nextCheck(row: VendorSubscriptionRow, now: Date): Date | null {
  const { expires_at } = row
  if (expires_at === null) return row.status === 'expired' ? null : new Date(now.getTime() + ASK_AGAIN_MS)
  const first = expires_at.getTime() + GRACE_MS
  if (first > now.getTime()) return new Date(first)
  // A charge the vendor repeats for days may still bring it back.
  return now.getTime() - first < GIVEN_UP_MS ? new Date(now.getTime() + ASK_AGAIN_MS) : null
}

function isChanged(before: VendorSubscriptionRow, after: VendorSubscriptionRow): boolean {
  return (
    before.status !== after.status ||
    before.will_renew !== after.will_renew ||
    before.product_code !== after.product_code ||
    before.expires_at?.getTime() !== after.expires_at?.getTime()
  )
}

function payloadOf(row: VendorSubscriptionRow): VendorSubscriptionPayload {
  return {
    vendor_subscription_id: row.id,
    customer_id: row.customer_id,
    gateway: row.gateway,
    external_id: row.external_id,
    product_code: row.product_code,
    status: row.status,
    will_renew: row.will_renew,
    expires_at: row.expires_at?.toISOString() ?? null,
    is_test: row.is_test,
    occurred_at: row.told_at.toISOString(),
  }
}
