import { afterAll, beforeAll, expect, test } from 'vitest'
import { keyed, openBooks, type Books } from './ledger.fixtures/books.ts'
import { reverseSpend, sweepExpiries, type NewReversal, type Reversal } from './index.ts'

let books: Books
beforeAll(async () => {
  books = await openBooks()
})
afterAll(() => books.close())

const DAY = 86_400_000
const later = (days: number): Date => new Date(books.clock.now_ms() + days * DAY)
const reverse = (spend_id: string, facts: Partial<NewReversal> = {}): Promise<Reversal> =>
  books.write((tx) => reverseSpend(tx, books.clock, { spend_id, ...keyed(), ...facts }))

test('a reversal gives everything back to the grants it came from', async () => {
  await books.give('cus_all', 10n, { source_id: 'all:1', priority: 1 })
  await books.give('cus_all', 90n, { source_id: 'all:2' })
  const { id } = await books.spend('cus_all', 40n)
  expect(await reverse(id, { reason: 'failed' })).toMatchObject({
    spend_id: id,
    amount: 40n,
    balance: 100n,
    slices: [{ amount: 30n }, { amount: 10n }],
    reason: 'failed',
  })
  expect(await books.left('cus_all')).toEqual({ 'all:1': 10n, 'all:2': 90n })
})

test('parts are given back last taken first, and add up to no more than was spent', async () => {
  await books.give('cus_parts', 10n, { source_id: 'parts:1', priority: 1 })
  await books.give('cus_parts', 90n, { source_id: 'parts:2' })
  const { id } = await books.spend('cus_parts', 40n)
  await reverse(id, { amount: 25n })
  expect(await books.left('cus_parts')).toEqual({ 'parts:1': 0n, 'parts:2': 85n })
  await expect(reverse(id, { amount: 16n })).rejects.toMatchObject({
    code: 'invalid_state',
    facts: { reversible: 15n },
  })
  expect((await reverse(id)).amount).toBe(15n)
  await expect(reverse(id)).rejects.toMatchObject({ code: 'invalid_state', facts: { reversible: 0n } })
  expect(await books.left('cus_parts')).toEqual({ 'parts:1': 10n, 'parts:2': 90n })
})

test('a key reverses once and answers the same again; with another amount it is refused', async () => {
  await books.give('cus_key', 100n)
  const { id } = await books.spend('cus_key', 40n)
  const key = keyed()
  const first = await reverse(id, { amount: 10n, ...key })
  expect(await reverse(id, { amount: 10n, ...key })).toEqual({ ...first, is_replay: true })
  await expect(reverse(id, { amount: 11n, ...key })).rejects.toMatchObject({ code: 'idempotency_key_reused' })
  expect((await books.wallet('cus_key')).balance).toBe(70n)
})

test('50 reversals of a whole spend at once: exactly one gives back', async () => {
  await books.give('cus_crowd', 100n)
  const { id } = await books.spend('cus_crowd', 40n)
  const results = await Promise.allSettled(Array.from({ length: 50 }, () => reverse(id)))
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  expect((await books.wallet('cus_crowd')).balance).toBe(100n)
})

test('what goes to a grant that ended meanwhile ends at once, and both are in the books', async () => {
  await books.give('cus_ended', 100n, { expires_at: later(1) })
  const { id } = await books.spend('cus_ended', 40n)
  books.clock.advance(2 * DAY)
  expect((await reverse(id)).amount).toBe(40n)
  expect((await books.wallet('cus_ended')).balance).toBe(0n)
  const rows = await books.run(
    `select t.kind, t.amount from ledger.transfers t join ledger.wallets w on w.id = t.wallet_id
     where w.customer_id = 'cus_ended' order by t.sequence`,
  )
  expect(rows.slice(2)).toEqual([
    { kind: 'expiry', amount: 60n },
    { kind: 'reversal', amount: 40n },
    { kind: 'expiry', amount: 40n },
  ])
})

test('only a spend can be reversed', async () => {
  const grant_id = await books.give('cus_only', 100n)
  const { id } = await books.spend('cus_only', 40n)
  const back = await reverse(id)
  for (const other of [back.id, grant_id.replace('gr_', 'tr_'), 'nonsense', id.slice(0, -1)]) {
    await expect(reverse(other)).rejects.toMatchObject({ code: 'not_found' })
  }
})

test('what was done here verifies clean', async () => {
  await sweepExpiries(books)
  expect(await books.findings()).toEqual([])
})
