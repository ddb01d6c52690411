import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { appointStaff } from '#modules/identity'
import {
  PASSWORD,
  type Person,
  type PeopleWorld,
  queriesOf,
  startPeopleWorld,
} from '../../test/people-world.ts'

let world: PeopleWorld
const staff: Record<string, Person> = {}

beforeAll(async () => {
  world = await startPeopleWorld()
  for (const role of ['owner', 'admin', 'support', 'finance', 'read_only']) staff[role] = await member(role)
})
afterAll(() => world?.close())

interface Shown {
  id: string
  email: string | null
  name: string | null
  role: string | null
  status: string
}
interface Listed<Item> {
  items: Item[]
  next_cursor: string | null
}

/** Somebody with a role, signed in after he got it: his sessions of before ended with it. */
async function member(role: string): Promise<Person> {
  const made = await world.person()
  const root = { id: 'command', permissions: new Set(['*']) }
  const { db } = world.app
  await db.transact((tx) => appointStaff(tx, world.clock, root, { user_id: made.id, role }))
  const { email, password } = made
  const entered = await world.send<Person>('POST', '/v1/auth/login', { body: { email, password } })
  return { ...made, access_token: entered.body.access_token }
}

const as = (role: string): { token: string | undefined } => ({ token: staff[role]?.access_token })
const see = (role: string, id: string) => world.send<Shown>('GET', `/admin/users/${id}`, as(role))
const put = (role: string, id: string, body: unknown) =>
  world.send<Shown & { code: string }>('PUT', `/admin/users/${id}`, { ...as(role), body })
const remove = (role: string, id: string) => world.send('DELETE', `/admin/users/${id}`, as(role))
const acts = async (subject_id: string): Promise<string[]> => {
  const url = `/admin/logs?subject_id=${subject_id}`
  const { body } = await world.send<Listed<{ action: string; ip: string }>>('GET', url, as('owner'))
  return body.items.map((item) => item.action)
}

describe('GET /admin/users', () => {
  test('pages through everybody once, the newest first', async () => {
    const made = [await world.person(), await world.person(), await world.person()]
    const found: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const from: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const url = `/admin/users?limit=2${from}`
      const page: { body: Listed<Shown> } = await world.send<Listed<Shown>>('GET', url, as('support'))
      found.push(...page.body.items.map((user) => user.id))
      cursor = page.body.next_cursor
    }
    expect(new Set(found).size).toBe(found.length)
    for (const { id } of [...made, ...Object.values(staff)]) expect(found).toContain(id)
  })

  test('finds by the beginning of address and name in any letter case, and by the whole id', async () => {
    const { id, access_token: token } = await world.person({ email: 'zoe.miller@mail.example' })
    await world.send('PUT', '/auth/profile', { token, body: { name: 'Зоя 100% Miller' } })
    const search = async (text: string): Promise<string[]> => {
      const url = `/admin/users?search=${encodeURIComponent(text)}`
      return (await world.send<Listed<Shown>>('GET', url, as('read_only'))).body.items.map((user) => user.id)
    }
    for (const text of ['zoe.m', 'ZOE.MILLER@mail.example', 'зоя', 'ЗОЯ 100%', id]) {
      expect([text, await search(text)]).toEqual([text, [id]])
    }
    for (const text of ['%', '_oe', 'miller', id.slice(0, -1), '\\']) {
      expect([text, await search(text)]).toEqual([text, []])
    }
  })

  test('finds by the beginning of address and name through an index, among many', async () => {
    await world.app.db.pool.query(
      `insert into identity.users (id, email, name, created_at, updated_at)
       select 'usr_many_' || n, 'many' || n || '@mail.example', 'Many ' || n, now(), now()
         from generate_series(1, 5000) n`,
    )
    await world.app.db.pool.query('analyze identity.users')
    const asked = await queriesOf(world, () =>
      world.send('GET', '/admin/users?search=many4999', as('read_only')),
    )
    const search = asked.find(({ text }) => text.includes(' like '))
    const plan = await world.app.db.pool.query({
      text: `explain ${search?.text}`,
      values: search?.values ?? [],
    })
    const text = JSON.stringify(plan.rows)
    expect(text).toContain('users_email_beginning')
    expect(text).toContain('users_name_beginning')
    await world.app.db.pool.query("delete from identity.users where id like 'usr_many_%'")
  })

  test('A36: a search or a cursor that would be SQL is a text that finds nobody, or refused', async () => {
    const dangerous = `x' or '1'='1`
    const url = `/admin/users?search=${encodeURIComponent(dangerous)}`
    expect((await world.send<Listed<Shown>>('GET', url, as('owner'))).body.items).toEqual([])
    for (const cursor of [dangerous, 'W10', '']) {
      const answer = await world.send('GET', `/admin/users?cursor=${encodeURIComponent(cursor)}`, as('owner'))
      expect([cursor, answer.status]).toEqual([cursor, 400])
    }
  })
})

describe('POST /admin/users', () => {
  test('makes a user who chooses his own password by the link of a mail', async () => {
    const email = 'invited@mail.example'
    const body = { email, name: 'Inga', locale: 'ru' }
    const made = await world.send<Shown>('POST', '/admin/users', { ...as('support'), body })
    expect(made.status).toBe(201)
    expect(made.body).toMatchObject({ email, name: 'Inga', locale: 'ru', role: null, status: 'active' })
    const token = (await world.mails(email)).at(-1)?.token
    const reset = await world.send('POST', '/v1/auth/password/reset', { body: { token, password: PASSWORD } })
    expect(reset.status).toBe(200)
    const entered = await world.send<Person>('POST', '/auth/login', { body: { email, password: PASSWORD } })
    expect(entered.status).toBe(200)
    expect(await acts(made.body.id)).toEqual(['user.created'])
  })

  test('is refused for a known address, and the same request again gives the same user', async () => {
    const { email } = await world.person()
    const again = await world.send('POST', '/admin/users', { ...as('support'), body: { email } })
    expect([again.status, again.body.code]).toEqual([409, 'already_exists'])
    const request = {
      ...as('support'),
      body: { email: 'once@mail.example' },
      headers: { 'idempotency-key': 'make-once' },
    }
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => world.send<Shown>('POST', '/admin/users', request)),
    )
    expect(new Set(answers.map((answer) => [answer.status, answer.body.id].join()))).toHaveLength(1)
    expect(answers[0]?.status).toBe(201)
  })

  test.each([
    ['a password', { password: PASSWORD }],
    ['an id', { id: 'usr_mine' }],
    ['permissions', { permissions: ['*'] }],
    ['a proved address', { is_email_verified: true }],
  ])('A23: takes no %s', async (_what, extra) => {
    const body = { email: 'nobody@mail.example', ...extra }
    expect((await world.send('POST', '/admin/users', { ...as('owner'), body })).status).toBe(400)
  })

  test('A49: gives no role beyond the giver’s, nor without the right to appoint', async () => {
    const make = (role: string, given: string, email: string) =>
      world.send('POST', '/admin/users', { ...as(role), body: { email, role: given } })
    for (const [giver, given] of [
      ['support', 'read_only'],
      ['support', 'owner'],
      ['admin', 'owner'],
    ] as const) {
      const answer = await make(giver, given, `${giver}-${given}@mail.example`)
      expect([giver, given, answer.status, answer.body.code]).toEqual([giver, given, 403, 'missing_scope'])
    }
    const found = await world.send<Listed<Shown>>('GET', '/admin/users?search=support-', as('owner'))
    expect(found.body.items).toEqual([])
    const made = await make('admin', 'support', 'new-support@mail.example')
    expect([made.status, made.body['role']]).toEqual([201, 'support'])
  })
})

describe('PUT /admin/users/{id}', () => {
  test('changes name and language, leaves what is absent, and logs it without who it is', async () => {
    const { id, email } = await world.person()
    expect((await put('support', id, { name: 'Anna', locale: 'ru' })).status).toBe(200)
    expect((await put('support', id, { locale: null })).body).toMatchObject({ name: 'Anna', email })
    const { rows } = await world.app.db.pool.query<{ row: string }>(
      'select audit_log::text as row from identity.audit_log where subject_id = $1',
      [id],
    )
    expect(rows).toHaveLength(2)
    expect(JSON.stringify(rows)).not.toMatch(/Anna|mail\.example/)
  })

  test('closes a user, whose token ends at once, and opens him again', async () => {
    const { id, email, password, access_token: token } = await world.person()
    expect((await put('support', id, { is_disabled: true })).body.status).toBe('disabled')
    expect((await world.send('GET', '/auth/profile', { token })).status).toBe(401)
    const refused = await world.send('POST', '/auth/login', { body: { email, password } })
    expect([refused.status, refused.body.code]).toEqual([403, 'user_disabled'])
    expect((await put('support', id, { is_disabled: false })).body.status).toBe('active')
    expect((await world.send('POST', '/auth/login', { body: { email, password } })).status).toBe(200)
  })

  test('A49: whoever stands above is not renamed, closed, lowered or forgotten', async () => {
    const [admin, owner] = [staff['admin']?.id ?? '', staff['owner']?.id ?? '']
    for (const [role, id, body] of [
      ['support', admin, { is_disabled: true }],
      ['support', owner, { name: 'x' }],
      ['admin', owner, { role: null }],
      ['admin', owner, { is_disabled: true }],
    ] as const) {
      const answer = await put(role, id, body)
      expect([role, body, answer.status, answer.body.code]).toEqual([role, body, 403, 'missing_scope'])
    }
    expect((await remove('admin', owner)).status).toBe(403)
    const erased = await world.send('POST', `/v1/customers/${staff['owner']?.customer_id}/erase`, {
      ...as('admin'),
      body: { reason: 'x' },
    })
    expect([erased.status, erased.body.code]).toEqual([403, 'missing_scope'])
    expect((await see('owner', owner)).body).toMatchObject({ role: 'owner', status: 'active' })
  })

  test('a role is given and taken; the last owner stays, also when all is tried at once', async () => {
    const { id } = await world.person()
    expect((await put('admin', id, { role: 'finance' })).body.role).toBe('finance')
    expect((await put('admin', id, { role: null })).body.role).toBeNull()
    expect((await acts(id)).length).toBe(2)
    const owner = staff['owner']?.id ?? ''
    const tries = [{ role: null }, { role: 'admin' }, { is_disabled: true }]
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, index) => put('owner', owner, tries[index % tries.length])),
    )
    expect(new Set(answers.map(({ status, body }) => `${status} ${body.code}`))).toEqual(
      new Set(['409 invalid_state']),
    )
  })

  test('takes no address, password or permission', async () => {
    const { id, email } = await world.person()
    for (const body of [{ email: 'thief@mail.example' }, { password: PASSWORD }, { permissions: ['*'] }]) {
      expect((await put('owner', id, body)).status).toBe(400)
    }
    expect((await see('owner', id)).body.email).toBe(email)
  })
})

describe('DELETE /admin/users/{id}', () => {
  test('A57: forgets him: no address, no sign-in, out of the list; a repeat changes nothing', async () => {
    const { id, email, password, access_token: token } = await world.person()
    expect((await remove('admin', id)).body).toEqual({ id, status: 'deleted' })
    expect((await see('admin', id)).body).toMatchObject({ email: null, name: null, status: 'deleted' })
    expect((await world.send('GET', '/auth/profile', { token })).status).toBe(401)
    expect((await world.send('POST', '/auth/login', { body: { email, password } })).status).toBe(401)
    const url = `/admin/users?search=${encodeURIComponent(email)}`
    expect((await world.send<Listed<Shown>>('GET', url, as('admin'))).body.items).toEqual([])
    expect((await remove('admin', id)).status).toBe(200)
    expect((await put('admin', id, { name: 'x' })).status).toBe(404)
  })

  test('of somebody merged into another user forgets nobody', async () => {
    const [from, into] = [await world.person(), await world.person()]
    await world.app.db.pool.query('update identity.users set merged_into = $2 where id = $1', [
      from.id,
      into.id,
    ])
    expect((await remove('owner', from.id)).status).toBe(404)
    expect((await see('owner', into.id)).body).toMatchObject({ email: into.email, status: 'active' })
  })

  test('is not for support, and nobody is not there', async () => {
    const { id } = await world.person()
    expect((await remove('support', id)).status).toBe(403)
    expect((await remove('owner', 'usr_absent')).status).toBe(404)
  })
})

test('GET /admin/stats counts people, and is for those who may see reports', async () => {
  interface Stats {
    users: Record<string, number>
    sales: unknown[]
    units: unknown[]
  }
  const stats = async () => (await world.send<Stats>('GET', '/admin/stats', as('read_only'))).body
  const before = await stats()
  const { id } = await world.person()
  await put('owner', id, { is_disabled: true })
  const after = await stats()
  const grown = (name: string) => (after.users[name] ?? 0) - (before.users[name] ?? 0)
  expect(
    ['total', 'new_in_a_day', 'new_in_a_month', 'disabled', 'active_in_a_day', 'staff'].map(grown),
  ).toEqual([1, 1, 1, 1, 1, 0])
  const { access_token: token } = await world.person()
  expect((await world.send('GET', '/admin/stats', { token })).status).toBe(403)
})

test('GET /admin/logs pages through the log, and is for those who may see it', async () => {
  const read = (url: string) => world.send<Listed<{ id: string; user_id: string }>>('GET', url, as('finance'))
  const first = await read('/admin/logs?limit=2')
  expect(first.body.items).toHaveLength(2)
  const next = await read(`/admin/logs?limit=2&cursor=${encodeURIComponent(first.body.next_cursor ?? '')}`)
  const sequence = [...first.body.items, ...next.body.items].map((item) => Number(item.id))
  expect(sequence).toEqual(sequence.toSorted((a, b) => b - a))
  expect(new Set(sequence).size).toBe(4)
  const mine = await read(`/admin/logs?user_id=${staff['admin']?.id}`)
  expect(mine.body.items.length).toBeGreaterThan(0)
  expect(new Set(mine.body.items.map((item) => item.user_id))).toEqual(new Set([staff['admin']?.id]))
  expect((await world.send('GET', '/admin/logs', as('support'))).status).toBe(403)
})
