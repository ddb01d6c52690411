import { createHash, createHmac, createPublicKey, type KeyObject, verify } from 'node:crypto'
import { sameBytes } from '@kopilka/extension'

/** What Telegram vouches for: who opened the Mini App or used the Login Widget, and when. */
export interface TelegramPerson {
  /** Digits. */
  id: string
  first_name: string
  last_name: string | null
  username: string | null
  language_code: string | null
  photo_url: string | null
  auth_date: Date
  /** What the Mini App was opened with. */
  start_param: string | null
}

/** A refusal is a value; `refused` is for logs and people, not secret. */
export type TelegramVerdict = { person: TelegramPerson } | { refused: string }

export interface TelegramCheck {
  bot_token: string
  /** Raw Ed25519 key in hex that Telegram signs with. */
  public_key: string
  /** How old the proof may be. */
  window_ms: number
  now_ms: number
}

/** Clocks differ; a proof from further ahead is made up. */
const FUTURE_MS = 60_000
/** A bot token is 35 letters behind the bot's id; an empty or cut one would make every forgery right. */
const BOT_TOKEN = /^(\d{3,20}):[\w-]{20,100}$/
const LENGTH_MAX = 8_192
const FIELDS_MAX = 40
/** The DER head of an Ed25519 public key. */
const SPKI_HEAD = '302a300506032b6570032100'

/** Production key of Telegram's third-party signatures. */
export const TELEGRAM_PUBLIC_KEY = 'e7bf03a2fa4602af4580703d88dda5bb59f32ed8b02a56c187fe7d34caed242d'

/** The bot's id in its token; `undefined` for what can be no token. */
export function botIdOf(bot_token: string): string | undefined {
  return BOT_TOKEN.exec(bot_token)?.[1]
}

/**
 * Checks a Mini App's `initData`: the HMAC by the bot's token always, and Telegram's own signature when there
 * is one. Old clients send none. Both cover the values as they were received.
 */
export function checkInitData(init_data: string, check: TelegramCheck): TelegramVerdict {
  const bot_id = botIdOf(check.bot_token)
  if (bot_id === undefined) return { refused: 'there is no bot token to check with' }
  if (init_data.length > LENGTH_MAX) return { refused: 'too long' }
  const fields = readFields([...new URLSearchParams(init_data)])
  if (fields === undefined) return { refused: 'a field is given twice' }
  const { hash = '', signature } = Object.fromEntries(fields)
  // The constant is the key and the token the message, not the other way round.
  const secret_key = createHmac('sha256', 'WebAppData').update(check.bot_token).digest()
  if (!isMac(secret_key, checkString(fields, ['hash']), hash)) return { refused: 'the hash is wrong' }
  if (signature !== undefined) {
    const message = `${bot_id}:WebAppData\n${checkString(fields, ['hash', 'signature'])}`
    if (!isSigned(message, signature, check.public_key)) return { refused: 'the signature is wrong' }
  }
  return judge(fields, readUser(fields.get('user')), check)
}

/** Checks what the Login Widget hands over. Its key is the plain digest of the token. */
export function checkLoginWidget(
  data: Readonly<Record<string, string | number>>,
  check: TelegramCheck,
): TelegramVerdict {
  if (botIdOf(check.bot_token) === undefined) return { refused: 'there is no bot token to check with' }
  const fields = readFields(Object.entries(data).map(([name, value]) => [name, String(value)]))
  if (fields === undefined) return { refused: 'a field is given twice' }
  const secret_key = createHash('sha256').update(check.bot_token).digest()
  if (!isMac(secret_key, checkString(fields, ['hash']), fields.get('hash') ?? '')) {
    return { refused: 'the hash is wrong' }
  }
  const { id, first_name, last_name, username, photo_url } = Object.fromEntries(fields)
  return judge(fields, { id, first_name, last_name, username, photo_url }, check)
}

/** The fields in order, or nothing when one is given twice: which of the two was signed? */
function readFields(entries: readonly (readonly [string, string])[]): Map<string, string> | undefined {
  const fields = new Map(entries)
  return fields.size === entries.length && fields.size <= FIELDS_MAX ? fields : undefined
}

function checkString(fields: ReadonlyMap<string, string>, without: readonly string[]): string {
  return [...fields]
    .filter(([name]) => !without.includes(name))
    .map(([name, value]) => `${name}=${value}`)
    .toSorted((a, b) => (a < b ? -1 : 1))
    .join('\n')
}

function isMac(key: Buffer, text: string, mac: string): boolean {
  return sameBytes(createHmac('sha256', key).update(text).digest('hex'), mac)
}

function isSigned(message: string, signature: string, public_key: string): boolean {
  if (!/^[\w-]{86}$/.test(signature) || !/^[0-9a-f]{64}$/.test(public_key)) return false
  return verify(null, Buffer.from(message), keyOf(public_key), Buffer.from(signature, 'base64url'))
}

const keys = new Map<string, KeyObject>()

function keyOf(hex: string): KeyObject {
  const known = keys.get(hex)
  if (known) return known
  const key = createPublicKey({ key: Buffer.from(SPKI_HEAD + hex, 'hex'), format: 'der', type: 'spki' })
  keys.set(hex, key)
  return key
}

/** What Telegram says of a person, before it is looked at. */
type RawUser = Readonly<Record<string, unknown>>

function readUser(text: string | undefined): RawUser | undefined {
  if (text === undefined) return undefined
  try {
    const user: unknown = JSON.parse(text)
    return typeof user === 'object' && user !== null ? (user as RawUser) : undefined
  } catch {
    // Signed, so it came from Telegram; whatever it is, it names nobody.
    return undefined
  }
}

function judge(
  fields: ReadonlyMap<string, string>,
  user: RawUser | undefined,
  { window_ms, now_ms }: { window_ms: number; now_ms: number },
): TelegramVerdict {
  const seconds = fields.get('auth_date') ?? ''
  if (!/^\d{1,11}$/.test(seconds)) return { refused: 'there is no auth_date' }
  const auth_date = new Date(Number.parseInt(seconds, 10) * 1000)
  const age_ms = now_ms - auth_date.getTime()
  if (age_ms > window_ms) return { refused: 'too old' }
  if (age_ms < -FUTURE_MS) return { refused: 'from the future' }
  const id = String(user?.['id'] ?? '')
  if (user === undefined || !/^[1-9]\d{0,15}$/.test(id)) return { refused: 'it names no user' }
  if (user['is_bot'] === true) return { refused: 'it names a bot' }
  return {
    person: {
      id,
      first_name: textOf(user['first_name']) ?? '',
      last_name: textOf(user['last_name']),
      username: textOf(user['username']),
      language_code: textOf(user['language_code']),
      photo_url: textOf(user['photo_url']),
      auth_date,
      start_param: fields.get('start_param') ?? null,
    },
  }
}

function textOf(value: unknown): string | null {
  if (typeof value !== 'string' || value === '') return null
  return value.toWellFormed().replaceAll('\0', '').slice(0, 200)
}
