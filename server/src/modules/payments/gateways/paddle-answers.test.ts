import type { CreatePaymentInput, PaymentReference } from '@kopilka/extension'
import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { newContext, newId } from '../../../../test/gateway-contract.ts'
import { expectEnding, startScriptedVendor } from '../../../../test/scripted-vendor.ts'
import type { Ending, Said, ScriptedVendor } from '../../../../test/scripted-vendor.ts'
import paddle from './paddle.ts'

let vendor: ScriptedVendor
beforeAll(async () => {
  vendor = await startScriptedVendor()
})
afterAll(() => vendor?.close())

const config = () =>
  paddle.configSchema.parse({
    api_key: 'pdl_sdbx_apikey_canary0123456789',
    webhook_secret: 'pdl_ntfset_canary0123456789',
    base_url: vendor.url,
  })
const THEIRS = `txn_${'a'.repeat(26)}`
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
const error = (status: number, code: string, detail?: string): Said => ({
  status,
  body: { error: { code, detail } },
})
const page = (pagination: object, ...data: object[]): Said => ({ body: { data, meta: { pagination } } })
const last = { next: null, has_more: false }
const transaction = {
  id: THEIRS,
  status: 'completed',
  currency_code: 'USD',
  custom_data: { payment_id: 'pay_1' },
  details: { totals: { total: '59900', fee: null }, line_items: [{ id: 'txnitm_1' }] },
}

describe('a payment at Paddle', () => {
  test.each<[string, Said, Ending]>([
    ['is being worked on', error(409, 'conflict'), GatewayUnavailable],
    [
      'is refused',
      error(400, 'bad_request', 'no such price'),
      { failure_reason: 'bad_request: no such price' },
    ],
    ['is not allowed to this key', error(403, 'forbidden'), GatewayMisconfigured],
  ])('that %s when it is asked for ends so', async (_title, answer, ending) => {
    vendor.say(({ method }) => (method === 'POST' ? answer : page(last)))
    await expectEnding(paddle.createPayment(config(), purchase(), newContext()), ending)
  })

  test.each<[string, PaymentReference, Said, Ending]>([
    ['is refused by its own id', known(THEIRS), error(400, 'bad_request'), GatewayMisconfigured],
    ['is not there', known(THEIRS), error(404, 'entity_not_found'), undefined],
    ['has an id of no form of theirs', known('txn_1'), error(400, 'invalid_url'), undefined],
    ['is in a list that is refused', payment, error(400, 'bad_request'), GatewayMisconfigured],
    ['is beyond a page without a next', payment, page({ next: null, has_more: true }), GatewayUnavailable],
    ['is beyond a page of no address', payment, page({ next: '?', has_more: true }), GatewayUnavailable],
    [
      'was declined with a word of no form',
      known(THEIRS),
      {
        body: {
          data: {
            ...transaction,
            status: 'past_due',
            payments: [{ status: 'error', error_code: 'No money!' }],
          },
        },
      },
      { status: 'failed', failure_reason: 'past_due' },
    ],
    [
      'has no time of its capture',
      known(THEIRS),
      { body: { data: { ...transaction, billed_at: '2026-08-01T10:00:00Z' } } },
      { status: 'succeeded', paid_at: new Date('2026-08-01T10:00:00Z') },
    ],
  ])('that %s when it is read ends so', async (_title, reference, answer, ending) => {
    vendor.say(() => answer)
    await expectEnding(paddle.getPayment(config(), reference, newContext()), ending)
  })
})

describe('a refund at Paddle', () => {
  const refund = (amount: bigint, is_full = false) => ({
    refund_id: 're_ours',
    payment: known(THEIRS),
    amount,
    currency: 'USD',
    reason: 'unhappy',
    is_full,
  })
  const several = {
    ...transaction,
    details: { ...transaction.details, line_items: [{ id: 'txnitm_1' }, { id: 'txnitm_2' }] },
  }
  const play = (held: object | undefined, answer: Said) =>
    vendor.say(({ method, path }) => {
      if (method === 'POST') return answer
      if (path.startsWith('/adjustments')) return page(last)
      return held ? { body: { data: held } } : error(404, 'entity_not_found')
    })

  test.each<[string, ReturnType<typeof refund>, object | undefined, string]>([
    ['of a payment that is not there', refund(1n), undefined, 'payment_not_found'],
    ['of more than was paid', refund(59_901n), transaction, 'more_than_was_paid'],
    ['of a part of several items', refund(1n), several, 'several_items_refund_in_full_only'],
    ['that they do not want', refund(59_900n, true), transaction, 'adjustment_invalid: no'],
  ])('%s is refused with its reason', async (_title, input, held, failure_reason) => {
    play(held, error(400, 'adjustment_invalid', 'no'))
    await expectEnding(paddle.refund?.(config(), input, newContext()), {
      external_id: 'refused:re_ours',
      status: 'failed',
      failure_reason,
    })
  })

  it('is not asked about by what cannot be its id', async () => {
    vendor.say(() => page(last))
    const by_theirs = { ...refund(1n), external_id: 'adj_1' }
    await expectEnding(paddle.getRefund?.(config(), by_theirs, newContext()), undefined)
    expect(vendor.asked).toEqual([])
  })
})

describe('an account at Paddle', () => {
  test.each<[string, Said, string]>([
    ['that refuses', error(400, 'bad_request'), 'bad_request'],
    ['that is broken', { status: 500, body: '' }, 'status 500'],
  ])('%s is not well', async (_title, answer, detail) => {
    vendor.say(() => answer)
    const health = { ok: false, detail: expect.stringContaining(detail) }
    await expectEnding(paddle.checkHealth?.(config(), newContext()), health)
  })
})
