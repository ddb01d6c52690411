import { afterAll, beforeAll, expect, test } from 'vitest'
import { createCursors } from '#kernel/page'
import { keyed, openBooks, type Books } from './ledger.fixtures/books.ts'
import {
  findGrantsBySource,
  getGrant,
  grantMany,
  grantOnce,
  listGrants,
  sweepExpiries,
  type NewGrant,
} from './index.ts'

let books: Books
beforeAll(async () => {
  books = await openBooks()
})
afterAll(() => books.close())

const DAY = 86_400_000
const later = (days: number): Date => new Date(books.clock.now_ms() + days * DAY)
const many = (grants: NewGrant[]) => books.write((tx) => grantMany(tx, books.clock, grants))
const wish = (customer_id: string, source_id: string, facts: Partial<NewGrant> = {}): NewGrant => ({
  customer_id,
  unit: 'minute',
  amount: 100n,
  source: 'purchase',
  source_id,
  actor_id: 'gateway:x',
  ...facts,
})

test('a call of many grants fills many wallets and says of each what became of it', async () => {
  const results = await many([
    wish('cus_a', 'a:1'),
    wish('cus_b', 'b:1', { amount: 7n }),
    wish('cus_a', 'a:2', { amount: 50n, unit: 'point' }),
    wish('cus_a', 'a:3', { amount: 11n }),
  ])
  expect(results.map(({ is_new, balance }) => [is_new, balance])).toEqual([
    [true, 100n],
    [true, 7n],
    [true, 50n],
    [true, 111n],
  ])
  expect(await getGrant(books.db, results[3]?.id ?? '')).toMatchObject({
    customer_id: 'cus_a',
    granted: 11n,
    remaining: 11n,
    priority: 50,
    is_paid: true,
    expires_at: null,
  })
})

test('a name is granted once: again, in the same call, and 50 times at once', async () => {
  const twice = await many([wish('cus_once', 'once:1'), wish('cus_once', 'once:1')])
  expect(twice.map(({ is_new }) => is_new)).toEqual([true, false])
  const [again] = await many([wish('cus_once', 'once:1')])
  expect(again).toEqual({ ...twice[0], is_new: false })
  const crowd = await Promise.all(Array.from({ length: 50 }, () => many([wish('cus_once', 'once:2')])))
  expect(crowd.flat().filter(({ is_new }) => is_new)).toHaveLength(1)
  expect((await books.wallet('cus_once')).balance).toBe(200n)
})

test.each([
  ['amount', { amount: 101n }],
  ['unit', { unit: 'point' }],
  ['customer', { customer_id: 'cus_else' }],
])(
  'a name that comes back with another %s is refused, and so is everything of its call',
  async (what, change) => {
    await many([wish('cus_conflict', `conflict:${what}`)])
    const call = [
      wish('cus_conflict', `innocent:${what}`),
      { ...wish('cus_conflict', `conflict:${what}`), ...change },
    ]
    await expect(many(call)).rejects.toMatchObject({ code: 'idempotency_key_reused' })
    expect(
      await findGrantsBySource(books.db, [{ source: 'purchase', source_id: `innocent:${what}` }]),
    ).toEqual([])
  },
)

test.each([
  ['an unknown unit', { unit: 'parsec' }, '/unit'],
  ['an end in the past', { expires_at: new Date(0) }, '/expires_at'],
  ['an amount of zero', { amount: 0n }, '/amount'],
  ['an unknown parent', { parent: { source: 'purchase', source_id: 'nowhere' } }, '/parent'],
] satisfies [string, Partial<NewGrant>, string][])(
  '%s is a mistake in the request',
  async (what, change, pointer) => {
    await expect(many([wish('cus_bad', `bad:${what}`, change)])).rejects.toMatchObject({
      code: 'invalid_request',
      facts: { errors: [{ pointer }] },
    })
  },
)

test('a bonus may name its parent in the same call, before or after it, in another unit too', async () => {
  const parent = { source: 'purchase', source_id: 'family:1' } as const
  await many([
    wish('cus_family', 'family:2', { source: 'bonus', amount: 5n, parent }),
    wish('cus_family', 'family:1'),
    wish('cus_family', 'family:3', { source: 'bonus', amount: 9n, unit: 'point', parent }),
  ])
  const rows = await books.run(
    `select c.source_id, p.source_id as parent from ledger.grants c
     join ledger.grants p on p.wallet_id = c.parent_wallet_id and p.id = c.parent_id
       where c.source_id like 'family:%'
     order by 1`,
  )
  expect(rows).toEqual([
    { source_id: 'family:2', parent: 'family:1' },
    { source_id: 'family:3', parent: 'family:1' },
  ])
})

test('a grant for later does not count before it starts, and counts from that moment on', async () => {
  await many([
    wish('cus_wait', 'wait:1', { starts_at: later(2), expires_at: later(4) }),
    wish('cus_wait', 'wait:2'),
  ])
  expect((await books.wallet('cus_wait')).balance).toBe(100n)
  await expect(books.spend('cus_wait', 150n)).rejects.toMatchObject({ facts: { available: 100n } })
  books.clock.advance(2 * DAY)
  // The sweeper has not come: the moment alone decides.
  expect(await books.wallet('cus_wait')).toMatchObject({ balance: 200n, grants: [{}, {}] })
  const done = await books.spend('cus_wait', 150n)
  expect(done.slices.map(({ amount }) => amount)).toEqual([100n, 50n])
  books.clock.advance(2 * DAY)
  expect((await books.wallet('cus_wait')).balance).toBe(50n)
})

test('an ended grant never counts, swept or not; the sweeper books its end once', async () => {
  await many([wish('cus_end', 'end:1', { expires_at: later(1) }), wish('cus_end', 'end:2', { amount: 3n })])
  await books.spend('cus_end', 10n)
  books.clock.set(later(1))
  expect(await books.wallet('cus_end')).toMatchObject({
    balance: 3n,
    available: 3n,
    grants: [{ granted: 3n }],
  })
  await expect(books.spend('cus_end', 4n)).rejects.toMatchObject({ facts: { available: 3n } })
  expect(await sweepExpiries(books)).toBeGreaterThan(0)
  expect(await sweepExpiries(books)).toBe(0)
  const rows = await books.run(
    `select t.kind, t.amount, t.balance_after from ledger.transfers t join ledger.wallets w
      on w.id = t.wallet_id
     where w.customer_id = 'cus_end' order by t.sequence`,
  )
  expect(rows.at(-1)).toEqual({ kind: 'expiry', amount: 90n, balance_after: 3n })
})

test('a keyed grant answers the same again, and refuses its key for anything else', async () => {
  const key = keyed()
  const facts = {
    customer_id: 'cus_keyed',
    unit: 'minute',
    amount: 5n,
    source: 'manual' as const,
    reason: 'sorry',
  }
  const once = (change: object = {}) =>
    books.write((tx) => grantOnce(tx, books.clock, { ...facts, ...key, ...change }))
  const first = await once()
  expect(await once()).toEqual({ ...first, is_new: false })
  await expect(once({ amount: 6n })).rejects.toMatchObject({ code: 'idempotency_key_reused' })
  await expect(once({ expires_at: later(9) })).rejects.toMatchObject({ code: 'idempotency_key_reused' })
  expect((await once({ customer_id: 'cus_keyed_too' })).is_new).toBe(true)
  expect((await books.wallet('cus_keyed')).balance).toBe(5n)
})

test('grants are listed newest first, page by page, used up or not', async () => {
  const cursors = createCursors(Buffer.alloc(32))
  for (let n = 0; n < 5; n++) {
    books.clock.advance(1000)
    await many([wish('cus_list', `list:${n}`, { unit: n % 2 ? 'point' : 'minute' })])
  }
  await books.spend('cus_list', 100n)
  const seen: string[] = []
  let cursor: string | undefined
  do {
    const page = await listGrants(books.db, cursors, { customer_id: 'cus_list' }, { limit: 2, cursor })
    seen.push(...page.items.map(({ source_id }) => source_id))
    cursor = page.next_cursor ?? undefined
  } while (cursor)
  expect(seen).toEqual(['list:4', 'list:3', 'list:2', 'list:1', 'list:0'])
  await expect(
    listGrants(books.db, cursors, { customer_id: 'cus_a' }, { limit: 2, cursor: 'x.y' }),
  ).rejects.toMatchObject({ code: 'invalid_request' })
})

test('what a grant was made with cannot be changed in the database', async () => {
  for (const change of [
    'granted = 1',
    `expires_at = 'infinity'`,
    'price_amount = 5',
    'priority = 1',
    `source_id = 'x'`,
  ]) {
    await expect(books.run(`update ledger.grants set ${change}`)).rejects.toMatchObject({ code: 'LE001' })
  }
})

test('what was done here verifies clean', async () => {
  await sweepExpiries(books)
  expect(await books.findings()).toEqual([])
})
