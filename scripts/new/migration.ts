import { readdirSync } from 'node:fs'
import path from 'node:path'
import { MODULES } from '../../server/test/module-order.ts'
import { checkName, type Draft, DraftRefused } from './draft.ts'

const FOLDER = 'server/migrations'

/** The next migration: `0009_ledger_reasons.sql`. Throws DraftRefused when no module is named first. */
export function newMigration(root: string, name: string): Draft {
  checkName(name, /^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$/, 'lower case words joined by _, the module first')
  const owner = name.split('_', 1)[0] ?? ''
  if (owner !== 'kernel' && !MODULES.includes(owner)) {
    throw new DraftRefused(
      `a migration is named for its module, and ${owner} is none of kernel, ${MODULES.join(', ')}`,
    )
  }
  const file = nextMigration(root, name)
  return {
    files: { [file]: `-- Why the schema ${owner} changes, in one sentence.\n` },
    edits: {},
    next: [
      `write the statements in ${file}: forward only, and so that the previous release still runs on it`,
      'npm run gen',
    ],
  }
}

/** The file of the next migration of this name. */
export function nextMigration(root: string, name: string): string {
  const numbers = readdirSync(path.join(root, FOLDER)).flatMap((file) => {
    const match = /^(\d{4})_.*\.sql$/.exec(file)
    return match ? [Number(match[1])] : []
  })
  const number = Math.max(0, ...numbers) + 1
  return `${FOLDER}/${String(number).padStart(4, '0')}_${name}.sql`
}
