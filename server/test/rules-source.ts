import path from 'node:path'
import { parseSync, Visitor, type ParseResult, type VisitorObject } from 'oxc-parser'

/** A text of the repository; `path` is relative to its root, with forward slashes. */
export interface SourceFile {
  path: string
  text: string
}

/** One place that breaks a rule. */
export interface Violation {
  path: string
  line: number
  rule: string
  detail: string
}

/** A rule of the house. Pure: it sees nothing but the files it is given. */
export interface Rule {
  name: string
  /** The rule as a sentence; it is the title of its test. */
  says: string
  find(files: readonly SourceFile[]): Violation[]
}

/** An import or re-export of a file, with the repository path it leads to where it is one of ours. */
export interface Import {
  specifier: string
  target: string | undefined
  start: number
  is_type: boolean
  /** Names taken from it; empty for `import * as`, for a bare import and for `import()`. */
  names: string[]
}

const parses = new WeakMap<SourceFile, ParseResult>()
const imports = new WeakMap<SourceFile, Import[]>()

/** The parsed file; each is parsed once. */
export function parse(file: SourceFile): ParseResult {
  const known = parses.get(file)
  if (known) return known
  const result = parseSync(file.path, file.text)
  parses.set(file, result)
  return result
}

/** Walks the whole syntax tree of a file. */
export function visit(file: SourceFile, visitor: VisitorObject): void {
  new Visitor(visitor).visit(parse(file).program)
}

export function lineAt(text: string, offset: number): number {
  let line = 1
  for (let at = text.indexOf('\n'); at !== -1 && at < offset; at = text.indexOf('\n', at + 1)) line++
  return line
}

/** Makes the violation for a place in a file. */
export function violation(file: SourceFile, offset: number, rule: string, detail: string): Violation {
  return { path: file.path, line: lineAt(file.text, offset), rule, detail }
}

/** Every match of a pattern (which must be global) in a file's text, as violations. */
export function matchesIn(
  file: SourceFile,
  rule: string,
  pattern: RegExp,
  detail: (match: string) => string,
): Violation[] {
  return [...file.text.matchAll(pattern)].map((match) =>
    violation(file, match.index + match[0].search(/\S/), rule, detail(match[0].trim())),
  )
}

/** Static imports, re-exports and `import('…')` with a literal, in order. */
export function importsOf(file: SourceFile): Import[] {
  const known = imports.get(file)
  if (known) return known
  const found: Import[] = []
  const add = (specifier: string, start: number, is_type: boolean, names: string[]): void => {
    found.push({ specifier, target: targetOf(file.path, specifier), start, is_type, names })
  }
  visit(file, {
    ImportDeclaration(node) {
      const named = node.specifiers.filter((specifier) => specifier.type === 'ImportSpecifier')
      const is_each_type =
        named.length > 0 &&
        named.length === node.specifiers.length &&
        named.every((specifier) => specifier.importKind === 'type')
      add(
        node.source.value,
        node.start,
        node.importKind === 'type' || is_each_type,
        named.filter((one) => one.importKind !== 'type').map((one) => nameOf(one.imported)),
      )
    },
    ExportNamedDeclaration(node) {
      if (node.source)
        add(
          node.source.value,
          node.start,
          node.exportKind === 'type',
          node.specifiers.map((one) => nameOf(one.local)),
        )
    },
    ExportAllDeclaration(node) {
      add(node.source.value, node.start, node.exportKind === 'type', [])
    },
    ImportExpression(node) {
      if (node.source.type === 'Literal' && typeof node.source.value === 'string')
        add(node.source.value, node.start, false, [])
    },
    TSImportType(node) {
      add(node.source.value, node.start, true, [])
    },
  })
  imports.set(file, found)
  return found
}

function nameOf(node: { type: string; name?: string; value?: unknown }): string {
  return node.name ?? String(node.value)
}

/** Where an import leads, as a path from the repository's root; `undefined` for packages and Node's own. */
function targetOf(from: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return path.posix.join(path.posix.dirname(from), specifier)
  const alias = /^#(kernel|http|modules)\/(.+)$/.exec(specifier)
  if (alias) return `server/src/${alias[1]}/${alias[2]}${alias[1] === 'modules' ? '/index.ts' : '.ts'}`
  return specifier.startsWith('#') ? `server/src/${specifier.slice(1)}.ts` : undefined
}

export const isTypeScript = (file: SourceFile): boolean => /\.tsx?$/.test(file.path)
export const isGenerated = (file: SourceFile): boolean => /\.gen\.tsx?$|^server\/schema\.sql$/.test(file.path)
/** Tests and what only tests use. */
export const isTest = (file: SourceFile): boolean =>
  /\.test\.tsx?$|\/[^/]+\.fixtures\//.test(file.path) || file.path.startsWith('server/test/')

/** Production code of the server, without tests and generated files. */
export function serverCode(files: readonly SourceFile[]): SourceFile[] {
  return files.filter(
    (file) =>
      file.path.startsWith('server/src/') && isTypeScript(file) && !isTest(file) && !isGenerated(file),
  )
}

/** All TypeScript, tests included, without generated files. */
export function allCode(files: readonly SourceFile[]): SourceFile[] {
  return files.filter((file) => isTypeScript(file) && !isGenerated(file))
}

/** The module a file of the server belongs to. */
export function moduleOf(file_path: string): string | undefined {
  return /^server\/src\/modules\/([^/]+)\//.exec(file_path)?.[1]
}

/** Files that speak with the outside world or play it, by their folder. */
export const isWorldFolder = (file_path: string): boolean =>
  /\/(gateways|channels|providers|transports)\//.test(file_path)
