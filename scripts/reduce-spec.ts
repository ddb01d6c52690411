import { readFile, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { parse as parseYaml } from 'yaml'

/**
 * Reduces a vendor's OpenAPI file to its shapes: paths, parameters, request and response schemas, enums and
 * limits. Everything written for people is left behind (an allow-list of keywords is kept, so no text can
 * slip through), and so is every component that the kept paths do not reach.
 *
 *   node scripts/reduce-spec.ts <file.json|yaml> <out.json> [--paths regex] [--no-responses] [--keep regex]
 *        [--source "Vendor API v1"] [--date 2026-02-06]
 *
 * `--keep` names component schemas to keep although no path uses them, e.g. the bodies of notifications.
 */
export interface ReduceOptions {
  paths?: RegExp
  keep?: RegExp
  responses?: boolean
  source: string
  date: string
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
type JsonObject = { [key: string]: Json }

/** A reduced file. */
export interface ReducedSpec {
  openapi: string
  'x-reduced-from': { source: string; date: string }
  servers: Json
  paths: JsonObject
  components: Record<string, JsonObject>
}

const METHODS = new Set(['get', 'put', 'post', 'delete', 'patch', 'head', 'options'])
/** Schema keywords whose value is a schema, a list of schemas or a map of schemas. */
const SCHEMA_VALUED = new Set(['items', 'not', 'additionalProperties', 'propertyNames', 'if', 'then', 'else'])
const SCHEMA_LISTS = new Set(['oneOf', 'anyOf', 'allOf', 'prefixItems'])
const SCHEMA_MAPS = new Set(['properties', 'patternProperties'])
const PLAIN_KEYWORDS = new Set(
  (
    '$ref type format nullable enum const required pattern multipleOf uniqueItems minLength maxLength ' +
    'minimum maximum exclusiveMinimum exclusiveMaximum minItems maxItems minProperties maxProperties ' +
    'readOnly writeOnly discriminator'
  ).split(' '),
)
const COMPONENT_REF = /^#\/components\/([^/]+)\/(.+)$/

/** Reduces a parsed file. Throws when it is no OpenAPI 3 document or when `paths` matches nothing. */
export function reduceSpec(document: unknown, options: ReduceOptions): ReducedSpec {
  const root = asObject(document)
  if (!root || typeof root['openapi'] !== 'string' || !root['openapi'].startsWith('3.')) {
    throw new Error('This is not an OpenAPI 3 document.')
  }
  const paths: JsonObject = {}
  for (const [path, item] of Object.entries(asObject(root['paths']) ?? {})) {
    if (options.paths && !options.paths.test(path)) continue
    paths[path] = reducePath(asObject(item) ?? {}, options.responses ?? true)
  }
  if (Object.keys(paths).length === 0) throw new Error('No path is left: --paths matches none.')
  return {
    openapi: root['openapi'],
    'x-reduced-from': { source: options.source, date: options.date },
    servers: serverUrls(root['servers']),
    paths,
    components: reachableComponents(asObject(root['components']) ?? {}, paths, options),
  }
}

function serverUrls(servers: Json | undefined): Json {
  if (!Array.isArray(servers)) return []
  return servers.map((server) => ({ url: asObject(server)?.['url'] ?? '/' }))
}

function reducePath(item: JsonObject, with_responses: boolean): JsonObject {
  const reduced: JsonObject = {}
  if (Array.isArray(item['parameters'])) reduced['parameters'] = item['parameters'].map(reduceParameter)
  for (const [method, value] of Object.entries(item)) {
    const operation = METHODS.has(method) ? asObject(value) : undefined
    if (operation) reduced[method] = reduceOperation(operation, with_responses)
  }
  return reduced
}

function reduceOperation(operation: JsonObject, with_responses: boolean): JsonObject {
  const reduced: JsonObject = {}
  if (Array.isArray(operation['parameters'])) {
    reduced['parameters'] = operation['parameters'].map(reduceParameter)
  }
  const body = asObject(operation['requestBody'])
  if (body) reduced['requestBody'] = reduceBody(body)
  const responses = with_responses ? asObject(operation['responses']) : undefined
  if (responses) reduced['responses'] = mapValues(responses, reduceBody)
  return reduced
}

function reduceParameter(value: Json): Json {
  const parameter = asObject(value) ?? {}
  if (parameter['$ref'] !== undefined) return { $ref: parameter['$ref'] }
  const reduced = pick(parameter, ['name', 'in', 'required', 'style', 'explode', 'allowReserved'])
  if (parameter['schema'] !== undefined) reduced['schema'] = reduceSchema(parameter['schema'])
  const content = asObject(parameter['content'])
  if (content) reduced['content'] = mapValues(content, reduceMedia)
  return reduced
}

/** A request body or a response: both are media types with schemas; headers and links are left out. */
function reduceBody(body: JsonObject): JsonObject {
  if (body['$ref'] !== undefined) return { $ref: body['$ref'] }
  const reduced = pick(body, ['required'])
  const content = asObject(body['content'])
  if (content) reduced['content'] = mapValues(content, reduceMedia)
  return reduced
}

function reduceMedia(media: JsonObject): JsonObject {
  return media['schema'] === undefined ? {} : { schema: reduceSchema(media['schema']) }
}

/** Keeps the keywords that constrain; `allOf` of one schema and nothing else becomes that schema. */
function reduceSchema(value: Json): Json {
  const schema = asObject(value)
  if (!schema) return typeof value === 'boolean' ? value : {}
  const reduced: JsonObject = {}
  for (const [keyword, content] of Object.entries(schema)) {
    if (PLAIN_KEYWORDS.has(keyword)) reduced[keyword] = structuredClone(content)
    else if (SCHEMA_VALUED.has(keyword)) reduced[keyword] = reduceSchema(content)
    else if (SCHEMA_LISTS.has(keyword) && Array.isArray(content)) reduced[keyword] = content.map(reduceSchema)
    else if (SCHEMA_MAPS.has(keyword)) reduced[keyword] = mapValues(asObject(content) ?? {}, reduceSchema)
  }
  if (Array.isArray(reduced['allOf'])) {
    const parts = reduced['allOf'].filter((part) => !isEmpty(part))
    if (parts.length === 1 && Object.keys(reduced).length === 1) return parts[0] ?? {}
    reduced['allOf'] = parts
  }
  return reduced
}

function reachableComponents(
  components: JsonObject,
  paths: JsonObject,
  options: ReduceOptions,
): Record<string, JsonObject> {
  const kept: Record<string, JsonObject> = {}
  const waiting = referencesIn(paths)
  for (const name of Object.keys(asObject(components['schemas']) ?? {})) {
    if (options.keep?.test(name)) waiting.push(`#/components/schemas/${name}`)
  }
  for (let reference = waiting.pop(); reference !== undefined; reference = waiting.pop()) {
    const [, section = '', name = ''] = COMPONENT_REF.exec(reference) ?? []
    const source = asObject(components[section])?.[name]
    if (source === undefined || kept[section]?.[name] !== undefined) continue
    const reduced = reduceComponent(section, source)
    kept[section] = { ...kept[section], [name]: reduced }
    waiting.push(...referencesIn(reduced))
  }
  for (const section of Object.keys(kept)) {
    kept[section] = Object.fromEntries(
      Object.entries(kept[section] ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)),
    )
  }
  dropUnknownMappings(kept)
  return kept
}

function reduceComponent(section: string, value: Json): Json {
  if (section === 'schemas') return reduceSchema(value)
  if (section === 'parameters') return reduceParameter(value)
  return reduceBody(asObject(value) ?? {})
}

/** `discriminator.mapping` names schemas without `$ref`; those that were not kept are taken out of it. */
function dropUnknownMappings(components: Record<string, JsonObject>): void {
  for (const schema of Object.values(components['schemas'] ?? {})) {
    const discriminator = asObject(asObject(schema)?.['discriminator'])
    const mapping = asObject(discriminator?.['mapping'])
    for (const [value, target] of Object.entries(mapping ?? {})) {
      const name = typeof target === 'string' ? (COMPONENT_REF.exec(target)?.[2] ?? target) : ''
      if (components['schemas']?.[name] === undefined) delete mapping?.[value]
    }
  }
}

function referencesIn(value: Json): string[] {
  if (Array.isArray(value)) return value.flatMap(referencesIn)
  const object = asObject(value)
  if (!object) return []
  return Object.entries(object).flatMap(([key, content]) =>
    key === '$ref' && typeof content === 'string' ? [content] : referencesIn(content),
  )
}

function asObject(value: unknown): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : undefined
}

function isEmpty(value: Json): boolean {
  const object = asObject(value)
  return object !== undefined && Object.keys(object).length === 0
}

function pick(object: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([name]) => names.includes(name)))
}

function mapValues(object: JsonObject, change: (value: JsonObject) => Json): JsonObject {
  return Object.fromEntries(
    Object.entries(object).map(([name, value]) => [name, change(value as JsonObject)]),
  )
}

/** One path or component a line: small, and a change of the vendor's shows as a change of that line. */
function renderSpec(spec: ReducedSpec): string {
  const lines = (object: JsonObject, indent: string) =>
    Object.entries(object).map(
      ([name, value]) => `${indent}${JSON.stringify(name)}: ${JSON.stringify(value)}`,
    )
  const sections = Object.entries(spec.components).map(
    ([section, members]) =>
      `    ${JSON.stringify(section)}: {\n${lines(members, '      ').join(',\n')}\n    }`,
  )
  const head = lines(
    { openapi: spec.openapi, 'x-reduced-from': spec['x-reduced-from'], servers: spec.servers },
    '  ',
  )
  return [
    '{',
    `${head.join(',\n')},`,
    `  "paths": {\n${lines(spec.paths, '    ').join(',\n')}\n  },`,
    `  "components": {\n${sections.join(',\n')}\n  }`,
    '}\n',
  ].join('\n')
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      paths: { type: 'string' },
      keep: { type: 'string' },
      'no-responses': { type: 'boolean' },
      source: { type: 'string' },
      date: { type: 'string' },
    },
  })
  const [from, to] = positionals
  if (from === undefined || to === undefined) {
    process.stderr.write('node scripts/reduce-spec.ts <vendor-file.(json|yaml)> <out.json> [--paths regex]\n')
    process.exitCode = 1
    return
  }
  const text = await readFile(from, 'utf8')
  const document: unknown = from.endsWith('.json') ? JSON.parse(text) : parseYaml(text)
  const reduced = reduceSpec(document, {
    source: values.source ?? basename(from),
    date: values.date ?? new Date().toISOString().slice(0, 10),
    responses: !values['no-responses'],
    ...(values.paths === undefined ? {} : { paths: new RegExp(values.paths) }),
    ...(values.keep === undefined ? {} : { keep: new RegExp(values.keep) }),
  })
  const output = renderSpec(reduced)
  await writeFile(to, output)
  const schemas = Object.keys(reduced.components['schemas'] ?? {}).length
  process.stdout.write(
    `${to}: ${Object.keys(reduced.paths).length} paths, ${schemas} schemas, ${output.length} characters\n`,
  )
}

if (import.meta.main) await main()
