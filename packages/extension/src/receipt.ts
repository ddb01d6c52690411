import type { Receipt } from './gateway.ts'

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
