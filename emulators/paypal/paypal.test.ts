import { afterEach, describe, expect, it } from 'vitest'
import type { EmulatorOptions } from '../emulator.ts'
import { loadSpec } from '../kit/openapi.ts'
import { startListener } from '../kit/test-listener.ts'
import { startPaypalEmulator } from '../paypal.ts'
import type { Order, PaypalSettings, WebhookEvent } from '../paypal.ts'

const APP = 'AKopilkaEmulatorClient0123456789:EKopilkaEmulatorSecret0123456789'
const ORDERS = '/v2/checkout/orders'
const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

interface Failure {
  name: string
  details: { issue: string; field?: string }[]
}
type Answer<T> = { status: number; body: T & Partial<Failure> }

const UNIT = { custom_id: '1001', invoice_id: '1001-1', description: '<b>Tokens</b>' }
const WALLET = {
  experience_context: { return_url: 'https://shop.example/ok?a=1', cancel_url: 'https://shop.example/no' },
}

async function open(options: EmulatorOptions<PaypalSettings> = {}) {
  const merchant = await startListener()
  const emulator = await startPaypalEmulator({
    seed: 1,
    retry_scale: 0.000001,
    webhook_url: merchant.url,
    ...options,
  })
  closing.push(
    () => emulator.close(),
    () => merchant.close(),
  )
  const login = async (credentials = APP) => {
    const response = await fetch(`${emulator.base_url}/v1/oauth2/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials' }),
    })
    return { status: response.status, body: (await response.json()) as { access_token: string } }
  }
  const { access_token } = (await login()).body
  const call = async <T = Order>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> => {
    const response = await fetch(emulator.base_url + path, {
      method,
      headers: {
        authorization: `Bearer ${access_token}`,
        prefer: 'return=representation',
        ...(method === 'GET' ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, body: (text === '' ? {} : JSON.parse(text)) as Answer<T>['body'] }
  }
  const make = (changes: object = {}, key = `k-${Math.random()}`, unit: object = {}) =>
    call('POST', ORDERS, bodyOf(changes, unit), { 'paypal-request-id': key })
  const paid = async (changes: object = {}) => {
    const { id } = (await make(changes)).body
    emulator.control.complete(id, 'succeeded')
    return (await call('POST', `${ORDERS}/${id}/capture`, {})).body
  }
  const types = () => merchant.bodies<WebhookEvent>().map(({ event_type }) => event_type)
  return { emulator, merchant, login, call, make, paid, types }
}

function bodyOf(changes: object, unit: object) {
  const amount = { currency_code: 'USD', value: '10.00' }
  return {
    intent: 'CAPTURE',
    purchase_units: [{ ...UNIT, amount, ...unit }],
    payment_source: { paypal: WALLET },
    ...changes,
  }
}

describe('the PayPal emulator', () => {
  it('charges only when an approved order is captured, and answers in the vendor’s shape', async () => {
    const { emulator, call, make, types } = await open()
    const { status, body } = await make()
    expect([status, body.status, body.links.map(({ rel }) => rel)]).toEqual([
      201,
      'PAYER_ACTION_REQUIRED',
      ['self', 'payer-action'],
    ])
    const path = `${ORDERS}/${body.id}/capture`
    expect((await call('POST', path, {})).body.details?.[0]?.issue).toBe('ORDER_NOT_APPROVED')
    emulator.control.complete(body.id, 'succeeded')
    const taken = await call('POST', path, {})
    expect(taken).toMatchObject({ status: 201, body: { status: 'COMPLETED' } })
    expect(taken.body.purchase_units[0].payments?.captures).toMatchObject([
      {
        status: 'COMPLETED',
        custom_id: '1001',
        seller_receivable_breakdown: { paypal_fee: { value: '0.34' }, net_amount: { value: '9.66' } },
      },
    ])
    expect(loadSpec('paypal-orders').checkSchema('order', taken.body)).toEqual([])
    expect((await call('POST', path, {})).body.details?.[0]?.issue).toBe('ORDER_ALREADY_CAPTURED')
    await emulator.control.settled()
    expect(types().toSorted()).toEqual(['CHECKOUT.ORDER.APPROVED', 'PAYMENT.CAPTURE.COMPLETED'])
  })

  it('tells little unless all is asked for, and names its page as the source was given', async () => {
    const { call } = await open()
    const { payment_source: _, ...bare } = bodyOf({}, {})
    const { body } = await call('POST', ORDERS, bare, { prefer: 'return=minimal' })
    expect(Object.keys(body).toSorted()).toEqual(['id', 'links', 'status'])
    expect(body).toMatchObject({ status: 'CREATED', links: [{ rel: 'self' }, { rel: 'approve' }] })
  })

  it('remembers a key for six hours, by its latest state, and no refusal', async () => {
    const { emulator, call, make } = await open()
    const first = await make({}, 'same')
    emulator.control.complete(first.body.id, 'succeeded')
    expect(await make({}, 'same')).toMatchObject({
      status: 200,
      body: { id: first.body.id, status: 'APPROVED' },
    })
    const path = `${ORDERS}/${first.body.id}/capture`
    const key = { 'paypal-request-id': 'capture' }
    const taken = await Promise.all(Array.from({ length: 20 }, () => call('POST', path, {}, key)))
    expect(taken.map(({ status }) => status).toSorted()).toEqual([...Array(19).fill(200), 201])
    expect(emulator.control.objects({ collection: 'captures' }).items).toHaveLength(1)
    emulator.control.advanceClock(7 * 3_600_000)
    expect((await make({}, 'same')).body.id).not.toBe(first.body.id)
  })

  it.each([
    ['no amount', {}, { amount: undefined }, 400, 'MISSING_REQUIRED_PARAMETER'],
    ['a long id', {}, { custom_id: 'x'.repeat(128) }, 400, 'INVALID_PARAMETER_VALUE'],
    ['an unknown intent', { intent: 'SALE' }, {}, 400, 'INVALID_PARAMETER_VALUE'],
    ['half a yen', {}, { amount: { currency_code: 'JPY', value: '1.50' } }, 422, 'DECIMALS_NOT_SUPPORTED'],
    ['a tenth of a cent', {}, { amount: { currency_code: 'USD', value: '1.501' } }, 422, 'DECIMAL_PRECISION'],
    ['roubles', {}, { amount: { currency_code: 'RUB', value: '10.00' } }, 422, 'CURRENCY_NOT_SUPPORTED'],
    ['nothing', {}, { amount: { currency_code: 'USD', value: '0.00' } }, 422, 'CANNOT_BE_ZERO_OR_NEGATIVE'],
    ['a debt', {}, { amount: { currency_code: 'USD', value: '-1.00' } }, 422, 'CANNOT_BE_ZERO_OR_NEGATIVE'],
  ])('refuses an order of %s', async (_what, changes, unit, status, issue) => {
    const { emulator, make } = await open()
    const refused = await make(changes, 'k', unit)
    expect([refused.status, refused.body.details?.map((detail) => detail.issue)]).toEqual([
      status,
      expect.arrayContaining([issue]),
    ])
    expect(emulator.control.objects().items).toEqual([])
  })

  it('refuses wrong credentials, tokens, types, keys and paths in the vendor’s words', async () => {
    const { call, login, make } = await open()
    expect(await login('someone:else')).toMatchObject({ status: 401, body: { error: 'invalid_client' } })
    const strange = await call('GET', `${ORDERS}/1`, undefined, { authorization: 'Bearer A21AAnobody' })
    expect(strange).toMatchObject({ status: 401, body: { name: 'AUTHENTICATION_FAILURE' } })
    const { body } = await make()
    const plain = await call('POST', `${ORDERS}/${body.id}/capture`, 'x', { 'content-type': 'text/plain' })
    expect(plain.status).toBe(415)
    const keyless = await call('POST', ORDERS, bodyOf({}, {}))
    expect(keyless.body.details?.[0]?.issue).toBe('PAYPAL_REQUEST_ID_REQUIRED')
    expect((await call('GET', '/v1/payments/payouts/1')).status).toBe(404)
    expect((await call('POST', ORDERS, '{')).status).toBe(400)
  })

  it('lets access tokens run out', async () => {
    const { emulator, call } = await open({ settings: { token_life_seconds: 10 } })
    expect((await call('GET', `${ORDERS}/1`)).status).toBe(404)
    emulator.control.advanceClock(10_000)
    expect((await call('GET', `${ORDERS}/1`)).status).toBe(401)
  })

  it('refunds no more than was captured, waiting refunds counted, and not what is under review', async () => {
    const { emulator, call, paid } = await open({ settings: { refund_outcome: 'PENDING' } })
    const capture = (await paid()).purchase_units[0].payments?.captures?.[0]
    const refund = (value: string, id = capture?.id) =>
      call<{ id: string; status: string }>('POST', `/v2/payments/captures/${id}/refund`, {
        amount: { currency_code: 'USD', value },
      })
    const first = await refund('6.00')
    expect(first).toMatchObject({ status: 201, body: { status: 'PENDING' } })
    expect((await refund('4.01')).body.details?.[0]?.issue).toBe('REFUND_AMOUNT_EXCEEDED')
    emulator.control.complete(first.body.id, 'canceled')
    expect((await refund('10.00')).status).toBe(201)
    expect((await refund('0.01')).body.details?.[0]?.issue).toBe('CAPTURE_FULLY_REFUNDED')
    emulator.control.settings({ capture_outcome: 'PENDING' })
    const waiting = (await paid()).purchase_units[0].payments?.captures?.[0]
    expect((await refund('1.00', waiting?.id)).body.details?.[0]?.issue).toBe('PENDING_CAPTURE')
  })

  it('repeats an event with its first time until any 2xx, and verifies what it sent', async () => {
    const { emulator, merchant, call, make } = await open()
    merchant.answer({ status: 500 })
    const { id } = (await make()).body
    emulator.control.complete(id, 'succeeded')
    await expect.poll(() => merchant.received.length).toBeGreaterThan(3)
    merchant.answer({ status: 204 })
    expect(await emulator.control.settled()).toBe(true)
    const marks = merchant.received.map(
      ({ headers, text }) => `${String(headers['paypal-transmission-time'])} ${text}`,
    )
    expect(new Set(marks).size).toBe(1)
    const [first] = merchant.received
    const said = (changes: object = {}) =>
      JSON.stringify({
        transmission_id: first?.headers['paypal-transmission-id'],
        transmission_time: first?.headers['paypal-transmission-time'],
        transmission_sig: first?.headers['paypal-transmission-sig'],
        cert_url: first?.headers['paypal-cert-url'],
        auth_algo: first?.headers['paypal-auth-algo'],
        webhook_id: '1JE4291016473214C',
        ...changes,
      })
    const verify = async (facts: string, text = first?.text ?? '') =>
      (
        await call<{ verification_status: string }>(
          'POST',
          '/v1/notifications/verify-webhook-signature',
          `${facts.slice(0, -1)},"webhook_event":${text}}`,
        )
      ).body.verification_status
    expect(await verify(said())).toBe('SUCCESS')
    expect(await verify(said(), first?.text.replace('{', '{ '))).toBe('FAILURE')
    expect(await verify(said({ webhook_id: '8PT597110X687430L' }))).toBe('FAILURE')
    expect(await verify(said({ transmission_time: '2026-01-01T00:00:00Z' }))).toBe('FAILURE')
  })

  it('shows the buyer a page that approves, declines and lets him leave', async () => {
    const { emulator, call, make } = await open()
    const { id, links } = (await make()).body
    const page = links[1]?.href ?? ''
    const press = (action: string) =>
      fetch(page, { method: 'POST', body: new URLSearchParams({ action }), redirect: 'manual' })
    expect(await (await fetch(page)).text()).toContain('&lt;b&gt;Tokens')
    expect((await press('leave')).headers.get('location')).toBe(`https://shop.example/no?token=${id}`)
    const back = `https://shop.example/ok?a=1&token=${id}&PayerID=QYR5Z8XDVJNXQ`
    expect((await press('decline')).headers.get('location')).toBe(back)
    const capture = () => call('POST', `${ORDERS}/${id}/capture`, {})
    expect((await capture()).body.details?.[0]?.issue).toBe('INSTRUMENT_DECLINED')
    expect((await press('approve')).headers.get('location')).toBe(back)
    expect((await capture()).status).toBe(201)
    expect(await (await press('approve')).text()).toContain('COMPLETED')
    expect((await fetch(`${emulator.base_url}/checkoutnow?token=none`)).status).toBe(404)
  })

  it('lists disputes in the vendor’s shape, newest first and page by page', async () => {
    const { emulator, call, paid } = await open()
    for (const dispute of ['open', 'open', 'open'])
      emulator.control.complete((await paid()).id, { outcome: 'canceled', dispute })
    const path = '/v1/customer/disputes'
    const spec = loadSpec('paypal-disputes')
    type List = { items?: { dispute_id: string }[]; links: { rel: string; href: string }[] }
    const page = await call<List>('GET', `${path}?page_size=2`)
    expect(spec.checkResponse('GET', path, 200, page.body)).toEqual([])
    const next = page.body.links.find(({ rel }) => rel === 'next')?.href ?? ''
    const rest = await call<List>('GET', next.slice(emulator.base_url.length))
    const ids = [...(page.body.items ?? []), ...(rest.body.items ?? [])].map(({ dispute_id }) => dispute_id)
    const made = emulator.control.objects({ collection: 'disputes' }).items as { dispute_id: string }[]
    expect(ids).toEqual(made.map(({ dispute_id }) => dispute_id))
    const one = await call<object>('GET', `${path}/${ids[0]}`)
    expect(spec.checkResponse('GET', `${path}/{id}`, 200, one.body)).toEqual([])
    expect((await call('GET', `${path}?opened_after=x`)).status).toBe(400)
    const tomorrow = new Date(Date.now() + 86_400_000).toISOString()
    expect((await call<List>('GET', `${path}?update_time_after=${tomorrow}`)).body.items).toBeUndefined()
    emulator.control.settings({ are_disputes_readable: false })
    expect([(await call('GET', path)).status, (await call('GET', `${path}/${ids[0]}`)).status]).toEqual([
      403, 403,
    ])
  })

  it('lets approvals be reversed, and opens, wins and loses a dispute once', async () => {
    const { emulator, make, paid, types } = await open()
    const { id } = (await make()).body
    emulator.control.complete(id, 'succeeded')
    emulator.control.advanceClock(4 * 3_600_000)
    expect(() => emulator.control.complete(id, 'succeeded')).toThrow(/already/)
    const order = await paid()
    const ask = (dispute: string) => emulator.control.complete(order.id, { outcome: 'canceled', dispute })
    expect(() => ask('won')).toThrow(/already/)
    expect(ask('open')).toMatchObject({ status: 'OPEN' })
    expect(() => ask('open')).toThrow(/already/)
    expect(ask('lost')).toMatchObject({ dispute_outcome: { outcome_code: 'RESOLVED_BUYER_FAVOUR' } })
    expect(() => ask('won')).toThrow(/already/)
    await emulator.control.settled()
    expect(types()).toEqual(
      expect.arrayContaining([
        'CHECKOUT.PAYMENT-APPROVAL.REVERSED',
        'CUSTOMER.DISPUTE.CREATED',
        'PAYMENT.CAPTURE.REVERSED',
        'CUSTOMER.DISPUTE.RESOLVED',
      ]),
    )
  })

  it('keeps events and money for whoever asks, page by page', async () => {
    const { emulator, call, paid } = await open()
    for (let count = 0; count < 5; count++) await paid()
    const listed = new Set<string>()
    let query = '?event_type=PAYMENT.CAPTURE.COMPLETED&page_size=2'
    for (let page = 0; page < 3; page++) {
      const { body } = await call<{ events: WebhookEvent[]; links: { href: string }[] }>(
        'GET',
        `/v1/notifications/webhooks-events${query}`,
      )
      for (const event of body.events) listed.add(event.id)
      query = new URL(body.links[0]?.href ?? 'http://none').search
    }
    expect([listed.size, query]).toEqual([5, ''])
    const at = (ms: number) => new Date(Date.now() + ms).toISOString()
    const report = (from: number) =>
      call<{ total_items: number }>(
        'GET',
        `/v1/reporting/transactions?start_date=${at(from)}&end_date=${at(60_000)}`,
      )
    expect((await report(-60_000)).body.total_items).toBe(5)
    expect((await report(-32 * 86_400_000)).status).toBe(400)
    expect((await call('GET', '/v1/notifications/webhooks-events?state=x')).status).toBe(400)
    expect(emulator.control.objects({ collection: 'events', limit: 100 }).items).toHaveLength(10)
  })
})

describe('a subscription of the emulated PayPal', () => {
  it('sells periods, lists them late and page by page, and gives them back once', async () => {
    const { emulator, call, types } = await open()
    const path = '/v1/billing/subscriptions'
    const made = await call<{ id: string }>('POST', path, { plan_id: 'P-5ML4271244454362WXNWU5NQ' })
    const { id } = made.body
    const at = (ms: number) => new Date(Date.now() + ms).toISOString()
    const list = () =>
      call<{ transactions: { id: string; status: string }[]; total_pages: number }>(
        'GET',
        `${path}/${id}/transactions?start_time=${at(-60_000)}&end_time=${at(60_000)}`,
      )
    for (let count = 0; count < 21; count++) emulator.control.complete(id, 'succeeded')
    const { body } = await list()
    expect(loadSpec('paypal-subscriptions').checkSchema('transactions_list', body)).toEqual([])
    expect([body.transactions.length, body.total_pages]).toEqual([20, 2])
    emulator.control.settings({ charge_list_lag_ms: 60_000 })
    expect((await list()).body.transactions).toEqual([])
    emulator.control.settings({ charge_list_lag_ms: 0 })
    const sale = body.transactions[0]?.id ?? ''
    const refund = (total: string) =>
      call<object>('POST', `/v1/payments/sale/${sale}/refund`, {
        amount: { total, currency: 'USD' },
      })
    expect((await refund('4.00')).status).toBe(201)
    expect((await refund('7.00')).body.details?.[0]?.issue).toBe('REFUND_AMOUNT_EXCEEDED')
    expect(emulator.control.complete(sale, { outcome: 'canceled', refund: '6.00' })).toMatchObject({
      sale_id: sale,
    })
    expect((await refund('1.00')).body.details?.[0]?.issue).toBe('CAPTURE_FULLY_REFUNDED')
    expect(() => emulator.control.complete(sale, { outcome: 'canceled', dispute: 'reversed' })).toThrow()
    expect(() => emulator.control.complete(sale, 'succeeded')).toThrow(/refunded/)
    expect((await call('GET', `${path}/${id}/transactions?from=x`)).status).toBe(400)
    await emulator.control.settled()
    expect(types()).toEqual(expect.arrayContaining(['PAYMENT.SALE.COMPLETED', 'PAYMENT.SALE.REFUNDED']))
  })
})
