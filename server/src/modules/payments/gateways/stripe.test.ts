import type { CreatePaymentInput } from '@kopilka/extension'
import { GatewayMisconfigured } from '@kopilka/extension'
import type { Emulator } from '@kopilka/emulators/emulator'
import { startStripeEmulator } from '@kopilka/emulators/stripe'
import Stripe from 'stripe'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { newContext, newId } from '../../../../test/gateway-contract.ts'
import stripe from './stripe.ts'

const KEYS = { secret_key: 'sk_test_canary0123456789abcdef', webhook_secret: 'whsec_canary0123456789abcdef' }
const context = newContext()
let emulator: Emulator
beforeAll(async () => {
  emulator = await startStripeEmulator({ settings: KEYS })
})
afterEach(() => emulator.control.reset())
afterAll(() => emulator.close())

const configOf = (changes: object = {}) =>
  stripe.configSchema.parse({ ...KEYS, base_url: emulator?.base_url, ...changes })

function purchase(changes: Partial<CreatePaymentInput> = {}): CreatePaymentInput {
  return {
    payment_id: newId('pay'),
    payment_number: 1,
    order_id: newId('ord'),
    customer_id: newId('cus'),
    amount: 59_900n,
    currency: 'USD',
    description: '100 tokens & more',
    return_url: 'https://shop.example/return?order=1',
    capture: true,
    save_method: false,
    locale: 'en',
    expires_at: new Date(Date.now() + 3_600_000),
    ...changes,
  }
}

async function paid(input = purchase(), complete: object = {}) {
  const { external_id = '' } = await stripe.createPayment(configOf(), input, context)
  const outcome = input.capture ? 'succeeded' : 'authorized'
  emulator.control.complete(external_id, { outcome, ...complete })
  const payment = await stripe.getPayment(configOf(), { ...input, external_id }, context)
  if (!payment) throw new Error('the vendor knows the payment it has just made')
  return { reference: { ...input, external_id }, payment }
}

function lastForm(path: string): URLSearchParams {
  const { items } = emulator.control.log({ limit: 1000, kind: 'request', order: 'desc' })
  return new URLSearchParams(items.find((line) => line.path === path && line.method === 'POST')?.body ?? '')
}

describe('a payment at Stripe', () => {
  it('is asked for with our ids on the page and its intent, and with the deadline', async () => {
    const input = purchase({ email: 'buyer@example.com', locale: 'ru-RU', method: 'card', save_method: true })
    await stripe.createPayment(configOf(), input, context)
    const form = lastForm('/v1/checkout/sessions')
    expect(Object.fromEntries(form)).toMatchObject({
      mode: 'payment',
      client_reference_id: input.payment_id,
      'metadata[payment_id]': input.payment_id,
      'payment_intent_data[metadata][payment_id]': input.payment_id,
      'payment_intent_data[metadata][order_id]': input.order_id,
      'payment_intent_data[setup_future_usage]': 'off_session',
      'line_items[0][price_data][unit_amount]': '59900',
      'line_items[0][price_data][currency]': 'usd',
      'line_items[0][price_data][product_data][name]': '100 tokens & more',
      'payment_method_types[0]': 'card',
      customer_creation: 'always',
      locale: 'ru',
      expires_at: String(Math.ceil(input.expires_at.getTime() / 1000)),
    })
    expect(form.has('payment_intent_data[capture_method]')).toBe(false)
  })

  it.each([60_000, 30 * 86_400_000])(
    'whose order ends in %i ms gets a page the vendor allows',
    async (ms) => {
      const input = purchase({ expires_at: new Date(Date.now() + ms) })
      expect(await stripe.createPayment(configOf(), input, context)).toMatchObject({ status: 'pending' })
    },
  )

  it('refuses methods it has not and amounts the vendor cannot express, without asking', async () => {
    const refusal = async (changes: Partial<CreatePaymentInput>) =>
      (await stripe.createPayment(configOf(), purchase(changes), context)).failure_reason
    expect(await refusal({ method: 'sbp' })).toBe('method_not_supported')
    expect(await refusal({ currency: 'KWD', amount: 10_001n })).toBe('amount_not_supported')
    expect(emulator.control.status().counts.requests).toBe(0)
    expect(await refusal({ amount: 49n })).toMatch(/^amount_too_small/)
  })

  it('of an old id is looked for before it is asked for', async () => {
    const input = purchase()
    const first = await stripe.createPayment(configOf(), input, context)
    const later = { ...context, now: new Date(context.now.getTime() + 3 * 86_400_000) }
    emulator.control.advanceClock(3 * 86_400_000)
    const again = await stripe.createPayment(configOf(), input, later)
    expect(again).toMatchObject({
      external_id: first.external_id,
      status: 'canceled',
      failure_reason: 'expired',
    })
    expect(emulator.control.objects({ collection: 'sessions' }).items).toHaveLength(1)
  })

  it('asked for again with other words is the first one, not a second and not a refusal', async () => {
    const input = purchase()
    const first = await stripe.createPayment(configOf(), input, context)
    const again = await stripe.createPayment(configOf(), { ...input, description: 'other' }, context)
    expect(again).toMatchObject({ status: 'pending', external_id: first.external_id })
  })

  it('tells fee, time, refunds and the saved card once it is paid', async () => {
    const { payment } = await paid(purchase({ save_method: true }))
    expect(payment).toMatchObject({ status: 'succeeded', fee: 1738n, refunded_amount: 0n, is_test: true })
    expect(payment.paid_at).toBeInstanceOf(Date)
    expect(payment.saved_method).toMatchObject({
      external_id: expect.stringMatching(/^pm_/),
      customer_external_id: expect.stringMatching(/^cus_/),
      title: 'visa •••• 4242',
    })
    expect((await paid()).payment.saved_method).toBeUndefined()
  })

  it('is still pending after a declined attempt, and paid after the next', async () => {
    const input = purchase()
    const { external_id = '' } = await stripe.createPayment(configOf(), input, context)
    const status = async () =>
      (await stripe.getPayment(configOf(), { ...input, external_id }, context))?.status
    emulator.control.complete(external_id, { outcome: 'canceled', reason: 'insufficient_funds' })
    expect(await status()).toBe('pending')
    emulator.control.complete(external_id, 'succeeded')
    expect(await status()).toBe('succeeded')
  })

  it('by a slow method is pending until the bank has spoken', async () => {
    const { reference, payment } = await paid(purchase(), { is_delayed: true })
    expect(payment.status).toBe('pending')
    emulator.control.complete(reference.external_id, { outcome: 'canceled', reason: 'insufficient_funds' })
    expect(await stripe.getPayment(configOf(), reference, context)).toMatchObject({
      status: 'failed',
      failure_reason: 'insufficient_funds',
    })
    const second = await paid(purchase(), { is_delayed: true })
    emulator.control.complete(second.reference.external_id, 'succeeded')
    expect(await stripe.getPayment(configOf(), second.reference, context)).toMatchObject({
      status: 'succeeded',
    })
  })

  it('is found by the intent of its page, under the id of the page', async () => {
    const { reference } = await paid()
    const [intent] = emulator.control.objects({ collection: 'intents' }).items as { id: string }[]
    const told = await stripe.getPayment(configOf(), { ...reference, external_id: intent?.id ?? '' }, context)
    expect(told).toMatchObject({ external_id: reference.external_id, payment_id: reference.payment_id })
  })

  it('is held, taken in part, and what was taken is what counts', async () => {
    const { reference, payment } = await paid(purchase({ capture: false }))
    expect(payment).toMatchObject({ status: 'authorized', amount: 59_900n })
    const captured = await stripe.capturePayment?.(configOf(), { ...reference, amount: 10_000n }, context)
    expect(captured).toMatchObject({ status: 'succeeded', amount: 10_000n })
    const again = await stripe.capturePayment?.(configOf(), { ...reference, amount: 20_000n }, context)
    expect(again).toMatchObject({ status: 'succeeded', amount: 10_000n, failure_reason: expect.any(String) })
  })

  it('is let go while held, and its page is closed while unpaid; a paid one stays', async () => {
    const held = await paid(purchase({ capture: false }))
    expect(await stripe.cancelPayment?.(configOf(), held.reference, context)).toMatchObject({
      status: 'canceled',
    })
    const input = purchase()
    const { external_id = '' } = await stripe.createPayment(configOf(), input, context)
    const open = { ...input, external_id }
    expect(await stripe.cancelPayment?.(configOf(), open, context)).toMatchObject({ status: 'canceled' })
    const done = await paid()
    expect(await stripe.cancelPayment?.(configOf(), done.reference, context)).toMatchObject({
      status: 'succeeded',
    })
    const unknown = stripe.cancelPayment?.(configOf(), purchase(), context)
    await expect(unknown).rejects.toBeInstanceOf(GatewayMisconfigured)
  })
})

describe('a saved card at Stripe', () => {
  const saved = async (complete: object = {}) => {
    const { payment } = await paid(purchase({ save_method: true }), complete)
    if (!payment.saved_method) throw new Error('the card was saved')
    const { external_id: method_external_id, customer_external_id } = payment.saved_method
    return { ...purchase(), method_external_id, ...(customer_external_id ? { customer_external_id } : {}) }
  }

  it('is charged once for one payment id, and found again by it', async () => {
    const input = await saved()
    const first = await stripe.chargeSavedMethod?.(configOf(), input, context)
    expect(first).toMatchObject({
      status: 'succeeded',
      payment: { amount: 59_900n, payment_id: input.payment_id },
    })
    const again = await stripe.chargeSavedMethod?.(configOf(), input, context)
    expect(again?.external_id).toBe(first?.external_id)
    expect(await stripe.getPayment(configOf(), input, context)).toMatchObject({
      external_id: first?.external_id,
    })
    expect(emulator.control.objects({ collection: 'charges' }).items).toHaveLength(2)
  })

  it('that is declined is a failed payment with the vendor’s word and the intent’s id', async () => {
    const input = await saved()
    emulator.control.settings({ charge_outcome: 'insufficient_funds' })
    const declined = await stripe.chargeSavedMethod?.(configOf(), input, context)
    expect(declined).toMatchObject({ status: 'failed', failure_reason: 'insufficient_funds' })
    expect(declined?.external_id).toMatch(/^pi_/)
    expect(declined?.payment?.paid_at).toBeUndefined()
    emulator.control.settings({ charge_outcome: 'succeeded' })
    const asks = await saved({ card_number: '4000002500003155' })
    expect(await stripe.chargeSavedMethod?.(configOf(), asks, context)).toMatchObject({
      status: 'failed',
      failure_reason: 'authentication_required',
    })
  })

  it('that was removed cannot be charged, and removing it twice is no error', async () => {
    const input = await saved()
    const method = { external_id: input.method_external_id }
    await stripe.removeSavedMethod?.(configOf(), method, context)
    await stripe.removeSavedMethod?.(configOf(), method, context)
    expect(await stripe.chargeSavedMethod?.(configOf(), input, context)).toMatchObject({ status: 'failed' })
    const { customer_external_id: _, ...nobody } = input
    expect(await stripe.chargeSavedMethod?.(configOf(), nobody, context)).toEqual({
      status: 'failed',
      failure_reason: 'customer_missing',
    })
  })
})

describe('money given back at Stripe', () => {
  const refundOf = (payment: Awaited<ReturnType<typeof paid>>['reference'], amount: bigint) => {
    const is_full = amount === payment.amount
    return { refund_id: newId('re'), payment, amount, currency: 'USD', reason: 'unhappy', is_full }
  }

  it('is pending until the bank has it, and may fail even later', async () => {
    emulator.control.settings({ refund_outcome: 'pending' })
    const input = refundOf((await paid()).reference, 100n)
    const refund = await stripe.refund?.(configOf(), input, context)
    expect(refund).toMatchObject({
      status: 'pending',
      refund_id: input.refund_id,
      payment_id: input.payment.payment_id,
    })
    const told = () =>
      stripe.getRefund?.(configOf(), { ...input, external_id: refund?.external_id ?? '' }, context)
    emulator.control.complete(refund?.external_id ?? '', 'succeeded')
    expect(await told()).toMatchObject({ status: 'succeeded' })
    emulator.control.complete(refund?.external_id ?? '', 'canceled')
    expect(await told()).toMatchObject({ status: 'failed', failure_reason: 'expired_or_canceled_card' })
  })

  it('in the vendor’s cabinet is told with the payment it belongs to', async () => {
    const { reference } = await paid()
    const [intent] = emulator.control.objects({ collection: 'intents' }).items as { id: string }[]
    const official = officialClient()
    const { id } = await official.refunds.create({ payment_intent: intent?.id ?? '', amount: 700 })
    const foreign = { ...refundOf(reference, 700n), refund_id: '', external_id: id }
    const told = await stripe.getRefund?.(configOf(), foreign, context)
    expect(told).toMatchObject({ amount: 700n, payment_id: reference.payment_id, is_test: true })
    expect(told).not.toHaveProperty('refund_id')
  })

  it('for an unpaid or unknown payment is a refusal', async () => {
    const input = purchase()
    const { external_id = '' } = await stripe.createPayment(configOf(), input, context)
    for (const reference of [
      { ...input, external_id },
      { ...input, external_id: 'cs_test_unknown' },
    ]) {
      const refund = await stripe.refund?.(configOf(), refundOf(reference, 100n), context)
      expect(refund).toMatchObject({ status: 'failed', failure_reason: 'payment_not_found' })
    }
  })
})

function officialClient(): Stripe {
  const { hostname, port } = new URL(emulator.base_url)
  return new Stripe(KEYS.secret_key, {
    host: hostname,
    port: Number(port),
    protocol: 'http',
    telemetry: false,
  })
}

describe('Stripe’s lists', () => {
  it('hold every payment and refund of a period once, pages and charges, over many answers', async () => {
    const ids = new Set<string | undefined>()
    for (let count = 0; count < 120; count++) {
      ids.add((await stripe.createPayment(configOf(), purchase(), context)).external_id)
    }
    const { payment, reference } = await paid(purchase({ save_method: true }))
    ids.add(payment.external_id)
    const { external_id: method_external_id = '', customer_external_id = '' } = payment.saved_method ?? {}
    const charge = { ...purchase(), method_external_id, customer_external_id }
    ids.add((await stripe.chargeSavedMethod?.(configOf(), charge, context))?.external_id)
    const refund_input = {
      refund_id: newId('re'),
      payment: reference,
      amount: 5n,
      currency: 'USD',
      reason: '',
      is_full: false,
    }
    const refund = await stripe.refund?.(configOf(), refund_input, context)
    const range = { from: new Date(Date.now() - 60_000), to: new Date(Date.now() + 60_000) }
    const listed: string[] = []
    let cursor: string | undefined
    do {
      const asked = cursor === undefined ? range : { ...range, cursor }
      const page = await stripe.listPayments?.(configOf(), asked, context)
      listed.push(...(page?.items ?? []).map(({ external_id }) => external_id))
      cursor = page?.next_cursor
    } while (cursor !== undefined)
    expect(listed).toHaveLength(122)
    expect(new Set<string | undefined>(listed)).toEqual(ids)
    const refunds = await stripe.listRefunds?.(configOf(), range, context)
    expect(refunds?.items).toMatchObject([
      { external_id: refund?.external_id, payment_id: reference.payment_id },
    ])
    const before = { from: new Date(0), to: new Date(Date.now() - 60_000) }
    expect(await stripe.listRefunds?.(configOf(), before, context)).toEqual({ items: [] })
  })
})

describe('the list of disputes at Stripe', () => {
  it('tells each as it stands, by the time it was opened', async () => {
    const { reference } = await paid()
    await paid()
    const contest = (dispute: string) =>
      emulator.control.complete(reference.external_id, { outcome: 'canceled', dispute })
    const range = { from: new Date(Date.now() - 60_000), to: new Date(Date.now() + 60_000) }
    const list = (within = range) => stripe.listDisputes?.(configOf(), within, context)
    expect(await list()).toEqual({ items: [] })
    contest('open')
    const told = { amount: 59_900n, currency: 'USD', payment_external_id: expect.stringMatching(/^pi_/) }
    expect(await list()).toMatchObject({ items: [{ ...told, status: 'open' }] })
    contest('lost')
    expect(await list()).toMatchObject({ items: [{ ...told, status: 'lost' }] })
    expect(await list({ from: new Date(0), to: range.from })).toEqual({ items: [] })
  })
})

describe('the health of a Stripe account', () => {
  it('is good with the right key and told, not thrown, with a wrong one', async () => {
    expect(await stripe.checkHealth?.(configOf(), context)).toEqual({ ok: true, detail: 'test account' })
    const wrong = configOf({ secret_key: 'sk_test_wrong0123456789' })
    expect(await stripe.checkHealth?.(wrong, context)).toMatchObject({ ok: false })
    const other_mode = configOf({ secret_key: 'sk_live_wrong0123456789' })
    expect(stripe.isTest(other_mode)).toBe(false)
    await expect(stripe.createPayment(wrong, purchase(), context)).rejects.toBeInstanceOf(
      GatewayMisconfigured,
    )
  })

  it.each(['sk_test', 'pk_test_0123456789abcdef', 'whsec_0123456789abcdef'])(
    'is not asked with the key %s',
    (key) => {
      expect(stripe.configSchema.safeParse({ ...KEYS, secret_key: key }).success).toBe(false)
    },
  )
})
