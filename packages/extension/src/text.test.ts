import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { clipText, hideSecrets } from './text.ts'

describe('clipText', () => {
  it('leaves a text that fits and cuts one that does not, with an ellipsis', () => {
    expect(clipText('x'.repeat(128), 128)).toBe('x'.repeat(128))
    expect(clipText('x'.repeat(129), 128)).toBe(`${'x'.repeat(127)}…`)
    expect(clipText('one two', 5)).toBe('one…')
  })

  it('never splits an emoji and never exceeds the limit', () => {
    expect(clipText('👩‍👩‍👧x', 5)).toBe('…')
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 20 }), (text, max) => {
        const clipped = clipText(text, max)
        expect(clipped.length).toBeLessThanOrEqual(max)
        expect(clipped.isWellFormed() || !text.isWellFormed()).toBe(true)
      }),
    )
  })
})

describe('hideSecrets', () => {
  it('blots out a secret in every form it may be quoted in, and nothing else', () => {
    const key = 'live_k/ey+0123456789'
    const quoted = [
      key,
      Buffer.from(key).toString('base64'),
      Buffer.from(key).toString('base64url'),
      encodeURIComponent(key),
    ]
    const hidden = hideSecrets(`bad key ${quoted.join(' ')} in field a`, [key, ''])
    expect(quoted.filter((form) => hidden.includes(form))).toEqual([])
    expect(hidden.startsWith('bad key *** ***')).toBe(true)
    expect(hidden.endsWith(' in field a')).toBe(true)
    expect(hideSecrets('nothing here', [key])).toBe('nothing here')
  })
})
