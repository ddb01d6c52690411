import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type App, type AppSettings, startApp } from '../../src/app.ts'
import { createSecretBox } from '../../src/kernel/secrets.ts'
import { reseal } from '../../src/commands/secrets.ts'
import { claimForCustomer } from '../../src/modules/customers/index.ts'
import { createApiKey, programAsMaker } from '../../src/modules/identity/index.ts'
import { PASSWORD, type PeopleWorld, startPeopleWorld, type Tokens } from '../people-world.ts'
import { settingsOf } from '../world-settings.ts'

/** What a person is given once, and people who come again as somebody else. */
let world: PeopleWorld
/** The same installation, where an address may be proved later. */
let at_once: App
let key = ''
let number = 0
beforeAll(async () => {
  let settings: AppSettings | undefined
  world = await startPeopleWorld({ registration: 'confirmed' }, (same) => (settings = same))
  if (settings === undefined) throw new Error('the world has settings')
  at_once = await startApp({ ...settings, people: { ...settings.people, registration: 'immediate' } })
  const made = await world.app.db.transact((tx) =>
    createApiKey(tx, world.clock, {
      mode: 'sandbox',
      maker: programAsMaker('command'),
      key: { name: 'shop', scopes: ['*'] },
    }),
  )
  key = made.secret
  const unit = { code: 'minute', name: 'Minute' }
  const counted = await world.send('POST', '/v1/units', { token: key, body: unit })
  if (counted.status !== 201) throw new Error(counted.text)
})
afterAll(async () => {
  await at_once?.stop()
  await world?.close()
})

interface Someone {
  customer_id: string
}
const device = (): string => `device-${(number += 1)}`
const name = (): string => `trial${(number += 1)}`
/** Signs up with an address whose mail is opened. */
async function byMail(email: string, device_id = device()): Promise<Someone> {
  await world.send('POST', '/v1/auth/register', { body: { email, password: PASSWORD } })
  const token = (await world.mails(email.toLowerCase())).at(-1)?.token
  expect((await world.send('POST', '/v1/auth/email/confirm', { body: { token } })).status).toBe(200)
  const body = { email, password: PASSWORD, device_id }
  const { user } = (await world.send<Tokens>('POST', '/v1/auth/login', { body })).body
  return user
}
async function byTelegram(id: number, device_id = device()): Promise<Someone> {
  world.clock.advance(1_000)
  const init_data = world.telegram.initData({ id, first_name: 'Anna' }, world.clock.now())
  const answer = await world.send<Tokens>('POST', '/v1/auth/telegram', { body: { init_data, device_id } })
  expect(answer.status).toBe(200)
  return answer.body.user
}
const give = (id: string, once_per_person: string, idempotency_key: string = randomUUID()) =>
  world.send<{ code: string; id: string }>('POST', `/v1/customers/${id}/grants`, {
    token: key,
    body: { unit: 'minute', amount: 60, source: 'promo', reason: 'trial', once_per_person },
    headers: { 'idempotency-key': idempotency_key },
  })
const erase = async ({ customer_id }: Someone): Promise<void> => {
  const url = `/v1/customers/${customer_id}/erase`
  const { status } = await world.send('POST', url, { token: key, body: { reason: 'asked for' } })
  expect(status).toBe(200)
}
const balance = async ({ customer_id }: Someone): Promise<number> => {
  const url = `/v1/customers/${customer_id}/wallets`
  const { body } = await world.send<{ items: { balance: number }[] }>('GET', url, { token: key })
  return body.items.reduce((sum, wallet) => sum + wallet.balance, 0)
}
const REFUSED = [409, 'already_given']
const outcome = async (someone: Someone, trial: string): Promise<unknown[]> => {
  const { status, body } = await give(someone.customer_id, trial)
  return [status, body.code]
}

describe('A20: a trial', () => {
  test('is given once, to whoever asks twice, and by the same key the same again', async () => {
    const [trial, anna] = [name(), await byMail(`anna${number}@mail.example`)]
    const idempotency_key = randomUUID()
    const given = await give(anna.customer_id, trial, idempotency_key)
    expect(given.status).toBe(201)
    expect((await give(anna.customer_id, trial, idempotency_key)).body).toEqual(given.body)
    expect(await outcome(anna, trial)).toEqual(REFUSED)
    expect(await outcome(anna, name()), 'another benefit').toEqual([201, undefined])
    expect(await outcome(await byMail(`boris${number}@mail.example`), trial), 'another').toEqual([
      201,
      undefined,
    ])
    expect(await balance(anna)).toBe(120)
  })

  test('is not given anew to who was forgotten and signs up again: by his address', async () => {
    const [trial, email] = [name(), `clara${number}@mail.example`]
    const before = await byMail(email)
    expect((await give(before.customer_id, trial)).status).toBe(201)
    await erase(before)
    const after = await byMail(email)
    expect(after.customer_id).not.toBe(before.customer_id)
    expect(await outcome(after, trial)).toEqual(REFUSED)
    expect(await balance(after)).toBe(0)
  })

  test('is not given anew to who was forgotten and comes again: by his Telegram account', async () => {
    const trial = name()
    const before = await byTelegram(880_001)
    expect((await give(before.customer_id, trial)).status).toBe(201)
    await erase(before)
    const after = await byTelegram(880_001)
    expect(after.customer_id).not.toBe(before.customer_id)
    expect(await outcome(after, trial)).toEqual(REFUSED)
  })

  test('is not given to a second Telegram account on the same device, forgotten or not', async () => {
    const [trial, phone] = [name(), device()]
    const first = await byTelegram(880_010, phone)
    expect((await give(first.customer_id, trial)).status).toBe(201)
    expect(await outcome(await byTelegram(880_011, phone), trial)).toEqual(REFUSED)
    await erase(first)
    expect(await outcome(await byTelegram(880_012, phone), trial)).toEqual(REFUSED)
    expect(await outcome(await byTelegram(880_013), trial), 'another phone').toEqual([201, undefined])
  })

  test.each([
    ['dora.smith@gmail.com', 'd.o.r.a.smith@gmail.com'],
    ['erik@gmail.com', 'Erik+trial2@gmail.com'],
    ['f.anna@gmail.com', 'fanna+x@googlemail.com'],
    ['gleb@mail.example', 'gleb+2@mail.example'],
    ['hans.petrov@yandex.ru', 'hans-petrov@ya.ru'],
  ])('given to %s is not given to %s', async (one, two) => {
    const trial = name()
    expect(await outcome(await byMail(one), trial)).toEqual([201, undefined])
    expect(await outcome(await byMail(two), trial)).toEqual(REFUSED)
  })

  test.each([
    ['ivan.petrov@mail.example', 'ivanpetrov@mail.example'],
    ['+7@mail.example', '+8@mail.example'],
    ['kira@mail.example', 'kira@other.example'],
  ])('given to %s is given to %s, who is somebody else', async (one, two) => {
    const trial = name()
    expect(await outcome(await byMail(one), trial)).toEqual([201, undefined])
    expect(await outcome(await byMail(two), trial)).toEqual([201, undefined])
  })

  test('is given once of fifty times at once, to one and to fifty accounts of one device', async () => {
    const [trial, phone] = [name(), device()]
    const one = await byMail(`lena${number}@mail.example`)
    const answers = await Promise.all(Array.from({ length: 50 }, () => give(one.customer_id, trial)))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(answers.filter(({ body }) => body.code === 'already_given')).toHaveLength(49)
    expect(await balance(one)).toBe(60)
    const ids = Array.from({ length: 50 }, (_, index) => 881_000 + index)
    const many = await Promise.all(ids.map((id) => byTelegram(id, phone)))
    const other = name()
    const given = await Promise.all(many.map(({ customer_id }) => give(customer_id, other)))
    expect(given.filter(({ status }) => status === 201)).toHaveLength(1)
    const seen = await Promise.all(many.map(balance))
    expect(seen.reduce((sum, units) => sum + units, 0)).toBe(60)
  })

  test('is not used up by whoever only types another’s address', async () => {
    const [trial, email] = [name(), `mila${number}@mail.example`]
    const typed = async (): Promise<Someone> => {
      const { body } = await world.send<{ id: string }>('POST', '/v1/customers', {
        token: key,
        body: { email },
      })
      return { customer_id: body.id }
    }
    expect(await outcome(await typed(), trial)).toEqual([201, undefined])
    expect(await outcome(await typed(), trial)).toEqual(REFUSED)
    expect(await outcome(await byMail(email), trial), 'its owner').toEqual([201, undefined])
    const [late, address] = [name(), `nina${number}@mail.example`]
    expect(await outcome(await byMail(address), late)).toEqual([201, undefined])
    const { body } = await world.send<{ id: string }>('POST', '/v1/customers', {
      token: key,
      body: { email: address },
    })
    expect(await outcome({ customer_id: body.id }, late)).toEqual(REFUSED)
  })

  /** Signs up by a page that lets everybody in at once, and proves the address later. */
  const typed = async (email: string): Promise<Someone & { prove: () => Promise<void> }> => {
    const { user } = (
      await at_once.http.inject({
        method: 'POST',
        url: '/v1/auth/register',
        payload: { email, password: PASSWORD, device_id: device() },
      })
    ).json<Tokens>()
    const prove = async (): Promise<void> => {
      const body = { token: (await world.mails(email)).at(-1)?.token }
      expect((await world.send('POST', '/v1/auth/email/confirm', { body })).status).toBe(200)
    }
    return { ...user, prove }
  }

  test('given before the address was proved is not given by it again', async () => {
    const [trial, email] = [name(), `rita${number}@mail.example`]
    const before = await typed(email)
    expect(await outcome(before, trial)).toEqual([201, undefined])
    await before.prove()
    expect(await outcome(await byMail(email.replace('@', '+2@')), trial), 'an alias').toEqual(REFUSED)
    await erase(before)
    expect(await outcome(await byMail(email), trial), 'forgotten').toEqual(REFUSED)
  })

  test('is not given by an account that was linked, or a device that came, afterwards', async () => {
    const [trial, email, phone] = [name(), `sofia${number}@mail.example`, device()]
    const before = await byMail(email)
    expect(await outcome(before, trial)).toEqual([201, undefined])
    const body = { email, password: PASSWORD, device_id: phone }
    const { access_token: token } = (await world.send<Tokens>('POST', '/v1/auth/login', { body })).body
    world.clock.advance(1_000)
    const init_data = world.telegram.initData({ id: 882_001, first_name: 'Sofia' }, world.clock.now())
    const linked = await world.send('POST', '/v1/me/identities/telegram', { token, body: { init_data } })
    expect(linked.status).toBe(200)
    await erase(before)
    expect(await outcome(await byTelegram(882_001), trial), 'the account').toEqual(REFUSED)
    expect(await outcome(await byTelegram(882_002, phone), trial), 'the device').toEqual(REFUSED)
    expect(await outcome(await byTelegram(882_003), trial), 'somebody else').toEqual([201, undefined])
  })

  test('is one benefit of two who were made one, whichever of the two comes again', async () => {
    const trial = name()
    const [given, other] = [await byTelegram(883_001), await byTelegram(883_002)]
    expect(await outcome(given, trial)).toEqual([201, undefined])
    const url = `/v1/customers/${other.customer_id}/merge`
    const merged = await world.send('POST', url, {
      token: key,
      body: { into_customer_id: given.customer_id },
    })
    expect(merged.status).toBe(200)
    await erase(given)
    expect(await outcome(await byTelegram(883_002), trial)).toEqual(REFUSED)
  })

  test('that was refused or did not come about leaves nothing, so the right one is given', async () => {
    const [trial, olga] = [name(), await byMail(`olga${number}@mail.example`)]
    const answer = await world.send('POST', `/v1/customers/${olga.customer_id}/grants`, {
      token: key,
      body: { unit: 'absent', amount: 1, reason: 'x', once_per_person: trial },
    })
    expect(answer.status).toBe(400)
    expect(await outcome(olga, trial)).toEqual([201, undefined])
  })

  test('is remembered by digests that name nobody, and beyond a change of the key outside', async () => {
    const [trial, email] = [name(), `pavel${number}@mail.example`]
    const { customer_id } = await byMail(email)
    expect((await give(customer_id, trial)).status).toBe(201)
    const { pool } = world.app.db
    const { rows } = await pool.query<{ row: string }>('select t::text as row from identity.benefit_claims t')
    expect(rows.map(({ row }) => row).join('\n')).not.toMatch(/pavel|cus_|device-/)
    const [old, fresh] = [
      { id: 'world', key: Buffer.alloc(32, 7) },
      { id: 'next', key: Buffer.alloc(32, 8) },
    ]
    expect(settingsOf('', '').box.deriveKey('x')).toEqual(createSecretBox({ keys: [old] }).deriveKey('x'))
    await reseal(world.app.db, createSecretBox({ keys: [fresh, old] }))
    const claim = (box: ReturnType<typeof createSecretBox>) =>
      world.app.db.transact((tx) =>
        claimForCustomer(tx, { clock: world.clock, box }, { benefit: trial, customer_id }),
      )
    await expect(claim(createSecretBox({ keys: [fresh] }))).rejects.toMatchObject({ code: 'already_given' })
    await expect(claim(createSecretBox({ keys: [old] }))).rejects.toMatchObject({
      code: 'benefit_key_unreadable',
    })
  })
})
