import { AsyncLocalStorage } from 'node:async_hooks'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { frozenClock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import {
  createCustomer,
  createCustomerResolver,
  type CustomerResolver,
  mergeCustomer,
  updateCustomer,
} from './index.ts'

let database: TestDatabase
let db: Db
let now_ms = 0
const clock = frozenClock()
const opened: CustomerResolver[] = []

beforeAll(async () => {
  database = await testDatabase()
  db = database.db
})
afterAll(async () => {
  for (const resolver of opened) resolver.close()
  await database.close()
})

function open(options: { entries_max?: number } = {}): CustomerResolver {
  const resolver = createCustomerResolver(db, { ...options, now_ms: () => now_ms })
  opened.push(resolver)
  return resolver
}

const create = () => db.transact((tx) => createCustomer(tx, clock, { external_id: newId('req') }))

describe('the resolver', () => {
  test('answers at once what it looked up before, by every name', async () => {
    const resolver = open()
    const { id, external_id } = await create()
    for (const id_text of [id, `external_id:${external_id}`]) {
      expect(resolver.peek(id_text)).toBeUndefined()
      expect(await resolver.resolve(id_text)).toEqual({ id })
      expect(resolver.peek(id_text)).toEqual({ id })
    }
  })

  test('looks again after its time, so that another process’s merge is seen', async () => {
    const resolver = open()
    const [from, into] = [await create(), await create()]
    await resolver.resolve(from.id)
    await db.pool.query('update customers.customers set merged_into = $2 where id = $1', [from.id, into.id])
    expect(resolver.peek(from.id)).toEqual({ id: from.id })
    now_ms += 30_000
    expect(resolver.peek(from.id)).toBeUndefined()
    expect(await resolver.resolve(from.id)).toEqual({ id: into.id })
  })

  test('sees its own process’s merge at once and keeps nothing read before the commit', async () => {
    const resolver = open()
    const [from, into] = [await create(), await create()]
    await resolver.resolve(from.id)
    // Leaves the transaction that is open where it is called, as another request would.
    const outsider = AsyncLocalStorage.snapshot()
    await db.transact(async (tx) => {
      await mergeCustomer(tx, clock, { from_id: from.id, into_id: into.id })
      // The merge is not committed: an outside reader still sees the old state, and must not keep it.
      const outside = await outsider(() => resolver.resolve(from.id))
      expect(outside).toEqual({ id: from.id })
      expect(resolver.peek(from.id)).toBeUndefined()
    })
    expect(await resolver.resolve(from.id)).toEqual({ id: into.id })
  })

  test('sees an identity move from one customer to another', async () => {
    const resolver = open()
    const [one, two] = [await create(), await create()]
    const id_text = `external_id:${one.external_id}`
    await resolver.resolve(id_text)
    const change = (id: string, external_id: string | null) =>
      db.transact((tx) => updateCustomer(tx, clock, { id_text: id, facts: { external_id } }))
    await change(one.id, null)
    await expect(resolver.resolve(id_text)).rejects.toBeInstanceOf(NotFound)
    await change(two.id, one.external_id)
    expect(await resolver.resolve(id_text)).toEqual({ id: two.id })
  })

  test('remembers a changed customer again when its change has settled', async () => {
    const resolver = open()
    const { id } = await create()
    await db.transact((tx) => updateCustomer(tx, clock, { id_text: id, facts: { name: 'x' } }))
    await resolver.resolve(id)
    expect(resolver.peek(id)).toBeUndefined()
    now_ms += 30_000
    await resolver.resolve(id)
    expect(resolver.peek(id)).toEqual({ id })
  })

  test('does not remember strangers: one that appears is found', async () => {
    const resolver = open()
    const external_id = newId('req')
    await expect(resolver.resolve(`external_id:${external_id}`)).rejects.toBeInstanceOf(NotFound)
    await expect(resolver.resolve('nonsense')).rejects.toBeInstanceOf(NotFound)
    const { id } = await db.transact((tx) => createCustomer(tx, clock, { external_id }))
    expect(await resolver.resolve(`external_id:${external_id}`)).toEqual({ id })
  })

  test('keeps a bounded number of names, the oldest going first', async () => {
    const resolver = open({ entries_max: 3 })
    const customers = await Promise.all([create(), create(), create(), create()])
    for (const { id } of customers) await resolver.resolve(id)
    expect(customers.map(({ id }) => resolver.peek(id) !== undefined)).toEqual([false, true, true, true])
  })

  test('asks the database once for many callers at once', async () => {
    const resolver = open()
    const { id } = await create()
    now_ms += 60_000
    const answers = Array.from({ length: 50 }, () => resolver.resolve(id))
    expect(new Set(answers).size).toBe(1)
    expect(await Promise.all(answers)).toEqual(answers.map(() => ({ id })))
  })

  test('hears of nothing after it is closed', async () => {
    const resolver = open()
    const { id } = await create()
    await resolver.resolve(id)
    resolver.close()
    expect(resolver.peek(id)).toBeUndefined()
  })
})
