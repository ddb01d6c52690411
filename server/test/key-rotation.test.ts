import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApp, type App, type AppSettings } from '../src/app.ts'
import { sealedFindings } from '../src/commands/doctor.ts'
import { reseal } from '../src/commands/secrets.ts'
import { loadSecretKeys } from '../src/kernel/secret-keys.ts'
import { createSecretBox } from '../src/kernel/secrets.ts'
import { sealedByKey } from '../src/modules/admin/index.ts'
import { testDatabase, type TestDatabase } from './db.ts'
import { PASSWORD, type Person, type PeopleWorld, startPeopleWorld } from './people-world.ts'
import { codeAt } from './totp-codes.ts'

/** F41: the keys outside the database change while people go in and out. */
const OLD = { id: 'world', key: Buffer.alloc(32, 7) }
const NEW = { id: 'next', key: Buffer.alloc(32, 8) }

describe('a change of the key outside the database', () => {
  let world: PeopleWorld
  let settings: AppSettings | undefined
  const others: App[] = []
  let person: Person
  let secret = ''
  beforeAll(async () => {
    world = await startPeopleWorld({}, (same) => (settings = same))
    person = await world.person()
    const { access_token: token } = person
    secret = (await world.send<{ secret: string }>('POST', '/v1/me/second_factor', { token })).body.secret
    const body = { code: codeAt(secret, world.clock.now_ms()) }
    await world.send('POST', '/v1/me/second_factor/confirm', { token, body })
  })
  afterAll(async () => {
    for (const app of others) await app.stop()
    await world?.close()
  })

  const start = async (...keys: (typeof OLD)[]): Promise<App> => {
    const app = await startApp({ ...(settings as AppSettings), box: createSecretBox({ keys }) })
    others.push(app)
    return app
  }
  /** The whole way in: password, second factor, and a look at oneself with the new token elsewhere. */
  async function enter(app: App, elsewhere: App): Promise<number[]> {
    world.clock.advance(30_000)
    const post = (url: string, payload: object) => app.http.inject({ method: 'POST', url, payload })
    const first = await post('/v1/auth/login', { email: person.email, password: PASSWORD })
    const { challenge } = first.json<{ challenge: string }>()
    const second = await post('/v1/auth/second_factor', {
      challenge,
      code: codeAt(secret, world.clock.now_ms()),
    })
    const { access_token, refresh_token } = second.json<{ access_token: string; refresh_token: string }>()
    const headers = { authorization: `Bearer ${access_token}` }
    const me = await elsewhere.http.inject({ method: 'GET', url: '/v1/me', headers })
    const next = await elsewhere.http.inject({
      method: 'POST',
      url: '/v1/auth/refresh',
      payload: { refresh_token },
    })
    return [first.statusCode, second.statusCode, me.statusCode, next.statusCode]
  }
  const FINE = [200, 200, 200, 200]

  test('lets everybody in at every step of it, through every process', async () => {
    const first = world.app
    const learned = await start(OLD, NEW)
    expect(await enter(first, learned)).toEqual(FINE)
    expect(await enter(learned, first)).toEqual(FINE)
    const changed = await start(NEW, OLD)
    expect(await enter(learned, changed)).toEqual(FINE)
    expect(await enter(changed, learned)).toEqual(FINE)
    const moving = reseal(world.app.db, createSecretBox({ keys: [NEW, OLD] }))
    expect(await enter(changed, learned)).toEqual(FINE)
    expect(await moving).toBeGreaterThanOrEqual(2)
    expect(await enter(learned, changed)).toEqual(FINE)
    expect(await reseal(world.app.db, createSecretBox({ keys: [NEW, OLD] }))).toBe(0)
    const left = (await sealedByKey(world.app.db)).filter(({ key_id }) => key_id === OLD.id)
    expect(left.filter(({ place }) => place !== 'mails that wait')).toEqual([])
    // Without the old key: what was moved is read, and tokens of before are good.
    const last = await start(NEW)
    expect(await enter(last, changed)).toEqual(FINE)
    expect(await enter(changed, last)).toEqual(FINE)
  })

  test('that lost its key lets nobody past the second factor, and doctor says why', async () => {
    const lost = await start({ id: 'other', key: Buffer.alloc(32, 9) })
    expect((await enter(lost, lost)).slice(0, 2)).toEqual([200, 503])
    const findings = sealedFindings(await sealedByKey(world.app.db), ['other'])
    expect(findings[0]).toMatchObject({
      level: 'problem',
      detail: expect.stringContaining('second factors under next'),
    })
    const behind = sealedFindings(await sealedByKey(world.app.db), ['newest', NEW.id, OLD.id])
    expect(behind).toEqual([
      expect.objectContaining({ level: 'warning', advice: expect.stringContaining('reseal') }),
    ])
    expect(sealedFindings([], ['other'])).toEqual([expect.objectContaining({ level: 'ok' })])
  })
})

describe('the command secrets', { timeout: 180_000 }, () => {
  let folder: string
  let database: TestDatabase
  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'kopilka-secrets-'))
    database = await testDatabase()
  })
  afterAll(async () => {
    await database?.close()
    rmSync(folder, { recursive: true })
  })
  const run = (...words: string[]) => {
    const main = path.resolve(import.meta.dirname, '../src/main.ts')
    const env = { PATH: process.env['PATH'] ?? '', KOPILKA_DATA_DIR: folder, DATABASE_URL: database.url }
    return spawnSync(process.execPath, [main, 'secrets', ...words], {
      env,
      encoding: 'utf8',
      timeout: 50_000,
    })
  }
  const ids = (): string[] => loadSecretKeys({ data_directory: folder }).map(({ id }) => id)

  test('adds, uses, moves to and takes away keys, and never one that is needed', async () => {
    const [first = ''] = ids()
    const { rows } = await database.db.pool.query('select 1')
    expect(rows).toHaveLength(1)
    const box = createSecretBox({ keys: loadSecretKeys({ data_directory: folder }) })
    const sealed = box.seal('private', 'identity.signing_keys/kid_of_a_test')
    await database.db.pool.query(
      `insert into identity.signing_keys (kid, algorithm, public_jwk, private_sealed, created_at)
       values ('kid_of_a_test', 'EdDSA', '{}', $1, now())`,
      [sealed],
    )
    expect(run('add', '--last').status).toBe(0)
    const [, second = ''] = ids()
    expect(ids()).toEqual([first, second])
    expect(run('use', second).status).toBe(0)
    expect(ids()).toEqual([second, first])
    expect(run('list').stdout).toMatch(new RegExp(`${second} \\(seals\\)  nothing\n${first}  1 signing keys`))
    const refused = run('remove', first)
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining('1 signing keys')])
    expect(ids()).toEqual([second, first])
    expect(run('reseal').stdout).toMatch(/^1 secrets were moved/)
    expect(run('remove', first).status).toBe(0)
    expect(ids()).toEqual([second])
    expect(run('remove', second).status).toBe(1)
    expect([run('remove', 'none').status, run('use').status, run('nonsense').status]).toEqual([1, 2, 2])
  })
})
