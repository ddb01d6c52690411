import type { Receipt, ReceiptItem } from './receipt-contract.ts'

/** Every rate of VAT the law has, in our words. A rate in a fraction is taken out of the whole price. */
export const VAT_RATES = [
  'none',
  '0',
  '5',
  '7',
  '10',
  '20',
  '22',
  '5/105',
  '7/107',
  '10/110',
  '20/120',
  '22/122',
] as const satisfies readonly ReceiptItem['vat'][]

/**
 * The sum of a receipt's lines in minor units, exact. `undefined` when a line is not a whole number of
 * minor units, or a quantity is not positive, not finite or has more than three decimals (the law's limit).
 */
export function receiptTotal(receipt: Receipt): bigint | undefined {
  let total = 0n
  for (const item of receipt.items) {
    const thousandths = quantityThousandths(item.quantity)
    if (thousandths === undefined || item.unit_amount < 0n) return undefined
    const line = item.unit_amount * thousandths
    if (line % 1000n !== 0n) return undefined
    total += line / 1000n
  }
  return total
}

/** What an e-mail address looks like to vendors: no blanks, one `@`, a host with dots, not too long. */
const EMAIL = /^[^\s@]{1,64}@[^\s@.]{1,63}(?:\.[^\s@.]{1,63})+$/

/**
 * The contact as vendors take it: the e-mail as it is, the phone as digits with the country code. What cannot
 * be one is left out; `undefined` when nothing is left.
 */
export function receiptContact(
  contact: { email?: string | undefined; phone?: string | undefined } | undefined,
): { email?: string; phone?: string } | undefined {
  const email = contact?.email?.trim()
  const phone = contact?.phone === undefined ? undefined : phoneDigits(contact.phone)
  const is_email = email !== undefined && email.length <= 254 && EMAIL.test(email)
  if (!is_email && phone === undefined) return undefined
  return { ...(is_email ? { email } : {}), ...(phone === undefined ? {} : { phone }) }
}

/** A phone in the form vendors want: country code and digits only; a Russian trunk `8` becomes `7`. */
export function phoneDigits(phone: string): string | undefined {
  const digits = phone.replace(/\D/g, '')
  if (/^8\d{10}$/.test(digits) && !phone.trim().startsWith('+')) return `7${digits.slice(1)}`
  return /^\d{7,15}$/.test(digits) ? digits : undefined
}

function quantityThousandths(quantity: number): bigint | undefined {
  if (!(quantity > 0 && quantity <= 99_999.999)) return undefined
  const thousandths = Math.round(quantity * 1000)
  return thousandths / 1000 === quantity ? BigInt(thousandths) : undefined
}
