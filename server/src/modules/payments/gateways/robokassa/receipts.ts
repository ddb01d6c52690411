import { clipText, formatDecimal, phoneDigits, present, receiptTotal } from '@kopilka/extension'
import type { Receipt, ReceiptItem } from '@kopilka/extension'
import { VATS } from './config.ts'
import type { Config } from './config.ts'

const ITEMS_MAX = 100
/** The fourth system no longer exists. */
const TAX_SYSTEMS: Readonly<Record<number, string>> = {
  1: 'osn',
  2: 'usn_income',
  3: 'usn_income_outcome',
  5: 'esn',
  6: 'patent',
}

/** The vendor's form of a receipt, the reason why there cannot be one, or neither where none is sent. */
export type ReceiptForm =
  | { receipt?: { sno?: string; items: object[] }; refusal?: undefined }
  | { refusal: string }

/** The receipt of a payment of `amount`; its lines must add up to the amount, and someone must get it. */
export function receiptForm(config: Config, amount: bigint, receipt: Receipt | undefined): ReceiptForm {
  if (!config.receipts || receipt === undefined) return {}
  if (contactOf(receipt) === undefined) return { refusal: 'receipt_contact_missing' }
  if (receiptTotal(receipt) !== amount) return { refusal: 'receipt_total_differs' }
  if (receipt.items.length > ITEMS_MAX) return { refusal: 'receipt_too_long' }
  const sno = TAX_SYSTEMS[receipt.tax_system ?? config.tax_system ?? 0]
  return { receipt: { ...present({ sno }), items: receipt.items.map(classicItem) } }
}

/** The receipt of a purchase that came without one, where the owner has set the VAT for it. */
export function oneLineReceipt(
  config: Config,
  purchase: { amount: bigint; description: string; email?: string },
): Receipt | undefined {
  if (config.default_vat === undefined || purchase.email === undefined) return undefined
  const line = { quantity: 1, payment_subject: 'service', payment_mode: 'full_payment' }
  const { description, amount: unit_amount, email } = purchase
  return { contact: { email }, items: [{ ...line, description, unit_amount, vat: config.default_vat }] }
}

/** The receipt of a refund: the refund service spells its fields otherwise and knows prices of one only. */
export function refundItems(
  config: Config,
  amount: bigint,
  receipt: Receipt | undefined,
): object[] | undefined {
  if (receiptForm(config, amount, receipt).refusal !== undefined || !config.receipts) return undefined
  return receipt?.items.map((item) => ({
    Name: clipText(item.description, 128),
    Quantity: item.quantity,
    Cost: jsonAmount(item.unit_amount),
    Tax: VATS[item.vat],
    PaymentMethod: item.payment_mode,
    PaymentObject: item.payment_subject,
  }))
}

/** The payload of a second receipt: goods handed over against a prepayment. */
export function secondReceipt(
  config: Config,
  ids: { id: string; origin_id: string; shop_url: string },
  receipt: Receipt,
): object | undefined {
  const total = receiptTotal(receipt)
  const client = contactOf(receipt)
  if (total === undefined || client === undefined || receipt.items.length > ITEMS_MAX) return undefined
  const sno = TAX_SYSTEMS[receipt.tax_system ?? config.tax_system ?? 0]
  return {
    merchantId: config.merchant_login,
    id: ids.id,
    originId: ids.origin_id,
    operation: 'sell',
    ...present({ sno }),
    url: ids.shop_url,
    total: jsonAmount(total),
    items: receipt.items.map((item) => ({ ...classicItem(item), payment_method: 'full_payment' })),
    client,
    // 2 is "prepayment offset": the money came with the first receipt.
    payments: [{ type: 2, sum: jsonAmount(total) }],
  }
}

/** Kopecks as a JSON number of roubles. Up to 15 digits the shortest decimal is exactly the one meant. */
export function jsonAmount(amount: bigint): number {
  if (amount >= 10n ** 15n) throw new RangeError('an amount of more than 15 digits has no exact JSON number')
  return Number(formatDecimal(amount, 2))
}

function classicItem(item: ReceiptItem): object {
  return {
    name: clipText(item.description, 128),
    quantity: item.quantity,
    sum: jsonAmount((item.unit_amount * BigInt(Math.round(item.quantity * 1000))) / 1000n),
    payment_method: item.payment_mode,
    payment_object: item.payment_subject,
    tax: VATS[item.vat],
  }
}

function contactOf({ contact }: Receipt): { email: string } | { phone: string } | undefined {
  if (contact.email !== undefined) return { email: contact.email }
  const phone = contact.phone === undefined ? undefined : phoneDigits(contact.phone)
  return phone === undefined ? undefined : { phone }
}
