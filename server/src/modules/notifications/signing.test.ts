import { Webhook } from 'standardwebhooks'
import { describe, expect, test } from 'vitest'
import { isSecret, newSecret, signedHeaders } from './signing.ts'

const body = JSON.stringify({ id: 'evt_1', type: 'payment.succeeded', data: { name: 'Ёлка 🎄' } })
const message = (secrets: readonly string[], sent_at_ms = Date.now()) =>
  signedHeaders({ id: 'evt_1', body, sent_at_ms, secrets })

describe('a signature', () => {
  test('is accepted by the reference library', () => {
    const secret = newSecret()
    expect(new Webhook(secret).verify(body, message([secret]))).toEqual(JSON.parse(body))
  })

  test('is what the reference library writes', () => {
    for (let n = 0; n < 20; n++) {
      const secret = newSecret()
      const at = new Date(1_700_000_000_999 + n)
      expect(message([secret], at.getTime())['webhook-signature']).toBe(
        new Webhook(secret).sign('evt_1', at, body),
      )
    }
  })

  test('of two secrets is accepted with either, and with no third', () => {
    const [fresh, old, other] = [newSecret(), newSecret(), newSecret()]
    const headers = message([fresh, old])
    expect(new Webhook(fresh).verify(body, headers)).toBeTruthy()
    expect(new Webhook(old).verify(body, headers)).toBeTruthy()
    expect(() => new Webhook(other).verify(body, headers)).toThrow()
  })

  test('fits no other body, id or moment', () => {
    const secret = newSecret()
    const headers = message([secret])
    const webhook = new Webhook(secret)
    expect(() => webhook.verify(`${body} `, headers)).toThrow()
    expect(() => webhook.verify(body, { ...headers, 'webhook-id': 'evt_2' })).toThrow()
    const later = String(Number(headers['webhook-timestamp']) + 1)
    expect(() => webhook.verify(body, { ...headers, 'webhook-timestamp': later })).toThrow()
    expect(() => webhook.verify(body, message([secret], Date.now() - 400_000))).toThrow()
  })
})

test('a secret is whsec_ and the base64 of 24 to 64 bytes, and nothing else', () => {
  const of = (bytes: number): string => `whsec_${Buffer.alloc(bytes, 200).toString('base64')}`
  for (const good of [newSecret(), of(24), of(25), of(32), of(64)])
    expect([good, isSecret(good)]).toEqual([good, true])
  const bad = [
    '',
    'whsec_',
    of(23),
    of(65),
    of(32).slice(6),
    of(32).replace('whsec_', 'sk_'),
    `${of(32)}=`,
    ` ${of(32)}`,
    of(32).replace('=', ''),
    of(32).replaceAll('y', '-'),
    `${of(32)}\n`,
  ]
  for (const text of bad) expect([text, isSecret(text)]).toEqual([text, false])
  expect(newSecret()).not.toBe(newSecret())
})
