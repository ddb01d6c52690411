import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { findInPages, readAnswer, readMoment } from './answers.ts'
import { GatewayUnavailable } from './http.ts'
import { present } from './present.ts'
import { savedCard } from './saved-card.ts'

describe('answers', () => {
  it('of another form are an unknown outcome, and the error quotes nothing', () => {
    const schema = z.object({ id: z.string() })
    expect(readAnswer(schema, { id: 'a', more: 1 })).toEqual({ id: 'a' })
    for (const value of [undefined, null, '<html>', [], { id: 5 }]) {
      expect(() => readAnswer(schema, value)).toThrow(GatewayUnavailable)
    }
    expect(() => readAnswer(schema, { id: 5, key: 'canary' })).not.toThrow(/canary/)
  })

  it('give moments only where there is one', () => {
    expect(readMoment('2026-08-01T10:00:00.000Z')).toEqual(new Date(Date.UTC(2026, 7, 1, 10)))
    for (const text of [undefined, '', 'yesterday', '2026-08-01', '2026-13-45T99:00:00Z', '1']) {
      expect(readMoment(text)).toBeUndefined()
    }
  })

  it('are searched page by page until found or over', async () => {
    const pages = [[1, 2], [3, 4], [5]]
    const asked: (string | undefined)[] = []
    const readPage = async (cursor: string | undefined) => {
      asked.push(cursor)
      const index = Number(cursor ?? 0)
      const next_cursor = index + 1 < pages.length ? String(index + 1) : undefined
      return { items: pages[index] ?? [], ...present({ next_cursor }) }
    }
    expect(await findInPages(readPage, (item) => item === 3, 10)).toBe(3)
    expect(asked).toEqual([undefined, '1'])
    expect(await findInPages(readPage, (item) => item === 9, 10)).toBeUndefined()
    await expect(findInPages(readPage, (item) => item === 5, 2)).rejects.toBeInstanceOf(GatewayUnavailable)
  })

  it('leave out what is undefined and keep false, zero, null and empty', () => {
    expect(Object.keys(present({ a: undefined, b: false, c: 0, d: null, e: '' }))).toEqual([
      'b',
      'c',
      'd',
      'e',
    ])
  })

  it('name a saved card by brand and last digits, good through its month', () => {
    const card = {
      external_id: 'pm',
      kind: 'bank_card',
      brand: 'Mir',
      last4: '4477',
      expiry_year: 2027,
      expiry_month: 12,
    }
    expect(savedCard(card)).toEqual({
      external_id: 'pm',
      kind: 'bank_card',
      title: 'Mir •••• 4477',
      expires_at: new Date(Date.UTC(2028, 0, 1)),
    })
  })
})
