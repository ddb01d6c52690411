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
import { createApiKey, createAuthenticator, programAsMaker } from '../server/src/modules/identity/index.ts'
import { frozenClock } from '../server/src/kernel/clock.ts'
import { createDb, type Db, type Tx } from '../server/src/kernel/db.ts'
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

interface Made {
  app: FastifyInstance
  secret: string
}

type Maker = () => Promise<Made>

const SERVERS: Readonly<Record<string, Maker>> = {
  'bare Fastify': async () => {
    const app = Fastify()
    app.post('/v1/spends', async () => ({ id: 'tr_1', amount: 5, balance: 1000 }))
    return { app, secret: 'none' }
  },
  'bare Fastify + Zod body': async () => {
    const app = Fastify()
    app.setValidatorCompiler(validatorCompiler)
    app.post('/v1/spends', { schema: { body } }, async () => ({ id: 'tr_1', amount: 5, balance: 1000 }))
    return { app, secret: 'none' }
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
}): Promise<Made> {
  const clock = frozenClock()
  const { db, tx } = oneKeyDb()
  const { secret } = await createApiKey(tx, clock, {
    mode: 'sandbox',
    maker: programAsMaker('command'),
    key: { name: 'bench', scopes: ['*'] },
  })
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
  return { app, secret }
}

/** A database that knows one key: the edge is measured, not PostgreSQL. */
function oneKeyDb(): { db: Db; tx: Tx } {
  const rows: object[] = []
  const reading = { select: () => reading, where: () => reading, execute: async () => rows }
  const writing = {
    values: (row: object) => {
      rows.push(row)
      return writing
    },
    returning: () => writing,
    executeTakeFirstOrThrow: async () => rows[0],
  }
  const closed = createDb({ url: 'postgres://none@127.0.0.1:1/none' })
  const db = { ...closed, selectFrom: () => reading } as unknown as Db
  return { db, tx: { insertInto: () => writing } as unknown as Tx }
}

if (process.send) {
  const made = await SERVERS[process.argv[2] ?? '']?.()
  if (!made) throw new Error('no such server')
  await made.app.listen({ port: 0, host: '127.0.0.1' })
  process.on('message', () => process.send?.({ cpu: process.cpuUsage() }))
  process.send({ port: (made.app.server.address() as AddressInfo).port, secret: made.secret })
} else {
  await measure(Number(process.argv[2] ?? 40_000))
}

interface Candidate {
  name: string
  child: ChildProcess
  port: number
  secret: string
  user_us: number[]
  system_us: number[]
  rps: number[]
}

async function measure(requests: number): Promise<void> {
  const candidates: Candidate[] = []
  for (const name of Object.keys(SERVERS)) {
    const child = fork(import.meta.filename, [name])
    const [{ port, secret }] = (await once(child, 'message')) as [{ port: number; secret: string }]
    candidates.push({ name, child, port, secret, user_us: [], system_us: [], rps: [] })
  }
  for (let round = -1; round < ROUNDS; round++) {
    for (const candidate of candidates) {
      const before = await cpuOf(candidate.child)
      const begun = performance.now()
      await load(candidate, requests)
      const seconds = (performance.now() - begun) / 1000
      const after = await cpuOf(candidate.child)
      if (round < 0) continue
      candidate.user_us.push((after.user - before.user) / requests)
      candidate.system_us.push((after.system - before.system) / requests)
      candidate.rps.push(requests / seconds)
    }
  }
  for (const { name, child, user_us, system_us, rps } of candidates) {
    child.kill()
    const [least, middle, system] = [Math.min(...user_us), median(user_us), median(system_us)].map((us) =>
      us.toFixed(1).padStart(6),
    )
    const rate = Math.round(median(rps))
    console.log(`${name.padEnd(32)} user least ${least} median ${middle} system ${system} µs  ${rate}/s`)
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
async function load({ port, secret }: Candidate, requests: number): Promise<void> {
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
          `POST /v1/spends HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${secret}\r\n` +
            `content-type: application/json\r\nidempotency-key: k${left}\r\nuser-agent: bench\r\n` +
            `accept: */*\r\ncontent-length: ${payload.length}\r\n\r\n${payload}`,
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
