import { GatewayMisconfigured } from '@kopilka/extension'
import type { ReceiptItem } from '@kopilka/extension'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { newContext, newId, outcomeOf } from '../../../../test/gateway-contract.ts'
import { oneLine, openYookassa, purchase, receiptOf, refundOf } from '../../../../test/yookassa-lab.ts'
import type { YookassaLab } from '../../../../test/yookassa-lab.ts'
import yookassa from './yookassa.ts'

const context = newContext()

let lab: YookassaLab
beforeAll(async () => {
  lab = await openYookassa()
})
afterEach(() => lab.emulator.control.reset())
afterAll(() => lab.emulator.close())

const control = () => lab.emulator.control
const create = (changes: object, settings?: object) =>
  yookassa.createPayment(lab.configOf(settings), purchase(changes), context)

describe('fiscal receipts', () => {
  it('are sent in the vendor’s form: digits of the phone, unit prices, codes and measures', async () => {
    control().settings({ fiscalization: 'yookassa' })
    expect(await create({ receipt: receiptOf() }, { tax_system: 2 })).toMatchObject({ status: 'pending' })
    expect(lab.sentTo('/v3/payments')[0]?.body['receipt']).toEqual({
      customer: { email: 'buyer@example.com', phone: '79000000000' },
      items: [
        {
          description: 'Подписка',
          quantity: 1,
          amount: { value: '500.00', currency: 'RUB' },
          vat_code: 11,
          payment_subject: 'service',
          payment_mode: 'full_prepayment',
          measure: 'piece',
        },
        {
          description: 'Минуты',
          quantity: 2.5,
          amount: { value: '39.60', currency: 'RUB' },
          vat_code: 1,
          payment_subject: 'service',
          payment_mode: 'full_prepayment',
          measure: 'another',
        },
      ],
      tax_system_code: 2,
    })
  })

  it.each<[ReceiptItem['vat'], number]>([
    ['none', 1],
    ['0', 2],
    ['10', 3],
    ['20', 4],
    ['10/110', 5],
    ['20/120', 6],
    ['5', 7],
    ['7', 8],
    ['5/105', 9],
    ['7/107', 10],
    ['22', 11],
    ['22/122', 12],
  ])('write VAT %s as code %i', async (vat, vat_code) => {
    await create({ receipt: oneLine(59_900n, { vat }) })
    expect(lab.sentTo('/v3/payments')[0]?.body).toMatchObject({ receipt: { items: [{ vat_code }] } })
  })

  it('prefer the taxation system of the receipt to that of the settings', async () => {
    await create({ receipt: receiptOf({ tax_system: 6 }) }, { tax_system: 2 })
    expect(lab.sentTo('/v3/payments')[0]?.body).toMatchObject({ receipt: { tax_system_code: 6 } })
  })

  it('that do not add up or have no contact are refused before the vendor is asked', async () => {
    const differs = await create({ receipt: oneLine(59_899n) })
    expect(differs).toEqual({ status: 'failed', failure_reason: 'receipt_total_differs' })
    for (const contact of [{}, { phone: 'none' }]) {
      const nobody = await create({ receipt: receiptOf({ contact }) })
      expect(nobody).toEqual({ status: 'failed', failure_reason: 'receipt_contact_missing' })
    }
    const payment = await lab.paid()
    const refund = { ...refundOf(payment, 100n), receipt: oneLine(99n) }
    expect(await yookassa.refund?.(lab.configOf(), refund, context)).toMatchObject({
      status: 'failed',
      failure_reason: 'receipt_total_differs',
    })
    expect(lab.sentTo('/v3/payments')).toHaveLength(1)
    expect(lab.sentTo('/v3/refunds')).toEqual([])
  })

  it('that the vendor misses are its refusal', async () => {
    control().settings({ fiscalization: 'third_party' })
    expect(await create({})).toMatchObject({
      status: 'failed',
      failure_reason: 'invalid_request: receipt: Receipt is missing or illegal',
    })
  })

  it('are made of one line where the owner has set a VAT and the buyer gave an e-mail only', async () => {
    control().settings({ fiscalization: 'yookassa' })
    const description = 'x'.repeat(300)
    const purchased = { email: 'buyer@example.com', description }
    expect(await create(purchased, { default_vat: '7' })).toMatchObject({ status: 'pending' })
    expect(lab.sentTo('/v3/payments')[0]?.body).toMatchObject({
      receipt: {
        customer: { email: 'buyer@example.com' },
        items: [{ quantity: 1, amount: { value: '599.00' }, vat_code: 8, payment_mode: 'full_payment' }],
      },
    })
    expect(await create({ description }, { default_vat: '7' })).toMatchObject({ status: 'failed' })
  })

  it('are not sent, and no contact is asked for, when the owner has switched them off', async () => {
    await create({ receipt: receiptOf() }, { receipts: false })
    expect(lab.sentTo('/v3/payments')[0]?.body).not.toHaveProperty('receipt')
    const needs = yookassa.needs?.receipt_contact
    expect(typeof needs === 'function' && needs(lab.configOf({ receipts: false }))).toBe(false)
    const live = lab.configOf({ secret_key: 'live_key_of_a_real_shop' })
    expect(typeof needs === 'function' && needs(live)).toBe(true)
    // A test shop registers none: it takes a receipt and does not ask for one.
    expect(typeof needs === 'function' && needs(lab.configOf())).toBe(false)
  })
})

describe('a receipt apart from its payment', () => {
  const receipts = () => control().objects({ collection: 'receipts' }).items

  it('settles a prepayment made earlier, once', async () => {
    control().settings({ fiscalization: 'yookassa' })
    const payment = await lab.paid(purchase({ receipt: receiptOf() }))
    const before = receipts().length
    const input = {
      receipt_id: newId('rcpt'),
      kind: 'payment' as const,
      payment_external_id: payment.external_id,
      receipt: oneLine(59_900n),
    }
    const first = await yookassa.createReceipt?.(lab.configOf(), input, context)
    expect(first).toMatchObject({ status: 'succeeded', external_id: expect.stringMatching(/^rt-/) })
    expect(await yookassa.createReceipt?.(lab.configOf(), input, context)).toEqual(first)
    expect(receipts()).toHaveLength(before + 1)
    expect(lab.sentTo('/v3/receipts')[0]).toMatchObject({
      headers: { 'idempotency-key': input.receipt_id },
      body: {
        type: 'payment',
        payment_id: payment.external_id,
        send: true,
        customer: { email: 'buyer@example.com' },
        settlements: [{ type: 'prepayment', amount: { value: '599.00', currency: 'RUB' } }],
      },
    })
  })

  it('of a prepayment itself and of a refund is settled by money', async () => {
    control().settings({ fiscalization: 'third_party' })
    const payment = await lab.paid(purchase({ receipt: receiptOf() }))
    const refund = { ...refundOf(payment, 59_900n), receipt: receiptOf() }
    const made = await yookassa.refund?.(lab.configOf(), refund, context)
    const input = { payment_external_id: payment.external_id, receipt: receiptOf() }
    const first = { ...input, receipt_id: newId('rcpt'), kind: 'payment' as const }
    expect(await yookassa.createReceipt?.(lab.configOf(), first, context)).toMatchObject({
      status: 'succeeded',
    })
    const refund_external_id = made?.external_id ?? ''
    const back = { ...input, refund_external_id, receipt_id: newId('rcpt'), kind: 'refund' as const }
    expect(await yookassa.createReceipt?.(lab.configOf(), back, context)).toMatchObject({
      status: 'succeeded',
    })
    expect(lab.sentTo('/v3/receipts').map(({ body }) => body)).toMatchObject([
      { type: 'payment', settlements: [{ type: 'cashless' }] },
      { type: 'refund', refund_id: refund_external_id, settlements: [{ type: 'cashless' }] },
    ])
  })

  it('that is refused is failed', async () => {
    control().settings({ fiscalization: 'third_party' })
    const input = {
      receipt_id: newId('rcpt'),
      kind: 'payment' as const,
      payment_external_id: '00000000-0000-4000-8000-000000000000',
      receipt: receiptOf(),
    }
    const failed = { external_id: `refused:${input.receipt_id}`, status: 'failed' }
    expect(await yookassa.createReceipt?.(lab.configOf(), input, context)).toEqual({
      ...failed,
      failure_reason: expect.stringMatching(/^not_found/),
    })
    const nobody = { ...input, receipt: receiptOf({ contact: {} }) }
    expect(await yookassa.createReceipt?.(lab.configOf(), nobody, context)).toEqual({
      ...failed,
      failure_reason: 'receipt_contact_missing',
    })
  })

  it('is found by its id or by what it is about, with what the tax office knows it by', async () => {
    control().settings({ fiscalization: 'third_party' })
    const payment = await lab.paid(purchase({ receipt: receiptOf() }))
    const refund = await yookassa.refund?.(
      lab.configOf(),
      { ...refundOf(payment, 59_900n), receipt: receiptOf() },
      context,
    )
    const about = {
      receipt_id: newId('rcpt'),
      payment_external_id: payment.external_id,
      refund_external_id: refund?.external_id ?? '',
    }
    const find = (purpose: 'payment' | 'offset' | 'refund', external_id?: string) =>
      yookassa.getReceipt?.(
        lab.configOf(),
        { ...about, purpose, ...(external_id === undefined ? {} : { external_id }) },
        context,
      )
    expect(await find('offset')).toBeUndefined()
    const offset = await yookassa.createReceipt?.(
      lab.configOf(),
      { ...about, kind: 'payment', is_offset: true, receipt: receiptOf() },
      context,
    )
    const fiscal = { document: expect.any(String), storage: expect.any(String) }
    expect(await find('offset')).toMatchObject({ status: 'succeeded', fiscal, ...offset })
    const first = await find('payment')
    expect(first).toMatchObject({ status: 'succeeded', fiscal })
    const back = await find('refund')
    expect(new Set([first, back, offset].map((one) => one?.external_id)).size).toBe(3)
    expect(await find('payment', offset?.external_id)).toEqual(await find('offset'))
    expect(await find('payment', 'rt-none')).toBeUndefined()
  })

  it('that was canceled is answered only where no other stands', async () => {
    control().settings({ fiscalization: 'third_party', receipt_outcome: 'canceled' })
    const payment = await lab.paid(purchase({ receipt: receiptOf() }))
    const about = { receipt_id: newId('rcpt'), payment_external_id: payment.external_id }
    const find = () => yookassa.getReceipt?.(lab.configOf(), { ...about, purpose: 'payment' }, context)
    expect(await find()).toMatchObject({ status: 'failed', failure_reason: 'canceled' })
    control().settings({ receipt_outcome: 'pending' })
    const input = { ...about, kind: 'payment' as const, is_offset: false, receipt: receiptOf() }
    const made = await yookassa.createReceipt?.(lab.configOf(), input, context)
    expect(made).toMatchObject({ status: 'pending' })
    expect(await find()).toEqual(made)
  })
})

describe('saved methods', () => {
  async function savedMethod(): Promise<string> {
    const payment = await lab.created(purchase({ save_method: true }))
    control().complete(payment.external_id, { outcome: 'succeeded', card_number: '2200000000000004' })
    const told = await yookassa.getPayment(lab.configOf(), payment, context)
    expect(told?.saved_method).toEqual({
      external_id: payment.external_id,
      kind: 'bank_card',
      title: 'Mir •••• 0004',
      expires_at: new Date(Date.UTC(2036, 0, 1)),
    })
    return told?.saved_method?.external_id ?? ''
  }
  const charge = (method_external_id: string, changes: object = {}) => {
    const input = { ...purchase(changes), method_external_id }
    return yookassa.chargeSavedMethod?.(lab.configOf(), input, context)
  }

  it('are kept only when the buyer agreed', async () => {
    const told = await yookassa.getPayment(lab.configOf(), await lab.paid(), context)
    expect(told?.status).toBe('succeeded')
    expect(told?.saved_method).toBeUndefined()
  })

  it('are charged once per payment id, with a receipt and without a page', async () => {
    const method = await savedMethod()
    const input = { payment_id: newId('pay'), receipt: receiptOf() }
    const first = await charge(method, input)
    expect(first).toMatchObject({ status: 'succeeded', payment: { amount: 59_900n, is_test: true } })
    expect(first?.checkout_url).toBeUndefined()
    const { body } = lab.sentTo('/v3/payments')[1] ?? {}
    expect(body).toMatchObject({ capture: true, payment_method_id: method, receipt: { items: [{}, {}] } })
    expect(body).not.toHaveProperty('confirmation')
    expect(body).not.toHaveProperty('save_payment_method')
    const before = control().objects({ collection: 'payments' }).items.length
    const fresh = { ...input, order_id: newId('ord') }
    expect((await charge(method, fresh))?.external_id).toBe(first?.external_id)
    expect(control().objects({ collection: 'payments' }).items).toHaveLength(before)
  })

  it.each(['permission_revoked', 'insufficient_funds'])('tell why a charge failed: %s', async (reason) => {
    const method = await savedMethod()
    control().settings({ autopayment_outcome: reason })
    const told = await charge(method)
    expect(told).toMatchObject({ status: 'failed', failure_reason: reason, external_id: expect.any(String) })
  })

  it('that are not there are refused; a shop without autopayments is misconfigured', async () => {
    const method = await savedMethod()
    const refused = await charge('00000000-0000-4000-8000-000000000000')
    expect(refused).toMatchObject({
      status: 'failed',
      failure_reason: expect.stringMatching(/^invalid_request/),
    })
    control().settings({ is_autopayment_enabled: false })
    const { error } = await outcomeOf(Promise.resolve(charge(method)))
    expect(error).toBeInstanceOf(GatewayMisconfigured)
  })
})
