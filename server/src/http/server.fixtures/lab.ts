import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { frozenClock } from '#kernel/clock'
import { createDb, type Db } from '#kernel/db'
import { Unauthenticated } from '#kernel/errors'
import { createCursors } from '#kernel/page'
import type { Actor, KeyActor } from '../actor.ts'
import { createMetrics } from '../metrics.ts'
import type { RouteKit } from '../routing.ts'
import { createServer, type ServerOptions } from '../server.ts'

export interface LogLine {
  level: 'info' | 'warn' | 'error'
  message: string
  fields: Record<string, unknown>
}

export interface Lab {
  app: FastifyInstance
  kit: RouteKit
  lines: LogLine[]
  /**
   * `text` on a socket; answers everything that came back until the other side closed, or `wait_ms` passed.
   */
  send(text: string | Buffer, wait_ms?: number): Promise<string>
  port(): number
  close(): Promise<void>
}

/** Keys of the lab by what stands after `Bearer `. */
const KEYS: Readonly<Record<string, KeyActor>> = {
  root: { kind: 'key', id: 'key_root', scopes: new Set(['*']) },
  reader: { kind: 'key', id: 'key_reader', scopes: new Set(['wallets:read']) },
  slow: { kind: 'key', id: 'key_slow', scopes: new Set(['*']), rate_limit_per_minute: 3 },
}

/** Knows the lab's keys; those that begin with `late-` by a promise. */
export function authenticateInLab(request: {
  headers: { authorization?: string | undefined }
}): Actor | undefined | Promise<Actor> {
  const { authorization } = request.headers
  if (authorization === undefined) return undefined
  const word = authorization.replace(/^Bearer (late-)?/, '')
  const actor = KEYS[word]
  const is_late = authorization.startsWith('Bearer late-')
  if (actor) return is_late ? new Promise((resolve) => setTimeout(() => resolve(actor), 5)) : actor
  if (is_late) return Promise.reject(new Unauthenticated('unknown key'))
  throw new Unauthenticated('unknown key')
}

/** A database nobody answers at: routes of these tests do without, and readiness has to notice. */
export function deadDb(): Db {
  return createDb({ url: 'postgres://nobody:x@127.0.0.1:1/none' })
}

/** A whole server with a log that can be read. Routes are added in `add`. */
export async function openLab(
  add: (app: FastifyInstance, kit: RouteKit) => void | Promise<void> = () => undefined,
  options: Partial<ServerOptions> & { db?: Db } = {},
): Promise<Lab> {
  const { db = deadDb(), ...server_options } = options
  const kit: RouteKit = { db, clock: frozenClock(), cursors: createCursors(Buffer.alloc(32, 7)) }
  const lines: LogLine[] = []
  const at = (level: LogLine['level']) => (fields: object, message: string) => {
    lines.push({ level, message, fields: { ...fields } })
  }
  const app = await createServer({
    kit,
    authenticate: authenticateInLab,
    log: { info: at('info'), warn: at('warn'), error: at('error') },
    version: '1.2.3',
    metrics: createMetrics(false),
    ...server_options,
  })
  await add(app, kit)
  await app.ready()
  const port = (): number => (app.server.address() as AddressInfo).port
  return {
    app,
    kit,
    lines,
    port,
    send: (text, wait_ms = 3_000) => sendRaw(port(), text, wait_ms),
    close: async () => {
      await app.close()
      await db.close()
    },
  }
}

function sendRaw(port: number, text: string | Buffer, wait_ms: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(text))
    const timer = setTimeout(() => socket.destroy(), wait_ms)
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString('latin1')
    })
    socket.on('error', (error: Error & { code?: string }) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error)
    })
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(answer)
    })
  })
}
