import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { asOperational } from '#kernel/db'
import { DomainError, InvalidRequest, OperationalError, sqlState } from '#kernel/errors'
import { AMOUNT_MAX } from '#kernel/money'

/** An RFC 9457 problem ready to be sent. Members beyond the standard ones are facts of the error. */
export interface Problem {
  type: string
  title: string
  status: number
  code: string
  detail?: string
  /** The id of the request; the log has a line with it. */
  instance: string
  errors?: readonly { pointer: string; detail: string }[]
  [fact: string]: unknown
}

/** Whose fault it is: decides how loudly it is logged. */
export type Fault = 'caller' | 'world' | 'ours'

/** What went wrong with one request, for its log line. */
export interface Failure {
  code: string
  fault: Fault
  error: unknown
}

interface Rendered {
  problem: Problem
  headers: Record<string, string>
  fault: Fault
}

interface Facts {
  status: number
  code: string
  title: string
  detail?: string | undefined
  facts?: Readonly<Record<string, unknown>>
  fault: Fault
}

/** Fastify's own refusals by their codes; everything else of its 4xx is a malformed request. */
const EDGE_ERRORS: Readonly<Record<string, { status: number; code: string; title: string }>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: {
    status: 413,
    code: 'body_too_large',
    title: 'The body is larger than this route takes.',
  },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    status: 415,
    code: 'unsupported_media_type',
    title: 'This route does not take that content type.',
  },
  FST_ERR_MAX_PARAM_LENGTH: { status: 414, code: 'path_too_long', title: 'A part of the path is too long.' },
}

/** What is wrong with the bytes of a request, in our words: Fastify's messages repeat the input. */
const MALFORMED: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: 'is not JSON, or has members named __proto__ or constructor',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'is not as long as content-length says',
  FST_ERR_BAD_URL: 'the path is not a valid address',
}

/**
 * Turns whatever was thrown into a problem. Only texts written for callers are shown: of our own mistakes
 * nothing but the request's id.
 */
export function toProblem(error: unknown, request_id: string, base_url = ''): Rendered {
  const facts = factsOf(asOperational(error))
  const { retry_after_seconds, ...shown } = facts.facts ?? {}
  const problem: Problem = {
    type: `${base_url}/errors/${facts.code}`,
    title: facts.title,
    status: facts.status,
    code: facts.code,
    ...(facts.detail === undefined ? {} : { detail: facts.detail }),
    instance: request_id,
  }
  for (const [name, value] of Object.entries(shown)) {
    if (value !== undefined && !(name in problem)) problem[name] = value
  }
  const headers: Record<string, string> = {}
  if (typeof retry_after_seconds === 'number')
    headers['retry-after'] = String(Math.max(1, Math.ceil(retry_after_seconds)))
  if (facts.status === 401) headers['www-authenticate'] = 'Bearer realm="kopilka"'
  return { problem, headers, fault: facts.fault }
}

function factsOf(error: unknown): Facts {
  if (error instanceof DomainError) {
    const { code, status, title, message, facts } = error
    return { code, status, title, detail: message, facts, fault: 'caller' }
  }
  if (error instanceof OperationalError) {
    const { code, status, message, retry_after_seconds, facts } = error
    return {
      code,
      status,
      title: UNAVAILABLE,
      detail: message,
      facts: { ...facts, retry_after_seconds },
      fault: 'world',
    }
  }
  if (error instanceof GatewayUnavailable) {
    const retry_after_seconds = (error.retry_after_ms ?? 1000) / 1000
    const detail = 'The payment gateway does not answer now.'
    return {
      code: error.code,
      status: 503,
      title: UNAVAILABLE,
      detail,
      facts: { retry_after_seconds },
      fault: 'world',
    }
  }
  if (error instanceof GatewayMisconfigured) {
    const detail = 'The payment gateway refuses the settings of this installation; its owner has to act.'
    return { code: error.code, status: 503, title: UNAVAILABLE, detail, fault: 'world' }
  }
  // A NUL or half a character: texts the database cannot keep, wherever in the request they stood.
  const state = sqlState(error)
  if (state === '22021' || state === '22P05') {
    const detail = 'A text holds a character that cannot be kept.'
    return {
      code: 'invalid_request',
      status: 400,
      title: 'The request is malformed.',
      detail,
      fault: 'caller',
    }
  }
  return (
    edgeFacts(error) ?? {
      code: 'internal_error',
      status: 500,
      title: 'A mistake on our side.',
      fault: 'ours',
    }
  )
}

const UNAVAILABLE = 'Something this request needs does not work now; nothing was lost.'

function edgeFacts(error: unknown): Facts | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined
  const known = EDGE_ERRORS[error.code]
  if (known) return { ...known, fault: 'caller' }
  // A client that went away while it sent its body: nobody reads the answer.
  const is_gone = error.code === 'ECONNRESET' && 'statusCode' in error && error.statusCode === 400
  const is_malformed =
    error.code in MALFORMED || (error.code.startsWith('FST_ERR_CTP_') && statusOf(error) === 400)
  if (!is_malformed && !is_gone) return undefined
  const detail = MALFORMED[error.code] ?? 'cannot be read'
  const { code, status, title, message, facts } = new InvalidRequest([{ pointer: '', detail }])
  return { code, status, title, detail: message, facts, fault: 'caller' }
}

function statusOf(error: object): unknown {
  return 'statusCode' in error ? error.statusCode : undefined
}

/** A problem as JSON text. Amounts that JSON readers would round are sent as digits in a string. */
export function problemText(body: unknown): string {
  return JSON.stringify(body, (_name, member: unknown) => {
    if (typeof member !== 'bigint') return member
    return member <= AMOUNT_MAX && member >= -AMOUNT_MAX ? Number(member) : String(member)
  })
}

/** Sends an error as `application/problem+json` and notes it for the log line of the request. */
export function sendProblem(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  base_url: string,
): void {
  const { problem, headers } = noted(error, request, base_url)
  send(reply, problem.status, headers, {
    content_type: 'application/problem+json; charset=utf-8',
    body: problem,
  })
}

/** How a product's own interface says that something went wrong. Members left out are as in a problem. */
export interface ProductError {
  body: unknown
  status?: number
  content_type?: string
}

/**
 * Lets the routes of one facade answer errors in its product's own shape. To be called inside the facade's
 * `register`, so that other routes keep answering problems.
 */
export function productErrors(
  app: FastifyInstance,
  render: (problem: Problem, request: FastifyRequest) => ProductError,
): void {
  app.setErrorHandler((error, request, reply) => {
    const { problem, headers } = noted(error, request, app.base_url)
    const shape = render(problem, request)
    const content_type = shape.content_type ?? 'application/json; charset=utf-8'
    send(reply, shape.status ?? problem.status, headers, { content_type, body: shape.body })
  })
}

function noted(error: unknown, request: FastifyRequest, base_url: string): Rendered {
  const rendered = toProblem(error, request.id, base_url)
  // A person's browser asks for the key, which is then the user name; a program's request must not open a
  // dialog.
  if (rendered.problem.status === 401 && request.headers.accept?.includes('text/html')) {
    // Alone: browsers read one challenge a line and do not know the other.
    rendered.headers['www-authenticate'] = 'Basic realm="kopilka", charset="UTF-8"'
  }
  request.failure = { code: rendered.problem.code, fault: rendered.fault, error }
  return rendered
}

function send(
  reply: FastifyReply,
  status: number,
  headers: Record<string, string>,
  payload: { content_type: string; body: unknown },
): void {
  const text = typeof payload.body === 'string' ? payload.body : problemText(payload.body)
  // Whatever the route was about to say of its answer does not hold for an error.
  reply.removeHeader('etag')
  reply.header('cache-control', 'no-store')
  reply.status(status).headers(headers).type(payload.content_type).serializer(String).send(text)
}
