import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createServer } from '#http/server'
import { frozenClock } from '#kernel/clock'
import { newId } from '#kernel/ids'
import { createCursors } from '#kernel/page'
import { ensureUnit } from '#modules/ledger'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import { catalogRoutes } from './index.ts'

let database: TestDatabase
let app: FastifyInstance
const clock = frozenClock()
const failures: object[] = []

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
  catalogRoutes(app, kit)
  await app.ready()
  await database.db.transact((tx) => ensureUnit(tx, clock, { code: 'minute', scale: 60n, name: 'Minute' }))
})
afterAll(async () => {
  await app.close()
  await database.close()
})
// Every test sees only its own shop.
beforeEach(() => database.db.pool.query('update catalog.products set is_active = false'))

const WRITER = 'key_writer:catalog:write'
const READER = 'key_reader:catalog:read'

function call(options: InjectOptions & { as?: string; key?: string }): Promise<LightMyRequestResponse> {
  const { as = WRITER, key, ...request } = options
  const headers = {
    ...(as === '' ? {} : { authorization: as }),
    ...(key === undefined ? {} : { 'idempotency-key': key }),
  }
  return app.inject({ ...request, headers: { ...headers, ...request.headers } })
}
const post = (url: string, body: object, key?: string) =>
  call({ method: 'POST', url, payload: body, ...(key === undefined ? {} : { key }) })
const patch = (url: string, body: object) => call({ method: 'PATCH', url, payload: body })
const get = (url: string, as = READER, headers: Record<string, string> = {}) =>
  call({ method: 'GET', url, as, headers })
const rows = async (): Promise<unknown> => {
  const tables = ['products', 'product_versions', 'product_grants', 'prices']
  const counts = tables.map((table) => `(select count(*) from catalog.${table})`)
  return (await database.db.pool.query(`select ${counts.join(' + ')} as n`)).rows[0]
}

const MINUTES = { unit: 'minute', amount: 1800, validity_days: 90 }
const product = (facts: object = {}) => ({
  key: `p${newId('req').slice(4)}`,
  name: '30 minutes',
  grants: [MINUTES],
  ...facts,
})
const made = async (facts: object = {}): Promise<{ id: string; key: string }> =>
  (await post('/v1/products', product(facts))).json()

describe('who may call', () => {
  const routes = [
    ['POST', '/v1/products', READER],
    ['GET', '/v1/products', WRITER],
    ['GET', '/v1/products/x', WRITER],
    ['PATCH', '/v1/products/x', READER],
    ['POST', '/v1/prices', READER],
    ['GET', '/v1/prices', WRITER],
    ['GET', '/v1/prices/x', WRITER],
    ['PATCH', '/v1/prices/x', READER],
  ] as const

  test.each(routes)('%s %s is not for anonymous callers', async (method, url) => {
    const answer = await call({ method, url, payload: {}, as: '' })
    expect(answer.json()).toMatchObject({ status: 401, code: 'unauthenticated' })
  })

  test.each(routes)('%s %s is not for a key of another scope', async (method, url, as) => {
    const answer = await call({ method, url, payload: {}, as })
    expect(answer.json()).toMatchObject({ status: 403, code: 'missing_scope' })
  })

  test('GET /v1/catalog is for everybody', async () => {
    expect((await get('/v1/catalog', '')).json()).toEqual({ items: [], next_cursor: null })
    expect((await get('/v1/catalog', 'key_any:orders:read')).statusCode).toBe(200)
  })
})

describe('POST /v1/products', () => {
  test('answers 201 with the product as it is kept', async () => {
    const body = product({
      names: { ru: '30 минут' },
      visible_from: '2026-03-01T15:00:00+03:00',
      grants: [MINUTES, { unit: 'minute', amount: 9_007_199_254_740_991, source: 'bonus' }],
      metadata: { badge: 'new' },
    })
    const answer = await post('/v1/products', body)
    expect(answer.statusCode).toBe(201)
    const { id } = answer.json<{ id: string }>()
    expect(answer.json()).toEqual({
      id,
      key: body.key,
      kind: 'pack',
      version: 1,
      name: '30 minutes',
      names: { ru: '30 минут' },
      description: null,
      descriptions: {},
      position: 0,
      visible_from: '2026-03-01T12:00:00.000Z',
      visible_until: null,
      is_active: true,
      grants: [
        { ...MINUTES, priority: 50, source: 'purchase', is_paid: true },
        {
          unit: 'minute',
          amount: 9_007_199_254_740_991,
          validity_days: null,
          priority: 20,
          source: 'bonus',
          is_paid: false,
        },
      ],
      metadata: { badge: 'new' },
      created_at: clock.now().toISOString(),
      updated_at: clock.now().toISOString(),
    })
    expect((await get(`/v1/products/${id}`)).json()).toEqual(answer.json())
    expect((await get(`/v1/products?key=${body.key}`)).json()).toEqual({
      items: [answer.json()],
      next_cursor: null,
    })
  })

  test('with the same key answers the same, byte for byte, and makes one product', async () => {
    const key = newId('req')
    const body = product()
    const first = await post('/v1/products', body, key)
    const before = await rows()
    const again = await post('/v1/products', body, key)
    expect(again.body).toBe(first.body)
    expect(again.headers['idempotent-replayed']).toBe('true')
    expect((await post('/v1/products', product(), key)).json()).toMatchObject({
      code: 'idempotency_key_reused',
    })
    expect((await post('/v1/products', body)).json()).toMatchObject({
      status: 409,
      code: 'already_exists',
      existing_id: first.json<{ id: string }>().id,
    })
    expect(await rows()).toEqual(before)
  })

  test.each<[string, object, string]>([
    ['an unknown member', { color: 'red' }, ''],
    ['no name', { name: undefined }, '/name'],
    ['a bad key', { key: 'Minutes 30' }, '/key'],
    ['another kind', { kind: 'plan' }, '/kind'],
    ['no grants', { grants: [] }, '/grants'],
    ['too many grants', { grants: Array.from({ length: 21 }, () => MINUTES) }, '/grants'],
    ['an unknown unit', { grants: [{ ...MINUTES, unit: 'nope' }] }, '/grants/0/unit'],
    ['an amount of zero', { grants: [{ ...MINUTES, amount: 0 }] }, '/grants/0/amount'],
    ['a negative amount', { grants: [{ ...MINUTES, amount: -1 }] }, '/grants/0/amount'],
    ['a fractional amount', { grants: [{ ...MINUTES, amount: 1.5 }] }, '/grants/0/amount'],
    ['an amount of 2^53', { grants: [{ ...MINUTES, amount: 2 ** 53 }] }, '/grants/0/amount'],
    ['an amount as a text', { grants: [{ ...MINUTES, amount: '1800' }] }, '/grants/0/amount'],
    ['a validity of zero days', { grants: [{ ...MINUTES, validity_days: 0 }] }, '/grants/0/validity_days'],
    [
      'a validity of a thousand years',
      { grants: [{ ...MINUTES, validity_days: 365_000 }] },
      '/grants/0/validity_days',
    ],
    ['a negative priority', { grants: [{ ...MINUTES, priority: -1 }] }, '/grants/0/priority'],
    ['a foreign source', { grants: [{ ...MINUTES, source: 'manual' }] }, '/grants/0/source'],
    [
      'a bonus that is paid',
      { grants: [MINUTES, { ...MINUTES, source: 'bonus', is_paid: true }] },
      '/grants/1/is_paid',
    ],
    ['only a bonus', { grants: [{ ...MINUTES, source: 'bonus' }] }, '/grants'],
    ['a date without a zone', { visible_from: '2026-03-01T12:00:00' }, '/visible_from'],
    [
      'dates in the wrong order',
      { visible_from: '2026-03-02T00:00:00Z', visible_until: '2026-03-01T00:00:00Z' },
      '/visible_until',
    ],
    ['a bad language', { names: { русский: 'x' } }, '/names'],
    ['a NUL', { description: '\u0000' }, '/description'],
    ['a fractional position', { position: 0.5 }, '/position'],
  ])('refuses %s and makes nothing', async (_what, facts, pointer) => {
    const before = await rows()
    const answer = await post('/v1/products', product(facts))
    expect(answer.json()).toMatchObject({ status: 400, code: 'invalid_request' })
    const { errors } = answer.json<{ errors: { pointer: string }[] }>()
    expect(errors.some((error) => error.pointer.startsWith(pointer))).toBe(true)
    expect(await rows()).toEqual(before)
  })
})

describe('PATCH /v1/products/{id}', () => {
  test('changes facts, and grants by a new version', async () => {
    const { id } = await made()
    const named = await patch(`/v1/products/${id}`, { name: 'Half an hour', is_active: false })
    expect(named.json()).toMatchObject({ id, name: 'Half an hour', is_active: false, version: 1 })
    const granted = await patch(`/v1/products/${id}`, { grants: [{ ...MINUTES, amount: 3600 }] })
    expect(granted.json()).toMatchObject({ version: 2, grants: [{ amount: 3600 }], name: 'Half an hour' })
  })

  test('refuses the key, the kind, and a product that is not there', async () => {
    const { id } = await made()
    for (const body of [{ key: 'other' }, { kind: 'pack' }, { version: 5 }, { grants: [] }]) {
      expect((await patch(`/v1/products/${id}`, body)).json()).toMatchObject({ code: 'invalid_request' })
    }
    for (const other of [newId('prod'), 'nonsense', '%00']) {
      const answers = [
        await patch(`/v1/products/${other}`, { name: 'x' }),
        await get(`/v1/products/${other}`),
      ]
      for (const answer of answers) expect(answer.json()).toMatchObject({ status: 404, code: 'not_found' })
    }
  })
})

describe('prices', () => {
  const ask = async (product_id: string, amount: number, currency = 'RUB') =>
    post('/v1/prices', { product_id, currency, amount })

  test('are asked, replaced and ended, and earlier ones keep their amount', async () => {
    const { id } = await made()
    const first = await ask(id, 20_000)
    expect(first.statusCode).toBe(201)
    expect(first.json()).toEqual({
      id: first.json<{ id: string }>().id,
      product_id: id,
      currency: 'RUB',
      amount: 20_000,
      is_active: true,
      metadata: {},
      created_at: clock.now().toISOString(),
      deactivated_at: null,
    })
    const second = await ask(id, 25_000)
    const url = `/v1/prices/${first.json<{ id: string }>().id}`
    expect((await get(url)).json()).toMatchObject({ amount: 20_000, is_active: false })
    expect((await ask(id, 25_000)).json()).toMatchObject({
      status: 409,
      code: 'already_exists',
      existing_id: second.json<{ id: string }>().id,
    })
    const ended = await patch(`/v1/prices/${second.json<{ id: string }>().id}`, { is_active: false })
    expect(ended.json()).toMatchObject({ is_active: false, amount: 25_000 })
    expect((await get(`/v1/prices?product_id=${id}&is_active=true`)).json()).toEqual({
      items: [],
      next_cursor: null,
    })
    const all = (await get(`/v1/prices?product_id=${id}&is_active=false`)).json<{
      items: { amount: number }[]
    }>()
    expect(all.items.map(({ amount }) => amount)).toEqual([25_000, 20_000])
  })

  test('with the same key are made once', async () => {
    const { id } = await made()
    const key = newId('req')
    const body = { product_id: id, currency: 'XTR', amount: 130 }
    const answers = await Promise.all(Array.from({ length: 20 }, () => post('/v1/prices', body, key)))
    expect(new Set(answers.map((answer) => answer.body)).size).toBe(1)
    expect(answers[0]?.statusCode).toBe(201)
  })

  test.each<[string, object, number]>([
    ['an amount of zero', { amount: 0 }, 400],
    ['a fractional amount', { amount: 199.99 }, 400],
    ['an amount of 2^53', { amount: 2 ** 53 }, 400],
    ['an amount as a text', { amount: '200' }, 400],
    ['a small currency', { currency: 'rub' }, 400],
    ['an unknown member', { discount: 5 }, 400],
    ['a product that is not there', { product_id: newId('prod') }, 404],
    ['a NUL', { product_id: '\u0000' }, 404],
  ])('refuse %s', async (_what, facts, status) => {
    const { id } = await made()
    const before = await rows()
    const answer = await post('/v1/prices', { product_id: id, currency: 'RUB', amount: 20_000, ...facts })
    expect(answer.statusCode).toBe(status)
    expect(await rows()).toEqual(before)
  })

  test('refuse another amount and a second life', async () => {
    const { id } = await made()
    const price = (await ask(id, 20_000)).json<{ id: string }>()
    for (const body of [{ amount: 1 }, { is_active: true }, { currency: 'USD' }]) {
      expect((await patch(`/v1/prices/${price.id}`, body)).json()).toMatchObject({ code: 'invalid_request' })
    }
    expect((await get(`/v1/prices/${price.id}`)).json()).toEqual(price)
    for (const other of [newId('price'), '%00']) {
      expect((await patch(`/v1/prices/${other}`, { is_active: false })).statusCode).toBe(404)
    }
  })
})

describe('GET /v1/catalog', () => {
  const shop = async (): Promise<{ id: string }> => {
    const sold = await made({ names: { ru: '30 минут' } })
    await post('/v1/prices', { product_id: sold.id, currency: 'RUB', amount: 20_000 })
    await post('/v1/prices', { product_id: sold.id, currency: 'XTR', amount: 130 })
    return sold
  }

  test('answers exactly what the contract says, in the asked language and currency', async () => {
    const { id } = await shop()
    const answer = await get('/v1/catalog?currency=XTR&locale=ru-RU', '')
    expect(answer.statusCode).toBe(200)
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
    const { items } = answer.json<{ items: { prices: { id: string }[] }[] }>()
    expect(answer.json()).toEqual({
      items: [
        {
          id,
          kind: 'pack',
          name: '30 минут',
          description: null,
          grants: [{ ...MINUTES, priority: 50 }],
          prices: [{ id: items[0]?.prices[0]?.id, currency: 'XTR', amount: 130 }],
          metadata: {},
        },
      ],
      next_cursor: null,
    })
    expect(items[0]?.prices[0]?.id).toMatch(/^price_/)
  })

  test('may be kept for five seconds, and answers 304 while nothing changed', async () => {
    const { id } = await shop()
    const first = await get('/v1/catalog', '')
    const etag = String(first.headers['etag'])
    expect(first.headers['cache-control']).toBe('public, max-age=5')
    for (const tag of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
      const again = await get('/v1/catalog', '', { 'if-none-match': tag })
      expect({ status: again.statusCode, body: again.body, etag: again.headers['etag'] }).toEqual({
        status: 304,
        body: '',
        etag,
      })
    }
    await patch(`/v1/products/${id}`, { name: 'New' })
    const changed = await get('/v1/catalog', '', { 'if-none-match': etag })
    expect(changed.statusCode).toBe(200)
    expect(changed.headers['etag']).not.toBe(etag)
  })

  test('shows a change at once', async () => {
    const { id } = await shop()
    const amounts = async (): Promise<unknown> =>
      (await get('/v1/catalog?currency=RUB', '')).json<{ items: { prices: { amount: number }[] }[] }>()
        .items[0]?.prices[0]?.amount
    expect(await amounts()).toBe(20_000)
    await post('/v1/prices', { product_id: id, currency: 'RUB', amount: 30_000 })
    expect(await amounts()).toBe(30_000)
    await patch(`/v1/products/${id}`, { is_active: false })
    expect(await amounts()).toBeUndefined()
  })

  test('is paged', async () => {
    const ids = [(await shop()).id, (await shop()).id, (await shop()).id]
    const first = (await get('/v1/catalog?limit=2', '')).json<{
      items: { id: string }[]
      next_cursor: string
    }>()
    const rest = await get(`/v1/catalog?limit=2&cursor=${first.next_cursor}`, '')
    expect([...first.items, ...rest.json<{ items: { id: string }[] }>().items].map(({ id }) => id)).toEqual(
      ids,
    )
  })

  test.each(['limit=0', 'limit=1000', 'cursor=x', 'currency=rub', 'locale=../..', 'locale=%00'])(
    'refuses %s',
    async (query) => {
      expect((await get(`/v1/catalog?${query}`, '')).json()).toMatchObject({
        status: 400,
        code: 'invalid_request',
      })
    },
  )
})

test('no request here was a failure of ours', () => {
  expect(failures).toEqual([])
})
