import { VendorError } from './objects.ts'
import type { Money, World } from './objects.ts'
import { priceOf } from './sales.ts'

const RANGE_MAX_MS = 31 * 86_400_000

interface Line {
  transaction_info: {
    transaction_id: string
    transaction_event_code: string
    transaction_initiation_date: string
    transaction_updated_date: string
    transaction_amount: Money
    fee_amount?: Money
    transaction_status: string
    custom_field?: string
    invoice_id?: string
    paypal_reference_id?: string
    paypal_reference_id_type?: string
  }
}

/** `GET /v1/reporting/transactions`, oldest first. The delay of hours the vendor has is not played. */
export function report(world: World, query: Readonly<Record<string, string>>): object {
  const [from, to] = [Date.parse(query['start_date'] ?? ''), Date.parse(query['end_date'] ?? '')]
  if (!(from <= to) || to - from > RANGE_MAX_MS) {
    throw new VendorError(400, 'INVALID_REQUEST', [
      { issue: 'INVALID_DATE_RANGE', description: 'At most 31 days.', field: 'start_date' },
    ])
  }
  const size = Number(query['page_size'] ?? 100)
  const page = Number(query['page'] ?? 1)
  const lines = [...payments(world), ...refunds(world), ...sales(world), ...saleRefunds(world)].filter(
    ({ transaction_info }) => {
      const at = Date.parse(transaction_info.transaction_initiation_date)
      return at >= from && at <= to
    },
  )
  return {
    transaction_details: lines.slice((page - 1) * size, page * size),
    account_number: world.kit.settings().merchant_id,
    page,
    total_items: lines.length,
    total_pages: Math.ceil(lines.length / size),
    links: [],
  }
}

function payments(world: World): Line[] {
  return [...world.captures.values()].map(({ capture }) => ({
    transaction_info: {
      transaction_id: capture.id,
      transaction_event_code: 'T0006',
      transaction_initiation_date: capture.create_time,
      transaction_updated_date: capture.update_time,
      transaction_amount: capture.amount,
      ...(capture.seller_receivable_breakdown
        ? { fee_amount: negative(capture.seller_receivable_breakdown.paypal_fee) }
        : {}),
      transaction_status: { PENDING: 'P', DECLINED: 'D', REFUNDED: 'V' }[capture.status as string] ?? 'S',
      ...named(capture),
    },
  }))
}

function refunds(world: World): Line[] {
  return [...world.refunds.values()].map(({ refund, capture }) => ({
    transaction_info: {
      transaction_id: refund.id,
      transaction_event_code: 'T1107',
      transaction_initiation_date: refund.create_time,
      transaction_updated_date: refund.update_time,
      transaction_amount: negative(refund.amount),
      transaction_status: { PENDING: 'P', FAILED: 'D' }[refund.status as string] ?? 'S',
      paypal_reference_id: capture.id,
      paypal_reference_id_type: 'TXN',
      ...named(refund),
    },
  }))
}

function sales(world: World): Line[] {
  return [...world.sales.values()].map((sale) => ({
    transaction_info: {
      transaction_id: sale.id,
      transaction_event_code: 'T0002',
      transaction_initiation_date: sale.create_time,
      transaction_updated_date: sale.update_time,
      transaction_amount: priceOf(sale),
      fee_amount: negative({
        currency_code: sale.transaction_fee.currency,
        value: sale.transaction_fee.value,
      }),
      transaction_status: sale.state === 'refunded' ? 'V' : 'S',
      ...(sale.custom === undefined ? {} : { custom_field: sale.custom }),
      paypal_reference_id: sale.billing_agreement_id,
      paypal_reference_id_type: 'SUB',
    },
  }))
}

function saleRefunds(world: World): Line[] {
  return [...world.sale_refunds.values()].map((refund) => ({
    transaction_info: {
      transaction_id: refund.id,
      transaction_event_code: 'T1107',
      transaction_initiation_date: refund.create_time,
      transaction_updated_date: refund.update_time,
      transaction_amount: negative(priceOf(refund)),
      transaction_status: 'S',
      paypal_reference_id: refund.sale_id,
      paypal_reference_id_type: 'TXN',
    },
  }))
}

function named(object: { custom_id?: string; invoice_id?: string }) {
  return {
    ...(object.custom_id === undefined ? {} : { custom_field: object.custom_id }),
    ...(object.invoice_id === undefined ? {} : { invoice_id: object.invoice_id }),
  }
}

function negative(money: Money): Money {
  return { ...money, value: `-${money.value}` }
}
