import type { VendorPayment, VendorPurchase } from '@kopilka/extension'
import type { Db, Tx } from '#kernel/db'
import { InvalidState, NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { findVendorTerms, type SaleTerms } from '#modules/catalog'
import { findCustomer, resolveCustomer, type Customer } from '#modules/customers'
import {
  adoptPayment,
  callGateway,
  customerOfAccount,
  capturePayment,
  findPayment,
  getPayment,
  periodExternalId,
  recordPaymentWords,
  type AdoptedPayment,
  type PaymentRow,
  type VendorPeriodPayload,
} from '#modules/payments'
import { ProductUnknown, PurchaseDiffers, PurchaseNotPaid } from './errors.ts'
import type { OrdersKit } from './orders.ts'
import * as queries from './queries.ts'

/** What an app says it bought at a vendor. */
export interface PurchaseClaim {
  gateway: string
  customer_id: string
  purchase_id: string
  /** The vendor's number of its invoice, when the app has it: finds the purchase of whoever bought it. */
  invoice_id?: string | undefined
  /** The vendor's name of the product, as the app says; compared with the vendor's word. */
  product_code: string
  /** The app's own number of the purchase, compared too. */
  order_code?: string | undefined
  /** Whom the app may have bought it for besides the customer's id. */
  account_ids?: readonly string[] | undefined
}

const DAY_MS = 86_400_000

/**
 * Gives what somebody bought in a vendor's app, by the vendor's word alone: it is read there, compared with
 * what the app says and with our price, and paid and granted in one transaction, once. A purchase belongs to
 * whom the app named to the vendor, else to who claims it first. What waits for our yes (two stages) is
 * taken.
 * Throws {@link NotFound} for a purchase that is unknown or somebody else's, {@link PurchaseDiffers},
 * {@link PurchaseNotPaid}, {@link ProductUnknown}, OperationalError, GatewayNotAvailable.
 */
export async function claimPurchase(db: Db, kit: OrdersKit, claim: PurchaseClaim): Promise<PaymentRow> {
  const { gateway, config } = kit.payments.gateways.get(claim.gateway)
  const read = gateway.getPurchase?.bind(gateway)
  if (!read) throw new InvalidState(`${gateway.title} sells through our own payments only.`)
  const customer = await resolveCustomer(db, claim.customer_id)
  const account_ids = [customer.id, ...(claim.account_ids ?? [])]
  const purchase_id = claim.invoice_id ?? claim.purchase_id
  const context = kit.payments.gateways.context(gateway.id)
  const purchase = await callGateway(() => read(config, { purchase_id, account_ids }, context))
  if (!purchase) throw unknownPurchase()
  const { account_id } = purchase
  const named = account_id === undefined ? undefined : await customerOfAccount(db, account_id)
  if (named !== undefined && named !== customer.id) throw unknownPurchase()
  comparePurchase(claim, purchase, gateway.isTest(config))
  const payment_id = await db.transact((tx) => recordPurchase(tx, kit, claim.gateway, customer, purchase))
  const payment = await getPayment(db, payment_id)
  // Of a purchase in two stages the money is only reserved: goods are given when it was taken.
  return payment.status === 'authorized' ? capturePayment(db, kit.payments, payment.id, {}) : payment
}

function comparePurchase(claim: PurchaseClaim, purchase: VendorPurchase, is_test: boolean): void {
  const { payment, product_code, order_code } = purchase
  if (claim.invoice_id !== undefined && purchase.purchase_id !== claim.purchase_id) throw unknownPurchase()
  if (product_code !== claim.product_code)
    throw new PurchaseDiffers(`The store sold another product: ${product_code}.`)
  if (claim.order_code !== undefined && order_code !== undefined && order_code !== claim.order_code)
    throw new PurchaseDiffers('The store knows this purchase under another order.')
  if (payment.receiver_matches === false) throw new PurchaseDiffers('The purchase is of another app.')
  if (payment.is_test !== undefined && payment.is_test !== is_test)
    throw new PurchaseDiffers(
      'Test purchases are taken by test installations only, and real ones by live ones.',
    )
  if (payment.status === 'failed' || payment.status === 'canceled')
    throw new PurchaseNotPaid('The purchase was not paid.', { status_at_vendor: payment.failure_reason })
  if ((payment.refunded_amount ?? 0n) > 0n)
    throw new PurchaseNotPaid('The money of this purchase went back.', { status_at_vendor: 'refunded' })
}

/** Answers the payment's id; the one of ours that the app passed on, or one made for the vendor's. */
async function recordPurchase(
  tx: Tx,
  kit: OrdersKit,
  gateway: string,
  customer: Customer,
  purchase: VendorPurchase,
): Promise<string> {
  const { payment: word, purchase_id, product_code } = purchase
  const asked = word.payment_id === undefined ? undefined : await findPayment(tx, word.payment_id)
  if (asked?.gateway === gateway) {
    await checkOwner(tx, asked, customer)
    await recordPaymentWords(tx, kit.payments, [{ gateway, word }])
    return asked.id
  }
  const adopted = await adopt(tx, kit, {
    gateway,
    customer,
    product_code,
    word,
    purchase: { external_id: purchase_id, period_id: 'first' },
  })
  if (!adopted) throw new PurchaseDiffers('This purchase was given in another way already.')
  await checkOwner(tx, await getPayment(tx, adopted.payment_id), customer)
  return adopted.payment_id
}

interface Adoption {
  gateway: string
  customer: Customer
  product_code: string
  word: VendorPayment
  purchase: { external_id: string; period_id: string }
  is_claimed?: boolean
}

/**
 * Writes an order of what the vendor sold, its payment, and what the vendor says of it: all of it or nothing.
 * An amount that is not our price leaves a mismatch for a person.
 */
async function adopt(tx: Tx, kit: OrdersKit, adoption: Adoption): Promise<AdoptedPayment | undefined> {
  const { gateway, customer, product_code: code, word } = adoption
  const now = kit.clock.now()
  const sold = { gateway, code, currency: word.currency, at: word.paid_at ?? now }
  const terms = await findVendorTerms(tx, sold)
  if (!terms) throw new ProductUnknown(`The catalog has no product ${code} for ${word.currency}.`)
  const order_id = newId('ord', now.getTime())
  const expires_at = new Date(now.getTime() + DAY_MS)
  const return_url = kit.payments.gateways.context(gateway).base_url
  const locale = customer.locale ?? 'en'
  const adopted = await adoptPayment(tx, kit.payments, {
    order_id,
    customer_id: customer.id,
    gateway,
    amount: terms.amount,
    currency: terms.currency,
    description: terms.name,
    return_url,
    locale,
    expires_at,
    external_id: word.external_id,
    purchase: adoption.purchase,
    ...(adoption.is_claimed ? { is_claimed: true } : {}),
    ...(customer.email === null ? {} : { email: customer.email }),
  })
  if (!adopted) return undefined
  if (adopted.is_new) {
    const { payment_id } = adopted
    const { external_id: purchase_id, period_id: period } = adoption.purchase
    const order = {
      id: order_id,
      customer_id: customer.id,
      total: terms.amount,
      currency: terms.currency,
      gateway,
      payment_id,
      return_url,
      receipt_contact: null,
      locale,
      metadata: { purchase_id, period },
      expires_at,
      created_at: now,
    }
    await queries.insertOrder(tx, order, [lineOf(order_id, terms)])
  }
  const standing = await getPayment(tx, adopted.payment_id)
  if (standing.external_id !== word.external_id) return adopted
  // The vendor's own names for payment and order say nothing about what was made here just now.
  const { payment_id: _payment, payment_number: _number, order_id: _order, ...said } = word
  await recordPaymentWords(tx, kit.payments, [{ gateway, word: { ...said, payment_id: adopted.payment_id } }])
  return adopted
}

/**
 * Gives a period that was paid at the vendor: reaction to `vendor_subscription.period_paid`, which is told
 * only of what the catalog has terms for.
 */
export async function fulfilVendorPeriods(
  tx: Tx,
  kit: OrdersKit,
  periods: readonly VendorPeriodPayload[],
): Promise<void> {
  for (const { gateway, customer_id, external_id, period_id, product_code, ...paid } of periods) {
    const customer = await resolveCustomer(tx, customer_id)
    const { currency, fee, fee_currency } = paid
    const paid_at = paid.paid_at === null ? kit.clock.now() : new Date(paid.paid_at)
    const terms = await findVendorTerms(tx, { gateway, code: product_code, currency, at: paid_at })
    if (!terms) {
      kit.payments.notice('a period was paid of a product the catalog does not know', {
        gateway,
        product_code,
      })
      continue
    }
    const purchase = { external_id, period_id }
    const word: VendorPayment = {
      external_id: paid.payment_external_id ?? periodExternalId(purchase),
      status: 'succeeded',
      amount: BigInt(paid.amount),
      currency,
      is_test: paid.is_test,
      paid_at,
      ...(fee === null ? {} : { fee: BigInt(fee) }),
      ...(fee_currency === null ? {} : { fee_currency }),
    }
    await adopt(tx, kit, { gateway, customer, product_code, word, purchase, is_claimed: true })
  }
}

/** Throws {@link NotFound} for somebody else's: it is not told apart from what does not exist. */
async function checkOwner(tx: Tx, payment: PaymentRow, customer: Customer): Promise<void> {
  const owner = await findCustomer(tx, payment.customer_id)
  if (owner?.id !== customer.id) throw unknownPurchase()
}

function lineOf(order_id: string, terms: SaleTerms): queries.LineRow {
  return {
    id: newId('line'),
    order_id,
    position: 0,
    price_id: terms.price_id,
    product_id: terms.product_id,
    product_version_id: terms.product_version_id,
    name: terms.name,
    quantity: 1n,
    unit_amount: terms.amount,
    amount: terms.amount,
    grants: terms.grants.map((grant) => ({ ...grant, amount: Number(grant.amount) })),
  }
}

function unknownPurchase(): NotFound {
  return new NotFound('The store knows no such purchase of yours.')
}
