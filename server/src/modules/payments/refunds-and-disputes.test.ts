import type { VendorRefund } from '@kopilka/extension'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  PRICE,
  startRefundsWorld,
  UNITS,
  type Purchase,
  type RefundsWorld,
} from './payments.fixtures/refunds-world.ts'

let lab: RefundsWorld
beforeAll(async () => {
  lab = await startRefundsWorld()
}, 60_000)
afterAll(() => lab?.close())
const booksAreClean = async (): Promise<void> =>
  expect((await lab.world.call('GET', '/v1/verification')).body['findings']).toEqual([])
afterEach(() => booksAreClean())

const balance = ({ customer_id }: Purchase) => lab.balance(customer_id)
const payment = ({ payment_id }: Purchase) => lab.payment(payment_id)
const refund = async (id = ''): Promise<Record<string, unknown>> =>
  (await lab.world.call('GET', `/v1/refunds/${id}`)).body
const heldOf = (id = ''): VendorRefund => {
  const word = lab.held.get(`vr_${id}`)
  if (!word) throw new Error(`the vendor holds no ${id}`)
  return word
}

describe('a refund that ends otherwise than its vendor had said', () => {
  it('leaves the buyer his units, and the payment its money, when it fails after it was done', async () => {
    const bought = await lab.buy()
    const { id } = await lab.refund(bought, PRICE, 'succeeded')
    expect(await balance(bought)).toBe(0)
    const failed = lab.settle(heldOf(id), 'failed')
    await Promise.all(Array.from({ length: 20 }, () => lab.tellRefund(failed)))
    await lab.look()
    expect(await refund(id)).toMatchObject({ status: 'failed', failure_reason: 'refused' })
    expect(await payment(bought)).toMatchObject({ status: 'succeeded', refunded_amount: 0 })
    expect(await balance(bought)).toBe(UNITS)
    for (const word of [failed, { ...failed, status: 'succeeded' as const }]) await lab.tellRefund(word)
    await lab.look()
    expect(await balance(bought)).toBe(UNITS)
    expect((await lab.refund(bought, PRICE, 'succeeded')).status).toBe(201)
    expect(await balance(bought)).toBe(0)
  })

  it('takes the units again when it went all the same after it had failed', async () => {
    const bought = await lab.buy()
    const { id } = await lab.refund(bought, PRICE / 2, 'failed')
    expect(await balance(bought)).toBe(UNITS)
    const made = lab.settle(heldOf(id), 'succeeded')
    for (let times = 0; times < 3; times += 1) {
      await lab.tellRefund(made)
      await lab.look()
    }
    expect(await balance(bought)).toBe(UNITS / 2)
    expect(await payment(bought)).toMatchObject({ refunded_amount: PRICE / 2 })
    const { body } = await lab.world.call<{ items: { origin: string; status: string }[] }>(
      'GET',
      `/v1/refunds?payment_id=${bought.payment_id}`,
    )
    expect(body.items.map(({ origin, status }) => `${origin} ${status}`).toSorted()).toEqual([
      'api failed',
      'vendor succeeded',
    ])
  })

  it('that was refused before it was anything there is recorded when the vendor has made it', async () => {
    const bought = await lab.buy()
    const { id = '' } = await lab.refund(bought, PRICE, 'failed')
    const told = { ...heldOf(id), external_id: `other_${id}`, status: 'succeeded' as const }
    lab.held.set(told.external_id, told)
    await lab.tellRefund(told)
    await lab.tellRefund(told)
    expect(await balance(bought)).toBe(0)
    expect(await payment(bought)).toMatchObject({ status: 'refunded', refunded_amount: PRICE })
  })
})

describe('money that is reached for twice', () => {
  it('a dispute of money that bought nothing leaves nothing of it to refund', async () => {
    const late = await lab.buy('late')
    expect(await payment(late)).toMatchObject({ status: 'mismatch', captured_amount: PRICE })
    expect(await lab.tellDispute(late, {})).toBe('open')
    expect((await lab.refund(late, PRICE, 'succeeded')).status).toBe(409)
    expect(await lab.tellDispute(late, { status: 'lost' })).toBe('lost')
    expect(await payment(late)).toMatchObject({ status: 'mismatch', refunded_amount: PRICE })
    expect((await lab.refund(late, 1, 'succeeded')).status).toBe(409)
    expect(await balance(late)).toBe(0)
  })

  it.each([
    ['lost', 0, PRICE],
    ['won', UNITS, 0],
  ] as const)(
    'a dispute keeps the units when the refund beside it fails, and is %s',
    async (end, units, back) => {
      const bought = await lab.buy()
      const { id } = await lab.refund(bought, PRICE, 'pending')
      expect(await lab.tellDispute(bought, {})).toBe('open')
      await lab.tellRefund(lab.settle(heldOf(id), 'failed'))
      expect(await balance(bought)).toBe(0)
      await lab.tellDispute(bought, { status: end })
      expect(await balance(bought)).toBe(units)
      expect(await payment(bought)).toMatchObject({ refunded_amount: back })
    },
  )

  it('a dispute that is lost counts in full when the refund beside it fails afterwards', async () => {
    const bought = await lab.buy()
    const { id } = await lab.refund(bought, PRICE, 'pending')
    await lab.tellDispute(bought, { status: 'lost' })
    await lab.tellRefund(lab.settle(heldOf(id), 'failed'))
    expect(await payment(bought)).toMatchObject({ status: 'refunded', refunded_amount: PRICE })
    expect(await balance(bought)).toBe(0)
    expect((await lab.refund(bought, 1, 'succeeded')).status).toBe(409)
  })

  it('a dispute that is won leaves a refund made meanwhile the units that went back in money', async () => {
    const bought = await lab.buy()
    await lab.tellDispute(bought, {})
    const word: VendorRefund = {
      external_id: `cabinet_${bought.payment_id}`,
      payment_external_id: bought.external_id,
      status: 'succeeded',
      amount: BigInt(PRICE / 2),
      currency: 'RUB',
    }
    lab.held.set(word.external_id, word)
    await lab.tellRefund(word)
    await lab.tellDispute(bought, { status: 'won' })
    expect(await balance(bought)).toBe(UNITS / 2)
    // And the other half comes back when that refund fails at last.
    await lab.tellRefund(lab.settle(word, 'failed'))
    await lab.look()
    expect(await balance(bought)).toBe(UNITS)
    expect(await payment(bought)).toMatchObject({ status: 'succeeded', refunded_amount: 0 })
  })
})
