import type { Receipt, ReceiptItem } from '@kopilka/extension'

/** How this shop's sales are written on a fiscal receipt; settings of the owner. */
export interface FiscalSettings {
  vat: ReceiptItem['vat']
  payment_subject: string
  payment_mode: string
  tax_system?: number
}

export interface ReceiptContact {
  email?: string | undefined
  phone?: string | undefined
}

interface ReceiptLine {
  name: string
  quantity: bigint
  unit_amount: bigint
  amount: bigint
}

/** The receipt of a whole order; the sum of its items is the order's total. Pure. */
export function orderReceipt(
  lines: readonly ReceiptLine[],
  contact: ReceiptContact,
  fiscal: FiscalSettings,
): Receipt {
  return receiptOf(
    contact,
    fiscal,
    lines.map((line) => ({
      ...itemOf(line.name, fiscal),
      quantity: Number(line.quantity),
      unit_amount: line.unit_amount,
    })),
  )
}

function itemOf(name: string, fiscal: FiscalSettings): Omit<ReceiptItem, 'quantity' | 'unit_amount'> {
  return {
    description: name.slice(0, 128),
    vat: fiscal.vat,
    payment_subject: fiscal.payment_subject,
    payment_mode: fiscal.payment_mode,
  }
}

function receiptOf(contact: ReceiptContact, fiscal: FiscalSettings, items: ReceiptItem[]): Receipt {
  return {
    contact: {
      ...(contact.email === undefined ? {} : { email: contact.email }),
      ...(contact.phone === undefined ? {} : { phone: contact.phone }),
    },
    items,
    ...(fiscal.tax_system === undefined ? {} : { tax_system: fiscal.tax_system }),
  }
}
