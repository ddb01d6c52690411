import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runStatements } from '../server/test/database-server.ts'
import { testDatabase, type TestDatabase } from '../server/test/db.ts'
import { generateSchema } from './gen/schema.ts'
import { generateTypes } from './gen/types.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await testDatabase()
  await runStatements(database.url, [
    'create schema zoo',
    'create schema jobs',
    'create table jobs.job (id int)',
    'create domain zoo.positive as bigint check (value > 0)',
    `create table zoo.animals (
      id bigint generated always as identity primary key, 
      legs int not null default 4 check (legs between 0 and 1000),
      kind text not null check (kind in ('cat', 'dog')), mood text check (mood in ('good') or mood is null),
      weight zoo.positive not null, born_on date, seen_at timestamptz not null, facts jsonb, photo bytea,
      tags text[] not null default '{}', sums bigint[] not null, share numeric,
      double_legs int generated always as (legs * 2) stored not null) with (fillfactor = 80)`,
    'create unique index animals_kind on zoo.animals (kind) where legs > 2',
    "create function zoo.refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$",
    'create trigger animals_kept before delete on zoo.animals for each row execute function zoo.refuse()',
    'create view zoo.cats as select id, kind from zoo.animals where kind = $$cat$$',
    'create table zoo.visits (day date not null, n int) partition by range (day)',
    "create table zoo.visits_2026 partition of zoo.visits for values from ('2026-01-01') to ('2027-01-01')",
    "comment on table zoo.animals is 'Who lives here.'",
  ])
})

afterAll(async () => {
  await database.close()
})

describe('generated types', () => {
  test('say what the driver gives and what the database takes', async () => {
    const text = await generateTypes(database.url)
    const animals = /export interface ZooAnimals \{([^}]*)\}/.exec(text)?.[1] ?? ''
    const columns = Object.fromEntries(
      [...animals.matchAll(/(\w+): (.*);/g)].map(([, name, type]) => [name, type]),
    )
    expect(columns).toEqual({
      id: 'ColumnType<bigint, never, never>',
      legs: 'Generated<number>',
      kind: '"cat" | "dog"',
      mood: 'string | null',
      weight: 'bigint',
      born_on: 'string | null',
      seen_at: 'Date',
      facts: 'Json | null',
      photo: 'Buffer | null',
      tags: 'Generated<string[]>',
      sums: 'ArrayType<bigint>',
      share: 'string | null',
      double_legs: 'ColumnType<number, never, never>',
    })
    expect(text).toContain('"zoo.animals": ZooAnimals;')
    expect(text).not.toContain('visits_2026')
    expect(text).not.toContain('jobs.')
  })

  test('are the same every time', async () => {
    expect(await generateTypes(database.url)).toBe(await generateTypes(database.url))
  })
})

describe('the generated schema', () => {
  test('holds columns, constraints, indexes, triggers, functions, views and comments', async () => {
    const text = await generateSchema(database.url)
    for (const part of [
      '-- Who lives here.\ncreate table zoo.animals (\n  id bigint not null generated always as identity,',
      'legs integer not null default 4',
      'double_legs integer not null generated always as ((legs * 2)) stored',
      "constraint animals_kind_check CHECK ((kind = ANY (ARRAY['cat'::text, 'dog'::text])))",
      ') with (fillfactor=80);',
      'CREATE UNIQUE INDEX animals_kind ON zoo.animals USING btree (kind) WHERE (legs > 2);',
      'CREATE TRIGGER animals_kept BEFORE DELETE ON zoo.animals',
      'CREATE OR REPLACE FUNCTION zoo.refuse()',
      'create view zoo.cats as',
      'partition by RANGE (day);',
      'create domain zoo.positive as bigint',
    ]) {
      expect(text).toContain(part)
    }
    expect(text).not.toContain('create schema jobs')
    expect(text).not.toContain('visits_2026')
  })

  test('changes with the schema, and not with the order things were made in', async () => {
    const before = await generateSchema(database.url)
    expect(await generateSchema(database.url)).toBe(before)
    await runStatements(database.url, ['alter table zoo.animals alter column mood set not null'])
    const after = await generateSchema(database.url)
    expect(after).not.toBe(before)
    expect(after).toContain('mood text not null')
  })
})

describe('the command', () => {
  test('refuses what it does not know', () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      [path.resolve(import.meta.dirname, 'gen.ts'), 'nonsense'],
      { encoding: 'utf8' },
    )
    expect(status).toBe(2)
    expect(stderr).toContain('known: types, schema')
  })
})
