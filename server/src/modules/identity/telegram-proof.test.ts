import assert from 'node:assert/strict'
import { createHash, createHmac, createPublicKey, verify } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { telegramSigner } from '../../../test/telegram-signer.ts'
import VECTORS from '../../../test/vectors/telegram.json' with { type: 'json' }
import { unnoticed } from '../../../test/vectors.ts'
import {
  botIdOf,
  checkInitData,
  checkLoginWidget,
  TELEGRAM_PUBLIC_KEY,
  type TelegramVerdict,
} from './telegram-proof.ts'

const HOUR_MS = 3_600_000
const base = {
  bot_token: VECTORS.bot_token,
  public_key: VECTORS.public_key,
  window_ms: HOUR_MS,
  now_ms: VECTORS.auth_date * 1000,
}
const refused = (verdict: TelegramVerdict): string => ('refused' in verdict ? verdict.refused : 'taken')

describe('A33: initData', () => {
  test('of the vectors is taken, escapes, plus signs and Cyrillic letters and all', () => {
    const verdict = checkInitData(VECTORS.init_data, base)
    expect(verdict).toEqual({
      person: {
        id: '777000111',
        first_name: 'Анна',
        last_name: 'Test / + & =',
        username: 'anna_test',
        language_code: 'ru',
        photo_url: 'https://t.me/i/userpic/320/x.svg',
        auth_date: new Date(base.now_ms),
        start_param: 'ref_42',
      },
    })
    expect(refused(checkInitData(VECTORS.init_data_without_signature, base))).toBe('taken')
  })

  const telegram = telegramSigner()
  const now_ms = Date.UTC(2026, 2, 1)
  const check = { bot_token: telegram.bot_token, public_key: telegram.public_key, window_ms: HOUR_MS, now_ms }
  const user = { id: 42, first_name: 'Bob' }
  const made = (age_ms = 0, change?: (fields: Map<string, string>) => void): string =>
    telegram.initData(user, new Date(now_ms - age_ms), change)
  const replaced = (name: string, value: string): string => {
    const fields = new URLSearchParams(made())
    fields.set(name, value)
    return fields.toString()
  }
  const without = (name: string): string => {
    const fields = new URLSearchParams(made())
    fields.delete(name)
    return fields.toString()
  }

  test.each<[string, () => string, RegExp]>([
    ['a changed user', () => replaced('user', '{"id":43,"first_name":"Bob"}'), /hash/],
    ['a changed time', () => replaced('auth_date', String(now_ms / 1000 + 1)), /hash/],
    ['a field more', () => `${made()}&admin=1`, /hash/],
    ['a field less', () => without('chat_instance'), /hash/],
    ['no hash', () => without('hash'), /hash/],
    ['an empty hash', () => replaced('hash', ''), /hash/],
    [
      'the hash in capitals',
      () => replaced('hash', (new URLSearchParams(made()).get('hash') ?? '').toUpperCase()),
      /hash/,
    ],
    [
      'a cut hash',
      () => replaced('hash', (new URLSearchParams(made()).get('hash') ?? '').slice(0, 63)),
      /hash/,
    ],
    ['the signature taken away', () => without('signature'), /hash/],
    ['another signature', () => replaced('signature', 'A'.repeat(86)), /hash/],
    ['the user given twice', () => `${made()}&user=%7B%22id%22%3A43%7D`, /twice/],
    ['the hash given twice', () => `${made()}&hash=0`, /twice/],
    ['one more minute than an hour', () => made(HOUR_MS + 1000), /old/],
    ['more than a minute ahead', () => made(-61_000), /future/],
    ['no time', () => made(0, (fields) => fields.delete('auth_date')), /auth_date/],
    ['a time that is a float', () => made(0, (fields) => fields.set('auth_date', '1.5')), /auth_date/],
    ['a negative time', () => made(0, (fields) => fields.set('auth_date', '-1')), /auth_date/],
    ['no user', () => made(0, (fields) => fields.delete('user')), /no user/],
    ['a user that is no JSON', () => made(0, (fields) => fields.set('user', '{')), /no user/],
    ['a user that is a list', () => made(0, (fields) => fields.set('user', '[]')), /no user/],
    ['a user without an id', () => made(0, (fields) => fields.set('user', '{"id":null}')), /no user/],
    ['a user whose id is 0', () => made(0, (fields) => fields.set('user', '{"id":0}')), /no user/],
    ['a bot', () => made(0, (fields) => fields.set('user', '{"id":7,"is_bot":true}')), /bot/],
    [
      'another bot’s key',
      () => telegramSigner('1234567890').initData(user, new Date(now_ms)),
      /signature|hash/,
    ],
    ['another bot', () => telegramSigner('9876543210').initData(user, new Date(now_ms)), /hash/],
    ['nothing', () => '', /hash/],
    ['nonsense', () => 'user', /hash/],
    ['nine thousand characters', () => `${made()}&x=${'x'.repeat(9000)}`, /long/],
  ])('with %s is refused', (_name, init_data, why) => {
    expect(refused(checkInitData(init_data(), check))).toMatch(why)
  })

  test('at the edges of its window is taken', () => {
    expect(refused(checkInitData(made(HOUR_MS), check))).toBe('taken')
    expect(refused(checkInitData(made(-60_000), check))).toBe('taken')
  })

  test.each(['', ':', '1234567890:', '1234567890:short', 'x:AAE-made_up_for_tests_0123456789ABCDEFG'])(
    'is never checked with %j for a bot token',
    (bot_token) => {
      expect(botIdOf(bot_token)).toBeUndefined()
      // What an attacker can sign himself when the secret is known to be empty.
      const forged = telegramSigner().initData(user, new Date(now_ms))
      expect(refused(checkInitData(forged, { ...check, bot_token }))).toMatch(/no bot token/)
      expect(refused(checkLoginWidget({ id: 1, auth_date: 1, hash: '' }, { ...check, bot_token }))).toMatch(
        /no bot token/,
      )
    },
  )

  test('whose hash is right and whose signature is another key’s is refused', () => {
    const other = telegramSigner()
    expect(refused(checkInitData(made(), { ...check, public_key: other.public_key }))).toMatch(/signature/)
    expect(refused(checkInitData(made(), { ...check, public_key: TELEGRAM_PUBLIC_KEY }))).toMatch(/signature/)
    expect(refused(checkInitData(made(), { ...check, public_key: 'none' }))).toMatch(/signature/)
  })
})

describe('A33: the Login Widget', () => {
  test('of the vectors is taken, and is checked with another key than initData', () => {
    expect(refused(checkLoginWidget(VECTORS.widget, base))).toBe('taken')
    const as_init_data = new URLSearchParams(VECTORS.widget).toString()
    expect(refused(checkInitData(as_init_data, base))).toMatch(/hash/)
  })

  test.each<[string, Record<string, string>]>([
    ['another id', { id: '777000112' }],
    ['a field more', { last_name: 'X' }],
    ['an empty field more', { last_name: '' }],
    ['another time', { auth_date: '1780000001' }],
    ['no hash', { hash: '' }],
  ])('with %s is refused', (_name, change) => {
    expect(refused(checkLoginWidget({ ...VECTORS.widget, ...change }, base))).toMatch(/hash/)
  })

  test('is refused when it is too old or from the future', () => {
    expect(
      refused(checkLoginWidget(VECTORS.widget, { ...base, now_ms: base.now_ms + HOUR_MS + 1000 })),
    ).toMatch(/old/)
    expect(refused(checkLoginWidget(VECTORS.widget, { ...base, now_ms: base.now_ms - 61_000 }))).toMatch(
      /future/,
    )
  })
})

function macOf(key: string | Buffer, text: string): string {
  return createHmac('sha256', key).update(text).digest('hex')
}

/** Every value of the known examples, each by what it proves. Throws when one is another. */
function checkTelegram(all: typeof VECTORS): void {
  const { bot_token, public_key, auth_date, init_data, init_data_without_signature } = all
  const check = { bot_token, public_key, window_ms: HOUR_MS, now_ms: 1_780_000_000_000 }
  for (const text of [init_data, init_data_without_signature]) {
    const verdict = checkInitData(text, check)
    assert.ok('person' in verdict)
    assert.equal(verdict.person.auth_date.getTime(), auth_date * 1000)
  }
  assert.equal(macOf('WebAppData', bot_token), all.secret_key_hex)
  const secret_key = Buffer.from(all.secret_key_hex, 'hex')
  assert.equal(macOf(secret_key, all.check_string), all.hash)
  assert.equal(macOf(secret_key, all.check_string_without_signature), all.hash_without_signature)
  assert.ok(init_data.endsWith(`&signature=${all.signature}&hash=${all.hash}`))
  assert.ok(init_data_without_signature.endsWith(`&hash=${all.hash_without_signature}`))
  assert.equal(botIdOf(bot_token), all.bot_id)
  assert.ok(all.signed_message.startsWith(`${all.bot_id}:WebAppData\n`))
  const der = Buffer.from(`302a300506032b6570032100${public_key}`, 'hex')
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' })
  assert.ok(verify(null, Buffer.from(all.signed_message), key, Buffer.from(all.signature, 'base64url')))
  assert.equal(all.public_keys.production, TELEGRAM_PUBLIC_KEY)
  // The test environment's key is an owner's setting: no code of ours holds it.
  assert.match(all.public_keys.test, /^[0-9a-f]{64}$/)
  assert.ok('person' in checkLoginWidget(all.widget, check))
  assert.equal(createHash('sha256').update(bot_token).digest('hex'), all.widget_secret_key_hex)
  const widget_key = Buffer.from(all.widget_secret_key_hex, 'hex')
  assert.equal(macOf(widget_key, all.widget_check_string), all.widget.hash)
}

test('every value of the known examples is noticed when it is another', async () => {
  expect(await unnoticed(VECTORS, checkTelegram)).toEqual([])
})
