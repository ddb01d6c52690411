import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { createWebhookSender, type WebhookSenderOptions } from './webhook.ts'
import { isPublicAddress } from './webhook/addresses.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

interface Receiver {
  port: number
  requests: { url: string; headers: IncomingMessage['headers']; body: string }[]
}

async function receiver(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  host = '127.0.0.1',
): Promise<Receiver> {
  const requests: Receiver['requests'] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (part: Buffer) => (body += part.toString()))
    request.on('end', () => {
      requests.push({ url: request.url ?? '', headers: request.headers, body })
      answer(request, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, requests }
}

function send(
  url: string,
  options: Partial<WebhookSenderOptions> = {},
  signal = new AbortController().signal,
) {
  const sender = createWebhookSender({ may_use_http: true, networks: ['127.0.0.1'], ...options })
  closers.push(() => sender.close())
  return sender.send({ url, body: '{"é":1}', headers: { 'webhook-id': 'evt_1' }, signal })
}

const ok = (_request: IncomingMessage, response: ServerResponse): void => void response.writeHead(204).end()

/** Ways to write an address that is not the public Internet. */
const INNER = [
  '127.0.0.1',
  '127.1',
  '2130706433',
  '0x7f000001',
  '0x7f.1',
  '017700000001',
  '0177.0.0.1',
  '127.0.0.1.',
  '0',
  '0.0.0.0',
  '10.0.0.1',
  '10.255.255.255',
  '100.64.0.1',
  '169.254.169.254',
  '0xa9fea9fe',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.0.1',
  '192.0.2.1',
  '192.88.99.1',
  '192.168.1.1',
  '198.18.0.1',
  '198.51.100.1',
  '203.0.113.1',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
  '１２７.0.0.1',
  '[::]',
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::127.0.0.1]',
  '[64:ff9b::7f00:1]',
  '[64:ff9b::10.0.0.1]',
  '[64:ff9b:1::1]',
  '[100::1]',
  '[2001::1]',
  '[2001:db8::1]',
  '[2002:7f00:1::]',
  '[3fff::1]',
  '[5f00::1]',
  '[fc00::1]',
  '[fd00:ec2::254]',
  '[fe80::1]',
  '[fec0::1]',
  '[ff02::1]',
  '[::ffff:8.8.8.8]',
]

describe('an address that is not public is not reached', () => {
  test.each(INNER)('as %s', async (host) => {
    const sender = createWebhookSender({ may_use_http: true, networks: [] })
    expect(sender.isAllowedUrl(`https://${host}/`)).toBe(false)
    expect(await send(`http://${host}:8080/`, { networks: [] })).toEqual({ outcome: 'refused' })
  })

  test.each([
    'ftp://example.com/',
    'gopher://example.com/',
    'file:///etc/passwd',
    'unix:/var/run/docker.sock',
    'https://user@example.com/',
    'https://user:pass@example.com/',
    'https://example.com:22/',
    'https://example.com:25/',
    'https://example.com/#part',
    'example.com',
    '',
    'https://',
    'https://[::1',
    `https://example.com/${'a'.repeat(2000)}`,
  ])('nor by %j', (url) => {
    expect(createWebhookSender({ may_use_http: true, networks: [] }).isAllowedUrl(url)).toBe(false)
  })

  test.each([
    'https://example.com/hook',
    'https://example.com:8443/',
    'https://8.8.8.8/',
    'https://[2606:4700::1]/',
  ])('but %s is', (url) => {
    expect(createWebhookSender({ may_use_http: false, networks: [] }).isAllowedUrl(url)).toBe(true)
  })

  test('plain http is for the sandbox and for networks of the operator', async () => {
    const live = createWebhookSender({ may_use_http: false, networks: [] })
    expect(live.isAllowedUrl('http://example.com/')).toBe(false)
    const opened = createWebhookSender({ may_use_http: false, networks: ['10.1.0.0/16'] })
    expect(opened.isAllowedUrl('http://10.1.2.3:3000/')).toBe(true)
    expect(opened.isAllowedUrl('http://8.8.8.8/')).toBe(false)
    const public_name = { may_use_http: false, networks: ['10.1.0.0/16'], resolve: async () => ['8.8.8.8'] }
    expect(await send('http://app.example/', public_name)).toEqual({ outcome: 'refused' })
  })

  test('whatever a name says: one inner address among the resolved is enough to refuse', async () => {
    const { port, requests } = await receiver(ok)
    for (const addresses of [
      ['127.0.0.2'],
      ['10.0.0.1'],
      ['127.0.0.1', '127.0.0.2'],
      ['::1'],
      ['::ffff:127.0.0.2'],
      ['fe80::1%lo'],
      ['64:ff9b::7f00:1'],
      ['not an address'],
      [],
    ]) {
      const result = await send(`http://app.example:${port}/`, { resolve: async () => addresses })
      expect([addresses, result]).toEqual([addresses, { outcome: 'refused' }])
    }
    expect(requests).toEqual([])
  })

  test('a cloud’s metadata address stays closed whatever networks are opened', () => {
    const open = createWebhookSender({ may_use_http: true, networks: ['0.0.0.0/0', '::/0'] })
    expect(open.isAllowedUrl('http://10.0.0.1/')).toBe(true)
    for (const host of ['169.254.169.254', '[::ffff:169.254.169.254]', '[fd00:ec2::254]', '[fe80::1]'])
      expect([host, open.isAllowedUrl(`http://${host}/`)]).toEqual([host, false])
  })

  test('texts that are no addresses are not public', () => {
    for (const text of ['', 'localhost', '8.8.8', '8.8.8.8 ', '2606:4700::1%eth0', '08.8.8.8']) {
      expect([text, isPublicAddress(text)]).toEqual([text, false])
    }
    expect(['8.8.8.8', '2606:4700::1', '1.1.1.1'].every(isPublicAddress)).toBe(true)
  })
})

describe('a message', () => {
  test('is posted with its headers and bytes, to the address that was judged, under the name', async () => {
    const { port, requests } = await receiver(ok)
    const asked: string[] = []
    const resolve = async (host: string): Promise<string[]> => {
      asked.push(host)
      return asked.length === 1 ? ['127.0.0.1'] : ['127.0.0.2']
    }
    const sender = createWebhookSender({ may_use_http: true, networks: ['127.0.0.1'], resolve })
    const message = {
      url: `http://app.example:${port}/hook?a=1`,
      body: '{"é":1}',
      headers: { 'webhook-id': 'evt_1', 'content-type': 'application/json' },
      signal: new AbortController().signal,
    }
    expect(await sender.send(message)).toEqual({ outcome: 'answered', status_code: 204 })
    expect(requests).toMatchObject([
      {
        url: '/hook?a=1',
        body: '{"é":1}',
        headers: { host: `app.example:${port}`, 'webhook-id': 'evt_1', 'content-length': '8' },
      },
    ])
    // The name was asked once; that it now leads inside is noticed at the next message.
    expect(asked).toEqual(['app.example'])
    expect(await sender.send(message)).toEqual({ outcome: 'refused' })
    expect(requests.length).toBe(1)
  })

  test('follows no redirect', async () => {
    const target = await receiver(ok)
    const { port } = await receiver((_request, response) => {
      response.writeHead(302, { location: `http://127.0.0.1:${target.port}/` }).end()
    })
    expect(await send(`http://127.0.0.1:${port}/`)).toEqual({ outcome: 'answered', status_code: 302 })
    expect(target.requests).toEqual([])
  })

  test('waits for an answer no longer than its time', async () => {
    const { port } = await receiver(() => undefined)
    const begun = performance.now()
    expect(await send(`http://127.0.0.1:${port}/`, { timeout_ms: 200 })).toEqual({ outcome: 'timeout' })
    expect(performance.now() - begun).toBeLessThan(2_000)
  })

  test('waits for a resolver no longer than its time', async () => {
    const resolve = (): Promise<string[]> => new Promise(() => undefined)
    const result = await send('http://app.example/', { timeout_ms: 100, resolve })
    expect(result).toEqual({ outcome: 'timeout' })
  })

  test('reads no more than a little of an answer without end', async () => {
    let is_closed = false
    let written = 0
    const { port } = await receiver((_request, response) => {
      response.writeHead(200)
      const write = (): void => {
        while (!is_closed && written < 50_000_000 && response.write(Buffer.alloc(65_536))) written += 65_536
      }
      response.on('drain', write)
      response.on('close', () => (is_closed = true))
      write()
    })
    expect(await send(`http://127.0.0.1:${port}/`)).toEqual({ outcome: 'answered', status_code: 200 })
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(is_closed).toBe(true)
    expect(written).toBeLessThan(20_000_000)
  })

  test('takes the status of an answer whose body does not end', async () => {
    const { port } = await receiver((_request, response) => {
      response.writeHead(200)
      response.write('a')
    })
    const result = await send(`http://127.0.0.1:${port}/`, { timeout_ms: 200 })
    expect(result).toEqual({ outcome: 'answered', status_code: 200 })
  })

  test('fails where nobody listens, no HTTP is spoken, headers have no end or it is changed', async () => {
    const closed = await receiver(ok)
    for (const close of closers.splice(0)) close()
    expect(await send(`http://127.0.0.1:${closed.port}/`)).toEqual({ outcome: 'failed' })
    const answers = [
      'SSH-2.0-OpenSSH_9\r\n',
      `HTTP/1.1 200 OK\r\nx: ${'a'.repeat(100_000)}\r\n\r\n`,
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
      '',
    ]
    for (const answer of answers) {
      const server = createTcpServer((socket) => {
        socket.on('error', () => undefined)
        socket.end(answer)
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      closers.push(() => server.close())
      const { port } = server.address() as AddressInfo
      expect(await send(`http://127.0.0.1:${port}/`)).toEqual({ outcome: 'failed' })
      expect(await send(`https://127.0.0.1:${port}/`)).toEqual({ outcome: 'failed' })
    }
  })

  test('is given up when it is called off', async () => {
    const { port } = await receiver(() => undefined)
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 50)
    expect(await send(`http://127.0.0.1:${port}/`, {}, controller.signal)).toEqual({ outcome: 'aborted' })
    expect(await send(`http://127.0.0.1:${port}/`, {}, AbortSignal.abort())).toEqual({ outcome: 'aborted' })
  })
})
