import type { VendorDispute } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWorld, type World } from '../../../test/world.ts'
import { SHOP } from '../../../test/world-settings.ts'
import { recordDispute } from './disputes.ts'
import type { PaymentRow } from './payment-queries.ts'
import { openPaymentsLab, type PaymentsLab } from './payments.fixtures/lab.ts'
import { reconcile } from './reconciliation.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.close())

const run = () => {
  const now = Date.now()
  const range = { from: new Date(now - 3_600_000), to: new Date(now + 3_600_000) }
  return reconcile(world.app.db, world.app.payments, { gateway: 'yookassa', ...range })
}
const buy = async (): Promise<{ id: string; external_id: string }> => {
  const customer_id = await world.customer()
  const { payment } = await world.order({ customer_id, product_key: 'minutes_30' })
  world.yookassa.control.complete(payment.external_id, 'succeeded')
  await world.eventually(
    'paid',
    async () => (await world.call('GET', `/v1/payments/${payment.id}`)).body['status'] === 'succeeded',
  )
  return payment
}

describe('reconciliation with a gateway', () => {
  it('finds nothing when both sides say the same, and changes nothing whatever it finds', async () => {
    const paid = await buy()
    await world.call('POST', `/v1/payments/${paid.id}/refunds`, { amount: 5000, reason: 'in part' })
    await world.order({ customer_id: await world.customer(), product_key: 'minutes_30' })
    const before = await world.digest()
    const found = await run()
    expect(found.differences).toEqual([])
    expect(found).toMatchObject({
      payments_here: 2,
      payments_at_vendor: 2,
      refunds_here: 1,
      refunds_at_vendor: 1,
    })
    expect(await world.digest()).toBe(before)
  })

  it('names what is paid there and not here, what is here and not there, and sums that differ', async () => {
    const paid = await buy()
    const change = (what: string) =>
      world.app.db.pool.query(`update payments.payments set ${what} where id = $1`, [paid.id])
    await change('captured_amount = 19999')
    expect((await run()).differences).toContainEqual(
      expect.objectContaining({
        kind: 'payment_amount_differs',
        id: paid.id,
        ours: '19999 RUB',
        theirs: '20000 RUB',
      }),
    )
    await change(`captured_amount = 0, status = 'pending'`)
    expect((await run()).differences).toContainEqual(
      expect.objectContaining({
        kind: 'payment_status_differs',
        id: paid.id,
        ours: 'pending',
        theirs: 'succeeded',
      }),
    )
    await change(`captured_amount = 20000, status = 'succeeded'`)
    expect((await run()).differences).toEqual([])
    // The vendor knows nothing any more: everything of ours that took money is named.
    world.yookassa.control.reset()
    world.yookassa.control.settings({ ...SHOP })
    const lost = (await run()).differences
    expect(lost).toContainEqual(expect.objectContaining({ kind: 'payment_missing_at_vendor', id: paid.id }))
    expect(lost.map(({ kind }) => kind)).toContain('refund_missing_at_vendor')
    expect(lost.every(({ proposed }) => proposed.length > 20)).toBe(true)
  })

  it('refuses a range that makes no sense and a gateway without a list', async () => {
    const now = new Date()
    const ask = (gateway: string, from: Date, to: Date) =>
      reconcile(world.app.db, world.app.payments, { gateway, from, to })
    await expect(ask('yookassa', now, now)).rejects.toMatchObject({ code: 'invalid_request' })
    await expect(ask('yookassa', new Date(0), now)).rejects.toMatchObject({ code: 'invalid_request' })
    await expect(ask('sandbox', new Date(now.getTime() - 1000), now)).rejects.toMatchObject({
      code: 'invalid_state',
    })
    await expect(ask('nobody', new Date(now.getTime() - 1000), now)).rejects.toMatchObject({
      code: 'gateway_not_available',
    })
  })
})

describe('reconciliation with a vendor that has too much to tell', () => {
  let lab: PaymentsLab
  beforeAll(async () => {
    lab = await openPaymentsLab()
  })
  afterAll(() => lab?.close())
  const paid = () => lab.existing({ status: 'succeeded', captured_amount: 10_000n })
  const disputeOf = ({ id, external_id }: PaymentRow, status: VendorDispute['status']): VendorDispute => ({
    external_id: `dp_${id}`,
    payment_external_id: external_id ?? '',
    status,
    amount: 10_000n,
    currency: 'RUB',
    reason: 'fraudulent',
  })
  const tell = (payment: PaymentRow, status: VendorDispute['status'] = 'open') =>
    lab.db.transact((tx) => recordDispute(tx, lab.kit, 'scripted', disputeOf(payment, status)))
  const compare = () => {
    const range = { from: new Date(lab.clock.now_ms() - 1000), to: new Date(lab.clock.now_ms() + 1000) }
    return reconcile(lab.db, lab.kit, { gateway: 'scripted', ...range })
  }

  it('names disputes nobody told of, and older ones whose end nobody told of', async () => {
    const listPayments = async () => ({ items: [] })
    lab.follow({}, { listPayments })
    const [first, second] = [await paid(), await paid()]
    for (const told of [first, second]) await tell(told)
    lab.clock.advance(40 * 86_400_000)
    const unheard = disputeOf(await paid(), 'open')
    const asked: Date[] = []
    lab.follow(
      {},
      {
        listPayments,
        listDisputes: async (_config, { from, cursor }) => {
          asked.push(from)
          return cursor === undefined
            ? { items: [disputeOf(first, 'lost'), disputeOf(second, 'open')], next_cursor: 'more' }
            : { items: [unheard] }
        },
      },
    )
    const { differences } = await compare()
    expect(differences.filter(({ kind }) => kind.startsWith('dispute'))).toMatchObject([
      {
        kind: 'dispute_status_differs',
        external_id: `dp_${first.id}`,
        ours: 'open',
        theirs: 'lost, 10000 RUB',
      },
      { kind: 'dispute_missing_here', external_id: unheard.external_id, id: null, ours: 'absent' },
    ])
    // As far back as the oldest whose end is not known, and a day for what was told late.
    expect(asked[0]?.getTime()).toBe(lab.clock.now_ms() - 41 * 86_400_000)
    await tell(first, 'lost')
    const left = (await compare()).differences.map(({ kind }) => kind)
    expect(left).not.toContain('dispute_status_differs')
    lab.clock.advance(86_400_000)
  })

  it('ends after a thousand pages and says to choose a shorter time', async () => {
    let pages = 0
    const listPayments = async () => {
      pages += 1
      return { items: [], next_cursor: `page_${pages}` }
    }
    lab.follow({}, { listPayments })
    await expect(compare()).rejects.toMatchObject({ code: 'invalid_state' })
    expect(pages).toBe(1000)
  })

  it('asks one by one about five thousand payments at most, and else about none', async () => {
    let asked = 0
    lab.follow({
      getPayment: async () => {
        asked += 1
        return undefined
      },
    })
    const { id } = await lab.existing({ external_id: null })
    expect(await compare()).toMatchObject({ method: 'one_by_one', payments_here: 1, payments_at_vendor: 0 })
    expect(asked).toBe(1)
    await lab.db.pool.query(
      `insert into payments.payments (id, order_id, customer_id, gateway, is_test, status, amount, currency,
           checkout_url, description, return_url, expires_at, created_at, updated_at)
         select id || n, order_id, customer_id, gateway, is_test, status, amount, currency,
           checkout_url, description, return_url, expires_at, created_at, updated_at
           from payments.payments, generate_series(1, 5000) as n where id = $1`,
      [id],
    )
    await expect(compare()).rejects.toMatchObject({ code: 'invalid_state' })
    expect(asked).toBe(1)
  })
})
