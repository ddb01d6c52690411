import { describe, expect, it } from 'vitest'
import { idTime, vendorKey } from './our-ids.ts'

describe('ids', () => {
  it('tell when they were made, to the millisecond', () => {
    // Written here by the standard base 32, in the alphabet of ids.
    const milliseconds = Date.UTC(2026, 2, 1, 12)
    const letters = milliseconds.toString(32).padStart(10, '0')
    const digits = '0123456789abcdefghijklmnopqrstuv'
    const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
    const head = letters.replace(/./g, (letter) => alphabet.charAt(digits.indexOf(letter)))
    expect(idTime(`pay_${head}0000000000000000`)).toEqual(new Date(milliseconds))
    expect(idTime('pay_1')).toBeUndefined()
    expect(idTime(`pay_${'u'.repeat(26)}`)).toBeUndefined()
  })

  it('make keys that are the same for the same words and differ for others', () => {
    expect(vendorKey(['pay_01'], 64)).toBe('pay_01')
    expect(vendorKey(['capture', 'pay_01', '100'], 64)).toBe('capture.pay_01.100')
    const long = vendorKey(['x'.repeat(65)], 64)
    expect(long).toMatch(/^[0-9a-f]{64}$/)
    expect(vendorKey(['x'.repeat(65)], 64)).toBe(long)
    expect(vendorKey(['x'.repeat(66)], 64)).not.toBe(long)
    expect(vendorKey(['a b'], 64)).toMatch(/^[0-9a-f]{64}$/)
    expect(vendorKey(['платёж'], 30)).toMatch(/^[0-9a-f]{30}$/)
  })
})
