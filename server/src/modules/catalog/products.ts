import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { AlreadyExists, assert, InvalidRequest, NotFound } from '#kernel/errors'
import { isId, newId } from '#kernel/ids'
import { type Cursors, type Page, toPage } from '#kernel/page'
import { findUnits } from '#modules/ledger'
import { catalogChanged } from './catalog-changes.ts'
import type { Texts } from './localize.ts'
import {
  completeGrant,
  type GrantInput,
  grantFaults,
  type ProductGrant,
  sameGrants,
} from './product-grants.ts'
import * as queries from './queries.ts'

export type CatalogMetadata = queries.CatalogMetadata

/** Something sold, with what its present version grants. */
export type Product = queries.ProductRow & { grants: ProductGrant[] }

/** What can be said about a product; for a change an absent member leaves its fact. */
export interface ProductFacts {
  name?: string | undefined
  /** Name by language tag; `name` is the fallback. */
  names?: Texts | undefined
  description?: string | null | undefined
  descriptions?: Texts | undefined
  position?: number | undefined
  visible_from?: Date | null | undefined
  visible_until?: Date | null | undefined
  is_active?: boolean | undefined
  /** Shown to everybody in the shop. Replaced as a whole. */
  metadata?: CatalogMetadata | undefined
  /** What it grants; a difference makes a new version, and what was bought before stays as it was. */
  grants?: readonly GrantInput[] | undefined
}

/** What a product starts with. */
export type NewProduct = ProductFacts & {
  key: string
  kind?: 'pack' | undefined
  name: string
  grants: readonly GrantInput[]
}

/**
 * Makes a product with its first version. Throws {@link AlreadyExists} with `existing_id` when the key is
 * taken; {@link InvalidRequest} for unknown units, no paid grant, or dates in the wrong order.
 */
export async function createProduct(tx: Tx, clock: Clock, input: NewProduct): Promise<Product> {
  const now = clock.now()
  const grants = await checkGrants(tx, input.grants)
  const product = {
    id: newId('prod', now.getTime()),
    key: input.key,
    kind: input.kind ?? 'pack',
    version: 1,
    name: input.name,
    names: input.names ?? {},
    description: input.description ?? null,
    descriptions: input.descriptions ?? {},
    position: input.position ?? 0,
    visible_from: input.visible_from ?? null,
    visible_until: input.visible_until ?? null,
    is_active: input.is_active ?? true,
    metadata: input.metadata ?? {},
    created_at: now,
    updated_at: now,
  }
  checkDates(product)
  if (!(await queries.insertProduct(tx, product))) {
    const existing = await queries.findProductByKey(tx, input.key)
    throw new AlreadyExists(`A product with the key ${input.key} exists.`, { existing_id: existing?.id })
  }
  const product_version_id = await makeVersion(tx, now, product, grants)
  catalogChanged()
  return { ...product, product_version_id, grants }
}

/**
 * Changes the facts that are given; other grants make a new version. Throws {@link NotFound};
 * {@link InvalidRequest} as {@link createProduct} does.
 */
export async function updateProduct(
  tx: Tx,
  clock: Clock,
  change: { id: string; facts: ProductFacts },
): Promise<Product> {
  if (!(await lockProduct(tx, change.id))) throw unknownProduct(change.id)
  const before = await getProduct(tx, change.id)
  const { grants: grants_input, ...facts } = change.facts
  const given = Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined))
  if (Object.keys(given).length === 0 && grants_input === undefined) return before
  const now = clock.now()
  const after: Product = { ...before, ...given, updated_at: now }
  checkDates(after)
  const grants = grants_input === undefined ? before.grants : await checkGrants(tx, grants_input)
  if (!sameGrants(before.grants, grants)) {
    after.version += 1
    after.grants = grants
    after.product_version_id = await makeVersion(tx, now, after, grants)
  }
  const { grants: _grants, product_version_id: _version_id, ...columns } = after
  await queries.updateProduct(tx, columns)
  catalogChanged()
  return after
}

/** Throws {@link NotFound}. */
export async function getProduct(sql: Sql, id: string): Promise<Product> {
  const row = isId('prod', id) ? await queries.findProduct(sql, id) : undefined
  if (!row) throw unknownProduct(id)
  return withGrants(sql, row)
}

/** The product with the owner's own stable name. */
export async function findProductByKey(sql: Sql, key: string): Promise<Product | undefined> {
  const row = await queries.findProductByKey(sql, key)
  return row && withGrants(sql, row)
}

/** Products newest first, sold or not. Throws InvalidRequest for a foreign cursor. */
export async function listProducts(
  sql: Sql,
  cursors: Cursors,
  filter: queries.ProductFilter,
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<Product>> {
  const rows = await queries.listProducts(sql, filter, {
    limit: page.limit,
    after: page.cursor === undefined ? undefined : newestFirstPosition(cursors, 'products', page.cursor),
  })
  const grants = await queries.grantsOfVersions(
    sql,
    rows.map((row) => row.product_version_id),
  )
  return toPage(rows, page.limit, cursors, 'products', newestFirst, (row) => ({
    ...row,
    grants: grants.get(row.product_version_id) ?? [],
  }))
}

/** The place of a row in a list that is newest first. */
export function newestFirst(row: { created_at: Date; id: string }): [string, string] {
  return [row.created_at.toISOString(), row.id]
}

/** Reads what {@link newestFirst} wrote. Throws InvalidRequest for a foreign cursor. */
export function newestFirstPosition(
  cursors: Cursors,
  list: string,
  cursor: string,
): { created_at: Date; id: string } {
  const [created_at, id] = cursors.open(list, cursor)
  return { created_at: new Date(String(created_at)), id: String(id) }
}

/** Locks a product for a change of it or of its prices; false when the text is no product's id. */
export async function lockProduct(tx: Tx, id: string): Promise<boolean> {
  return isId('prod', id) && (await queries.lockProduct(tx, id))
}

/** The refusal for an id that is no product's. */
export function unknownProduct(id: string): NotFound {
  return new NotFound(`There is no product ${id}.`)
}

async function withGrants(sql: Sql, row: queries.ProductRow): Promise<Product> {
  const grants = (await queries.grantsOfVersions(sql, [row.product_version_id])).get(row.product_version_id)
  assert(grants && grants.length > 0, `the product ${row.id} has no grants`)
  return { ...row, grants }
}

async function makeVersion(
  tx: Tx,
  now: Date,
  product: { id: string; version: number },
  grants: readonly ProductGrant[],
): Promise<string> {
  const id = newId('pver', now.getTime())
  await queries.insertVersion(
    tx,
    { id, product_id: product.id, version: product.version, created_at: now },
    grants,
  )
  return id
}

async function checkGrants(sql: Sql, inputs: readonly GrantInput[]): Promise<ProductGrant[]> {
  const grants = inputs.map(completeGrant)
  const errors = grantFaults(grants).map(({ path, detail }) => ({
    pointer: ['/grants', ...path].join('/'),
    detail,
  }))
  const units = await findUnits(sql, [...new Set(grants.map((grant) => grant.unit))])
  for (const [index, { unit }] of grants.entries()) {
    if (!units.has(unit))
      errors.push({ pointer: `/grants/${index}/unit`, detail: `there is no unit ${unit}` })
  }
  if (errors.length > 0) throw new InvalidRequest(errors)
  return grants
}

function checkDates(product: { visible_from: Date | null; visible_until: Date | null }): void {
  const { visible_from, visible_until } = product
  if (visible_from !== null && visible_until !== null && visible_from >= visible_until) {
    throw new InvalidRequest([{ pointer: '/visible_until', detail: 'must be later than visible_from' }])
  }
}
