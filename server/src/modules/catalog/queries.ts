import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'
import type { Texts } from './localize.ts'
import type { ProductGrant } from './product-grants.ts'

/** The owner's own facts about a product or price. */
export type CatalogMetadata = Record<string, string | number | boolean | null>

type ProductColumns = Selectable<Database['catalog.products']>

/** A product as it is sold now. */
export type ProductRow = Omit<ProductColumns, 'kind' | 'names' | 'descriptions' | 'metadata'> & {
  kind: 'pack'
  names: Texts
  descriptions: Texts
  metadata: CatalogMetadata
  product_version_id: string
}

/** A price; its product, currency and amount never change. */
export type PriceRow = Omit<Selectable<Database['catalog.prices']>, 'metadata'> & {
  metadata: CatalogMetadata
}

const PRODUCT = [
  'product.id',
  'product.key',
  'product.kind',
  'product.version',
  'product.name',
  'product.names',
  'product.description',
  'product.descriptions',
  'product.position',
  'product.visible_from',
  'product.visible_until',
  'product.is_active',
  'product.metadata',
  'product.created_at',
  'product.updated_at',
  'version.id as product_version_id',
] as const

function products(sql: Sql) {
  return sql
    .selectFrom('catalog.products as product')
    .innerJoin('catalog.product_versions as version', (join) =>
      join.onRef('version.product_id', '=', 'product.id').onRef('version.version', '=', 'product.version'),
    )
    .select(PRODUCT)
}

/** Those whose present version grants the unit. */
function granting(query: ReturnType<typeof products>, unit: string): ReturnType<typeof products> {
  return query.where((eb) =>
    eb.exists(
      eb
        .selectFrom('catalog.product_grants as part')
        .select('part.position')
        .whereRef('part.product_version_id', '=', 'version.id')
        .where('part.unit', '=', unit),
    ),
  )
}

/** One writer of the whole catalog at a time; held until the transaction ends. */
export async function lockCatalog(tx: Tx): Promise<void> {
  await raw`select pg_advisory_xact_lock(hashtextextended('catalog.apply', 0))`.execute(tx)
}

/** Inserts unless the key is taken; true when the row is new. Waits for a rival's commit. */
export async function insertProduct(
  tx: Tx,
  product: Omit<ProductRow, 'product_version_id'>,
): Promise<boolean> {
  const row = await tx
    .insertInto('catalog.products')
    .values(product)
    .onConflict((conflict) => conflict.column('key').doNothing())
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

export async function insertVersion(
  tx: Tx,
  version: { id: string; product_id: string; version: number; created_at: Date },
  grants: readonly ProductGrant[],
): Promise<void> {
  await tx.insertInto('catalog.product_versions').values(version).execute()
  await tx
    .insertInto('catalog.product_grants')
    .values(grants.map((grant, position) => ({ ...grant, position, product_version_id: version.id })))
    .execute()
}

/** Whoever writes a product, its versions or its prices holds this lock, so each sees the other's work. */
export async function lockProduct(tx: Tx, id: string): Promise<boolean> {
  const row = await tx
    .selectFrom('catalog.products')
    .select('id')
    .where('id', '=', id)
    .forNoKeyUpdate()
    .executeTakeFirst()
  return row !== undefined
}

export async function updateProduct(tx: Tx, product: Omit<ProductRow, 'product_version_id'>): Promise<void> {
  const { id, key: _key, kind: _kind, created_at: _created_at, ...columns } = product
  await tx.updateTable('catalog.products').set(columns).where('id', '=', id).execute()
}

export async function findProduct(sql: Sql, id: string): Promise<ProductRow | undefined> {
  return (await products(sql).where('product.id', '=', id).executeTakeFirst()) as ProductRow | undefined
}

export async function findProductByKey(sql: Sql, key: string): Promise<ProductRow | undefined> {
  return (await products(sql).where('product.key', '=', key).executeTakeFirst()) as ProductRow | undefined
}

/**
 * The product a vendor knows by this code: the one whose metadata say so, else the one whose key is the same.
 */
export async function findProductByVendorCode(
  sql: Sql,
  name: string,
  code: string,
): Promise<ProductRow | undefined> {
  const row = await products(sql)
    .where((eb) =>
      eb.or([
        eb('product.key', '=', code),
        eb('product.metadata', '@>', raw<never>`${JSON.stringify({ [name]: code })}::jsonb`),
      ]),
    )
    .orderBy(raw`coalesce(product.metadata ->> ${name} = ${code}, false)`, 'desc')
    .orderBy('product.id')
    .executeTakeFirst()
  return row as ProductRow | undefined
}

/** The newest price of a product that was asked at a moment, else the newest there is. */
export async function findPriceAt(
  sql: Sql,
  product_id: string,
  currency: string,
  at: Date,
): Promise<PriceRow | undefined> {
  const row = await sql
    .selectFrom('catalog.prices')
    .select(PRICE)
    .where('product_id', '=', product_id)
    .where('currency', '=', currency)
    .orderBy(raw`created_at <= ${at} and (deactivated_at is null or deactivated_at > ${at})`, 'desc')
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row as PriceRow | undefined
}

interface After {
  created_at: Date
  id: string
}

export interface ProductFilter {
  key?: string | undefined
  is_active?: boolean | undefined
  /** Only what grants this unit now. */
  unit?: string | undefined
}

/** Newest first; one row more than the limit. */
export async function listProducts(
  sql: Sql,
  filter: ProductFilter,
  page: { limit: number; after?: After | undefined },
): Promise<ProductRow[]> {
  let query = products(sql)
  if (filter.unit !== undefined) query = granting(query, filter.unit)
  if (filter.key !== undefined) query = query.where('product.key', '=', filter.key)
  if (filter.is_active !== undefined) query = query.where('product.is_active', '=', filter.is_active)
  if (page.after) {
    const { created_at, id } = page.after
    query = query.where((eb) =>
      eb(eb.refTuple('product.created_at', 'product.id'), '<', eb.tuple(created_at, id)),
    )
  }
  const rows = await query
    .orderBy('product.created_at', 'desc')
    .orderBy('product.id', 'desc')
    .limit(page.limit + 1)
    .execute()
  return rows as ProductRow[]
}

/** Every product, in the order of the shop. The caller bounds how many there may be. */
export async function allProducts(sql: Sql, limit: number): Promise<ProductRow[]> {
  const rows = await products(sql).orderBy('product.position').orderBy('product.id').limit(limit).execute()
  return rows as ProductRow[]
}

/** Products on sale at a moment that have an active price (in the currency), in the order of the shop. */
export async function listOnSale(
  sql: Sql,
  at: Date,
  filter: { currency?: string | undefined; unit?: string | undefined },
  page: { limit: number; after?: { position: number; id: string } | undefined },
): Promise<ProductRow[]> {
  let query = products(sql)
    .where('product.is_active', '=', true)
    .where((eb) => eb.or([eb('product.visible_from', 'is', null), eb('product.visible_from', '<=', at)]))
    .where((eb) => eb.or([eb('product.visible_until', 'is', null), eb('product.visible_until', '>', at)]))
    .where((eb) => {
      const price = eb
        .selectFrom('catalog.prices as price')
        .select('price.id')
        .whereRef('price.product_id', '=', 'product.id')
        .where('price.is_active', '=', true)
      return eb.exists(
        filter.currency === undefined ? price : price.where('price.currency', '=', filter.currency),
      )
    })
  if (filter.unit !== undefined) query = granting(query, filter.unit)
  if (page.after) {
    const { position, id } = page.after
    query = query.where((eb) =>
      eb(eb.refTuple('product.position', 'product.id'), '>', eb.tuple(position, id)),
    )
  }
  const rows = await query
    .orderBy('product.position')
    .orderBy('product.id')
    .limit(page.limit + 1)
    .execute()
  return rows as ProductRow[]
}

/** The grants of several versions, each in its order. */
export async function grantsOfVersions(
  sql: Sql,
  version_ids: readonly string[],
): Promise<Map<string, ProductGrant[]>> {
  const grants = new Map<string, ProductGrant[]>(version_ids.map((id) => [id, []]))
  if (version_ids.length === 0) return grants
  const rows = await sql
    .selectFrom('catalog.product_grants')
    .select(['product_version_id', 'unit', 'amount', 'validity_days', 'priority', 'source', 'is_paid'])
    .where('product_version_id', '=', raw<string>`any(${[...version_ids]}::text[])`)
    .orderBy('product_version_id')
    .orderBy('position')
    .execute()
  for (const { product_version_id, ...grant } of rows) grants.get(product_version_id)?.push(grant)
  return grants
}

const PRICE = [
  'id',
  'product_id',
  'currency',
  'amount',
  'is_active',
  'metadata',
  'created_at',
  'deactivated_at',
] as const

export async function insertPrice(tx: Tx, price: PriceRow): Promise<void> {
  await tx.insertInto('catalog.prices').values(price).execute()
}

export async function findPrice(sql: Sql, id: string): Promise<PriceRow | undefined> {
  const row = await sql.selectFrom('catalog.prices').select(PRICE).where('id', '=', id).executeTakeFirst()
  return row as PriceRow | undefined
}

export async function findActivePrice(
  sql: Sql,
  product_id: string,
  currency: string,
): Promise<PriceRow | undefined> {
  const row = await sql
    .selectFrom('catalog.prices')
    .select(PRICE)
    .where('product_id', '=', product_id)
    .where('currency', '=', currency)
    .where('is_active', '=', true)
    .executeTakeFirst()
  return row as PriceRow | undefined
}

/** Active prices of several products, by currency. */
export async function activePrices(
  sql: Sql,
  product_ids: readonly string[],
  currency?: string,
): Promise<PriceRow[]> {
  if (product_ids.length === 0) return []
  let query = sql
    .selectFrom('catalog.prices')
    .select(PRICE)
    .where('product_id', '=', raw<string>`any(${[...product_ids]}::text[])`)
    .where('is_active', '=', true)
  if (currency !== undefined) query = query.where('currency', '=', currency)
  return (await query.orderBy('product_id').orderBy('currency').execute()) as PriceRow[]
}

/** Only what may change about a price: whether it is asked, and the owner's facts. */
export async function updatePrice(
  tx: Tx,
  price: Pick<PriceRow, 'id' | 'is_active' | 'deactivated_at' | 'metadata'>,
): Promise<void> {
  const { id, is_active, deactivated_at, metadata } = price
  await tx
    .updateTable('catalog.prices')
    .set({ is_active, deactivated_at, metadata })
    .where('id', '=', id)
    .execute()
}

export interface PriceFilter {
  product_id?: string | undefined
  currency?: string | undefined
  is_active?: boolean | undefined
}

/** Newest first; one row more than the limit. */
export async function listPrices(
  sql: Sql,
  filter: PriceFilter,
  page: { limit: number; after?: After | undefined },
): Promise<PriceRow[]> {
  let query = sql.selectFrom('catalog.prices').select(PRICE)
  if (filter.product_id !== undefined) query = query.where('product_id', '=', filter.product_id)
  if (filter.currency !== undefined) query = query.where('currency', '=', filter.currency)
  if (filter.is_active !== undefined) query = query.where('is_active', '=', filter.is_active)
  if (page.after) {
    const { created_at, id } = page.after
    query = query.where((eb) => eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(created_at, id)))
  }
  const rows = await query
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
  return rows as PriceRow[]
}

/** Prices with the products they belong to, as they are sold now. */
export async function findSales(
  sql: Sql,
  price_ids: readonly string[],
): Promise<{ price: PriceRow; product: ProductRow }[]> {
  const prices = (await sql
    .selectFrom('catalog.prices')
    .select(PRICE)
    .where('id', '=', raw<string>`any(${[...price_ids]}::text[])`)
    .execute()) as PriceRow[]
  if (prices.length === 0) return []
  const product_ids = prices.map((price) => price.product_id)
  const rows = (await products(sql)
    .where('product.id', '=', raw<string>`any(${product_ids}::text[])`)
    .execute()) as ProductRow[]
  const by_id = new Map(rows.map((row) => [row.id, row]))
  return prices.flatMap((price) => {
    const product = by_id.get(price.product_id)
    return product ? [{ price, product }] : []
  })
}
