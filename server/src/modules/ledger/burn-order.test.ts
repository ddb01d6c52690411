import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openBooks, type Books } from './ledger.fixtures/books.ts'
import { burnSlices, compareBurnOrder, grantMany, type BurnableGrant } from './index.ts'
import { burn } from './queries.ts'

let books: Books
beforeAll(async () => {
  books = await openBooks()
})
afterAll(() => books.close())

const HOUR = 3_600_000
const at = (hours: number): Date => new Date(Date.UTC(2026, 2, 1, 12) + hours * HOUR)
const lot = (id: number, facts: Partial<BurnableGrant> = {}): BurnableGrant => ({
  id: BigInt(id),
  priority: 50,
  expires_at: null,
  is_paid: false,
  created_at: at(0),
  remaining: 10n,
  held: 0n,
  ...facts,
})

test.each([
  ['lower priority first', lot(1, { priority: 20 }), lot(2, { priority: 10, expires_at: null })],
  ['then sooner expiry', lot(1, { expires_at: at(2) }), lot(2, { expires_at: at(1), is_paid: true })],
  ['then some expiry before none', lot(1), lot(2, { expires_at: at(9), is_paid: true })],
  ['then free before paid', lot(1, { is_paid: true }), lot(2, { created_at: at(5) })],
  ['then older first', lot(1, { created_at: at(1) }), lot(2)],
  ['then the smaller id', lot(2), lot(1)],
])('%s', (_rule, later, sooner) => {
  expect(compareBurnOrder(sooner, later)).toBeLessThan(0)
  expect(compareBurnOrder(later, sooner)).toBeGreaterThan(0)
  expect(compareBurnOrder(later, { ...later })).toBe(0)
})

test('equal priority and expiry make it: oldest package first', () => {
  const grants = [lot(3, { created_at: at(3) }), lot(1, { created_at: at(1) }), lot(2, { created_at: at(2) })]
  expect(burnSlices(grants, 25n, at(4))).toEqual([
    { id: 1n, amount: 10n },
    { id: 2n, amount: 10n },
    { id: 3n, amount: 5n },
  ])
})

test('what is held or has ended is passed over, and less is answered when there is less', () => {
  const grants = [lot(1, { held: 4n }), lot(2, { expires_at: at(4) }), lot(3, { held: 10n })]
  expect(burnSlices(grants, 25n, at(4))).toEqual([{ id: 1n, amount: 6n }])
})

/** Few different values, so that every tie-breaker is needed. */
const anyGrant = fc.record({
  priority: fc.constantFrom(10, 50),
  expires_at: fc.constantFrom(null, at(1), at(2), at(3)),
  is_paid: fc.boolean(),
  age: fc.constantFrom(0, 1),
  amount: fc.bigInt(1n, 20n),
  held: fc.bigInt(0n, 20n),
})

test('the database chooses the same slices as the pure rule', async () => {
  let run = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyGrant, { minLength: 1, maxLength: 8 }),
      fc.bigInt(1n, 120n),
      async (lots, amount) => {
        const customer_id = `cus_${run++}`
        await books.write(async (tx) => {
          for (const age of [1, 0]) {
            books.clock.set(at(-age))
            await grantMany(
              tx,
              books.clock,
              lots.flatMap((one, index) =>
                one.age !== age
                  ? []
                  : [
                      {
                        customer_id,
                        unit: 'minute',
                        amount: one.amount,
                        source: 'manual' as const,
                        actor_id: 'x',
                        source_id: `${customer_id}:${index}`,
                        priority: one.priority,
                        is_paid: one.is_paid,
                        expires_at: one.expires_at,
                      },
                    ],
              ),
            )
          }
        })
        // Holds are set by hand: what matters here is which grants are passed over.
        for (const [index, { held, amount: granted }] of lots.entries()) {
          const some = held < granted ? held : granted
          await books.run('update ledger.grants set held = $2 where source_id = $1', [
            `${customer_id}:${index}`,
            some,
          ])
        }
        const { rows } = await books.db.pool.query<
          BurnableGrant & { wallet_id: bigint; expires_at: Date | number | null }
        >(
          `select g.* from ledger.grants g join ledger.wallets w on w.id = g.wallet_id
            where w.customer_id = $1`,
          [customer_id],
        )
        const grants = rows.map((row) => ({
          ...row,
          expires_at: row.expires_at instanceof Date ? row.expires_at : null,
        }))
        const now = at(2)
        const slices = await books.write((tx) => burn(tx, rows[0]?.wallet_id ?? 0n, amount, now))
        expect(slices).toEqual(burnSlices(grants, amount, now))
      },
    ),
    { numRuns: 60, seed: 20_260_301 },
  )
})

test('a spend, one alone and in a batch, takes the first grant of the pure rule', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyGrant, { minLength: 2, maxLength: 6 }), async (lots) => {
      const customer_id = `cus_first_${crypto.randomUUID()}`
      books.clock.set(at(0))
      await books.write((tx) =>
        grantMany(
          tx,
          books.clock,
          lots.map((one, index) => ({
            customer_id,
            unit: 'minute',
            amount: 10n,
            source: 'manual' as const,
            actor_id: 'x',
            source_id: `${customer_id}:${index}`,
            priority: one.priority,
            is_paid: one.is_paid,
            expires_at: one.expires_at,
          })),
        ),
      )
      const [first] = lots
        .map((one, index) =>
          lot(index, { priority: one.priority, expires_at: one.expires_at, is_paid: one.is_paid }),
        )
        .sort(compareBurnOrder)
      const { grants } = await books.wallet(customer_id)
      const done = await books.spend(customer_id, 1n)
      expect((await books.left(customer_id))[`${customer_id}:${first?.id}`]).toBe(9n)
      // A wallet shows its grants in the order they will be used.
      expect(done.slices[0]?.grant_id).toBe(grants[0]?.id)
    }),
    { numRuns: 40, seed: 7 },
  )
})
