import { hash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'

/** Which books a key opens: play money or real. */
export type KeyMode = 'sandbox' | 'live'

/** A secret as it was just made. Nobody can read it again: only `digest` and `hint` are kept. */
export interface NewSecret {
  secret: string
  digest: Buffer
  /** Enough to tell keys apart by, too little to guess one from. */
  hint: string
}

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
/** 190 random bits: a plain digest needs no salt and no slow hash. */
const RANDOM_LENGTH = 32
/** 62^6 is more than 2^32. */
const CHECKSUM_LENGTH = 6
const WORDS: Readonly<Record<KeyMode, string>> = { sandbox: 'test', live: 'live' }
const FORM = /^sk_(test|live)_[0-9A-Za-z]{38}$/

/** Makes a secret key: `sk_test_…` or `sk_live_…`, 32 random letters and a checksum of 6. */
export function makeSecretKey(mode: KeyMode): NewSecret {
  const body = `sk_${WORDS[mode]}_${randomLetters(RANDOM_LENGTH)}`
  const secret = body + checksum(body)
  return { secret, digest: digestSecret(secret), hint: `${secret.slice(0, 12)}…${secret.slice(-4)}` }
}

/**
 * The mode of a text that can be a secret key; `undefined` when it was mistyped, cut or made up without
 * knowing the checksum. Spares the database a look, and proves nothing.
 */
export function readSecretKey(text: string): KeyMode | undefined {
  const word = FORM.exec(text)?.[1]
  if (word === undefined || checksum(text.slice(0, -CHECKSUM_LENGTH)) !== text.slice(-CHECKSUM_LENGTH))
    return undefined
  return word === WORDS.live ? 'live' : 'sandbox'
}

/** Makes the token of a set-up link. */
export function makeSetupToken(): { token: string; digest: Buffer } {
  const token = `setup_${randomLetters(RANDOM_LENGTH)}`
  return { token, digest: digestSecret(token) }
}

/** SHA-256: what is kept of a secret. */
export function digestSecret(secret: string): Buffer {
  return hash('sha256', secret, 'buffer')
}

function checksum(text: string): string {
  let rest = crc32(text)
  let letters = ''
  for (let i = 0; i < CHECKSUM_LENGTH; i++) {
    letters = ALPHABET.charAt(rest % ALPHABET.length) + letters
    rest = Math.floor(rest / ALPHABET.length)
  }
  return letters
}

function randomLetters(length: number): string {
  let letters = ''
  while (letters.length < length) {
    for (const byte of randomBytes(length)) {
      // Four times the alphabet is 248: larger bytes would make the first letters likelier.
      if (byte < 248 && letters.length < length) letters += ALPHABET.charAt(byte % ALPHABET.length)
    }
  }
  return letters
}
