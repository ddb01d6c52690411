import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AssertionFailed,
  DomainError,
  InvalidRequest,
  OperationalError,
  TooManyRequests,
  Unauthenticated,
} from '#kernel/errors'
import { productErrors, toProblem } from './problem.ts'
import { openLab, type Lab } from './server.fixtures/lab.ts'

class TooPoor extends DomainError {
  readonly code = 'insufficient_funds'
  readonly status = 402
  readonly title = 'The wallet does not hold enough for this.'
}

describe('toProblem', () => {
  test('shows a domain error with its facts and its code’s address', () => {
    const error = new TooPoor('the wallet holds 3, 10 required', {
      available: 3n,
      required: 10n,
      note: undefined,
    })
    const { problem, headers, fault } = toProblem(error, 'req_1', 'https://pay.example.com')
    expect(problem).toEqual({
      type: 'https://pay.example.com/errors/insufficient_funds',
      title: 'The wallet does not hold enough for this.',
      status: 402,
      code: 'insufficient_funds',
      detail: 'the wallet holds 3, 10 required',
      instance: 'req_1',
      available: 3n,
      required: 10n,
    })
    expect(headers).toEqual({})
    expect(fault).toBe('caller')
  })

  test('facts never take the place of the standard members', () => {
    const { problem } = toProblem(
      new TooPoor('x', { status: 200, code: 'fine', type: '/', title: 'ok' }),
      'req_1',
    )
    expect(problem).toMatchObject({
      status: 402,
      code: 'insufficient_funds',
      type: '/errors/insufficient_funds',
    })
  })

  test('says when to come back, in whole seconds and at least one', () => {
    expect(toProblem(new TooManyRequests('x', 0.2), 'req_1').headers).toEqual({ 'retry-after': '1' })
    expect(toProblem(new TooManyRequests('x', 7), 'req_1').headers).toEqual({ 'retry-after': '7' })
    const busy = new OperationalError('vendor_slow', 'later', { retry_after_seconds: 30 })
    const { problem, headers, fault } = toProblem(busy, 'req_1')
    expect([problem.status, problem.code, headers['retry-after'], fault]).toEqual([
      503,
      'vendor_slow',
      '30',
      'world',
    ])
    expect(problem).not.toHaveProperty('retry_after_seconds')
  })

  test('a database that cannot be reached is 503, not our mistake', () => {
    for (const error of [
      Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }),
      Object.assign(new Error('gone'), { code: '57P01' }),
      new Error('Connection terminated unexpectedly'),
    ]) {
      const { problem, headers } = toProblem(error, 'req_1')
      expect([problem.status, problem.code, headers['retry-after']]).toEqual([
        503,
        'database_unavailable',
        '1',
      ])
      expect(JSON.stringify(problem)).not.toContain(error.message)
    }
  })

  test('gateways that fail or refuse our settings are 503 without their words', () => {
    const down = toProblem(
      new GatewayUnavailable('secret-looking reason', { retry_after_ms: 2_500 }),
      'req_1',
    )
    expect([down.problem.status, down.problem.code, down.headers['retry-after']]).toEqual([
      503,
      'gateway_unavailable',
      '3',
    ])
    const wrong = toProblem(new GatewayMisconfigured('bad shop password'), 'req_1')
    expect([wrong.problem.status, wrong.problem.code]).toEqual([503, 'gateway_misconfigured'])
    expect(JSON.stringify([down.problem, wrong.problem])).not.toMatch(/secret-looking|shop password/)
  })

  test('our own mistakes say nothing but the request’s id', () => {
    const mistakes = [
      new AssertionFailed('balance of cus_1 is below zero'),
      new TypeError('x of undefined'),
      Object.assign(new Error('duplicate key'), { code: '23505', detail: 'Key (email)=(a@b.c)' }),
      'a thrown text',
      undefined,
      null,
      7,
      { code: 'FST_ERR_CTP_BODY_TOO_LARGE' },
    ]
    for (const error of mistakes) {
      const { problem, fault } = toProblem(error, 'req_1')
      expect(problem).toEqual({
        type: '/errors/internal_error',
        title: 'A mistake on our side.',
        status: 500,
        code: 'internal_error',
        instance: 'req_1',
      })
      expect(fault).toBe('ours')
    }
  })
})

describe('errors over HTTP', () => {
  let lab: Lab
  const open = { config: { who: { anonymous: true } } } as const
  beforeAll(async () => {
    lab = await openLab(
      async (app) => {
        app.get('/poor', open, () => {
          throw new TooPoor('short', { available: 3n, required: 9_007_199_254_740_993n })
        })
        app.get('/bug', open, () => {
          throw new Error('the password is hunter2')
        })
        app.get('/late-bug', open, async () => {
          await new Promise((resolve) => setTimeout(resolve, 1))
          throw new Error('the password is hunter2')
        })
        app.get('/who', open, () => {
          throw new Unauthenticated('no')
        })
        app.get('/after-etag', open, (_request, reply) => {
          reply.header('etag', '"1"').header('cache-control', 'public, max-age=60').status(201)
          throw new InvalidRequest([{ pointer: '/x', detail: 'is bad' }])
        })
        await app.register(async (scope) => {
          productErrors(scope, (problem) => ({
            body: { error: problem.detail ?? problem.title, code: problem.code },
          }))
          scope.get('/product/poor', open, () => {
            throw new TooPoor('short')
          })
          scope.get('/product/bug', open, () => {
            throw new Error('the password is hunter2')
          })
        })
        await app.register(async (scope) => {
          productErrors(scope, () => ({
            body: 'bad sign',
            status: 200,
            content_type: 'text/plain; charset=utf-8',
          }))
          scope.get('/vendor', open, () => {
            throw new TooPoor('short')
          })
        })
      },
      { base_url: 'https://pay.example.com/' },
    )
  })
  afterAll(() => lab.close())

  test('are problem+json, never cached, with the id that the log line has', async () => {
    const answer = await lab.app.inject('/poor')
    expect(answer.statusCode).toBe(402)
    expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
    expect(answer.headers['cache-control']).toBe('no-store')
    const problem = answer.json()
    expect(problem.type).toBe('https://pay.example.com/errors/insufficient_funds')
    expect(problem.instance).toBe(answer.headers['x-request-id'])
    expect(lab.lines.at(-1)?.fields).toMatchObject({
      request_id: problem.instance,
      code: 'insufficient_funds',
      status: 402,
    })
  })

  test('amounts in facts are integers while JSON readers keep them exact, else digits', async () => {
    const problem = (await lab.app.inject('/poor')).json()
    expect([problem.available, problem.required]).toEqual([3, '9007199254740993'])
  })

  test('a bug answers 500 without a word of it, and the log has all of it', async () => {
    for (const url of ['/bug', '/late-bug', '/product/bug']) {
      const answer = await lab.app.inject(url)
      expect([url, answer.statusCode]).toEqual([url, 500])
      expect(answer.body).not.toContain('hunter2')
      const line = lab.lines.at(-1)
      expect([line?.level, line?.fields['request_id']]).toEqual(['error', answer.headers['x-request-id']])
      expect(String(line?.fields['err'])).toContain('hunter2')
    }
  })

  test('a 401 names the scheme, and asks a person’s browser but no program for the key', async () => {
    const program = await lab.app.inject({ url: '/who', headers: { accept: 'application/json' } })
    expect(program.headers['www-authenticate']).toBe('Bearer realm="kopilka"')
    const browser = await lab.app.inject({ url: '/who', headers: { accept: 'text/html,*/*;q=0.8' } })
    expect(browser.headers['www-authenticate']).toContain('Basic realm="kopilka"')
  })

  test('what the route said of its answer does not hold for its error', async () => {
    const answer = await lab.app.inject('/after-etag')
    expect(answer.statusCode).toBe(400)
    expect(answer.headers['etag']).toBeUndefined()
    expect(answer.headers['cache-control']).toBe('no-store')
  })

  test('a facade answers in its product’s shape, and only its own routes do', async () => {
    const answer = await lab.app.inject('/product/poor')
    expect([answer.statusCode, answer.json()]).toEqual([402, { error: 'short', code: 'insufficient_funds' }])
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
    const vendor = await lab.app.inject('/vendor')
    expect([vendor.statusCode, vendor.body, vendor.headers['content-type']]).toEqual([
      200,
      'bad sign',
      'text/plain; charset=utf-8',
    ])
    expect((await lab.app.inject('/poor')).headers['content-type']).toContain('problem+json')
  })
})
