import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createServer } from '#http/server'
import { appointStaff } from './index.ts'
import { silentLog } from '#kernel/log'
import { type Person, type PeopleWorld, startPeopleWorld, type Tokens } from '../../../test/people-world.ts'
import { absentPath, isOpen, nameOf, type Route, watchRoutes } from '../../../test/route-table.ts'

/** Sessions of browsers, and pages of other sites that would like to use them. */
let world: PeopleWorld
beforeAll(async () => {
  world = await startPeopleWorld()
})
afterAll(() => world?.close())

const OWN = 'https://shop.example'

async function browser(
  person?: Person,
): Promise<{ cookie: string; csrf_token: string; person: Person; text: string }> {
  const who = person ?? (await world.person())
  const answer = await world.send<Tokens>('POST', '/v1/auth/login', {
    body: { email: who.email, password: who.password, mode: 'cookie' },
    headers: { origin: OWN },
  })
  expect(answer.status).toBe(200)
  expect(answer.body.access_token).toBeNull()
  expect(answer.body.refresh_token).toBeNull()
  const { value = '', text = '' } = answer.cookies['__Host-kopilka'] ?? {}
  return { cookie: `__Host-kopilka=${value}`, csrf_token: answer.body.csrf_token ?? '', person: who, text }
}

const rename = (headers: Record<string, string>) =>
  world.send<{ code: string; name: string }>('PATCH', '/v1/me', { body: { name: 'Eve' }, headers })

describe('A30: a browser’s session', () => {
  test('lies in a cookie that no script, no other host and no plain connection gets', async () => {
    const { text } = await browser()
    for (const word of ['HttpOnly', 'Secure', 'SameSite=Lax', 'Path=/']) expect(text).toContain(word)
    expect(text).not.toMatch(/domain/i)
  })

  test('reads without more, and changes with its CSRF token', async () => {
    const { cookie, csrf_token, person } = await browser()
    const seen = await world.send('GET', '/v1/me', { headers: { cookie } })
    expect(seen.body).toMatchObject({ id: person.id })
    const asked = await world.send<{ csrf_token: string }>('GET', '/v1/auth/csrf', { headers: { cookie } })
    expect(asked.body.csrf_token).toBe(csrf_token)
    const changed = await rename({
      cookie,
      'x-csrf-token': csrf_token,
      origin: OWN,
      'sec-fetch-site': 'same-origin',
    })
    expect(changed.body.name).toBe('Eve')
  })

  test.each([
    ['without a token', {}],
    ['with a made-up token', { 'x-csrf-token': 'x'.repeat(43) }],
    ['with the token and a foreign origin', { origin: 'https://evil.example' }],
    ['with the token and no origin at all but `null`', { origin: 'null' }],
    ['with the token and an origin that begins alike', { origin: 'https://shop.example.evil.example' }],
    ['with the token and our origin on another port', { origin: 'https://shop.example:444' }],
    ['with the token, plain http', { origin: 'http://shop.example' }],
    ['with the token from another site', { 'sec-fetch-site': 'cross-site' }],
    ['with the token from a neighbour under the same domain', { 'sec-fetch-site': 'same-site' }],
  ])('changes nothing %s', async (name, headers: Record<string, string>) => {
    const { cookie, csrf_token } = await browser()
    const own = name.startsWith('with the token') ? { 'x-csrf-token': csrf_token } : {}
    const answer = await rename({ cookie, ...own, ...headers })
    expect([answer.status, answer.body.code]).toEqual([403, 'csrf_refused'])
    const seen = await world.send<{ name: string | null }>('GET', '/v1/me', { headers: { cookie } })
    expect(seen.body.name).toBeNull()
  })

  /** Every route of the program, of a server that is never asked. */
  async function allRoutes(): Promise<Route[]> {
    const http = await createServer({
      kit: world.app.kit,
      version: '0.0.0-test',
      anonymous_per_minute: 1,
      log: silentLog(),
      authenticate: () => undefined,
    })
    const { routes } = watchRoutes(http)
    world.app.addRoutes(http)
    await http.ready()
    await http.close()
    return routes
  }

  test('changes nothing on any route without its CSRF token, or from another site with it', async () => {
    const { cookie, csrf_token, person } = await browser()
    const root = { id: 'command', permissions: new Set(['*']) }
    await world.app.db.transact((tx) =>
      appointStaff(tx, world.clock, root, { user_id: person.id, role: 'owner' }),
    )
    // A new role ends sessions: he enters anew.
    const entered = await browser(person)
    const changing = (await allRoutes()).filter((route) => route.method !== 'GET' && !isOpen(route))
    expect(changing.length).toBeGreaterThan(80)
    const wrong: string[] = []
    for (const route of changing) {
      for (const headers of [
        {},
        { 'x-csrf-token': csrf_token },
        { 'x-csrf-token': entered.csrf_token, origin: 'https://evil.example' },
        { 'x-csrf-token': entered.csrf_token, 'sec-fetch-site': 'cross-site' },
      ]) {
        const answer = await world.send<{ code: string }>(route.method, absentPath(route.url), {
          ...(route.method === 'DELETE' ? {} : { body: {} }),
          headers: { cookie: entered.cookie, ...headers },
        })
        if (answer.status !== 403 || answer.body.code !== 'csrf_refused')
          wrong.push(
            `${nameOf(route)} ${JSON.stringify(headers)}: ${answer.status} ${answer.text.slice(0, 80)}`,
          )
      }
    }
    expect(wrong).toEqual([])
    expect(cookie).not.toBe(entered.cookie)
  }, 60_000)

  /** Ways in that can end in a cookie, each with a body that is well-formed. */
  const WAYS_IN: Readonly<Record<string, object>> = {
    'POST /v1/auth/register': { email: 'eve@mail.example', password: 'correct horse battery' },
    'POST /v1/auth/login': { email: 'eve@mail.example', password: 'correct horse battery' },
    'POST /v1/auth/telegram': { init_data: 'x' },
    'POST /v1/auth/telegram/start_codes': {},
    'POST /v1/auth/oauth/:provider': {},
  }

  test('is not begun by another site’s page, on any way in', async () => {
    const ways = (await allRoutes()).filter((route) => isOpen(route) && 'mode' in (route.body ?? {}))
    expect(ways.map(nameOf).toSorted()).toEqual(Object.keys(WAYS_IN).toSorted())
    for (const route of ways) {
      for (const headers of [{ origin: 'https://evil.example' }, { origin: 'null' }]) {
        const answer = await world.send<{ code: string }>(route.method, absentPath(route.url), {
          body: { ...WAYS_IN[nameOf(route)], mode: 'cookie' },
          headers,
        })
        expect([nameOf(route), answer.status, answer.body.code]).toEqual([nameOf(route), 403, 'csrf_refused'])
        expect(answer.cookies).toEqual({})
      }
    }
  })

  test('another session’s CSRF token is none of this one', async () => {
    const [one, two] = [await browser(), await browser()]
    const answer = await rename({ cookie: one.cookie, 'x-csrf-token': two.csrf_token })
    expect(answer.status).toBe(403)
  })

  test('an Authorization header goes before the cookie and needs no CSRF token', async () => {
    const { cookie } = await browser()
    const { access_token } = await world.person()
    const answer = await world.send('PATCH', '/v1/me', {
      token: access_token,
      body: { name: 'App' },
      headers: { cookie },
    })
    expect(answer.status).toBe(200)
  })

  test('that is over counts as none, so the way to sign in stays open', async () => {
    const { cookie, person } = await browser()
    const out = await world.send('POST', '/v1/auth/logout', { body: {}, headers: { cookie, origin: OWN } })
    expect(out.cookies['__Host-kopilka']?.text).toContain('Max-Age=0')
    expect((await world.send('GET', '/v1/me', { headers: { cookie } })).status).toBe(401)
    expect((await world.send('GET', '/v1/auth/providers', { headers: { cookie } })).status).toBe(200)
    const again = await world.send('POST', '/v1/auth/login', {
      body: { email: person.email, password: person.password, mode: 'cookie' },
      headers: { cookie, origin: OWN },
    })
    expect(again.status).toBe(200)
  })

  test('another site can neither sign a browser in nor out', async () => {
    const { cookie, person } = await browser()
    for (const origin of ['https://evil.example', 'null']) {
      const entered = await world.send('POST', '/v1/auth/login', {
        body: { email: person.email, password: person.password, mode: 'cookie' },
        headers: { origin },
      })
      expect(entered.status).toBe(403)
      expect(entered.cookies).toEqual({})
      const out = await world.send('POST', '/v1/auth/logout', { body: {}, headers: { cookie, origin } })
      expect(out.status).toBe(403)
    }
    expect((await world.send('GET', '/v1/me', { headers: { cookie } })).status).toBe(200)
  })

  test('is moved on by use and ends thirty days after the last', async () => {
    const { cookie } = await browser()
    const get = async (): Promise<number> =>
      (await world.send('GET', '/v1/me', { headers: { cookie } })).status
    world.clock.advance(29 * 86_400_000)
    expect(await get()).toBe(200)
    await world.app.people.authenticator.flush()
    world.clock.advance(29 * 86_400_000)
    expect(await get()).toBe(200)
    await world.app.people.authenticator.flush()
    world.clock.advance(31 * 86_400_000)
    expect(await get()).toBe(401)
  })

  test('has no access tokens: its id in a token of ours opens nothing', async () => {
    const person = await world.person()
    const answer = await world.send<Tokens>('POST', '/v1/auth/login', {
      body: { email: person.email, password: person.password, mode: 'cookie' },
    })
    const { access_token } = await world.app.people.people.tokens.sign({
      user_id: person.id,
      session_id: answer.body.session_id,
    })
    expect((await world.send('GET', '/v1/me', { token: access_token })).status).toBe(401)
  })

  test('is not found by others: answers to other origins carry no permission (CORS)', async () => {
    const { cookie } = await browser()
    const answer = await world.send('GET', '/v1/me', { headers: { cookie, origin: 'https://evil.example' } })
    expect(answer.headers['access-control-allow-origin']).toBeUndefined()
    expect(answer.headers['access-control-allow-credentials']).toBeUndefined()
  })
})
