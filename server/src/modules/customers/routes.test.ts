import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createServer } from '#http/server'
import { frozenClock } from '#kernel/clock'
import { newId } from '#kernel/ids'
import { createCursors } from '#kernel/page'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import { customerRoutes } from './index.ts'

let database: TestDatabase
let app: FastifyInstance
const clock = frozenClock()

beforeAll(async () => {
  database = await testDatabase()
  const kit = { db: database.db, clock, cursors: createCursors(Buffer.alloc(32, 1)) }
  app = await createServer({
    kit,
    version: '0.0.0',
    anonymous_per_minute: 10_000,
    log: { info: () => undefined, warn: () => undefined, error: (fields) => failures.push(fields) },
    // A caller is whoever the header says: `key:scope scope`.
    authenticate: ({ headers: { authorization } }) => {
      const [, id, scopes] = /^(\w+):(.*)$/.exec(authorization ?? '') ?? []
      return id === undefined ? undefined : { kind: 'key', id, scopes: new Set((scopes ?? '').split(' ')) }
    },
  })
  customerRoutes(app, kit)
  await app.ready()
})
afterAll(async () => {
  await app.close()
  await database.close()
})
const failures: object[] = []

const WRITER = 'key_writer:customers:write'
const READER = 'key_reader:customers:read'

function call(options: InjectOptions & { as?: string; key?: string }): Promise<LightMyRequestResponse> {
  const { as = WRITER, key, ...request } = options
  const headers = {
    ...(as === '' ? {} : { authorization: as }),
    ...(key === undefined ? {} : { 'idempotency-key': key }),
  }
  return app.inject({ ...request, headers: { ...headers, ...request.headers } })
}
const post = (body: object, options: { as?: string; key?: string } = {}) =>
  call({ method: 'POST', url: '/v1/customers', payload: body, ...options })
const get = (id: string) =>
  call({ method: 'GET', url: `/v1/customers/${encodeURIComponent(id)}`, as: READER })
const patch = (id: string, body: object) =>
  call({ method: 'PATCH', url: `/v1/customers/${encodeURIComponent(id)}`, payload: body })
const count = async (): Promise<unknown> =>
  (await database.db.pool.query('select count(*)::int as n from customers.customers')).rows[0]

describe('who may call', () => {
  const routes = [
    ['POST', '/v1/customers', READER],
    ['GET', '/v1/customers', WRITER],
    ['GET', '/v1/customers/external_id:x', WRITER],
    ['PATCH', '/v1/customers/external_id:x', READER],
  ] as const

  test.each(routes)('%s %s is not for anonymous callers', async (method, url) => {
    const answer = await call({ method, url, payload: {}, as: '' })
    expect({ status: answer.statusCode, code: answer.json<{ code: string }>().code }).toEqual({
      status: 401,
      code: 'unauthenticated',
    })
  })

  test.each(routes)('%s %s is not for a key of another scope', async (method, url, as) => {
    const answer = await call({ method, url, payload: {}, as })
    expect({ status: answer.statusCode, code: answer.json<{ code: string }>().code }).toEqual({
      status: 403,
      code: 'missing_scope',
    })
  })
})

describe('POST /v1/customers', () => {
  test('answers 201 with the customer as it is kept', async () => {
    const external_id = newId('req')
    const answer = await post({
      external_id,
      telegram_id: 7_123_456_789,
      email: 'Anna@Mail.RU',
      metadata: { a: 1 },
    })
    expect(answer.statusCode).toBe(201)
    const id = answer.json<{ id: string }>().id
    expect(answer.json()).toEqual({
      id,
      external_id,
      telegram_id: 7_123_456_789,
      email: 'anna@mail.ru',
      phone: null,
      name: null,
      locale: null,
      country: null,
      metadata: { a: 1 },
      erased_at: null,
      created_at: '2026-03-01T12:00:00.000Z',
      updated_at: '2026-03-01T12:00:00.000Z',
    })
    for (const name of [id, `external_id:${external_id}`, 'telegram_id:7123456789']) {
      expect((await get(name)).json()).toEqual(answer.json())
    }
  })

  test('takes the digits of a Telegram id as a text', async () => {
    const answer = await post({ telegram_id: '9007199254740991' })
    expect(answer.json()).toMatchObject({ telegram_id: 9_007_199_254_740_991 })
  })

  test('with the same key answers the same, byte for byte, and makes one customer', async () => {
    const key = newId('req')
    const first = await post({ name: 'Anna' }, { key })
    const before = await count()
    const again = await post({ name: 'Anna' }, { key })
    expect(again.body).toBe(first.body)
    expect(again.statusCode).toBe(201)
    expect(again.headers['idempotent-replayed']).toBe('true')
    const other = await post({ name: 'Olga' }, { key })
    expect(other.json()).toMatchObject({ status: 422, code: 'idempotency_key_reused' })
    expect(await count()).toEqual(before)
  })

  test('fifty times at once with one key makes one customer', async () => {
    const key = newId('req')
    const external_id = newId('req')
    const answers = await Promise.all(Array.from({ length: 50 }, () => post({ external_id }, { key })))
    expect(new Set(answers.map(({ body }) => body)).size).toBe(1)
    expect(new Set(answers.map(({ statusCode }) => statusCode))).toEqual(new Set([201]))
  })

  test('of a taken external id answers 409 with the id of its owner', async () => {
    const external_id = newId('req')
    const owner = (await post({ external_id })).json<{ id: string }>()
    const answer = await post({ external_id })
    expect(answer.json()).toMatchObject({ status: 409, code: 'already_exists', existing_id: owner.id })
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
  })

  test.each<[string, object, string]>([
    ['an unknown member', { extern_id: 'x' }, ''],
    ['an empty external id', { external_id: '' }, '/external_id'],
    ['an external id with a control character', { external_id: 'a\u0000' }, '/external_id'],
    ['a long external id', { external_id: 'x'.repeat(201) }, '/external_id'],
    ['a number as external id', { external_id: 5 }, '/external_id'],
    ['a fractional Telegram id', { telegram_id: 1.5 }, '/telegram_id'],
    ['a Telegram id of zero', { telegram_id: 0 }, '/telegram_id'],
    ['a Telegram id above 2^53', { telegram_id: 2 ** 53 }, '/telegram_id'],
    ['a text above 2^53 as Telegram id', { telegram_id: '9007199254740992' }, '/telegram_id'],
    ['no e-mail', { email: 'anna' }, '/email'],
    ['two e-mails', { email: 'a@b.ru,c@d.ru' }, '/email'],
    ['no phone', { phone: '89991234567' }, '/phone'],
    ['a name with a NUL', { name: 'a\u0000b' }, '/name'],
    ['half a character', { name: 'a\ud800' }, '/name'],
    ['no language', { locale: 'русский' }, '/locale'],
    ['no country', { country: 'Russia' }, '/country'],
    ['deep metadata', { metadata: { a: { b: 1 } } }, '/metadata/a'],
    ['large metadata', { metadata: { a: 'x'.repeat(1001) } }, '/metadata/a'],
    ['a NUL in metadata', { metadata: { a: '\u0000' } }, '/metadata/a'],
    ['half a character in a name of metadata', { metadata: { '\udc00': 1 } }, '/metadata'],
  ])('refuses %s and makes nothing', async (_what, body, pointer) => {
    const before = await count()
    const answer = await post(body)
    expect(answer.json()).toMatchObject({ status: 400, code: 'invalid_request' })
    const { errors } = answer.json<{ errors: { pointer: string }[] }>()
    expect(errors.some((error) => error.pointer.startsWith(pointer))).toBe(true)
    expect(await count()).toEqual(before)
  })
})

describe('GET and PATCH of one customer', () => {
  test('find it by an external id of any characters', async () => {
    const external_id = `пользователь/42?&#%: ${newId('req')}${'ж'.repeat(100)}`
    const made = (await post({ external_id })).json<{ id: string }>()
    expect((await get(`external_id:${external_id}`)).json()).toMatchObject({ id: made.id })
  })

  test.each([
    'nonsense',
    newId('cus'),
    'external_id:nobody',
    'telegram_id:0',
    'telegram_id:x',
    'a\u0000',
    '%',
  ])('answer 404 for %j', async (id) => {
    for (const answer of [await get(id), await patch(id, { name: 'x' })]) {
      expect(answer.json()).toMatchObject({ status: 404, code: 'not_found' })
    }
  })

  test('change what is given, take away what is null, and leave the rest', async () => {
    const made = (await post({ name: 'Anna', phone: '+79991234567', metadata: { a: 1 } })).json<{
      id: string
    }>()
    const answer = await patch(made.id, { name: null, country: 'RU' })
    expect(answer.statusCode).toBe(200)
    expect(answer.json()).toEqual({
      ...made,
      name: null,
      country: 'RU',
      updated_at: clock.now().toISOString(),
    })
    expect((await get(made.id)).json()).toEqual(answer.json())
  })

  test('refuse somebody else’s identity, naming the owner', async () => {
    const owner = (await post({ external_id: newId('req') })).json<{ id: string; external_id: string }>()
    const made = (await post({})).json<{ id: string }>()
    const answer = await patch(made.id, { external_id: owner.external_id })
    expect(answer.json()).toMatchObject({ status: 409, code: 'already_exists', existing_id: owner.id })
  })
})

describe('GET /v1/customers', () => {
  const list = (query: string) => call({ method: 'GET', url: `/v1/customers?${query}`, as: READER })

  test('filters and pages, newest first', async () => {
    const email = `${newId('req')}@mail.ru`
    const made = []
    for (let n = 0; n < 3; n++) made.push((await post({ email })).json<{ id: string }>())
    const first = (await list(`email=${email.toUpperCase()}&limit=2`)).json<{
      items: object[]
      next_cursor: string
    }>()
    const rest = (await list(`email=${email}&limit=2&cursor=${first.next_cursor}`)).json<{
      items: object[]
    }>()
    expect([...first.items, ...rest.items]).toEqual(made.toReversed())
    expect(rest).toMatchObject({ next_cursor: null })
  })

  test('finds by Telegram id, external id and words', async () => {
    const word = newId('req').slice(4)
    const made = (await post({ telegram_id: 42, external_id: `x-${word}`, name: `Анна ${word}` })).json<{
      id: string
    }>()
    for (const query of [
      'telegram_id=42',
      `external_id=x-${word}`,
      `query=${encodeURIComponent(`анн ${word}`)}`,
    ]) {
      expect((await list(query)).json()).toEqual({ items: [made], next_cursor: null })
    }
  })

  test.each([
    'limit=0',
    'limit=201',
    'limit=x',
    'cursor=x',
    'telegram_id=x',
    'query=',
    'external_id=%00',
    'email=%00',
    'query=%00',
  ])('refuses %s', async (query) => {
    expect((await list(query)).json()).toMatchObject({ status: 400, code: 'invalid_request' })
  })
})

test('no request here was a failure of ours', () => {
  expect(failures).toEqual([])
})
