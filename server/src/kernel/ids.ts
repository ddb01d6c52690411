import { randomFillSync } from 'node:crypto'

/**
 * Crockford's alphabet, lower case: sorts like the number it writes, has no letter that looks like a digit.
 */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
const VALUES = new Map(ALPHABET.split('').map((letter, index) => [letter, BigInt(index)]))

const pool = Buffer.alloc(8192)
let pool_at = pool.length
/** The last id of one clock: a process may go by several, its own, the database's and a test's. */
interface Lane {
  ms: number
  random: bigint
}
const lanes: Lane[] = []
const LANES_MAX = 8
/** Two moments nearer than this are of one clock, whose ids ascend even when it steps back a little. */
const ONE_CLOCK_MS = 3_600_000

/** Every prefix an id of ours may have. One word per kind of thing. */
export type IdPrefix =
  | 'usr'
  | 'cus'
  | 'org'
  | 'mem'
  | 'inv'
  | 'ses'
  | 'key'
  | 'role'
  | 'aud'
  | 'idn'
  | 'gr'
  | 'tr'
  | 'hold'
  | 'merge'
  | 'prod'
  | 'pver'
  | 'price'
  | 'ord'
  | 'line'
  | 'pay'
  | 're'
  | 'dis'
  | 'pm'
  | 'rcpt'
  | 'in'
  | 'ful'
  | 'vsub'
  | 'sub'
  | 'mev'
  | 'meter'
  | 'card'
  | 'req'
  | 'evt'
  | 'whe'
  | 'del'
  | 'rec'
  | 'diff'
  | 'appr'

/**
 * A new id: prefix, 48 bits of milliseconds, 80 random bits; 26 letters that sort by time.
 * Ids made in one process in one millisecond ascend too.
 */
export function newId(prefix: IdPrefix, now_ms = Date.now()): string {
  let lane = lanes.find(({ ms }) => Math.abs(ms - now_ms) < ONE_CLOCK_MS)
  if (lane && now_ms <= lane.ms) {
    lane.random += 1n
  } else if (lane) {
    lane.ms = now_ms
    lane.random = random80()
  } else {
    lane = { ms: now_ms, random: random80() }
    lanes.unshift(lane)
    lanes.length = Math.min(lanes.length, LANES_MAX)
  }
  return `${prefix}_${encode((BigInt(lane.ms) << 80n) | (lane.random & ((1n << 80n) - 1n)), 26)}`
}

/** True when the text has the form of an id with this prefix. Says nothing about existence. */
export function isId(prefix: IdPrefix, text: string): boolean {
  return new RegExp(`^${prefix}_[0-9a-hjkmnp-tv-z]{26}$`).test(text)
}

/**
 * Writes two database numbers as one id, e.g. a transfer: wallet and sequence. No index is needed to find it.
 */
export function pairId(prefix: IdPrefix, high: bigint, low: bigint): string {
  return `${prefix}_${encode((BigInt.asUintN(64, high) << 64n) | BigInt.asUintN(64, low), 26)}`
}

/** Reads what {@link pairId} wrote; `undefined` when the text is not such an id. */
export function readPairId(prefix: IdPrefix, text: string): { high: bigint; low: bigint } | undefined {
  if (!isId(prefix, text)) return undefined
  let value = 0n
  for (const letter of text.slice(prefix.length + 1)) value = (value << 5n) | (VALUES.get(letter) ?? 0n)
  const high = value >> 64n
  const low = value & ((1n << 64n) - 1n)
  if (high >= 1n << 63n || low >= 1n << 63n) return undefined
  return { high, low }
}

function encode(value: bigint, length: number): string {
  let text = ''
  let high = value >> 60n
  let low = value & ((1n << 60n) - 1n)
  while (text.length < length) {
    // Twelve letters at a time in ordinary numbers would lose bits over 2^53; six letters are 30 bits.
    let chunk = Number(low & 0x3fffffffn)
    for (let i = 0; i < 6 && text.length < length; i++) {
      text = ALPHABET.charAt(chunk & 31) + text
      chunk >>>= 5
    }
    low = (low >> 30n) | ((high & 0x3fffffffn) << 30n)
    high >>= 30n
  }
  return text
}

function random80(): bigint {
  if (pool_at + 10 > pool.length) {
    randomFillSync(pool)
    pool_at = 0
  }
  const high = pool.readUInt32BE(pool_at)
  const middle = pool.readUInt32BE(pool_at + 4)
  const low = pool.readUInt16BE(pool_at + 8)
  pool_at += 10
  // The top bit is left free so that counting up within a millisecond cannot overflow.
  return ((BigInt(high) << 48n) | (BigInt(middle) << 16n) | BigInt(low)) & ((1n << 79n) - 1n)
}
