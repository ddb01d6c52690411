import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { gatherPipelinedAnswers } from './pipelined-answers.ts'

const opened: Server[] = []

afterEach(async () => {
  for (const server of opened.splice(0)) {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
})

interface Lab {
  server: Server
  port: number
  /** What was written to all connections, one figure a system call: how many pieces it had. */
  writes: number[]
  connections: Socket[]
}

async function listen(answer: RequestListener): Promise<Lab> {
  const server = createServer({ keepAliveTimeout: 0 }, answer)
  opened.push(server)
  gatherPipelinedAnswers(server)
  const writes: number[] = []
  const connections: Socket[] = []
  server.on('connection', (socket) => {
    connections.push(socket)
    const { _write, _writev } = socket
    socket._write = (...call) => {
      writes.push(1)
      _write.apply(socket, call)
    }
    socket._writev = (chunks, done) => {
      writes.push(chunks.length)
      _writev?.call(socket, chunks, done)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, port: (server.address() as AddressInfo).port, writes, connections }
}

const ask = (path: string, headers = ''): string => `GET ${path} HTTP/1.1\r\nhost: shop\r\n${headers}\r\n`
const paths = (count: number): string[] => Array.from({ length: count }, (_, n) => `/${n}`)

/** Sends all requests in one write, and answers with all that came back until the server closed. */
async function pipeline(port: number, texts: readonly string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.write(texts.join(''))
  return readAll(socket)
}

async function readAll(socket: Socket): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text
}

const bodies = (text: string): string[] => [...text.matchAll(/<([^>]*)>/g)].map((match) => match[1] ?? '')
/** Reads on until so many answers are there; what fills them up is left out. */
async function readBodies(socket: Socket, count: number): Promise<string[]> {
  let text = ''
  while (bodies(text).length < count) {
    const [chunk] = (await once(socket.resume(), 'data')) as [Buffer]
    text += String(chunk).replaceAll('x', '')
  }
  return bodies(text)
}

const withClose = (all: readonly string[]): string[] =>
  all.map((path, index) => ask(path, index === all.length - 1 ? 'connection: close\r\n' : ''))

describe('answers to pipelined requests', () => {
  it('go together, each once and in order, and the connection ends after the last', async () => {
    const lab = await listen((request, response) => {
      response.end(`<${request.url}>`)
    })
    const all = paths(200)
    expect(bodies(await pipeline(lab.port, withClose(all)))).toEqual(all)
    expect(lab.writes.length).toBeLessThan(20)
  })

  it('keep their order when later ones are ready first, and wait for nobody behind them', async () => {
    const release: (() => void)[] = []
    const lab = await listen((request, response) => {
      if (request.url === '/1') release.push(() => response.end('</1>'))
      else response.end(`<${request.url}>`)
    })
    const socket = connect(lab.port, '127.0.0.1')
    socket.write(withClose(paths(4)).join(''))
    const [first] = (await once(socket, 'data')) as [Buffer]
    expect(bodies(String(first))).toEqual(['/0'])
    release[0]?.()
    expect(bodies(await readAll(socket))).toEqual(['/1', '/2', '/3'])
  })

  it('are whole for a reader that stops reading, and whoever writes them waits for it', async () => {
    const rest = 'x'.repeat(4_000)
    const lab = await listen((request, response) => {
      response.end(`<${request.url}>${rest}`)
    })
    const all = paths(3_000)
    const socket = connect(lab.port, '127.0.0.1')
    socket.pause()
    socket.write(all.map((path) => ask(path)).join(''))
    let before = -1
    while (before !== lab.connections[0]?.bytesWritten) {
      before = lab.connections[0]?.bytesWritten ?? -1
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    // Not all was handed to the system: the rest waits where answers always wait.
    expect(lab.writes.reduce((sum, pieces) => sum + pieces, 0)).toBeLessThan(all.length)
    expect(await readBodies(socket, all.length)).toEqual(all)
    socket.destroy()
  })

  it('that come while the reader stands still are sent when it reads again', async () => {
    const rest = 'x'.repeat(25_000)
    const lab = await listen((request, response) => {
      setImmediate(() => response.end(`<${request.url}>${request.url === '/last' ? '' : rest}`))
    })
    const socket = connect(lab.port, '127.0.0.1')
    socket.pause()
    const asked: string[] = []
    const stands = (): boolean => (lab.connections[0]?.writableLength ?? 0) > 0
    while (!stands()) {
      // Two at a time are less than what is sent at once: the turn's end sends them.
      asked.push('/', '/')
      socket.write(ask('/') + ask('/'))
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    asked.push('/last', '/last')
    socket.write(ask('/last') + ask('/last'))
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(await readBodies(socket, asked.length)).toEqual(asked)
    socket.destroy()
  })

  it('all come on a connection that stays open, small ones behind large ones too', async () => {
    const large = 'x'.repeat(3_000_000)
    const lab = await listen((request, response) => {
      setImmediate(() => response.end(`<${request.url}>${request.url === '/1' ? large : ''}`))
    })
    const socket = connect(lab.port, '127.0.0.1')
    for (let round = 0; round < 3; round++) {
      socket.write(
        paths(30)
          .map((path) => ask(path))
          .join(''),
      )
      expect(await readBodies(socket, 30)).toEqual(paths(30))
    }
    socket.destroy()
  })

  it('that are finished reach the client although the server closes idle connections at once', async () => {
    const lab = await listen((request, response) => {
      if (request.url === '/3')
        response.on('finish', () => {
          process.nextTick(() => lab.server.closeIdleConnections())
        })
      response.end(`<${request.url}>`)
    })
    expect(
      bodies(
        await pipeline(
          lab.port,
          paths(4).map((path) => ask(path)),
        ),
      ),
    ).toEqual(paths(4))
  })

  it('to a client that went away are dropped, and the server goes on', async () => {
    const lab = await listen((request, response) => {
      setTimeout(() => response.end(`<${request.url}>`), 20)
    })
    const socket = connect(lab.port, '127.0.0.1')
    socket.write(
      paths(50)
        .map((path) => ask(path))
        .join(''),
    )
    await once(socket, 'connect')
    socket.resetAndDestroy()
    const all = paths(50)
    expect(bodies(await pipeline(lab.port, withClose(all)))).toEqual(all)
  })

  it('leave a connection alone whose client waits for each answer', async () => {
    const lab = await listen((request, response) => {
      response.end(`<${request.url}>`)
    })
    const socket = connect(lab.port, '127.0.0.1')
    for (const path of paths(5)) {
      socket.write(ask(path))
      const [chunk] = (await once(socket, 'data')) as [Buffer]
      expect(bodies(String(chunk))).toEqual([path])
    }
    const own = lab.connections[0]
    expect(own && Object.hasOwn(own, '_final')).toBe(false)
    expect(lab.writes).toHaveLength(5)
    socket.destroy()
  })
})
