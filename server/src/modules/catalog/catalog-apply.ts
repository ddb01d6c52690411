import type { Clock } from '#kernel/clock'
import type { Db, Sql, Tx } from '#kernel/db'
import { assert, InvalidRequest, InvalidState } from '#kernel/errors'
import { ensureUnit, listUnits } from '#modules/ledger'
import { catalogChanged } from './catalog-changes.ts'
import {
  type Catalog,
  type CatalogChange,
  type CatalogProduct,
  type CatalogUnit,
  diffCatalog,
  hasChanges,
} from './catalog-diff.ts'
import { fault, FAULTS_MAX, type Locate, parseCatalogFile } from './catalog-file.ts'
import { PRODUCTS_MAX, UNITS_MAX } from './catalog-file-schemas.ts'
import { catalogFileText } from './catalog-text.ts'
import { setPrice, updatePrice } from './prices.ts'
import { createProduct, type ProductFacts, updateProduct } from './products.ts'
import * as queries from './queries.ts'

/** How a catalog is applied. */
export interface ApplyOptions {
  /** Does everything and takes it back: what is answered is exactly what would happen. */
  is_dry_run?: boolean | undefined
  /** Deactivates products, and prices of products, that the file does not mention. */
  has_prune?: boolean | undefined
}

/** The database's catalog with the ids by which to change it. */
interface Present {
  catalog: Catalog
  product_ids: Map<string, string>
  price_ids: Map<string, string>
}

/** Takes a dry run back; never leaves this file. */
class TakenBack extends Error {
  readonly changes: CatalogChange[]
  constructor(changes: CatalogChange[]) {
    super('a dry run is taken back')
    this.changes = changes
  }
}

/**
 * Brings the database to what a catalog file says, all of it in one transaction or nothing. Applied again, it
 * changes nothing. Two at once are applied one after the other. Answers what was done, unchanged things too.
 * Throws {@link InvalidRequest} naming each fault of the file by line and column; {@link InvalidState} when a
 * unit cannot become what the file says.
 */
export async function applyCatalog(
  db: Db,
  clock: Clock,
  text: string,
  options: ApplyOptions = {},
): Promise<CatalogChange[]> {
  const { catalog: wanted, locate } = parseCatalogFile(text)
  try {
    const changes = await db.transact(async (tx) => {
      await queries.lockCatalog(tx)
      const present = await readPresent(tx)
      checkWanted(present.catalog, wanted, locate)
      const planned = diffCatalog(present.catalog, wanted, { prune: options.has_prune ?? false })
      await applyChanges(tx, clock, { present, wanted, planned })
      if (options.is_dry_run) throw new TakenBack(planned)
      return planned
    })
    // Said once more after the commit: a long transaction may outlast what is said before it.
    if (hasChanges(changes)) catalogChanged()
    return changes
  } catch (error) {
    if (error instanceof TakenBack) return error.changes
    throw error
  }
}

/** The whole catalog as a file that, applied, changes nothing. */
export async function exportCatalog(sql: Sql): Promise<string> {
  const { catalog } = await readPresent(sql)
  return catalogFileText(catalog)
}

async function readPresent(sql: Sql): Promise<Present> {
  const units = await listUnits(sql)
  const rows = await queries.allProducts(sql, PRODUCTS_MAX + 1)
  if (rows.length > PRODUCTS_MAX) throw new InvalidState(`There are more than ${PRODUCTS_MAX} products.`)
  const grants = await queries.grantsOfVersions(
    sql,
    rows.map((row) => row.product_version_id),
  )
  const prices = await queries.activePrices(
    sql,
    rows.map((row) => row.id),
  )
  const amounts = new Map<string, Record<string, bigint>>(rows.map((row) => [row.id, {}]))
  for (const { product_id, currency, amount } of prices) {
    Object.assign(amounts.get(product_id) ?? {}, { [currency]: amount })
  }
  const products: CatalogProduct[] = rows.map((row) => ({
    ...row,
    grants: grants.get(row.product_version_id) ?? [],
    prices: amounts.get(row.id) ?? {},
  }))
  return {
    catalog: {
      units: units.map(({ translations, created_at: _created_at, ...unit }) => ({
        ...unit,
        names: translations,
      })),
      products,
    },
    product_ids: new Map(rows.map((row) => [row.key, row.id])),
    price_ids: new Map(prices.map((price) => [`${price.product_id} ${price.currency}`, price.id])),
  }
}

/** What only the database can tell about a file: units that nobody declares, scales that cannot change. */
function checkWanted(present: Catalog, wanted: Catalog, locate: Locate): void {
  const units = new Map(present.units.map((unit) => [unit.code, unit]))
  const known = new Set([...units.keys(), ...wanted.units.map((unit) => unit.code)])
  const errors = wanted.products.flatMap((product) =>
    product.grants.flatMap(({ unit }, index) => {
      const path = ['products', product.key, 'grants', index, 'unit']
      return known.has(unit) ? [] : [fault(locate, path, `there is no unit ${unit}; declare it under units`)]
    }),
  )
  for (const { code, scale, kind } of wanted.units) {
    const before = units.get(code)
    if (before && before.scale !== scale) {
      const detail = `the unit has scale ${before.scale} for good: wallets are kept in it`
      errors.push(fault(locate, ['units', code, 'scale'], detail))
    }
    if (before && before.kind !== kind) {
      errors.push(fault(locate, ['units', code, 'kind'], `the unit has kind ${before.kind} for good`))
    }
  }
  if (known.size > UNITS_MAX)
    errors.push(fault(locate, ['units'], `there would be more than ${UNITS_MAX} units`))
  const keys = new Set([...present.products, ...wanted.products].map((product) => product.key))
  if (keys.size > PRODUCTS_MAX) {
    errors.push(fault(locate, ['products'], `there would be more than ${PRODUCTS_MAX} products`))
  }
  if (errors.length > 0) throw new InvalidRequest(errors.slice(0, FAULTS_MAX))
}

interface Plan {
  present: Present
  wanted: Catalog
  planned: readonly CatalogChange[]
}

async function applyChanges(tx: Tx, clock: Clock, { present, wanted, planned }: Plan): Promise<void> {
  const units = new Map(wanted.units.map((unit) => [unit.code, unit]))
  const products = new Map(wanted.products.map((product) => [product.key, product]))
  const product_ids = new Map(present.product_ids)
  for (const change of planned) {
    if (change.action === 'unchanged') continue
    if (change.noun === 'unit') {
      await applyUnit(tx, clock, wantedOf(units, change.key))
      continue
    }
    if (change.noun === 'product' && change.action === 'create') {
      const { id } = await createProduct(tx, clock, wantedOf(products, change.key))
      product_ids.set(change.key, id)
      continue
    }
    const id = wantedOf(product_ids, change.key)
    if (change.noun === 'product') {
      const facts: ProductFacts =
        change.action === 'deactivate' ? { is_active: false } : factsOf(products, change.key)
      await updateProduct(tx, clock, { id, facts })
    } else if (change.action === 'deactivate') {
      await updatePrice(tx, clock, {
        id: wantedOf(present.price_ids, `${id} ${change.currency}`),
        is_active: false,
      })
    } else {
      const amount = wantedOf(products, change.key).prices[change.currency]
      assert(amount !== undefined, `the catalog lost the price ${change.key} ${change.currency}`)
      await setPrice(tx, clock, { product_id: id, currency: change.currency, amount })
    }
  }
}

async function applyUnit(tx: Tx, clock: Clock, unit: CatalogUnit): Promise<void> {
  const { names, ...facts } = unit
  await ensureUnit(tx, clock, { ...facts, translations: { ...names } })
}

function factsOf(products: ReadonlyMap<string, CatalogProduct>, key: string): ProductFacts {
  const { key: _key, kind: _kind, prices: _prices, ...facts } = wantedOf(products, key)
  return facts
}

function wantedOf<Value>(values: ReadonlyMap<string, Value>, key: string): Value {
  const value = values.get(key)
  assert(value !== undefined, `the catalog lost ${key}`)
  return value
}
