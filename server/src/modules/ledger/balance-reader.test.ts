import { afterAll, beforeAll, expect, test } from 'vitest'
import { keyed, openBooks, type Books } from './ledger.fixtures/books.ts'
import { listWallets, placeHold, readWallet, showWallet, sweepExpiries } from './index.ts'

let books: Books
beforeAll(async () => {
  books = await openBooks()
})
afterAll(() => books.close())

const HOUR = 3_600_000
const later = (hours: number): Date => new Date(books.clock.now_ms() + hours * HOUR)
const show = (customer_id: string, unit = 'minute') => showWallet(books, { customer_id, unit })

test('the hot read and the ordinary one say the same, whatever time has done since', async () => {
  await books.give('cus_same', 100n, { source: 'purchase', expires_at: later(2) })
  await books.give('cus_same', 50n, { source: 'promo', expires_at: later(4) })
  await books.give('cus_same', 7n, { starts_at: later(3) })
  await books.give('cus_same', 1n)
  await books.write((tx) =>
    placeHold(tx, books.clock, {
      customer_id: 'cus_same',
      unit: 'minute',
      amount: 60n,
      ttl_seconds: 86_400,
      ...keyed(),
    }),
  )
  const balances: bigint[] = []
  for (let hour = 0; hour < 6; hour++) {
    const shown = await show('cus_same')
    expect(shown, `hour ${hour}`).toEqual(
      await readWallet(books.db, books.clock, {
        customer_id: 'cus_same',
        unit: 'minute',
      }),
    )
    expect(shown.balance).toBe(shown.grants.reduce((sum, grant) => sum + grant.remaining, 0n))
    expect(shown.held).toBe(60n)
    expect(await listWallets(books.db, books.clock, 'cus_same')).toEqual([shown])
    balances.push(shown.balance)
    books.clock.advance(HOUR)
  }
  // Held are 50 promo, 1 manual and 9 paid units: they stay when the rest of the paid ones ends after two
  // hours.
  expect(balances).toEqual([151n, 151n, 60n, 67n, 67n, 67n])
  await sweepExpiries(books)
  expect((await show('cus_same')).balance).toBe(67n)
})

test('many reads at once are answered each for its own wallet', async () => {
  for (let n = 0; n < 30; n++) await books.give(`cus_many_${n}`, BigInt(n + 1))
  const shown = await Promise.all(Array.from({ length: 300 }, (_, n) => show(`cus_many_${n % 30}`)))
  expect(shown.map(({ balance }) => balance)).toEqual(
    Array.from({ length: 300 }, (_, n) => BigInt((n % 30) + 1)),
  )
})

test('a wallet with very many grants shows the first hundred and says that there are more', async () => {
  for (let n = 0; n < 120; n++)
    await books.give('cus_lots', 1n, { priority: 200 - n, source_id: `lots:${n}` })
  const shown = await show('cus_lots')
  expect(shown).toMatchObject({ balance: 120n, has_more_grants: true })
  expect(shown.grants).toHaveLength(100)
  expect(shown.grants[0]?.priority).toBe(81)
  expect(await readWallet(books.db, books.clock, { customer_id: 'cus_lots', unit: 'minute' })).toEqual(shown)
})

test('who never had a unit has an empty wallet of it; an unknown unit is not found', async () => {
  expect(await show('cus_new', 'point')).toEqual({
    unit: 'point',
    scale: 1n,
    balance: 0n,
    held: 0n,
    available: 0n,
    debt: 0n,
    next_expiry: null,
    grants: [],
    has_more_grants: false,
  })
  await expect(show('cus_new', 'parsec')).rejects.toMatchObject({ code: 'not_found' })
  await expect(
    readWallet(books.db, books.clock, { customer_id: 'cus_new', unit: 'parsec' }),
  ).rejects.toMatchObject({ code: 'not_found' })
})

test('a wallet that was not there is seen as soon as it is', async () => {
  expect((await show('cus_soon')).balance).toBe(0n)
  await books.give('cus_soon', 5n)
  expect((await show('cus_soon')).balance).toBe(5n)
})

test('a read survives the loss of its connection', async () => {
  await books.give('cus_lost', 5n)
  await show('cus_lost')
  await books.run(`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'kopilka-balances'`)
  expect((await show('cus_lost')).balance).toBe(5n)
})
