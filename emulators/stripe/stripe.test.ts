import Stripe from 'stripe'
import { afterEach, describe, expect, it } from 'vitest'
import type { Emulator, EmulatorOptions } from '../emulator.ts'
import { startListener } from '../kit/test-listener.ts'
import type { Listener } from '../kit/test-listener.ts'
import { startStripeEmulator } from '../stripe.ts'
import { parseForm } from './form.ts'
import type { Charge, Dispute, Intent, PaymentMethod, Refund, Session, StripeSettings } from './objects.ts'

const KEY = 'sk_test_kopilka_stripe_secret'
const SECRET = 'whsec_kopilka_stripe_endpoint'
const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

async function open(
  options: EmulatorOptions<StripeSettings> = {},
): Promise<{ emulator: Emulator; client: Stripe; merchant: Listener }> {
  const merchant = await startListener()
  const emulator = await startStripeEmulator({
    seed: 1,
    retry_scale: 0.00001,
    webhook_url: merchant.url,
    ...options,
  })
  closing.push(
    () => emulator.close(),
    () => merchant.close(),
  )
  return { emulator, client: clientOf(emulator), merchant }
}

function clientOf(emulator: Emulator, key = KEY): Stripe {
  const { hostname, port } = new URL(emulator.base_url)
  return new Stripe(key, {
    host: hostname,
    port: Number(port),
    protocol: 'http',
    telemetry: false,
    maxNetworkRetries: 0,
  })
}

const PAGE = {
  mode: 'payment',
  success_url: 'https://shop.example/ok?s={CHECKOUT_SESSION_ID}',
  cancel_url: 'https://shop.example/no',
  metadata: { order_id: '1' },
  payment_intent_data: { metadata: { order_id: '1' } },
  line_items: [
    { quantity: 1, price_data: { currency: 'usd', unit_amount: 1000, product_data: { name: 'Tokens' } } },
  ],
} as const satisfies Stripe.Checkout.SessionCreateParams

const openPage = (client: Stripe, changes: Stripe.Checkout.SessionCreateParams = {}) =>
  client.checkout.sessions.create({ ...PAGE, line_items: [...PAGE.line_items], ...changes })

/** The emulator's objects fit the official package's types of the same version: checked when compiled. */
export const shapes = {
  session: (object: Session): Partial<Stripe.Checkout.Session> => object,
  intent: (object: Intent): Partial<Stripe.PaymentIntent> => object,
  charge: (object: Omit<Charge, 'payment_method_details'>): Partial<Stripe.Charge> => object,
  refund: (object: Refund): Partial<Stripe.Refund> => object,
  dispute: (object: Dispute): Partial<Stripe.Dispute> => object,
  method: (object: Omit<PaymentMethod, 'card'>): Partial<Stripe.PaymentMethod> => object,
}

describe('the Stripe emulator', () => {
  it('speaks with the official client: a page, its payment, expanded objects, a refund', async () => {
    const { emulator, client } = await open()
    const session = await openPage(client)
    expect(session).toMatchObject({
      status: 'open',
      payment_status: 'unpaid',
      payment_intent: null,
      amount_total: 1000,
    })
    emulator.control.complete(session.id, 'succeeded')
    const expand = ['payment_intent.latest_charge.balance_transaction']
    const told = await client.checkout.sessions.retrieve(session.id, { expand })
    expect(told).toMatchObject({
      status: 'complete',
      payment_status: 'paid',
      payment_intent: {
        status: 'succeeded',
        metadata: { order_id: '1' },
        latest_charge: { captured: true, balance_transaction: { amount: 1000, fee: 29 } },
      },
    })
    const intent = (told.payment_intent as Stripe.PaymentIntent).id
    expect(await client.refunds.create({ payment_intent: intent, amount: 400 })).toMatchObject({
      status: 'succeeded',
    })
    const rest = client.refunds.create({ payment_intent: intent, amount: 601 })
    await expect(rest).rejects.toMatchObject({ statusCode: 400, type: 'StripeInvalidRequestError' })
    await client.refunds.create({ payment_intent: intent })
    const over = client.refunds.create({ payment_intent: intent })
    await expect(over).rejects.toMatchObject({ code: 'charge_already_refunded' })
    expect((await client.checkout.sessions.list({ payment_intent: intent })).data).toHaveLength(1)
  })

  it('sends events that the official package verifies, under the new and the old secret', async () => {
    const { emulator, client, merchant } = await open({
      settings: { old_webhook_secret: 'whsec_the_older_secret_0' },
    })
    const { id } = await openPage(client)
    emulator.control.complete(id, 'succeeded')
    expect(await emulator.control.settled()).toBe(true)
    const events = merchant.received.map(({ text, headers }) => {
      const signature = String(headers['stripe-signature'])
      client.webhooks.constructEvent(text, signature, 'whsec_the_older_secret_0')
      return client.webhooks.constructEvent(text, signature, SECRET)
    })
    expect(events.map((event) => event.type).toSorted()).toEqual([
      'checkout.session.completed',
      'payment_intent.succeeded',
    ])
    expect(events.every((event) => !event.livemode && event.api_version === '2026-10-28.endive')).toBe(true)
  })

  it('repeats an event that was not received, signed anew, and stops at any 2xx', async () => {
    const { emulator, client, merchant } = await open()
    merchant.answer({ status: 500 })
    const { id } = await openPage(client)
    await client.checkout.sessions.expire(id)
    await expect.poll(() => merchant.received.length).toBeGreaterThan(2)
    merchant.answer({ status: 204 })
    expect(await emulator.control.settled()).toBe(true)
    expect(new Set(merchant.received.map(({ text }) => text)).size).toBe(1)
  })

  it('lies about a payment, and no lie is both rightly signed and of this moment', async () => {
    const { emulator, client, merchant } = await open()
    const pages = [
      await openPage(client),
      await openPage(client),
      await openPage(client),
      await openPage(client),
    ]
    for (const { id } of pages) emulator.control.forge(id)
    emulator.control.faults({ forge: 8 })
    for (const { id } of pages) emulator.control.complete(id, 'succeeded')
    await emulator.control.settled()
    const believed = merchant.received.filter(({ text, headers }) => {
      const signature = String(headers['stripe-signature'])
      const ahead = Number(/t=(\d+)/.exec(signature)?.[1]) - Date.now() / 1000
      try {
        return client.webhooks.constructEvent(text, signature, SECRET, 300).id !== '' && ahead < 300
      } catch {
        return false
      }
    })
    expect(merchant.received).toHaveLength(4 * 4 + 8 + 8)
    expect(believed).toHaveLength(8)
    const { items } = emulator.control.log({ kind: 'notification', limit: 100 })
    expect(new Set(items.flatMap(({ note }) => note ?? [])).size).toBeGreaterThanOrEqual(7)
  })

  it.each([
    ['a misspelt name', { metadta: { a: '1' } }, 'metadta'],
    [
      'a misspelt name inside',
      { payment_intent_data: { metadta: { a: '1' } } },
      'payment_intent_data[metadta]',
    ],
    [
      'an amount that is no integer',
      {
        line_items: [
          { quantity: 1, price_data: { currency: 'usd', unit_amount: 10.5, product_data: { name: 'x' } } },
        ],
      },
      'line_items[0][price_data][unit_amount]',
    ],
    ['a time too soon', { expires_at: Math.floor(Date.now() / 1000) + 60 }, 'expires_at'],
    ['a mode not played', { mode: 'subscription' }, 'mode'],
  ])('refuses %s', async (_what, changes, param) => {
    const { client } = await open()
    const asked = openPage(client, changes as Stripe.Checkout.SessionCreateParams)
    await expect(asked).rejects.toMatchObject({ statusCode: 400, param })
  })

  it('refuses a wrong key, an unknown object and an unknown path', async () => {
    const { emulator, client } = await open()
    const stranger = clientOf(emulator, 'sk_test_somebody_else')
    await expect(stranger.balance.retrieve()).rejects.toMatchObject({ statusCode: 401 })
    await expect(client.refunds.retrieve('re_1')).rejects.toMatchObject({
      code: 'resource_missing',
      statusCode: 404,
    })
    await expect(client.products.list()).rejects.toMatchObject({ statusCode: 404 })
    await expect(client.refunds.list({ limit: 101 })).rejects.toMatchObject({ statusCode: 400 })
  })

  it('answers a repeated key with the first answer, and another request under it with an error', async () => {
    const { client } = await open()
    const make = (name: string, idempotencyKey: string) =>
      client.checkout.sessions.create(
        { ...PAGE, line_items: [...PAGE.line_items], client_reference_id: name },
        { idempotencyKey },
      )
    const first = await make('a', 'k1')
    const again = await make('a', 'k1')
    expect(again.id).toBe(first.id)
    expect(again.lastResponse.headers['idempotent-replayed']).toBe('true')
    await expect(make('b', 'k1')).rejects.toMatchObject({ type: 'StripeIdempotencyError' })
  })

  it('declines an off-session charge with 402 and the intent, also when asked again', async () => {
    const { emulator, client } = await open()
    const { id } = await openPage(client, {
      customer_creation: 'always',
      payment_intent_data: { setup_future_usage: 'off_session' },
    })
    emulator.control.complete(id, { outcome: 'succeeded', card_number: '4000000000000341' })
    const { payment_intent } = await client.checkout.sessions.retrieve(id, { expand: ['payment_intent'] })
    const { customer, payment_method } = payment_intent as Stripe.PaymentIntent &
      Record<'customer' | 'payment_method', string>
    const asked = { amount: 500, currency: 'usd', off_session: true, confirm: true, customer, payment_method }
    for (const key of ['k', 'k']) {
      await expect(client.paymentIntents.create(asked, { idempotencyKey: key })).rejects.toMatchObject({
        statusCode: 402,
        type: 'StripeCardError',
        decline_code: 'generic_decline',
        payment_intent: { status: 'requires_payment_method' },
      })
    }
    expect(emulator.control.objects({ collection: 'intents' }).items).toHaveLength(2)
  })

  it('opens, wins and closes disputes once', async () => {
    const { emulator, client, merchant } = await open()
    const { id } = await openPage(client)
    const ask = (dispute: string) => emulator.control.complete(id, { outcome: 'canceled', dispute })
    expect(() => ask('open')).toThrow(/no such object/)
    emulator.control.complete(id, 'succeeded')
    expect(ask('open')).toMatchObject({ status: 'needs_response', amount: 1000 })
    expect(() => ask('open')).toThrow(/already/)
    expect(ask('lost')).toMatchObject({ status: 'lost' })
    expect(() => ask('won')).toThrow(/already/)
    await emulator.control.settled()
    const types = merchant.bodies<{ type: string }>().map(({ type }) => type)
    expect(types.filter((type) => type.includes('dispute')).toSorted()).toEqual([
      'charge.dispute.closed',
      'charge.dispute.created',
    ])
  })

  it('shows the buyer a page that pays, declines, asks for 3-D Secure, and knows no other', async () => {
    const { emulator, client } = await open()
    const { id, url } = await openPage(client, { locale: 'ru' })
    const press = (fields: Record<string, string>) =>
      fetch(url ?? '', { method: 'POST', body: new URLSearchParams(fields), redirect: 'manual' })
    expect(await (await fetch(url ?? '')).text()).toContain('Заплатить')
    expect((await press({ action: 'pay', card_number: '12' })).status).toBe(400)
    expect(await (await press({ action: 'pay', card_number: '4000000000000002' })).text()).toContain(
      'отклонена',
    )
    expect(await (await press({ action: 'pay', card_number: '4000002500003155' })).text()).toContain(
      '3-D Secure',
    )
    expect((await press({ action: 'leave' })).headers.get('location')).toBe(PAGE.cancel_url)
    const answer = await press({ action: 'confirm_3ds', card_number: '4000 0025 0000 3155' })
    expect(answer.headers.get('location')).toBe(`https://shop.example/ok?s=${id}`)
    expect(await (await press({ action: 'pay' })).text()).toContain('complete')
    expect((await fetch(`${emulator.base_url}/c/pay/cs_test_unknown`)).status).toBe(404)
    expect(emulator.control.objects({ collection: 'charges' }).items).toHaveLength(1)
  })

  it('closes pages when their time is over and lets nobody pay on them', async () => {
    const { emulator, client, merchant } = await open()
    const { id } = await openPage(client)
    emulator.control.advanceClock(25 * 3_600_000)
    expect(() => emulator.control.complete(id, 'succeeded')).toThrow(/already/)
    await emulator.control.settled()
    expect(merchant.bodies<{ type: string }>().map(({ type }) => type)).toEqual(['checkout.session.expired'])
  })
})

describe('forms with brackets', () => {
  it('become objects and lists, and refuse what says two things', () => {
    expect(parseForm('a=1&b[c][0][d]=2&b[c][1][d]=3&e[]=x&e[]=y&f[1]=z')).toEqual({
      a: '1',
      b: { c: [{ d: '2' }, { d: '3' }] },
      e: ['x', 'y'],
      f: { 1: 'z' },
    })
    for (const text of ['a=1&a=2', 'a=1&a[b]=2', 'a[b]=1&a=2', 'a[=1', '[a]=1', 'a]b=1']) {
      expect(() => parseForm(text)).toThrow(RangeError)
    }
    expect(({} as Record<string, unknown>)['x']).toBeUndefined()
    expect(Object.keys(parseForm('__proto__[x]=1'))).toEqual(['__proto__'])
  })
})
