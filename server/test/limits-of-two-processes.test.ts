import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type App, startApp } from '../src/app.ts'
import type { LimitSettings } from '../src/app-limits.ts'
import { abuseLimits } from '../src/kernel/abuse-limits.ts'
import { PASSWORD, type PeopleWorld, startPeopleWorld } from './people-world.ts'
import { HAS_REDIS, type RedisServer, startRedis } from './redis-server.ts'
import { startWorld } from './world.ts'

let redis: RedisServer | undefined
beforeAll(async () => {
  if (HAS_REDIS) redis = await startRedis()
})
afterAll(() => redis?.kill())

/** Two processes on one database, as people see them: the second one is asked by `there`. */
async function twoProcesses(limits: LimitSettings): Promise<{
  here: PeopleWorld
  there: (email: string, ip: string) => Promise<number>
  close: () => Promise<void>
}> {
  let second: App | undefined
  let settings: Parameters<typeof startApp>[0] | undefined
  const here = await startPeopleWorld({}, (same) => (settings = { ...same, limits }))
  if (settings !== undefined) second = await startApp(settings)
  return {
    here,
    there: async (email, remoteAddress) => {
      const answer = await second?.http.inject({
        method: 'POST',
        url: '/v1/auth/login',
        remoteAddress,
        payload: { email, password: 'guessed wrong' },
      })
      return answer?.statusCode ?? 0
    },
    close: async () => {
      await second?.stop()
      await here.close()
    },
  }
}

const guess = async (world: PeopleWorld, email: string, ip?: string): Promise<number> => {
  const body = { email, password: 'guessed wrong' }
  const { status } = await world.send('POST', '/v1/auth/login', ip === undefined ? { body } : { body, ip })
  return status
}

const STORES: readonly { name: string; limits: () => LimitSettings; is_there: boolean }[] = [
  { name: 'the database', limits: () => ({ store: 'database' }), is_there: true },
  {
    name: HAS_REDIS ? 'Redis' : 'Redis (skipped: this machine has no redis-server)',
    limits: () => ({ store: 'memory', redis_url: redis?.url }),
    is_there: HAS_REDIS,
  },
]

describe.each(STORES)('two processes that count in $name', ({ limits, is_there }) => {
  test.skipIf(!is_there)(
    'A25: stop guesses at one account together, from however many addresses',
    async () => {
      const { here, there, close } = await twoProcesses(limits())
      try {
        const { email } = await here.person()
        const answers: number[] = []
        for (let n = 1; n <= 6; n++) {
          answers.push(await guess(here, email), await there(email, `172.16.0.${n}`))
        }
        expect(answers).toEqual([...Array.from({ length: 10 }, () => 401), 429, 429])
      } finally {
        await close()
      }
    },
  )

  test.skipIf(!is_there)('A45: count the addresses of one IPv6 network as one', async () => {
    const { here, there, close } = await twoProcesses(limits())
    try {
      const unknown = (n: number) => `nobody-${n}@mail.example`
      for (let n = 1; n <= 60; n++) {
        expect(await guess(here, unknown(n), `2001:db8:1:2::${n.toString(16)}`)).toBe(401)
      }
      expect(await there(unknown(61), '2001:db8:1:2:ffff::1')).toBe(429)
      expect(await there(unknown(62), '2001:db8:1:3::1')).toBe(401)
    } finally {
      await close()
    }
  })
})

test('processes that count in memory count each for itself', async () => {
  const { here, there, close } = await twoProcesses({ store: 'memory' })
  try {
    const { email } = await here.person()
    for (let n = 1; n <= 11; n++) await guess(here, email)
    expect([await guess(here, email), await there(email, '172.16.1.1')]).toEqual([429, 401])
  } finally {
    await close()
  }
})

test('A25: a flood of strangers closes the door to strangers, not to who was let in before', async () => {
  const world = await startPeopleWorld()
  try {
    const { email, device_token } = await world.person()
    // The whole allowance of strangers, as a botnet would use it up.
    await world.app.db.pool.query(
      `insert into identity.attempts (key_digest, full_at)
       values (sha256(convert_to(E'sign in, all\\n', 'UTF8')),
         $1::timestamptz + interval '10 minutes')
       on conflict (key_digest) do update set full_at = excluded.full_at`,
      [world.clock.now()],
    )
    const body = { email, password: PASSWORD }
    expect((await world.send('POST', '/v1/auth/login', { body })).status).toBe(429)
    const known = await world.send('POST', '/v1/auth/login', { body: { ...body, device_token } })
    expect(known.status).toBe(200)
    const sign_up = { email: 'new@mail.example', password: PASSWORD }
    expect((await world.send('POST', '/v1/auth/register', { body: sign_up })).status).toBe(429)
    const forgot = await world.send('POST', '/v1/auth/password/forgot', { body: { email } })
    expect(forgot.status).toBe(429)
  } finally {
    await world.close()
  }
})

describe('checkout', () => {
  test('A60: is refused when one customer began too many, and to him only', async () => {
    const world = await startWorld()
    try {
      const [busy, other] = [await world.customer('busy'), await world.customer()]
      const price_id = await world.price('minutes_30')
      const order = (customer_id: string) =>
        world.call('POST', '/v1/orders', {
          customer_id,
          gateway: 'sandbox',
          lines: [{ price_id, quantity: 1 }],
          return_url: 'https://shop.example/back',
        })
      expect((await order(busy)).status).toBe(201)
      // As after a thousand of them: the owner's own server asks, which may do more for one than he himself.
      const { rowCount } = await world.app.db.pool.query(
        `update identity.attempts set full_at = full_at + interval '1 hour'
          where key_digest = sha256(convert_to(E'checkout, by_server\\n' || $1, 'UTF8'))`,
        [busy],
      )
      expect(rowCount).toBe(1)
      for (const name of [busy, 'external_id:busy']) {
        const answer = await order(name)
        expect([answer.status, answer.body['code']]).toEqual([429, 'too_many_requests'])
        expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
      }
      expect((await order(other)).status).toBe(201)
      const { rows } = await world.app.db.pool.query('select id from orders.orders where customer_id = $1', [
        busy,
      ])
      expect(rows).toHaveLength(1)
    } finally {
      await world.close()
    }
  })
})

test('A13: the tenth guess of a code in an hour is the last, whatever network it comes from', async () => {
  const world = await startPeopleWorld()
  try {
    const { limits } = world.app.orders
    const enter = (network: string) =>
      limits.take(abuseLimits('promo_entry', { account: 'cus_1', network })).then(
        () => 'let through',
        (error: { code: string }) => error.code,
      )
    const answers: string[] = []
    for (let n = 0; n < 11; n++) answers.push(await enter(`10.0.0.${n}`))
    expect(answers).toEqual([...Array.from({ length: 10 }, () => 'let through'), 'too_many_requests'])
    world.clock.advance(6 * 60_000)
    expect(await enter('10.0.0.1')).toBe('let through')
  } finally {
    await world.close()
  }
})
