import { createServer } from 'node:http'
import type { RequestListener, Server } from 'node:http'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { callVendor, GatewayMisconfigured, GatewayUnavailable, watchCalls } from './http.ts'
import type { VendorCall } from './http.ts'

const servers: Server[] = []

/** A vendor on a free port that answers everything in one way. */
async function vendor(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
}

async function failureOf(promise: Promise<unknown>): Promise<GatewayUnavailable> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(GatewayUnavailable)
  return error as GatewayUnavailable
}

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})

describe('callVendor', () => {
  it('sends the method, the headers and the body, and reads the answer', async () => {
    const url = await vendor((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () => {
        response.setHeader('x-vendor', 'one')
        const seen = { method: request.method, url: request.url, key: request.headers['x-key'], body }
        response.end(JSON.stringify(seen))
      })
    })
    const answer = await callVendor({
      method: 'POST',
      url: `${url}/a?b=1`,
      headers: { 'x-key': 'k' },
      body: '{}',
    })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-vendor')).toBe('one')
    expect(answer.json()).toEqual({ method: 'POST', url: '/a?b=1', key: 'k', body: '{}' })
  })

  it.each([400, 401, 403, 404, 409, 422])('gives %i back as a value', async (status) => {
    const url = await vendor((_request, response) => response.writeHead(status).end('{"code":"x"}'))
    const answer = await callVendor({ method: 'GET', url })
    expect([answer.status, answer.json()]).toEqual([status, { code: 'x' }])
  })

  it.each([500, 502, 503, 504])('throws for %i: whether it was carried out is unknown', async (status) => {
    const url = await vendor((_request, response) =>
      response.writeHead(status).end('<html>secret-page</html>'),
    )
    const error = await failureOf(callVendor({ method: 'POST', url, body: '{}' }))
    expect([error.code, error.reason]).toEqual(['gateway_unavailable', `status ${status}`])
    expect(error.message).not.toContain('secret-page')
  })

  it('throws for 429 and keeps the wait the vendor asks for, at most an hour', async () => {
    let wait = '7'
    const url = await vendor((_request, response) => response.writeHead(429, { 'retry-after': wait }).end())
    expect((await failureOf(callVendor({ method: 'GET', url }))).retry_after_ms).toBe(7000)
    wait = '999999'
    expect((await failureOf(callVendor({ method: 'GET', url }))).retry_after_ms).toBe(3_600_000)
    wait = 'Wed, 21 Oct 2026 07:28:00 GMT'
    expect((await failureOf(callVendor({ method: 'GET', url }))).retry_after_ms).toBeUndefined()
  })

  it('does not follow a redirect: credentials stay with the vendor', async () => {
    let visits = 0
    const other = await vendor((_request, response) => {
      visits += 1
      response.end('{}')
    })
    const url = await vendor((_request, response) => response.writeHead(302, { location: other }).end())
    expect((await failureOf(callVendor({ method: 'GET', url }))).reason).toBe('redirect')
    expect(visits).toBe(0)
  })

  it('throws when the answer does not come in time, at the head or in the middle of the body', async () => {
    const silent = await vendor(() => undefined)
    expect((await failureOf(callVendor({ method: 'GET', url: silent, timeout_ms: 80 }))).reason).toBe(
      'timeout',
    )
    const slow = await vendor((_request, response) => {
      response.writeHead(200)
      response.write('{"half":')
    })
    expect((await failureOf(callVendor({ method: 'GET', url: slow, timeout_ms: 80 }))).reason).toBe('timeout')
  })

  it('throws when the connection is refused or cut', async () => {
    const cut = await vendor((request) => request.socket.destroy())
    expect((await failureOf(callVendor({ method: 'GET', url: cut }))).reason).toBe('connection')
    const gone = await vendor((_request, response) => response.end())
    await new Promise((resolve) => servers.pop()?.close(resolve))
    expect((await failureOf(callVendor({ method: 'GET', url: gone }))).reason).toBe('connection')
  })

  it('cuts off an answer that is too large', async () => {
    const url = await vendor((_request, response) => response.end('x'.repeat(2000)))
    const error = await failureOf(callVendor({ method: 'GET', url, body_max_bytes: 1000 }))
    expect(error.reason).toBe('answer too large')
    expect((await callVendor({ method: 'GET', url, body_max_bytes: 2000 })).text).toHaveLength(2000)
  })

  it('says undefined for a body that is not JSON', async () => {
    const url = await vendor((_request, response) => response.end('<html></html>'))
    expect((await callVendor({ method: 'GET', url })).json()).toBeUndefined()
  })
})

describe('GatewayMisconfigured', () => {
  it('has a stable code, a reason of its own and is not GatewayUnavailable', () => {
    const error = new GatewayMisconfigured('invalid_credentials')
    expect([error.code, error.reason]).toEqual(['gateway_misconfigured', 'invalid_credentials'])
    expect(error).not.toBeInstanceOf(GatewayUnavailable)
  })
})

describe('what is certain after a failure', () => {
  const nowhere: VendorCall = { method: 'POST', url: '', body: '{}' }
  beforeAll(async () => {
    nowhere.url = await vendor(() => undefined)
    for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve))
  })

  it('is that nothing was sent when no connection came about, whatever the reason', async () => {
    expect((await failureOf(callVendor(nowhere))).was_sent).toBe(false)
    // Several addresses of one name, none of which answers.
    const by_name = nowhere.url.replace('127.0.0.1', 'localhost')
    expect((await failureOf(callVendor({ ...nowhere, url: by_name }))).was_sent).toBe(false)
    const no_name = { ...nowhere, url: 'http://nobody.invalid' }
    expect((await failureOf(callVendor(no_name))).was_sent).toBe(false)
  })

  it('is nothing when the vendor had the request: cut off, silent, failing, or redirecting', async () => {
    const cut = await vendor((request) => request.socket.destroy())
    expect((await failureOf(callVendor({ ...nowhere, url: cut }))).was_sent).toBe(true)
    const silent = await vendor(() => undefined)
    const waiting = callVendor({ ...nowhere, url: silent, timeout_ms: 50 })
    expect(await failureOf(waiting)).toMatchObject({ reason: 'timeout', was_sent: true })
    const failing = await vendor((_request, response) => response.writeHead(502).end())
    expect((await failureOf(callVendor({ ...nowhere, url: failing }))).was_sent).toBe(true)
    expect(new GatewayUnavailable('by hand').was_sent).toBe(true)
  })

  it('is told for all calls of a piece of work, also within a larger one', async () => {
    const url = await vendor((_request, response) => response.end('{}'))
    const first = await watchCalls(() => callVendor(nowhere))
    expect(first.calls).toEqual({ has_reached: false, unavailable: 'connection' })
    expect(first.result.status).toBe('rejected')
    const both = await watchCalls(async () => {
      const inner = await watchCalls(() => callVendor({ method: 'GET', url }))
      expect(inner.calls).toEqual({ has_reached: true, unavailable: undefined })
      await callVendor(nowhere).catch(() => undefined)
      return 'done'
    })
    expect(both).toEqual({
      result: { status: 'fulfilled', value: 'done' },
      calls: { has_reached: true, unavailable: 'connection' },
    })
    expect((await watchCalls(async () => 1)).calls).toEqual({ has_reached: false, unavailable: undefined })
  })

  it('is not mixed up between works that run at the same time', async () => {
    const url = await vendor((_request, response) => setTimeout(() => response.end('{}'), 20))
    const works = Array.from({ length: 20 }, (_, index) =>
      watchCalls(() => callVendor(index % 2 === 0 ? nowhere : { method: 'GET', url })),
    )
    const reached = (await Promise.all(works)).map(({ calls }) => calls.has_reached)
    expect(reached).toEqual(reached.map((_, index) => index % 2 === 1))
  })
})
