import { afterAll, beforeAll, expect, test } from 'vitest'
import { keyed, openBooks, type Books } from './ledger.fixtures/books.ts'
import { adjust, forgiveDebt, revokeGrant, type Adjustment, type NewAdjustment } from './index.ts'

let books: Books
beforeAll(async () => {
  books = await openBooks()
})
afterAll(() => books.close())

const correct = (
  customer_id: string,
  amount: bigint,
  facts: Partial<NewAdjustment> = {},
): Promise<Adjustment> =>
  books.write((tx) =>
    adjust(tx, books.clock, {
      customer_id,
      unit: 'minute',
      amount,
      reason: 'counted wrong',
      ...keyed(),
      ...facts,
    }),
  )

test('a correction adds or takes with its sign, and keeps who and why', async () => {
  expect(await correct('cus_both', 50n)).toMatchObject({ amount: 50n, balance: 50n, reason: 'counted wrong' })
  expect(await correct('cus_both', -20n)).toMatchObject({
    amount: -20n,
    balance: 30n,
    slices: [{ amount: 20n }],
  })
  const rows = await books.run(
    `select t.kind, t.actor_id, t.reason from ledger.transfers t join ledger.wallets w on w.id = t.wallet_id
     where w.customer_id = 'cus_both' order by t.sequence`,
  )
  expect(rows).toEqual([
    { kind: 'adjustment_in', actor_id: 'key_test', reason: 'counted wrong' },
    { kind: 'adjustment_out', actor_id: 'key_test', reason: 'counted wrong' },
  ])
})

test.each([30n, -30n])('a correction of %s is booked once for its key', async (amount) => {
  const customer_id = `cus_key_${amount}`
  await books.give(customer_id, 100n)
  const key = keyed()
  const first = await correct(customer_id, amount, key)
  expect(await correct(customer_id, amount, key)).toEqual({ ...first, is_replay: true })
  await expect(correct(customer_id, amount + 1n, key)).rejects.toMatchObject({
    code: 'idempotency_key_reused',
  })
  await expect(correct(customer_id, amount, { ...key, reason: 'other' })).rejects.toMatchObject({
    code: 'idempotency_key_reused',
  })
  expect((await books.wallet(customer_id)).balance).toBe(100n + amount)
})

test('a correction takes no more than there is', async () => {
  await books.give('cus_min', 10n)
  await expect(correct('cus_min', -11n)).rejects.toMatchObject({
    code: 'insufficient_funds',
    facts: { available: 10n },
  })
  await expect(correct('cus_none', -1n)).rejects.toMatchObject({ code: 'insufficient_funds' })
  await expect(correct('cus_min', 0n)).rejects.toMatchObject({ code: 'invalid_request' })
  await expect(correct('cus_min', 1n, { unit: 'parsec' })).rejects.toMatchObject({ code: 'invalid_request' })
  await expect(correct('cus_min', -1n, { unit: 'parsec' })).rejects.toMatchObject({ code: 'invalid_request' })
})

test('50 corrections at once take exactly what there is', async () => {
  await books.give('cus_crowd', 20n)
  const results = await Promise.allSettled(Array.from({ length: 50 }, () => correct('cus_crowd', -1n)))
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(20)
})

test('what is owed can be forgiven, in parts, once for each key', async () => {
  const grant_id = await books.give('cus_debt', 100n, { unit: 'credit' })
  await books.spend('cus_debt', 100n, { unit: 'credit' })
  await books.write((tx) =>
    revokeGrant(tx, books.clock, { grant_id, reason: 'x', shortfall: 'debt', ...keyed() }),
  )
  const forgive = (amount?: bigint, key = keyed()): Promise<bigint> =>
    books.write((tx) =>
      forgiveDebt(tx, books.clock, {
        customer_id: 'cus_debt',
        unit: 'credit',
        amount,
        reason: 'kind',
        ...key,
      }),
    )
  const key = keyed()
  expect(await forgive(30n, key)).toBe(30n)
  expect(await forgive(30n, key)).toBe(30n)
  expect(await books.wallet('cus_debt', 'credit')).toMatchObject({ debt: 70n })
  await expect(forgive(71n)).rejects.toMatchObject({ code: 'invalid_state', facts: { debt: 70n } })
  expect(await forgive()).toBe(70n)
  await expect(forgive()).rejects.toMatchObject({ code: 'invalid_state' })
})

test('what was done here verifies clean', async () => {
  expect(await books.findings()).toEqual([])
})
