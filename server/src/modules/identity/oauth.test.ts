import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { LIES, startOauthEmulator } from '@kopilka/emulators/oauth'
import type { Emulator } from '@kopilka/emulators/emulator'
import { type PeopleWorld, startPeopleWorld, type Tokens } from '../../../test/people-world.ts'
import vectors from '../../../test/vectors/oauth.json' with { type: 'json' }
import { unnoticed } from '../../../test/vectors.ts'
import { codeChallenge } from './oauth.ts'

const BACK = {
  google: 'https://shop.example/auth/callback/google',
  vk: 'https://shop.example/auth/callback/vk',
}
const GOOGLE = { google_client_id: 'shop.apps.example', google_client_secret: 'shop_secret' }

let vendors: Emulator
let world: PeopleWorld
beforeAll(async () => {
  vendors = await startOauthEmulator({
    settings: { ...GOOGLE, vk_client_id: '5100', redirect_uris: Object.values(BACK) },
    now: () => world?.clock.now() ?? new Date(),
  })
  world = await startPeopleWorld({
    google: {
      client_id: GOOGLE.google_client_id,
      client_secret: GOOGLE.google_client_secret,
      redirect_uri: BACK.google,
      issuer: `${vendors.base_url}/google`,
    },
    vk: { client_id: '5100', redirect_uri: BACK.vk, base_url: `${vendors.base_url}/vk` },
  })
})
afterEach(() => vendors.control.reset())
afterAll(async () => {
  await world?.close()
  await vendors?.close()
})

test('the known example of PKCE is noticed when it is another', async () => {
  const check = ({ pkce }: typeof vectors): void => {
    if (codeChallenge(pkce.code_verifier) !== pkce.code_challenge_S256) throw new Error('another challenge')
  }
  expect(await unnoticed(vectors, check)).toEqual([])
})

type Vendor = 'google' | 'vk'
interface Start {
  authorize_url: string
  state: string
  flow_token: string
}
interface Back {
  state: string
  code: string
  device_id?: string
  flow_token: string
}

let last_id = 700_000
const someone = (): Record<string, string> => {
  last_id += 1
  return { action: 'agree', id: String(last_id), name: 'Anna Test', email: `anna${last_id}@gmail.com` }
}

/** What a browser does: opens the page, agrees, and is sent back. */
async function agree({ authorize_url, flow_token }: Start, form: Record<string, string>): Promise<Back> {
  const shown = await fetch(authorize_url)
  expect(shown.status).toBe(200)
  const answer = await fetch(authorize_url, {
    method: 'POST',
    body: new URLSearchParams(form),
    redirect: 'manual',
  })
  expect(answer.status).toBe(303)
  const back = new URL(answer.headers.get('location') ?? '').searchParams
  const device_id = back.get('device_id')
  return {
    state: back.get('state') ?? '',
    code: back.get('code') ?? '',
    flow_token,
    ...(device_id === null ? {} : { device_id }),
  }
}

const begin = async (vendor: Vendor, body: object = {}): Promise<Start> => {
  const answer = await world.send<Start>('POST', `/v1/auth/oauth/${vendor}`, { body })
  expect(answer.status).toBe(200)
  return answer.body
}
const finish = (vendor: Vendor, body: object) =>
  world.send<Tokens & { code: string; detail: string }>('POST', `/v1/auth/oauth/${vendor}/finish`, { body })
const users = async (): Promise<number> => {
  const { rows } = await world.app.db.pool.query<{ count: bigint }>('select count(*) from identity.users')
  return Number(rows[0]?.count)
}

describe.each(['google', 'vk'] as const)('signing in by %s', (vendor) => {
  test('makes a user at the first time and finds him at the second', async () => {
    const form = someone()
    const first = await finish(vendor, await agree(await begin(vendor), form))
    expect(first.status).toBe(200)
    expect(first.body.user).toMatchObject({ name: 'Anna Test' })
    const second = await finish(vendor, await agree(await begin(vendor), { ...form, email: 'new@gmail.com' }))
    expect(second.body.user.id).toBe(first.body.user.id)
  })

  test('works once: a code, a state and a flow that were used are refused', async () => {
    const back = await agree(await begin(vendor), someone())
    expect((await finish(vendor, back)).status).toBe(200)
    const again = await finish(vendor, back)
    expect([again.status, again.body.code]).toEqual([401, 'proof_invalid'])
  })

  test('is finished only by whoever began it: a state sent to somebody else opens nothing', async () => {
    const attacker = await agree(await begin(vendor), someone())
    const victim = await begin(vendor)
    const mixed = await finish(vendor, { ...attacker, flow_token: victim.flow_token })
    expect([mixed.status, mixed.body.code]).toEqual([401, 'proof_invalid'])
    const other = vendor === 'google' ? 'vk' : 'google'
    expect((await finish(other, attacker)).status).toBe(401)
  })

  test('is over after ten minutes', async () => {
    const back = await agree(await begin(vendor), someone())
    world.clock.advance(600_001)
    expect((await finish(vendor, back)).status).toBe(401)
  })

  test('a code that is made up makes nobody', async () => {
    const before = await users()
    const start = await begin(vendor)
    const answer = await finish(vendor, {
      state: start.state,
      flow_token: start.flow_token,
      code: 'made-up',
      device_id: 'x',
    })
    expect([answer.status, answer.body.code]).toEqual([401, 'vendor_proof_invalid'])
    expect(await users()).toBe(before)
  })

  test('fifty at once with one answer make one session', async () => {
    const back = await agree(await begin(vendor), someone())
    const answers = await Promise.all(Array.from({ length: 50 }, () => finish(vendor, back)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(49)
  })

  test('says that the vendor does not answer, and nothing more', async () => {
    const back = await agree(await begin(vendor), someone())
    vendors.control.faults({ error_500: 1 })
    const answer = await finish(vendor, back)
    expect(answer.status).toBe(503)
    expect(answer.text).not.toMatch(/secret|verifier|127\.0\.0\.1/)
  })
})

test('A45: made-up answers of a vendor are counted by network, where all processes see them', async () => {
  const ip = '198.51.100.70'
  const made_up = async (): Promise<number> => {
    const body = { state: 'x', flow_token: 'x', code: 'x' }
    return (await world.send('POST', '/v1/auth/oauth/google/finish', { body, ip })).status
  }
  expect(await made_up()).toBe(401)
  const { rowCount } = await world.app.db.pool.query(
    `update identity.attempts set full_at = full_at + 59 * interval '15 seconds'
      where key_digest = sha256(convert_to($1, 'UTF8'))`,
    [`vendor proof, network\n${ip}`],
  )
  expect(rowCount).toBe(1)
  expect(await made_up()).toBe(429)
  const back = await agree(await begin('google'), someone())
  expect((await finish('google', back)).status, 'from elsewhere').toBe(200)
})

describe('Google', () => {
  test.each(LIES.filter((lie) => lie !== 'none'))('an ID token with %s signs nobody in', async (lie) => {
    const before = await users()
    const back = await agree(await begin('google'), someone())
    vendors.control.settings({ lie })
    const answer = await finish('google', back)
    expect([answer.status, answer.body.code]).toEqual([401, 'vendor_proof_invalid'])
    expect(await users()).toBe(before)
  })

  test('proves an address only where it runs the mailbox', async () => {
    const gmail = await finish('google', await agree(await begin('google'), someone()))
    expect(gmail.body.user.email_verified_at).not.toBeNull()
    const foreign = { ...someone(), email: `x${last_id}@company.example` }
    const other = await finish('google', await agree(await begin('google'), foreign))
    expect(other.body.user.email).toBeNull()
  })

  test('does not take somebody with the same address for the same person', async () => {
    const form = someone()
    const person = await world.person({ email: form['email'] ?? '' })
    const answer = await finish('google', await agree(await begin('google'), form))
    expect(answer.status).toBe(200)
    expect(answer.body.user.id).not.toBe(person.id)
    expect(answer.body.user.email).toBeNull()
  })
})

describe('VK', () => {
  test('needs its device_id, and its address proves nothing', async () => {
    const form = someone()
    const { device_id, ...without } = await agree(await begin('vk'), form)
    expect(device_id).toMatch(/^\w+$/)
    expect((await finish('vk', without)).status).toBe(401)
    const full = await finish('vk', await agree(await begin('vk'), form))
    expect(full.body.user.email).toBeNull()
  })
})

describe('a browser', () => {
  test('is sent back to a page that signs it in by a cookie, and only the browser that began', async () => {
    const started = await world.send<Start>('POST', '/v1/auth/oauth/google', { body: { mode: 'cookie' } })
    const flow = started.cookies['__Host-kopilka-flow']?.value ?? ''
    const { state, code } = await agree(started.body, someone())
    const url = `/auth/callback/google?${new URLSearchParams({ state, code })}`
    const stranger = await world.send('GET', url)
    expect(stranger.status).toBe(400)
    expect(stranger.cookies).toEqual({})
    const own = await world.send('GET', url, { headers: { cookie: `__Host-kopilka-flow=${flow}` } })
    expect(own.status).toBe(200)
    expect(own.cookies['__Host-kopilka']?.text).toMatch(/Secure/)
  })
})

describe('linking', () => {
  const link = async (token: string, form: Record<string, string>) => {
    const url = '/v1/me/identities/oauth/google'
    const started = await world.send<Start>('POST', url, { token })
    const back = await agree(started.body, form)
    return world.send<{ id: string; merge_token: string }>('POST', `${url}/finish`, { token, body: back })
  }

  test('lets a user in by Google afterwards, and a repeat changes nothing', async () => {
    const { access_token: token, id } = await world.person()
    const form = someone()
    const linked = await link(token, form)
    expect(linked.status).toBe(200)
    expect((await link(token, form)).body.id).toBe(linked.body.id)
    const entered = await finish('google', await agree(await begin('google'), form))
    expect(entered.body.user.id).toBe(id)
  })

  test('of an identity of another user is refused with a token to merge by', async () => {
    const form = someone()
    const other = await finish('google', await agree(await begin('google'), form))
    const mine = await world.person()
    const refused = await link(mine.access_token, form)
    expect(refused.status).toBe(409)
    const body = { merge_token: refused.body.merge_token }
    const stranger = await world.person()
    expect((await world.send('POST', '/v1/me/merge', { token: stranger.access_token, body })).status).toBe(
      401,
    )

    const merging = await link(mine.access_token, form)
    const merged = await world.send('POST', '/v1/me/merge', {
      token: mine.access_token,
      body: { merge_token: merging.body.merge_token },
    })
    expect(merged.status).toBe(200)
    const entered = await finish('google', await agree(await begin('google'), form))
    expect(entered.body.user.id).toBe(mine.id)
    expect((await world.send('GET', '/v1/me', { token: other.body.access_token })).status).toBe(401)
  })

  test('begun by one user cannot be finished by another, nor used to sign in', async () => {
    const [one, two] = [await world.person(), await world.person()]
    const url = '/v1/me/identities/oauth/google'
    const back = async (): Promise<Back> =>
      agree((await world.send<Start>('POST', url, { token: one.access_token })).body, someone())
    const stolen = await world.send('POST', `${url}/finish`, { token: two.access_token, body: await back() })
    expect(stolen.status).toBe(401)
    expect((await finish('google', await back())).status).toBe(401)
  })
})
