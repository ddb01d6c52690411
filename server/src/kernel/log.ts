import { pino, type Logger } from 'pino'
import { createRedactor, type Redactor } from './log-redaction.ts'

/**
 * Structured logging: `log.info({ order_id }, 'the order was paid')`. Facts first, then a sentence.
 * `log.child({ request_id })` adds facts to every line. Every line passes one redaction before it is written.
 */
export type Log = Logger

export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'

export interface LogOptions {
  level?: LogLevel
  /** One readable line instead of JSON: for a person at a terminal. Default: when standard output is one. */
  is_readable?: boolean
  /** Where lines go; default standard output, written at once so that a crash loses none. */
  write?: (line: string) => void
  /** Secrets known by value (keys of gateways, the database's password): hidden wherever they would stand. */
  secrets?: () => readonly string[]
}

interface Line {
  level?: string
  time?: string
  msg?: string
  [name: string]: unknown
}

/** Creates the process's log. */
export function createLog(options: LogOptions = {}): Log {
  const is_readable = options.is_readable ?? process.stdout.isTTY
  const write = options.write ?? standardOutput()
  const redactor = createRedactor(options.secrets)
  const stream = {
    write: (text: string): void => {
      write(`${finish(text, is_readable, redactor)}\n`)
    },
  }
  return pino(
    {
      level: options.level ?? 'info',
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: withoutLossyValues },
      serializers: { err: pino.stdSerializers.errWithCause, error: pino.stdSerializers.errWithCause },
    },
    stream,
  )
}

/** A log that writes nothing: for tests and tools. */
export function silentLog(): Log {
  return pino({ level: 'silent' })
}

function standardOutput(): (line: string) => void {
  const destination = pino.destination({ fd: 1, sync: true })
  return (line) => {
    destination.write(line)
  }
}

/** The one place every line passes on its way out. */
function finish(text: string, is_readable: boolean, redactor: Redactor): string {
  const line = redactor.value(parse(text)) as Line
  return is_readable ? readable(line) : JSON.stringify(line)
}

function parse(text: string): Line {
  try {
    return JSON.parse(text) as Line
  } catch {
    // The logger writes JSON; should it ever not, an unreadable line may hold anything and is not passed on.
    return {
      level: 'error',
      time: new Date().toISOString(),
      msg: 'a log line could not be read and was dropped',
    }
  }
}

/** JSON knows no Map, Set or URL: without this they would be written as `{}`. */
function withoutLossyValues(facts: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(facts).map(([name, value]) => [name, plain(value)]))
}

function plain(value: unknown): unknown {
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([name, member]) => [String(name), plain(member)]))
  if (value instanceof Set) return [...value].map(plain)
  if (value instanceof URL) return value.href
  return value
}

function readable(line: Line): string {
  const { level = '', time = '', msg = '', pid: _pid, ...facts } = line
  const rest = Object.entries(facts).map(([name, value]) => `${name}=${factText(name, value)}`)
  const clock = time.slice(11, 23)
  return [clock, level.toUpperCase().padEnd(5), msg, ...rest].filter((part) => part !== '').join(' ')
}

function factText(name: string, value: unknown): string {
  if (name === 'err' && typeof value === 'object' && value !== null && 'stack' in value)
    return `\n${String(value.stack)}`
  return typeof value === 'string' && !/[\s"=]/.test(value) ? value : JSON.stringify(value)
}
