import { isNode, isPair, isScalar, LineCounter, parseDocument, visit, type Document } from 'yaml'
import type { z } from 'zod'
import { InvalidRequest } from '#kernel/errors'
import type { Catalog } from './catalog-diff.ts'
import { catalogFile } from './catalog-file-schemas.ts'
import { grantFaults } from './product-grants.ts'

/** A file a person writes is a few kilobytes; this leaves room for two thousand products. */
export const CATALOG_FILE_MAX_BYTES = 1_048_576
/** Anchors are for a handful of repeated grants; more expansion than this is an attack. */
const ALIASES_MAX = 100

/** Faults shown at once; finding the place of each costs a walk through the file. */
export const FAULTS_MAX = 50

/** Where in the file a member stands, for messages about it. */
export type Locate = (path: readonly PropertyKey[]) => string

/**
 * Reads a catalog file: YAML 1.2 without custom tags, every member known, every integer exact.
 * Throws {@link InvalidRequest} that names each fault by its place, `/products/minutes_30/name`, with line
 * and column. `locate` gives the same line and column for faults found later.
 */
export function parseCatalogFile(text: string): { catalog: Catalog; locate: Locate } {
  const size = Buffer.byteLength(text)
  if (size > CATALOG_FILE_MAX_BYTES) {
    throw new InvalidRequest([
      { pointer: '', detail: `the file is larger than ${CATALOG_FILE_MAX_BYTES} bytes` },
    ])
  }
  const { document, lines } = readYaml(text)
  const locate: Locate = (path) => placeOf(document, lines, path)
  const parsed = catalogFile.safeParse(toValue(document))
  if (!parsed.success) {
    const issues = parsed.error.issues.slice(0, FAULTS_MAX)
    throw new InvalidRequest(issues.flatMap((issue) => faultsOf(issue, locate)))
  }
  const catalog: Catalog = {
    units: Object.entries(parsed.data.units).map(([code, entry]) => ({ code, ...entry })),
    products: Object.entries(parsed.data.products).map(([key, entry]) => ({ key, ...entry })),
  }
  const faults = catalog.products.flatMap((entry) => productFaults(entry))
  if (faults.length > 0)
    throw new InvalidRequest(faults.map(({ path, detail }) => fault(locate, path, detail)))
  return { catalog, locate }
}

/** One fault as the problem's `errors` has it: JSON pointer, and sentence with line and column. */
export function fault(
  locate: Locate,
  path: readonly PropertyKey[],
  detail: string,
): { pointer: string; detail: string } {
  const pointer = path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
  return { pointer, detail: `${locate(path)}: ${detail}` }
}

function readYaml(text: string): { document: Document; lines: LineCounter } {
  const lines = new LineCounter()
  let document: Document
  try {
    document = parseDocument(text, { ...YAML_OPTIONS, lineCounter: lines })
  } catch (error) {
    // The reader recurses: brackets nested without end exhaust the stack, which is the file's fault.
    if (!(error instanceof RangeError)) throw error
    throw new InvalidRequest([{ pointer: '', detail: 'the file is nested too deeply' }])
  }
  const faults = [...document.errors, ...document.warnings].map((one) => ({
    offset: one.pos[0],
    detail: one.message,
  }))
  const found = faults.length > 0 ? faults : nodeFaults(document)
  if (found.length > 0) {
    throw new InvalidRequest(
      found.slice(0, FAULTS_MAX).map(({ offset, detail }) => {
        const { line, col } = lines.linePos(offset)
        return { pointer: '', detail: `line ${line}, column ${col}: ${detail}` }
      }),
    )
  }
  return { document, lines }
}

const YAML_OPTIONS = {
  version: '1.2',
  schema: 'core',
  strict: true,
  // The reader compares every name with every other one; nodeFaults finds repeated names in one pass.
  uniqueKeys: false,
  intAsBigInt: true,
  merge: false,
  prettyErrors: false,
  logLevel: 'error',
} as const

/** What YAML allows and a catalog does not. */
function nodeFaults(document: Document): { offset: number; detail: string }[] {
  const faults: { offset: number; detail: string }[] = []
  let aliases = 0
  visit(document, {
    Alias: (_key, node) => {
      aliases += 1
      const offset = node.range?.[0] ?? 0
      if (!node.resolve(document)) faults.push({ offset, detail: `the alias *${node.source} names nothing` })
      if (aliases <= ALIASES_MAX) return undefined
      faults.push({ offset, detail: `the file has more than ${ALIASES_MAX} aliases` })
      return visit.BREAK
    },
    Map: (_key, map) => {
      const names = new Set<string>()
      for (const { key } of map.items) {
        const offset = isNode(key) ? (key.range?.[0] ?? 0) : 0
        // A member called __proto__ would vanish unseen in a JavaScript object.
        if (!isScalar(key) || key.value === '__proto__')
          faults.push({ offset, detail: 'this cannot be a name' })
        else if (names.has(String(key.value))) faults.push({ offset, detail: 'this name is here twice' })
        else names.add(String(key.value))
      }
    },
  })
  return faults
}

function toValue(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: ALIASES_MAX })
  } catch (error) {
    // Aliases of aliases multiply; the reader counts what they come to and gives up with this class.
    if (!(error instanceof ReferenceError)) throw error
    throw new InvalidRequest([{ pointer: '', detail: `the file expands more than ${ALIASES_MAX} aliases` }])
  }
}

function faultsOf(issue: z.core.$ZodIssue, locate: Locate): { pointer: string; detail: string }[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys
      .slice(0, FAULTS_MAX)
      .map((key) => fault(locate, [...issue.path, key], 'is not known here'))
  }
  if (issue.code === 'invalid_key') {
    return [fault(locate, issue.path, issue.issues[0]?.message ?? 'is not a good name here')]
  }
  return [fault(locate, issue.path, issue.message)]
}

function productFaults(entry: Catalog['products'][number]): { path: (string | number)[]; detail: string }[] {
  const { key, visible_from, visible_until } = entry
  const faults = grantFaults(entry.grants).map(({ path, detail }) => ({
    path: ['products', key, 'grants', ...path],
    detail,
  }))
  if (visible_from !== null && visible_until !== null && visible_from >= visible_until) {
    faults.push({ path: ['products', key, 'visible_until'], detail: 'must be later than visible_from' })
  }
  return faults
}

/** Line and column of a member's name, of a list's element, or of the nearest thing around it that exists. */
function placeOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): string {
  let offset = 0
  let node: unknown = document.contents
  for (const part of path) {
    const next = childOf(document, node, part)
    if (!next) break
    offset = next.offset
    node = next.node
  }
  const { line, col } = lines.linePos(offset)
  return `line ${line}, column ${col}`
}

function childOf(
  document: Document,
  parent: unknown,
  part: PropertyKey,
): { node: unknown; offset: number } | undefined {
  const resolved = isAliasOf(document, parent)
  if (typeof resolved !== 'object' || resolved === null || !('items' in resolved)) return undefined
  const items = resolved.items
  if (!Array.isArray(items)) return undefined
  for (const [index, item] of items.entries()) {
    if (isPair(item)) {
      const name = isScalar(item.key) ? String(item.key.value) : undefined
      if (name === String(part) && isNode(item.key))
        return { node: item.value, offset: item.key.range?.[0] ?? 0 }
    } else if (index === part && isNode(item)) {
      return { node: item, offset: item.range?.[0] ?? 0 }
    }
  }
  return undefined
}

function isAliasOf(document: Document, node: unknown): unknown {
  return isNode(node) && 'resolve' in node && typeof node.resolve === 'function'
    ? node.resolve(document)
    : node
}
