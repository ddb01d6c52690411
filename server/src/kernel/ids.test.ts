import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { isId, newId, pairId, readPairId } from './ids.ts'

const MAX = (1n << 63n) - 1n
const int8 = fc.bigInt({ min: 0n, max: MAX })

describe('a new id', () => {
  test('has the form prefix, underscore, 26 small letters and digits', () => {
    expect(newId('cus')).toMatch(/^cus_[0-9a-hjkmnp-tv-z]{26}$/)
    expect(isId('cus', newId('cus'))).toBe(true)
    expect(isId('ord', newId('cus'))).toBe(false)
  })

  test('a hundred thousand made at once differ and sort in the order they were made', () => {
    const ids = Array.from({ length: 100_000 }, () => newId('pay'))
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids.toSorted()).toEqual(ids)
  })

  test('sorts by its moment', () => {
    const base = Date.now() + 1_000_000
    const ids = [base, base + 1, base + 1_000, base + 86_400_000].map((moment) => newId('tr', moment))
    expect(ids.toSorted()).toEqual(ids)
  })

  test('still sorts after a clock that went back', () => {
    const base = Date.now() + 200_000_000
    const first = newId('tr', base)
    const second = newId('tr', base - 5_000)
    expect(second > first).toBe(true)
    expect(isId('tr', second)).toBe(true)
  })
})

describe('isId', () => {
  test('refuses what only looks like one', () => {
    const id = newId('cus')
    for (const text of [
      '',
      'cus_',
      id.toUpperCase(),
      `${id}0`,
      id.slice(0, -1),
      ` ${id}`,
      `${id}\n`,
      id.replace(/.$/, 'u'),
      `xcus_${id.slice(4)}`,
    ]) {
      expect(isId('cus', text), JSON.stringify(text)).toBe(false)
    }
  })
})

describe('the id of a pair of numbers', () => {
  test('is read back as what was written', () => {
    fc.assert(
      fc.property(int8, int8, (high, low) => {
        const id = pairId('tr', high, low)
        expect(isId('tr', id)).toBe(true)
        expect(readPairId('tr', id)).toEqual({ high, low })
      }),
    )
  })

  test('sorts as the pairs do', () => {
    fc.assert(
      fc.property(int8, int8, int8, (high, low, other) => {
        expect(pairId('tr', high, low) < pairId('tr', high, other)).toBe(low < other)
      }),
    )
  })

  test('nonsense, another prefix and numbers no database has are not read', () => {
    for (const text of [
      '',
      'tr_',
      'x'.repeat(1_000),
      pairId('gr', 1n, 2n),
      `tr_${'z'.repeat(26)}`,
      pairId('tr', -1n, 1n),
      pairId('tr', 1n, -1n),
    ]) {
      expect(readPairId('tr', text), text).toBeUndefined()
    }
  })

  test('a text with too many bits is not read as a smaller number', () => {
    // 26 letters hold 130 bits, a pair has 128: the first letter may not be above 7.
    const id = pairId('tr', 5n, 6n)
    for (const letter of ['8', 'g', 'z'])
      expect(readPairId('tr', `tr_${letter}${id.slice(4)}`)).toBeUndefined()
  })
})
