import { afterAll, beforeAll, expect, test } from 'vitest'
import { isDatabaseUnavailable } from '#kernel/errors'
import { keyed, openBooks, type Books } from './ledger.fixtures/books.ts'
import {
  getSpend,
  InsufficientFunds,
  placeHold,
  spendMany,
  spendWithin,
  sweepExpiries,
  sweepHolds,
  type NewSpend,
} from './index.ts'

let books: Books
beforeAll(async () => {
  books = await openBooks()
})
afterAll(() => books.close())

const DAY = 86_400_000
const later = (days: number): Date => new Date(books.clock.now_ms() + days * DAY)

test('a spend takes from the grant and answers balance, sequence and slices', async () => {
  const grant_id = await books.give('cus_one', 100n)
  const done = await books.spend('cus_one', 30n)
  expect(done).toMatchObject({
    customer_id: 'cus_one',
    unit: 'minute',
    amount: 30n,
    balance: 70n,
    sequence: 2n,
  })
  expect(done.slices).toEqual([{ grant_id, amount: 30n }])
  expect(done.created_at).toEqual(books.clock.now())
  expect(await getSpend(books.db, done.id)).toEqual(done)
  expect((await books.wallet('cus_one')).balance).toBe(70n)
})

test('the same key and input answer the same, and nothing is taken twice', async () => {
  await books.give('cus_again', 100n)
  const wish = { reason: 'call', reference: 'job 1', metadata: { b: 1, a: 'ü"\\' }, ...keyed() }
  const first = await books.spend('cus_again', 30n, wish)
  books.clock.advance(1000)
  const again = await books.spend('cus_again', 30n, { ...wish, metadata: { a: 'ü"\\', b: 1 } })
  expect(again).toEqual({ ...first, is_replay: true })
  expect((await books.wallet('cus_again')).balance).toBe(70n)
})

test.each([
  ['another amount', { amount: 31n }],
  ['another reason', { reason: 'other' }],
  ['other metadata', { metadata: { a: 2 } }],
  ['no reference', { reference: undefined }],
] satisfies [string, Partial<NewSpend>][])(
  'a key that comes back with %s is refused and takes nothing',
  async (what, change: Partial<NewSpend>) => {
    const customer_id = `cus_reused_${what}`
    await books.give(customer_id, 100n)
    const wish = { reason: 'call', reference: 'x', metadata: { a: 1 }, ...keyed() }
    await books.spend(customer_id, 30n, wish)
    await expect(
      books.spend(customer_id, change.amount ?? 30n, { ...wish, ...change }),
    ).rejects.toMatchObject({
      code: 'idempotency_key_reused',
      status: 422,
    })
    expect((await books.wallet(customer_id)).balance).toBe(70n)
  },
)

test('a key belongs to one actor and one wallet', async () => {
  await books.give('cus_mine', 100n)
  await books.give('cus_yours', 100n)
  const key = keyed()
  await books.spend('cus_mine', 10n, key)
  await books.spend('cus_yours', 20n, key)
  await books.spend('cus_mine', 30n, { ...key, actor_id: 'key_other' })
  expect((await books.wallet('cus_mine')).balance).toBe(60n)
  expect((await books.wallet('cus_yours')).balance).toBe(80n)
})

test('a key of another verb is refused', async () => {
  const key = keyed()
  await books.give('cus_verbs', 100n)
  await books.write((tx) =>
    placeHold(tx, books.clock, {
      customer_id: 'cus_verbs',
      unit: 'minute',
      amount: 30n,
      ttl_seconds: 60,
      ...key,
    }),
  )
  await expect(books.spend('cus_verbs', 30n, key)).rejects.toMatchObject({ code: 'idempotency_key_reused' })
})

test('a short wallet refuses with what it has and what is required, and nothing is kept', async () => {
  await books.give('cus_short', 10n)
  const before = await books.run(`select * from ledger.wallets where customer_id = 'cus_short'`)
  const error: unknown = await books.spend('cus_short', 11n).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(InsufficientFunds)
  expect(error).toMatchObject({ status: 402, facts: { available: 10n, required: 11n } })
  expect(await books.run(`select * from ledger.wallets where customer_id = 'cus_short'`)).toEqual(before)
})

test('a key whose spend was refused is free: it works once there is enough', async () => {
  await books.give('cus_later', 10n)
  const key = keyed()
  await expect(books.spend('cus_later', 11n, key)).rejects.toBeInstanceOf(InsufficientFunds)
  await books.give('cus_later', 10n)
  expect((await books.spend('cus_later', 11n, key)).balance).toBe(9n)
})

test('a refusal after an expiry books nothing, not even the expiry', async () => {
  await books.give('cus_due', 10n, { expires_at: later(1) })
  books.clock.advance(2 * DAY)
  const before = await books.run(`select sequence from ledger.wallets where customer_id = 'cus_due'`)
  await expect(books.spend('cus_due', 1n)).rejects.toMatchObject({ facts: { available: 0n } })
  expect(await books.run(`select sequence from ledger.wallets where customer_id = 'cus_due'`)).toEqual(before)
})

test('who never had the unit is short by all of it; a unit that does not exist is a mistake', async () => {
  await expect(books.spend('cus_nobody', 5n)).rejects.toMatchObject({
    code: 'insufficient_funds',
    facts: { available: 0n, required: 5n },
  })
  await expect(books.spend('cus_nobody', 5n, { unit: 'parsec' })).rejects.toMatchObject({
    code: 'invalid_request',
    facts: { errors: [{ pointer: '/unit' }] },
  })
})

test.each([0n, -1n, 2n ** 53n])('an amount of %s is refused', async (amount) => {
  await books.give(`cus_amount_${amount}`, 100n)
  await expect(books.spend(`cus_amount_${amount}`, amount)).rejects.toMatchObject({ code: 'invalid_request' })
})

test('the largest amount there is can be given and spent', async () => {
  await books.give('cus_largest', 2n ** 53n - 1n)
  await expect(books.give('cus_largest', 1n)).rejects.toMatchObject({ code: 'invalid_request' })
  expect((await books.spend('cus_largest', 2n ** 53n - 1n)).balance).toBe(0n)
})

test('a spend over several grants takes them in the burn order, all or nothing', async () => {
  const terms: [string, bigint, object][] = [
    ['paid-late', 100n, { source: 'purchase', expires_at: later(30) }],
    ['paid-soon', 100n, { source: 'purchase', expires_at: later(10) }],
    ['promo', 5n, { source: 'promo' }],
    ['gift-soon', 7n, { source: 'manual', priority: 50, expires_at: later(10) }],
    ['endless', 50n, { source: 'purchase' }],
  ]
  for (const [source_id, amount, facts] of terms)
    await books.give('cus_many', amount, { ...facts, source_id })
  const names = await books.run(
    `select g.id, g.source_id, g.wallet_id from ledger.grants g join ledger.wallets w on w.id = g.wallet_id
     where w.customer_id = 'cus_many'`,
  )
  const done = await books.spend('cus_many', 130n)
  expect(done.slices.map(({ amount }) => amount)).toEqual([5n, 7n, 100n, 18n])
  expect(await books.left('cus_many')).toEqual({
    promo: 0n,
    'gift-soon': 0n,
    'paid-soon': 0n,
    'paid-late': 82n,
    endless: 50n,
  })
  expect(names).toHaveLength(5)
  await expect(books.spend('cus_many', 133n)).rejects.toBeInstanceOf(InsufficientFunds)
  expect((await books.spend('cus_many', 132n)).balance).toBe(0n)
})

test('200 spends at once on a wallet that covers 100: exactly 100 succeed', async () => {
  await books.give('cus_crowd', 60n)
  await books.give('cus_crowd', 40n)
  const results = await Promise.allSettled(Array.from({ length: 200 }, () => books.spend('cus_crowd', 1n)))
  const done = results.filter((one) => one.status === 'fulfilled')
  const refused = results.filter((one) => one.status === 'rejected')
  expect(done).toHaveLength(100)
  expect(refused.every((one) => one.reason instanceof InsufficientFunds)).toBe(true)
  expect(new Set(done.map((one) => one.value.sequence)).size).toBe(100)
  expect((await books.wallet('cus_crowd')).balance).toBe(0n)
})

test('one key 50 times at once is one spend with 50 equal answers', async () => {
  await books.give('cus_fifty', 100n)
  const key = keyed()
  const results = await Promise.all(Array.from({ length: 50 }, () => books.spend('cus_fifty', 10n, key)))
  expect(new Set(results.map(({ id }) => id)).size).toBe(1)
  expect((await books.wallet('cus_fifty')).balance).toBe(90n)
})

test('one key at once with two amounts is done for one of them and refused for the other', async () => {
  await books.give('cus_two', 100n)
  const key = keyed()
  const results = await Promise.allSettled([
    books.spend('cus_two', 10n, key),
    books.spend('cus_two', 20n, key),
  ])
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  expect((await books.wallet('cus_two')).balance).toBe(90n)
})

test('many spends in one call are each by themselves, answered in their order', async () => {
  await books.give('cus_batch', 10n)
  const wish = (customer_id: string, amount: bigint) => ({ customer_id, unit: 'minute', amount, ...keyed() })
  const results = await spendMany(books, [
    wish('cus_batch', 4n),
    wish('cus_batch', 7n),
    wish('cus_batch', 6n),
    wish('cus_none', 1n),
  ])
  expect(results.map((one) => ('spend' in one ? one.spend.balance : one.error.code))).toEqual([
    6n,
    'insufficient_funds',
    0n,
    'insufficient_funds',
  ])
})

test('a spend inside a transaction is undone with it and shares keys with the lanes', async () => {
  await books.give('cus_within', 100n)
  const wish = { customer_id: 'cus_within', unit: 'minute', amount: 30n, ...keyed() }
  await expect(
    books.write(async (tx) => {
      await spendWithin(tx, books.clock, wish)
      throw new Error('undone')
    }),
  ).rejects.toThrow('undone')
  expect((await books.wallet('cus_within')).balance).toBe(100n)
  const done = await books.write((tx) => spendWithin(tx, books.clock, wish))
  expect(await books.spend('cus_within', 30n, wish)).toEqual({ ...done, is_replay: true })
  expect((await books.wallet('cus_within')).balance).toBe(70n)
})

test('a wallet somebody keeps locked does not stop the others, and its own spend fails for now', async () => {
  await books.give('cus_locked', 100n)
  await books.give('cus_free', 100n)
  await books.spend('cus_free', 1n)
  await books.spend('cus_locked', 1n)
  const client = await books.db.pool.connect()
  await client.query(`begin; select 1 from ledger.wallets where customer_id = 'cus_locked' for update`)
  const key = keyed()
  const stuck = books.spend('cus_locked', 10n, key).catch((error: unknown) => error)
  const free = await books.spend('cus_free', 10n)
  expect(free.balance).toBe(89n)
  const error = await stuck
  expect(error).toMatchObject({ code: 'database_unavailable', status: 503 })
  expect(isDatabaseUnavailable((error as Error).cause)).toBe(true)
  await client.query('rollback')
  client.release()
  expect((await books.spend('cus_locked', 10n, key)).balance).toBe(89n)
})

test('what was done here verifies clean', async () => {
  await sweepHolds(books)
  await sweepExpiries(books)
  expect(await books.findings()).toEqual([])
})
