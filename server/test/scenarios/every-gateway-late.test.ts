import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createCells,
  GATEWAYS,
  MINUTES,
  startEveryGateway,
  type EveryGateway,
  type GatewayId,
  type Purchase,
} from '../every-gateway.ts'
import { sandboxWord } from '../peer-world.ts'

/** What is told of a payment when its order is long over, or its buyer forgotten. */

const SLOW_MS = 90_000
const MONTH_SECONDS = 30 * 86_400

const cells = createCells()
const EXPIRED = 'after its order’s time'
let lab: EveryGateway
beforeAll(async () => {
  lab = await startEveryGateway()
}, SLOW_MS)
afterAll(() => lab?.close())

const set = (change: string, ids: readonly string[]): Promise<unknown> =>
  lab.world.app.db.pool.query(`update payments.payments set ${change} where id = any($1)`, [ids])
const paymentOf = (purchase: Purchase) => lab.world.payment(purchase.order.payment.id)

/** What PayPal has taken, with our ids in it. */
const captures = (): string =>
  JSON.stringify(lab.vendor('paypal').control.objects({ collection: 'captures', limit: 1000 }).items)

/** Money that bought nothing lies here for a person, who can give it back. */
async function expectKeptAndRefundable(purchase: Purchase): Promise<void> {
  const { order, customer_id } = purchase
  expect(await paymentOf(purchase)).toMatchObject({
    status: 'mismatch',
    mismatch_reason: 'order_expired',
    captured_amount: order.total,
  })
  expect(await lab.world.balance(customer_id)).toBe(0)
  expect(await lab.world.grants(order.id)).toBe(0)
  const refund = await lab.world.call('POST', `/v1/payments/${order.payment.id}/refunds`, {
    reason: 'paid too late',
  })
  expect(refund.body).toMatchObject({ amount: order.total })
  await lab.world.eventually(
    'it went back',
    async () => (await paymentOf(purchase))['refunded_amount'] === order.total,
  )
  expect(await lab.world.balance(customer_id)).toBe(0)
}

describe.concurrent('a payment made after its order’s time', () => {
  // PayPal's buyer only approves: the money is taken while the payment is wanted, and this one is not.
  it.each(
    cells.of(
      EXPIRED,
      GATEWAYS.filter((gateway) => gateway !== 'paypal'),
    ),
  )(
    'through %s is kept for a person, grants nothing and can be given back',
    async (gateway) => {
      const purchase = await lab.buy(gateway)
      const { order } = purchase
      const vendor_id = await lab.open(purchase)
      const over = "expires_at = now() - interval '1 minute', next_check_at = null, status = 'expired'"
      await set(over, [order.payment.id])
      if (gateway === 'sandbox') {
        const { body, headers } = await sandboxWord(lab.world, order)
        // As a vendor does, it tells again while the server is too busy to listen.
        await lab.world.eventually(
          'it is taken',
          async () => (await lab.world.tell('sandbox', body, headers)).status === 200,
        )
      } else lab.pay(purchase, vendor_id)
      await lab.world.becomes(order.payment.id, 'mismatch')
      await expectKeptAndRefundable(purchase)
    },
    SLOW_MS,
  )

  it.each(cells.of(EXPIRED, ['paypal']))('through %s takes no money at all', async (gateway) => {
    const purchase = await lab.buy(gateway)
    await set("expires_at = now() - interval '1 minute', status = 'expired'", [purchase.order.payment.id])
    lab.pay(purchase, await lab.open(purchase))
    await lab.vendor('paypal').control.settled()
    await lab.world.handled()
    expect(await paymentOf(purchase)).toMatchObject({ status: 'expired', captured_amount: 0 })
    expect(captures()).not.toContain(purchase.order.payment.id)
  })
})

describe('a payment made in time that is told thirty days late', () => {
  /** Refused as too old to be believed, or lapsed without a charge: nothing happens by itself. */
  const IS_NOT_TOLD: readonly GatewayId[] = ['crypto-pay', 'paypal']
  let kept: Map<GatewayId, Purchase>
  let erased: Map<GatewayId, Purchase>
  /** PayPal took the money of these by our word, and neither its answer nor a notification came. */
  let charged: Record<'kept' | 'erased', Purchase>
  const chargedUnheard = async (): Promise<Purchase> => {
    const purchase = await lab.buy('paypal')
    const vendor_id = await lab.open(purchase)
    lab.vendor('paypal').control.faults({ lose: 1000, timeout_after_charge: 1 })
    lab.pay(purchase, vendor_id)
    await lab.world.look(purchase.order.payment.id)
    await lab.world.eventually('it is charged', async () => captures().includes(purchase.order.payment.id))
    lab.vendor('paypal').control.faults({ lose: 0, timeout_after_charge: 0 })
    return purchase
  }

  beforeAll(async () => {
    const paid = async (): Promise<Map<GatewayId, Purchase>> => {
      const all = await Promise.all(
        GATEWAYS.map(async (gateway) => {
          const purchase =
            gateway === 'sandbox' ? await lab.buy(gateway) : await lab.paid(gateway, { lose: 1000 })
          return [gateway, purchase] as const
        }),
      )
      return new Map(all)
    }
    const paid_at = new Date()
    kept = await paid()
    erased = await paid()
    charged = { kept: await chargedUnheard(), erased: await chargedUnheard() }
    const everybody = [...kept.values(), ...erased.values(), ...Object.values(charged)]
    // As they stand when the vendors could not be asked for eight days.
    // What the janitor had found before is paid already, and stays so.
    await lab.world.app.db.pool.query(
      `update payments.payments set status = 'expired', next_check_at = null
        where id = any($1) and status in ('pending', 'requires_action', 'unknown')`,
      [everybody.map(({ order }) => order.payment.id)],
    )
    const moved = await lab.world.call('POST', '/v1/test_clock', { advance_seconds: MONTH_SECONDS })
    if (moved.status !== 200) throw new Error(`the clock did not move: ${moved.text}`)
    for (const { customer_id } of [...erased.values(), charged.erased]) {
      const gone = await lab.world.call('POST', `/v1/customers/${customer_id}/erase`, { reason: 'a letter' })
      if (gone.status !== 200) throw new Error(`nobody was erased: ${gone.text}`)
    }
    const late = new Date(Date.now() + MONTH_SECONDS * 1000)
    for (const gateway of GATEWAYS) {
      if (gateway === 'sandbox') {
        for (const { order } of [kept.get(gateway), erased.get(gateway)].filter((one) => one !== undefined)) {
          const change = { paid_at: paid_at.toISOString() }
          const { body, headers } = await sandboxWord(lab.world, order, change, late)
          for (let turn = 0; turn < 2; turn++) await lab.world.tell(gateway, body, headers)
        }
        continue
      }
      const { control } = lab.vendor(gateway)
      control.advanceClock(MONTH_SECONDS * 1000)
      for (const id of lab.lost(gateway)) for (let turn = 0; turn < 2; turn++) control.resend(id)
      await control.settled()
    }
    await lab.world.handled()
  }, SLOW_MS)

  const TOLD = GATEWAYS.filter((gateway) => !IS_NOT_TOLD.includes(gateway))
  describe.each([
    ['a customer', () => kept, 'kept'],
    ['a customer who was erased meanwhile', () => erased, 'erased'],
  ] as const)('of %s', (who, purchases, whose) => {
    const name = `thirty days late to ${who}`
    const granted = TOLD.filter((gateway) => gateway !== 'robokassa')
    it.each(cells.of(name, granted))('is granted once: %s', async (gateway) => {
      const purchase = purchases().get(gateway)
      if (!purchase) throw new Error('nobody bought')
      expect(await paymentOf(purchase)).toMatchObject({ status: 'succeeded', mismatch_reason: null })
      expect(await lab.world.balance(purchase.customer_id)).toBe(MINUTES)
      expect(await lab.world.grants(purchase.order.id)).toBe(1)
    })

    const [robokassa, crypto_pay, paypal] = ['robokassa', 'crypto-pay', 'paypal'] as const
    it.each(cells.of(name, [robokassa]))(
      'is kept for a person where nobody says when: %s',
      async (gateway) => {
        const purchase = purchases().get(gateway)
        if (!purchase) throw new Error('nobody bought')
        await expectKeptAndRefundable(purchase)
      },
    )

    it.each(cells.of(name, [crypto_pay]))('is not believed so late, but read: %s', async (gateway) => {
      const purchase = purchases().get(gateway)
      if (!purchase) throw new Error('nobody bought')
      expect(await paymentOf(purchase)).toMatchObject({ status: 'expired' })
      await lab.world.look(purchase.order.payment.id)
      await lab.world.becomes(purchase.order.payment.id, 'succeeded')
      expect(await lab.world.balance(purchase.customer_id)).toBe(MINUTES)
      expect(await lab.world.grants(purchase.order.id)).toBe(1)
    })

    it.each(cells.of(name, [paypal]))('was never charged: the buyer only approved: %s', async (gateway) => {
      const purchase = purchases().get(gateway)
      if (!purchase) throw new Error('nobody bought')
      const payment = await paymentOf(purchase)
      expect(['expired', 'canceled']).toContain(payment.status)
      expect(payment).toMatchObject({ captured_amount: 0 })
      expect(captures()).not.toContain(purchase.order.payment.id)
      expect(await lab.world.balance(purchase.customer_id)).toBe(0)
    })

    it('is granted once where the answer to our charge was lost too: paypal', async () => {
      const { order, customer_id } = charged[whose]
      expect(await paymentOf(charged[whose])).toMatchObject({ status: 'succeeded', mismatch_reason: null })
      expect(await lab.world.balance(customer_id)).toBe(MINUTES)
      expect(await lab.world.grants(order.id)).toBe(1)
    })
  })

  it('leaves the books right', async () => {
    expect(await lab.world.booksAreClean()).toEqual([])
  })
})

it('leaves no gateway out of any of this', () => {
  const late = ['a customer', 'a customer who was erased meanwhile'].map(
    (who) => `thirty days late to ${who}`,
  )
  expect(cells.missing([EXPIRED, ...late])).toEqual([])
})
