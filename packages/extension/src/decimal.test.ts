import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatDecimal, parseDecimal } from './decimal.ts'

describe('parseDecimal', () => {
  it.each([
    ['599.00', 2, 59900n],
    ['599.000000', 2, 59900n],
    ['599', 2, 59900n],
    ['599.9', 2, 59990n],
    ['0.01', 2, 1n],
    ['0', 2, 0n],
    ['007.50', 2, 750n],
    ['5', 0, 5n],
    ['5.0', 0, 5n],
    ['0.000001', 6, 1n],
    ['999999999999999.99', 2, 99_999_999_999_999_999n],
  ])('reads %s with %i digits exactly', (text, digits, amount) => {
    expect(parseDecimal(text, digits)).toBe(amount)
  })

  it.each([
    '',
    ' ',
    '599.00 ',
    ' 599.00',
    '599,00',
    '1 000.00',
    '1,000.00',
    '+1',
    '-1',
    '-0',
    '1e3',
    '1e21',
    '0x10',
    '.5',
    '5.',
    '1.2.3',
    'NaN',
    'Infinity',
    '599.001',
    '599.0000000000001',
    '1234567890123456',
    '٥',
    '599.00\n',
    '599.00\u0000',
  ])('refuses %j: nothing is guessed or rounded', (text) => {
    expect(parseDecimal(text, 2)).toBeUndefined()
  })

  it('refuses more precision than the unit has, except zeros', () => {
    expect(parseDecimal('1.5', 0)).toBeUndefined()
    expect(parseDecimal('1.005', 2)).toBeUndefined()
    expect(parseDecimal('1.100', 2)).toBe(110n)
  })

  it('takes any text without throwing', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 0, max: 9 }), (text, digits) => {
        const amount = parseDecimal(text, digits)
        expect(amount === undefined || amount >= 0n).toBe(true)
      }),
    )
  })
})

describe('formatDecimal', () => {
  it.each([
    [1n, 2, '0.01'],
    [99n, 2, '0.99'],
    [100n, 2, '1.00'],
    [59900n, 2, '599.00'],
    [1_000_000_000n, 2, '10000000.00'],
    [0n, 2, '0.00'],
    [5n, 0, '5'],
    [1n, 6, '0.000001'],
  ])('writes %s minor units with %i digits as %s', (amount, digits, text) => {
    expect(formatDecimal(amount, digits)).toBe(text)
  })

  it('refuses a negative amount', () => {
    expect(() => formatDecimal(-1n, 2)).toThrow(RangeError)
  })

  it('is read back as the same amount, whatever the amount', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 10n ** 15n - 1n }),
        fc.integer({ min: 0, max: 9 }),
        (amount, digits) => {
          expect(parseDecimal(formatDecimal(amount, digits), digits)).toBe(amount)
        },
      ),
    )
  })
})
