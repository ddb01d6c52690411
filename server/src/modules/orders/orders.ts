import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { InvalidRequest, InvalidState, NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import type { Limits } from '#kernel/limits'
import { getSaleTerms, type SaleTerms } from '#modules/catalog'
import { resolveCustomer, type Customer } from '#modules/customers'
import {
  chooseGateway,
  getPayment,
  getSavedMethod,
  getSubscriptionOf,
  intendPayment,
  refuseDown,
  type FrozenReceipt,
  type NewPayment,
  type PaymentRow,
  type PaymentsKit,
} from '#modules/payments'
import * as queries from './queries.ts'
import type { LineRow, OrderRow, OrderStatus } from './queries.ts'
import { orderReceipt, type FiscalSettings, type ReceiptContact } from './receipts.ts'

/** How long a price is kept for a buyer who went to pay. */
const OPEN_MS = 24 * 3_600_000
/** The largest total; card schemes and JSON both end far above it. */
const TOTAL_MAX = 100_000_000_000n

/** What is done with a link that was paid once more; docs/decisions says why the default is what it is. */
export type PaidAgainPolicy = 'grant_again' | 'refund_second' | 'keep_for_person'

export interface OrdersKit {
  clock: Clock
  payments: PaymentsKit
  fiscal: FiscalSettings
  /** How often somebody may begin to buy. */
  limits: Limits
  paid_again: PaidAgainPolicy
  /** Whether a return address is one of the owner's: an open redirect helps nobody but thieves. */
  isReturnUrlAllowed: (url: string) => boolean
}

export interface NewOrder {
  customer_id: string
  lines: readonly { price_id: string; quantity: number }[]
  /** Absent: it is chosen, by what can take the order, the customer's last one, and the owner's order. */
  gateway?: string | undefined
  /** Of the buyer, for that choice; absent: the customer's. */
  country?: string | undefined
  return_url: string
  receipt_contact?: ReceiptContact | undefined
  capture?: 'automatic' | 'manual'
  method?: string | undefined
  save_payment_method?: boolean
  /** What the buyer read when he agreed to keep the method. */
  consent_text?: string | undefined
  payment_method_id?: string | undefined
  /** Charge this subscription of a vendor's beside its plan, at once. */
  vendor_subscription_id?: string | undefined
  locale?: string | undefined
  metadata?: object | undefined
  /** The network of a person who buys for himself: limits are counted by it too. See `networkOfPerson`. */
  network: string | undefined
  /** The vendor charges again after this long by itself and every charge grants the lines once more. */
  subscription_period_seconds?: number | undefined
}

export interface PlacedOrder {
  order: OrderRow
  lines: LineRow[]
  payment: PaymentRow | undefined
}

/** The order with its lines and its latest payment. Throws {@link NotFound}. */
export async function getOrder(sql: Sql, id: string): Promise<PlacedOrder> {
  const order = await queries.findOrder(sql, id)
  if (!order) throw new NotFound(`There is no order ${id}.`)
  const lines = await queries.linesOfOrders(sql, [id])
  const payment = order.payment_id === null ? undefined : await getPayment(sql, order.payment_id)
  return { order, lines, payment }
}

/** A page of orders, newest first; one more than the limit tells that there is more. */
export function listOrders(
  sql: Sql,
  filter: { customer_id?: string | undefined; status?: OrderStatus | undefined },
  page: { limit: number; after?: { created_at: Date; id: string } | undefined },
): Promise<OrderRow[]> {
  return queries.listOrders(sql, filter, page)
}

/** Closes an order nobody paid. Throws {@link InvalidState} when it is past that, {@link NotFound}. */
export async function cancelOrder(tx: Tx, clock: Clock, id: string): Promise<OrderRow> {
  const order = await queries.findOrder(tx, id)
  if (!order) throw new NotFound(`There is no order ${id}.`)
  if (order.status === 'canceled') return order
  if (!(await queries.setOrderStatus(tx, id, 'canceled', clock.now()))) {
    throw new InvalidState(`An order that is ${order.status} cannot be canceled.`, {
      status_now: order.status,
    })
  }
  return { ...order, status: 'canceled' }
}

/**
 * Closes open orders whose time is over, at most `limit`; answers how many. Money that comes later is set
 * aside.
 */
export function expireOrders(tx: Tx, clock: Clock, limit: number): Promise<number> {
  return queries.expireOrders(tx, clock.now(), limit)
}

/**
 * Writes an order and the intent of its payment: prices and terms are frozen. `down` are the gateways that
 * are known not to answer. Throws NotFound, NotOnSale, InvalidRequest, GatewayNotAvailable; OperationalError
 * when the gateway that was named, or every one that can take the order, is down.
 */
export async function intendOrder(
  tx: Tx,
  kit: OrdersKit,
  order_id: string,
  input: NewOrder,
  down: ReadonlySet<string>,
): Promise<void> {
  if (!kit.isReturnUrlAllowed(input.return_url)) {
    throw new InvalidRequest([
      { pointer: '/return_url', detail: 'is not one of the allowed return addresses' },
    ])
  }
  const now = kit.clock.now()
  const customer = await resolveCustomer(tx, input.customer_id)
  const { lines, terms, total, currency } = await priceLines(tx, order_id, input.lines, now)
  const expires_at = new Date(now.getTime() + OPEN_MS)
  const locale = input.locale ?? customer.locale ?? 'en'
  const receipt = receiptOf(kit, lines, terms, input.receipt_contact ?? contactOf(customer))
  const payment: UnplacedPayment = {
    order_id,
    customer_id: customer.id,
    amount: total,
    currency,
    description: describe(lines),
    return_url: input.return_url,
    capture: input.capture ?? 'automatic',
    save_method: input.save_payment_method ?? false,
    locale,
    expires_at,
    ...(input.consent_text === undefined ? {} : { consent_text: input.consent_text }),
    ...(receipt === undefined ? {} : { receipt }),
    ...(input.method === undefined ? {} : { method: input.method }),
    ...(input.subscription_period_seconds === undefined
      ? {}
      : { subscription_period_seconds: input.subscription_period_seconds }),
    ...(input.payment_method_id === undefined ? {} : { saved_method_id: input.payment_method_id }),
    ...(input.vendor_subscription_id === undefined
      ? {}
      : { vendor_subscription_id: input.vendor_subscription_id }),
    ...(customer.telegram_id === null ? {} : { telegram_id: customer.telegram_id }),
    ...(customer.email === null ? {} : { email: customer.email }),
  }
  const country = input.country ?? customer.country ?? undefined
  const gateway = await gatewayFor(tx, kit, { named: input.gateway, country, payment }, down)
  const payment_id = await intendPayment(tx, kit.payments, { ...payment, gateway })
  await queries.insertOrder(
    tx,
    {
      id: order_id,
      customer_id: customer.id,
      total,
      currency,
      gateway,
      payment_id,
      return_url: input.return_url,
      receipt_contact: input.receipt_contact ?? null,
      locale,
      metadata: input.metadata ?? {},
      expires_at,
      created_at: now,
    },
    lines,
  )
}

/**
 * What lines cost now, in one currency. Throws NotFound, NotOnSale, {@link InvalidRequest} for currencies
 * that mix and for too much.
 */
export async function priceLines(
  sql: Sql,
  order_id: string,
  wanted: NewOrder['lines'],
  now: Date,
): Promise<{ lines: LineRow[]; terms: SaleTerms[]; total: bigint; currency: string }> {
  const terms: SaleTerms[] = []
  for (const { price_id } of wanted) terms.push(await getSaleTerms(sql, price_id, now))
  const lines = linesOf(order_id, wanted, terms)
  const total = lines.reduce((sum, line) => sum + line.amount, 0n)
  const currency = oneCurrency(terms)
  if (total > TOTAL_MAX)
    throw new InvalidRequest([{ pointer: '/lines', detail: `add up to more than ${TOTAL_MAX}` }])
  return { lines, terms, total, currency }
}

/** A payment that has no gateway yet. */
type UnplacedPayment = Omit<NewPayment, 'gateway'>

/** The gateway that was named, that of the kept method or of the subscription, or the best one. */
async function gatewayFor(
  tx: Tx,
  kit: OrdersKit,
  input: { named: string | undefined; country: string | undefined; payment: UnplacedPayment },
  down: ReadonlySet<string>,
): Promise<string> {
  const { customer_id, currency, saved_method_id, vendor_subscription_id } = input.payment
  const { receipt, telegram_id, capture } = input.payment
  const wish = {
    customer_id,
    currency,
    country: input.country,
    has_receipt_contact: receipt !== undefined,
    has_telegram_id: telegram_id !== undefined,
    is_held: capture === 'manual',
  }
  const kept =
    saved_method_id === undefined ? undefined : await getSavedMethod(tx, customer_id, saved_method_id)
  const charged =
    vendor_subscription_id === undefined
      ? undefined
      : await getSubscriptionOf(tx, customer_id, vendor_subscription_id)
  const fixed = input.named ?? kept?.gateway ?? charged?.gateway
  if (fixed === undefined) return chooseGateway(tx, kit.payments, wish, down)
  await refuseDown(tx, kit.payments, { ...wish, gateway: fixed }, down)
  return fixed
}

function linesOf(order_id: string, wanted: NewOrder['lines'], terms: readonly SaleTerms[]): LineRow[] {
  return wanted.map(({ price_id, quantity }, position) => {
    const term = terms[position]
    if (term === undefined) throw new NotFound(`There is no price ${price_id}.`)
    return {
      id: newId('line'),
      order_id,
      position,
      price_id,
      product_id: term.product_id,
      product_version_id: term.product_version_id,
      name: term.name,
      quantity: BigInt(quantity),
      unit_amount: term.amount,
      amount: term.amount * BigInt(quantity),
      grants: term.grants.map((grant) => ({ ...grant, amount: Number(grant.amount) })),
    }
  })
}

function oneCurrency(terms: readonly SaleTerms[]): string {
  const currencies = [...new Set(terms.map((term) => term.currency))]
  const [currency] = currencies
  if (currency === undefined || currencies.length > 1) {
    throw new InvalidRequest([{ pointer: '/lines', detail: `mix the currencies ${currencies.join(', ')}` }])
  }
  return currency
}

function receiptOf(
  kit: OrdersKit,
  lines: readonly LineRow[],
  terms: readonly SaleTerms[],
  contact: ReceiptContact | undefined,
): FrozenReceipt | undefined {
  if (contact === undefined) return undefined
  const named = lines.map((line, position) => ({ ...line, metadata: terms[position]?.metadata ?? {} }))
  return orderReceipt(named, contact, kit.fiscal)
}

/** Where a receipt would go, as far as the customer is known. */
export function contactOf(customer: Customer): ReceiptContact | undefined {
  if (customer.email !== null) return { email: customer.email }
  return customer.phone === null ? undefined : { phone: customer.phone }
}

/** The order in one line, at most 128 characters. */
export function describe(lines: readonly LineRow[]): string {
  const names = lines.map((line) => (line.quantity > 1n ? `${line.name} × ${line.quantity}` : line.name))
  return names.join(', ').slice(0, 128)
}
