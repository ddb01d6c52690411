import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Person, type PeopleWorld, startPeopleWorld, type Tokens } from '../../../test/people-world.ts'

let world: PeopleWorld
beforeAll(async () => {
  world = await startPeopleWorld()
})
afterAll(() => world?.close())

const refresh = (refresh_token: string) =>
  world.send<Tokens & { code: string }>('POST', '/v1/auth/refresh', { body: { refresh_token } })
const me = async (token: string): Promise<number> => (await world.send('GET', '/v1/me', { token })).status
const signIn = async ({ email, password }: Person, more: object = {}) =>
  (await world.send<Tokens>('POST', '/v1/auth/login', { body: { email, password, ...more } })).body
const DAY = 86_400_000

describe('A27: a refresh token', () => {
  test('is exchanged for new tokens of the same session', async () => {
    const person = await world.person()
    const next = await refresh(person.refresh_token)
    expect(next.status).toBe(200)
    expect(next.body.session_id).toBe(person.session_id)
    expect(next.body.refresh_token).not.toBe(person.refresh_token)
    expect(await me(next.body.access_token)).toBe(200)
  })

  test('sent twenty times at once gives everybody the same successor, once', async () => {
    const person = await world.person()
    const answers = await Promise.all(Array.from({ length: 20 }, () => refresh(person.refresh_token)))
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200))
    expect(new Set(answers.map(({ body }) => body.refresh_token)).size).toBe(1)
    const { rows } = await world.app.db.pool.query<{ count: bigint }>(
      'select count(*) from identity.refresh_tokens where session_id = $1',
      [person.session_id],
    )
    expect(rows[0]?.count).toBe(2n)
    expect((await refresh(answers[0]?.body.refresh_token ?? '')).status).toBe(200)
  })

  test('repeated within ten seconds gives the same successor', async () => {
    const person = await world.person()
    const first = await refresh(person.refresh_token)
    world.clock.advance(10_000)
    const again = await refresh(person.refresh_token)
    expect(again.body.refresh_token).toBe(first.body.refresh_token)
    expect(again.body.session_id).toBe(person.session_id)
  })

  test('repeated after ten seconds ends the session, for the thief and for the owner', async () => {
    const person = await world.person()
    const first = await refresh(person.refresh_token)
    world.clock.advance(10_001)
    const stolen = await refresh(person.refresh_token)
    expect([stolen.status, stolen.body.code]).toEqual([401, 'refresh_token_invalid'])
    expect((await refresh(first.body.refresh_token)).status).toBe(401)
    expect(await me(first.body.access_token)).toBe(401)
  })

  test('from before the previous one ends the session even within ten seconds', async () => {
    const person = await world.person()
    const first = await refresh(person.refresh_token)
    const second = await refresh(first.body.refresh_token)
    expect((await refresh(person.refresh_token)).status).toBe(401)
    expect((await refresh(second.body.refresh_token)).status).toBe(401)
  })

  test('that came again ends its own session and no other', async () => {
    const person = await world.person()
    const other = await signIn(person)
    await refresh(person.refresh_token)
    world.clock.advance(60_000)
    await refresh(person.refresh_token)
    expect((await refresh(other.refresh_token)).status).toBe(200)
  })

  test.each(['', 'rt_', 'rt_guessed', 'x'.repeat(200), 'eyJhbGciOiJub25lIn0.e30.'])(
    '%j is refused',
    async (text) => {
      expect([400, 401]).toContain((await refresh(text)).status)
    },
  )

  test('A28: is no access token, and an access token is no refresh token', async () => {
    const person = await world.person()
    expect(await me(person.refresh_token)).toBe(401)
    expect((await refresh(person.access_token)).status).toBe(400)
  })

  test('is good for thirty days without use and a hundred and eighty with', async () => {
    const idle = await world.person()
    const used = await world.person()
    let token = used.refresh_token
    for (let month = 0; month < 6; month++) {
      world.clock.advance(29 * DAY)
      const next = await refresh(token)
      expect(next.status).toBe(200)
      token = next.body.refresh_token
    }
    expect((await refresh(idle.refresh_token)).status).toBe(401)
    world.clock.advance(7 * DAY)
    expect((await refresh(token)).status).toBe(401)
  })

  test('is nowhere in the database', async () => {
    const person = await world.person()
    const next = await refresh(person.refresh_token)
    const tables = ['sessions', 'refresh_tokens', 'users', 'one_time_proofs', 'devices']
    for (const table of tables) {
      const { rows } = await world.app.db.pool.query<{ row: string }>(
        `select t::text as row from identity.${table} t`,
      )
      const text = rows.map(({ row }) => row).join('\n')
      expect(text).not.toContain(person.refresh_token.slice(3))
      expect(text).not.toContain(next.body.refresh_token.slice(3))
      expect(text).not.toContain(person.password)
    }
  })
})

describe('A29: sessions', () => {
  test('are listed per device and ended one by one', async () => {
    const person = await world.person({ device_id: 'phone' })
    const tablet = await signIn(person, { device_id: 'tablet' })
    const token = tablet.access_token
    const listed = await world.send<{ items: { id: string; device_id: string; is_current: boolean }[] }>(
      'GET',
      '/v1/me/sessions',
      { token },
    )
    const items = listed.body.items.map(({ device_id, is_current }) => [device_id, is_current])
    expect(items).toHaveLength(2)
    expect(items).toContainEqual(['phone', false])
    expect(items).toContainEqual(['tablet', true])
    const phone = listed.body.items.find(({ device_id }) => device_id === 'phone')
    expect(await me(person.access_token)).toBe(200)
    const ended = await world.send('DELETE', `/v1/me/sessions/${phone?.id}`, { token })
    expect(ended.status).toBe(200)
    expect(await me(person.access_token)).toBe(401)
    expect((await refresh(person.refresh_token)).status).toBe(401)
    expect(await me(token)).toBe(200)
  })

  test('of somebody else are not there', async () => {
    const [one, two] = [await world.person(), await world.person()]
    const url = `/v1/me/sessions/${two.session_id}`
    expect((await world.send('DELETE', url, { token: one.access_token })).status).toBe(404)
    expect(await me(two.access_token)).toBe(200)
  })

  test('end everywhere at once', async () => {
    const person = await world.person()
    const others = [await signIn(person), await signIn(person)]
    const answer = await world.send('DELETE', '/v1/me/sessions', { token: person.access_token })
    expect(answer.body).toEqual({ ended: 3 })
    for (const { access_token } of [person, ...others]) expect(await me(access_token)).toBe(401)
  })

  test('of a device are replaced by its next sign-in, also by twenty at once', async () => {
    const person = await world.person({ device_id: 'phone' })
    const many = await Promise.all(Array.from({ length: 20 }, () => signIn(person, { device_id: 'phone' })))
    const open = await Promise.all([person, ...many].map(({ access_token }) => me(access_token)))
    expect(open.filter((status) => status === 200)).toHaveLength(1)
    expect(open[0]).toBe(401)
  })

  test('a sign-out ends the session of the body’s token, however old the header’s is', async () => {
    const person = await world.person()
    world.clock.advance(3_600_000)
    const answer = await world.send('POST', '/v1/auth/logout', {
      token: person.access_token,
      body: { refresh_token: person.refresh_token },
    })
    expect(answer.status).toBe(200)
    expect((await refresh(person.refresh_token)).status).toBe(401)
    const again = await world.send('POST', '/v1/auth/logout', {
      body: { refresh_token: person.refresh_token },
    })
    expect(again.status).toBe(200)
  })

  test('every sign-in is a new session: nothing a stranger set before is taken over', async () => {
    const person = await world.person()
    const fixed = 'cs_chosen-by-somebody-else'
    const answer = await world.send<Tokens>('POST', '/v1/auth/login', {
      body: { email: person.email, password: person.password, mode: 'cookie' },
      headers: { cookie: `__Host-kopilka=${fixed}`, origin: 'https://shop.example' },
    })
    expect(answer.cookies['__Host-kopilka']?.value).not.toBe(fixed)
    expect(
      (await world.send('GET', '/v1/me', { headers: { cookie: `__Host-kopilka=${fixed}` } })).status,
    ).toBe(401)
  })

  test('end when the user is closed, and nobody signs in until he is opened', async () => {
    const person = await world.person()
    const { setDisabled } = await import('./users.ts')
    const set = (is_disabled: boolean) =>
      world.app.db.transact((tx) => setDisabled(tx, world.clock, { user_id: person.id, is_disabled }))
    await set(true)
    expect(await me(person.access_token)).toBe(401)
    expect((await refresh(person.refresh_token)).status).toBe(401)
    const body = { email: person.email, password: person.password }
    const refused = await world.send<{ code: string }>('POST', '/v1/auth/login', { body })
    expect([refused.status, refused.body.code]).toEqual([403, 'user_disabled'])
    const wrong = await world.send<{ code: string }>('POST', '/v1/auth/login', {
      body: { ...body, password: 'no' },
    })
    expect(wrong.body.code, 'only the owner is told').toBe('invalid_credentials')
    await set(false)
    expect((await world.send('POST', '/v1/auth/login', { body })).status).toBe(200)
  })

  test('end when the person is given another role', async () => {
    const { appointStaff } = await import('./staff.ts')
    const person = await world.person()
    const root = { id: 'command', permissions: new Set(['*']) }
    const appoint = (role: string) =>
      world.app.db.transact((tx) => appointStaff(tx, world.clock, root, { user_id: person.id, role }))
    await appoint('owner')
    await world.app.db.transact((tx) =>
      appointStaff(tx, world.clock, root, { user_id: person.id, role: 'owner' }),
    )
    const owner = await signIn(person)
    const seen = await world.send<{ permissions: string[] }>('GET', '/v1/me', { token: owner.access_token })
    expect(seen.body.permissions.length).toBeGreaterThan(0)
    const other = await world.person()
    await world.app.db.transact((tx) =>
      appointStaff(tx, world.clock, root, { user_id: other.id, role: 'owner' }),
    )
    await appoint('read_only')
    expect(await me(owner.access_token)).toBe(401)
    const lowered = await signIn(person)
    const less = await world.send<{ permissions: string[] }>('GET', '/v1/me', { token: lowered.access_token })
    expect(less.body.permissions.length).toBeLessThan(seen.body.permissions.length)
  })
})
