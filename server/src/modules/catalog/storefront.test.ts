import { AsyncLocalStorage } from 'node:async_hooks'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { frozenClock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import { InvalidRequest, NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { createCursors } from '#kernel/page'
import { ensureUnit } from '#modules/ledger'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import {
  createProduct,
  getSaleTerms,
  listSaleTerms,
  NotOnSale,
  type Product,
  type NewProduct,
  type ProductFacts,
  readCatalog,
  setPrice,
  updatePrice,
  updateProduct,
} from './index.ts'
import { createStorefront } from './storefront.ts'

let database: TestDatabase
let db: Db
const clock = frozenClock()
const cursors = createCursors(Buffer.alloc(32, 1))

beforeAll(async () => {
  database = await testDatabase()
  db = database.db
  await db.transact((tx) => ensureUnit(tx, clock, { code: 'minute', scale: 60n, name: 'minute' }))
})
afterAll(() => database.close())
// Every test sees only its own shop.
beforeEach(() => db.pool.query('update catalog.products set is_active = false'))

const MINUTES = { unit: 'minute', amount: 1800n, validity_days: 90 }

async function sell(
  facts: Partial<NewProduct> = {},
  prices: Record<string, bigint> = { RUB: 20_000n },
): Promise<Product & { price_ids: Record<string, string> }> {
  return db.transact(async (tx) => {
    const key = `p${newId('req').slice(4)}`
    const product = await createProduct(tx, clock, { key, name: '30 minutes', grants: [MINUTES], ...facts })
    const price_ids: Record<string, string> = {}
    for (const [currency, amount] of Object.entries(prices)) {
      price_ids[currency] = (await setPrice(tx, clock, { product_id: product.id, currency, amount })).price.id
    }
    return { ...product, price_ids }
  })
}
const change = (id: string, facts: ProductFacts) =>
  db.transact((tx) => updateProduct(tx, clock, { id, facts }))
const read = (question: { currency?: string; locale?: string; limit?: number; cursor?: string } = {}) =>
  readCatalog(db, cursors, clock.now(), { limit: 50, ...question })
const idsOf = async (question?: Parameters<typeof read>[0]): Promise<string[]> =>
  (await read(question)).items.map(({ id }) => id)

describe('the shop window', () => {
  test('shows exactly what a buyer needs', async () => {
    const { id, price_ids } = await sell(
      { description: 'd', metadata: { badge: 'new' } },
      { RUB: 20_000n, XTR: 130n },
    )
    expect(await read()).toEqual({
      items: [
        {
          id,
          kind: 'pack',
          name: '30 minutes',
          description: 'd',
          grants: [{ unit: 'minute', amount: 1800n, validity_days: 90, priority: 50 }],
          prices: [
            { id: price_ids['RUB'], currency: 'RUB', amount: 20_000n },
            { id: price_ids['XTR'], currency: 'XTR', amount: 130n },
          ],
          metadata: { badge: 'new' },
        },
      ],
      next_cursor: null,
    })
  })

  test('shows only active products with an active price, within their dates', async () => {
    const now = clock.now()
    const moment = (seconds: number): Date => new Date(now.getTime() + seconds * 1000)
    const shown = [
      await sell(),
      await sell({ visible_from: now }),
      await sell({ visible_from: moment(-1), visible_until: moment(1) }),
    ]
    await sell({ is_active: false })
    await sell({ visible_from: moment(1) })
    await sell({ visible_until: now })
    await sell({}, {})
    const ended = await sell()
    const id = ended.price_ids['RUB'] ?? ''
    await db.transact((tx) => updatePrice(tx, clock, { id, is_active: false }))
    expect(await idsOf()).toEqual(shown.map((product) => product.id))
  })

  test('in one currency shows only products sold in it, with only that price', async () => {
    await sell({}, { RUB: 1n })
    const both = await sell({}, { RUB: 1n, XTR: 2n })
    const { items } = await read({ currency: 'XTR' })
    expect(items.map(({ id, prices }) => ({ id, prices }))).toEqual([
      { id: both.id, prices: [{ id: both.price_ids['XTR'], currency: 'XTR', amount: 2n }] },
    ])
    expect(await idsOf({ currency: 'EUR' })).toEqual([])
  })

  test('speaks the asked language and falls back to the product’s own name', async () => {
    await sell({ names: { ru: '30 минут' }, description: 'd', descriptions: { ru: 'о' } })
    const texts = async (locale?: string) =>
      (await read(locale === undefined ? {} : { locale })).items.map(({ name, description }) => [
        name,
        description,
      ])
    expect(await texts('ru-RU')).toEqual([['30 минут', 'о']])
    expect(await texts('de')).toEqual([['30 minutes', 'd']])
    expect(await texts()).toEqual([['30 minutes', 'd']])
  })

  test('is in the owner’s order, in pages that meet without a gap or an overlap', async () => {
    const last = await sell({ position: 5 })
    const middle = [await sell(), await sell(), await sell()]
    const first = await sell({ position: -5 })
    const seen: string[] = []
    let cursor: string | undefined
    do {
      const page = await read({ limit: 2, ...(cursor === undefined ? {} : { cursor }) })
      seen.push(...page.items.map(({ id }) => id))
      cursor = page.next_cursor ?? undefined
    } while (cursor !== undefined)
    expect(seen).toEqual([first, ...middle, last].map(({ id }) => id))
    await expect(read({ cursor: cursors.seal('products', ['x', 'y']) })).rejects.toBeInstanceOf(
      InvalidRequest,
    )
  })
})

describe('the memory before the shop window', () => {
  const open = () => createStorefront(db, clock, cursors)
  const namesIn = ({ text }: { text: string }): string[] =>
    (JSON.parse(text) as { items: { name: string }[] }).items.map(({ name }) => name)

  test('answers the same text and fingerprint from memory, made once for many callers', async () => {
    await sell({ name: 'a' })
    // The change just made keeps the memory empty; a storefront that was opened later has not heard of it.
    const storefront = open()
    const answers = await Promise.all(Array.from({ length: 20 }, () => storefront.read({ limit: 50 })))
    expect(new Set(answers).size).toBe(1)
    await db.pool.query("update catalog.products set name = 'b' where name = 'a'")
    expect(await storefront.read({ limit: 50 })).toBe(answers[0])
    storefront.close()
  })

  test('looks again after five seconds of the domain’s time, forward or back', async () => {
    const { id } = await sell({ name: 'one' })
    const storefront = open()
    const before = await storefront.read({ limit: 50 })
    await db.pool.query("update catalog.products set name = 'two' where id = $1", [id])
    clock.advance(4999)
    expect(await storefront.read({ limit: 50 })).toBe(before)
    clock.advance(1)
    const after = await storefront.read({ limit: 50 })
    expect(namesIn(after)).toEqual(['two'])
    expect(after.etag).not.toBe(before.etag)
    await db.pool.query("update catalog.products set name = 'three' where id = $1", [id])
    clock.advance(-1)
    expect(namesIn(await storefront.read({ limit: 50 }))).toEqual(['three'])
    storefront.close()
  })

  test('shows a change of its own process at once, and keeps nothing read before the commit', async () => {
    const product = await sell({ name: 'old' })
    const storefront = open()
    await storefront.read({ limit: 50 })
    const outsider = outsideOfTransactions(() => storefront.read({ limit: 50 }))
    await db.transact(async (tx) => {
      await updateProduct(tx, clock, { id: product.id, facts: { name: 'new' } })
      expect(namesIn(await outsider())).toEqual(['old'])
    })
    expect(namesIn(await storefront.read({ limit: 50 }))).toEqual(['new'])
    storefront.close()
  })

  test('keeps currencies, languages and pages apart', async () => {
    await sell({ name: 'x', names: { ru: 'икс' } }, { RUB: 1n })
    const storefront = open()
    expect(namesIn(await storefront.read({ limit: 50, locale: 'ru' }))).toEqual(['икс'])
    expect(namesIn(await storefront.read({ limit: 50, locale: 'en' }))).toEqual(['x'])
    expect(namesIn(await storefront.read({ limit: 50, currency: 'USD' }))).toEqual([])
    expect(namesIn(await storefront.read({ limit: 50, currency: 'RUB' }))).toEqual(['x'])
    storefront.close()
  })
})

describe('the terms of a sale', () => {
  test('are what the product grants and costs now, frozen', async () => {
    const product = await sell({ names: { ru: '30 минут' }, metadata: { a: 1 } }, { RUB: 20_000n, XTR: 130n })
    const price_id = product.price_ids['XTR'] ?? ''
    const terms = await getSaleTerms(db, price_id, clock.now(), 'ru')
    expect(terms).toEqual({
      price_id,
      product_id: product.id,
      product_version_id: product.product_version_id,
      product_key: product.key,
      kind: 'pack',
      currency: 'XTR',
      amount: 130n,
      name: '30 минут',
      names: { ru: '30 минут' },
      grants: product.grants,
      metadata: { a: 1 },
    })
    expect(Object.isFrozen(terms) && Object.isFrozen(terms.grants) && Object.isFrozen(terms.grants[0])).toBe(
      true,
    )
    expect((await getSaleTerms(db, price_id, clock.now())).name).toBe('30 minutes')
  })

  test('follow a new version, while the earlier terms stay', async () => {
    const product = await sell()
    const price_id = product.price_ids['RUB'] ?? ''
    const before = await getSaleTerms(db, price_id, clock.now())
    await change(product.id, { grants: [{ ...MINUTES, amount: 3600n }] })
    const after = await getSaleTerms(db, price_id, clock.now())
    expect(before.grants[0]?.amount).toBe(1800n)
    expect(after.grants[0]?.amount).toBe(3600n)
    expect(after.product_version_id).not.toBe(before.product_version_id)
  })

  test('are refused for what is not on sale, with the reason', async () => {
    const product = await sell({
      visible_from: new Date(clock.now_ms() - 1000),
      visible_until: new Date(clock.now_ms() + 1000),
    })
    const price_id = product.price_ids['RUB'] ?? ''
    const reasonAt = async (offset_ms: number): Promise<unknown> => {
      const terms = getSaleTerms(db, price_id, new Date(clock.now_ms() + offset_ms))
      const error = await terms.then(
        () => undefined,
        (refusal: unknown) => refusal,
      )
      return error instanceof NotOnSale ? error.facts['reason'] : error
    }
    expect(await reasonAt(-1001)).toBe('not_yet_visible')
    expect(await reasonAt(-1000)).toBeUndefined()
    expect(await reasonAt(999)).toBeUndefined()
    expect(await reasonAt(1000)).toBe('no_longer_visible')
    await change(product.id, { is_active: false })
    expect(await reasonAt(0)).toBe('product_inactive')
    await change(product.id, { is_active: true })
    expect(await reasonAt(0)).toBeUndefined()
    await db.transact((tx) => setPrice(tx, clock, { product_id: product.id, currency: 'RUB', amount: 1n }))
    expect(await reasonAt(0)).toBe('price_inactive')
    for (const id of [newId('price'), 'nonsense', '\0']) {
      await expect(getSaleTerms(db, id, clock.now())).rejects.toBeInstanceOf(NotFound)
    }
  })

  test('of several prices come in one look, and one bad price refuses all', async () => {
    const [one, two] = [await sell(), await sell({}, { RUB: 7n })]
    const ids = [one.price_ids['RUB'] ?? '', two.price_ids['RUB'] ?? '']
    const terms = await listSaleTerms(db, [...ids, ...ids], clock.now())
    expect(ids.map((id) => terms.get(id)?.amount)).toEqual([20_000n, 7n])
    await expect(listSaleTerms(db, [...ids, newId('price')], clock.now())).rejects.toBeInstanceOf(NotFound)
  })
})

/** Lets a call run outside of the transaction that is open where it is called, as another request would. */
function outsideOfTransactions<T>(work: () => Promise<T>): () => Promise<T> {
  const outside = AsyncLocalStorage.snapshot()
  return () => outside(work)
}
