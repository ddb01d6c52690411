import { randomBytes } from 'node:crypto'

/** A seedable source of randomness: the same seed gives the same sequence, on every machine. */
export interface Random {
  /** A number in `[0, 1)`. */
  next: () => number
  /** An integer in `[0, below)`. */
  integer: (below: number) => number
  /** `length` lower-case hexadecimal digits. */
  hex: (length: number) => string
  /** `length` characters out of `alphabet`. */
  string: (length: number, alphabet: string) => string
  /** In the form of a version 4 UUID. */
  uuid: () => string
}

/** A fresh seed in `[1, 2^32)`, from the operating system. */
export function newSeed(): number {
  return Math.max(1, randomBytes(4).readUInt32LE(0))
}

/**
 * Builds a generator (sfc32, 128 bits of state) from an integer seed and a label. Two labels of one seed
 * give independent sequences, so that drawing an id never changes the next fault.
 */
export function seededRandom(seed: number, label = ''): Random {
  let a = seed >>> 0
  let b = hashLabel(label)
  let c = 0x9e3779b9
  let counter = 1
  const draw = () => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return sum >>> 0
  }
  // The first draws of sfc32 still show the seed; a dozen rounds hide it.
  for (let round = 0; round < 12; round += 1) draw()
  const next = () => draw() / 4294967296
  const integer = (below: number) => Math.floor(next() * below)
  const string = (length: number, alphabet: string) => {
    let text = ''
    while (text.length < length) text += alphabet[integer(alphabet.length)]
    return text
  }
  const hex = (length: number) => string(length, '0123456789abcdef')
  const uuid = () => `${hex(8)}-${hex(4)}-4${hex(3)}-${string(1, '89ab')}${hex(3)}-${hex(12)}`
  return { next, integer, string, hex, uuid }
}

function hashLabel(label: string): number {
  let hash = 0x811c9dc5
  for (const character of label) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193)
  return hash >>> 0
}
