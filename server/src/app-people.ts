import { authenticateCallers } from '#http/callers'
import type { RouteKit } from '#http/routing'
import type { Clock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import type { Events } from '#kernel/events'
import type { JobQueue } from '#kernel/jobs'
import type { Limits } from '#kernel/limits'
import type { Log } from '#kernel/log'
import type { SecretBox } from '#kernel/secrets'
import {
  createPeople,
  createPeopleAuthenticator,
  impersonationRoutes,
  mailPageRoutes,
  meRoutes,
  permissionsOfMany,
  signInRoutes,
  TELEGRAM_PUBLIC_KEY,
  vendorSignInRoutes,
  wirePeopleJobs,
  type PeopleOptions,
  type PeopleRouteKit,
} from '#modules/identity'
import { createMailer, type MailSettings } from './transports/mail.ts'

/** What an owner sets about people. */
export interface PeopleAppSettings {
  /** Without it no mail is sent, and registration is immediate. */
  mail?: MailSettings | undefined
  /** Default: `confirmed` when mails can be sent. */
  registration?: 'confirmed' | 'immediate' | undefined
  staff_second_factor?: 'optional' | 'required' | undefined
  telegram?:
    | {
        bot_token: string
        bot_name?: string | undefined
        public_key?: string | undefined
        window_seconds?: number | undefined
      }
    | undefined
  google?: PeopleOptions['google']
  vk?: PeopleOptions['vk']
  breached_passwords_file?: string | undefined
  /** For tests: less work. */
  password_cost?: PeopleOptions['password_cost']
}

/** What of a process's settings is about people. */
interface Settings {
  mode: 'sandbox' | 'live'
  box: SecretBox
  log: Log
  /** Access tokens name it; empty when it is not known before the start. */
  base_url: string
  people?: PeopleAppSettings | undefined
}

interface Parts {
  clock: Clock
  events: Events
  jobs: JobQueue
  limits: Limits
  /** Where this process is reached in the end. */
  address: { readonly base_url: string }
}

type Http = Parameters<typeof signInRoutes>[0]
type Authenticate = Parameters<typeof authenticateCallers>[0]

/** Everything about people in one process. */
export interface PeopleApp {
  routes: PeopleRouteKit
  /** Adds people to what knows API keys. */
  authenticate(keys: Authenticate): Authenticate
  addRoutes(http: Http, kit: RouteKit): void
  wireJobs(): Promise<void>
  stop(): Promise<void>
}

/** Fifteen minutes: a Mini App that was open longer is opened again. */
const TELEGRAM_WINDOW_SECONDS = 900

/** Puts the parts about people together. */
export function assemblePeople(db: Db, process: Settings, parts: Parts): PeopleApp {
  const { log, box, mode } = process
  const { clock, events, jobs, limits, address } = parts
  const base_url = (): string => address.base_url
  const settings = process.people ?? {}
  const mailer = settings.mail && createMailer(settings.mail)
  const { telegram } = settings
  const staff_second_factor = settings.staff_second_factor ?? 'optional'
  const people = createPeople(db, {
    clock,
    events,
    jobs,
    limits,
    box,
    mode,
    base_url,
    issuer: process.base_url,
    google: settings.google,
    vk: settings.vk,
    breached_passwords_file: settings.breached_passwords_file,
    password_cost: settings.password_cost,
    settings: {
      registration: settings.registration ?? (mailer ? 'confirmed' : 'immediate'),
      staff_second_factor,
      telegram: telegram && {
        bot_token: telegram.bot_token,
        bot_name: telegram.bot_name,
        public_key: telegram.public_key ?? TELEGRAM_PUBLIC_KEY,
        window_seconds: telegram.window_seconds ?? TELEGRAM_WINDOW_SECONDS,
      },
    },
  })
  const authenticator = createPeopleAuthenticator(db, {
    clock,
    box,
    tokens: people.tokens,
    permissionsOf: permissionsOfMany,
    staff_second_factor,
    on_error: (error) => log.warn({ error }, 'sessions could not be looked after'),
  })
  const routes = { people, authenticator }
  return {
    routes,
    authenticate: (keys) => authenticateCallers(keys, authenticator, base_url),
    addRoutes: (http, kit) => {
      signInRoutes(http, kit, routes)
      vendorSignInRoutes(http, kit, routes)
      meRoutes(http, kit, routes)
      impersonationRoutes(http, kit, routes)
      mailPageRoutes(http, kit, routes)
    },
    wireJobs: () => wirePeopleJobs(db, people, mailer?.send),
    stop: async () => {
      mailer?.close()
      await authenticator.stop()
    },
  }
}
