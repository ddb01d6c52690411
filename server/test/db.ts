import { randomBytes } from 'node:crypto'
import { inject } from 'vitest'
import { createDb, type Db } from '../src/kernel/db.ts'
import { sqlState } from '../src/kernel/errors.ts'
import { databaseUrl, runStatements } from './database-server.ts'

/** A database of a test file's own, migrated and empty. */
export interface TestDatabase {
  url: string
  db: Db
  /** Closes the pool and drops the database, together with connections a test left open. Repeatable. */
  close: () => Promise<void>
}

/**
 * Clones the migrated template, in about 0.2 s. To be called in `beforeAll` and closed in `afterAll`:
 *
 *     const { db, url, close } = await testDatabase()
 *
 * Throws what the migrations said when they failed in this run.
 */
export async function testDatabase(): Promise<TestDatabase> {
  const server = inject('test_server')
  if (server.failure) throw new Error(`there is no test database, the migrations failed: ${server.failure}`)
  const name = `${server.prefix}_${randomBytes(5).toString('hex')}`
  await runStatements(server.url, [`create database ${name} template ${server.template} strategy file_copy`])
  const url = databaseUrl(server.url, name)
  const db = createDb({ url, max: 10, application_name: 'kopilka-test' })
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    await db.close()
    await drop(server.url, name)
  }
  return { url, db, close: () => (closing ??= close()) }
}

/** The server's own cleaner may be at work in it for a moment, and only a superuser may send that away. */
async function drop(server_url: string, name: string): Promise<void> {
  for (let left = 40; ; left--) {
    try {
      await runStatements(server_url, [`drop database if exists ${name} with (force)`])
      return
    } catch (error) {
      if (left === 0 || sqlState(error) !== '42501') throw error
      await new Promise((resolve) => setTimeout(resolve, 250))
    }
  }
}
