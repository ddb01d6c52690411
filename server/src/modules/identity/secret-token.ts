import { hash, randomBytes } from 'node:crypto'

/** A secret that was just made; only its digest is kept. */
export interface SecretToken {
  token: string
  digest: Buffer
}

/** 256 random bits behind a word that says what the token is for: `pwr_…`. */
export function newToken(word: string): SecretToken {
  const token = `${word}_${randomBytes(32).toString('base64url')}`
  return { token, digest: digestOf(token) }
}

/** SHA-256. The tokens have enough random bits that a plain digest needs no salt and no slow hash. */
export function digestOf(text: string): Buffer {
  return hash('sha256', text, 'buffer')
}
