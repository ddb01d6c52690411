import { GatewayMisconfigured, idTime, present, readAnswer, readMoment } from '@kopilka/extension'
import type { ListPage, VendorPayment, VendorRefund } from '@kopilka/extension'
import { z } from 'zod'
import { callApi } from './api.ts'
import type { Shop } from './api.ts'
import { isSandbox } from './config.ts'
import { Size } from './money.ts'
import { feeIn, paymentIdIn, refundIdIn } from './objects.ts'

const DAY_MS = 86_400_000
/** One question of the vendor's report may span 31 days. */
const WINDOW_MS = 30 * DAY_MS
/** An authorization lives 29 days: so long after a payment was made its money may be taken. */
const LATE_MS = 30 * DAY_MS

const Line = z.object({
  transaction_info: z.object({
    transaction_id: z.string().regex(/^[0-9A-Za-z]{1,24}$/),
    transaction_event_code: z.string(),
    transaction_initiation_date: z.string(),
    transaction_amount: Size,
    fee_amount: Size.optional(),
    transaction_status: z.string(),
    custom_field: z.string().optional(),
    paypal_reference_id: z.string().optional(),
  }),
})
const Report = z.object({
  transaction_details: z.array(z.unknown()).optional(),
  total_pages: z.int().min(0).optional(),
})
type Info = z.infer<typeof Line>['transaction_info']

interface Range {
  from: Date
  to: Date
  cursor?: string
}

/**
 * Payments in the vendor's report of money, which runs up to three hours behind. A payment counts by the
 * moment its id was made; somebody else's by that of its money.
 */
export async function listPayments(shop: Shop, range: Range): Promise<ListPage<VendorPayment>> {
  const late = Math.min(range.to.getTime() + LATE_MS, shop.context.now.getTime())
  const end = new Date(Math.max(range.to.getTime(), late))
  const page = await readReport(shop, { ...range, to: end }, /^T00/)
  const items = page.items.filter((info) => {
    const payment_id = paymentIdIn(info.custom_field)
    const at = (payment_id && idTime(payment_id)) ?? readMoment(info.transaction_initiation_date)
    return at !== undefined && at >= range.from && at < range.to
  })
  return { ...page, items: items.map((info) => paymentOf(shop, info)) }
}

/** Refunds in the vendor's report. */
export async function listRefunds(shop: Shop, range: Range): Promise<ListPage<VendorRefund>> {
  const page = await readReport(shop, range, /^T1107$/)
  const items = page.items.filter((info) => {
    const at = readMoment(info.transaction_initiation_date)
    return at !== undefined && at >= range.from && at < range.to
  })
  return { ...page, items: items.map((info) => refundOf(shop, info)) }
}

/** The capture stands for the payment: the report does not name orders, and our own id does. */
function paymentOf({ config }: Shop, info: Info): VendorPayment {
  const { transaction_status, fee_amount, transaction_amount } = info
  const is_paid = transaction_status === 'S' || transaction_status === 'V'
  return {
    external_id: info.transaction_id,
    status: is_paid ? 'succeeded' : transaction_status === 'D' ? 'failed' : 'pending',
    ...transaction_amount,
    is_test: isSandbox(config),
    ...present({
      payment_id: paymentIdIn(info.custom_field),
      ...(is_paid && fee_amount ? feeIn(transaction_amount.currency, fee_amount) : {}),
      paid_at: is_paid ? readMoment(info.transaction_initiation_date) : undefined,
    }),
  }
}

function refundOf({ config }: Shop, info: Info): VendorRefund {
  const { transaction_status } = info
  const is_done = transaction_status === 'S' || transaction_status === 'V'
  return {
    external_id: info.transaction_id,
    status: is_done ? 'succeeded' : transaction_status === 'D' ? 'failed' : 'pending',
    ...info.transaction_amount,
    is_test: isSandbox(config),
    ...present({
      refund_id: refundIdIn(info.custom_field),
      payment_id: paymentIdIn(info.custom_field),
      created_at: readMoment(info.transaction_initiation_date),
    }),
  }
}

/** The cursor says in which window of the range we are, and on which page of it. */
async function readReport(shop: Shop, range: Range, codes: RegExp): Promise<ListPage<Info>> {
  const { window, page } = placeOf(range.cursor)
  const start = range.from.getTime() + window * WINDOW_MS
  const end = Math.min(start + WINDOW_MS, range.to.getTime())
  const query = new URLSearchParams({
    start_date: new Date(start).toISOString(),
    end_date: new Date(end).toISOString(),
    fields: 'transaction_info',
    page_size: '500',
    page: String(page),
  })
  const reply = await callApi(shop, { method: 'GET', path: `/v1/reporting/transactions?${query.toString()}` })
  if (reply.refusal !== undefined) throw new GatewayMisconfigured(reply.refusal)
  const { transaction_details = [], total_pages = 0 } = readAnswer(Report, reply.body)
  const items = transaction_details.flatMap((line) => {
    const code = z
      .object({ transaction_info: z.object({ transaction_event_code: z.string() }) })
      .safeParse(line).data?.transaction_info.transaction_event_code
    // Lines of other kinds may have any form; those of this kind must be readable.
    return code !== undefined && codes.test(code) ? [readAnswer(Line, line).transaction_info] : []
  })
  if (page < total_pages) return { items, next_cursor: `${window}:${page + 1}` }
  return end < range.to.getTime() ? { items, next_cursor: `${window + 1}:1` } : { items }
}

function placeOf(cursor: string | undefined): { window: number; page: number } {
  const [, window = '0', page = '1'] = /^(\d{1,4}):(\d{1,6})$/.exec(cursor ?? '') ?? []
  return { window: Number(window), page: Number(page) }
}
