import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { testDatabase, type TestDatabase } from '../../test/db.ts'
import { frozenClock } from './clock.ts'
import type { Tx } from './db.ts'
import { InvalidState } from './errors.ts'
import { answerOnce, answerOnceAcross, canonicalJson, digestInput, type KeyedRequest } from './idempotency.ts'
import { deleteOldKeys } from './idempotency-queries.ts'

let database: TestDatabase
const clock = frozenClock()
let keys = 0

beforeAll(async () => {
  database = await testDatabase()
  await database.db.transact(async (tx) => {
    await sql`create table kernel.effects (id bigint generated always as identity, name text)`.execute(tx)
  })
})

afterAll(async () => {
  await database.close()
})

const ask = (changes: Partial<KeyedRequest> = {}): KeyedRequest => ({
  actor_id: 'key_1',
  route: 'POST /v1/things',
  key: `k${(keys += 1)}`,
  input: { body: { amount: 5n } },
  ...changes,
})

/** An effect that leaves a row and an answer that is never the same twice. */
const effect = (name: string) => async (tx: Tx) => {
  const { rows } = await sql<{
    id: bigint
  }>`insert into kernel.effects (name) values (${name}) returning id`.execute(tx)
  return { status: 201, body: { id: rows[0]?.id, at: Math.random() } }
}

async function effects(name: string): Promise<number> {
  const { rows } = await sql<{
    count: number
  }>`select count(*)::int as count from kernel.effects where name = ${name}`.execute(database.db)
  return rows[0]?.count ?? 0
}

describe('a request that writes', () => {
  test('is answered the same, byte for byte, and done once', async () => {
    const request = ask()
    const first = await answerOnce(database.db, clock, request, effect('once'))
    const second = await answerOnce(database.db, clock, request, effect('once'))
    expect(first).toMatchObject({ status: 201, is_replay: false })
    expect(second).toEqual({ ...first, is_replay: true })
    expect(await effects('once')).toBe(1)
  })

  test('fifty at once are one effect and fifty equal answers', async () => {
    const request = ask()
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => answerOnce(database.db, clock, request, effect('fifty'))),
    )
    expect(new Set(answers.map((answer) => answer.text)).size).toBe(1)
    expect(answers.filter((answer) => !answer.is_replay)).toHaveLength(1)
    expect(await effects('fifty')).toBe(1)
  })

  test('with another body under the same key is refused and changes nothing', async () => {
    const request = ask()
    await answerOnce(database.db, clock, request, effect('reused'))
    const other = answerOnce(
      database.db,
      clock,
      { ...request, input: { body: { amount: 6n } } },
      effect('reused'),
    )
    await expect(other).rejects.toMatchObject({ code: 'idempotency_key_reused', status: 422 })
    expect(await effects('reused')).toBe(1)
  })

  test('the same key of another actor or on another route is another request', async () => {
    const request = ask()
    await answerOnce(database.db, clock, request, effect('others'))
    await answerOnce(database.db, clock, { ...request, actor_id: 'key_2' }, effect('others'))
    await answerOnce(database.db, clock, { ...request, route: 'POST /v1/other' }, effect('others'))
    expect(await effects('others')).toBe(3)
  })

  test('that fails leaves nothing behind, and the key may be tried again', async () => {
    const request = ask()
    const failing = answerOnce(database.db, clock, request, async (tx) => {
      await effect('failed')(tx)
      throw new InvalidState('not now')
    })
    await expect(failing).rejects.toThrow('not now')
    expect(await effects('failed')).toBe(0)
    expect(await answerOnce(database.db, clock, request, effect('failed'))).toMatchObject({
      is_replay: false,
    })
    expect(await effects('failed')).toBe(1)
  })

  test('a rival waits for the first one; when that fails, the rival does the work', async () => {
    const request = ask()
    const slow = answerOnce(database.db, clock, request, async () => {
      await sleep(100)
      throw new InvalidState('the first fails')
    })
    slow.catch(() => undefined)
    await sleep(20)
    expect(await answerOnce(database.db, clock, request, effect('rival'))).toMatchObject({ is_replay: false })
    await expect(slow).rejects.toThrow('the first fails')
  })
})

describe('a request that spans the outside world', () => {
  const across = (request: KeyedRequest, work: (id: string) => Promise<{ status: number; body: unknown }>) =>
    answerOnceAcross(database.db, clock, request, 'pay', work)

  test('is answered the same and called once; the id is its resource’s', async () => {
    const request = ask()
    const ids: string[] = []
    const work = async (id: string) => {
      ids.push(id)
      return { status: 200, body: { id } }
    }
    const first = await across(request, work)
    expect(await across(request, work)).toEqual({ ...first, is_replay: true })
    expect(ids).toEqual([expect.stringMatching(/^pay_/)])
    expect(JSON.parse(first.text)).toEqual({ id: ids[0] })
  })

  test('while it runs the same key is told to come back; another body is refused even then', async () => {
    const request = ask()
    let finish = (): void => undefined
    const first = across(request, async (id) => {
      await new Promise<void>((resolve) => (finish = resolve))
      return { status: 200, body: { id } }
    })
    await sleep(50)
    await expect(across(request, async () => ({ status: 200, body: 'twice' }))).rejects.toMatchObject({
      code: 'idempotency_in_progress',
      status: 409,
    })
    await expect(
      across({ ...request, input: 'other' }, async () => ({ status: 200, body: 'twice' })),
    ).rejects.toMatchObject({ code: 'idempotency_key_reused' })
    finish()
    expect((await first).is_replay).toBe(false)
  })

  test('fifty at once call the world once', async () => {
    const request = ask()
    let calls = 0
    const outcomes = await Promise.allSettled(
      Array.from({ length: 50 }, () =>
        across(request, async (id) => {
          calls += 1
          await sleep(30)
          return { status: 200, body: { id } }
        }),
      ),
    )
    expect(calls).toBe(1)
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled').length).toBeGreaterThanOrEqual(1)
  })

  test('that failed goes on at once with the same id', async () => {
    const request = ask()
    const ids: string[] = []
    const failing = across(request, async (id) => {
      ids.push(id)
      throw new Error('the vendor is away')
    })
    await expect(failing).rejects.toThrow('the vendor is away')
    await across(request, async (id) => {
      ids.push(id)
      return { status: 200, body: {} }
    })
    expect(ids[1]).toBe(ids[0])
  })

  test('whose process died is taken over after its lease, with the same id, by one of many', async () => {
    const request = ask()
    const ids: string[] = []
    const died = across(request, (id) => {
      ids.push(id)
      return new Promise(() => undefined)
    })
    died.catch(() => undefined)
    await sleep(50)
    await expect(across(request, async () => ({ status: 200, body: {} }))).rejects.toMatchObject({
      code: 'idempotency_in_progress',
    })
    clock.advance(46_000)
    let calls = 0
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, () =>
        across(request, async (id) => {
          calls += 1
          ids.push(id)
          await sleep(30)
          return { status: 200, body: { id } }
        }),
      ),
    )
    expect(calls).toBe(1)
    expect(new Set(ids).size).toBe(1)
    expect(outcomes.some((outcome) => outcome.status === 'fulfilled')).toBe(true)
  })

  test('the late answer of one that was overtaken does not replace the first', async () => {
    const request = ask()
    let finish = (): void => undefined
    const slow = across(request, async () => {
      await new Promise<void>((resolve) => (finish = resolve))
      return { status: 200, body: 'late' }
    })
    await sleep(50)
    clock.advance(46_000)
    const taken = await across(request, async () => ({ status: 200, body: 'in time' }))
    finish()
    const late = await slow
    expect(taken.text).toBe('"in time"')
    expect(late.text).toBe('"in time"')
    expect((await across(request, async () => ({ status: 200, body: 'third' }))).text).toBe('"in time"')
  })

  test('one that was overtaken and then fails does not free the claim of the other', async () => {
    const request = ask()
    let fail = (): void => undefined
    const slow = across(request, async () => {
      await new Promise<void>((resolve) => (fail = resolve))
      throw new Error('too late')
    })
    slow.catch(() => undefined)
    await sleep(50)
    clock.advance(46_000)
    let finish = (): void => undefined
    const taking = across(request, async () => {
      await new Promise<void>((resolve) => (finish = resolve))
      return { status: 200, body: 'taken over' }
    })
    await sleep(50)
    fail()
    await expect(slow).rejects.toThrow('too late')
    await expect(across(request, async () => ({ status: 200, body: 'a third' }))).rejects.toMatchObject({
      code: 'idempotency_in_progress',
    })
    finish()
    expect((await taking).text).toBe('"taken over"')
  })
})

describe('what makes two requests equal', () => {
  test('the order of members does not matter, everything else does', () => {
    const same = [
      { a: 1, b: { c: [1, 2], d: null } },
      { b: { d: null, c: [1, 2] }, a: 1 },
      { a: 1n, b: { c: [1, 2], d: null, e: undefined } },
    ]
    expect(new Set(same.map((input) => digestInput(input).toString('hex'))).size).toBe(1)
    const different = [
      { a: 1 },
      { a: '1' },
      { a: [1] },
      { a: null },
      {},
      { a: { b: 1 } },
      { 'a":1,"b': 1 },
      [1],
      1,
      '1',
      null,
      true,
      { a: 1.5 },
    ]
    expect(new Set(different.map((input) => digestInput(input).toString('hex'))).size).toBe(different.length)
  })

  test('moments are equal when they are the same moment', () => {
    expect(canonicalJson({ at: new Date('2026-03-01T15:00:00+03:00') })).toBe(
      canonicalJson({ at: new Date('2026-03-01T12:00:00Z') }),
    )
  })

  test('the canonical text of JSON is JSON with the same meaning', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })
})

test('old keys are forgotten in bounded steps, young ones are kept', async () => {
  const old = frozenClock('2020-01-01T00:00:00Z')
  for (let n = 0; n < 5; n++) await answerOnce(database.db, old, ask({ key: `old${n}` }), effect('old'))
  const before = new Date('2021-01-01T00:00:00Z')
  const deleted: number[] = []
  for (let n = 0; n < 4; n++) deleted.push(await database.db.transact((tx) => deleteOldKeys(tx, before, 2)))
  expect(deleted).toEqual([2, 2, 1, 0])
})
