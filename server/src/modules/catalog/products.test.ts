import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { frozenClock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import { AlreadyExists, InvalidRequest, NotFound, sqlState } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { createCursors } from '#kernel/page'
import { ensureUnit } from '#modules/ledger'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import {
  createPrice,
  createProduct,
  findProductByKey,
  getPrice,
  getProduct,
  listPrices,
  listProducts,
  type NewProduct,
  type ProductFacts,
  setPrice,
  updatePrice,
  updateProduct,
} from './index.ts'

let database: TestDatabase
let db: Db
const clock = frozenClock()
const cursors = createCursors(Buffer.alloc(32, 1))

beforeAll(async () => {
  database = await testDatabase()
  db = database.db
  await db.transact((tx) => ensureUnit(tx, clock, { code: 'minute', scale: 60n, name: 'minute' }))
  await db.transact((tx) => ensureUnit(tx, clock, { code: 'check', scale: 1n, name: 'check' }))
})
afterAll(() => database.close())

const MINUTES = { unit: 'minute', amount: 1800n, validity_days: 90 }
const CHECKS = { unit: 'check', amount: 5n, source: 'bonus' } as const
const uniqueKey = (): string => `p${newId('req').slice(4)}`
const create = (facts: Partial<NewProduct> = {}) =>
  db.transact((tx) =>
    createProduct(tx, clock, { key: uniqueKey(), name: '30 minutes', grants: [MINUTES], ...facts }),
  )
const update = (id: string, facts: ProductFacts) =>
  db.transact((tx) => updateProduct(tx, clock, { id, facts }))
const price = (product_id: string, currency: string, amount: bigint) =>
  db.transact((tx) => setPrice(tx, clock, { product_id, currency, amount }))
const thrown = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error)
const codes = (results: readonly PromiseSettledResult<unknown>[]): unknown[] =>
  results.flatMap((result) =>
    result.status === 'rejected' ? [(result.reason as { code?: unknown }).code] : [],
  )

describe('a new product', () => {
  test('is read back as it was made, with complete grants in their order', async () => {
    const made = await create({
      names: { ru: '30 минут' },
      grants: [MINUTES, CHECKS],
      metadata: { color: 'red' },
    })
    expect(made).toMatchObject({ version: 1, kind: 'pack', is_active: true, description: null, position: 0 })
    expect(made.grants).toEqual([
      { unit: 'minute', amount: 1800n, validity_days: 90, priority: 50, source: 'purchase', is_paid: true },
      { unit: 'check', amount: 5n, validity_days: null, priority: 20, source: 'bonus', is_paid: false },
    ])
    expect(await getProduct(db, made.id)).toEqual(made)
    expect(await findProductByKey(db, made.key)).toEqual(made)
  })

  test('is refused with a key that is taken, naming the owner, and nothing remains', async () => {
    const owner = await create()
    const error = await thrown(create({ key: owner.key, name: 'other' }))
    expect(error).toBeInstanceOf(AlreadyExists)
    expect((error as AlreadyExists).facts).toEqual({ existing_id: owner.id })
    expect(await findProductByKey(db, owner.key)).toEqual(owner)
  })

  test('made twenty times at once with one key exists once', async () => {
    const key = uniqueKey()
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => create({ key })))
    expect(codes(results)).toEqual(Array.from({ length: 19 }, () => 'already_exists'))
  })

  test('is refused with unknown units, naming each, and nothing remains', async () => {
    const key = uniqueKey()
    const error = await thrown(
      create({ key, grants: [{ unit: 'nope', amount: 1n }, MINUTES, { unit: 'nada', amount: 1n }] }),
    )
    expect(error).toBeInstanceOf(InvalidRequest)
    expect((error as InvalidRequest).facts['errors']).toEqual([
      { pointer: '/grants/0/unit', detail: 'there is no unit nope' },
      { pointer: '/grants/2/unit', detail: 'there is no unit nada' },
    ])
    expect(await findProductByKey(db, key)).toBeUndefined()
  })

  test('is refused without a paid grant and with dates in the wrong order', async () => {
    const day = new Date('2026-01-01T00:00:00Z')
    for (const facts of [{ grants: [CHECKS] }, { visible_from: day, visible_until: day }]) {
      await expect(create(facts)).rejects.toBeInstanceOf(InvalidRequest)
    }
  })
})

describe('changing a product', () => {
  test('touches only what is given and keeps the version', async () => {
    const before = await create({ description: 'x', metadata: { a: 1 } })
    clock.advance(1000)
    const after = await update(before.id, { name: 'Half an hour', description: null, names: undefined })
    expect(after).toEqual({ ...before, name: 'Half an hour', description: null, updated_at: clock.now() })
    expect(await getProduct(db, before.id)).toEqual(after)
  })

  test('with nothing given, or with the same grants, makes no version', async () => {
    const before = await create()
    expect(await update(before.id, {})).toEqual(before)
    const same = await update(before.id, { grants: [{ ...MINUTES }] })
    expect(same).toMatchObject({ version: 1, product_version_id: before.product_version_id })
  })

  test('to other grants makes a new version, and the earlier version stays as it was sold', async () => {
    const before = await create()
    const after = await update(before.id, { grants: [{ ...MINUTES, amount: 3600n }, CHECKS] })
    expect(after.version).toBe(2)
    expect(after.product_version_id).not.toBe(before.product_version_id)
    expect((await getProduct(db, before.id)).grants.map(({ amount }) => amount)).toEqual([3600n, 5n])
    const { rows } = await db.pool.query(
      'select unit, amount from catalog.product_grants where product_version_id = $1',
      [before.product_version_id],
    )
    expect(rows).toEqual([{ unit: 'minute', amount: 1800n }])
  })

  test('twenty times at once numbers the versions without gaps', async () => {
    const { id } = await create()
    await Promise.all(
      Array.from({ length: 20 }, (_, n) => update(id, { grants: [{ ...MINUTES, amount: BigInt(n + 1) }] })),
    )
    const { rows } = await db.pool.query<{ version: number }>(
      'select version from catalog.product_versions where product_id = $1 order by version',
      [id],
    )
    expect(rows.map(({ version }) => version)).toEqual(Array.from({ length: 21 }, (_, n) => n + 1))
    expect((await getProduct(db, id)).version).toBe(21)
  })

  test('is refused for nobody, for bad grants and for dates that no longer fit together', async () => {
    await expect(update(newId('prod'), { name: 'x' })).rejects.toBeInstanceOf(NotFound)
    const { id } = await create({ visible_from: new Date('2026-05-01T00:00:00Z') })
    await expect(update(id, { visible_until: new Date('2026-05-01T00:00:00Z') })).rejects.toBeInstanceOf(
      InvalidRequest,
    )
    await expect(update(id, { grants: [{ unit: 'nope', amount: 1n }] })).rejects.toBeInstanceOf(
      InvalidRequest,
    )
    await expect(update(id, { grants: [] })).rejects.toBeInstanceOf(InvalidRequest)
    expect((await getProduct(db, id)).version).toBe(1)
  })
})

describe('a price', () => {
  test('is asked, and setting the same amount again changes nothing', async () => {
    const { id } = await create()
    const first = await price(id, 'RUB', 20_000n)
    clock.advance(1000)
    expect(await price(id, 'RUB', 20_000n)).toEqual({ price: first.price, replaced_id: null, is_new: false })
    expect(first).toMatchObject({ is_new: true, price: { product_id: id, currency: 'RUB', amount: 20_000n } })
  })

  test('that changes is a new price, and the earlier one is ended and keeps its amount', async () => {
    const { id } = await create()
    const { price: first } = await price(id, 'RUB', 20_000n)
    clock.advance(1000)
    const second = await price(id, 'RUB', 25_000n)
    expect(second).toMatchObject({
      replaced_id: first.id,
      is_new: true,
      price: { amount: 25_000n, is_active: true },
    })
    expect(await getPrice(db, first.id)).toEqual({ ...first, is_active: false, deactivated_at: clock.now() })
  })

  test('of each currency stands by itself', async () => {
    const { id } = await create()
    for (const currency of ['RUB', 'XTR', 'USD']) await price(id, currency, 100n)
    await price(id, 'XTR', 130n)
    const { items } = await listPrices(db, cursors, { product_id: id, is_active: true }, { limit: 10 })
    expect(Object.fromEntries(items.map(({ currency, amount }) => [currency, amount]))).toEqual({
      RUB: 100n,
      XTR: 130n,
      USD: 100n,
    })
  })

  test('set by thirty callers at once leaves exactly one active', async () => {
    const { id } = await create()
    await Promise.all(Array.from({ length: 30 }, (_, n) => price(id, 'RUB', BigInt(n + 1))))
    const { rows } = await db.pool.query(
      `select count(*)::int as all, count(*) filter (where is_active)::int as active
         from catalog.prices where product_id = $1`,
      [id],
    )
    expect(rows).toEqual([{ all: 30, active: 1 }])
  })

  test('created again with the same amount is refused, naming the present one', async () => {
    const { id } = await create()
    const { price: first } = await price(id, 'RUB', 20_000n)
    const again = db.transact((tx) =>
      createPrice(tx, clock, { product_id: id, currency: 'RUB', amount: 20_000n }),
    )
    const error = await thrown(again)
    expect(error).toBeInstanceOf(AlreadyExists)
    expect((error as AlreadyExists).facts).toEqual({ existing_id: first.id })
  })

  test('ends once and stays ended; its metadata may still change', async () => {
    const { id } = await create()
    const { price: first } = await price(id, 'RUB', 20_000n)
    const end = () => db.transact((tx) => updatePrice(tx, clock, { id: first.id, is_active: false }))
    const ended = await end()
    expect(ended).toEqual({ ...first, is_active: false, deactivated_at: clock.now() })
    clock.advance(1000)
    expect(await end()).toEqual(ended)
    const noted = await db.transact((tx) => updatePrice(tx, clock, { id: first.id, metadata: { note: 'x' } }))
    expect(noted).toEqual({ ...ended, metadata: { note: 'x' } })
    expect((await price(id, 'RUB', 20_000n)).price.id).not.toBe(first.id)
  })

  test('is refused for a product and a price that do not exist', async () => {
    await expect(price(newId('prod'), 'RUB', 1n)).rejects.toBeInstanceOf(NotFound)
    await expect(db.transact((tx) => updatePrice(tx, clock, { id: newId('price') }))).rejects.toBeInstanceOf(
      NotFound,
    )
  })
})

describe('the database itself', () => {
  test.each([
    ['a changed amount', 'update catalog.prices set amount = amount + 1'],
    ['a changed currency', "update catalog.prices set currency = 'EUR'"],
    [
      'a price that is revived',
      'update catalog.prices set is_active = true, deactivated_at = null where not is_active',
    ],
    ['a deleted price', 'delete from catalog.prices'],
    ['a changed grant', 'update catalog.product_grants set amount = 1'],
    ['a deleted grant', 'delete from catalog.product_grants'],
    ['a changed version', 'update catalog.product_versions set version = version + 100'],
  ])('refuses %s', async (_what, statement) => {
    const { id } = await create()
    await price(id, 'RUB', 1n)
    await price(id, 'RUB', 2n)
    expect(sqlState(await thrown(db.pool.query(statement)))).toBe('23001')
  })

  test('refuses a second active price in one currency, and a paid bonus', async () => {
    const { id, product_version_id } = await create()
    await price(id, 'RUB', 1n)
    const second = db.pool.query(
      `insert into catalog.prices (id, product_id, currency, amount, created_at)
       values ('x', $1, 'RUB', 5, now())`,
      [id],
    )
    expect(sqlState(await thrown(second))).toBe('23505')
    const bonus = db.pool.query(
      "insert into catalog.product_grants values ($1, 9, 'minute', 1, null, 1, 'bonus', true)",
      [product_version_id],
    )
    expect(sqlState(await thrown(bonus))).toBe('23514')
  })
})

describe('the lists', () => {
  test('of products and prices are newest first, in pages without a gap or an overlap', async () => {
    const products = []
    for (let n = 0; n < 5; n++) products.push(await create({ is_active: false }))
    const first = await listProducts(db, cursors, { is_active: false }, { limit: 3 })
    const cursor = first.next_cursor ?? ''
    const second = await listProducts(db, cursors, { is_active: false }, { limit: 3, cursor })
    expect([...first.items, ...second.items]).toEqual(products.toReversed())
    expect(second.next_cursor).toBeNull()

    const { id } = await create()
    const prices = []
    for (let n = 1; n <= 5; n++) prices.push((await price(id, 'RUB', BigInt(n))).price.id)
    const one = await listPrices(db, cursors, { product_id: id }, { limit: 3 })
    const two = await listPrices(db, cursors, { product_id: id }, { limit: 3, cursor: one.next_cursor ?? '' })
    expect([...one.items, ...two.items].map((item) => item.id)).toEqual(prices.toReversed())
    await expect(listPrices(db, cursors, {}, { limit: 3, cursor })).rejects.toBeInstanceOf(InvalidRequest)
  })

  test('find a product by its key', async () => {
    const product = await create()
    expect((await listProducts(db, cursors, { key: product.key }, { limit: 3 })).items).toEqual([product])
  })
})
