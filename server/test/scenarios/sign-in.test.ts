import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Emulator } from '@kopilka/emulators/emulator'
import { startOauthEmulator } from '@kopilka/emulators/oauth'
import { type CaughtMail, type SmtpEmulator, startSmtpEmulator } from '@kopilka/emulators/smtp'
import { startWorld, type World } from '../world.ts'

const BOT = '1234567890:made_up_for_the_scenario_0123456789'
const CREDENTIALS = { email: 'anna@mail.example', password: 'correct horse battery' }

let smtp: SmtpEmulator
let telegram: Emulator
let world: World
beforeAll(async () => {
  smtp = await startSmtpEmulator()
  telegram = await startOauthEmulator({ settings: { telegram_bot_token: BOT } })
  const { public_key } = await ask<{ public_key: string }>('/telegram/public_key')
  world = await startWorld((settings) => ({
    ...settings,
    people: {
      mail: { smtp_url: smtp.smtp_url, from: 'Shop <no-reply@shop.example>' },
      telegram: { bot_token: BOT, public_key },
    },
  }))
}, 60_000)
afterAll(async () => {
  await world?.close()
  await smtp?.close()
  await telegram?.close()
})

interface Entered {
  status: string
  access_token: string
  user: { id: string; customer_id: string }
}
const nobody = { authorization: '' }
const ask = async <T>(path: string): Promise<T> =>
  (await (await fetch(`${telegram.base_url}${path}`)).json()) as T
const login = () => world.call<Entered>('POST', '/v1/auth/login', CREDENTIALS, nobody)
const mailWith = (word: string): Promise<CaughtMail> =>
  world.eventually(`a mail about ${word}`, async () => {
    const { items } = smtp.control.objects() as { items: CaughtMail[] }
    return items.find(({ subject }) => subject.includes(word))
  })

describe('a person', () => {
  test('signs up by mail, buys with a token of his own, and is let in by Telegram afterwards', async () => {
    const asked = await world.call('POST', '/v1/auth/register', { ...CREDENTIALS, locale: 'ru' }, nobody)
    expect(asked.body).toEqual({ status: 'confirmation_sent', email: CREDENTIALS.email })
    expect((await login()).status).toBe(401)

    const mail = await mailWith('Подтвердите')
    expect(mail.to).toEqual([CREDENTIALS.email])
    const link = new URL(mail.links.find((one) => one.includes('/auth/mail')) ?? '')
    expect(link.origin, 'the link leads here').toBe(world.base_url)
    const looked = await fetch(link)
    expect(looked.status).toBe(200)
    expect((await login()).status, 'looking at the link does nothing').toBe(401)
    const body = new URLSearchParams({ token: link.searchParams.get('token') ?? '' })
    expect((await fetch(`${world.base_url}/auth/mail`, { method: 'POST', body })).status).toBe(200)

    const entered = await login()
    expect(entered.body.status).toBe('signed_in')
    const own = { authorization: `Bearer ${entered.body.access_token}` }
    const order = { package_id: 'minutes_30', email: CREDENTIALS.email }
    const placed = await world.call<{ external_id: string }>('POST', '/api/orders/', order, own)
    expect(placed.status, placed.text).toBe(201)
    world.yookassa.control.complete(placed.body.external_id, 'succeeded')
    await world.eventually('the minutes are there', async () => {
      const balance = await world.call<{ minutes: number }>('GET', '/balance/', undefined, own)
      return balance.body.minutes === 30
    })

    const link_data = await ask<{ init_data: string }>('/telegram/init_data?id=777000111')
    expect((await world.call('POST', '/v1/me/identities/telegram', link_data, own)).status).toBe(200)
    const again = await ask<{ init_data: string }>('/telegram/init_data?id=777000111&first_name=Other')
    const by_telegram = await world.call<Entered>('POST', '/v1/auth/telegram', again, nobody)
    expect(by_telegram.body.user.id).toBe(entered.body.user.id)
  })

  test('whose mail server is down for a while gets the mail later, once', async () => {
    smtp.control.reset()
    smtp.control.faults({ error_500: 1 })
    await world.call('POST', '/v1/auth/password/forgot', { email: CREDENTIALS.email }, nobody)
    const mail = await mailWith('Новый пароль')
    const { items } = smtp.control.objects() as { items: CaughtMail[] }
    expect(items.map(({ message_id }) => message_id)).toEqual([mail.message_id])
  })
})
