import type { CreatedPayment, PaymentReference } from '@kopilka/extension'
import { describe, expect, it } from 'vitest'
import { createInput, describeGateway, newContext, newId } from '../../../../test/gateway-contract.ts'
import type { GatewayFixture } from '../../../../test/gateway-contract.ts'
import { buildNotifications, readVisit } from '../sandbox-page.ts'
import type { SandboxLink } from '../sandbox-page.ts'
import sandbox, { DECLINING_METHOD, PAYING_METHOD } from './sandbox.ts'
import type { SandboxConfig } from './sandbox.ts'
import { SIGNATURE_HEADER, signNotification } from './sandbox/notification.ts'

const SECRET = 'sandbox-canary-0123456789abcdef'
const CONFIG = sandbox.configSchema.parse({ secret: SECRET })

function linkOf(created: CreatedPayment, payment_id: string): SandboxLink {
  const url = new URL(created.checkout_url ?? '')
  const link = url.searchParams.get('link')
  const visit = readVisit(CONFIG, { payment_id, link, now: new Date() })
  if (visit.state !== 'open') throw new Error('the page of a fresh payment is open')
  return visit.link
}

const fixture: GatewayFixture<SandboxConfig> = {
  gateway: sandbox,
  file_url: import.meta.resolve('./sandbox.ts'),
  currency: 'RUB',
  trust: 'signed',
  start: async () => ({ settings: { secret: SECRET }, close: async () => undefined }),
  async realWebhook(lab) {
    const payment = lab.newPayment()
    const link = linkOf(await lab.create(payment), payment.payment_id)
    const [notification] = buildNotifications(CONFIG, { link, button: 'pay', now: new Date() })
    if (!notification) throw new Error('the button pay sends a notification')
    return {
      method: 'POST',
      path: notification.path,
      headers: notification.headers,
      query: {},
      raw_body: Buffer.from(notification.body),
      remote_address: '127.0.0.1',
    }
  },
  proof: {
    read: (request) => {
      const value = request.headers[SIGNATURE_HEADER]
      return typeof value === 'string' ? value : undefined
    },
    write: (request, value) => ({ ...request, headers: { ...request.headers, [SIGNATURE_HEADER]: value } }),
  },
  resign: (request, settings, at) => {
    const value = signNotification(String(settings['secret']), request.raw_body, at)
    return { ...request, headers: { ...request.headers, [SIGNATURE_HEADER]: value } }
  },
}

describeGateway(fixture)

describe('the sandbox gateway', () => {
  const context = newContext()
  const payment = (amount = 59_900n): PaymentReference => ({
    payment_id: newId('pay'),
    payment_number: 7,
    amount,
    currency: 'RUB',
  })
  const purchase = (amount = 59_900n) => createInput(fixture, { ...payment(amount), order_id: newId('ord') })

  it('gives the same payment the same id and the same page', async () => {
    const input = purchase()
    const first = await sandbox.createPayment(CONFIG, input, context)
    expect(first).toMatchObject({ status: 'pending', external_id: `sbx_${input.payment_id}` })
    expect(await sandbox.createPayment(CONFIG, input, context)).toEqual(first)
  })

  it('puts the page under its own address, with all of the payment in the signed link', async () => {
    const input = { ...purchase(1_000_000_000n), description: 'Пакет «500 минут» & <b>скидка</b> 👩‍👩‍👧' }
    const created = await sandbox.createPayment(CONFIG, input, context)
    const url = new URL(created.checkout_url ?? '')
    expect(`${url.origin}${url.pathname}`).toBe(`https://kopilka.example/sandbox/pay/${input.payment_id}`)
    expect(linkOf(created, input.payment_id)).toEqual({
      payment_id: input.payment_id,
      payment_number: input.payment_number,
      order_id: input.order_id,
      amount: 1_000_000_000n,
      currency: 'RUB',
      description: input.description,
      return_url: input.return_url,
      capture: true,
      save_method: false,
      locale: 'ru',
      expires_at: input.expires_at,
    })
  })

  it.each([
    'javascript:alert(1)',
    'data:text/html,x',
    'not an address',
    `https://shop.example/${'x'.repeat(2100)}`,
  ])('refuses to send the buyer back to %.40s', async (return_url) => {
    const created = await sandbox.createPayment(CONFIG, { ...purchase(), return_url }, context)
    expect(created).toEqual({ status: 'failed', failure_reason: 'return_url_not_supported' })
  })

  it('answers pending about every payment: only a notification tells more', async () => {
    const reference = payment()
    expect(await sandbox.getPayment(CONFIG, reference, context)).toEqual({
      ...reference,
      external_id: `sbx_${reference.payment_id}`,
      status: 'pending',
      is_test: true,
    })
  })

  it('captures and voids a hold at once', async () => {
    const reference = payment()
    const captured = await sandbox.capturePayment?.(CONFIG, { ...reference, amount: 100n }, context)
    expect(captured).toMatchObject({ status: 'succeeded', amount: 100n, paid_at: context.now })
    expect(await sandbox.cancelPayment?.(CONFIG, reference, context)).toMatchObject({ status: 'canceled' })
  })

  it('charges a paying method, declines a declining one, and knows no other', async () => {
    const charge = (method_external_id: string) =>
      sandbox.chargeSavedMethod?.(CONFIG, { ...purchase(), method_external_id }, context)
    const paid = await charge(`${PAYING_METHOD}pay_1`)
    expect(paid).toMatchObject({ status: 'succeeded', payment: { status: 'succeeded', amount: 59_900n } })
    const declined = await charge(`${DECLINING_METHOD}pay_1`)
    expect(declined).toMatchObject({ status: 'failed', failure_reason: 'insufficient_funds' })
    expect(declined?.payment?.paid_at).toBeUndefined()
    expect(await charge('card_1')).toEqual({ status: 'failed', failure_reason: 'method_not_found' })
  })

  it('refunds at once, under an id that follows from ours, and tells that refund again', async () => {
    const input = {
      refund_id: newId('re'),
      payment: payment(),
      amount: 100n,
      currency: 'RUB',
      reason: 'x',
      is_full: false,
    }
    const refund = await sandbox.refund?.(CONFIG, input, context)
    expect(refund).toMatchObject({
      status: 'succeeded',
      amount: 100n,
      external_id: `sbxr_${input.refund_id}`,
    })
    expect(await sandbox.refund?.(CONFIG, input, context)).toEqual(refund)
    const external_id = refund?.external_id ?? ''
    expect(await sandbox.getRefund?.(CONFIG, { ...input, external_id }, context)).toMatchObject({
      status: 'succeeded',
    })
    expect(await sandbox.getRefund?.(CONFIG, input, context)).toBeUndefined()
  })

  it('fails a refund of more than the payment or in another currency', async () => {
    const input = {
      refund_id: newId('re'),
      payment: payment(100n),
      amount: 101n,
      currency: 'RUB',
      reason: 'x',
    }
    const over = await sandbox.refund?.(CONFIG, { ...input, is_full: false }, context)
    expect(over).toMatchObject({ status: 'failed', external_id: `refused:${input.refund_id}` })
    const other = { ...input, amount: 100n, currency: 'USD', is_full: true }
    expect(await sandbox.refund?.(CONFIG, other, context)).toMatchObject({ status: 'failed' })
  })

  it('registers receipts and is always in good health', async () => {
    const receipt = { contact: {}, items: [] }
    const input = { receipt_id: 'rcpt_1', kind: 'payment' as const, payment_external_id: 'sbx_1', receipt }
    expect(await sandbox.createReceipt?.(CONFIG, input, context)).toEqual({
      external_id: 'sbxc_rcpt_1',
      status: 'succeeded',
    })
    const about = { receipt_id: 'rcpt_1', payment_external_id: 'sbx_1', purpose: 'payment' as const }
    const find = (external_id: string) => sandbox.getReceipt?.(CONFIG, { ...about, external_id }, context)
    expect(await find('sbxc_rcpt_1')).toEqual({ external_id: 'sbxc_rcpt_1', status: 'succeeded' })
    expect(await find('sbxc_rcpt_2')).toBeUndefined()
    expect(await sandbox.checkHealth?.(CONFIG, context)).toMatchObject({ ok: true })
  })
})
