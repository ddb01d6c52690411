import { VAT_RATES } from '@kopilka/extension'
import { describe, expect, it } from 'vitest'
import { prepaymentVat, renderedVat, vatWithin } from './receipt-vat.ts'

describe('VAT on receipts', () => {
  it('is calculated on money paid ahead, and plain again on what is given', () => {
    expect(VAT_RATES.map((vat) => [vat, prepaymentVat(vat), renderedVat(vat)])).toEqual([
      ['none', 'none', 'none'],
      ['0', '0', '0'],
      ['5', '5/105', '5'],
      ['7', '7/107', '7'],
      ['10', '10/110', '10'],
      ['20', '20/120', '20'],
      ['22', '22/122', '22'],
      ['5/105', '5/105', '5'],
      ['7/107', '7/107', '7'],
      ['10/110', '10/110', '10'],
      ['20/120', '20/120', '20'],
      ['22/122', '22/122', '22'],
    ])
  })

  it('is the part of the price that the rate makes, to the kopeck, halves up', () => {
    expect(vatWithin('none', 12_200n)).toBeUndefined()
    expect(vatWithin('0', 12_200n)).toBe(0n)
    expect(vatWithin('22', 12_200n)).toBe(2200n)
    expect(vatWithin('22/122', 12_200n)).toBe(2200n)
    expect(vatWithin('20', 100n)).toBe(17n)
    expect(vatWithin('10', 11n)).toBe(1n)
    // 5/105 of 10.50 kopecks would be half a kopeck.
    expect(vatWithin('5', 10n)).toBe(0n)
    expect(vatWithin('5', 11n)).toBe(1n)
  })
})
