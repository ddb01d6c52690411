import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseSync, Visitor, type Comment, type Node } from 'oxc-parser'

const MODULES = path.resolve(import.meta.dirname, '../../server/src/modules')

const HEADER = `# Events

Every kind of event there is, and what its \`data\` holds. Made from the modules' \`events.ts\` by
\`npm run gen events\`; not to be edited. How to be told of them: [outgoing webhooks](../guides/webhooks.md).

An event comes as
\`{"id": "evt_…", "type": "payment.succeeded", "created_at": "2026-03-01T12:00:00.000Z", "data": {…}}\`.
Amounts are digits in a text, in the smallest part of the currency or unit; moments are ISO 8601 in UTC.
New members and new types may come; none changes its meaning.
`

/** A member of an event's data. */
export interface Member {
  name: string
  type: string
  about: string
}

/** A kind of event as the page shows it. */
export interface EventEntry {
  name: string
  description: string
  members: Member[]
}

/** Writes the page of every event type that a module declares. Throws on a payload it cannot describe. */
export function generateEventPage(): string {
  const entries = moduleEvents()
  const list = entries.map(({ name, description }) => `- [\`${name}\`](#${anchor(name)}): ${description}`)
  const sections = entries.map(({ name, description, members }) => {
    const rows = members.map(({ name: member, type, about }) => `| \`${member}\` | \`${type}\` | ${about} |`)
    return `## ${name}\n\n${description}\n\n| member | type | |\n| --- | --- | --- |\n${rows.join('\n')}\n`
  })
  return `${HEADER}\n${list.join('\n')}\n\n${sections.join('\n')}`
}

/** Every event type of the modules, by name. */
export function moduleEvents(): EventEntry[] {
  const files = readdirSync(MODULES, { recursive: true, encoding: 'utf8' })
    .map((name) => name.replaceAll(path.sep, '/'))
    .filter((name) => /(?:\/|-)events\.ts$/.test(name))
  return files
    .flatMap((name) => eventsOf(name, readFileSync(path.join(MODULES, name), 'utf8')))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** The event types that one file declares with `eventType<Payload>('name', 'description')`. */
export function eventsOf(file: string, text: string): EventEntry[] {
  const { program, comments } = parseSync(file, text)
  const types = new Map<string, Node>()
  const found: EventEntry[] = []
  new Visitor({
    TSInterfaceDeclaration(node) {
      types.set(node.id.name, node.body)
    },
    TSTypeAliasDeclaration(node) {
      types.set(node.id.name, node.typeAnnotation)
    },
  }).visit(program)
  const context: Context = { file, text, comments, types }
  new Visitor({
    CallExpression(node) {
      if (node.callee.type !== 'Identifier' || node.callee.name !== 'eventType') return
      const [name, description] = node.arguments.map((argument) =>
        argument.type === 'Literal' && typeof argument.value === 'string' ? argument.value : undefined,
      )
      const payload = node.typeArguments?.params[0]
      if (name === undefined || description === undefined || !payload)
        throw new Error(`${file}: an event type needs its payload, a name and a description as they stand`)
      found.push({ name, description, members: membersOf(payload, context) })
    },
  }).visit(program)
  return found
}

interface Context {
  file: string
  text: string
  comments: readonly Comment[]
  types: ReadonlyMap<string, Node>
}

/** Resolves interfaces, literals, intersections and `Omit`; nothing else is used for payloads. */
function membersOf(node: Node, context: Context): Member[] {
  if (node.type === 'TSIntersectionType') return node.types.flatMap((one) => membersOf(one, context))
  if (node.type === 'TSInterfaceBody') return node.body.map((one) => member(one, context))
  if (node.type === 'TSTypeLiteral') return node.members.map((one) => member(one, context))
  if (node.type === 'TSTypeReference' && node.typeName.type === 'Identifier') {
    const { name } = node.typeName
    const [first, second] = node.typeArguments?.params ?? []
    if (name === 'Omit' && first && second) {
      const left_out = context.text.slice(second.start, second.end)
      return membersOf(first, context).filter((one) => !left_out.includes(`'${one.name.replace('?', '')}'`))
    }
    const declared = context.types.get(name)
    if (declared) return membersOf(declared, context)
  }
  throw new Error(`${context.file}: cannot describe ${context.text.slice(node.start, node.end)}`)
}

function member(node: Node, { file, text, comments }: Context): Member {
  if (node.type !== 'TSPropertySignature' || node.key.type !== 'Identifier' || !node.typeAnnotation)
    throw new Error(`${file}: a payload holds plain members only`)
  const { start, end } = node.typeAnnotation.typeAnnotation
  const comment = comments.findLast(
    (one) => one.end <= node.start && /^\s*$/.test(text.slice(one.end, node.start)),
  )
  return {
    name: node.key.name + (node.optional ? '?' : ''),
    type: text.slice(start, end).replaceAll(/\s+/g, ' ').replaceAll('|', '\\|'),
    about: (comment?.value ?? '').replaceAll(/\s*\n\s*\*?\s*|^\*\s*/g, ' ').trim(),
  }
}

function anchor(name: string): string {
  return name.replaceAll('.', '')
}
