import { createHmac } from 'node:crypto'
import { sameBytes } from '@kopilka/extension'
import type { Config } from './config.ts'

/** What an invoice carries unseen through Telegram and back: at most 128 bytes. */
export interface Payload {
  payment_id: string
  /** Whole stars. */
  amount: bigint
  /** Who may pay: links can be handed on. */
  telegram_id: string
  expires_at: Date
  is_subscription: boolean
}

/**
 * `pay_….250.777000111.1780000000.o.<mac>`: signed with our own key, so that whether an invoice is ours,
 * for how much and for whom is known without a database.
 */
export function sealPayload(config: Pick<Config, 'secret_token'>, payload: Payload): string {
  const { payment_id, amount, telegram_id, expires_at, is_subscription } = payload
  const seconds = Math.floor(expires_at.getTime() / 1000)
  const text = [payment_id, amount, telegram_id, seconds, is_subscription ? 's' : 'o'].join('.')
  return `${text}.${macOf(config, text)}`
}

/** `undefined` for a payload that is not ours, or not as we made it. */
export function openPayload(config: Pick<Config, 'secret_token'>, text: string): Payload | undefined {
  const match = /^((pay_[0-9a-z]{1,40})\.(\d{1,15})\.(\d{1,20})\.(\d{1,11})\.([so]))\.([\w-]{22})$/.exec(text)
  if (!match) return undefined
  const [, signed = '', payment_id = '', amount = '', telegram_id = '', seconds = '', kind, mac = ''] = match
  if (!sameBytes(mac, macOf(config, signed))) return undefined
  const expires_at = new Date(Number(`${seconds}000`))
  return { payment_id, amount: BigInt(amount), telegram_id, expires_at, is_subscription: kind === 's' }
}

function macOf({ secret_token }: Pick<Config, 'secret_token'>, text: string): string {
  const mac = createHmac('sha256', secret_token).update(`stars-invoice:${text}`).digest()
  return mac.subarray(0, 16).toString('base64url')
}
