import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { digestSecret, makeSecretKey, makeSetupToken, readSecretKey } from './secret-key.ts'

test('a key says whose books it opens and reads back as that', () => {
  for (const [mode, beginning] of [
    ['sandbox', 'sk_test_'],
    ['live', 'sk_live_'],
  ] as const) {
    const { secret } = makeSecretKey(mode)
    expect(secret).toMatch(/^sk_(test|live)_[0-9A-Za-z]{38}$/)
    expect(secret.startsWith(beginning)).toBe(true)
    expect(readSecretKey(secret)).toBe(mode)
  }
})

test('any letter that was mistyped, lost or added is noticed', () => {
  const { secret } = makeSecretKey('live')
  for (let at = 0; at < secret.length; at++) {
    const other = secret.charAt(at) === 'x' ? 'y' : 'x'
    expect([at, readSecretKey(secret.slice(0, at) + other + secret.slice(at + 1))]).toEqual([at, undefined])
    expect([at, readSecretKey(secret.slice(0, at) + secret.slice(at + 1))]).toEqual([at, undefined])
  }
  for (const text of [
    `${secret} `,
    ` ${secret}`,
    `${secret}\n`,
    secret.replace('live', 'test'),
    secret.toLowerCase(),
    '',
    'sk_live_',
    'x'.repeat(10_000),
  ]) {
    expect(readSecretKey(text)).toBeUndefined()
  }
})

test('what is kept is the SHA-256, and the hint gives little away', () => {
  const { secret, digest, hint } = makeSecretKey('sandbox')
  expect(digest).toEqual(createHash('sha256').update(secret).digest())
  expect(digestSecret(secret)).toEqual(digest)
  expect(hint).toBe(`${secret.slice(0, 12)}…${secret.slice(-4)}`)
})

test('ten thousand keys differ, and every letter comes up about equally often', () => {
  const secrets = Array.from({ length: 10_000 }, () => makeSecretKey('live').secret)
  expect(new Set(secrets).size).toBe(10_000)
  const counts = new Map<string, number>()
  for (const secret of secrets)
    for (const letter of secret.slice(8, 40)) counts.set(letter, (counts.get(letter) ?? 0) + 1)
  const expected = (10_000 * 32) / 62
  expect(counts.size).toBe(62)
  // Six standard deviations: a fair alphabet fails this less than once in a million runs.
  for (const [letter, count] of counts)
    expect([letter, Math.abs(count - expected) < 6 * Math.sqrt(expected)]).toEqual([letter, true])
})

test('a set-up token is no key', () => {
  const { token, digest } = makeSetupToken()
  expect(token).toMatch(/^setup_[0-9A-Za-z]{32}$/)
  expect(digest).toEqual(digestSecret(token))
  expect(readSecretKey(token)).toBeUndefined()
})
