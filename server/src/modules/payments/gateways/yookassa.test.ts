import { createServer } from 'node:http'
import { GatewayMisconfigured, idTime } from '@kopilka/extension'
import type { PaymentReference } from '@kopilka/extension'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { newId as newKernelId } from '#kernel/ids'
import { newContext, outcomeOf } from '../../../../test/gateway-contract.ts'
import vectors from '../../../../test/vectors/yookassa.json' with { type: 'json' }
import { oneLine, openYookassa, purchase, receiptOf, refundOf } from '../../../../test/yookassa-lab.ts'
import type { YookassaLab } from '../../../../test/yookassa-lab.ts'
import yookassa from './yookassa.ts'
import { toPayment } from './yookassa/objects.ts'

const DAY_MS = 86_400_000
const context = newContext()

let lab: YookassaLab
beforeAll(async () => {
  lab = await openYookassa()
})
afterEach(() => lab.emulator.control.reset())
afterAll(() => lab.emulator.close())

const configOf = (changes?: object) => lab.configOf(changes)
const created = (input = purchase()) => lab.created(input)
const paid = (input = purchase()) => lab.paid(input)
const control = () => lab.emulator.control

const statusOf = async (reference: PaymentReference) => {
  const { status, failure_reason } = (await yookassa.getPayment(configOf(), reference, context)) ?? {}
  return [status, failure_reason]
}

describe('creating a payment', () => {
  it('sends exactly what the vendor documents, with capture always said', async () => {
    const input = purchase({ method: 'sbp', save_method: true, capture: false, locale: 'en' })
    await yookassa.createPayment(configOf(), input, context)
    const [request] = lab.sentTo('/v3/payments')
    expect(request?.headers).toEqual({ 'idempotency-key': input.payment_id })
    expect(request?.body).toEqual({
      amount: { value: '599.00', currency: 'RUB' },
      description: 'Подписка',
      metadata: { payment_id: input.payment_id, order_id: input.order_id },
      capture: false,
      confirmation: { type: 'redirect', return_url: input.return_url, locale: 'en_US' },
      payment_method_data: { type: 'sbp' },
      save_payment_method: true,
    })
    await yookassa.createPayment(configOf(), purchase({ method: 'card' }), context)
    expect(lab.sentTo('/v3/payments')[1]?.body).toMatchObject({
      capture: true,
      payment_method_data: { type: 'bank_card' },
      confirmation: { locale: 'ru_RU' },
    })
    expect(lab.sentTo('/v3/payments')[1]?.body).not.toHaveProperty('save_payment_method')
  })

  it('signs in as the vector says', async () => {
    const seen: (string | undefined)[] = []
    const server = createServer((request, response) => {
      seen.push(request.headers.authorization)
      response.writeHead(401).end('{"type":"error","code":"invalid_credentials"}')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const { shop_id, secret_key, header } = vectors.basic_auth
    // The vector's key is shorter than the settings allow, so the schema is left out here.
    const config = { ...configOf(), shop_id, secret_key, base_url: `http://127.0.0.1:${port}/v3` }
    expect(await yookassa.checkHealth?.(config, context)).toMatchObject({ ok: false })
    expect(seen).toEqual([header])
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  it('refuses a method it does not know without asking the vendor', async () => {
    const result = await yookassa.createPayment(configOf(), purchase({ method: 'cash' }), context)
    expect(result).toEqual({ status: 'failed', failure_reason: 'method_not_supported' })
    expect(lab.sentTo('/v3/payments')).toEqual([])
  })

  it('cuts a description to what the vendor takes', async () => {
    await created(purchase({ description: 'П'.repeat(500) }))
    expect(lab.sentTo('/v3/payments')[0]?.body['description']).toBe(`${'П'.repeat(127)}…`)
  })

  it('gives the vendor’s refusal as a failed payment with the vendor’s word', async () => {
    const result = await yookassa.createPayment(configOf(), purchase({ currency: 'USD' }), context)
    expect(result).toMatchObject({
      status: 'failed',
      failure_reason: expect.stringMatching(/^invalid_request: amount/),
    })
    expect(result.external_id).toBeUndefined()
  })

  it('throws GatewayMisconfigured for a wrong key and for a feature the shop was not given', async () => {
    const wrong = configOf({ secret_key: 'test_another-0123456789' })
    const refused = await outcomeOf(yookassa.createPayment(wrong, purchase(), context))
    expect(refused.error).toBeInstanceOf(GatewayMisconfigured)
    expect(refused.error?.message).toContain('invalid_credentials')
    control().settings({ is_autopayment_enabled: false })
    const forbidden = await outcomeOf(
      yookassa.createPayment(configOf(), purchase({ save_method: true }), context),
    )
    expect(forbidden.error).toBeInstanceOf(GatewayMisconfigured)
    expect(control().objects({ collection: 'payments' }).items).toEqual([])
  })
})

describe('a payment whose creation is repeated', () => {
  it('with another body leads to the payment that stands', async () => {
    const input = purchase()
    const first = await yookassa.createPayment(configOf(), input, context)
    const again = await yookassa.createPayment(configOf(), { ...input, description: 'Другое' }, context)
    expect(again).toMatchObject({
      status: 'pending',
      external_id: first.external_id,
      checkout_url: first.checkout_url,
    })
    expect(control().objects({ collection: 'payments' }).items).toHaveLength(1)
  })

  it('after the vendor has forgotten the key leads to the payment that stands', async () => {
    const input = purchase()
    const first = await yookassa.createPayment(configOf(), input, context)
    control().complete(first.external_id ?? '', 'succeeded')
    control().advanceClock(DAY_MS + 3_600_000)
    const later = { ...context, now: new Date(Date.now() + DAY_MS + 3_600_000) }
    const again = await yookassa.createPayment(configOf(), input, later)
    expect(again).toMatchObject({ status: 'succeeded', external_id: first.external_id })
    const never_made = purchase()
    expect(await yookassa.createPayment(configOf(), never_made, later)).toMatchObject({ status: 'pending' })
    expect(control().objects({ collection: 'payments' }).items).toHaveLength(2)
  })

  it('is found among more payments than one page holds', async () => {
    const input = purchase()
    await created(input)
    await Promise.all(Array.from({ length: 120 }, () => created(purchase())))
    const { external_id: _, ...reference } = { ...input, external_id: '' }
    const told = await yookassa.getPayment(configOf(), reference, context)
    expect(told?.payment_id).toBe(input.payment_id)
  })

  it('tells its moment by an id of the kernel', () => {
    // Ids go forward only: one made before in this process, under a clock that is ahead, is not undercut.
    const first = idTime(newKernelId('pay', Date.now() + 10_000))?.getTime() ?? 0
    expect(first).toBeGreaterThanOrEqual(Date.now())
    expect(idTime(newKernelId('pay', first + 1000))).toEqual(new Date(first + 1000))
  })
})

describe('statuses', () => {
  const canceled = ['expired_on_confirmation', 'expired_on_capture', 'canceled_by_merchant']
  const failed =
    '3d_secure_failed call_issuer card_expired country_forbidden deal_expired fraud_suspected ' +
    'general_decline identification_required insufficient_funds internal_timeout invalid_card_number ' +
    'invalid_csc issuer_unavailable payment_method_limit_exceeded payment_method_restricted ' +
    'permission_revoked unsupported_mobile_operator'

  it.each(canceled)('call a payment ended by %s canceled', async (reason) => {
    const reference = await created(purchase())
    control().complete(reference.external_id, { outcome: 'canceled', reason })
    expect(await statusOf(reference)).toEqual(['canceled', reason])
  })

  it.each(failed.split(' '))('call a payment ended by %s failed', async (reason) => {
    const reference = await created(purchase())
    control().complete(reference.external_id, { outcome: 'canceled', reason })
    expect(await statusOf(reference)).toEqual(['failed', reason])
  })

  it('call a hold authorized, and a payment nobody made canceled when its time is over', async () => {
    const held = await created(purchase({ capture: false }))
    control().complete(held.external_id, 'authorized')
    expect(await statusOf(held)).toEqual(['authorized', undefined])
    const forgotten = await created(purchase())
    control().advanceClock(2 * 3_600_000)
    expect(await statusOf(forgotten)).toEqual(['canceled', 'expired_on_confirmation'])
  })

  it.each([
    [
      'by the merchant, whatever the reason',
      { party: 'merchant', reason: 'changed_mind' },
      'canceled',
      'changed_mind',
    ],
    ['for a reason of a later version', { party: 'yoo_money', reason: 'moon_phase' }, 'failed', 'moon_phase'],
    [
      'for a reason that is no word',
      { party: 'yoo_money', reason: '<b>no</b>' },
      'failed',
      'general_decline',
    ],
    ['without a reason', undefined, 'failed', 'general_decline'],
  ])('tell a payment canceled %s', (_how, cancellation_details, status, failure_reason) => {
    const id = '2d6f0c9b-000f-5000-9000-145f6df21d6f'
    const amount = { value: '599.0', currency: 'RUB' } as const
    const object = { id, status: 'canceled', amount, metadata: null, cancellation_details }
    const told = toPayment(configOf(), object)
    expect(told).toEqual({ external_id: id, status, failure_reason, amount: 59_900n, currency: 'RUB' })
  })

  it('keep a refunded payment succeeded and tell how much went back, and what the vendor keeps', async () => {
    const reference = await paid()
    const before = await yookassa.getPayment(configOf(), reference, context)
    expect(before).toMatchObject({
      status: 'succeeded',
      refunded_amount: 0n,
      receiver_matches: true,
      is_test: true,
    })
    expect(before?.paid_at?.getTime()).toBeGreaterThan(Date.now() - 60_000)
    expect(before?.fee).toBeGreaterThan(0n)
    expect(before?.fee).toBeLessThan(5_990n)
    await yookassa.refund?.(configOf(), refundOf(reference, 20_000n), context)
    const after = await yookassa.getPayment(configOf(), reference, context)
    expect(after).toMatchObject({ status: 'succeeded', amount: 59_900n, refunded_amount: 20_000n })
  })

  it('tell when the money went to another shop', async () => {
    const reference = await paid()
    control().settings({ shop_id: '777777' })
    const told = await yookassa.getPayment(configOf({ shop_id: '777777' }), reference, context)
    expect(told?.receiver_matches).toBe(false)
  })
})

describe('two-stage payments', () => {
  async function held() {
    const reference = await created(purchase({ capture: false }))
    control().complete(reference.external_id, 'authorized')
    return reference
  }

  it('are captured in full or in part, once, with a receipt of the captured amount', async () => {
    const part = { ...(await held()), amount: 30_000n }
    const receipt = oneLine(30_000n)
    const captured = await yookassa.capturePayment?.(configOf(), { ...part, receipt }, context)
    expect(captured).toMatchObject({ status: 'succeeded', amount: 30_000n })
    expect(await yookassa.capturePayment?.(configOf(), { ...part, receipt }, context)).toEqual(captured)
    const [request] = lab.sentTo(`/v3/payments/${part.external_id}/capture`)
    expect(request?.body).toMatchObject({
      amount: { value: '300.00', currency: 'RUB' },
      receipt: { items: [{ amount: { value: '300.00' } }] },
    })
  })

  it('answer the payment as it stands when a capture is refused', async () => {
    const reference = await held()
    const more = await yookassa.capturePayment?.(configOf(), { ...reference, amount: 59_901n }, context)
    expect(more).toMatchObject({
      status: 'authorized',
      failure_reason: expect.stringContaining('invalid_request'),
    })
    const wrong = receiptOf({ items: [] })
    const refused = await yookassa.capturePayment?.(configOf(), { ...reference, receipt: wrong }, context)
    expect(refused).toMatchObject({ status: 'authorized', failure_reason: 'receipt_total_differs' })
  })

  it('are voided, and what is not held is left as it stands', async () => {
    const reference = await held()
    const voided = await yookassa.cancelPayment?.(configOf(), reference, context)
    expect(voided).toMatchObject({ status: 'canceled', failure_reason: 'canceled_by_merchant' })
    expect(await yookassa.cancelPayment?.(configOf(), reference, context)).toMatchObject({
      status: 'canceled',
    })
    const unpaid = await created(purchase())
    expect(await yookassa.cancelPayment?.(configOf(), unpaid, context)).toMatchObject({ status: 'pending' })
    expect(await yookassa.cancelPayment?.(configOf(), await paid(), context)).toMatchObject({
      status: 'succeeded',
    })
  })

  it('throw GatewayMisconfigured about a payment this shop does not have', async () => {
    const reference = { ...purchase(), external_id: '00000000-0000-4000-8000-000000000000' }
    const { error } = await outcomeOf(
      Promise.resolve(yookassa.cancelPayment?.(configOf(), reference, context)),
    )
    expect(error).toBeInstanceOf(GatewayMisconfigured)
  })
})

describe('refunds', () => {
  it('send our id, the exact amount and the receipt', async () => {
    const payment = await paid()
    const input = { ...refundOf(payment, 1n), receipt: oneLine(1n, { vat: '10/110' }) }
    expect(await yookassa.refund?.(configOf(), input, context)).toMatchObject({
      status: 'succeeded',
      refund_id: input.refund_id,
      payment_id: payment.payment_id,
      payment_external_id: payment.external_id,
      amount: 1n,
    })
    const [request] = lab.sentTo('/v3/refunds')
    expect(request?.headers).toEqual({ 'idempotency-key': input.refund_id })
    expect(request?.body).toMatchObject({
      payment_id: payment.external_id,
      amount: { value: '0.01', currency: 'RUB' },
      description: 'Передумал',
      metadata: { refund_id: input.refund_id, payment_id: payment.payment_id },
      receipt: { customer: { email: 'buyer@example.com', phone: '79000000000' }, items: [{ vat_code: 5 }] },
    })
  })

  it('are made once even when repeated after the vendor has forgotten the key', async () => {
    const input = refundOf(await paid(), 10_000n)
    const first = await yookassa.refund?.(configOf(), input, context)
    control().advanceClock(2 * DAY_MS)
    expect(await yookassa.refund?.(configOf(), input, context)).toEqual(first)
    expect(control().objects({ collection: 'refunds' }).items).toHaveLength(1)
  })

  it('may wait at the vendor, and end well or not', async () => {
    control().settings({ refund_outcome: 'pending' })
    const input = refundOf(await paid(), 10_000n)
    const waiting = await yookassa.refund?.(configOf(), input, context)
    expect(waiting?.status).toBe('pending')
    const external_id = waiting?.external_id ?? ''
    control().complete(external_id, { outcome: 'canceled', reason: 'rejected_by_payee' })
    expect(await yookassa.getRefund?.(configOf(), { ...input, external_id }, context)).toMatchObject({
      status: 'failed',
      failure_reason: 'rejected_by_payee',
    })
  })

  it('of a payment known by our id alone find it first', async () => {
    const { external_id: _, ...payment } = await paid()
    expect(await yookassa.refund?.(configOf(), refundOf(payment, 59_900n), context)).toMatchObject({
      status: 'succeeded',
    })
  })

  it('of a payment that is not there or not paid fail, under an id of ours', async () => {
    const nowhere = refundOf(purchase(), 100n)
    expect(await yookassa.refund?.(configOf(), nowhere, context)).toEqual({
      external_id: `refused:${nowhere.refund_id}`,
      refund_id: nowhere.refund_id,
      status: 'failed',
      amount: 100n,
      currency: 'RUB',
      failure_reason: 'payment_not_found',
    })
    const unpaid = refundOf(await created(purchase()), 100n)
    expect(await yookassa.refund?.(configOf(), unpaid, context)).toMatchObject({ status: 'failed' })
  })
})
