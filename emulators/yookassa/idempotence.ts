import { createHash } from 'node:crypto'
import { createStore } from '../kit/store.ts'
import { invalidRequest } from './errors.ts'

/** The vendor's own range: everything printable from `+` to `_`, digits and Latin letters. */
const KEY = /^[0-9a-zA-Z+-_.]{1,64}$/
const LIFETIME_MS = 24 * 3_600_000

interface Answer {
  fingerprint: string
  body: unknown
  expires_at: number
}

/** Remembers answers by `Idempotence-Key` for 24 hours of the emulator's clock. */
export interface Idempotence {
  /**
   * Performs once: the same key with the same request gives the first answer again. Only what was performed
   * is remembered, a refused request is not. Throws VendorError 400 for a missing, malformed or reused key.
   */
  once: (input: IdempotentRequest, perform: () => unknown) => unknown
  clear: () => void
}

export interface IdempotentRequest {
  key: string | string[] | undefined
  method: string
  path: string
  body: unknown
  now: Date
}

/** Builds an empty memory of at most 100 000 answers. */
export function createIdempotence(): Idempotence {
  const answers = createStore<Answer>(100_000)
  return {
    once(input, perform) {
      const key = checkKey(input.key)
      const fingerprint = fingerprintOf(input)
      const known = answers.get(key)
      if (known && known.expires_at > input.now.getTime()) {
        if (known.fingerprint === fingerprint) return known.body
        throw invalidRequest('Idempotence key duplicated', 'Idempotence-Key')
      }
      const body = structuredClone(perform())
      answers.add(key, { fingerprint, body, expires_at: input.now.getTime() + LIFETIME_MS })
      return body
    },
    clear: () => answers.clear(),
  }
}

function checkKey(key: string | string[] | undefined): string {
  if (typeof key !== 'string' || key === '') {
    throw invalidRequest('Idempotence key is missing', 'Idempotence-Key')
  }
  if (key.length > 64) throw invalidRequest('Idempotence key is longer than 64', 'Idempotence-Key')
  if (!KEY.test(key)) throw invalidRequest('Idempotence key has an illegal character', 'Idempotence-Key')
  return key
}

function fingerprintOf(input: IdempotentRequest): string {
  const text = `${input.method} ${input.path}\n${JSON.stringify(input.body ?? null)}`
  return createHash('sha256').update(text).digest('base64')
}
