import { connect } from 'node:net'

/** What is sent to the server: texts of whole HTTP/1.1 requests, made as they are needed. */
export interface LoadPlan {
  host: string
  port: number
  connections: number
  /** Requests sent together on one connection; the next ones go when all are answered. */
  pipelining: number
  duration_ms: number
  /** Stops after this many requests, if sooner. */
  requests_max?: number
  /** The next request's bytes; `n` counts up over all connections. */
  request: (n: number) => string
}

export interface LoadResult {
  requests: number
  seconds: number
  rps: number
  p50_ms: number
  p95_ms: number
  p99_ms: number
  max_ms: number
  /** Answers by status. */
  statuses: Record<string, number>
}

const HEAD_END = Buffer.from('\r\n\r\n')

/**
 * Sends load over keep-alive connections and measures each answer. A plain socket and a minimal reader of
 * answers: a general HTTP client would use more of the two cores than the server under test.
 */
export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const latencies: number[] = []
  const statuses: Record<string, number> = {}
  let sent = 0
  const started = performance.now()
  const deadline = started + plan.duration_ms
  const mayGoOn = (): boolean =>
    performance.now() < deadline && (plan.requests_max === undefined || sent < plan.requests_max)
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket = connect({ host: plan.host, port: plan.port, noDelay: true })
      const in_flight: number[] = []
      let pending = Buffer.alloc(0)
      // All that fit go in one write, when the last are answered: a system call for each would make the
      // sender the slowest part.
      const send = (): void => {
        if (in_flight.length > 0) return
        let bytes = ''
        while (in_flight.length < plan.pipelining && mayGoOn()) {
          in_flight.push(performance.now())
          bytes += plan.request(sent++)
        }
        if (bytes === '') socket.end()
        else socket.write(bytes)
      }
      socket.on('connect', send)
      socket.on('error', reject)
      socket.on('close', () =>
        in_flight.length === 0 ? resolve() : reject(new Error('the server closed a connection')),
      )
      socket.on('data', (chunk) => {
        pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
        for (;;) {
          const answer = readAnswer(pending)
          if (!answer) break
          pending = pending.subarray(answer.size)
          latencies.push(performance.now() - (in_flight.shift() ?? 0))
          statuses[answer.status] = (statuses[answer.status] ?? 0) + 1
        }
        send()
      })
    })
  await Promise.all(Array.from({ length: plan.connections }, one))
  return summary(latencies, statuses, (performance.now() - started) / 1000)
}

function readAnswer(bytes: Buffer): { status: string; size: number } | undefined {
  const head_end = bytes.indexOf(HEAD_END)
  if (head_end < 0) return undefined
  const head = bytes.toString('latin1', 0, head_end)
  const match = /content-length: (\d+)/i.exec(head)
  const size = head_end + 4 + Number(match?.[1] ?? 0)
  return bytes.length < size ? undefined : { status: head.slice(9, 12), size }
}

function summary(latencies: number[], statuses: Record<string, number>, seconds: number): LoadResult {
  const sorted = Float64Array.from(latencies).sort()
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  const round = (value: number): number => Math.round(value * 100) / 100
  return {
    requests: sorted.length,
    seconds: round(seconds),
    rps: Math.round(sorted.length / seconds),
    p50_ms: round(at(0.5)),
    p95_ms: round(at(0.95)),
    p99_ms: round(at(0.99)),
    max_ms: round(at(1)),
    statuses,
  }
}

/** A request as text, with the header every call of the bench has. */
export function httpRequest(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body = '',
): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const size = body === '' ? '' : `content-length: ${Buffer.byteLength(body)}\r\n`
  return `${method} ${path} HTTP/1.1\r\nhost: bench\r\n${lines.join('')}${size}\r\n${body}`
}
