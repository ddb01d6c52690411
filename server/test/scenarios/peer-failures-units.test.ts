import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startPeerWorld, type PeerWorld } from '../peer-world.ts'
import { SHOP } from '../world-settings.ts'

/** What befell other projects' units when money or work went back; see docs/security/peer-failures.md. */

let world: PeerWorld
beforeAll(async () => {
  world = await startPeerWorld()
})
afterAll(() => world?.close())

interface Wallet {
  balance: number
  held: number
  available: number
}
const wallet = async (customer_id: string): Promise<Wallet> =>
  (await world.call<Wallet>('GET', `/v1/customers/${customer_id}/wallets/minute`)).body
const made = async (url: string, body: object): Promise<string> => {
  const answer = await world.call<{ id: string }>('POST', url, body)
  if (answer.status >= 300) throw new Error(answer.text)
  return answer.body.id
}
const untouched = { balance: 1800, held: 0, available: 1800 }

describe('B13: what is ended without its way back', () => {
  it('B13: a hold that is released or expires gives everything back', async () => {
    const { customer_id } = await world.bought()
    const hold = { customer_id, unit: 'minute', amount: 700 }
    const released = await made('/v1/holds', { ...hold, ttl_seconds: 60 })
    expect(await wallet(customer_id)).toMatchObject({ held: 700, available: 1100 })
    for (const status of [200, 409]) {
      expect((await world.call('POST', `/v1/holds/${released}/release`)).status).toBe(status)
    }
    expect(await wallet(customer_id)).toMatchObject(untouched)
    await made('/v1/holds', { ...hold, ttl_seconds: 1 })
    await world.eventually('the hold expired', async () => (await wallet(customer_id)).held === 0)
    expect(await wallet(customer_id)).toMatchObject(untouched)
    expect(await world.booksAreClean()).toEqual([])
  })

  it('B13: a capture of less gives the rest back, and a reversed spend all of it, once', async () => {
    const { customer_id } = await world.bought()
    const hold = await made('/v1/holds', { customer_id, unit: 'minute', amount: 700, ttl_seconds: 60 })
    expect((await world.call('POST', `/v1/holds/${hold}/capture`, { amount: 200 })).status).toBeLessThan(300)
    expect(await wallet(customer_id)).toMatchObject({ balance: 1600, held: 0, available: 1600 })
    const spend = await made('/v1/spends', { customer_id, unit: 'minute', amount: 600 })
    await Promise.all(
      Array.from({ length: 10 }, () =>
        world.call('POST', `/v1/spends/${spend}/reversal`, { reason: 'void' }),
      ),
    )
    expect(await wallet(customer_id)).toMatchObject({ balance: 1600 })
    expect(await world.booksAreClean()).toEqual([])
  })

  it('B13: a refund the vendor refuses gives the units back', async () => {
    const { customer_id, order } = await world.bought()
    world.yookassa.control.settings({ refund_outcome: 'insufficient_funds' })
    const url = `/v1/payments/${order.payment.id}/refunds`
    const { body } = await world.call('POST', url, { amount: 20_000, reason: 'try' })
    world.yookassa.control.settings({ refund_outcome: 'succeeded' })
    expect(body).toMatchObject({ status: 'failed' })
    expect(await wallet(customer_id)).toMatchObject(untouched)
    expect(await world.booksAreClean()).toEqual([])
  })
})

describe('B14: money that goes back while the units stay', () => {
  /** A refund made in the vendor's cabinet: we learn of it by its notification only. */
  const refundAtVendor = async (external_id: string): Promise<void> => {
    const { shop_id, secret_key } = SHOP
    const answer = await fetch(`${world.yookassa.base_url}/v3/refunds`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`${shop_id}:${secret_key}`).toString('base64')}`,
        'content-type': 'application/json',
        'idempotence-key': `cabinet-${external_id}`,
      },
      body: JSON.stringify({ payment_id: external_id, amount: { value: '200.00', currency: 'RUB' } }),
    })
    expect(answer.status).toBe(200)
  }

  it('B14: a refund after a spend takes what is left, and what is missing is on record', async () => {
    const { customer_id, order } = await world.bought()
    await made('/v1/spends', { customer_id, unit: 'minute', amount: 600 })
    await refundAtVendor(order.payment.external_id)
    await world.becomes(order.payment.id, 'refunded')
    expect(await wallet(customer_id)).toMatchObject({ balance: 0, available: 0 })
    const { rows } = await world.app.db.pool.query<{ amount: string; shortfall: string }>(
      `select r.amount, r.shortfall from orders.refund_revocations r
         join payments.refunds f on f.id = r.refund_id where f.payment_id = $1`,
      [order.payment.id],
    )
    expect(rows.map(({ amount, shortfall }) => [Number(amount), Number(shortfall)])).toEqual([[1200, 600]])
    expect((await world.call('POST', '/v1/spends', { customer_id, unit: 'minute', amount: 1 })).status).toBe(
      402,
    )
    expect(await world.booksAreClean()).toEqual([])
  })

  it('B14: a refund takes nothing of another purchase', async () => {
    const { customer_id, order } = await world.bought()
    const other = await world.order({ customer_id, product_key: 'minutes_100' })
    world.yookassa.control.complete(other.payment.external_id, 'succeeded')
    await world.becomes(other.payment.id, 'succeeded')
    await refundAtVendor(order.payment.external_id)
    await world.becomes(order.payment.id, 'refunded')
    expect(await wallet(customer_id)).toMatchObject({ balance: 6000 })
    expect(await world.booksAreClean()).toEqual([])
  })
})
