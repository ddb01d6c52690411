import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Tx } from '#kernel/db'
import { createCursors } from '#kernel/page'
import { keyed, openBooks, type Books } from './ledger.fixtures/books.ts'
import {
  captureHold,
  getHold,
  grantMany,
  listTransfers,
  mergeWallets,
  placeHold,
  releaseHold,
  revokeGrant,
  sweepExpiries,
  sweepHolds,
  transferUnits,
  type Hold,
  type NewCustomerTransfer,
  type NewGrant,
} from './index.ts'

let books: Books
beforeAll(async () => {
  books = await openBooks()
})
afterAll(() => books.close())

const DAY = 86_400_000
const later = (days: number): Date => new Date(books.clock.now_ms() + days * DAY)
const merge = (from_customer_id: string, to_customer_id: string) =>
  books.write((tx) => mergeWallets(tx, books.clock, { from_customer_id, to_customer_id }))
const hold = (customer_id: string, amount: bigint): Promise<Hold> =>
  books.write((tx) =>
    placeHold(tx, books.clock, {
      customer_id,
      unit: 'minute',
      amount,
      ttl_seconds: 3600,
      ...keyed(),
    }),
  )
const newGrant = (facts: Pick<NewGrant, 'customer_id' | 'amount'> & Partial<NewGrant>): NewGrant => ({
  unit: 'minute',
  source: 'manual',
  source_id: randomUUID(),
  actor_id: 'key_test',
  ...facts,
})
/** Until so many statements of this database wait for somebody's lock. */
async function waitsForLock(count: number, isOver = (): boolean => false): Promise<void> {
  const waiting = async (): Promise<number> => {
    const [row] = await books.run(
      `select count(*)::int as count from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock'`,
    )
    return Number(row?.['count'])
  }
  while (!isOver() && (await waiting()) < count) await new Promise((resolve) => setTimeout(resolve, 10))
}
const send = (from_customer_id: string, to_customer_id: string, amount: bigint, facts: object = {}) =>
  books.write((tx) =>
    transferUnits(tx, books.clock, {
      from_customer_id,
      to_customer_id,
      unit: 'minute',
      amount,
      ...keyed(),
      ...facts,
    } satisfies NewCustomerTransfer),
  )

test('a gift keeps priority, end, price and age of every slice', async () => {
  const expires_at = later(10)
  await books.give('cus_giver', 10n, { source: 'promo', source_id: 'giver:1', expires_at })
  await books.give('cus_giver', 90n, {
    source: 'purchase',
    source_id: 'giver:2',
    price_amount: 900n,
    price_currency: 'RUB',
  })
  books.clock.advance(1000)
  const sent = await send('cus_giver', 'cus_taker', 40n, { reason: 'present' })
  expect(sent).toMatchObject({ amount: 40n, balance: 60n, slices: [{ amount: 10n }, { amount: 30n }] })
  expect(sent.grants.map(({ amount }) => amount)).toEqual([10n, 30n])
  const { grants } = await books.wallet('cus_taker')
  expect(grants).toMatchObject([
    { granted: 10n, priority: 10, source: 'transfer', expires_at },
    { granted: 30n, priority: 50, source: 'transfer', expires_at: null },
  ])
  const rows = await books.run(
    `select g.price_amount, g.price_units, g.is_paid from ledger.grants g join ledger.wallets w
      on w.id = g.wallet_id
     where w.customer_id = 'cus_taker' order by g.id`,
  )
  expect(rows).toEqual([
    { price_amount: null, price_units: null, is_paid: false },
    { price_amount: 900n, price_units: 90n, is_paid: true },
  ])
})

test('a gift is made once for its key, and not of more than there is, to oneself, of no unit', async () => {
  await books.give('cus_gift', 100n)
  const key = keyed()
  const first = await send('cus_gift', 'cus_gifted', 40n, key)
  expect(await send('cus_gift', 'cus_gifted', 40n, key)).toEqual({ ...first, is_replay: true })
  await expect(send('cus_gift', 'cus_gifted', 41n, key)).rejects.toMatchObject({
    code: 'idempotency_key_reused',
  })
  await expect(send('cus_gift', 'cus_gifted', 61n)).rejects.toMatchObject({ code: 'insufficient_funds' })
  await expect(send('cus_gift', 'cus_gift', 1n)).rejects.toMatchObject({ code: 'invalid_request' })
  await expect(send('cus_gift', 'cus_gifted', 1n, { unit: 'parsec' })).rejects.toMatchObject({
    code: 'invalid_request',
  })
  await expect(send('cus_nobody', 'cus_gifted', 1n)).rejects.toMatchObject({ code: 'insufficient_funds' })
  expect((await books.wallet('cus_gifted')).balance).toBe(40n)
})

test('gifts both ways at once end where they should, without a deadlock that shows', async () => {
  await books.give('cus_ping', 100n)
  await books.give('cus_pong', 100n)
  await Promise.all(
    Array.from({ length: 60 }, (_, n) =>
      n % 2 ? send('cus_ping', 'cus_pong', 1n) : send('cus_pong', 'cus_ping', 1n),
    ),
  )
  expect((await books.wallet('cus_ping')).balance).toBe(100n)
  expect((await books.wallet('cus_pong')).balance).toBe(100n)
})

test('a merge loses no unit: grants keep their terms, scheduled ones and debt go along', async () => {
  const expires_at = later(10)
  await books.give('cus_from', 10n, { source: 'promo', source_id: 'from:1', expires_at })
  await books.give('cus_from', 90n, { source: 'purchase', source_id: 'from:2' })
  await books.give('cus_from', 7n, { source_id: 'from:3', starts_at: later(1) })
  await books.give('cus_from', 5n, { source_id: 'from:4', unit: 'point' })
  const bought = await books.give('cus_from', 20n, {
    source: 'purchase',
    source_id: 'from:5',
    unit: 'credit',
  })
  await books.spend('cus_from', 15n, { unit: 'credit' })
  await books.write((tx) =>
    revokeGrant(tx, books.clock, {
      grant_id: bought,
      reason: 'refund',
      shortfall: 'debt',
      ...keyed(),
    }),
  )
  await books.give('cus_to', 1n, { source_id: 'to:1' })
  const moved = await merge('cus_from', 'cus_to')
  expect(moved).toEqual([
    { unit: 'minute', amount: 100n, scheduled: 7n, debt: 0n },
    { unit: 'point', amount: 5n, scheduled: 0n, debt: 0n },
    { unit: 'credit', amount: 0n, scheduled: 0n, debt: 15n },
  ])
  const wallet = await books.wallet('cus_to')
  expect(wallet).toMatchObject({ balance: 101n, next_expiry: expires_at })
  expect(wallet.grants.map(({ source, granted, priority }) => [source, granted, priority])).toEqual([
    ['promo', 10n, 10],
    ['manual', 1n, 20],
    ['purchase', 90n, 50],
  ])
  expect(await books.wallet('cus_to', 'credit')).toMatchObject({ balance: 0n, debt: 15n })
  books.clock.advance(DAY)
  expect((await books.wallet('cus_to')).balance).toBe(108n)
})

test('a merge is repeatable, and refused for one customer twice or in a circle', async () => {
  await books.give('cus_ring_a', 10n)
  await merge('cus_ring_a', 'cus_ring_b')
  expect(await merge('cus_ring_a', 'cus_ring_b')).toMatchObject([{ amount: 0n }])
  await expect(merge('cus_ring_a', 'cus_ring_a')).rejects.toMatchObject({ code: 'invalid_request' })
  await expect(merge('cus_ring_b', 'cus_ring_a')).rejects.toMatchObject({ code: 'invalid_state' })
  await expect(merge('cus_ring_a', 'cus_ring_c')).rejects.toMatchObject({ code: 'invalid_state' })
})

test('whoever still names a merged customer means the survivor, after a second merge too', async () => {
  await books.give('cus_old', 10n)
  await books.spend('cus_old', 1n)
  await merge('cus_old', 'cus_mid')
  await books.give('cus_old', 5n)
  await books.give('cus_old', 3n, { unit: 'point' })
  expect((await books.wallet('cus_mid')).balance).toBe(14n)
  expect((await books.wallet('cus_mid', 'point')).balance).toBe(3n)
  // The lanes remember the wallet of before; a short one is looked up again.
  expect((await books.spend('cus_old', 4n)).balance).toBe(10n)
  await merge('cus_mid', 'cus_new')
  expect((await books.spend('cus_old', 4n)).balance).toBe(6n)
  expect((await books.wallet('cus_new')).balance).toBe(6n)
})

test('keys survive a merge: what was done before it is not done again', async () => {
  const [spent, placed] = [keyed(), keyed()]
  await books.give('cus_keys', 100n)
  const first = await books.spend('cus_keys', 10n, spent)
  const wish = { customer_id: 'cus_keys', unit: 'minute', amount: 5n, ttl_seconds: 60, ...placed }
  const held = await books.write((tx) => placeHold(tx, books.clock, wish))
  await merge('cus_keys', 'cus_keeper')
  const again = await books.spend('cus_keeper', 10n, spent)
  expect(again).toEqual({ ...first, customer_id: 'cus_keeper', is_replay: true })
  expect(
    await books.write((tx) => placeHold(tx, books.clock, { ...wish, customer_id: 'cus_keeper' })),
  ).toEqual({
    ...held,
    is_replay: true,
  })
  expect((await books.wallet('cus_keeper')).balance).toBe(85n)
})

test('a hold outlives the merge: it can be captured, and what it gives back follows', async () => {
  await books.give('cus_busy', 100n, { expires_at: later(30) })
  const [captured, released, late] = [
    await hold('cus_busy', 20n),
    await hold('cus_busy', 30n),
    await hold('cus_busy', 5n),
  ]
  await merge('cus_busy', 'cus_calm')
  expect((await books.wallet('cus_calm')).balance).toBe(45n)
  const done = await books.write((tx) =>
    captureHold(tx, books.clock, { hold_id: captured.id, amount: 15n, ...keyed() }),
  )
  expect(done).toMatchObject({ captured: 15n, is_late: false })
  expect((await books.wallet('cus_calm')).balance).toBe(50n)
  await books.write((tx) => releaseHold(tx, books.clock, { hold_id: released.id, ...keyed() }))
  expect((await books.wallet('cus_calm')).balance).toBe(80n)
  books.clock.advance(3_600_000)
  await sweepHolds(books)
  expect((await books.wallet('cus_calm')).balance).toBe(85n)
  const key = keyed()
  const afterwards = () => books.write((tx) => captureHold(tx, books.clock, { hold_id: late.id, ...key }))
  const first = await afterwards()
  expect(first).toMatchObject({ status: 'captured', is_late: true })
  expect(await afterwards()).toEqual({ ...first, is_replay: true })
  expect((await books.wallet('cus_calm')).balance).toBe(80n)
  expect((await getHold(books.db, late.id)).spend_id).toBe(first.spend_id)
  expect((await books.wallet('cus_calm')).grants.every(({ expires_at }) => expires_at !== null)).toBe(true)
})

test('spends, gifts, grants and a merge at once lose nothing', async () => {
  await books.give('cus_x', 100n)
  await books.give('cus_y', 100n)
  const work = [
    ...Array.from({ length: 20 }, () => books.spend('cus_x', 1n)),
    ...Array.from({ length: 20 }, () => books.spend('cus_y', 1n)),
    ...Array.from({ length: 10 }, () => books.give('cus_x', 1n)),
    merge('cus_x', 'cus_y'),
    ...Array.from({ length: 10 }, () => send('cus_y', 'cus_z', 1n)),
  ]
  const failed = (await Promise.allSettled(work)).filter((one) => one.status === 'rejected')
  expect(failed.map((one) => String(one.reason))).toEqual([])
  expect((await books.wallet('cus_y')).balance).toBe(160n)
  expect((await books.wallet('cus_z')).balance).toBe(10n)
})

/** A transaction that stays open when its work is done, until it is told to end. */
function keepOpen(work: (tx: Tx) => Promise<unknown>, fate?: Error) {
  const [is_done, may_end] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const ended = books.write(async (tx) => {
    await work(tx)
    is_done.resolve()
    await may_end.promise
    if (fate) throw fate
  })
  return {
    done: is_done.promise,
    end: () => {
      may_end.resolve()
      return ended
    },
  }
}

test('a grant that waited for a merge is the survivor’s, after what he was given meanwhile', async () => {
  await books.give('cus_leaving', 3n)
  await books.give('cus_staying', 4n)
  const merging = keepOpen((tx) =>
    mergeWallets(tx, books.clock, { from_customer_id: 'cus_leaving', to_customer_id: 'cus_staying' }),
  )
  await merging.done
  const another = keepOpen((tx) =>
    grantMany(tx, books.clock, [newGrant({ customer_id: 'cus_staying', amount: 11n })]),
  )
  await waitsForLock(1)
  const granting = books.write((tx) =>
    grantMany(tx, books.clock, [newGrant({ customer_id: 'cus_leaving', amount: 5n })]),
  )
  let is_granted = false
  void granting.then(() => (is_granted = true))
  await waitsForLock(2)
  await merging.end()
  await another.done
  // Unless the grant was the quicker of the two.
  await waitsForLock(1, () => is_granted)
  await another.end()
  await granting
  expect((await books.wallet('cus_staying')).balance).toBe(23n)
  expect((await books.wallet('cus_leaving')).balance).toBe(23n)
  expect(await books.findings()).toEqual([])
})

test('a grant in a unit its customer never had is the survivor’s too when they merge', async () => {
  await books.give('cus_rich', 4n, { unit: 'point' })
  const rival = keepOpen(
    (tx) => grantMany(tx, books.clock, [newGrant({ customer_id: 'cus_poor', unit: 'point', amount: 1n })]),
    new Error('undone'),
  )
  await rival.done
  const granting = books.write((tx) =>
    grantMany(tx, books.clock, [newGrant({ customer_id: 'cus_poor', unit: 'point', amount: 9n })]),
  )
  await waitsForLock(1)
  await merge('cus_poor', 'cus_rich')
  await expect(rival.end()).rejects.toThrow('undone')
  await granting
  expect((await books.wallet('cus_rich', 'point')).balance).toBe(13n)
})

test('a history goes through all wallets and those merged into them, newest first, by pages', async () => {
  const cursors = createCursors(Buffer.alloc(32))
  await books.give('cus_past', 10n)
  for (let n = 0; n < 6; n++) {
    books.clock.advance(1000)
    if (n === 3) await merge('cus_past', 'cus_present')
    await books.give(n < 3 ? 'cus_past' : 'cus_present', 10n, { unit: n % 2 ? 'point' : 'minute' })
  }
  const seen: { id: string; kind: string; created_at: Date }[] = []
  let cursor: string | undefined
  do {
    const page = await listTransfers(books.db, cursors, { customer_id: 'cus_present' }, { limit: 3, cursor })
    seen.push(...page.items)
    cursor = page.next_cursor ?? undefined
  } while (cursor)
  expect(new Set(seen.map(({ id }) => id)).size).toBe(seen.length)
  const counts = Object.entries(Object.groupBy(seen, ({ kind }) => kind)).map(([kind, all]) => [
    kind,
    all?.length,
  ])
  expect(Object.fromEntries(counts)).toEqual({ grant: 7, transfer_in: 4, transfer_out: 2 })
  expect(seen).toEqual(seen.toSorted((a, b) => b.created_at.getTime() - a.created_at.getTime()))
  const points = await listTransfers(
    books.db,
    cursors,
    { customer_id: 'cus_present', unit: 'point' },
    { limit: 50 },
  )
  expect(points.items.every(({ unit }) => unit === 'point')).toBe(true)
  expect(points.next_cursor).toBeNull()
})

test('what was done here verifies clean', async () => {
  await sweepHolds(books)
  await sweepExpiries(books)
  expect(await books.findings()).toEqual([])
})
