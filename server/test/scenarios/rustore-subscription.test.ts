import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startRustoreLab, type AppUser, type RustoreLab } from '../rustore-lab.ts'

const VERIFY = '/api/subscriptions/verify'
const CLUB = { product_code: 'club_monthly', amount: 29_900, is_subscription: true }

let lab: RustoreLab
beforeAll(async () => {
  lab = await startRustoreLab()
}, 60_000)
afterAll(() => lab?.close())
const booksAreClean = async (): Promise<void> => {
  const { body } = await lab.world.call('GET', '/v1/verification')
  expect(body['findings']).toEqual([])
}
afterEach(() => booksAreClean())

const verify = (user: AppUser, subscriptionToken: string, more: object = {}) =>
  user.call('POST', VERIFY, { subscriptionToken, ...more })
const points = (user: AppUser, expected: number): Promise<unknown> =>
  lab.world.eventually(`${expected} points`, async () => (await user.points()) === expected)

describe('a subscription bought in the app', () => {
  it('is bound by its token, gives the points of its period once, and shows itself', async () => {
    const anna = await lab.user()
    const { purchase_id } = await lab.buy({ ...CLUB })
    const first = await verify(anna, purchase_id)
    expect([first.status, first.body]).toEqual([
      200,
      expect.objectContaining({
        subscriptionToken: purchase_id,
        productId: 'club_monthly',
        status: 'active',
        isActive: true,
        willRenew: true,
      }),
    ])
    const rest = await Promise.all(Array.from({ length: 50 }, () => verify(anna, purchase_id)))
    expect(new Set(rest.map(({ status }) => status))).toEqual(new Set([200]))
    expect(await anna.points()).toBe(50)
    const status = await anna.call('GET', '/api/subscriptions/status')
    expect(status.body).toMatchObject({ isActive: true, subscriptions: [{ subscriptionToken: purchase_id }] })
    const own = await anna.call('GET', '/v1/me/vendor_subscriptions')
    expect(own.body).toMatchObject({ items: [{ external_id: purchase_id, customer_id: anna.customer_id }] })
  }, 60_000)

  it('is nobody else’s afterwards, nor before when the app named its buyer', async () => {
    const [anna, boris] = [await lab.user(), await lab.user()]
    const claimed = await lab.buy({ ...CLUB })
    await verify(anna, claimed.purchase_id)
    const named = await lab.buy({ ...CLUB, app_user_id: anna.id })
    for (const { purchase_id } of [claimed, named]) {
      const answer = await verify(boris, purchase_id)
      expect([answer.status, answer.body]).toEqual([404, { error: expect.any(String), code: 'not_found' }])
    }
    const foreign = await boris.call('POST', '/api/subscriptions/cancel', {
      subscriptionToken: claimed.purchase_id,
    })
    expect(foreign.status).toBe(404)
    expect((await boris.call('GET', '/api/subscriptions/status')).body).toEqual({
      isActive: false,
      subscriptions: [],
    })
    expect(await boris.points()).toBe(0)
    expect((await lab.world.call('GET', '/v1/me/vendor_subscriptions')).status).toBe(403)
  })

  it('is unknown by a made-up token, another product, and in the other mode', async () => {
    const anna = await lab.user()
    const bought = await lab.buy({ ...CLUB })
    const live = await lab.buy({ ...CLUB, is_sandbox: false })
    const answers = [
      await verify(anna, '3aa0c7bd-964e-4562-b218-fe365adb4ae3'),
      await verify(anna, bought.purchase_id, { productId: 'points_100' }),
      await verify(anna, live.purchase_id),
    ]
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404])
    expect((await verify(anna, '../x')).status).toBe(400)
    expect(await anna.points()).toBe(0)
  })

  it('gives the points of a renewal once, by the store’s notification or by asking', async () => {
    const anna = await lab.user()
    const { purchase_id } = await lab.buy({ ...CLUB })
    await verify(anna, purchase_id)
    lab.rustore.control.faults({ duplicate: 5 })
    lab.rustore.control.complete(purchase_id, 'succeeded')
    await points(anna, 100)
    lab.rustore.control.faults({ duplicate: 0, lose: 10 })
    lab.rustore.control.complete(purchase_id, 'succeeded')
    lab.rustore.control.faults({ lose: 0 })
    await Promise.all(Array.from({ length: 20 }, () => verify(anna, purchase_id)))
    expect(await anna.points()).toBe(150)
    const { body } = await lab.world.call<{ items: object[] }>(
      'GET',
      `/v1/payments?customer_id=${anna.customer_id}`,
    )
    expect(body.items).toHaveLength(3)
  })

  it('that names its buyer is given by the notification alone', async () => {
    const anna = await lab.user()
    const { purchase_id } = await lab.buy({ ...CLUB, app_user_id: anna.id })
    await points(anna, 50)
    const status = await anna.call('GET', '/api/subscriptions/status')
    expect(status.body).toMatchObject({ subscriptions: [{ subscriptionToken: purchase_id }] })
  })

  it('of a product the catalog has no terms for is given once it has, once', async () => {
    const anna = await lab.user()
    const { call } = lab.world
    await lab.buy({ ...CLUB, product_code: 'club_of_tomorrow', app_user_id: anna.id })
    const url = `/v1/vendor_subscriptions?customer_id=${anna.customer_id}`
    await lab.world.eventually('it is known', async () => {
      const { body } = await call<{ items: { status: string }[] }>('GET', url)
      return body.items[0]?.status === 'active'
    })
    expect(await anna.points()).toBe(0)
    const metadata = { rustore_product_id: 'club_of_tomorrow' }
    const product = { key: 'club_2', name: 'Club', grants: [{ unit: 'point', amount: 70 }], metadata }
    const { body: made } = await call<{ id: string }>('POST', '/v1/products', product)
    const price = await call('POST', '/v1/prices', { product_id: made.id, currency: 'RUB', amount: 29_900 })
    expect(price.status).toBe(201)
    for (let times = 0; times < 2; times++) await lab.checkSubscriptions()
    await points(anna, 70)
  })

  it('is given once when its purchase is verified as a payment too, in either order', async () => {
    const [anna, boris] = [await lab.user(), await lab.user()]
    const one = await lab.buy({ ...CLUB })
    const claim = (bought: typeof one) =>
      lab.claimOf(bought, { invoiceId: bought.invoice_id, productId: 'club_monthly' })
    await verify(anna, one.purchase_id)
    expect((await anna.call('POST', '/api/payments/verify', claim(one))).status).toBe(200)
    const other = await lab.buy({ ...CLUB })
    expect((await boris.call('POST', '/api/payments/verify', claim(other))).status).toBe(200)
    await verify(boris, other.purchase_id)
    expect([await anna.points(), await boris.points()]).toEqual([50, 50])
  })

  it('of another price than ours is kept for a person, and gives no points', async () => {
    const anna = await lab.user()
    const { purchase_id } = await lab.buy({ ...CLUB, amount: 100 })
    expect((await verify(anna, purchase_id)).body).toMatchObject({ isActive: true })
    expect(await anna.points()).toBe(0)
    const { body } = await lab.world.call('GET', `/v1/payments?customer_id=${anna.customer_id}`)
    expect(body['items']).toMatchObject([{ status: 'mismatch', mismatch_reason: 'wrong_amount' }])
  })

  it('ends its renewal when that is asked, and says plainly what only the app can do', async () => {
    const anna = await lab.user()
    const { purchase_id } = await lab.buy({ ...CLUB })
    await verify(anna, purchase_id)
    const body = { subscriptionToken: purchase_id }
    const canceled = await anna.call('POST', '/api/subscriptions/cancel', body)
    expect(canceled.body).toMatchObject({ status: 'canceled', isActive: true, willRenew: false })
    expect((await anna.call('POST', '/api/subscriptions/cancel', body)).body).toMatchObject({
      status: 'canceled',
    })
    const renewed = await anna.call('POST', '/api/subscriptions/renew', body)
    expect([renewed.status, renewed.body]).toEqual([
      409,
      { error: expect.stringContaining('by the buyer, at the vendor'), code: 'invalid_state' },
    ])
    const created = await anna.call('POST', '/api/subscriptions/create', { productId: 'club_monthly' })
    expect([created.status, created.body]).toEqual([
      409,
      { error: expect.stringContaining('/api/subscriptions/verify'), code: 'bought_in_app' },
    ])
    expect((await anna.call('POST', '/api/subscriptions/cancel', {})).status).toBe(400)
  })

  it('is read by staff and programs page by page', async () => {
    const anna = await lab.user()
    for (let count = 0; count < 3; count++) {
      await verify(anna, (await lab.buy({ ...CLUB })).purchase_id)
    }
    const url = `/v1/vendor_subscriptions?customer_id=${anna.customer_id}&limit=2`
    const page = await lab.world.call<{ items: { id: string }[]; next_cursor: string }>('GET', url)
    const next = await lab.world.call<{ items: { id: string }[]; next_cursor: null }>(
      'GET',
      `${url}&cursor=${page.body.next_cursor}`,
    )
    const ids = [...page.body.items, ...next.body.items].map(({ id }) => id)
    expect([new Set(ids).size, next.body.next_cursor]).toEqual([3, null])
    const one = await lab.world.call('GET', `/v1/vendor_subscriptions/${ids[0]}`)
    expect(one.body).toMatchObject({ gateway: 'rustore', customer_id: anna.customer_id })
    expect((await lab.world.call('GET', '/v1/vendor_subscriptions/vsub_none')).status).toBe(404)
  })
})
