import { clipText, phoneDigits, present, receiptTotal } from '@kopilka/extension'
import type { Receipt, ReceiptItem } from '@kopilka/extension'
import type { Config } from './config.ts'
import { VATS } from './config.ts'
import { vendorMoney } from './objects.ts'

interface Amount {
  amount: bigint
  currency: string
}

/** The vendor's form of a receipt, the reason why there cannot be one, or neither where none is sent. */
export type ReceiptForm = { receipt?: object; refusal?: undefined } | { refusal: string }

/**
 * Turns a receipt into the vendor's form for a payment or refund of `amount`. Checked before the call, so
 * that a refusal names its cause: the lines must add up to the amount, and there must be an e-mail or a
 * phone.
 */
export function receiptForm(config: Config, amount: Amount, receipt: Receipt | undefined): ReceiptForm {
  if (!config.receipts || receipt === undefined) return {}
  const { email, phone } = receipt.contact
  const customer = present({ email, phone: phone === undefined ? undefined : phoneDigits(phone) })
  if (customer.email === undefined && customer.phone === undefined)
    return { refusal: 'receipt_contact_missing' }
  if (receiptTotal(receipt) !== amount.amount) return { refusal: 'receipt_total_differs' }
  return {
    receipt: {
      customer,
      items: receipt.items.map((item) => vendorItem(item, amount.currency)),
      ...present({ tax_system_code: receipt.tax_system ?? config.tax_system }),
    },
  }
}

/** The receipt of a purchase that came without one, where the owner has set the VAT for it. */
export function oneLineReceipt(
  config: Config,
  purchase: Amount & { description: string; email?: string },
): Receipt | undefined {
  if (config.default_vat === undefined || purchase.email === undefined) return undefined
  const line = {
    description: purchase.description,
    quantity: 1,
    unit_amount: purchase.amount,
    vat: config.default_vat,
    payment_subject: 'service',
    payment_mode: 'full_payment',
  }
  return { contact: { email: purchase.email }, items: [line] }
}

/**
 * How a receipt registered apart from its payment was settled. Goods handed over against a prepayment made
 * earlier are settled by that prepayment; a first receipt, and money given back, by money that moved now.
 */
export function settlementType(
  kind: 'payment' | 'refund',
  receipt: Receipt,
  is_offset?: boolean,
): 'prepayment' | 'cashless' {
  if (kind === 'refund') return 'cashless'
  if (is_offset !== undefined) return is_offset ? 'prepayment' : 'cashless'
  return receipt.items.every((item) => item.payment_mode === 'full_payment') ? 'prepayment' : 'cashless'
}

function vendorItem(item: ReceiptItem, currency: string): object {
  return {
    description: clipText(item.description, 128),
    quantity: item.quantity,
    amount: vendorMoney({ amount: item.unit_amount, currency }),
    vat_code: VATS.indexOf(item.vat) + 1,
    payment_subject: item.payment_subject,
    payment_mode: item.payment_mode,
    measure: Number.isInteger(item.quantity) ? 'piece' : 'another',
  }
}
