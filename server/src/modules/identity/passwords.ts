import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { hash, verify } from '@node-rs/argon2'
import { OperationalError } from '#kernel/errors'
import { WeakPassword } from './people-errors.ts'

/** argon2id's work: memory in KiB, passes over it. One lane. */
export interface PasswordCost {
  memory_kib: number
  passes: number
}

/** Says whether a password is known from a breach, e.g. by a list of the owner's. */
export type BreachedList = (password: string) => boolean | Promise<boolean>

/** Hashes and checks passwords, a bounded number at a time. */
export interface Passwords {
  /** Throws OperationalError `overloaded` when too many wait. */
  hash(password: string): Promise<string>
  /**
   * Whether the password belongs to the hash. Without a hash the same work is done and the answer is false,
   * so that nobody can time whether a user exists. Throws OperationalError `overloaded` when too many wait.
   */
  verify(password: string, password_hash: string | null | undefined): Promise<boolean>
  /** Whether a hash was made at another cost than today's and should be made again. */
  isOutdated(password_hash: string): boolean
  /** Throws {@link WeakPassword}. `about` holds what an attacker would try first: the address, the name. */
  check(password: string, about?: readonly (string | null | undefined)[]): Promise<void>
}

export interface PasswordOptions {
  /** Default: 19 MiB and two passes, OWASP's first choice for argon2id. */
  cost?: PasswordCost
  /** Hashes at once; default: half of the processors, at most 2 of libuv's 4 threads. */
  concurrency?: number
  /** How many may wait before callers are turned away; default 64, about two seconds of work. */
  waiting_max?: number
  isBreached?: BreachedList
}

export const PASSWORD_MIN = 8
/** Enough for any phrase; bounds the work of a hostile caller. */
export const PASSWORD_MAX = 256
/** OWASP's cheat sheet on password storage. */
const COST: PasswordCost = { memory_kib: 19_456, passes: 2 }
/** `Algorithm.Argon2id`: the package's own const enum is erased with the types. */
const ARGON2ID = 2

/** Makes the one hasher of a process. */
export function createPasswords(options: PasswordOptions = {}): Passwords {
  const { cost = COST, isBreached = () => false } = options
  const settings = { algorithm: ARGON2ID, memoryCost: cost.memory_kib, timeCost: cost.passes, parallelism: 1 }
  const inTurn = createTurns(
    options.concurrency ?? Math.max(1, Math.min(2, Math.floor(availableParallelism() / 2))),
    options.waiting_max ?? 64,
  )
  const makeHash = (password: string): Promise<string> => hash(normal(password), settings)
  // What the passwords of users who do not exist are compared with.
  const nobody = makeHash(randomBytes(24).toString('base64url'))
  return {
    hash: (password) => inTurn(() => makeHash(password)),
    verify: (password, password_hash) =>
      inTurn(async () => {
        const fallback = await nobody
        const is_right = await verify(password_hash ?? fallback, normal(password))
        return is_right && typeof password_hash === 'string'
      }),
    isOutdated: (password_hash) =>
      !password_hash.startsWith(`$argon2id$v=19$m=${cost.memory_kib},t=${cost.passes},p=1$`),
    check: async (password, about = []) => {
      const fault = faultOf(password, about)
      if (fault !== undefined) throw new WeakPassword(fault)
      if (await isBreached(normal(password))) {
        throw new WeakPassword(
          'This password is known from a breach of some site; attackers try those first.',
        )
      }
    },
  }
}

/** The same characters typed on different systems are the same password. */
function normal(password: string): string {
  return password.normalize('NFKC')
}

function faultOf(password: string, about: readonly (string | null | undefined)[]): string | undefined {
  const length = [...password].length
  if (length < PASSWORD_MIN) return `A password has at least ${PASSWORD_MIN} characters.`
  if (password.length > PASSWORD_MAX) return `A password has at most ${PASSWORD_MAX} characters.`
  const plain = normal(password).toLowerCase()
  if (new Set(plain).size < 4) return 'A password has more than three different characters.'
  const core = plain.replaceAll(/[^\p{L}]+/gu, '')
  if (COMMON.has(plain) || (core.length >= 5 && core.length + 4 >= plain.length && COMMON.has(core))) {
    return 'This password is one of those that attackers try first.'
  }
  const known = about.flatMap((text) =>
    text ? [text.toLowerCase(), text.toLowerCase().split('@')[0] ?? ''] : [],
  )
  if (
    known.some((text) => text.length >= 4 && plain.replaceAll(/\d+$/g, '') === text.replaceAll(/\d+$/g, ''))
  ) {
    return 'A password is not the e-mail address or the name.'
  }
  return undefined
}

/** The most common ones of at least eight characters, and words that digits are added to. */
const COMMON: ReadonlySet<string> = new Set(
  `12345678 123456789 1234567890 0123456789 87654321 987654321 0987654321 11223344 1122334455 12341234
  123123123 12344321 147258369 789456123 123321123 password passw0rd p@ssw0rd p@ssword qwerty qwertyuiop
  qwertyui qwerty123 1q2w3e4r 1q2w3e4r5t q1w2e3r4 q1w2e3r4t5 1qaz2wsx 1qaz2wsx3edc zaq12wsx qazwsxedc
  qazwsx asdfghjk asdfghjkl asdfgh zxcvbnm zxcvbnm1 abcd1234 abc12345 abcdefgh abcdefghi a1b2c3d4 aa123456
  admin administrator adminadmin welcome letmein iloveyou sunshine princess football baseball superman
  batman dragon monkey shadow master michael charlie trustno1 whatever computer internet starwars pokemon
  samsung google login secret changeme default guest test1234 testtest user1234 root1234 kopilka пароль
  йцукен йцукенгш йцукенгшщ йцукенгшщз йцукенг фывапролд ячсмить любовь привет наташа максим марина
  солнышко qwe123qwe qweasdzxc
  qweqweqwe asdasdasd zxczxczxc marina natasha parol privet lubov`
    .split(/\s+/)
    .filter((word) => word !== ''),
)

/** At most `width` run, at most `waiting_max` wait, in order. */
function createTurns(width: number, waiting_max: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = []
  let running = 0
  return async (work) => {
    if (running >= width) {
      if (waiting.length >= waiting_max) {
        throw new OperationalError('overloaded', 'Too many people sign in just now.', {
          retry_after_seconds: 2,
        })
      }
      await new Promise<void>((resolve) => waiting.push(resolve))
    } else running++
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      // The turn is handed over, so that nobody can step in between.
      if (next) next()
      else running--
    }
  }
}
