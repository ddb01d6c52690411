import { hash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type PeopleWorld, startPeopleWorld } from '../../../test/people-world.ts'

const PLAIN = 'a phrase that leaked once'
const DIGESTED = 'another phrase that leaked'
let folder: string
let world: PeopleWorld

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kopilka-breached-'))
  const file = path.join(folder, 'list.txt')
  writeFileSync(file, `${PLAIN}\n\n${hash('sha1', DIGESTED).toUpperCase()}:4711\n`)
  world = await startPeopleWorld({ breached_passwords_file: file })
})
afterAll(async () => {
  await world?.close()
  rmSync(folder, { recursive: true })
})

describe('a password of the owner’s list of breached ones', () => {
  test.each([PLAIN, DIGESTED])('“%s” is taken at no door', async (password) => {
    const person = await world.person()
    const token = person.access_token
    const signed_up = await world.send('POST', '/v1/auth/register', {
      body: { email: `new-${password.length}@mail.example`, password },
    })
    const changed = await world.send('PUT', '/v1/me/password', {
      token,
      body: { current_password: person.password, password },
    })
    await world.send('POST', '/v1/auth/password/forgot', { body: { email: person.email } })
    const reset = (await world.mails(person.email)).at(-1)?.token
    const renewed = await world.send('POST', '/v1/auth/password/reset', { body: { token: reset, password } })
    for (const { status, body } of [signed_up, changed, renewed]) {
      expect([status, body['code']]).toEqual([400, 'weak_password'])
    }
    const { email } = person
    const entered = await world.send('POST', '/v1/auth/login', { body: { email, password: person.password } })
    expect(entered.status).toBe(200)
  })

  test('is told from one that is only like it', async () => {
    const body = { email: 'like@mail.example', password: `${PLAIN}!` }
    expect((await world.send('POST', '/v1/auth/register', { body })).status).toBe(200)
  })
})
