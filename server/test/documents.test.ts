import { existsSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { MODULES } from './module-order.ts'
import { repositoryFiles, ROOT } from './repository-files.ts'
import { refusedWords } from './rules-modules.ts'

const files = repositoryFiles()
const textOf = (name: string): string => files.find((file) => file.path === name)?.text ?? ''
const lines = (text: string): number => text.trimEnd().split('\n').length
const documents = files.filter((file) => file.path.endsWith('.md'))

describe('Documents stay short:', () => {
  test.each([
    ['AGENTS.md', 150],
    ['STYLE.md', 80],
    ['ARCHITECTURE.md', 120],
    ['SECURITY.md', 60],
  ])('%s has at most %i lines', (name, limit) => {
    expect(lines(textOf(name))).toBeGreaterThan(20)
    expect(lines(textOf(name))).toBeLessThanOrEqual(limit)
  })

  test('CLAUDE.md only points at AGENTS.md', () => {
    expect(textOf('CLAUDE.md').trim()).toBe('@AGENTS.md')
  })
})

describe('Links and commands in documents', () => {
  test('lead to files that are there', () => {
    const broken = documents.flatMap(({ path: from, text }) =>
      [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
        .map((match) => match[1] ?? '')
        .filter((target) => !/^(?:https?|mailto):/.test(target))
        .filter((target) => !existsSync(path.join(ROOT, path.dirname(from), target)))
        .map((target) => `${from}: ${target}`),
    )
    expect(broken).toEqual([])
  })

  test('are commands of package.json', () => {
    const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> }
    const unknown = documents.flatMap(({ path: from, text }) =>
      [...text.matchAll(/npm run ([a-z:-]+)/g)]
        .map((match) => match[1] ?? '')
        .filter((name) => !(name in scripts))
        .map((name) => `${from}: npm run ${name}`),
    )
    expect(unknown).toEqual([])
  })
})

describe('Decision records', () => {
  const records = files.filter((file) => /^docs\/decisions\/\d{4}-/.test(file.path))
  const list = textOf('docs/decisions/README.md')

  test('are numbered without gaps', () => {
    expect(records.map(({ path: name }) => Number(path.basename(name).slice(0, 4)))).toEqual(
      records.map((_, index) => index + 1),
    )
  })

  test.each(records.map(({ path: name, text }) => [path.basename(name), text]))(
    '%s has its form and is listed',
    (name, text) => {
      const title = /^# (\d+)\. (.+)\n\nAccepted \d{4}-\d{2}-\d{2}\.\n/.exec(text)
      expect(title?.[1]).toBe(String(Number(name.slice(0, 4))))
      expect([...text.matchAll(/^## (.+)$/gm)].map((match) => match[1])).toEqual([
        'Context',
        'Decision',
        'Consequences',
        'Alternatives',
      ])
      expect(lines(text)).toBeGreaterThanOrEqual(30)
      expect(lines(text)).toBeLessThanOrEqual(50)
      expect(list).toContain(`- [${title?.[1]}. ${title?.[2]}](${name})`)
    },
  )
})

/** Names a section of docs/dependencies.md gives reasons for; each must have one of some length. */
function reasonsOf(heading: string): string[] {
  const section =
    textOf('docs/dependencies.md')
      .split(/^## /m)
      .find((part) => part.startsWith(`${heading}\n`)) ?? ''
  return [...section.matchAll(/^- `([^`]+)`: .{15,}$/gm)].map((match) => match[1] ?? '')
}

interface Manifest {
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}

describe('docs/dependencies.md', () => {
  test.each([
    ['Server', 'server/package.json'],
    ['Extension contract', 'packages/extension/package.json'],
    ['Emulators', 'emulators/package.json'],
  ])('%s gives a reason for every production dependency, and for nothing else', (heading, manifest) => {
    const { dependencies = {} } = JSON.parse(textOf(manifest)) as Manifest
    const names = Object.keys(dependencies).filter((name) => !name.startsWith('@kopilka/'))
    expect(reasonsOf(heading).toSorted()).toEqual(names.toSorted())
  })

  test('gives a reason for the programs that come as packages', () => {
    const { optionalDependencies = {}, dependencies = {} } = JSON.parse(textOf('package.json')) as Manifest
    const families = Object.keys(optionalDependencies).map((name) =>
      name.replace(/^(@[^/]+\/|node-).*$/, '$1*'),
    )
    expect(reasonsOf('Programs that come as packages')).toEqual([...new Set(families)].toSorted())
    expect(dependencies, 'the root has no production dependencies: they belong to a workspace').toEqual({})
  })

  test('is about exact versions: every package.json pins what it takes from a registry', () => {
    const ranges = files
      .filter((file) => /(?:^|\/)package\.json$/.test(file.path))
      .flatMap(({ path: from, text }) => {
        const manifest = JSON.parse(text) as Manifest & { devDependencies?: Record<string, string> }
        return Object.entries({
          ...manifest.dependencies,
          ...manifest.devDependencies,
          ...manifest.optionalDependencies,
        })
          .filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version))
          .map(([name, version]) => `${from}: ${name} ${version}`)
      })
    expect(ranges).toEqual([])
  })
})

describe('The order of modules', () => {
  test('is the same in ARCHITECTURE.md', () => {
    const shown = /^identity · [\s\S]*?admin$/m.exec(textOf('ARCHITECTURE.md'))?.[0] ?? ''
    expect(shown.split(/\s*·\s*/)).toEqual(MODULES)
  })

  test('names each module once, and no refused word', () => {
    expect(new Set(MODULES).size).toBe(MODULES.length)
    expect(refusedWords(files).filter((word) => MODULES.includes(word))).toEqual([])
  })
})

describe('docs/glossary.md', () => {
  test('has each word once, with what it is', () => {
    const rows = [...textOf('docs/glossary.md').matchAll(/^\| ([^|]+) \| ([^|]+) \|/gm)].slice(2)
    const words = rows.flatMap((row) => (row[1] ?? '').split(', '))
    expect(words.length).toBeGreaterThan(50)
    expect(words.filter((word, index) => words.indexOf(word) !== index)).toEqual([])
    expect(rows.filter((row) => (row[2] ?? '').trim().length < 10)).toEqual([])
  })

  test('refuses no word it explains', () => {
    const explained = new Set(
      [...textOf('docs/glossary.md').matchAll(/^\| ([a-z ]+)/gm)].map((match) => (match[1] ?? '').trim()),
    )
    const refused = refusedWords(files)
    expect(refused.length).toBeGreaterThan(10)
    expect(refused.filter((word) => explained.has(word))).toEqual([])
  })
})
