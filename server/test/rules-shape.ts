import type { Class, Node, VisitorObject } from 'oxc-parser'
import {
  allCode,
  isGenerated,
  isTest,
  isWorldFolder,
  lineAt,
  moduleOf,
  parse,
  serverCode,
  violation,
  visit,
} from './rules-source.ts'
import type { Rule, SourceFile, Violation } from './rules-source.ts'

const FILE_LINES = 400
const TEST_LINES = 600
const FUNCTION_LINES = 70
const COLUMNS = 110

/** TypeScript and SQL written by people. */
function written(files: readonly SourceFile[]): SourceFile[] {
  return files.filter((file) => /\.(?:tsx?|sql)$/.test(file.path) && !isGenerated(file))
}

const fileSize: Rule = {
  name: 'file-size',
  says: `a file has at most ${FILE_LINES} lines, a test ${TEST_LINES}`,
  find: (files) =>
    written(files).flatMap((file) => {
      const lines = file.text.replace(/\n$/, '').split('\n').length
      const limit = isTest(file) ? TEST_LINES : FILE_LINES
      return lines > limit
        ? [
            {
              path: file.path,
              line: limit,
              rule: 'file-size',
              detail: `has ${lines} lines, ${limit} at most`,
            },
          ]
        : []
    }),
}

const lineWidth: Rule = {
  name: 'line-width',
  says: `a line has at most ${COLUMNS} columns`,
  find: (files) =>
    written(files).flatMap((file) =>
      file.text.split('\n').flatMap((line, index) => {
        const columns = [...line.replace(/\r$/, '')].length
        const detail = `has ${columns} columns`
        return columns > COLUMNS ? [{ path: file.path, line: index + 1, rule: 'line-width', detail }] : []
      }),
    ),
}

const functionSize: Rule = {
  name: 'function-size',
  says: `a function has at most ${FUNCTION_LINES} lines`,
  find: (files) =>
    allCode(files)
      .filter((file) => !isTest(file))
      .flatMap((file) => {
        const found: Violation[] = []
        const measure = (node: { start: number; end: number }, name: string): void => {
          const lines = lineAt(file.text, node.end) - lineAt(file.text, node.start) + 1
          if (lines > FUNCTION_LINES)
            found.push(violation(file, node.start, 'function-size', `${name} has ${lines} lines`))
        }
        visit(file, {
          FunctionDeclaration: (node) => measure(node, node.id?.name ?? 'a function'),
          FunctionExpression: (node) => measure(node, 'a function'),
          ArrowFunctionExpression: (node) => measure(node, 'an arrow function'),
        })
        return found
      }),
}

function syntaxRule(
  name: string,
  says: string,
  applies: (file: SourceFile) => boolean,
  visitor: (report: (node: { start: number }, detail: string) => void, file: SourceFile) => VisitorObject,
): Rule {
  return {
    name,
    says,
    find: (files) =>
      allCode(files)
        .filter(applies)
        .flatMap((file) => {
          const found: Violation[] = []
          visit(
            file,
            visitor((node, detail) => found.push(violation(file, node.start, name, detail)), file),
          )
          return found
        }),
  }
}

const erasable = syntaxRule(
  'erasable',
  'no enum, namespace, decorator or parameter property: the types are stripped, not compiled',
  () => true,
  (report) => ({
    TSEnumDeclaration: (node) => report(node, `declares the enum ${node.id.name}`),
    TSModuleDeclaration: (node) => {
      // `declare module 'fastify'` and `declare global` only add types.
      if (node.kind === 'namespace') report(node, 'declares a namespace')
    },
    Decorator: (node) => report(node, 'uses a decorator'),
    TSParameterProperty: (node) => report(node, 'has a parameter property'),
  }),
)

/** Files whose loader wants a default export. */
const DEFAULT_EXPORTS =
  /(?:^|\/)(?:vitest|vite|playwright)\.config\.ts$|^extensions\/|^server\/test\/own-gateways\/|^web\/.*\.tsx$/

const defaultExports = syntaxRule(
  'default-export',
  'no default export, except gateways and other extension files',
  (file) => !isWorldFolder(file.path) && !DEFAULT_EXPORTS.test(file.path),
  (report) => ({ ExportDefaultDeclaration: (node) => report(node, 'has a default export') }),
)

const classes = syntaxRule(
  'classes',
  'a class only for an error or for something with start and stop',
  (file) => !isTest(file) && !file.path.startsWith('web/'),
  (report) => ({
    ClassDeclaration: (node) => judgeClass(node, report),
    ClassExpression: (node) => judgeClass(node, report),
  }),
)

function judgeClass(node: Class, report: (node: Class, detail: string) => void): void {
  if (node.superClass) return
  const methods = node.body.body.flatMap((member) =>
    member.type === 'MethodDefinition' && member.key.type === 'Identifier' ? [member.key.name] : [],
  )
  const has_life = methods.includes('start') && (methods.includes('stop') || methods.includes('close'))
  if (!has_life) report(node, `declares the class ${node.id?.name ?? ''}; write functions`)
}

const barrels: Rule = {
  name: 'barrel',
  says: 'no nameless export *, and no file that only re-exports but a door',
  find: (files) =>
    allCode(files).flatMap((file) => {
      const { body } = parse(file).program
      const stars = body.filter((node) => node.type === 'ExportAllDeclaration' && node.exported === null)
      const found = stars.map((node) => violation(file, node.start, 'barrel', 'uses export *'))
      const is_only_exports = body.length > 0 && body.every((node) => isReExport(node))
      if (is_only_exports && stars.length === 0 && !/(?:^|\/)index\.ts$/.test(file.path)) {
        found.push(violation(file, 0, 'barrel', 'only re-exports; only index.ts may'))
      }
      return found
    }),
}

/** True for `export { a } from './a.ts'` and `export * as a from './a.ts'`. */
export function isReExport(node: Node): boolean {
  if (node.type === 'ExportAllDeclaration') return node.exported !== null
  return node.type === 'ExportNamedDeclaration' && node.source !== null
}

const anyType = syntaxRule(
  'any',
  'no any and no switched-off type check outside tests',
  (file) => !isTest(file),
  (report, file) => {
    for (const comment of parse(file).comments) {
      const match = /@ts-(?:ignore|expect-error|nocheck)/.exec(comment.value)
      if (match) report(comment, `uses ${match[0]}`)
    }
    return { TSAnyKeyword: (node) => report(node, 'uses any') }
  },
)

const emptyCatch = syntaxRule(
  'empty-catch',
  'a caught error is used, or a sentence says why it is not',
  () => true,
  (report, file) => ({
    CatchClause(node) {
      if (node.body.body.length > 0) return
      const has_reason = parse(file).comments.some(
        (one) => one.start > node.body.start && one.end < node.body.end,
      )
      if (!has_reason) report(node, 'swallows an error without a word')
    },
  }),
)

const skipped = syntaxRule(
  'skipped-test',
  'no test is skipped, exclusive or still to be written; what a machine cannot run says so with skipIf',
  (file) => /\.test\.tsx?$/.test(file.path),
  (report) => ({
    MemberExpression(node) {
      if (node.computed || node.object.type !== 'Identifier' || node.property.type !== 'Identifier') return
      const word = node.property.name
      if (!['it', 'test', 'describe'].includes(node.object.name)) return
      if (word === 'only' || word === 'skip' || word === ['to', 'do'].join(''))
        report(node, `uses ${node.object.name}.${word}`)
    },
  }),
)

const PLAIN_DATA = new Set([
  'TSStringKeyword',
  'TSNumberKeyword',
  'TSBigIntKeyword',
  'TSBooleanKeyword',
  'TSNullKeyword',
  'TSUndefinedKeyword',
  'TSLiteralType',
])

/** Texts, numbers, amounts, moments, bytes, and lists and unions of them. */
function isPlainData(node: Node): boolean {
  if (PLAIN_DATA.has(node.type)) return true
  if (node.type === 'TSUnionType') return node.types.every((member) => isPlainData(member))
  if (node.type === 'TSArrayType') return isPlainData(node.elementType)
  if (node.type === 'TSTypeOperator') return isPlainData(node.typeAnnotation)
  return (
    node.type === 'TSTypeReference' &&
    node.typeName.type === 'Identifier' &&
    ['Date', 'Buffer', 'Uint8Array'].includes(node.typeName.name)
  )
}

/** True inside an exported interface or type. */
function isExported(file: SourceFile, node: { start: number; end: number }): boolean {
  return parse(file).program.body.some(
    (top) =>
      top.type === 'ExportNamedDeclaration' &&
      /^TS(?:Interface|TypeAlias)Declaration$/.test(top.declaration?.type ?? '') &&
      top.start <= node.start &&
      node.end <= top.end,
  )
}

const snakeCase = syntaxRule(
  'snake-case',
  'data is snake_case: members of exported types and of wire schemas',
  (file) =>
    serverCode([file]).length === 1 &&
    (moduleOf(file.path) !== undefined || /server\/src\/(?:kernel|http)\//.test(file.path)) &&
    !isWorldFolder(file.path),
  (report, file) => ({
    TSPropertySignature(node) {
      // A type in passing may describe a library's object, whose spelling is not ours.
      if (!isExported(file, node)) return
      if (node.key.type !== 'Identifier' || node.computed || !/[a-z0-9][A-Z]/.test(node.key.name)) return
      const type = node.typeAnnotation?.typeAnnotation
      if (type && isPlainData(type)) report(node, `${node.key.name} is data in camelCase`)
    },
    CallExpression(node) {
      if (!file.path.endsWith('schemas.ts') || node.arguments[0]?.type !== 'ObjectExpression') return
      const { callee } = node
      const method =
        callee.type === 'MemberExpression' && callee.property.type === 'Identifier'
          ? callee.property.name
          : ''
      if (!/^(?:object|strictObject|looseObject|extend)$/.test(method)) return
      for (const member of node.arguments[0].properties) {
        if (member.type !== 'Property' || member.key.type !== 'Identifier') continue
        if (/[a-z0-9][A-Z]/.test(member.key.name)) report(member, `${member.key.name} is data in camelCase`)
      }
    },
  }),
)

/** Size and syntax. */
export const shapeRules: readonly Rule[] = [
  fileSize,
  lineWidth,
  functionSize,
  erasable,
  defaultExports,
  classes,
  barrels,
  anyType,
  emptyCatch,
  skipped,
  snakeCase,
]
