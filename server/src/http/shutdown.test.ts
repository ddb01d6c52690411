import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import path from 'node:path'
import { afterEach, expect, test } from 'vitest'

const FILE = path.join(import.meta.dirname, 'server.fixtures/drained-server.ts')

interface Running {
  child: ChildProcess
  port: number
  ended: Promise<{ code: number | null; signal: string | null; after_ms: number }>
  terminate: () => void
}

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

async function start(...args: string[]): Promise<Running> {
  const child = fork(FILE, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  children.push(child)
  const [port] = (await once(child, 'message')) as [number]
  let told_at = 0
  const ended = once(child, 'exit').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as string | null,
    after_ms: performance.now() - told_at,
  }))
  const terminate = (): void => {
    told_at = performance.now()
    child.kill('SIGTERM')
  }
  return { child, port, ended, terminate }
}

interface Outcome {
  status: number
  is_last: boolean
}

function ask(port: number, agent: Agent, ms: number, n: number): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify({ n })
    const outgoing = request(
      {
        host: '127.0.0.1',
        port,
        agent,
        method: 'POST',
        path: `/busy/${ms}`,
        headers: {
          authorization: 'Bearer root',
          'content-type': 'application/json',
          'content-length': body.length,
        },
      },
      (answer) => {
        let text = ''
        answer.on('data', (chunk: Buffer) => {
          text += chunk.toString()
        })
        answer.on('error', reject)
        answer.on('end', () => {
          if (text !== `{"n":${n}}`) reject(new Error(`${answer.statusCode} ${text}`))
          else resolve({ status: answer.statusCode ?? 0, is_last: answer.headers.connection === 'close' })
        })
      },
    )
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

test('under load, no request on an open connection is lost when the process is told to end', async () => {
  const server = await start()
  let done = 0
  let told = false
  const failures: unknown[] = []
  // Forty clients, each on a connection of its own, each sending the next request as soon as it has an
  // answer, some with pauses, until an answer says that the connection ends.
  const clients = Array.from({ length: 40 }, async (_, client) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (let n = 0; ; n++) {
      try {
        const outcome = await ask(server.port, agent, client % 8 === 0 ? 30 : 0, n)
        done++
        if (outcome.is_last) break
        if (client % 5 === 0) await new Promise((resolve) => setTimeout(resolve, (n % 7) * 20))
      } catch (error) {
        failures.push(error)
        break
      }
    }
    agent.destroy()
    return told
  })
  await new Promise((resolve) => setTimeout(resolve, 700))
  const before = done
  told = true
  server.terminate()
  const endings = await Promise.all(clients)
  const end = await server.ended
  expect(failures).toEqual([])
  expect(endings.every(Boolean)).toBe(true)
  expect(before).toBeGreaterThan(40)
  expect(done).toBeGreaterThanOrEqual(before + 40)
  expect([end.code, end.signal]).toEqual([0, null])
  expect(end.after_ms).toBeLessThan(5_000)
})

test('a request that takes its time is finished, and nobody new is let in', async () => {
  const server = await start()
  const agent = new Agent({ keepAlive: true })
  const slow = ask(server.port, agent, 1_500, 7)
  await new Promise((resolve) => setTimeout(resolve, 200))
  server.terminate()
  await new Promise((resolve) => setTimeout(resolve, 300))
  await expect(ask(server.port, new Agent(), 0, 8)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  expect(await slow).toMatchObject({ status: 200 })
  const end = await server.ended
  expect(end.code).toBe(0)
  expect(end.after_ms).toBeGreaterThan(1_200)
  expect(end.after_ms).toBeLessThan(6_000)
})

test('with a grace, connections are accepted for a while longer, and answers say goodbye', async () => {
  const server = await start('20000', '800')
  server.terminate()
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(await ask(server.port, new Agent({ keepAlive: true }), 0, 1)).toEqual({ status: 200, is_last: true })
  expect((await server.ended).code).toBe(0)
})

test('connections nobody uses, and ones that never said a word, do not hold the process', async () => {
  const server = await start()
  const agent = new Agent({ keepAlive: true })
  await ask(server.port, agent, 0, 1)
  const mute = connect(server.port, '127.0.0.1')
  mute.on('error', () => undefined)
  await once(mute, 'connect')
  server.terminate()
  const end = await server.ended
  expect(end.code).toBe(0)
  expect(end.after_ms).toBeLessThan(3_000)
  agent.destroy()
})

test('a request that does not end is cut off at the limit', async () => {
  const server = await start('1500')
  const cut = ask(server.port, new Agent(), 60_000, 1)
  cut.catch(() => undefined)
  await new Promise((resolve) => setTimeout(resolve, 200))
  server.terminate()
  await expect(cut).rejects.toMatchObject({ code: 'ECONNRESET' })
  const end = await server.ended
  expect(end.after_ms).toBeLessThan(5_000)
})

test('a second signal ends it at once', async () => {
  const server = await start()
  const cut = ask(server.port, new Agent(), 60_000, 1)
  cut.catch(() => undefined)
  await new Promise((resolve) => setTimeout(resolve, 200))
  server.terminate()
  await new Promise((resolve) => setTimeout(resolve, 200))
  server.terminate()
  const end = await server.ended
  expect([end.code, end.after_ms < 1_000]).toEqual([1, true])
})
