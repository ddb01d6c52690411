import type { VendorCharge } from '@kopilka/extension'
import type { Tx } from '#kernel/db'
import { findVendorTerms } from '#modules/catalog'
import { vendorPeriodPaid } from './events.ts'
import type { PaymentsKit } from './kit.ts'
import { findPaymentIds, findPayments } from './payment-queries.ts'
import { recordPaymentWords } from './payment-words.ts'
import { claimPeriod, type VendorSubscriptionRow } from './vendor-subscription-queries.ts'

/** The outcome of a charge its vendor does not list yet: vendors notify before their lists know. */
export const WAITS_FOR_CHARGE = 'waits for its charge to be listed by the vendor'
/** The outcome of a charge of a subscription that is nobody's here. */
export const WAITS_FOR_CUSTOMER = 'waits for a customer: nobody here has this subscription'
/** The outcome of a charge of something the catalog does not sell in its currency. */
export const WAITS_FOR_PRODUCT = 'waits for a product: the catalog does not sell this in this currency'

/**
 * Has each charge of a subscription become a payment and one grant, whichever way and however often it is
 * told: its id is its claim. What belongs to a payment we asked for ourselves is that payment's word. The
 * caller holds the subscription's row. Answers the charges the catalog has no product for: they are looked at
 * again by every later read.
 */
export async function takeCharges(
  tx: Tx,
  kit: PaymentsKit,
  row: VendorSubscriptionRow,
  charges: readonly VendorCharge[],
): Promise<string[]> {
  const { gateway } = row
  const taken = charges.filter(({ status, amount }) => status === 'succeeded' && amount > 0n)
  const known = await findPaymentIds(
    tx,
    taken.map(({ external_id }) => ({ gateway, external_id })),
  )
  const asked = await ownPayments(tx, gateway, taken)
  await recordPaymentWords(tx, kit, await wordsOf(tx, { gateway, taken, known, asked }))
  const without_product: string[] = []
  for (const [index, charge] of taken.entries()) {
    if (known[index] !== undefined || isAsked(asked, charge)) continue
    if (!(await takeCharge(tx, kit, row, charge))) without_product.push(charge.external_id)
  }
  return without_product
}

/** False when the catalog has no product for it. */
async function takeCharge(
  tx: Tx,
  kit: PaymentsKit,
  row: VendorSubscriptionRow,
  charge: VendorCharge,
): Promise<boolean> {
  const now = kit.clock.now()
  const { gateway, external_id } = row
  const { currency, product_code = row.product_code ?? '', paid_at = now } = charge
  const sold = { gateway, code: product_code, currency, at: paid_at }
  if (!(await findVendorTerms(tx, sold))) {
    kit.notice('a charge of a subscription is of a product the catalog does not know', {
      gateway,
      product_code,
      charge: charge.external_id,
    })
    return false
  }
  const period = { gateway, external_id, period_id: charge.external_id, created_at: now }
  if (!(await claimPeriod(tx, period))) return true
  await kit.events.publish(tx, vendorPeriodPaid, {
    vendor_subscription_id: row.id,
    period_id: charge.external_id,
    customer_id: row.customer_id,
    gateway,
    external_id,
    product_code,
    payment_external_id: charge.external_id,
    amount: String(charge.amount),
    currency,
    fee: charge.fee === undefined ? null : String(charge.fee),
    fee_currency: charge.fee_currency ?? null,
    is_test: row.is_test,
    paid_at: paid_at.toISOString(),
    occurred_at: now.toISOString(),
  })
  return true
}

/** Payments of ours that charges name as their own; a renewal repeats the name of the one that began it. */
async function ownPayments(tx: Tx, gateway: string, charges: readonly VendorCharge[]): Promise<Set<string>> {
  const named = charges.flatMap(({ payment_id }) => (payment_id === undefined ? [] : [payment_id]))
  const found = await findPayments(tx, [...new Set(named)])
  return new Set(found.filter((payment) => payment.gateway === gateway).map(({ id }) => id))
}

function isAsked(asked: ReadonlySet<string>, { payment_id, is_renewal }: VendorCharge): boolean {
  return is_renewal !== true && payment_id !== undefined && asked.has(payment_id)
}

/** What is news of payments that are here: of ours that are unpaid, and fees that were not told before. */
async function wordsOf(
  tx: Tx,
  told: {
    gateway: string
    taken: readonly VendorCharge[]
    known: readonly (string | undefined)[]
    asked: ReadonlySet<string>
  },
) {
  const { gateway, taken, known, asked } = told
  const rows = await findPayments(
    tx,
    known.filter((id) => id !== undefined),
  )
  const without_fee = new Set(rows.filter(({ fee }) => fee === null).map(({ id }) => id))
  return taken.flatMap((charge, index) => {
    const id = known[index]
    if (id === undefined) return isAsked(asked, charge) ? [{ gateway, word: charge }] : []
    if (charge.fee === undefined || !without_fee.has(id)) return []
    // The vendor's own names are of the payment that began the subscription.
    const { payment_id: _payment, payment_number: _number, order_id: _order, ...word } = charge
    return [{ gateway, word }]
  })
}
