/** The merchant's answer to one attempt. */
export interface DeliveryResponse {
  status: number
  body: string
}

/** One HTTP call; replaceable, so that a test can hand notifications over without a socket. */
export type Transport = (request: TransportRequest) => Promise<DeliveryResponse>

export interface TransportRequest {
  url: string
  method: string
  headers: Record<string, string>
  body: string | undefined
  signal: AbortSignal
}

const MAX_RESPONSE_BYTES = 65_536

/** The real transport: no redirects, at most 64 KiB of the answer are read. */
export async function fetchTransport(request: TransportRequest): Promise<DeliveryResponse> {
  const response = await fetch(request.url, {
    method: request.method,
    headers: request.headers,
    ...(request.body === undefined ? {} : { body: request.body }),
    redirect: 'manual',
    signal: request.signal,
  })
  const chunks: Uint8Array[] = []
  let size = 0
  const stream: ReadableStream<Uint8Array> | null = response.body
  const reader = stream?.getReader()
  for (;;) {
    const next = await reader?.read()
    if (!next || next.done || size >= MAX_RESPONSE_BYTES) break
    chunks.push(next.value)
    size += next.value.byteLength
  }
  // Lets the connection go when there is more than anyone needs.
  await reader?.cancel()
  return { status: response.status, body: Buffer.concat(chunks).toString('utf8') }
}

/** Says in a few words, without addresses, why nothing came back. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error'
  const cause = error.cause instanceof Error && 'code' in error.cause ? `: ${String(error.cause.code)}` : ''
  return `${error.name}${cause}`
}
