import { AsyncLocalStorage } from 'node:async_hooks'

/** One call to a vendor. `timeout_ms` counts from the first byte sent to the last byte read. */
export interface VendorCall {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  url: string
  headers?: Readonly<Record<string, string>>
  body?: string
  timeout_ms?: number | undefined
  /** Answers larger than this are cut off and count as unreadable. */
  body_max_bytes?: number
}

/** What a vendor answered. `json()` is `undefined` when the body is not JSON, e.g. a proxy's HTML page. */
export interface VendorAnswer {
  status: number
  headers: Headers
  text: string
  json(): unknown
}

/**
 * The vendor could not be reached or did not answer in a way that can be read.
 * The outcome of the call is unknown: it may have been carried out.
 */
export class GatewayUnavailable extends Error {
  readonly code = 'gateway_unavailable'
  /** Short class of the failure for logs and metrics; holds no secret. */
  readonly reason: string
  readonly retry_after_ms: number | undefined
  /** False when no connection came about, so that the vendor certainly heard nothing of this call. */
  readonly was_sent: boolean
  /** True when the gateway knows that it failed on the way: what it was to ask for, it did not ask for. */
  readonly is_nothing_made: boolean
  constructor(
    reason: string,
    options: { cause?: unknown; retry_after_ms?: number; was_sent?: boolean; is_nothing_made?: boolean } = {},
  ) {
    super(`the gateway is unavailable: ${reason}`, { cause: options.cause })
    this.name = 'GatewayUnavailable'
    this.reason = reason
    this.was_sent = options.was_sent ?? true
    this.is_nothing_made = options.is_nothing_made ?? false
    this.retry_after_ms = options.retry_after_ms
  }
}

/**
 * The vendor answered and definitely did nothing: wrong credentials, a feature the shop has not been given,
 * or an object of another shop. Asking again is of no use until the owner changes the settings.
 */
export class GatewayMisconfigured extends Error {
  readonly code = 'gateway_misconfigured'
  /** The vendor's word or ours for what is wrong; holds no secret. */
  readonly reason: string
  constructor(reason: string) {
    super(`the gateway is misconfigured: ${reason}`)
    this.name = 'GatewayMisconfigured'
    this.reason = reason
  }
}

/** What a piece of a gateway's work met on its way to the vendor. */
interface WatchedCalls {
  /** Whether any call got a connection. False and an error with `was_sent` false: nothing was made there. */
  has_reached: boolean
  /** Why the last call without an answer had none, also when the gateway made a value of it. */
  unavailable: string | undefined
}

const watched = new AsyncLocalStorage<WatchedCalls>()

/** Does a gateway's work and tells what its calls met; for the core. Throws nothing of its own. */
export async function watchCalls<T>(
  work: () => Promise<T>,
): Promise<{ result: PromiseSettledResult<T>; calls: WatchedCalls }> {
  const around = watched.getStore()
  const calls: WatchedCalls = { has_reached: false, unavailable: undefined }
  const [result] = await watched.run(calls, () => Promise.allSettled([work()]))
  // Whoever watches a larger piece of work sees it too.
  if (around && calls.has_reached) around.has_reached = true
  if (around && calls.unavailable !== undefined) around.unavailable = calls.unavailable
  return { result, calls }
}

/** Vendors may take 30 s to charge a card; a shorter wait turns good payments into unknown ones. */
const TIMEOUT_MS = 35_000
const BODY_MAX_BYTES = 4_194_304

/**
 * Calls a vendor once: no retry, no redirect, a time limit and a size limit.
 * Throws {@link GatewayUnavailable} when there is no complete answer, when the answer is a redirect,
 * or when the status is 429 or 5xx; every other status is a value for the gateway to read.
 */
export async function callVendor(call: VendorCall): Promise<VendorAnswer> {
  try {
    const answer = await callOnce(call)
    note({ has_reached: true })
    return answer
  } catch (error) {
    if (error instanceof GatewayUnavailable) note({ has_reached: error.was_sent, unavailable: error.reason })
    throw error
  }
}

async function callOnce(call: VendorCall): Promise<VendorAnswer> {
  const signal = AbortSignal.timeout(call.timeout_ms ?? TIMEOUT_MS)
  let response: Response
  let text: string
  try {
    response = await fetch(call.url, {
      method: call.method,
      headers: { ...call.headers },
      redirect: 'manual',
      signal,
      ...(call.body === undefined ? {} : { body: call.body }),
    })
    text = await readLimited(response, call.body_max_bytes ?? BODY_MAX_BYTES)
  } catch (error) {
    if (error instanceof GatewayUnavailable) throw error
    const was_sent = !isBeforeConnection(error)
    throw new GatewayUnavailable(signal.aborted ? 'timeout' : 'connection', { cause: error, was_sent })
  }
  if (response.status >= 500) throw new GatewayUnavailable(`status ${response.status}`, retryAfter(response))
  if (response.status === 429) throw new GatewayUnavailable('too many requests', retryAfter(response))
  if (response.status >= 300 && response.status < 400) throw new GatewayUnavailable('redirect')
  return { status: response.status, headers: response.headers, text, json: () => parseJson(text) }
}

function note({ has_reached, unavailable }: { has_reached: boolean; unavailable?: string }): void {
  const calls = watched.getStore()
  if (!calls) return
  if (has_reached) calls.has_reached = true
  if (unavailable !== undefined) calls.unavailable = unavailable
}

/** No address or no connection: everything later may have been carried out. */
function isBeforeConnection(error: unknown): boolean {
  const cause = error instanceof TypeError ? error.cause : undefined
  const causes = cause instanceof AggregateError ? (cause.errors as unknown[]) : [cause]
  return causes.length > 0 && causes.every(isConnectError)
}

function isConnectError(cause: unknown): boolean {
  if (typeof cause !== 'object' || cause === null) return false
  const { code, syscall } = cause as { code?: unknown; syscall?: unknown }
  return syscall === 'connect' || syscall === 'getaddrinfo' || code === 'UND_ERR_CONNECT_TIMEOUT'
}

function retryAfter(response: Response): { retry_after_ms?: number } {
  const seconds = Number(response.headers.get('retry-after'))
  return Number.isFinite(seconds) && seconds > 0 ? { retry_after_ms: Math.min(seconds, 3600) * 1000 } : {}
}

async function readLimited(response: Response, max_bytes: number): Promise<string> {
  if (!response.body) return ''
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    size += chunk.length
    if (size > max_bytes) throw new GatewayUnavailable('answer too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
