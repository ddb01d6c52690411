import { describe, expect, test } from 'vitest'
import {
  type Catalog,
  type CatalogProduct,
  type CatalogUnit,
  diffCatalog,
  hasChanges,
} from './catalog-diff.ts'
import { completeGrant } from './product-grants.ts'

const minute: CatalogUnit = {
  code: 'minute',
  scale: 60n,
  name: 'Minute',
  names: { ru: 'Минута', en: 'Minute' },
  kind: 'counted',
  is_debt_allowed: false,
}

const pack: CatalogProduct = {
  key: 'minutes_30',
  kind: 'pack',
  name: '30 minutes',
  names: {},
  description: null,
  descriptions: {},
  position: 0,
  visible_from: null,
  visible_until: new Date('2027-01-01T00:00:00Z'),
  is_active: true,
  metadata: { a: 1, b: 'x' },
  grants: [completeGrant({ unit: 'minute', amount: 1800n, validity_days: 90 })],
  prices: { RUB: 20_000n, XTR: 130n },
}

const catalog: Catalog = { units: [minute], products: [pack] }
const empty: Catalog = { units: [], products: [] }
const withProduct = (change: Partial<CatalogProduct>): Catalog => ({
  units: [minute],
  products: [{ ...pack, ...change }],
})
const summary = (current: Catalog, wanted: Catalog, prune = false): string[] =>
  diffCatalog(current, wanted, { prune })
    .filter(({ action }) => action !== 'unchanged')
    .map((change) => {
      const currency = change.noun === 'price' ? ` ${change.currency}` : ''
      return `${change.action} ${change.noun} ${change.key}${currency}`
    })

describe('the difference of two catalogs', () => {
  test('is nothing for equal ones, whatever the order of members', () => {
    const same = withProduct({
      metadata: { b: 'x', a: 1 },
      prices: { XTR: 130n, RUB: 20_000n },
      visible_until: new Date('2027-01-01T00:00:00Z'),
    })
    const changes = diffCatalog(catalog, same, { prune: true })
    expect(changes.map(({ action }) => action)).toEqual(['unchanged', 'unchanged', 'unchanged', 'unchanged'])
    expect(hasChanges(changes)).toBe(false)
  })

  test('from nothing creates units first, then each product with its prices', () => {
    expect(summary(empty, catalog)).toEqual([
      'create unit minute',
      'create product minutes_30',
      'create price minutes_30 RUB',
      'create price minutes_30 XTR',
    ])
  })

  test.each<[string, Partial<CatalogProduct>]>([
    ['name', { name: 'x' }],
    ['names', { names: { ru: 'x' } }],
    ['description', { description: 'x' }],
    ['descriptions', { descriptions: { ru: 'x' } }],
    ['position', { position: 1 }],
    ['visible_from', { visible_from: new Date(0) }],
    ['visible_until', { visible_until: null }],
    ['is_active', { is_active: false }],
    ['metadata', { metadata: { a: 1 } }],
    ['grants', { grants: [completeGrant({ unit: 'minute', amount: 1801n, validity_days: 90 })] }],
  ])('names the changed %s and nothing else', (field, change) => {
    const changes = diffCatalog(catalog, withProduct(change)).filter(({ action }) => action !== 'unchanged')
    expect(changes).toHaveLength(1)
    expect(changes[0]).toMatchObject({ action: 'change', noun: 'product', key: 'minutes_30' })
    expect(changes[0]?.fields.map((one) => one.field)).toEqual([field])
  })

  test.each<[string, Partial<CatalogUnit>]>([
    ['scale', { scale: 1n }],
    ['name', { name: 'x' }],
    ['names', { names: {} }],
    ['kind', { kind: 'money' }],
    ['is_debt_allowed', { is_debt_allowed: true }],
  ])('names the changed %s of a unit', (field, change) => {
    const [first] = diffCatalog(catalog, { ...catalog, units: [{ ...minute, ...change }] })
    expect(first).toMatchObject({ action: 'change', noun: 'unit', key: 'minute' })
    expect(first?.fields.map((one) => one.field)).toEqual([field])
  })

  test('shows a changed price with both amounts, and a new currency as a new price', () => {
    const changes = diffCatalog(catalog, withProduct({ prices: { RUB: 25_000n, XTR: 130n, USD: 250n } }))
    expect(changes.filter(({ noun, action }) => noun === 'price' && action !== 'unchanged')).toEqual([
      {
        action: 'change',
        noun: 'price',
        key: 'minutes_30',
        currency: 'RUB',
        fields: [{ field: 'amount', from: '20000', to: '25000' }],
      },
      {
        action: 'create',
        noun: 'price',
        key: 'minutes_30',
        currency: 'USD',
        fields: [{ field: 'amount', from: null, to: '250' }],
      },
    ])
  })

  test('leaves what is not mentioned, unless it is told to prune', () => {
    const other = { ...pack, key: 'minutes_100' }
    const current: Catalog = { units: [minute], products: [pack, other] }
    const wanted = withProduct({ prices: { RUB: 20_000n } })
    expect(summary(current, wanted)).toEqual([])
    expect(summary(current, wanted, true)).toEqual([
      'deactivate price minutes_30 XTR',
      'deactivate product minutes_100',
    ])
  })

  test('prunes nothing twice, and never a unit', () => {
    const inactive: Catalog = { units: [minute], products: [{ ...pack, is_active: false }] }
    expect(summary(inactive, empty, true)).toEqual([])
  })
})
