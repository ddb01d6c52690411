import type { PaymentReference } from '@kopilka/extension'
import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { newContext, newId } from '../../../../test/gateway-contract.ts'
import { PAYPAL_APP, purchase } from '../../../../test/paypal-lab.ts'
import { expectEnding, startScriptedVendor } from '../../../../test/scripted-vendor.ts'
import type { Asked, Ending, Said, ScriptedVendor } from '../../../../test/scripted-vendor.ts'
import paypal from './paypal.ts'

let vendor: ScriptedVendor
beforeAll(async () => {
  vendor = await startScriptedVendor()
})
afterAll(() => vendor?.close())

const config = () =>
  paypal.configSchema.parse({ ...PAYPAL_APP, environment: 'sandbox', base_url: vendor.url })
const token: Said = { body: { access_token: 'A21AAcanaryToken0123456789', expires_in: 32_400 } }
const error = (status: number, name: string, issue?: string): Said => ({
  status,
  body: { name, ...(issue === undefined ? {} : { details: [{ issue }] }) },
})
const absent = error(404, 'RESOURCE_NOT_FOUND')
/** Answers what is asked with a token; where the script is silent there is nothing. */
const play = (script: (asked: Asked) => Said | undefined) =>
  vendor.say((asked) => (asked.path === '/v1/oauth2/token' ? token : (script(asked) ?? absent)))

const payment_id = newId('pay')
const payment: PaymentReference = { payment_id, payment_number: 7, amount: 1000n, currency: 'USD' }
const known: PaymentReference = { ...payment, external_id: '1AB' }
const money = (value = '10.00') => ({ currency_code: 'USD', value })
const capture = {
  id: '2CD',
  status: 'COMPLETED',
  amount: money(),
  custom_id: payment_id,
  supplementary_data: { related_ids: { order_id: '1AB' } },
}
const order = (status: string, payments: object = {}, more: object = {}) => ({
  id: '1AB',
  status,
  intent: 'CAPTURE',
  purchase_units: [{ custom_id: payment_id, amount: money(), payments }],
  ...more,
})
const paid = (more: object = {}) => order('COMPLETED', { captures: [capture], ...more })

describe('a payment that is asked for at PayPal', () => {
  test.each<[string, Said, Ending]>([
    ['is worked on', error(409, 'CONFLICT'), GatewayUnavailable],
    ['has no page for the buyer', { body: { id: '1AB', status: 'CREATED' } }, GatewayUnavailable],
    ['was voided', { body: { id: '1AB', status: 'VOIDED' } }, { status: 'canceled', external_id: '1AB' }],
    ['is refused', error(422, 'UNPROCESSABLE', 'CURRENCY_NOT_SUPPORTED'), { status: 'failed' }],
    ['is not allowed', error(403, 'NOT_AUTHORIZED'), GatewayMisconfigured],
  ])('that %s ends so', async (_title, answer, ending) => {
    play(() => answer)
    await expectEnding(paypal.createPayment(config(), purchase(), newContext()), ending)
  })
})

describe('an agreement that is charged at PayPal', () => {
  const charge = (changes: object = {}) =>
    paypal.chargeSavedMethod?.(
      config(),
      { ...purchase(), payment_id, method_external_id: '9ZZ', ...changes },
      newContext(),
    )
  const made: Said = { body: { id: '1AB', status: 'COMPLETED' } }
  const charging = (answer: Said, standing?: object) =>
    play(({ method, path }) => {
      if (method === 'POST' && path === '/v2/checkout/orders') return answer
      return path === '/v2/checkout/orders/1AB' && standing ? { body: standing } : undefined
    })

  test.each<[string, Said, object | undefined, Ending]>([
    ['is gone a moment later', made, undefined, GatewayUnavailable],
    ['is paid', made, paid(), { status: 'succeeded', external_id: '1AB' }],
    ['asks for the buyer', made, order('PAYER_ACTION_REQUIRED'), { status: 'failed' }],
    [
      'is refused',
      error(422, 'UNPROCESSABLE', 'TOKEN_ID_NOT_FOUND'),
      undefined,
      { status: 'failed', failure_reason: 'TOKEN_ID_NOT_FOUND' },
    ],
  ])('and %s ends so', async (_title, answer, standing, ending) => {
    charging(answer, standing)
    await expectEnding(charge(), ending)
  })

  it('in what the vendor cannot express is refused without asking', async () => {
    charging(made)
    await expectEnding(charge({ currency: 'RUB' }), { failure_reason: 'amount_not_supported' })
    expect(vendor.asked).toEqual([])
  })

  it('twice under one invoice is the first charge, or unknown when that is not to be found', async () => {
    const twice = error(422, 'UNPROCESSABLE', 'DUPLICATE_INVOICE_ID')
    let events: object[] = [{ resource: capture }]
    play(({ method, path }) => {
      if (method === 'POST') return twice
      if (path.startsWith('/v1/notifications/webhooks-events')) return { body: { events } }
      return path === '/v2/checkout/orders/1AB' ? { body: paid() } : undefined
    })
    await expectEnding(charge(), { status: 'succeeded', external_id: '1AB' })
    events = []
    await expectEnding(charge(), GatewayUnavailable)
  })
})

describe('an approved payment at PayPal', () => {
  const taking = (answer: Said, after?: object) => {
    let is_taken = false
    play(({ method, path }) => {
      if (method === 'POST') {
        is_taken = true
        return answer
      }
      if (path !== '/v2/checkout/orders/1AB') return undefined
      if (!is_taken) return { body: order('APPROVED') }
      return after ? { body: after } : undefined
    })
  }

  test.each<[string, Said, object | undefined, Ending]>([
    ['is being taken', error(422, 'X', 'ORDER_COMPLETION_IN_PROGRESS'), undefined, GatewayUnavailable],
    [
      'was taken by somebody else',
      error(422, 'X', 'ORDER_ALREADY_CAPTURED'),
      paid(),
      { status: 'succeeded' },
    ],
    ['is gone when it was taken', { status: 201, body: {} }, undefined, GatewayUnavailable],
    [
      'is refused with an unknown word',
      error(422, 'X', 'WORD_OF_TOMORROW'),
      undefined,
      { status: 'pending' },
    ],
    ['cannot be paid by him', error(422, 'X', 'PAYER_CANNOT_PAY'), undefined, { status: 'failed' }],
    ['asks the buyer', error(422, 'X', 'PAYER_ACTION_REQUIRED'), undefined, { status: 'requires_action' }],
  ])('that %s is told so', async (_title, answer, after, ending) => {
    taking(answer, after)
    await expectEnding(paypal.getPayment(config(), known, newContext()), ending)
  })

  it('is not taken while our own books are silent', async () => {
    taking({ status: 201, body: {} }, paid())
    const silent = { ...newContext(), isPayable: () => new Promise<boolean>(() => undefined) }
    await expectEnding(paypal.getPayment(config(), known, silent), GatewayUnavailable)
    expect(vendor.asked.filter(({ path }) => path.endsWith('/capture'))).toEqual([])
  })

  it('keeps no agreement when the vendor has two of the buyer, or will not say', async () => {
    const wallet = { attributes: { vault: { status: 'APPROVED', customer: { id: 'cus9' } } } }
    const kept = order('COMPLETED', { captures: [capture] }, { payment_source: { paypal: wallet } })
    const two: Said = { body: { payment_tokens: [{ id: 'a' }, { id: 'b' }] } }
    for (const answer of [two, error(404, 'NOT_FOUND')]) {
      play(({ path }) => (path.startsWith('/v3/vault/') ? answer : { body: kept }))
      const told = await paypal.getPayment(config(), known, newContext())
      expect(told).toMatchObject({ status: 'succeeded' })
      expect(told).not.toHaveProperty('saved_method')
    }
  })
})

describe('a payment that is looked for at PayPal', () => {
  const search = (answer: (asked: Asked) => Said) =>
    play((asked) => (asked.path.startsWith('/v1/notifications/webhooks-events') ? answer(asked) : undefined))
  const next = (href: string): Said => ({ body: { events: [], links: [{ rel: 'next', href }] } })

  test.each<[string, (asked: Asked) => Said, Ending]>([
    ['in events that are refused', () => error(400, 'BAD'), GatewayUnavailable],
    ['beyond a page of no address', () => next('nowhere'), GatewayUnavailable],
    [
      'beyond a page that is the same again',
      ({ path }) => next(`https://elsewhere.example${path}`),
      GatewayUnavailable,
    ],
    ['in vain', () => ({ body: {} }), undefined],
  ])('%s ends so', async (_title, answer, ending) => {
    search(answer)
    await expectEnding(paypal.getPayment(config(), payment, newContext()), ending)
  })

  test.each<[string, Said, Ending]>([
    ['refused by its form', error(400, 'X', 'INVALID_RESOURCE_ID'), undefined],
    ['refused otherwise', error(422, 'X', 'SOMETHING_ELSE'), GatewayMisconfigured],
  ])('by an id that is %s ends so', async (_title, answer, ending) => {
    play(() => answer)
    await expectEnding(paypal.getPayment(config(), known, newContext()), ending)
  })
})

describe('an order at PayPal', () => {
  const held = (status: string) =>
    order('COMPLETED', { authorizations: [{ id: '4GH', status, amount: money() }] })

  test.each<[string, object, Ending]>([
    ['denied by the bank', held('DENIED'), { status: 'failed', failure_reason: 'denied' }],
    ['held in a state of tomorrow', held('REVIEWED'), { status: 'pending' }],
    [
      'of an amount that is none',
      { ...order('COMPLETED'), purchase_units: [{ amount: money('ten') }] },
      GatewayUnavailable,
    ],
  ])('%s is told so', async (_title, standing, ending) => {
    play(() => ({ body: standing }))
    await expectEnding(paypal.getPayment(config(), known, newContext()), ending)
  })

  it('is paid without its agreement when the vendor never has that ready', async () => {
    const wallet = { attributes: { vault: { status: 'APPROVED', customer: { id: 'cus9' } } } }
    const kept = order('COMPLETED', { captures: [capture] }, { payment_source: { paypal: wallet } })
    play(({ path }) => ({ body: path.startsWith('/v3/vault/') ? { payment_tokens: [] } : kept }))
    await expectEnding(paypal.getPayment(config(), known, newContext()), { status: 'succeeded' })
    expect(vendor.asked.filter(({ path }) => path.startsWith('/v3/vault/'))).toHaveLength(3)
  })
})

describe('a refund at PayPal', () => {
  const refund = {
    refund_id: newId('re'),
    payment: known,
    amount: 1000n,
    currency: 'USD',
    reason: 'unhappy',
    is_full: true,
  }
  const made = { id: '3EF', status: 'COMPLETED', amount: money(), custom_id: refund.refund_id }

  test.each<[string, Said, object | undefined, Ending]>([
    [
      'is gone a moment later',
      { status: 201, body: { id: '3EF', status: 'COMPLETED' } },
      undefined,
      GatewayUnavailable,
    ],
    ['is worked on', error(409, 'CONFLICT'), undefined, GatewayUnavailable],
    [
      'failed with a word of no form',
      { status: 201, body: { id: '3EF', status: 'FAILED' } },
      { ...made, status: 'FAILED', status_details: { reason: 'he said no' } },
      { status: 'failed', failure_reason: 'failed' },
    ],
  ])('that %s ends so', async (_title, answer, standing, ending) => {
    play(({ method, path }) => {
      if (method === 'POST') return answer
      if (path === '/v2/payments/refunds/3EF') return standing ? { body: standing } : undefined
      return { body: paid() }
    })
    await expectEnding(paypal.refund?.(config(), refund, newContext()), ending)
  })

  it('refused because it was made a moment ago is the one that was made', async () => {
    let is_asked = false
    play(({ method }) => {
      if (method === 'POST') {
        is_asked = true
        return error(422, 'X', 'REFUND_AMOUNT_EXCEEDED')
      }
      return { body: paid(is_asked ? { refunds: [made] } : {}) }
    })
    await expectEnding(paypal.refund?.(config(), refund, newContext()), { external_id: '3EF' })
    await expectEnding(paypal.refund?.(config(), refund, newContext()), { external_id: '3EF' })
    expect(vendor.asked.filter(({ path }) => path.endsWith('/refund'))).toHaveLength(1)
  })

  it('in what the vendor cannot express is refused, and one nobody knows is nothing', async () => {
    play(({ path }) => (path.startsWith('/v2/checkout/orders/') ? { body: paid() } : undefined))
    const odd = { ...refund, amount: 0n }
    await expectEnding(paypal.refund?.(config(), odd, newContext()), {
      failure_reason: 'amount_not_supported',
    })
    await expectEnding(paypal.getRefund?.(config(), refund, newContext()), undefined)
    const by_theirs = { ...refund, payment, external_id: '3EF' }
    await expectEnding(paypal.getRefund?.(config(), by_theirs, newContext()), undefined)
  })
})

describe('PayPal’s report', () => {
  const line = (transaction_status: string, more: object = {}) => ({
    transaction_info: {
      transaction_id: '2CD',
      transaction_event_code: 'T0006',
      transaction_initiation_date: new Date().toISOString(),
      transaction_amount: money('-10.00'),
      transaction_status,
      ...more,
    },
  })
  const range = { from: new Date(Date.now() - 3_600_000), to: new Date(Date.now() + 3_600_000) }

  test.each([
    ['S', 'succeeded'],
    ['V', 'succeeded'],
    ['D', 'failed'],
    ['P', 'pending'],
  ])('tells a line of %s as %s', async (word, status) => {
    play(() => ({ body: { transaction_details: [line(word), { odd: true }], total_pages: 2 } }))
    await expectEnding(paypal.listPayments?.(config(), range, newContext()), {
      items: [{ external_id: '2CD', status, amount: 1000n }],
      next_cursor: '0:2',
    })
    const back = line(word, { transaction_event_code: 'T1107' })
    play(() => ({ body: { transaction_details: [back] } }))
    await expectEnding(paypal.listRefunds?.(config(), range, newContext()), { items: [{ status }] })
  })

  it('that cannot be had, or not be read, is no empty report', async () => {
    play(() => error(400, 'X', 'INVALID_REQUEST'))
    await expectEnding(paypal.listPayments?.(config(), range, newContext()), GatewayMisconfigured)
    play(() => ({ body: { transaction_details: [line('S', { transaction_amount: null })] } }))
    await expectEnding(paypal.listPayments?.(config(), range, newContext()), GatewayUnavailable)
  })
})

describe('PayPal’s list of disputes', () => {
  const range = { from: new Date('2026-01-01T00:00:00Z'), to: new Date('2026-02-01T00:00:00Z') }
  const listed = (dispute_id: string) => ({ dispute_id, create_time: '2026-01-10T00:00:00Z' })
  const href = 'https://api-m.paypal.com/v1/customer/disputes?page_size=50&next_page_token=QUJD%2B%2F%3D'
  const context = { ...newContext(), now: new Date('2026-03-01T00:00:00Z') }
  const list = (cursor?: string) =>
    paypal.listDisputes?.(config(), { ...range, ...(cursor === undefined ? {} : { cursor }) }, context)

  it('goes on where the vendor says, from the beginning of the time', async () => {
    const paths: string[] = []
    play(({ path }) => {
      paths.push(path)
      if (!path.includes('?')) return { body: { status: 'OPEN' } }
      return { body: { items: [listed('PP-D-1')], links: [{ rel: 'next', href }] } }
    })
    await expectEnding(list(), { items: [], next_cursor: 'QUJD+/=' })
    await expectEnding(list('QUJD+/='), { items: [] })
    const asked = paths.map((path) => new URL(path, 'https://x.example'))
    expect(asked.map(({ pathname }) => pathname.split('/').at(-1))).toEqual([
      'disputes',
      'PP-D-1',
      'disputes',
      'PP-D-1',
    ])
    expect(asked.map(({ searchParams }) => searchParams.get('next_page_token'))[2]).toBe('QUJD+/=')
    expect(asked[0]?.searchParams.get('update_time_after')).toBe('2026-01-01T00:00:00.000Z')
  })

  it('is asked for as far back as the vendor looks, and no other refusal is an empty list', async () => {
    let path = ''
    play((asked) => {
      path = asked.path
      return { body: {} }
    })
    const long_after = { ...context, now: new Date('2027-01-01T00:00:00Z') }
    await expectEnding(paypal.listDisputes?.(config(), range, long_after), { items: [] })
    expect(path).toContain('update_time_after=2026-07-06T')
    play(() => error(403, 'NOT_AUTHORIZED'))
    await expectEnding(list(), { items: [] })
    play(() => error(400, 'INVALID_REQUEST'))
    await expectEnding(list(), GatewayMisconfigured)
    play(() => ({ body: { items: [{ odd: true }] } }))
    await expectEnding(list(), GatewayUnavailable)
  })
})

describe('a PayPal app', () => {
  it('forgets an agreement that is not there, and says when it may not', async () => {
    const remove = (external_id: string) =>
      paypal.removeSavedMethod?.(config(), { external_id }, newContext())
    play(() => undefined)
    await expectEnding(remove('9ZZ'), undefined)
    await expectEnding(remove('../9ZZ'), undefined)
    expect(vendor.asked.map(({ path }) => path)).toEqual(['/v1/oauth2/token', '/v3/vault/payment-tokens/9ZZ'])
    play(() => ({ status: 204, body: '' }))
    await expectEnding(remove('9ZZ'), undefined)
    play(() => error(422, 'X', 'IN_USE'))
    await expectEnding(remove('9ZZ'), GatewayMisconfigured)
  })

  test.each<[string, Said, string]>([
    [
      'lacks events',
      { body: { url: 'https://kopilka.example/webhooks/payments/paypal', event_types: [] } },
      'lacks',
    ],
    ['is not there', absent, 'of another app'],
    ['cannot be asked about', { status: 500, body: '' }, 'status 500'],
  ])('whose webhook %s is not well', async (_title, answer, detail) => {
    play(() => answer)
    const health = { ok: false, detail: expect.stringContaining(detail) }
    await expectEnding(paypal.checkHealth?.(config(), newContext()), health)
  })

  it('whose webhook may not be changed says so', async () => {
    const held = { url: 'https://other.example', event_types: [{ name: '*' }] }
    play(({ method }) => (method === 'PATCH' ? error(422, 'X', 'NOT_NOW') : { body: held }))
    await expectEnding(paypal.registerWebhook?.(config(), newContext()), GatewayMisconfigured)
    expect(vendor.asked.at(-1)?.body).toContain('https://kopilka.example/webhooks/payments/paypal')
  })

  it('whose credentials are no form of an answer is asked again next time', async () => {
    vendor.say(() => ({ status: 401, body: { error: 'invalid_client' } }))
    const context = newContext()
    await expectEnding(paypal.getPayment(config(), known, context), GatewayMisconfigured)
    expect(context.cache.size).toBe(0)
  })
})

describe('a subscription PayPal keeps', () => {
  const subscription = (status: string, more: object = {}) => ({
    id: 'I-1',
    status,
    plan_id: 'P-1',
    custom_id: payment_id,
    start_time: '2026-01-01T00:00:00Z',
    billing_info: {
      next_billing_time: new Date(Date.now() + 86_400_000).toISOString(),
      last_payment: { amount: money() },
      cycle_executions: [{ tenure_type: 'REGULAR', cycles_completed: 1 }],
    },
    ...more,
  })
  const cancel = () => paypal.cancelSubscription?.(config(), { external_id: 'I-1' }, newContext())

  it('is told with its price, its time and our payment', async () => {
    play(() => ({ body: subscription('ACTIVE') }))
    await expectEnding(paypal.getSubscription?.(config(), { external_id: 'I-1' }, newContext()), {
      external_id: 'I-1',
      is_active: true,
      will_renew: true,
      amount: 1000n,
      product_code: 'P-1',
      payment_id,
    })
  })

  it('is told with every charge, in halves of the time where a page does not hold them all', async () => {
    const charge = (id: string, status: string, fee_currency = 'USD') => ({
      id,
      status,
      amount_with_breakdown: {
        gross_amount: money(),
        fee_amount: { currency_code: fee_currency, value: '-0.34' },
      },
      time: '2026-08-01T10:00:00Z',
    })
    let lists = 0
    play(({ path }) => {
      if (!path.includes('/transactions')) return { body: subscription('ACTIVE') }
      lists += 1
      if (lists === 1) return { body: { transactions: [charge('SALE1', 'COMPLETED')], total_pages: 2 } }
      const more = [charge('SALE2', 'REFUNDED', 'EUR'), charge('SALE3', 'DECLINED')]
      const second = [charge('SALE1', 'COMPLETED'), ...more]
      return { body: { transactions: lists === 2 ? [charge('SALE1', 'COMPLETED')] : second, total_pages: 1 } }
    })
    const told = await paypal.getSubscription?.(config(), { external_id: 'I-1' }, newContext())
    expect(told?.charges).toMatchObject([
      { external_id: 'SALE1', status: 'succeeded', amount: 1000n, fee: 34n, is_renewal: true },
      { external_id: 'SALE2', status: 'succeeded', fee: 34n, fee_currency: 'EUR' },
      { external_id: 'SALE3', status: 'failed' },
    ])
    expect(lists).toBe(3)
    play(({ path }) =>
      path.includes('/transactions') ? { body: { total_pages: 9 } } : { body: subscription('ACTIVE') },
    )
    await expectEnding(
      paypal.getSubscription?.(config(), { external_id: 'I-1' }, newContext()),
      GatewayUnavailable,
    )
  })

  it('is usable to the end of what was paid when its renewal is ended', async () => {
    let status = 'ACTIVE'
    play(({ method }) => {
      if (method === 'POST') {
        status = 'CANCELLED'
        return { status: 204, body: '' }
      }
      return { body: subscription(status, status === 'ACTIVE' ? {} : { billing_info: {} }) }
    })
    await expectEnding(cancel(), { is_active: true, will_renew: false, expires_at: expect.any(Date) })
    await expectEnding(cancel(), { is_active: false, will_renew: false })
    expect(vendor.asked.filter(({ path }) => path.endsWith('/cancel'))).toHaveLength(1)
  })

  it('that is not there is nothing, and one that goes on is not told as ended', async () => {
    play(() => undefined)
    await expectEnding(cancel(), undefined)
    play(({ method }) => (method === 'POST' ? error(422, 'X', 'NOT_NOW') : { body: subscription('ACTIVE') }))
    await expectEnding(cancel(), GatewayUnavailable)
  })
})
