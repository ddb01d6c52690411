import { InvalidRequest } from './errors.ts'

/** The largest integer JSON readers keep exact: 2^53 − 1. No amount on the wire is larger. */
export const AMOUNT_MAX = 9_007_199_254_740_991n

/**
 * Decimal places of the minor unit by currency (ISO 4217), where it is not two.
 * XTR (Telegram Stars) is whole stars; USDT and TON are kept in millionths and billionths.
 */
const DIGITS: Readonly<Record<string, number>> = {
  XTR: 0,
  JPY: 0,
  KRW: 0,
  VND: 0,
  CLP: 0,
  ISK: 0,
  PYG: 0,
  UGX: 0,
  XAF: 0,
  XOF: 0,
  BHD: 3,
  JOD: 3,
  KWD: 3,
  OMR: 3,
  TND: 3,
  IQD: 3,
  LYD: 3,
  USDT: 6,
  USDC: 6,
  TON: 9,
  BTC: 8,
  ETH: 9,
  LTC: 8,
  BNB: 8,
  TRX: 6,
}

/** How many decimal places one unit of the currency has: 2 for RUB, 0 for XTR. */
export function currencyDigits(currency: string): number {
  return DIGITS[currency] ?? 2
}

/**
 * `amount × numerator ÷ denominator`, rounded down (toward zero). All non-negative; the denominator positive.
 * Multiplies before it divides, so nothing is lost but the last fraction.
 */
export function shareRoundedDown(amount: bigint, numerator: bigint, denominator: bigint): bigint {
  checkShare(amount, numerator, denominator)
  return (amount * numerator) / denominator
}

/** As {@link shareRoundedDown}, rounded up. */
export function shareRoundedUp(amount: bigint, numerator: bigint, denominator: bigint): bigint {
  checkShare(amount, numerator, denominator)
  return (amount * numerator + denominator - 1n) / denominator
}

/** As {@link shareRoundedDown}, to the nearest; a half goes up. */
export function shareRoundedHalfUp(amount: bigint, numerator: bigint, denominator: bigint): bigint {
  checkShare(amount, numerator, denominator)
  return (2n * amount * numerator + denominator) / (2n * denominator)
}

/** `ceil(amount ÷ step)` for block rounding: how many steps cover the amount. */
export function stepsRoundedUp(amount: bigint, step: bigint): bigint {
  checkShare(amount, 1n, step)
  return (amount + step - 1n) / step
}

/**
 * Splits an amount in proportion to weights; the parts add up exactly, earlier parts get the odd minor units.
 * When all weights are zero the first part gets everything. Throws RangeError for negative numbers, and for
 * an amount that has no part to go to.
 */
export function splitByWeights(amount: bigint, weights: readonly bigint[]): bigint[] {
  if (amount < 0n || weights.some((weight) => weight < 0n))
    throw new RangeError('a split needs non-negative numbers')
  if (weights.length === 0 && amount > 0n) throw new RangeError('an amount cannot be split into no parts')
  const total = weights.reduce((sum, weight) => sum + weight, 0n)
  if (total === 0n) return weights.map((_, index) => (index === 0 ? amount : 0n))
  const parts = weights.map((weight) => shareRoundedDown(amount, weight, total))
  let rest = amount - parts.reduce((sum, part) => sum + part, 0n)
  for (let i = 0; rest > 0n; i = (i + 1) % parts.length) {
    if ((weights[i] ?? 0n) > 0n) {
      parts[i] = (parts[i] ?? 0n) + 1n
      rest -= 1n
    }
  }
  return parts
}

/** The smallest of the amounts. */
export function least(first: bigint, ...others: readonly bigint[]): bigint {
  return others.reduce((smallest, amount) => (amount < smallest ? amount : smallest), first)
}

/** A bigint as a JSON number. Throws {@link InvalidRequest} above 2^53 − 1: it could not be read exactly. */
export function wireAmount(amount: bigint): number {
  if (amount > AMOUNT_MAX || amount < -AMOUNT_MAX) {
    throw new InvalidRequest([{ pointer: '/amount', detail: 'is larger than 2^53 − 1' }])
  }
  return Number(amount)
}

function checkShare(amount: bigint, numerator: bigint, denominator: bigint): void {
  if (amount < 0n || numerator < 0n || denominator <= 0n)
    throw new RangeError('a share needs non-negative parts')
}
