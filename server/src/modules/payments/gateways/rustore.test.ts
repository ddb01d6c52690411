import { createPublicKey, verify } from 'node:crypto'
import { startRustoreEmulator } from '@kopilka/emulators/rustore'
import type { Emulator } from '@kopilka/emulators/emulator'
import type { PaymentReference, WebhookRequest } from '@kopilka/extension'
import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { newContext, newId, outcomeOf } from '../../../../test/gateway-contract.ts'
import vectors from '../../../../test/vectors/rustore.json' with { type: 'json' }
import { signAuth } from './rustore/api.ts'
import { readAesKey } from './rustore/config.ts'
import { decrypt } from './rustore/webhook.ts'
import rustore from './rustore.ts'

const { auth, notification } = vectors
let emulator: Emulator
let settings: Record<string, unknown>
let context = newContext()

beforeAll(async () => {
  emulator = await startRustoreEmulator()
  const made = await fetch(`${emulator.base_url}/console/keys`, { method: 'POST' })
  const { key_id, private_key } = (await made.json()) as Record<string, string>
  settings = {
    key_id,
    private_key,
    app_id: '12345',
    package_name: 'com.example.app',
    notification_key: notification.aesKeyBase64,
    app_url: 'https://app.example/buy?from=web',
    base_url: emulator.base_url,
  }
})
afterAll(() => emulator.close())
beforeEach(() => {
  emulator.control.reset()
  context = newContext()
})

const configOf = (changes: object = {}) => rustore.configSchema.parse({ ...settings, ...changes })

/** The app buys; `complete` says how it ends. */
async function buy(
  given: object = {},
): Promise<PaymentReference & { external_id: string; purchase_id: string }> {
  const payment_id = newId('pay')
  const made = await fetch(`${emulator.base_url}/sdk/purchases`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      product_code: 'tokens_100',
      amount: 59_900,
      developer_payload: payment_id,
      ...given,
    }),
  })
  const { invoice_id, purchase_id } = (await made.json()) as Record<string, string>
  const external_id = String(invoice_id)
  return {
    payment_id,
    payment_number: 7,
    amount: 59_900n,
    currency: 'RUB',
    external_id,
    purchase_id: purchase_id ?? '',
  }
}
async function bought(given: object = {}) {
  const reference = await buy(given)
  emulator.control.complete(reference.external_id, 'succeeded')
  return reference
}
const requests = (path: RegExp) =>
  emulator.control.log({ kind: 'request', limit: 1000 }).items.filter((entry) => path.test(entry.path ?? ''))
const refundOf = (payment: PaymentReference, amount = payment.amount) => ({
  refund_id: newId('re'),
  payment,
  amount,
  currency: 'RUB',
  reason: 'Передумал',
  is_full: amount === payment.amount,
})
const post = (body: unknown): WebhookRequest => ({
  method: 'POST',
  path: '/webhooks/payments/rustore',
  headers: { 'content-type': 'application/json' },
  query: {},
  raw_body: Buffer.from(JSON.stringify(body)),
  remote_address: '95.163.133.1',
})

describe('the token', () => {
  it('is asked for with the signature of the vector, from base64, PEM and PEM on one line', () => {
    const { keyId: key_id, privateKeyPkcs8DerBase64_testOnly: private_key } = auth
    expect(signAuth({ key_id, private_key }, auth.timestamp)).toBe(auth.signature)
    const lines = (private_key.match(/.{1,64}/g) ?? []).join('\n')
    const pem = `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----`
    for (const form of [pem, pem.replaceAll('\n', '\\n')]) {
      expect(signAuth({ key_id, private_key: form }, auth.timestamp)).toBe(auth.signature)
    }
    const bytes = Buffer.from(auth.signature, 'base64')
    expect(verify('RSA-SHA512', Buffer.from(auth.message), createPublicKey(auth.publicKeyPem), bytes)).toBe(
      true,
    )
  })

  it('is fetched once for ten calls at once, kept, and fetched again when refused or over', async () => {
    const reference = await bought()
    await Promise.all(Array.from({ length: 10 }, () => rustore.getPayment(configOf(), reference, context)))
    expect(requests(/auth/)).toHaveLength(1)
    emulator.control.advanceClock(901_000)
    const behind = { ...context, now: new Date(Date.now() + 1000) }
    // The token is refused at the vendor, and a new one cannot be had with our slow clock.
    expect((await outcomeOf(rustore.getPayment(configOf(), reference, behind))).error).toBeInstanceOf(
      GatewayMisconfigured,
    )
    const later = { ...context, now: new Date(Date.now() + 901_000) }
    expect(await rustore.getPayment(configOf(), reference, later)).toMatchObject({ status: 'succeeded' })
    expect(requests(/auth/)).toHaveLength(3)
  })

  it('of a foreign key or a strange id is refused, and nothing is kept', async () => {
    const foreign = configOf({ private_key: auth.privateKeyPkcs8DerBase64_testOnly })
    expect(await rustore.checkHealth?.(foreign, context)).toMatchObject({ ok: false })
    expect(context.cache.size).toBe(0)
    expect(await rustore.checkHealth?.(configOf(), context)).toEqual({ ok: true, detail: 'live app' })
  })
})

describe('a purchase', () => {
  it('is made by the app, with our id in its hand', async () => {
    const payment_id = newId('pay')
    const order_id = newId('ord')
    const input = {
      payment_id,
      payment_number: 7,
      order_id,
      customer_id: newId('cus'),
      amount: 59_900n,
      currency: 'RUB',
      description: '100 tokens',
      return_url: 'https://shop.example/',
      capture: true,
      save_method: false,
      locale: 'ru',
      expires_at: new Date(Date.now() + 3_600_000),
    }
    const created = await rustore.createPayment(configOf(), input, context)
    expect(created).toEqual({
      status: 'pending',
      checkout_url: `https://app.example/buy?from=web&payment_id=${payment_id}&order_id=${order_id}`,
    })
    expect(emulator.control.objects().items).toEqual([])
  })

  it('is told with our payment id, plain or in JSON, exact kopecks and the app it belongs to', async () => {
    const plain = await bought()
    expect(await rustore.getPayment(configOf(), plain, context)).toMatchObject({
      status: 'succeeded',
      payment_id: plain.payment_id,
      amount: 59_900n,
      currency: 'RUB',
      receiver_matches: true,
      refunded_amount: 0n,
      is_test: false,
      paid_at: expect.any(Date),
    })
    const ids = { payment_id: newId('pay'), order_id: newId('ord') }
    const json = await bought({ developer_payload: JSON.stringify(ids) })
    expect(await rustore.getPayment(configOf(), json, context)).toMatchObject(ids)
    const foreign = await rustore.getPayment(configOf({ app_id: '777' }), json, context)
    expect(foreign).toMatchObject({ receiver_matches: false })
  })

  it('of the sandbox is not found by a live app, and the other way round', async () => {
    const [live, test] = [await bought(), await bought({ is_sandbox: true })]
    const [there, here] = [configOf({ sandbox: true }), configOf()]
    expect(await rustore.getPayment(here, test, context)).toBeUndefined()
    expect(await rustore.getPayment(there, live, context)).toBeUndefined()
    expect(await rustore.getPayment(there, test, context)).toMatchObject({
      status: 'succeeded',
      is_test: true,
    })
  })

  it.each([
    ['canceled', undefined, 'canceled'],
    ['canceled', 'rejected', 'failed'],
  ] as const)('that ends %s (%s) is %s', async (outcome, reason, status) => {
    const reference = await buy()
    emulator.control.complete(reference.external_id, { outcome, ...(reason ? { reason } : {}) })
    expect(await rustore.getPayment(configOf(), reference, context)).toMatchObject({
      status,
      failure_reason: expect.stringMatching(/^[a-z]+$/),
    })
  })

  it('in two stages is confirmed once and whole, also when the answer is lost', async () => {
    const held = await bought({ is_two_stage: true })
    expect(await rustore.getPayment(configOf(), held, context)).toMatchObject({ status: 'authorized' })
    const part = await rustore.capturePayment!(configOf(), { ...held, amount: 1n }, context)
    expect(part).toMatchObject({ status: 'authorized', failure_reason: 'only_whole_payments' })
    emulator.control.faults({ timeout_after_charge: 1 })
    await rustore.checkHealth?.(configOf(), context)
    emulator.control.faults({ timeout_after_charge: 1 })
    const lost = await outcomeOf(rustore.capturePayment!(configOf(), held, { ...context, timeout_ms: 300 }))
    expect(lost.error).toBeInstanceOf(GatewayUnavailable)
    expect(await rustore.capturePayment!(configOf(), held, context)).toMatchObject({ status: 'succeeded' })
    expect(await rustore.cancelPayment!(configOf(), held, context)).toMatchObject({ status: 'succeeded' })
  })

  it('in two stages is voided by a cancellation, or by itself', async () => {
    const [one, other] = [await bought({ is_two_stage: true }), await bought({ is_two_stage: true })]
    expect(await rustore.cancelPayment!(configOf(), one, context)).toMatchObject({ status: 'canceled' })
    emulator.control.advanceClock(7 * 3_600_000)
    const later = { ...context, cache: new Map(), now: new Date(Date.now() + 7 * 3_600_000) }
    expect(await rustore.getPayment(configOf(), other, later)).toMatchObject({
      status: 'canceled',
      failure_reason: 'reversed',
    })
  })
})

describe('refunds', () => {
  it('are of the whole payment, once, and told by the invoice', async () => {
    const payment = await bought()
    expect(await rustore.refund!(configOf(), refundOf(payment, 1n), context)).toMatchObject({
      status: 'failed',
    })
    const input = refundOf(payment)
    expect(await rustore.getRefund!(configOf(), input, context)).toBeUndefined()
    const first = await rustore.refund!(configOf(), input, context)
    expect(first).toMatchObject({ status: 'succeeded', amount: 59_900n, refund_id: input.refund_id })
    const again = await Promise.all(
      Array.from({ length: 5 }, () => rustore.refund!(configOf(), input, context)),
    )
    expect(again).toEqual(Array.from({ length: 5 }, () => first))
    expect(
      await rustore.getRefund!(configOf(), { ...input, external_id: first.external_id }, context),
    ).toEqual(first)
    expect(await rustore.getPayment(configOf(), payment, context)).toMatchObject({ refunded_amount: 59_900n })
    expect(requests(/\/invoices\//)).toHaveLength(1)
  })

  it('whose answer is lost are found in the invoice', async () => {
    const payment = await bought()
    const input = refundOf(payment)
    await rustore.checkHealth?.(configOf(), context)
    emulator.control.faults({ timeout_after_charge: 1 })
    const lost = await outcomeOf(rustore.refund!(configOf(), input, { ...context, timeout_ms: 300 }))
    expect(lost.error).toBeInstanceOf(GatewayUnavailable)
    expect(await rustore.refund!(configOf(), input, context)).toMatchObject({ status: 'succeeded' })
    expect(requests(/\/invoices\//)).toHaveLength(1)
  })

  it('of an unpaid purchase fail with the vendor’s word', async () => {
    const input = refundOf(await buy())
    expect(await rustore.refund!(configOf(), input, context)).toMatchObject({
      status: 'failed',
      failure_reason: expect.stringContaining('must be CONFIRMED'),
    })
  })
})

describe('subscriptions', () => {
  it('are usable while their time runs, renew, and end when they are canceled', async () => {
    const { purchase_id, payment_id } = await bought({ is_subscription: true, app_user_id: 'cus_1' })
    const reference = { external_id: purchase_id, product_code: 'tokens_100' }
    const told = await rustore.getSubscription!(configOf(), reference, context)
    expect(told).toMatchObject({
      is_active: true,
      will_renew: true,
      amount: 59_900n,
      currency: 'RUB',
      account_id: 'cus_1',
      payment_id,
      is_test: false,
    })
    expect(await rustore.cancelSubscription!(configOf(), reference, context)).toMatchObject({
      is_active: true,
      will_renew: false,
    })
    expect(await rustore.cancelSubscription!(configOf(), reference, context)).toMatchObject({
      will_renew: false,
    })
    expect(requests(/:cancel$/)).toHaveLength(1)
    emulator.control.advanceClock(31 * 86_400_000)
    const over = { ...newContext(), now: new Date(Date.now() + 31 * 86_400_000) }
    expect(await rustore.getSubscription!(configOf(), reference, over)).toMatchObject({ is_active: false })
  })

  it('of another product, or crafted to be another path, are not found', async () => {
    const { purchase_id } = await bought({ is_subscription: true })
    for (const reference of [
      { external_id: purchase_id, product_code: 'other' },
      { external_id: purchase_id },
      { external_id: '../../x', product_code: 'tokens_100' },
      { external_id: purchase_id, product_code: 'a/b' },
    ]) {
      expect(await rustore.getSubscription!(configOf(), reference, context)).toBeUndefined()
    }
  })
})

describe('notifications', () => {
  it.each(['invoice', 'subscription', 'test'] as const)(
    'open like the vector %s, and not with another key',
    (name) => {
      const { plaintext, body } = notification[name]
      const notification_key = notification.aesKeyBase64
      expect(decrypt({ notification_key }, body.payload)).toBe(plaintext)
      const hex = Buffer.from(notification_key, 'base64').toString('hex')
      expect(decrypt({ notification_key: hex }, body.payload)).toBe(plaintext)
      expect(decrypt({ notification_key: '00'.repeat(32) }, body.payload)).toBeUndefined()
      expect(readAesKey('00'.repeat(31))).toBeUndefined()
    },
  )

  it('become events that name the invoice or the subscription, and no amount', async () => {
    const parse = (body: unknown, changes: object = {}) =>
      rustore.parseWebhook(configOf(changes), post(body), context)
    const invoice = await parse(notification.invoice.body)
    expect(invoice).toMatchObject({
      verdict: 'accepted',
      events: [{ kind: 'payment', trust: 'signed', external_id: '555001', type: 'INVOICE_STATUS CONFIRMED' }],
    })
    expect(invoice).not.toHaveProperty('events.0.payment')
    // The envelope is nobody's word: another id there is still the same event.
    expect(await parse({ ...notification.invoice.body, id: 'n-999' })).toEqual(invoice)
    expect(await parse(notification.subscription.body)).toMatchObject({
      events: [
        {
          kind: 'subscription',
          external_id: '3aa0c7bd-964e-4562-b218-fe365adb4ae3',
          data: { subscription_event_type: 'RENEWED', period_new: 'MAIN', autorenewing: true },
        },
      ],
    })
    expect(await parse(notification.test.body)).toEqual({ verdict: 'accepted', events: [] })
    expect(await parse(notification.invoice.body, { app_id: '777' })).toMatchObject({ verdict: 'refused' })
  })

  it('of the other mode name nothing', async () => {
    const result = await rustore.parseWebhook(
      configOf({ sandbox: true }),
      post(notification.invoice.body),
      context,
    )
    expect(result).toEqual({ verdict: 'accepted', events: [] })
  })
})
