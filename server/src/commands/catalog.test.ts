import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { frozenClock } from '#kernel/clock'
import { testDatabase, type TestDatabase } from '../../test/db.ts'
import { runCatalogCommand } from './catalog.ts'

const SEED = path.resolve(import.meta.dirname, '../../../examples/catalog.screph.yaml')
const clock = frozenClock()
let database: TestDatabase
let folder: string

beforeAll(async () => {
  database = await testDatabase()
  folder = mkdtempSync(path.join(tmpdir(), 'kopilka catalog-'))
})
afterAll(async () => {
  rmSync(folder, { recursive: true })
  await database.close()
})

async function run(...words: string[]): Promise<{ code: number; out: string; error: string }> {
  const said = { out: '', error: '' }
  const code = await runCatalogCommand(database.db, clock, words, {
    out: (text) => (said.out += text),
    error: (text) => (said.error += text),
  })
  return { code, ...said }
}

test('a dry run, an apply and a second apply say what they did', async () => {
  const dry = await run('apply', SEED, '--dry-run')
  expect(dry).toMatchObject({ code: 0, error: '' })
  expect(dry.out).toMatch(
    /\+ unit minute\n[^]*13 to create, [^]*Nothing was changed: this was a dry run\.\n$/,
  )
  expect((await run('apply', SEED)).out).toMatch(
    /13 to create, 0 to change, 0 to deactivate, 0 unchanged\nApplied\.\n$/,
  )
  expect(await run('apply', '--prune', SEED)).toEqual({
    code: 0,
    out: '0 to create, 0 to change, 0 to deactivate, 13 unchanged\nNothing to do.\n',
    error: '',
  })
})

test('an exported file is a file that can be applied', async () => {
  await run('apply', SEED)
  const { code, out } = await run('export')
  expect(code).toBe(0)
  const file = path.join(folder, 'exported.yaml')
  writeFileSync(file, out)
  expect((await run('apply', file, '--prune')).out).toMatch(/13 unchanged\nNothing to do\.\n$/)
})

test('a bad file is refused with its name, line and column', async () => {
  const file = path.join(folder, 'bad.yaml')
  writeFileSync(file, 'products:\n  a: { name: A, grants: [], color: red }\n')
  expect(await run('apply', file)).toEqual({
    code: 1,
    out: '',
    error:
      `${file}: line 2, column 17: Too small: expected array to have >=1 items (/products/a/grants)\n` +
      `${file}: line 2, column 29: is not known here (/products/a/color)\n` +
      'Nothing was changed.\n',
  })
})

test('a file that is missing, a folder or too large is refused', async () => {
  const file = path.join(folder, 'large.yaml')
  writeFileSync(file, '#'.repeat(1_048_577))
  expect((await run('apply', path.join(folder, 'none.yaml'))).error).toContain('there is no such file')
  expect((await run('apply', folder)).error).toContain('there is no such file')
  expect((await run('apply', file)).error).toContain('is larger than 1048576 bytes')
})

test.each([
  [],
  ['aply', SEED],
  ['apply'],
  ['apply', SEED, SEED],
  ['apply', SEED, '--force'],
  ['export', SEED],
  ['export', '--prune'],
])('the misspelt words %j are answered with how to spell them', async (...words) => {
  const { code, out, error } = await run(...words)
  expect({ code, out }).toEqual({ code: 2, out: '' })
  expect(error).toContain('kopilka catalog apply FILE')
})
