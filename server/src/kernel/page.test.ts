import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { InvalidRequest } from './errors.ts'
import { createCursors, toPage } from './page.ts'

const cursors = createCursors(randomBytes(32))

describe('a cursor', () => {
  test('brings its position back', () => {
    const position = ['2026-03-01T12:00:00.000Z', 'cus_1', 5]
    expect(cursors.open('customers', cursors.seal('customers', position))).toEqual(position)
    expect(cursors.open('customers', cursors.seal('customers', ['ключ "quoted"\n']))).toEqual([
      'ключ "quoted"\n',
    ])
  })

  test('fits its own list and its own installation alone', () => {
    const sealed = cursors.seal('customers', ['a'])
    expect(() => cursors.open('orders', sealed)).toThrow(InvalidRequest)
    expect(() => createCursors(randomBytes(32)).open('customers', sealed)).toThrow(InvalidRequest)
  })

  test('every altered letter is refused as a malformed request', () => {
    const sealed = cursors.seal('customers', ['2026-03-01', 7])
    for (let at = 0; at < sealed.length; at++) {
      const altered = `${sealed.slice(0, at)}${sealed[at] === 'x' ? 'y' : 'x'}${sealed.slice(at + 1)}`
      expect(() => cursors.open('customers', altered), `position ${at}`).toThrow(InvalidRequest)
    }
  })

  test('nonsense is refused', () => {
    for (const text of ['', '.', 'a.b', 'a.b.c', '..', 'x'.repeat(100_000), sealedBy('x'), '%00', 'é.é']) {
      expect(() => cursors.open('customers', text), text.slice(0, 20)).toThrow(InvalidRequest)
    }
  })

  test('a list whose name holds a line break cannot pass for another', () => {
    expect(() => cursors.open('a', cursors.seal('a\nb', ['x']))).toThrow(InvalidRequest)
  })
})

describe('a page', () => {
  const rows = (count: number) => Array.from({ length: count }, (_, n) => ({ n }))
  const page = (count: number, limit: number) =>
    toPage(
      rows(count),
      limit,
      cursors,
      'numbers',
      (row) => [row.n],
      (row) => row.n,
    )

  test('has no next one when all fit', () => {
    expect(page(0, 3)).toEqual({ items: [], next_cursor: null })
    expect(page(3, 3)).toEqual({ items: [0, 1, 2], next_cursor: null })
  })

  test('shows the limit and where the next one starts', () => {
    const { items, next_cursor } = page(4, 3)
    expect(items).toEqual([0, 1, 2])
    expect(cursors.open('numbers', next_cursor ?? '')).toEqual([2])
  })
})

function sealedBy(text: string): string {
  return `${Buffer.from(text).toString('base64url')}.${'A'.repeat(22)}`
}
