import { createServer } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'

/** One request a test's merchant received. */
export interface Received {
  method: string
  path: string
  headers: IncomingHttpHeaders
  text: string
  /** `performance.now()` at its end. */
  at: number
}

/** A merchant's notification address on a free port. */
export interface Listener {
  url: string
  received: Received[]
  /** Answers from now on; 200 `ok` at first. `never` leaves the sender waiting. */
  answer: (next: { status?: number; body?: string; headers?: Record<string, string> } | 'never') => void
  /** The bodies, parsed. */
  bodies: <T>() => T[]
  close: () => Promise<void>
}

/** Starts a merchant for a test. */
export async function startListener(): Promise<Listener> {
  const received: Received[] = []
  let answer: { status?: number; body?: string; headers?: Record<string, string> } | 'never' = {}
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8')
      const { method = '', url = '', headers } = request
      received.push({ method, path: url, headers, text, at: performance.now() })
      if (answer === 'never') return
      response.writeHead(answer.status ?? 200, answer.headers)
      response.end(answer.body ?? 'ok')
    })
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    url: `http://127.0.0.1:${port}/hook`,
    received,
    answer(next) {
      answer = next
    },
    bodies: <T>() => received.map((request) => JSON.parse(request.text) as T),
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
