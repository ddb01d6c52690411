import { createHash } from 'node:crypto'

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
const ID = /^[a-z]{2,8}_[0-9a-hjkmnp-tv-z]{26}$/

/**
 * When an id of ours was made: its first ten letters are milliseconds since 1970.
 * Lets a gateway search the vendor's list around that moment. `undefined` for a text of another form.
 */
export function idTime(id: string): Date | undefined {
  if (!ID.test(id)) return undefined
  let milliseconds = 0
  const start = id.indexOf('_') + 1
  for (const letter of id.slice(start, start + 10))
    milliseconds = milliseconds * 32 + ALPHABET.indexOf(letter)
  return new Date(milliseconds)
}

/**
 * An idempotency key for a vendor, made of our words: the same words always give the same key.
 * Longer than `characters_max`, or with a character vendors refuse, it is a digest instead.
 */
export function vendorKey(words: readonly string[], characters_max: number): string {
  const key = words.join('.')
  if (key.length <= characters_max && /^[0-9A-Za-z_.-]+$/.test(key)) return key
  return createHash('sha256').update(JSON.stringify(words)).digest('hex').slice(0, characters_max)
}
