import type { BaseSettings, Kit, Store } from '../emulator.ts'
import type { Spec } from '../kit/openapi.ts'

export interface TelegramSettings extends BaseSettings {
  shop_url: string
  bot_token: string
  bot_username: string
  secret_token: string
  is_test_environment: boolean
  pre_checkout_timeout_ms: number
  messages_per_second: number
  messages_per_chat_second: number
}

export interface User {
  id: number
  is_bot: boolean
  first_name: string
  username?: string
  language_code?: string
}

/** A message as the API tells it; `date` in seconds. */
export interface Message {
  message_id: number
  date: number
  chat: { id: number; type: 'private'; first_name: string }
  from: User
  [field: string]: unknown
}

export interface Invoice {
  /** The last part of the link. */
  id: string
  title: string
  description: string
  payload: string
  amount: number
  subscription_period?: number
}

/** One payment in the bot's ledger; the charge id is its id. */
export interface StarPayment {
  id: string
  user_id: number
  amount: number
  invoice_payload: string
  date: number
  subscription_period?: number
  /** Seconds. */
  expires?: number
  is_canceled?: boolean
  is_recurring?: boolean
  is_first_recurring?: boolean
  invoice_id: string
  refunded_at?: number
}

export interface StoredFile {
  id: string
  path: string
  bytes: Buffer
}

export interface Update {
  update_id: number
  at_ms: number
  [kind: string]: unknown
}

/** Everything one running emulator holds. */
export interface World {
  kit: Kit<TelegramSettings>
  spec: Spec
  users: Map<number, User & { is_blocked?: boolean }>
  messages: Store<Message & { id: string }>
  invoices: Store<Invoice>
  payments: Store<StarPayment>
  /** Lines of the ledger, oldest first. */
  ledger: { payment: StarPayment; is_refund: boolean; date: number }[]
  files: Store<StoredFile>
  /** What getUpdates has not confirmed yet. */
  queue: Update[]
  waiting: Set<() => void>
  /** Questions before payment that wait for the bot. */
  questions: Map<string, (answer: { ok: boolean; error_message?: string }) => void>
  callbacks: Map<string, { answered?: object }>
  webhook: { url: string; secret_token: string; allowed_updates: string[] | undefined }
  buckets: Map<string, { tokens: number; at_ms: number }>
  next: { update: number; message: number }
}

/** A refusal in Telegram's words. */
export class BotError extends Error {
  readonly code: number
  readonly retry_after: number | undefined
  constructor(code: number, description: string, retry_after?: number) {
    super(description)
    this.code = code
    this.retry_after = retry_after
  }
}

const PENDING_MS = 86_400_000

export function seconds(world: World): number {
  return Math.floor(world.kit.now().getTime() / 1000)
}

export function botUser(world: World): User {
  const { bot_token, bot_username } = world.kit.settings()
  return { id: Number(bot_token.split(':')[0]), is_bot: true, first_name: 'Kopilka', username: bot_username }
}

export function userOf(world: World, id: number): User & { is_blocked?: boolean } {
  const known = world.users.get(id)
  if (known) return known
  const user = { id, is_bot: false, first_name: `User ${id}`, language_code: 'ru' }
  world.users.set(id, user)
  return user
}

/** As the API shows it: without what only the emulator knows. */
export function wireUser({ id, is_bot, first_name, username, language_code }: User): User {
  return {
    id,
    is_bot,
    first_name,
    ...(username === undefined ? {} : { username }),
    ...(language_code === undefined ? {} : { language_code }),
  }
}

export function addMessage(world: World, chat_id: number, from: User, content: object): Message {
  const user = userOf(world, chat_id)
  const message: Message = {
    message_id: world.next.message++,
    date: seconds(world),
    chat: { id: chat_id, type: 'private', first_name: user.first_name },
    from: wireUser(from),
    ...content,
  }
  world.messages.add(String(message.message_id), { ...message, id: String(message.message_id) })
  return message
}

/** Sends an update by the webhook where there is one, else keeps it for getUpdates for a day. */
export function pushUpdate(world: World, kind: string, content: object): number {
  const update_id = world.next.update++
  const { url, secret_token, allowed_updates } = world.webhook
  if (allowed_updates?.length && !allowed_updates.includes(kind)) return update_id
  const body = { update_id, [kind]: content }
  const address = url || world.kit.settings().webhook_url
  if (address === '') {
    const now_ms = world.kit.now().getTime()
    world.queue = world.queue.filter(({ at_ms }) => now_ms - at_ms < PENDING_MS)
    world.queue.push({ ...body, at_ms: now_ms })
    for (const wake of world.waiting) wake()
    return update_id
  }
  const secret = url === '' ? world.kit.settings().secret_token : secret_token
  world.kit.notify({
    object_id: objectOf(content) ?? String(update_id),
    event: kind,
    url: address,
    headers: {
      'content-type': 'application/json',
      ...(secret === '' ? {} : { 'x-telegram-bot-api-secret-token': secret }),
    },
    body: JSON.stringify(body),
  })
  return update_id
}

function objectOf(content: object): string | undefined {
  const paid = 'successful_payment' in content ? content.successful_payment : undefined
  const id = (paid as { telegram_payment_charge_id?: string } | undefined)?.telegram_payment_charge_id
  return id
}
