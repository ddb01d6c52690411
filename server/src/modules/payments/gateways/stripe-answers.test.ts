import type { ChargeSavedMethodInput, CreatePaymentInput, PaymentReference } from '@kopilka/extension'
import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { newContext, newId } from '../../../../test/gateway-contract.ts'
import { expectEnding, startScriptedVendor } from '../../../../test/scripted-vendor.ts'
import type { Ending, Said, ScriptedVendor } from '../../../../test/scripted-vendor.ts'
import stripe from './stripe.ts'

let vendor: ScriptedVendor
beforeAll(async () => {
  vendor = await startScriptedVendor()
})
afterAll(() => vendor?.close())

const config = () =>
  stripe.configSchema.parse({
    secret_key: 'sk_test_canary0123456789abcdef',
    webhook_secret: 'whsec_canary0123456789abcdef',
    base_url: vendor.url,
  })
const payment: PaymentReference = { payment_id: 'pay_1', payment_number: 1, amount: 59_900n, currency: 'USD' }
const known = (external_id: string): PaymentReference => ({ ...payment, external_id })
const purchase = (): CreatePaymentInput => ({
  ...payment,
  payment_id: newId('pay'),
  order_id: newId('ord'),
  customer_id: newId('cus'),
  description: '100 tokens',
  return_url: 'https://shop.example/return',
  capture: true,
  save_method: false,
  locale: 'en',
  expires_at: new Date(Date.now() + 3_600_000),
})
const charge = (): ChargeSavedMethodInput => ({
  ...purchase(),
  method_external_id: 'pm_1',
  customer_external_id: 'cus_1',
})
const error = (status: number, fields: object): Said => ({ status, body: { error: fields } })
const list = (...data: object[]): Said => ({ body: { object: 'list', data, has_more: false } })
const reused = error(400, { type: 'idempotency_error', message: 'another request had this key' })
const session = {
  id: 'cs_1',
  object: 'checkout.session',
  mode: 'payment',
  status: 'open',
  payment_status: 'unpaid',
  amount_total: 59_900,
  currency: 'usd',
  livemode: false,
  created: 1_780_000_000,
  metadata: { payment_id: 'pay_1' },
}
const intent = {
  id: 'pi_1',
  object: 'payment_intent',
  status: 'succeeded',
  amount: 59_900,
  amount_received: 59_900,
  currency: 'usd',
  livemode: false,
  created: 1_780_000_000,
  metadata: { payment_id: 'pay_1', made_by: 'charge' },
}
const refund = {
  refund_id: 're_ours',
  payment: known('pi_1'),
  amount: 100n,
  currency: 'USD',
  reason: 'unhappy',
  is_full: false,
}
const made = {
  id: 're_1',
  object: 'refund',
  status: 'succeeded',
  amount: 100,
  currency: 'usd',
  created: 1_780_000_000,
  metadata: { refund_id: 're_ours' },
}

describe('a payment that is asked for at Stripe', () => {
  test.each<[string, Said, Said, Ending]>([
    ['whose key is being worked on', error(409, { code: 'in_use' }), list(), GatewayUnavailable],
    ['whose key was used, and which is nowhere', reused, list(), GatewayUnavailable],
    ['that is not allowed to this key', error(403, { type: 'permission' }), list(), GatewayMisconfigured],
    ['that is refused without a word', error(400, {}), list(), { failure_reason: 'refused' }],
  ])('%s is told as no more than is known', async (_title, answer, found, ending) => {
    const script = () => vendor.say(({ method }) => (method === 'POST' ? answer : found))
    script()
    await expectEnding(stripe.createPayment(config(), purchase(), newContext()), ending)
    script()
    await expectEnding(stripe.chargeSavedMethod?.(config(), charge(), newContext()), ending)
  })

  it('is looked for before a charge is repeated that may be older than its key', async () => {
    const input = charge()
    const later = { ...newContext(), now: new Date(Date.now() + 3 * 86_400_000) }
    vendor.say(() => list({ ...intent, metadata: { payment_id: input.payment_id } }))
    expect(await stripe.chargeSavedMethod?.(config(), input, later)).toMatchObject({ status: 'succeeded' })
    expect(vendor.asked.map(({ method }) => method)).toEqual(['GET'])
  })
})

describe('a payment that is read at Stripe', () => {
  test.each<[string, PaymentReference, Said, Ending]>([
    ['in a list that is refused', payment, error(400, { code: 'bad' }), GatewayMisconfigured],
    ['and refused', known('cs_1'), error(400, { code: 'bad' }), GatewayMisconfigured],
    ['and not there', known('cs_1'), error(404, { code: 'resource_missing' }), undefined],
    ['and not there as a charge', known('pi_1'), error(404, { code: 'resource_missing' }), undefined],
    [
      'and is somebody’s subscription',
      known('cs_1'),
      { body: { ...session, mode: 'subscription' } },
      undefined,
    ],
    [
      'and waits for the buyer',
      known('pi_1'),
      { body: { ...intent, status: 'requires_action' } },
      { status: 'requires_action' },
    ],
    ['and is worked on', known('pi_1'), { body: { ...intent, status: 'processing' } }, { status: 'pending' }],
    [
      'and was declined',
      known('pi_1'),
      {
        body: { ...intent, status: 'requires_payment_method', last_payment_error: { code: 'card_declined' } },
      },
      { status: 'failed', failure_reason: 'card_declined' },
    ],
    [
      'and was canceled for a reason of no form',
      known('pi_1'),
      { body: { ...intent, status: 'canceled', cancellation_reason: 'He said: no!' } },
      { status: 'canceled', failure_reason: 'canceled' },
    ],
  ])('%s ends so', async (_title, reference, answer, ending) => {
    vendor.say(() => answer)
    await expectEnding(stripe.getPayment(config(), reference, newContext()), ending)
  })

  it('by an intent whose page is nowhere is told by the intent', async () => {
    const of_page = { ...intent, metadata: { payment_id: 'pay_1', made_by: 'checkout' } }
    vendor.say(({ path }) => (path.startsWith('/v1/checkout/sessions?') ? list() : { body: of_page }))
    await expectEnding(stripe.getPayment(config(), known('pi_1'), newContext()), {
      external_id: 'pi_1',
      status: 'succeeded',
    })
  })

  it('tells a kept method that is no card by its kind', async () => {
    const latest_charge = {
      amount_refunded: 0,
      created: 1_780_000_000,
      payment_method_details: { type: 'sepa_debit' },
    }
    const kept = { customer: 'cus_1', payment_method: 'pm_1', setup_future_usage: 'off_session' }
    vendor.say(() => ({ body: { ...intent, ...kept, latest_charge } }))
    await expectEnding(stripe.getPayment(config(), known('pi_1'), newContext()), {
      saved_method: { external_id: 'pm_1', kind: 'sepa_debit', title: 'sepa_debit' },
    })
  })

  it('is not taken where nothing is held', async () => {
    vendor.say(() => ({ body: session }))
    await expectEnding(stripe.capturePayment?.(config(), known('cs_1'), newContext()), {
      status: 'pending',
      failure_reason: 'not_authorized',
    })
    expect(vendor.asked.map(({ method }) => method)).toEqual(['GET'])
  })
})

describe('a refund at Stripe', () => {
  /** The list of refunds as it is before the request and after it. */
  const play = (answer: Said, after: Said) => {
    let is_asked = false
    vendor.say(({ method, path }) => {
      if (path.startsWith('/v1/payment_intents/')) return { body: intent }
      if (method === 'GET') return is_asked ? after : list()
      is_asked = true
      return answer
    })
  }

  test.each<[string, Said, Said, Ending]>([
    ['refused', error(400, { code: 'charge_disputed' }), list(), { failure_reason: 'charge_disputed' }],
    ['refused, although it was made', error(400, { code: 'already' }), list(made), { external_id: 're_1' }],
    ['under a used key, and nowhere', reused, list(), GatewayUnavailable],
    ['whose key is being worked on', error(409, { code: 'in_use' }), list(), GatewayUnavailable],
  ])('that is %s ends so', async (_title, answer, after, ending) => {
    play(answer, after)
    await expectEnding(stripe.refund?.(config(), refund, newContext()), ending)
  })

  it('that was made is not asked for again, and is found by our id', async () => {
    vendor.say(({ path }) => (path.startsWith('/v1/payment_intents/') ? { body: intent } : list(made)))
    await expectEnding(stripe.refund?.(config(), refund, newContext()), { external_id: 're_1' })
    await expectEnding(stripe.getRefund?.(config(), refund, newContext()), { external_id: 're_1' })
    expect(vendor.asked.filter(({ method }) => method === 'POST')).toEqual([])
  })

  it('that is not there is nothing', async () => {
    vendor.say(() => error(404, { code: 'resource_missing' }))
    const by_theirs = { ...refund, external_id: 're_1' }
    await expectEnding(stripe.getRefund?.(config(), by_theirs, newContext()), undefined)
    await expectEnding(stripe.getRefund?.(config(), refund, newContext()), undefined)
  })
})

describe('an account at Stripe', () => {
  test.each<[string, Said, object]>([
    [
      'of the other mode',
      { body: { livemode: true } },
      { ok: false, detail: expect.stringContaining('mode') },
    ],
    ['that refuses', error(400, { code: 'bad' }), { ok: false, detail: 'bad' }],
    ['that is broken', { status: 500, body: '' }, { ok: false }],
    ['that talks of something else', { body: [] }, { ok: false }],
  ])('%s is not well', async (_title, answer, health) => {
    vendor.say(() => answer)
    await expectEnding(stripe.checkHealth?.(config(), newContext()), health)
  })

  it('is not asked to forget what cannot be a method', async () => {
    vendor.say(() => ({ body: {} }))
    await stripe.removeSavedMethod?.(config(), { external_id: '../charges' }, newContext())
    expect(vendor.asked).toEqual([])
  })
})
