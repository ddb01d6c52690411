import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import type { ErrorObject, ValidateFunction } from 'ajv'
import ajvFormats from 'ajv-formats'

/** One thing wrong with a request, most specific place first. */
export interface Problem {
  /** Dotted: `amount.value`, `receipt.items.0.vat_code`; empty for the whole body. */
  parameter: string
  /** The JSON Schema keyword that was not met: `required`, `enum`, `type`, `maxLength` … */
  keyword: string
  /** Short English. */
  detail: string
}

/** A vendor's published shapes. Paths are the file's own, e.g. `/payments/{payment_id}`. */
export interface Spec {
  /** The path of an operation as the file spells it, e.g. `/payments/{payment_id}` of `/payments/42`. */
  find: (method: string, pathname: string) => string | undefined
  checkBody: (method: string, path: string, body: unknown) => Problem[]
  /** As `checkBody` for a form, whose values are texts: they are turned into the types wanted, in place. */
  checkForm: (method: string, path: string, form: unknown) => Problem[]
  /** Values are strings and are coerced. A name the file does not know is a problem of keyword `unknown`. */
  checkQuery: (method: string, path: string, query: Readonly<Record<string, unknown>>) => Problem[]
  /** For tests: does the emulator answer in the vendor's shape? */
  checkResponse: (method: string, path: string, status: number, body: unknown) => Problem[]
  /** Against a named component, e.g. the object of a notification. */
  checkSchema: (name: string, value: unknown) => Problem[]
}

type Node = { [key: string]: unknown }

const loaded = new Map<string, Spec>()

/**
 * Reads `specs/<name>.json`, made by `scripts/reduce-spec.ts`. Validators are compiled when first used, and
 * once per process: a test that starts fifty emulators pays for one.
 */
export function loadSpec(name: string): Spec {
  const known = loaded.get(name)
  if (known) return known
  const text = readFileSync(new URL(`../specs/${name}.json`, import.meta.url), 'utf8')
  const spec = createSpec(JSON.parse(text) as Node)
  loaded.set(name, spec)
  return spec
}

/** Builds the checks over a parsed OpenAPI 3.0 or 3.1 document. */
export function createSpec(document: Node): Spec {
  const ajv = once(() => createAjv(document, false))
  const coercing = once(() => createAjv(document, true))
  const compiled = new Map<string, ValidateFunction | undefined>()
  const validator = (key: string, schema: () => unknown, engine: () => Ajv) => {
    if (!compiled.has(key)) {
      const found = schema()
      compiled.set(
        key,
        found === undefined ? undefined : engine().compile(toJsonSchema(found, document) as Node),
      )
    }
    return compiled.get(key)
  }
  const operation = (method: string, path: string) => {
    const item = node(node(document['paths'])?.[path])
    const found = node(item?.[method.toLowerCase()])
    if (!item || !found) throw new Error(`The spec has no ${method} ${path}.`)
    return { item, operation: found }
  }
  const templates = Object.entries(node(document['paths']) ?? {})
  return {
    find(method, pathname) {
      const fitting = templates.filter(
        ([path, item]) => node(item)?.[method.toLowerCase()] !== undefined && isOf(path, pathname),
      )
      // `/transactions/preview` is not the transaction called preview.
      return fitting.toSorted(([a], [b]) => a.split('{').length - b.split('{').length)[0]?.[0]
    },
    checkBody(method, path, body) {
      const schema = () => bodySchema(operation(method, path).operation['requestBody'], document)
      const check = validator(`body ${method} ${path}`, schema, ajv)
      return !check || check(body) ? [] : problems(check.errors)
    },
    checkForm(method, path, form) {
      const schema = () => bodySchema(operation(method, path).operation['requestBody'], document)
      const check = validator(`form ${method} ${path}`, schema, coercing)
      return !check || check(form) ? [] : problems(check.errors)
    },
    checkQuery(method, path, query) {
      const found = operation(method, path)
      const schema = () => querySchema([found.item['parameters'], found.operation['parameters']], document)
      const check = validator(`query ${method} ${path}`, schema, coercing)
      return !check || check({ ...query }) ? [] : problems(check.errors)
    },
    checkResponse(method, path, status, body) {
      const responses = node(operation(method, path).operation['responses'])
      const schema = () => bodySchema(responses?.[String(status)] ?? responses?.['default'], document)
      const check = validator(`response ${status} ${method} ${path}`, schema, ajv)
      return !check || check(body) ? [] : problems(check.errors)
    },
    checkSchema(name, value) {
      const check = validator(`schema ${name}`, () => ({ $ref: `#/components/schemas/${name}` }), ajv)
      return !check || check(value) ? [] : problems(check.errors)
    },
  }
}

/** Most of a vendor's shapes are needed in a test or two; an emulator that starts needs none. */
function once<T extends object>(make: () => T): () => T {
  let made: T | undefined
  return () => (made ??= make())
}

function isOf(template: string, pathname: string): boolean {
  const [wanted, given] = [template.split('/'), pathname.split('/')]
  return (
    wanted.length === given.length &&
    wanted.every((part, index) => (part.startsWith('{') ? given[index] !== '' : part === given[index]))
  )
}

function createAjv(document: Node, coerceTypes: boolean): Ajv {
  // Vendors' patterns are written for other engines: without the `u` flag more of them compile.
  const ajv = new Ajv({ allErrors: true, strict: false, logger: false, unicodeRegExp: false, coerceTypes })
  ajvFormats.default(ajv)
  const schemas = node(node(document['components'])?.['schemas']) ?? {}
  ajv.addSchema({
    $id: 'spec',
    components: {
      schemas: Object.fromEntries(
        Object.entries(schemas).map(([name, schema]) => [name, toJsonSchema(schema, document)]),
      ),
    },
  })
  return ajv
}

function bodySchema(body: unknown, document: Node): unknown {
  const content = node(resolve(body, document)?.['content'])
  const media = content && node(content['application/json'] ?? Object.values(content)[0])
  return media?.['schema']
}

function querySchema(lists: readonly unknown[], document: Node): Node {
  const properties: Node = {}
  const required: string[] = []
  for (const list of lists) {
    for (const reference of Array.isArray(list) ? list : []) {
      const parameter = resolve(reference, document)
      const name = parameter?.['name']
      if (typeof name !== 'string' || parameter?.['in'] !== 'query') continue
      // A deep object (`metadata[key]`) arrives flattened, so only its bare name is known here.
      properties[name] = parameter['schema'] ?? {}
      if (parameter['required'] === true) required.push(name)
    }
  }
  return { type: 'object', properties, required, additionalProperties: false }
}

/**
 * OpenAPI schemas to JSON Schema: references point into the shared schema, boolean `exclusiveMinimum`
 * becomes a number, and a discriminated `oneOf` becomes a choice by value, so that the message names the
 * wrong field and not all branches.
 */
function toJsonSchema(value: unknown, document: Node): unknown {
  if (Array.isArray(value)) return value.map((item) => toJsonSchema(item, document))
  const schema = node(value)
  if (!schema) return value
  if (typeof schema['$ref'] === 'string') return { $ref: `spec${schema['$ref']}` }
  const choice = discriminatedChoice(schema, document)
  if (choice) return choice
  const converted: Node = {}
  for (const [keyword, content] of Object.entries(schema)) {
    if (keyword === 'discriminator' || keyword === 'readOnly' || keyword === 'writeOnly') continue
    // These hold data, not schemas: a property may well be called `$ref` or `discriminator` in them.
    if (keyword === 'enum' || keyword === 'const' || keyword === 'required') converted[keyword] = content
    else if (keyword === 'properties' || keyword === 'patternProperties') {
      const entries = Object.entries(node(content) ?? {})
      converted[keyword] = Object.fromEntries(entries.map(([name, s]) => [name, toJsonSchema(s, document)]))
    } else if (keyword === 'pattern') {
      const pattern = portablePattern(content)
      if (pattern !== undefined) converted[keyword] = pattern
    } else converted[keyword] = toJsonSchema(content, document)
  }
  for (const [keyword, limit] of [
    ['exclusiveMinimum', 'minimum'],
    ['exclusiveMaximum', 'maximum'],
  ] as const) {
    if (typeof converted[keyword] !== 'boolean') continue
    if (converted[keyword]) {
      converted[keyword] = converted[limit]
      delete converted[limit]
    } else delete converted[keyword]
  }
  return converted
}

/** Other engines' leading flags `(?s)` become a group; a pattern that still does not compile is left out. */
function portablePattern(pattern: unknown): string | undefined {
  if (typeof pattern !== 'string') return undefined
  const portable = pattern.replace(/^\(\?([ims]{1,3})\)([^]*)$/, '(?$1:$2)')
  try {
    return new RegExp(portable).source
  } catch {
    return undefined
  }
}

function discriminatedChoice(schema: Node, document: Node): Node | undefined {
  const property = node(schema['discriminator'])?.['propertyName']
  const branches = schema['oneOf'] ?? schema['anyOf']
  if (typeof property !== 'string' || !Array.isArray(branches)) return undefined
  const values = branches.map((branch) => discriminatorValues(branch, property, document))
  if (values.some((list) => list.length === 0)) return undefined
  return {
    type: 'object',
    required: [property],
    properties: { [property]: { enum: values.flat() } },
    allOf: branches.map((branch, index) => ({
      if: { type: 'object', properties: { [property]: { enum: values[index] } }, required: [property] },
      // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema; nothing awaits this
      then: toJsonSchema(branch, document),
    })),
    ...(schema['nullable'] === true ? { nullable: true } : {}),
  }
}

/** Which values of the discriminator lead to this branch: by a parent's mapping, or by its own enum. */
function discriminatorValues(branch: unknown, property: string, document: Node): string[] {
  const reference = node(branch)?.['$ref']
  const branchSchema = resolve(branch, document)
  const family = [branchSchema, ...listOf(branchSchema?.['allOf']).map((part) => resolve(part, document))]
  for (const member of family) {
    const mapping = node(node(member?.['discriminator'])?.['mapping'])
    const mapped = Object.entries(mapping ?? {}).filter(([, target]) => target === reference)
    if (mapped.length > 0) return mapped.map(([value]) => value)
  }
  for (const member of family) {
    const own = resolve(node(member?.['properties'])?.[property], document)
    if (typeof own?.['const'] === 'string') return [own['const']]
    const values = listOf(own?.['enum']).filter((value) => typeof value === 'string')
    if (values.length > 0) return values
  }
  return []
}

function problems(errors: readonly ErrorObject[] | null | undefined): Problem[] {
  const found = (errors ?? [])
    .filter((error) => error.keyword !== 'if')
    .map((error) => {
      const missing: unknown = error.params['missingProperty'] ?? error.params['additionalProperty']
      const path = error.instancePath.split('/').slice(1).map(unescapePointer)
      if (typeof missing === 'string') path.push(missing)
      const keyword = error.keyword === 'additionalProperties' ? 'unknown' : error.keyword
      return { parameter: path.join('.'), keyword, detail: error.message ?? 'is wrong' }
    })
  const unique = new Map(found.map((problem) => [`${problem.keyword} ${problem.parameter}`, problem]))
  // `allErrors` reports a composite after its parts: the deepest place says most.
  return [...unique.values()].sort((a, b) => b.parameter.split('.').length - a.parameter.split('.').length)
}

function unescapePointer(part: string): string {
  return part.replaceAll('~1', '/').replaceAll('~0', '~')
}

function resolve(value: unknown, document: Node): Node | undefined {
  let current = node(value)
  for (let hops = 0; hops < 10 && typeof current?.['$ref'] === 'string'; hops += 1) {
    let target: unknown = document
    for (const part of current['$ref'].split('/').slice(1)) target = node(target)?.[unescapePointer(part)]
    current = node(target)
  }
  return current
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function node(value: unknown): Node | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Node) : undefined
}
