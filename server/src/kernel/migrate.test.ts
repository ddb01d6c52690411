import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { runStatements } from '../../test/database-server.ts'
import { testDatabase, type TestDatabase } from '../../test/db.ts'
import { migrate, migrationNumbers, MigrationRefused } from './migrate.ts'

let root: string
let folder: string
let modules: string
let database: TestDatabase

beforeAll(async () => {
  root = mkdtempSync(path.join(tmpdir(), 'kopilka-migrate-'))
  database = await testDatabase()
})

afterAll(async () => {
  await database.close()
  rmSync(root, { recursive: true })
})

beforeEach(async () => {
  folder = mkdtempSync(path.join(root, 'migrations-'))
  modules = mkdtempSync(path.join(root, 'modules-'))
  const schemas = await runStatements(database.url, [
    "select nspname from pg_namespace where nspname !~ '^(pg_|information_schema$|public$)'",
  ])
  await runStatements(
    database.url,
    schemas.map((row) => `drop schema ${String(row['nspname'])} cascade`),
  )
  write('0001_first.sql', 'create schema shop; create table shop.things (id int primary key);')
})

function write(name: string, text: string): void {
  writeFileSync(path.join(folder, name), text)
}

function writeFunction(module: string, text: string): void {
  mkdirSync(path.join(modules, module, 'functions'), { recursive: true })
  writeFileSync(path.join(modules, module, 'functions/answer.sql'), text)
}

const run = () => migrate(database.url, { folder, modules })
const applied = async () =>
  (await runStatements(database.url, ['select name from kernel.migrations order by number'])).map(
    (row) => row['name'],
  )

async function refusal(): Promise<MigrationRefused> {
  const error: unknown = await run().catch((caught: unknown) => caught)
  expect(error).toBeInstanceOf(MigrationRefused)
  return error as MigrationRefused
}

describe('migrations', () => {
  test('are applied in the order of their numbers, once', async () => {
    write('0003_third.sql', 'insert into shop.things values (3), (4);')
    write('0002_second.sql', 'alter table shop.things add column name text;')
    expect(await run()).toEqual({ applied: ['0001_first.sql', '0002_second.sql', '0003_third.sql'] })
    expect(await run()).toEqual({ applied: [] })
    write('0004_fourth.sql', 'insert into shop.things values (5);')
    expect(await run()).toEqual({ applied: ['0004_fourth.sql'] })
    expect(await runStatements(database.url, ['select id from shop.things order by id'])).toEqual([
      { id: 3 },
      { id: 4 },
      { id: 5 },
    ])
  })

  test('one that fails leaves nothing of itself, and those before it stay', async () => {
    await run()
    write('0002_second.sql', 'alter table shop.things add column name text;')
    write('0003_broken.sql', 'insert into shop.things values (1); insert into shop.things values (1);')
    await expect(run()).rejects.toThrow('duplicate key')
    expect(await applied()).toEqual(['0001_first.sql', '0002_second.sql'])
    expect(await runStatements(database.url, ['select * from shop.things'])).toEqual([])
    write('0003_broken.sql', 'insert into shop.things values (1);')
    expect(await run()).toEqual({ applied: ['0003_broken.sql'] })
  })

  test('one that fails in a new database leaves nothing at all', async () => {
    write('0002_broken.sql', 'insert into shop.things values (1); insert into shop.things values (1);')
    await expect(run()).rejects.toThrow('duplicate key')
    expect(await applied()).toEqual([])
    expect(await runStatements(database.url, ["select to_regclass('shop.things') as found"])).toEqual([
      { found: null },
    ])
    write('0002_broken.sql', 'insert into shop.things values (1);')
    expect(await run()).toEqual({ applied: ['0001_first.sql', '0002_broken.sql'] })
  })

  test('ten processes at once apply each one once', async () => {
    write('0002_slow.sql', 'select pg_sleep(0.2); insert into shop.things values (1);')
    const outcomes = await Promise.all(Array.from({ length: 10 }, run))
    expect(outcomes.map((outcome) => outcome.applied.length).filter((count) => count > 0)).toEqual([2])
    expect(await applied()).toEqual(['0001_first.sql', '0002_slow.sql'])
  })

  test('an applied file that was edited is refused before anything is done', async () => {
    await run()
    write('0001_first.sql', 'create schema other;')
    write('0002_second.sql', 'insert into shop.things values (1);')
    const error = await refusal()
    expect(error).toMatchObject({ code: 'migration_changed', hint: expect.stringContaining('new migration') })
    expect(await applied()).toEqual(['0001_first.sql'])
  })

  test('a database of a newer version is refused', async () => {
    write('0002_second.sql', 'select 1;')
    await run()
    rmSync(path.join(folder, '0002_second.sql'))
    expect(await refusal()).toMatchObject({
      code: 'schema_is_newer',
      message: expect.stringContaining('0002_second.sql'),
    })
  })

  test('one that was applied and is not here any more is refused', async () => {
    write('0002_second.sql', 'select 1;')
    write('0003_third.sql', 'select 1;')
    await run()
    rmSync(path.join(folder, '0002_second.sql'))
    expect(await refusal()).toMatchObject({ code: 'migration_missing' })
  })

  test('two of one number are a mistake of ours', async () => {
    write('0001_other.sql', 'select 1;')
    await expect(run()).rejects.toThrow('two migrations have the number')
  })

  test('other files in the folder are not touched', async () => {
    write('README.md', 'not sql')
    write('0002_Second.sql', 'nonsense')
    write('2_second.sql', 'nonsense')
    expect(await run()).toEqual({ applied: ['0001_first.sql'] })
  })

  test('a server that is away is an error, not a hang', async () => {
    await expect(migrate('postgres://nobody@127.0.0.1:1/none', { folder, modules })).rejects.toThrow(
      'ECONNREFUSED',
    )
  })
})

describe('function files', () => {
  const body = (value: number) =>
    `create or replace function shop.answer() returns int language sql as 'select ${value}';`
  const answer = async () =>
    (await runStatements(database.url, ['select shop.answer() as answer']))[0]?.['answer']

  test('are applied after the migrations, and again when their text changes', async () => {
    writeFunction('shop', body(1))
    await run()
    expect(await answer()).toBe(1)
    writeFunction('shop', body(2))
    expect(await run()).toEqual({ applied: [] })
    expect(await answer()).toBe(2)
  })

  test('are not applied again when nothing changed', async () => {
    writeFunction('shop', body(1))
    await run()
    const moment = async () =>
      (await runStatements(database.url, ['select applied_at from kernel.function_files']))[0]
    const before = await moment()
    await run()
    expect(await moment()).toEqual(before)
  })

  test('one that fails takes the others with it, and the next run tries again', async () => {
    writeFunction('a', body(1))
    writeFunction('b', 'nonsense')
    await expect(run()).rejects.toThrow('syntax error')
    await expect(answer()).rejects.toThrow('does not exist')
    writeFunction('b', 'select 1')
    await run()
    expect(await answer()).toBe(1)
  })
})

describe('the migrations of this version', () => {
  test('are numbered without gaps', () => {
    const numbers = migrationNumbers()
    expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, index) => index + 1))
  })

  test('apply to an empty database, and then there is nothing left to do', async () => {
    expect((await migrate(database.url)).applied).toHaveLength(migrationNumbers().length)
    expect((await migrate(database.url)).applied).toEqual([])
  })
})
