import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Db, type Tx } from '#kernel/db'
import { frozenClock } from '#kernel/clock'
import { AlreadyExists, InvalidState, NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { createCursors } from '#kernel/page'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import {
  createCustomer,
  type CustomerFacts,
  ensureCustomer,
  eraseCustomer,
  findCustomer,
  getCustomers,
  listCustomers,
  mergeCustomer,
  resolveCustomer,
  updateCustomer,
} from './index.ts'

let database: TestDatabase
let db: Db
const clock = frozenClock()
const cursors = createCursors(Buffer.alloc(32, 1))

beforeAll(async () => {
  database = await testDatabase()
  db = database.db
})
afterAll(() => database.close())

const inTx = <T>(work: (tx: Tx) => Promise<T>): Promise<T> => db.transact(work)
const create = (facts: CustomerFacts = {}) => inTx((tx) => createCustomer(tx, clock, facts))
const update = (id_text: string, facts: CustomerFacts) =>
  inTx((tx) => updateCustomer(tx, clock, { id_text, facts }))
const merge = (from_id: string, into_id: string) =>
  inTx((tx) => mergeCustomer(tx, clock, { from_id, into_id }))
const unique = () => newId('req')
const refusals = (results: readonly PromiseSettledResult<unknown>[]): unknown[] =>
  results.flatMap((result) => (result.status === 'rejected' ? [(result.reason as AlreadyExists).code] : []))
let telegram_ids = 1000n
const telegram = (): bigint => (telegram_ids += 1n)

describe('a new customer', () => {
  test('is found by its id and by both identities', async () => {
    const external_id = unique()
    const telegram_id = telegram()
    const customer = await create({
      external_id,
      telegram_id,
      email: 'Anna@Mail.RU',
      metadata: { plan: 'x', n: 1 },
    })
    expect(customer).toMatchObject({
      email: 'anna@mail.ru',
      metadata: { plan: 'x', n: 1 },
      merged_into: null,
    })
    for (const id_text of [customer.id, `external_id:${external_id}`, `telegram_id:${telegram_id}`]) {
      expect(await resolveCustomer(db, id_text)).toEqual(customer)
    }
  })

  test('may be quite unknown', async () => {
    const { id } = await create()
    expect(await findCustomer(db, id)).toMatchObject({ id, external_id: null, email: null, metadata: {} })
  })

  test('is refused when its external or Telegram id is taken, naming the owner', async () => {
    const owner = await create({ external_id: unique(), telegram_id: telegram() })
    for (const facts of [{ external_id: owner.external_id }, { telegram_id: owner.telegram_id }]) {
      const error = await create(facts).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(AlreadyExists)
      expect((error as AlreadyExists).facts).toMatchObject({ existing_id: owner.id })
    }
  })

  test('made fifty times at once with one external id exists once', async () => {
    const external_id = unique()
    const results = await Promise.allSettled(Array.from({ length: 50 }, () => create({ external_id })))
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1)
    expect(refusals(results)).toEqual(results.slice(1).map(() => 'already_exists'))
  })

  test('may share an e-mail with another', async () => {
    const email = `${unique()}@mail.ru`
    await create({ email })
    await create({ email })
    const page = await listCustomers(db, cursors, { email: email.toUpperCase() }, { limit: 10 })
    expect(page.items).toHaveLength(2)
  })
})

describe('ensuring a customer', () => {
  test('makes it once, and leaves an existing one as it is', async () => {
    const identity = { telegram_id: telegram() }
    const first = await inTx((tx) => ensureCustomer(tx, clock, identity, { name: 'Anna' }))
    const second = await inTx((tx) => ensureCustomer(tx, clock, identity, { name: 'Olga' }))
    expect(first.is_new).toBe(true)
    expect(second).toEqual({ customer: first.customer, is_new: false })
  })

  test('fifty times at once gives everybody the same customer', async () => {
    const identity = { external_id: unique() }
    const all = await Promise.all(
      Array.from({ length: 50 }, () => inTx((tx) => ensureCustomer(tx, clock, identity))),
    )
    expect(new Set(all.map(({ customer }) => customer.id)).size).toBe(1)
    expect(all.filter(({ is_new }) => is_new)).toHaveLength(1)
  })

  test('answers the survivor of a merged identity', async () => {
    const from = await create({ external_id: unique() })
    const into = await create({ external_id: unique() })
    await merge(from.id, into.id)
    const identity = { external_id: from.external_id ?? '' }
    const { customer } = await inTx((tx) => ensureCustomer(tx, clock, identity))
    expect(customer.id).toBe(into.id)
  })
})

describe('looking up', () => {
  test('refuses a name that is nobody’s', async () => {
    for (const id_text of [newId('cus'), 'external_id:nobody', 'telegram_id:1', 'nonsense', "' or true --"]) {
      await expect(resolveCustomer(db, id_text)).rejects.toBeInstanceOf(NotFound)
      expect(await findCustomer(db, id_text)).toBeUndefined()
    }
  })

  test('many ids at once leaves out the unknown ones', async () => {
    const [one, two] = [await create(), await create()]
    const found = await getCustomers(db, [one.id, two.id, newId('cus')])
    expect([...found.keys()].toSorted()).toEqual([one.id, two.id].toSorted())
    expect(await getCustomers(db, [])).toEqual(new Map())
  })
})

describe('changing a customer', () => {
  test('touches only what is given, and null takes a fact away', async () => {
    const before = await create({
      external_id: unique(),
      name: 'Anna',
      phone: '+79991234567',
      metadata: { a: 1 },
    })
    clock.advance(1000)
    const after = await update(before.id, {
      name: null,
      email: 'A@b.RU',
      country: undefined,
      metadata: { b: true },
    })
    expect(after).toEqual({
      ...before,
      name: null,
      email: 'a@b.ru',
      metadata: { b: true },
      updated_at: clock.now(),
    })
    expect(await resolveCustomer(db, before.id)).toEqual(after)
  })

  test('with nothing given changes nothing', async () => {
    const before = await create({ name: 'Anna' })
    clock.advance(1000)
    expect(await update(before.id, {})).toEqual(before)
    expect(await resolveCustomer(db, before.id)).toEqual(before)
  })

  test('to an identity of somebody else is refused, naming the owner, and changes nothing', async () => {
    const owner = await create({ external_id: unique(), telegram_id: telegram() })
    const other = await create({ external_id: unique() })
    for (const facts of [{ external_id: owner.external_id }, { telegram_id: owner.telegram_id }]) {
      const error = await update(other.id, { ...facts, name: 'x' }).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(AlreadyExists)
      expect((error as AlreadyExists).facts).toMatchObject({ existing_id: owner.id })
    }
    expect(await resolveCustomer(db, other.id)).toEqual(other)
  })

  test('to one identity by twenty customers at once gives it to one of them', async () => {
    const customers = await Promise.all(Array.from({ length: 20 }, () => create()))
    const external_id = unique()
    const results = await Promise.allSettled(customers.map(({ id }) => update(id, { external_id })))
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1)
    expect(refusals(results)).toEqual(results.slice(1).map(() => 'already_exists'))
  })

  test('may free an identity for another customer', async () => {
    const one = await create({ external_id: unique() })
    const two = await create()
    await update(one.id, { external_id: null })
    await update(two.id, { external_id: one.external_id })
    expect((await resolveCustomer(db, `external_id:${one.external_id}`)).id).toBe(two.id)
  })
})

describe('merging', () => {
  test('leads every name to the survivor and moves to him what he lacks', async () => {
    const from = await create({ external_id: unique(), telegram_id: telegram(), name: 'Anna', country: 'RU' })
    const into = await create({ external_id: unique(), name: 'Anna P.', metadata: { keep: 1 } })
    const survivor = await merge(from.id, into.id)
    expect(survivor).toMatchObject({
      id: into.id,
      external_id: into.external_id,
      telegram_id: from.telegram_id,
      name: 'Anna P.',
      country: 'RU',
      metadata: { keep: 1 },
    })
    const names = [from.id, into.id, `external_id:${from.external_id}`, `external_id:${into.external_id}`]
    for (const id_text of [...names, `telegram_id:${from.telegram_id}`]) {
      expect(await resolveCustomer(db, id_text)).toEqual(survivor)
    }
  })

  test('of a survivor again keeps every earlier name one step away', async () => {
    const [one, two, three] = [
      await create({ external_id: unique() }),
      await create({ external_id: unique() }),
      await create({ external_id: unique() }),
    ]
    await merge(one.id, two.id)
    await merge(two.id, three.id)
    for (const { id, external_id } of [one, two, three]) {
      expect((await resolveCustomer(db, id)).id).toBe(three.id)
      expect((await resolveCustomer(db, `external_id:${external_id}`)).id).toBe(three.id)
    }
  })

  test('twice is once', async () => {
    const [from, into] = [await create({ telegram_id: telegram() }), await create()]
    const survivor = await merge(from.id, into.id)
    clock.advance(1000)
    expect(await merge(from.id, into.id)).toEqual(survivor)
  })

  test('is refused with itself, with nobody, and for one that was merged elsewhere', async () => {
    const [one, two, three] = [await create(), await create(), await create()]
    await expect(merge(one.id, one.id)).rejects.toBeInstanceOf(InvalidState)
    await expect(merge(one.id, newId('cus'))).rejects.toBeInstanceOf(NotFound)
    await expect(merge(newId('cus'), one.id)).rejects.toBeInstanceOf(NotFound)
    await merge(one.id, two.id)
    await expect(merge(one.id, three.id)).rejects.toBeInstanceOf(InvalidState)
    await expect(merge(three.id, one.id)).rejects.toBeInstanceOf(InvalidState)
  })

  test('two customers into each other at once merges them one way', async () => {
    for (let round = 0; round < 10; round++) {
      const [one, two] = [await create({ external_id: unique() }), await create({ external_id: unique() })]
      const results = await Promise.allSettled([merge(one.id, two.id), merge(two.id, one.id)])
      expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1)
      const found = await Promise.all([resolveCustomer(db, one.id), resolveCustomer(db, two.id)])
      expect(found[0]?.id).toBe(found[1]?.id)
    }
  })

  test('takes the merged customer out of lists, where its identity finds the survivor', async () => {
    const from = await create({ external_id: unique(), name: 'Zinaida' })
    const into = await create({ external_id: unique(), name: 'Zinaida' })
    await merge(from.id, into.id)
    for (const filter of [{ external_id: from.external_id ?? '' }, { query: 'zinaida' }]) {
      const page = await listCustomers(db, cursors, filter, { limit: 10 })
      expect(page.items.map(({ id }) => id)).toEqual([into.id])
    }
  })
})

describe('erasing', () => {
  test('empties every fact of the customer and its aliases, and keeps the id', async () => {
    const from = await create({ external_id: unique(), email: 'old@mail.ru', metadata: { secret: 'x' } })
    const into = await create({
      external_id: unique(),
      telegram_id: telegram(),
      name: 'Пелагея',
      locale: 'ru',
    })
    await merge(from.id, into.id)
    const erased = await inTx((tx) => eraseCustomer(tx, clock, from.id))
    expect(erased).toEqual({
      id: into.id,
      external_id: null,
      telegram_id: null,
      email: null,
      phone: null,
      name: null,
      locale: null,
      country: null,
      metadata: {},
      merged_into: null,
      erased_at: clock.now(),
      created_at: into.created_at,
      updated_at: clock.now(),
    })
    const { rows } = await db.pool.query('select * from customers.customers where id = any($1)', [
      [from.id, into.id],
    ])
    const text = JSON.stringify(rows, (_key, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    )
    expect(text).not.toMatch(/old|@|secret|пелагея|"ru"/i)
    expect((await listCustomers(db, cursors, { query: 'пелагея' }, { limit: 10 })).items).toEqual([])
    await expect(resolveCustomer(db, `external_id:${into.external_id}`)).rejects.toBeInstanceOf(NotFound)
  })

  test('twice is once, and an erased customer can be neither changed nor merged', async () => {
    const { id } = await create({ name: 'x' })
    const erased = await inTx((tx) => eraseCustomer(tx, clock, id))
    clock.advance(1000)
    expect(await inTx((tx) => eraseCustomer(tx, clock, id))).toEqual(erased)
    await expect(update(id, { name: 'y' })).rejects.toBeInstanceOf(InvalidState)
    await expect(merge(id, (await create()).id)).rejects.toBeInstanceOf(InvalidState)
  })
})

describe('the list', () => {
  test('is newest first, in pages that meet without a gap or an overlap', async () => {
    const name = unique()
    const made = []
    for (let index = 0; index < 7; index++) {
      // Two of each moment: the id decides among equals.
      if (index % 2 === 0) clock.advance(1)
      made.push(await create({ name }))
    }
    const seen: string[] = []
    let cursor: string | undefined
    do {
      const page = await listCustomers(db, cursors, { query: name }, { limit: 3, cursor })
      seen.push(...page.items.map(({ id }) => id))
      cursor = page.next_cursor ?? undefined
    } while (cursor !== undefined)
    expect(seen).toEqual(made.map(({ id }) => id).toReversed())
  })

  test('finds by beginnings of words in any order, of name, e-mail, phone, external id and id', async () => {
    const word = unique().slice(4)
    const customer = await create({
      name: `Анна Петрова-${word}`,
      email: `${word}.box@mail.ru`,
      phone: '+79995550011',
      external_id: `crm-${word}-7`,
    })
    const questions = [
      `петрова ${word}`,
      `${word.slice(0, 20)} АНН`,
      `${word}.bo`,
      `+7999555 ${word}`,
      `crm-${word}`,
      customer.id,
    ]
    for (const query of questions) {
      const page = await listCustomers(db, cursors, { query }, { limit: 10 })
      expect({ query, found: page.items.map(({ id }) => id) }).toEqual({ query, found: [customer.id] })
    }
    for (const query of [`x${word}`, `${word} сидорова`, "zz' | 'anna", '—']) {
      const { items } = await listCustomers(db, cursors, { query }, { limit: 10 })
      expect({ query, items }).toEqual({ query, items: [] })
    }
  })

  test('finds a customer by new words and not by old ones after a change', async () => {
    const word = unique()
    const { id } = await create({ name: word })
    await update(id, { name: `new ${word.slice(4)}x` })
    expect(
      (await listCustomers(db, cursors, { query: `${word.slice(4)}x` }, { limit: 10 })).items,
    ).toHaveLength(1)
    expect((await listCustomers(db, cursors, { query: word }, { limit: 10 })).items).toHaveLength(0)
  })

  test('refuses a cursor of another list', async () => {
    const cursor = cursors.seal('orders', ['2026-01-01T00:00:00.000Z', 'x'])
    await expect(listCustomers(db, cursors, {}, { limit: 1, cursor })).rejects.toMatchObject({
      code: 'invalid_request',
    })
  })
})
