import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, rmSync, statfsSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TestProject } from 'vitest/node'
import { startEmbeddedPostgres } from '../src/kernel/embedded-postgres.ts'
import { lockFile, type FileLock } from '../src/kernel/embedded-postgres-lock.ts'
import { migrate } from '../src/kernel/migrate.ts'
import { databaseUrl, runStatements } from './database-server.ts'

/** What every test file gets: where the server is and which database to clone, or why there is none. */
export interface TestServer {
  /** A database to connect to for creating and dropping others. */
  url: string
  /** Common beginning of the names of this run's databases. */
  prefix: string
  /** The migrated database nobody connects to. */
  template: string
  /** Set when the migrations failed: tests that need no database run all the same. */
  failure?: string
}

declare module 'vitest' {
  export interface ProvidedContext {
    test_server: TestServer
  }
}

/** Data of a run that was killed; younger ones may belong to a run that is just starting. */
const LEFT_OVER_MS = 60_000
const FOLDER = 'kopilka-test-'
/** In memory, where there is that: a clone copies hundreds of files, which takes a disk thrice as long. */
const MEMORY = '/dev/shm'
/** A run takes a third of it at most. Containers often have 64 MB there, which is not enough. */
const MEMORY_MIN = 2n ** 31n

let end: () => Promise<void> = () => Promise.resolve()

/**
 * Called by vitest once per run: a server (an own one, or that of TEST_DATABASE_URL, whose role needs
 * CREATEDB) and on it one migrated database, which each test file clones.
 */
export async function setup(project: TestProject): Promise<void> {
  const given = process.env['TEST_DATABASE_URL']
  const prefix = `kopilka_test_${randomBytes(4).toString('hex')}`
  const template = `${prefix}_template`
  const server = given ? { url: given, end: () => dropDatabases(given, prefix) } : await startTestServer()
  end = server.end
  const failure = await makeTemplate(server.url, template)
  project.provide('test_server', { url: server.url, prefix, template, ...(failure ? { failure } : {}) })
}

/** Called by vitest at the end of the run. */
export async function teardown(): Promise<void> {
  await end()
}

async function startTestServer(): Promise<{ url: string; end: () => Promise<void> }> {
  for (const folder of [MEMORY, tmpdir()]) removeLeftOvers(folder)
  const data_directory = mkdtempSync(path.join(hasRoom(MEMORY) ? MEMORY : tmpdir(), FOLDER))
  // Tests ask whether a commit is seen, never whether it survives a power cut, so little is logged and that
  // plainly; the other settings are those of production. Workers with several pools each need more
  // connections than one Kopilka does.
  const flags = [
    'fsync=off',
    'synchronous_commit=off',
    'full_page_writes=off',
    'max_connections=200',
    'wal_level=minimal',
    'max_wal_senders=0',
    'wal_compression=off',
    'max_wal_size=256MB',
  ]
  const server = await startEmbeddedPostgres({ data_directory, may_create_databases: true, flags })
  return {
    url: server.url,
    end: async () => {
      await server.stop()
      rmSync(data_directory, { recursive: true, force: true })
    },
  }
}

function hasRoom(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder, { bigint: true })
    return bavail * bsize >= MEMORY_MIN && BigInt(process.availableMemory()) >= 2n * MEMORY_MIN
  } catch {
    // Systems other than Linux have no such folder.
    return false
  }
}

/** The migrated template; the reason as text when the migrations fail. */
async function makeTemplate(url: string, template: string): Promise<string | undefined> {
  await runStatements(url, [`create database ${template}`])
  try {
    await migrate(databaseUrl(url, template))
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error)
  }
  // A session in the template, even autovacuum's, would make cloning wait or fail.
  await runStatements(url, [`alter database ${template} with allow_connections false`])
  return undefined
}

async function dropDatabases(url: string, prefix: string): Promise<void> {
  const rows = await runStatements(url, [
    `select datname from pg_database where starts_with(datname, '${prefix}')`,
  ])
  await runStatements(
    url,
    rows.map((row) => `drop database ${String(row['datname'])} with (force)`),
  )
}

function removeLeftOvers(parent: string): void {
  for (const name of existsSync(parent) ? readdirSync(parent) : []) {
    const folder = path.join(parent, name)
    if (!name.startsWith(FOLDER)) continue
    const age_ms = Date.now() - (statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? Date.now())
    if (age_ms > LEFT_OVER_MS) removeUnlessUsed(folder)
  }
}

function removeUnlessUsed(folder: string): void {
  const locks: (FileLock | undefined)[] = []
  try {
    for (const name of ['owner.lock', 'server.lock']) locks.push(lockFile(path.join(folder, name)))
    // Nobody runs a server there when its locks are free.
    if (locks.every((lock) => lock !== undefined)) rmSync(folder, { recursive: true, force: true })
  } catch (error) {
    // Another run removes it at this moment, or it is another user's: tidying is no reason to fail.
    console.warn(`${folder} was left as it is: ${String(error)}`)
  } finally {
    for (const lock of locks) lock?.release()
  }
}
