import { readFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { applyCatalog } from '#modules/catalog'
import { PASSWORD, type PeopleWorld, startPeopleWorld } from '../../test/people-world.ts'

let world: PeopleWorld
beforeAll(async () => {
  world = await startPeopleWorld()
  const catalog = path.resolve(import.meta.dirname, '../../../examples/catalog.screph.yaml')
  await applyCatalog(world.app.db, world.clock, readFileSync(catalog, 'utf8'))
})
afterAll(() => world?.close())

let number = 0
const address = (): string => `facade-${(number += 1)}@mail.example`

interface Entered {
  id: string
  access_token: string
  refresh_token: string
  user: { id: string }
}

describe('Screph’s paths, for people', () => {
  test('sign up and in with e-mail and password, and what is one’s own is read by the token', async () => {
    const email = address()
    const made = await world.send<Entered>('POST', '/auth/register/', { body: { email, password: PASSWORD } })
    expect(made.status).toBe(201)
    const entered = await world.send<Entered>('POST', '/auth/login/', { body: { email, password: PASSWORD } })
    expect(entered.status).toBe(200)
    expect(entered.body.id).toBe(made.body.id)
    const token = entered.body.access_token
    const profile = await world.send('GET', '/profile/', { token })
    expect(profile.body).toMatchObject({ id: made.body.id, email })
    for (const url of ['/balance/', '/api/users/me/balance/']) {
      const balance = await world.send('GET', url, { token })
      expect(balance.body).toMatchObject({ user_id: made.body.id, balance_seconds: 0, packages: [] })
    }
    const changed = await world.send('PATCH', '/profile/', { token, body: { name: 'Анна', locale: 'ru' } })
    expect(changed.body).toMatchObject({ name: 'Анна', locale: 'ru' })
  })

  test('a token speaks for its own user, whoever X-User-Id names', async () => {
    const mine = await world.person()
    const other = await world.person()
    const headers = { 'x-user-id': other.customer_id }
    const profile = await world.send('GET', '/profile/', { token: mine.access_token, headers })
    expect(profile.body).toMatchObject({ id: mine.customer_id })
  })

  test('a person cannot take an address over by changing the profile', async () => {
    const { access_token: token } = await world.person()
    const answer = await world.send('PATCH', '/profile/', { token, body: { email: address() } })
    expect(answer.status).toBe(400)
  })

  test('without a key X-User-Id names nobody, and without a password nobody signs in', async () => {
    const { customer_id, email } = await world.person()
    const headers = { 'x-user-id': customer_id }
    expect((await world.send('POST', '/auth/login/', { headers, body: {} })).status).toBe(400)
    expect((await world.send('POST', '/auth/register/', { headers, body: {} })).status).toBe(400)
    const wrong = await world.send('POST', '/auth/login/', { headers, body: { email, password: 'x' } })
    expect(wrong.status).toBe(401)
  })
})

describe('bot-generic’s paths', () => {
  test('register, login, refresh, profile, locale and logout belong together', async () => {
    const email = address()
    const made = await world.send<Entered>('POST', '/auth/register', {
      body: { email, password: PASSWORD, name: 'Bob', locale: 'kk-KZ' },
    })
    expect(made.status).toBe(201)
    expect(made.body.user).toMatchObject({ email, name: 'Bob', locale: 'en', requested_locale: 'kk-KZ' })
    const entered = await world.send<Entered>('POST', '/auth/login', { body: { email, password: PASSWORD } })
    const { refresh_token } = entered.body
    const next = await world.send<Entered>('POST', '/auth/refresh', { body: { refresh_token } })
    expect(next.status).toBe(200)
    const token = next.body.access_token
    expect((await world.send('GET', '/auth/profile', { token })).body).toMatchObject({ email, name: 'Bob' })
    const named = await world.send('PUT', '/auth/profile', { token, body: { name: 'Robert' } })
    expect(named.body).toMatchObject({ name: 'Robert', requested_locale: 'kk-KZ' })
    const spoken = await world.send('PUT', '/auth/locale', { token, body: { locale: 'ru-RU' } })
    expect(spoken.body).toMatchObject({ locale: 'ru', requested_locale: 'ru-RU' })
    const over = await world.send('POST', '/auth/logout', {
      token,
      body: { refresh_token: next.body.refresh_token },
    })
    expect(over.body).toEqual({ status: 'done' })
    expect((await world.send('GET', '/auth/profile', { token })).status).toBe(401)
    const again = await world.send('POST', '/auth/refresh', {
      body: { refresh_token: next.body.refresh_token },
    })
    expect(again.status).toBe(401)
  })

  test('logout everywhere ends the other devices too', async () => {
    const person = await world.person()
    const other = await world.send<Entered>('POST', '/auth/login', {
      body: { email: person.email, password: person.password },
    })
    await world.send('POST', '/auth/logout', { token: person.access_token, body: { everywhere: true } })
    expect((await world.send('GET', '/auth/profile', { token: other.body.access_token })).status).toBe(401)
  })

  test.each([
    ['GET', '/auth/profile'],
    ['PUT', '/auth/profile'],
    ['PUT', '/auth/locale'],
  ] as const)('%s %s is for whoever is signed in', async (method, url) => {
    const body = method === 'PUT' ? { locale: 'ru' } : undefined
    expect((await world.send(method, url, { body })).status).toBe(401)
  })
})

describe('the mobile app’s paths', () => {
  interface Points {
    token: string
    refreshToken: string
    deviceId: string
    user: { id: string; email: string }
    error: string
    code: string
  }

  test('register with a device, login, profile and update, spelled as the app does', async () => {
    const email = address()
    const body = { email, password: PASSWORD, deviceId: 'android-1' }
    const made = await world.send<Points>('POST', '/api/auth/register', { body })
    expect(made.status).toBe(201)
    expect(made.body).toMatchObject({ tokenType: 'Bearer', deviceId: 'android-1', user: { email } })
    const entered = await world.send<Points>('POST', '/api/auth/login', { body })
    const { token } = entered.body
    expect((await world.send('GET', '/api/user/profile', { token })).body).toMatchObject({
      email,
      emailVerified: false,
    })
    const named = await world.send('PATCH', '/api/user/update', { token, body: { name: 'Ира' } })
    expect(named.body).toMatchObject({ name: 'Ира' })
    const devices = await world.send<{ items: { device_id: string }[] }>('GET', '/v1/me/devices', { token })
    expect(devices.body.items.map(({ device_id }) => device_id)).toEqual(['android-1'])
    const old = await world.send('GET', '/api/user/profile', { token: made.body.token })
    expect(old.status, 'a device has one session').toBe(401)
  })

  test('say every error as {error, code}', async () => {
    const taken = await world.person()
    const cases = [
      await world.send<Points>('POST', '/api/auth/login', {
        body: { email: taken.email, password: 'wrong' },
      }),
      await world.send<Points>('POST', '/api/auth/register', {
        body: { email: taken.email, password: PASSWORD },
      }),
      await world.send<Points>('POST', '/api/auth/register', {
        body: { email: address(), password: 'short' },
      }),
      await world.send<Points>('POST', '/api/auth/register', { body: { email: 'x' } }),
      await world.send<Points>('GET', '/api/user/profile', { token: 'eyJnone' }),
      await world.send<Points>('GET', '/api/user/profile'),
    ]
    expect(cases.map(({ status, body }) => [status, body.code])).toEqual([
      [401, 'invalid_credentials'],
      [409, 'already_exists'],
      [400, 'weak_password'],
      [400, 'invalid_request'],
      [401, 'unauthenticated'],
      [401, 'unauthenticated'],
    ])
    for (const { body } of cases) {
      expect(Object.keys(body).toSorted()).toEqual(['code', 'error'])
      expect(body.error).toMatch(/\w/)
    }
  })
})
