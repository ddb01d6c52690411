import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey, programAsMaker } from './api-keys.ts'
import { appointStaff } from './staff.ts'
import { PASSWORD, type PeopleWorld, startPeopleWorld, type Tokens } from '../../../test/people-world.ts'

let world: PeopleWorld
let key: string
let last_id = 600_000
beforeAll(async () => {
  world = await startPeopleWorld()
  const made = await world.app.db.transact((tx) =>
    createApiKey(tx, world.clock, {
      mode: 'sandbox',
      maker: programAsMaker('command'),
      key: { name: 'k', scopes: ['*'] },
    }),
  )
  key = made.secret
  await world.send('POST', '/v1/units', { token: key, body: { code: 'minute', name: 'Minute', scale: 60 } })
})
afterAll(() => world?.close())

const initData = (id: number): string => world.telegram.initData({ id, first_name: 'T' }, world.clock.now())
const grant = async (customer_id: string, amount: number): Promise<void> => {
  const answer = await world.send('POST', `/v1/customers/${customer_id}/grants`, {
    token: key,
    body: { unit: 'minute', amount, reason: 'test' },
  })
  expect(answer.status, answer.text).toBe(201)
}
const balance = async (customer_id: string): Promise<unknown> =>
  (await world.send('GET', `/v1/customers/${customer_id}/wallets/minute`, { token: key })).body['balance']

/** Two users of one person: one by e-mail, one by Telegram, and the token that makes them one. */
async function both() {
  const id = (last_id += 1)
  const mail = await world.person()
  const telegram = (
    await world.send<Tokens>('POST', '/v1/auth/telegram', { body: { init_data: initData(id) } })
  ).body
  world.clock.advance(1000)
  const refused = await world.send<{ code: string; merge_token: string }>(
    'POST',
    '/v1/me/identities/telegram',
    {
      token: mail.access_token,
      body: { init_data: initData(id) },
    },
  )
  expect(refused.body.code).toBe('identity_taken')
  return { id, mail, telegram, merge_token: refused.body.merge_token }
}
const merge = (token: string, merge_token: string) =>
  world.send<{ id: string; code: string }>('POST', '/v1/me/merge', { token, body: { merge_token } })

describe('two users who are one person', () => {
  test('become one, with every grant of both, and the other name leads there', async () => {
    const { id, mail, telegram, merge_token } = await both()
    await grant(mail.customer_id, 100)
    await grant(telegram.user.customer_id, 250)
    expect((await merge(mail.access_token, merge_token)).status).toBe(200)
    expect(await balance(mail.customer_id)).toBe(350)
    expect(await balance(telegram.user.customer_id)).toBe(350)
    expect(await balance(`telegram_id:${id}`)).toBe(350)
    world.clock.advance(1000)
    const again = await world.send<Tokens>('POST', '/v1/auth/telegram', { body: { init_data: initData(id) } })
    expect(again.body.user.id).toBe(mail.id)
    expect((await world.send('GET', '/v1/me', { token: telegram.access_token })).status).toBe(401)
    expect(
      (await world.send('POST', '/v1/auth/refresh', { body: { refresh_token: telegram.refresh_token } }))
        .status,
    ).toBe(401)
  })

  test('asked for fifty times at once become one once, and no unit is doubled', async () => {
    const { mail, telegram, merge_token } = await both()
    await grant(telegram.user.customer_id, 70)
    const answers = await Promise.all(Array.from({ length: 50 }, () => merge(mail.access_token, merge_token)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(await balance(mail.customer_id)).toBe(70)
  })

  test('are not merged by a stranger, an old token, or for a protected or a staff user', async () => {
    const one = await both()
    const stranger = await world.person()
    expect((await merge(stranger.access_token, one.merge_token)).body.code).toBe('proof_invalid')
    const late = await both()
    world.clock.advance(600_001)
    const { body } = await world.send<Tokens>('POST', '/v1/auth/login', {
      body: { email: late.mail.email, password: PASSWORD },
    })
    expect((await merge(body.access_token, late.merge_token)).body.code).toBe('proof_invalid')
    const staff = await both()
    const root = { id: 'command', permissions: new Set(['*']) }
    await world.app.db.transact((tx) =>
      appointStaff(tx, world.clock, root, { user_id: staff.telegram.user.id, role: 'support' }),
    )
    expect((await merge(staff.mail.access_token, staff.merge_token)).body.code).toBe('invalid_state')
  })
})

describe('an address somebody else signed up with', () => {
  test('is its mailbox’s owner’s by a reset, and nothing the stranger linked stays', async () => {
    const id = (last_id += 1)
    const thief = await world.person()
    const linked = await world.send('POST', '/v1/me/identities/telegram', {
      token: thief.access_token,
      body: { init_data: initData(id) },
    })
    expect(linked.status).toBe(200)
    await world.send('POST', '/v1/auth/password/forgot', { body: { email: thief.email } })
    const token = (await world.mails(thief.email)).at(-1)?.token
    const password = 'the password of the owner'
    expect((await world.send('POST', '/v1/auth/password/reset', { body: { token, password } })).status).toBe(
      200,
    )
    expect((await world.send('GET', '/v1/me', { token: thief.access_token })).status).toBe(401)
    expect(
      (await world.send('POST', '/v1/auth/refresh', { body: { refresh_token: thief.refresh_token } })).status,
    ).toBe(401)
    world.clock.advance(1000)
    const entered = await world.send<Tokens>('POST', '/v1/auth/telegram', {
      body: { init_data: initData(id) },
    })
    expect(entered.body.user.id).not.toBe(thief.id)
    const owner = await world.send<Tokens>('POST', '/v1/auth/login', {
      body: { email: thief.email, password },
    })
    expect(owner.body.user).toMatchObject({ id: thief.id })
  })
})
