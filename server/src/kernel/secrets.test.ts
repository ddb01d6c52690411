import { randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  chmodSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import {
  addSecretKey,
  loadSecretKeys,
  parseSecretKeys,
  SecretKeysRefused,
  secretKeysFile,
} from './secret-keys.ts'
import { createSecretBox, SecretUnreadable } from './secrets.ts'

const k1 = { id: 'k1', key: randomBytes(32) }
const k2 = { id: 'k2', key: randomBytes(32) }
const box = createSecretBox({ keys: [k1] })
const folders: string[] = []

function folder(): string {
  const made = mkdtempSync(path.join(tmpdir(), 'kopilka-secrets-'))
  folders.push(made)
  return made
}

afterAll(() => {
  for (const made of folders) rmSync(made, { recursive: true })
})

describe('a secret box', () => {
  test('opens what it sealed, whatever is in it', () => {
    for (const secret of ['', 'a', 'ключ 🔑', 'x'.repeat(100_000), '{"secret_key":"live_1"}']) {
      expect(box.open(box.seal(secret, 'row/1'), 'row/1')).toBe(secret)
    }
  })

  test('nothing of the secret or the key is in the sealed text, and no two are alike', () => {
    const sealed = box.seal('live_abcdefgh', 'row/1')
    expect(sealed).not.toContain('live_')
    expect(sealed).not.toContain(Buffer.from('live_abcdefgh').toString('base64url').slice(0, 12))
    expect(box.seal('live_abcdefgh', 'row/1')).not.toBe(sealed)
  })

  test('A53: a sealed text moved to another row does not open there', () => {
    const sealed = box.seal('live_1', 'payments.gateway_settings/yookassa')
    expect(() => box.open(sealed, 'payments.gateway_settings/stripe')).toThrow(SecretUnreadable)
  })

  test('a data key moved between two sealed texts opens neither', () => {
    const [form, id, key_of_a] = box.seal('a', 'row/a').split('.')
    const content_of_b = box.seal('b', 'row/b').split('.')[3]
    for (const context of ['row/a', 'row/b']) {
      expect(() => box.open([form, id, key_of_a, content_of_b].join('.'), context)).toThrow(SecretUnreadable)
    }
  })

  test('every altered letter is noticed', () => {
    const sealed = box.seal('live_1', 'row/1')
    for (let at = 0; at < sealed.length; at++) {
      const letter = sealed[at] === 'A' ? 'B' : 'A'
      const altered = sealed.slice(0, at) + letter + sealed.slice(at + 1)
      // The last letter of a base64 part may differ in bits that carry nothing.
      const is_same_bytes = altered
        .split('.')
        .every((part, i) =>
          Buffer.from(part, 'base64url').equals(Buffer.from(sealed.split('.')[i] ?? '', 'base64url')),
        )
      if (is_same_bytes && altered.split('.')[1] === 'k1' && altered.startsWith('s1')) continue
      expect(() => box.open(altered, 'row/1'), `position ${at}`).toThrow(SecretUnreadable)
    }
  })

  test('nonsense is refused with a reason', () => {
    for (const text of ['', 'live_1', 's1.k1', 's1.k1.AA.AA', 's1.k1.AA.AA.AA', 's2.k1.AAAA.AAAA']) {
      expect(() => box.open(text, 'row/1')).toThrow(SecretUnreadable)
    }
  })

  test('after a rotation old texts open, new ones use the new key, and rewrap moves them', () => {
    const rotated = createSecretBox({ keys: [k2, k1] })
    const old = box.seal('live_1', 'row/1')
    expect(rotated.open(old, 'row/1')).toBe('live_1')
    expect(rotated.seal('x', 'row/1').split('.')[1]).toBe('k2')
    const moved = rotated.rewrap(old, 'row/1')
    expect(moved?.split('.')[1]).toBe('k2')
    expect(rotated.rewrap(moved ?? '', 'row/1')).toBeUndefined()
    const without_old = createSecretBox({ keys: [k2] })
    expect(without_old.open(moved ?? '', 'row/1')).toBe('live_1')
    expect(() => without_old.open(old, 'row/1')).toThrow(expect.objectContaining({ code: 'unknown_key' }))
  })

  test('rewrap needs the right row too', () => {
    const rotated = createSecretBox({ keys: [k2, k1] })
    expect(() => rotated.rewrap(box.seal('live_1', 'row/1'), 'row/2')).toThrow(SecretUnreadable)
  })

  test('derived keys differ by name and key, and stay the same', () => {
    expect(box.deriveKey('cursors')).toEqual(createSecretBox({ keys: [k1] }).deriveKey('cursors'))
    expect(box.deriveKey('cursors')).not.toEqual(box.deriveKey('sandbox'))
    expect(box.deriveKey('cursors')).toHaveLength(32)
    const rotated = createSecretBox({ keys: [k2, k1] })
    expect(rotated.deriveKeys('cursors')).toEqual([rotated.deriveKey('cursors'), box.deriveKey('cursors')])
  })
})

describe('the file of keys', () => {
  test('is made at the first start, for the owner alone, and read at the next', () => {
    const data_directory = path.join(folder(), 'not', 'there', 'yet')
    const made = loadSecretKeys({ data_directory })
    expect(made).toHaveLength(1)
    expect(statSync(secretKeysFile(data_directory)).mode & 0o777).toBe(0o600)
    expect(loadSecretKeys({ data_directory })).toEqual(made)
    expect(readdirSync(data_directory)).toEqual(['secrets.key'])
  })

  test('ten processes starting at once agree on one key', async () => {
    const data_directory = path.join(folder(), 'data')
    const module = JSON.stringify(path.join(import.meta.dirname, 'secret-keys.ts'))
    const program = `import { loadSecretKeys } from ${module}
      const keys = loadSecretKeys({ data_directory: ${JSON.stringify(data_directory)} })
      console.log(keys.map((entry) => entry.id).join())`
    const started = await Promise.all(
      Array.from({ length: 10 }, () =>
        promisify(execFile)(process.execPath, ['--input-type=module', '-e', program]),
      ),
    )
    expect(new Set(started.map(({ stdout }) => stdout)).size).toBe(1)
  }, 60_000)

  test('is refused when others may read it', () => {
    const data_directory = folder()
    loadSecretKeys({ data_directory })
    chmodSync(secretKeysFile(data_directory), 0o644)
    expect(() => loadSecretKeys({ data_directory })).toThrow('may be read by others')
  })

  test('gets a new key in front; the old one stays', () => {
    const data_directory = folder()
    const [old] = loadSecretKeys({ data_directory })
    const added = addSecretKey(data_directory)
    expect(loadSecretKeys({ data_directory }).map((entry) => entry.id)).toEqual([added, old?.id])
    expect(statSync(secretKeysFile(data_directory)).mode & 0o777).toBe(0o600)
  })

  test('is never replaced when it is damaged', () => {
    const data_directory = folder()
    writeFileSync(secretKeysFile(data_directory), 'k1:short\n', { mode: 0o600 })
    expect(() => loadSecretKeys({ data_directory })).toThrow('is not a key')
    expect(readFileSync(secretKeysFile(data_directory), 'utf8')).toBe('k1:short\n')
  })

  test('is not made when the keys come from the setting', () => {
    const data_directory = folder()
    const setting = `k2:${k2.key.toString('base64')}, k1:${k1.key.toString('base64url')}`
    expect(loadSecretKeys({ data_directory, setting })).toEqual([k2, k1])
    expect(existsSync(secretKeysFile(data_directory))).toBe(false)
  })

  test('refuses empty, malformed and doubled keys without showing them', () => {
    const good = `k1:${k1.key.toString('base64')}`
    for (const text of [
      '',
      '# only a comment',
      'k1',
      `k1:${randomBytes(31).toString('base64')}`,
      `${good},${good}`,
      `bad id:${good.slice(3)}`,
    ]) {
      expect(() => parseSecretKeys(text, 'the setting')).toThrow(SecretKeysRefused)
    }
    const outcome = (async () => parseSecretKeys(`k1:${good.slice(3)}x`, 'the setting'))()
    return expect(outcome).rejects.not.toMatchObject({ message: expect.stringContaining(good.slice(3, 20)) })
  })
})
