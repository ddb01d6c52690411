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
  for (const letter of id.slice(start, start + 10)) milliseconds = milliseconds * 32 + ALPHABET.indexOf(letter)
  const time = new Date(milliseconds)
  return Number.isNaN(time.getTime()) ? undefined : time
}
