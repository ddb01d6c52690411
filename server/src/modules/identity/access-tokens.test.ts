import { createHmac, generateKeyPairSync, randomBytes, sign as signBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { frozenClock, type MovableClock } from '#kernel/clock'
import { Unauthenticated } from '#kernel/errors'
import { createSecretBox, type SecretBox } from '#kernel/secrets'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import { type PeopleWorld, type Person, startPeopleWorld } from '../../../test/people-world.ts'
import { type AccessTokens, createAccessTokens, resealSigningKeys } from './access-tokens.ts'

let world: PeopleWorld
let person: Person
let database: TestDatabase
beforeAll(async () => {
  world = await startPeopleWorld()
  database = await testDatabase()
})
afterAll(async () => {
  await world?.close()
  await database?.close()
})

type Part = Record<string, unknown>
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const read = (token: string): [Part, Part, string] => {
  const [head = '', body = '', signature = ''] = token.split('.')
  return [
    JSON.parse(Buffer.from(head, 'base64url').toString()) as Part,
    JSON.parse(Buffer.from(body, 'base64url').toString()) as Part,
    signature,
  ]
}
const status = async (token: string): Promise<number> => (await world.send('GET', '/v1/me', { token })).status

describe('A28: an access token', () => {
  beforeAll(async () => {
    person = await world.person()
  })

  test('says what it is: its kind, its key, for whom, for ten minutes', async () => {
    const [head, body] = read(person.access_token)
    expect(head).toEqual({ alg: 'EdDSA', typ: 'at+jwt', kid: expect.stringMatching(/^[\w-]{16}$/) })
    expect(body).toMatchObject({
      iss: 'https://shop.example',
      aud: 'kopilka/sandbox',
      sub: person.id,
      sid: person.session_id,
    })
    expect(Number(body['exp']) - Number(body['iat'])).toBe(600)
    expect(await status(person.access_token)).toBe(200)
  })

  /** Signs with a key of the attacker's. */
  const forged = generateKeyPairSync('ed25519')
  const resigned = (head: Part, body: Part): string => {
    const text = `${part(head)}.${part(body)}`
    return `${text}.${signBytes(null, Buffer.from(text), forged.privateKey).toString('base64url')}`
  }
  const jwk = forged.publicKey.export({ format: 'jwk' })

  test.each<[string, (head: Part, body: Part, signature: string) => string]>([
    ['alg none', (head, body) => `${part({ ...head, alg: 'none' })}.${part(body)}.`],
    ['alg None', (head, body) => `${part({ ...head, alg: 'None' })}.${part(body)}.`],
    ['no signature', (head, body) => `${part(head)}.${part(body)}.`],
    ['no alg', ({ alg: _alg, ...head }, body, signature) => `${part(head)}.${part(body)}.${signature}`],
    [
      'another algorithm on the same signature',
      (head, body, signature) => `${part({ ...head, alg: 'ES256' })}.${part(body)}.${signature}`,
    ],
    ['another key', (head, body) => resigned(head, body)],
    ['another key that it brings along (jwk)', (head, body) => resigned({ ...head, jwk }, body)],
    [
      'another key behind an address (jku)',
      (head, body) => resigned({ ...head, jku: 'https://evil.example/jwks.json' }, body),
    ],
    ['an unknown kid', (head, body) => resigned({ ...head, kid: 'unknown' }, body)],
    ['a kid that is a path', (head, body) => resigned({ ...head, kid: '../../../dev/null' }, body)],
    ['a kid that is SQL', (head, body) => resigned({ ...head, kid: `' or 1=1 --` }, body)],
    ['no kid', ({ kid: _kid, ...head }, body) => resigned(head, body)],
    ['a header it calls critical', (head, body) => resigned({ ...head, crit: ['x'], x: 1 }, body)],
    [
      'a changed subject',
      (head, body, signature) => `${part(head)}.${part({ ...body, sub: 'usr_x' })}.${signature}`,
    ],
    [
      'a later end',
      (head, body, signature) =>
        `${part(head)}.${part({ ...body, exp: Number(body['exp']) + 9_999 })}.${signature}`,
    ],
    ['a cut signature', (head, body, signature) => `${part(head)}.${part(body)}.${signature.slice(0, -4)}`],
    ['two parts', (head, body) => `${part(head)}.${part(body)}`],
    ['five parts', (head, body, signature) => `${part(head)}.${part(body)}.${signature}.x.y`],
    ['a body that is no JSON', (head, _body, signature) => `${part(head)}.${part('x')}x.${signature}`],
    [
      'ten thousand characters',
      (head, body, signature) => `${part({ ...head, x: 'x'.repeat(7000) })}.${part(body)}.${signature}`,
    ],
  ])('with %s is refused', async (_name, forge) => {
    const [head, body, signature] = read(person.access_token)
    expect(await status(forge(head, body, signature))).toBe(401)
    expect(await status(person.access_token)).toBe(200)
  })

  test('signed by HMAC with the public key as its secret is refused', async () => {
    const { keys } = (await world.send<{ keys: object[] }>('GET', '/.well-known/jwks.json')).body
    const [head, body] = read(person.access_token)
    for (const secret of [JSON.stringify(keys[0]), (keys[0] as { x: string }).x]) {
      const text = `${part({ ...head, alg: 'HS256' })}.${part(body)}`
      expect(await status(`${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`)).toBe(
        401,
      )
    }
  })

  test('is over after ten minutes to the second, also when it was just used', async () => {
    const { access_token } = await world.person()
    world.clock.advance(599_000)
    expect(await status(access_token)).toBe(200)
    world.clock.advance(1_000)
    expect(await status(access_token)).toBe(401)
  })

  test('can be checked by others with the keys we show, which hold no private part', async () => {
    const { access_token, id } = await world.person()
    const { body } = await world.send<{ keys: { kty: string }[] }>('GET', '/.well-known/jwks.json')
    const { payload } = await jwtVerify(access_token, createLocalJWKSet(body), {
      currentDate: world.clock.now(),
    })
    expect(payload.sub).toBe(id)
    expect(JSON.stringify(body)).not.toMatch(/"d":/)
  })
})

describe('the signer', () => {
  const subject = { user_id: 'usr_1', session_id: 'ses_1' }
  const box = createSecretBox({ keys: [{ id: 'one', key: Buffer.alloc(32, 1) }] })
  const clock: MovableClock = frozenClock()
  const signer = (more: Partial<{ box: SecretBox; issuer: string; audience: string }> = {}): AccessTokens =>
    createAccessTokens(database.db, { clock, box, issuer: 'kopilka', audience: 'kopilka/sandbox', ...more })
  const keys = async (): Promise<number> => (await signer().publicKeys()).keys.length

  test('of one installation makes one key, however many start at once', async () => {
    const processes = Array.from({ length: 10 }, () => signer())
    const tokens = await Promise.all(processes.map((one) => one.sign(subject)))
    expect(await keys()).toBe(1)
    for (const { access_token } of tokens) {
      await expect(signer().verify(access_token)).resolves.toMatchObject(subject)
    }
  })

  test.each([
    ['another audience', { audience: 'kopilka/live' }],
    ['another issuer', { issuer: 'https://other.example' }],
  ])('refuses a token for %s', async (_name, other) => {
    const { access_token } = await signer(other).sign(subject)
    await expect(signer().verify(access_token)).rejects.toBeInstanceOf(Unauthenticated)
  })

  test('refuses its own signature under another kind of token', async () => {
    // An ID token or a mail link signed with the same key would look so.
    const { createPrivateKey } = await import('node:crypto')
    const { rows } = await database.db.pool.query<{ kid: string; private_sealed: string }>(
      'select kid, private_sealed from identity.signing_keys order by created_at desc limit 1',
    )
    const { kid = '', private_sealed = '' } = rows[0] ?? {}
    const key = createPrivateKey(box.open(private_sealed, `identity.signing_keys/${kid}`))
    const now_s = Math.floor(clock.now_ms() / 1000)
    const body = {
      iss: 'kopilka',
      aud: 'kopilka/sandbox',
      sub: 'usr_1',
      sid: 'ses_1',
      iat: now_s,
      exp: now_s + 60,
    }
    const made = (head: Part, claims: Part): string => {
      const text = `${part({ alg: 'EdDSA', kid, ...head })}.${part(claims)}`
      return `${text}.${signBytes(null, Buffer.from(text), key).toString('base64url')}`
    }
    await expect(signer().verify(made({ typ: 'at+jwt' }, body))).resolves.toMatchObject(subject)
    const bad: [Part, Part][] = [
      [{ typ: 'JWT' }, body],
      [{}, body],
      [{ typ: 'at+jwt' }, { ...body, sid: undefined }],
      [{ typ: 'at+jwt' }, { ...body, sub: 7 }],
      [{ typ: 'at+jwt' }, { ...body, exp: undefined }],
      [{ typ: 'at+jwt' }, { ...body, nbf: now_s + 3600 }],
      [{ typ: 'at+jwt' }, { ...body, exp: 'soon' }],
      [{ typ: 'at+jwt' }, { ...body, aud: ['kopilka/live'] }],
      // What a header calls critical and we do not know must not be passed over, signed by us or not.
      [{ typ: 'at+jwt', crit: ['x'], x: 1 }, body],
      [{ typ: 'at+jwt', crit: ['exp'], exp: now_s + 60 }, body],
      [{ typ: 'at+jwt', crit: [] }, body],
      [{ typ: 'at+jwt', b64: false, crit: ['b64'] }, body],
    ]
    for (const [head, claims] of bad) {
      await expect(
        signer().verify(made(head, claims)),
        JSON.stringify([head, claims]),
      ).rejects.toBeInstanceOf(Unauthenticated)
    }
  })

  test('changes its key every thirty days, and takes tokens of the one before', async () => {
    const old = signer()
    const before = await old.sign(subject)
    clock.advance(30 * 86_400_000 - 60_000)
    const late = await old.sign(subject)
    clock.advance(60_000)
    await old.rotate()
    expect(await keys()).toBe(2)
    const after = await old.sign(subject)
    const kid = (token: string): unknown => read(token)[0]['kid']
    expect(kid(late.access_token)).toBe(kid(before.access_token))
    expect(kid(after.access_token)).not.toBe(kid(late.access_token))
    await expect(old.verify(late.access_token)).resolves.toMatchObject(subject)
    clock.advance(3 * 86_400_000)
    await old.rotate()
    expect(await keys()).toBe(1)
  })

  test('meets another process’s new key by the token that names it', async () => {
    const other = signer()
    await other.publicKeys()
    clock.advance(31 * 86_400_000)
    const { access_token } = await signer().sign(subject)
    await expect(other.verify(access_token)).resolves.toMatchObject(subject)
  })

  test('asks the database about made-up names of keys at most every two seconds', async () => {
    const one = signer()
    const { access_token } = await one.sign(subject)
    const [head, body, signature] = read(access_token)
    let statements = 0
    const { pool } = database.db
    const { query } = pool
    const count = ((...input: never[]) => {
      statements++
      return (query as (...all: never[]) => unknown).apply(pool, input)
    }) as typeof query
    const { connect } = pool
    pool.query = count
    pool.connect = ((...input: never[]) => {
      statements++
      return (connect as (...all: never[]) => unknown).apply(pool, input)
    }) as typeof connect
    for (let index = 0; index < 200; index++) {
      const kid = randomBytes(12).toString('base64url')
      const token = `${part({ ...head, kid })}.${part(body)}.${signature}`
      await expect(one.verify(token)).rejects.toBeInstanceOf(Unauthenticated)
    }
    Object.assign(pool, { query, connect })
    expect(statements).toBeLessThan(5)
  })

  test('keeps its private half sealed: without the key outside the database there is none', async () => {
    const { rows } = await database.db.pool.query<{ text: string }>(
      'select k::text as text from identity.signing_keys k',
    )
    expect(rows.map(({ text }) => text).join()).not.toMatch(/PRIVATE|"d"/)
    const stranger = createSecretBox({ keys: [{ id: 'two', key: Buffer.alloc(32, 2) }] })
    const thief = signer({ box: stranger })
    const { access_token } = await thief.sign(subject)
    const kids = rows.map(({ text }) => text)
    expect(kids.some((text) => text.includes(String(read(access_token)[0]['kid'])))).toBe(false)
  })

  test('goes on through a change of the key outside the database', async () => {
    const { access_token } = await signer().sign(subject)
    const both = createSecretBox({
      keys: [
        { id: 'three', key: Buffer.alloc(32, 3) },
        { id: 'one', key: Buffer.alloc(32, 1) },
        { id: 'two', key: Buffer.alloc(32, 2) },
      ],
    })
    await database.db.transact((tx) => resealSigningKeys(tx, both))
    expect(await database.db.transact((tx) => resealSigningKeys(tx, both))).toBe(0)
    const next = signer({ box: createSecretBox({ keys: [{ id: 'three', key: Buffer.alloc(32, 3) }] }) })
    const signed = await next.sign(subject)
    await expect(next.verify(access_token)).resolves.toMatchObject(subject)
    await expect(signer().verify(signed.access_token)).resolves.toMatchObject(subject)
  })
})
