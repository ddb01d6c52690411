/**
 * Writes the first version of something:
 *
 *   npm run new gateway acme                a payment gateway, and the contract test that it fails
 *   npm run new own-gateway acme            the same in extensions/, with an emulator of its vendor
 *   npm run new module loyalty card         a module about cards: table, verb, door, README, test
 *   npm run new migration ledger_reasons    the next migration, of the module ledger
 *   npm run new adr "One clock for all"     the next decision record
 *
 * Nothing is overwritten.
 */
import path from 'node:path'
import { newAdr } from './new/adr.ts'
import { type Draft, DraftRefused, writeDraft } from './new/draft.ts'
import { newGateway } from './new/gateway.ts'
import { newMigration } from './new/migration.ts'
import { newModule } from './new/module.ts'
import { newOwnGateway } from './new/own-gateway.ts'

const ROOT = path.resolve(import.meta.dirname, '..')
const USAGE = `npm run new gateway <id>
npm run new own-gateway <id>
npm run new module <name> [noun]
npm run new migration <module>_<what>
npm run new adr "<title>"`

function draftOf(kind: string | undefined, words: readonly string[]): Draft {
  const [first = '', second] = words
  if (kind === 'gateway') return newGateway(ROOT, first)
  if (kind === 'own-gateway') return newOwnGateway(ROOT, first)
  if (kind === 'module') return newModule(ROOT, first, second)
  if (kind === 'migration') return newMigration(ROOT, first)
  if (kind === 'adr') return newAdr(ROOT, words.join(' '), new Date())
  throw new DraftRefused(kind === undefined ? 'say what to make' : `there is nothing called ${kind} to make`)
}

try {
  const [kind, ...words] = process.argv.slice(2)
  const draft = draftOf(kind, words)
  for (const line of writeDraft(ROOT, draft)) console.log(line)
  for (const step of draft.next) console.log(`next: ${step}`)
} catch (error) {
  if (!(error instanceof DraftRefused)) throw error
  console.error(`new: ${error.message}\n\n${USAGE}`)
  process.exitCode = 2
}
