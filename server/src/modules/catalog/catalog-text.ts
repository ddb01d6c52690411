import { Document, isMap, isScalar, visit } from 'yaml'
import type { Catalog, CatalogChange, CatalogProduct, CatalogUnit } from './catalog-diff.ts'
import { shortenGrant } from './product-grants.ts'

const SIGNS = { create: '+', change: '~', deactivate: '-', unchanged: '=' } as const

/** Shows a diff to people: one line per thing, one more per member that differs, and a closing count. */
export function changesText(changes: readonly CatalogChange[]): string {
  const lines = changes.filter(({ action }) => action !== 'unchanged').flatMap(changeLines)
  const count = (action: CatalogChange['action']): number =>
    changes.filter((change) => change.action === action).length
  const counts = [
    `${count('create')} to create`,
    `${count('change')} to change`,
    `${count('deactivate')} to deactivate`,
    `${count('unchanged')} unchanged`,
  ]
  return [...lines, counts.join(', ')].join('\n')
}

function changeLines(change: CatalogChange): string[] {
  const name = change.noun === 'price' ? `${change.key} ${change.currency}` : change.key
  const head = `${SIGNS[change.action]} ${change.noun} ${name}`
  if (change.noun === 'price') {
    const [amount] = change.fields
    return [
      [head, amount?.from, amount?.to && (amount.from === null ? amount.to : `→ ${amount.to}`)]
        .filter(Boolean)
        .join(' '),
    ]
  }
  const details = change.fields
    .filter(({ to }) => change.action !== 'create' || (to !== null && to !== '{}'))
    .map(({ field, from, to }) => {
      return change.action === 'create'
        ? `    ${field}: ${to}`
        : `    ${field}: ${from ?? 'none'} → ${to ?? 'none'}`
    })
  return [head, ...details]
}

/** Writes a catalog as a file that, applied, changes nothing. What follows by itself is left out. */
export function catalogFileText(catalog: Catalog): string {
  const content = {
    version: 1,
    units: Object.fromEntries(catalog.units.map((unit) => [unit.code, unitMembers(unit)])),
    products: Object.fromEntries(catalog.products.map((product) => [product.key, productMembers(product)])),
  }
  const document = new Document(content, { version: '1.2', schema: 'core', aliasDuplicateObjects: false })
  // Short lists of scalars read best on one line: `{ unit: minute, amount: 1800, validity_days: 90 }`.
  visit(document, {
    Map: (_key, node) => {
      const is_short = node.items.every(({ value }) => isScalar(value)) && String(node).length <= 80
      if (isMap(node) && is_short && node !== document.contents) node.flow = true
    },
  })
  return document.toString({ lineWidth: 0 })
}

function unitMembers(unit: CatalogUnit): Record<string, unknown> {
  return {
    scale: unit.scale,
    name: unit.name,
    ...(hasMembers(unit.names) ? { names: unit.names } : {}),
    ...(unit.kind === 'counted' ? {} : { kind: unit.kind }),
    ...(unit.is_debt_allowed ? { is_debt_allowed: true } : {}),
  }
}

function productMembers(product: CatalogProduct): Record<string, unknown> {
  return {
    ...(product.kind === 'pack' ? {} : { kind: product.kind }),
    name: product.name,
    ...(hasMembers(product.names) ? { names: product.names } : {}),
    ...(product.description === null ? {} : { description: product.description }),
    ...(hasMembers(product.descriptions) ? { descriptions: product.descriptions } : {}),
    ...(product.position === 0 ? {} : { position: product.position }),
    ...(product.visible_from === null ? {} : { visible_from: product.visible_from.toISOString() }),
    ...(product.visible_until === null ? {} : { visible_until: product.visible_until.toISOString() }),
    ...(product.is_active ? {} : { is_active: false }),
    ...(hasMembers(product.metadata) ? { metadata: product.metadata } : {}),
    grants: product.grants.map(shortenGrant),
    ...(hasMembers(product.prices) ? { prices: product.prices } : {}),
  }
}

function hasMembers(value: object): boolean {
  return Object.keys(value).length > 0
}
