import type { Texts } from './localize.ts'
import { grantText, type ProductGrant } from './product-grants.ts'
import type { CatalogMetadata } from './queries.ts'

/** A unit as a catalog says it. */
export interface CatalogUnit {
  code: string
  /** Smallest parts in one shown unit: 60 for a minute that is kept in seconds. */
  scale: bigint
  name: string
  names: Texts
  kind: 'counted' | 'money'
  is_debt_allowed: boolean
}

/** A product as a catalog says it, with what it costs now by currency. */
export interface CatalogProduct {
  key: string
  kind: 'pack'
  name: string
  names: Texts
  description: string | null
  descriptions: Texts
  position: number
  visible_from: Date | null
  visible_until: Date | null
  is_active: boolean
  metadata: CatalogMetadata
  grants: readonly ProductGrant[]
  prices: Readonly<Record<string, bigint>>
}

/** Everything a catalog says; the same shape for a file and for what the database has. */
export interface Catalog {
  units: readonly CatalogUnit[]
  products: readonly CatalogProduct[]
}

/** One member that differs, as texts for people. */
export interface FieldChange {
  field: string
  from: string | null
  to: string | null
}

export type ChangeAction = 'create' | 'change' | 'deactivate' | 'unchanged'

/** What has to be done about one thing. `key` is the unit's code or the product's key. */
export type CatalogChange =
  | { action: 'create' | 'change' | 'unchanged'; noun: 'unit'; key: string; fields: FieldChange[] }
  | { action: ChangeAction; noun: 'product'; key: string; fields: FieldChange[] }
  | { action: ChangeAction; noun: 'price'; key: string; currency: string; fields: FieldChange[] }

/**
 * What turns the present catalog into the wanted one, in an order in which it can be done: units, then each
 * product with its prices. What the wanted one does not mention stays; with `prune` its products and the
 * prices of its products are deactivated. Units are never removed: wallets hold them.
 */
export function diffCatalog(
  current: Catalog,
  wanted: Catalog,
  options: { prune?: boolean } = {},
): CatalogChange[] {
  const has_prune = options.prune ?? false
  const units = new Map(current.units.map((unit) => [unit.code, unit]))
  const products = new Map(current.products.map((product) => [product.key, product]))
  const changes: CatalogChange[] = wanted.units.map((unit) => unitChange(units.get(unit.code), unit))
  for (const product of wanted.products) {
    const present = products.get(product.key)
    changes.push(productChange(present, product), ...priceChanges(present, product, has_prune))
  }
  if (!has_prune) return changes
  const mentioned = new Set(wanted.products.map((product) => product.key))
  for (const { key, is_active } of current.products) {
    if (mentioned.has(key) || !is_active) continue
    changes.push({ action: 'deactivate', noun: 'product', key, fields: [] })
  }
  return changes
}

/** True when there is something to do. */
export function hasChanges(changes: readonly CatalogChange[]): boolean {
  return changes.some((change) => change.action !== 'unchanged')
}

function unitChange(present: CatalogUnit | undefined, wanted: CatalogUnit): CatalogChange {
  const fields = fieldChanges(present && unitTexts(present), unitTexts(wanted))
  return { action: actionOf(present, fields), noun: 'unit', key: wanted.code, fields }
}

function productChange(present: CatalogProduct | undefined, wanted: CatalogProduct): CatalogChange {
  const fields = fieldChanges(present && productTexts(present), productTexts(wanted))
  return { action: actionOf(present, fields), noun: 'product', key: wanted.key, fields }
}

function priceChanges(
  present: CatalogProduct | undefined,
  wanted: CatalogProduct,
  has_prune: boolean,
): CatalogChange[] {
  const before = new Map(Object.entries(present?.prices ?? {}))
  const changes: CatalogChange[] = Object.entries(wanted.prices)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([currency, amount]) => {
      const from = before.get(currency)
      const fields = fieldChanges(from === undefined ? undefined : { amount: String(from) }, {
        amount: String(amount),
      })
      return { action: actionOf(from, fields), noun: 'price', key: wanted.key, currency, fields }
    })
  if (!has_prune) return changes
  for (const [currency, amount] of before) {
    if (currency in wanted.prices) continue
    const fields = [{ field: 'amount', from: String(amount), to: null }]
    changes.push({ action: 'deactivate', noun: 'price', key: wanted.key, currency, fields })
  }
  return changes
}

function actionOf(present: unknown, fields: readonly FieldChange[]): 'create' | 'change' | 'unchanged' {
  if (present === undefined) return 'create'
  return fields.length > 0 ? 'change' : 'unchanged'
}

type FieldTexts = Record<string, string | null>

function unitTexts(unit: CatalogUnit): FieldTexts {
  return {
    scale: String(unit.scale),
    name: unit.name,
    names: textsText(unit.names),
    kind: unit.kind,
    is_debt_allowed: String(unit.is_debt_allowed),
  }
}

function productTexts(product: CatalogProduct): FieldTexts {
  return {
    kind: product.kind,
    name: product.name,
    names: textsText(product.names),
    description: product.description,
    descriptions: textsText(product.descriptions),
    position: String(product.position),
    visible_from: product.visible_from?.toISOString() ?? null,
    visible_until: product.visible_until?.toISOString() ?? null,
    is_active: String(product.is_active),
    metadata: textsText(product.metadata),
    grants: product.grants.map(grantText).join('; '),
  }
}

/** The same text for the same members in any order. */
function textsText(texts: Readonly<Record<string, unknown>>): string {
  const members = Object.entries(texts).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify(Object.fromEntries(members))
}

function fieldChanges(present: FieldTexts | undefined, wanted: FieldTexts): FieldChange[] {
  return Object.entries(wanted).flatMap(([field, to]) => {
    const from = present?.[field] ?? null
    return from === to ? [] : [{ field, from, to }]
  })
}
