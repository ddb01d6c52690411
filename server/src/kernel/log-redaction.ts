/** What stands where a secret was. */
const HIDDEN = '[secret]'
const TEXT_MAX = 8_192
const DEPTH_MAX = 8
const MEMBERS_MAX = 200

/** What stands under such a name is a secret. Names are compared without `-`, `_` and capitals. */
const SECRET_NAME = new RegExp(
  'authorization|cookie|passwd|password|passphrase|pwd$|secret|token|apikey|privatekey|signature|' +
    'credential|databaseurl|initdata|sealed',
)
/** Also hidden when the value is a number. */
const SECRET_NUMBER_NAME = /^(cvv2?|cvc2?|pan|cardnumber|cardno|pincode|otp|password|secret)$/

interface Pattern {
  find: RegExp
  put: string
}

/** A word that names a secret. Its ends are bounded: nobody may make a search long by a long word. */
const NAME =
  '\\b[\\w-]{0,40}' +
  '(?:passw(?:or)?d|secret|token|api[_-]?key|authorization|cookie|signature|cvv2?|cvc2?)[\\w-]{0,40}'

/** Secrets that can be told by their looks, wherever they stand in a text. */
const PATTERNS: readonly Pattern[] = [
  { find: /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, put: HIDDEN },
  {
    find: /\b((?:sk|rk|pk|whsec|pdl|setup)_(?:test_|live_|sdbx_|ntfset_)?)[\w+/=-]{16,}/g,
    put: `$1${HIDDEN}`,
  },
  { find: /\b((?:test|live)_)(?=[\w-]*\d)[\w-]{16,}/g, put: `$1${HIDDEN}` },
  { find: /\b(Bearer|Basic|Digest|Token)\s+[A-Za-z0-9\-._~+/:]{8,}=*/gi, put: `$1 ${HIDDEN}` },
  { find: /\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?/g, put: HIDDEN },
  // A Telegram bot's token: the bot's number, a colon, 35 letters.
  { find: /(?<!\d)(\d{6,12}):[A-Za-z0-9_-]{30,}/g, put: `$1:${HIDDEN}` },
  { find: /(:\/\/[^\s/:@"']*:)[^\s/@"']+@/g, put: `$1${HIDDEN}@` },
  // `"token": "two words"` up to its closing quote, also inside of a JSON text inside of JSON.
  {
    find: new RegExp(`(${NAME}\\\\*["']\\s*[:=]\\s*(\\\\*["']))(?:(?!\\2)[\\s\\S])+(?=\\2|$)`, 'gi'),
    put: `$1${HIDDEN}`,
  },
  // `password=…` and the like; not what is hidden already.
  {
    find: new RegExp(
      `(${NAME}\\\\*["']?\\s*[:=]\\s*)(?!\\\\*["']?\\[secret\\]|(?:Bearer|Basic|Digest|Token) \\[secret\\])` +
        `[^\\s"'\\\\&,;{}[\\]]+`,
      'gi',
    ),
    put: `$1${HIDDEN}`,
  },
]

/** Every pattern here needs one of these; most texts of a log have none, and are passed on unread. */
const SUSPECT = /[:=]|_[A-Za-z0-9+/_=-]{16}|eyJ|(?:Bearer|Basic|Digest|Token)\s|PRIVATE KEY|\d[\d -]{11}\d/i

/** 13 to 19 digits of a card, in groups or not; the check digit tells them from other numbers. */
const CARD = /(?<![\w.])[2-6]\d{3}(?:[ -]?\d){9,15}(?![\w.])/g

/** Replaces secrets in what is written for people and machines to read. */
export interface Redactor {
  /**
   * A copy of a JSON value with every secret replaced: by the names of members, by looks, and the known
   * values wherever they stand, also encoded for a URL or as base64. Bounds depth, size and length.
   */
  value(value: unknown): unknown
  /** As `value`, for one text. */
  text(text: string): string
}

/** Makes a redactor; `known` answers the secrets known by value, and may answer more of them later. */
export function createRedactor(known: () => readonly string[] = () => []): Redactor {
  let seen: readonly string[] = []
  let forms: string[] = []
  const current = (): string[] => {
    const secrets = known()
    if (secrets.length !== seen.length || secrets.some((secret, index) => secret !== seen[index])) {
      seen = [...secrets]
      forms = variants(seen)
    }
    return forms
  }
  return {
    value: (value) => redactValue(value, current(), 0),
    text: (text) => hideIn(text, current()),
  }
}

function redactValue(value: unknown, known: readonly string[], depth: number): unknown {
  if (typeof value === 'string') return hideIn(value, known)
  if (typeof value === 'number') return hideIn(String(value), []) === String(value) ? value : HIDDEN
  if (typeof value !== 'object' || value === null) return value
  if (depth >= DEPTH_MAX) return '[too deep]'
  if (Array.isArray(value)) {
    if (isHeaderPair(value)) return [value[0], HIDDEN]
    return value.slice(0, MEMBERS_MAX).map((item) => redactValue(item, known, depth + 1))
  }
  const members = Object.entries(value)
  if (isBytes(value)) return `[${(value as { data: unknown[] }).data.length} bytes]`
  return Object.fromEntries(
    members
      .slice(0, MEMBERS_MAX)
      .map(([name, member]) => [hideIn(name, known), redactMember(name, member, known, depth)]),
  )
}

function redactMember(name: string, member: unknown, known: readonly string[], depth: number): unknown {
  const kind = kindOfName(name)
  if (kind === 'plain' || member === null || member === undefined || typeof member === 'boolean') {
    return redactValue(member, known, depth + 1)
  }
  if (kind === 'secret_number' || typeof member === 'string' || typeof member === 'object') return HIDDEN
  return redactValue(member, known, depth + 1)
}

type NameKind = 'plain' | 'secret' | 'secret_number'

/** The same few names come in every line. */
const kinds = new Map<string, NameKind>()
const KINDS_MAX = 2_000

function kindOfName(name: string): NameKind {
  const found = kinds.get(name)
  if (found) return found
  const letters = name.toLowerCase().replaceAll(/[-_.\s]/g, '')
  const kind = SECRET_NUMBER_NAME.test(letters)
    ? 'secret_number'
    : SECRET_NAME.test(letters)
      ? 'secret'
      : 'plain'
  if (kinds.size < KINDS_MAX) kinds.set(name, kind)
  return kind
}

/** `['authorization', 'Bearer …']`: how raw headers and parsed queries are often kept. */
function isHeaderPair(value: readonly unknown[]): boolean {
  const [name, content] = value
  return (
    value.length === 2 &&
    typeof name === 'string' &&
    typeof content === 'string' &&
    name.length <= 64 &&
    /^[\w-]+$/.test(name) &&
    kindOfName(name) !== 'plain'
  )
}

/** A Buffer as JSON writes it: bodies may hold anything, and nobody reads numbers. */
function isBytes(value: object): boolean {
  return 'type' in value && value.type === 'Buffer' && 'data' in value && Array.isArray(value.data)
}

function hideIn(text: string, known: readonly string[]): string {
  let hidden = text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}… (${text.length - TEXT_MAX} more)` : text
  for (const secret of known) {
    if (hidden.includes(secret)) hidden = hidden.replaceAll(secret, HIDDEN)
  }
  if (!SUSPECT.test(hidden)) return hidden
  for (const { find, put } of PATTERNS) hidden = hidden.replaceAll(find, put)
  return hidden.replaceAll(CARD, (digits) => (hasCheckDigit(digits) ? '[card]' : digits))
}

/**
 * The secrets as they may stand in an address or a header. Short ones are left: they would hide ordinary
 * words.
 */
function variants(known: readonly string[]): string[] {
  const forms = known
    .filter((secret) => secret.length >= 8)
    .flatMap((secret) => {
      const base64 = Buffer.from(secret, 'utf8').toString('base64').replace(/=+$/, '')
      return [secret, encodeURIComponent(secret), base64, Buffer.from(secret, 'utf8').toString('hex')]
    })
  // Longest first, so that a secret inside another one does not spoil the other's match.
  return [...new Set(forms)].toSorted((a, b) => b.length - a.length)
}

/** Luhn's sum over the digits. */
function hasCheckDigit(text: string): boolean {
  const digits = [...text].filter((letter) => letter >= '0' && letter <= '9').map(Number)
  const sum = digits.toReversed().reduce((total, digit, index) => {
    const doubled = index % 2 === 1 ? digit * 2 : digit
    return total + (doubled > 9 ? doubled - 9 : doubled)
  }, 0)
  return sum % 10 === 0
}
