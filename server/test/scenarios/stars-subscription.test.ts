import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { expectCheckoutLimits } from '../checkout-limits.ts'
import { PERIOD_SECONDS, startStarsLab, type StarsLab } from '../stars-lab.ts'

const LOT = 1800
const PERIOD_MS = PERIOD_SECONDS * 1000

interface Subscription {
  id: string
  customer_id: string
  status: string
  will_renew: boolean
  payment_id: string
  amount: number
  expires_at: string
}

let lab: StarsLab
beforeAll(async () => {
  lab = await startStarsLab()
}, 60_000)
afterAll(() => lab?.close())

const subscriptionsOf = async (customer_id: string): Promise<Subscription[]> => {
  const url = `/v1/vendor_subscriptions?customer_id=${customer_id}`
  return (await lab.world.call<{ items: Subscription[] }>('GET', url)).body.items
}
const lots = (customer_id: string, count: number): Promise<unknown> =>
  lab.world.eventually(`${count} lots`, async () => (await lab.balance(customer_id)) === count * LOT)
const renew = async (): Promise<void> => {
  lab.telegram.control.advanceClock(PERIOD_MS)
  await lab.telegram.control.settled()
}
const subscribed = async () => {
  const buyer = await lab.buyer()
  const order = await lab.order({ ...buyer, subscription_period_seconds: PERIOD_SECONDS })
  expect(await lab.pay(order.link, buyer.telegram_id)).toMatchObject({ status: 'paid' })
  await lots(buyer.customer_id, 1)
  return { ...buyer, order }
}

describe('a subscription in stars', () => {
  it('grants a renewal once, told fifty times, and nothing by a renewal of another price', async () => {
    const { customer_id, telegram_id, order } = await subscribed()
    const now = Math.floor(Date.now() / 1000)
    const renewal = {
      telegram_payment_charge_id: `stxRenewal${now}`,
      is_recurring: true,
      subscription_expiration_date: now + 2 * PERIOD_SECONDS,
    }
    await Promise.all(Array.from({ length: 50 }, () => lab.tell(order.invoice_id, telegram_id, renewal)))
    await lots(customer_id, 2)
    expect(await lab.payments(order.id)).toHaveLength(2)
    const dear = { ...renewal, telegram_payment_charge_id: `stxOther${now}`, total_amount: 1 }
    await lab.tell(order.invoice_id, telegram_id, dear)
    const { pool } = lab.world.app.db
    const handled = (): Promise<unknown> =>
      lab.world.eventually('the inbox is empty', async () => {
        const { rows } = await pool.query(
          "select 1 from payments.inbox where status in ('received', 'handling') limit 1",
        )
        return rows.length === 0
      })
    await handled()
    expect(await lab.balance(customer_id)).toBe(2 * LOT)
    // Told once more when nobody remembers that it was told: its charge is here.
    const names = (await lab.payments(order.id)).map(({ external_id }) => external_id)
    await pool.query("delete from payments.inbox where status = 'handled'")
    await Promise.all(Array.from({ length: 10 }, () => lab.tell(order.invoice_id, telegram_id, renewal)))
    await handled()
    const { rows } = await pool.query(
      `select status, outcome from payments.inbox where event ->> 'kind' = 'payment'`,
    )
    expect(rows).toEqual([{ status: 'handled', outcome: 'nothing_new' }])
    expect((await lab.payments(order.id)).map(({ external_id }) => external_id)).toEqual(names)
    expect(await lab.balance(customer_id)).toBe(2 * LOT)
  }, 60_000)

  it('A60: begun by a person’s own token is counted by network, account and everybody together', async () => {
    const { call } = lab.world
    const sign_up = { email: 'stars@mail.example', password: 'correct horse battery' }
    const { body: entered } = await call('POST', '/v1/auth/register', sign_up, { authorization: '' })
    const own = { authorization: `Bearer ${entered['access_token']}` }
    const { body: me } = await call('GET', '/v1/me', undefined, own)
    const { status } = await call('PATCH', `/v1/customers/${me['customer_id']}`, { telegram_id: 776_000_001 })
    expect(status).toBe(200)
    const wish = { productId: 'minutes_30', gateway: 'telegram-stars' }
    const begin = async (): Promise<number> =>
      (await call('POST', '/api/subscriptions/create', wish, own)).status
    expect(await begin()).toBe(201)
    await expectCheckoutLimits(lab.world, me['customer_id'], begin)
    expect(await begin()).toBe(201)
  })

  it('gives back a second beginning of the same subscription, and ends it', async () => {
    const { customer_id, telegram_id, order } = await subscribed()
    const second = lab.charge(order.invoice_id, telegram_id)
    await lab.world.eventually('it is given back', async () => {
      return lab.charges().find(({ id }) => id === second.id)?.refunded_at !== undefined
    })
    expect(await lab.payments(order.id)).toMatchObject([{ repeat_kind: 'paid_again' }, { repeat_kind: null }])
    expect(await lab.balance(customer_id)).toBe(LOT)
  }, 60_000)

  it('ends its renewal when a charge of it is given back', async () => {
    const { customer_id, order } = await subscribed()
    const refund = await lab.world.call('POST', `/v1/payments/${order.payment_id}/refunds`, {})
    expect(refund.body).toMatchObject({ status: 'succeeded', amount: 130 })
    expect((await subscriptionsOf(customer_id))[0]).toMatchObject({ will_renew: false, status: 'canceled' })
    expect(await lab.balance(customer_id)).toBe(0)
    const [payment] = await lab.payments(order.id)
    expect(lab.charges().find(({ id }) => id === payment?.external_id)?.is_canceled).toBe(true)
  })

  it('is nobody else’s, and refused where the gateway has none or the period is unknown', async () => {
    const { customer_id } = await lab.buyer()
    expect(await subscriptionsOf(customer_id)).toEqual([])
    const price_id = await lab.world.price('minutes_30')
    const refused = await lab.world.call('POST', '/v1/orders', {
      customer_id,
      gateway: 'yookassa',
      lines: [{ price_id }],
      return_url: 'https://shop.example/back',
      receipt_contact: { email: 'a@shop.example' },
      subscription_period_seconds: PERIOD_SECONDS,
    })
    expect([refused.status, refused.text]).toEqual([400, expect.stringContaining('subscription_period')])
    await expect(lab.order({ customer_id, subscription_period_seconds: 86_400 })).rejects.toThrow(
      'renews by itself after: 2592000',
    )
  })

  it('ends by itself when no renewal comes', async () => {
    const { customer_id } = await subscribed()
    const [one] = await subscriptionsOf(customer_id)
    const { pool } = lab.world.app.db
    await pool.query(
      `update payments.vendor_subscriptions set expires_at = now() - interval '2 hours', next_check_at = now()
        where id = $1`,
      [one?.id],
    )
    expect((await subscriptionsOf(customer_id))[0]).toMatchObject({ status: 'expired', will_renew: false })
    await lab.checkSubscriptions()
    const { rows } = await pool.query(
      'select status, will_renew from payments.vendor_subscriptions where id = $1',
      [one?.id],
    )
    expect(rows).toEqual([{ status: 'expired', will_renew: false }])
  })

  // Last: the emulator's clock is far ahead from here on.
  it('grants one lot for each period, each charge a payment of its own, until it is canceled', async () => {
    const { customer_id, telegram_id, order } = await subscribed()
    const [started] = await subscriptionsOf(customer_id)
    expect(started).toMatchObject({
      customer_id,
      status: 'active',
      will_renew: true,
      payment_id: order.payment_id,
      amount: 130,
    })
    const until = new Date(started?.expires_at ?? '').getTime()
    expect(Math.abs(until - Date.now() - PERIOD_MS)).toBeLessThan(60_000)

    await renew()
    await lots(customer_id, 2)
    const payments = await lab.payments(order.id)
    expect(payments).toMatchObject([
      { status: 'succeeded', repeat_kind: 'renewal', repeats_payment_id: order.payment_id },
      { id: order.payment_id, status: 'succeeded', repeat_kind: null },
    ])
    expect(new Set(payments.map(({ external_id }) => external_id)).size).toBe(2)
    const [renewed] = await subscriptionsOf(customer_id)
    expect(new Date(renewed?.expires_at ?? '').getTime()).toBeGreaterThan(until + PERIOD_MS / 2)

    const canceled = await lab.world.call('POST', `/v1/vendor_subscriptions/${started?.id}/cancel`)
    expect(canceled.body).toMatchObject({ status: 'canceled', will_renew: false })
    const again = await lab.world.call('POST', `/v1/vendor_subscriptions/${started?.id}/cancel`)
    expect(again.body).toMatchObject({ status: 'canceled' })
    const resumed = await lab.world.call('POST', `/v1/vendor_subscriptions/${started?.id}/resume`)
    expect(resumed.body).toMatchObject({ status: 'active', will_renew: true })
    await lab.world.call('POST', `/v1/vendor_subscriptions/${started?.id}/cancel`)
    await renew()
    expect(lab.charges().filter(({ user_id }) => user_id === telegram_id)).toHaveLength(2)
    expect(await lab.balance(customer_id)).toBe(2 * LOT)
    // A link that began a subscription is not paid once more.
    expect(await lab.pay(order.link, telegram_id)).toMatchObject({ status: 'failed' })
    expect((await lab.world.call('GET', '/v1/verification')).body['findings']).toEqual([])
  }, 60_000)
})
