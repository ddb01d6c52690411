import type { Faults } from '@kopilka/emulators/emulator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createCells,
  GATEWAYS,
  MADE_BY_CALL,
  MINUTES,
  OUTSIDE,
  press,
  startEveryGateway,
  type Buyer,
  type EveryGateway,
  type GatewayId,
} from '../every-gateway.ts'
import { sandboxWord, signedBySandbox } from '../peer-world.ts'
import type { Answer, PlacedOrder } from '../world.ts'

/** Every gateway through the whole server, when the vendor or the way to it is bad. */

const SLOW_MS = 90_000
/** What is promised once the vendor answers again; it takes a few seconds. */
const SOON_MS = 60_000

const cells = createCells()
/** Gateways whose vendor makes nothing when we ask for a payment: no answer of theirs can be lost. */
const MAKE_NOTHING = {
  robokassa: 'A payment begins with an address that we sign ourselves.',
  rustore: 'The app begins a payment.',
  sandbox: 'A payment begins with an address that we sign ourselves.',
}
let lab: EveryGateway
beforeAll(async () => {
  lab = await startEveryGateway()
}, SLOW_MS)
afterAll(() => lab?.close())

const addressOf = (gateway: GatewayId): string => `${lab.world.base_url}/webhooks/payments/${gateway}`
const statusOf = async (payment_id: string): Promise<string> => (await lab.world.payment(payment_id)).status
const succeeds = (payment_id: string): Promise<unknown> =>
  lab.world.eventually('it is paid', async () => (await statusOf(payment_id)) === 'succeeded', SOON_MS)

async function expectGrantedOnce(buyer: Buyer, payment_id: string): Promise<void> {
  const payment = await lab.world.payment(payment_id)
  expect(payment).toMatchObject({ status: 'succeeded', mismatch_reason: null })
  expect(await lab.world.grants(String(payment['order_id']))).toBe(1)
  expect(await lab.world.balance(buyer.customer_id)).toBe(MINUTES)
}

/** Asks for an order of whose payment the vendor makes all and says nothing; answers what it made. */
async function askUnanswered(
  gateway: GatewayId,
  faults: Partial<Faults> = {},
): Promise<{
  buyer: Buyer
  key: string
  asked: Promise<Answer<PlacedOrder>>
  isAnswered: () => boolean
  payment_id: string
  vendor_id: string
}> {
  const buyer = await lab.buyer(gateway)
  const key = `every-${buyer.customer_id}`
  lab.vendor(gateway).control.faults({ timeout_after_charge: 1, ...faults })
  let is_answered = false
  const asked = lab.ask(buyer, key).finally(() => {
    is_answered = true
  })
  const found = await lab.world.eventually('the vendor has made it', async () => {
    const payment_id = await lab.paymentOf(buyer)
    const [made] = payment_id === undefined ? [] : lab.made(gateway, payment_id)
    return payment_id !== undefined && made && { payment_id, vendor_id: made.id }
  })
  return { buyer, key, asked, isAnswered: () => is_answered, ...found }
}

describe.concurrent('a vendor that makes a payment and does not answer', () => {
  it.each(cells.of('a charge without an answer', MADE_BY_CALL, MAKE_NOTHING))(
    'is paid and says nothing: %s ends in one grant all the same',
    async (gateway) => {
      const { control } = lab.vendor(gateway)
      const told = control.status().counts.notifications.delivered
      const { buyer, key, asked, payment_id, vendor_id } = await askUnanswered(gateway, { lose: 1000 })
      lab.pay(buyer, vendor_id)
      expect(await asked).toMatchObject({ status: 503, body: { code: 'gateway_unavailable' } })
      await succeeds(payment_id)
      expect(control.status().counts.notifications.delivered).toBe(told)
      control.faults({ lose: 0 })
      await expectGrantedOnce(buyer, payment_id)
      const again = await lab.ask(buyer, key)
      expect(again).toMatchObject({ status: 201, body: { payment: { id: payment_id, status: 'succeeded' } } })
      await expectGrantedOnce(buyer, payment_id)
      // Telegram makes links for nothing: what counts is that its one charge is known.
      if (gateway !== 'telegram-stars') expect(lab.made(gateway, payment_id)).toHaveLength(1)
    },
    SLOW_MS,
  )
})

describe('a notification', () => {
  describe.concurrent('that comes before the answer to our own question', () => {
    it.each(cells.of('before our call returned', MADE_BY_CALL, MAKE_NOTHING))(
      'grants once: %s',
      async (gateway) => {
        const { buyer, key, asked, isAnswered, payment_id, vendor_id } = await askUnanswered(gateway)
        lab.pay(buyer, vendor_id)
        await succeeds(payment_id)
        expect(isAnswered()).toBe(false)
        await expectGrantedOnce(buyer, payment_id)
        await asked
        const again = await lab.ask(buyer, key)
        expect(again).toMatchObject({ status: 201, body: { payment: { id: payment_id } } })
        await expectGrantedOnce(buyer, payment_id)
      },
      SLOW_MS,
    )
  })

  it('of PayPal’s charge that is not answered is not needed either: one capture, one grant', async () => {
    const { control } = lab.vendor('paypal')
    const purchase = await lab.buy('paypal')
    control.faults({ lose: 1000, timeout_after_charge: 1 })
    lab.pay(purchase, await lab.open(purchase))
    await lab.world.look(purchase.order.payment.id)
    await succeeds(purchase.order.payment.id)
    expect(control.status().faults.timeout_after_charge).toBe(0)
    control.faults({ lose: 0 })
    await expectGrantedOnce(purchase, purchase.order.payment.id)
    const captures = control.objects({ collection: 'captures', limit: 1000 }).items
    const own = captures.filter((capture) => JSON.stringify(capture).includes(purchase.order.payment.id))
    expect(own).toHaveLength(1)
  })

  describe.concurrent('that never comes', () => {
    const NEVER = 'that never comes'
    it.each(cells.of(NEVER, [...MADE_BY_CALL, 'robokassa'] as const))(
      'is not needed: the janitor finds what %s was paid, once',
      async (gateway) => {
        const purchase = await lab.paid(gateway, { lose: 1000 })
        const { id } = purchase.order.payment
        lab.vendor(gateway).control.faults({ lose: 1000 })
        await Promise.all([lab.world.look(id), lab.world.look(id)])
        await succeeds(id)
        lab.vendor(gateway).control.faults({ lose: 0 })
        await expectGrantedOnce(purchase, id)
      },
      SLOW_MS,
    )

    it.each(cells.of(NEVER, ['rustore']))(
      'leaves what an app began to the repeats of %s',
      async (gateway) => {
        const { control } = lab.vendor(gateway)
        const purchase = await lab.buy('rustore')
        const { id } = purchase.order.payment
        const invoice_id = await lab.open(purchase, { is_two_stage: true })
        control.faults({ lose: 1 })
        lab.pay(purchase, invoice_id)
        await lab.world.look(id)
        expect(await statusOf(id)).toBe('pending')
        // Now the store is heard, and takes the money without an answer to our yes.
        control.faults({ timeout_after_charge: 1 })
        control.resend(lab.lost('rustore').at(-1) ?? '')
        await succeeds(id)
        expect(control.status().faults.timeout_after_charge).toBe(0)
        await expectGrantedOnce(purchase, id)
      },
    )

    it.each(cells.of(NEVER, ['sandbox']))(
      'leaves a payment to the button of %s pressed again',
      async (gateway) => {
        const purchase = await lab.buy(gateway)
        const { id } = purchase.order.payment
        await lab.world.look(id)
        expect(await statusOf(id)).toBe('pending')
        await press(purchase.order, 'twice')
        await press(purchase.order, 'pay')
        await succeeds(id)
        await expectGrantedOnce(purchase, id)
      },
    )
  })
})

describe('a lie', () => {
  describe('about a payment of', () => {
    let payments: Map<GatewayId, string>
    let sent: Map<GatewayId, number>
    let before: string
    let after: string

    // All at the same moment: nothing of any of them may change anything.
    beforeAll(async () => {
      const bought = await Promise.all(
        OUTSIDE.map(async (gateway) => {
          const purchase = await lab.buy(gateway)
          const vendor_id = await lab.open(purchase)
          // Telegram knows a payment only after it was made; the lie beside the truth is told of a paid one.
          const object_id = gateway === 'telegram-stars' ? await paidCharge() : vendor_id
          await lab.vendor(gateway).control.settled()
          return { gateway, object_id, payment_id: purchase.order.payment.id }
        }),
      )
      payments = new Map(bought.map(({ gateway, payment_id }) => [gateway, payment_id]))
      await lab.world.handled()
      before = await lab.world.digest()
      sent = new Map(
        bought.map(({ gateway, object_id }) => [gateway, lab.vendor(gateway).control.forge(object_id)]),
      )
      await Promise.all(OUTSIDE.map((gateway) => lab.vendor(gateway).control.settled()))
      await lab.world.handled()
      after = await lab.world.digest()
    }, SLOW_MS)

    it.each(cells.of('a lie', OUTSIDE))('%s changes nothing', async (gateway) => {
      expect(sent.get(gateway)).toBeGreaterThan(0)
      expect(after).toBe(before)
      expect(await statusOf(payments.get(gateway) ?? '')).toBe('pending')
    })
  })

  it.each(cells.of('a lie', ['sandbox']))('about a payment of the %s changes nothing', async (gateway) => {
    const { order } = await lab.buy(gateway)
    const { body } = await sandboxWord(lab.world, order)
    const before = await lab.world.digest()
    const forged = signedBySandbox(body, 'not the secret')
    expect((await lab.world.tell('sandbox', forged.body, forged.headers)).status).toBe(401)
    await lab.world.handled()
    expect(await lab.world.digest()).toBe(before)
  })

  describe.concurrent('that is a truth', () => {
    it.each(OUTSIDE.map((gateway, index) => [gateway, GATEWAYS[(index + 1) % GATEWAYS.length]] as const))(
      'of %s told to %s changes nothing, and its money is not lost',
      async (gateway, other = 'sandbox') => {
        const { control } = lab.vendor(gateway)
        await control.settled()
        await lab.world.handled()
        const purchase = await lab.buy(gateway)
        const vendor_id = await lab.open(purchase)
        // What opening the page made the vendor tell is taken first: it sets the next look anew.
        await control.settled()
        await lab.world.handled()
        await keepJanitorAway(purchase.order.payment.id)
        control.settings({ webhook_url: addressOf(other) })
        const seen = control.status().counts.notifications.attempts
        lab.pay(purchase, vendor_id)
        await lab.world.eventually(
          'it was told',
          async () => control.status().counts.notifications.attempts > seen,
        )
        await lab.world.handled()
        expect(await lab.world.grants(purchase.order.id)).toBe(0)
        expect(await statusOf(purchase.order.payment.id)).toBe('pending')
        control.settings({ webhook_url: addressOf(gateway) })
        // What only asked where to look was taken there, and is not repeated: the janitor finds it.
        await lab.world.look(purchase.order.payment.id)
        await succeeds(purchase.order.payment.id)
        await expectGrantedOnce(purchase, purchase.order.payment.id)
      },
      SLOW_MS,
    )
  })
})

/**
 * No look at the vendor is due for a payment, nor under way: one that had begun writes the next moment when
 * it ends, and takes no longer than the vendor's answer.
 */
async function keepJanitorAway(payment_id: string): Promise<void> {
  const { pool } = lab.world.app.db
  const off = 'update payments.payments set next_check_at = null where id = $1 and next_check_at is not null'
  for (let quiet = 0; quiet < 10; quiet++) {
    if ((await pool.query(off, [payment_id])).rowCount !== 0) quiet = 0
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** A charge at Telegram that is granted already. */
async function paidCharge(): Promise<string> {
  const { order } = await lab.paid('telegram-stars')
  await succeeds(order.payment.id)
  return String((await lab.world.payment(order.payment.id))['external_id'])
}

it('leaves the books right after all of this', async () => {
  await lab.world.handled()
  expect(await lab.world.booksAreClean()).toEqual([])
})

it('leaves no gateway out of any of this', () => {
  const names = ['a charge without an answer', 'before our call returned', 'that never comes', 'a lie']
  expect(cells.missing(names)).toEqual([])
})
