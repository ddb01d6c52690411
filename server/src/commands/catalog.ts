import { readFileSync, statSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type Clock, databaseClock } from '#kernel/clock'
import { createDb, type Db } from '#kernel/db'
import { InvalidRequest } from '#kernel/errors'
import {
  applyCatalog,
  CATALOG_FILE_MAX_BYTES,
  changesText,
  exportCatalog,
  hasChanges,
} from '#modules/catalog'
import { boot } from './boot.ts'

/** Where a command speaks to. */
export interface CommandOutput {
  out: (text: string) => void
  error: (text: string) => void
}

const USAGE = `kopilka catalog apply FILE [--dry-run] [--prune]
  brings units, products and prices to what the file says, all or nothing
  --dry-run  shows what would change and changes nothing
  --prune    deactivates products and prices the file does not mention
kopilka catalog export
  writes the present catalog as a file
`

/** `catalog apply FILE [--dry-run] [--prune]`, `catalog export`. */
export async function catalogCommand(words: readonly string[]): Promise<void> {
  const output: CommandOutput = {
    out: (text) => process.stdout.write(text),
    error: (text) => process.stderr.write(text),
  }
  // Before the database is started for nothing.
  if (readWords(words) === undefined) {
    output.error(USAGE)
    process.exitCode = 2
    return
  }
  const { database } = await boot()
  const db = createDb({ url: database.url, max: 2 })
  try {
    process.exitCode = await runCatalogCommand(db, databaseClock(), words, output)
  } finally {
    await db.close()
    await database.stop()
  }
}

/** The command on a database that is there. Answers the exit code: 0 done, 1 refused, 2 misspelt. */
export async function runCatalogCommand(
  db: Db,
  clock: Clock,
  words: readonly string[],
  output: CommandOutput,
): Promise<number> {
  const asked = readWords(words)
  if (asked === undefined) {
    output.error(USAGE)
    return 2
  }
  if (asked.verb === 'export') {
    output.out(await exportCatalog(db))
    return 0
  }
  try {
    const changes = await applyCatalog(db, clock, readFile(asked.file), asked.options)
    output.out(`${changesText(changes)}\n`)
    if (asked.options.is_dry_run) output.out('Nothing was changed: this was a dry run.\n')
    else output.out(hasChanges(changes) ? 'Applied.\n' : 'Nothing to do.\n')
    return 0
  } catch (error) {
    if (!(error instanceof InvalidRequest)) throw error
    const faults = error.facts['errors'] as { pointer: string; detail: string }[]
    for (const { pointer, detail } of faults)
      output.error(`${asked.file}: ${detail}${pointer && ` (${pointer})`}\n`)
    output.error('Nothing was changed.\n')
    return 1
  }
}

type Asked =
  | { verb: 'export' }
  | { verb: 'apply'; file: string; options: { is_dry_run: boolean; has_prune: boolean } }

function readWords(words: readonly string[]): Asked | undefined {
  try {
    const { values, positionals } = parseArgs({
      args: [...words],
      allowPositionals: true,
      options: { 'dry-run': { type: 'boolean', default: false }, prune: { type: 'boolean', default: false } },
    })
    const [verb, file, ...rest] = positionals
    const has_options = values['dry-run'] || values.prune
    if (verb === 'export' && file === undefined && !has_options) return { verb }
    if (verb !== 'apply' || file === undefined || rest.length > 0) return undefined
    return { verb, file, options: { is_dry_run: values['dry-run'], has_prune: values.prune } }
  } catch (error) {
    // parseArgs throws TypeError for options it does not know.
    if (error instanceof TypeError) return undefined
    throw error
  }
}

/** Throws InvalidRequest when the file is not there or larger than a catalog may be. */
function readFile(file: string): string {
  const found = statSync(file, { throwIfNoEntry: false })
  if (!found?.isFile()) throw new InvalidRequest([{ pointer: '', detail: 'there is no such file' }])
  if (found.size > CATALOG_FILE_MAX_BYTES) {
    throw new InvalidRequest([{ pointer: '', detail: `is larger than ${CATALOG_FILE_MAX_BYTES} bytes` }])
  }
  return readFileSync(file, 'utf8')
}
