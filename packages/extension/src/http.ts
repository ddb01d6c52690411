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
  constructor(reason: string, options: { cause?: unknown; retry_after_ms?: number } = {}) {
    super(`the gateway is unavailable: ${reason}`, { cause: options.cause })
    this.name = 'GatewayUnavailable'
    this.reason = reason
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

/** Vendors may take 30 s to charge a card; a shorter wait turns good payments into unknown ones. */
const TIMEOUT_MS = 35_000
const BODY_MAX_BYTES = 4_194_304

/**
 * Calls a vendor once: no retry, no redirect, a time limit and a size limit.
 * Throws {@link GatewayUnavailable} when there is no complete answer, when the answer is a redirect,
 * or when the status is 429 or 5xx; every other status is a value for the gateway to read.
 */
export async function callVendor(call: VendorCall): Promise<VendorAnswer> {
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
    throw new GatewayUnavailable(signal.aborted ? 'timeout' : 'connection', { cause: error })
  }
  if (response.status >= 500) throw new GatewayUnavailable(`status ${response.status}`, retryAfter(response))
  if (response.status === 429) throw new GatewayUnavailable('too many requests', retryAfter(response))
  if (response.status >= 300 && response.status < 400) throw new GatewayUnavailable('redirect')
  return { status: response.status, headers: response.headers, text, json: () => parseJson(text) }
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
