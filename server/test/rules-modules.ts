import type { Node } from 'oxc-parser'
import { MODULES } from './module-order.ts'
import { isTest, isWorldFolder, moduleOf, parse, violation } from './rules-source.ts'
import type { Rule, SourceFile, Violation } from './rules-source.ts'
import { isReExport } from './rules-shape.ts'
import { namesInMigration } from './rules-sql.ts'

const README_LINES = 120
export const README_HEADINGS = [
  'Meaning',
  'Owns',
  'Does not own',
  'Invariants',
  'Words',
  'Not promised',
] as const

/** The files of every module that is there, by its name. */
function modulesOf(files: readonly SourceFile[]): Map<string, SourceFile[]> {
  const found = new Map<string, SourceFile[]>()
  for (const file of files) {
    const name = moduleOf(file.path)
    if (name !== undefined) found.set(name, [...(found.get(name) ?? []), file])
  }
  return found
}

const home = (name: string): string => `server/src/modules/${name}`

const known: Rule = {
  name: 'module-known',
  says: 'every module has its place in the order',
  find: (files) =>
    [...modulesOf(files)].flatMap(([name]) =>
      MODULES.includes(name)
        ? []
        : [
            {
              path: home(name),
              line: 1,
              rule: 'module-known',
              detail: 'is not in server/test/module-order.ts',
            },
          ],
    ),
}

const readme: Rule = {
  name: 'module-readme',
  says: `a module has a README.md of at most ${README_LINES} lines: ${README_HEADINGS.join(', ')}`,
  find: (files) =>
    [...modulesOf(files)].flatMap(([name, own]) => {
      const file = own.find((one) => one.path === `${home(name)}/README.md`)
      if (!file) return [{ path: home(name), line: 1, rule: 'module-readme', detail: 'has no README.md' }]
      const found: Violation[] = []
      const lines = file.text.trimEnd().split('\n').length
      if (lines > README_LINES)
        found.push({
          path: file.path,
          line: README_LINES,
          rule: 'module-readme',
          detail: `has ${lines} lines`,
        })
      const headings = [...file.text.matchAll(/^##\s+(.+?)\s*$/gm)].map((match) => match[1] ?? '')
      const wanted = headings.filter((heading) => README_HEADINGS.some((one) => one === heading))
      if (wanted.join() !== README_HEADINGS.join()) {
        const missing = README_HEADINGS.filter((heading) => !headings.includes(heading))
        const detail =
          missing.length > 0 ? `lacks ${missing.join(', ')}` : 'has its headings in another order'
        found.push({ path: file.path, line: 1, rule: 'module-readme', detail })
      }
      return found
    }),
}

const door: Rule = {
  name: 'module-door',
  says: 'a module has a door, index.ts, with named re-exports of its own files and nothing else',
  find: (files) =>
    [...modulesOf(files)].flatMap(([name, own]) => {
      const file = own.find((one) => one.path === `${home(name)}/index.ts`)
      if (!file) return [{ path: home(name), line: 1, rule: 'module-door', detail: 'has no index.ts' }]
      return parse(file).program.body.flatMap((node) => {
        const source = 'source' in node ? node.source : null
        const is_own =
          isReExport(node) && source !== null && 'value' in source && source.value.startsWith('./')
        return is_own
          ? []
          : [violation(file, node.start, 'module-door', 'does more than re-export names of its own files')]
      })
    }),
}

const docstrings: Rule = {
  name: 'docstring',
  says: 'every function and class that leaves a module through its door says what it does',
  find: (files) =>
    [...modulesOf(files)].flatMap(([name, own]) => {
      const file = own.find((one) => one.path === `${home(name)}/index.ts`)
      if (!file) return []
      return parse(file).program.body.flatMap((node) => {
        if (node.type !== 'ExportNamedDeclaration' || node.source === null || node.exportKind === 'type')
          return []
        const source = own.find((one) => one.path === `${home(name)}/${node.source?.value.replace('./', '')}`)
        if (!source) return []
        const names = node.specifiers.flatMap((one) =>
          'name' in one.local && one.exportKind !== 'type' ? [one.local.name] : [],
        )
        return names.flatMap((exported) => undocumented(source, exported))
      })
    }),
}

function undocumented(file: SourceFile, name: string): Violation[] {
  const { program, comments } = parse(file)
  for (const node of program.body) {
    if (
      node.type !== 'ExportNamedDeclaration' ||
      !node.declaration ||
      declaredName(node.declaration) !== name
    )
      continue
    const has_comment = comments.some(
      (comment) =>
        comment.type === 'Block' &&
        comment.value.startsWith('*') &&
        comment.end <= node.start &&
        /^\s*$/.test(file.text.slice(comment.end, node.start)),
    )
    // An error's class is told by its code and title, an event by its description.
    const is_told = node.declaration.type === 'VariableDeclaration' || /^(?:.*\/)?errors\.ts$/.test(file.path)
    return has_comment || is_told
      ? []
      : [violation(file, node.start, 'docstring', `${name} has no docstring`)]
  }
  return []
}

function declaredName(node: Node): string | undefined {
  if (node.type === 'FunctionDeclaration' || node.type === 'ClassDeclaration') return node.id?.name
  if (node.type !== 'VariableDeclaration') return undefined
  const id = node.declarations[0]?.id
  return id?.type === 'Identifier' ? id.name : undefined
}

const GLOSSARY = 'docs/glossary.md'

/** The words that `docs/glossary.md` refuses in names: its list under "Refused in names". */
export function refusedWords(files: readonly SourceFile[]): string[] {
  const text = files.find((file) => file.path === GLOSSARY)?.text ?? ''
  const section = /^##\s+Refused in names\s*$([\s\S]*?)(?=^##\s|(?![\s\S]))/m.exec(text)?.[1] ?? ''
  return [...section.matchAll(/^- `([a-z]+)`/gm)].map((match) => match[1] ?? '')
}

const words: Rule = {
  name: 'words',
  says: 'tables, columns, file names and exported names use the words of docs/glossary.md',
  find: (files) => {
    const refused = new Set(refusedWords(files))
    const bad = (name: string): string | undefined => wordsOf(name).find((word) => refused.has(word))
    return files.flatMap((file) => {
      if (file.path.startsWith('server/migrations/')) {
        return namesInMigration(file).flatMap(({ name, start }) => {
          const word = bad(name)
          return word === undefined
            ? []
            : [violation(file, start, 'words', `${name}: the glossary refuses "${word}"`)]
        })
      }
      // A vendor's files speak the vendor's words.
      if (moduleOf(file.path) === undefined || isTest(file) || isWorldFolder(file.path)) return []
      return namesInModule(file).flatMap(({ name, start }) => {
        const word = bad(name)
        return word === undefined
          ? []
          : [violation(file, start, 'words', `${name}: the glossary refuses "${word}"`)]
      })
    })
  },
}

/** `placeHold`, `hold_id` and `place-hold` in words: place, hold, id; the plural counts as the singular. */
function wordsOf(name: string): string[] {
  const parts = name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
  return parts.flatMap((part) => (part.endsWith('s') ? [part, part.slice(0, -1)] : [part]))
}

function namesInModule(file: SourceFile): { name: string; start: number }[] {
  const own_path = file.path.slice(`${home(moduleOf(file.path) ?? '')}/`.length).replace(/\.\w+$/, '')
  const names = [{ name: own_path, start: 0 }]
  if (!file.path.endsWith('.ts')) return names
  for (const node of parse(file).program.body) {
    if (node.type !== 'ExportNamedDeclaration' || !node.declaration) continue
    const { declaration } = node
    if (declaration.type === 'TSInterfaceDeclaration') {
      names.push({ name: declaration.id.name, start: declaration.start })
      for (const member of declaration.body.body) {
        if (member.type === 'TSPropertySignature' && member.key.type === 'Identifier') {
          names.push({ name: member.key.name, start: member.start })
        }
      }
    } else if (declaration.type === 'TSTypeAliasDeclaration') {
      names.push({ name: declaration.id.name, start: declaration.start })
    } else {
      const name = declaredName(declaration)
      if (name !== undefined) names.push({ name, start: declaration.start })
    }
  }
  return names
}

/** What a module's folder must have, and its words. */
export const moduleRules: readonly Rule[] = [known, readme, door, docstrings, words]
