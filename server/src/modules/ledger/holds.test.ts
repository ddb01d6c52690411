import { afterAll, beforeAll, expect, test } from 'vitest'
import { keyed, openBooks, type Books } from './ledger.fixtures/books.ts'
import {
  captureHold,
  getHold,
  getSpend,
  placeHold,
  releaseHold,
  reverseSpend,
  sweepExpiries,
  sweepHolds,
  type Hold,
  type NewHold,
} from './index.ts'

let books: Books
beforeAll(async () => {
  books = await openBooks()
})
afterAll(() => books.close())

const DAY = 86_400_000
const later = (days: number): Date => new Date(books.clock.now_ms() + days * DAY)
const hold = (customer_id: string, amount: bigint, facts: Partial<NewHold> = {}): Promise<Hold> =>
  books.write((tx) =>
    placeHold(tx, books.clock, {
      customer_id,
      unit: 'minute',
      amount,
      ttl_seconds: 3600,
      ...keyed(),
      ...facts,
    }),
  )
const capture = (hold_id: string, amount?: bigint, key = keyed()): Promise<Hold> =>
  books.write((tx) => captureHold(tx, books.clock, { hold_id, amount, ...key }))
const release = (hold_id: string, key = keyed()): Promise<Hold> =>
  books.write((tx) => releaseHold(tx, books.clock, { hold_id, ...key }))

test('a hold sets units aside: they are in the balance and not available', async () => {
  const grant_id = await books.give('cus_hold', 100n)
  const placed = await hold('cus_hold', 30n, { reason: 'check' })
  expect(placed).toMatchObject({
    status: 'placed',
    amount: 30n,
    captured: 0n,
    spend_id: null,
    reason: 'check',
  })
  expect(placed.slices).toEqual([{ grant_id, amount: 30n }])
  expect(placed.expires_at).toEqual(new Date(books.clock.now_ms() + 3_600_000))
  expect(await books.wallet('cus_hold')).toMatchObject({
    balance: 100n,
    held: 30n,
    available: 70n,
    grants: [{ remaining: 100n, held: 30n }],
  })
  await expect(books.spend('cus_hold', 71n)).rejects.toMatchObject({ facts: { available: 70n } })
  expect((await books.spend('cus_hold', 70n)).balance).toBe(30n)
  expect(await getHold(books.db, placed.id)).toEqual(placed)
})

test('a capture uses a part up and gives the rest back to the same grants', async () => {
  await books.give('cus_part', 20n, { source_id: 'part:1', expires_at: later(1) })
  await books.give('cus_part', 100n, { source_id: 'part:2' })
  const placed = await hold('cus_part', 50n)
  const done = await capture(placed.id, 25n)
  expect(done).toMatchObject({
    status: 'captured',
    captured: 25n,
    is_late: false,
    closed_at: books.clock.now(),
  })
  expect(await books.left('cus_part')).toEqual({ 'part:1': 0n, 'part:2': 95n })
  expect(await books.wallet('cus_part')).toMatchObject({ balance: 95n, held: 0n })
  const spent = await getSpend(books.db, done.spend_id ?? '')
  expect(spent).toMatchObject({ amount: 25n, slices: [{ amount: 20n }, { amount: 5n }] })
})

test('a capture without an amount takes all; more than is held is refused', async () => {
  await books.give('cus_all', 100n)
  const placed = await hold('cus_all', 40n)
  await expect(capture(placed.id, 41n)).rejects.toMatchObject({ code: 'invalid_state', facts: { held: 40n } })
  expect((await capture(placed.id)).captured).toBe(40n)
  await expect(capture(placed.id)).rejects.toMatchObject({ code: 'invalid_state' })
  await expect(release(placed.id)).rejects.toMatchObject({ code: 'invalid_state' })
  expect(await books.wallet('cus_all')).toMatchObject({ balance: 60n, held: 0n })
})

test('a release gives all back, so that expiry dates survive', async () => {
  await books.give('cus_back', 10n, { source_id: 'back:1', expires_at: later(5) })
  await books.give('cus_back', 10n, { source_id: 'back:2', expires_at: later(3) })
  const placed = await hold('cus_back', 15n)
  expect((await release(placed.id)).status).toBe('released')
  expect(await books.left('cus_back')).toEqual({ 'back:1': 10n, 'back:2': 10n })
  expect(await books.wallet('cus_back')).toMatchObject({ balance: 20n, held: 0n })
})

test('each of the three answers the same for its key again, whatever became of the hold since', async () => {
  await books.give('cus_replay', 100n)
  const [place, take] = [keyed(), keyed()]
  const placed = await hold('cus_replay', 30n, place)
  const taken = await capture(placed.id, 10n, take)
  expect(await hold('cus_replay', 30n, place)).toEqual({ ...placed, is_replay: true })
  expect(await capture(placed.id, 10n, take)).toEqual({ ...taken, is_replay: true })
  await expect(hold('cus_replay', 31n, place)).rejects.toMatchObject({ code: 'idempotency_key_reused' })
  await expect(capture(placed.id, 11n, take)).rejects.toMatchObject({ code: 'idempotency_key_reused' })
  const other = await hold('cus_replay', 30n)
  const give = keyed()
  const given = await release(other.id, give)
  expect(await release(other.id, give)).toEqual({ ...given, is_replay: true })
  expect(await books.wallet('cus_replay')).toMatchObject({ balance: 90n, held: 0n })
})

test('50 holds at once on a wallet that covers 20: exactly 20 are placed', async () => {
  await books.give('cus_crowd', 20n)
  const results = await Promise.allSettled(Array.from({ length: 50 }, () => hold('cus_crowd', 1n)))
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(20)
  expect(await books.wallet('cus_crowd')).toMatchObject({ balance: 20n, held: 20n, available: 0n })
})

test('captures, releases and spends of one wallet at once end in one of them for each hold', async () => {
  await books.give('cus_race', 1000n)
  const holds = await Promise.all(Array.from({ length: 10 }, () => hold('cus_race', 10n)))
  const results = await Promise.allSettled(
    holds.flatMap(({ id }) => [capture(id, 4n), release(id), capture(id, 7n), books.spend('cus_race', 1n)]),
  )
  const ended = results.filter((_, index) => index % 4 !== 3).filter(({ status }) => status === 'fulfilled')
  expect(ended).toHaveLength(10)
  const used = await books.run(
    `select coalesce(sum(captured), 0)::int as n from ledger.holds h join ledger.wallets w
      on w.id = h.wallet_id
     where w.customer_id = 'cus_race'`,
  )
  expect(await books.wallet('cus_race')).toMatchObject({
    balance: 990n - BigInt(Number(used[0]?.['n'])),
    held: 0n,
  })
})

test('the sweeper gives back what was held too long, and the hold says so', async () => {
  await books.give('cus_slow', 100n)
  const placed = await hold('cus_slow', 30n, { ttl_seconds: 10 })
  books.clock.advance(9_999)
  expect(await sweepHolds(books)).toBe(0)
  books.clock.advance(1)
  expect(await sweepHolds(books)).toBe(1)
  expect(await getHold(books.db, placed.id)).toMatchObject({ status: 'expired', captured: 0n })
  expect(await books.wallet('cus_slow')).toMatchObject({ balance: 100n, held: 0n })
  await expect(release(placed.id)).rejects.toMatchObject({ code: 'invalid_state' })
})

test.each([true, false])(
  'a capture after the time is over spends directly and is kept as late (swept %s)',
  async (swept) => {
    const customer_id = `cus_late_${swept}`
    await books.give(customer_id, 100n)
    const placed = await hold(customer_id, 30n, { ttl_seconds: 10 })
    books.clock.advance(10_000)
    if (swept) await sweepHolds(books)
    const key = keyed()
    const done = await capture(placed.id, 20n, key)
    expect(done).toMatchObject({ status: 'captured', captured: 20n, is_late: true })
    expect(await capture(placed.id, 20n, key)).toEqual({ ...done, is_replay: true })
    expect(await books.wallet(customer_id)).toMatchObject({ balance: 80n, held: 0n })
    expect(await getSpend(books.db, done.spend_id ?? '')).toMatchObject({ amount: 20n })
  },
)

test('a late capture of what is gone meanwhile is refused, and changes nothing', async () => {
  await books.give('cus_gone', 100n)
  const placed = await hold('cus_gone', 30n, { ttl_seconds: 10 })
  books.clock.advance(10_000)
  await sweepHolds(books)
  await books.spend('cus_gone', 90n)
  await expect(capture(placed.id)).rejects.toMatchObject({
    code: 'insufficient_funds',
    facts: { available: 10n },
  })
  expect(await getHold(books.db, placed.id)).toMatchObject({ status: 'expired' })
  expect((await capture(placed.id, 10n)).is_late).toBe(true)
})

test('what is held of a grant survives its end until captured; given back, it ends at once', async () => {
  await books.give('cus_ends', 100n, { expires_at: later(0.5) })
  const kept = await hold('cus_ends', 30n, { ttl_seconds: 86_400 })
  const dropped = await hold('cus_ends', 20n, { ttl_seconds: 86_400 })
  books.clock.set(later(0.5))
  await sweepExpiries(books)
  expect(await books.wallet('cus_ends')).toMatchObject({ balance: 50n, held: 50n, available: 0n })
  expect((await capture(kept.id, 10n)).captured).toBe(10n)
  expect(await books.wallet('cus_ends')).toMatchObject({ balance: 20n, held: 20n })
  await release(dropped.id)
  expect(await books.wallet('cus_ends')).toMatchObject({ balance: 0n, held: 0n, grants: [] })
  const rows = await books.run(
    `select t.kind, t.amount from ledger.transfers t join ledger.wallets w on w.id = t.wallet_id
     where w.customer_id = 'cus_ends' order by t.sequence`,
  )
  expect(rows.slice(3)).toEqual([
    { kind: 'expiry', amount: 50n },
    { kind: 'capture', amount: 10n },
    { kind: 'release', amount: 20n },
    { kind: 'expiry', amount: 20n },
    { kind: 'release', amount: 20n },
    { kind: 'expiry', amount: 20n },
  ])
})

test.each([
  ['nobody has', 'cus_nobody', {}, 'insufficient_funds'],
  ['does not exist', 'cus_nobody', { unit: 'parsec' }, 'invalid_request'],
  ['lasts too long', 'cus_hold', { ttl_seconds: 86_401 }, 'invalid_request'],
  ['lasts no time', 'cus_hold', { ttl_seconds: 0 }, 'invalid_request'],
] satisfies [string, string, Partial<NewHold>, string][])(
  'a hold on what %s is refused',
  async (_what, customer_id, facts, code) => {
    await expect(hold(customer_id, 1n, facts)).rejects.toMatchObject({ code })
  },
)

test('a hold that is not there is not found, by any verb', async () => {
  for (const id of ['hold_01kjmma3f8fp7tjwd9yhnp4kzj', 'nonsense', 'tr_01kjmma3f8fp7tjwd9yhnp4kzj']) {
    await expect(getHold(books.db, id)).rejects.toMatchObject({ code: 'not_found' })
    await expect(capture(id)).rejects.toMatchObject({ code: 'not_found' })
    await expect(release(id)).rejects.toMatchObject({ code: 'not_found' })
  }
})

test('what a capture used can be reversed like a spend', async () => {
  await books.give('cus_undo', 100n)
  const placed = await hold('cus_undo', 30n)
  const done = await capture(placed.id, 30n)
  const back = await books.write((tx) =>
    reverseSpend(tx, books.clock, { spend_id: done.spend_id ?? '', ...keyed() }),
  )
  expect(back).toMatchObject({ amount: 30n, balance: 100n })
})

test('what was done here verifies clean', async () => {
  await sweepHolds(books)
  await sweepExpiries(books)
  expect(await books.findings()).toEqual([])
})
