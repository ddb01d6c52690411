import { startTelegramEmulator } from '@kopilka/emulators/telegram'
import type { Emulator } from '@kopilka/emulators/emulator'
import type { CreatePaymentInput, GatewayContext, PaymentReference, WebhookRequest } from '@kopilka/extension'
import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { createServer } from 'node:http'
import type { IncomingMessage, Server } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { newContext, newId, outcomeOf } from '../../../../test/gateway-contract.ts'
import { openPayload, sealPayload } from './telegram-stars/payload.ts'
import telegramStars from './telegram-stars.ts'

const SECRET = 'kopilka_emulator_webhook_secret'
const ANNA = 777_000_111
let emulator: Emulator
let server: Server
let context: GatewayContext
/** What arrived, with the gateway's word on it. */
let taken: { request: WebhookRequest; result: Awaited<ReturnType<typeof telegramStars.parseWebhook>> }[] = []

const configOf = (changes: object = {}) =>
  telegramStars.configSchema.parse({
    bot_token: '1234567890:kopilka_emulator_bot_token_0123456789',
    secret_token: SECRET,
    base_url: emulator.base_url,
    ...changes,
  })

beforeAll(async () => {
  // Kopilka's webhook route without its database: the gateway's answer is what Telegram gets.
  server = createServer((incoming, response) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => void take(incoming, Buffer.concat(chunks)).then((body) => response.end(body)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  emulator = await startTelegramEmulator({
    webhook_url: `http://127.0.0.1:${port}/`,
    retry_scale: 0.001,
    settings: { pre_checkout_timeout_ms: 2000, messages_per_chat_second: 0 },
  })
})
afterAll(async () => {
  await emulator.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})
beforeEach(() => {
  emulator.control.reset()
  context = newContext()
  taken = []
})

async function take({ method = '', headers }: IncomingMessage, raw_body: Buffer): Promise<string> {
  const request = { method, path: '/', headers, query: {}, raw_body, remote_address: '' }
  const result = await telegramStars.parseWebhook(configOf(), request, context)
  taken.push({ request, result })
  return result.verdict === 'accepted' ? (result.answer?.body ?? '') : ''
}

const purchase = (changes: Partial<CreatePaymentInput> = {}): CreatePaymentInput => ({
  payment_id: newId('pay'),
  payment_number: 1,
  order_id: newId('ord'),
  customer_id: newId('cus'),
  amount: 250n,
  currency: 'XTR',
  description: '100 токенов для помощника на целый месяц',
  return_url: 'https://shop.example/',
  capture: true,
  save_method: false,
  locale: 'ru',
  expires_at: new Date(Date.now() + 3_600_000),
  telegram_id: String(ANNA),
  ...changes,
})
const press = async (user_id: number, body: object) => {
  const answer = await fetch(`${emulator.base_url}/users/${user_id}/pay`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return (await answer.json()) as { status: string; reason?: string; payment?: { id: string } }
}
const eventsOf = () => taken.flatMap(({ result }) => (result.verdict === 'accepted' ? result.events : []))
/** Anna pays by the link. */
async function paid(input = purchase()): Promise<PaymentReference & { external_id: string }> {
  const { checkout_url, failure_reason } = await telegramStars.createPayment(configOf(), input, context)
  const outcome = await press(ANNA, { link: checkout_url })
  expect([failure_reason, outcome]).toMatchObject([undefined, { status: 'paid' }])
  await emulator.control.settled()
  return { ...input, external_id: outcome.payment?.id ?? '' }
}
const refundOf = (payment: PaymentReference, amount = payment.amount) => ({
  refund_id: newId('re'),
  payment,
  amount,
  currency: 'XTR',
  reason: 'Передумала',
  is_full: amount === payment.amount,
  telegram_id: String(ANNA),
})

describe('the payload of an invoice', () => {
  it('fits into 128 bytes, comes back as it went, and not with any letter altered', () => {
    const payload = {
      payment_id: newId('pay'),
      amount: 10n ** 15n - 1n,
      telegram_id: '9'.repeat(20),
      expires_at: new Date('2286-11-20T17:46:39Z'),
      is_subscription: true,
    }
    const text = sealPayload(configOf(), payload)
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(128)
    expect(openPayload(configOf(), text)).toEqual(payload)
    expect(openPayload(configOf({ secret_token: 'x'.repeat(32) }), text)).toBeUndefined()
    for (let at = 0; at < text.length - 1; at += 1) {
      const letter = text[at] === '1' ? '2' : '1'
      expect([at, openPayload(configOf(), text.slice(0, at) + letter + text.slice(at + 1))]).toEqual([
        at,
        undefined,
      ])
    }
  })
})

describe('an invoice', () => {
  it('is a link, the same for the same payment, and exact in stars', async () => {
    const input = purchase()
    const first = await telegramStars.createPayment(configOf(), input, context)
    expect(first).toMatchObject({ status: 'pending', checkout_url: expect.stringMatching(/^http/) })
    expect(await telegramStars.createPayment(configOf(), input, context)).toEqual(first)
    expect(emulator.control.objects({ collection: 'invoices' }).items).toMatchObject([{ amount: 250 }])
  })

  it('is a message in the chat when that is asked for', async () => {
    const created = await telegramStars.createPayment(configOf(), purchase({ method: 'chat' }), context)
    expect(created.checkout_url).toBe('https://t.me/kopilka_test_bot')
    const [message] = emulator.control.objects({ collection: 'messages' }).items as { message_id: number }[]
    expect(await press(ANNA, { message_id: message?.message_id })).toMatchObject({ status: 'paid' })
  })

  it.each([
    ['nobody', { telegram_id: undefined }, 'telegram_id_missing'],
    ['no stars', { amount: 0n }, 'amount_not_supported'],
    ['a hold', { capture: false }, 'holds_not_supported'],
    ['a week', { subscription_period_seconds: 604_800 }, 'subscription_period_not_supported'],
    [
      'a dear subscription',
      { amount: 10_001n, subscription_period_seconds: 2_592_000 },
      'subscription_price_too_high',
    ],
  ])('is not made for %s', async (_what, changes, failure_reason) => {
    const input = { ...purchase(), ...changes } as CreatePaymentInput
    expect(await telegramStars.createPayment(configOf(), input, context)).toEqual({
      status: 'failed',
      failure_reason,
    })
    expect(emulator.control.objects({ collection: 'invoices' }).items).toEqual([])
  })

  it('is not sent to who has blocked the bot', async () => {
    await fetch(`${emulator.base_url}/users/${ANNA}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"is_blocked":true}',
    })
    expect(
      await telegramStars.createPayment(configOf(), purchase({ method: 'chat' }), context),
    ).toMatchObject({
      status: 'failed',
      failure_reason: expect.stringContaining('blocked'),
    })
  })
})

describe('the question before payment', () => {
  it('is answered yes to the one the invoice is for, and no to everybody else', async () => {
    const { checkout_url } = await telegramStars.createPayment(configOf(), purchase(), context)
    expect(await press(ANNA + 1, { link: checkout_url })).toMatchObject({
      status: 'failed',
      reason: 'Этот счёт выставлен другому покупателю.',
    })
    expect(await press(ANNA, { link: checkout_url })).toMatchObject({ status: 'paid' })
  })

  it('is answered no to an expired, a foreign and an already paid invoice', async () => {
    const config = configOf()
    const late = await telegramStars.createPayment(
      config,
      purchase({ expires_at: new Date(Date.now() - 1000) }),
      context,
    )
    expect(await press(ANNA, { link: late.checkout_url })).toMatchObject({ status: 'failed' })
    const foreign = configOf({ secret_token: 'another_secret_of_a_bot_0123' })
    const other = await telegramStars.createPayment(foreign, purchase(), context)
    expect(await press(ANNA, { link: other.checkout_url })).toMatchObject({ status: 'failed' })
    const input = purchase()
    await paid(input)
    const { checkout_url } = await telegramStars.createPayment(config, input, context)
    expect(await press(ANNA, { link: checkout_url })).toMatchObject({ status: 'failed' })
    expect(emulator.control.objects().items).toHaveLength(1)
  })

  it('is answered by the core’s word, and in time when the database is slow or gone', async () => {
    const { checkout_url: link } = await telegramStars.createPayment(configOf(), purchase(), context)
    context.isPayable = () => Promise.resolve(false)
    expect(await press(ANNA, { link })).toMatchObject({ status: 'failed' })
    context.isPayable = () => Promise.reject(new Error('connection refused'))
    expect(await press(ANNA, { link })).toMatchObject({ status: 'paid' })
    await emulator.control.settled()
    emulator.control.settings({ pre_checkout_timeout_ms: 10_000 })
    context = { ...newContext(), isPayable: () => new Promise(() => undefined) }
    const asked_at = performance.now()
    expect(await press(ANNA, { link })).toMatchObject({ status: 'paid' })
    expect(performance.now() - asked_at).toBeLessThan(5000)
  })
})

describe('a payment', () => {
  it('is believed with its charge id when it is as asked', async () => {
    const input = purchase()
    const { external_id } = await paid(input)
    expect(eventsOf()).toMatchObject([
      {
        kind: 'payment',
        trust: 'signed',
        external_event_id: `paid:${external_id}`,
        payment: {
          external_id,
          payment_id: input.payment_id,
          amount: 250n,
          currency: 'XTR',
          status: 'succeeded',
        },
      },
    ])
  })

  it('by a link paid twice is two payments with two charge ids', async () => {
    const input = purchase()
    const first = await paid(input)
    // Another process knows nothing of the first payment.
    context = newContext()
    const { checkout_url } = await telegramStars.createPayment(configOf(), input, context)
    const second = await press(ANNA, { link: checkout_url })
    await emulator.control.settled()
    const charges = eventsOf().map((event) => event.external_event_id)
    expect(new Set(charges)).toEqual(
      new Set([`paid:${first.external_id}`, `paid:${second.payment?.id ?? ''}`]),
    )
  })

  it('that differs from the invoice is only a hint, and one of another invoice names nothing', async () => {
    const { external_id } = await paid()
    const { request } = taken.find((one) => one.request.raw_body.includes(external_id)) ?? taken[0]!
    const alter = async (from: string, to: string) => {
      const raw_body = Buffer.from(request.raw_body.toString().replace(from, to))
      expect(raw_body.equals(request.raw_body)).toBe(false)
      return telegramStars.parseWebhook(configOf(), { ...request, raw_body }, context)
    }
    const dearer = await alter('"total_amount":250', '"total_amount":2')
    expect(dearer).toMatchObject({ events: [{ trust: 'hint', external_id }] })
    expect(dearer).not.toHaveProperty('events.0.payment')
    expect(await alter('"currency":"XTR"', '"currency":"USD"')).toMatchObject({ events: [{ trust: 'hint' }] })
    expect(await alter('"invoice_payload":"pay_', '"invoice_payload":"pay_0')).toEqual({
      verdict: 'accepted',
      events: [],
    })
  })

  it('is found in the ledger by its charge and by our id, also far back and after a refund', async () => {
    const input = purchase()
    const { external_id } = await paid(input)
    const { checkout_url = '' } = await telegramStars.createPayment(
      configOf(),
      purchase({ amount: 1n }),
      context,
    )
    const invoice_id = checkout_url.split('/').at(-1) ?? ''
    for (let count = 0; count < 730; count += 1) emulator.control.complete(invoice_id, 'succeeded')
    const { external_id: _, ...without } = { ...input, external_id }
    for (const reference of [{ ...input, external_id }, without]) {
      for (const memory of [context, newContext()]) {
        expect(await telegramStars.getPayment(configOf(), reference, memory)).toMatchObject({
          external_id,
          payment_id: input.payment_id,
          amount: 250n,
          refunded_amount: 0n,
        })
      }
    }
    emulator.control.complete(external_id, 'canceled')
    expect(await telegramStars.getPayment(configOf(), without, context)).toMatchObject({
      refunded_amount: 250n,
    })
    expect(await telegramStars.getPayment(configOf(), purchase(), context)).toBeUndefined()
  })

  it('is listed once for reconciliation, page by page', async () => {
    const { checkout_url = '' } = await telegramStars.createPayment(configOf(), purchase(), context)
    const invoice_id = checkout_url.split('/').at(-1) ?? ''
    for (let count = 0; count < 205; count += 1) emulator.control.complete(invoice_id, 'succeeded')
    const range = { from: new Date(Date.now() - 60_000), to: new Date(Date.now() + 60_000) }
    const ids: string[] = []
    let cursor: string | undefined
    do {
      const page = await telegramStars.listPayments!(
        configOf(),
        { ...range, ...(cursor ? { cursor } : {}) },
        context,
      )
      ids.push(...page.items.map(({ external_id }) => external_id))
      cursor = page.next_cursor
    } while (cursor !== undefined)
    expect([ids.length, new Set(ids).size]).toEqual([205, 205])
    const past = { from: new Date(0), to: range.from }
    expect(await telegramStars.listPayments!(configOf(), past, context)).toMatchObject({ items: [] })
  })
})

describe('refunds', () => {
  it('are whole, once; already refunded is done; Telegram’s own are told', async () => {
    const payment = await paid()
    expect(await telegramStars.refund!(configOf(), refundOf(payment, 1n), context)).toMatchObject({
      status: 'failed',
    })
    const input = refundOf(payment)
    expect(await telegramStars.getRefund!(configOf(), input, context)).toBeUndefined()
    const first = await telegramStars.refund!(configOf(), input, context)
    expect(first).toMatchObject({ status: 'succeeded', external_id: `refund:${payment.external_id}` })
    expect(await telegramStars.refund!(configOf(), input, context)).toEqual(first)
    expect(await telegramStars.getRefund!(configOf(), input, context)).toMatchObject({
      status: 'succeeded',
      amount: 250n,
      refund_id: input.refund_id,
    })
    await emulator.control.settled()
    expect(eventsOf().filter(({ kind }) => kind === 'refund')).toMatchObject([
      { trust: 'signed', refund: { payment_external_id: payment.external_id, amount: 250n } },
    ])
    const listed = await telegramStars.listRefunds!(
      configOf(),
      { from: new Date(0), to: new Date(Date.now() + 60_000) },
      context,
    )
    expect(listed.items).toMatchObject([{ payment_external_id: payment.external_id }])
  })

  it('whose answer is lost are one refund when they are repeated', async () => {
    const payment = await paid()
    const input = refundOf(payment)
    emulator.control.faults({ timeout_after_charge: 1 })
    const lost = await outcomeOf(telegramStars.refund!(configOf(), input, { ...context, timeout_ms: 300 }))
    expect(lost.error).toBeInstanceOf(GatewayUnavailable)
    expect(await telegramStars.refund!(configOf(), input, context)).toMatchObject({ status: 'succeeded' })
  })

  it('of an unknown charge or another payer fail with Telegram’s word', async () => {
    const payment = await paid()
    const unknown = refundOf({ ...payment, external_id: 'stxNone' })
    expect(await telegramStars.refund!(configOf(), unknown, context)).toMatchObject({
      status: 'failed',
      failure_reason: expect.stringContaining('CHARGE_NOT_FOUND'),
    })
    const other = { ...refundOf(payment), telegram_id: '5' }
    expect(await telegramStars.refund!(configOf(), other, context)).toMatchObject({ status: 'failed' })
  })
})

describe('subscriptions', () => {
  it('start with a payment, renew with another charge of the same payment, can be canceled', async () => {
    const input = purchase({ subscription_period_seconds: 2_592_000 })
    const first = await paid(input)
    expect(eventsOf()).toMatchObject([
      { kind: 'payment', external_id: first.external_id },
      {
        kind: 'subscription',
        type: 'subscription started',
        external_id: input.payment_id,
        data: { is_renewal: false },
      },
    ])
    taken = []
    emulator.control.advanceClock(2_592_000_000)
    await emulator.control.settled()
    expect(eventsOf()).toMatchObject([
      {
        kind: 'payment',
        payment_id: input.payment_id,
        payment: { payment_id: input.payment_id, is_renewal: true },
      },
      {
        kind: 'subscription',
        type: 'subscription renewed',
        external_id: input.payment_id,
        data: { is_renewal: true },
        subscription: { will_renew: true, payment_id: input.payment_id, amount: 250n },
      },
    ])
    const charges = eventsOf().map((event) => (event.kind === 'payment' ? event.external_id : undefined))
    expect(charges).not.toContain(first.external_id)
    const reference = { external_id: input.payment_id, payment_external_id: first.external_id }
    const telegram_id = String(ANNA)
    expect(
      await telegramStars.cancelSubscription!(configOf(), { ...reference, telegram_id: '5' }, context),
    ).toBeUndefined()
    expect(
      await telegramStars.cancelSubscription!(configOf(), { ...reference, telegram_id }, context),
    ).toMatchObject({ will_renew: false })
    expect(
      await telegramStars.resumeSubscription!(configOf(), { ...reference, telegram_id }, context),
    ).toMatchObject({ will_renew: true })
    expect(await telegramStars.cancelSubscription!(configOf(), reference, context)).toMatchObject({
      will_renew: false,
    })
    taken = []
    emulator.control.advanceClock(2_592_000_000)
    await emulator.control.settled()
    expect(eventsOf()).toEqual([])
    expect(
      await telegramStars.cancelSubscription!(configOf(), { external_id: 'stxNone' }, context),
    ).toBeUndefined()
  })
})

describe('the bot', () => {
  it('answers /paysupport and /terms in the same breath, and nothing else', async () => {
    for (const text of ['/paysupport', '/paysupport@kopilka_test_bot', '/start', 'hello', '/terms']) {
      await fetch(`${emulator.base_url}/users/${ANNA}/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ text }),
      })
    }
    await emulator.control.settled()
    const { items } = emulator.control.objects({ collection: 'messages' })
    const said = (items as { from: { is_bot: boolean }; text: string }[]).filter(({ from }) => from.is_bot)
    expect(said.map(({ text }) => text)).toEqual([configOf().support_text, configOf().support_text])
  })

  it('is told where to send its updates, and says when they go elsewhere or are not all sent', async () => {
    const healthy = () => telegramStars.checkHealth!(configOf(), context)
    expect(await healthy()).toMatchObject({ ok: false })
    await telegramStars.registerWebhook!(configOf(), context)
    expect(await healthy()).toMatchObject({ ok: true })
    const wrong = configOf({ bot_token: '1234567890:another_token_of_a_bot_0123' })
    expect((await outcomeOf(telegramStars.registerWebhook!(wrong, context))).error).toBeInstanceOf(
      GatewayMisconfigured,
    )
  })

  it('has every forged update refused', async () => {
    const { external_id } = await paid()
    taken = []
    emulator.control.forge(external_id)
    await emulator.control.settled()
    expect(taken.length).toBeGreaterThan(0)
    expect(taken.filter(({ result }) => result.verdict !== 'refused')).toEqual([])
  })
})
