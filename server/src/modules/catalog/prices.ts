import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { AlreadyExists, NotFound } from '#kernel/errors'
import { isId, newId } from '#kernel/ids'
import { type Cursors, type Page, toPage } from '#kernel/page'
import { catalogChanged } from './catalog-changes.ts'
import { lockProduct, newestFirst, newestFirstPosition, unknownProduct } from './products.ts'
import * as queries from './queries.ts'

/** What one product costs in one currency, in minor units (Stars are whole). Never changes, only ends. */
export type Price = queries.PriceRow

/** What a new price says. */
export interface PriceInput {
  product_id: string
  currency: string
  amount: bigint
  metadata?: queries.CatalogMetadata | undefined
}

/**
 * Asks this amount from now on: a new price, and the one it replaces is deactivated. The same amount again
 * changes nothing and answers the price there is. Throws {@link NotFound} for an unknown product.
 */
export async function setPrice(
  tx: Tx,
  clock: Clock,
  input: PriceInput,
): Promise<{ price: Price; replaced_id: string | null; is_new: boolean }> {
  if (!(await lockProduct(tx, input.product_id))) throw unknownProduct(input.product_id)
  const active = await queries.findActivePrice(tx, input.product_id, input.currency)
  if (active?.amount === input.amount) return { price: active, replaced_id: null, is_new: false }
  const now = clock.now()
  if (active) await queries.updatePrice(tx, { ...active, is_active: false, deactivated_at: now })
  const price: Price = {
    id: newId('price', now.getTime()),
    product_id: input.product_id,
    currency: input.currency,
    amount: input.amount,
    is_active: true,
    metadata: input.metadata ?? {},
    created_at: now,
    deactivated_at: null,
  }
  await queries.insertPrice(tx, price)
  catalogChanged()
  return { price, replaced_id: active?.id ?? null, is_new: true }
}

/** As {@link setPrice}; throws {@link AlreadyExists} with `existing_id` when this amount is asked already. */
export async function createPrice(tx: Tx, clock: Clock, input: PriceInput): Promise<Price> {
  const { price, is_new } = await setPrice(tx, clock, input)
  if (is_new) return price
  throw new AlreadyExists('The product is sold at this price already.', { existing_id: price.id })
}

/**
 * Ends a price, or replaces the owner's facts about it. Ending twice is once; an ended price stays ended.
 * Throws {@link NotFound}.
 */
export async function updatePrice(
  tx: Tx,
  clock: Clock,
  change: { id: string; is_active?: false | undefined; metadata?: queries.CatalogMetadata | undefined },
): Promise<Price> {
  const { product_id } = await getPrice(tx, change.id)
  await lockProduct(tx, product_id)
  const price = await getPrice(tx, change.id)
  if (change.is_active === false && price.is_active) {
    price.is_active = false
    price.deactivated_at = clock.now()
  }
  if (change.metadata !== undefined) price.metadata = change.metadata
  await queries.updatePrice(tx, price)
  catalogChanged()
  return price
}

/** Throws {@link NotFound}. */
export async function getPrice(sql: Sql, id: string): Promise<Price> {
  const price = isId('price', id) ? await queries.findPrice(sql, id) : undefined
  if (!price) throw new NotFound(`There is no price ${id}.`)
  return price
}

/** What several products cost now: their active prices by product and currency. */
export function listActivePrices(sql: Sql, product_ids: readonly string[]): Promise<Price[]> {
  return queries.activePrices(sql, product_ids)
}

/** Prices newest first, ended ones too. Throws InvalidRequest for a foreign cursor. */
export async function listPrices(
  sql: Sql,
  cursors: Cursors,
  filter: queries.PriceFilter,
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<Price>> {
  const rows = await queries.listPrices(sql, filter, {
    limit: page.limit,
    after: page.cursor === undefined ? undefined : newestFirstPosition(cursors, 'prices', page.cursor),
  })
  return toPage(rows, page.limit, cursors, 'prices', newestFirst, (row) => row)
}
