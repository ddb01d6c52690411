import { afterAll, beforeAll, expect, test } from 'vitest'
import { keyed, openBooks, type Books } from './ledger.fixtures/books.ts'
import {
  getGrant,
  mergeWallets,
  placeHold,
  reinstateGrant,
  releaseHold,
  reverseSpend,
  revokeGrant,
  sweepExpiries,
  takeBack,
  type NewReinstatement,
  type NewRevocation,
  type Revoked,
} from './index.ts'

let books: Books
beforeAll(async () => {
  books = await openBooks()
})
afterAll(() => books.close())

const DAY = 86_400_000
const later = (days: number): Date => new Date(books.clock.now_ms() + days * DAY)
const take = (grant_id: string, facts: Partial<NewRevocation> = {}): Promise<Revoked> =>
  books.write((tx) => takeBack(tx, books.clock, { grant_id, reason: 'refund', ...keyed(), ...facts }))
const reinstate = (grant_id: string, facts: Partial<NewReinstatement> = {}): Promise<bigint> =>
  books.write((tx) => reinstateGrant(tx, books.clock, { grant_id, reason: 'won', ...keyed(), ...facts }))
const buy = (customer_id: string, amount: bigint, source_id: string, facts: object = {}): Promise<string> =>
  books.give(customer_id, amount, {
    source: 'purchase',
    source_id,
    price_amount: 500n,
    price_currency: 'RUB',
    ...facts,
  })

test('a refund takes what is left of exactly that grant', async () => {
  const kept = await buy('cus_plain', 100n, 'plain:1')
  const gone = await buy('cus_plain', 100n, 'plain:2')
  await books.spend('cus_plain', 130n)
  expect(
    await books.write((tx) => revokeGrant(tx, books.clock, { grant_id: gone, reason: 'refund', ...keyed() })),
  ).toBe(70n)
  expect(await books.left('cus_plain')).toEqual({ 'plain:1': 0n, 'plain:2': 0n })
  expect(await getGrant(books.db, gone)).toMatchObject({ granted: 100n, remaining: 0n, revoked: 70n })
  expect(await getGrant(books.db, kept)).toMatchObject({ revoked: 0n })
})

test('partial refunds add up to what was granted, however often they are asked', async () => {
  const id = await buy('cus_parts', 100n, 'parts:1')
  expect(await take(id, { amount: 30n })).toMatchObject({ taken: 30n, written_off: 0n })
  expect(await take(id, { amount: 60n })).toMatchObject({ taken: 60n })
  expect(await take(id, { amount: 60n })).toMatchObject({ taken: 10n, written_off: 0n })
  expect(await take(id)).toMatchObject({ taken: 0n, written_off: 0n })
  expect((await books.wallet('cus_parts')).balance).toBe(0n)
})

test('a refund is booked once for its key, 20 times at once too; another amount is refused', async () => {
  const id = await buy('cus_key', 100n, 'key:1')
  const key = keyed()
  const all = await Promise.all(Array.from({ length: 20 }, () => take(id, { amount: 30n, ...key })))
  expect(new Set(all.map(({ taken }) => taken))).toEqual(new Set([30n]))
  expect((await books.wallet('cus_key')).balance).toBe(70n)
  await expect(take(id, { amount: 31n, ...key })).rejects.toMatchObject({ code: 'idempotency_key_reused' })
})

test('the bonus of a purchase goes first and whole, in its own unit too', async () => {
  const parent = { source: 'purchase', source_id: 'family:1' } as const
  const id = await buy('cus_family', 100n, 'family:1')
  await books.give('cus_family', 20n, { source: 'bonus', source_id: 'family:2', parent })
  await books.give('cus_family', 5n, { source: 'bonus', source_id: 'family:3', unit: 'point', parent })
  expect(await take(id, { amount: 10n })).toMatchObject({ taken: 10n })
  expect(await books.left('cus_family')).toEqual({ 'family:1': 90n, 'family:2': 0n })
  expect(await books.left('cus_family', 'point')).toEqual({ 'family:3': 0n })
  await reinstate(id)
  expect(await books.left('cus_family')).toEqual({ 'family:1': 100n, 'family:2': 20n })
  expect(await books.left('cus_family', 'point')).toEqual({ 'family:3': 5n })
})

test('what was used already is written off, and what comes back of it is taken then', async () => {
  const id = await buy('cus_off', 100n, 'off:1')
  await books.give('cus_off', 50n, { source_id: 'off:2', priority: 90 })
  const spent = await books.spend('cus_off', 40n)
  expect(await take(id)).toEqual({ taken: 60n, taken_from_others: 0n, debt: 0n, written_off: 40n })
  await books.write((tx) => reverseSpend(tx, books.clock, { spend_id: spent.id, amount: 15n, ...keyed() }))
  expect((await books.wallet('cus_off')).balance).toBe(50n)
  expect(await getGrant(books.db, id)).toMatchObject({ remaining: 0n, revoked: 75n })
  expect(await reinstate(id)).toBe(75n)
  await books.write((tx) => reverseSpend(tx, books.clock, { spend_id: spent.id, ...keyed() }))
  expect((await books.wallet('cus_off')).balance).toBe(150n)
})

test('what is held stays with its hold; what the hold gives back is taken then', async () => {
  const id = await buy('cus_held', 100n, 'held:1')
  const held = await books.write((tx) =>
    placeHold(tx, books.clock, {
      customer_id: 'cus_held',
      unit: 'minute',
      amount: 30n,
      ttl_seconds: 60,
      ...keyed(),
    }),
  )
  expect(await take(id)).toMatchObject({ taken: 70n, written_off: 30n })
  expect(await books.wallet('cus_held')).toMatchObject({ balance: 30n, held: 30n })
  await books.write((tx) => releaseHold(tx, books.clock, { hold_id: held.id, ...keyed() }))
  expect(await books.wallet('cus_held')).toMatchObject({ balance: 0n, held: 0n })
  expect(await getGrant(books.db, id)).toMatchObject({ revoked: 100n })
})

test('other grants cover the shortfall when the policy says so, as far as they reach', async () => {
  const id = await buy('cus_others', 100n, 'others:1')
  await books.spend('cus_others', 90n)
  await books.give('cus_others', 30n, { source_id: 'others:2' })
  await books.give('cus_others', 20n, { source_id: 'others:3' })
  expect(await take(id, { shortfall: 'other_grants' })).toEqual({
    taken: 10n,
    taken_from_others: 50n,
    debt: 0n,
    written_off: 40n,
  })
  expect((await books.wallet('cus_others')).balance).toBe(0n)
  await reinstate(id)
  expect(await books.left('cus_others')).toEqual({ 'others:1': 10n, 'others:2': 30n, 'others:3': 20n })
})

test('debt is only for units that may be owed', async () => {
  const id = await buy('cus_nodebt', 100n, 'nodebt:1')
  await books.spend('cus_nodebt', 90n)
  await expect(take(id, { shortfall: 'debt' })).rejects.toMatchObject({ code: 'invalid_state' })
  expect((await books.wallet('cus_nodebt')).balance).toBe(10n)
})

test('a debt is repaid first by whatever comes in, and the rest is available', async () => {
  const id = await buy('cus_debt', 100n, 'debt:1', { unit: 'credit' })
  await books.spend('cus_debt', 90n, { unit: 'credit' })
  expect(await take(id, { shortfall: 'debt' })).toMatchObject({ taken: 10n, debt: 90n })
  expect(await books.wallet('cus_debt', 'credit')).toMatchObject({ balance: 0n, debt: 90n })
  await books.give('cus_debt', 60n, { unit: 'credit', source_id: 'debt:2' })
  expect(await books.wallet('cus_debt', 'credit')).toMatchObject({ balance: 0n, debt: 30n })
  await books.give('cus_debt', 60n, { unit: 'credit', source_id: 'debt:3', starts_at: later(1) })
  expect(await books.wallet('cus_debt', 'credit')).toMatchObject({ balance: 0n, debt: 30n })
  books.clock.advance(DAY)
  expect(await books.wallet('cus_debt', 'credit')).toMatchObject({ balance: 30n })
  await expect(books.spend('cus_debt', 31n, { unit: 'credit' })).rejects.toMatchObject({
    facts: { available: 30n },
  })
  expect((await books.spend('cus_debt', 30n, { unit: 'credit' })).balance).toBe(0n)
  expect(await books.wallet('cus_debt', 'credit')).toMatchObject({ balance: 0n, debt: 0n })
})

test('a dispute that is won cancels what is owed and gives back what was repaid of it', async () => {
  const id = await buy('cus_won', 100n, 'won:1', { unit: 'credit' })
  await books.spend('cus_won', 90n, { unit: 'credit' })
  await take(id, { shortfall: 'debt', reference: 'dis_1' })
  await books.give('cus_won', 60n, { unit: 'credit', source_id: 'won:2' })
  expect(await reinstate(id, { reference: 'dis_other' })).toBe(0n)
  expect(await reinstate(id, { reference: 'dis_1' })).toBe(100n)
  expect(await books.wallet('cus_won', 'credit')).toMatchObject({ balance: 70n, debt: 0n })
})

test('an undoing is done once, by its key and by its state', async () => {
  const id = await buy('cus_undo', 100n, 'undo:1')
  await take(id, { amount: 60n, reference: 're_1' })
  const key = keyed()
  expect(await reinstate(id, { amount: 60n, reference: 're_1', ...key })).toBe(60n)
  expect(await reinstate(id, { amount: 60n, reference: 're_1', ...key })).toBe(60n)
  expect(await reinstate(id, { reference: 're_1' })).toBe(0n)
  expect((await books.wallet('cus_undo')).balance).toBe(100n)
  expect(await take(id)).toMatchObject({ taken: 100n })
})

test('a part can be undone, and the rest later', async () => {
  const id = await buy('cus_some', 100n, 'some:1')
  await take(id, { amount: 80n })
  expect(await reinstate(id, { amount: 30n })).toBe(30n)
  expect((await books.wallet('cus_some')).balance).toBe(50n)
  expect(await reinstate(id)).toBe(50n)
  expect((await books.wallet('cus_some')).balance).toBe(100n)
})

test('what comes back to a grant that ended meanwhile ends at once', async () => {
  const id = await buy('cus_ended', 100n, 'ended:1', { expires_at: later(1) })
  await take(id)
  books.clock.advance(2 * DAY)
  expect(await reinstate(id)).toBe(100n)
  expect((await books.wallet('cus_ended')).balance).toBe(0n)
})

test('a grant that has not started can be taken back and given back', async () => {
  const id = await buy('cus_soon', 100n, 'soon:1', { starts_at: later(1) })
  await take(id, { amount: 40n })
  await take(id)
  expect(await reinstate(id)).toBe(100n)
  expect((await books.wallet('cus_soon')).balance).toBe(0n)
  books.clock.advance(DAY)
  expect((await books.wallet('cus_soon')).balance).toBe(100n)
  expect((await books.spend('cus_soon', 100n)).balance).toBe(0n)
})

test('a refund finds the units of a customer who was merged into another', async () => {
  const id = await buy('cus_merged', 100n, 'merged:1')
  const spent = await books.spend('cus_merged', 10n)
  await books.write((tx) =>
    mergeWallets(tx, books.clock, {
      from_customer_id: 'cus_merged',
      to_customer_id: 'cus_survivor',
    }),
  )
  await books.spend('cus_survivor', 20n)
  await books.write((tx) => reverseSpend(tx, books.clock, { spend_id: spent.id, amount: 5n, ...keyed() }))
  expect(await getGrant(books.db, id)).toMatchObject({
    customer_id: 'cus_survivor',
    granted: 100n,
    remaining: 75n,
  })
  expect(await take(id)).toMatchObject({ taken: 75n, written_off: 25n })
  expect((await books.wallet('cus_survivor')).balance).toBe(0n)
  await books.write((tx) => reverseSpend(tx, books.clock, { spend_id: spent.id, ...keyed() }))
  expect((await books.wallet('cus_survivor')).balance).toBe(0n)
  expect(await reinstate(id)).toBe(80n)
  expect((await books.wallet('cus_survivor')).balance).toBe(80n)
})

test('a grant that is not there is not found', async () => {
  for (const id of ['gr_00000000000000000000000000', 'nonsense']) {
    await expect(take(id)).rejects.toMatchObject({ code: 'not_found' })
    await expect(reinstate(id)).rejects.toMatchObject({ code: 'not_found' })
  }
})

test('what was done here verifies clean', async () => {
  await sweepExpiries(books)
  expect(await books.findings()).toEqual([])
})
