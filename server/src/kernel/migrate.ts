import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import pg from 'pg'
import { assert } from './errors.ts'

/** The folder of numbered migrations; functions live beside the modules that own them. */
const MIGRATIONS = path.resolve(import.meta.dirname, '../../migrations')
const MODULES = path.resolve(import.meta.dirname, '../modules')
/** One number for all processes of all versions: whoever holds it is migrating. */
const ADVISORY_LOCK = 7_305_811_420_233_001n

/** The schema and this code do not fit together; `code` and `hint` say what to do. */
export class MigrationRefused extends Error {
  readonly code: 'schema_is_newer' | 'migration_changed' | 'migration_missing'
  readonly hint: string
  constructor(code: MigrationRefused['code'], message: string, hint: string) {
    super(message)
    this.name = 'MigrationRefused'
    this.code = code
    this.hint = hint
  }
}

interface Migration {
  number: number
  name: string
  text: string
  digest: string
}

/**
 * Brings the database to this version: each pending file in a transaction of its own (all of them in one when
 * the database is new), then every function file whose text changed. Safe when several processes start at
 * once: one works, the others wait and find it done. Throws {@link MigrationRefused} when the database is
 * newer than the code or an applied file was edited.
 */
export async function migrate(
  url: string,
  options: { folder?: string; modules?: string } = {},
): Promise<{ applied: string[] }> {
  const migrations = readMigrations(options.folder ?? MIGRATIONS)
  const client = new pg.Client({ connectionString: url, application_name: 'kopilka-migrate' })
  // A lost connection is told twice: to the statement that waits, which is what we hear, and by this event.
  client.on('error', () => undefined)
  await client.connect()
  try {
    await client.query('select pg_advisory_lock($1)', [ADVISORY_LOCK])
    // Each commit need not wait for the disk: one that is lost in a power cut is lost with all after it, and
    // done again by the next start. Whatever is written later waits for them too.
    await client.query('set synchronous_commit = off')
    await client.query(`
      create schema if not exists kernel;
      create table if not exists kernel.migrations (
        number int primary key, name text not null, digest text not null,
        applied_at timestamptz not null default now());
      create table if not exists kernel.function_files (
        name text primary key, digest text not null, applied_at timestamptz not null default now())`)
    const applied = await applyMigrations(client, migrations)
    await applyFunctions(client, readFunctions(options.modules ?? MODULES))
    return { applied }
  } finally {
    await client.end()
  }
}

/** The numbers of the migrations this code brings; for `doctor` and `/readyz`. */
export function migrationNumbers(): number[] {
  return readMigrations(MIGRATIONS).map((migration) => migration.number)
}

function readMigrations(folder: string): Migration[] {
  const migrations = readdirSync(folder)
    .filter((name) => /^\d{4}_[a-z0-9_]+\.sql$/.test(name))
    .toSorted()
    .map((name) => {
      const text = readFileSync(path.join(folder, name), 'utf8')
      return { number: Number(name.slice(0, 4)), name, text, digest: sha256(text) }
    })
  const doubled = migrations.find((migration, index) => migrations[index + 1]?.number === migration.number)
  assert(doubled === undefined, `two migrations have the number of ${doubled?.name}`)
  return migrations
}

function readFunctions(modules: string): { name: string; text: string; digest: string }[] {
  return readdirSync(modules, { recursive: true, encoding: 'utf8' })
    .map((name) => name.replaceAll(path.sep, '/'))
    .filter((name) => /\/functions\/[^/]+\.sql$/.test(name))
    .toSorted()
    .map((name) => {
      const text = readFileSync(path.join(modules, name), 'utf8')
      return { name, text, digest: sha256(text) }
    })
}

async function applyMigrations(client: pg.Client, migrations: readonly Migration[]): Promise<string[]> {
  const { rows } = await client.query<{ number: number; name: string; digest: string }>(
    'select number, name, digest from kernel.migrations order by number',
  )
  checkApplied(rows, migrations)
  const known = new Set(rows.map((row) => row.number))
  const pending = migrations.filter((migration) => !known.has(migration.number))
  const apply = async (some: readonly Migration[]): Promise<void> => {
    await inTransaction(client, async () => {
      // In one text: a start has other things to do meanwhile, and each answer would wait for it.
      const texts = some.map(({ text, number, name, digest }) => {
        const row = [number, client.escapeLiteral(name), client.escapeLiteral(digest)].join(', ')
        return `${text}\n;insert into kernel.migrations (number, name, digest) values (${row})`
      })
      await client.query(texts.join('\n;'))
    })
  }
  // A new database is waited for by somebody, and nothing in it can be locked by others.
  if (rows.length === 0) await apply(pending)
  else for (const migration of pending) await apply([migration])
  return pending.map(({ name }) => name)
}

function checkApplied(
  rows: readonly { number: number; name: string; digest: string }[],
  migrations: readonly Migration[],
): void {
  const newest = migrations.at(-1)?.number ?? 0
  for (const row of rows) {
    const migration = migrations.find((candidate) => candidate.number === row.number)
    if (row.number > newest) {
      throw new MigrationRefused(
        'schema_is_newer',
        `the database has migration ${row.name}, this version ends at ${newest}`,
        'Start the newer version of Kopilka, or restore the backup made before the upgrade.',
      )
    }
    if (!migration) {
      throw new MigrationRefused(
        'migration_missing',
        `migration ${row.name} was applied and is not in this version`,
        'Use the version of Kopilka that made this database.',
      )
    }
    if (migration.digest !== row.digest) {
      throw new MigrationRefused(
        'migration_changed',
        `migration ${row.name} was edited after it was applied`,
        'Restore the file; change the schema by a new migration.',
      )
    }
  }
}

async function applyFunctions(
  client: pg.Client,
  files: readonly { name: string; text: string; digest: string }[],
): Promise<void> {
  const { rows } = await client.query<{ name: string; digest: string }>(
    'select name, digest from kernel.function_files',
  )
  const digests = new Map(rows.map((row) => [row.name, row.digest]))
  const changed = files.filter((file) => digests.get(file.name) !== file.digest)
  if (changed.length === 0) return
  await inTransaction(client, async () => {
    const texts = changed.map(({ text, name, digest }) => {
      const row = [client.escapeLiteral(name), client.escapeLiteral(digest)].join(', ')
      return `${text}\n;insert into kernel.function_files (name, digest) values (${row})
        on conflict (name) do update set digest = excluded.digest, applied_at = now()`
    })
    await client.query(texts.join('\n;'))
  })
}

async function inTransaction(client: pg.Client, work: () => Promise<void>): Promise<void> {
  await client.query('begin')
  try {
    await client.query("set local lock_timeout = '30s'")
    await work()
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
