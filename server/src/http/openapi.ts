import swagger, { type SwaggerTransform } from '@fastify/swagger'
import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify'
import type { OpenAPIV3_1 } from 'openapi-types'
import { z } from 'zod'
import { problem } from './wire.ts'
import type { Who } from './who.ts'

type Schema = OpenAPIV3_1.SchemaObject | OpenAPIV3_1.ReferenceObject
type JsonSchema = Record<string, unknown>

export interface OpenApiOptions {
  version: string
  base_url: string
}

const DESCRIPTION = `Sell prepaid units and subscriptions, take the money, keep an exact ledger.

- Amounts are integers in the smallest part: cents for money, whole stars for XTR, seconds for minutes.
- Lists answer \`items\` and \`next_cursor\`.
- Errors are RFC 9457 problems with a stable \`code\`.
- Send an \`Idempotency-Key\` with every write: the same key answers the same, whatever the network did.`

const KEY_PARAMETER = {
  type: 'object',
  properties: {
    'idempotency-key': {
      type: 'string',
      minLength: 1,
      maxLength: 255,
      description:
        'The caller’s name for this one intent; the same key answers the same. ' +
        'Without it a retry is a new intent.',
    },
  },
}

/**
 * Describes every route as OpenAPI 3.1 at `/openapi.json`. To be awaited before the first route is added.
 * Both directions show a schema's wire side: codecs are decoded on the way in and encoded on the way out,
 * so an amount is an integer in requests and in answers.
 */
export async function addOpenApi(app: FastifyInstance, options: OpenApiOptions): Promise<void> {
  const components = new Map<string, Schema>()
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Kopilka',
        version: options.version,
        description: DESCRIPTION,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: options.base_url === '' ? '/' : options.base_url }],
      components: {
        securitySchemes: {
          api_key: {
            type: 'http',
            scheme: 'bearer',
            description: 'A secret API key: `sk_live_…` or `sk_test_…`.',
          },
          api_key_basic: {
            type: 'http',
            scheme: 'basic',
            description: 'The secret API key as user name, no password.',
          },
        },
      },
    },
    convertConstToEnum: false,
    transform: describer(components),
    transformObject: (document) => withComponents(document, components),
  })
  let text: string | undefined
  app.get(
    '/openapi.json',
    { config: { who: { anonymous: true } }, schema: { hide: true } },
    (_request, reply) => {
      text ??= JSON.stringify(app.swagger())
      reply.type('application/json; charset=utf-8').header('cache-control', 'public, max-age=60').send(text)
    },
  )
}

type Described = FastifySchema & Record<`x-${string}`, unknown>

/** Makes what swagger needs of one route; named schemas are put aside into `components`. */
function describer(components: Map<string, Schema>): SwaggerTransform {
  return ({ schema, url, route }) => {
    const { config } = route
    // What our routes are made of is Zod; the plugin's types speak of JSON schema.
    const parts: Readonly<Record<string, unknown>> = { ...schema }
    if (parts['hide'] === true || config?.who === undefined) return { schema: { hide: true }, url }
    const described: Described = {
      operationId: operationId(route, url),
      summary: schema.summary ?? `${String(route.method)} ${url}`,
      ...(schema.description === undefined ? {} : { description: schema.description }),
      tags: schema.tags ?? [],
      security: securityOf(config.who),
      'x-who': config.who,
      response: answersOf(parts['response'], components),
    }
    for (const part of ['params', 'querystring', 'body'] as const) {
      const one = parts[part]
      if (one instanceof z.ZodType)
        described[part] = part === 'body' ? toSchema(one, components) : inline(one, components)
    }
    if (config.is_keyed === true) described.headers = KEY_PARAMETER
    return { schema: described, url }
  }
}

function operationId(route: RouteOptions, url: string): string {
  const words = url.split(/[^A-Za-z0-9]+/).filter((word) => word !== '' && word !== 'v1')
  return [String(route.method).toLowerCase(), ...words].join('_')
}

function securityOf(who: Who): Record<string, string[]>[] {
  const keyed = who.key === undefined ? [] : [{ api_key: [] }, { api_key_basic: [] }]
  return who.anonymous || who.proof !== undefined ? [{}, ...keyed] : keyed
}

function answersOf(response: unknown, components: Map<string, Schema>): Record<string, unknown> {
  const described: Record<string, unknown> = {}
  for (const [status, schema] of Object.entries((response ?? {}) as Record<string, unknown>)) {
    if (!(schema instanceof z.ZodType)) continue
    const is_problem = isProblem(schema)
    const description =
      (schema === problem ? undefined : schema.description) ?? (is_problem ? 'A problem.' : 'Done.')
    const type = is_problem ? 'application/problem+json' : 'application/json'
    described[status] = {
      description,
      content: {
        [type]: { schema: is_problem ? toSchema(problem, components) : toSchema(schema, components) },
      },
    }
  }
  return described
}

/** Problems of single statuses are clones that differ in their description only. */
function isProblem(schema: z.ZodType): boolean {
  return schema === problem || schema._zod.def === problem._zod.def || schema._zod.parent === problem
}

function toSchema(schema: z.ZodType, components: Map<string, Schema>): Schema {
  const id = z.globalRegistry.get(schema)?.id
  const own = inline(schema, components)
  if (id === undefined) return own
  // Zod leads even the root of a named schema to its definition, which is in the components by now.
  if (!components.has(id)) components.set(id, own)
  return { $ref: `#/components/schemas/${id}` }
}

function inline(schema: z.ZodType, components: Map<string, Schema>): Schema {
  const { $defs, ...own } = z.toJSONSchema(schema, {
    target: 'draft-2020-12',
    io: 'input',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      // The format says it; the pattern of all valid dates is four lines long.
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern
    },
  })
  for (const [name, definition] of Object.entries($defs ?? {})) components.set(name, tidy(definition))
  return tidy(own)
}

/** Leads references to the components and takes away what only has meaning in a document of its own. */
function tidy(value: unknown): Schema {
  const walk = (node: unknown): unknown => {
    if (Array.isArray(node)) return node.map(walk)
    if (typeof node !== 'object' || node === null) return node
    const copy: JsonSchema = {}
    for (const [name, member] of Object.entries(node)) {
      if (name === '$ref' && typeof member === 'string')
        copy[name] = member.replace('#/$defs/', '#/components/schemas/')
      else copy[name] = walk(member)
    }
    return copy
  }
  const { $schema: _schema, id: _id, ...rest } = walk(value) as JsonSchema
  return rest
}

type Document = Parameters<NonNullable<swagger.FastifyDynamicSwaggerOptions['transformObject']>>[0]

function withComponents(document: Document, components: ReadonlyMap<string, Schema>): OpenAPIV3_1.Document {
  assertOpenApi(document)
  const { openapiObject } = document
  const sorted = [...components].toSorted(([a], [b]) => (a < b ? -1 : 1))
  return {
    ...openapiObject,
    paths: Object.fromEntries(
      Object.entries(openapiObject.paths ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1)),
    ),
    components: { ...openapiObject.components, schemas: Object.fromEntries(sorted) },
  } as OpenAPIV3_1.Document
}

function assertOpenApi(
  document: Document,
): asserts document is Extract<Document, { openapiObject: unknown }> {
  if (!('openapiObject' in document)) throw new TypeError('swagger was set up for another format')
}
