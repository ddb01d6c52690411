import type { Page } from './store.ts'

/** One line of the emulator's log. */
export interface LogEntry {
  /** Ascending, never reused; also the cursor. */
  seq: number
  at: string
  kind: 'request' | 'notification'
  /** Request: what came in. */
  method?: string
  path?: string
  status?: number
  headers?: Record<string, string>
  body?: string
  /** Request: the operation of the vendor's published description it was checked against. */
  operation?: string
  /** Request: of a person's browser. */
  is_page?: boolean
  /** The fault that was played on this request or notification. */
  fault?: string
  /** Notification: what went out. */
  notification_id?: string
  event?: string
  object_id?: string
  attempt?: number
  url?: string
  outcome?: string
  duration_ms?: number
  is_forged?: boolean
  is_duplicate?: boolean
  /** What is wrong with a forged copy, or why a delivery failed. */
  note?: string
  response?: string
}

export interface LogQuery {
  limit?: number
  cursor?: string
  kind?: 'request' | 'notification'
  order?: 'asc' | 'desc'
}

/** A bounded log; the oldest lines are forgotten. Secrets are cut out when a line is written. */
export interface Log {
  add: (entry: Omit<LogEntry, 'seq'>) => void
  page: (query?: LogQuery) => Page<LogEntry>
  clear: () => void
}

const MAX_BODY = 4096
const SECRET_NAME = /secret|passw|token|card_?number|^number$|cvc|csc|cvv|signature|authorization|api_?key/i
const JSON_FIELD = /"([^"\\]{1,64})"\s{0,8}:\s{0,8}"(?:[^"\\]|\\.)*"/g
const FORM_FIELD = /([^=&?\s"]{1,64})=[^&\s"]*/g
/** A card number, digits only or in groups of four: the first six and the last four may stay. */
const CARD_NUMBER = /\b(\d{4})[ +-]?(\d{2})\d{2}[ +-]?\d{4}[ +-]?(?:\d{3})?(\d{4})\b/g

/** Builds a log of at most `size` lines. `secrets` says which values must never appear in it. */
export function createLog(size: number, secrets: () => readonly string[]): Log {
  let entries: LogEntry[] = []
  let next_seq = 1
  return {
    add(entry) {
      const line: LogEntry = { ...entry, seq: next_seq }
      next_seq += 1
      const values = secrets()
      if (line.path !== undefined) line.path = redact(line.path, values)
      if (line.url !== undefined) line.url = redact(line.url, values)
      if (line.body !== undefined) line.body = redact(line.body, values).slice(0, MAX_BODY)
      if (line.response !== undefined) line.response = redact(line.response, values).slice(0, MAX_BODY)
      entries.push(line)
      // Trimming at twice the size keeps `add` constant on average.
      if (entries.length >= 2 * size) entries = entries.slice(-size)
    },
    page({ limit = 100, cursor, kind, order = 'asc' } = {}) {
      const recent = entries.slice(-size)
      if (order === 'desc') recent.reverse()
      const after = cursor === undefined ? undefined : Number(cursor)
      const matching = recent.filter(
        (entry) =>
          (kind === undefined || entry.kind === kind) &&
          (after === undefined || (order === 'asc' ? entry.seq > after : entry.seq < after)),
      )
      const items = matching.slice(0, limit)
      const last = items.at(-1)
      return matching.length > limit && last ? { items, next_cursor: String(last.seq) } : { items }
    },
    clear() {
      entries = []
    },
  }
}

/** Replaces known secret values, secret-looking fields and card numbers in a text. */
export function redact(text: string, secrets: readonly string[]): string {
  let clean = text.slice(0, 4 * MAX_BODY)
  for (const secret of secrets) {
    if (secret.length >= 4 && clean.includes(secret)) clean = clean.replaceAll(secret, '[redacted]')
  }
  if (clean.length < 8) return clean
  if (clean.includes('"')) {
    clean = clean.replace(JSON_FIELD, (field: string, name: string) =>
      SECRET_NAME.test(name) ? `"${name}":"[redacted]"` : field,
    )
  }
  if (clean.includes('=')) {
    clean = clean.replace(FORM_FIELD, (field: string, name: string) =>
      SECRET_NAME.test(name) ? `${name}=[redacted]` : field,
    )
  }
  return clean.replace(CARD_NUMBER, '$1$2••••••$3')
}
