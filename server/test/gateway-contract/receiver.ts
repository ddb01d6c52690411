import { createServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { WebhookRequest } from '@kopilka/extension'

/** Stands where Kopilka's webhook stands, and keeps what arrives. */
export interface Receiver {
  url: string
  requests: readonly WebhookRequest[]
  /** The first notification this holds for, waiting up to five seconds. Throws when none comes. */
  take: (matches: (request: WebhookRequest) => boolean) => Promise<WebhookRequest>
  close: () => Promise<void>
}

/** Starts a receiver for one gateway on a free port. It answers 200 to everything. */
export async function startReceiver(gateway_id: string): Promise<Receiver> {
  const requests: WebhookRequest[] = []
  const server = createServer((request, response) => {
    void keep(request, requests).then(() => response.end('OK'))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    url: `http://127.0.0.1:${port}/webhooks/payments/${gateway_id}`,
    requests,
    async take(matches) {
      const until = performance.now() + 5000
      while (performance.now() < until) {
        const found = requests.find(matches)
        if (found) return found
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      throw new Error(`no such notification among the ${requests.length} that came`)
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function keep(request: IncomingMessage, requests: WebhookRequest[]): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const url = new URL(request.url ?? '/', 'http://receiver')
  requests.push({
    method: request.method ?? 'GET',
    path: url.pathname,
    headers: request.headers,
    query: Object.fromEntries(url.searchParams),
    raw_body: Buffer.concat(chunks),
    remote_address: request.socket.remoteAddress ?? '',
  })
}
