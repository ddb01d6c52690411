import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sandboxWord, startPeerWorld, type PeerWorld } from '../peer-world.ts'
import type { PlacedOrder } from '../world.ts'

/** What befell other projects when two things happened at once; see docs/security/peer-failures.md. */

let world: PeerWorld
beforeAll(async () => {
  world = await startPeerWorld()
})
afterAll(() => world?.close())

const ordered = async (gateway = 'yookassa'): Promise<PlacedOrder & { customer_id: string }> => {
  const customer_id = await world.customer()
  return { ...(await world.order({ customer_id, product_key: 'minutes_30', gateway })), customer_id }
}
const query = (text: string, values: readonly unknown[] = []) => world.app.db.pool.query(text, [...values])
/** The vendor has the money, and nobody is told. */
const payQuietly = (order: PlacedOrder): void => {
  world.yookassa.control.faults({ lose: 1 })
  world.yookassa.control.complete(order.payment.external_id, 'succeeded')
}
const notify = (order: PlacedOrder) =>
  world.tell(
    'yookassa',
    JSON.stringify({
      type: 'notification',
      event: 'payment.succeeded',
      object: { id: order.payment.external_id },
    }),
    { 'content-type': 'application/json' },
  )
const look = (order: PlacedOrder): Promise<void> => world.look(order.payment.id)
const grantedOnce = async (order: PlacedOrder & { customer_id: string }): Promise<void> => {
  await world.becomes(order.payment.id, 'succeeded')
  expect(await world.grants(order.id)).toBe(1)
  expect(await world.balance(order.customer_id)).toBe(1800)
  expect(await world.booksAreClean()).toEqual([])
}

describe('B7: what is unique, the database says', () => {
  it('B7: it refuses a second payment, notification or grant for one fact of a vendor', async () => {
    const [first, second] = [(await world.bought()).order, (await world.bought()).order]
    const violates = { code: '23505' }
    await expect(
      query('update payments.payments set external_id = $1 where id = $2', [
        first.payment.external_id,
        second.payment.id,
      ]),
    ).rejects.toMatchObject(violates)
    await expect(
      query(
        `insert into payments.inbox
           (gateway, external_event_id, type, trust, event, next_attempt_at, received_at)
         select gateway, external_event_id, type, trust, event, now(), now() from payments.inbox limit 1`,
      ),
    ).rejects.toMatchObject(violates)
    await expect(
      query(
        `insert into ledger.grants
         select (jsonb_populate_record(g, jsonb_build_object('id', g.id + 1000000))).*
           from ledger.grants g limit 1`,
      ),
    ).rejects.toMatchObject(violates)
  })

  it('B7: two notifications at once are one payment and one grant', async () => {
    const order = await ordered()
    payQuietly(order)
    await Promise.all([notify(order), notify(order)])
    await grantedOnce(order)
    const { rowCount } = await query('select 1 from payments.payments where order_id = $1', [order.id])
    expect(rowCount).toBe(1)
  })
})

describe('B8: looked at before it was locked', () => {
  it('B8: a rival who settles the payment between our look and our lock is not repeated', async () => {
    const order = await ordered('sandbox')
    const rival = await world.app.db.pool.connect()
    try {
      // Whoever wants to settle it has read the payment and now waits for its row.
      await rival.query('begin')
      await rival.query('select 1 from payments.payments where id = $1 for update', [order.payment.id])
      const words = await Promise.all([sandboxWord(world, order), sandboxWord(world, order)])
      for (const { body, headers } of words) {
        expect((await world.tell('sandbox', body, headers)).status).toBe(200)
      }
      const working = [world.drainOnce(), look(order)]
      await world.eventually('somebody waits for the row', async () => {
        const { rowCount } = await query("select 1 from pg_stat_activity where wait_event_type = 'Lock'")
        return (rowCount ?? 0) > 0
      })
      await rival.query('commit')
      await Promise.all(working)
    } finally {
      rival.release()
    }
    await grantedOnce(order)
  })
})

describe('B9: a duplicate that is answered with an error comes for ever', () => {
  it('B9: fifty equal notifications at once are all answered 200, and grant once', async () => {
    const order = await ordered('sandbox')
    const { body, headers } = await sandboxWord(world, order)
    const answers = await Promise.all(Array.from({ length: 50 }, () => world.tell('sandbox', body, headers)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    await grantedOnce(order)
    expect((await world.tell('sandbox', body, headers)).status).toBe(200)
    await grantedOnce(order)
  })
})

describe('B10: the notification and the buyer’s return', () => {
  it.each([
    ['the notification first', async (order: PlacedOrder) => [await notify(order), await look(order)]],
    ['the look first', async (order: PlacedOrder) => [await look(order), await notify(order)]],
    ['both at once', (order: PlacedOrder) => Promise.all([notify(order), look(order), notify(order)])],
  ])('B10: grant once, %s', async (_what, settle) => {
    const order = await ordered()
    payQuietly(order)
    await settle(order)
    // The buyer comes back meanwhile, as often as he likes: that is no word of the vendor.
    await Promise.all(Array.from({ length: 5 }, () => world.payment(order.payment.id)))
    await grantedOnce(order)
    expect((await world.payment(order.payment.id))['captured_amount']).toBe(20_000)
  })
})

describe('F26: the notification overtakes the answer', () => {
  it('F26: one that comes before our call was answered finds its payment, and grants once', async () => {
    const order = await ordered()
    // As long as the answer is under way, we know the payment by our own id only.
    await query('update payments.payments set external_id = null, checkout_url = null where id = $1', [
      order.payment.id,
    ])
    payQuietly(order)
    expect((await notify(order)).status).toBe(200)
    await grantedOnce(order)
    expect((await world.payment(order.payment.id))['external_id']).toBe(order.payment.external_id)
  })
})

describe('B11: more given back than was taken', () => {
  it('B11: of twenty refunds of half the sum at once two go through', async () => {
    const { order } = await world.bought()
    const url = `/v1/payments/${order.payment.id}/refunds`
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => world.call('POST', url, { amount: 10_000, reason: 'race' })),
    )
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(2)
    expect(await world.payment(order.payment.id)).toMatchObject({
      status: 'refunded',
      refunded_amount: 20_000,
    })
    const at_vendor = world.yookassa.control.objects({ collection: 'refunds', limit: 1000 }).items as {
      payment_id: string
    }[]
    expect(at_vendor.filter(({ payment_id }) => payment_id === order.payment.external_id)).toHaveLength(2)
    expect(await world.booksAreClean()).toEqual([])
  })

  it.each([0, -1, -20_000, 1.5, 20_001, 1e300, '10000'])('B11: a refund of %j is refused', async (amount) => {
    const { order, customer_id } = await world.bought()
    const answer = await world.call('POST', `/v1/payments/${order.payment.id}/refunds`, {
      amount,
      reason: 'x',
    })
    expect(answer.status).toBe(amount === 20_001 ? 409 : 400)
    expect(await world.payment(order.payment.id)).toMatchObject({ status: 'succeeded', refunded_amount: 0 })
    expect(await world.balance(customer_id)).toBe(1800)
  })
})

describe('B16: a late word that brings back what has ended', () => {
  const permutations = <T>(items: readonly T[]): T[][] =>
    items.length < 2
      ? [[...items]]
      : items.flatMap((item, at) => permutations(items.toSpliced(at, 1)).map((rest) => [item, ...rest]))

  it.each(permutations(['authorized', 'failed', 'succeeded']))(
    'B16: %s, %s, %s end in one grant',
    async (...statuses) => {
      const order = await ordered('sandbox')
      for (const status of [...statuses, ...statuses]) {
        const { body, headers } = await sandboxWord(world, order, { status })
        expect((await world.tell('sandbox', body, headers)).status).toBe(200)
        await world.handled()
      }
      await grantedOnce(order)
    },
  )

  it('B16: what was given back stays given back, whatever is told afterwards', async () => {
    const order = await ordered('sandbox')
    const first = await sandboxWord(world, order)
    await world.tell('sandbox', first.body, first.headers)
    await grantedOnce(order)
    const refund = await world.call('POST', `/v1/payments/${order.payment.id}/refunds`, { reason: 'back' })
    expect(refund.body).toMatchObject({ status: 'succeeded' })
    for (const status of ['succeeded', 'authorized', 'failed', 'succeeded']) {
      const { body, headers } = await sandboxWord(world, order, { status })
      expect((await world.tell('sandbox', body, headers)).status).toBe(200)
    }
    await world.handled()
    expect((await world.payment(order.payment.id)).status).toBe('refunded')
    expect(await world.balance(order.customer_id)).toBe(0)
    expect(await world.grants(order.id)).toBe(1)
  })
})

describe('B18: a double tap', () => {
  it('B18: of twenty equal orders at once is one order and one payment at the vendor', async () => {
    const customer_id = await world.customer()
    const body = {
      customer_id,
      gateway: 'yookassa',
      lines: [{ price_id: await world.price('minutes_30'), quantity: 1 }],
      return_url: 'https://shop.example/back',
      receipt_contact: { email: 'buyer@example.com' },
    }
    const key = { 'idempotency-key': randomUUID() }
    const before = world.yookassa.control.objects({ limit: 1000 }).items.length
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => world.call<PlacedOrder>('POST', '/v1/orders', body, key)),
    )
    for (const { status } of answers) expect([201, 409]).toContain(status)
    const made = answers.filter(({ status }) => status === 201)
    expect(new Set(made.map(({ body: order }) => order.payment.external_id)).size).toBe(1)
    expect(world.yookassa.control.objects({ limit: 1000 }).items.length).toBe(before + 1)
    const listed = await world.call<{ items: object[] }>('GET', `/v1/orders?customer_id=${customer_id}`)
    expect(listed.body.items).toHaveLength(1)
  })
})
