/** A notification as it arrived. `raw_body` is untouched: signatures are checked on these bytes. */
export interface WebhookRequest {
  method: string
  path: string
  /** Lower-case names; several values are kept as an array. */
  headers: Readonly<Record<string, string | string[] | undefined>>
  query: Readonly<Record<string, string | string[] | undefined>>
  raw_body: Buffer
  /** The peer's address as the trusted proxy chain gives it, IPv4-mapped IPv6 unmapped. */
  remote_address: string
}

const BODY_MAX_BYTES = 262_144

/**
 * Reads a notification's body as JSON: strict UTF-8, no byte order mark, at most 256 KiB.
 * `undefined` for anything else. Checks no signature: do that first, on `raw_body`.
 */
export function readJsonBody(request: WebhookRequest): unknown {
  if (request.raw_body.length === 0 || request.raw_body.length > BODY_MAX_BYTES) return undefined
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(request.raw_body)
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** One header's value; `undefined` when it is absent or came more than once, which no vendor does. */
export function singleHeader(request: WebhookRequest, name: string): string | undefined {
  const value = request.headers[name]
  return typeof value === 'string' ? value : undefined
}
