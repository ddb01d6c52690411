import { MODULES } from '../../server/test/module-order.ts'
import { checkName, type Draft, DraftRefused, readText } from './draft.ts'
import { nextMigration } from './migration.ts'

const ORDER = 'server/test/module-order.ts'

/**
 * A module of one noun: table, statement, verb, door, README and test, and a place before `admin`.
 * Throws DraftRefused for a name that is taken or cannot name a PostgreSQL schema.
 */
export function newModule(root: string, name: string, noun: string = name.replace(/s$/, '')): Draft {
  checkName(name, /^[a-z][a-z0-9]{2,30}$/, 'one lower case word of 3 to 31 letters; it also names the schema')
  checkName(
    noun,
    /^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$/,
    'the noun in the singular, lower case, words joined by _',
  )
  if (MODULES.includes(name) || name === 'kernel' || name === 'jobs')
    throw new DraftRefused(`${name} is there already`)
  const folder = `server/src/modules/${name}`
  const words: Words = {
    name,
    noun,
    nouns: `${noun}s`,
    file: `${noun.replaceAll('_', '-')}s`,
    type: pascal(noun),
  }
  return {
    files: {
      [`${folder}/README.md`]: readme(words),
      [`${folder}/index.ts`]: door(words),
      [`${folder}/${words.file}.ts`]: verbs(words),
      [`${folder}/queries.ts`]: queries(words),
      [`${folder}/${words.file}.test.ts`]: test(words),
      [nextMigration(root, name)]: migration(words),
    },
    edits: { [ORDER]: insertModule(readText(root, ORDER), name) },
    next: [
      `move ${name} to its place in ${ORDER}: below everything that will import it`,
      'write the table, then npm run gen; give its ids a prefix in server/src/kernel/ids.ts',
      `add the words of ${folder}/README.md to docs/glossary.md`,
      'register its routes in server/src/app.ts and its reactions in server/src/reactions.ts',
    ],
  }
}

interface Words {
  name: string
  noun: string
  nouns: string
  file: string
  type: string
}

function pascal(noun: string): string {
  return noun
    .split('_')
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('')
}

/** Puts the name before `admin`, which looks at everything and stays last. */
export function insertModule(text: string, name: string): string {
  const line = /^( *)'admin',$/m
  if (!line.test(text)) throw new DraftRefused(`${ORDER} does not end with admin as it should`)
  return text.replace(line, `$1'${name}',\n$&`)
}

function readme({ name, noun, nouns }: Words): string {
  return `# ${name.charAt(0).toUpperCase()}${name.slice(1)}

## Meaning

What a ${noun.replaceAll('_', ' ')} is to the people who use it, in a few sentences.

## Owns

The schema \`${name}\`: \`${nouns}\`.

## Does not own

What looks as if it belonged here, and where it is.

## Invariants

What is always true, and what keeps it so.

## Words

The words of docs/glossary.md that this module gives their meaning.

## Not promised

What a caller might expect and does not get.
`
}

function door({ type, file }: Words): string {
  return `export { get${type} } from './${file}.ts'\nexport type { ${type} } from './${file}.ts'\n`
}

function verbs({ noun, type }: Words): string {
  const plain = noun.replaceAll('_', ' ')
  return `import type { Sql } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import * as queries from './queries.ts'

export type { ${type} } from './queries.ts'

/** One ${plain} by its id. Throws {@link NotFound}. */
export async function get${type}(sql: Sql, id: string): Promise<queries.${type}> {
  const found = await queries.find${type}(sql, id)
  if (!found) throw new NotFound(\`There is no ${plain} \${id}.\`)
  return found
}
`
}

function queries({ name, noun, nouns, type }: Words): string {
  return `import type { Selectable } from 'kysely'
import type { Database, Sql } from '#kernel/db'

/** A ${noun.replaceAll('_', ' ')} as it is kept. */
export type ${type} = Selectable<Database['${name}.${nouns}']>

export function find${type}(sql: Sql, id: string): Promise<${type} | undefined> {
  return sql.selectFrom('${name}.${nouns}').selectAll().where('id', '=', id).executeTakeFirst()
}
`
}

function test({ noun, nouns, file, type }: Words): string {
  return `import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { NotFound } from '#kernel/errors'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import { get${type} } from './${file}.ts'

describe('${nouns.replaceAll('_', ' ')}', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await testDatabase()
  })
  afterAll(() => database.close())

  test('a ${noun.replaceAll('_', ' ')} nobody made is not found', async () => {
    await expect(get${type}(database.db, 'none')).rejects.toThrow(NotFound)
  })
})
`
}

function migration({ name, noun, nouns }: Words): string {
  return `-- What a ${noun.replaceAll('_', ' ')} is, in one sentence.
create schema ${name};

create table ${name}.${nouns} (
  id text primary key,
  created_at timestamptz not null
);
`
}
