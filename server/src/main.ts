import { enableCompileCache } from 'node:module'
import path from 'node:path'

/**
 * Picks a command: `serve` (default), `demo`, `migrate`, `catalog`, `verify`, `reconcile`, `inbox`, `doctor`,
 * `keys`, `secrets`.
 * Each is one file in `commands/`, loaded only when it is asked for, so that a start loads no more than it
 * needs.
 */
const COMMANDS: Readonly<Record<string, { about: string; run: (words: string[]) => Promise<void> }>> = {
  serve: {
    about: 'run the server: API and worker, with the embedded database unless DATABASE_URL is set',
    run: async () => (await import('./commands/serve.ts')).serve(),
  },
  demo: {
    about: 'the same with a seeded shop and an emulated gateway',
    run: async () => (await import('./commands/demo.ts')).demo(),
  },
  migrate: {
    about: 'bring the database to this version',
    run: async () => (await import('./commands/migrate.ts')).migrateCommand(),
  },
  catalog: {
    about: 'catalog apply FILE [--dry-run] [--prune], catalog export',
    run: async (words) => (await import('./commands/catalog.ts')).catalogCommand(words),
  },
  keys: {
    about: 'keys create NAME [SCOPE …], keys list, keys revoke ID',
    run: async (words) => (await import('./commands/keys.ts')).keysCommand(words),
  },
  secrets: {
    about: 'secrets list | add [--last] | use ID | reseal | remove ID: change the keys outside the database',
    run: async (words) => (await import('./commands/secrets.ts')).secretsCommand(words),
  },
  verify: {
    about: 'check every invariant of the books; exit code 1 when one is broken',
    run: async () => (await import('./commands/verify.ts')).verifyCommand(),
  },
  reconcile: {
    about: 'reconcile --gateway ID [--from DAY] [--to DAY]: compare a gateway’s own list with the books',
    run: async (words) => (await import('./commands/reconcile.ts')).reconcileCommand(words),
  },
  inbox: {
    about:
      'inbox list | retry ID … | retry --all [--gateway ID]: notifications of vendors that were given up',
    run: async (words) => (await import('./commands/inbox.ts')).inboxCommand(words),
  },
  doctor: {
    about: 'examine every setting and dependency, with advice',
    run: async () => (await import('./commands/doctor.ts')).doctorCommand(),
  },
}

// The next start need not translate and compile everything again. Beside the packages, which are ours alone
// to write, unlike the folder for temporary files; where that cannot be written nothing is kept.
enableCompileCache(path.resolve(import.meta.dirname, '../../node_modules/.cache/kopilka'))

const [name = 'serve', ...words] = process.argv.slice(2)
const command = COMMANDS[name]
if (command) {
  try {
    await command.run(words)
  } catch (error) {
    // What was started before would keep the process, and nobody would see that it serves nothing.
    process.stderr.write(`${explain(error)}\n`, () => process.exit(1))
  }
} else {
  const lines = Object.entries(COMMANDS).map(([word, { about }]) => `  ${word.padEnd(9)} ${about}`)
  process.stderr.write(`kopilka: there is no command ${name}.\n\n${lines.join('\n')}\n`)
  process.exitCode = 2
}

/**
 * What went wrong and what to do, without a stack: start-up errors are for the owner, not for a developer.
 */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const hint = 'hint' in error && typeof error.hint === 'string' ? `\n${error.hint}` : ''
  const is_known = hint !== '' || 'code' in error
  return is_known ? `kopilka: ${error.message}${hint}` : `kopilka: ${error.stack ?? error.message}`
}
