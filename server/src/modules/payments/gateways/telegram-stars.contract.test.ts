import { startTelegramEmulator } from '@kopilka/emulators/telegram'
import type { WebhookRequest } from '@kopilka/extension'
import { describeGateway } from '../../../../test/gateway-contract.ts'
import telegramStars from './telegram-stars.ts'

const BOT = '1234567890:canary-bot-token-0123456789abcdef'
const SECRET = 'canary_webhook_secret_0123456789'
const HEADER = 'x-telegram-bot-api-secret-token'

let real: WebhookRequest | undefined

/** What we signed into the invoice, and what is compared with it; the rest of an update has no signature. */
function provedPart(request: WebhookRequest): string | undefined {
  try {
    const update = JSON.parse(
      new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(request.raw_body),
    ) as {
      message: { from: { id: number }; successful_payment: Record<string, unknown> }
    }
    const { from, successful_payment: paid } = update.message
    return JSON.stringify([from.id, paid['currency'], paid['total_amount'], paid['invoice_payload']])
  } catch {
    return undefined
  }
}

describeGateway({
  gateway: telegramStars,
  file_url: import.meta.resolve('./telegram-stars.ts'),
  refunds_elsewhere: 'a refund there has no object: telegram-stars.test.ts',
  currency: 'XTR',
  trust: 'signed',
  published: { operations: ['POST /createInvoiceLink', 'POST /getStarTransactions'] },
  input: { telegram_id: '777000111' },
  async start(webhook_url) {
    const settings = { bot_token: BOT, secret_token: SECRET, is_test_environment: true }
    const emulator = await startTelegramEmulator({ webhook_url, settings, retry_scale: 0.001 })
    return {
      settings: { bot_token: BOT, secret_token: SECRET, is_test: true, base_url: emulator.base_url },
      vendor_url: emulator.base_url,
      close: () => emulator.close(),
    }
  },
  objects: {
    payments: {
      collection: 'payments',
      read: (object) => ({
        external_id: String(object['id']),
        our_id: String(object['invoice_payload']).split('.')[0],
        amount: BigInt(object['amount'] as number),
        currency: 'XTR',
      }),
    },
    unknown_id: 'stxUnknown',
    are_created_by_call: false,
  },
  async realWebhook(lab) {
    const { checkout_url = '' } = await lab.create(lab.newPayment(250n))
    await lab.vendor?.complete(checkout_url.split('/').at(-1) ?? '', 'succeeded')
    real = await lab.receiver.take((request) => request.raw_body.includes('successful_payment'))
    return real
  },
  undated: 'an update has a secret and no signed time, and Telegram repeats it for a day',
  proof: {
    read: (request) => request.headers[HEADER] as string | undefined,
    write(request, value) {
      const { [HEADER]: _, ...headers } = request.headers
      return { ...request, headers: value === undefined ? headers : { ...headers, [HEADER]: value } }
    },
    covers: (altered) =>
      real === undefined || altered.headers[HEADER] !== SECRET || provedPart(altered) !== provedPart(real),
  },
})
