import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { frozenClock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import { InvalidRequest, MissingScope, NotFound } from '#kernel/errors'
import { createCursors } from '#kernel/page'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import {
  createApiKey,
  getApiKey,
  type KeyMaker,
  listApiKeys,
  type NewApiKey,
  programAsMaker,
  revokeApiKey,
} from './api-keys.ts'

let database: TestDatabase
let db: Db
const clock = frozenClock()
const cursors = createCursors(Buffer.alloc(32, 1))

beforeAll(async () => {
  database = await testDatabase()
  db = database.db
})
afterAll(() => database.close())

const make = (key: Partial<NewApiKey> = {}, maker: KeyMaker = programAsMaker('command')) =>
  db.transact((tx) =>
    createApiKey(tx, clock, { mode: 'sandbox', maker, key: { name: 'k', scopes: ['*'], ...key } }),
  )

describe('making a key', () => {
  test('the database keeps a digest and a hint, never the secret', async () => {
    const { secret, ...key } = await make({
      name: 'Shop',
      scopes: ['wallets:read'],
      rate_limit_per_minute: 60,
    })
    expect(key).toMatchObject({
      name: 'Shop',
      scopes: ['wallets:read'],
      rate_limit_per_minute: 60,
      created_by: 'command',
      revoked_at: null,
      last_used_at: null,
    })
    const { rows } = await db.pool.query(
      'select to_jsonb(key) as text from identity.api_keys as key where id = $1',
      [key.id],
    )
    expect(JSON.stringify(rows)).not.toContain(secret.slice(12, -4))
    expect(await getApiKey(db, key.id)).toEqual(key)
    expect(Object.keys(key)).not.toContain('secret_digest')
  })

  test('a scope given twice is held once', async () => {
    expect((await make({ scopes: ['wallets:read', 'wallets:read'] })).scopes).toEqual(['wallets:read'])
  })

  test('nobody gives what he does not hold', async () => {
    const maker = { id: 'key_maker', scopes: new Set(['admin', 'wallets:read']) }
    expect(await make({ scopes: ['wallets:read', 'admin'] }, maker)).toMatchObject({
      created_by: 'key_maker',
    })
    for (const scopes of [['*'], ['spends:write'], ['wallets:read', 'spends:write']]) {
      await expect(make({ scopes }, maker)).rejects.toBeInstanceOf(MissingScope)
    }
    expect(await make({ scopes: ['*'] }, { id: 'key_root', scopes: new Set(['*']) })).toMatchObject({
      scopes: ['*'],
    })
  })

  test('the database refuses what no code should write', async () => {
    const { id } = await make()
    for (const change of [
      `scopes = '{}'`,
      'rate_limit_per_minute = 0',
      `mode = 'both'`,
      `secret_digest = '\\x00'`,
    ]) {
      await expect(
        db.pool.query(`update identity.api_keys set ${change} where id = '${id}'`),
      ).rejects.toMatchObject({ code: '23514' })
    }
  })
})

describe('revoking a key', () => {
  test('a repeat changes nothing, and fifty at once agree', async () => {
    const { id } = await make()
    const first = await db.transact((tx) => revokeApiKey(tx, clock, id))
    clock.advance(1_000)
    const again = await Promise.all(
      Array.from({ length: 50 }, () => db.transact((tx) => revokeApiKey(tx, clock, id))),
    )
    expect(first.revoked_at).toEqual(new Date(clock.now_ms() - 1_000))
    for (const key of again) expect(key).toEqual(first)
  })

  test('an unknown key is not found', async () => {
    await expect(db.transact((tx) => revokeApiKey(tx, clock, 'key_nothing'))).rejects.toBeInstanceOf(NotFound)
    await expect(getApiKey(db, 'key_nothing')).rejects.toBeInstanceOf(NotFound)
  })
})

describe('the list', () => {
  test('shows every key once, newest first, page by page', async () => {
    for (let i = 0; i < 5; i++) await make({ name: `listed ${i}` })
    const seen: string[] = []
    let cursor: string | undefined
    do {
      const page = await listApiKeys(db, cursors, { limit: 2, cursor })
      expect(page.items.length).toBeLessThanOrEqual(2)
      seen.push(...page.items.map((key) => key.id))
      cursor = page.next_cursor ?? undefined
    } while (cursor !== undefined)
    const { rows } = await db.pool.query<{ id: string }>('select id from identity.api_keys order by id desc')
    expect(seen).toEqual(rows.map((row) => row.id))
    expect((await listApiKeys(db, cursors, { limit: 5 })).items.map((key) => key.name)).toEqual([
      'listed 4',
      'listed 3',
      'listed 2',
      'listed 1',
      'listed 0',
    ])
  })

  test('takes no cursor of another list and none made up', async () => {
    for (const cursor of [cursors.seal('payments', ['x']), 'made.up', '']) {
      await expect(listApiKeys(db, cursors, { limit: 2, cursor })).rejects.toBeInstanceOf(InvalidRequest)
    }
  })
})
