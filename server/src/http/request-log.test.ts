import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { OperationalError } from '#kernel/errors'
import { addRoute } from './routing.ts'
import { openLab, type Lab } from './server.fixtures/lab.ts'

let lab: Lab
beforeAll(async () => {
  lab = await openLab((app, kit) => {
    const route = { method: 'GET', answer: z.object({ ok: z.boolean() }), summary: 'x', tag: 't' } as const
    addRoute(app, kit, { ...route, url: '/plain/:id', who: { key: 'any' }, read: () => ({ ok: true }) })
    addRoute(app, kit, {
      ...route,
      url: '/hot/:id',
      who: { key: 'any' },
      is_hot: true,
      params: z.object({ id: z.string() }),
      read: ({ params }) => {
        if (params.id === 'down') throw new OperationalError('database_unavailable', 'later')
        if (params.id === 'bug') throw new Error('a bug')
        return { ok: true }
      },
    })
  })
})
afterAll(() => lab.close())

const ask = (url: string, key = 'root') =>
  lab.app.inject({ url, headers: { authorization: `Bearer ${key}`, cookie: 'session=c00kie' } })

test('every request has one line that says who, what, how it ended and how long it took', async () => {
  lab.lines.length = 0
  const answer = await ask('/plain/7?token=s3cret&x=1')
  expect(lab.lines).toEqual([
    {
      level: 'info',
      message: 'request',
      fields: {
        request_id: answer.headers['x-request-id'],
        method: 'GET',
        path: '/plain/7',
        route: '/plain/:id',
        status: 200,
        duration_ms: expect.any(Number),
        actor_id: 'key_root',
      },
    },
  ])
  expect(JSON.stringify(lab.lines)).not.toMatch(/s3cret|c00kie|Bearer/)
})

test('of hot routes one request in a hundred has a line', async () => {
  lab.lines.length = 0
  for (let i = 0; i < 1_000; i++) await ask(`/hot/${i}`)
  expect(lab.lines).toHaveLength(10)
})

test('failures of hot routes always have one, as loud as they are bad', async () => {
  lab.lines.length = 0
  await ask('/hot/1', 'nonsense')
  await ask('/hot/down')
  await ask('/hot/bug')
  expect(lab.lines.map(({ level, fields }) => [level, fields['status'], fields['code']])).toEqual([
    ['info', 401, 'unauthenticated'],
    ['warn', 503, 'database_unavailable'],
    ['error', 500, 'internal_error'],
  ])
  expect(lab.lines.map(({ fields }) => 'err' in fields)).toEqual([false, true, true])
})

test('a path made to fill the log is cut', async () => {
  lab.lines.length = 0
  await ask(`/nothing/${'x'.repeat(8_000)}`)
  expect(String(lab.lines[0]?.fields['path']).length).toBeLessThanOrEqual(300)
})

test('requests are counted by route, not by address', async () => {
  await ask('/plain/1')
  await ask('/plain/2')
  for (let i = 0; i < 50; i++) await ask(`/nowhere/${i}`)
  const text = await lab.app.metrics.text()
  expect(text).toMatch(
    /kopilka_http_request_duration_seconds_count\{method="GET",route="\/plain\/:id",status="200"\} [23]\n/,
  )
  expect(text).not.toContain('nowhere')
  expect(text).toMatch(/_count\{method="any",route="unmatched",status="404"\} 5\d\n/)
})
