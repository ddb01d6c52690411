import { defineGateway, GatewayUnavailable, type VendorDispute, type VendorRefund } from '@kopilka/extension'
import { z } from 'zod'
import { checkRefunds, createGateways, recordPaymentWords } from '../index.ts'
import { recordDispute } from '../disputes.ts'
import { recordRefundWord } from '../refund-words.ts'
import { startWorld, type World } from '../../../../test/world.ts'

/** One bought product of 30 minutes for 200 rubles, at a vendor that does what the test says. */
export interface Purchase {
  customer_id: string
  payment_id: string
  external_id: string
}

/** `lost_answer`: it is made and nobody hears of it. `lost_question`: it never came there. */
export type Outcome = VendorRefund['status'] | 'lost_answer' | 'lost_question'

/** A shop whose vendor is told what became of each refund, and whose janitor works only when it is called. */
export interface RefundsWorld {
  world: World
  /** What the vendor holds, by the vendor's id; what it answers to whoever asks about a refund. */
  held: Map<string, VendorRefund>
  /** How much the vendor would still give back of a payment; no limit unless the test says. */
  room: { of: (payment_id: string) => number }
  /** `late`: the money came after the order had expired, and bought nothing. */
  buy(how?: 'in time' | 'late'): Promise<Purchase>
  /** Asks for a refund as the API does; how it goes at the vendor is given. Answers what came of it here. */
  refund(purchase: Purchase, amount: number, outcome: Outcome): Promise<{ status: number; id?: string }>
  /** The vendor changes its mind; nobody is told yet. */
  settle(word: VendorRefund, status: VendorRefund['status']): VendorRefund
  /** A notification about a refund, as it was read at some moment. */
  tellRefund(word: VendorRefund): Promise<string>
  tellDispute(purchase: Purchase, change: Partial<VendorDispute>): Promise<string>
  /** The janitor looks at every refund that is due. */
  look(): Promise<void>
  balance(customer_id: string): Promise<number>
  payment(id: string): Promise<{ status: string; captured_amount: number; refunded_amount: number }>
  close(): Promise<void>
}

export const PRICE = 20_000
export const UNITS = 1800

/** Starts one. */
export async function startRefundsWorld(): Promise<RefundsWorld> {
  // Without a worker nobody looks but who is asked to.
  const world = await startWorld((settings) => ({ ...settings, roles: ['api'] }))
  const { app, call } = world
  const held = new Map<string, VendorRefund>()
  const room: RefundsWorld['room'] = { of: () => PRICE }
  let next: Outcome = 'succeeded'
  const gateway = defineGateway({
    id: 'yookassa',
    title: 'A vendor that does what it is told',
    currencies: ['RUB'],
    configSchema: z.unknown(),
    isTest: () => true,
    createPayment: async (_config, { payment_id }) => ({
      status: 'pending',
      external_id: `ext_${payment_id}`,
      checkout_url: 'https://vendor.example/pay',
    }),
    getPayment: async () => undefined,
    parseWebhook: () => ({ verdict: 'refused', status: 400, reason: 'nobody tells' }),
    refund: async (_config, { refund_id, amount, currency, payment: { payment_id } }) => {
      if (next === 'lost_question') throw new GatewayUnavailable('timeout')
      const wanted = next === 'lost_answer' ? 'succeeded' : next
      const status = Number(amount) > room.of(payment_id) ? 'failed' : wanted
      const word = { external_id: `vr_${refund_id}`, refund_id, payment_id, amount, currency, status }
      held.set(word.external_id, word)
      if (next === 'lost_answer') throw new GatewayUnavailable('timeout')
      return word
    },
    getRefund: async (_config, { refund_id, external_id }) =>
      held.get(external_id ?? `vr_${refund_id}`) ?? held.get(`vr_${refund_id}`),
  })
  // Each purchase finds a vendor nobody has had trouble with.
  const setUp = (): void => {
    const { clock } = app.payments
    const base_url = () => world.base_url
    app.payments.gateways = createGateways([gateway], { clock, mode: 'sandbox', base_url })
    app.payments.gateways.configure('yookassa', {})
  }
  setUp()
  const tx = app.db.transact.bind(app.db)
  return {
    world,
    held,
    room,
    buy: async (how = 'in time') => {
      setUp()
      const customer_id = await world.customer()
      const { payment } = await world.order({ customer_id, product_key: 'minutes_30' })
      await tx((inner) =>
        recordPaymentWords(inner, app.payments, [
          {
            gateway: 'yookassa',
            word: {
              external_id: payment.external_id,
              payment_id: payment.id,
              status: 'succeeded',
              amount: BigInt(PRICE),
              currency: 'RUB',
              is_test: true,
              ...(how === 'late' ? { paid_at: new Date('2100-01-01') } : {}),
            },
          },
        ]),
      )
      return { customer_id, payment_id: payment.id, external_id: payment.external_id }
    },
    refund: async ({ payment_id }, amount, outcome) => {
      next = outcome
      const url = `/v1/payments/${payment_id}/refunds`
      const { status, body } = await call<{ id: string }>('POST', url, { amount, reason: 'asked' })
      next = 'succeeded'
      return { status, id: body.id }
    },
    settle: (word, status) => {
      const now = { ...word, status }
      held.set(word.external_id, now)
      return now
    },
    tellRefund: (word) => tx((inner) => recordRefundWord(inner, app.payments, 'yookassa', word)),
    tellDispute: ({ payment_id, external_id }, change) =>
      tx((inner) =>
        recordDispute(inner, app.payments, 'yookassa', {
          external_id: `dp_${payment_id}`,
          payment_external_id: external_id,
          status: 'open',
          amount: BigInt(PRICE),
          currency: 'RUB',
          reason: 'fraudulent',
          ...change,
        }),
      ),
    look: async () => {
      await tx((inner) =>
        inner
          .updateTable('payments.refunds')
          .set({ next_check_at: app.payments.clock.now() })
          .where('next_check_at', 'is not', null)
          .execute(),
      )
      await checkRefunds(app.db, app.payments)
    },
    balance: async (customer_id) => {
      const { body } = await call<{ balance: number }>('GET', `/v1/customers/${customer_id}/wallets/minute`)
      return body.balance
    },
    payment: async (id) =>
      (
        await call<{ status: string; captured_amount: number; refunded_amount: number }>(
          'GET',
          `/v1/payments/${id}`,
        )
      ).body,
    close: world.close,
  }
}
