import { startStripeEmulator } from '@kopilka/emulators/stripe'
import type { Emulator } from '@kopilka/emulators/emulator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWorld, type World } from '../../../test/world.ts'
import { forgetMethods } from './saved-methods.ts'
import { startPayment } from './payment-start.ts'

const KEYS = { secret_key: 'sk_test_canary0123456789abcdef', webhook_secret: 'whsec_canary0123456789abcdef' }
const TEXT = 'I agree that Kopilka keeps my card for the next purchases.'

interface Method {
  id: string
  status: string
  title: string
  consent_text: string | null
  consent_locale: string | null
  consented_at: string
}

let world: World
let stripe: Emulator
beforeAll(async () => {
  stripe = await startStripeEmulator({ settings: KEYS })
  world = await startWorld((settings) => ({
    ...settings,
    gateways: { ...settings.gateways, stripe: { ...KEYS, base_url: stripe.base_url } },
  }))
})
afterAll(async () => {
  await world?.close()
  await stripe?.close()
})

const query = <T extends object>(text: string, values: unknown[] = []) =>
  world.app.db.pool.query<T>(text, values).then(({ rows }) => rows)
const place = async (customer_id: string, more: Record<string, unknown> = {}) =>
  world.call<{ id: string; code: string; payment: { id: string; status: string; checkout_url: string } }>(
    'POST',
    '/v1/orders',
    {
      customer_id,
      lines: [{ price_id: await world.price('minutes_30'), quantity: 1 }],
      return_url: 'https://shop.example/back',
      receipt_contact: { email: 'buyer@example.com' },
      ...more,
    },
  )
const methods = async (customer_id: string): Promise<Method[]> =>
  (await world.call<{ items: Method[] }>('GET', `/v1/customers/${customer_id}/payment_methods`)).body.items
const remove = (customer_id: string, id: string) =>
  world.call('DELETE', `/v1/customers/${customer_id}/payment_methods/${id}`)
const press = (url: string, button: string) =>
  fetch(url, { method: 'POST', redirect: 'manual', body: new URLSearchParams({ button }) })
const balance = async (customer_id: string): Promise<unknown> =>
  (await world.call('GET', `/v1/customers/${customer_id}/wallets/minute`)).body['balance']

/** A customer whose sandbox card was kept with his consent. */
async function kept(): Promise<{ customer_id: string; method: Method }> {
  const customer_id = await world.customer()
  const { body } = await place(customer_id, {
    gateway: 'sandbox',
    save_payment_method: true,
    consent_text: TEXT,
    locale: 'ru',
  })
  await press(body.payment.checkout_url, 'pay')
  const method = await world.eventually('kept', async () => (await methods(customer_id))[0])
  return { customer_id, method }
}
/** A method a vendor keeps, as if it had been saved long ago. */
async function keptAtStripe(): Promise<{ customer_id: string; id: string; external_id: string }> {
  const customer_id = await world.customer()
  const id = `pm_${customer_id}`
  const external_id = `pm_card_${customer_id}`
  await query(
    `insert into payments.saved_methods (id, customer_id, gateway, external_id, customer_external_id, kind,
       title, is_test, consented_at, created_at)
     values ($1, $2, 'stripe', $3, 'cus_1', 'card', 'Visa', true, now(), now())`,
    [id, customer_id, external_id],
  )
  return { customer_id, id, external_id }
}

/** What the worker does every few seconds, now. */
const forget = () => forgetMethods(world.app.db, world.app.payments)
const gone = (customer_id: string) =>
  world.eventually('gone', async () => {
    await forget()
    return (await methods(customer_id)).length === 0
  })

describe('a kept payment method', () => {
  it('comes with what the buyer read and agreed to, and only when he did', async () => {
    const { customer_id, method } = await kept()
    expect(method).toMatchObject({ status: 'active', consent_text: TEXT, consent_locale: 'ru' })
    expect(Date.parse(method.consented_at)).toBeLessThanOrEqual(Date.now())
    const without = await world.customer()
    const { body } = await place(without, { gateway: 'sandbox', consent_text: TEXT })
    await press(body.payment.checkout_url, 'pay')
    await world.eventually('paid', async () => (await balance(without)) === 1800)
    expect(await methods(without)).toEqual([])
    const [row] = await query<{ consent_text: null }>(
      'select consent_text from payments.payments where id = $1',
      [body.payment.id],
    )
    expect(row?.consent_text).toBeNull()
    expect(await methods(customer_id)).toHaveLength(1)
  })

  it('is charged without the buyer, at its own gateway without its being named', async () => {
    const { customer_id, method } = await kept()
    const { status, body } = await place(customer_id, { payment_method_id: method.id })
    expect(status).toBe(201)
    expect(body).toMatchObject({ gateway: 'sandbox', payment: { status: 'succeeded' } })
    expect(await balance(customer_id)).toBe(3600)
    const other = await place(customer_id, { payment_method_id: method.id, gateway: 'yookassa' })
    expect(other).toMatchObject({ status: 400, body: { code: 'invalid_request' } })
    const foreign = await place(await world.customer(), { payment_method_id: method.id })
    expect(foreign.status).toBe(404)
  })

  it('pays an open order whose first payment was declined', async () => {
    const { customer_id, method } = await kept()
    const { body: order } = await place(customer_id, { gateway: 'sandbox' })
    await press(order.payment.checkout_url, 'decline')
    const url = `/v1/orders/${order.id}/payments`
    const again = await world.eventually('declined', async () => {
      const answer = await world.call('POST', url, { payment_method_id: method.id })
      return answer.status === 201 && answer
    })
    expect(again.body).toMatchObject({ gateway: 'sandbox', status: 'succeeded' })
    expect(await balance(customer_id)).toBe(3600)
  })
})

describe('the removal of a kept method', () => {
  it('forbids its charge at once, twice is once, and ends in nothing to be seen', async () => {
    const { customer_id, method } = await kept()
    expect((await remove(customer_id, method.id)).body).toMatchObject({ removed: true, status: 'removing' })
    expect((await place(customer_id, { payment_method_id: method.id })).status).toBe(404)
    expect((await remove(customer_id, method.id)).status).toBe(200)
    await world.eventually('gone', async () => (await methods(customer_id)).length === 0)
    expect((await remove(customer_id, method.id)).body).toMatchObject({ status: 'removed' })
    expect((await remove(await world.customer(), method.id)).status).toBe(404)
    expect((await remove(customer_id, 'pm_absent')).status).toBe(404)
  })

  it('is shown as removing until the vendor has answered, and asks the vendor once', async () => {
    const { customer_id, id, external_id } = await keptAtStripe()
    stripe.control.faults({ error_500: 1_000_000 })
    await remove(customer_id, id)
    const asked = (): number =>
      stripe.control
        .log({ limit: 1000, kind: 'request', order: 'asc' })
        .items.filter(({ path }) => path?.includes(`${external_id}/detach`)).length
    await world.eventually('asked', async () => {
      await forget()
      return asked() > 0
    })
    expect(await methods(customer_id)).toMatchObject([{ id, status: 'removing' }])
    stripe.control.faults({ error_500: 0 })
    const before = asked()
    await query('update payments.saved_methods set next_forget_at = now() where id = $1', [id])
    await gone(customer_id)
    expect(asked()).toBe(before + 1)
    await forget()
    expect(asked()).toBe(before + 1)
  })

  it('gives up on a vendor that never answers only after months', async () => {
    const { customer_id, id } = await keptAtStripe()
    stripe.control.faults({ error_500: 1_000_000 })
    await query('update payments.saved_methods set forget_attempts = 400 where id = $1', [id])
    await remove(customer_id, id)
    await world.eventually('given up', async () => {
      await forget()
      const [row] = await query<{ next_forget_at: Date | null; forget_attempts: number }>(
        'select next_forget_at, forget_attempts from payments.saved_methods where id = $1',
        [id],
      )
      return row?.forget_attempts === 401 && row.next_forget_at === null
    })
    stripe.control.faults({ error_500: 0 })
    const [row] = await query<{ next_forget_at: Date | null; forgotten_at: null }>(
      'select next_forget_at, forgotten_at from payments.saved_methods where id = $1',
      [id],
    )
    expect(row).toEqual({ next_forget_at: null, forgotten_at: null })
    expect((await methods(customer_id))[0]?.status).toBe('removing')
  })

  it('ends where the gateway is not set up any more', async () => {
    const { customer_id, id } = await keptAtStripe()
    await query(`update payments.saved_methods set gateway = 'long-gone' where id = $1`, [id])
    await remove(customer_id, id)
    await gone(customer_id)
    expect(await methods(customer_id)).toEqual([])
  })

  it('waits for a charge that was agreed on before it', async () => {
    const { customer_id, method } = await kept()
    const { body } = await place(customer_id, { payment_method_id: method.id })
    await query(
      `insert into payments.payments (id, order_id, customer_id, gateway, is_test, status, amount, currency,
         description, return_url, saved_method_id, open_asks, expires_at, created_at, updated_at)
       select id || '_open', order_id || '_open', customer_id, gateway, is_test, 'unknown', amount, currency,
         description, return_url, saved_method_id, 1, expires_at, created_at, updated_at
         from payments.payments where id = $1`,
      [body.payment.id],
    )
    await remove(customer_id, method.id)
    await forget()
    expect(await methods(customer_id)).toMatchObject([{ id: method.id, status: 'removing' }])
    // Nor is the charge asked for again: what became of it is found out by looking.
    const open_id = `${body.payment.id}_open`
    await expect(startPayment(world.app.db, world.app.payments, open_id)).rejects.toMatchObject({
      code: 'gateway_unavailable',
    })
    await query(`update payments.payments set status = 'failed' where id = $1`, [open_id])
    await query('update payments.saved_methods set next_forget_at = now() where id = $1', [method.id])
    await gone(customer_id)
  })

  it('lets no charge begin after it, however many try at the same moment', async () => {
    const { customer_id, method } = await kept()
    const charges = Array.from({ length: 40 }, () => place(customer_id, { payment_method_id: method.id }))
    const removed_at = (async () => {
      await new Promise((resolve) => setTimeout(resolve, 40))
      await remove(customer_id, method.id)
      return new Date()
    })()
    const answers = await Promise.all(charges)
    await removed_at
    const good = answers.filter(({ status }) => status === 201).length
    for (const { status, body } of answers) {
      if (status !== 201)
        expect([status, body.code]).toEqual([
          status === 402 ? 402 : 404,
          status === 402 ? 'payment_refused' : 'not_found',
        ])
    }
    expect(await balance(customer_id)).toBe(1800 * (good + 1))
    const late = await query<{ id: string }>(
      `select p.id from payments.payments p join payments.saved_methods m on m.id = p.saved_method_id
        where m.id = $1 and p.created_at > m.removed_at and p.status = 'succeeded'`,
      [method.id],
    )
    expect(late).toEqual([])
    expect((await place(customer_id, { payment_method_id: method.id })).status).toBe(404)
  })

  it('between an order’s intent and its charge ends the payment without asking the vendor', async () => {
    const { customer_id, method } = await kept()
    const { body } = await place(customer_id, { payment_method_id: method.id })
    await query(
      `insert into payments.payments (id, order_id, customer_id, gateway, is_test, status, amount, currency,
         description, return_url, saved_method_id, expires_at, created_at, updated_at)
       select id || '_new', order_id || '_new', customer_id, gateway, is_test, 'pending', amount, currency,
         description, return_url, saved_method_id, expires_at, created_at, updated_at
         from payments.payments where id = $1`,
      [body.payment.id],
    )
    await remove(customer_id, method.id)
    const ended = await startPayment(world.app.db, world.app.payments, `${body.payment.id}_new`)
    expect(ended).toMatchObject({ status: 'failed', failure_reason: 'payment_method_removed', open_asks: 0 })
  })

  it('is asked of the vendor too when the customer is erased', async () => {
    const { customer_id, method } = await kept()
    expect(
      (await world.call('POST', `/v1/customers/${customer_id}/erase`, { reason: 'asked' })).status,
    ).toBeLessThan(300)
    await world.eventually('forgotten', async () => {
      await forget()
      const [row] = await query<{ forgotten_at: Date | null; consent_text: string | null }>(
        'select forgotten_at, consent_text from payments.saved_methods where id = $1',
        [method.id],
      )
      return row?.forgotten_at !== null && row?.consent_text === null
    })
  })
})
