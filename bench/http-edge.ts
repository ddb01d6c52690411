/**
 * What the HTTP edge costs: processor time per request of a trivial authenticated POST, through a bare
 * Fastify and through the whole server. `node bench/http-edge.ts [requests]`. Needs no database.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { z } from 'zod'
import { createServer } from '../server/src/http/server.ts'
import { addRoute, type RouteKit } from '../server/src/http/routing.ts'
import { amount, metadata, shortText } from '../server/src/http/wire.ts'
import { validatorCompiler } from '../server/src/http/validation.ts'
import { createAuthenticator } from '../server/src/modules/identity/authenticator.ts'
import { makeSecretKey } from '../server/src/modules/identity/secret-key.ts'
import { frozenClock } from '../server/src/kernel/clock.ts'
import { createDb, type Db } from '../server/src/kernel/db.ts'
import { createLog } from '../server/src/kernel/log.ts'
import { createCursors } from '../server/src/kernel/page.ts'

const CONNECTIONS = 64
const ROUNDS = 5

const body = z.strictObject({
  customer_id: z.string().min(1).max(220),
  unit: z.string().regex(/^[A-Za-z][A-Za-z0-9_]{0,31}$/),
  amount,
  reason: shortText.optional(),
  reference: shortText.optional(),
  metadata: metadata.optional(),
})
const answer = z.object({ id: z.string(), amount, balance: amount })
const result = (given: z.output<typeof body>) => ({ id: 'tr_1', amount: given.amount, balance: 1_000n })
const SECRET = makeSecretKey('sandbox')

type Maker = () => Promise<FastifyInstance>

const SERVERS: Readonly<Record<string, Maker>> = {
  'bare Fastify': async () => {
    const app = Fastify()
    app.post('/v1/spends', async () => ({ id: 'tr_1', amount: 5, balance: 1000 }))
    return app
  },
  'bare Fastify + Zod body': async () => {
    const app = Fastify()
    app.setValidatorCompiler(validatorCompiler)
    app.post('/v1/spends', { schema: { body } }, async () => ({ id: 'tr_1', amount: 5, balance: 1000 }))
    return app
  },
  'server, hot route with encode': () =>
    whole({
      is_hot: true,
      encode: (given) => `{"id":"${given.id}","amount":${given.amount},"balance":${given.balance}}`,
    }),
  'server, hot route': () => whole({ is_hot: true }),
  'server, logged route': () => whole({}),
}

async function whole(options: {
  is_hot?: boolean
  encode?: (given: z.output<typeof answer>) => string
}): Promise<FastifyInstance> {
  const clock = frozenClock()
  const db = oneKeyDb()
  const kit: RouteKit = { db, clock, cursors: createCursors(Buffer.alloc(32)) }
  const authenticator = createAuthenticator(db, { clock, mode: 'sandbox', flush_ms: 3_600_000 })
  const app = await createServer({
    kit,
    version: '0',
    log: createLog({ write: () => undefined, is_readable: false }),
    authenticate: authenticator.authenticate,
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/spends',
    who: { key: 'spends:write' },
    summary: 'Spend',
    tag: 'bench',
    body,
    answer,
    ...options,
    read: async ({ body: given }) => result(given),
  })
  return app
}

/** A database that knows one key: the edge is measured, not PostgreSQL. */
function oneKeyDb(): Db {
  const row = {
    id: 'key_1',
    secret_digest: SECRET_DIGEST,
    mode: 'sandbox',
    scopes: ['*'],
    rate_limit_per_minute: null,
    expires_at: null,
  }
  const query = { select: () => query, where: () => query, execute: async () => [row] }
  return {
    ...createDb({ url: 'postgres://none@127.0.0.1:1/none' }),
    selectFrom: () => query,
  } as unknown as Db
}

const SECRET_TEXT = process.env['BENCH_SECRET'] ?? SECRET.secret
const SECRET_DIGEST = process.env['BENCH_DIGEST']
  ? Buffer.from(process.env['BENCH_DIGEST'], 'hex')
  : SECRET.digest

if (process.send) {
  const app = await SERVERS[process.argv[2] ?? '']?.()
  if (!app) throw new Error('no such server')
  await app.listen({ port: 0, host: '127.0.0.1' })
  process.on('SIGINT', () => process.exit())
  process.on('message', () => process.send?.({ cpu: process.cpuUsage() }))
  process.send({ port: (app.server.address() as AddressInfo).port })
} else {
  await measure(Number(process.argv[2] ?? 40_000))
}

interface Candidate {
  name: string
  child: ChildProcess
  port: number
  user_us: number[]
  system_us: number[]
  rps: number[]
}

async function measure(requests: number): Promise<void> {
  const candidates: Candidate[] = []
  for (const name of Object.keys(SERVERS)) {
    const child = fork(import.meta.filename, [name], {
      ...(process.env['PROF'] === name ? { execArgv: ['--cpu-prof', '--cpu-prof-dir=/tmp/h/prof'] } : {}),
      env: { ...process.env, BENCH_SECRET: SECRET.secret, BENCH_DIGEST: SECRET.digest.toString('hex') },
    })
    const [{ port }] = (await once(child, 'message')) as [{ port: number }]
    candidates.push({ name, child, port, user_us: [], system_us: [], rps: [] })
  }
  for (let round = -1; round < ROUNDS; round++) {
    for (const candidate of candidates) {
      const before = await cpuOf(candidate.child)
      const begun = performance.now()
      await load(candidate.port, requests)
      const seconds = (performance.now() - begun) / 1000
      const after = await cpuOf(candidate.child)
      if (round < 0) continue
      candidate.user_us.push((after.user - before.user) / requests)
      candidate.system_us.push((after.system - before.system) / requests)
      candidate.rps.push(requests / seconds)
    }
  }
  for (const { name, child, user_us, system_us, rps } of candidates) {
    child.kill(process.env['PROF'] ? 'SIGINT' : 'SIGTERM')
    const figures = [Math.min(...user_us), median(user_us), median(system_us)].map((us) =>
      us.toFixed(1).padStart(6),
    )
    console.log(
      `${name.padEnd(32)} user least ${figures[0]} median ${figures[1]} system ${figures[2]} µs  ${Math.round(median(rps))}/s`,
    )
  }
}

async function cpuOf(child: ChildProcess): Promise<NodeJS.CpuUsage> {
  child.send('cpu')
  const [{ cpu }] = (await once(child, 'message')) as [{ cpu: NodeJS.CpuUsage }]
  return cpu
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

/** Sends requests on kept-alive connections, one at a time on each. */
async function load(port: number, requests: number): Promise<void> {
  const payload = JSON.stringify({
    customer_id: 'cus_01jhy8f5t3v0q2m4n6p8r0s2t4',
    unit: 'minute',
    amount: 15,
    reason: 'recognition',
  })
  let left = requests
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      const next = (): void => {
        if (left-- <= 0) {
          socket.end()
          resolve()
          return
        }
        socket.write(
          `POST /v1/spends HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${SECRET_TEXT}\r\ncontent-type: application/json\r\n` +
            `idempotency-key: k${left}\r\nuser-agent: bench\r\naccept: */*\r\ncontent-length: ${payload.length}\r\n\r\n${payload}`,
        )
      }
      let text = ''
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1')
        const head_end = text.indexOf('\r\n\r\n')
        if (head_end === -1) return
        const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
        if (text.length < head_end + 4 + length) return
        if (!text.startsWith('HTTP/1.1 200')) {
          reject(new Error(text))
          return
        }
        text = ''
        next()
      })
      socket.on('error', reject)
      socket.on('connect', next)
    })
  await Promise.all(Array.from({ length: CONNECTIONS }, one))
}
