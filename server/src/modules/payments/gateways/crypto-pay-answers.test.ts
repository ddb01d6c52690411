import type { CreatePaymentInput, PaymentReference } from '@kopilka/extension'
import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { newContext, newId } from '../../../../test/gateway-contract.ts'
import { expectEnding, startScriptedVendor } from '../../../../test/scripted-vendor.ts'
import type { Ending, Said, ScriptedVendor } from '../../../../test/scripted-vendor.ts'
import cryptoPay from './crypto-pay.ts'

let vendor: ScriptedVendor
beforeAll(async () => {
  vendor = await startScriptedVendor()
})
afterAll(() => vendor?.close())

const config = () =>
  cryptoPay.configSchema.parse({
    token: '12345:AAcanaryCryptoPayToken0123456789',
    network: 'testnet',
    base_url: vendor.url,
    refunds_by_transfer: true,
  })
const payment: PaymentReference = {
  payment_id: 'pay_1',
  payment_number: 1,
  amount: 59_900n,
  currency: 'RUB',
  external_id: '7',
}
const purchase = (): CreatePaymentInput => ({
  payment_id: newId('pay'),
  payment_number: 1,
  amount: 59_900n,
  currency: 'RUB',
  order_id: newId('ord'),
  customer_id: newId('cus'),
  description: '100 tokens',
  return_url: 'app://back',
  capture: true,
  save_method: false,
  locale: 'en',
  expires_at: new Date(Date.now() + 3_600_000),
})
const result = (value: unknown, status = 200): Said => ({ status, body: { ok: true, result: value } })
const error = (code: number, name: string, status = 400): Said => ({
  status,
  body: { ok: false, error: { code, name } },
})
const items = (...list: object[]): Said => result({ items: list })
const invoice = {
  invoice_id: 7,
  currency_type: 'fiat',
  fiat: 'RUB',
  amount: '599',
  status: 'paid',
  payload: 'pay_1 ord_1',
}
const methodOf = (path: string): string => path.replace('/api/', '')
/** Answers by the method that was called; what is not named is refused. */
const play = (answers: Readonly<Record<string, Said>>) =>
  vendor.say(({ path }) => answers[methodOf(path)] ?? error(400, 'NOT_PLAYED'))

describe('a call to Crypto Pay', () => {
  test.each<[string, Said, Ending]>([
    ['answered well and badly at once', result({ items: [] }, 400), GatewayUnavailable],
    ['too many in a second', error(429, 'TOO_MANY'), GatewayUnavailable],
    ['broken there', error(500, 'INTERNAL', 200), GatewayUnavailable],
    ['with a wrong token', error(401, 'UNAUTHORIZED', 401), GatewayMisconfigured],
    ['not allowed to this app', error(403, 'FORBIDDEN'), GatewayMisconfigured],
    ['of a list that is refused', error(400, 'COUNT_INVALID'), GatewayMisconfigured],
  ])('that is %s says no more than it knows', async (_title, answer, ending) => {
    vendor.say(() => answer)
    await expectEnding(cryptoPay.createPayment(config(), purchase(), newContext()), ending)
  })
})

describe('an invoice of Crypto Pay', () => {
  it('that is refused is told with their word, and has no way back that is no address', async () => {
    play({ getInvoices: items(), createInvoice: error(400, 'AMOUNT_TOO_SMALL') })
    const refused = { status: 'failed', failure_reason: 'AMOUNT_TOO_SMALL' }
    await expectEnding(cryptoPay.createPayment(config(), purchase(), newContext()), refused)
    expect(vendor.asked.at(-1)?.body).not.toContain('paid_btn_url')
  })

  it('is asked for once by calls at the same moment', async () => {
    const made = { ...invoice, status: 'active', bot_invoice_url: 'https://t.me/CryptoBot?start=1' }
    play({ getInvoices: items(), createInvoice: result(made) })
    const input = purchase()
    const context = newContext()
    const both = [1, 2, 3].map(() => cryptoPay.createPayment(config(), input, context))
    expect(new Set((await Promise.all(both)).map(({ external_id }) => external_id))).toEqual(new Set(['7']))
    expect(vendor.asked.filter(({ path }) => methodOf(path) === 'createInvoice')).toHaveLength(1)
  })

  test.each<[string, PaymentReference, Said, Ending]>([
    ['refused by its id', payment, error(400, 'INVOICE_IDS_INVALID'), undefined],
    ['another than was asked for', payment, items({ ...invoice, invoice_id: 8 }), undefined],
    ['asked for by what cannot be an id', { ...payment, external_id: '7/..' }, items(invoice), undefined],
    [
      'over',
      payment,
      items({ ...invoice, status: 'expired' }),
      { status: 'canceled', failure_reason: 'expired' },
    ],
    [
      'somebody else’s',
      payment,
      items({ ...invoice, payload: 'pay_1 ord_1 and more' }),
      { status: 'succeeded', external_id: '7' },
    ],
    [
      'paid with a fee in another asset',
      payment,
      items({ ...invoice, fee_asset: 'USDT', fee_amount: 0.5, paid_at: '2026-08-01T10:00:00Z' }),
      { fee: 500_000n, fee_currency: 'USDT', paid_at: new Date('2026-08-01T10:00:00Z') },
    ],
  ])('that is %s is read so', async (_title, reference, answer, ending) => {
    vendor.say(() => answer)
    await expectEnding(cryptoPay.getPayment(config(), reference, newContext()), ending)
  })

  it('that is not deleted is told as it stands, with the vendor’s word', async () => {
    const open = items({ ...invoice, status: 'active' })
    play({ getInvoices: open, deleteInvoice: error(400, 'INVOICE_BUSY') })
    await expectEnding(cryptoPay.cancelPayment?.(config(), payment, newContext()), {
      status: 'pending',
      failure_reason: 'INVOICE_BUSY',
    })
  })
})

describe('money given back by Crypto Pay', () => {
  const refund = {
    refund_id: 're_ours',
    payment,
    amount: 59_900n,
    currency: 'RUB',
    reason: '',
    is_full: true,
    telegram_id: '77',
  }
  const transfer = { transfer_id: 5, spend_id: 're_ours', status: 'completed' }
  const paid = items({ ...invoice, paid_asset: 'DOGE', paid_amount: '12.5' })

  test.each<[string, Readonly<Record<string, Said>>, Ending]>([
    ['cannot be looked for', { getTransfers: error(400, 'BAD') }, GatewayMisconfigured],
    [
      'is of what nobody tells the price of',
      { getTransfers: items(), getInvoices: items(invoice) },
      { status: 'failed', failure_reason: 'paid_amount_not_told' },
    ],
    [
      'may not be made by this app',
      { getTransfers: items(), getInvoices: paid, transfer: error(403, 'METHOD_DISABLED') },
      { status: 'failed', failure_reason: 'METHOD_DISABLED' },
    ],
    [
      'is not through yet',
      { getTransfers: items(), getInvoices: paid, transfer: result({ ...transfer, status: 'processing' }) },
      { status: 'pending', external_id: '5' },
    ],
    ['was made before', { getTransfers: items(transfer) }, { status: 'succeeded', external_id: '5' }],
  ])('that %s ends so', async (_title, answers, ending) => {
    play(answers)
    await expectEnding(cryptoPay.refund?.(config(), refund, newContext()), ending)
  })

  it('refused because it was made a moment ago is the one that was made', async () => {
    let is_asked = false
    vendor.say(({ path }) => {
      if (methodOf(path) === 'getInvoices') return paid
      if (methodOf(path) === 'getTransfers') return is_asked ? items(transfer) : items()
      is_asked = true
      return error(400, 'SPEND_ID_ALREADY_USED')
    })
    await expectEnding(cryptoPay.refund?.(config(), refund, newContext()), {
      status: 'succeeded',
      external_id: '5',
    })
    // An asset we do not price in is sent back to its eighth place.
    expect(JSON.parse(vendor.asked.find(({ path }) => methodOf(path) === 'transfer')?.body ?? '')).toEqual({
      user_id: 77,
      asset: 'DOGE',
      amount: '12.50000000',
      spend_id: 're_ours',
    })
  })
})

describe('an app at Crypto Pay', () => {
  test.each<[string, Said, string]>([
    ['that is refused', error(400, 'BAD'), 'BAD'],
    ['that is broken', { status: 500, body: '' }, 'status 500'],
  ])('%s is not well', async (_title, answer, detail) => {
    vendor.say(() => answer)
    const health = { ok: false, detail: expect.stringContaining(detail) }
    await expectEnding(cryptoPay.checkHealth?.(config(), newContext()), health)
  })
})
