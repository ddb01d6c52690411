import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { addRoute } from './routing.ts'
import { openLab, type Lab } from './server.fixtures/lab.ts'
import { amount, metadata, pageOf, pageQuery, timestamp } from './wire.ts'

interface Document {
  openapi: string
  paths: Record<string, Record<string, Record<string, unknown>>>
  components: { schemas: Record<string, Record<string, unknown>>; securitySchemes: Record<string, unknown> }
}

let lab: Lab
let document: Document

const thing = z.object({ id: z.string(), amount, made_at: timestamp, metadata }).meta({ id: 'TestThing' })

beforeAll(async () => {
  lab = await openLab(
    (app, kit) => {
      addRoute(app, kit, {
        method: 'POST',
        url: '/v1/things/:id',
        who: { key: 'spends:write', staff: 'things:write' },
        summary: 'Make a thing',
        description: 'Long.',
        tag: 'things',
        params: z.object({ id: z.string().max(10) }),
        status: 201,
        errors: { 402: ['insufficient_funds'] },
        body: z.strictObject({
          amount,
          at: timestamp.optional(),
          kind: z.discriminatedUnion('k', [
            z.strictObject({ k: z.literal('a') }),
            z.strictObject({ k: z.literal('b'), n: z.int() }),
          ]),
        }),
        answer: thing,
        write: () => Promise.reject(new Error('not called')),
      })
      addRoute(app, kit, {
        method: 'GET',
        url: '/v1/things',
        who: { anonymous: true },
        summary: 'List things',
        tag: 'things',
        query: pageQuery,
        answer: pageOf(thing),
        read: () => ({ items: [], next_cursor: null }),
      })
      addRoute(app, kit, {
        method: 'POST',
        url: '/hooks/:gateway',
        who: { proof: 'a signature' },
        summary: 'Notice',
        tag: 'hooks',
        raw_body: true,
        answer: z.string(),
        reply: async (_call, reply) => reply.send('x'),
      })
      addRoute(app, kit, {
        method: 'GET',
        url: '/secret-page',
        who: { anonymous: true },
        summary: 'Hidden',
        tag: 'x',
        is_hidden: true,
        answer: z.string(),
        reply: async (_call, reply) => reply.send('x'),
      })
    },
    { base_url: 'https://pay.example.com' },
  )
  document = (await lab.app.inject('/openapi.json')).json()
})
afterAll(() => lab.close())

interface Operation {
  operationId: string
  security: unknown
  'x-who': unknown
  requestBody: {
    content: Record<string, { schema: Record<string, unknown> & { properties: Record<string, unknown> } }>
  }
  responses: Record<string, unknown>
  parameters?: { name: string; in: string }[]
}

const make = () => document.paths['/v1/things/{id}']?.['post'] as unknown as Operation

describe('openapi.json', () => {
  test('speaks OpenAPI 3.1 and names where the server is', async () => {
    const answer = await lab.app.inject('/openapi.json')
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
    expect(document).toMatchObject({
      openapi: '3.1.0',
      info: { version: '1.2.3' },
      servers: [{ url: 'https://pay.example.com' }],
    })
  })

  test('holds every route that is not hidden, and no page, probe or HEAD', () => {
    expect(Object.keys(document.paths)).toEqual(['/hooks/{gateway}', '/v1/things', '/v1/things/{id}'])
    for (const methods of Object.values(document.paths)) expect(Object.keys(methods)).not.toContain('head')
  })

  test('shows amounts and moments as they are on the wire, in requests and answers', () => {
    expect(document.components.schemas['Amount']).toEqual({
      type: 'integer',
      minimum: 1,
      maximum: 9_007_199_254_740_991,
      description: expect.any(String),
    })
    expect(document.components.schemas['Timestamp']).toEqual({
      type: 'string',
      format: 'date-time',
      description: expect.any(String),
    })
    const body = make().requestBody.content['application/json']?.schema
    expect(body?.properties['amount']).toEqual({ $ref: '#/components/schemas/Amount' })
    expect(body?.properties['at']).toEqual({ $ref: '#/components/schemas/Timestamp' })
    expect(body?.['required']).toEqual(['amount', 'kind'])
    expect(body?.['additionalProperties']).toBe(false)
    expect(document.components.schemas['TestThing']).toMatchObject({
      type: 'object',
      required: ['id', 'amount', 'made_at', 'metadata'],
      properties: { amount: { $ref: '#/components/schemas/Amount' } },
    })
  })

  test('refers to components that exist, with nothing left over from documents of their own', () => {
    const text = JSON.stringify(document)
    const names = new Set([...text.matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1]))
    for (const name of names) {
      expect(name).toMatch(/^#\/components\/schemas\/\w+$/)
      expect(Object.keys(document.components.schemas)).toContain(name?.split('/').at(-1))
    }
    expect(text).not.toMatch(/\$defs|\$schema|"\$id"|Input"/)
    expect(Object.keys(document.components.schemas)).toEqual([
      'Amount',
      'Metadata',
      'Problem',
      'TestThing',
      'Timestamp',
    ])
    expect(document.components.schemas['Problem']).toMatchObject({
      type: 'object',
      required: expect.arrayContaining(['code']),
    })
  })

  test('says who may call', () => {
    expect(make()['x-who']).toEqual({ key: 'spends:write', staff: 'things:write' })
    expect(make().security).toEqual([{ api_key: [] }, { api_key_basic: [] }])
    expect(document.paths['/v1/things']?.['get']?.['security']).toEqual([{}])
    expect(Object.keys(document.components.securitySchemes)).toEqual(['api_key', 'api_key_basic'])
  })

  test('shows the Idempotency-Key where one is taken and nowhere else', () => {
    const names = (operation: object | undefined) =>
      ((operation as Operation | undefined)?.parameters ?? []).map(
        (parameter) => `${parameter.in} ${parameter.name}`,
      )
    expect(names(make())).toEqual(['path id', 'header idempotency-key'])
    expect(names(document.paths['/v1/things']?.['get'])).toEqual(['query limit', 'query cursor'])
    expect(names(document.paths['/hooks/{gateway}']?.['post'])).not.toContain('header idempotency-key')
  })

  test('gives every operation a name of its own, a tag and its problems', () => {
    const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods))
    const ids = operations.map((operation) => operation['operationId'])
    expect(new Set(ids).size).toBe(ids.length)
    expect(make()).toMatchObject({
      operationId: 'post_things_id',
      tags: ['things'],
      summary: 'Make a thing',
      description: 'Long.',
    })
    const { responses } = make()
    expect(Object.keys(responses)).toEqual(['201', '402', '4XX', '5XX'])
    expect(responses['402']).toEqual({
      description: 'Codes: insufficient_funds',
      content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
    })
  })
})

describe('the docs page', () => {
  test('loads everything from this server and allows no script but that', async () => {
    const page = await lab.app.inject('/docs')
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
    expect(page.body).not.toMatch(/https?:\/\//)
    expect(page.body).not.toMatch(/<script(?![^>]*\ssrc=)/)
    const policy = String(page.headers['content-security-policy'])
    expect(policy).toContain("script-src 'self';")
    expect(policy).toContain("connect-src 'self'")
    expect(policy).not.toMatch(/https?:|\*/)
    for (const [, source] of page.body.matchAll(/src="([^"]+)"/g)) {
      const script = await lab.app.inject({ url: String(source) })
      expect([source, script.statusCode, script.headers['content-type']]).toEqual([
        source,
        200,
        'text/javascript; charset=utf-8',
      ])
    }
  })

  test('sends its script packed to whoever takes that', async () => {
    const packed = await lab.app.inject({
      url: '/docs/reference.js',
      headers: { 'accept-encoding': 'gzip, br' },
    })
    const plain = await lab.app.inject('/docs/reference.js')
    expect(packed.headers['content-encoding']).toBe('gzip')
    expect(plain.headers['content-encoding']).toBeUndefined()
    expect(packed.rawPayload.length).toBeLessThan(plain.rawPayload.length / 2)
    expect(plain.body).toContain('createApiReference')
  })
})
