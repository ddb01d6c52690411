import { readFile, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'

/**
 * Turns a description of the Telegram Bot API (methods and types with fields, in JSON) into an OpenAPI 3.1
 * file of shapes only: one path per method, one schema per type, nothing written for people.
 *
 *   node scripts/reduce-bot-api.ts <bot-api.json> <out.json> [--methods regex]
 */
interface Field {
  name: string
  types: string[]
  required: boolean
  description: string
}
interface Description {
  version: string
  release_date: string
  methods: Record<string, { fields?: Field[] }>
  types: Record<string, { fields?: Field[]; subtypes?: string[] }>
}
type Schema = Record<string, unknown>

const PLAIN: Readonly<Record<string, Schema>> = {
  Integer: { type: 'integer' },
  String: { type: 'string' },
  Boolean: { type: 'boolean' },
  True: { const: true },
  Float: { type: 'number' },
  // A file id, an address, or the name of a part of the form.
  InputFile: { type: 'string' },
}

/** Keeps the methods that match and every type they and `Update` reach. */
export function reduceBotApi(description: Description, methods: RegExp): object {
  const kept = Object.entries(description.methods).filter(([name]) => methods.test(name))
  if (kept.length === 0) throw new Error('No method has such a name.')
  const schemas: Record<string, Schema> = {}
  const open = ['Update', 'User', 'Message', 'File', 'StarTransaction', 'WebhookInfo']
  const refer = (type: string): Schema => {
    if (type.startsWith('Array of ')) return { type: 'array', items: refer(type.slice(9)) }
    if (Object.hasOwn(PLAIN, type)) return { ...PLAIN[type] }
    open.push(type)
    return { $ref: `#/components/schemas/${type}` }
  }
  const shape = (fields: readonly Field[] = []): Schema => ({
    type: 'object',
    properties: Object.fromEntries(fields.map((field) => [field.name, fieldShape(field, refer)])),
    required: fields.filter(({ required }) => required).map(({ name }) => name),
    additionalProperties: false,
  })
  const paths = Object.fromEntries(
    kept.map(([name, { fields }]) => [
      `/${name}`,
      { post: { requestBody: { content: { 'application/json': { schema: shape(fields) } } } } },
    ]),
  )
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (Object.hasOwn(schemas, name)) continue
    const type = description.types[name]
    schemas[name] = {}
    if (type === undefined) continue
    schemas[name] = type.subtypes?.length ? { anyOf: type.subtypes.map(refer) } : shape(type.fields)
  }
  const source = `Telegram ${description.version}`
  return {
    openapi: '3.1.0',
    'x-reduced-from': { source, date: description.release_date },
    paths,
    components: { schemas },
  }
}

/** Limits stand in the sentences only: "1-32 characters". Bytes are left to the emulator. */
function fieldShape(field: Field, refer: (type: string) => Schema): Schema {
  const choices = field.types.map(refer)
  const [only] = choices
  const limits = /(?:^|\W)(\d{1,4})-(\d{1,5}) characters/.exec(field.description)
  if (only?.['type'] === 'string' && choices.length === 1 && limits) {
    return { ...only, minLength: Number(limits[1]), maxLength: Number(limits[2]) }
  }
  return choices.length === 1 && only ? only : { anyOf: choices }
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { methods: { type: 'string' } },
  })
  const [from = '', to = ''] = positionals
  const description = JSON.parse(await readFile(from, 'utf8')) as Description
  await writeFile(to, `${JSON.stringify(reduceBotApi(description, new RegExp(values.methods ?? '')))}\n`)
}
