import type { Sql } from '#kernel/db'
import * as queries from './queries.ts'
import { saleTerms, type SaleTerms } from './sale-terms.ts'

/** Where a product's metadata name it to a gateway: `rustore_product_id`, `telegram_stars_product_id`. */
function vendorCodeName(gateway: string): string {
  return `${gateway.replaceAll('-', '_')}_product_id`
}

/** What a vendor calls a product: as its metadata say, else by its key. Pure. */
export function vendorCodeOf(gateway: string, product: Pick<queries.ProductRow, 'key' | 'metadata'>): string {
  const told = product.metadata[vendorCodeName(gateway)]
  return typeof told === 'string' ? told : product.key
}

/**
 * The terms of what a vendor sold under a code of its own, at the price that was asked when it was paid; of a
 * product no longer sold too, for the money was taken. Undefined when no product has this code, or none of
 * its prices is in the currency.
 */
export async function findVendorTerms(
  sql: Sql,
  sold: { gateway: string; code: string; currency: string; at: Date },
): Promise<SaleTerms | undefined> {
  if (sold.code === '') return undefined
  const product = await queries.findProductByVendorCode(sql, vendorCodeName(sold.gateway), sold.code)
  if (!product) return undefined
  const price = await queries.findPriceAt(sql, product.id, sold.currency, sold.at)
  if (!price) return undefined
  const grants = await queries.grantsOfVersions(sql, [product.product_version_id])
  return saleTerms({ price, product }, grants.get(product.product_version_id) ?? [], undefined)
}
