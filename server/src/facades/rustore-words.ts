import { formatDecimal } from '@kopilka/extension'
import type { Call, RouteKit } from '#http/routing'
import type { Sql } from '#kernel/db'
import { DomainError, NotFound } from '#kernel/errors'
import { currencyDigits } from '#kernel/money'
import { listOnSale, localize, vendorCodeOf, type OnSale } from '#modules/catalog'
import { resolveCustomer, type Customer } from '#modules/customers'
import { person } from '#modules/identity'

/** The app's words for our things: points, products by the store's codes. */

export const TAG = 'rustore-points'
/** The unit the app sells. */
export const UNIT = 'point'
export const RUSTORE = 'rustore'
/** An app has a handful of products. */
const PRODUCTS_MAX = 200

/** The store sells on the device; a server can only look at what was bought. */
export class BoughtInApp extends DomainError {
  readonly code = 'bought_in_app'
  readonly status = 409
  readonly title = 'This is bought in the app.'
}

/** Every product on sale. */
export function productsOnSale(kit: RouteKit): Promise<OnSale[]> {
  return listOnSale(kit.db, kit.clock.now(), {}, { limit: PRODUCTS_MAX })
}

/** A product as the app shows it; none when it has no price in the currency. */
export function productWire(product: OnSale, currency: string, locale: string | undefined) {
  const price = product.prices.find((candidate) => candidate.currency === currency)
  if (!price) return []
  return [
    {
      productId: vendorCodeOf(RUSTORE, product),
      id: product.id,
      name: localize(product.names, product.name, locale),
      description: localize(product.descriptions, product.description, locale),
      points: pointsOf(product.grants),
      price: formatDecimal(price.amount, currencyDigits(currency)),
      priceMinor: Number(price.amount),
      currency,
      validityDays: product.grants.find((grant) => grant.is_paid)?.validity_days ?? null,
    },
  ]
}

/** The price of a product the app names by the store's code, our key or our id. Throws {@link NotFound}. */
export function priceOf(products: readonly OnSale[], name: string, currency: string): string {
  const product = products.find(
    (one) => vendorCodeOf(RUSTORE, one) === name || one.key === name || one.id === name,
  )
  const price = product?.prices.find((candidate) => candidate.currency === currency)
  if (!price) throw new NotFound(`There is no product ${name} on sale for ${currency}.`)
  return price.id
}

/** Points among what something grants. */
export function pointsOf(grants: readonly { unit: string; amount: bigint | number }[]): number {
  return grants.filter((grant) => grant.unit === UNIT).reduce((sum, grant) => sum + Number(grant.amount), 0)
}

/** The customer of the person who calls. */
export function buyerOf(sql: Sql, { actor }: Pick<Call, 'actor'>): Promise<Customer> {
  return resolveCustomer(sql, person(actor).customer_id)
}
