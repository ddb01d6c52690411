import { startTelegramEmulator } from '@kopilka/emulators/telegram'
import type { Emulator } from '@kopilka/emulators/emulator'
import type { AppSettings } from '../src/app.ts'
import {
  checkVendorSubscriptions,
  runReconciliation,
  type Reconciliation,
} from '../src/modules/payments/index.ts'
import { startWorld, type World } from './world.ts'

/** Made up here, valid nowhere. */
const BOT = '1234567890:made_up_for_the_stars_lab_0123456789'
const SECRET = 'made_up_webhook_secret_of_the_lab'
const HEADER = 'x-telegram-bot-api-secret-token'
export const PERIOD_SECONDS = 2_592_000

export interface StarPayment {
  id: string
  user_id: number
  refunded_at?: number
  is_canceled?: boolean
}

/** A shop that sells for stars through the emulated Bot API, updates coming by webhook. */
export interface StarsLab {
  world: World
  telegram: Emulator
  /** A new buyer with a Telegram id. */
  buyer(): Promise<{ customer_id: string; telegram_id: number }>
  /** Orders a product; answers what the buyer needs to pay. */
  order(input: {
    customer_id: string
    product_key?: string
    subscription_period_seconds?: number
  }): Promise<{ id: string; payment_id: string; link: string; invoice_id: string }>
  /** The buyer presses Pay: the bot is asked first. */
  pay(link: string, telegram_id: number): Promise<{ status: string; reason?: string; payment?: StarPayment }>
  /** The stars are taken whatever the bot says: what two presses at once come to. */
  charge(invoice_id: string, telegram_id: number): StarPayment
  /** An update of a payment as Telegram sends it, delivered by us; answers the status. */
  tell(invoice_id: string, telegram_id: number, changes: object): Promise<number>
  payments(order_id: string): Promise<Payment[]>
  balance(customer_id: string): Promise<number>
  charges(): StarPayment[]
  /** The last hour of ours compared with Telegram's ledger. */
  reconcile(): Promise<Reconciliation>
  /** What the janitor of subscriptions does every minute. */
  checkSubscriptions(): Promise<number>
  close(): Promise<void>
}

export interface Payment {
  id: string
  status: string
  external_id: string
  captured_amount: number
  refunded_amount: number
  mismatch_reason: string | null
  repeats_payment_id: string | null
  repeat_kind: string | null
}

/** Starts one. `change` sees the settings before the start. */
export async function startStarsLab(
  change: (settings: AppSettings) => AppSettings = (same) => same,
): Promise<StarsLab> {
  const telegram = await startTelegramEmulator({
    retry_scale: 0.001,
    hold_ms: 300,
    settings: {
      bot_token: BOT,
      secret_token: SECRET,
      is_test_environment: true,
      messages_per_chat_second: 0,
      messages_per_second: 0,
    },
  })
  const world = await startWorld((settings) =>
    change({
      ...settings,
      gateways: {
        ...settings.gateways,
        'telegram-stars': {
          bot_token: BOT,
          secret_token: SECRET,
          is_test: true,
          base_url: telegram.base_url,
        },
      },
    }),
  )
  const address = `${world.base_url}/webhooks/payments/telegram-stars`
  telegram.control.settings({ webhook_url: address })
  let last_id = 777_000_000
  return {
    world,
    telegram,
    buyer: async () => {
      const telegram_id = ++last_id
      const { body } = await world.call<{ id: string }>('POST', '/v1/customers', { telegram_id })
      return { customer_id: body.id, telegram_id }
    },
    order: async ({ customer_id, product_key = 'minutes_30', subscription_period_seconds }) => {
      const price_id = await world.price(product_key, 'XTR')
      const { body, status, text } = await world.call<{
        id: string
        payment: { id: string; checkout_url: string }
      }>('POST', '/v1/orders', {
        customer_id,
        gateway: 'telegram-stars',
        lines: [{ price_id, quantity: 1 }],
        return_url: 'https://shop.example/back',
        ...(subscription_period_seconds === undefined ? {} : { subscription_period_seconds }),
      })
      if (status !== 201) throw new Error(`the order was refused: ${text}`)
      const link = body.payment.checkout_url
      return { id: body.id, payment_id: body.payment.id, link, invoice_id: link.split('/').at(-1) ?? '' }
    },
    pay: async (link, telegram_id) => {
      const answer = await fetch(`${telegram.base_url}/users/${telegram_id}/pay`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ link }),
      })
      return (await answer.json()) as { status: string; reason?: string; payment?: StarPayment }
    },
    charge: (invoice_id, telegram_id) =>
      telegram.control.complete(invoice_id, { outcome: 'succeeded', user_id: telegram_id }) as StarPayment,
    tell: async (invoice_id, telegram_id, changes) => {
      const { items } = telegram.control.objects({ collection: 'invoices', limit: 1000 })
      const invoice = (items as { id: string; payload: string; amount: number }[]).find(
        ({ id }) => id === invoice_id,
      )
      const successful_payment = {
        currency: 'XTR',
        total_amount: invoice?.amount,
        invoice_payload: invoice?.payload,
        provider_payment_charge_id: `${telegram_id}_0`,
        ...changes,
      }
      const from = { id: telegram_id, is_bot: false, first_name: 'Anna' }
      const message = {
        message_id: 1,
        date: Math.floor(Date.now() / 1000),
        chat: { id: telegram_id, type: 'private' },
        from,
        successful_payment,
      }
      const answer = await fetch(address, {
        method: 'POST',
        headers: { 'content-type': 'application/json', [HEADER]: SECRET },
        body: JSON.stringify({ update_id: 1, message }),
      })
      return answer.status
    },
    payments: async (order_id) =>
      (await world.call<{ items: Payment[] }>('GET', `/v1/payments?order_id=${order_id}&limit=100`)).body
        .items,
    balance: async (customer_id) =>
      (await world.call<{ balance: number }>('GET', `/v1/customers/${customer_id}/wallets/minute`)).body
        .balance,
    charges: () => telegram.control.objects({ collection: 'payments', limit: 1000 }).items as StarPayment[],
    reconcile: () => {
      const now = Date.now()
      const range = { from: new Date(now - 3_600_000), to: new Date(now + 3_600_000) }
      return runReconciliation(world.app.db, world.app.payments, { gateway: 'telegram-stars', ...range })
    },
    checkSubscriptions: () => checkVendorSubscriptions(world.app.db, world.app.payments),
    close: async () => {
      await world.close()
      await telegram.close()
    },
  }
}
