import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Catalog, diffCatalog } from './catalog-diff.ts'
import { parseCatalogFile } from './catalog-file.ts'
import { catalogFileText, changesText } from './catalog-text.ts'

const SEED = path.resolve(import.meta.dirname, '../../../../examples/catalog.screph.yaml')
const seed = parseCatalogFile(readFileSync(SEED, 'utf8')).catalog
const empty: Catalog = { units: [], products: [] }

describe('a catalog written as a file', () => {
  test('reads back as the same catalog', () => {
    expect(parseCatalogFile(catalogFileText(seed)).catalog).toEqual(seed)
    expect(parseCatalogFile(catalogFileText(empty)).catalog).toEqual(empty)
  })

  test('reads back exactly with every member set and texts that look like something else', () => {
    const [unit] = seed.units
    const [product] = seed.products
    if (!unit || !product) throw new Error('the seed is empty')
    const odd: Catalog = {
      units: [
        { ...unit, code: 'RUB', kind: 'money', is_debt_allowed: true, name: 'yes', names: { no: 'null' } },
      ],
      products: [
        {
          ...product,
          name: '  30: # "minutes"\n- x ',
          description: '1e3',
          descriptions: { ru: '<<', en: '&a *b !!c' },
          position: -5,
          visible_from: new Date('2026-01-01T00:00:00.123Z'),
          visible_until: new Date('2026-01-02T00:00:00Z'),
          is_active: false,
          metadata: { rate: 1.5, big: 9_007_199_254_740_991, on: true, off: null, text: '007', 'a: b': '' },
          prices: { RUB: 9_007_199_254_740_991n },
        },
      ],
    }
    const text = catalogFileText(odd)
    expect(parseCatalogFile(text).catalog).toEqual(odd)
  })

  test('leaves out what follows by itself', () => {
    expect(catalogFileText(seed)).toContain('      - { unit: minute, amount: 1800, validity_days: 90 }\n')
    expect(catalogFileText(seed)).not.toMatch(/is_active|priority|source|kind|metadata/)
  })
})

describe('a difference shown to people', () => {
  test('has one line per thing, one per member, and the counts', () => {
    const [product] = seed.products
    if (!product) throw new Error('the seed is empty')
    const { XTR: _stars, ...prices } = product.prices
    const wanted = {
      ...product,
      name: 'Half an hour',
      description: null,
      prices: { ...prices, RUB: 25_000n, KZT: 1n },
    }
    const changes = diffCatalog(seed, { units: seed.units, products: [wanted] }, { prune: true })
    expect(changesText(changes)).toBe(
      [
        '~ product minutes_30',
        '    name: 30 minutes → Half an hour',
        '    description: Valid for 90 days. → none',
        '+ price minutes_30 KZT 1',
        '~ price minutes_30 RUB 20000 → 25000',
        '- price minutes_30 XTR 130',
        '- product minutes_100',
        '- product minutes_300',
        '1 to create, 2 to change, 3 to deactivate, 2 unchanged',
      ].join('\n'),
    )
  })

  test('of nothing is only the counts', () => {
    expect(changesText(diffCatalog(seed, seed))).toBe(
      '0 to create, 0 to change, 0 to deactivate, 13 unchanged',
    )
  })

  test('of everything new shows what is made', () => {
    const text = changesText(diffCatalog(empty, seed))
    expect(text).toContain('+ unit minute\n    scale: 60\n    name: Minute\n')
    expect(text).toContain('    grants: 1800 minute, 90 days, priority 50, purchase, paid\n')
    expect(text).toContain('+ price minutes_300 RUB 120000\n')
  })
})
