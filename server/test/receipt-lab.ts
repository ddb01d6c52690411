import type { Emulator } from '@kopilka/emulators/emulator'
import { startRobokassaEmulator } from '@kopilka/emulators/robokassa'
import type { AppSettings } from '../src/app.ts'
import { settlePrepayments } from '../src/modules/orders/index.ts'
import { paymentEvents, sendReceipts, type PaymentsKit } from '../src/modules/payments/index.ts'
import { startWorld, type PlacedOrder, type World } from './world.ts'

interface ShownReceipt {
  id: string
  kind: string
  purpose: string
  status: string
  registrar: string
  payment_id: string
  refund_id: string | null
  amount: number
  contact: { email?: string; phone?: string } | null
  items: {
    amount: number
    vat: string
    vat_amount: number | null
    payment_mode: string
    payment_subject: string
  }[]
  external_id: string | null
  fiscal_document: string | null
  failure_reason: string | null
}

/**
 * A shop under the law about fiscal receipts, which sells minutes that are paid ahead through YooKassa and
 * Robokassa. Nothing works in the background: a test says when receipts are sent and prepayments looked at.
 */
export interface ReceiptLab {
  world: World
  robokassa: Emulator
  /** The payments of the world, whose calls to vendors end after `timeout_ms`. */
  kit: PaymentsKit
  /** Buys one product and pays for it. */
  buy(input?: { product_key?: string; gateway?: string; contact?: object }): Promise<PlacedOrder>
  /** Uses up minutes of the buyer. */
  spend(order: PlacedOrder, amount: number): Promise<void>
  refund(order: PlacedOrder, amount?: number): Promise<{ id: string; status: string; amount: number }>
  /** Looks at every prepayment and sends whatever waits, until nothing is due. */
  settle(): Promise<void>
  /** Looks at every prepayment once, and once at every receipt that waits. */
  round(): Promise<void>
  /** As {@link round}, by so many processes at the same moment. */
  roundAtOnce(processes: number): Promise<void>
  /** `receipt.registered rcpt_…` and the like, in the order they were told to the owner's app. */
  told: string[]
  /** Makes everything due that waits for its time. */
  hasten(): Promise<void>
  receipts(order: PlacedOrder): Promise<ShownReceipt[]>
  receipt(order: PlacedOrder, purpose: string): Promise<ShownReceipt>
  findings(): Promise<string[]>
  close(): Promise<void>
}

const PASSWORDS = { password1: 'robokassa_test_password_1', password2: 'robokassa_test_password_2' }

/** Starts the shop. `fiscal` changes its settings about receipts. */
export async function openReceiptLab(fiscal: Partial<AppSettings['fiscal']> = {}): Promise<ReceiptLab> {
  const robokassa = await startRobokassaEmulator({ retry_scale: 0.001 })
  const world = await startWorld((settings) => ({
    ...settings,
    roles: ['api'],
    fiscal: {
      vat: '22',
      payment_subject: 'service',
      payment_mode: 'full_prepayment',
      gateways: ['yookassa', 'robokassa', 'sandbox'],
      ...fiscal,
    },
    gateways: {
      ...settings.gateways,
      robokassa: {
        merchant_login: 'demo_shop',
        ...PASSWORDS,
        is_test: true,
        pay_url: `${robokassa.base_url}/Merchant`,
        services_url: robokassa.base_url,
        receipts_url: robokassa.base_url,
      },
    },
  }))
  world.yookassa.control.settings({ fiscalization: 'third_party' })
  // Second receipts are signed with the live password; the shop's test one plays it here.
  robokassa.control.settings({
    webhook_url: `${world.base_url}/webhooks/payments/robokassa`,
    password1: PASSWORDS.password1,
  })
  const { app } = world
  const { gateways } = app.payments
  const context: typeof gateways.context = (id) => ({ ...gateways.context(id), timeout_ms: 400 })
  const kit: PaymentsKit = { ...app.payments, gateways: { ...gateways, context } }
  const hasten = async () => {
    for (const moment of ['next_attempt_at', 'offset_check_at']) {
      await app.db.pool.query(
        `update payments.receipts set ${moment} = now() - interval '1 s' where ${moment} is not null`,
      )
    }
  }
  const round = async () => {
    await hasten()
    await settlePrepayments(app.db, app.orders)
    await sendReceipts(app.db, kit)
  }
  const receipts = async (order: PlacedOrder) => {
    const { body } = await world.call<{ items: ShownReceipt[] }>('GET', `/v1/receipts?order_id=${order.id}`)
    return body.items.toReversed()
  }
  const told: string[] = []
  for (const type of [paymentEvents.receiptRegistered, paymentEvents.receiptFailed]) {
    kit.events.within(type, async (_tx, payloads) => {
      told.push(...payloads.map(({ receipt_id }) => `${type.name} ${receipt_id}`))
    })
  }
  return {
    world,
    robokassa,
    told,
    async roundAtOnce(processes) {
      await hasten()
      const each = Array.from({ length: processes })
      await Promise.all(each.map(() => settlePrepayments(app.db, app.orders)))
      await Promise.all(each.map(() => sendReceipts(app.db, kit)))
    },
    kit,
    hasten,
    receipts,
    buy: (input = {}) => buy(world, robokassa, input),
    async spend(order, amount) {
      const { body } = await world.call<{ customer_id: string }>('GET', `/v1/orders/${order.id}`)
      const { customer_id } = body
      const answer = await world.call('POST', '/v1/spends', { customer_id, unit: 'minute', amount })
      if (answer.status !== 201) throw new Error(answer.text)
    },
    async refund(order, amount) {
      const input = { reason: 'changed his mind', ...(amount === undefined ? {} : { amount }) }
      const answer = await world.call<{ id: string; status: string; amount: number }>(
        'POST',
        `/v1/payments/${order.payment.id}/refunds`,
        input,
      )
      if (answer.status !== 201) throw new Error(answer.text)
      return answer.body
    },
    round,
    async settle() {
      for (let at = 0; at < 4; at++) await round()
    },
    async receipt(order, purpose) {
      const found = (await receipts(order)).filter((one) => one.purpose === purpose)
      if (found.length !== 1 || !found[0]) throw new Error(`${found.length} receipts of ${purpose}`)
      return found[0]
    },
    async findings() {
      const { body } = await world.call<{ findings: { invariant: string; detail: string }[] }>(
        'GET',
        '/v1/verification',
      )
      return body.findings.map(({ invariant, detail }) => `${invariant}: ${detail}`)
    },
    async close() {
      await robokassa.close()
      await world.close()
    },
  }
}

async function buy(
  world: World,
  robokassa: Emulator,
  input: { product_key?: string; gateway?: string; contact?: object },
): Promise<PlacedOrder> {
  const { product_key = 'minutes_30', gateway = 'yookassa', contact = { email: 'buyer@example.com' } } = input
  const placed = await world.call<PlacedOrder>('POST', '/v1/orders', {
    customer_id: await world.customer(),
    gateway,
    lines: [{ price_id: await world.price(product_key), quantity: 1 }],
    return_url: 'https://shop.example/back',
    receipt_contact: contact,
  })
  if (placed.status !== 201) throw new Error(`the order was refused: ${placed.text}`)
  const { payment } = placed.body
  if (gateway === 'robokassa') {
    await fetch(payment.checkout_url)
    robokassa.control.complete(payment.external_id, 'succeeded')
  } else world.yookassa.control.complete(payment.external_id, 'succeeded')
  await world.eventually('the payment succeeds', async () => {
    await world.app.drain()
    const { body } = await world.call('GET', `/v1/payments/${payment.id}`)
    return body['status'] === 'succeeded'
  })
  return placed.body
}
