/** Facts about an error that a caller may act on; become members of the problem document. */
export type ErrorFacts = Readonly<
  Record<string, string | number | bigint | boolean | null | undefined | object>
>

/**
 * Something the caller can act on. Subclasses fix `code`, `status` and `title`;
 * `detail` says what happened this time. Rendered once, in http/problem.ts, as RFC 9457.
 */
export abstract class DomainError extends Error {
  abstract readonly code: string
  abstract readonly status: number
  abstract readonly title: string
  readonly facts: ErrorFacts
  constructor(detail: string, facts: ErrorFacts = {}, options: { cause?: unknown } = {}) {
    super(detail, options)
    this.name = new.target.name
    this.facts = facts
  }
}

/** The request is malformed. `errors` names each bad member by JSON pointer. Nothing was changed. */
export class InvalidRequest extends DomainError {
  readonly code = 'invalid_request'
  readonly status = 400
  readonly title = 'The request is malformed.'
  constructor(errors: readonly { pointer: string; detail: string }[], detail?: string) {
    super(detail ?? errors.map((error) => `${error.pointer}: ${error.detail}`).join('; '), { errors })
  }
}

export class Unauthenticated extends DomainError {
  readonly code = 'unauthenticated'
  readonly status = 401
  readonly title = 'The caller is not known.'
}

export class MissingScope extends DomainError {
  readonly code = 'missing_scope'
  readonly status = 403
  readonly title = 'This key or role may not do this.'
}

/** Also thrown for what exists but is not the caller's: the two must not be told apart. */
export class NotFound extends DomainError {
  readonly code = 'not_found'
  readonly status = 404
  readonly title = 'There is no such thing here.'
}

/** The state of the object does not allow this. */
export class InvalidState extends DomainError {
  readonly code = 'invalid_state'
  readonly status = 409
  readonly title = 'The present state does not allow this.'
}

export class AlreadyExists extends DomainError {
  readonly code = 'already_exists'
  readonly status = 409
  readonly title = 'Something with this identity exists already.'
}

export class TooManyRequests extends DomainError {
  readonly code = 'too_many_requests'
  readonly status = 429
  readonly title = 'Too many requests.'
  constructor(detail: string, retry_after_seconds: number) {
    super(detail, { retry_after_seconds })
  }
}

/**
 * The world failed for now: a timeout, a lock, a database or gateway that is down.
 * Over HTTP a 503 with `retry-after`; in a job, a retry. Nothing was lost.
 */
export class OperationalError extends Error {
  readonly code: string
  readonly status = 503
  readonly retry_after_seconds: number
  readonly facts: ErrorFacts
  constructor(
    code: string,
    detail: string,
    options: { cause?: unknown; retry_after_seconds?: number; facts?: ErrorFacts } = {},
  ) {
    super(detail, { cause: options.cause })
    this.facts = options.facts ?? {}
    this.name = 'OperationalError'
    this.code = code
    this.retry_after_seconds = options.retry_after_seconds ?? 1
  }
}

/** A mistake of ours. 500 without detail; never caught to go on. */
export class AssertionFailed extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'AssertionFailed'
  }
}

/** States what must be true for the program to be right. Throws {@link AssertionFailed}. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionFailed(message)
}

/** For exhaustive switches: reaching it is a compile error first, an assertion second. */
export function unreachable(value: never, what: string): never {
  throw new AssertionFailed(`${what}: unexpected ${String(value)}`)
}

/** PostgreSQL's SQLSTATE of an error, if it came from the database. */
export function sqlState(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  const code = error.code
  // Every SQLSTATE in use has a digit; EPIPE and EPERM of the operating system have five letters too.
  return typeof code === 'string' && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : undefined
}

/** The name of the violated constraint of a unique (23505) or check (23514) violation. */
export function violatedConstraint(error: unknown): string | undefined {
  const state = sqlState(error)
  if (state !== '23505' && state !== '23514' && state !== '23503' && state !== '23P01') return undefined
  const constraint = (error as { constraint?: unknown }).constraint
  return typeof constraint === 'string' ? constraint : undefined
}

/**
 * Connection classes 08 and 57P, too many connections, lock timeouts, disk full: the world failed for now.
 */
export function isDatabaseUnavailable(error: unknown): boolean {
  const state = sqlState(error)
  if (state) return /^(08|57P|57014|53|55P03|40001|40P01|58)/.test(state)
  if (!(error instanceof Error)) return false
  const code = (error as { code?: unknown }).code
  if (typeof code === 'string') return /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EHOSTUNREACH)/.test(code)
  return error instanceof AggregateError || isPoolMessage(error)
}

/** node-postgres gives these no code at all; its texts are the only sign. */
function isPoolMessage(error: Error): boolean {
  return /^(Connection terminated|timeout expired|timeout exceeded when trying|Client has encountered)/.test(
    error.message,
  )
}
