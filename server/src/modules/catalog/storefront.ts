import { createHash } from 'node:crypto'
import type { Clock } from '#kernel/clock'
import type { Db, Sql } from '#kernel/db'
import { wireJson } from '#kernel/json'
import { type Cursors, type Page, toPage } from '#kernel/page'
import { onCatalogChange } from './catalog-changes.ts'
import { localize } from './localize.ts'
import type { ProductGrant } from './product-grants.ts'
import * as queries from './queries.ts'

/** What the shop window shows of a product; nothing in it is secret. */
export interface CatalogItem {
  id: string
  kind: 'pack'
  name: string
  description: string | null
  grants: Pick<ProductGrant, 'unit' | 'amount' | 'validity_days' | 'priority'>[]
  prices: { id: string; currency: string; amount: bigint }[]
  metadata: queries.CatalogMetadata
}

/** A product on sale with everything a product's own page (a facade, a bot) may want to show. */
export type OnSale = queries.ProductRow & { grants: ProductGrant[]; prices: queries.PriceRow[] }

/** What is asked of the shop window. */
export interface StorefrontQuestion {
  currency?: string | undefined
  locale?: string | undefined
  limit: number
  cursor?: string | undefined
}

/** A page as it is sent, with its fingerprint for `if-none-match`. */
export interface StorefrontAnswer {
  text: string
  etag: string
}

export interface Storefront {
  /** Throws InvalidRequest for a foreign cursor. */
  read(question: StorefrontQuestion): Promise<StorefrontAnswer>
  close(): void
}

/**
 * How old an answer may be: a change made by another process, or a visibility date that passes, shows within
 * this time. A change made by this process shows at once. Sales do not read this: they look at the rows.
 */
export const STOREFRONT_MAX_AGE_SECONDS = 5
const MAX_AGE_MS = STOREFRONT_MAX_AGE_SECONDS * 1000
/**
 * A real shop has dozens of currencies × locales × pages; a stranger's made-up locales evict one another.
 * About 20 MB when every page is full.
 */
const ANSWERS_MAX = 200

/** Products on sale at a moment, in the order of the shop, by pages of the caller's making. */
export async function listOnSale(
  sql: Sql,
  at: Date,
  filter: { currency?: string | undefined; unit?: string | undefined },
  page: { limit: number; after?: { position: number; id: string } | undefined },
): Promise<OnSale[]> {
  const products = await queries.listOnSale(sql, at, filter, page)
  const grants = await queries.grantsOfVersions(
    sql,
    products.map((product) => product.product_version_id),
  )
  const prices = await queries.activePrices(
    sql,
    products.map((product) => product.id),
    filter.currency,
  )
  return products.map((product) => ({
    ...product,
    grants: grants.get(product.product_version_id) ?? [],
    prices: prices.filter((price) => price.product_id === product.id),
  }))
}

/** The public shop window, one page, localized. Throws InvalidRequest for a foreign cursor. */
export async function readCatalog(
  sql: Sql,
  cursors: Cursors,
  at: Date,
  question: StorefrontQuestion,
): Promise<Page<CatalogItem>> {
  const { currency, locale, limit, cursor } = question
  const after = cursor === undefined ? undefined : shopPosition(cursors, cursor)
  const rows = await listOnSale(sql, at, { currency }, { limit, after })
  const place = (row: OnSale): [number, string] => [row.position, row.id]
  const page = toPage(rows, limit, cursors, 'catalog', place, (row) => catalogItem(row, locale))
  // A price that ended between the two looks would leave a product without one.
  return { ...page, items: page.items.filter((item) => item.prices.length > 0) }
}

/** A memory before {@link readCatalog}: the page everybody asks for is made once in five seconds. */
export function createStorefront(db: Db, clock: Clock, cursors: Cursors): Storefront {
  const answers = new Map<string, { answer: StorefrontAnswer; made_ms: number }>()
  const running = new Map<string, Promise<StorefrontAnswer>>()
  let changed_ms = -Infinity
  const close = onCatalogChange(() => {
    // The change is not committed yet: for a while the old state may still be read, so nothing is kept.
    changed_ms = performance.now()
    answers.clear()
  })
  const isSettled = (): boolean => performance.now() - changed_ms > MAX_AGE_MS

  const make = async (key: string, question: StorefrontQuestion): Promise<StorefrontAnswer> => {
    const made_ms = clock.now_ms()
    const text = wireJson(await readCatalog(db, cursors, new Date(made_ms), question))
    const etag = `"${createHash('sha256').update(text).digest('base64url').slice(0, 27)}"`
    const answer = { text, etag }
    if (isSettled()) {
      answers.delete(key)
      if (answers.size >= ANSWERS_MAX) answers.delete(answers.keys().next().value ?? '')
      answers.set(key, { answer, made_ms })
    }
    return answer
  }
  return {
    close,
    read: async (question) => {
      const { currency, locale, limit, cursor } = question
      const key = JSON.stringify([currency, locale?.toLowerCase(), limit, cursor])
      const kept = answers.get(key)
      // By the domain's clock, so that a sandbox whose time is moved sees its new shop.
      if (kept && clock.now_ms() - kept.made_ms < MAX_AGE_MS && clock.now_ms() >= kept.made_ms)
        return kept.answer
      const under_way = isSettled() ? running.get(key) : undefined
      if (under_way) return under_way
      const making = make(key, question).finally(() => running.delete(key))
      running.set(key, making)
      return making
    },
  }
}

function catalogItem(row: OnSale, locale: string | undefined): CatalogItem {
  return {
    id: row.id,
    kind: row.kind,
    name: localize(row.names, row.name, locale),
    description: localize(row.descriptions, row.description, locale),
    grants: row.grants.map(({ unit, amount, validity_days, priority }) => ({
      unit,
      amount,
      validity_days,
      priority,
    })),
    prices: row.prices.map(({ id, currency, amount }) => ({ id, currency, amount })),
    metadata: row.metadata,
  }
}

function shopPosition(cursors: Cursors, cursor: string): { position: number; id: string } {
  const [position, id] = cursors.open('catalog', cursor)
  return { position: Number(position), id: String(id) }
}
