import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'

/** What came back from the vendor and is about to be handed on. */
export interface ProxiedAnswer {
  status: number
  content_type: string
  body: string
}

/** Stands between a gateway and its vendor and may change the vendor's answers. */
export interface Proxy {
  url: string
  close: () => Promise<void>
}

/** Starts a proxy to `target`; `change` gets each answer together with the request's headers. */
export async function startProxy(
  target: string,
  change: (answer: ProxiedAnswer, request: { headers: Readonly<Record<string, string>> }) => ProxiedAnswer,
): Promise<Proxy> {
  const server = createServer((request, response) => {
    void pass(target, request, response, change).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function pass(
  target: string,
  request: IncomingMessage,
  response: ServerResponse,
  change: Parameters<typeof startProxy>[1],
): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(
      (entry): entry is [string, string] =>
        typeof entry[1] === 'string' && !['host', 'connection', 'content-length'].includes(entry[0]),
    ),
  )
  const method = request.method ?? 'GET'
  const path = request.url ?? '/'
  const body = method === 'GET' || method === 'HEAD' ? {} : { body: Buffer.concat(chunks) }
  const answer = await fetch(target + path, { method, headers, ...body, redirect: 'manual' })
  const content_type = answer.headers.get('content-type') ?? 'text/plain'
  const original = { status: answer.status, content_type, body: await answer.text() }
  const changed = change(original, { headers })
  response.writeHead(changed.status, { 'content-type': changed.content_type }).end(changed.body)
}
