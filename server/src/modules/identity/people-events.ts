import { eventType } from '#kernel/events'

export interface UserPayload {
  user_id: string
  email: string | null
  name: string | null
  locale: string | null
  /** Digits; set when the user signed in through Telegram first. */
  telegram_id: string | null
}

export const userCreated = eventType<UserPayload>(
  'user.created',
  'Somebody signed up; the user has no customer yet.',
)
export const userChanged = eventType<Omit<UserPayload, 'telegram_id'> & { customer_id: string }>(
  'user.changed',
  'A user’s proved e-mail address, name or language is another one.',
)
export const userMerged = eventType<{
  from_user_id: string
  into_user_id: string
  from_customer_id: string | null
  into_customer_id: string
}>('user.merged', 'Two users turned out to be one person; the first is an alias of the second.')
export const identityLinked = eventType<{
  user_id: string
  customer_id: string
  provider: string
  subject: string
}>('identity.linked', 'A user proved to be somebody at a vendor, and may sign in by it.')
export const identityUnlinked = eventType<{
  user_id: string
  customer_id: string
  provider: string
  subject: string
}>('identity.unlinked', 'A user gave up one way to sign in.')
