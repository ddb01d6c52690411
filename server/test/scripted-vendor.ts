import { createServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { expect } from 'vitest'

/** A request as it came. */
export interface Asked {
  method: string
  /** With the query. */
  path: string
  body: string
}

/** An answer: a text goes out as it is, anything else as JSON. The status is 200 unless given. */
export interface Said {
  status?: number
  body: unknown
}

/** A vendor that says whatever a test wants: for answers no emulator gives. */
export interface ScriptedVendor {
  url: string
  /** What came since the last script. */
  asked: Asked[]
  say: (script: (asked: Asked) => Said) => void
  close: () => Promise<void>
}

/** Starts it on a free port; without a script it answers 404 to everything. */
export async function startScriptedVendor(): Promise<ScriptedVendor> {
  let script: (asked: Asked) => Said = () => ({ status: 404, body: {} })
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    void read(request).then((one) => {
      asked.push(one)
      const { status = 200, body } = script(one)
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(typeof body === 'string' ? body : JSON.stringify(body))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`,
    asked,
    say(next) {
      script = next
      asked.length = 0
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function read(request: IncomingMessage): Promise<Asked> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks).toString('utf8')
  return { method: request.method ?? 'GET', path: request.url ?? '/', body }
}

/** How a call to a vendor ends: with an error of one of the two kinds, or with these facts. */
export type Ending = typeof GatewayUnavailable | typeof GatewayMisconfigured | object | undefined

/** Holds what a gateway makes of an answer against how it should end. */
export async function expectEnding(call: unknown, ending: Ending): Promise<void> {
  const outcome = Promise.resolve(call)
  if (typeof ending === 'function') await expect(outcome).rejects.toBeInstanceOf(ending)
  else if (ending === undefined) expect(await outcome).toBeUndefined()
  else expect(await outcome).toMatchObject(ending)
}
