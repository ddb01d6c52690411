import { abuseLimits } from '#kernel/abuse-limits'
import type { Db, Tx } from '#kernel/db'
import { InvalidState, NotFound, OperationalError } from '#kernel/errors'
import { resolveCustomer } from '#modules/customers'
import {
  chooseGateway,
  downGateways,
  findPaymentsOfOrder,
  endUntouched,
  getSavedMethod,
  intendAnother,
  isFinal,
  rankGateways,
  refuseDown,
  refuseFailed,
  startPayment,
  wishOf,
  type PaymentRow,
} from '#modules/payments'
import { getOrder, intendOrder, type NewOrder, type OrdersKit, type PlacedOrder } from './orders.ts'
import * as queries from './queries.ts'
import type { OrderRow } from './queries.ts'

/** What another attempt to collect an order may change. */
interface NewAttempt {
  /** Absent: it is chosen, first among those that were not tried. */
  gateway?: string | undefined
  method?: string | undefined
  /** Charge this kept method without the buyer. */
  payment_method_id?: string | undefined
}

/** More attempts than this are no buyer's; somebody tries cards. */
const ATTEMPTS_MAX = 20

/**
 * Places an order with this id and takes it to the gateway: prices and terms are frozen, the payment's intent
 * is written in the same transaction, then the vendor is asked. Called again with the same id it goes on
 * where it stopped, so one order never has two open payments at vendors.
 * Throws NotFound, TooManyRequests, NotOnSale, InvalidRequest, GatewayNotAvailable, PaymentRefused;
 * OperationalError when the vendor does not answer: an order that was written then stands, and its payment is
 * `unknown` until the vendor tells.
 */
export async function placeOrder(
  db: Db,
  kit: OrdersKit,
  order_id: string,
  input: NewOrder,
): Promise<PlacedOrder> {
  if (!(await queries.findOrder(db, order_id))) {
    const { id: account } = await resolveCustomer(db, input.customer_id)
    await kit.limits.take(abuseLimits('checkout', { account, network: input.network }))
  }
  const down = await downGateways(kit.payments, input.gateway)
  const country = await db.transact(async (tx) => {
    if (!(await queries.findOrder(tx, order_id))) await intendOrder(tx, kit, order_id, input, down)
    return input.country ?? (await resolveCustomer(tx, input.customer_id)).country ?? undefined
  })
  const { gateway, payment_method_id, vendor_subscription_id } = input
  const may_choose = [gateway, payment_method_id, vendor_subscription_id].every((at) => at === undefined)
  return collectOrder(db, kit, order_id, { may_choose, country })
}

/**
 * Takes an order's latest payment to its gateway. When we chose the gateway and it refused, or was certainly
 * not reached, the next one is asked, each once. A payment whose outcome is unknown stays the order's: a
 * second one could be paid beside it. Called again it goes on where it stopped.
 * Throws PaymentRefused, OperationalError `gateway_unavailable`.
 */
async function collectOrder(
  db: Db,
  kit: OrdersKit,
  order_id: string,
  { may_choose, country }: { may_choose: boolean; country: string | undefined },
): Promise<PlacedOrder> {
  for (;;) {
    const { order, payment } = await getOrder(db, order_id)
    if (!payment) return getOrder(db, order_id)
    const others = await otherGateways(db, kit, payment, country)
    const may_go_on = may_choose && payment.saved_method_id === null && order.status === 'open'
    const next = may_go_on ? others[0] : undefined
    const is_down = kit.payments.gateways.health.of(payment.gateway).state === 'open'
    const started = await startPayment(db, kit.payments, payment.id, {
      gives_up: next !== undefined,
      is_down,
    }).catch((error: unknown) => {
      throw told(error, payment, others)
    })
    const is_refused = started.status === 'failed' || started.status === 'canceled'
    if (!is_refused || next === undefined) {
      refuseFailed(started)
      return getOrder(db, order_id)
    }
    await db.transact((tx) => replacePayment(tx, kit, started, next))
  }
}

/**
 * Begins another payment of an open order whose last one has ended without money, with this id, and takes it
 * to its gateway. Called again with the same id it goes on where it stopped.
 * Throws NotFound, {@link InvalidState} while a payment is open or when the order is, GatewayNotAvailable,
 * InvalidRequest, PaymentRefused; OperationalError when the gateway is down or does not answer.
 */
export async function payAgain(
  db: Db,
  kit: OrdersKit,
  payment_id: string,
  { order_id, ...input }: NewAttempt & { order_id: string },
): Promise<PaymentRow> {
  const down = await downGateways(kit.payments, input.gateway)
  const country = await db.transact((tx) => intendAttempt(tx, kit, payment_id, { order_id, ...input }, down))
  const may_choose = input.gateway === undefined && input.payment_method_id === undefined
  const { payment } = await collectOrder(db, kit, order_id, { may_choose, country })
  if (!payment) throw new NotFound(`The order ${order_id} has no payment.`)
  return payment
}

async function intendAttempt(
  tx: Tx,
  kit: OrdersKit,
  id: string,
  { order_id, method, payment_method_id, ...input }: NewAttempt & { order_id: string },
  down: ReadonlySet<string>,
): Promise<string | undefined> {
  const [order] = await queries.lockOrders(tx, [order_id])
  if (!order) throw new NotFound(`There is no order ${order_id}.`)
  const country = (await resolveCustomer(tx, order.customer_id)).country ?? undefined
  const payments = await findPaymentsOfOrder(tx, order_id)
  if (payments.some((payment) => payment.id === id)) return country
  const last = payments[0]
  await checkPayable(tx, kit, order, payments)
  if (!last) throw new NotFound(`The order ${order_id} has no payment.`)
  const tried = payments.map((payment) => payment.gateway)
  const wish = { ...wishOf(last, tried), country }
  const kept =
    payment_method_id === undefined
      ? undefined
      : await getSavedMethod(tx, order.customer_id, payment_method_id)
  const named = input.gateway ?? kept?.gateway
  const gateway = named ?? (await chooseGateway(tx, kit.payments, wish, down))
  if (named !== undefined) await refuseDown(tx, kit.payments, { ...wish, gateway }, down)
  await intendAnother(tx, kit.payments, last, {
    id,
    gateway,
    ...(method === undefined ? {} : { method }),
    ...(payment_method_id === undefined ? {} : { saved_method_id: payment_method_id }),
  })
  await queries.setPayment(tx, order_id, { payment_id: id, gateway, updated_at: kit.clock.now() })
  return country
}

/** Two open payments of one order could both be paid; what certainly reached no vendor is ended here. */
async function checkPayable(
  tx: Tx,
  kit: OrdersKit,
  order: OrderRow,
  payments: readonly PaymentRow[],
): Promise<void> {
  if (order.status !== 'open' || order.expires_at <= kit.clock.now()) {
    const status_now = order.status === 'open' ? 'expired' : order.status
    throw new InvalidState(`An order that is ${status_now} is not paid any more; place another.`, {
      status_now,
    })
  }
  for (const open of payments.filter((payment) => !isFinal(payment.status))) {
    if (await endUntouched(tx, kit.payments, open.id)) continue
    const detail = `The payment ${open.id} is ${open.status}: cancel it first, or wait for its end.`
    throw new InvalidState(detail, { payment_id: open.id, status_now: open.status })
  }
  const odd = payments.find(
    ({ status, captured_amount, refunded_amount }) =>
      status === 'mismatch' && captured_amount > refunded_amount,
  )
  if (odd) {
    const detail = `The payment ${odd.id} took money that does not fit the order: give it back first.`
    throw new InvalidState(detail, { payment_id: odd.id, status_now: odd.status })
  }
  if (payments.length >= ATTEMPTS_MAX) {
    throw new InvalidState(`This order was tried ${ATTEMPTS_MAX} times; place another.`, {
      attempts: payments.length,
    })
  }
}

/** Gateways that were not tried for this order and are not known to be down, the best first. */
async function otherGateways(
  db: Db,
  kit: OrdersKit,
  payment: PaymentRow,
  country: string | undefined,
): Promise<string[]> {
  // A page there is, or an end: nobody else is needed.
  if (payment.checkout_url !== null) return []
  const payments = await findPaymentsOfOrder(db, payment.order_id)
  if (payments.length >= ATTEMPTS_MAX) return []
  const tried = payments.map(({ gateway }) => gateway)
  const wish = { ...wishOf(payment, tried), country }
  const { gateways } = await rankGateways(db, kit.payments, wish, await downGateways(kit.payments))
  return gateways.filter((gateway) => !tried.includes(gateway))
}

/** Unless somebody else was quicker, or the order was closed meanwhile. */
async function replacePayment(tx: Tx, kit: OrdersKit, ended: PaymentRow, gateway: string): Promise<void> {
  const [order] = await queries.lockOrders(tx, [ended.order_id])
  if (order?.status !== 'open') {
    throw new InvalidState(`The order is ${order?.status ?? 'gone'} and is not paid any more.`, {
      status_now: order?.status,
    })
  }
  if (order.payment_id !== ended.id) return
  const payment_id = await intendAnother(tx, kit.payments, ended, {
    gateway,
    ...(ended.method === null ? {} : { method: ended.method }),
  })
  await queries.setPayment(tx, order.id, { payment_id, gateway, updated_at: kit.clock.now() })
}

/**
 * Adds to "does not answer" which order it is about, and who could collect it instead, when nothing was made:
 * beside a payment whose outcome is unknown no second one is offered.
 */
function told(error: unknown, payment: PaymentRow, others: readonly string[]): unknown {
  if (!(error instanceof OperationalError) || error.code !== 'gateway_unavailable') return error
  const { code, message, retry_after_seconds } = error
  const is_certain = error.facts['is_nothing_made'] === true
  const facts = { ...error.facts, order_id: payment.order_id, payment_id: payment.id }
  const detail = is_certain
    ? `${message} Ask again with the same key, or begin another payment of the order elsewhere.`
    : `${message} Ask again with the same key.`
  return new OperationalError(code, detail, {
    retry_after_seconds,
    facts: is_certain ? { ...facts, alternatives: others } : facts,
    cause: error,
  })
}
