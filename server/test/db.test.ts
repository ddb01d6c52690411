import { afterAll, expect, test } from 'vitest'
import { migrationNumbers } from '../src/kernel/migrate.ts'
import { runStatements } from './database-server.ts'
import { testDatabase, type TestDatabase } from './db.ts'

const opened: TestDatabase[] = []

async function open(): Promise<TestDatabase> {
  const database = await testDatabase()
  opened.push(database)
  return database
}

afterAll(() => Promise.all(opened.map((database) => database.close())))

test('a test database has every migration of this version', async () => {
  const { db } = await open()
  const { rows } = await db.pool.query<{ number: number }>(
    'select number from kernel.migrations order by number',
  )
  expect(rows.map((row) => row.number)).toEqual(migrationNumbers())
})

test('the role of a test database is an ordinary one, so that revoked rights are really gone', async () => {
  const { db } = await open()
  const { rows } = await db.pool.query('select rolsuper from pg_roles where rolname = current_user')
  expect(rows).toEqual([{ rolsuper: false }])
})

test('two test databases made at once do not see each other', async () => {
  const [one, two] = await Promise.all([open(), open()])
  await one.db.pool.query('create table only_here (n int)')
  const { rows } = await two.db.pool.query("select to_regclass('only_here') as found")
  expect(rows).toEqual([{ found: null }])
})

test('a closed test database is gone, even when a connection was left open', async () => {
  const { url, close } = await open()
  const kept = await testDatabase()
  opened.push(kept)
  const left_open = runStatements(url, ['select pg_sleep(60)']).catch(
    (error: { code?: string }) => error.code,
  )
  const name = new URL(url).pathname.slice(1)
  const sessions = (): Promise<unknown[]> =>
    runStatements(kept.url, [`select from pg_stat_activity where datname = '${name}'`])
  while ((await sessions()).length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
  await close()
  await close()
  expect(await left_open).toBe('57P01')
  expect(await runStatements(kept.url, [`select from pg_database where datname = '${name}'`])).toEqual([])
})
