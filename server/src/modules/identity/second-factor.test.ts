import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Person, type PeopleWorld, startPeopleWorld, type Tokens } from '../../../test/people-world.ts'
import { resealSecondFactors } from './second-factor.ts'
import { appointStaff } from './staff.ts'
import { matchTotp, newTotpSecret, totpCode, totpStep, totpUri } from './totp.ts'

let world: PeopleWorld
beforeAll(async () => {
  world = await startPeopleWorld()
})
afterAll(() => world?.close())

const STEP_MS = 30_000
const codeNow = (secret: string, steps = 0): string =>
  totpCode(secret, totpStep(world.clock.now_ms()) + steps)
const login = (person: Person) =>
  world.send<Tokens & { code: string }>('POST', '/v1/auth/login', {
    body: { email: person.email, password: person.password },
  })
const answer = (challenge: string, code: string, ip?: string) =>
  world.send<Tokens & { code: string }>('POST', '/v1/auth/second_factor', {
    body: { challenge, code },
    ...(ip === undefined ? {} : { ip }),
  })

/** Somebody with a second factor; the clock stands after the code that confirmed it. */
async function protectedPerson(): Promise<{ person: Person; secret: string; recovery_codes: string[] }> {
  const person = await world.person()
  const token = person.access_token
  const begun = await world.send<{ secret: string; uri: string }>('POST', '/v1/me/second_factor', { token })
  const { secret } = begun.body
  const confirmed = await world.send<{ recovery_codes: string[] }>('POST', '/v1/me/second_factor/confirm', {
    token,
    body: { code: codeNow(secret) },
  })
  expect(confirmed.status).toBe(200)
  world.clock.advance(STEP_MS)
  return { person, secret, recovery_codes: confirmed.body.recovery_codes }
}

describe('one-time passwords by time', () => {
  // RFC 6238, appendix B, SHA-1, the last six of eight digits; the secret is ASCII 12345678901234567890.
  const SECRET = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'
  test.each([
    [59, '287082'],
    [1_111_111_109, '081804'],
    [1_111_111_111, '050471'],
    [1_234_567_890, '005924'],
    [2_000_000_000, '279037'],
    [20_000_000_000, '353130'],
  ])('at second %i is %s', (second, code) => {
    expect(totpCode(SECRET, totpStep(second * 1000))).toBe(code)
  })

  test('are taken half a minute early and late, and never at or before the last one used', () => {
    const now_ms = 1_700_000_000_000
    const step = totpStep(now_ms)
    for (const drift of [-1, 0, 1]) {
      expect(matchTotp(SECRET, totpCode(SECRET, step + drift), now_ms, 0)).toBe(step + drift)
    }
    for (const drift of [-2, 2])
      expect(matchTotp(SECRET, totpCode(SECRET, step + drift), now_ms, 0)).toBeUndefined()
    expect(matchTotp(SECRET, totpCode(SECRET, step), now_ms, step)).toBeUndefined()
    expect(matchTotp(SECRET, totpCode(SECRET, step + 1), now_ms, step)).toBe(step + 1)
  })

  test('have secrets of 160 bits in an address that authenticator apps read', () => {
    const secret = newTotpSecret()
    expect(secret).toMatch(/^[A-Z2-7]{32}$/)
    expect(totpUri(secret, 'anna@mail.example', 'shop.example')).toBe(
      `otpauth://totp/shop.example:anna%40mail.example?secret=${secret}` +
        '&issuer=shop.example&algorithm=SHA1&digits=6&period=30',
    )
  })
})

describe('a second factor', () => {
  test('is asked for after the password, and lets in with a code, once', async () => {
    const { person, secret } = await protectedPerson()
    const first = await login(person)
    expect(first.body).toMatchObject({
      status: 'second_factor_required',
      challenge: expect.stringMatching(/^chl_/),
    })
    expect(first.body.access_token).toBeUndefined()
    const code = codeNow(secret)
    const entered = await answer(first.body.challenge, code)
    expect(entered.body).toMatchObject({ status: 'signed_in', user: { id: person.id } })
    expect((await answer(first.body.challenge, code)).status, 'the challenge is used up').toBe(401)
    const second = await login(person)
    expect((await answer(second.body.challenge, code)).status, 'the code is used up').toBe(401)
    world.clock.advance(STEP_MS)
    expect((await answer(second.body.challenge, codeNow(secret))).status).toBe(200)
  })

  test('code used fifty times at once lets in once', async () => {
    const { person, secret } = await protectedPerson()
    const challenges = await Promise.all(
      Array.from({ length: 8 }, async () => (await login(person)).body.challenge),
    )
    const code = codeNow(secret)
    const answers = await Promise.all(challenges.map((challenge) => answer(challenge, code)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  })

  test('is not guessed: five tries a challenge, ten a quarter of an hour from one address', async () => {
    const { person, secret } = await protectedPerson()
    const { challenge } = (await login(person)).body
    for (let guess = 0; guess < 5; guess++)
      expect((await answer(challenge, `00000${guess}`)).body.code).toBe('proof_invalid')
    expect(
      (await answer(challenge, codeNow(secret))).status,
      'after five guesses a right one comes too late',
    ).toBe(401)
    const statuses = []
    for (let guess = 0; guess < 12; guess++) {
      const next = (await login(person)).body.challenge
      statuses.push((await answer(next, '000000', '198.51.100.1')).status)
    }
    expect(statuses.filter((status) => status === 429)).toHaveLength(2)
    const own = (await login(person)).body.challenge
    expect((await answer(own, codeNow(secret))).status, 'the owner gets in from elsewhere').toBe(200)
  })

  test('challenge is over after five minutes, and no other token is one', async () => {
    const { person, secret } = await protectedPerson()
    const { challenge } = (await login(person)).body
    world.clock.advance(300_000)
    expect((await answer(challenge, codeNow(secret))).status).toBe(401)
    for (const text of ['', 'chl_x', person.refresh_token, person.access_token]) {
      expect([400, 401]).toContain((await answer(text, codeNow(secret))).status)
    }
  })

  test('recovery code lets in once, in any spelling, also of ten at once', async () => {
    const { person, recovery_codes } = await protectedPerson()
    expect(recovery_codes).toHaveLength(10)
    expect(new Set(recovery_codes).size).toBe(10)
    // Five bits a letter; below 112 a digest without salt would be too little.
    for (const code of recovery_codes) expect(code).toMatch(/^([a-z2-9]{4}-){5}[a-z2-9]{4}$/)
    const code = recovery_codes[0] ?? ''
    const challenges = await Promise.all(
      Array.from({ length: 8 }, async () => (await login(person)).body.challenge),
    )
    const answers = await Promise.all(
      challenges.map((challenge, index) =>
        answer(challenge, index % 2 ? code.toUpperCase() : code.replaceAll('-', ' ')),
      ),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    const entered = answers.find(({ status }) => status === 200)
    const me = await world.send('GET', '/v1/me', { token: entered?.body.access_token })
    expect(me.body).toMatchObject({ second_factor: { is_on: true, recovery_codes_left: 9 } })
  })

  test('is not passed by a reset of the password, nor by Telegram', async () => {
    const { person } = await protectedPerson()
    const user = { id: 900_001, first_name: 'A' }
    const init_data = (): string => world.telegram.initData(user, world.clock.now())
    await world.send('POST', '/v1/me/identities/telegram', {
      token: person.access_token,
      body: { init_data: init_data() },
    })
    world.clock.advance(1000)
    const entered = await world.send<Tokens>('POST', '/v1/auth/telegram', {
      body: { init_data: init_data() },
    })
    expect(entered.body.status).toBe('second_factor_required')
    const { pool } = world.app.db
    await pool.query('update identity.users set email_verified_at = $2 where id = $1', [
      person.id,
      world.clock.now(),
    ])
    await world.send('POST', '/v1/auth/password/forgot', { body: { email: person.email } })
    const token = (await world.mails(person.email)).at(-1)?.token
    const password = 'a password that is new'
    expect((await world.send('POST', '/v1/auth/password/reset', { body: { token, password } })).status).toBe(
      200,
    )
    expect((await login({ ...person, password })).body.status).toBe('second_factor_required')
  })

  test('is removed with a code of it, and cannot be put in the place of another', async () => {
    const { person, secret } = await protectedPerson()
    const token = person.access_token
    expect((await world.send('POST', '/v1/me/second_factor', { token })).status).toBe(409)
    const remove = (code: string) =>
      world.send('POST', '/v1/me/second_factor/remove', { token, body: { code } })
    expect((await remove('000000')).status).toBe(401)
    expect((await remove(codeNow(secret))).status).toBe(200)
    expect((await login(person)).body.status).toBe('signed_in')
  })

  test('that was begun and not confirmed changes nothing, and can be begun again', async () => {
    const person = await world.person()
    const token = person.access_token
    const one = await world.send<{ secret: string }>('POST', '/v1/me/second_factor', { token })
    const two = await world.send<{ secret: string }>('POST', '/v1/me/second_factor', { token })
    expect((await login(person)).body.status).toBe('signed_in')
    const confirm = (secret: string) =>
      world.send('POST', '/v1/me/second_factor/confirm', { token, body: { code: codeNow(secret) } })
    expect((await confirm(one.body.secret)).status).toBe(401)
    expect((await confirm(two.body.secret)).status).toBe(200)
  })

  test('lies in the database sealed, bound to its user, and is sealed anew under a new key', async () => {
    const [one, two] = [await protectedPerson(), await protectedPerson()]
    const { pool } = world.app.db
    const { rows } = await pool.query<{ row: string }>('select t::text as row from identity.totp_secrets t')
    const text = rows.map(({ row }) => row).join('\n')
    expect(text).not.toContain(one.secret)
    for (const code of one.recovery_codes) expect(text).not.toContain(code.replaceAll('-', ''))
    expect(await world.app.db.transact((tx) => resealSecondFactors(tx, world.app.people.people.box))).toEqual(
      {
        changed: 0,
        next: undefined,
      },
    )
    await pool.query(
      `update identity.totp_secrets t set secret_sealed = o.secret_sealed from identity.totp_secrets o
       where t.user_id = $1 and o.user_id = $2`,
      [one.person.id, two.person.id],
    )
    const { challenge } = (await login(one.person)).body
    const swapped = await answer(challenge, codeNow(two.secret))
    expect([swapped.status, swapped.body.code]).toEqual([503, 'second_factor_unreadable'])
    const recovered = await answer(challenge, one.recovery_codes[0] ?? '')
    expect(recovered.status, 'a recovery code works all the same').toBe(200)
    await pool.query('delete from identity.totp_secrets where user_id = $1', [one.person.id])
  })
})

describe('staff who must have a second factor', () => {
  test('hold no permission until they signed in with it', async () => {
    const strict = await startPeopleWorld({ staff_second_factor: 'required' })
    const person = await strict.person()
    const root = { id: 'command', permissions: new Set(['*']) }
    await strict.app.db.transact((tx) =>
      appointStaff(tx, strict.clock, root, { user_id: person.id, role: 'owner' }),
    )
    const body = { email: person.email, password: person.password }
    const entered = await strict.send<Tokens>('POST', '/v1/auth/login', { body })
    const token = entered.body.access_token
    const me = () =>
      strict.send<{ permissions: string[]; needs_second_factor: boolean }>('GET', '/v1/me', { token })
    expect((await me()).body).toMatchObject({ permissions: [], needs_second_factor: true })
    expect((await strict.send('GET', '/v1/staff', { token })).status).toBe(403)
    const begun = await strict.send<{ secret: string }>('POST', '/v1/me/second_factor', { token })
    const code = totpCode(begun.body.secret, totpStep(strict.clock.now_ms()))
    expect(
      (await strict.send('POST', '/v1/me/second_factor/confirm', { token, body: { code } })).status,
    ).toBe(200)
    const after = await me()
    expect(after.body.needs_second_factor).toBe(false)
    expect(after.body.permissions.length).toBeGreaterThan(0)
    expect((await strict.send('GET', '/v1/staff', { token })).status).toBe(200)
    await strict.close()
  })
})
