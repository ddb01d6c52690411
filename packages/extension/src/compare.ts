import { timingSafeEqual } from 'node:crypto'

/**
 * Compares two secrets, signatures or digests in constant time.
 * Different lengths are unequal at once: a length is not a secret.
 */
export function sameBytes(left: string | Uint8Array, right: string | Uint8Array): boolean {
  const a = typeof left === 'string' ? Buffer.from(left, 'utf8') : left
  const b = typeof right === 'string' ? Buffer.from(right, 'utf8') : right
  return a.length === b.length && timingSafeEqual(a, b)
}
