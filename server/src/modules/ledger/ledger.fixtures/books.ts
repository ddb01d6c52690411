import { randomUUID } from 'node:crypto'
import { frozenClock, type MovableClock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { testDatabase, type TestDatabase } from '../../../../test/db.ts'
import {
  createLedgerKit,
  ensureUnit,
  grant,
  ledgerInvariants,
  readWallet,
  spend,
  stopLedger,
  verify,
  type LedgerKit,
  type NewGrant,
  type NewSpend,
  type Spend,
  type Wallet,
} from '../index.ts'

/**
 * A ledger of a test file's own, with the units `minute` (of 60), `point` and `credit`, which may be owed.
 */
export interface Books extends LedgerKit {
  clock: MovableClock
  url: string
  /** Runs a verb in a transaction of its own. */
  write<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /** Gives a customer minutes, free and without end unless said otherwise; answers the grant's id. */
  give(customer_id: string, amount: bigint, facts?: Partial<NewGrant>): Promise<string>
  /** Spends minutes through the lanes. */
  spend(customer_id: string, amount: bigint, facts?: Partial<NewSpend>): Promise<Spend>
  /** The wallet of minutes, or of another unit. */
  wallet(customer_id: string, unit?: string): Promise<Wallet>
  /** Remaining units of a customer's grants by the name they were made with. */
  left(customer_id: string, unit?: string): Promise<Record<string, bigint>>
  /** What verification finds: sentences. */
  findings(): Promise<string[]>
  /** Runs statements as they are. */
  run(statement: string, values?: unknown[]): Promise<Record<string, unknown>[]>
  /** Lets the append-only table be changed, as somebody would who wants to cheat. */
  unlock(): Promise<void>
  close(): Promise<void>
}

/** An actor and a key that were not used before. */
export function keyed(idempotency_key: string = randomUUID()): { actor_id: string; idempotency_key: string } {
  return { actor_id: 'key_test', idempotency_key }
}

/** Opens books that belong to the calling test file. */
export async function openBooks(options: { lanes?: number; batch_max?: number } = {}): Promise<Books> {
  const database = await testDatabase()
  const clock = frozenClock()
  const kit = createLedgerKit(database.db, clock, options)
  const books = booksOf(database, kit, clock)
  await books.write(async (tx) => {
    await ensureUnit(tx, clock, { code: 'minute', scale: 60n, name: 'Minute' })
    await ensureUnit(tx, clock, { code: 'point', scale: 1n, name: 'Point' })
    await ensureUnit(tx, clock, { code: 'credit', scale: 1n, name: 'Credit', is_debt_allowed: true })
  })
  return books
}

function booksOf(database: TestDatabase, kit: LedgerKit, clock: MovableClock): Books {
  const { db, url } = database
  const books: Books = {
    ...kit,
    clock,
    url,
    write: (work) => db.transact(work),
    give: async (customer_id, amount, facts = {}) => {
      const { id } = await books.write((tx) =>
        grant(tx, clock, {
          customer_id,
          unit: 'minute',
          amount,
          source: 'manual',
          source_id: randomUUID(),
          actor_id: 'key_test',
          ...facts,
        }),
      )
      return id
    },
    spend: (customer_id, amount, facts = {}) =>
      spend(kit, { customer_id, unit: 'minute', amount, ...keyed(), ...facts }),
    wallet: (customer_id, unit = 'minute') => readWallet(db, clock, { customer_id, unit }),
    left: async (customer_id, unit = 'minute') => {
      const { rows } = await db.pool.query<{ source_id: string; remaining: bigint }>(
        `select g.source_id, g.remaining from ledger.grants g join ledger.wallets w on w.id = g.wallet_id
         where w.customer_id = $1 and w.unit = $2 order by g.id`,
        [customer_id, unit],
      )
      return Object.fromEntries(rows.map((row) => [row.source_id, row.remaining]))
    },
    findings: async () => {
      const { findings } = await verify(db, clock, ledgerInvariants)
      return findings.map(({ invariant, detail }) => `${invariant}: ${detail}`)
    },
    run: async (statement, values) => (await db.pool.query<Record<string, unknown>>(statement, values)).rows,
    unlock: async () => {
      await db.pool.query('grant update, delete on ledger.transfers to current_user')
      await db.pool.query('alter table ledger.transfers disable trigger user')
      await db.pool.query('alter table ledger.grants disable trigger user')
    },
    close: async () => {
      await stopLedger(kit)
      await database.close()
    },
  }
  return books
}
