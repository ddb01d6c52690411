/**
 * Makes the files that follow from the code:
 * `node scripts/gen.ts [types|schema|openapi|events|all] [--check]`.
 * With `--check` nothing is written; the exit code is 1 when a committed file differs from what would be
 * made.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { generateEventPage } from './gen/event-page.ts'
import { generateOpenApi } from './gen/openapi.ts'
import { generateSchema } from './gen/schema.ts'
import { withThrowawayDatabase } from './gen/throwaway-database.ts'
import { generateTypes } from './gen/types.ts'

interface Generator {
  /** What the command line calls it. */
  name: string
  /** Where the text goes, from the root of the repository. */
  file: string
  /** Makes the text from a database that has every migration. */
  generate: (url: string) => Promise<string>
}

/** Every generated file of the repository. */
const GENERATORS: readonly Generator[] = [
  { name: 'types', file: 'server/src/kernel/database.gen.ts', generate: generateTypes },
  { name: 'schema', file: 'server/schema.sql', generate: generateSchema },
  { name: 'openapi', file: 'api/openapi.json', generate: generateOpenApi },
  { name: 'events', file: 'docs/events/README.md', generate: async () => generateEventPage() },
]

const ROOT = path.resolve(import.meta.dirname, '..')

const is_check = process.argv.includes('--check')
const asked = process.argv.slice(2).filter((word) => !word.startsWith('--'))
const names =
  asked.length === 0 || asked.includes('all') ? GENERATORS.map((generator) => generator.name) : asked
const unknown = names.filter((name) => !GENERATORS.some((generator) => generator.name === name))
if (unknown.length > 0) {
  console.error(
    `gen: unknown: ${unknown.join(', ')}; known: ${GENERATORS.map(({ name }) => name).join(', ')}, all`,
  )
  process.exit(2)
}

const stale = await withThrowawayDatabase(async (url) => {
  const differing: string[] = []
  for (const generator of GENERATORS.filter(({ name }) => names.includes(name))) {
    const text = await generator.generate(url)
    const target = path.join(ROOT, generator.file)
    if (existsSync(target) && readFileSync(target, 'utf8') === text) continue
    differing.push(generator.file)
    if (!is_check) writeFileSync(target, text)
  }
  return differing
})

for (const file of stale) console.log(is_check ? `stale: ${file} (run npm run gen)` : `written: ${file}`)
if (stale.length === 0) console.log('generated files are up to date')
if (is_check && stale.length > 0) process.exitCode = 1
