import { readFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { frozenClock } from '#kernel/clock'
import { InvalidRequest } from '#kernel/errors'
import { createCursors } from '#kernel/page'
import { findUnits } from '#modules/ledger'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import {
  applyCatalog,
  type ApplyOptions,
  type CatalogChange,
  exportCatalog,
  findProductByKey,
  listPrices,
  listProducts,
  updateProduct,
} from './index.ts'

const SEED = readFileSync(
  path.resolve(import.meta.dirname, '../../../../examples/catalog.screph.yaml'),
  'utf8',
)
const clock = frozenClock()
const cursors = createCursors(Buffer.alloc(32, 1))
const opened: TestDatabase[] = []
let database: TestDatabase

// Each test applies to an empty catalog of its own.
beforeEach(async () => {
  database = await testDatabase()
  opened.push(database)
})
afterAll(() => Promise.all(opened.map((one) => one.close())))

const apply = (text: string, options?: ApplyOptions): Promise<CatalogChange[]> =>
  applyCatalog(database.db, clock, text, options)
const done = (changes: readonly CatalogChange[]): string[] =>
  changes
    .filter(({ action }) => action !== 'unchanged')
    .map((change) => {
      const currency = change.noun === 'price' ? ` ${change.currency}` : ''
      return `${change.action} ${change.noun} ${change.key}${currency}`
    })
const edit = (from: string, to: string): string => {
  expect(SEED).toContain(from)
  return SEED.replace(from, to)
}
/** Number of the line of the seed that has this text. */
const lineOf = (text: string): number => SEED.split('\n').findIndex((line) => line.includes(text)) + 1
/** Every row the catalog and the units have, for comparing before and after. */
async function everything(): Promise<unknown> {
  const tables = [
    'ledger.units',
    'catalog.products',
    'catalog.product_versions',
    'catalog.product_grants',
    'catalog.prices',
  ]
  const rows = await Promise.all(
    tables.map((table) => database.db.pool.query(`select * from ${table} t order by t`)),
  )
  return rows.map((result) => result.rows as unknown)
}

describe('applying the seed', () => {
  test('to an empty database makes the unit, the three packs and their prices', async () => {
    const changes = await apply(SEED)
    expect(changes).toHaveLength(13)
    expect(new Set(changes.map(({ action }) => action))).toEqual(new Set(['create']))
    expect([...(await findUnits(database.db, ['minute'])).values()]).toMatchObject([
      { code: 'minute', scale: 60n, name: 'Minute', translations: { en: 'Minute', ru: 'Минута' } },
    ])
    const { items } = await listProducts(database.db, cursors, {}, { limit: 10 })
    expect(
      items.map(({ key, names, grants }) => [key, names['ru'], grants[0]?.amount, grants[0]?.validity_days]),
    ).toEqual([
      ['minutes_300', '300 минут', 18_000n, 365],
      ['minutes_100', '100 минут', 6000n, 180],
      ['minutes_30', '30 минут', 1800n, 90],
    ])
    const prices = await listPrices(database.db, cursors, { currency: 'RUB' }, { limit: 10 })
    expect(prices.items.map(({ amount }) => amount)).toEqual([120_000n, 50_000n, 20_000n])
  })

  test('a second time changes nothing at all', async () => {
    await apply(SEED)
    const before = await everything()
    clock.advance(1000)
    expect(done(await apply(SEED, { has_prune: true }))).toEqual([])
    expect(await everything()).toEqual(before)
  })

  test('ten times at once applies it once', async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => apply(SEED)))
    expect(all.filter((changes) => done(changes).length > 0)).toHaveLength(1)
    expect((await listProducts(database.db, cursors, {}, { limit: 10 })).items).toHaveLength(3)
  })
})

describe('applying a changed file', () => {
  test('changes exactly what differs: a price, grants as a new version, names', async () => {
    await apply(SEED)
    const before = await findProductByKey(database.db, 'minutes_30')
    const text = edit('RUB: 20000', 'RUB: 25000')
      .replace('amount: 1800,', 'amount: 2400,')
      .replace('name: 100 minutes', 'name: One hundred')
    expect(done(await apply(text))).toEqual([
      'change product minutes_30',
      'change price minutes_30 RUB',
      'change product minutes_100',
    ])
    const after = await findProductByKey(database.db, 'minutes_30')
    expect(after).toMatchObject({ id: before?.id, version: 2, grants: [{ amount: 2400n }] })
    expect((await findProductByKey(database.db, 'minutes_100'))?.version).toBe(1)
    const { items } = await listPrices(
      database.db,
      cursors,
      { product_id: after?.id ?? '', currency: 'RUB' },
      { limit: 5 },
    )
    expect(items.map(({ amount, is_active }) => [amount, is_active])).toEqual([
      [25_000n, true],
      [20_000n, false],
    ])
  })

  test('leaves what it lacks; with prune it is deactivated, and active when it comes back', async () => {
    await apply(SEED)
    const shorter = edit(', XTR: 130', '').slice(0, SEED.indexOf('  minutes_300:') - ', XTR: 130'.length)
    expect(done(await apply(shorter))).toEqual([])
    const pruned = ['deactivate price minutes_30 XTR', 'deactivate product minutes_300']
    expect(done(await apply(shorter, { has_prune: true }))).toEqual(pruned)
    expect(done(await apply(shorter, { has_prune: true }))).toEqual([])
    expect((await findProductByKey(database.db, 'minutes_300'))?.is_active).toBe(false)
    expect(done(await apply(SEED))).toEqual(['create price minutes_30 XTR', 'change product minutes_300'])
    expect((await findProductByKey(database.db, 'minutes_300'))?.is_active).toBe(true)
  })

  test('as a dry run answers the same and changes nothing', async () => {
    await apply(SEED)
    const before = await everything()
    const text = edit('RUB: 20000', 'RUB: 25000')
      .replace('amount: 1800,', 'amount: 2400,')
      .replace('ru: Минута', 'ru: Мин')
    const dry = await apply(text, { is_dry_run: true })
    expect(await everything()).toEqual(before)
    expect(await apply(text)).toEqual(dry)
    expect(await everything()).not.toEqual(before)
  })

  test('brings back what was changed past it', async () => {
    await apply(SEED)
    const id = (await findProductByKey(database.db, 'minutes_30'))?.id ?? ''
    await database.db.transact((tx) =>
      updateProduct(tx, clock, { id, facts: { name: 'x', is_active: false } }),
    )
    const [change] = (await apply(SEED)).filter(({ action }) => action !== 'unchanged')
    expect(change?.fields).toEqual([
      { field: 'name', from: 'x', to: '30 minutes' },
      { field: 'is_active', from: 'false', to: 'true' },
    ])
  })
})

describe('a file that cannot be applied', () => {
  const faultsOf = async (text: string): Promise<unknown> => {
    const before = await everything()
    const error = await apply(text).catch((thrown: unknown) => thrown)
    expect(await everything()).toEqual(before)
    return error instanceof InvalidRequest ? error.facts['errors'] : error
  }

  test('names the line of a unit nobody declares, and nothing of it is applied', async () => {
    expect(await faultsOf(edit('{ unit: minute, amount: 6000', '{ unit: hour, amount: 6000'))).toEqual([
      {
        pointer: '/products/minutes_100/grants/0/unit',
        detail: `line ${lineOf('amount: 6000')}, column 11: there is no unit hour; declare it under units`,
      },
    ])
  })

  test('may use a unit that only the database has', async () => {
    await apply(SEED)
    const without = SEED.slice(0, SEED.indexOf('units:')) + SEED.slice(SEED.indexOf('products:'))
    expect(done(await apply(without))).toEqual([])
  })

  test('cannot change a unit’s scale or kind: wallets are kept in it', async () => {
    await apply(SEED)
    expect(await faultsOf(edit('scale: 60', 'scale: 1\n    kind: money'))).toEqual([
      {
        pointer: '/units/minute/scale',
        detail: expect.stringMatching(
          `^line ${lineOf('scale: 60')}, column 5: the unit has scale 60 for good`,
        ),
      },
      {
        pointer: '/units/minute/kind',
        detail: `line ${lineOf('scale: 60') + 1}, column 5: the unit has kind counted for good`,
      },
    ])
  })
})

describe('the exported catalog', () => {
  test('applied to its own database changes nothing, and to an empty one makes the same', async () => {
    await apply(SEED)
    await apply(
      edit('RUB: 20000', 'RUB: 25000').replace('position: 30', 'position: 30\n    is_active: false'),
    )
    const text = await exportCatalog(database.db)
    expect(done(await apply(text, { has_prune: true }))).toEqual([])
    const copy = await testDatabase()
    opened.push(copy)
    await applyCatalog(copy.db, clock, text)
    expect(await exportCatalog(copy.db)).toBe(text)
  })

  test('of an empty database is an empty file', async () => {
    expect(await exportCatalog(database.db)).toBe('version: 1\nunits: {}\nproducts: {}\n')
  })
})
