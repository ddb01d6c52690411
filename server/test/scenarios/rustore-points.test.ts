import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { expectCheckoutLimits } from '../checkout-limits.ts'
import { PRICE, startRustoreLab, type RustoreLab } from '../rustore-lab.ts'

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

const VERIFY = '/api/payments/verify'
const paymentsOf = async (customer_id: string) =>
  (
    await lab.world.call<{ items: { status: string; external_id: string; id: string }[] }>(
      'GET',
      `/v1/payments?customer_id=${customer_id}&limit=100`,
    )
  ).body.items

describe('a purchase made in the app', () => {
  it('is verified at the store and gives its points once, however often it is sent', async () => {
    const anna = await lab.user()
    const bought = await lab.buy({ app_user_id: anna.id })
    const claim = lab.claimOf(bought)
    const answer = await anna.call('POST', VERIFY, claim)
    expect([answer.status, answer.body]).toEqual([
      200,
      expect.objectContaining({ verified: true, status: 'succeeded', points: 100, balance: 100 }),
    ])
    const again = await anna.call('POST', VERIFY, claim)
    expect(again.body).toEqual(answer.body)
    expect(await anna.points()).toBe(100)
    expect(await paymentsOf(anna.customer_id)).toMatchObject([
      { status: 'succeeded', external_id: bought.invoice_id, amount: PRICE },
    ])
  })

  it('gives its points once when it is sent fifty times at once', async () => {
    const anna = await lab.user()
    const claim = lab.claimOf(await lab.buy({ app_user_id: anna.customer_id }))
    const answers = await Promise.all(Array.from({ length: 50 }, () => anna.call('POST', VERIFY, claim)))
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
    expect(answers[0]?.body).toMatchObject({ verified: true, points: 100 })
    expect(await anna.points()).toBe(100)
    expect(await paymentsOf(anna.customer_id)).toHaveLength(1)
  }, 60_000)

  it('is found by its invoice too, and then belongs to who claims it first', async () => {
    const [anna, boris] = [await lab.user(), await lab.user()]
    const bought = await lab.buy({})
    const claim = lab.claimOf(bought, { invoiceId: bought.invoice_id })
    expect((await anna.call('POST', VERIFY, claim)).body).toMatchObject({ verified: true })
    const late = await boris.call('POST', VERIFY, claim)
    expect([late.status, late.body]).toEqual([404, { error: expect.any(String), code: 'not_found' }])
    expect([await anna.points(), await boris.points()]).toEqual([100, 0])
  })

  it('of somebody else is nothing, whichever way it is asked for', async () => {
    const [anna, boris] = [await lab.user(), await lab.user()]
    const bought = await lab.buy({ app_user_id: anna.id })
    const named = await lab.buy({ developer_payload: JSON.stringify({ user_id: anna.id }) })
    for (const claim of [
      lab.claimOf(bought),
      lab.claimOf(named, { invoiceId: named.invoice_id }),
      lab.claimOf(named, { invoiceId: named.invoice_id, purchaseId: bought.purchase_id }),
      lab.claimOf({ ...bought, purchase_id: '3aa0c7bd-964e-4562-b218-fe365adb4ae3' }),
    ]) {
      const answer = await boris.call('POST', VERIFY, claim)
      expect([answer.status, answer.body['code']]).toEqual([404, 'not_found'])
    }
    expect(await boris.points()).toBe(0)
    expect(await paymentsOf(boris.customer_id)).toEqual([])
  })

  it.each([
    ['another product', { productId: 'club_monthly' }, 409, 'purchase_differs'],
    ['another order', { orderId: 'app-another' }, 409, 'purchase_differs'],
    ['no order', { orderId: '' }, 400, 'invalid_request'],
    ['a path', { purchaseId: '../../x' }, 400, 'invalid_request'],
  ])('said to be %s gives nothing', async (_title, changes, status, code) => {
    const anna = await lab.user()
    const bought = await lab.buy({ app_user_id: anna.id })
    const answer = await anna.call('POST', VERIFY, lab.claimOf(bought, changes))
    expect([answer.status, answer.body]).toEqual([status, { error: expect.any(String), code }])
    expect(await anna.points()).toBe(0)
  })

  it('for another amount than our price is kept for a person and gives nothing', async () => {
    const anna = await lab.user()
    const bought = await lab.buy({ app_user_id: anna.id, amount: 100 })
    const claim = lab.claimOf(bought)
    const answers = [await anna.call('POST', VERIFY, claim), await anna.call('POST', VERIFY, claim)]
    expect(answers.map(({ status, body }) => [status, body['code']])).toEqual([
      [409, 'purchase_differs'],
      [409, 'purchase_differs'],
    ])
    expect(await anna.points()).toBe(0)
    expect(await paymentsOf(anna.customer_id)).toMatchObject([
      { status: 'mismatch', mismatch_reason: 'wrong_amount', external_id: bought.invoice_id },
    ])
  })

  it('of an unknown product, unpaid, given back, or of the live store gives nothing', async () => {
    const anna = await lab.user()
    const unknown = await lab.buy({ app_user_id: anna.id, product_code: 'nothing' })
    const unpaid = await lab.buy({ app_user_id: anna.id, is_paid: false })
    lab.rustore.control.complete(unpaid.invoice_id, 'canceled')
    const returned = await lab.buy({ app_user_id: anna.id })
    lab.rustore.control.complete(returned.invoice_id, { outcome: 'succeeded', reason: 'refunded' })
    const live = await lab.buy({ app_user_id: anna.id, is_sandbox: false })
    const codes = []
    for (const claim of [
      lab.claimOf(unknown, { productId: 'nothing' }),
      lab.claimOf(unpaid),
      lab.claimOf(returned),
      lab.claimOf(live),
    ]) {
      codes.push((await anna.call('POST', VERIFY, claim)).body['code'])
    }
    expect(codes).toEqual(['product_unknown', 'purchase_not_paid', 'purchase_not_paid', 'not_found'])
    expect(await anna.points()).toBe(0)
  })

  it('in two stages is taken first; its points come with the money', async () => {
    const anna = await lab.user()
    const bought = await lab.buy({ app_user_id: anna.id, is_two_stage: true })
    const answer = await anna.call('POST', VERIFY, lab.claimOf(bought))
    expect(answer.body).toMatchObject({ verified: true, points: 100 })
    const { items } = lab.rustore.control.objects({ collection: 'invoices', limit: 1000 })
    expect(items).toContainEqual(expect.objectContaining({ id: bought.invoice_id, status: 'CONFIRMED' }))
    expect(await anna.points()).toBe(100)
  })

  it('that is not paid yet gives its points when the store says so, without being sent again', async () => {
    const anna = await lab.user()
    const bought = await lab.buy({ app_user_id: anna.id, is_paid: false })
    const answer = await anna.call('POST', VERIFY, lab.claimOf(bought))
    expect(answer.body).toMatchObject({ verified: false, status: 'pending', points: 0 })
    lab.rustore.control.complete(bought.invoice_id, 'succeeded')
    await lab.world.eventually('the points came', async () => (await anna.points()) === 100)
  })

  it('given back in the console takes back what is left of it', async () => {
    const anna = await lab.user()
    const bought = await lab.buy({ app_user_id: anna.id })
    await anna.call('POST', VERIFY, lab.claimOf(bought))
    await anna.call('POST', '/api/points/spend', { amount: 30 })
    lab.rustore.control.complete(bought.invoice_id, { outcome: 'succeeded', reason: 'refunded' })
    await lab.world.eventually('the points went', async () => (await anna.points()) === 0)
    expect(await paymentsOf(anna.customer_id)).toMatchObject([{ status: 'refunded' }])
    const again = await anna.call('POST', VERIFY, lab.claimOf(bought))
    expect([again.status, again.body['code']]).toEqual([409, 'purchase_not_paid'])
    expect(await anna.points()).toBe(0)
  })

  it('can be sent again when the store did not answer', async () => {
    const anna = await lab.user()
    const claim = lab.claimOf(await lab.buy({ app_user_id: anna.id }))
    // More than one: a purchase of before may be looked at again just now.
    lab.rustore.control.faults({ timeout_before_charge: 3, scope: 'all' })
    const lost = await anna.call('POST', VERIFY, claim)
    lab.rustore.control.faults({ timeout_before_charge: 0, scope: 'operations' })
    expect([lost.status, lost.body['code']]).toEqual([503, 'gateway_unavailable'])
    expect((await anna.call('POST', VERIFY, claim)).body).toMatchObject({ verified: true })
    expect(await anna.points()).toBe(100)
  })
})

describe('points', () => {
  it('are ordered, paid in the app, and verified as the order’s own payment', async () => {
    const anna = await lab.user()
    const ordered = await anna.call<{ paymentId: string; orderId: string; paymentUrl: string }>(
      'POST',
      '/api/points/buy',
      { productId: 'points_100' },
    )
    expect([ordered.status, ordered.body]).toEqual([
      201,
      expect.objectContaining({ amount: PRICE, currency: 'RUB', status: 'pending' }),
    ])
    const { paymentId, orderId, paymentUrl } = ordered.body
    expect(new URL(paymentUrl).searchParams.get('payment_id')).toBe(paymentId)
    const boris = await lab.user()
    const bought = await lab.buy({ developer_payload: paymentId, app_user_id: anna.id, order_id: orderId })
    const claim = lab.claimOf(bought, { invoiceId: bought.invoice_id })
    expect((await boris.call('POST', VERIFY, claim)).status).toBe(404)
    const answer = await anna.call('POST', VERIFY, claim)
    expect(answer.body).toMatchObject({ verified: true, paymentId, orderId, points: 100 })
    expect(await anna.points()).toBe(100)
    expect(await paymentsOf(anna.customer_id)).toHaveLength(1)
  })

  it('are spent once per key, never below zero, and their history tells how', async () => {
    const anna = await lab.user()
    await anna.call('POST', VERIFY, lab.claimOf(await lab.buy({ app_user_id: anna.id })))
    const spend = (amount: number, key: string) =>
      lab.world.call(
        'POST',
        '/api/points/spend',
        { amount, reason: 'a card' },
        { authorization: `Bearer ${anna.token}`, 'idempotency-key': key },
      )
    const once = await Promise.all(Array.from({ length: 20 }, () => spend(30, 'card-1')))
    expect(new Set(once.map(({ text }) => text)).size).toBe(1)
    expect(once[0]?.body).toMatchObject({ spent: 30, points: 70 })
    const too_much = await spend(71, 'card-2')
    expect([too_much.status, too_much.body]).toEqual([
      402,
      { error: expect.any(String), code: 'insufficient_funds' },
    ])
    expect(await anna.points()).toBe(70)
    const page = await anna.call<{ items: object[]; nextCursor: string }>(
      'GET',
      '/api/points/history?limit=1',
    )
    expect(page.body.items).toMatchObject([{ direction: 'out', amount: 30, points: 70, reason: 'a card' }])
    const next = await anna.call('GET', `/api/points/history?limit=1&cursor=${page.body.nextCursor}`)
    expect(next.body).toMatchObject({
      items: [{ direction: 'in', amount: 100, points: 100 }],
      nextCursor: null,
    })
  })

  it('and everything of a person need that person’s token', async () => {
    for (const [method, url] of [
      ['GET', '/api/points/balance'],
      ['GET', '/api/points/history'],
      ['GET', '/api/subscriptions/status'],
      ['POST', '/api/points/buy'],
      ['POST', '/api/points/spend'],
      ['POST', VERIFY],
      ['POST', '/api/subscriptions/verify'],
      ['POST', '/api/subscriptions/create'],
      ['POST', '/api/subscriptions/cancel'],
      ['POST', '/api/subscriptions/renew'],
    ] as const) {
      const body = method === 'POST' ? {} : undefined
      const nobody = await lab.world.call(method, url, body, { authorization: '' })
      expect([url, nobody.status, nobody.body]).toEqual([
        url,
        401,
        { error: expect.any(String), code: 'unauthenticated' },
      ])
    }
  })

  it('are sold as the catalog says, to everybody who looks', async () => {
    const shown = await lab.world.call<{ products: object[] }>('GET', '/api/products', undefined, {
      authorization: '',
    })
    expect(shown.body.products).toContainEqual(
      expect.objectContaining({ productId: 'points_100', points: 100, price: '599.00', priceMinor: PRICE }),
    )
    expect(shown.body.products).toContainEqual(expect.objectContaining({ productId: 'club_monthly' }))
  })
})

describe('the store’s notifications', () => {
  it('are answered within three seconds although the store itself does not answer', async () => {
    const anna = await lab.user()
    const bought = await lab.buy({ app_user_id: anna.id, is_paid: false })
    await anna.call('POST', VERIFY, lab.claimOf(bought))
    lab.rustore.control.faults({ timeout_before_charge: 3, scope: 'all' })
    lab.rustore.control.complete(bought.invoice_id, 'succeeded')
    await lab.rustore.control.settled()
    const { items } = lab.rustore.control.log({ kind: 'notification', order: 'desc', limit: 50 })
    const [sent] = items.filter((line) => line.object_id === bought.invoice_id)
    expect(sent).toMatchObject({ attempt: 1, outcome: 'delivered' })
    expect(sent?.duration_ms).toBeLessThan(3000)
    await lab.world.eventually('the points came', async () => (await anna.points()) === 100, 40_000)
    lab.rustore.control.faults({ timeout_before_charge: 0, scope: 'operations' })
  }, 60_000)

  it('that are forged change nothing', async () => {
    const anna = await lab.user()
    const bought = await lab.buy({ app_user_id: anna.id, is_paid: false })
    await anna.call('POST', VERIFY, lab.claimOf(bought))
    const before = await lab.world.digest()
    expect(lab.rustore.control.forge(bought.invoice_id)).toBeGreaterThan(2)
    await lab.rustore.control.settled()
    expect(await lab.world.digest()).toBe(before)
  })
})

describe('A60: points that are bought by a person', () => {
  it('are counted by network and account, whatever the gateway', async () => {
    const anna = await lab.user()
    const buys = () => anna.call('POST', '/api/points/buy', { productId: 'points_100', gateway: 'sandbox' })
    expect((await buys()).status).toBe(201)
    await expectCheckoutLimits(lab.world, anna.customer_id, async () => (await buys()).status)
  })
})
