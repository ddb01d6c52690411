import { describe, expect, test } from 'vitest'
import { InvalidRequest } from '#kernel/errors'
import { CATALOG_FILE_MAX_BYTES, parseCatalogFile } from './catalog-file.ts'

const good = `
version: 1
units:
  minute: { scale: 60, name: Minute, names: { ru: Минута } }
products:
  minutes_30:
    name: 30 minutes
    grants:
      - unit: minute
        amount: 1800
        validity_days: 90
    prices: { RUB: 20000 }
`

function faults(text: string): { pointer: string; detail: string }[] {
  try {
    parseCatalogFile(text)
  } catch (error) {
    if (error instanceof InvalidRequest) return error.facts['errors'] as { pointer: string; detail: string }[]
    throw error
  }
  return []
}

/** The good file with one line replaced. */
const edit = (from: string, to: string): string => {
  expect(good).toContain(from)
  return good.replace(from, to)
}

describe('a catalog file', () => {
  test('says units, products, grants and prices; the rest follows', () => {
    expect(parseCatalogFile(good).catalog).toEqual({
      units: [
        {
          code: 'minute',
          scale: 60n,
          name: 'Minute',
          names: { ru: 'Минута' },
          kind: 'counted',
          is_debt_allowed: false,
        },
      ],
      products: [
        {
          key: 'minutes_30',
          kind: 'pack',
          name: '30 minutes',
          names: {},
          description: null,
          descriptions: {},
          position: 0,
          visible_from: null,
          visible_until: null,
          is_active: true,
          metadata: {},
          grants: [
            {
              unit: 'minute',
              amount: 1800n,
              validity_days: 90,
              priority: 50,
              source: 'purchase',
              is_paid: true,
            },
          ],
          prices: { RUB: 20_000n },
        },
      ],
    })
  })

  test('may be empty of everything', () => {
    expect(parseCatalogFile('version: 1').catalog).toEqual({ units: [], products: [] })
    expect(parseCatalogFile('{}').catalog).toEqual({ units: [], products: [] })
  })

  test('keeps the largest exact integer, and refuses the next one instead of rounding it', () => {
    const { catalog } = parseCatalogFile(edit('amount: 1800', 'amount: 9007199254740991'))
    expect(catalog.products[0]?.grants[0]?.amount).toBe(9_007_199_254_740_991n)
    expect(faults(edit('amount: 1800', 'amount: 9007199254740992'))).toEqual([
      {
        pointer: '/products/minutes_30/grants/0/amount',
        detail: 'line 10, column 9: must be at most 9007199254740991',
      },
    ])
  })

  test.each([
    ['amount: 0', 'must be at least 1'],
    ['amount: -5', 'must be at least 1'],
    ['amount: 1.5', 'must be an integer'],
    ['amount: 1e3', 'must be an integer'],
    ['amount: "1800"', 'must be an integer'],
    ['amount: 1_800', 'must be an integer'],
    ['amount: .nan', 'must be an integer'],
    ['amount: null', 'must be an integer'],
  ])('refuses %s', (line, detail) => {
    const pointer = '/products/minutes_30/grants/0/amount'
    expect(faults(edit('amount: 1800', line))).toEqual([{ pointer, detail: `line 10, column 9: ${detail}` }])
  })

  test('refuses members nobody knows, each with its line', () => {
    expect(faults(edit('validity_days: 90', 'validity: 90'))).toEqual([
      {
        pointer: '/products/minutes_30/grants/0/validity',
        detail: 'line 11, column 9: is not known here',
      },
    ])
    expect(faults(edit('version: 1', 'verzion: 1'))).toEqual([
      { pointer: '/verzion', detail: 'line 2, column 1: is not known here' },
    ])
  })

  test('refuses bad names of units, products, languages and currencies', () => {
    const places = [
      faults(edit('  minute:', '  2minute:')),
      faults(edit('  minutes_30:', '  Minutes 30:')),
      faults(edit('{ ru: Минута }', '{ "русский": Минута }')),
      faults(edit('{ RUB: 20000 }', '{ rub: 20000 }')),
      faults(edit('  minutes_30:', '  __proto__:')),
    ].map((found) => found.map(({ detail }) => detail.split(':')[0]))
    expect(places).toEqual([
      ['line 4, column 3'],
      ['line 6, column 3'],
      ['line 4, column 47'],
      ['line 12, column 15'],
      ['line 6, column 3'],
    ])
  })

  test('refuses a product without a paid grant, a paid bonus, and dates in the wrong order', () => {
    const details = [
      faults(edit('unit: minute\n', 'unit: minute\n        source: bonus\n')),
      faults(edit('unit: minute\n', 'unit: minute\n        source: bonus\n        is_paid: true\n')),
      faults(
        edit(
          '    prices:',
          '    visible_from: 2026-02-01T00:00:00Z\n    visible_until: 2026-02-01T00:00:00Z\n    prices:',
        ),
      ),
      faults(edit('    prices:', '    visible_from: 2026-02-01\n    prices:')),
    ].map((found) => found.map(({ pointer, detail }) => `${pointer} ${detail}`))
    expect(details).toEqual([
      ['/products/minutes_30/grants line 8, column 5: must have at least one paid grant'],
      ['/products/minutes_30/grants/0/is_paid line 11, column 9: must be false: a bonus is free'],
      ['/products/minutes_30/visible_until line 13, column 5: must be later than visible_from'],
      [
        '/products/minutes_30/visible_from line 12, column 5: ' +
          'must be a date and time with zone like 2026-03-01T00:00:00Z',
      ],
    ])
  })

  test('names every fault at once', () => {
    const text = good
      .replace('scale: 60', 'scale: 0')
      .replace('RUB: 20000', 'RUB: free')
      .replace('90', 'ever')
    expect(faults(text).map(({ pointer }) => pointer)).toEqual([
      '/units/minute/scale',
      '/products/minutes_30/grants/0/validity_days',
      '/products/minutes_30/prices/RUB',
    ])
  })

  test.each([
    ['a broken document', 'products: [', /line 1, column/],
    [
      'a member given twice',
      good.replace('    name: 30 minutes', '    name: a\n    name: b'),
      /line 8, column 5/,
    ],
    ['a custom tag', edit('name: Minute', 'name: !!js/function x'), /line 4, column/],
    ['an unknown alias', edit('unit: minute', 'unit: *nobody'), /line 9, column/],
    ['two documents', `${good}---\n${good}`, /line 13, column 1/],
    ['a list at the top', '- a', /line 1, column 1/],
    ['a text at the top', 'hello', /line 1, column 1/],
    ['nothing', '', /line 1, column 1/],
    ['a complex name', '? [a, b]\n: 1', /line 1, column 3: this cannot be a name/],
    ['a merge', 'units:\n  a: &a { scale: 1, name: A }\n  b: { <<: *a }', /line 3, column/],
    ['a NUL', edit('name: Minute', 'name: "Min\\0ute"'), /cannot be kept/],
  ])('refuses %s', (_what, text, detail) => {
    const found = faults(text)
    expect(found.length).toBeGreaterThan(0)
    expect(found[0]?.detail).toMatch(detail)
  })

  test('may repeat grants by an alias, and refuses a bomb of them at once', () => {
    const alias = `
products:
  a: { name: A, grants: &minutes [{ unit: minute, amount: 60 }] }
  b: { name: B, grants: *minutes }`
    expect(parseCatalogFile(alias).catalog.products[1]?.grants[0]?.amount).toBe(60n)
    const levels = Array.from({ length: 30 }, (_, n) => `l${n + 1}: &l${n + 1} [${`*l${n},`.repeat(9)}]`)
    const started = performance.now()
    expect(faults(`l0: &l0 [x]\n${levels.join('\n')}`)[0]?.detail).toMatch(/more than 100 aliases/)
    const few = Array.from({ length: 20 }, (_, n) => `l${n + 1}: &l${n + 1} [*l${n}, *l${n}, *l${n}, *l${n}]`)
    expect(faults(`l0: &l0 [x]\n${few.join('\n')}`)[0]?.detail).toMatch(/expands more than 100 aliases/)
    expect(performance.now() - started).toBeLessThan(1000)
  })

  test('refuses a file that is too large or nested without end', () => {
    expect(faults(`# ${'x'.repeat(CATALOG_FILE_MAX_BYTES)}`)[0]?.detail).toMatch(/larger than 1048576 bytes/)
    const depth = 200_000
    expect(faults(`products: ${'['.repeat(depth)}${']'.repeat(depth)}`)).not.toEqual([])
  })

  test('answers where a fault found later stands, also within an alias', () => {
    const { locate } = parseCatalogFile(good)
    expect(locate(['products', 'minutes_30', 'grants', 0, 'unit'])).toBe('line 9, column 9')
    expect(locate(['products', 'minutes_30', 'prices', 'USD'])).toBe('line 12, column 5')
    expect(locate(['nowhere'])).toBe('line 1, column 1')
  })
})
