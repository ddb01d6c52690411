import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { programAsMaker, createApiKey } from './api-keys.ts'
import { PASSWORD, type PeopleWorld, startPeopleWorld, type Tokens } from '../../../test/people-world.ts'

let world: PeopleWorld
let bot_key: string
let last_id = 500_000
beforeAll(async () => {
  world = await startPeopleWorld()
  const made = await world.app.db.transact((tx) =>
    createApiKey(tx, world.clock, {
      mode: 'sandbox',
      maker: programAsMaker('command'),
      key: { name: 'bot', scopes: ['customers:write'] },
    }),
  )
  bot_key = made.secret
})
afterAll(() => world?.close())

interface TelegramUser {
  id: number
  first_name: string
  username?: string
  language_code?: string
}
const someone = (): TelegramUser => ({
  id: (last_id += 1),
  first_name: 'Анна',
  username: 'anna',
  language_code: 'ru',
})
const initData = (user: TelegramUser, age_ms = 0): string =>
  world.telegram.initData(user, new Date(world.clock.now_ms() - age_ms))
const enter = (body: object, ip?: string) =>
  world.send<Tokens & { code: string; detail: string }>('POST', '/v1/auth/telegram', {
    body,
    ...(ip === undefined ? {} : { ip }),
  })
const users = async (): Promise<number> => {
  const { rows } = await world.app.db.pool.query<{ count: bigint }>('select count(*) from identity.users')
  return Number(rows[0]?.count)
}

describe('A33: a Mini App', () => {
  test('signs up at the first time and in at the second, with a customer a bot would find', async () => {
    const user = someone()
    const first = await enter({ init_data: initData(user) })
    expect(first.status).toBe(200)
    expect(first.body.user).toMatchObject({ name: 'Анна', locale: 'ru', email: null, has_password: false })
    world.clock.advance(1000)
    const second = await enter({ init_data: initData(user) })
    expect(second.body.user.id).toBe(first.body.user.id)
    const customer = await world.send('GET', `/v1/customers/telegram_id:${user.id}`, { token: bot_key })
    expect(customer.status).toBe(403)
    const { rows } = await world.app.db.pool.query(
      'select id from customers.customers where telegram_id = $1',
      [user.id],
    )
    expect(rows).toEqual([{ id: first.body.user.customer_id }])
  })

  test('becomes the customer its bot made before, with what that customer has', async () => {
    const user = someone()
    const made = await world.send<{ id: string }>('POST', '/v1/customers', {
      token: bot_key,
      body: { telegram_id: user.id },
    })
    const entered = await enter({ init_data: initData(user) })
    expect(entered.body.user.customer_id).toBe(made.body.id)
  })

  test('opened fifty times at once by a new person makes one user', async () => {
    const user = someone()
    const before = await users()
    const init_data = initData(user)
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => enter({ init_data, device_id: 'phone' })),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(new Set(answers.map(({ body }) => body.user.id)).size).toBe(1)
    expect(await users()).toBe(before + 1)
  })

  test.each<[string, (user: TelegramUser) => string]>([
    ['forged', (user) => initData(user).replace(/hash=\w{8}/, 'hash=00000000')],
    ['of another user', (user) => initData(user).replace(String(user.id), String(user.id + 1))],
    ['stale', (user) => initData(user, 900_001)],
    ['from the future', (user) => initData(user, -61_000)],
    ['given twice in a part', (user) => `${initData(user)}&user=%7B%7D`],
    ['empty of fields', () => 'x=1'],
  ])('%s is refused, and nobody is made', async (_name, init_data) => {
    const before = await users()
    const answer = await enter({ init_data: init_data(someone()) })
    expect([answer.status, answer.body.code]).toEqual([401, 'vendor_proof_invalid'])
    expect(await users()).toBe(before)
  })

  test('of another bot is refused', async () => {
    const { telegramSigner } = await import('../../../test/telegram-signer.ts')
    for (const other of [telegramSigner('999888777'), telegramSigner()]) {
      const answer = await enter({ init_data: other.initData(someone(), world.clock.now()) })
      expect(answer.status).toBe(401)
    }
  })

  test('that was stolen on its way opens nothing on another device', async () => {
    const user = someone()
    const init_data = initData(user)
    expect((await enter({ init_data, device_id: 'phone' })).status).toBe(200)
    expect((await enter({ init_data, device_id: 'phone' })).status, 'the same device may repeat').toBe(200)
    expect((await enter({ init_data, device_id: 'thief' })).status).toBe(401)
    expect((await enter({ init_data })).status).toBe(401)
    const bare = initData(someone())
    expect((await enter({ init_data: bare }, '192.0.2.1')).status).toBe(200)
    expect((await enter({ init_data: bare }, '192.0.2.1')).status).toBe(200)
    expect((await enter({ init_data: bare }, '192.0.2.2')).status).toBe(401)
  })

  test.each([
    [{}],
    [{ init_data: '' }],
    [{ init_data: 1 }],
    [{ init_data: 'x', widget: { id: 1 } }],
    [{ widget: [] }],
    [{ init_data: 'x'.repeat(8193) }],
    [{ widget: { id: { $gt: 0 } } }],
  ])('with the nonsense %j is malformed', async (body) => {
    expect((await enter(body)).status).toBe(400)
  })
})

describe('the Login Widget', () => {
  const widget = (user: TelegramUser, age_ms = 0) =>
    world.telegram.widget({
      id: user.id,
      first_name: user.first_name,
      auth_date: Math.floor((world.clock.now_ms() - age_ms) / 1000),
    })

  test('signs in once; the same data again is refused, of fifty at once too', async () => {
    const data = widget(someone())
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => enter({ widget: data, device_id: 'pc' })),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(49)
  })

  test('means the same user as the Mini App', async () => {
    const user = someone()
    const app = await enter({ init_data: initData(user) })
    const page = await enter({ widget: widget(user) })
    expect(page.body.user.id).toBe(app.body.user.id)
  })

  test('that is stale, changed or empty is refused', async () => {
    const user = someone()
    expect((await enter({ widget: widget(user, 900_001) })).status).toBe(401)
    expect((await enter({ widget: { ...widget(user), id: user.id + 1 } })).status).toBe(401)
    expect((await enter({ widget: {} })).status).toBe(401)
  })
})

interface StartCode {
  code: string
  url: string
  claim_token: string | null
}
const redeem = (code: string, user: TelegramUser, token = bot_key) =>
  world.send<{ purpose: string; code: string; merge_token?: string }>(
    'POST',
    '/v1/telegram/start_codes/redeem',
    {
      token,
      body: { code, telegram_user: user },
    },
  )

describe('A45: from one network', () => {
  const cell = (rule: string, ip: string) => [`${rule}\n${ip}`]
  const DIGEST = "key_digest = sha256(convert_to($1, 'UTF8'))"

  test('wrong proofs are counted where all processes see them, and right ones are given back', async () => {
    const ip = '198.51.100.60'
    const { pool } = world.app.db
    const used = async (): Promise<number> => {
      const { rows } = await pool.query<{ full_at: Date }>(
        `select full_at from identity.attempts where ${DIGEST}`,
        cell('vendor proof, network', ip),
      )
      return ((rows[0]?.full_at.getTime() ?? 0) - world.clock.now_ms()) / 15_000
    }
    for (let time = 0; time < 5; time++) {
      const right = await enter({ init_data: initData(someone()), device_id: `phone ${time}` }, ip)
      expect(right.status).toBe(200)
    }
    expect(await used()).toBe(0)
    const wrong = `${initData(someone())}x`
    for (let time = 0; time < 3; time++) expect((await enter({ init_data: wrong }, ip)).status).toBe(401)
    expect(await used()).toBe(3)
    await pool.query(
      `update identity.attempts set full_at = full_at + 57 * interval '15 seconds' where ${DIGEST}`,
      cell('vendor proof, network', ip),
    )
    expect((await enter({ init_data: wrong }, ip)).status).toBe(429)
    expect((await enter({ init_data: initData(someone()) }, '198.51.100.61')).status).toBe(200)
    world.clock.advance(15_000)
    expect((await enter({ init_data: initData(someone()) }, ip)).status).toBe(200)
  })

  test('codes for the bot are counted too, where all processes see them', async () => {
    const ask = async (ip: string): Promise<number> =>
      (await world.send('POST', '/v1/auth/telegram/start_codes', { body: {}, ip })).status
    // The edge's own limit is for one address and a minute; a network has many addresses.
    const address = (time: number): string => `2001:db8:9:9::${time + 1}`
    expect(await ask(address(0))).toBe(201)
    const { rowCount } = await world.app.db.pool.query(
      `update identity.attempts set full_at = full_at + interval '15 minutes' where ${DIGEST}`,
      cell('vendor sign-in, network', '2001:db8:9:9::/64'),
    )
    expect(rowCount).toBe(1)
    expect(await ask(address(1))).toBe(429)
    expect(await ask('2001:db8:9:a::1')).toBe(201)
  })

  test('a page that asks without end for what the bot was agreed to is counted there too', async () => {
    const asked = await world.send<StartCode>('POST', '/v1/auth/telegram/start_codes', { body: {} })
    const poll = async (ip: string, claim_token = asked.body.claim_token): Promise<number> =>
      (await world.send('POST', '/v1/auth/telegram/claim', { body: { claim_token }, ip })).status
    expect(await poll('2001:db8:9:b::1')).toBe(200)
    const { rowCount } = await world.app.db.pool.query(
      `update identity.attempts set full_at = full_at + interval '15 minutes' where ${DIGEST}`,
      cell('vendor claim, network', '2001:db8:9:b::/64'),
    )
    expect(rowCount).toBe(1)
    expect(await poll('2001:db8:9:b::2')).toBe(429)
    expect(await poll('2001:db8:9:b::2', `tgc_${'A'.repeat(43)}`), 'a guess').toBe(429)
    expect(await poll('2001:db8:9:c::1')).toBe(200)
  })
})

describe('A35: a code for the bot’s start', () => {
  const linkCode = async (token: string): Promise<StartCode> =>
    (await world.send<StartCode>('POST', '/v1/me/identities/telegram/start_codes', { token })).body

  test('has at least 64 random bits, fits a link, and links the account that started the bot', async () => {
    const person = await world.person()
    const { code, url } = await linkCode(person.access_token)
    expect(url).toBe(`https://t.me/shop_bot?start=${code}`)
    expect(code).toMatch(/^[\w-]{24,64}$/)
    const user = someone()
    const told = await world.send('POST', '/v1/telegram/start_codes/describe', {
      token: bot_key,
      body: { code },
    })
    expect(told.body).toMatchObject({
      purpose: 'link',
      account: `${person.email[0]}…@mail.example`,
      device_name: 'test',
    })
    expect((await redeem(code, user)).body).toEqual({ purpose: 'link' })
    const entered = await enter({ init_data: initData(user) })
    expect(entered.body.user.id).toBe(person.id)
    const { rows } = await world.app.db.pool.query(
      'select telegram_id from customers.customers where id = $1',
      [person.customer_id],
    )
    expect(rows).toEqual([{ telegram_id: BigInt(user.id) }])
  })

  test('works once, of fifty at once for one account', async () => {
    const person = await world.person()
    const { code } = await linkCode(person.access_token)
    const answers = await Promise.all(Array.from({ length: 50 }, () => redeem(code, someone())))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    const listed = await world.send<{ items: unknown[] }>('GET', '/v1/me/identities', {
      token: person.access_token,
    })
    expect(listed.body.items).toHaveLength(1)
  })

  test('works for ten minutes', async () => {
    const { code } = await linkCode((await world.person()).access_token)
    world.clock.advance(600_000)
    expect((await redeem(code, someone())).body.code).toBe('proof_invalid')
  })

  test('is redeemed by the bot alone, and never tells it how to merge', async () => {
    const person = await world.person()
    const { code } = await linkCode(person.access_token)
    const user = someone()
    expect((await redeem(code, user, person.access_token)).status).toBe(403)
    await enter({ init_data: initData(user) })
    const refused = await redeem(code, user)
    expect(refused.body.code).toBe('identity_taken')
    expect(refused.body.merge_token).toBeUndefined()
  })

  test.each(['', 'tgs_', `tgs_${'A'.repeat(43)}`, '1', "' or 1=1 --"])(
    '%j is guessed by nobody',
    async (code) => {
      expect([400, 401]).toContain((await redeem(code, someone())).status)
    },
  )

  test('lets a page in after the person agreed in the bot, and only the page that asked', async () => {
    const asked = await world.send<StartCode>('POST', '/v1/auth/telegram/start_codes', { body: {} })
    const claim = (claim_token: string | null) =>
      world.send<Tokens>('POST', '/v1/auth/telegram/claim', { body: { claim_token } })
    expect((await claim(asked.body.claim_token)).body).toEqual({ status: 'waiting' })
    const user = someone()
    expect((await redeem(asked.body.code, user)).body).toEqual({ purpose: 'sign_in' })
    expect((await claim(asked.body.code)).status, 'the code in the link is not the claim').toBe(401)
    const answers = await Promise.all(Array.from({ length: 20 }, () => claim(asked.body.claim_token)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    const entered = answers.find(({ status }) => status === 200)
    const again = await enter({ init_data: initData(user) })
    expect(entered?.body.user.id).toBe(again.body.user.id)
  })
})

describe('ways to sign in', () => {
  test('can be unlinked but for the last', async () => {
    const user = someone()
    const { body } = await enter({ init_data: initData(user) })
    const token = body.access_token
    const listed = await world.send<{ items: { id: string }[] }>('GET', '/v1/me/identities', { token })
    const url = `/v1/me/identities/${listed.body.items[0]?.id}`
    const refused = await world.send<{ code: string }>('DELETE', url, { token })
    expect(refused.body.code).toBe('last_way_to_sign_in')
    const stranger = await world.person()
    expect((await world.send('DELETE', url, { token: stranger.access_token })).status).toBe(404)
    const email = `tg-${user.id}@mail.example`
    expect((await world.send('PUT', '/v1/me/email', { token, body: { email } })).status).toBe(202)
    await world.send('POST', '/v1/auth/email/confirm', {
      body: { token: (await world.mails(email)).at(-1)?.token },
    })
    const again = await enter({ init_data: initData(user, 1000) })
    expect((await world.send('DELETE', url, { token: again.body.access_token })).status).toBe(200)
    const { rows } = await world.app.db.pool.query(
      'select telegram_id from customers.customers where id = $1',
      [body.user.customer_id],
    )
    expect(rows).toEqual([{ telegram_id: null }])
    const fresh = await enter({ init_data: initData(user, 2000) })
    expect(fresh.body.user.id, 'the account is free for a user of its own').not.toBe(body.user.id)
  })

  test('two removed at once leave one', async () => {
    const user = someone()
    const { body } = await enter({ init_data: initData(user) })
    const token = body.access_token
    const second = someone()
    const linked = await world.send('POST', '/v1/me/identities/telegram', {
      token,
      body: { init_data: initData(second) },
    })
    expect(linked.status).toBe(200)
    const listed = await world.send<{ items: { id: string }[] }>('GET', '/v1/me/identities', { token })
    expect(listed.body.items).toHaveLength(2)
    const answers = await Promise.all(
      listed.body.items.map(({ id }) => world.send('DELETE', `/v1/me/identities/${id}`, { token })),
    )
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409])
  })

  test('set a first password and sign in by it', async () => {
    const user = someone()
    const { body } = await enter({ init_data: initData(user) })
    const token = body.access_token
    const email = `first-${user.id}@mail.example`
    await world.send('PUT', '/v1/me/email', { token, body: { email } })
    await world.send('POST', '/v1/auth/email/confirm', {
      body: { token: (await world.mails(email)).at(-1)?.token },
    })
    const again = (await enter({ init_data: initData(user, 1000) })).body.access_token
    expect(
      (await world.send('PUT', '/v1/me/password', { token: again, body: { password: PASSWORD } })).status,
    ).toBe(200)
    const entered = await world.send<Tokens>('POST', '/v1/auth/login', {
      body: { email, password: PASSWORD },
    })
    expect(entered.body.user.id).toBe(body.user.id)
  })
})

describe('an installation without a bot', () => {
  test('says that it does not offer this', async () => {
    const bare = await startPeopleWorld({ telegram: undefined })
    const answer = await bare.send<{ code: string }>('POST', '/v1/auth/telegram', {
      body: { init_data: initData(someone()) },
    })
    expect([answer.status, answer.body.code]).toEqual([404, 'sign_in_not_offered'])
    const offered = await bare.send('GET', '/v1/auth/providers')
    expect(offered.body).toEqual({ password: true, telegram: null, oauth: [] })
    await bare.close()
  })
})
