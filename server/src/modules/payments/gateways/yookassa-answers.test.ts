import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { newContext, newId } from '../../../../test/gateway-contract.ts'
import { expectEnding, startScriptedVendor } from '../../../../test/scripted-vendor.ts'
import type { Ending, Said, ScriptedVendor } from '../../../../test/scripted-vendor.ts'
import { oneLine, purchase, refundOf } from '../../../../test/yookassa-lab.ts'
import yookassa from './yookassa.ts'

let vendor: ScriptedVendor
beforeAll(async () => {
  vendor = await startScriptedVendor()
})
afterAll(() => vendor?.close())

const SHOP = { shop_id: '123456', secret_key: 'test_canary-0123456789_abcdefghijkl' }
const config = (changes: object = {}) =>
  yookassa.configSchema.parse({ ...SHOP, base_url: `${vendor.url}/v3`, ...changes })
const error = (status: number, code: string, parameter?: string): Said => ({
  status,
  body: { type: 'error', code, parameter },
})
const reused = error(400, 'invalid_request', 'Idempotence-Key')
const list = (...items: object[]): Said => ({ body: { items } })
const PAYMENT_ID = '2d9f3b1c-000f-5000-8000-1a2b3c4d5e6f'
const known = { ...purchase(), external_id: PAYMENT_ID }
const play = (answer: Said, found: Said = list()) =>
  vendor.say(({ method }) => (method === 'POST' ? answer : found))

describe('a key that YooKassa has seen with other words', () => {
  it('leads to no second payment: what became of the first is unknown while it is nowhere', async () => {
    play(reused)
    await expectEnding(yookassa.createPayment(config(), purchase(), newContext()), GatewayUnavailable)
  })

  it('leads to the refund that was made with it, and to none when that is nowhere', async () => {
    const refund = refundOf(known, 100n)
    play(reused)
    await expectEnding(yookassa.refund?.(config(), refund, newContext()), GatewayUnavailable)
    const made = {
      id: '2d9f3b1c-0015-5000-8000-1a2b3c4d5e6f',
      payment_id: PAYMENT_ID,
      status: 'succeeded',
      amount: { value: '1.00', currency: 'RUB' },
      metadata: { refund_id: refund.refund_id },
    }
    let is_asked = false
    vendor.say(({ method }) => {
      if (method === 'GET') return is_asked ? list(made) : list()
      is_asked = true
      return reused
    })
    await expectEnding(yookassa.refund?.(config(), refund, newContext()), {
      external_id: made.id,
      status: 'succeeded',
    })
  })

  it('leads to the receipt that was made with it, by what it is about', async () => {
    const about = { receipt_id: newId('rcp'), payment_external_id: PAYMENT_ID }
    const offset = { ...about, kind: 'payment' as const, is_offset: true, receipt: oneLine(100n) }
    play(reused)
    await expectEnding(yookassa.createReceipt?.(config(), offset, newContext()), GatewayUnavailable)
    const settled = (type: string) => ({ type: 'payment', status: 'succeeded', settlements: [{ type }] })
    play(reused, list({ id: 'rt-1', ...settled('cashless') }, { id: 'rt-2', ...settled('prepayment') }))
    await expectEnding(yookassa.createReceipt?.(config(), offset, newContext()), { external_id: 'rt-2' })
    const first = { ...offset, is_offset: false }
    await expectEnding(yookassa.createReceipt?.(config(), first, newContext()), { external_id: 'rt-1' })
    const back = { ...offset, kind: 'refund' as const, refund_external_id: PAYMENT_ID }
    play(reused, list({ id: 'rt-3', type: 'refund', status: 'pending' }))
    await expectEnding(yookassa.createReceipt?.(config(), back, newContext()), {
      external_id: 'rt-3',
      status: 'pending',
    })
  })
})

describe('a shop at YooKassa', () => {
  const shop = { account_id: SHOP.shop_id, status: 'enabled', test: true }
  test.each<[string, Said, object]>([
    ['is well', { body: shop }, { ok: true, detail: 'test shop' }],
    ['is another one', { body: { ...shop, account_id: '1' } }, { ok: false }],
    ['is closed', { body: { ...shop, status: 'disabled' } }, { ok: false }],
    [
      'is a live one',
      { body: { ...shop, test: false } },
      { ok: false, detail: 'test key and live shop differ' },
    ],
    ['refuses', error(400, 'invalid_request'), { ok: false, detail: 'invalid_request' }],
    ['is broken', { status: 500, body: '' }, { ok: false }],
  ])('that %s says so', async (_title, answer, health) => {
    vendor.say(() => answer)
    await expectEnding(yookassa.checkHealth?.(config(), newContext()), health)
  })

  it('whose law wants receipts is not well without them, and registers them when they are on', async () => {
    vendor.say(() => ({ body: { ...shop, fiscalization: { enabled: true } } }))
    const off = config({ receipts: false })
    await expectEnding(yookassa.checkHealth?.(off, newContext()), { ok: false })
    expect([yookassa.receipts?.isOn(config()), yookassa.receipts?.isOn(off)]).toEqual([true, false])
  })

  it('that does not take this kind of call is the owner’s matter', async () => {
    vendor.say(() => error(405, 'method_not_allowed'))
    await expectEnding(yookassa.createPayment(config(), purchase(), newContext()), GatewayMisconfigured)
  })

  const calls: [string, () => unknown, Ending][] = [
    ['a payment', () => yookassa.getPayment(config(), known, newContext()), undefined],
    ['a capture', () => yookassa.capturePayment?.(config(), known, newContext()), GatewayMisconfigured],
  ]
  test.each(calls)('that does not know the payment tells so of %s', async (_title, call, ending) => {
    vendor.say(() => error(404, 'not_found'))
    await expectEnding(call(), ending)
  })
})
