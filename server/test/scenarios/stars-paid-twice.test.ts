import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startStarsLab, type StarsLab } from '../stars-lab.ts'

const LOT = 1800
const PRICE = 130

let lab: StarsLab
const settled = (order_id: string, count: number): Promise<unknown> =>
  lab.world.eventually(`order ${order_id} has ${count} payments that took stars`, async () => {
    const found = await lab.payments(order_id)
    return found.filter(({ captured_amount }) => captured_amount === PRICE).length === count
  })
const paidTwice = async () => {
  const buyer = await lab.buyer()
  const order = await lab.order(buyer)
  const first = lab.charge(order.invoice_id, buyer.telegram_id)
  await settled(order.id, 1)
  const second = lab.charge(order.invoice_id, buyer.telegram_id)
  await settled(order.id, 2)
  return { ...buyer, order, first, second }
}
const byCharge = async (order_id: string, charge_id: string) =>
  (await lab.payments(order_id)).find(({ external_id }) => external_id === charge_id)
const booksAreClean = async (): Promise<void> => {
  const { body } = await lab.world.call('GET', '/v1/verification')
  expect(body['findings']).toEqual([])
}
const chargeId = (): string => `stx${randomBytes(12).toString('hex')}`

afterEach(() => booksAreClean())
afterAll(() => lab?.close())

describe('a link that is paid twice, the second money being given back (the default)', () => {
  beforeAll(async () => {
    lab = await startStarsLab()
  }, 60_000)

  it('keeps both charges, grants one lot, and gives back the second, once', async () => {
    const { customer_id, order, first, second } = await paidTwice()
    await lab.world.eventually('the second is given back', async () => {
      const found = await byCharge(order.id, second.id)
      return found?.refunded_amount === PRICE
    })
    expect(await byCharge(order.id, first.id)).toMatchObject({ status: 'succeeded', refunded_amount: 0 })
    expect(await byCharge(order.id, second.id)).toMatchObject({
      status: 'mismatch',
      mismatch_reason: 'order_already_paid',
      repeat_kind: 'paid_again',
      repeats_payment_id: order.payment_id,
    })
    expect(await lab.balance(customer_id)).toBe(LOT)
    const mine = lab.charges().filter(({ id }) => id === first.id || id === second.id)
    expect(mine.map(({ id, refunded_at }) => [id === second.id, refunded_at !== undefined])).toEqual(
      expect.arrayContaining([
        [true, true],
        [false, false],
      ]),
    )
    // Telegram tells of the refund by an update of its own: it is ours, and known.
    const { body } = await lab.world.call<{ items: object[] }>(
      'GET',
      `/v1/refunds?payment_id=${(await byCharge(order.id, second.id))?.id}`,
    )
    expect(body.items).toMatchObject([{ status: 'succeeded', origin: 'api', amount: PRICE }])
  })

  it('refuses the second press before it is paid, while the bot is asked', async () => {
    const { customer_id, telegram_id } = await lab.buyer()
    const order = await lab.order({ customer_id })
    expect(await lab.pay(order.link, telegram_id)).toMatchObject({ status: 'paid' })
    await settled(order.id, 1)
    expect(await lab.pay(order.link, telegram_id)).toMatchObject({ status: 'failed' })
    expect(await lab.payments(order.id)).toHaveLength(1)
  })

  it('is paid though the database hangs while the bot is asked, and granted afterwards', async () => {
    const { customer_id, telegram_id } = await lab.buyer()
    const order = await lab.order({ customer_id })
    const other = await lab.world.app.db.pool.connect()
    try {
      await other.query('begin')
      await other.query('lock table payments.payments in access exclusive mode')
      // The emulator waits ten seconds for the answer, as Telegram does, and takes nothing without it.
      expect(await lab.pay(order.link, telegram_id)).toMatchObject({ status: 'paid' })
    } finally {
      await other.query('rollback')
      other.release()
    }
    await settled(order.id, 1)
    expect(await lab.balance(customer_id)).toBe(LOT)
    expect(lab.charges().filter(({ user_id }) => user_id === telegram_id)).toHaveLength(1)
  })

  it('makes one payment of a charge that is told fifty times at once', async () => {
    const { customer_id, telegram_id } = await lab.buyer()
    const order = await lab.order({ customer_id })
    const charges = [chargeId(), chargeId()]
    const told = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        lab.tell(order.invoice_id, telegram_id, { telegram_payment_charge_id: charges[index % 2] }),
      ),
    )
    expect(new Set(told)).toEqual(new Set([200]))
    await settled(order.id, 2)
    const payments = await lab.payments(order.id)
    expect(payments.map(({ external_id }) => external_id).toSorted()).toEqual(charges.toSorted())
    expect(await lab.balance(customer_id)).toBe(LOT)
    // The made-up charges are unknown to Telegram: the refund is refused, and a person sees it.
    await lab.world.eventually('the refund is refused', async () => {
      const { body } = await lab.world.call<{ items: { status: string }[] }>('GET', '/v1/refunds?limit=1')
      return body.items[0]?.status === 'failed'
    })
    expect(await lab.balance(customer_id)).toBe(LOT)
  })

  it('gives the money back once when the answer of Telegram is lost', async () => {
    const buyer = await lab.buyer()
    const order = await lab.order(buyer)
    lab.charge(order.invoice_id, buyer.telegram_id)
    await settled(order.id, 1)
    lab.telegram.control.faults({ timeout_after_charge: 1 })
    const second = lab.charge(order.invoice_id, buyer.telegram_id)
    await lab.world.eventually(
      'the refund is known',
      async () => (await byCharge(order.id, second.id))?.refunded_amount === PRICE,
      60_000,
    )
    lab.telegram.control.faults({ timeout_after_charge: 0 })
    expect(lab.charges().find(({ id }) => id === second.id)?.refunded_at).toBeDefined()
    expect(await lab.balance(buyer.customer_id)).toBe(LOT)
  }, 90_000)

  it('is the same to reconciliation: both charges and the refund, none missing', async () => {
    const known = new Set(lab.charges().map(({ id }) => id))
    const { differences } = await lab.reconcile()
    expect(differences.filter(({ external_id }) => known.has(external_id ?? ''))).toEqual([])
    const buyer = await lab.buyer()
    const order = await lab.order(buyer)
    lab.charge(order.invoice_id, buyer.telegram_id)
    await settled(order.id, 1)
    lab.telegram.control.faults({ lose: 1 })
    const lost = lab.charge(order.invoice_id, buyer.telegram_id)
    lab.telegram.control.faults({ lose: 0 })
    const again = await lab.reconcile()
    expect(again.differences).toContainEqual(
      expect.objectContaining({ kind: 'payment_missing_here', external_id: lost.id }),
    )
  })

  it('changes nothing by a lie: another amount is kept for a person, another secret is refused', async () => {
    const { customer_id, telegram_id } = await lab.buyer()
    const order = await lab.order({ customer_id })
    lab.charge(order.invoice_id, telegram_id)
    await settled(order.id, 1)
    const before = await lab.world.digest()
    const forged = await lab.world.call(
      'POST',
      '/webhooks/payments/telegram-stars',
      { update_id: 1, message: {} },
      { authorization: '', 'x-telegram-bot-api-secret-token': 'x'.repeat(32) },
    )
    expect(forged.status).toBe(401)
    // Not as asked, so only a hint: Telegram's ledger knows no such charge.
    await lab.tell(order.invoice_id, telegram_id, {
      telegram_payment_charge_id: chargeId(),
      total_amount: 1,
    })
    await lab.world.eventually('the inbox is empty', async () => {
      const { rows } = await lab.world.app.db.pool.query(
        "select 1 from payments.inbox where status in ('received', 'handling') limit 1",
      )
      return rows.length === 0
    })
    expect(await lab.world.digest()).toBe(before)
  })
})

describe('a link that is paid twice, by the owner’s word granted twice', () => {
  beforeAll(async () => {
    await lab.close()
    lab = await startStarsLab((settings) => ({ ...settings, paid_again: 'grant_again' }))
  }, 60_000)

  it('grants a lot for each charge, and a refund of one takes back its own lot only', async () => {
    const { customer_id, order, first, second } = await paidTwice()
    await lab.world.eventually('two lots', async () => (await lab.balance(customer_id)) === 2 * LOT)
    await lab.world.call('POST', '/v1/spends', { customer_id, unit: 'minute', amount: 100 })
    const payment = await byCharge(order.id, second.id)
    const refund = await lab.world.call('POST', `/v1/payments/${payment?.id}/refunds`, {
      amount: PRICE,
      reason: 'one was enough',
    })
    expect(refund.body).toMatchObject({ status: 'succeeded', amount: PRICE })
    // The spend was taken from the first lot, which is the first's buyer's to lose.
    expect(await lab.balance(customer_id)).toBe(LOT - 100)
    const other = await byCharge(order.id, first.id)
    expect(other).toMatchObject({ status: 'succeeded', refunded_amount: 0 })
    expect((await byCharge(order.id, second.id))?.status).toBe('refunded')
  })
})

describe('a link that is paid twice, the second money waiting for a person', () => {
  beforeAll(async () => {
    await lab.close()
    lab = await startStarsLab((settings) => ({ ...settings, paid_again: 'keep_for_person' }))
  }, 60_000)

  it('keeps it as money received; giving it back leaves the first lot where it is', async () => {
    const { customer_id, order, second } = await paidTwice()
    const payment = await byCharge(order.id, second.id)
    expect(payment).toMatchObject({ status: 'mismatch', mismatch_reason: 'order_already_paid' })
    expect(lab.charges().find(({ id }) => id === second.id)?.refunded_at).toBeUndefined()
    const refund = await lab.world.call('POST', `/v1/payments/${payment?.id}/refunds`, {})
    expect(refund.body).toMatchObject({ status: 'succeeded', amount: PRICE })
    expect(await lab.balance(customer_id)).toBe(LOT)
  })

  it('is done already when Telegram gave it back before', async () => {
    const { customer_id, order, second } = await paidTwice()
    lab.telegram.control.complete(second.id, 'canceled')
    await lab.world.eventually(
      'the refund is told',
      async () => (await byCharge(order.id, second.id))?.refunded_amount === PRICE,
    )
    const payment = await byCharge(order.id, second.id)
    const again = await lab.world.call('POST', `/v1/payments/${payment?.id}/refunds`, {})
    expect(again.status).toBe(409)
    expect(await lab.balance(customer_id)).toBe(LOT)
  })
})
