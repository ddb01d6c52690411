import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createServer } from '#http/server'
import { newId } from '#kernel/ids'
import { createSecretBox } from '#kernel/secrets'
import { createCursors } from '#kernel/page'
import { createCustomer, createCustomerResolver, type CustomerResolver } from '#modules/customers'
import { openBooks, type Books } from './ledger.fixtures/books.ts'
import { ledgerRoutes, spend } from './index.ts'
import * as schemas from './schemas.ts'
import { showWallet } from './wallets.ts'

let books: Books
let app: FastifyInstance
let customers: CustomerResolver
let customer_id: string
const failures: object[] = []

beforeAll(async () => {
  books = await openBooks()
  customers = createCustomerResolver(books.db)
  const kit = { db: books.db, clock: books.clock, cursors: createCursors(Buffer.alloc(32, 1)) }
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
  const box = createSecretBox({ keys: [{ id: 'test', key: Buffer.alloc(32, 2) }] })
  ledgerRoutes(app, kit, books, customers, { clock: books.clock, box })
  await app.ready()
  customer_id = await makeCustomer('first')
})
afterAll(async () => {
  await app.close()
  customers.close()
  await books.close()
})

async function makeCustomer(external_id: string): Promise<string> {
  return (await books.write((tx) => createCustomer(tx, books.clock, { external_id }))).id
}

type Method = 'GET' | 'POST' | 'PATCH'
function call(
  method: Method,
  url: string,
  payload?: object,
  options: { as?: string; key?: string } = {},
): Promise<LightMyRequestResponse> {
  const { as = 'key_all:*', key = newId('req') } = options
  const headers = { ...(as === '' ? {} : { authorization: as }), 'idempotency-key': key }
  return app.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) })
}
const post = (url: string, payload?: object, options: { as?: string; key?: string } = {}) =>
  call('POST', url, payload, options)
const get = (url: string) => call('GET', url)
const give = (amount: number, facts: object = {}, id = customer_id) =>
  post(`/v1/customers/${id}/grants`, { unit: 'minute', amount, reason: 'test', ...facts })
const problemOf = (answer: LightMyRequestResponse) => ({
  status: answer.statusCode,
  code: answer.json<{ code: string }>().code,
})

const ROUTES: readonly [Method, string, string][] = [
  ['GET', '/v1/units', 'catalog:read'],
  ['POST', '/v1/units', 'catalog:write'],
  ['GET', '/v1/units/minute', 'catalog:read'],
  ['PATCH', '/v1/units/minute', 'catalog:write'],
  ['GET', '/v1/customers/external_id:first/wallets', 'wallets:read'],
  ['GET', '/v1/customers/external_id:first/wallets/minute', 'wallets:read'],
  ['POST', '/v1/customers/external_id:first/grants', 'grants:write'],
  ['GET', '/v1/customers/external_id:first/grants', 'wallets:read'],
  ['GET', '/v1/customers/external_id:first/transfers', 'wallets:read'],
  ['POST', '/v1/customers/external_id:first/adjustments', 'adjustments:write'],
  ['POST', '/v1/customers/external_id:first/merge', 'customers:write'],
  ['POST', '/v1/spends', 'spends:write'],
  ['POST', '/v1/spends/batch', 'spends:write'],
  ['GET', '/v1/spends/tr_x', 'wallets:read'],
  ['POST', '/v1/spends/tr_x/reversal', 'spends:write'],
  ['POST', '/v1/holds', 'holds:write'],
  ['GET', '/v1/holds/hold_x', 'wallets:read'],
  ['POST', '/v1/holds/hold_x/capture', 'holds:write'],
  ['POST', '/v1/holds/hold_x/release', 'holds:write'],
  ['POST', '/v1/transfers', 'transfers:write'],
]

describe('who may call', () => {
  test.each(ROUTES)(
    '%s %s is refused without a key and with every scope but its own',
    async (method, url, scope) => {
      expect(problemOf(await call(method, url, {}, { as: '' }))).toEqual({
        status: 401,
        code: 'unauthenticated',
      })
      const others = [...new Set(ROUTES.map(([, , other]) => other))]
        .filter((other) => other !== scope)
        .join(' ')
      const refused = await call(method, url, {}, { as: `key_other:${others}` })
      expect(problemOf(refused)).toEqual({ status: 403, code: 'missing_scope' })
    },
  )
})

describe('what comes in', () => {
  const amounts = [0, -1, 1.5, 2 ** 53, '5', null]
  const routes: [string, (amount: unknown) => object][] = [
    ['/v1/spends', (amount) => ({ customer_id, unit: 'minute', amount })],
    ['/v1/holds', (amount) => ({ customer_id, unit: 'minute', amount, ttl_seconds: 60 })],
    [
      '/v1/transfers',
      (amount) => ({
        from_customer_id: customer_id,
        to_customer_id: 'external_id:second',
        unit: 'minute',
        amount,
      }),
    ],
    ['/v1/customers/external_id:first/grants', (amount) => ({ unit: 'minute', amount, reason: 'x' })],
  ]
  test.each(routes.flatMap(([url, body]) => amounts.map((amount) => [url, amount, body] as const)))(
    '%s refuses an amount of %s, and changes nothing',
    async (url, amount, body) => {
      const before = await books.run('select count(*) from ledger.transfers')
      const answer = await post(url, body(amount))
      expect(problemOf(answer)).toEqual({ status: 400, code: 'invalid_request' })
      expect(answer.json<{ errors: { pointer: string }[] }>().errors[0]?.pointer).toBe('/amount')
      expect(await books.run('select count(*) from ledger.transfers')).toEqual(before)
    },
  )

  test('an unknown unit, an unknown member and a customer that is not there are told apart', async () => {
    const wish = { customer_id, unit: 'minute', amount: 1 }
    expect((await post('/v1/spends', { ...wish, unit: 'parsec' })).json()).toMatchObject({
      status: 400,
      code: 'invalid_request',
      errors: [{ pointer: '/unit' }],
    })
    expect(problemOf(await post('/v1/spends', { ...wish, price: 5 }))).toEqual({
      status: 400,
      code: 'invalid_request',
    })
    expect(problemOf(await post('/v1/spends', { ...wish, customer_id: 'external_id:nobody' }))).toEqual({
      status: 404,
      code: 'not_found',
    })
    expect(problemOf(await get(`/v1/customers/${customer_id}/wallets/parsec`))).toEqual({
      status: 404,
      code: 'not_found',
    })
  })
})

test('a unit is made, read, renamed and listed; its scale never changes', async () => {
  const made = await post('/v1/units', {
    code: 'page',
    scale: 4,
    name: 'Page',
    translations: { ru: 'Страница' },
  })
  expect([made.statusCode, made.json()]).toEqual([
    201,
    {
      code: 'page',
      scale: 4,
      name: 'Page',
      translations: { ru: 'Страница' },
      kind: 'counted',
      is_debt_allowed: false,
    },
  ])
  expect(problemOf(await post('/v1/units', { code: 'page', name: 'Page' }))).toEqual({
    status: 409,
    code: 'already_exists',
  })
  expect((await call('PATCH', '/v1/units/page', { name: 'Leaf' })).json()).toMatchObject({
    name: 'Leaf',
    scale: 4,
  })
  expect(problemOf(await call('PATCH', '/v1/units/page', { scale: 5 }))).toEqual({
    status: 400,
    code: 'invalid_request',
  })
  const first = (await get('/v1/units?limit=2')).json<{ items: { code: string }[]; next_cursor: string }>()
  expect(first.items.map(({ code }) => code)).toEqual(['credit', 'minute'])
  const rest = (await get(`/v1/units?limit=2&cursor=${first.next_cursor}`)).json<{
    items: { code: string }[]
  }>()
  expect(rest.items.map(({ code }) => code)).toEqual(['page', 'point'])
})

test('a grant, a spend, a hold and a reversal by their routes add up in the history', async () => {
  const id = await makeCustomer('story')
  const granted = await give(600, { expires_at: '2026-04-01T00:00:00Z', priority: 5 }, id)
  expect([granted.statusCode, granted.json()]).toMatchObject([
    201,
    {
      granted: 600,
      remaining: 600,
      priority: 5,
      source: 'manual',
      expires_at: '2026-04-01T00:00:00.000Z',
    },
  ])
  const spent = await post('/v1/spends', {
    customer_id: 'external_id:story',
    unit: 'minute',
    amount: 45,
    reason: 'call',
  })
  const spend_id = spent.json<{ id: string }>().id
  expect([spent.statusCode, spent.json()]).toMatchObject([
    201,
    {
      customer_id: id,
      unit: 'minute',
      amount: 45,
      balance: 555,
      sequence: 2,
      slices: [{ grant_id: granted.json<{ id: string }>().id, amount: 45 }],
    },
  ])
  expect((await get(`/v1/spends/${spend_id}`)).json()).toEqual(spent.json())
  const held = await post('/v1/holds', { customer_id: id, unit: 'minute', amount: 100, ttl_seconds: 60 })
  const hold_url = `/v1/holds/${held.json<{ id: string }>().id}`
  expect((await get(`/v1/customers/${id}/wallets/minute`)).json()).toMatchObject({
    scale: 60,
    balance: 555,
    held: 100,
    available: 455,
    next_expiry: '2026-04-01T00:00:00.000Z',
  })
  expect(problemOf(await post(`${hold_url}/capture`, { amount: 101 }))).toEqual({
    status: 409,
    code: 'invalid_state',
  })
  expect((await post(`${hold_url}/capture`, { amount: 30 })).json()).toMatchObject({
    status: 'captured',
    captured: 30,
  })
  expect(problemOf(await post(`${hold_url}/release`))).toEqual({ status: 409, code: 'invalid_state' })
  expect((await post(`/v1/spends/${spend_id}/reversal`, { amount: 15 })).json()).toMatchObject({
    balance: 540,
  })
  const short = await post('/v1/spends', { customer_id: id, unit: 'minute', amount: 541 })
  expect(short.json()).toMatchObject({
    status: 402,
    code: 'insufficient_funds',
    available: 540,
    required: 541,
  })
  const corrected = await post(`/v1/customers/${id}/adjustments`, {
    unit: 'minute',
    amount: -40,
    reason: 'counted',
  })
  expect(corrected.json()).toMatchObject({ amount: -40, balance: 500 })
  const history = (await get(`/v1/customers/${id}/transfers`)).json<{
    items: { kind: string; balance: number }[]
  }>()
  expect(history.items.map(({ kind, balance }) => [kind, balance])).toEqual([
    ['adjustment_out', 500],
    ['reversal', 540],
    ['release', 525],
    ['capture', 525],
    ['hold', 555],
    ['spend', 555],
    ['grant', 600],
  ])
  const { items } = (await get(`/v1/customers/${id}/wallets`)).json<{ items: object[] }>()
  expect(items).toMatchObject([{ unit: 'minute', balance: 500 }])
})

test('every write answers the same bytes for its key again, and says that it does', async () => {
  const id = await makeCustomer('replay')
  await makeCustomer('receiver')
  const granted = await give(100, {}, id)
  const spent = await post('/v1/spends', { customer_id: id, unit: 'minute', amount: 1 })
  const held = await post('/v1/holds', { customer_id: id, unit: 'minute', amount: 5, ttl_seconds: 60 })
  const writes: [string, object | undefined][] = [
    [`/v1/customers/${id}/grants`, { unit: 'minute', amount: 7, reason: 'x' }],
    ['/v1/spends', { customer_id: id, unit: 'minute', amount: 2, metadata: { a: 1 } }],
    ['/v1/holds', { customer_id: id, unit: 'minute', amount: 3, ttl_seconds: 60 }],
    [`/v1/holds/${held.json<{ id: string }>().id}/capture`, { amount: 4 }],
    [`/v1/spends/${spent.json<{ id: string }>().id}/reversal`, {}],
    [`/v1/customers/${id}/adjustments`, { unit: 'minute', amount: -1, reason: 'x' }],
    [
      '/v1/transfers',
      {
        from_customer_id: id,
        to_customer_id: 'external_id:receiver',
        unit: 'minute',
        amount: 6,
      },
    ],
  ]
  expect(granted.statusCode).toBe(201)
  for (const [url, body] of writes) {
    const key = newId('req')
    const first = await post(url, body, { key })
    books.clock.advance(1000)
    const again = await post(url, body, { key })
    expect([again.statusCode, again.body], url).toEqual([first.statusCode, first.body])
    expect(first.statusCode, url).toBeLessThan(300)
    expect(again.headers['idempotent-replayed'], url).toBe('true')
    const other = await post(url, { ...body, amount: 9 }, { key })
    expect(problemOf(other), url).toEqual({ status: 422, code: 'idempotency_key_reused' })
  }
  // 100 + 7 granted; 2, 4 and 6 used or given, 1 given back, 1 corrected; of the first spend 1.
  expect((await get(`/v1/customers/${id}/wallets/minute`)).json()).toMatchObject({ balance: 94, held: 3 })
})

test('a batch does each item by itself and says of each what became of it', async () => {
  const id = await makeCustomer('batch')
  await give(10, {}, id)
  const wish = { customer_id: id, unit: 'minute' }
  const body = {
    items: [
      { ...wish, amount: 4 },
      { ...wish, amount: 7 },
      { ...wish, customer_id: 'external_id:nobody', amount: 1 },
      { ...wish, amount: 6 },
      { ...wish, unit: 'parsec', amount: 1 },
    ],
  }
  const key = newId('req')
  const first = await post('/v1/spends/batch', body, { key })
  type Item = { spend: { balance: number } | null; error: { code: string; available?: number } | null }
  const { items } = first.json<{ items: Item[] }>()
  expect(items.map(({ spend: done, error }) => done?.balance ?? error?.code)).toEqual([
    6,
    'insufficient_funds',
    'not_found',
    0,
    'invalid_request',
  ])
  expect(items[1]?.error?.available).toBe(6)
  const again = (await post('/v1/spends/batch', body, { key })).json<{ items: Item[] }>()
  expect(again.items[0]).toEqual(items[0])
  expect(again.items[3]).toEqual(items[3])
  const many = { items: Array.from({ length: 201 }, () => ({ ...wish, amount: 1 })) }
  expect(problemOf(await post('/v1/spends/batch', many))).toEqual({ status: 400, code: 'invalid_request' })
})

test('a merge moves everything, and the old id answers for the survivor', async () => {
  const [from, to] = [await makeCustomer('from'), await makeCustomer('to')]
  await give(10, {}, from)
  await give(5, {}, to)
  const merged = await post(`/v1/customers/${from}/merge`, { into_customer_id: to })
  expect([merged.statusCode, merged.json()]).toMatchObject([200, { customer_id: to }])
  for (const id of [from, to, 'external_id:from']) {
    expect((await get(`/v1/customers/${id}/wallets/minute`)).json()).toMatchObject({ balance: 15 })
  }
  const spent = await post('/v1/spends', { customer_id: from, unit: 'minute', amount: 15 })
  expect(spent.json()).toMatchObject({ customer_id: to, balance: 0 })
})

test('what the hot routes write by hand is what their schemas say', async () => {
  const id = await makeCustomer('hot')
  await give(2 ** 40, { expires_at: '2027-01-01T00:00:00+03:00' }, id)
  await give(1, { priority: 1 }, id)
  const asked = { customer_id: id, unit: 'minute', amount: 3n, actor_id: 'key_x', idempotency_key: 'hot' }
  const done = await spend(books, asked)
  expect(JSON.parse(schemas.encodeSpend(done))).toEqual(z.encode(schemas.spend, done))
  const wallet = await showWallet(books, { customer_id: id, unit: 'minute' })
  expect(JSON.parse(schemas.encodeWallet(wallet))).toEqual(z.encode(schemas.wallet, wallet))
  const empty = await showWallet(books, { customer_id: id, unit: 'point' })
  expect(JSON.parse(schemas.encodeWallet(empty))).toEqual(z.encode(schemas.wallet, empty))
})

test('nothing above failed as a mistake of ours, and the books are clean', async () => {
  expect(failures).toEqual([])
  expect(await books.findings()).toEqual([])
})
