import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import type { AppSettings } from '../src/app.ts'
import type { PeopleAppSettings } from '../src/app-people.ts'
import { silentLog } from '../src/kernel/log.ts'
import { frozenClock, type MovableClock } from '../src/kernel/clock.ts'
import { startApp, type App } from '../src/app.ts'
import { askUntilHeard } from './ask-until-heard.ts'
import { testDatabase } from './db.ts'
import { telegramSigner, type TelegramSigner } from './telegram-signer.ts'
import { settingsOf } from './world-settings.ts'

/** An installation with people in it: a clock that is moved by hand, and hashes that cost little. */
export interface PeopleWorld {
  app: App
  clock: MovableClock
  telegram: TelegramSigner
  /** One request by `inject`, from an address of its own unless one is given. */
  send<T = Record<string, unknown>>(method: Method, url: string, request?: Sent): Promise<PeopleAnswer<T>>
  /** Signs a new user up and in; of immediate registration. */
  person(facts?: { email?: string; password?: string; device_id?: string }): Promise<Person>
  /** The texts of mails in the queue about an address, oldest first. */
  mails(to: string): Promise<{ kind: string; token: string | undefined }[]>
  close(): Promise<void>
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

export interface Sent {
  body?: unknown
  token?: string | undefined
  headers?: Readonly<Record<string, string>>
  ip?: string
}

export interface PeopleAnswer<T> {
  status: number
  body: T
  text: string
  headers: Readonly<Record<string, unknown>>
  /** By name. */
  cookies: Readonly<Record<string, { value: string; text: string }>>
}

export interface Person {
  id: string
  email: string
  password: string
  access_token: string
  refresh_token: string
  session_id: string
  device_token: string
  customer_id: string
}

export const PASSWORD = 'correct horse battery'

export interface Tokens {
  status: string
  user: {
    id: string
    customer_id: string
    email: string | null
    email_verified_at: string | null
    name: string | null
  }
  access_token: string
  refresh_token: string
  session_id: string
  device_token: string
  csrf_token: string | null
  challenge: string
}

/** Starts one. `change` sees the settings about people before the start. */
export async function startPeopleWorld(
  people: PeopleAppSettings = {},
  change: (settings: AppSettings) => AppSettings = (same) => same,
): Promise<PeopleWorld> {
  const database = await testDatabase()
  const clock = frozenClock()
  const telegram = telegramSigner()
  const failures: unknown[] = []
  const app = await startApp(
    change({
      ...settingsOf(database.url, 'http://127.0.0.1:9'),
      roles: [],
      clock,
      base_url: 'https://shop.example',
      gateways: {},
      log: { ...silentLog(), error: (fields: unknown) => void failures.push(fields) },
      people: {
        password_cost: { memory_kib: 64, passes: 1 },
        telegram: { bot_token: telegram.bot_token, bot_name: 'shop_bot', public_key: telegram.public_key },
        ...people,
      },
    }),
  )
  let address = 0
  const send: PeopleWorld['send'] = async <T>(method: Method, url: string, request: Sent = {}) => {
    const { body, token, headers = {} } = request
    address++
    const remoteAddress = request.ip ?? `10.${(address >> 16) & 255}.${(address >> 8) & 255}.${address & 255}`
    return askUntilHeard(async () => {
      const answer = await app.http.inject({
        method,
        url,
        remoteAddress,
        headers: {
          'user-agent': 'test',
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { payload: typeof body === 'string' ? body : JSON.stringify(body) }),
      })
      return {
        status: answer.statusCode,
        body: parse(answer.payload) as T,
        text: answer.payload,
        headers: answer.headers,
        cookies: cookiesOf(answer.headers['set-cookie']),
      }
    })
  }
  return {
    app,
    clock,
    telegram,
    send,
    person: async (facts = {}) => {
      const email = facts.email ?? `${randomBytes(6).toString('hex')}@mail.example`
      const password = facts.password ?? PASSWORD
      const body = {
        email,
        password,
        ...(facts.device_id === undefined ? {} : { device_id: facts.device_id }),
      }
      const answer = await send<Tokens>('POST', '/v1/auth/register', { body })
      if (answer.status !== 200) throw new Error(`nobody was signed up: ${answer.text}`)
      const { user, access_token, refresh_token, session_id, device_token } = answer.body
      const { id, customer_id } = user
      return { id, email, password, access_token, refresh_token, session_id, device_token, customer_id }
    },
    mails: (to) => mailsOf(app, to),
    close: async () => {
      await app.stop()
      await database.close()
      // Whatever was asked, no answer may have been a mistake of ours.
      if (failures.length > 0) throw new Error(`answered with 500: ${inspect(failures, { depth: 4 })}`)
    },
  }
}

/** What an app asks of its database meanwhile, without the values. */
export async function statementsOf(
  world: Pick<PeopleWorld, 'app'>,
  work: () => Promise<unknown>,
): Promise<string[]> {
  return (await queriesOf(world, work)).map(({ text }) => text)
}

/** As {@link statementsOf}, with the values. */
export async function queriesOf(
  { app }: Pick<PeopleWorld, 'app'>,
  work: () => Promise<unknown>,
): Promise<{ text: string; values: unknown[] }[]> {
  const seen: { text: string; values: unknown[] }[] = []
  const client = await app.db.pool.connect()
  const prototype = Object.getPrototypeOf(client) as { query: (...input: unknown[]) => unknown }
  client.release()
  const { query } = prototype
  prototype.query = function (this: unknown, ...input: unknown[]) {
    const [first, second] = input as [string | { text?: string; values?: unknown[] }, unknown]
    const given = typeof first === 'string' ? undefined : first.values
    const text = typeof first === 'string' ? first : (first.text ?? '')
    seen.push({ text, values: given ?? (Array.isArray(second) ? second : []) })
    return query.apply(this, input)
  }
  try {
    await work()
  } finally {
    prototype.query = query
  }
  return seen
}

interface Sealed {
  kind: string
  to: string
  values: { link?: string }
}

async function mailsOf(app: App, to: string): Promise<{ kind: string; token: string | undefined }[]> {
  const { rows } = await app.db.pool.query<{ data: { sealed: string } }>(
    `select data from jobs.job where name = 'identity.mail' order by created_on`,
  )
  const { box } = settingsOf('', '')
  const all = rows.map(({ data }) => JSON.parse(box.open(data.sealed, 'identity.mail')) as Sealed)
  return all
    .filter((mail) => mail.to === to)
    .map(({ kind, values }) => ({
      kind,
      token: URL.parse(values.link ?? '')?.searchParams.get('token') ?? undefined,
    }))
}

function cookiesOf(header: string | string[] | undefined): Record<string, { value: string; text: string }> {
  const texts = header === undefined ? [] : [header].flat()
  return Object.fromEntries(
    texts.map((text) => {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(text) ?? []
      return [name, { value: decodeURIComponent(value), text }]
    }),
  )
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
