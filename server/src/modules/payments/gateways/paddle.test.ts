import { createHmac } from 'node:crypto'
import { createServer } from 'node:http'
import { Paddle } from '@paddle/paddle-node-sdk'
import type { CreatePaymentInput, WebhookRequest } from '@kopilka/extension'
import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import type { Emulator } from '@kopilka/emulators/emulator'
import { startPaddleEmulator } from '@kopilka/emulators/paddle'
import type { Adjustment, Transaction } from '@kopilka/emulators/paddle'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { newContext, newId } from '../../../../test/gateway-contract.ts'
import vectors from '../../../../test/vectors/paddle.json' with { type: 'json' }
import { openClubCheckout } from '../payments.fixtures/paddle-club.ts'
import paddle from './paddle.ts'

const KEYS = { api_key: 'pdl_sdbx_apikey_canary0123456789', webhook_secret: 'pdl_ntfset_canary0123456789' }
const context = newContext()
let emulator: Emulator
beforeAll(async () => {
  emulator = await startPaddleEmulator({ settings: KEYS })
})
afterEach(() => emulator.control.reset())
afterAll(() => emulator.close())

const configOf = (changes: object = {}) =>
  paddle.configSchema.parse({ ...KEYS, base_url: emulator?.base_url, ...changes })
const transactions = () => emulator.control.objects({ collection: 'transactions' }).items as Transaction[]
const adjustments = () => emulator.control.objects({ collection: 'adjustments' }).items as Adjustment[]

function purchase(changes: Partial<CreatePaymentInput> = {}): CreatePaymentInput {
  return {
    payment_id: newId('pay'),
    payment_number: 1,
    order_id: newId('ord'),
    customer_id: newId('cus'),
    amount: 59_900n,
    currency: 'USD',
    description: '100 tokens',
    return_url: 'https://shop.example/return?order=1',
    capture: true,
    save_method: false,
    locale: 'en',
    expires_at: new Date(Date.now() + 3_600_000),
    ...changes,
  }
}

async function paid(input = purchase()) {
  const { external_id = '' } = await paddle.createPayment(configOf(), input, context)
  emulator.control.complete(external_id, 'succeeded')
  return { ...input, external_id }
}

const refundOf = (payment: Awaited<ReturnType<typeof paid>>, amount: bigint) => {
  const is_full = amount === payment.amount
  return { refund_id: newId('re'), payment, amount, currency: 'USD', reason: 'unhappy', is_full }
}

const seconds = Math.floor(Date.now() / 1000)
const sign = (body: string, time = seconds, secret = KEYS.webhook_secret) =>
  `ts=${time};h1=${createHmac('sha256', secret).update(`${time}:${body}`).digest('hex')}`

function parse(body: string, signature = sign(body), settings: object = {}, now = new Date(seconds * 1000)) {
  const request: WebhookRequest = {
    method: 'POST',
    path: '/webhooks/payments/paddle',
    headers: { 'paddle-signature': signature },
    query: {},
    raw_body: Buffer.from(body),
    remote_address: '127.0.0.1',
  }
  return paddle.parseWebhook(configOf(settings), request, { ...context, now })
}

const eventText = (event_type: string, data: object) =>
  JSON.stringify({ event_id: 'evt_1', event_type, occurred_at: '2026-08-01T10:00:00.000000Z', data })

describe('a notification of Paddle', () => {
  const parseVector = (header: string, settings: object = {}, at_ms = vectors.ts * 1000) =>
    parse(vectors.rawBody, header, { webhook_secret: vectors.secret, ...settings }, new Date(at_ms))

  it.each([vectors.header, vectors.header_rotated])(
    'is taken under the known signature %.40s',
    async (header) => {
      const event = {
        external_event_id: 'evt_01test',
        kind: 'payment',
        external_id: 'txn_01test',
        trust: 'signed',
      }
      expect(await parseVector(header)).toMatchObject({ verdict: 'accepted', events: [event] })
    },
  )

  it.each([
    ['two times', `ts=${vectors.ts};${vectors.header}`],
    ['no proof', `ts=${vectors.ts}`],
    ['a proof of another scheme', `ts=${vectors.ts};h2=${vectors.h1}`],
    ['a proof in capitals', `ts=${vectors.ts};h1=${vectors.h1.toUpperCase()}`],
    ['a thousand proofs', `${vectors.header}${';h1=00'.repeat(1000)}`],
  ])('is refused with %s', async (_what, header) => {
    expect(await parseVector(header)).toMatchObject({ verdict: 'refused', status: 401 })
  })

  it('is refused under the API key or another secret, and an hour later or sooner', async () => {
    for (const webhook_secret of ['pdl_ntfset_somebody_elses', 'pdl_ntfset_01test_vectorsecreT']) {
      expect(await parseVector(vectors.header, { webhook_secret })).toMatchObject({ verdict: 'refused' })
    }
    for (const hours of [1, -1]) {
      const at_ms = vectors.ts * 1000 + hours * 3_600_000
      expect(await parseVector(vectors.header, {}, at_ms)).toMatchObject({ verdict: 'refused' })
    }
  })

  it('signed here is taken by the official package, which refuses it under another secret', async () => {
    const official = new Paddle(KEYS.api_key)
    const body = eventText('transaction.completed', { id: 'txn_1' })
    const now = Math.floor(Date.now() / 1000)
    expect(await official.webhooks.isSignatureValid(body, KEYS.webhook_secret, sign(body, now))).toBe(true)
    expect(await official.webhooks.isSignatureValid(body, 'pdl_ntfset_other', sign(body, now))).toBe(false)
    // What the official package takes, this gateway takes: the same bytes under the same header.
    expect(await parse(body, sign(body, now), {}, new Date())).toMatchObject({ verdict: 'accepted' })
  })

  const adjustment = {
    id: 'adj_1',
    transaction_id: 'txn_1',
    reason: '[re_9] unhappy',
    status: 'approved',
    currency_code: 'USD',
    totals: { total: '59900' },
  }
  it.each([
    [
      'transaction.paid',
      { id: 'txn_1', custom_data: { payment_id: 'pay_1' } },
      { kind: 'payment', payment_id: 'pay_1' },
    ],
    [
      'transaction.payment_failed',
      { id: 'txn_1', custom_data: null },
      { kind: 'payment', external_id: 'txn_1' },
    ],
    [
      'adjustment.updated',
      { ...adjustment, action: 'refund' },
      { kind: 'refund', external_id: 'adj_1', refund_id: 're_9', payment_external_id: 'txn_1' },
    ],
    [
      'adjustment.created',
      { ...adjustment, action: 'chargeback' },
      {
        kind: 'dispute',
        dispute: { external_id: 'chargeback:txn_1', status: 'open', amount: 59_900n, currency: 'USD' },
      },
    ],
    [
      'adjustment.created',
      { ...adjustment, action: 'chargeback_reverse' },
      { kind: 'dispute', dispute: { external_id: 'chargeback:txn_1', status: 'won' } },
    ],
    [
      'subscription.past_due',
      { id: 'sub_1', status: 'past_due' },
      { kind: 'subscription', external_id: 'sub_1', data: { status: 'past_due' } },
    ],
    [
      'transaction.completed',
      {
        id: 'txn_2',
        origin: 'subscription_recurring',
        subscription_id: 'sub_1',
        custom_data: { payment_id: 'pay_1' },
      },
      { kind: 'subscription', external_id: 'sub_1', charge_external_id: 'txn_2' },
    ],
    [
      'transaction.completed',
      { id: 'txn_1', origin: 'web', subscription_id: 'sub_1', custom_data: { payment_id: 'pay_1' } },
      { kind: 'payment', external_id: 'txn_1', payment_id: 'pay_1' },
    ],
    [
      'transaction.paid',
      { id: 'txn_1', origin: 'web', subscription_id: 'sub_1' },
      { kind: 'subscription', external_id: 'sub_1', charge_external_id: 'txn_1' },
    ],
    [
      'adjustment.updated',
      { ...adjustment, action: 'refund', subscription_id: 'sub_1' },
      {
        kind: 'refund',
        payment_external_id: 'txn_1',
        charge_of: { subscription_external_id: 'sub_1' },
      },
    ],
  ])('%s of %j says what happened', async (type, data, event) => {
    expect(await parse(eventText(type, data))).toMatchObject({
      events: [{ trust: 'signed', type, ...event }],
    })
  })

  it.each([
    ['adjustment.created', { ...adjustment, action: 'credit' }],
    ['adjustment.created', { id: 'adj_1', action: 'chargeback' }],
    ['customer.updated', { id: 'ctm_1' }],
    ['transaction.completed', {}],
  ])('%s of %j is nothing to do', async (type, data) => {
    expect(await parse(eventText(type, data))).toEqual({ verdict: 'accepted', events: [] })
  })
})

describe('a payment at Paddle', () => {
  it('is asked for with tax inside the price, our ids, and the page of the owner', async () => {
    const product_id = `pro_01${'a'.repeat(24)}`
    const input = purchase()
    const settings = { product_id, checkout_url: 'https://shop.example/pay' }
    const created = await paddle.createPayment(configOf(settings), input, context)
    expect(created.checkout_url).toBe(`https://shop.example/pay?_ptxn=${created.external_id}`)
    const [made] = transactions()
    expect(made).toMatchObject({
      custom_data: { payment_id: input.payment_id, order_id: input.order_id },
      items: [{ quantity: 1, price: { product_id, tax_mode: 'internal', unit_price: { amount: '59900' } } }],
      details: { totals: { total: '59900', tax: '9983', subtotal: '49917' } },
    })
  })

  it('tells the vendor’s fee, the time and what was given back', async () => {
    const payment = await paid()
    await paddle.refund?.(configOf(), refundOf(payment, 100n), context)
    const told = await paddle.getPayment(configOf(), payment, context)
    expect(told).toMatchObject({
      status: 'succeeded',
      amount: 59_900n,
      fee: 2995n,
      refunded_amount: 100n,
      is_test: true,
    })
    expect(told?.paid_at).toBeInstanceOf(Date)
  })

  it('is pending after a declined attempt, failed when past due, and takes no chosen method', async () => {
    const input = purchase()
    const { external_id = '' } = await paddle.createPayment(configOf(), input, context)
    const told = () => paddle.getPayment(configOf(), { ...input, external_id }, context)
    emulator.control.complete(external_id, { outcome: 'canceled', reason: 'fraud' })
    expect((await told())?.status).toBe('pending')
    emulator.control.complete(external_id, { outcome: 'canceled', reason: 'past_due' })
    expect(await told()).toMatchObject({ status: 'failed', failure_reason: 'declined' })
    expect(await paddle.createPayment(configOf(), purchase({ method: 'card' }), context)).toMatchObject({
      status: 'failed',
    })
  })

  it('is found by our id beyond the vendor’s first page, and not made again', async () => {
    const input = purchase()
    const first = await paddle.createPayment(configOf(), input, context)
    for (let count = 0; count < 70; count++) await paddle.createPayment(configOf(), purchase(), context)
    expect((await paddle.createPayment(configOf(), input, newContext())).external_id).toBe(first.external_id)
    const range = { from: new Date(Date.now() - 60_000), to: new Date(Date.now() + 60_000) }
    const listed: string[] = []
    let cursor: string | undefined
    do {
      const page = await paddle.listPayments?.(
        configOf(),
        { ...range, ...(cursor ? { cursor } : {}) },
        context,
      )
      listed.push(...(page?.items ?? []).map(({ external_id }) => external_id))
      cursor = page?.next_cursor
    } while (cursor !== undefined)
    expect([listed.length, new Set(listed).size]).toEqual([71, 71])
  })
})

/** A subscription of a dollar a month, as the owner's own checkout makes it. */
async function subscribed(): Promise<string> {
  const account = { base_url: emulator.base_url, api_key: KEYS.api_key }
  const data = await openClubCheckout(account, { amount: '100', custom_data: { payment_id: 'pay_first' } })
  emulator.control.complete(data.id, 'succeeded')
  return transactions().find(({ id }) => id === data.id)?.subscription_id ?? ''
}
const chargeOf = (subscription_external_id: string) => ({ ...purchase(), subscription_external_id })
const charges = () => transactions().filter(({ origin }) => origin === 'subscription_charge')

describe('a preview of Paddle', () => {
  const asked = { amount: 59_900n, currency: 'USD', description: '100 tokens', country: 'DE' }
  const told = { subtotal: 49_917n, tax: 9983n, total: 59_900n, currency: 'USD' }
  const preview = (more: object = {}) => paddle.previewPayment?.(configOf(), { ...asked, ...more }, context)

  it('takes tax out of our price, for a purchase and for a charge, and makes nothing', async () => {
    expect(await preview()).toEqual(told)
    expect(await preview({ postal_code: '10115', description: '' })).toEqual(told)
    expect(transactions()).toEqual([])
    const subscription_external_id = await subscribed()
    expect(await preview({ subscription_external_id })).toEqual(told)
    expect(transactions()).toHaveLength(1)
  })

  it('is refused where the vendor does not sell, and unavailable when it does not answer', async () => {
    expect(await preview({ country: 'XX' })).toMatchObject({
      refusal: expect.stringContaining('bad_request'),
    })
    for (const subscription_external_id of ['sub_1', `sub_${'0'.repeat(26)}`, '../transactions'])
      expect(await preview({ subscription_external_id })).toMatchObject({ refusal: expect.any(String) })
    emulator.control.faults({ error_500: 1 })
    await expect(preview()).rejects.toThrow(GatewayUnavailable)
  })
})

describe('a charge of a subscription at Paddle', () => {
  const charge = (input: ReturnType<typeof chargeOf>) =>
    paddle.chargeSubscription?.(configOf(), input, newContext())

  it('is one transaction for one payment, told by our id, however often it is asked for', async () => {
    const input = chargeOf(await subscribed())
    const first = await charge(input)
    expect(first).toMatchObject({
      status: 'succeeded',
      payment: { payment_id: input.payment_id, order_id: input.order_id, amount: 59_900n, currency: 'USD' },
    })
    expect(await charge(input)).toEqual(first)
    expect(charges()).toMatchObject([{ id: first?.external_id, custom_data: { payment_id: 'pay_first' } }])
    const { external_id: _lost, ...reference } = { ...input, external_id: '' }
    expect(await paddle.getPayment(configOf(), reference, newContext())).toMatchObject({
      external_id: first?.external_id,
    })
  })

  it('whose answer is lost is found again; one that was not heard is made then', async () => {
    const impatient = { ...newContext(), timeout_ms: 300 }
    const id = await subscribed()
    for (const [fault, made] of [
      ['timeout_after_charge', 1],
      ['timeout_before_charge', 1],
    ] as const) {
      const input = chargeOf(id)
      const before = charges().length
      emulator.control.faults({ [fault]: 1, scope: 'operations' })
      await expect(paddle.chargeSubscription?.(configOf(), input, impatient)).rejects.toThrow(
        GatewayUnavailable,
      )
      expect(charges()).toHaveLength(fault === 'timeout_after_charge' ? before + made : before)
      expect(await charge(input)).toMatchObject({ status: 'succeeded' })
      expect(charges()).toHaveLength(before + made)
    }
  })

  it('waits where the same amount was charged without a name, for it may be this one', async () => {
    const id = await subscribed()
    emulator.control.complete(id, { outcome: 'succeeded', charge: '500' })
    await charge(chargeOf(id))
    emulator.control.complete(id, { outcome: 'succeeded', charge: '59900' })
    const made = charges().length
    await expect(charge(chargeOf(id))).rejects.toThrow(GatewayUnavailable)
    expect(charges()).toHaveLength(made)
  })

  it('is refused for a card that is declined and for what is no subscription', async () => {
    const id = await subscribed()
    emulator.control.settings({ charge_outcome: 'declined' })
    expect(await charge(chargeOf(id))).toMatchObject({
      status: 'failed',
      failure_reason: expect.stringContaining('subscription_payment_declined'),
    })
    for (const other of ['sub_1', `sub_${'0'.repeat(26)}`, '../transactions'])
      expect(await charge(chargeOf(other))).toMatchObject({ status: 'failed' })
    expect(charges()).toEqual([])
  })

  it('is told as our payment; a renewal and a charge of the cabinet as the subscription’s', async () => {
    const id = await subscribed()
    const input = chargeOf(id)
    await charge(input)
    const [ours] = charges()
    const others = ['succeeded', { outcome: 'succeeded', charge: '500' }].map((wish) =>
      emulator.control.complete(id, wish as 'succeeded'),
    )
    const events = await Promise.all(
      [ours, ...others].map((data) => parse(eventText('transaction.completed', data as object))),
    )
    const [about, ...rest] = events.flatMap((told) => (told.verdict === 'accepted' ? told.events : []))
    expect(about).toMatchObject({ kind: 'payment', payment_id: input.payment_id, external_id: ours?.id })
    for (const event of rest) expect(event).toMatchObject({ kind: 'subscription', external_id: id })
    const told = await paddle.getSubscription?.(configOf(), { external_id: id }, newContext())
    const renewals = told?.charges?.map(({ is_renewal, payment_id }) => [is_renewal, payment_id])
    expect(renewals).toEqual([
      [true, undefined],
      [true, undefined],
      [false, input.payment_id],
      [false, 'pay_first'],
    ])
  })

  it('is not possible once the subscription was ended, which is done once', async () => {
    const id = await subscribed()
    const end = () => paddle.endSubscription?.(configOf(), { external_id: id }, newContext())
    for (const _time of ['once', 'again'])
      expect(await end()).toMatchObject({ is_active: false, will_renew: false })
    expect(await charge(chargeOf(id))).toMatchObject({ status: 'failed' })
    expect(await paddle.endSubscription?.(configOf(), { external_id: 'sub_1' }, context)).toBeUndefined()
  })
})

describe('a list of Paddle', () => {
  it('shows ours beside foreign things of an unknown form, and passes over none of ours', async () => {
    const input = purchase()
    await paddle.createPayment(configOf(), input, context)
    const [ours] = transactions()
    const foreign = { id: 'txn_x', details: null, custom_data: null }
    let data: object[] = [foreign, { ...ours }]
    const server = createServer((_request, response) => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ data, meta: { pagination: { next: null, has_more: false } } }))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : 0
    const config = configOf({ base_url: `http://127.0.0.1:${port}` })
    expect(await paddle.getPayment(config, input, context)).toMatchObject({ external_id: ours?.id })
    data = [{ ...foreign, custom_data: { payment_id: input.payment_id } }]
    await expect(paddle.getPayment(config, input, context)).rejects.toBeInstanceOf(GatewayUnavailable)
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
})

describe('money given back by Paddle', () => {
  it('is pending until approved, and failed when rejected', async () => {
    emulator.control.settings({ refund_outcome: 'pending_approval' })
    const outcomes = { succeeded: 'succeeded', canceled: 'failed' } as const
    for (const [outcome, status] of Object.entries(outcomes)) {
      const input = refundOf(await paid(), 100n)
      const refund = await paddle.refund?.(configOf(), input, context)
      expect(refund).toMatchObject({ status: 'pending', amount: 100n, refund_id: input.refund_id })
      const external_id = refund?.external_id ?? ''
      emulator.control.complete(external_id, outcome as 'succeeded' | 'canceled')
      expect(await paddle.getRefund?.(configOf(), { ...input, external_id }, context)).toMatchObject({
        status,
      })
      expect(await paddle.getRefund?.(configOf(), input, context)).toMatchObject({ status, external_id })
    }
  })

  it('in full names no item, in part the item and the amount', async () => {
    await paddle.refund?.(configOf(), refundOf(await paid(), 59_900n), context)
    await paddle.refund?.(configOf(), refundOf(await paid(), 5n), context)
    expect(adjustments().map(({ type, totals }) => [type, totals.total])).toEqual([
      ['partial', '5'],
      ['full', '59900'],
    ])
  })

  it('waits while the vendor still works on the payment, and is refused for an unpaid one', async () => {
    emulator.control.settings({ completion: 'later' })
    const payment = await paid()
    const input = refundOf(payment, 100n)
    await expect(paddle.refund?.(configOf(), input, context)).rejects.toBeInstanceOf(GatewayUnavailable)
    emulator.control.complete(payment.external_id, 'succeeded')
    expect(await paddle.refund?.(configOf(), input, context)).toMatchObject({ status: 'succeeded' })
    const unpaid = purchase()
    const { external_id = '' } = await paddle.createPayment(configOf(), unpaid, context)
    expect(
      await paddle.refund?.(configOf(), refundOf({ ...unpaid, external_id }, 1n), context),
    ).toMatchObject({ status: 'failed' })
  })

  it('is listed by the time it was made, chargebacks left out', async () => {
    const payment = await paid()
    const refund = await paddle.refund?.(configOf(), refundOf(payment, 100n), context)
    emulator.control.complete(payment.external_id, { outcome: 'canceled', dispute: 'open' })
    const range = { from: new Date(Date.now() - 60_000), to: new Date(Date.now() + 60_000) }
    const listed = await paddle.listRefunds?.(configOf(), range, context)
    expect(listed?.items).toMatchObject([
      { external_id: refund?.external_id, payment_external_id: payment.external_id },
    ])
    expect(await paddle.listRefunds?.(configOf(), { from: new Date(0), to: range.from }, context)).toEqual({
      items: [],
    })
  })
})

describe('the settings of Paddle', () => {
  it('tell the mode by the key and take nothing else for a key or a secret', () => {
    const live = { ...KEYS, api_key: 'pdl_live_apikey_0123456789abcdef' }
    expect(paddle.isTest(paddle.configSchema.parse(live))).toBe(false)
    const swapped = { api_key: KEYS.webhook_secret, webhook_secret: KEYS.api_key }
    expect(paddle.configSchema.safeParse(swapped).success).toBe(false)
    expect(paddle.configSchema.safeParse({ ...KEYS, checkout_url: 'http://shop.example' }).success).toBe(
      false,
    )
  })

  it('are in good health with the right key only', async () => {
    expect(await paddle.checkHealth?.(configOf(), context)).toEqual({ ok: true, detail: 'sandbox account' })
    const wrong = configOf({ api_key: 'pdl_sdbx_apikey_wrong0123456789' })
    expect(await paddle.checkHealth?.(wrong, context)).toMatchObject({ ok: false })
    await expect(paddle.createPayment(wrong, purchase(), context)).rejects.toBeInstanceOf(
      GatewayMisconfigured,
    )
  })
})
