import { createCipheriv, randomBytes } from 'node:crypto'
import type { PaymentReference } from '@kopilka/extension'
import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { newContext } from '../../../../test/gateway-contract.ts'
import { expectEnding, startScriptedVendor } from '../../../../test/scripted-vendor.ts'
import type { Asked, Ending, Said, ScriptedVendor } from '../../../../test/scripted-vendor.ts'
import vectors from '../../../../test/vectors/rustore.json' with { type: 'json' }
import rustore from './rustore.ts'

let vendor: ScriptedVendor
beforeAll(async () => {
  vendor = await startScriptedVendor()
})
afterAll(() => vendor?.close())

const { auth, notification } = vectors
const config = () =>
  rustore.configSchema.parse({
    key_id: auth.keyId,
    private_key: auth.privateKeyPkcs8DerBase64_testOnly,
    app_id: '12345',
    package_name: 'com.example.app',
    notification_key: notification.aesKeyBase64,
    app_url: 'https://app.example/buy',
    base_url: vendor.url,
  })
const ok = (body: unknown): Said => ({ body: { code: 'OK', message: null, body } })
const error = (status: number, code: string, message = ''): Said => ({
  status,
  body: { code, message, body: null },
})
const token = ok({ jwe: 'canary-token', ttl: 900 })
/** Answers what is asked with a token; where the script is silent there is nothing. */
const play = (script: (asked: Asked) => Said | undefined) =>
  vendor.say((asked) =>
    asked.path === '/public/auth/' ? token : (script(asked) ?? error(404, 'NOT_FOUND', 'not found')),
  )
const payment: PaymentReference = {
  payment_id: 'pay_1',
  payment_number: 7,
  amount: 59_900n,
  currency: 'RUB',
  external_id: '555001',
}
const invoice = (changes: object = {}) => ({
  invoiceId: '555001',
  invoiceStatus: 'CONFIRMED',
  appId: '12345',
  purchaseId: 'aaaa-bbbb',
  developerPayload: 'pay_1',
  order: {
    orderId: 'ord_1',
    amountCreate: 59_900,
    amountCurrent: 59_900,
    currency: 'RUB',
    itemCode: 'tokens',
  },
  ...changes,
})
const told = (changes: object = {}): Said => ok(invoice(changes))

describe('an invoice at RuStore', () => {
  test.each<[string, Said, Ending]>([
    ['is another than was asked for', told({ invoiceId: '555002' }), GatewayUnavailable],
    ['is refused for a reason of theirs', error(400, 'ERROR', 'later'), GatewayUnavailable],
    ['is answered by a status nobody knows', error(418, 'TEAPOT'), GatewayUnavailable],
    ['may not be read with these keys', error(403, 'FORBIDDEN'), GatewayMisconfigured],
    ['is in a state of tomorrow', told({ invoiceStatus: 'reviewed' }), { status: 'pending' }],
    ['carries a payload that is somebody’s', told({ developerPayload: '[1]' }), { order_id: 'ord_1' }],
  ])('that %s is told so', async (_title, answer, ending) => {
    play(() => answer)
    await expectEnding(rustore.getPayment(config(), payment, newContext()), ending)
  })

  it('whose token ran out is read with a new one', async () => {
    let reads = 0
    play(() => {
      reads += 1
      return reads === 1 ? error(400, 'ERROR', 'JWE token is expired') : told()
    })
    await expectEnding(rustore.getPayment(config(), payment, newContext()), { status: 'succeeded' })
    expect(vendor.asked.filter(({ path }) => path === '/public/auth/')).toHaveLength(2)
  })
})

describe('a hold at RuStore', () => {
  const held = { invoiceStatus: 'PAID' }

  it('that is not there cannot be ended, and what is no hold stays as it is', async () => {
    play(() => undefined)
    await expectEnding(rustore.capturePayment?.(config(), payment, newContext()), GatewayMisconfigured)
    play(() => told())
    await expectEnding(rustore.cancelPayment?.(config(), payment, newContext()), {
      status: 'succeeded',
      failure_reason: 'not_a_hold',
    })
    expect(vendor.asked.filter(({ method }) => method === 'PUT')).toEqual([])
  })

  it('that is gone when it was ended is unknown, and one refused stands with the store’s word', async () => {
    let is_ended = false
    play(({ method }) => {
      if (method === 'PUT') is_ended = true
      if (method === 'PUT') return ok(null)
      return is_ended ? undefined : told(held)
    })
    await expectEnding(rustore.capturePayment?.(config(), payment, newContext()), GatewayUnavailable)
    play(({ method }) => (method === 'PUT' ? error(409, 'ERROR', 'not now') : told(held)))
    await expectEnding(rustore.capturePayment?.(config(), payment, newContext()), {
      status: 'authorized',
      failure_reason: 'ERROR: not now',
    })
  })
})

describe('a refund at RuStore', () => {
  const refund = {
    refund_id: 're_1',
    payment,
    amount: 59_900n,
    currency: 'RUB',
    reason: '',
    is_full: true,
  }
  const asking = (answer: Said, after: Said = told()) => {
    let is_asked = false
    play(({ method }) => {
      if (method !== 'PATCH') return is_asked ? after : told()
      is_asked = true
      return answer
    })
  }

  test.each<[string, Said, Said, Ending]>([
    ['is to be asked for later', error(400, 'ERROR', 'Please try again later'), told(), GatewayUnavailable],
    ['is refused', error(400, 'ERROR', 'no'), told(), { status: 'failed', failure_reason: 'ERROR: no' }],
    ['is taken and not begun yet', ok(null), told(), { status: 'pending', refund_id: 're_1' }],
    ['is on its way', ok(null), told({ invoiceStatus: 'REFUNDING' }), { status: 'pending' }],
    [
      'was made a moment ago',
      error(400, 'ERROR', 'Invoice has already been refunded'),
      told({ invoiceStatus: 'REFUNDED' }),
      { status: 'succeeded', external_id: 'invoice:555001' },
    ],
  ])('that %s ends so', async (_title, answer, after, ending) => {
    asking(answer, after)
    await expectEnding(rustore.refund?.(config(), refund, newContext()), ending)
  })

  it('of an invoice that is not there is refused, and is nothing when it is asked about', async () => {
    play(() => undefined)
    const failed = { status: 'failed', failure_reason: 'payment_not_found' }
    await expectEnding(rustore.refund?.(config(), refund, newContext()), failed)
    await expectEnding(rustore.getRefund?.(config(), refund, newContext()), undefined)
  })

  it('made in the console is found by its own id, without one of ours', async () => {
    play(() => told({ invoiceStatus: 'REFUNDED' }))
    const { external_id: _known, ...unknown } = payment
    const foreign = { ...refund, refund_id: '', payment: unknown, external_id: 'invoice:555001' }
    const made = await rustore.getRefund?.(config(), foreign, newContext())
    expect(made).toMatchObject({ status: 'succeeded', payment_external_id: '555001', amount: 59_900n })
    expect(made).not.toHaveProperty('refund_id')
  })
})

describe('a purchase that an app proves', () => {
  const find = (purchase_id: string, account_ids: readonly string[] = ['anna']) =>
    rustore.getPurchase?.(config(), { purchase_id, account_ids }, newContext())
  const page = (continuation: string | null, ...purchaseIds: string[]): Said =>
    ok({ content: purchaseIds.map((purchaseId) => ({ invoiceId: '555001', purchaseId })), continuation })

  it('is read by its invoice, with whom the app names', async () => {
    play(() => told({ developerPayload: '{"account_id":"anna@shop"}' }))
    await expectEnding(find('555001'), {
      purchase_id: 'aaaa-bbbb',
      product_code: 'tokens',
      order_code: 'ord_1',
      account_id: 'anna@shop',
    })
    play(() => undefined)
    await expectEnding(find('555001'), undefined)
  })

  it('is found among the buyer’s own, page by page, and is then his', async () => {
    play(({ path }) => {
      if (!path.includes('/purchases?')) return told()
      if (path.includes('appUserId=boris')) return undefined
      return path.includes('continuation=c1') ? page(null, 'aaaa-bbbb') : page('c1', 'other')
    })
    await expectEnding(find('aaaa-bbbb', ['no account/', 'boris', 'anna']), { account_id: 'anna' })
    expect(vendor.asked.some(({ path }) => path.includes('no+account'))).toBe(false)
  })

  it('is not looked for without end, nor by nonsense, and a refused list is no answer', async () => {
    play(({ path }) => (path.includes('/purchases?') ? page('again', 'other') : told()))
    await expectEnding(find('aaaa-bbbb'), undefined)
    expect(vendor.asked.filter(({ path }) => path.includes('/purchases?'))).toHaveLength(10)
    play(() => page(null))
    await expectEnding(find('aaaa-bbbb'), undefined)
    await expectEnding(find('../x'), undefined)
    play(() => error(400, 'ERROR', 'busy'))
    await expectEnding(find('aaaa-bbbb'), GatewayUnavailable)
  })
})

describe('a subscription RuStore keeps', () => {
  const reference = { external_id: 'aaaa-bbbb', product_code: 'club' }
  const subscription = (changes: object = {}): Said =>
    ok({
      startTimeMillis: '1780000000000',
      expiryTimeMillis: String(Date.now() + 86_400_000),
      autoRenewing: true,
      paymentState: 1,
      priceCurrencyCode: 'RUB',
      priceAmountMicros: '599000000',
      orderId: 'ord_1..3',
      ...changes,
    })
  const read = () => rustore.getSubscription?.(config(), reference, newContext())

  test.each<[string, Said, Ending]>([
    ['renewed', subscription(), { is_active: true, amount: 59_900n, period_id: 'renewal-3' }],
    ['begun', subscription({ orderId: 'ord_1' }), { period_id: 'first', order_id: 'ord_1' }],
    ['on trial', subscription({ paymentState: 2 }), { is_active: true, is_trial: true }],
    ['unpaid', subscription({ paymentState: 0 }), { is_active: false }],
    ['refused', error(400, 'ERROR', 'busy'), GatewayUnavailable],
    ['unknown', error(404, 'NOT_FOUND'), undefined],
  ])('that is %s is told so', async (_title, answer, ending) => {
    play(() => answer)
    await expectEnding(read(), ending)
  })

  it('of a price that is no whole number of kopecks has none', async () => {
    play(() => subscription({ priceAmountMicros: '599000001' }))
    expect(await read()).not.toHaveProperty('amount')
  })

  it('that may not be ended says so', async () => {
    play(({ method }) => (method === 'PATCH' ? error(400, 'ERROR', 'no') : subscription()))
    const canceled = rustore.cancelSubscription?.(config(), reference, newContext())
    await expectEnding(canceled, GatewayMisconfigured)
  })
})

describe('a notification of RuStore', () => {
  const post = (type: string, data: unknown, text?: Buffer) => {
    const iv = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', Buffer.from(notification.aesKeyBase64, 'base64'), iv)
    const content = { notification_type: type, app_id: 12345, data: JSON.stringify(data) }
    const bytes = text ?? Buffer.from(JSON.stringify(content))
    const sealed = Buffer.concat([iv, cipher.update(bytes), cipher.final(), cipher.getAuthTag()])
    return rustore.parseWebhook(
      config(),
      {
        method: 'POST',
        path: '/webhooks/payments/rustore',
        headers: {},
        query: {},
        raw_body: Buffer.from(JSON.stringify({ id: 'n-1', payload: sealed.toString('base64') })),
        remote_address: '127.0.0.1',
      },
      newContext(),
    )
  }

  it('about money given back in the console is about its refund too', async () => {
    const word = { invoice_id: 555_001, status_new: 'refunded' }
    await expectEnding(post('INVOICE_STATUS', word), {
      events: [
        { kind: 'payment', external_id: '555001' },
        { kind: 'refund', external_id: 'invoice:555001', payment_external_id: '555001' },
      ],
    })
  })

  test.each([
    ['about no invoice', 'INVOICE_STATUS', { invoice_id: '../1', status_new: 'PAID' }, undefined],
    ['about no subscription', 'SUBSCRIPTION_EVENT', { purchase_id: '' }, undefined],
    ['that is no text', 'INVOICE_STATUS', {}, Buffer.from([0xff, 0xfe])],
    ['that is no JSON', 'INVOICE_STATUS', {}, Buffer.from('hello')],
  ])('%s is refused, however well it is sealed', async (_title, type, data, text) => {
    await expectEnding(post(type, data, text), { verdict: 'refused', status: 400 })
  })
})
