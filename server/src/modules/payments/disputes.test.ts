import type { VendorDispute } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWorld, type World } from '../../../test/world.ts'
import { recordDispute } from './disputes.ts'
import { recordRefundWord } from './refund-words.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.close())

interface Bought {
  customer_id: string
  payment_id: string
  external_id: string
}

async function buy(): Promise<Bought> {
  const customer_id = await world.customer()
  const { payment } = await world.order({ customer_id, product_key: 'minutes_30' })
  world.yookassa.control.complete(payment.external_id, 'succeeded')
  await world.eventually('paid', async () => (await read(payment.id))['status'] === 'succeeded')
  return { customer_id, payment_id: payment.id, external_id: payment.external_id }
}
const read = async (id: string): Promise<Record<string, unknown>> =>
  (await world.call('GET', `/v1/payments/${id}`)).body
const balance = async (customer_id: string): Promise<unknown> =>
  (await world.call('GET', `/v1/customers/${customer_id}/wallets/minute`)).body['balance']
const tell = (bought: Bought, change: Partial<VendorDispute>, gateway = 'yookassa'): Promise<string> =>
  world.app.db.transact((tx) =>
    recordDispute(tx, world.app.payments, gateway, {
      external_id: `dp_${bought.payment_id}`,
      payment_external_id: bought.external_id,
      status: 'open',
      amount: 20_000n,
      currency: 'RUB',
      reason: 'fraudulent',
      ...change,
    }),
  )
const booksAreClean = async (): Promise<void> =>
  expect((await world.call('GET', '/v1/verification')).body['findings']).toEqual([])

describe('a contested payment', () => {
  it('takes its units away when it is opened and gives them back to the unit when it is won', async () => {
    const bought = await buy()
    await world.call('POST', '/v1/spends', { customer_id: bought.customer_id, unit: 'minute', amount: 300 })
    expect(await tell(bought, {})).toBe('open')
    expect(await balance(bought.customer_id)).toBe(0)
    expect(await tell(bought, {})).toBe('nothing_new')
    expect(await tell(bought, { status: 'won' })).toBe('won')
    expect(await balance(bought.customer_id)).toBe(1500)
    expect((await read(bought.payment_id))['status']).toBe('succeeded')
    await booksAreClean()
  })

  it('gives no money back beside the dispute, and all of it once that is won', async () => {
    const bought = await buy()
    await tell(bought, {})
    const refund = () => world.call('POST', `/v1/payments/${bought.payment_id}/refunds`, { amount: 20_000 })
    const refused = await refund()
    expect([refused.status, refused.body['code']]).toEqual([409, 'refund_too_large'])
    expect(await tell(bought, { status: 'won' })).toBe('won')
    expect(await balance(bought.customer_id)).toBe(1800)
    expect((await refund()).status).toBeLessThan(300)
    await world.eventually('refunded', async () => (await read(bought.payment_id))['status'] === 'refunded')
    expect(await balance(bought.customer_id)).toBe(0)
    await booksAreClean()
  })

  it('settled by a refund at the vendor and won then does not give the units beside the money', async () => {
    const bought = await buy()
    await tell(bought, {})
    await world.app.db.transact((tx) =>
      recordRefundWord(tx, world.app.payments, 'yookassa', {
        external_id: `ref_${bought.payment_id}`,
        payment_external_id: bought.external_id,
        status: 'succeeded',
        amount: 20_000n,
        currency: 'RUB',
      }),
    )
    expect((await read(bought.payment_id))['status']).toBe('refunded')
    expect(await tell(bought, { status: 'won' })).toBe('won, and refunded')
    expect(await balance(bought.customer_id)).toBe(0)
    await booksAreClean()
  })

  it('counts as refunded when it is lost, and leaves nothing to refund again', async () => {
    const bought = await buy()
    await tell(bought, {})
    expect(await tell(bought, { status: 'lost' })).toBe('lost')
    expect(await read(bought.payment_id)).toMatchObject({ status: 'refunded', refunded_amount: 20_000 })
    const refund = await world.call('POST', `/v1/payments/${bought.payment_id}/refunds`, {
      amount: 1,
      reason: 'more',
    })
    expect(refund.status).toBe(409)
    await booksAreClean()
  })

  it.each([
    [['open', 'won', 'open'], 1800, 'succeeded'],
    [['won', 'open'], 1800, 'succeeded'],
    [['lost', 'open', 'won'], 0, 'refunded'],
    [['open', 'open', 'lost', 'lost'], 0, 'refunded'],
  ] as const)('ends the same whatever the order and the repeats: %j', async (statuses, units, status) => {
    const bought = await buy()
    for (const word of statuses) await tell(bought, { status: word })
    expect(await balance(bought.customer_id)).toBe(units)
    expect((await read(bought.payment_id))['status']).toBe(status)
    await booksAreClean()
  })

  it('is recorded once when it is told twenty times at once', async () => {
    const bought = await buy()
    await Promise.all(Array.from({ length: 20 }, () => tell(bought, { status: 'lost' })))
    expect((await read(bought.payment_id))['refunded_amount']).toBe(20_000)
    const { body } = await world.call<{ items: unknown[] }>(
      'GET',
      `/v1/disputes?payment_id=${bought.payment_id}`,
    )
    expect(body.items).toHaveLength(1)
    await booksAreClean()
  })

  it.each([
    ['another gateway', {}, 'stripe', 'not_ours'],
    ['another currency', { currency: 'USD' }, 'yookassa', 'refused: wrong_currency'],
    ['live money', { is_test: false }, 'yookassa', 'refused: wrong_mode'],
    ['no amount', { amount: 0n }, 'yookassa', 'refused: wrong_amount'],
    ['an unknown payment', { payment_external_id: 'unknown' }, 'yookassa', 'not_ours'],
  ] as const)('is refused for %s and changes nothing', async (_title, change, gateway, outcome) => {
    const bought = await buy()
    const before = await world.digest()
    expect(await tell(bought, change, gateway)).toBe(outcome)
    expect(await world.digest()).toBe(before)
  })
})
