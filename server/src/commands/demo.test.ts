import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { testDatabase, type TestDatabase } from '../../test/db.ts'

interface Credentials {
  base_url: string
  secret_key: string
  emulators: { mail: string; sign_in: string }
}

/** The demo as a newcomer runs it: its own process, its own emulators, everything over HTTP. */
let database: TestDatabase
let folder: string
let demo: ChildProcess
let said = ''
let credentials: Credentials
let errors = ''

beforeAll(async () => {
  database = await testDatabase()
  folder = mkdtempSync(path.join(tmpdir(), 'kopilka-demo-'))
  demo = spawn(process.execPath, [path.resolve(import.meta.dirname, '../main.ts'), 'demo'], {
    env: {
      PATH: process.env['PATH'] ?? '',
      DATABASE_URL: database.url,
      KOPILKA_DATA_DIR: folder,
      PORT: '0',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  demo.stderr?.on('data', (chunk) => (errors += String(chunk)))
  await new Promise<void>((resolve, reject) => {
    demo.stdout?.on('data', (chunk) => {
      said += String(chunk)
      if (said.includes('# 10. ')) resolve()
    })
    demo.once('exit', () => reject(new Error(`the demo did not start: ${errors}`)))
  })
  credentials = JSON.parse(readFileSync(path.join(folder, 'credentials.json'), 'utf8')) as Credentials
}, 60_000)
afterAll(async () => {
  if (demo?.exitCode === null) {
    demo.kill('SIGTERM')
    await once(demo, 'exit')
  }
  await database?.close()
  rmSync(folder, { recursive: true })
}, 30_000)

const post = async (url: string, body: unknown) => {
  const response = await fetch(`${credentials.base_url}${url}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}
const me = async (token: unknown): Promise<Record<string, unknown>> => {
  const headers = { authorization: `Bearer ${String(token)}` }
  return (await (await fetch(`${credentials.base_url}/v1/me`, { headers })).json()) as Record<string, unknown>
}

describe('the tour of the demo', () => {
  test('names the places and the key that are in its file', () => {
    for (const place of [
      credentials.base_url,
      credentials.secret_key,
      credentials.emulators.mail,
      credentials.emulators.sign_in,
    ]) {
      expect(said).toContain(place)
    }
  })

  test('signs up by e-mail: the mail is caught, its link is followed, the person is in', async () => {
    const bob = { email: 'bob@example.com', password: 'correct horse battery' }
    expect((await post('/v1/auth/register', bob)).body['status']).toBe('confirmation_sent')
    expect((await post('/v1/auth/login', bob)).status).toBe(401)
    const link = await linkOfMail()
    expect(link).toContain(`${credentials.base_url}/auth/mail?token=`)
    const token = new URL(link).searchParams.get('token') ?? ''
    const form = { method: 'POST', body: new URLSearchParams({ token }) }
    expect((await fetch(`${credentials.base_url}/auth/mail`, form)).status).toBe(200)
    const entered = await post('/v1/auth/login', bob)
    expect(entered.body['status']).toBe('signed_in')
    expect(await me(entered.body['access_token'])).toMatchObject({ email: bob.email })
  })

  test('signs in as a Telegram Mini App, by data the emulator signs, and by none it did not', async () => {
    const asked = await fetch(`${credentials.emulators.sign_in}/telegram/init_data?id=777000111`)
    const data = (await asked.json()) as { init_data: string }
    const forged = { init_data: data.init_data.replace('777000111', '777000112') }
    expect((await post('/v1/auth/telegram', forged)).status).toBe(401)
    const entered = await post('/v1/auth/telegram', data)
    expect([entered.status, entered.body['status']]).toEqual([200, 'signed_in'])
    expect(await me(entered.body['access_token'])).toMatchObject({ id: expect.stringMatching(/^usr_/) })
  })

  test('ends well when it is told to', async () => {
    demo.kill('SIGTERM')
    const [code] = (await once(demo, 'exit')) as [number | null]
    expect(code).toBe(0)
  }, 30_000)
})

/** The link of the mail that was caught last, as the page of mails shows it. */
async function linkOfMail(): Promise<string> {
  for (let tries = 0; tries < 200; tries++) {
    const page = await (await fetch(`${credentials.emulators.mail}/_emulator/objects`)).text()
    const [link] = /http:\/\/[^"\s\\]+\/auth\/mail\?token=[\w-]+/.exec(page) ?? []
    if (link !== undefined) return link
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('no mail came')
}
