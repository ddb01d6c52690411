import { readFileSync } from 'node:fs'
import { hash } from 'node:crypto'
import type { Clock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import type { Events } from '#kernel/events'
import type { JobQueue } from '#kernel/jobs'
import type { Limits } from '#kernel/limits'
import { createRateLimiter } from '#kernel/rate-limiter'
import type { SecretBox } from '#kernel/secrets'
import { createAccessTokens } from './access-tokens.ts'
import { MAIL_QUEUE, type SendMail, sendQueuedMail } from './mails.ts'
import { type BreachedList, createPasswords, type PasswordCost } from './passwords.ts'
import type { PeopleKit, PeopleSettings } from './people-kit.ts'
import { deleteOldProofs } from './proof-queries.ts'
import { googleProvider, type GoogleSettings } from './providers/google.ts'
import { vkProvider, type VkSettings } from './providers/vk.ts'
import { deleteOldRefreshTokens, endExpiredSessions } from './session-queries.ts'
import type { SignInProvider } from './sign-in-provider.ts'

export interface PeopleOptions {
  clock: Clock
  events: Events
  jobs: JobQueue
  box: SecretBox
  limits: Limits
  mode: 'sandbox' | 'live'
  settings: PeopleSettings
  google?: GoogleSettings | undefined
  vk?: VkSettings | undefined
  /** Passwords or SHA-1 digests of such, one a line, that nobody may choose. */
  breached_passwords_file?: string | undefined
  /** For tests: less work. */
  password_cost?: PasswordCost | undefined
  /** Where access tokens say they come from. */
  issuer: string
  base_url: () => string
}

const DAY_MS = 86_400_000

/** Makes what everything about people works with, once per process. */
export function createPeople(db: Db, options: PeopleOptions): PeopleKit {
  const { clock, events, jobs, box, limits, settings, base_url, breached_passwords_file } = options
  const providers: SignInProvider[] = []
  if (options.google) providers.push(googleProvider(options.google))
  if (options.vk) providers.push(vkProvider(options.vk))
  return {
    clock,
    events,
    jobs,
    box,
    settings,
    base_url,
    limits,
    limiter: createRateLimiter(),
    passwords: createPasswords({
      ...(options.password_cost ? { cost: options.password_cost } : {}),
      ...(breached_passwords_file === undefined
        ? {}
        : { isBreached: readBreachedList(breached_passwords_file) }),
    }),
    tokens: createAccessTokens(db, {
      clock,
      box,
      issuer: options.issuer === '' ? 'kopilka' : options.issuer,
      audience: `kopilka/${options.mode}`,
    }),
    providers: new Map(providers.map((provider) => [provider.id, provider])),
  }
}

/** Names the jobs about people. Without `send` mails are made and dropped. */
export async function wirePeopleJobs(db: Db, kit: PeopleKit, send: SendMail | undefined): Promise<void> {
  const { jobs, box, clock, tokens, limits } = kit
  await jobs.work<{ sealed: string }>(MAIL_QUEUE, async ({ id, data }) => {
    if (send) await sendQueuedMail(box, send, { id, sealed: data.sealed })
  })
  await jobs.schedule('identity.forget', '*/10 * * * *', async (signal) => {
    await tokens.rotate()
    await limits.forget()
    await db.transact((tx) => deleteOldProofs(tx, new Date(clock.now_ms() - DAY_MS)))
    while (!signal.aborted && (await db.transact((tx) => endExpiredSessions(tx, clock.now(), 1000))) > 0);
    await db.transact((tx) => deleteOldRefreshTokens(tx, new Date(clock.now_ms() - 30 * DAY_MS)))
  })
}

const LINES_MAX = 5_000_000

/**
 * Reads a list of breached passwords: a password or its SHA-1 in hex a line, the latter also as
 * `DIGEST:count`, as the well-known lists have it. Kept as digests in memory: a million lines are about 100
 * MB.
 */
function readBreachedList(file: string): BreachedList {
  const digests = new Set<string>()
  for (const line of readFileSync(file, 'utf8').split('\n').slice(0, LINES_MAX)) {
    const text = line.trim()
    const digest = /^([0-9a-f]{40})(?::\d+)?$/i.exec(text)?.[1]
    if (text !== '') digests.add(digest?.toUpperCase() ?? sha1(text))
  }
  return (password) => digests.has(sha1(password))
}

function sha1(text: string): string {
  return hash('sha1', text).toUpperCase()
}
