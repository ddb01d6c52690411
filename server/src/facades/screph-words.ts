import { formatDecimal } from '@kopilka/extension'
import type { Call, RouteKit } from '#http/routing'
import type { Sql, Tx } from '#kernel/db'
import { InvalidRequest, NotFound } from '#kernel/errors'
import { currencyDigits } from '#kernel/money'
import { listOnSale, localize, type OnSale } from '#modules/catalog'
import { type Customer, resolveCustomer } from '#modules/customers'
import { ensureNamedUser, findNamedUser } from './named-user.ts'

/** Screph's words for our things: packages for products, minutes for seconds. */

/** The unit Screph sells; kept in seconds. */
export const UNIT = 'minute'
const SECONDS_PER_MINUTE = 60

/** Seconds as minutes for people's eyes, rounded down to hundredths; never computed with. */
export function minutesOf(seconds: bigint | number): number {
  return Math.floor((Number(seconds) * 100) / SECONDS_PER_MINUTE) / 100
}

/**
 * Every product on sale that gives minutes. Screph has a handful of packages; two hundred are shown at most.
 */
export async function onSale(kit: RouteKit): Promise<OnSale[]> {
  const products = await listOnSale(kit.db, kit.clock.now(), {}, { limit: 200 })
  return products.filter((product) => product.grants.some((grant) => grant.unit === UNIT))
}

/** A package as Screph shows it; none when it has no price in the currency. */
export function packWire(product: OnSale, currency: string, locale: string | undefined) {
  const price = product.prices.find((candidate) => candidate.currency === currency)
  if (!price) return []
  const grants = product.grants.filter((grant) => grant.unit === UNIT)
  const seconds = grants.reduce((sum, grant) => sum + grant.amount, 0n)
  return [
    {
      id: product.id,
      price_id: price.id,
      name: localize(product.names, product.name, locale),
      minutes: minutesOf(seconds),
      price: formatDecimal(price.amount, currencyDigits(currency)),
      price_minor: Number(price.amount),
      currency,
      validity_days: grants.find((grant) => grant.is_paid)?.validity_days ?? null,
    },
  ]
}

/**
 * The product and price a package id means: the product's id, its key, or one of its prices. Throws NotFound.
 */
export function priceOf(products: readonly OnSale[], package_id: string, currency: string): string {
  for (const { id, key, prices } of products) {
    const named = prices.find((price) => price.id === package_id)
    if (named) return named.id
    const price = prices.find((candidate) => candidate.currency === currency)
    if (price && (id === package_id || key === package_id)) return price.id
  }
  throw new NotFound(`There is no package ${package_id} on sale for ${currency}.`)
}

/**
 * The user a server speaks for, or who calls with his own token. Throws {@link InvalidRequest} without
 * `X-User-Id`, NotFound for somebody unknown.
 */
export async function getUser(sql: Sql, call: Call): Promise<Customer> {
  if (call.actor.kind === 'user') return resolveCustomer(sql, call.actor.customer_id)
  const id = userId(call)
  const customer = await findNamedUser(sql, id)
  if (!customer)
    throw new NotFound(`There is no user ${id}. POST /auth/register/ with this X-User-Id makes one.`)
  return customer
}

/**
 * As {@link getUser}; a new user is made: as a Telegram id when it looks like one, else as an external id.
 */
export async function ensureUser(tx: Tx, kit: RouteKit, call: Call): Promise<Customer> {
  if (call.actor.kind === 'user') return getUser(tx, call)
  return ensureNamedUser(tx, kit.clock, { id: userId(call), pointer: '/headers/x-user-id' })
}

function userId(call: Call): string {
  const header = call.headers['x-user-id']
  if (typeof header === 'string' && header.length > 0 && header.length <= 220) return header
  throw new InvalidRequest([
    { pointer: '/headers/x-user-id', detail: 'names the user this call is for: send it once' },
  ])
}

export function personWire(customer: Customer) {
  return {
    id: customer.id,
    external_id: customer.external_id,
    telegram_id: customer.telegram_id === null ? null : Number(customer.telegram_id),
    email: customer.email,
    name: customer.name,
    locale: customer.locale,
    created_at: customer.created_at,
  }
}
