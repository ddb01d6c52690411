import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createServer } from '#http/server'
import { frozenClock } from '#kernel/clock'
import { newId } from '#kernel/ids'
import { createCursors } from '#kernel/page'
import { createSecretBox } from '#kernel/secrets'
import { paymentEvents } from '#modules/payments'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import { webhookLab, type WebhookLab } from '../../../test/webhook-lab.ts'
import { notificationRoutes, resealEndpointSecrets } from './index.ts'
import { secretContext } from './endpoints.ts'
import { isSecret, newSecret } from './signing.ts'

let database: TestDatabase
let app: FastifyInstance
let lab: WebhookLab
const clock = frozenClock()

beforeAll(async () => {
  database = await testDatabase()
  const kit = { db: database.db, clock, cursors: createCursors(Buffer.alloc(32, 1)) }
  lab = webhookLab(database.db, clock)
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
  notificationRoutes(app, kit, lab.kit)
  await app.ready()
})
afterAll(async () => {
  await app.close()
  await database.close()
})
const failures: object[] = []

const WRITER = 'key_writer:webhooks:write'
const READER = 'key_reader:webhooks:read'
type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE'

interface Endpoint {
  id: string
  url: string
  secret: string | null
  event_types: string[]
}
function call(
  method: Method,
  url: string,
  payload?: object,
  options: { as?: string; key?: string } = {},
): Promise<LightMyRequestResponse> {
  const { as = method === 'GET' ? READER : WRITER, key } = options
  const headers = {
    ...(as === '' ? {} : { authorization: as }),
    ...(key === undefined ? {} : { 'idempotency-key': key }),
  }
  return app.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) })
}
const create = async (facts: object = {}): Promise<Endpoint> => {
  const answer = await call('POST', '/v1/webhook_endpoints', { url: 'https://app.example/hook', ...facts })
  expect(answer.statusCode).toBe(201)
  return answer.json<Endpoint>()
}
const empty = (): Promise<unknown> =>
  database.db.pool.query('truncate notifications.webhook_endpoints, notifications.webhook_events cascade')
const codeOf = (answer: LightMyRequestResponse) => [answer.statusCode, answer.json<{ code: string }>().code]

describe('who may call', () => {
  const routes: [Method, string][] = [
    ['POST', '/v1/webhook_endpoints'],
    ['GET', '/v1/webhook_endpoints'],
    ['GET', '/v1/webhook_endpoints/whe_x'],
    ['PATCH', '/v1/webhook_endpoints/whe_x'],
    ['DELETE', '/v1/webhook_endpoints/whe_x'],
    ['POST', '/v1/webhook_endpoints/whe_x/rotate_secret'],
    ['POST', '/v1/webhook_endpoints/whe_x/test'],
    ['GET', '/v1/webhook_deliveries'],
    ['GET', '/v1/webhook_deliveries/del_x'],
    ['POST', '/v1/webhook_deliveries/del_x/redeliver'],
  ]
  test.each(routes)('%s %s is for a key of its scope', async (method, url) => {
    const body = method === 'GET' || method === 'DELETE' ? undefined : {}
    expect(codeOf(await call(method, url, body, { as: '' }))).toEqual([401, 'unauthenticated'])
    const other = method === 'GET' ? WRITER : READER
    expect(codeOf(await call(method, url, body, { as: other }))).toEqual([403, 'missing_scope'])
    if (/_x/.test(url)) expect(codeOf(await call(method, url, body))).toEqual([404, 'not_found'])
  })
})

describe('an endpoint', () => {
  test('is created with a secret that is shown once and kept sealed', async () => {
    const key = newId('req')
    const body = {
      url: 'https://app.example/hook?a=1',
      event_types: ['payment.succeeded', 'payment.succeeded'],
    }
    const answer = await call('POST', '/v1/webhook_endpoints', body, { key })
    const { secret, ...rest } = answer.json<Endpoint>()
    expect(isSecret(secret ?? '')).toBe(true)
    expect(rest).toEqual({
      id: rest.id,
      url: 'https://app.example/hook?a=1',
      description: '',
      event_types: ['payment.succeeded'],
      previous_secret_expires_at: null,
      failing_since: null,
      disabled_at: null,
      disabled_reason: null,
      created_at: '2026-03-01T12:00:00.000Z',
      updated_at: '2026-03-01T12:00:00.000Z',
    })
    const replay = await call('POST', '/v1/webhook_endpoints', body, { key })
    expect(replay.json()).toEqual({ ...rest, secret: null })
    expect((await call('GET', `/v1/webhook_endpoints/${rest.id}`)).json()).toEqual(rest)
    const { rows } = await database.db.pool.query<{ text: string }>(
      `select string_agg(e::text, '')
              || (select string_agg(k::text, '') from kernel.idempotency_keys k) as text
         from notifications.webhook_endpoints e`,
    )
    expect(rows[0]?.text).toContain(rest.id)
    expect(rows[0]?.text).not.toContain(secret)
    expect(rows[0]?.text).not.toContain(Buffer.from(secret?.slice(6) ?? '', 'base64').toString('hex'))
  })

  test('asked for fifty times at once under one key is made once', async () => {
    await empty()
    const key = newId('req')
    const body = { url: 'https://app.example/hook' }
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => call('POST', '/v1/webhook_endpoints', body, { key })),
    )
    const made = answers.filter(({ statusCode }) => statusCode === 201)
    expect(answers.every(({ statusCode }) => statusCode === 201 || statusCode === 409)).toBe(true)
    expect(new Set(made.map((answer) => answer.json<Endpoint>().id)).size).toBe(1)
    const secrets = made.flatMap((answer) => answer.json<Endpoint>().secret ?? [])
    expect(secrets.length).toBe(1)
    expect((await call('GET', '/v1/webhook_endpoints')).json<{ items: [] }>().items.length).toBe(1)
  })

  test('takes a secret of the caller’s own, if it is one', async () => {
    const secret = newSecret()
    expect((await create({ secret })).secret).toBe(secret)
    for (const bad of ['', 'secret', 'whsec_c2hvcnQ=', `${secret}x`]) {
      const answer = await call('POST', '/v1/webhook_endpoints', { url: 'https://app.example/', secret: bad })
      expect([bad, ...codeOf(answer)]).toEqual([bad, 400, 'invalid_request'])
    }
  })

  test.each([
    ['an inner address', { url: 'https://10.0.0.1/' }],
    ['a hidden inner address', { url: 'https://0x7f000002/' }],
    ['a user in it', { url: 'https://a@app.example/' }],
    ['another scheme', { url: 'ftp://app.example/' }],
    ['no address', { url: 'app' }],
    ['nothing', {}],
    ['an unknown type', { url: 'https://app.example/', event_types: ['payment.vanished'] }],
    ['no type', { url: 'https://app.example/', event_types: [] }],
    ['another member', { url: 'https://app.example/', is_disabled: true }],
    ['a long description', { url: 'https://app.example/', description: 'a'.repeat(501) }],
  ])('is refused with %s, without a word about our network', async (_what, body) => {
    const answer = await call('POST', '/v1/webhook_endpoints', body)
    expect(codeOf(answer)).toEqual([400, 'invalid_request'])
    expect(answer.body).not.toMatch(/private|loopback|reserved|10\.0\.0\.1|127/)
  })

  test('is changed member by member, and judged again', async () => {
    const { id } = await create({ description: 'first' })
    const patch = (body: object) => call('PATCH', `/v1/webhook_endpoints/${id}`, body)
    expect((await patch({ event_types: ['refund.failed'] })).json()).toMatchObject({
      url: 'https://app.example/hook',
      description: 'first',
      event_types: ['refund.failed'],
    })
    expect((await patch({ is_disabled: true })).json()).toMatchObject({ disabled_reason: 'owner' })
    expect((await patch({ description: '' })).json()).toMatchObject({
      disabled_reason: 'owner',
      description: '',
    })
    expect((await patch({ is_disabled: false })).json()).toMatchObject({
      disabled_reason: null,
      disabled_at: null,
    })
    expect(codeOf(await patch({ url: 'https://192.168.0.1/' }))).toEqual([400, 'invalid_request'])
    expect(codeOf(await patch({ secret: newSecret() }))).toEqual([400, 'invalid_request'])
  })

  test('that is deleted is gone, with its secrets', async () => {
    const { id } = await create()
    await call('POST', `/v1/webhook_endpoints/${id}/rotate_secret`)
    const key = newId('req')
    const first = await call('DELETE', `/v1/webhook_endpoints/${id}`, undefined, { key })
    expect(first.json()).toEqual({ id, is_deleted: true })
    expect((await call('DELETE', `/v1/webhook_endpoints/${id}`, undefined, { key })).body).toBe(first.body)
    expect(codeOf(await call('DELETE', `/v1/webhook_endpoints/${id}`))).toEqual([404, 'not_found'])
    expect(codeOf(await call('GET', `/v1/webhook_endpoints/${id}`))).toEqual([404, 'not_found'])
    const { rows } = await database.db.pool.query(
      'select secret, previous_secret from notifications.webhook_endpoints where id = $1',
      [id],
    )
    expect(rows).toEqual([{ secret: null, previous_secret: null }])
  })

  test('is listed newest first, page by page', async () => {
    await empty()
    const ids: string[] = []
    for (let n = 0; n < 5; n++) ids.push((await create()).id)
    const seen: string[] = []
    let cursor: string | null = ''
    for (let pages = 0; cursor !== null && pages < 5; pages++) {
      const query: string = cursor === '' ? '' : `&cursor=${cursor}`
      const answer = await call('GET', `/v1/webhook_endpoints?limit=2${query}`)
      const page = answer.json<{ items: Endpoint[]; next_cursor: string | null }>()
      expect(answer.body).not.toContain('secret"')
      seen.push(...page.items.map(({ id }) => id))
      cursor = page.next_cursor
    }
    // The clock stands still: what was made in one moment is ordered by id.
    expect(seen).toEqual(ids.toSorted().toReversed())
    expect(codeOf(await call('GET', '/v1/webhook_deliveries?cursor=made.up'))).toEqual([
      400,
      'invalid_request',
    ])
  })

  test('is the fifty-first for nobody', async () => {
    await empty()
    const answers = await Promise.all(
      Array.from({ length: 60 }, () =>
        call('POST', '/v1/webhook_endpoints', { url: 'https://app.example/' }),
      ),
    )
    const statuses = answers.map(({ statusCode }) => statusCode)
    expect([201, 409].map((code) => statuses.filter((one) => one === code).length)).toEqual([50, 10])
    await empty()
  })
})

describe('secrets', () => {
  test('are rotated to a new one, shown once', async () => {
    const { id, secret } = await create()
    const key = newId('req')
    const url = `/v1/webhook_endpoints/${id}/rotate_secret`
    const answer = await call('POST', url, undefined, { key })
    const fresh = answer.json<Endpoint & { previous_secret_expires_at: string }>()
    expect(fresh.secret).not.toBe(secret)
    expect(isSecret(fresh.secret ?? '')).toBe(true)
    expect(fresh.previous_secret_expires_at).toBe('2026-03-02T12:00:00.000Z')
    expect((await call('POST', url, undefined, { key })).json()).toEqual({ ...fresh, secret: null })
    const own = newSecret()
    expect((await call('POST', url, { secret: own })).json<Endpoint>().secret).toBe(own)
    expect(codeOf(await call('POST', url, { secret: 'short' }))).toEqual([400, 'invalid_request'])
  })

  test('move to a new key of the box', async () => {
    await empty()
    const { id, secret } = await create()
    await call('POST', `/v1/webhook_endpoints/${id}/rotate_secret`)
    const old_key = { id: 'world', key: Buffer.alloc(32, 7) }
    const new_key = { id: 'fresh', key: Buffer.alloc(32, 8) }
    const both = createSecretBox({ keys: [new_key, old_key] })
    const reseal = () => database.db.transact((tx) => resealEndpointSecrets(tx, both))
    expect([await reseal(), await reseal()]).toEqual([2, 0])
    const { rows } = await database.db.pool.query<{ previous_secret: string }>(
      'select previous_secret from notifications.webhook_endpoints',
    )
    const fresh = createSecretBox({ keys: [new_key] })
    expect(fresh.open(rows[0]?.previous_secret ?? '', secretContext(id))).toBe(secret)
    await empty()
  })
})

describe('deliveries', () => {
  test('are made by a test, listed by endpoint, state and type, and sent again', async () => {
    const { id } = await create({ event_types: [paymentEvents.paymentFailed.name] })
    const tested = await call('POST', `/v1/webhook_endpoints/${id}/test`)
    expect(tested.statusCode).toBe(202)
    const delivery = tested.json<{ id: string; event_id: string }>()
    expect(delivery).toEqual({
      id: delivery.id,
      webhook_endpoint_id: id,
      event_id: delivery.event_id,
      event_type: 'webhook_endpoint.tested',
      status: 'pending',
      result: null,
      status_code: null,
      attempts: 0,
      next_attempt_at: '2026-03-01T12:00:00.000Z',
      last_attempt_at: null,
      created_at: '2026-03-01T12:00:00.000Z',
    })
    expect((await call('GET', `/v1/webhook_deliveries/${delivery.id}`)).json()).toEqual(delivery)
    const list = async (query: string): Promise<string[]> => {
      const { items } = (await call('GET', `/v1/webhook_deliveries?${query}`)).json<{
        items: { id: string }[]
      }>()
      return items.map((item) => item.id)
    }
    expect(await list(`webhook_endpoint_id=${id}`)).toEqual([delivery.id])
    expect(await list(`status=pending&event_type=webhook_endpoint.tested`)).toEqual([delivery.id])
    for (const query of ['webhook_endpoint_id=whe_x', 'status=failed', 'event_type=payment.failed'])
      expect([query, await list(query)]).toEqual([query, []])
    expect(codeOf(await call('GET', '/v1/webhook_deliveries?status=lost'))).toEqual([400, 'invalid_request'])
    const again = await call('POST', `/v1/webhook_deliveries/${delivery.id}/redeliver`)
    expect([again.statusCode, again.json()]).toEqual([202, delivery])
    await call('PATCH', `/v1/webhook_endpoints/${id}`, { is_disabled: true })
    for (const url of [`/v1/webhook_endpoints/${id}/test`, `/v1/webhook_deliveries/${delivery.id}/redeliver`])
      expect(codeOf(await call('POST', url))).toEqual([409, 'invalid_state'])
  })
})

test('nothing of this was an error of ours', () => {
  expect(failures).toEqual([])
})
