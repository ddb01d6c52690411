import { invalidRequest } from './errors.ts'
import type { Amount } from './objects.ts'

/** At most twelve digits before the dot and two after it; a sign, an exponent or a comma is refused. */
const DECIMAL = /^(0|[1-9]\d{0,11})(?:\.(\d{1,2}))?$/

/** Kopecks of a decimal string; undefined when it is not one. */
export function parseValue(value: string): bigint | undefined {
  const match = DECIMAL.exec(value)
  if (!match) return undefined
  return BigInt(match[1] ?? '0') * 100n + BigInt((match[2] ?? '').padEnd(2, '0'))
}

/** `59900n` → `599.00`. */
export function formatValue(kopecks: bigint): string {
  return `${kopecks / 100n}.${String(kopecks % 100n).padStart(2, '0')}`
}

export function toAmount(kopecks: bigint, currency: string): Amount {
  return { value: formatValue(kopecks), currency }
}

/** Kopecks of a request's amount. Throws 400 for nonsense, zero, and a currency the shop does not have. */
export function readAmount(amount: Amount, currency: string, parameter: string): bigint {
  const kopecks = parseValue(amount.value)
  if (kopecks === undefined) throw invalidRequest('Amount is not a decimal number', `${parameter}.value`)
  if (kopecks === 0n) throw invalidRequest('Amount must be above zero', `${parameter}.value`)
  if (amount.currency !== currency) {
    throw invalidRequest('The shop does not accept this currency', `${parameter}.currency`)
  }
  return kopecks
}

/** VAT on the vendor's own fee, per cent; 22 since 2026-01-01. */
const FEE_VAT_PERCENT = 22n

/** What the shop is paid out: the amount less the fee and the VAT on the fee, each rounded up to a kopeck. */
export function incomeOf(kopecks: bigint, fee_permille: number): bigint {
  const fee = (kopecks * BigInt(fee_permille) + 999n) / 1000n
  const vat = (fee * FEE_VAT_PERCENT + 99n) / 100n
  return kopecks > fee + vat ? kopecks - fee - vat : 0n
}
