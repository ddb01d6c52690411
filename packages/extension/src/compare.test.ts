import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sameBytes } from './compare.ts'

describe('sameBytes', () => {
  it('holds for equal texts and equal bytes, in any mixture', () => {
    expect(sameBytes('ключ', 'ключ')).toBe(true)
    expect(sameBytes('ключ', Buffer.from('ключ', 'utf8'))).toBe(true)
    expect(sameBytes(new Uint8Array([1, 2]), Buffer.from([1, 2]))).toBe(true)
    expect(sameBytes('', '')).toBe(true)
  })

  it('fails for another case, a cut, an addition and an empty text', () => {
    expect(sameBytes('abcd', 'ABCD')).toBe(false)
    expect(sameBytes('abcd', 'abc')).toBe(false)
    expect(sameBytes('abcd', 'abcde')).toBe(false)
    expect(sameBytes('abcd', '')).toBe(false)
  })

  it('compares lengths in bytes, not in characters, and does not throw when they differ', () => {
    expect(sameBytes('é', 'e')).toBe(false)
    expect(sameBytes('éa', 'aé!')).toBe(false)
  })

  it('agrees with plain comparison for any two byte strings', () => {
    const bytes = fc.uint8Array({ maxLength: 4 })
    fc.assert(
      fc.property(bytes, bytes, (left, right) => {
        expect(sameBytes(left, right)).toBe(Buffer.compare(left, right) === 0)
      }),
    )
  })
})
