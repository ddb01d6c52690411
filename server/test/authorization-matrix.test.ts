import type { LightMyRequestResponse } from 'fastify'
import { describe, expect, test, beforeAll, afterAll } from 'vitest'
import { SCOPES } from '../src/http/who.ts'
import { BUILT_IN_ROLES, PERMISSIONS } from '../src/modules/identity/index.ts'
import { BODIES, type Matrix, startMatrix, withEach } from './matrix-world.ts'
import { OPEN } from './open-routes.ts'
import { NEEDS_MORE, OWN_BODIES } from './own-acts.ts'
import type { Caller, Method, PeopleLab } from './people-lab.ts'
import { absentPath, isOpen, nameOf, type Route } from './route-table.ts'

/**
 * Every route of the program, as Fastify knows it, called by everybody, and compared with what it declares.
 * Nothing here is listed by hand but what a request needs to reach its verb, so a new route is in the matrix
 * by itself.
 */
let matrix: Matrix
let lab: PeopleLab
let routes: Route[] = []
let people: Matrix['people'] = {}

beforeAll(async () => {
  matrix = await startMatrix()
  ;({ lab, people } = matrix)
  ;({ routes } = matrix.table)
}, 120_000)
afterAll(() => matrix?.close())

/** Ways that make what is not there, or speak of what is no object of ours. */
const MAKES = new Set(['PUT /v1/meters/:code'])

type Verdict = 401 | 403 | 'allowed'
/** What a declaration says of a caller, read a second time and independently of the server. */
function declared({ who }: Route, caller: { kind: string; holds: ReadonlySet<string> }): Verdict {
  if (who.anonymous || who.proof !== undefined) return 'allowed'
  if (caller.kind === 'anonymous') return 401
  if (caller.kind === 'key') {
    const is_held = who.key !== undefined && (caller.holds.has(who.key) || caller.holds.has('*'))
    return who.key === 'any' || is_held ? 'allowed' : 403
  }
  const is_staff = who.staff !== undefined && caller.holds.has(who.staff)
  return who.user || is_staff ? 'allowed' : 403
}

function verdictOf(answer: LightMyRequestResponse): Verdict {
  if (answer.statusCode === 401 || answer.statusCode === 403) return answer.statusCode
  return 'allowed'
}

/** Differences between declaration and answer, in words; none is what is right. */
async function differences(
  caller: { kind: string; holds: ReadonlySet<string> },
  as: (route: Route) => Caller,
): Promise<string[]> {
  const found: string[] = []
  await withEach(routes, async (route) => {
    const want = declared(route, caller)
    const answer = await matrix.call(route, as(route), absentPath(route.url))
    // A route may ask for a proof of its own and find none: that is its answer, not the guard's.
    if (isOpen(route) ? answer.statusCode >= 500 : verdictOf(answer) !== want || answer.statusCode >= 500) {
      found.push(
        `${nameOf(route)}: declared ${want}, answered ${answer.statusCode} ${answer.body.slice(0, 120)}`,
      )
    }
  })
  return found
}

/** What the HTTP edge adds by itself; who may see it is told by its own tests. */
const EDGE = [
  '/healthz',
  '/readyz',
  '/metrics',
  '/openapi.json',
  '/docs',
  '/docs/start.js',
  '/docs/reference.js',
]

describe('declarations', () => {
  test('are there for every route of the server', () => {
    expect(matrix.table.undeclared).toEqual([])
    const served = servedRoutes(lab.http.printRoutes({ commonPrefix: false }))
    const known = new Set([...routes.map(nameOf), ...EDGE.map((url) => `GET ${url}`)])
    expect(served.filter((name) => !known.has(name))).toEqual([])
    expect(served.length).toBeGreaterThan(80)
    expect(routes.length).toBe(served.length - EDGE.length)
  })

  test('use words that exist', () => {
    const scopes = new Set<string>([...SCOPES, 'any'])
    const wrong = routes.filter(
      ({ who }) =>
        (who.key !== undefined && !scopes.has(who.key)) ||
        (who.staff !== undefined && !Object.hasOwn(PERMISSIONS, who.staff)),
    )
    expect(wrong.map(nameOf)).toEqual([])
  })

  test('open a route to everybody only for a reason that is written down', () => {
    const edge = EDGE.map((url) => `GET ${url}`)
    const open = [...routes.filter(isOpen).map(nameOf), ...edge]
    expect(open.toSorted()).toEqual(Object.keys(OPEN).toSorted())
    for (const [name, why] of Object.entries(OPEN)) expect([name, why.length > 10]).toEqual([name, true])
  })
})

/** Staff may use them, and they change nothing, or nothing that the usage records do not tell already. */
const NOT_AUDITED = /^POST \/v1\/(meter_events|meter_events\/quote|webhook_\w+\/:id\/(test|redeliver))$/

test('what staff may change, the audit log keeps', () => {
  const kept = routes.filter((route) => route.method !== 'GET' && route.who.staff && !route.who.user)
  expect(kept.length).toBeGreaterThan(20)
  const silent = kept.filter((route) => route.audit_action === undefined && !NOT_AUDITED.test(nameOf(route)))
  expect(silent.map(nameOf)).toEqual([])
})

describe('the matrix: what is declared is what is answered', () => {
  const holding = (...words: string[]): ReadonlySet<string> => new Set(words)

  test('for nobody', async () => {
    expect(await differences({ kind: 'anonymous', holds: holding() }, () => '')).toEqual([])
  })

  test('for a key without any scope', async () => {
    expect(await differences({ kind: 'key', holds: holding() }, () => ({ scopes: [] }))).toEqual([])
  })

  test('for a key with every scope but the declared one', async () => {
    const found: string[] = []
    const scoped = routes.filter(({ who }) => who.key !== undefined && who.key !== 'any' && !who.anonymous)
    await withEach(scoped, async (route) => {
      const scopes = SCOPES.filter((scope) => scope !== route.who.key)
      const answer = await matrix.call(route, { scopes }, absentPath(route.url))
      if (answer.statusCode !== 403) found.push(`${nameOf(route)}: ${answer.statusCode}`)
    })
    expect(found).toEqual([])
  })

  test('for a key with only the declared scope', async () => {
    const found: string[] = []
    const scoped = routes.filter(({ who }) => who.key !== undefined && !who.anonymous)
    await withEach(scoped, async (route) => {
      const answer = await matrix.call(route, { scopes: [route.who.key ?? ''] }, absentPath(route.url))
      if (verdictOf(answer) !== 'allowed' || answer.statusCode >= 500) {
        found.push(`${nameOf(route)}: ${answer.statusCode} ${answer.body.slice(0, 120)}`)
      }
    })
    expect(found).toEqual([])
  })

  test('for a key with everything', async () => {
    expect(await differences({ kind: 'key', holds: holding('*') }, () => ({ scopes: ['*'] }))).toEqual([])
  })

  test.each(['user', 'read_only', 'support', 'finance', 'developer', 'admin', 'owner'])(
    'for %s',
    async (role) => {
      const user = await lab.user(role === 'user' ? undefined : role)
      const caller = { kind: 'user', holds: holding(...(BUILT_IN_ROLES[role] ?? [])) }
      expect(await differences(caller, () => user as Caller)).toEqual([])
    },
  )

  test('and roles are what their names say', () => {
    const may = (role: string, name: string): boolean => {
      const route = routes.find((one) => nameOf(one) === name)
      if (!route) throw new Error(`there is no ${name}`)
      return declared(route, { kind: 'user', holds: holding(...(BUILT_IN_ROLES[role] ?? [])) }) === 'allowed'
    }
    const who = (name: string) => Object.keys(BUILT_IN_ROLES).filter((role) => may(role, name))
    expect(who('POST /v1/payments/:id/refunds')).toEqual(['owner', 'admin', 'support', 'finance'])
    expect(who('POST /v1/api_keys')).toEqual(['owner', 'admin', 'developer'])
    expect(who('PUT /v1/staff/:user_id')).toEqual(['owner', 'admin'])
    expect(who('PATCH /v1/prices/:id')).toEqual(['owner', 'admin', 'developer'])
    expect(who('GET /v1/audit_log')).toEqual(['owner', 'admin', 'finance'])
    expect(who('GET /v1/customers/:id')).toHaveLength(6)
    // POSTs that ask and change nothing say so by their own word.
    const changes = routes.filter((route) => route.method !== 'GET' && !route.who.user && !isOpen(route))
    expect(
      changes.filter(
        (route) => route.who.staff?.endsWith(':write') === true && may('read_only', nameOf(route)),
      ),
    ).toEqual([])
  })
})

describe('A21: somebody else’s and absent are the same', () => {
  test('what does not exist is 404 for whoever may ask, on every route with an id', async () => {
    const found: string[] = []
    const named = routes.filter((one) => one.url.includes(':') && !isOpen(one) && !MAKES.has(nameOf(one)))
    await withEach(named, async (route) => {
      const as: Caller = route.who.key === undefined ? (people['owner'] as Caller) : { scopes: ['*'] }
      const { statusCode: status, body } = await matrix.call(route, as, absentPath(route.url))
      // Where the matrix knows no body yet, a refusal of the body is as good; success and failure never are.
      const is_right =
        status === 404 || (status === 400 && route.method !== 'GET' && !(nameOf(route) in BODIES))
      if (!is_right) found.push(`${nameOf(route)}: ${status} ${body.slice(0, 160)}`)
    })
    expect(found).toEqual([])
  })

  test('what exists is read by whoever may', async () => {
    const read: string[] = []
    for (const route of routes.filter(
      (one) => one.method === 'GET' && one.url.includes(':') && !isOpen(one),
    )) {
      const path = matrix.existingPath(route.url)
      if (path === undefined) continue
      const as: Caller =
        route.who.key === undefined ? (people['owner'] as Caller) : { scopes: [route.who.key] }
      const answer = await matrix.call(route, as, path)
      expect([nameOf(route), answer.statusCode]).toEqual([nameOf(route), 200])
      read.push(nameOf(route))
    }
    expect(read.length).toBeGreaterThan(15)
  })

  test('what exists is refused to everybody who may not', async () => {
    const nobody = new Set<string>()
    const callers: [string, Caller, { kind: string; holds: ReadonlySet<string> }][] = [
      ['nobody', '', { kind: 'anonymous', holds: nobody }],
      ['a key without scopes', { scopes: [] }, { kind: 'key', holds: nobody }],
      ['a user', people['other'] as Caller, { kind: 'user', holds: nobody }],
      ...Object.entries(BUILT_IN_ROLES).map(
        ([role, holds]): [string, Caller, { kind: string; holds: ReadonlySet<string> }] => [
          role,
          people[role] as Caller,
          { kind: 'user', holds: new Set(holds) },
        ],
      ),
    ]
    const [found, without, tried]: [string[], string[], Set<string>] = [[], [], new Set()]
    const named = routes.filter((one) => one.url.includes(':') && !isOpen(one))
    await withEach(named, async (route) => {
      const path = matrix.existingPath(route.url)
      if (path === undefined) {
        without.push(nameOf(route))
        return
      }
      tried.add(nameOf(route))
      for (const [name, as, caller] of callers) {
        const want = declared(route, caller)
        if (want === 'allowed') continue
        const answer = await matrix.call(route, as, path)
        if (answer.statusCode !== want)
          found.push(`${nameOf(route)} for ${name}: ${answer.statusCode}, not ${want}`)
      }
    })
    expect(found).toEqual([])
    expect(tried.size).toBeGreaterThan(60)
    // A new route with an id needs a thing in the matrix, or a line that says why there is none.
    expect(without.toSorted()).toEqual(Object.keys({ ...NO_THING, ...EVERYBODYS }).toSorted())
  })

  test('what is a user’s own is nothing to another user, word for word as if it were absent', async () => {
    const own = routes.filter((one) => one.who.user === true && one.url.includes(':'))
    const plain = (answer: LightMyRequestResponse, ids: readonly string[]) => {
      const { status, code, detail } = answer.json<{ status: number; code: string; detail: string }>()
      return { status, code, detail: ids.reduce((text, id) => text.replaceAll(id, 'ID'), detail) }
    }
    let tried = 0
    await withEach(
      own.filter((one) => !(nameOf(one) in EVERYBODYS)),
      async (route) => {
        const [name, path] = [nameOf(route), matrix.existingPath(route.url)]
        // A new route of this kind needs a thing of somebody's in the matrix, or a line in EVERYBODYS.
        if (path === undefined) throw new Error(`the matrix has nothing of a user’s at ${name}`)
        const [foreign, absent] = [path, absentPath(route.url)]
        const ids = [...foreign.split('/'), ...absent.split('/')].filter((id) => id.includes('_'))
        const other = people['other'] as Caller
        const [theirs, nothing] = [
          await matrix.call(route, other, foreign),
          await matrix.call(route, other, absent),
        ]
        expect([name, plain(theirs, ids)]).toEqual([name, plain(nothing, ids)])
        expect([name, theirs.statusCode]).toEqual([name, 404])
        tried++
      },
    )
    expect(tried).toBeGreaterThan(15)
  })
})

/** Routes of staff and keys whose things come from vendors only; refusing is tried with absent ones. */
const NO_THING: Readonly<Record<string, string>> = {
  'GET /v1/inbox_events/:id': 'a vendor’s notification: inbox.test.ts',
  'POST /v1/inbox_events/:id/retry': 'the same',
  'GET /v1/receipts/:id': 'a receipt of the tax law: receipts.test.ts',
  'POST /v1/receipts/:id/record': 'the same',
  'POST /v1/receipts/:id/retry': 'the same',
  'GET /v1/reconciliations/:id': 'a day that was compared: reconciliation-runs.test.ts',
  'GET /v1/reconciliations/:id/differences': 'the same',
  'POST /v1/reconciliations/:id/differences/:difference_id/resolve': 'the same',
  'GET /v1/vendor_subscriptions/:id': 'a vendor’s own subscription: vendor-subscriptions in scenarios',
  'POST /v1/vendor_subscriptions/:id/cancel': 'the same',
  'POST /v1/vendor_subscriptions/:id/end': 'the same',
  'POST /v1/vendor_subscriptions/:id/resume': 'the same',
}

/** Routes of users whose path names nothing of anybody. */
const EVERYBODYS: Readonly<Record<string, string>> = {
  'POST /packages/:id/buy/': 'a package on sale, shown to all',
  'POST /v1/me/identities/oauth/:provider': 'a vendor by its name',
  'POST /v1/me/identities/oauth/:provider/finish': 'a vendor by its name',
}

describe('A22: only what is declared is served', () => {
  test('no other method, letter case, slash or override header reaches a verb', async () => {
    const names = new Set(routes.map(nameOf))
    const found: string[] = []
    const judge = async (what: string, method: Method, path: string, headers = {}): Promise<void> => {
      const answer = await lab.http.inject({
        method,
        url: path,
        headers: { authorization: 'key *', ...headers },
      })
      if (answer.statusCode !== 404) found.push(`${what}: ${method} ${path} ${answer.statusCode}`)
    }
    await withEach(routes, async ({ method, url }) => {
      const path = absentPath(url)
      const other = url.endsWith('/') ? url.slice(0, -1) : `${url}/`
      // `/x/` may be the parameter route `/x/:id` with nothing in its place; then it is refused by that
      // route.
      const is_route =
        names.has(`${method} ${other}`) || routes.some((one) => one.url.startsWith(`${other}:`))
      if (!is_route && other !== '') await judge('slash', method, absentPath(other))
      await judge('double slash', method, `/${path}`)
      await judge('letter case', method, path.toUpperCase())
      if (path.lastIndexOf('/') > 0) await judge('encoded slash', method, path.replace(/(?<=.)\//, '%2f'))
      for (const wrong of ['PUT', 'PATCH', 'DELETE'] as const) {
        const is_served = routes.some((one) => one.method === wrong && fits(one.url, path))
        if (!is_served) await judge('method', wrong, path)
        if (method === 'GET' && !is_served) {
          const headers = { 'x-http-method-override': wrong, 'x-method-override': wrong }
          const plain = await lab.http.inject({ method, url: path, headers: { authorization: 'key *' } })
          const overridden = await lab.http.inject({
            method,
            url: path,
            headers: { authorization: 'key *', ...headers },
          })
          if (plain.statusCode !== overridden.statusCode) found.push(`override: ${nameOf({ method, url })}`)
        }
      }
    })
    expect(found).toEqual([])
  }, 60_000)
})

test('what is one’s own, one changes, on every route for it', async () => {
  const { pool } = matrix.world.app.db
  const { rows } = await pool.query<{ customer_id: string }>(
    'select customer_id from identity.users where id = $1',
    [people['user']],
  )
  const grant = { unit: 'minute', amount: 600, reason: 'for the matrix' }
  const organization = matrix.existingPath('/v1/organizations/:id')
  const { body } = await matrix.world.call<{ customer_id: string }>('GET', organization ?? '')
  for (const id of [rows[0]?.customer_id, body.customer_id]) {
    expect((await matrix.world.call('POST', `/v1/customers/${id}/grants`, grant)).status).toBe(201)
  }
  const packages = await matrix.world.call<{ items: { id: string }[] }>('GET', '/packages/')
  // What ends something comes last, and an organization is closed after everything in it.
  const lastly = ({ method, url }: Route): number =>
    url.endsWith('/close') ? 3 : /\/(invitations|limits)\//.test(url) ? 1 : method === 'DELETE' ? 2 : 0
  const own = routes
    .filter((route) => route.method !== 'GET' && route.who.user === true && !isOpen(route))
    .toSorted((a, b) => lastly(a) - lastly(b))
  const found: string[] = []
  for (const route of own.filter((one) => !(nameOf(one) in NEEDS_MORE))) {
    const url = matrix.existingPath(route.url) ?? route.url.replace(':id', packages.body.items[0]?.id ?? '')
    const sent =
      route.method === 'DELETE' ? undefined : (OWN_BODIES[nameOf(route)] ?? BODIES[nameOf(route)] ?? {})
    const answer = await lab.call(people['user'] as Caller, route.method, url, sent)
    if (answer.statusCode >= 300)
      found.push(`${nameOf(route)}: ${answer.statusCode} ${answer.body.slice(0, 160)}`)
  }
  expect(found).toEqual([])
  expect(own.length).toBeGreaterThan(30)
  const names = new Set(own.map(nameOf))
  expect(Object.keys(NEEDS_MORE).filter((name) => !names.has(name))).toEqual([])
})

test('nothing of all this was a mistake of ours', () => {
  expect(lab.failures).toEqual([])
})

function fits(url: string, path: string): boolean {
  const [a, b] = [url.split('/'), path.split('/')]
  return a.length === b.length && a.every((part, index) => part.startsWith(':') || part === b[index])
}

/** The routes of Fastify's own drawing of its table, as `GET /v1/things/:id`. */
function servedRoutes(drawing: string): string[] {
  const path: string[] = []
  const found: string[] = []
  for (const line of drawing.split('\n')) {
    const match = /^((?:[│ ] {3})*)[├└]── (\S+?)(?: \(([A-Z, ]+)\))?$/.exec(line)
    if (!match) continue
    const depth = (match[1] ?? '').length / 4
    path.length = depth
    path.push(match[2] ?? '')
    for (const method of (match[3] ?? '').split(', ')) {
      if (method !== '' && method !== 'HEAD' && method !== 'OPTIONS') found.push(`${method} ${path.join('')}`)
    }
  }
  return found
}
