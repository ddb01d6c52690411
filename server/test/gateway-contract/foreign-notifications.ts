import { createHmac, randomBytes } from 'node:crypto'
import type { WebhookRequest } from '@kopilka/extension'

/** A name for the test's title and what arrived. */
export interface ForeignNotification {
  from: string
  request: WebhookRequest
}

/**
 * Notifications in the forms of many vendors, each signed as that vendor signs, with keys that are nobody's.
 * Sent to any gateway they must not count: not even to the gateway of that vendor.
 */
export function foreignNotifications(path: string, remote_address: string): ForeignNotification[] {
  const key = randomBytes(32)
  const time = String(Math.floor(Date.now() / 1000))
  const hmac = (text: string) => createHmac('sha256', key).update(text).digest('hex')
  const post = (body: string, headers: Record<string, string> = {}): WebhookRequest => ({
    method: 'POST',
    path,
    headers: { 'content-type': 'application/json', ...headers },
    query: {},
    raw_body: Buffer.from(body),
    remote_address,
  })
  const intent = JSON.stringify({
    id: 'evt_1',
    type: 'payment_intent.succeeded',
    data: { object: { id: 'pi_1', amount: 59900, currency: 'rub' } },
  })
  const paddle = JSON.stringify({
    event_id: 'evt_01',
    event_type: 'transaction.completed',
    data: { id: 'txn_01' },
  })
  const capture = JSON.stringify({
    id: 'WH-1',
    event_type: 'PAYMENT.CAPTURE.COMPLETED',
    resource: { id: '1A' },
  })
  const invoice = JSON.stringify({ update_id: 1, update_type: 'invoice_paid', payload: { invoice_id: 1 } })
  const sandbox = JSON.stringify({ id: 'sbxe_1', type: 'payment.succeeded', payment: { id: 'sbx_1' } })
  const stars = JSON.stringify({
    update_id: 1,
    message: { successful_payment: { currency: 'XTR', total_amount: 5 } },
  })
  const form = 'OutSum=599.00&InvId=1&SignatureValue=0123456789ABCDEF0123456789ABCDEF'
  const rustore = JSON.stringify({ payload: randomBytes(64).toString('base64') })
  return [
    {
      from: 'Stripe',
      request: post(intent, { 'stripe-signature': `t=${time},v1=${hmac(`${time}.${intent}`)}` }),
    },
    {
      from: 'Paddle',
      request: post(paddle, { 'paddle-signature': `ts=${time};h1=${hmac(`${time}:${paddle}`)}` }),
    },
    {
      from: 'PayPal',
      request: post(capture, { 'paypal-transmission-sig': 'AAAA', 'paypal-transmission-id': '1' }),
    },
    { from: 'Crypto Pay', request: post(invoice, { 'crypto-pay-api-signature': hmac(invoice) }) },
    {
      from: 'the sandbox',
      request: post(sandbox, { 'sandbox-signature': `t=${time},v1=${hmac(`${time}.${sandbox}`)}` }),
    },
    { from: 'Telegram', request: post(stars, { 'x-telegram-bot-api-secret-token': key.toString('hex') }) },
    { from: 'Robokassa', request: post(form, { 'content-type': 'application/x-www-form-urlencoded' }) },
    { from: 'RuStore', request: post(rustore) },
    { from: 'YooKassa', request: post(yookassaBody) },
  ]
}

const yookassaBody = JSON.stringify({
  type: 'notification',
  event: 'payment.succeeded',
  object: {
    id: '2d6f0c9b-000f-5000-9000-145f6df21d6f',
    status: 'succeeded',
    paid: true,
    amount: { value: '599.00', currency: 'RUB' },
    metadata: { payment_id: 'pay_00000000000000000000000001' },
  },
})
