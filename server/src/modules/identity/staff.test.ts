import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Actor } from '#http/actor'
import { createServer } from '#http/server'
import { frozenClock } from '#kernel/clock'
import { newId } from '#kernel/ids'
import { createCursors } from '#kernel/page'
import { runStatements } from '../../../test/database-server.ts'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import {
  appointStaff,
  auditWriter,
  BUILT_IN_ROLES,
  dismissStaff,
  identityInvariants,
  identityRoutes,
  permissionsOf,
  PERMISSIONS,
} from './index.ts'

let database: TestDatabase
let app: FastifyInstance
const clock = frozenClock()
const root = { id: 'command', permissions: new Set(['*']) }

beforeAll(async () => {
  database = await testDatabase()
  const kit = {
    db: database.db,
    clock,
    cursors: createCursors(Buffer.alloc(32, 1)),
    audit: auditWriter(clock),
  }
  app = await createServer({
    kit,
    version: '0.0.0',
    anonymous_per_minute: 10_000,
    log: { info: () => undefined, warn: () => undefined, error: (fields) => failures.push(fields) },
    authenticate: ({ headers: { authorization } }) => callerOf(authorization),
  })
  identityRoutes(app, kit, { mode: 'sandbox' })
  await app.ready()
})
afterAll(async () => {
  await app.close()
  await database.close()
})
const failures: object[] = []

/** A caller is whoever the header says: `user usr_…`, or `key scope scope`. */
async function callerOf(text: string | undefined): Promise<Actor | undefined> {
  const [kind, ...words] = (text ?? '').split(' ')
  if (kind === 'key') return { kind, id: 'key_of_a_test', scopes: new Set(words) }
  const id = words[0] ?? ''
  if (kind !== 'user') return undefined
  const permissions = await permissionsOf(database.db, id)
  return { kind, id, session_id: 'ses_of_a_test', customer_id: 'cus_of_a_test', permissions }
}

async function user(role?: string): Promise<string> {
  const id = newId('usr')
  const now = clock.now()
  await database.db.pool.query(
    'insert into identity.users (id, name, created_at, updated_at) values ($1, $2, $3, $3)',
    [id, 'A canary name', now],
  )
  if (role !== undefined) {
    await database.db.transact((tx) => appointStaff(tx, clock, root, { user_id: id, role }))
  }
  return id
}

function call(
  as: string,
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
  url: string,
  body?: object,
): Promise<LightMyRequestResponse> {
  const headers = as === '' ? {} : { authorization: as.includes(' ') ? as : `user ${as}` }
  return app.inject({ method, url, headers, ...(body ? { payload: body } : {}) })
}
const outcome = (answer: LightMyRequestResponse) => [answer.statusCode, answer.json<{ code?: string }>().code]
const broken = async () => identityInvariants[0].find(database.db, 50)
const ADMIN_KEY = 'key * admin'

describe('roles', () => {
  test('built-in ones are sets of known permissions, the owner holds all', () => {
    expect(new Set(BUILT_IN_ROLES.owner)).toEqual(new Set(Object.keys(PERMISSIONS)))
    for (const role of Object.values(BUILT_IN_ROLES)) {
      expect(role.filter((word) => !Object.hasOwn(PERMISSIONS, word))).toEqual([])
    }
    expect(BUILT_IN_ROLES.read_only?.filter((word) => !word.endsWith(':read'))).toEqual([])
    expect(BUILT_IN_ROLES.admin).not.toContain('installation:own')
  })

  test('are nothing for a user who is not staff, and nothing for a disabled one', async () => {
    const nobody = await user()
    const support = await user('support')
    expect(await permissionsOf(database.db, nobody)).toEqual(new Set())
    expect(await permissionsOf(database.db, 'usr_unknown')).toEqual(new Set())
    expect(await permissionsOf(database.db, support)).toEqual(new Set(BUILT_IN_ROLES.support))
    await database.db.pool.query('update identity.users set is_disabled = true where id = $1', [support])
    expect(await permissionsOf(database.db, support)).toEqual(new Set())
  })

  test('of one’s own are made, given, changed and taken away', async () => {
    const owner = await user('owner')
    const made = await call(owner, 'POST', '/v1/roles', {
      code: 'night_shift',
      name: 'Night shift',
      permissions: ['orders:read', 'orders:read', 'customers:read'],
    })
    expect(made.statusCode).toBe(201)
    expect(made.json()).toMatchObject({ permissions: ['customers:read', 'orders:read'], is_built_in: false })
    const member = await user()
    expect((await call(owner, 'PUT', `/v1/staff/${member}`, { role: 'night_shift' })).statusCode).toBe(200)
    expect(await permissionsOf(database.db, member)).toEqual(new Set(['customers:read', 'orders:read']))
    expect(outcome(await call(owner, 'DELETE', '/v1/roles/night_shift'))).toEqual([409, 'invalid_state'])
    await call(owner, 'PATCH', '/v1/roles/night_shift', { name: 'Night', permissions: ['orders:read'] })
    expect(await permissionsOf(database.db, member)).toEqual(new Set(['orders:read']))
    await call(owner, 'DELETE', `/v1/staff/${member}`)
    expect(await permissionsOf(database.db, member)).toEqual(new Set())
    expect((await call(owner, 'DELETE', '/v1/roles/night_shift')).statusCode).toBe(200)
    expect((await call(owner, 'GET', '/v1/roles/night_shift')).statusCode).toBe(404)
  })

  test('that the program brings are not changed', async () => {
    const facts = { name: 'x', permissions: [] }
    expect(outcome(await call(ADMIN_KEY, 'PATCH', '/v1/roles/support', facts))).toEqual([
      409,
      'invalid_state',
    ])
    expect(outcome(await call(ADMIN_KEY, 'DELETE', '/v1/roles/owner'))).toEqual([409, 'invalid_state'])
    const twin = { code: 'owner', name: 'x', permissions: [] }
    expect(outcome(await call(ADMIN_KEY, 'POST', '/v1/roles', twin))).toEqual([409, 'already_exists'])
    const nonsense = { code: 'x', name: 'x', permissions: ['everything'] }
    expect(outcome(await call(ADMIN_KEY, 'POST', '/v1/roles', nonsense))).toEqual([400, 'invalid_request'])
  })
})

describe('A49: nobody gives what he does not hold', () => {
  test('an admin appoints no owner, raises nobody to one, and touches none', async () => {
    const [owner, admin, other] = [await user('owner'), await user('admin'), await user()]
    for (const target of [admin, other, owner]) {
      expect(outcome(await call(admin, 'PUT', `/v1/staff/${target}`, { role: 'owner' }))).toEqual([
        403,
        'missing_scope',
      ])
    }
    expect(outcome(await call(admin, 'PUT', `/v1/staff/${owner}`, { role: 'support' }))).toEqual([
      403,
      'missing_scope',
    ])
    expect(outcome(await call(admin, 'DELETE', `/v1/staff/${owner}`))).toEqual([403, 'missing_scope'])
    expect((await call(admin, 'PUT', `/v1/staff/${other}`, { role: 'support' })).statusCode).toBe(200)
    expect(await permissionsOf(database.db, owner)).toEqual(new Set(BUILT_IN_ROLES.owner))
  })

  test('a role with more than its maker holds is neither made nor grown', async () => {
    const owner = await user('owner')
    await call(owner, 'POST', '/v1/roles', {
      code: 'clerk',
      name: 'Clerk',
      permissions: ['roles:write', 'staff:read', 'staff:write', 'orders:read'],
    })
    const clerk = await user('clerk')
    const raised = { name: 'Clerk', permissions: ['refunds:write'] }
    for (const [method, url] of [
      ['POST', '/v1/roles'],
      ['PATCH', '/v1/roles/clerk'],
    ] as const) {
      const body = method === 'POST' ? { code: 'raised', ...raised } : raised
      expect(outcome(await call(clerk, method, url, body))).toEqual([403, 'missing_scope'])
    }
    expect(outcome(await call(clerk, 'PUT', `/v1/staff/${clerk}`, { role: 'admin' }))).toEqual([
      403,
      'missing_scope',
    ])
    const stronger = await user('finance')
    expect(outcome(await call(clerk, 'DELETE', `/v1/staff/${stronger}`))).toEqual([403, 'missing_scope'])
  })

  test('a key is never stronger than its maker', async () => {
    const developer = await user('developer')
    const key = (as: string, ...scopes: string[]) => call(as, 'POST', '/v1/api_keys', { name: 'k', scopes })
    for (const scope of ['*', 'admin', 'refunds:write', 'spends:write']) {
      expect(outcome(await key(developer, scope))).toEqual([403, 'missing_scope'])
    }
    expect((await key(developer, 'catalog:write', 'usage:read')).statusCode).toBe(201)
    expect(outcome(await key('key admin', '*'))).toEqual([403, 'missing_scope'])
    expect((await key(await user('owner'), '*')).statusCode).toBe(201)
    expect(outcome(await key(await user('admin'), '*'))).toEqual([403, 'missing_scope'])
  })

  test('keys end when their maker holds less, and so do the keys those made', async () => {
    const owner = await user('owner')
    const developer = await user('developer')
    const id = async (as: string, scopes: string[]) =>
      (await call(as, 'POST', '/v1/api_keys', { name: 'k', scopes })).json<{ id: string }>().id
    const strong = await id(developer, ['catalog:write', 'usage:read'])
    const weak = await id(developer, ['usage:read'])
    const child = newId('key')
    await database.db.pool.query(
      `insert into identity.api_keys (id, name, hint, secret_digest, mode, scopes, created_by, created_at)
       values ($1, 'c', 'h', sha256($2), 'sandbox', '{catalog:write}', $3, $4)`,
      [child, Buffer.from(child), strong, clock.now()],
    )
    await call(owner, 'PUT', `/v1/staff/${developer}`, { role: 'read_only' })
    const { rows } = await database.db.pool.query(
      'select id, revoked_at is not null as is_revoked from identity.api_keys where id = any($1)',
      [[strong, weak, child]],
    )
    expect(Object.fromEntries(rows.map((row) => [row.id, row.is_revoked]))).toEqual({
      [strong]: true,
      [weak]: false,
      [child]: true,
    })
  })
})

test('a change of role ends the sessions of before', async () => {
  const member = await user('support')
  await database.db.pool.query(
    `insert into identity.sessions (id, user_id, mode, network, methods, created_at, last_used_at, expires_at)
     values ($1, $2, 'bearer', '', '{password}', $3::timestamptz, $3, $3::timestamptz + interval '1 day')`,
    [newId('ses'), member, clock.now()],
  )
  const open = async () =>
    (
      await database.db.pool.query(
        'select 1 from identity.sessions where user_id = $1 and ended_at is null',
        [member],
      )
    ).rowCount
  expect(await open()).toBe(1)
  expect((await call(ADMIN_KEY, 'PUT', `/v1/staff/${member}`, { role: 'finance' })).statusCode).toBe(200)
  expect(await open()).toBe(0)
})

describe('there is always an owner', () => {
  test('two owners who remove each other at once leave one', async () => {
    const lab = await testDatabase()
    try {
      for (let round = 0; round < 5; round++) {
        const owners = [newId('usr'), newId('usr')] as const
        for (const id of owners) {
          await lab.db.pool.query(
            'insert into identity.users (id, created_at, updated_at) values ($1, now(), now())',
            [id],
          )
          await lab.db.transact((tx) => appointStaff(tx, clock, root, { user_id: id, role: 'owner' }))
        }
        const all = await lab.db.pool.query<{ user_id: string }>(
          "select user_id from identity.staff where role = 'owner'",
        )
        const results = await Promise.allSettled(
          all.rows.map(({ user_id }, index) =>
            lab.db.transact((tx) =>
              index % 2 === 0
                ? dismissStaff(tx, clock, root, user_id)
                : appointStaff(tx, clock, root, { user_id, role: 'support' }),
            ),
          ),
        )
        const left = await lab.db.pool.query("select 1 from identity.staff where role = 'owner'")
        expect(left.rowCount).toBe(1)
        expect(results.filter((result) => result.status === 'rejected')).toHaveLength(1)
      }
    } finally {
      await lab.close()
    }
  })
})

describe('the audit log', () => {
  test('holds who did what, before and after, from where, and nothing personal', async () => {
    const owner = await user('owner')
    const member = await user('support')
    await call(owner, 'PUT', `/v1/staff/${member}`, { role: 'finance' })
    const { items } = (await call(ADMIN_KEY, 'GET', `/v1/audit_log?subject_id=${member}`)).json<{
      items: Record<string, unknown>[]
    }>()
    expect(items[0]).toMatchObject({
      actor_id: owner,
      actor_kind: 'user',
      impersonator_id: null,
      action: 'staff.appointed',
      subject_id: member,
      before: { role: 'support' },
      after: { role: 'finance' },
      address: '127.0.0.1',
    })
    expect(items[0]?.request_id).toMatch(/^req_/)
    const everything = await call(ADMIN_KEY, 'GET', '/v1/audit_log?limit=200')
    expect(everything.body).not.toContain('canary')
  })

  test('holds a key without its secret, and nothing of what was refused', async () => {
    const made = await call(ADMIN_KEY, 'POST', '/v1/api_keys', { name: 'audited', scopes: ['orders:read'] })
    const { id, secret } = made.json<{ id: string; secret: string }>()
    expect(secret).toMatch(/^sk_test_/)
    await call(ADMIN_KEY, 'DELETE', `/v1/api_keys/${id}`)
    const log = await call(ADMIN_KEY, 'GET', `/v1/audit_log?subject_id=${id}`)
    expect(log.json<{ items: { action: string }[] }>().items.map((item) => item.action)).toEqual([
      'api_key.revoked',
      'api_key.created',
    ])
    expect(log.body).not.toContain(secret)
    const before = await size()
    await call('key admin', 'POST', '/v1/api_keys', { name: 'refused', scopes: ['*'] })
    expect(await size()).toBe(before)
  })

  test('is paged, and read only by whom it is for', async () => {
    const first = await call(ADMIN_KEY, 'GET', '/v1/audit_log?limit=2')
    const page = first.json<{ items: { sequence: number }[]; next_cursor: string }>()
    const next = await call(ADMIN_KEY, 'GET', `/v1/audit_log?limit=2&cursor=${page.next_cursor}`)
    const sequences = [...page.items, ...next.json<{ items: { sequence: number }[] }>().items].map(
      (item) => item.sequence,
    )
    expect(sequences).toEqual([0, 1, 2, 3].map((n) => (sequences[0] ?? 0) - n))
    expect((await call(await user('support'), 'GET', '/v1/audit_log')).statusCode).toBe(403)
    expect((await call(await user('finance'), 'GET', '/v1/audit_log')).statusCode).toBe(200)
    expect((await call('', 'GET', '/v1/audit_log')).statusCode).toBe(401)
  })

  test('is one chain however many write at once', async () => {
    const before = await size()
    await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        call(ADMIN_KEY, 'POST', '/v1/roles', { code: `crowd_${n}`, name: 'x', permissions: [] }),
      ),
    )
    expect(await size()).toBe(before + 50)
    expect(await broken()).toEqual([])
  })

  test('A50: cannot be changed by the program’s own database role', async () => {
    for (const statement of [
      "update identity.audit_log set action = 'x'",
      'delete from identity.audit_log',
      'truncate identity.audit_log',
      'delete from identity.audit_head',
    ]) {
      await expect(database.db.pool.query(statement)).rejects.toThrow()
    }
    expect(await broken()).toEqual([])
  })
})

/** The owner of the tables can take their protection away; then only the chain tells. */
const UNPROTECTED = ['log', 'head'].flatMap((name) => [
  `grant all on identity.audit_${name} to current_user`,
  `alter table identity.audit_${name} disable trigger user`,
])

describe('A50, A51: tampering is found', () => {
  const tampering: readonly [string, string][] = [
    ['a changed action', "update identity.audit_log set action = 'x' where sequence = 2"],
    ['a changed actor', "update identity.audit_log set actor_id = 'usr_other' where sequence = 3"],
    ['a changed picture', 'update identity.audit_log set after = \'{"role":"support"}\' where sequence = 4'],
    [
      'a changed moment',
      "update identity.audit_log set created_at = created_at - interval '1 ms' where sequence = 5",
    ],
    ['a row cut out', 'delete from identity.audit_log where sequence = 3'],
    ['rows cut off at the end', 'delete from identity.audit_log where sequence > 4'],
    ['an emptied log', 'delete from identity.audit_log'],
    [
      'a row with a hash of its own',
      "update identity.audit_log set reason = 'x', hash = sha256('x') where sequence = 2",
    ],
    [
      'a row added',
      `insert into identity.audit_log (sequence, actor_id, actor_kind, action, created_at, hash)
      select 999999, 'a', 'key', 'x.y', created_at, hash from identity.audit_log where sequence = 1`,
    ],
    ['a head that was taken away', 'delete from identity.audit_head'],
  ]

  test.each(tampering)('%s', async (_what, statement) => {
    const lab = await testDatabase()
    try {
      for (let n = 0; n < 6; n++) {
        await lab.db.transact((tx) =>
          auditWriter(clock)(tx, {
            actor: { kind: 'key', id: 'key_a', scopes: new Set() },
            action: 'thing.changed',
            subject_id: `t${n}`,
            before: undefined,
            after: { role: 'finance' },
            address: '',
            request_id: '',
          }),
        )
      }
      expect(await identityInvariants[0].find(lab.db, 50)).toEqual([])
      await runStatements(lab.url, [...UNPROTECTED, statement])
      expect(await identityInvariants[0].find(lab.db, 50)).not.toEqual([])
    } finally {
      await lab.close()
    }
  })
})

async function size(): Promise<number> {
  const { rows } = await database.db.pool.query<{ n: number }>(
    'select count(*)::int as n from identity.audit_log',
  )
  return rows[0]?.n ?? 0
}

test('nothing of all this was a mistake of ours', () => {
  expect(failures).toEqual([])
})
