import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import type { Actor } from '../src/http/actor.ts'
import { createServer } from '../src/http/server.ts'
import { newId } from '../src/kernel/ids.ts'
import { silentLog } from '../src/kernel/log.ts'
import { appointStaff, permissionsOf } from '../src/modules/identity/index.ts'
import type { World } from './world.ts'

/** Every route of the program behind an authentication that believes its caller: for who may do what. */
export interface PeopleLab {
  http: FastifyInstance
  /** What was answered with 500, which is never right. */
  failures: object[]
  /** Makes a user, with his own customer, and appoints him if a role is given. */
  user(role?: string): Promise<string>
  call(as: Caller, method: Method, url: string, body?: unknown, key?: string): Promise<LightMyRequestResponse>
  close(): Promise<void>
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
/** Nobody, a user by his id, or a key with these scopes. */
export type Caller = '' | `usr_${string}` | { scopes: readonly string[] }

/** `change` sees the server before any route is added. */
export async function startPeopleLab(
  world: World,
  change: (http: FastifyInstance) => void = () => undefined,
): Promise<PeopleLab> {
  const { app } = world
  const failures: object[] = []
  const http = await createServer({
    kit: app.kit,
    version: '0.0.0-test',
    anonymous_per_minute: 1_000_000,
    log: { ...silentLog(), error: (fields: object) => failures.push(fields) },
    authenticate: ({ headers: { authorization } }) => actorOf(app.db, authorization),
  })
  change(http)
  app.addRoutes(http)
  await http.ready()
  return {
    http,
    failures,
    user: async (role) => {
      const id = newId('usr')
      const customer_id = newId('cus')
      const now = app.kit.clock.now()
      await app.db.pool.query(
        `insert into customers.customers (id, name, search, created_at, updated_at)
         values ($1, 'n', '', $2, $2)`,
        [customer_id, now],
      )
      await app.db.pool.query(
        'insert into identity.users (id, customer_id, created_at, updated_at) values ($1, $2, $3, $3)',
        [id, customer_id, now],
      )
      const root = { id: 'command', permissions: new Set(['*']) }
      if (role !== undefined) {
        await app.db.transact((tx) => appointStaff(tx, app.kit.clock, root, { user_id: id, role }))
      }
      return id
    },
    call: (as, method, url, body, key) => {
      const who = typeof as === 'string' ? as : `key ${as.scopes.join(' ')}`
      return http.inject({
        method,
        url,
        headers: {
          ...(who === '' ? {} : { authorization: who }),
          ...(key === undefined ? {} : { 'idempotency-key': key }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
      })
    },
    close: () => http.close(),
  }
}

async function actorOf(db: World['app']['db'], who: string | undefined): Promise<Actor | undefined> {
  if (who === undefined) return undefined
  const [first = '', ...scopes] = who.split(' ')
  if (first === 'key') return { kind: 'key', id: 'key_of_a_test', scopes: new Set(scopes) }
  const { rows } = await db.pool.query<{ customer_id: string }>(
    'select customer_id from identity.users where id = $1',
    [first],
  )
  return {
    kind: 'user',
    id: first,
    session_id: 'ses_of_a_test',
    customer_id: rows[0]?.customer_id ?? '',
    permissions: await permissionsOf(db, first),
  }
}
