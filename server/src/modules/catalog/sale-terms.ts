import type { Sql } from '#kernel/db'
import { assert, NotFound } from '#kernel/errors'
import { isId } from '#kernel/ids'
import { NotOnSale, type NotOnSaleReason } from './errors.ts'
import { localize, type Texts } from './localize.ts'
import type { ProductGrant } from './product-grants.ts'
import * as queries from './queries.ts'

/** What is agreed when something is bought now. Frozen: an order keeps it whatever the catalog says later. */
export interface SaleTerms {
  readonly price_id: string
  readonly product_id: string
  readonly product_version_id: string
  readonly product_key: string
  readonly kind: 'pack'
  readonly currency: string
  /** For one piece, in minor units. */
  readonly amount: bigint
  /** In the asked locale, else the product's own name. */
  readonly name: string
  readonly names: Texts
  readonly grants: readonly Readonly<ProductGrant>[]
  readonly metadata: queries.CatalogMetadata
}

/** Most prices one call looks up. */
const LOOKUP_MAX = 200

/**
 * The terms of one price at a moment. Throws NotFound for an unknown price, {@link NotOnSale} with `price_id`
 * and `reason` when the price or product was ended, or is not visible at that moment.
 */
export async function getSaleTerms(
  sql: Sql,
  price_id: string,
  at: Date,
  locale?: string,
): Promise<SaleTerms> {
  const terms = (await listSaleTerms(sql, [price_id], at, locale)).get(price_id)
  assert(terms, 'the terms of a price are missing')
  return terms
}

/** As {@link getSaleTerms} for several prices in one look, by price id. Throws for the first bad one. */
export async function listSaleTerms(
  sql: Sql,
  price_ids: readonly string[],
  at: Date,
  locale?: string,
): Promise<Map<string, SaleTerms>> {
  assert(price_ids.length <= LOOKUP_MAX, `at most ${LOOKUP_MAX} prices are looked up at once`)
  const sales = await queries.findSales(
    sql,
    price_ids.filter((id) => isId('price', id)),
  )
  const by_price = new Map(sales.map((sale) => [sale.price.id, sale]))
  for (const id of price_ids) {
    const sale = by_price.get(id)
    if (!sale) throw new NotFound(`There is no price ${id}.`, { price_id: id })
    const reason = whyNotOnSale(sale, at)
    if (reason) throw new NotOnSale(SENTENCES[reason], { price_id: id, reason })
  }
  const grants = await queries.grantsOfVersions(
    sql,
    sales.map(({ product }) => product.product_version_id),
  )
  return new Map(
    sales.map((sale) => [
      sale.price.id,
      saleTerms(sale, grants.get(sale.product.product_version_id) ?? [], locale),
    ]),
  )
}

type Sale = Awaited<ReturnType<typeof queries.findSales>>[number]

const SENTENCES: Readonly<Record<NotOnSaleReason, string>> = {
  price_inactive: 'This price is no longer asked; look at the catalog for the present one.',
  product_inactive: 'This product is no longer sold.',
  not_yet_visible: 'This product is not sold yet.',
  no_longer_visible: 'This product is no longer sold.',
}

/** Dates are from inclusive, until exclusive, as in the shop. */
function whyNotOnSale({ price, product }: Sale, at: Date): NotOnSaleReason | undefined {
  if (!price.is_active) return 'price_inactive'
  if (!product.is_active) return 'product_inactive'
  if (product.visible_from !== null && at < product.visible_from) return 'not_yet_visible'
  if (product.visible_until !== null && at >= product.visible_until) return 'no_longer_visible'
  return undefined
}

/** The terms of a price with what its product grants, frozen. Pure. */
export function saleTerms(
  { price, product }: Sale,
  grants: readonly ProductGrant[],
  locale: string | undefined,
): SaleTerms {
  return Object.freeze({
    price_id: price.id,
    product_id: product.id,
    product_version_id: product.product_version_id,
    product_key: product.key,
    kind: product.kind,
    currency: price.currency,
    amount: price.amount,
    name: localize(product.names, product.name, locale),
    names: product.names,
    grants: Object.freeze(grants.map((grant) => Object.freeze({ ...grant }))),
    metadata: product.metadata,
  })
}
