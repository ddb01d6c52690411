import { formatDecimal, parseDecimal } from '@kopilka/extension'
import { z } from 'zod'

export const CURRENCIES =
  'USD EUR GBP AUD BRL CAD CHF CNY CZK DKK HKD HUF ILS JPY MXN MYR NOK NZD PHP PLN SEK SGD THB TWD'.split(' ')

/** The vendor takes no fractions of these, though the world divides two of them by a hundred. */
const WHOLE_ONLY = ['HUF', 'JPY', 'TWD']
const DIGITS: Readonly<Record<string, number>> = { JPY: 0 }

/** A vendor's amount as it stands in requests. */
export interface Money {
  currency_code: string
  value: string
}

/** An amount of the vendor in minor units. */
export const Amount = z
  .object({ currency_code: z.string().regex(/^[A-Z]{3}$/), value: z.string().max(32) })
  .transform(({ currency_code, value }, report) => {
    const amount = parseDecimal(value, digitsOf(currency_code))
    if (amount !== undefined) return { currency: currency_code, amount }
    report.addIssue('not an amount')
    return z.NEVER
  })
export type Amount = z.infer<typeof Amount>

/** As {@link Amount}, whatever its sign: reports write what was given back as negative. */
export const Size = z
  .object({ currency_code: z.string(), value: z.string().max(32) })
  .transform(({ value, ...money }) => ({ ...money, value: value.replace(/^-/, '') }))
  .pipe(Amount)

/** An amount of the older API, whatever its sign. */
export const SaleAmount = z
  .object({ total: z.string(), currency: z.string() })
  .transform(({ total: value, currency: currency_code }) => ({ currency_code, value }))
  .pipe(Size)

/** In the vendor's words; `undefined` for what the vendor cannot express: zero, or a part of a forint. */
export function toMoney({ amount, currency }: { amount: bigint; currency: string }): Money | undefined {
  const digits = digitsOf(currency)
  if (amount <= 0n || !CURRENCIES.includes(currency)) return undefined
  const value = formatDecimal(amount, digits)
  if (!WHOLE_ONLY.includes(currency)) return { currency_code: currency, value }
  const [whole = '', fraction = ''] = value.split('.')
  return /[1-9]/.test(fraction) ? undefined : { currency_code: currency, value: whole }
}

function digitsOf(currency: string): number {
  return DIGITS[currency] ?? 2
}
