import type { Clock } from '#kernel/clock'
import type { Events } from '#kernel/events'
import type { JobQueue } from '#kernel/jobs'
import type { SecretBox } from '#kernel/secrets'
import type { Limits } from '#kernel/limits'
import type { RateLimiter } from '#kernel/rate-limiter'
import type { AccessTokens } from './access-tokens.ts'
import type { Passwords } from './passwords.ts'
import type { SignInProvider } from './sign-in-provider.ts'

/** What an owner decides about people. */
export interface PeopleSettings {
  /**
   * `confirmed`: a user comes to be when the link in his mail is followed, and the answers for known and
   * unknown addresses are equal. `immediate`: at once; an address that is taken is then told, there is no
   * other way.
   */
  registration: 'confirmed' | 'immediate'
  /** `required`: staff have no permission until they signed in with a second factor. */
  staff_second_factor: 'optional' | 'required'
  telegram?: TelegramSettings | undefined
}

export interface TelegramSettings {
  bot_token: string
  /** Without the @; for links that start the bot. */
  bot_name?: string | undefined
  /** Raw Ed25519 key in hex that Telegram signs initData with; another one in its test environment. */
  public_key: string
  /** How old initData may be when it is exchanged for a session. */
  window_seconds: number
}

/** What everything about people works with. */
export interface PeopleKit {
  clock: Clock
  events: Events
  jobs: JobQueue
  box: SecretBox
  passwords: Passwords
  tokens: AccessTokens
  settings: PeopleSettings
  /** Sign-in at vendors, by their ids. */
  providers: ReadonlyMap<string, SignInProvider>
  /** Limits on what may be tried, of all processes together. */
  limits: Limits
  /** What this process has to do at all; asked before anything else, and costs nothing. */
  limiter: RateLimiter
  /** Where the world reaches this server; links in mails begin with it. Never taken from a request. */
  base_url: () => string
}

/** Where a request comes from, as far as it tells. */
export interface Client {
  /** The address, of IPv6 its /64. */
  network: string
  /** An id the app keeps on its device. */
  device_id?: string | undefined
  /** What the client calls itself. */
  device_name?: string | undefined
}
