import path from 'node:path'
import type { Node, TemplateLiteral } from 'oxc-parser'
import { MODULES } from './module-order.ts'
import { importsOf, isTest, moduleOf, serverCode, violation, visit } from './rules-source.ts'
import type { Rule, SourceFile, Violation } from './rules-source.ts'
import { calleeOf } from './rules-world.ts'

/** A piece of SQL and where it begins in its file. */
interface SqlText {
  text: string
  start: number
}

const SCHEMAS: readonly string[] = ['kernel', 'jobs', ...MODULES]
const QUERY_METHODS =
  /\.(?:selectFrom|selectNoFrom|insertInto|updateTable|deleteFrom|replaceInto|mergeInto|executeSql|query)$/
/** Files that hold statements. */
const QUERY_FILES = /(?:^|\/)(?:[a-z0-9-]+-)?queries\.ts$/
/** The kernel's machinery beneath the queries: pools, migrations, the launcher, the job store's adapter. */
const KERNEL_FILES =
  /^server\/src\/kernel\/(?:db|db-pulse|migrate|embedded-postgres[a-z-]*|job-(?:queue|store|timers))\.ts$/
/** The ledger's hot path runs named statements on connections of its own; the texts are in *-queries.ts. */
const HOT_FILES = /^server\/src\/modules\/ledger\/[a-z-]*(?:lanes?|reader)[a-z-]*\.ts$/

const STATEMENT = new RegExp(
  [
    String.raw`^\s*(?:select\s[\s\S]*\bfrom\s|select\s+(?:pg_|now\(|version\(|clock_|current_)`,
    String.raw`insert\s+into\s`,
    String.raw`update\s+[\w."]+\s+(?:as\s+)?(?:\w+\s+)?set\s`,
    String.raw`delete\s+from\s`,
    String.raw`with\s+(?:recursive\s+)?\w+(?:\s*\([\w\s,]*\))?\s+as\s+(?:(?:not\s+)?materialized\s+)?\(`,
    String.raw`(?:create|alter|drop)\s+(?:table|schema|index|function|trigger|role|database|view|type)\s`,
    String.raw`truncate\s+\w|lock\s+table\s|listen\s+\w+\s*$|notify\s+\w)`,
  ].join('|'),
  'i',
)

const sqlPlace: Rule = {
  name: 'sql-place',
  says: 'SQL stands in queries.ts, *-queries.ts, functions/*.sql and migrations only',
  find: (files) =>
    serverCode(files)
      .filter((file) => !QUERY_FILES.test(file.path) && !KERNEL_FILES.test(file.path))
      .flatMap((file) => [
        ...sqlCalls(file),
        ...sqlTexts(file).map(({ text, start }) =>
          violation(
            file,
            start,
            'sql-place',
            `holds a statement: ${text.trim().slice(0, 40).replaceAll(/\s+/g, ' ')}…`,
          ),
        ),
      ]),
}

function sqlCalls(file: SourceFile): Violation[] {
  const found: Violation[] = []
  for (const one of importsOf(file)) {
    if (one.specifier === 'kysely' && one.names.includes('sql')) {
      found.push(violation(file, one.start, 'sql-place', 'imports sql from kysely'))
    }
  }
  visit(file, {
    CallExpression(node) {
      const method = calleeOf(node)
      const is_hot = method.endsWith('.query') && HOT_FILES.test(file.path)
      if (QUERY_METHODS.test(method) && !is_hot)
        found.push(violation(file, node.start, 'sql-place', `calls ${method}`))
    },
  })
  return found
}

/** Texts of a TypeScript file that read like SQL statements. */
function sqlTexts(file: SourceFile): SqlText[] {
  return textsOf(file).filter(({ text }) => STATEMENT.test(text))
}

/** Every string and template of a TypeScript file; holes of a template become `$1`. */
function textsOf(file: SourceFile): SqlText[] {
  const found: SqlText[] = []
  visit(file, {
    Literal(node) {
      if (typeof node.value === 'string') found.push({ text: node.value, start: node.start })
    },
    TemplateLiteral(node: TemplateLiteral) {
      found.push({
        text: node.quasis.map((quasi) => quasi.value.cooked ?? quasi.value.raw).join('$1'),
        start: node.start,
      })
    },
  })
  return found
}

/** The SQL of a file with comments blanked out, so that offsets stay true. */
function withoutComments(text: string): string {
  return text.replaceAll(/--[^\n]*|\/\*[\s\S]*?\*\//g, (comment) => comment.replaceAll(/[^\n]/g, ' '))
}

/** What stands right before a table that is written, made or changed. */
const WRITE_BEFORE = new RegExp(
  String.raw`(?:insert\s+into|update|delete\s+from|merge\s+into|truncate(?:\s+table)?` +
    String.raw`|(?:alter|drop|lock)\s+\w+(?:\s+if\s+exists)?|(?:grant|revoke)\s[\w\s,]*\son(?:\s+table)?` +
    String.raw`|create\s+(?:or\s+replace\s+)?(?:unlogged\s+|unique\s+)?` +
    String.raw`\w+(?:\s+if\s+not\s+exists)?(?:\s+\w+\s+on)?` +
    String.raw`|(?:before|after)\s+[\w\s,]*\son)\s+(?:only\s+)?$`,
  'i',
)
const KYSELY_WRITES = /\.(?:insertInto|updateTable|deleteFrom|replaceInto|mergeInto)$/
const KYSELY_TABLES = /\.(?:selectFrom|using|from|(?:inner|left|right|full|cross)Join(?:Lateral)?)$/

/** A table as Kysely takes it: `orders.lines`, `orders.lines as l`. */
const TABLE_NAME = /^(\w+)\.(\w+)(?:\s+as\s+\w+)?$/

/** A table of a schema named in SQL, or in a Kysely call. */
interface Mention {
  schema: string
  table: string
  is_write: boolean
  start: number
}

const QUALIFIED = new RegExp(String.raw`(?<![\w.$"'])(${SCHEMAS.join('|')})\.([a-z_][a-z0-9_]*)`, 'g')

function mentionsInText({ text, start }: SqlText): Mention[] {
  const plain = withoutComments(text)
  return [...plain.matchAll(QUALIFIED)].map((match) => ({
    schema: match[1] ?? '',
    table: match[2] ?? '',
    is_write: WRITE_BEFORE.test(plain.slice(Math.max(0, match.index - 80), match.index)),
    start: start + match.index,
  }))
}

function mentionsOf(file: SourceFile): Mention[] {
  if (file.path.endsWith('.sql')) return mentionsInText({ text: file.text, start: 0 })
  const found = textsOf(file)
    .filter(({ text }) => !TABLE_NAME.test(text))
    .flatMap(mentionsInText)
  visit(file, {
    CallExpression(node) {
      const method = calleeOf(node)
      if (!KYSELY_WRITES.test(method) && !KYSELY_TABLES.test(method)) return
      for (const { text, start } of tableArguments(node.arguments)) {
        const match = TABLE_NAME.exec(text)
        if (!match || !SCHEMAS.includes(match[1] ?? '')) continue
        found.push({
          schema: match[1] ?? '',
          table: match[2] ?? '',
          is_write: KYSELY_WRITES.test(method),
          start,
        })
      }
    },
  })
  return found
}

function tableArguments(list: readonly Node[]): SqlText[] {
  const first = list[0]
  const nodes =
    first?.type === 'ArrayExpression' ? first.elements.filter((element) => element !== null) : [first]
  return nodes.flatMap((node) =>
    node?.type === 'Literal' && typeof node.value === 'string'
      ? [{ text: node.value, start: node.start }]
      : [],
  )
}

/** Who owns a file with SQL: a module, or the kernel; `undefined` for files without an owner. */
function ownerOf(file: SourceFile): string | undefined {
  const migration = /^server\/migrations\/\d{4}_([a-z]+)/.exec(file.path)
  if (migration) return migration[1]
  if (file.path.startsWith('server/src/kernel/')) return 'kernel'
  return moduleOf(file.path)
}

const isSqlFile = (file: SourceFile): boolean => /^server\/(?:migrations|src)\/.*\.sql$/.test(file.path)
const holdsSql = (file: SourceFile): boolean =>
  !isTest(file) && (isSqlFile(file) || (QUERY_FILES.test(file.path) && serverCode([file]).length === 1))

const ownSchema: Rule = {
  name: 'own-schema',
  says: 'a statement touches only the schema of its own module; reports and verification may read lower ones',
  find: (files) =>
    files.filter(holdsSql).flatMap((file) => {
      const owner = ownerOf(file)
      if (owner === undefined) return []
      return mentionsOf(file).flatMap((mention) => {
        const detail = judgeMention(file, owner, mention)
        return detail === undefined ? [] : [violation(file, mention.start, 'own-schema', detail)]
      })
    }),
}

function judgeMention(
  file: SourceFile,
  owner: string,
  { schema, table, is_write }: Mention,
): string | undefined {
  if (schema === owner || (owner === 'kernel' && schema === 'jobs')) return undefined
  if (is_write) return `${owner} writes ${schema}.${table}; only ${schema} does that`
  const is_lower = schema === 'kernel' || MODULES.indexOf(schema) < MODULES.indexOf(owner)
  const may_read = isReport(file.path) || (/(?:verify|invariant)-queries\.ts$/.test(file.path) && is_lower)
  // A foreign key may point to a lower module's table, never upward.
  const is_foreign_key = file.path.startsWith('server/migrations/') && is_lower
  return may_read || is_foreign_key
    ? undefined
    : `${owner} reads ${schema}.${table}; ask the door of ${schema}`
}

const isReport = (file_path: string): boolean =>
  /\/modules\/admin\/reports\/(?:[a-z0-9-]+-)?queries\.ts$/.test(file_path)

const CLOCKS =
  /\b(?:(?:now|(?:clock|statement|transaction)_timestamp)\(\)|current_(?:timestamp|date|time)\b|localtime)/gi

const sqlClock: Rule = {
  name: 'sql-clock',
  says: 'SQL gets the time as a parameter; now() is the default of created_at, or asked by kernel and doctor',
  find: (files) =>
    files
      // The kernel keeps the clock, and doctor, which no module owns, compares clocks.
      .filter((file) => holdsSql(file) && !['kernel', undefined].includes(ownerOf(file)))
      .flatMap((file) => {
        const texts = isSqlFile(file) ? [{ text: file.text, start: 0 }] : textsOf(file)
        return texts.flatMap(({ text, start }) => {
          const plain = withoutComments(text)
          return [...plain.matchAll(CLOCKS)]
            .filter(
              (match) =>
                !/\bcreated_at\s+timestamptz\s+not\s+null\s+default\s+$/i.test(plain.slice(0, match.index)),
            )
            .map((match) => violation(file, start + match.index, 'sql-clock', `asks ${match[0]}`))
        })
      }),
}

const MIGRATION = /^server\/migrations\/([^/]+)$/

const migrationNumbers: Rule = {
  name: 'migration-numbers',
  says: 'migrations are numbered from 0001 without gaps or doubles and named for their module',
  find: (files) => {
    const own = files
      .filter((file) => MIGRATION.test(file.path))
      .toSorted((a, b) => (a.path < b.path ? -1 : 1))
    return own.flatMap((file, index) => {
      const name = path.posix.basename(file.path)
      const match = /^(\d{4})_([a-z0-9]+(?:_[a-z0-9]+)*)\.sql$/.exec(name)
      if (!match) return [violation(file, 0, 'migration-numbers', `${name} is not NNNN_module_what.sql`)]
      const found: Violation[] = []
      const expected = String(index + 1).padStart(4, '0')
      if (match[1] !== expected)
        found.push(violation(file, 0, 'migration-numbers', `${name} should be number ${expected}`))
      const owner = ownerOf(file) ?? ''
      if (!SCHEMAS.includes(owner))
        found.push(violation(file, 0, 'migration-numbers', `${name} is not named for a module`))
      return found
    })
  },
}

const TYPES = 'text|bigint|int|smallint|integer|boolean|jsonb|bytea|timestamptz|date|numeric'
const COLUMN = new RegExp(String.raw`^\s*(?:add\s+column\s+)?([a-z_][a-z0-9_]*)\s+(?:${TYPES})\b`, 'gim')

/** Names of tables and columns a migration makes, with where they stand. */
export function namesInMigration(file: SourceFile): { name: string; start: number }[] {
  const plain = withoutComments(file.text)
  const tables = [
    ...plain.matchAll(/create\s+table\s+(?:if\s+not\s+exists\s+)?(?:[a-z_]+\.)?([a-z_][a-z0-9_]*)/gi),
  ]
  const columns = [...plain.matchAll(COLUMN)]
  return [...tables, ...columns].map((match) => ({
    name: match[1] ?? '',
    start: match.index + match[0].lastIndexOf(match[1] ?? ''),
  }))
}

/** Where statements stand and what they touch. */
export const sqlRules: readonly Rule[] = [sqlPlace, ownSchema, sqlClock, migrationNumbers]
