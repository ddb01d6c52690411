import { createHmac, generateKeyPairSync } from 'node:crypto'
import { frozenClock } from '../src/kernel/clock.ts'
import { silentLog } from '../src/kernel/log.ts'
import {
  checkPayments,
  checkRefunds,
  createGateways,
  drainInbox,
  loadGatewayFiles,
  type Gateways,
} from '../src/modules/payments/index.ts'
import { startWorld, type Answer, type PlacedOrder, type World } from './world.ts'
import { SANDBOX_SECRET } from './world-settings.ts'

/** Made up here, valid nowhere. Nobody answers at these vendors: what is believed, is believed unasked. */
const NOBODY = 'http://127.0.0.1:9'
export const STRIPE = {
  secret_key: 'sk_test_peers0123456789abcdef',
  webhook_secret: 'whsec_peers0123456789abcd',
}
const PADDLE = {
  api_key: 'pdl_sdbx_apikey_peers0123456789',
  webhook_secret: 'pdl_ntfset_peers01234567',
}
const CRYPTO_PAY = { token: '12345:AApeersCryptoPayToken0123456789', network: 'testnet' }
export const ROBOKASSA = {
  merchant_login: 'demo_shop',
  password1: 'peers-test-password-1-abcdef',
  password2: 'peers-test-password-2-abcdef',
  is_test: true,
}
const STARS = {
  bot_token: '1234567890:peers_bot_token_0123456789',
  secret_token: 'peers_webhook_secret_0123',
  is_test: true,
}

/** Settings of every gateway, as an owner with nine rails would have filled them in. */
export function everyGateway(): Record<string, Record<string, unknown>> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return {
    stripe: { ...STRIPE, base_url: NOBODY },
    paddle: { ...PADDLE, base_url: NOBODY },
    'crypto-pay': { ...CRYPTO_PAY, base_url: NOBODY },
    robokassa: {
      ...ROBOKASSA,
      result2_certificate: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      pay_url: `${NOBODY}/Merchant`,
      services_url: NOBODY,
      receipts_url: NOBODY,
    },
    'telegram-stars': { ...STARS, base_url: NOBODY },
    paypal: {
      client_id: 'peers_client_id_0123456789',
      client_secret: 'peers_client_secret_0123456789',
      webhook_id: '0PEERS0123456789',
      environment: 'sandbox',
      base_url: NOBODY,
    },
    rustore: {
      key_id: 'peers',
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      app_id: '12345',
      package_name: 'com.example.app',
      notification_key: Buffer.from('peers-notification-key-012345678').toString('base64'),
      app_url: 'https://app.example/buy',
      sandbox: true,
      base_url: NOBODY,
    },
  }
}

/** A shop where what befell other projects is tried, and what tests of that do again and again. */
export interface PeerWorld extends World {
  /** Every line the server logged, as text. */
  logged: string[]
  payment(id: string): Promise<Record<string, unknown> & { status: string }>
  balance(customer_id: string): Promise<number>
  becomes(payment_id: string, status: string): Promise<unknown>
  /** Grants that come from this order. */
  grants(order_id: string): Promise<number>
  /** Buys 30 minutes through the emulated YooKassa and waits until they are granted. */
  bought(): Promise<{ customer_id: string; order: PlacedOrder }>
  /** Sends a body to a webhook path without any credential of ours. */
  tell(gateway: string, body: string, headers?: Readonly<Record<string, string>>): Promise<Answer>
  /** Waits until every notification was handled, or its vendor was asked in vain. */
  handled(): Promise<unknown>
  booksAreClean(): Promise<string[]>
  /** The worker handles one batch of notifications now. */
  drainOnce(): Promise<unknown>
  /** The janitor asks about this payment now. */
  look(payment_id: string): Promise<void>
}

/** Every gateway that is installed, none of them set up, in a sandbox. */
export async function emptyGateways(): Promise<Gateways> {
  const installed = await loadGatewayFiles()
  return createGateways(installed, { clock: frozenClock(), mode: 'sandbox', base_url: () => '' })
}

/** Starts one; `gateways` are added to the sandbox and YooKassa, and the owner's files are loaded too. */
export async function startPeerWorld(
  gateways: Record<string, Record<string, unknown>> = {},
  extension_folders: readonly string[] = [],
): Promise<PeerWorld> {
  const logged: string[] = []
  const keep = (...parts: unknown[]): void => void logged.push(JSON.stringify(parts) ?? '')
  const world = await startWorld((settings) => ({
    ...settings,
    gateways: { ...settings.gateways, ...gateways },
    extension_folders: [...settings.extension_folders, ...extension_folders],
    log: { ...silentLog(), info: keep, warn: keep, error: keep },
  }))
  const { call, app } = world
  const payment: PeerWorld['payment'] = async (id) =>
    (await call<Record<string, unknown> & { status: string }>('GET', `/v1/payments/${id}`)).body
  const becomes: PeerWorld['becomes'] = (id, status) =>
    world.eventually(`payment ${id} is ${status}`, async () => (await payment(id)).status === status, 40_000)
  return {
    ...world,
    logged,
    payment,
    becomes,
    balance: async (customer_id) =>
      (await call<{ balance: number }>('GET', `/v1/customers/${customer_id}/wallets/minute`)).body.balance,
    grants: async (order_id) => {
      const { rows } = await app.db.pool.query(
        `select 1 from ledger.grants g join orders.lines l on g.source_id like l.id || '%'
          where l.order_id = $1`,
        [order_id],
      )
      return rows.length
    },
    bought: async () => {
      const customer_id = await world.customer()
      const order = await world.order({ customer_id, product_key: 'minutes_30' })
      world.yookassa.control.complete(order.payment.external_id, 'succeeded')
      await becomes(order.payment.id, 'succeeded')
      return { customer_id, order }
    },
    tell: (gateway, body, headers = {}) =>
      call('POST', `/webhooks/payments/${gateway}`, body, { authorization: '', ...headers }),
    handled: () =>
      world.eventually('the inbox is empty', async () => {
        const { rows } = await app.db.pool.query(
          "select 1 from payments.inbox where status in ('received', 'handling') and error is null limit 1",
        )
        return rows.length === 0
      }),
    drainOnce: () => drainInbox(app.db, app.payments),
    look: (payment_id) => lookAtPayment(world, payment_id),
    booksAreClean: async () => (await call<{ findings: string[] }>('GET', '/v1/verification')).body.findings,
  }
}

/** The janitor looks at this payment now. */
export async function lookAtPayment({ app }: World, payment_id: string): Promise<void> {
  const due = 'update payments.payments set next_check_at = now() where id = $1'
  await app.db.pool.query(due, [payment_id])
  await checkPayments(app.db, app.payments)
}

/** The janitor looks at every refund of this payment that is not over, now. */
export async function lookAtRefunds({ app }: World, payment_id: string): Promise<void> {
  await app.db.pool.query(
    `update payments.refunds set next_check_at = now()
      where payment_id = $1 and status in ('pending', 'unknown')`,
    [payment_id],
  )
  await checkRefunds(app.db, app.payments)
}

/** A body and its headers as the sandbox, a vendor that signs the whole payment, sends them. */
export interface SignedWord {
  body: string
  headers: Readonly<Record<string, string>>
}

let events = 0

/** What the sandbox says of an order's payment, signed; `change` alters the payment before it is signed. */
export async function sandboxWord(
  world: World,
  order: PlacedOrder,
  change: Record<string, unknown> = {},
  sent_at = new Date(),
): Promise<SignedWord> {
  const { rows } = await world.app.db.pool.query<{ number: number }>(
    'select number from payments.payments where id = $1',
    [order.payment.id],
  )
  const { status = 'succeeded' } = change
  const now = new Date()
  const body = JSON.stringify({
    id: `sbxe_peers_${(events += 1)}`,
    type: `payment.${String(status)}`,
    created_at: now.toISOString(),
    payment: {
      id: order.payment.external_id,
      payment_id: order.payment.id,
      payment_number: rows[0]?.number ?? 0,
      order_id: order.id,
      status,
      amount: String(order.total),
      currency: order.currency,
      ...(status === 'succeeded' ? { paid_at: now.toISOString() } : {}),
      ...change,
    },
  })
  return signedBySandbox(body, SANDBOX_SECRET, sent_at)
}

/** A body under the sandbox's signature with any key. */
export function signedBySandbox(body: string, secret: string, sent_at = new Date()): SignedWord {
  const time = Math.floor(sent_at.getTime() / 1000)
  const mac = createHmac('sha256', secret).update(`${time}.${body}`).digest('hex')
  return { body, headers: { 'sandbox-signature': `t=${time},v1=${mac}` } }
}
