import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Caller, type PeopleLab, startPeopleLab } from './people-lab.ts'
import { absentPath, isOpen, nameOf, type RouteTable, watchRoutes } from './route-table.ts'
import { startWorld, type World } from './world.ts'

let world: World
let lab: PeopleLab
let table: RouteTable = { routes: [], undeclared: [] }

beforeAll(async () => {
  world = await startWorld()
  lab = await startPeopleLab(world, (http) => {
    table = watchRoutes(http)
  })
})
afterAll(async () => {
  await lab?.close()
  await world?.close()
})

const look = (as: Caller, user_id: string) =>
  lab.call(as, 'POST', `/v1/users/${user_id}/impersonations`, { reason: 'ticket 7' })

test('support sees what the user sees, and the user sees that', async () => {
  const support = (await lab.user('support')) as Caller
  const user = await lab.user()
  const started = await look(support, user)
  expect(started.statusCode).toBe(201)
  const { access_token, session_id, expires_in } = started.json<{
    access_token: string
    session_id: string
    expires_in: number
  }>()
  expect(expires_in).toBeLessThanOrEqual(600)
  expect(started.body).not.toContain('refresh_token')
  const headers = { authorization: `Bearer ${access_token}` }
  const me = await world.call('GET', '/v1/me', undefined, headers)
  expect(me.status).toBe(200)
  expect(me.body).toMatchObject({ id: user, impersonator_id: support })
  const sessions = await lab.call(user as Caller, 'GET', '/v1/me/sessions')
  expect(sessions.json<{ items: object[] }>().items).toMatchObject([
    { id: session_id, is_impersonation: true },
  ])
  const { rows } = await world.app.db.pool.query(
    "select actor_id, subject_id, after from identity.audit_log where action = 'user.impersonated'",
  )
  expect(rows).toEqual([{ actor_id: support, subject_id: user, after: { session_id, reason: 'ticket 7' } }])
  const kept = await world.app.db.pool.query<{ text: string }>(
    "select string_agg(k::text, '') as text from kernel.idempotency_keys k",
  )
  expect(kept.rows[0]?.text).not.toContain(access_token)
})

test('A49: a look changes nothing, on no route', async () => {
  const support = (await lab.user('support')) as Caller
  const user = await lab.user()
  const { access_token } = (await look(support, user)).json<{ access_token: string }>()
  const headers = { authorization: `Bearer ${access_token}` }
  const before = await world.digest()
  const wrong: string[] = []
  const changing = table.routes.filter((route) => route.method !== 'GET' && !isOpen(route))
  for (const route of changing) {
    const { method, url } = route
    const body = method === 'DELETE' ? undefined : {}
    const answer = await world.call(method, absentPath(url), body, headers)
    if (answer.status !== 403 || answer.body['code'] !== 'missing_scope')
      wrong.push(`${nameOf(route)}: ${answer.status} ${answer.text.slice(0, 80)}`)
  }
  expect(wrong).toEqual([])
  expect(changing.filter(({ who }) => who.user).length).toBeGreaterThan(20)
  expect(await world.digest()).toBe(before)
  // What he may see, the look may see.
  expect((await world.call('GET', '/v1/me/sessions', undefined, headers)).status).toBe(200)
  const { rowCount } = await world.app.db.pool.query(
    `select 1 from identity.sessions
      where user_id = $1 and expires_at > created_at + interval '10 minutes 1 second'`,
    [user],
  )
  expect(rowCount).toBe(0)
})

test('nobody borrows an office, himself, or a user who is not there; and not everybody may', async () => {
  const support = (await lab.user('support')) as Caller
  const owner = await lab.user('owner')
  const user = await lab.user()
  expect((await look(support, owner)).statusCode).toBe(403)
  expect((await look(owner as Caller, owner)).statusCode).toBe(409)
  expect((await look(support, 'usr_absent')).statusCode).toBe(404)
  expect((await look((await lab.user('finance')) as Caller, user)).statusCode).toBe(403)
  expect((await look({ scopes: ['*'] }, user)).statusCode).toBe(403)
  expect(lab.failures).toEqual([])
})
