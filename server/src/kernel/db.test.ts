import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { testDatabase, type TestDatabase } from '../../test/db.ts'
import { afterCommit, asOperational, createDb, type Tx } from './db.ts'
import { AssertionFailed, InvalidState, isDatabaseUnavailable, OperationalError, sqlState } from './errors.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await testDatabase()
  await database.db.transact(async (tx) => {
    await sql`create table kernel.things (
      id int primary key, amount bigint not null, made_on date, tags bigint[])`.execute(tx)
  })
})

afterAll(async () => {
  await database.close()
})

async function put(tx: Tx, id: number, amount: bigint): Promise<void> {
  await sql`insert into kernel.things (id, amount) values (${id}, ${amount})
    on conflict (id) do update set amount = excluded.amount`.execute(tx)
}

async function amountOf(id: number): Promise<bigint | undefined> {
  const { rows } = await sql<{ amount: bigint }>`select amount from kernel.things where id = ${id}`.execute(
    database.db,
  )
  return rows[0]?.amount
}

describe('a statement', () => {
  test('that begins with a name is prepared once in its connection, and no other is', async () => {
    await database.db.transact(async (tx) => {
      const named = (id: number) => sql<{ n: number }>`/* kernel.tryOut */ select ${id}::int as n`.execute(tx)
      expect([(await named(1)).rows[0]?.n, (await named(2)).rows[0]?.n]).toEqual([1, 2])
      await sql`select ${3}::int as n`.execute(tx)
      const { rows } = await sql`select name from pg_prepared_statements`.execute(tx)
      expect(rows).toEqual([{ name: 'kernel.tryOut' }])
      await expect(sql`/* kernel.tryOut */ select 4`.execute(tx)).rejects.toThrow(/unique/)
    })
  })
})

describe('a transaction', () => {
  test('does all of it or nothing', async () => {
    await database.db.transact((tx) => put(tx, 1, 10n))
    await expect(
      database.db.transact(async (tx) => {
        await put(tx, 1, 20n)
        throw new InvalidState('no')
      }),
    ).rejects.toThrow(InvalidState)
    expect(await amountOf(1)).toBe(10n)
  })

  test('reads inside see its own writes', async () => {
    await database.db.transact(async (tx) => {
      await put(tx, 2, 7n)
      const { rows } = await sql<{ amount: bigint }>`select amount from kernel.things where id = 2`.execute(
        tx,
      )
      expect(rows).toEqual([{ amount: 7n }])
    })
  })

  test('db cannot be used inside: not to read, not to open another', async () => {
    const { db } = database
    const attempts: (() => unknown)[] = [
      () => db.selectFrom('kernel.settings'),
      () => db.with('x', (eb) => eb.selectFrom('kernel.settings').selectAll()),
      () => sql`select 1`.execute(db),
      () => db.transact(async () => 1),
    ]
    for (const attempt of attempts) {
      await expect(db.transact(async () => attempt())).rejects.toThrow(AssertionFailed)
    }
    expect(await db.transact(async () => 'fine')).toBe('fine')
  })

  test('the tripwire reaches through helpers and awaits, and is gone afterwards', async () => {
    const { db } = database
    const helper = async () => {
      await sleep(1)
      return db.selectFrom('kernel.settings').selectAll().execute()
    }
    await expect(db.transact(async () => helper())).rejects.toThrow(AssertionFailed)
    expect(await helper()).toEqual([])
  })

  test('work that a transaction started and that outlives it may use db again', async () => {
    const { db } = database
    let later: Promise<unknown> = Promise.resolve()
    await db.transact(async () => {
      later = (async () => {
        await sleep(50)
        return db.selectFrom('kernel.settings').selectAll().execute()
      })()
    })
    expect(await later).toEqual([])
  })

  test('a deadlock is tried again, and both sides get through', async () => {
    await database.db.transact(async (tx) => {
      await put(tx, 11, 0n)
      await put(tx, 12, 0n)
    })
    let attempts = 0
    let holding = 0
    const both = Promise.withResolvers<void>()
    const add = (first: number, second: number) =>
      database.db.transact(async (tx) => {
        attempts += 1
        await sql`update kernel.things set amount = amount + 1 where id = ${first}`.execute(tx)
        // Each holds its first row before either asks for the other's.
        holding += 1
        if (holding === 2) both.resolve()
        await both.promise
        await sql`update kernel.things set amount = amount + 1 where id = ${second}`.execute(tx)
      })
    await Promise.all([add(11, 12), add(12, 11)])
    expect(attempts).toBeGreaterThan(2)
    expect([await amountOf(11), await amountOf(12)]).toEqual([2n, 2n])
  })

  test('a serialization failure is tried again', async () => {
    await database.db.transact((tx) => put(tx, 21, 0n))
    const add = () =>
      database.db.transact(
        async (tx) => {
          const { rows } = await sql<{
            amount: bigint
          }>`select amount from kernel.things where id = 21`.execute(tx)
          await sleep(20)
          await put(tx, 21, (rows[0]?.amount ?? 0n) + 1n)
        },
        { isolation: 'serializable' },
      )
    await Promise.all([add(), add()])
    expect(await amountOf(21)).toBe(2n)
  })

  test('it is not tried for ever: after the third time the caller hears that it is busy', async () => {
    let attempts = 0
    const failing = database.db.transact(async (tx) => {
      attempts += 1
      await sql`do $$ begin raise exception 'busy' using errcode = '40001'; end $$`.execute(tx)
    })
    await expect(failing).rejects.toMatchObject({ code: 'database_unavailable', status: 503 })
    expect(attempts).toBe(3)
  })

  test('other errors of the database come as they are, once', async () => {
    let attempts = 0
    const failing = database.db.transact(async (tx) => {
      attempts += 1
      await sql`insert into kernel.things (id, amount) values (31, null)`.execute(tx)
    })
    const error: unknown = await failing.catch((caught: unknown) => caught)
    expect(sqlState(error)).toBe('23502')
    expect(attempts).toBe(1)
  })

  test('read only means it', async () => {
    await expect(database.db.transact((tx) => put(tx, 41, 1n), { read_only: true })).rejects.toThrow(
      'read-only',
    )
  })

  test('a connection lost in its middle fails it and leaves the process and the pool well', async () => {
    const failing = database.db.transact(async (tx) => {
      await put(tx, 51, 1n)
      const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx)
      await database.db.pool.query('select pg_terminate_backend($1)', [rows[0]?.pid])
      await sleep(100)
      await put(tx, 51, 2n)
    })
    await expect(failing).rejects.toMatchObject({ code: 'database_unavailable' })
    expect(await amountOf(51)).toBeUndefined()
    await database.db.transact((tx) => put(tx, 51, 3n))
    expect(await amountOf(51)).toBe(3n)
  })
})

describe('after the commit', () => {
  test('work runs when the transaction has committed, before its caller goes on', async () => {
    const order: string[] = []
    await database.db.transact(async (tx) => {
      afterCommit(() => order.push('after'))
      await put(tx, 61, 1n)
      order.push('inside')
    })
    order.push('caller')
    expect(order).toEqual(['inside', 'after', 'caller'])
  })

  test('nothing runs when it is rolled back, and once when it is repeated', async () => {
    const runs: number[] = []
    await database.db
      .transact(async () => {
        afterCommit(() => runs.push(0))
        throw new InvalidState('no')
      })
      .catch(() => undefined)
    let attempts = 0
    await database.db.transact(async (tx) => {
      attempts += 1
      const attempt = attempts
      afterCommit(() => runs.push(attempt))
      if (attempt < 3)
        await sql`do $$ begin raise exception 'busy' using errcode = '40001'; end $$`.execute(tx)
    })
    expect(runs).toEqual([3])
  })

  test('outside of a transaction it runs at once', () => {
    let runs = 0
    afterCommit(() => (runs += 1))
    expect(runs).toBe(1)
  })
})

describe('values', () => {
  test('bigint, arrays of them and dates arrive exact', async () => {
    await database.db.transact(async (tx) => {
      await sql`insert into kernel.things (id, amount, made_on, tags)
        values (71, 9223372036854775807, '2026-03-29', '{1,9007199254740993}')`.execute(tx)
    })
    const { rows } =
      await sql<object>`select amount, made_on, tags, sum(amount)::int8 as total from kernel.things
      where id = 71 group by id`.execute(database.db)
    expect(rows).toEqual([
      {
        amount: 9_223_372_036_854_775_807n,
        made_on: '2026-03-29',
        tags: [1n, 9_007_199_254_740_993n],
        total: 9_223_372_036_854_775_807n,
      },
    ])
  })

  test('an empty array of bigints and one with a null', async () => {
    const { rows } = await sql<object>`select '{}'::int8[] as none, '{1,NULL}'::int8[] as some`.execute(
      database.db,
    )
    expect(rows).toEqual([{ none: [], some: [1n, null] }])
  })

  test('the session speaks UTC', async () => {
    const { rows } = await sql<object>`select current_setting('timezone') as zone`.execute(database.db)
    expect(rows).toEqual([{ zone: 'UTC' }])
  })
})

describe('a database that is away', () => {
  test('is an OperationalError, soon, and not a crash', async () => {
    const db = createDb({ url: 'postgres://nobody:x@127.0.0.1:1/none' })
    await expect(db.transact(async (tx) => put(tx, 1, 1n))).rejects.toThrow(OperationalError)
    await db.close()
  })

  test('what is the world’s failure and what is ours', () => {
    for (const code of [
      '08006',
      '57P01',
      '53300',
      '55P03',
      '57014',
      '40P01',
      'ECONNREFUSED',
      'ETIMEDOUT',
      'EPIPE',
      'ECONNRESET',
    ]) {
      expect(isDatabaseUnavailable(Object.assign(new Error('x'), { code })), code).toBe(true)
    }
    for (const code of ['23505', '42P01', '22P02', 'P0001', 'ENOENT']) {
      expect(isDatabaseUnavailable(Object.assign(new Error('x'), { code })), code).toBe(false)
    }
    const ours = new InvalidState('no')
    expect(asOperational(ours)).toBe(ours)
    expect(asOperational('text')).toBe('text')
  })

  test('a statement may take its time as long as the database lives', { timeout: 20_000 }, async () => {
    const { rows } = await database.db.transact((tx) =>
      sql<{ done: number }>`select 1 as done from pg_sleep(4)`.execute(tx),
    )
    expect(rows).toEqual([{ done: 1 }])
  })

  test(
    'a pool with no connection left answers in time instead of waiting for ever',
    { timeout: 20_000 },
    async () => {
      const db = createDb({ url: database.url, max: 1 })
      let release = (): void => undefined
      const holding = db.transact(() => new Promise<void>((resolve) => (release = resolve)))
      await sleep(50)
      const started = performance.now()
      await expect(db.transact(async () => 1)).rejects.toThrow(OperationalError)
      expect(performance.now() - started).toBeLessThan(8_000)
      release()
      await holding
      await db.close()
    },
  )
})
