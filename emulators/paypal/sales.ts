import { ControlError, wrongState } from '../emulator.ts'
import type { CompleteInput } from '../emulator.ts'
import { feeOf, newId, notFound, nowText, readMoney, unprocessable, writeMoney } from './objects.ts'
import type { Money, Sale, SaleRefund, Subscription, World } from './objects.ts'
import { tell } from './webhooks.ts'

const PAGE = 20

/** A period of a subscription is paid; it is told as a sale of the older API. */
export function sell(world: World, subscription: Subscription, price: Money): void {
  const at = nowText(world)
  const fee = feeOf(world, price)
  const sale: Sale = {
    id: newId(world),
    state: 'completed',
    amount: { total: price.value, currency: price.currency_code },
    transaction_fee: { value: fee.value, currency: fee.currency_code },
    billing_agreement_id: subscription.id,
    ...(subscription.custom_id === undefined ? {} : { custom: subscription.custom_id }),
    create_time: at,
    update_time: at,
  }
  world.sales.add(sale.id, sale)
  tell(world, 'PAYMENT.SALE.COMPLETED', { resource_type: 'sale', resource: sale, object_id: subscription.id })
}

/** `GET /v1/billing/subscriptions/{id}/transactions`: the first page of them; there is no way to the next. */
export function listCharges(
  world: World,
  subscription: Subscription,
  query: Readonly<Record<string, string>>,
) {
  const { charge_list_lag_ms } = world.kit.settings()
  const [from, to] = [Date.parse(query['start_time'] ?? ''), Date.parse(query['end_time'] ?? '')]
  const known_until = world.kit.now().getTime() - charge_list_lag_ms
  const own = [...world.sales.values()].filter((sale) => {
    const at = Date.parse(sale.create_time)
    const is_known = charge_list_lag_ms === 0 || at < known_until
    return sale.billing_agreement_id === subscription.id && at >= from && at <= to && is_known
  })
  return {
    transactions: own.slice(0, PAGE).map((sale) => ({
      id: sale.id,
      status: sale.state.toUpperCase(),
      amount_with_breakdown: {
        gross_amount: priceOf(sale),
        fee_amount: { currency_code: sale.transaction_fee.currency, value: sale.transaction_fee.value },
      },
      payer_email: 'buyer@personal.example.com',
      time: sale.create_time,
    })),
    total_items: own.length,
    total_pages: Math.max(1, Math.ceil(own.length / PAGE)),
  }
}

/** `POST /v1/payments/sale/{id}/refund`: no amount is all that is left. */
export function refundSale(
  world: World,
  id: string,
  body: { amount?: { total: string; currency: string } },
): SaleRefund {
  const sale = world.sales.get(id)
  if (!sale) throw notFound()
  if (sale.state === 'refunded') throw unprocessable('CAPTURE_FULLY_REFUNDED')
  const left = readMoney(priceOf(sale), 'amount') - refundedOf(world, sale)
  const { currency } = sale.amount
  const asked = body.amount
    ? { currency_code: body.amount.currency, value: body.amount.total }
    : writeMoney(left, currency)
  if (asked.currency_code !== currency) throw unprocessable('CURRENCY_MISMATCH', 'amount')
  if (readMoney(asked, 'amount') > left) throw unprocessable('REFUND_AMOUNT_EXCEEDED', 'amount')
  const at = nowText(world)
  const refund_id = newId(world)
  const base = `${world.kit.base_url()}/v1/payments`
  const refund: SaleRefund = {
    id: refund_id,
    sale_id: sale.id,
    state: 'completed',
    amount: { total: asked.value, currency },
    create_time: at,
    update_time: at,
    links: [
      { href: `${base}/refund/${refund_id}`, rel: 'self', method: 'GET' },
      { href: `${base}/sale/${sale.id}`, rel: 'sale', method: 'GET' },
    ],
  }
  world.sale_refunds.add(refund_id, refund)
  sale.state = readMoney(asked, 'amount') === left ? 'refunded' : 'partially_refunded'
  sale.update_time = at
  tell(world, 'PAYMENT.SALE.REFUNDED', {
    resource_type: 'refund',
    resource: refund,
    object_id: sale.billing_agreement_id,
  })
  return refund
}

/** The control API: `refund` gives so much back as in the cabinet; `dispute: reversed` takes the money. */
export function completeSale(world: World, sale: Sale, input: CompleteInput): unknown {
  if (typeof input['refund'] === 'string')
    return refundSale(world, sale.id, { amount: { total: input['refund'], currency: sale.amount.currency } })
  if (input['dispute'] !== 'reversed')
    throw new ControlError(400, 'bad_outcome', 'A sale is refunded (`refund`) or reversed (`dispute`).')
  if (sale.state === 'refunded') throw wrongState(sale.id, sale.state)
  sale.state = 'refunded'
  sale.update_time = nowText(world)
  const { total, currency } = sale.amount
  const resource = {
    id: newId(world),
    sale_id: sale.id,
    state: 'completed',
    amount: { total: `-${total}`, currency },
    create_time: nowText(world),
  }
  tell(world, 'PAYMENT.SALE.REVERSED', {
    resource_type: 'sale',
    resource,
    object_id: sale.billing_agreement_id,
  })
  return sale
}

export function priceOf({ amount }: Sale | SaleRefund): Money {
  return { currency_code: amount.currency, value: amount.total }
}

function refundedOf(world: World, sale: Sale): bigint {
  const own = [...world.sale_refunds.values()].filter(({ sale_id }) => sale_id === sale.id)
  return own.reduce((sum, refund) => sum + readMoney(priceOf(refund), 'amount'), 0n)
}
