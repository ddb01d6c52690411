import { parseDecimal, present, readMoment } from '@kopilka/extension'
import type { VendorPayment, VendorPaymentStatus } from '@kopilka/extension'
import { z } from 'zod'
import type { Config } from './config.ts'

const FIAT = 'USD EUR RUB BYN UAH GBP CNY KZT UZS GEL TRY AMD THB INR BRL IDR AZN AED PLN ILS KGS TJS'.split(
  ' ',
)
/** Decimal places of an asset's minor unit, the same as in our ledger. */
const ASSET_DIGITS: Readonly<Record<string, number>> = {
  USDT: 6,
  USDC: 6,
  TON: 9,
  BTC: 8,
  ETH: 9,
  LTC: 8,
  BNB: 8,
  TRX: 6,
}
export const CURRENCIES = [...FIAT, ...Object.keys(ASSET_DIGITS)]
/** Precision of a transfer of an asset we do not price in. */
const OTHER_DIGITS = 8

const OUR_ID = /^[0-9A-Za-z_.-]{1,64}$/

/** The vendor writes decimals as texts, and some of them now and then as numbers. */
const Decimal = z.union([z.string().max(40), z.number().transform(String)])

/** Only what is used is read. The amount is in `fiat` or `asset`, whichever the invoice was made in. */
export const InvoiceObject = z
  .object({
    invoice_id: z.int().positive(),
    currency_type: z.string(),
    asset: z.string().optional(),
    fiat: z.string().optional(),
    amount: Decimal,
    status: z.string(),
    payload: z.string().optional(),
    bot_invoice_url: z.url({ protocol: /^https?$/ }).optional(),
    mini_app_invoice_url: z.url({ protocol: /^https?$/ }).optional(),
    web_app_invoice_url: z.url({ protocol: /^https?$/ }).optional(),
    created_at: z.string().optional(),
    paid_at: z.string().optional(),
    paid_asset: z.string().optional(),
    paid_amount: Decimal.optional(),
    fee_asset: z.string().optional(),
    fee_amount: Decimal.optional(),
  })
  .refine((invoice) => parseDecimal(invoice.amount, digitsOf(currencyOf(invoice))) !== undefined)
export type InvoiceObject = z.infer<typeof InvoiceObject>

export const TransferObject = z.object({
  transfer_id: z.int().positive(),
  spend_id: z.string().optional(),
  status: z.string(),
  completed_at: z.string().optional(),
})
export type TransferObject = z.infer<typeof TransferObject>

/** Decimal places of a currency's minor unit. */
export function digitsOf(currency: string): number {
  return ASSET_DIGITS[currency] ?? 2
}

export function isAsset(currency: string): boolean {
  return Object.hasOwn(ASSET_DIGITS, currency)
}

/** The vendor's invoice in our words. The price is told, not what was paid for it in an asset. */
export function toPayment(config: Config, invoice: InvoiceObject): VendorPayment {
  const currency = currencyOf(invoice)
  const status = paymentStatus(invoice.status)
  const is_paid = status === 'succeeded'
  const { fee_asset, fee_amount } = invoice
  const has_fee = is_paid && fee_asset !== undefined && fee_amount !== undefined
  const fee = has_fee ? parseDecimal(fee_amount, digitsOf(fee_asset)) : undefined
  return {
    external_id: String(invoice.invoice_id),
    status,
    amount: parseDecimal(invoice.amount, digitsOf(currency)) ?? 0n,
    currency,
    is_test: config.network === 'testnet',
    ...ourIds(invoice.payload),
    ...present({
      fee,
      fee_currency: fee !== undefined && fee_asset !== currency ? fee_asset : undefined,
      failure_reason: status === 'canceled' ? 'expired' : undefined,
      paid_at: is_paid ? readMoment(invoice.paid_at) : undefined,
      created_at: readMoment(invoice.created_at),
    }),
  }
}

/** Our ids as they stand in an invoice's payload; nothing for whatever else may stand there. */
export function ourIds(payload: string | undefined): { payment_id?: string; order_id?: string } {
  const [payment_id = '', order_id = '', ...more] = (payload ?? '').split(' ')
  if (!OUR_ID.test(payment_id) || !OUR_ID.test(order_id) || more.length > 0) return {}
  return { payment_id, order_id }
}

export function payloadOf(input: { payment_id: string; order_id: string }): string {
  return `${input.payment_id} ${input.order_id}`
}

/**
 * What to send back for a part of a paid invoice: the same part of the asset it was paid in, rounded down to
 * the asset's last place. `undefined` when the invoice does not tell what was paid, or the part is nothing.
 */
export function assetShare(
  invoice: InvoiceObject,
  part: { amount: bigint; of: bigint },
): { asset: string; amount: bigint; digits: number } | undefined {
  const asset = invoice.paid_asset ?? invoice.asset
  const text = invoice.paid_amount ?? (invoice.asset === undefined ? undefined : invoice.amount)
  if (asset === undefined || text === undefined || part.of <= 0n) return undefined
  const digits = ASSET_DIGITS[asset] ?? OTHER_DIGITS
  const paid = parseDecimal(text, digits)
  const amount = paid === undefined ? 0n : (paid * part.amount) / part.of
  return amount > 0n ? { asset, amount, digits } : undefined
}

function currencyOf(invoice: {
  currency_type: string
  asset?: string | undefined
  fiat?: string | undefined
}): string {
  return (invoice.currency_type === 'fiat' ? invoice.fiat : invoice.asset) ?? ''
}

function paymentStatus(status: string): VendorPaymentStatus {
  if (status === 'paid') return 'succeeded'
  return status === 'expired' ? 'canceled' : 'pending'
}
