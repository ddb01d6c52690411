import { VAT_RATES, type Receipt } from '@kopilka/extension'
import { InvalidState } from '#kernel/errors'
import { prepaymentVat, renderedVat, type FrozenItem, type FrozenReceipt } from '#modules/payments'

/** How this shop's sales are written on a fiscal receipt; settings of the owner. */
export interface FiscalSettings {
  vat: FrozenItem['vat']
  payment_subject: string
  /** `full_prepayment`: what is sold is given later, and an offset follows the receipt of the payment. */
  payment_mode: 'full_payment' | 'full_prepayment'
  /** The subject of money that is paid ahead; default `payment`. */
  prepayment_subject?: string
  tax_system?: number
  /** Gateways under the law; `auto`, or absent: those that ask for a receipt themselves. */
  gateways?: 'auto' | readonly string[]
  /**
   * When what was paid ahead counts as given: at the `grant` of the units, or at the `end` of the grant.
   * Default `end`.
   */
  offset?: 'grant' | 'end'
  /** At the latest so many days after the grant; default 365. */
  offset_days?: number
}

export interface ReceiptContact {
  email?: string | undefined
  phone?: string | undefined
}

interface ReceiptLine {
  name: string
  quantity: bigint
  unit_amount: bigint
  /** The product's own facts; `fiscal_vat` and `fiscal_subject` go before the settings. */
  metadata?: Readonly<Record<string, unknown>>
}

const SUBJECT = /^[a-z_]{1,40}$/

/**
 * The receipt of a whole order; the sum of its items is the order's total. Pure. Throws InvalidState for a
 * product whose own rate or subject is none.
 */
export function orderReceipt(
  lines: readonly ReceiptLine[],
  contact: ReceiptContact,
  fiscal: FiscalSettings,
): FrozenReceipt {
  return {
    contact: present(contact),
    items: lines.map((line, position) => ({ ...itemOf(line, fiscal), position })),
    ...(fiscal.tax_system === undefined ? {} : { tax_system: fiscal.tax_system }),
  }
}

function itemOf(line: ReceiptLine, fiscal: FiscalSettings): FrozenItem {
  const { vat, payment_subject } = termsOf(line, fiscal)
  const item = {
    description: line.name.slice(0, 128),
    quantity: Number(line.quantity),
    unit_amount: line.unit_amount,
    payment_mode: fiscal.payment_mode,
  }
  if (fiscal.payment_mode === 'full_payment') return { ...item, vat, payment_subject }
  return {
    ...item,
    vat: prepaymentVat(vat),
    payment_subject: fiscal.prepayment_subject ?? 'payment',
    rendered: { vat: renderedVat(vat), payment_subject },
  }
}

function termsOf(
  { name, metadata = {} }: ReceiptLine,
  fiscal: FiscalSettings,
): Pick<FrozenItem, 'vat' | 'payment_subject'> {
  const { fiscal_vat = fiscal.vat, fiscal_subject = fiscal.payment_subject } = metadata
  const vat = VAT_RATES.find((rate) => rate === String(fiscal_vat))
  if (vat === undefined) {
    throw new InvalidState(
      `The product ${name} has the fact fiscal_vat ${String(fiscal_vat)}; it may be ${VAT_RATES.join(', ')}.`,
    )
  }
  if (typeof fiscal_subject !== 'string' || !SUBJECT.test(fiscal_subject)) {
    throw new InvalidState(`The product ${name} has a fact fiscal_subject that is no word such as service.`)
  }
  return { vat, payment_subject: fiscal_subject }
}

function present({ email, phone }: ReceiptContact): Receipt['contact'] {
  return { ...(email === undefined ? {} : { email }), ...(phone === undefined ? {} : { phone }) }
}
