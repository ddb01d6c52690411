import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { InvalidState } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { testDatabase, type TestDatabase } from '../../test/db.ts'
import { addRoute } from './routing.ts'
import { openLab, type Lab } from './server.fixtures/lab.ts'
import { amount, timestamp } from './wire.ts'

let database: TestDatabase
let lab: Lab
let runs = 0
const resources: string[] = []
let is_world_down = false

beforeAll(async () => {
  database = await testDatabase()
  lab = await openLab(
    (app, kit) => {
      const thing = z.object({ id: z.string(), amount, at: timestamp })
      const body = z.strictObject({ amount, is_refused: z.boolean().optional() })
      addRoute(app, kit, {
        method: 'POST',
        url: '/write',
        who: { key: 'any' },
        summary: 'Write',
        tag: 't',
        status: 201,
        body,
        answer: thing,
        write: async (tx, call) => {
          runs++
          await tx
            .insertInto('kernel.settings')
            .values({ name: `test_${newId('req')}`, value: '1' })
            .execute()
          if (call.body.is_refused) throw new InvalidState('refused')
          return {
            id: `thing_${runs}`,
            amount: call.body.amount,
            at: new Date('2026-03-01T00:00:00Z'),
            extra: 'never shown',
          }
        },
      })
      addRoute(app, kit, {
        method: 'POST',
        url: '/across',
        who: { key: 'any' },
        summary: 'Across',
        tag: 't',
        body,
        answer: thing,
        across: {
          prefix: 'ord',
          work: async (resource_id, call) => {
            resources.push(resource_id)
            if (is_world_down) throw new InvalidState('the world says no')
            return { id: resource_id, amount: call.body.amount, at: new Date(0) }
          },
        },
      })
      addRoute(app, kit, {
        method: 'POST',
        url: '/secret',
        who: { key: 'any' },
        summary: 'Secret',
        tag: 't',
        answer: z.object({ id: z.string(), secret: z.string().nullable() }),
        shown_once: ['secret'],
        write: () => Promise.resolve({ id: 'x', secret: `s3cret-${newId('req')}` }),
      })
      addRoute(app, kit, {
        method: 'POST',
        url: '/fast',
        who: { key: 'any' },
        summary: 'Fast',
        tag: 't',
        status: 201,
        body,
        answer: thing,
        encode: (given) => `{"id":"${given.id}","amount":${given.amount},"at":"${given.at.toISOString()}"}`,
        read: async (call) => {
          call.is_replay = call.idempotency_key === 'again'
          return { id: call.idempotency_key, amount: call.body.amount, at: new Date(0) }
        },
      })
      addRoute(app, kit, {
        method: 'POST',
        url: '/quote',
        who: { key: 'any' },
        summary: 'Quote',
        tag: 't',
        is_keyed: false,
        body,
        answer: z.object({ amount }),
        read: (call) => ({ amount: call.body.amount }),
      })
    },
    { db: database.db },
  )
})
afterAll(async () => {
  await lab.app.close()
  await database.close()
})

const ask = (url: string, key: string | undefined, payload: object, who = 'root') =>
  lab.app.inject({
    method: 'POST',
    url,
    payload,
    headers: { authorization: `Bearer ${who}`, ...(key === undefined ? {} : { 'idempotency-key': key }) },
  })

const settings = async (): Promise<number> => {
  const { rows } = await database.db.pool.query<{ count: bigint }>(
    `select count(*) from kernel.settings where name like 'test_%'`,
  )
  return Number(rows[0]?.count)
}

describe('a write', () => {
  test('answers once per key, the same bytes again, and does nothing the second time', async () => {
    const [runs_before, rows_before] = [runs, await settings()]
    const first = await ask('/write', 'w1', { amount: 5 })
    const second = await ask('/write', 'w1', { amount: 5 })
    expect([first.statusCode, second.statusCode, first.body === second.body]).toEqual([201, 201, true])
    expect(first.json()).toEqual({ id: expect.any(String), amount: 5, at: '2026-03-01T00:00:00.000Z' })
    expect([first.headers['idempotent-replayed'], second.headers['idempotent-replayed']]).toEqual([
      undefined,
      'true',
    ])
    expect(first.headers['content-type']).toBe('application/json; charset=utf-8')
    expect([runs - runs_before, (await settings()) - rows_before]).toEqual([1, 1])
  })

  test('of fifty with one key at once, one works and all get its answer or are told to wait', async () => {
    const [runs_before, rows_before] = [runs, await settings()]
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask('/write', 'w50', { amount: 5 })))
    expect(new Set(answers.map((answer) => answer.body)).size).toBe(1)
    expect(new Set(answers.map((answer) => answer.statusCode))).toEqual(new Set([201]))
    expect([runs - runs_before, (await settings()) - rows_before]).toEqual([1, 1])
  })

  test('refuses the key for another body, and knows no key of another caller', async () => {
    await ask('/write', 'w2', { amount: 5 })
    const reused = await ask('/write', 'w2', { amount: 6 })
    expect([reused.statusCode, reused.json().code]).toEqual([422, 'idempotency_key_reused'])
    const other = await ask('/write', 'w2', { amount: 6 }, 'reader')
    expect([other.statusCode, other.headers['idempotent-replayed']]).toEqual([201, undefined])
  })

  test('a refusal leaves nothing behind, and the key may be used again', async () => {
    const rows_before = await settings()
    const refused = await ask('/write', 'w3', { amount: 5, is_refused: true })
    expect([refused.statusCode, refused.json().code, (await settings()) - rows_before]).toEqual([
      409,
      'invalid_state',
      0,
    ])
    expect((await ask('/write', 'w3', { amount: 5, is_refused: false })).statusCode).toBe(201)
  })
})

describe('work across the outside world', () => {
  test('gets the same id again after it failed, and its answer is kept', async () => {
    is_world_down = true
    expect((await ask('/across', 'a1', { amount: 5 })).statusCode).toBe(409)
    is_world_down = false
    const first = await ask('/across', 'a1', { amount: 5 })
    const second = await ask('/across', 'a1', { amount: 5 })
    expect(new Set(resources)).toEqual(new Set([first.json().id]))
    expect(resources).toHaveLength(2)
    expect([second.body, second.headers['idempotent-replayed']]).toEqual([first.body, 'true'])
  })
})

describe('a secret', () => {
  test('is in the first answer, and neither in replays nor in the database', async () => {
    const first = await ask('/secret', 's1', {})
    const { id, secret } = first.json()
    expect([id, String(secret).startsWith('s3cret-')]).toEqual(['x', true])
    const second = await ask('/secret', 's1', {})
    expect([second.json(), second.headers['idempotent-replayed']]).toEqual([
      { id: 'x', secret: null },
      'true',
    ])
    const { rows } = await database.db.pool.query('select * from kernel.idempotency_keys')
    expect(
      JSON.stringify(rows, (_name, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
    ).not.toContain('s3cret-')
  })
})

describe('a hot route', () => {
  test('writes its answer by itself, as its schema says', async () => {
    const answer = await ask('/fast', 'f1', { amount: 5 })
    expect([answer.statusCode, answer.headers['content-type']]).toEqual([
      201,
      'application/json; charset=utf-8',
    ])
    expect(answer.json()).toEqual({ id: 'f1', amount: 5, at: '1970-01-01T00:00:00.000Z' })
    expect(answer.headers['idempotent-replayed']).toBeUndefined()
  })

  test('says itself that an answer is a replay', async () => {
    expect((await ask('/fast', 'again', { amount: 5 })).headers['idempotent-replayed']).toBe('true')
  })

  test('a POST that takes no key makes none', async () => {
    const answer = await ask('/quote', 'q', { amount: 5 })
    expect([answer.statusCode, answer.json(), answer.headers['idempotency-key']]).toEqual([
      200,
      { amount: 5 },
      undefined,
    ])
  })
})
