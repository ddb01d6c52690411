import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { frozenClock } from '#kernel/clock'
import { createDb, type Db } from '#kernel/db'
import { OperationalError, Unauthenticated } from '#kernel/errors'
import { testDatabase, type TestDatabase } from '../../../test/db.ts'
import { createApiKey, type NewApiKey, programAsMaker, revokeApiKey } from './api-keys.ts'
import { type Authenticator, createAuthenticator } from './authenticator.ts'
import type { KeyIdentity } from './key-memory.ts'
import { makeSecretKey } from './secret-key.ts'

let database: TestDatabase
let db: Db
const clock = frozenClock()
let now_ms = 0
const opened: Authenticator[] = []

beforeAll(async () => {
  database = await testDatabase()
  db = database.db
})
afterEach(async () => {
  for (const authenticator of opened.splice(0)) await authenticator.stop()
})
afterAll(() => database.close())

function open(options: Partial<Parameters<typeof createAuthenticator>[1]> & { db?: Db } = {}): Authenticator {
  const { db: own = db, ...rest } = options
  const authenticator = createAuthenticator(own, {
    clock,
    mode: 'sandbox',
    now_ms: () => now_ms,
    flush_ms: 3_600_000,
    ...rest,
  })
  opened.push(authenticator)
  return authenticator
}

const make = (key: Partial<NewApiKey> = {}, mode: 'sandbox' | 'live' = 'sandbox') =>
  db.transact((tx) =>
    createApiKey(tx, clock, {
      mode,
      maker: programAsMaker('command'),
      key: { name: 'k', scopes: ['*'], ...key },
    }),
  )

const bearer = (secret: string) => ({ headers: { authorization: `Bearer ${secret}` } })
const refusal = async (work: () => unknown): Promise<unknown> => {
  try {
    return await work()
  } catch (error) {
    return error
  }
}

/** How a credential was answered. */
async function looks(
  authenticator: Authenticator,
  headers: { headers: { authorization: string } },
): Promise<'known' | 'looked up' | 'refused'> {
  try {
    const answer = authenticator.authenticate(headers)
    if (!(answer instanceof Promise)) return 'known'
    await answer
    return 'looked up'
  } catch {
    return 'refused'
  }
}

describe('credentials', () => {
  test('without a header nobody is known, and nothing is looked up', () => {
    expect(open().authenticate({ headers: {} })).toBeUndefined()
  })

  test('a key is taken as Bearer or as the user name of Basic, in any case of the word', async () => {
    const { id, secret } = await make({ scopes: ['wallets:read', 'spends:write'], rate_limit_per_minute: 7 })
    const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
    for (const authorization of [
      `Bearer ${secret}`,
      `bearer ${secret}`,
      `BEARER   ${secret}`,
      basic(`${secret}:`),
      basic(secret),
      basic(`${secret}:`).replace('Basic', 'basic'),
    ]) {
      const identity = await open().authenticate({ headers: { authorization } })
      expect([authorization.slice(0, 6), identity]).toEqual([
        authorization.slice(0, 6),
        { kind: 'key', id, scopes: new Set(['wallets:read', 'spends:write']), rate_limit_per_minute: 7 },
      ])
    }
  })

  test('everything else is refused at once, without a look at the database', () => {
    const dead = createDb({ url: 'postgres://x@127.0.0.1:1/x' })
    const authenticator = open({ db: dead })
    const { secret } = makeSecretKey('sandbox')
    const texts = [
      '',
      ' ',
      'Bearer',
      'Bearer ',
      secret,
      `Token ${secret}`,
      `Bearer ${secret.slice(0, -1)}`,
      `Bearer ${secret}x`,
      `Bearer ${secret} ${secret}`,
      'Bearer undefined',
      `Basic ${Buffer.from(`${secret}:password`).toString('base64')}`,
      'Basic !!!',
      'Basic',
      `Bearer ${'x'.repeat(10_000)}`,
      'Bearer sk_test_\0',
      `Bearer ${makeSecretKey('live').secret}`,
    ]
    for (const authorization of texts) {
      expect(
        () => authenticator.authenticate({ headers: { authorization } }),
        authorization.slice(0, 60),
      ).toThrow(Unauthenticated)
    }
  })

  test('no refusal repeats what was sent', async () => {
    const { secret } = makeSecretKey('sandbox')
    for (const authorization of [`Bearer ${secret}`, `Bearer ${secret.slice(0, -1)}`, `Token ${secret}`]) {
      const error = await refusal(() => open().authenticate({ headers: { authorization } }))
      expect(error).toBeInstanceOf(Unauthenticated)
      expect((error as Error).message).not.toContain(secret.slice(8, 20))
    }
  })

  test('a key of the other mode is told so', async () => {
    const live = await make({}, 'live')
    const error = await refusal(() => open().authenticate(bearer(live.secret)))
    expect(error).toBeInstanceOf(Unauthenticated)
    expect(await open({ mode: 'live' }).authenticate(bearer(live.secret))).toMatchObject({ id: live.id })
  })

  test('unknown, revoked and expired keys are refused', async () => {
    const revoked = await make()
    await db.transact((tx) => revokeApiKey(tx, clock, revoked.id))
    const expired = await make({ expires_at: new Date(clock.now_ms() - 1) })
    for (const secret of [makeSecretKey('sandbox').secret, revoked.secret, expired.secret]) {
      expect(await refusal(() => open().authenticate(bearer(secret)))).toBeInstanceOf(Unauthenticated)
    }
  })
})

describe('the memory of keys', () => {
  test('answers at once after the first look, the same object', async () => {
    const authenticator = open()
    const { secret } = await make()
    const first = authenticator.authenticate(bearer(secret))
    expect(first).toBeInstanceOf(Promise)
    const identity = await first
    expect(authenticator.authenticate(bearer(secret))).toBe(identity)
  })

  test('keys do not stand in for one another', async () => {
    const authenticator = open()
    const keys = await Promise.all(Array.from({ length: 5 }, () => make()))
    for (let round = 0; round < 3; round++) {
      for (const { id, secret } of keys)
        expect(await authenticator.authenticate(bearer(secret))).toMatchObject({ id })
    }
  })

  test('fifty requests with one unknown key ask once', async () => {
    const authenticator = open()
    const { id, secret } = await make()
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => authenticator.authenticate(bearer(secret))),
    )
    // One row read makes one object.
    expect(new Set(answers).size).toBe(1)
    expect(answers[0]).toMatchObject({ id })
  })

  test('a revocation in this process counts from its commit on', async () => {
    const authenticator = open()
    const { id, secret } = await make()
    await authenticator.authenticate(bearer(secret))
    await db.transact(async (tx) => {
      await revokeApiKey(tx, clock, id)
      // Not yet: the transaction may still fail.
      expect(authenticator.authenticate(bearer(secret))).toMatchObject({ id })
    })
    expect(await looks(authenticator, bearer(secret))).toBe('refused')
  })

  test('a revocation that is rolled back changes nothing', async () => {
    const authenticator = open()
    const { id, secret } = await make()
    await authenticator.authenticate(bearer(secret))
    await refusal(() =>
      db.transact(async (tx) => {
        await revokeApiKey(tx, clock, id)
        throw new Error('rolled back')
      }),
    )
    expect(await looks(authenticator, bearer(secret))).toBe('known')
  })

  test('what was read before a revocation is not remembered after it', async () => {
    const { id, secret } = await make()
    const { slow, looking, finish } = await lookDuring(secret, () =>
      db.transact((tx) => revokeApiKey(tx, clock, id)),
    )
    // The look had begun before the revocation and is answered as it was then; that must be all.
    expect(await looking).toMatchObject({ id })
    expect(await looks(slow, bearer(secret))).toBe('refused')
    await finish()
  })

  test('a look that began before a revocation is shared by nobody who asks after it', async () => {
    const { id, secret } = await make()
    let late: Promise<unknown> | undefined
    const { slow, looking, finish } = await lookDuring(secret, async (authenticator) => {
      await db.transact((tx) => revokeApiKey(tx, clock, id))
      late = refusal(() => authenticator.authenticate(bearer(secret)))
    })
    await looking
    expect(await late).toBeInstanceOf(Unauthenticated)
    expect(await looks(slow, bearer(secret))).toBe('refused')
    await finish()
  })

  test('a revocation by another process counts after five seconds at the latest', async () => {
    const authenticator = open()
    const { id, secret } = await make()
    await authenticator.authenticate(bearer(secret))
    await db.pool.query('update identity.api_keys set revoked_at = now() where id = $1', [id])
    now_ms += 2_400
    expect(await looks(authenticator, bearer(secret))).toBe('known')
    now_ms += 2_600
    expect(await looks(authenticator, bearer(secret))).toBe('refused')
  })

  test('a key in use is looked up again in the background and its requests never wait', async () => {
    const authenticator = open()
    const { id, secret } = await make({ scopes: ['wallets:read'] })
    await authenticator.authenticate(bearer(secret))
    await db.pool.query(`update identity.api_keys set scopes = '{usage:read}' where id = $1`, [id])
    let changed_at = 0
    for (let step = 1; step <= 40; step++) {
      now_ms += 250
      const identity = authenticator.authenticate(bearer(secret))
      expect([step, identity instanceof Promise]).toEqual([step, false])
      if ((identity as KeyIdentity).scopes.has('usage:read')) changed_at ||= step
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    expect(changed_at).toBeGreaterThan(0)
    expect(changed_at).toBeLessThanOrEqual(20)
  })

  test('a key that expires while it is remembered is refused on the clock', async () => {
    const authenticator = open()
    const { secret } = await make({ expires_at: new Date(clock.now_ms() + 1_000) })
    await authenticator.authenticate(bearer(secret))
    expect(await looks(authenticator, bearer(secret))).toBe('known')
    clock.advance(1_000)
    expect(() => authenticator.authenticate(bearer(secret))).toThrow(Unauthenticated)
  })

  test('is bounded: the key looked up longest ago gives way', async () => {
    const authenticator = open({ keys_max: 2 })
    const [a, b, c] = [await make(), await make(), await make()]
    for (const key of [a, b, c]) await authenticator.authenticate(bearer(key.secret))
    expect([
      await looks(authenticator, bearer(c.secret)),
      await looks(authenticator, bearer(b.secret)),
      await looks(authenticator, bearer(a.secret)),
    ]).toEqual(['known', 'known', 'looked up'])
  })

  test('a wrong key is remembered as wrong, and looked up again after five seconds', async () => {
    const authenticator = open()
    const { secret, digest, hint } = makeSecretKey('sandbox')
    expect(await looks(authenticator, bearer(secret))).toBe('refused')
    await db.pool.query(
      `insert into identity.api_keys (id, name, hint, secret_digest, mode, scopes, created_by, created_at)
       values ('key_late', 'x', $2, $1, 'sandbox', '{*}', 'x', now())`,
      [digest, hint],
    )
    expect(() => authenticator.authenticate(bearer(secret))).toThrow(Unauthenticated)
    now_ms += 5_000
    expect(await looks(authenticator, bearer(secret))).toBe('looked up')
  })
})

describe('trouble', () => {
  test('a database that does not answer is no 401, and a known key goes on for its time', async () => {
    const held = await holdAnswers(database.url)
    held.release()
    const errors: unknown[] = []
    const authenticator = open({ db: held.db, on_error: (error) => errors.push(error) })
    const { secret } = await make()
    await authenticator.authenticate(bearer(secret))
    await held.cut()
    now_ms += 3_000
    expect(await looks(authenticator, bearer(secret))).toBe('known')
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(errors.length).toBeGreaterThan(0)
    expect(await looks(authenticator, bearer(secret))).toBe('known')
    now_ms += 2_000
    const error = await refusal(() => authenticator.authenticate(bearer(secret)))
    expect(error).toBeInstanceOf(Error)
    expect(error).not.toBeInstanceOf(Unauthenticated)
    const other = await refusal(() => authenticator.authenticate(bearer(makeSecretKey('sandbox').secret)))
    expect(other).not.toBeInstanceOf(Unauthenticated)
    // The moment of last use cannot be written; stopping does not fail for it.
    const told = errors.length
    await authenticator.stop()
    expect(errors.length).toBe(told + 1)
    await held.close()
  })

  test('a flood of unknown keys is one statement at a time, and too many are turned away', async () => {
    const authenticator = open()
    const { id, secret } = await make()
    await authenticator.authenticate(bearer(secret))
    let busiest = 0
    const watch = setInterval(() => {
      busiest = Math.max(busiest, db.pool.totalCount - db.pool.idleCount)
    }, 1)
    const outcomes = await Promise.all(
      Array.from({ length: 3_000 }, async () =>
        refusal(() => authenticator.authenticate(bearer(makeSecretKey('sandbox').secret))),
      ),
    )
    clearInterval(watch)
    expect(outcomes.filter((outcome) => outcome instanceof Unauthenticated).length).toBeGreaterThanOrEqual(
      1_000,
    )
    expect(outcomes.filter((outcome) => outcome instanceof OperationalError).length).toBeGreaterThan(0)
    expect(
      outcomes.every((outcome) => outcome instanceof Unauthenticated || outcome instanceof OperationalError),
    ).toBe(true)
    expect(busiest).toBeLessThanOrEqual(1)
    expect(authenticator.authenticate(bearer(secret))).toMatchObject({ id })
  })
})

describe('last use', () => {
  const lastUse = async (id: string): Promise<Date | null> => {
    const { rows } = await db.pool.query<{ last_used_at: Date | null }>(
      'select last_used_at from identity.api_keys where id = $1',
      [id],
    )
    return rows[0]?.last_used_at ?? null
  }

  test('is written in one batch, with the latest moment of each key', async () => {
    const authenticator = open()
    const [a, b, unused] = [await make(), await make(), await make()]
    for (const key of [a, b]) await authenticator.authenticate(bearer(key.secret))
    clock.advance(60_000)
    expect(await authenticator.authenticate(bearer(a.secret))).toMatchObject({ id: a.id })
    expect(await lastUse(a.id)).toBeNull()
    await authenticator.stop()
    expect(await lastUse(a.id)).toEqual(clock.now())
    expect(await lastUse(b.id)).toEqual(new Date(clock.now_ms() - 60_000))
    expect(await lastUse(unused.id)).toBeNull()
  })

  test('is written while running, and never put back by a process that is behind', async () => {
    const { id, secret } = await make()
    await db.pool.query('update identity.api_keys set last_used_at = $2 where id = $1', [
      id,
      new Date(clock.now_ms() + 5_000),
    ])
    const authenticator = open({ flush_ms: 20 })
    await authenticator.authenticate(bearer(secret))
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(await lastUse(id)).toEqual(new Date(clock.now_ms() + 5_000))
    clock.advance(10_000)
    expect(await authenticator.authenticate(bearer(secret))).toMatchObject({ id })
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(await lastUse(id)).toEqual(clock.now())
  })

  test('many processes writing at once do not wait for each other in a circle', async () => {
    const keys = await Promise.all(Array.from({ length: 20 }, () => make()))
    const processes = Array.from({ length: 8 }, () => open())
    await Promise.all(
      processes.map(async (authenticator, index) => {
        const order = index % 2 ? keys : keys.toReversed()
        for (const key of order) await authenticator.authenticate(bearer(key.secret))
      }),
    )
    await Promise.all(processes.map((authenticator) => authenticator.stop()))
    for (const key of keys) expect(await lastUse(key.id)).toEqual(clock.now())
  })
})

/** Runs `meanwhile` when the row of a key was read and its answer is still on the way. */
async function lookDuring(
  secret: string,
  meanwhile: (authenticator: Authenticator) => Promise<unknown>,
): Promise<{ slow: Authenticator; looking: Promise<KeyIdentity>; finish: () => Promise<void> }> {
  const held = await holdAnswers(database.url)
  const slow = open({ db: held.db })
  const looking = slow.authenticate(bearer(secret)) as Promise<KeyIdentity>
  await held.arrived
  await meanwhile(slow)
  held.release()
  const finish = async (): Promise<void> => {
    await slow.stop()
    await held.close()
  }
  return { slow, looking, finish }
}

/** A way to the database on which answers can be held back or the line cut. */
async function holdAnswers(url: string): Promise<{
  db: Db
  arrived: Promise<void>
  release: () => void
  cut: () => Promise<void>
  close: () => Promise<void>
}> {
  const target = new URL(url)
  let is_held = true
  const waiting: (() => void)[] = []
  const sockets: Socket[] = []
  let arrive: () => void = () => undefined
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve
  })
  const proxy = createServer((inner) => {
    const outer = connect(Number(target.port), target.hostname)
    sockets.push(inner, outer)
    let has_asked = false
    inner.on('data', (chunk: Buffer) => {
      if (chunk.includes('identity')) has_asked = true
      outer.write(chunk)
    })
    outer.on('data', (chunk: Buffer) => {
      if (is_held && has_asked) {
        waiting.push(() => inner.write(chunk))
        arrive()
      } else inner.write(chunk)
    })
    for (const socket of [inner, outer]) socket.on('error', () => undefined)
    inner.on('close', () => outer.destroy())
    outer.on('close', () => inner.destroy())
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  const through = new URL(url)
  through.port = String((proxy.address() as AddressInfo).port)
  const held = createDb({ url: through.href })
  const cut = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => proxy.close(resolve))
  }
  return {
    db: held,
    arrived,
    release: () => {
      is_held = false
      for (const pass of waiting.splice(0)) pass()
    },
    cut,
    close: async () => {
      await held.close()
      for (const socket of sockets) socket.destroy()
      proxy.close()
    },
  }
}
