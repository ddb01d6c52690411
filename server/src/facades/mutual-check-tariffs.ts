import type { FastifyInstance } from 'fastify'
import { formatDecimal, parseDecimal } from '@kopilka/extension'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { pageOf, pageQuery, storable } from '#http/wire'
import type { Sql, Tx } from '#kernel/db'
import { InvalidState, NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { toPage } from '#kernel/page'
import {
  createProduct,
  getProduct,
  listActivePrices,
  listOnSale,
  listProducts,
  setPrice,
  updatePrice,
  updateProduct,
  type Price,
  type Product,
} from '#modules/catalog'
import { ensureUnit, findUnits } from '#modules/ledger'

/** The unit this product sells; whole checks. */
export const UNIT = 'check'
/** Money of the tariffs: a card or the like through Robokassa, Stars in Telegram. */
export const RUB = 'RUB'
export const STARS = 'XTR'

const TAG = 'mutual-check'
const READ = { key: 'catalog:read', staff: 'catalog:read' } as const
const WRITE = { key: 'catalog:write', staff: 'catalog:write' } as const

const checksCount = z.int().min(1).max(1_000_000).describe('Checks it gives.')
const rubles = z
  .union([z.string().max(20), z.number().max(1e9)])
  .refine((value) => (kopecksOf(value) ?? 0n) > 0n, 'must be an amount of rubles such as 199 or "199.00"')
  .transform((value) => kopecksOf(value) ?? 0n)
const stars = z
  .int()
  .min(1)
  .max(1_000_000)
  .transform((value) => BigInt(value))

const facts = {
  name: storable(200),
  checks_count: checksCount,
  price_rub: rubles.nullable().describe('Rubles; null: not sold for rubles.'),
  price_stars: stars.nullable().describe('Telegram Stars; null: not sold for Stars.'),
  is_active: z.boolean(),
}
const newTariff = z
  .strictObject({
    ...facts,
    price_rub: facts.price_rub.default(null),
    price_stars: facts.price_stars.default(null),
    is_active: facts.is_active.default(true),
  })
  .refine(({ price_rub, price_stars }) => price_rub !== null || price_stars !== null, {
    path: ['price_rub'],
    message: 'a tariff has a price in rubles, in Stars or both',
  })
const tariffChange = z.strictObject(facts).partial()

const tariff = z
  .object({
    id: z.string(),
    name: z.string(),
    checks_count: z.int(),
    price_rub: z.string().nullable().describe('Rubles as a decimal, e.g. 199.00.'),
    price_stars: z.int().nullable(),
    is_active: z.boolean(),
  })
  .meta({
    id: 'Tariff',
    description: 'A product that gives checks, in the words of the mutual-follow check.',
  })
const tariffPath = z.object({ tariff_id: z.string().min(1).max(64) })

type Tariff = z.output<typeof tariff>

/** `/api/v1/tariffs` for everybody, `/api/v1/admin/tariffs` for keys and staff who may change the catalog. */
export function tariffRoutes(app: FastifyInstance, kit: RouteKit): void {
  listRoutes(app, kit)
  changeRoutes(app, kit)
}

function listRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/api/v1/tariffs',
    who: { anonymous: true },
    tag: TAG,
    summary: 'Tariffs on sale',
    query: pageQuery,
    answer: pageOf(tariff),
    read: async ({ query: { limit, cursor } }) => {
      const opened = cursor === undefined ? undefined : kit.cursors.open('tariffs', cursor)
      const after = opened && { position: Number(opened[0]), id: String(opened[1]) }
      const rows = await listOnSale(kit.db, kit.clock.now(), { unit: UNIT }, { limit, after })
      return toPage(
        rows,
        limit,
        kit.cursors,
        'tariffs',
        (row) => [row.position, row.id],
        (row) => tariffOf(row, row.prices),
      )
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/api/v1/admin/tariffs',
    who: READ,
    tag: TAG,
    summary: 'All tariffs, newest first, those not on sale too',
    query: pageQuery,
    answer: pageOf(tariff),
    read: async ({ query }) => {
      const page = await listProducts(kit.db, kit.cursors, { unit: UNIT }, query)
      const prices = await listActivePrices(
        kit.db,
        page.items.map(({ id }) => id),
      )
      return { ...page, items: page.items.map((product) => tariffOf(product, prices)) }
    },
  })
}

function changeRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/api/v1/admin/tariffs',
    who: WRITE,
    tag: TAG,
    status: 201,
    summary: 'Make a tariff',
    body: newTariff,
    answer: tariff,
    audit: { action: 'product.created' },
    write: (tx, { body }) => makeTariff(tx, kit, body),
  })
  addRoute(app, kit, {
    method: 'PUT',
    url: '/api/v1/admin/tariffs/:tariff_id',
    who: WRITE,
    tag: TAG,
    summary: 'Change a tariff; absent members stay as they are',
    description:
      'Other checks make a new version, another price a new price: who bought keeps what he bought.',
    params: tariffPath,
    body: tariffChange,
    answer: tariff,
    errors: { 409: ['invalid_state'] },
    audit: { action: 'product.changed', before: (tx, { params }) => readTariff(tx, params.tariff_id) },
    write: (tx, { params, body }) => changeTariff(tx, kit, params.tariff_id, body),
  })
  addRoute(app, kit, {
    method: 'DELETE',
    url: '/api/v1/admin/tariffs/:tariff_id',
    who: WRITE,
    tag: TAG,
    summary: 'Take a tariff off sale; it is not deleted, for people have bought it',
    params: tariffPath,
    answer: tariff,
    audit: { action: 'product.changed', before: (tx, { params }) => readTariff(tx, params.tariff_id) },
    write: (tx, { params }) => changeTariff(tx, kit, params.tariff_id, { is_active: false }),
  })
}

/** The product and its prices in the tariff's words. Throws {@link NotFound}. */
async function readTariff(sql: Sql, id: string): Promise<Tariff> {
  const product = await getTariffProduct(sql, id)
  return tariffOf(product, await listActivePrices(sql, [id]))
}

/** The price a tariff has in a currency. Throws {@link NotFound} for what is no tariff or has none. */
export async function getTariffPrice(sql: Sql, id: string, currency: string): Promise<Price> {
  await getTariffProduct(sql, id)
  const price = (await listActivePrices(sql, [id])).find((one) => one.currency === currency)
  if (price) return price
  throw new NotFound(`The tariff ${id} is not sold for ${currency}.`)
}

async function makeTariff(tx: Tx, kit: RouteKit, body: z.output<typeof newTariff>): Promise<Tariff> {
  if (!(await findUnits(tx, [UNIT])).has(UNIT)) {
    await ensureUnit(tx, kit.clock, {
      code: UNIT,
      scale: 1n,
      name: 'Check',
      translations: { ru: 'Проверка' },
    })
  }
  const product = await createProduct(tx, kit.clock, {
    key: `checks-${newId('prod').slice('prod_'.length)}`,
    name: body.name,
    is_active: body.is_active,
    grants: [{ unit: UNIT, amount: BigInt(body.checks_count) }],
  })
  await changePrices(tx, kit, product.id, body)
  return readTariff(tx, product.id)
}

async function changeTariff(
  tx: Tx,
  kit: RouteKit,
  id: string,
  change: z.output<typeof tariffChange>,
): Promise<Tariff> {
  const { name, is_active, checks_count } = change
  const before = await getTariffProduct(tx, id)
  const grants = checks_count === undefined ? undefined : grantsOf(before, BigInt(checks_count))
  await updateProduct(tx, kit.clock, { id, facts: { name, is_active, grants } })
  await changePrices(tx, kit, id, change)
  return readTariff(tx, id)
}

async function changePrices(
  tx: Tx,
  { clock }: RouteKit,
  product_id: string,
  asked: { price_rub?: bigint | null | undefined; price_stars?: bigint | null | undefined },
): Promise<void> {
  const prices = await listActivePrices(tx, [product_id])
  for (const [currency, amount] of [
    [RUB, asked.price_rub],
    [STARS, asked.price_stars],
  ] as const) {
    const present = prices.find((price) => price.currency === currency)
    if (amount === null && present) await updatePrice(tx, clock, { id: present.id, is_active: false })
    else if (typeof amount === 'bigint') await setPrice(tx, clock, { product_id, currency, amount })
  }
}

/** Throws {@link NotFound} also for a product that gives no checks: it is none of this product's tariffs. */
async function getTariffProduct(sql: Sql, id: string): Promise<Product> {
  const product = await getProduct(sql, id).catch((error: unknown) => {
    throw error instanceof NotFound ? new NotFound(`There is no tariff ${id}.`) : error
  })
  if (product.grants.some(({ unit }) => unit === UNIT)) return product
  throw new NotFound(`There is no tariff ${id}.`)
}

/** The same grants with another number of checks. Throws {@link InvalidState} when several give checks. */
function grantsOf(product: Product, checks: bigint): Product['grants'] {
  if (product.grants.filter(({ unit }) => unit === UNIT).length > 1) {
    throw new InvalidState(
      `The tariff ${product.id} gives checks in several parts: change it by /v1/products/${product.id}.`,
    )
  }
  return product.grants.map((grant) => (grant.unit === UNIT ? { ...grant, amount: checks } : grant))
}

function tariffOf(
  product: { id: string; name: string; is_active: boolean; grants: Product['grants'] },
  prices: readonly Price[],
): Tariff {
  const price = (currency: string) =>
    prices.find((one) => one.product_id === product.id && one.currency === currency)?.amount
  const [in_rubles, in_stars] = [price(RUB), price(STARS)]
  return {
    id: product.id,
    name: product.name,
    checks_count: checksIn(product.grants),
    price_rub: in_rubles === undefined ? null : formatDecimal(in_rubles, 2),
    price_stars: in_stars === undefined ? null : Number(in_stars),
    is_active: product.is_active,
  }
}

/** How many checks a list of grants gives. */
export function checksIn(grants: readonly { unit: string; amount: bigint | number }[]): number {
  return grants.reduce((sum, { unit, amount }) => (unit === UNIT ? sum + Number(amount) : sum), 0)
}

/** Kopecks of `199`, `199.5` or `'199.00'`; undefined for what has more digits than money has. */
function kopecksOf(value: string | number): bigint | undefined {
  return parseDecimal(String(value), 2)
}
