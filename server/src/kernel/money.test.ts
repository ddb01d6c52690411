import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  AMOUNT_MAX,
  currencyDigits,
  least,
  shareRoundedDown,
  shareRoundedHalfUp,
  shareRoundedUp,
  splitByWeights,
  stepsRoundedUp,
  wireAmount,
} from './money.ts'

const amount = fc.bigInt({ min: 0n, max: AMOUNT_MAX })
const part = fc.bigInt({ min: 0n, max: 10n ** 12n })
const whole = fc.bigInt({ min: 1n, max: 10n ** 12n })

describe('a share', () => {
  test.each([
    [100n, 1n, 3n, 33n, 34n, 33n],
    [200n, 1n, 3n, 66n, 67n, 67n],
    [1n, 1n, 2n, 0n, 1n, 1n],
    [0n, 5n, 7n, 0n, 0n, 0n],
    [50_000n, 4_500n, 6_000n, 37_500n, 37_500n, 37_500n],
    [AMOUNT_MAX, AMOUNT_MAX, 1n, AMOUNT_MAX * AMOUNT_MAX, AMOUNT_MAX * AMOUNT_MAX, AMOUNT_MAX * AMOUNT_MAX],
  ])('%s × %s ÷ %s is %s down, %s up, %s to the nearest', (of, numerator, denominator, down, up, nearest) => {
    expect(shareRoundedDown(of, numerator, denominator)).toBe(down)
    expect(shareRoundedUp(of, numerator, denominator)).toBe(up)
    expect(shareRoundedHalfUp(of, numerator, denominator)).toBe(nearest)
  })

  test('down and up are at most one apart and enclose the exact share; the nearest is one of them', () => {
    fc.assert(
      fc.property(amount, part, whole, (of, numerator, denominator) => {
        const down = shareRoundedDown(of, numerator, denominator)
        const up = shareRoundedUp(of, numerator, denominator)
        const nearest = shareRoundedHalfUp(of, numerator, denominator)
        expect(down * denominator <= of * numerator).toBe(true)
        expect(up * denominator >= of * numerator).toBe(true)
        expect(up - down <= 1n).toBe(true)
        expect(nearest === down || nearest === up).toBe(true)
        const error = nearest * denominator - of * numerator
        expect(2n * (error < 0n ? -error : error) <= denominator).toBe(true)
      }),
    )
  })

  test('negative parts and a denominator of zero are refused', () => {
    for (const [of, numerator, denominator] of [
      [-1n, 1n, 1n],
      [1n, -1n, 1n],
      [1n, 1n, 0n],
      [1n, 1n, -1n],
    ] as const) {
      expect(() => shareRoundedDown(of, numerator, denominator)).toThrow(RangeError)
      expect(() => shareRoundedUp(of, numerator, denominator)).toThrow(RangeError)
      expect(() => shareRoundedHalfUp(of, numerator, denominator)).toThrow(RangeError)
    }
  })
})

describe('steps', () => {
  test('cover the amount with none to spare', () => {
    expect([0n, 1n, 15n, 16n, 30n].map((seconds) => stepsRoundedUp(seconds, 15n))).toEqual([
      0n,
      1n,
      1n,
      2n,
      2n,
    ])
    expect(() => stepsRoundedUp(1n, 0n)).toThrow(RangeError)
  })
})

describe('a split', () => {
  test('adds up exactly, gives nothing to a weight of zero, no part is a whole unit off', () => {
    fc.assert(
      fc.property(
        amount,
        fc.array(fc.bigInt({ min: 0n, max: 1_000_000n }), { minLength: 1, maxLength: 20 }),
        (of, weights) => {
          const parts = splitByWeights(of, weights)
          const total = weights.reduce((sum, weight) => sum + weight, 0n)
          expect(parts).toHaveLength(weights.length)
          expect(parts.reduce((sum, one) => sum + one, 0n)).toBe(of)
          if (total === 0n) return
          parts.forEach((one, index) => {
            const weight = weights[index] ?? 0n
            expect(one >= 0n).toBe(true)
            expect(weight > 0n || one === 0n).toBe(true)
            const error = one * total - of * weight
            expect((error < 0n ? -error : error) < total).toBe(true)
          })
        },
      ),
    )
  })

  test('the odd minor units go to the first', () => {
    expect(splitByWeights(100n, [1n, 1n, 1n])).toEqual([34n, 33n, 33n])
    expect(splitByWeights(2n, [0n, 1n, 1n, 1n])).toEqual([0n, 1n, 1n, 0n])
    expect(splitByWeights(7n, [0n, 0n])).toEqual([7n, 0n])
    expect(splitByWeights(0n, [])).toEqual([])
  })

  test('what cannot be split is refused instead of lost', () => {
    expect(() => splitByWeights(5n, [])).toThrow(RangeError)
    expect(() => splitByWeights(-5n, [1n, 1n])).toThrow(RangeError)
    expect(() => splitByWeights(5n, [3n, -1n])).toThrow(RangeError)
  })
})

test('the least of amounts', () => {
  expect(least(3n, 1n, 2n)).toBe(1n)
  expect(least(3n)).toBe(3n)
})

test('the digits of currencies', () => {
  expect(['RUB', 'USD', 'XTR', 'JPY', 'KWD', 'USDT'].map(currencyDigits)).toEqual([2, 2, 0, 0, 3, 6])
})

test('an amount above 2^53 − 1 does not go on the wire', () => {
  expect(wireAmount(AMOUNT_MAX)).toBe(Number.MAX_SAFE_INTEGER)
  expect(wireAmount(-AMOUNT_MAX)).toBe(-Number.MAX_SAFE_INTEGER)
  expect(() => wireAmount(AMOUNT_MAX + 1n)).toThrow('larger than 2^53')
  expect(() => wireAmount(-AMOUNT_MAX - 1n)).toThrow('larger than 2^53')
})
