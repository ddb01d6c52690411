const DECIMAL = /^(\d{1,15})(?:\.(\d{1,12}))?$/

/**
 * Reads a vendor's decimal string into minor units: `parseDecimal('599.00', 2)` is `59900n`.
 * Extra digits are allowed only when they are zeros (`'599.000000'`), so nothing is ever rounded.
 * Answers `undefined` for anything else: signs, exponents, commas, spaces, more precision than the unit has.
 */
export function parseDecimal(text: string, digits: number): bigint | undefined {
  const match = DECIMAL.exec(text)
  if (!match) return undefined
  const whole = match[1] ?? ''
  const fraction = match[2] ?? ''
  if (/[1-9]/.test(fraction.slice(digits))) return undefined
  return BigInt(whole + fraction.slice(0, digits).padEnd(digits, '0'))
}

/** Writes minor units as a vendor's decimal: `formatDecimal(59900n, 2)` is `'599.00'`. Never negative. */
export function formatDecimal(amount: bigint, digits: number): string {
  if (amount < 0n) throw new RangeError('an amount sent to a vendor is never negative')
  if (digits === 0) return String(amount)
  const text = String(amount).padStart(digits + 1, '0')
  return `${text.slice(0, -digits)}.${text.slice(-digits)}`
}
