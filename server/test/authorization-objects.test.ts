import type { LightMyRequestResponse } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BUILT_IN_ROLES } from '../src/modules/identity/index.ts'
import { BODIES, type Matrix, memberPaths, startMatrix, withEach } from './matrix-world.ts'
import type { Caller } from './people-lab.ts'
import { absentPath, isOpen, nameOf, type Route } from './route-table.ts'

/** What belongs to somebody: whose it is, and what of it who may see. The guard's part is in the matrix. */
let matrix: Matrix
let routes: Route[] = []
const person = (name: string): Caller => matrix.people[name] as Caller
const EVERYTHING: Caller = { scopes: ['*'] }

beforeAll(async () => {
  matrix = await startMatrix()
  ;({ routes } = matrix.table)
}, 120_000)
afterAll(() => matrix?.close())

const reads = (): Route[] => routes.filter((route) => route.method === 'GET')
const writes = (): Route[] => routes.filter((route) => route.method !== 'GET' && route.body !== undefined)
const whoMay = (route: Route): Caller => (route.who.key === undefined ? person('owner') : EVERYTHING)

describe('in an organization', () => {
  /** The least role that may use a route of an organization, by the route. */
  const NEEDS: Readonly<Record<string, 'viewer' | 'member' | 'admin' | 'owner'>> = {
    'GET /v1/organizations/:id': 'viewer',
    'GET /v1/organizations/:id/members': 'viewer',
    'GET /v1/organizations/:id/wallets': 'viewer',
    'POST /v1/organizations/:id/spends': 'member',
    'PATCH /v1/organizations/:id': 'admin',
    'PATCH /v1/organizations/:id/members/:member_id': 'admin',
    'DELETE /v1/organizations/:id/members/:member_id': 'admin',
    'PUT /v1/organizations/:id/members/:member_id/limits/:unit': 'admin',
    'DELETE /v1/organizations/:id/members/:member_id/limits/:unit': 'admin',
    'POST /v1/organizations/:id/invitations': 'admin',
    'GET /v1/organizations/:id/invitations': 'admin',
    'DELETE /v1/organizations/:id/invitations/:invitation_id': 'admin',
    'POST /v1/organizations/:id/close': 'owner',
  }
  const RANKS = ['stranger', 'viewer', 'member', 'admin', 'owner']
  const ofOrganizations = () => routes.filter((route) => route.url.startsWith('/v1/organizations/:id'))

  test('every route says which role it takes', () => {
    expect(ofOrganizations().map(nameOf).toSorted()).toEqual(Object.keys(NEEDS).toSorted())
  })

  test.each([
    ['stranger', 'other'],
    ['viewer', 'org_viewer'],
    ['member', 'org_member'],
    ['admin', 'org_admin'],
  ])('a %s reaches what his role is for and nothing else', async (role, name) => {
    const found: string[] = []
    // A viewer may leave; that is his own place.
    const own = role === 'viewer' ? ['DELETE /v1/organizations/:id/members/:member_id'] : []
    const before = await matrix.world.digest()
    for (const route of ofOrganizations().filter((one) => !own.includes(nameOf(one)))) {
      const needed = NEEDS[nameOf(route)] ?? 'owner'
      const may = RANKS.indexOf(role) >= RANKS.indexOf(needed)
      // What he may change is judged where nothing is there to be changed.
      const is_read = route.method === 'GET'
      if (may && !is_read) continue
      const answer = await matrix.call(route, person(name), matrix.existingPath(route.url) ?? '')
      const want = may ? 200 : role === 'stranger' ? 404 : 403
      if (answer.statusCode !== want) found.push(`${nameOf(route)}: ${answer.statusCode}, not ${want}`)
    }
    expect(found).toEqual([])
    expect(await matrix.world.digest()).toBe(before)
  })

  test('A24: a viewer reads the same members of answers as the owner, and no invitation', async () => {
    for (const url of ['', '/members', '/wallets']) {
      const path = matrix.existingPath(`/v1/organizations/:id${url}`) ?? ''
      const [seen, owned] = [
        await matrix.lab.call(person('org_viewer'), 'GET', path),
        await matrix.lab.call(person('user'), 'GET', path),
      ]
      expect([url, seen.statusCode, seen.json()]).toEqual([url, 200, owned.json()])
    }
  })
})

describe('A21: absent is 404 on every route with an id', () => {
  /** Makes what is not there, or names by its path no object of ours. */
  const MAKES = new Set(['PUT /v1/meters/:code', 'PUT /v1/approval_limits/:kind/:measure'])

  test('for whoever may ask, with a body that is well-formed', async () => {
    const found: string[] = []
    const named = routes.filter((one) => one.url.includes(':') && !isOpen(one) && !MAKES.has(nameOf(one)))
    await withEach(named, async (route) => {
      const answer = await matrix.call(route, whoMay(route), absentPath(route.url))
      if (answer.statusCode !== 404) {
        found.push(`${nameOf(route)}: ${answer.statusCode} ${answer.body.slice(0, 200)}`)
      }
    })
    expect(found).toEqual([])
  })
})

describe('A21: what a body names', () => {
  /** Members that name nothing of anybody: chosen by the caller, or of the catalog, which is everybody's. */
  const FREE = new Set([
    'device_id',
    'event_id',
    'session_id',
    'external_id',
    'telegram_id',
    'product_id',
    'package_id',
    'tariff_id',
  ])
  /** A bot's user becomes a customer when he buys for the first time: naming him makes him. */
  const MAKES = new Set([
    'POST /api/v1/payments/create user_id',
    'POST /api/v1/payments/telegram-stars user_id',
  ])
  /** Looked at below, for its order must be ready for another attempt. */
  const ATTEMPT = 'POST /v1/orders/:id/payments payment_method_id'
  const units = { unit: 'minute', amount: 1 }
  /** Every other member that ends in `_id`, in a request that would be right but for the thing it names. */
  const NAMED: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    'POST /v1/organizations owner_user_id': { name: 'x' },
    'POST /v1/organizations/:id/spends user_id': units,
    'POST /v1/spends customer_id': units,
    'POST /v1/holds customer_id': units,
    'POST /v1/transfers from_customer_id': { ...units, to_customer_id: 'external_id:somebody' },
    'POST /v1/transfers to_customer_id': { ...units, from_customer_id: 'external_id:somebody' },
    'POST /v1/customers/:id/merge into_customer_id': {},
    'POST /v1/orders customer_id': { lines: [{ price_id: 'PRICE', quantity: 1 }], gateway: 'sandbox' },
    'POST /v1/orders payment_method_id': {
      customer_id: 'external_id:somebody',
      lines: [{ price_id: 'PRICE', quantity: 1 }],
      gateway: 'sandbox',
    },
    'POST /v1/orders vendor_subscription_id': {
      customer_id: 'external_id:somebody',
      lines: [{ price_id: 'PRICE', quantity: 1 }],
    },
    'POST /v1/orders/preview customer_id': {
      lines: [{ price_id: 'PRICE', quantity: 1 }],
      gateway: 'sandbox',
    },
    'POST /v1/orders/preview vendor_subscription_id': {
      customer_id: 'external_id:somebody',
      lines: [{ price_id: 'PRICE', quantity: 1 }],
    },
    'POST /v1/meter_events customer_id': { meter: 'speech', duration_ms: 1000, event_id: 'e1' },
    'POST /v1/meter_events/quote customer_id': { meter: 'speech', duration_ms: 1000, event_id: 'e1' },
    'POST /v1/approvals/refunds payment_id': { amount: 1, reason: 'x' },
    'POST /v1/approvals/adjustments customer_id': { ...units, reason: 'x' },
  }
  const named = (): string[] =>
    routes
      .filter((route) => !isOpen(route))
      .flatMap((route) =>
        Object.keys(route.body ?? {})
          .filter((member) => member.endsWith('_id') && !FREE.has(member))
          .map((member) => `${nameOf(route)} ${member}`)
          .filter((what) => !MAKES.has(what) && what !== ATTEMPT),
      )

  test('is known for every route', () => {
    expect(named().toSorted()).toEqual(Object.keys(NAMED).toSorted())
  })

  test('and is not there, is refused, and nothing is changed', async () => {
    await matrix.world.call('POST', '/v1/customers', { external_id: 'somebody' })
    const price_id = await matrix.world.price('minutes_30')
    const before = await matrix.world.digest()
    for (const [what, rest] of Object.entries(NAMED)) {
      const [method = '', url = '', member = ''] = what.split(' ')
      const text = JSON.stringify({ ...rest, [member]: `${member.slice(0, 3)}_absent` })
      const body = JSON.parse(text.replaceAll('PRICE', price_id)) as Record<string, unknown>
      if (url === '/v1/orders') body['return_url'] = 'https://shop.example/back'
      const path = matrix.existingPath(url) ?? url
      const answer = await matrix.lab.call(EVERYTHING, method as 'POST', path, body)
      expect([what, answer.statusCode, answer.json<{ code: string }>().code]).toEqual([
        what,
        404,
        'not_found',
      ])
    }
    expect(await matrix.world.digest()).toBe(before)
  })

  test('and is somebody else’s kept payment method, is as if it were absent', async () => {
    const { world, lab } = matrix
    const [mine, his] = [await world.customer(), await world.customer()]
    await world.app.db.pool.query(
      `insert into payments.saved_methods (id, customer_id, gateway, external_id, title, kind, is_test,
         consented_at, created_at)
       values ('pm_of_another', $1, 'sandbox', 'token', 'card', 'card', true, now(), now())`,
      [his],
    )
    const lines = [{ price_id: await world.price('minutes_30'), quantity: 1 }]
    const order = (payment_method_id: string) =>
      lab.call(EVERYTHING, 'POST', '/v1/orders', {
        customer_id: mine,
        gateway: 'sandbox',
        lines,
        return_url: 'https://shop.example/back',
        payment_method_id,
      })
    const [foreign, absent] = [await order('pm_of_another'), await order('pm_absent')]
    expect([foreign.statusCode, foreign.json<{ code: string }>().code]).toEqual([404, 'not_found'])
    expect(absent.statusCode).toBe(404)

    const placed = await world.order({ customer_id: mine, product_key: 'minutes_30' })
    await world.app.db.pool.query(`update payments.payments set status = 'canceled' where id = $1`, [
      placed.payment.id,
    ])
    for (const payment_method_id of ['pm_of_another', 'pm_absent']) {
      const again = await lab.call(EVERYTHING, 'POST', `/v1/orders/${placed.id}/payments`, {
        payment_method_id,
      })
      expect([again.statusCode, again.json<{ code: string }>().code]).toEqual([404, 'not_found'])
    }
  })

  test('and is another user, is refused to a user', async () => {
    const { lab, people } = matrix
    const other = people['other']
    const id = matrix.existingPath('/v1/organizations/:id')
    const before = await matrix.world.digest()
    for (const [path, body] of [
      ['/v1/organizations', { name: 'His', owner_user_id: other }],
      [`${id}/spends`, { ...units, user_id: other }],
    ] as const) {
      const answer = await lab.call(person('org_member'), 'POST', path, body)
      expect([400, 403, 404], path).toContain(answer.statusCode)
    }
    expect(await matrix.world.digest()).toBe(before)
  })
})

describe('A15, A23: a body holds what the route takes and nothing else', () => {
  /** What an attacker would like to be believed. */
  const WANTED = {
    customer_id: 'external_id:somebody',
    user_id: 'usr_0',
    organization_id: 'org_0',
    wallet_id: 1,
    owner_id: 'usr_0',
    id: 'usr_0',
    role: 'owner',
    permissions: ['*'],
    scopes: ['*'],
    is_admin: true,
    is_disabled: false,
    email_verified_at: '2026-01-01T00:00:00Z',
    balance: 1_000_000,
    price: 1,
    total: 1,
    discount: 100,
    status: 'succeeded',
    created_at: '2026-01-01T00:00:00Z',
  }

  test('on every route that takes one, whoever calls', async () => {
    const found: string[] = []
    let tried = 0
    await withEach(writes(), async (route) => {
      for (const [member, value] of Object.entries(WANTED)) {
        if (member in (route.body ?? {})) continue
        const body = { ...BODIES[nameOf(route)], [member]: value }
        const as = isOpen(route) ? '' : whoMay(route)
        const answer = await matrix.lab.call(as, route.method, absentPath(route.url), body)
        tried++
        // Refused for this very member, before anything was looked for.
        if (answer.statusCode !== 400 || !answer.body.includes(`/${member}`)) {
          found.push(`${nameOf(route)} ${member}: ${answer.statusCode} ${answer.body.slice(0, 160)}`)
        }
      }
    })
    expect(found).toEqual([])
    expect(tried).toBeGreaterThan(1_000)
  })
})

describe('A36: text that would be SQL', () => {
  const NASTY = [
    `' or '1'='1`,
    `'; select pg_sleep(5) --`,
    `x') union select null, null --`,
    '%',
    '_',
    String.raw`\%`,
    `{"$ne":null}`,
    `$.* ? (@.zqzq > 0)`,
    `(select 1)`,
    `"id" desc`,
  ]
  /** Finds nothing, and is nobody's name. */
  const HARMLESS = 'qqqqzzzz'
  /** What was answered, without what must differ: the text itself, ids of requests, moments. */
  const plain = (answer: LightMyRequestResponse, text: string): string => {
    const { statusCode, headers, body } = answer
    if (!String(headers['content-type']).includes('json')) return String(statusCode)
    if (statusCode >= 400) return `${statusCode} ${answer.json<{ code: string }>().code}`
    const rest = text.length > 3 ? body.replaceAll(JSON.stringify(text).slice(1, -1), 'TEXT') : body
    return `${statusCode} ${rest.replaceAll(/"(checked_at|made_at)":"[^"]+"/g, '')}`
  }
  const ask = (route: Route, path: string) => matrix.lab.call(isOpen(route) ? '' : whoMay(route), 'GET', path)
  const pathOf = (route: Route): string => matrix.existingPath(route.url) ?? absentPath(route.url)

  test('is answered as any other text that finds nothing, in every parameter of every read', async () => {
    const found: string[] = []
    let tried = 0
    await withEach(reads(), async (route) => {
      // What is no parameter must not be one either.
      const more = route.query !== undefined && 'cursor' in route.query ? ['order_by'] : []
      for (const name of [...Object.keys(route.query ?? {}), ...more]) {
        const with_text = (text: string) => `${pathOf(route)}?${name}=${encodeURIComponent(text)}`
        const harmless = async () => plain(await ask(route, with_text(HARMLESS)), HARMLESS)
        let wanted = await harmless()
        for (const text of NASTY) {
          const answer = await ask(route, with_text(text))
          tried++
          // Refused, or too often, is as good as finding nothing; a failure of ours never is.
          if (answer.statusCode === 400 || answer.statusCode === 429) continue
          if (answer.statusCode < 500 && plain(answer, text) === wanted) continue
          // Things go on by themselves meanwhile: only what differs each time differs by the text.
          if (await isSame(harmless, async () => plain(await ask(route, with_text(text)), text))) {
            wanted = await harmless()
            continue
          }
          found.push(`${nameOf(route)} ${name}=${text}: ${answer.statusCode} ${answer.body.slice(0, 120)}`)
        }
      }
    })
    expect(found).toEqual([])
    expect(tried).toBeGreaterThan(1_000)
  }, 120_000)

  test('names nothing in the path of any route', async () => {
    const found: string[] = []
    const named = routes.filter((one) => one.url.includes(':') && !isOpen(one))
    await withEach(named, async (route) => {
      for (const text of NASTY.slice(0, 4)) {
        const path = route.url.replaceAll(/:\w+/g, encodeURIComponent(text))
        const answer = await matrix.call(route, whoMay(route), path)
        if (answer.statusCode !== 404 && answer.statusCode !== 400)
          found.push(`${nameOf(route)} ${text}: ${answer.statusCode} ${answer.body.slice(0, 120)}`)
      }
    })
    expect(found).toEqual([])
  }, 120_000)

  test('and a cursor that is changed, cut or of another list, opens nothing', async () => {
    const cursors: [Route, string][] = []
    for (const route of reads().filter((one) => one.query !== undefined && 'cursor' in one.query)) {
      const answer = await ask(route, `${pathOf(route)}?limit=1`)
      const { next_cursor: cursor } = answer.json<{ next_cursor: string | null }>()
      if (typeof cursor === 'string') cursors.push([route, cursor])
    }
    expect(cursors.length).toBeGreaterThan(3)
    for (const [index, [route, cursor]] of cursors.entries()) {
      const [, of_another = ''] = cursors[(index + 1) % cursors.length] ?? []
      const flipped = (at: number): string =>
        cursor.slice(0, at) + (cursor[at] === 'A' ? 'B' : 'A') + cursor.slice(at + 1)
      const bad = [
        flipped(0),
        flipped(Math.floor(cursor.length / 2)),
        cursor.slice(1),
        `${cursor}A`,
        of_another,
      ]
      for (const text of bad) {
        const answer = await ask(route, `${pathOf(route)}?limit=1&cursor=${encodeURIComponent(text)}`)
        expect([nameOf(route), text, answer.statusCode]).toEqual([nameOf(route), text, 400])
      }
      const good = await ask(route, `${pathOf(route)}?limit=1&cursor=${encodeURIComponent(cursor)}`)
      expect([nameOf(route), good.statusCode]).toEqual([nameOf(route), 200])
    }
  })
})

describe('A24: what is in an answer', () => {
  /** Reading routes of things that exist, with everybody who may. */
  const readers = (route: Route): [string, Caller][] => {
    const staff = Object.keys(BUILT_IN_ROLES).filter(
      (role) => route.who.staff !== undefined && BUILT_IN_ROLES[role]?.includes(route.who.staff as never),
    )
    const key: [string, Caller][] =
      route.who.key === undefined
        ? []
        : [['key', { scopes: [route.who.key === 'any' ? '*' : route.who.key] }]]
    return [...key, ...staff.map((role): [string, Caller] => [role, person(role)])]
  }

  test('has the same members for everybody who may read it', async () => {
    let compared = 0
    // What a key is told of itself needs a key of the database, which this matrix does not call with.
    const shared = (one: Route): boolean =>
      one.method === 'GET' && !isOpen(one) && one.who.user !== true && one.who.key !== 'any'
    await withEach(routes.filter(shared), async (route) => {
      const path = route.url.includes(':') ? matrix.existingPath(route.url) : route.url
      if (path === undefined) return
      const shapes = new Map<string, string[]>()
      for (const [name, as] of readers(route)) {
        const answer = await matrix.lab.call(as, 'GET', path)
        expect([nameOf(route), name, answer.statusCode]).toEqual([nameOf(route), name, 200])
        if (!String(answer.headers['content-type']).includes('json')) continue
        shapes.set(name, memberPaths(answer.json()).toSorted())
      }
      const [first = [], ...others] = shapes.values()
      for (const shape of others) expect([nameOf(route), shape]).toEqual([nameOf(route), first])
      compared += others.length
    })
    expect(compared).toBeGreaterThan(100)
  })

  test('is never a password, a digest or a sealed secret, whoever reads', async () => {
    const forbidden = /password_hash|digest|sealed|cookie|private|(^|\.)hash$|salt|otp_secret|chain/
    const found: string[] = []
    let read = 0
    await withEach(reads(), async (route) => {
      const path = route.url.includes(':') ? matrix.existingPath(route.url) : route.url
      if (path === undefined) return
      for (const as of [EVERYTHING, person('owner'), person('user')]) {
        const answer = await matrix.lab.call(as, 'GET', path)
        if (answer.statusCode !== 200 || !String(answer.headers['content-type']).includes('json')) continue
        read++
        const bad = memberPaths(answer.json()).filter((member) => forbidden.test(member))
        found.push(...bad.map((member) => `${nameOf(route)} ${member}`))
      }
    })
    expect(found).toEqual([])
    expect(read).toBeGreaterThan(60)
  })

  test('about a person is this, by who asks', async () => {
    const { lab, people } = matrix
    const membersOf = async (as: Caller, path: string): Promise<string[]> =>
      Object.keys((await lab.call(as, 'GET', path)).json<object>()).toSorted()
    const of_himself = [
      'created_at',
      'customer_id',
      'email',
      'email_verified_at',
      'has_password',
      'id',
      'impersonator_id',
      'is_disabled',
      'locale',
      'name',
      'needs_second_factor',
      'permissions',
      'second_factor',
      'session_id',
    ]
    expect(await membersOf(person('user'), '/v1/me')).toEqual(of_himself)
    const of_staff = [
      'created_at',
      'customer_id',
      'email',
      'id',
      'is_email_verified',
      'locale',
      'name',
      'role',
      'status',
    ]
    const path = `/admin/users/${people['user']}`
    for (const role of ['support', 'read_only', 'owner']) {
      expect([role, await membersOf(person(role), path)]).toEqual([role, of_staff])
    }
    const profile = ['created_at', 'email', 'id', 'is_email_verified', 'locale', 'name', 'requested_locale']
    expect(await membersOf(person('user'), '/auth/profile')).toEqual(profile)
    // A catalog shows buyers less than those who make it.
    const shown = await lab.call('', 'GET', '/v1/catalog')
    expect(
      memberPaths(shown.json()).filter((member) => /metadata|is_active|created_at|version/.test(member)),
    ).toEqual([])
  })
})

test('nothing of all this was a mistake of ours', () => {
  expect(matrix.lab.failures).toEqual([])
})

/** Whether two answers are the same at one of a few looks, taken one right after the other. */
async function isSame(one: () => Promise<string>, two: () => Promise<string>): Promise<boolean> {
  for (let look = 0; look < 10; look++) if ((await one()) === (await two())) return true
  return false
}
