import type { PaymentReference, Receipt } from '@kopilka/extension'
import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { newContext, newId } from '../../../../test/gateway-contract.ts'
import { expectEnding, startScriptedVendor } from '../../../../test/scripted-vendor.ts'
import type { Asked, Ending, Said, ScriptedVendor } from '../../../../test/scripted-vendor.ts'
import robokassa from './robokassa.ts'
import { jsonAmount } from './robokassa/receipts.ts'
import { signatureOf } from './robokassa/sign.ts'

let vendor: ScriptedVendor
beforeAll(async () => {
  vendor = await startScriptedVendor()
})
afterAll(() => vendor?.close())

const config = (changes: object = {}) =>
  robokassa.configSchema.parse({
    merchant_login: 'demo_shop',
    password1: 'robokassa_live_password_1',
    password2: 'robokassa_live_password_2',
    password3: 'robokassa_live_password_3',
    pay_url: `${vendor.url}/Merchant`,
    services_url: vendor.url,
    receipts_url: vendor.url,
    ...changes,
  })
const payment: PaymentReference = {
  payment_id: 'pay_1',
  payment_number: 1001,
  amount: 59_900n,
  currency: 'RUB',
}
const item = {
  description: 'Минуты',
  quantity: 1,
  unit_amount: 59_900n,
  vat: '22' as const,
  payment_subject: 'service',
  payment_mode: 'full_prepayment',
}
const receipt: Receipt = { contact: { email: 'buyer@example.com' }, items: [item] }
const purchase = (changes: object = {}) => ({
  ...payment,
  order_id: newId('ord'),
  customer_id: newId('cus'),
  description: 'Минуты',
  return_url: 'https://shop.example/',
  capture: true,
  save_method: false,
  locale: 'de',
  expires_at: new Date(Date.now() + 3_600_000),
  receipt,
  ...changes,
})
const state = (code: string, more = ''): Said => ({
  body: `<OperationStateResponse><Result><Code>0</Code></Result><State><Code>${code}</Code></State>
    <Info>${more}</Info></OperationStateResponse>`,
})
const result = (code: string): Said => ({
  body: `<Response><Result><Code>${code}</Code></Result></Response>`,
})
const PAID = state('100', '<IncSum>599.00</IncSum><OutSum>580.00</OutSum><OpKey>KEY-1</OpKey>')

describe('an operation at Robokassa', () => {
  test.each<[string, Said, Ending]>([
    ['nobody has opened', result('3'), undefined],
    ['of another shop', result('2'), GatewayMisconfigured],
    ['asked about with a wrong password', result('1'), GatewayMisconfigured],
    ['they cannot look up now', result('1000'), GatewayUnavailable],
    ['told by a page', { body: '<html>busy</html>' }, GatewayUnavailable],
    ['told with a status that is none of theirs', { status: 404, body: PAID.body }, GatewayUnavailable],
    ['paid by no sum', state('100'), GatewayUnavailable],
    ['in a state of tomorrow', state('70'), { status: 'pending' }],
    ['returned', state('60'), { status: 'failed', failure_reason: 'state_60' }],
    ['paid', PAID, { status: 'succeeded', amount: 59_900n, fee: 1900n }],
  ])('%s is told so', async (_title, answer, ending) => {
    vendor.say(() => answer)
    await expectEnding(robokassa.getPayment(config(), payment, newContext()), ending)
  })

  it('may be told with entities of its own: none is looked up, and none is multiplied', async () => {
    const entities = `<!DOCTYPE x [<!ENTITY evil SYSTEM "${vendor.url}/evil">
      <!ENTITY file SYSTEM "file:///etc/passwd"><!ENTITY a "599.00"><!ENTITY b "&a;&a;&a;&a;">]>`
    for (const [sum, ending] of [
      ['599.00', { status: 'succeeded', amount: 59_900n }],
      ['&evil;', GatewayUnavailable],
      ['&file;', GatewayUnavailable],
      ['&a;', GatewayUnavailable],
    ] as const) {
      const told = state('100', `<IncSum>${sum}</IncSum><OutSum>580.00</OutSum><OpKey>&file;&b;</OpKey>`)
      vendor.say(() => ({ body: `${entities}${told.body}` }))
      await expectEnding(robokassa.getPayment(config(), payment, newContext()), ending)
      expect(vendor.asked.map(({ path }) => path).filter((path) => path.includes('evil'))).toEqual([])
    }
  })

  it('is not asked about by what cannot be a number, nor ended when it is not there', async () => {
    vendor.say(() => result('3'))
    const odd = { ...payment, external_id: '../1' }
    await expectEnding(robokassa.getPayment(config(), odd, newContext()), undefined)
    expect(vendor.asked).toEqual([])
    await expectEnding(robokassa.cancelPayment?.(config(), payment, newContext()), GatewayMisconfigured)
  })

  it('that is refused to be taken stands with the vendor’s word, without our passwords', async () => {
    const held = state('20', '<IncSum>599.00</IncSum>')
    vendor.say(({ path }) =>
      path.includes('/Confirm') ? { status: 400, body: 'no: robokassa_live_password_1 ' } : held,
    )
    const told = await robokassa.capturePayment?.(config(), payment, newContext())
    expect(told).toMatchObject({ status: 'authorized', failure_reason: expect.stringMatching(/^no: /) })
    expect(told?.failure_reason).not.toContain('password_1')
    vendor.say(({ path }) => (path.includes('/Cancel') ? { status: 400, body: '' } : held))
    await expectEnding(robokassa.cancelPayment?.(config(), payment, newContext()), {
      failure_reason: 'refused without a word',
    })
    vendor.say(({ path }) => (path.includes('/Cancel') ? { body: '<!DOCTYPE html>' } : held))
    await expectEnding(robokassa.cancelPayment?.(config(), payment, newContext()), GatewayUnavailable)
  })

  it('is not taken with a receipt of another sum', async () => {
    vendor.say(() => PAID)
    const input = { ...payment, amount: 100n, receipt }
    await expectEnding(robokassa.capturePayment?.(config(), input, newContext()), {
      failure_reason: 'receipt_total_differs',
    })
  })
})

describe('a payment that is asked for at Robokassa', () => {
  test.each<[string, object, object, object]>([
    ['by another method', {}, { method: 'sbp' }, { failure_reason: 'method_not_supported' }],
    [
      'with a receipt nobody gets',
      {},
      { receipt: { ...receipt, contact: {} } },
      { failure_reason: 'receipt_contact_missing' },
    ],
    [
      'with a receipt that is too long',
      {},
      { receipt: { ...receipt, items: Array.from({ length: 599 }, () => ({ ...item, unit_amount: 100n })) } },
      { failure_reason: 'receipt_too_long' },
    ],
    [
      'with an e-mail and the owner’s rate',
      { default_vat: '10' },
      { receipt: undefined, email: 'buyer@example.com' },
      { status: 'pending', checkout_url: expect.stringContaining('vat10') },
    ],
  ])('%s ends so', async (_title, settings, changes, ending) => {
    const asked = robokassa.createPayment(config(settings), purchase(changes), newContext())
    await expectEnding(asked, ending)
  })

  it('of a shop that sends no receipts has none in its address', async () => {
    const made = await robokassa.createPayment(config({ receipts: false }), purchase(), newContext())
    expect(made.status).toBe('pending')
    expect(made.checkout_url).not.toContain('Receipt=')
  })

  it('whose form is taken without a number is unknown', async () => {
    const items = Array.from({ length: 100 }, () => ({ ...item, unit_amount: 599n }))
    vendor.say(() => ({ body: 'taken' }))
    const long = purchase({ receipt: { ...receipt, items } })
    await expectEnding(robokassa.createPayment(config(), long, newContext()), GatewayUnavailable)
    vendor.say(() => ({ body: { invoiceID: 'abc-1' } }))
    await expectEnding(robokassa.createPayment(config(), long, newContext()), {
      checkout_url: `${vendor.url}/Merchant/Index/abc-1`,
    })
  })

  it('again by a kept card without a receipt is not asked', async () => {
    vendor.say(() => PAID)
    const charge = { ...purchase(), method_external_id: '1000', receipt: { ...receipt, contact: {} } }
    await expectEnding(robokassa.chargeSavedMethod?.(config(), charge, newContext()), {
      failure_reason: 'receipt_contact_missing',
    })
    expect(vendor.asked).toEqual([])
  })
})

describe('a refund at Robokassa', () => {
  const refund = {
    refund_id: 're_1',
    payment,
    amount: 100n,
    currency: 'RUB',
    reason: '',
    is_full: false,
  }
  const play = (answer: Said, operation: Said = PAID) =>
    vendor.say(({ path }: Asked) => (path.includes('/Refund/') ? answer : operation))

  test.each<[string, Said, Said, Ending]>([
    ['of what is not there', { body: {} }, result('3'), { failure_reason: 'payment_not_found' }],
    ['taken without an id', { body: { success: true } }, PAID, GatewayUnavailable],
    ['refused', { body: { success: false, message: 'No' } }, PAID, { failure_reason: 'No' }],
    ['refused in silence', { body: { success: false } }, PAID, { failure_reason: 'refused without a word' }],
    ['not allowed', { status: 403, body: { success: false, message: 'x' } }, PAID, GatewayMisconfigured],
    ['answered by something else', { body: [] }, PAID, GatewayUnavailable],
  ])('%s ends so', async (_title, answer, operation, ending) => {
    play(answer, operation)
    await expectEnding(robokassa.refund?.(config(), refund, newContext()), ending)
  })

  it('that was not allowed may be asked for again, and one without an answer may not', async () => {
    const context = newContext()
    play({ status: 403, body: { success: false, message: 'x' } })
    await expectEnding(robokassa.refund?.(config(), refund, context), GatewayMisconfigured)
    play({ body: [] })
    await expectEnding(robokassa.refund?.(config(), refund, context), GatewayUnavailable)
    play({ body: { success: true, requestId: 'r-1' } })
    await expectEnding(robokassa.refund?.(config(), refund, context), GatewayUnavailable)
    expect(vendor.asked).toEqual([])
  })

  test.each<[string, string, Said, Ending]>([
    ['that nobody can read', 'r-1', { body: {} }, GatewayUnavailable],
    ['they do not know', 'r-1', { body: { message: 'not found' } }, undefined],
    ['by what cannot be an id', '../r', { body: {} }, undefined],
    ['on its way', 'r-1', { body: { label: 'processing' } }, { status: 'pending', amount: 100n }],
    ['that was stopped', 'r-1', { body: { label: 'canceled' } }, { status: 'failed' }],
    [
      'of another sum',
      'r-1',
      { body: { label: 'finished', amount: 0.99 } },
      { status: 'succeeded', amount: 99n },
    ],
    ['of all', 'full:KEY-1', { body: {} }, { status: 'succeeded', amount: 100n }],
  ])('%s is told so when it is asked about', async (_title, external_id, answer, ending) => {
    vendor.say(() => answer)
    await expectEnding(robokassa.getRefund?.(config(), { ...refund, external_id }, newContext()), ending)
  })
})

describe('a second receipt at Robokassa', () => {
  const offset = {
    receipt_id: newId('rcp'),
    kind: 'payment' as const,
    is_offset: true,
    payment_external_id: '1001',
    receipt,
  }
  const by_phone: Receipt = { ...receipt, contact: { phone: '+7 900 123-45-67' }, tax_system: 2 }

  test.each<[string, object, Said, Ending]>([
    ['their failure', {}, { body: { ResultCode: 1000 } }, GatewayUnavailable],
    ['registered', {}, { body: { ResultCode: '2' } }, { status: 'succeeded' }],
    ['waiting', { receipt: by_phone }, { body: { ResultCode: 0 } }, { status: 'pending' }],
    [
      'refused',
      {},
      { body: { ResultCode: 3, ResultDescription: 'no' } },
      { status: 'failed', failure_reason: 'result code 3: no' },
    ],
    [
      'for nobody',
      { receipt: { ...receipt, contact: {} } },
      { body: {} },
      { failure_reason: 'receipt_not_complete' },
    ],
    ['no offset', { is_offset: false }, { body: {} }, { failure_reason: 'only_offsets_are_registered' }],
  ])('that is %s ends so', async (_title, changes, answer, ending) => {
    vendor.say(() => answer)
    await expectEnding(robokassa.createReceipt?.(config(), { ...offset, ...changes }, newContext()), ending)
  })

  it('goes to a phone in digits, under the tax system of the receipt', async () => {
    vendor.say(() => ({ body: { ResultCode: 0 } }))
    await robokassa.createReceipt?.(config(), { ...offset, receipt: by_phone }, newContext())
    const [head = ''] = (vendor.asked[0]?.body ?? '').split('.')
    expect(JSON.parse(Buffer.from(head, 'base64url').toString('utf8'))).toMatchObject({
      sno: 'usn_income',
      client: { phone: '79001234567' },
    })
  })

  it('that is registered without its numbers is registered all the same', async () => {
    vendor.say(() => ({ body: { Code: 2 } }))
    const { receipt_id, payment_external_id } = offset
    const about = { receipt_id, payment_external_id, purpose: 'offset' as const }
    const found = await robokassa.getReceipt?.(config(), about, newContext())
    expect(found).toEqual({ external_id: expect.stringMatching(/^\d+$/), status: 'succeeded' })
  })
})

describe('a shop at Robokassa', () => {
  it('is well when its password is known, and not when it is not', async () => {
    vendor.say(() => result('3'))
    await expectEnding(robokassa.checkHealth?.(config(), newContext()), { ok: true, detail: 'live shop' })
    vendor.say(() => result('1'))
    await expectEnding(robokassa.checkHealth?.(config(), newContext()), { ok: false })
  })

  it('of the emulator is a live one whose money is none, and never at an address of the vendor', () => {
    const played = config({ is_emulated: true })
    expect([played, config(), config({ is_test: true })].map((one) => robokassa.isTest(one))).toEqual([
      true,
      false,
      true,
    ])
    for (const name of ['pay_url', 'services_url', 'receipts_url']) {
      for (const url of ['https://auth.robokassa.ru/Merchant', 'https://127.0.0.1.example'])
        expect(() => config({ is_emulated: true, [name]: url })).toThrow('on this machine')
      expect(() => config({ is_emulated: true, [name]: undefined })).toThrow('on this machine')
    }
    expect(() => config({ is_emulated: true, is_test: true })).toThrow('leave is_test off')
  })

  it('of the emulator tells of payments as of tests, sends no mark of them, and takes none', async () => {
    const played = config({ is_emulated: true })
    const { checkout_url } = await robokassa.createPayment(played, purchase(), newContext())
    expect(new URL(checkout_url ?? '').searchParams.has('IsTest')).toBe(false)
    vendor.say(() => state('100', '<IncSum>599.00</IncSum>'))
    await expectEnding(robokassa.getPayment(played, payment, newContext()), { is_test: true })
    await expectEnding(robokassa.checkHealth?.(played, newContext()), { ok: true, detail: 'its emulator' })
    const told = (fields: Record<string, string>) => {
      const signed = { OutSum: '599.00', InvId: '1001', Shp_x: 'y' }
      const signature = signatureOf('sha256', ['599.00', '1001'], played.password2, { Shp_x: 'y' })
      const body = new URLSearchParams({ ...signed, SignatureValue: signature, ...fields })
      const raw_body = Buffer.from(body.toString())
      return robokassa.parseWebhook(
        played,
        { method: 'POST', path: '/', headers: {}, query: {}, raw_body, remote_address: '127.0.0.1' },
        newContext(),
      )
    }
    expect(await told({})).toMatchObject({ events: [{ payment: { is_test: true } }] })
    expect(await told({ IsTest: '1' })).toMatchObject({ verdict: 'refused' })
  })

  it('takes a certificate that is an RSA key, and nothing else for one', () => {
    const parse = (result2_certificate: string) => () => config({ result2_certificate })
    expect(parse('-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----')).toThrow('PEM')
  })

  it('asks for a contact where it sends receipts', () => {
    const needs = robokassa.needs?.receipt_contact
    const ask = (changes: object) => typeof needs === 'function' && needs(config(changes))
    expect([ask({}), ask({ receipts: false })]).toEqual([true, false])
    expect(robokassa.receipts?.isOn(config())).toBe(true)
  })

  it('has no number for more money than a JSON number holds', () => {
    expect(jsonAmount(10n ** 15n - 1n)).toBe(9_999_999_999_999.99)
    expect(() => jsonAmount(10n ** 15n)).toThrow(RangeError)
  })
})
