import { createHmac, randomBytes } from 'node:crypto'
import { sameBytes } from '@kopilka/extension'

/**
 * One-time passwords by time, RFC 6238: HMAC-SHA-1, 30 seconds, six digits; what every authenticator app
 * takes.
 */

const STEP_MS = 30_000
/** A phone's clock may be half a minute off either way. */
const DRIFT_STEPS = 1
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** 160 random bits, as RFC 4226 recommends, in Base32. */
export function newTotpSecret(): string {
  return encodeBase32(randomBytes(20))
}

/** The address behind the QR code that apps read. */
export function totpUri(secret: string, account: string, issuer: string): string {
  const label = `${encodeURIComponent(issuer)}:${encodeURIComponent(account)}`
  const form = `issuer=${encodeURIComponent(issuer)}&algorithm=SHA1&digits=6&period=30`
  return `otpauth://totp/${label}?secret=${secret}&${form}`
}

/** The code of a step: the number of 30 seconds since 1970. */
export function totpCode(secret: string, step: number): string {
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(step))
  const mac = createHmac('sha1', decodeBase32(secret)).update(counter).digest()
  const offset = (mac.at(-1) ?? 0) & 15
  return String((mac.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, '0')
}

export function totpStep(now_ms: number): number {
  return Math.floor(now_ms / STEP_MS)
}

/**
 * The step whose code this is, of those around now that come after `last_step`; `undefined` when there is
 * none. The caller keeps the step, so that no code is taken twice.
 */
export function matchTotp(
  secret: string,
  code: string,
  now_ms: number,
  last_step: number,
): number | undefined {
  const now_step = totpStep(now_ms)
  for (let step = now_step - DRIFT_STEPS; step <= now_step + DRIFT_STEPS; step++) {
    if (step > last_step && sameBytes(totpCode(secret, step), code)) return step
  }
  return undefined
}

function encodeBase32(bytes: Buffer): string {
  let text = ''
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += ALPHABET.charAt((value >> bits) & 31)
    }
  }
  return bits > 0 ? text + ALPHABET.charAt((value << (5 - bits)) & 31) : text
}

function decodeBase32(text: string): Buffer {
  const bytes: number[] = []
  let bits = 0
  let value = 0
  for (const letter of text) {
    value = ((value << 5) | ALPHABET.indexOf(letter)) & 0xffff
    bits += 5
    if (bits >= 8) {
      bits -= 8
      bytes.push((value >> bits) & 255)
    }
  }
  return Buffer.from(bytes)
}
