import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  PASSWORD,
  type Person,
  type PeopleWorld,
  startPeopleWorld,
  statementsOf,
  type Tokens,
} from '../../../test/people-world.ts'

/** A59 and what else mails are for. */
let world: PeopleWorld
let number = 0
beforeAll(async () => {
  world = await startPeopleWorld({ registration: 'confirmed' })
})
afterAll(() => world?.close())

const address = (): string => `mail-${(number += 1)}@mail.example`
const post = <T = { status: string; code: string }>(url: string, body: object, token?: string) =>
  world.send<T>('POST', url, { body, token })
const register = (email: string, more: object = {}) =>
  post('/v1/auth/register', { email, password: PASSWORD, ...more })
const confirm = (token: string | undefined) =>
  post<{ id: string; email: string; code: string }>('/v1/auth/email/confirm', { token })
const login = (email: string, password = PASSWORD) =>
  post<Tokens & { code: string }>('/v1/auth/login', { email, password })
const lastMail = async (to: string) => (await world.mails(to)).at(-1)
const plain = (text: string): string => text.replaceAll(/req_\w+|mail-\d+/g, '')

/** Signs up, follows the link, signs in. */
async function confirmed(email = address()): Promise<Person> {
  await register(email)
  await confirm((await lastMail(email))?.token)
  const { body } = await login(email)
  const { access_token, refresh_token, session_id, device_token, user } = body
  return {
    email,
    password: PASSWORD,
    access_token,
    refresh_token,
    session_id,
    device_token,
    id: user.id,
    customer_id: user.customer_id,
  }
}

describe('a confirmed registration', () => {
  test('makes a user when the link is followed, and not before', async () => {
    const email = address()
    const asked = await register(email, { name: 'Анна', locale: 'ru' })
    expect(asked.body).toEqual({ status: 'confirmation_sent', email })
    expect((await login(email)).status).toBe(401)
    const mail = await lastMail(email)
    expect(mail).toMatchObject({ kind: 'confirm_registration', token: expect.stringMatching(/^reg_/) })
    const made = await confirm(mail?.token)
    expect(made.body).toMatchObject({
      email,
      name: 'Анна',
      locale: 'ru',
      customer_id: expect.stringMatching(/^cus_/),
    })
    expect((await login(email)).body.user.email_verified_at).not.toBeNull()
  })

  test('answers known and unknown addresses alike, in the same work', async () => {
    const known = await confirmed()
    const [one, two] = [await register(known.email), await register(address())]
    expect(plain(two.text)).toBe(plain(one.text))
    expect(one.status).toBe(two.status)
    expect(await lastMail(known.email)).toEqual({ kind: 'already_registered', token: undefined })
    expect((await login(known.email)).status, 'nothing was changed').toBe(200)
  })

  test('A25: does the same statements and the same hash for an address that is known', async () => {
    const known = await confirmed()
    await register(address())
    const hashes: string[] = []
    const { passwords } = world.app.people.people
    const { hash } = passwords
    passwords.hash = (password) => {
      hashes.push(password)
      return hash(password)
    }
    try {
      const one = await statementsOf(world, () => register(known.email))
      const two = await statementsOf(world, () => register(address()))
      expect(two).toEqual(one)
      expect(one.length).toBeGreaterThan(5)
      expect(hashes).toEqual([PASSWORD, PASSWORD])
    } finally {
      passwords.hash = hash
    }
  })

  test('with another password for a known address changes nothing', async () => {
    const known = await confirmed()
    await register(known.email, { password: 'the password of a stranger' })
    expect((await login(known.email, 'the password of a stranger')).status).toBe(401)
    expect((await login(known.email)).status).toBe(200)
  })

  test('is confirmed once, within an hour, of fifty at once by one', async () => {
    const email = address()
    await register(email)
    const token = (await lastMail(email))?.token
    const answers = await Promise.all(Array.from({ length: 50 }, () => confirm(token)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(new Set(answers.filter(({ status }) => status !== 200).map(({ body }) => body.code))).toEqual(
      new Set(['proof_invalid']),
    )
    const late = address()
    await register(late)
    world.clock.advance(3_600_001)
    expect((await confirm((await lastMail(late))?.token)).status).toBe(401)
  })

  test('of one address twice is whoever follows a link first; the second link is refused', async () => {
    const email = address()
    await register(email, { password: 'the first password' })
    await register(email, { password: 'the second password' })
    const [first, second] = await world.mails(email)
    expect((await confirm(second?.token)).status).toBe(200)
    expect((await confirm(first?.token)).body.code).toBe('already_exists')
    expect((await login(email, 'the second password')).status).toBe(200)
    expect((await login(email, 'the first password')).status).toBe(401)
  })

  test.each(['', 'reg_', `reg_${'x'.repeat(43)}`, 'pwr_x', 'nonsense', 'x'.repeat(201)])(
    'no token %j makes anybody',
    async (token) => {
      expect([400, 401]).toContain((await confirm(token)).status)
    },
  )

  test('sends no address more than five mails an hour, known or not', async () => {
    for (const email of [address(), (await confirmed()).email]) {
      world.clock.advance(3_600_000)
      const statuses = []
      for (let time = 0; time < 7; time++) statuses.push((await register(email)).status)
      expect(statuses).toEqual([200, 200, 200, 200, 200, 429, 429])
    }
  })

  test('builds links from the settings, whatever host is named (host header poisoning)', async () => {
    const email = address()
    await world.send('POST', '/v1/auth/register', {
      body: { email, password: PASSWORD },
      headers: { host: 'evil.example', 'x-forwarded-host': 'evil.example', forwarded: 'host=evil.example' },
    })
    const { rows } = await world.app.db.pool.query<{ data: { sealed: string } }>(
      `select data from jobs.job where name = 'identity.mail' order by created_on desc limit 1`,
    )
    const { box } = world.app.people.people
    const text = box.open(rows[0]?.data.sealed ?? '', 'identity.mail')
    expect(text).toContain('https://shop.example/auth/mail?token=')
    expect(text).not.toContain('evil')
  })

  test('keeps no token and no password that could be read in the database', async () => {
    const email = address()
    await register(email)
    const token = (await lastMail(email))?.token ?? ''
    for (const table of ['identity.one_time_proofs', 'identity.users', 'jobs.job']) {
      const { rows } = await world.app.db.pool.query<{ row: string }>(`select t::text as row from ${table} t`)
      const text = rows.map(({ row }) => row).join('\n')
      expect(text).not.toContain(token)
      expect(text).not.toContain(PASSWORD)
    }
  })
})

describe('A59: a forgotten password', () => {
  const forgot = (email: string) => post('/v1/auth/password/forgot', { email })
  const reset = (token: string | undefined, password = 'a password that is new') =>
    post<{ status: string; code: string; device_token: string }>('/v1/auth/password/reset', {
      token,
      password,
    })

  test('is set anew by a link, which ends every session', async () => {
    const person = await confirmed()
    expect((await forgot(person.email)).status).toBe(202)
    const mail = await lastMail(person.email)
    expect(mail).toMatchObject({ kind: 'reset_password', token: expect.stringMatching(/^pwr_/) })
    expect((await reset(mail?.token)).status).toBe(200)
    expect((await world.send('GET', '/v1/me', { token: person.access_token })).status).toBe(401)
    expect((await post('/v1/auth/refresh', { refresh_token: person.refresh_token })).status).toBe(401)
    expect((await login(person.email)).status).toBe(401)
    expect((await login(person.email, 'a password that is new')).status).toBe(200)
    expect((await lastMail(person.email))?.kind, 'the owner is told').toBe('password_changed')
  })

  test('answers known and unknown addresses alike, and sends the unknown nothing', async () => {
    const known = await confirmed()
    const unknown = address()
    const [one, two] = [await forgot(known.email), await forgot(unknown)]
    expect([one.status, plain(one.text)]).toEqual([two.status, plain(two.text)])
    expect((await lastMail(unknown))?.kind).toBe('none')
  })

  test('A25: does the same statements for an address that is known', async () => {
    const known = await confirmed()
    await forgot(address())
    const one = await statementsOf(world, () => forgot(known.email))
    const two = await statementsOf(world, () => forgot(address()))
    expect(two).toEqual(one)
    expect(one.length).toBeGreaterThan(4)
  })

  test('link works once, of fifty at once for one', async () => {
    const { email } = await confirmed()
    await forgot(email)
    const token = (await lastMail(email))?.token
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => reset(token, `a password that is new ${index}`)),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    const index = answers.findIndex(({ status }) => status === 200)
    expect((await login(email, `a password that is new ${index}`)).status).toBe(200)
  })

  test('link works for fifteen minutes', async () => {
    const { email } = await confirmed()
    await forgot(email)
    const token = (await lastMail(email))?.token
    world.clock.advance(900_000)
    expect((await reset(token)).status).toBe(401)
  })

  test('link ends when another one was used, or the address was changed', async () => {
    const person = await confirmed()
    await forgot(person.email)
    const first = (await lastMail(person.email))?.token
    await forgot(person.email)
    const second = (await lastMail(person.email))?.token
    expect((await reset(second)).status).toBe(200)
    expect((await reset(first)).status).toBe(401)
  })

  test('link with a password that is too weak is not used up', async () => {
    const { email } = await confirmed()
    await forgot(email)
    const token = (await lastMail(email))?.token
    expect((await reset(token, 'short')).body.code).toBe('weak_password')
    expect((await reset(token)).status).toBe(200)
  })

  test.each(['', 'pwr_', `pwr_${'A'.repeat(43)}`, 'reg_x', '../..'])(
    'no token %j sets a password',
    async (token) => {
      expect([400, 401]).toContain((await reset(token)).status)
    },
  )

  test('page does nothing when it is only looked at, and says so in the reader’s language', async () => {
    const { email } = await confirmed()
    await forgot(email)
    const token = (await lastMail(email))?.token ?? ''
    const url = `/auth/mail?token=${token}`
    for (let look = 0; look < 3; look++) {
      const page = await world.send('GET', url, { headers: { 'accept-language': 'ru' } })
      expect(page.text).toContain('Новый пароль')
      expect(page.headers['referrer-policy']).toBe('no-referrer')
      expect(page.headers['cache-control']).toBe('no-store')
      expect(page.headers['content-security-policy']).toContain("frame-ancestors 'none'")
    }
    const form = (fields: Record<string, string>) =>
      world.send('POST', '/auth/mail', {
        body: new URLSearchParams(fields).toString(),
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      })
    expect((await form({ token, password: 'short' })).text).toContain('type="password"')
    expect((await form({ token, password: 'set on the page' })).status).toBe(200)
    expect((await login(email, 'set on the page')).status).toBe(200)
    expect((await form({ token, password: 'set on the page' })).status).toBe(401)
    const hostile = await world.send('GET', '/auth/mail?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E')
    expect(hostile.text).not.toContain('<script>')
  })
})

describe('a changed password', () => {
  const change = (token: string, body: object) =>
    world.send<{ code: string }>('PUT', '/v1/me/password', { token, body })

  test('needs the present one, keeps this session and ends every other', async () => {
    const person = await confirmed()
    const other = (await login(person.email)).body
    const body = { password: 'a password that is new' }
    expect((await change(person.access_token, body)).body.code).toBe('invalid_credentials')
    expect((await change(person.access_token, { ...body, current_password: 'wrong' })).status).toBe(401)
    expect((await change(person.access_token, { ...body, current_password: PASSWORD })).status).toBe(200)
    expect((await world.send('GET', '/v1/me', { token: person.access_token })).status).toBe(200)
    expect((await world.send('GET', '/v1/me', { token: other.access_token })).status).toBe(401)
    expect((await login(person.email)).status).toBe(401)
  })

  test('cannot be guessed with a stolen session', async () => {
    const person = await confirmed()
    const statuses = []
    for (let guess = 0; guess < 12; guess++) {
      const body = { password: 'a password that is new', current_password: `guess ${guess}` }
      statuses.push((await change(person.access_token, body)).status)
    }
    expect(statuses.slice(10)).toEqual([429, 429])
  })

  test('at the moment of a sign-in with the old one leaves no session of it', async () => {
    for (let round = 0; round < 10; round++) {
      const person = await confirmed()
      const body = { password: `a new password ${round}`, current_password: PASSWORD }
      const [, ...entered] = await Promise.all([
        change(person.access_token, body),
        login(person.email),
        login(person.email),
        login(person.email),
      ])
      for (const { body: tokens, status } of entered) {
        if (status !== 200) continue
        expect((await world.send('GET', '/v1/me', { token: tokens.access_token })).status).toBe(401)
      }
    }
  })
})

describe('A59: a changed e-mail address', () => {
  const ask = (token: string, body: object) =>
    world.send<{ code: string }>('PUT', '/v1/me/email', { token, body })

  test('counts when the link in the new mailbox is followed, and the old mailbox is told', async () => {
    const person = await confirmed()
    const email = address()
    expect((await ask(person.access_token, { email })).status, 'without the password').toBe(401)
    expect((await ask(person.access_token, { email, password: PASSWORD })).status).toBe(202)
    expect((await login(email)).status).toBe(401)
    const mail = await lastMail(email)
    expect(mail).toMatchObject({ kind: 'change_email', token: expect.stringMatching(/^emc_/) })
    expect((await confirm(mail?.token)).body.email).toBe(email)
    expect((await login(email)).status).toBe(200)
    expect((await login(person.email)).status).toBe(401)
    expect((await world.send('GET', '/v1/me', { token: person.access_token })).status).toBe(401)
    expect((await lastMail(person.email))?.kind).toBe('email_changed')
    const { rows } = await world.app.db.pool.query('select email from customers.customers where id = $1', [
      person.customer_id,
    ])
    expect(rows, 'receipts go there too').toEqual([{ email }])
  })

  test('asked for by twenty users at once becomes that of one', async () => {
    const email = address()
    const people = await Promise.all(Array.from({ length: 5 }, () => confirmed()))
    for (const { access_token } of people) await ask(access_token, { email, password: PASSWORD })
    const mails = await world.mails(email)
    expect(mails).toHaveLength(5)
    const answers = await Promise.all(
      mails.flatMap(({ token }) => Array.from({ length: 4 }, () => confirm(token))),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    const codes = new Set(answers.filter(({ status }) => status !== 200).map(({ body }) => body.code))
    for (const code of codes) expect(['already_exists', 'proof_invalid']).toContain(code)
  })

  test('of somebody else cannot be taken, and the answer does not tell that it is somebody’s', async () => {
    const [one, two] = [await confirmed(), await confirmed()]
    const taken = await ask(one.access_token, { email: two.email, password: PASSWORD })
    const free = await ask(one.access_token, { email: address(), password: PASSWORD })
    expect([taken.status, taken.text]).toEqual([free.status, free.text])
    expect((await lastMail(two.email))?.kind).toBe('address_taken')
    expect((await login(two.email)).status).toBe(200)
  })

  test('only the newest link works, and none for an address the user has no more', async () => {
    const person = await confirmed()
    const [first, second] = [address(), address()]
    await ask(person.access_token, { email: first, password: PASSWORD })
    const old = (await lastMail(first))?.token
    await ask(person.access_token, { email: second, password: PASSWORD })
    expect((await confirm(old)).status).toBe(401)
    expect((await confirm((await lastMail(second))?.token)).status).toBe(200)
  })

  test('and a link for a new password sent to the old mailbox: the link ends', async () => {
    const person = await confirmed()
    await post('/v1/auth/password/forgot', { email: person.email })
    const old = (await lastMail(person.email))?.token
    const email = address()
    await ask(person.access_token, { email, password: PASSWORD })
    await confirm((await lastMail(email))?.token)
    expect(
      (await post('/v1/auth/password/reset', { token: old, password: 'a password that is new' })).status,
    ).toBe(401)
  })
})
