import { inspect } from 'node:util'
import { startRobokassaEmulator } from '@kopilka/emulators/robokassa'
import type { Emulator } from '@kopilka/emulators/emulator'
import type { CreatePaymentInput, PaymentReference, WebhookRequest } from '@kopilka/extension'
import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { newContext, newId, outcomeOf } from '../../../../test/gateway-contract.ts'
import { startReceiver } from '../../../../test/gateway-contract/receiver.ts'
import type { Receiver } from '../../../../test/gateway-contract/receiver.ts'
import vectors from '../../../../test/vectors/robokassa.json' with { type: 'json' }
import { HASHES } from './robokassa/config.ts'
import { openJws, signJwt, signReceipt, signatureOf } from './robokassa/sign.ts'
import robokassa from './robokassa.ts'

const LOGIN = vectors.credentials.login
const { p1, p2, p3 } = vectors.credentials
let emulator: Emulator
let receiver: Receiver
let certificate: string
let context = newContext()
let last_number = 5000

beforeAll(async () => {
  receiver = await startReceiver('robokassa')
  emulator = await startRobokassaEmulator({ webhook_url: receiver.url, retry_scale: 0.001 })
  certificate = await (await fetch(`${emulator.base_url}/jwtsign.cer`)).text()
})
afterAll(async () => {
  await emulator.close()
  await receiver.close()
})
beforeEach(() => {
  emulator.control.reset()
  context = { ...newContext(), base_url: receiver.url.replace('/webhooks/payments/robokassa', '') }
})

const configOf = (changes: object = {}) =>
  robokassa.configSchema.parse({
    merchant_login: LOGIN,
    password1: 'robokassa_live_password_1',
    password2: 'robokassa_live_password_2',
    password3: 'robokassa_live_password_3',
    pay_url: `${emulator.base_url}/Merchant`,
    services_url: emulator.base_url,
    receipts_url: emulator.base_url,
    result2_certificate: certificate,
    ...changes,
  })

const purchase = (changes: Partial<CreatePaymentInput> = {}): CreatePaymentInput => ({
  payment_id: newId('pay'),
  payment_number: ++last_number,
  order_id: newId('ord'),
  customer_id: newId('cus'),
  amount: 59_900n,
  currency: 'RUB',
  description: 'Подписка «Голос» & <b>минуты</b>',
  return_url: 'https://shop.example/return?order=1&a=b c',
  capture: true,
  save_method: false,
  locale: 'ru-RU',
  expires_at: new Date(Date.now() + 3_600_000),
  ...changes,
})

const line = (unit_amount: bigint, quantity = 1) => ({
  description: 'Подписка 1 мес.',
  quantity,
  unit_amount,
  vat: '22' as const,
  payment_subject: 'service',
  payment_mode: 'full_prepayment',
})
const receiptOf = (amount: bigint) => ({ contact: { email: 'buyer@example.com' }, items: [line(amount)] })

/** Goes to the page as the buyer does and pays; `config` says with which passwords. */
async function pay(
  input = purchase(),
  config = configOf(),
): Promise<PaymentReference & { external_id: string }> {
  const created = await robokassa.createPayment(config, input, context)
  const page = await fetch(created.checkout_url ?? '')
  expect([created.failure_reason, page.status]).toEqual([undefined, 200])
  emulator.control.complete(created.external_id ?? '', 'succeeded')
  return { ...input, external_id: created.external_id ?? '' }
}

const told = async (match: (text: string) => boolean): Promise<WebhookRequest> =>
  receiver.take((request) => match(request.raw_body.toString('utf8')))
const refundOf = (payment: PaymentReference, amount: bigint) => ({
  refund_id: newId('re'),
  payment,
  amount,
  currency: 'RUB',
  reason: 'Передумал',
  is_full: amount === payment.amount,
})

describe('the signatures', () => {
  const cases: [
    string,
    { md5: string; sha256: string; sha512: string },
    (string | undefined)[],
    string,
    object?,
  ][] = [
    ['payment_simple', vectors.payment_simple, [LOGIN, '599.00', '1001'], p1],
    ['payment_no_invid', vectors.payment_no_invid, [LOGIN, '599.00', ''], p1],
    [
      'payment_shp',
      vectors.payment_shp,
      [LOGIN, '599.00', '1001', undefined],
      p1,
      { Shp_user: '42', Shp_order: '7f3c' },
    ],
    [
      'payment_receipt',
      vectors.payment_receipt,
      [LOGIN, '599.00', '1001', encodeURIComponent(vectors.payment_receipt.receipt_json)],
      p1,
      { Shp_user: '42' },
    ],
    [
      'payment_success_url2',
      vectors.payment_success_url2,
      [LOGIN, '599.00', '1001', 'https://app.example/ok', 'GET'],
      p1,
    ],
    ['hold_init', vectors.hold_init, [LOGIN, '599.00', '1001', 'true', 'https://app.example/rk2'], p1],
    ['hold_confirm', vectors.hold_confirm, [LOGIN, '599.00', '1001'], p1],
    ['hold_cancel', vectors.hold_cancel, [LOGIN, '', '1001'], p1],
    ['result_url', vectors.result_url, ['599.000000', '1001'], p2, { Shp_order: '7f3c', Shp_user: '42' }],
    ['result_url_no_shp', vectors.result_url_no_shp, ['599.000000', '1001'], p2],
    ['success_url', vectors.success_url, ['599.00', '1001'], p1],
    ['op_state', vectors.op_state, [LOGIN, '1001'], p2],
    ['recurring_child', vectors.recurring_child, [LOGIN, '599.00', '1002'], p1],
  ]
  it.each(cases)('agree with the vector %s in every algorithm', (_name, vector, parts, secret, shp = {}) => {
    for (const hash of ['md5', 'sha256', 'sha512'] as const) {
      expect(signatureOf(hash, parts, secret, shp as Record<string, string>)).toBe(vector[hash])
    }
  })

  it('of tokens and second receipts agree with the vectors', () => {
    const { invoice_jwt, refund_jwt, second_receipt } = vectors
    const invoice = signJwt({ typ: 'JWT', alg: 'MD5' }, invoice_jwt.payload, `${LOGIN}:${p1}`)
    expect(invoice).toBe(invoice_jwt.jwt)
    // The vector's header begins with `alg`.
    const [head = '', body = ''] = refund_jwt.jwt.split('.')
    expect(JSON.parse(Buffer.from(head, 'base64url').toString())).toEqual({ alg: 'HS256', typ: 'JWT' })
    expect(signJwt({ alg: 'HS256', typ: 'JWT' }, refund_jwt.payload, p3)).toBe(refund_jwt.jwt)
    expect(JSON.parse(Buffer.from(body, 'base64url').toString())).toEqual(refund_jwt.payload)
    expect(signReceipt('md5', second_receipt.payload, p1)).toBe(second_receipt.variant_A_official_sdk.body)
  })

  it('of ResultUrl2 are really verified: one byte, another key, another algorithm, another spelling', () => {
    const { jws, certificatePem, payload } = vectors.result_url2_jws
    expect(openJws(jws, certificatePem)).toEqual(payload)
    expect(openJws(jws, certificate)).toBeUndefined()
    const [head = '', body = '', signature = ''] = jws.split('.')
    for (const alg of ['none', 'HS256', 'RS1', 'PS256', 'constructor', '']) {
      const other = Buffer.from(JSON.stringify({ typ: 'JWT', alg })).toString('base64url')
      expect([alg, openJws(`${other}.${body}.${signature}`, certificatePem)]).toEqual([alg, undefined])
    }
    for (let at = 0; at < jws.length; at += 3) {
      const letter = jws[at] === 'A' ? 'B' : 'A'
      expect([at, openJws(jws.slice(0, at) + letter + jws.slice(at + 1), certificatePem)]).toEqual([
        at,
        undefined,
      ])
    }
    expect(openJws(`${head}.${body}.`, certificatePem)).toBeUndefined()
    expect(openJws(`${jws}.x`, certificatePem)).toBeUndefined()
  })
})

describe('the payment page', () => {
  it.each(HASHES)('is reached by a link the vendor takes, with %s', async (hash) => {
    emulator.control.settings({ hash })
    const config = configOf({ hash })
    const { external_id } = await pay(purchase(), config)
    const request = await told((text) => text.includes(`InvId=${external_id}`))
    const result = await robokassa.parseWebhook(config, request, context)
    expect(result).toMatchObject({ verdict: 'accepted', answer: { status: 200, body: `OK${external_id}` } })
    expect(emulator.control.objects().items).toMatchObject([
      { amount: 59_900, success_url: 'https://shop.example/return?order=1&a=b c' },
    ])
  })

  it('gets a receipt encoded once in the signature and twice in the address', async () => {
    const input = purchase({ receipt: receiptOf(59_900n) })
    const { checkout_url = '' } = await robokassa.createPayment(configOf({ tax_system: 2 }), input, context)
    expect(checkout_url).toContain('Receipt=%257B%2522sno%2522%253A%2522usn_income%2522')
    expect((await fetch(checkout_url)).status).toBe(200)
    expect(emulator.control.objects().items).toMatchObject([
      {
        receipt: {
          sno: 'usn_income',
          items: [{ sum: 599, tax: 'vat22', payment_method: 'full_prepayment' }],
        },
      },
    ])
  })

  it('gets a receipt too long for an address by a form of ours', async () => {
    const items = Array.from({ length: 60 }, () => line(100n))
    const input = purchase({ amount: 6000n, receipt: { contact: { phone: '+79000000000' }, items } })
    const created = await robokassa.createPayment(configOf(), input, context)
    expect(created.checkout_url).toBe(`${emulator.base_url}/Merchant/Index/${input.payment_number}`)
    expect((await fetch(created.checkout_url ?? '')).status).toBe(200)
  })

  it.each([
    ['a receipt that does not add up', { receipt: receiptOf(59_901n) }, 'receipt_total_differs'],
    ['a receipt for nobody', { receipt: { contact: {}, items: [line(59_900n)] } }, 'receipt_contact_missing'],
    ['a method it does not have', { method: 'sbp' }, 'method_not_supported'],
  ])('is not offered for %s', async (_what, changes, failure_reason) => {
    const created = await robokassa.createPayment(configOf(), purchase(changes), context)
    expect(created).toEqual({ status: 'failed', failure_reason })
  })

  it('of another sum, number or shop than was signed is refused by the vendor', async () => {
    const { checkout_url = '' } = await robokassa.createPayment(configOf(), purchase(), context)
    for (const [name, value] of [
      ['OutSum', '1.00'],
      ['InvId', '1'],
      ['Shp_order', 'x'],
      ['FailUrl2', 'https://x.example'],
    ]) {
      const url = new URL(checkout_url)
      url.searchParams.set(name ?? '', value ?? '')
      expect([name, (await fetch(url)).status]).toEqual([name, 400])
    }
  })
})

describe('ResultURL', () => {
  const post = (body: string): WebhookRequest => ({
    method: 'POST',
    path: '/webhooks/payments/robokassa',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    query: {},
    raw_body: Buffer.from(body),
    remote_address: '185.59.216.65',
  })
  const signed = (fields: Record<string, string>, config = configOf()) => {
    const shp = Object.fromEntries(Object.entries(fields).filter(([name]) => name.startsWith('Shp_')))
    const parts = [fields['OutSum'], fields['InvId']]
    const SignatureValue = signatureOf(config.hash, parts, config.password2, shp)
    return post(new URLSearchParams({ ...fields, SignatureValue }).toString())
  }

  it('is believed with the raw sum, our ids, and nothing that is not signed', async () => {
    const input = purchase({ save_method: true })
    const { external_id } = await pay(input)
    const request = await told((text) => text.includes(`InvId=${external_id}`))
    expect(request.raw_body.toString()).toContain('OutSum=599.000000')
    const result = await robokassa.parseWebhook(configOf(), request, context)
    expect(result).toMatchObject({
      events: [
        {
          trust: 'signed',
          external_event_id: `result:${external_id}`,
          payment: {
            external_id,
            payment_id: input.payment_id,
            order_id: input.order_id,
            payment_number: input.payment_number,
            status: 'succeeded',
            amount: 59_900n,
            currency: 'RUB',
            is_test: false,
            saved_method: { external_id, kind: 'bank_card' },
          },
        },
      ],
    })
    expect(inspect(result, { depth: 5 })).not.toMatch(/fee/)
  })

  it.each([
    ['an amount that is none', { OutSum: '599.001', InvId: '1001' }],
    ['an amount with a sign', { OutSum: '-599.00', InvId: '1001' }],
    ['a number with a leading zero', { OutSum: '599.00', InvId: '01001' }],
    ['a number that is none', { OutSum: '599.00', InvId: 'abc' }],
    ['a test payment with the live password', { OutSum: '599.00', InvId: '1001', IsTest: '1' }],
  ])('is refused for %s, however well signed', async (_what, fields) => {
    expect(await robokassa.parseWebhook(configOf(), signed(fields), context)).toMatchObject({
      verdict: 'refused',
    })
    const good = { OutSum: '599.00', InvId: '1001', Shp_x: 'y' }
    expect(await robokassa.parseWebhook(configOf(), signed(good), context)).toMatchObject({
      verdict: 'accepted',
    })
  })

  it('is refused as signed for the success page or the other mode, and with a name twice', async () => {
    const form = { OutSum: '599.00', InvId: '1001' }
    for (const config of [
      configOf({ password2: 'robokassa_live_password_1' }),
      configOf({ password2: 'robokassa_test_password_2' }),
    ]) {
      expect(await robokassa.parseWebhook(configOf(), signed(form, config), context)).toMatchObject({
        verdict: 'refused',
      })
    }
    const twice = post(`${signed(form).raw_body.toString()}&outsum=1.00`)
    expect(await robokassa.parseWebhook(configOf(), twice, context)).toMatchObject({ verdict: 'refused' })
  })

  it('says of every forged notification of the emulator that it is refused', async () => {
    emulator.control.faults({ forge: 5 })
    const before = receiver.requests.length
    for (let round = 0; round < 5; round += 1) await pay()
    // The receiver's plain OK is not what the vendor waits for: it goes on repeating the true ones.
    await emulator.control.settled(500)
    const verdicts = await Promise.all(
      receiver.requests.slice(before).map((request) => robokassa.parseWebhook(configOf(), request, context)),
    )
    const refusals = verdicts.filter(({ verdict }) => verdict === 'refused')
    expect(refusals.length).toBeGreaterThanOrEqual(5)
    expect(verdicts.length - refusals.length).toBeGreaterThanOrEqual(5)
  })
})

describe('the status service', () => {
  it('tells a paid payment with its fee, and the card a later charge may use', async () => {
    const input = purchase({ save_method: true })
    const reference = await pay(input)
    expect(await robokassa.getPayment(configOf(), reference, context)).toMatchObject({
      status: 'succeeded',
      amount: 59_900n,
      fee: 2396n,
      payment_id: input.payment_id,
      is_test: false,
      paid_at: expect.any(Date),
      saved_method: { title: '•••• 0001' },
    })
  })

  it('tells what nobody opened as unknown, what was declined as canceled, and no test payment', async () => {
    const { external_id = '', checkout_url = '' } = await robokassa.createPayment(
      configOf(),
      purchase(),
      context,
    )
    const reference = { ...purchase(), external_id }
    expect(await robokassa.getPayment(configOf(), reference, context)).toBeUndefined()
    await fetch(checkout_url)
    expect(await robokassa.getPayment(configOf(), reference, context)).toMatchObject({ status: 'pending' })
    emulator.control.complete(external_id, 'canceled')
    expect(await robokassa.getPayment(configOf(), reference, context)).toMatchObject({
      status: 'canceled',
      failure_reason: 'state_10',
    })
    const test = {
      is_test: true,
      password1: 'robokassa_test_password_1',
      password2: 'robokassa_test_password_2',
    }
    const tested = await pay(purchase(), configOf(test))
    expect(await robokassa.getPayment(configOf(test), tested, context)).toBeUndefined()
  })

  it('calls a wrong password a mistake of the settings', async () => {
    const wrong = configOf({ password2: 'a-wrong-password-2' })
    const { error } = await outcomeOf(robokassa.getPayment(wrong, purchase(), context))
    expect(error).toBeInstanceOf(GatewayMisconfigured)
    expect(await robokassa.checkHealth?.(wrong, context)).toMatchObject({ ok: false })
    expect(await robokassa.checkHealth?.(configOf(), context)).toMatchObject({ ok: true })
  })
})

describe('holds', () => {
  it('are told by a signed notification, captured for less, and paid only then', async () => {
    const held = await pay(purchase({ capture: false }))
    const request = await told((text) => text.startsWith('eyJ'))
    const result = await robokassa.parseWebhook(configOf(), request, context)
    expect(result).toMatchObject({
      events: [{ trust: 'signed', type: 'ResultUrl2 HOLD', external_id: held.external_id }],
    })
    expect(result).not.toHaveProperty('events.0.payment')
    expect(await robokassa.getPayment(configOf(), held, context)).toMatchObject({ status: 'authorized' })
    const captured = await robokassa.capturePayment?.(configOf(), { ...held, amount: 50_000n }, context)
    expect(captured).toMatchObject({ status: 'succeeded', amount: 50_000n })
    const again = await robokassa.capturePayment?.(configOf(), { ...held, amount: 50_000n }, context)
    expect(again).toMatchObject({ status: 'succeeded', amount: 50_000n })
  })

  it('are not told by an old or future notification, another shop, or without a certificate', async () => {
    const held = await pay(purchase({ capture: false }))
    const request = await told((text) => text.startsWith('eyJ'))
    const at = (seconds: number) => ({ ...context, now: new Date(Date.now() + seconds * 1000) })
    for (const seconds of [-400, 400]) {
      expect(await robokassa.parseWebhook(configOf(), request, at(seconds))).toMatchObject({
        verdict: 'refused',
      })
    }
    for (const changes of [
      { merchant_login: 'other' },
      { result2_certificate: undefined },
      { is_test: true },
    ]) {
      expect(await robokassa.parseWebhook(configOf(changes), request, context)).toMatchObject({
        verdict: 'refused',
      })
    }
    expect(await robokassa.cancelPayment?.(configOf(), held, context)).toMatchObject({ status: 'canceled' })
    expect(await robokassa.cancelPayment?.(configOf(), held, context)).toMatchObject({ status: 'canceled' })
  })

  it('are not begun in test mode or without the certificate', async () => {
    const input = purchase({ capture: false })
    const begun = [configOf({ is_test: true }), configOf({ result2_certificate: undefined })]
    for (const config of begun) {
      expect(await robokassa.createPayment(config, input, context)).toMatchObject({ status: 'failed' })
    }
  })
})

describe('recurring charges', () => {
  const charge = (parent: PaymentReference & { external_id: string }, changes: object = {}) =>
    robokassa.chargeSavedMethod!(
      configOf(),
      { ...purchase(), method_external_id: parent.external_id, receipt: receiptOf(59_900n), ...changes },
      context,
    )

  it('go by the parent number, are accepted first and paid later', async () => {
    const parent = await pay(purchase({ save_method: true }))
    const charged = await charge(parent)
    expect(charged).toMatchObject({ status: 'pending', external_id: expect.any(String) })
    const request = await told((text) => text.includes(`InvId=${charged.external_id}`))
    expect(await robokassa.parseWebhook(configOf(), request, context)).toMatchObject({ verdict: 'accepted' })
  })

  it('make one payment when the answer is lost and the charge is repeated', async () => {
    const parent = await pay(purchase({ save_method: true }))
    const input = purchase()
    emulator.control.faults({ timeout_after_charge: 1 })
    const impatient = { ...context, timeout_ms: 300 }
    const first = robokassa.chargeSavedMethod!(
      configOf(),
      { ...input, method_external_id: parent.external_id },
      impatient,
    )
    expect((await outcomeOf(first)).error).toBeInstanceOf(GatewayUnavailable)
    const again = await charge(parent, input)
    expect(again).toMatchObject({ status: 'succeeded', payment: { payment_id: input.payment_id } })
    expect(emulator.control.objects().items).toHaveLength(2)
  })

  it('of a parent that agreed to none are refused with the vendor’s word', async () => {
    expect(await charge(await pay())).toMatchObject({
      status: 'failed',
      failure_reason: expect.stringContaining('35'),
    })
  })
})

describe('refunds', () => {
  it.each(['json', 'raw'])(
    'are made once, in part and in full, with a body in the form %s',
    async (refund_body) => {
      const config = configOf({ refund_body })
      const payment = await pay()
      const part = refundOf(payment, 10_050n)
      const first = await robokassa.refund!(config, part, context)
      expect(first).toMatchObject({ status: 'pending', amount: 10_050n })
      expect(await robokassa.refund!(config, part, context)).toEqual(first)
      const reference = { ...part, external_id: first.external_id }
      expect(await robokassa.getRefund!(config, reference, context)).toMatchObject({
        status: 'succeeded',
        amount: 10_050n,
      })
      expect(await robokassa.refund!(config, refundOf(payment, 49_851n), context)).toMatchObject({
        status: 'failed',
        failure_reason: 'NotEnoughOperationFunds',
      })
      await robokassa.refund!(config, refundOf(payment, 49_850n), context)
      const full = await robokassa.refund!(config, refundOf(payment, 59_900n), context)
      expect(full).toMatchObject({ status: 'succeeded', external_id: expect.stringMatching(/^full:/) })
      expect(emulator.control.objects({ collection: 'refunds' }).items).toHaveLength(2)
    },
  )

  it('carry their receipt', async () => {
    const payment = await pay()
    await robokassa.refund!(
      configOf(),
      { ...refundOf(payment, 59_900n), receipt: receiptOf(59_900n) },
      context,
    )
    expect(emulator.control.objects({ collection: 'refunds' }).items).toMatchObject([
      { items: [{ Name: 'Подписка 1 мес.', Quantity: 1, Cost: 599, Tax: 'vat22' }] },
    ])
  })

  it('without an answer are never asked for again: a person looks', async () => {
    const payment = await pay()
    const input = refundOf(payment, 10_000n)
    emulator.control.faults({ timeout_after_charge: 1 })
    const first = await outcomeOf(robokassa.refund!(configOf(), input, { ...context, timeout_ms: 300 }))
    const again = await outcomeOf(robokassa.refund!(configOf(), input, context))
    const asked = await outcomeOf(robokassa.getRefund!(configOf(), { ...input, payment }, context))
    const elsewhere = await outcomeOf(
      robokassa.getRefund!(configOf(), input, { ...context, cache: new Map() }),
    )
    for (const { error } of [first, again, asked, elsewhere]) expect(error).toBeInstanceOf(GatewayUnavailable)
    expect(emulator.control.objects({ collection: 'refunds' }).items).toHaveLength(1)
  })

  it('that failed before they were sent may be asked for again', async () => {
    const payment = await pay()
    const input = refundOf(payment, 10_000n)
    emulator.control.faults({ error_429: 1, scope: 'reads' })
    const first = await outcomeOf(robokassa.refund!(configOf(), input, context))
    expect(first.error).toBeInstanceOf(GatewayUnavailable)
    expect(await robokassa.getRefund!(configOf(), input, context)).toBeUndefined()
    expect(await robokassa.refund!(configOf(), input, context)).toMatchObject({ status: 'pending' })
  })

  it('need the third password, the vendor’s permission and a live payment', async () => {
    const payment = await pay()
    const without = outcomeOf(
      robokassa.refund!(configOf({ password3: undefined }), refundOf(payment, 1n), context),
    )
    expect((await without).error).toBeInstanceOf(GatewayMisconfigured)
    emulator.control.settings({ is_refund_api_enabled: false })
    const denied = await outcomeOf(robokassa.refund!(configOf(), refundOf(payment, 1n), context))
    expect(denied.error).toBeInstanceOf(GatewayMisconfigured)
    expect(
      await robokassa.refund!(configOf({ is_test: true }), refundOf(payment, 1n), context),
    ).toMatchObject({
      status: 'failed',
    })
  })
})

describe('second receipts', () => {
  it('are registered once for a paid payment', async () => {
    const { external_id } = await pay()
    const input = { receipt_id: newId('rcp'), kind: 'payment' as const, payment_external_id: external_id }
    const register = () =>
      robokassa.createReceipt!(configOf(), { ...input, receipt: receiptOf(59_900n) }, context)
    const first = await register()
    expect(first).toMatchObject({ status: 'pending', external_id: expect.stringMatching(/^\d+$/) })
    expect(await register()).toEqual(first)
    expect(emulator.control.objects({ collection: 'receipts' }).items).toMatchObject([
      {
        origin_id: external_id,
        payload: {
          operation: 'sell',
          total: 599,
          payments: [{ type: 2, sum: 599 }],
          items: [{ payment_method: 'full_payment' }],
        },
      },
    ])
  })

  it('are found by their number, whatever became of them', async () => {
    const { external_id } = await pay()
    const about = { receipt_id: newId('rcp'), payment_external_id: external_id, purpose: 'offset' as const }
    const find = (changes = {}) => robokassa.getReceipt!(configOf(), { ...about, ...changes }, context)
    // Nothing was sent: the vendor says "error", and nothing is known.
    expect(await find()).toBeUndefined()
    const input = { ...about, kind: 'payment' as const, is_offset: true, receipt: receiptOf(59_900n) }
    const made = await robokassa.createReceipt!(configOf(), input, context)
    const fiscal = { document: expect.any(String), storage: '9287440300090728', attribute: '3133458701' }
    expect(await find()).toEqual({ external_id: made.external_id, status: 'succeeded', fiscal })
    emulator.control.settings({ receipt_code: 1 })
    expect(await find()).toEqual(made)
    emulator.control.settings({ receipt_code: 3 })
    expect(await find()).toBeUndefined()
    const known = { external_id: made.external_id }
    expect(await find(known)).toMatchObject({ status: 'failed', failure_reason: 'result code 3: error' })
    emulator.control.settings({ receipt_code: 1000 })
    await expect(find()).rejects.toThrow(GatewayUnavailable)
    expect(await find({ purpose: 'payment' })).toBeUndefined()
  })

  it('of a refund, or of a payment the vendor does not know, fail', async () => {
    const input = { receipt_id: newId('rcp'), payment_external_id: '77', receipt: receiptOf(100n) }
    for (const kind of ['payment', 'refund'] as const) {
      expect(await robokassa.createReceipt!(configOf(), { ...input, kind }, context)).toMatchObject({
        status: 'failed',
      })
    }
  })
})
