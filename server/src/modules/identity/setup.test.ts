import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { frozenClock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import { createApiKey, programAsMaker, revokeApiKey } from './api-keys.ts'
import { createAuthenticator } from './authenticator.ts'
import { SetupTokenInvalid } from './errors.ts'
import { createSetupToken, isSetUp, isSetupTokenValid, redeemSetupToken } from './setup.ts'

let database: TestDatabase
let db: Db
const clock = frozenClock()

beforeAll(async () => {
  database = await testDatabase()
  db = database.db
})
beforeEach(async () => {
  await db.pool.query('truncate identity.api_keys, identity.setup_tokens')
})
afterAll(() => database.close())

const newToken = () => db.transact((tx) => createSetupToken(tx, clock))
const redeem = (token: string) => db.transact((tx) => redeemSetupToken(tx, clock, { token, mode: 'sandbox' }))
const count = async (): Promise<bigint> =>
  (await db.pool.query<{ count: bigint }>('select count(*) from identity.api_keys')).rows[0]?.count ?? 0n

test('a link gives the first admin key, which works', async () => {
  const { token, expires_at } = await newToken()
  expect(expires_at).toEqual(new Date(clock.now_ms() + 86_400_000))
  expect(await isSetUp(db, clock, 'sandbox')).toBe(false)
  const key = await redeem(token)
  expect(key).toMatchObject({ scopes: ['*'], mode: 'sandbox', created_by: 'setup' })
  const authenticator = createAuthenticator(db, { clock, mode: 'sandbox' })
  expect(
    await authenticator.authenticate({ headers: { authorization: `Bearer ${key.secret}` } }),
  ).toMatchObject({ id: key.id })
  await authenticator.stop()
  expect(await isSetUp(db, clock, 'sandbox')).toBe(true)
  expect(await isSetUp(db, clock, 'live')).toBe(false)
})

test('a link works once, of fifty at once for one', async () => {
  const { token } = await newToken()
  const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => redeem(token)))
  expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1)
  const reasons = outcomes
    .filter((outcome) => outcome.status === 'rejected')
    .map((outcome) => outcome.reason as unknown)
  expect(reasons.every((reason) => reason instanceof SetupTokenInvalid)).toBe(true)
  expect(await count()).toBe(1n)
  await expect(redeem(token)).rejects.toBeInstanceOf(SetupTokenInvalid)
})

test('a link ends after a day, with the next link, and never began when it was made up', async () => {
  const first = await newToken()
  const second = await newToken()
  await expect(redeem(first.token)).rejects.toBeInstanceOf(SetupTokenInvalid)
  clock.advance(86_400_000 - 1)
  expect(await isSetupTokenValid(db, clock, second.token)).toBe(true)
  clock.advance(1)
  expect(await isSetupTokenValid(db, clock, second.token)).toBe(false)
  for (const token of [second.token, 'setup_made_up', '', second.token.toLowerCase()]) {
    await expect(redeem(token)).rejects.toBeInstanceOf(SetupTokenInvalid)
  }
  expect(await count()).toBe(0n)
})

test('looking at a link does not use it up', async () => {
  const { token } = await newToken()
  for (let i = 0; i < 5; i++) expect(await isSetupTokenValid(db, clock, token)).toBe(true)
  expect(await redeem(token)).toMatchObject({ created_by: 'setup' })
})

test('the token is not kept, only its digest', async () => {
  const { token } = await newToken()
  const { rows } = await db.pool.query(`select to_jsonb(t)::text as text from identity.setup_tokens as t`)
  expect(JSON.stringify(rows)).not.toContain(token.slice(6))
})

test('whoever has no admin key any more is not set up', async () => {
  const make = (scopes: string[], expires_at: Date | null = null) =>
    db.transact((tx) =>
      createApiKey(tx, clock, {
        mode: 'sandbox',
        maker: programAsMaker('command'),
        key: { name: 'k', scopes, expires_at },
      }),
    )
  await make(['wallets:read'])
  expect(await isSetUp(db, clock, 'sandbox')).toBe(false)
  await make(['*'], new Date(clock.now_ms()))
  expect(await isSetUp(db, clock, 'sandbox')).toBe(false)
  const admin = await make(['admin'])
  expect(await isSetUp(db, clock, 'sandbox')).toBe(true)
  await db.transact((tx) => revokeApiKey(tx, clock, admin.id))
  expect(await isSetUp(db, clock, 'sandbox')).toBe(false)
})
