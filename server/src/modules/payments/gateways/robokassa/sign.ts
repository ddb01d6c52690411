import { createHash, createHmac, createPublicKey, verify } from 'node:crypto'
import { sameBytes } from '@kopilka/extension'
import type { Hash } from './config.ts'

/** Names start with `Shp_`; names and values are lower-case ASCII, so every way of sorting agrees. */
export type ShpFields = Readonly<Record<string, string>>

/**
 * The vendor's signature: parts joined by colons, absent ones left out (an empty string keeps its place), the
 * password last, then the shop's own fields sorted by name. Lower-case hexadecimal.
 */
export function signatureOf(
  hash: Hash,
  parts: readonly (string | undefined)[],
  secret: string,
  shp: ShpFields = {},
): string {
  const own = Object.entries(shp)
    .map(([name, value]) => `${name}=${value}`)
    .toSorted()
  const base = [...parts.filter((part) => part !== undefined), secret, ...own].join(':')
  return createHash(hash).update(base, 'utf8').digest('hex')
}

/** Either case of hexadecimal digits is the vendor's; the comparison takes constant time. */
export function isSignature(given: string, expected: string): boolean {
  return sameBytes(given.toLowerCase(), expected)
}

const JWT_HASHES = { MD5: 'md5', HS256: 'sha256', HS384: 'sha384', HS512: 'sha512' } as const

/** A compact JWT with the header as given: libraries refuse the vendor's algorithm `MD5`. */
export function signJwt(
  header: { alg: keyof typeof JWT_HASHES; typ: 'JWT' },
  payload: object,
  key: string,
): string {
  const head = `${base64url(JSON.stringify(header))}.${base64url(JSON.stringify(payload))}`
  return `${head}.${createHmac(JWT_HASHES[header.alg], key).update(head).digest('base64url')}`
}

/** The body of a second receipt: the JSON in base64url, and the encoded digest of it with Password #1. */
export function signReceipt(hash: Hash, payload: object, password1: string): string {
  const head = base64url(JSON.stringify(payload))
  return `${head}.${base64url(
    createHash(hash)
      .update(head + password1)
      .digest('hex'),
  )}`
}

const JWS_HASHES = new Map<unknown, string>([
  ['RS256', 'sha256'],
  ['RS384', 'sha384'],
  ['RS512', 'sha512'],
])

/** The payload of a compact JWS signed by this RSA key; `undefined` for every other text. */
export function openJws(jws: string, certificate: string): unknown {
  const [head = '', body = '', signature = '', ...rest] = jws.split('.')
  if (rest.length > 0 || ![head, body, signature].every((part) => /^[\w-]+$/.test(part))) return undefined
  const bytes = Buffer.from(signature, 'base64url')
  // The last letter of base64 has spare bits: only one spelling of a signature is taken.
  if (bytes.toString('base64url') !== signature) return undefined
  const header = readJson(head)
  const hash = typeof header === 'object' && header !== null && 'alg' in header && JWS_HASHES.get(header.alg)
  if (typeof hash !== 'string') return undefined
  const key = createPublicKey(certificate)
  return verify(hash, Buffer.from(`${head}.${body}`), key, bytes) ? readJson(body) : undefined
}

function readJson(part: string): unknown {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
  } catch {
    return undefined
  }
}

function base64url(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64url')
}
