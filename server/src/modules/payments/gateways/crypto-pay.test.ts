import { createHash, createHmac } from 'node:crypto'
import type { CreatePaymentInput, WebhookRequest } from '@kopilka/extension'
import { GatewayMisconfigured } from '@kopilka/extension'
import { startCryptoPayEmulator } from '@kopilka/emulators/crypto-pay'
import type { Invoice, Transfer } from '@kopilka/emulators/crypto-pay'
import type { Emulator } from '@kopilka/emulators/emulator'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { newContext, newId } from '../../../../test/gateway-contract.ts'
import vectors from '../../../../test/vectors/crypto-pay.json' with { type: 'json' }
import cryptoPay from './crypto-pay.ts'

const TOKEN = '12345:AAcanaryCryptoPayToken0123456789'
const context = newContext()
let emulator: Emulator
beforeAll(async () => {
  emulator = await startCryptoPayEmulator({ settings: { token: TOKEN } })
})
afterEach(() => emulator.control.reset())
afterAll(() => emulator.close())

const configOf = (changes: object = {}) =>
  cryptoPay.configSchema.parse({ token: TOKEN, network: 'testnet', base_url: emulator?.base_url, ...changes })
const invoices = () => emulator.control.objects({ collection: 'invoices' }).items as Invoice[]
const transfers = () => emulator.control.objects({ collection: 'transfers' }).items as Transfer[]

function purchase(changes: Partial<CreatePaymentInput> = {}): CreatePaymentInput {
  return {
    payment_id: newId('pay'),
    payment_number: 1,
    order_id: newId('ord'),
    customer_id: newId('cus'),
    amount: 59_900n,
    currency: 'RUB',
    description: 'Пакет «100 минут»',
    return_url: 'https://shop.example/return?order=1',
    capture: true,
    save_method: false,
    locale: 'ru',
    expires_at: new Date(Date.now() + 3_600_000),
    ...changes,
  }
}

async function paid(input = purchase()) {
  const { external_id = '' } = await cryptoPay.createPayment(configOf(), input, context)
  emulator.control.complete(external_id, 'succeeded')
  return { ...input, external_id }
}

const SECRET_DATE = new Date(Date.UTC(2026, 7, 1, 10))

function parse(body: string, signature: string | undefined, settings: object = {}, now = SECRET_DATE) {
  const request: WebhookRequest = {
    method: 'POST',
    path: '/webhooks/payments/crypto-pay',
    headers: { 'crypto-pay-api-signature': signature },
    query: {},
    raw_body: Buffer.from(body),
    remote_address: '127.0.0.1',
  }
  return cryptoPay.parseWebhook(configOf(settings), request, { ...context, now })
}

function sign(body: string, key: Buffer | string = createHash('sha256').update(TOKEN).digest()): string {
  return createHmac('sha256', key).update(body).digest('hex')
}

const update = (changes: object) => {
  const { token_fake: _token, rawBody } = vectors
  return JSON.stringify({ ...(JSON.parse(rawBody) as object), ...changes })
}

describe('an update of Crypto Pay', () => {
  const signature = vectors.header['crypto-pay-api-signature']
  const settings = { token: vectors.token_fake }

  it('is taken under the known signature, whose key is the digest of the token', async () => {
    const digest = createHash('sha256').update(vectors.token_fake).digest('hex')
    expect(digest).toBe(vectors.secretHex)
    expect(await parse(vectors.rawBody, signature, settings)).toEqual({
      verdict: 'accepted',
      events: [
        {
          kind: 'payment',
          trust: 'signed',
          type: 'invoice_paid',
          external_id: '528890',
          external_event_id: 'invoice_paid:528890',
        },
      ],
    })
  })

  it('is refused under another token, with the token itself as the key, and minutes away', async () => {
    expect(await parse(vectors.rawBody, signature)).toMatchObject({ verdict: 'refused', status: 401 })
    expect(await parse(vectors.rawBody, sign(vectors.rawBody, TOKEN))).toMatchObject({ verdict: 'refused' })
    for (const minutes of [-6, 6]) {
      const now = new Date(SECRET_DATE.getTime() + minutes * 60_000)
      expect(await parse(vectors.rawBody, signature, settings, now)).toMatchObject({ verdict: 'refused' })
    }
  })

  it.each([
    ['no time', { request_date: undefined }],
    ['a time that is none', { request_date: 'yesterday' }],
    ['an invoice without a number', { payload: { invoice_id: '1; drop table' } }],
    ['no invoice', { payload: [] }],
  ])('rightly signed with %s is refused', async (_what, changes) => {
    const body = update(changes)
    expect(await parse(body, sign(body))).toMatchObject({ verdict: 'refused', status: 400 })
  })

  it('of a kind not known is understood as nothing to do', async () => {
    const body = update({ update_type: 'check_activated' })
    expect(await parse(body, sign(body))).toEqual({ verdict: 'accepted', events: [] })
  })

  it('tells our payment out of the invoice’s payload', async () => {
    const body = update({ payload: { invoice_id: 7, payload: 'pay_1 ord_1' } })
    expect(await parse(body, sign(body))).toMatchObject({
      events: [{ external_id: '7', payment_id: 'pay_1' }],
    })
  })
})

describe('an invoice of Crypto Pay', () => {
  it('is asked for in money, with our ids, the deadline and the way back', async () => {
    const input = purchase()
    await cryptoPay.createPayment(configOf({ accepted_assets: 'USDT,TON' }), input, context)
    expect(invoices()).toMatchObject([
      {
        currency_type: 'fiat',
        fiat: 'RUB',
        amount: '599',
        accepted_assets: ['USDT', 'TON'],
        payload: `${input.payment_id} ${input.order_id}`,
        description: 'Пакет «100 минут»',
        paid_btn_url: input.return_url,
        allow_comments: false,
      },
    ])
    const seconds = Date.parse(invoices()[0]?.expiration_date ?? '') - input.expires_at.getTime()
    expect(Math.abs(seconds)).toBeLessThan(5000)
  })

  it('is asked for in an asset to its last place, with the fee in that asset', async () => {
    const input = purchase({ currency: 'TON', amount: 1_000_000_001n })
    const created = await cryptoPay.createPayment(configOf(), input, context)
    expect(invoices()[0]).toMatchObject({ currency_type: 'crypto', asset: 'TON', amount: '1.000000001' })
    emulator.control.complete(created.external_id ?? '', 'succeeded')
    const told = await cryptoPay.getPayment(
      configOf(),
      { ...input, ...present(created.external_id) },
      context,
    )
    expect(told).toMatchObject({ status: 'succeeded', amount: 1_000_000_001n, currency: 'TON', fee: 0n })
  })

  it('sends a Telegram buyer to the bot, others to the web, and whoever asks where he asks', async () => {
    const url = async (changes: Partial<CreatePaymentInput>) =>
      (await cryptoPay.createPayment(configOf(), purchase(changes), context)).checkout_url
    expect(await url({})).toContain('in=web')
    expect(await url({ telegram_id: '5' })).toContain('in=bot')
    expect(await url({ telegram_id: '5', method: 'mini_app' })).toContain('in=mini_app')
    expect(await url({ method: 'card' })).toBeUndefined()
  })

  it('made long ago is found among hundreds of others, and not made again', async () => {
    const input = purchase()
    const first = await cryptoPay.createPayment(configOf(), input, context)
    for (let count = 0; count < 450; count++) {
      await fetch(`${emulator.base_url}/api/createInvoice?asset=TON&amount=1`, {
        headers: { 'crypto-pay-api-token': TOKEN },
      })
    }
    const again = await cryptoPay.createPayment(configOf(), input, newContext())
    expect(again.external_id).toBe(first.external_id)
    const range = { from: new Date(Date.now() - 60_000), to: new Date(Date.now() + 60_000) }
    const listed: string[] = []
    let cursor: string | undefined
    do {
      const page = await cryptoPay.listPayments?.(
        configOf(),
        { ...range, ...(cursor ? { cursor } : {}) },
        context,
      )
      listed.push(...(page?.items ?? []).map(({ external_id }) => external_id))
      cursor = page?.next_cursor
    } while (cursor !== undefined)
    expect(new Set(listed).size).toBe(451)
    const past = { from: new Date(0), to: new Date(1000) }
    expect((await cryptoPay.listPayments?.(configOf(), past, context))?.items).toEqual([])
  })

  it('unpaid is deleted when canceled; a paid one stays paid', async () => {
    const input = purchase()
    const { external_id = '' } = await cryptoPay.createPayment(configOf(), input, context)
    const open = { ...input, external_id }
    const canceled = await cryptoPay.cancelPayment?.(configOf(), open, context)
    expect(canceled).toMatchObject({ status: 'canceled', failure_reason: 'deleted' })
    expect(await cryptoPay.getPayment(configOf(), open, context)).toBeUndefined()
    await expect(cryptoPay.cancelPayment?.(configOf(), open, context)).rejects.toBeInstanceOf(
      GatewayMisconfigured,
    )
    expect(await cryptoPay.cancelPayment?.(configOf(), await paid(), context)).toMatchObject({
      status: 'succeeded',
    })
  })
})

describe('money given back by Crypto Pay', () => {
  const refund = (payment: Awaited<ReturnType<typeof paid>>, changes: object = {}, settings: object = {}) => {
    const input = {
      refund_id: newId('re'),
      payment,
      amount: 100n,
      currency: 'RUB',
      reason: 'x',
      is_full: false,
    }
    const config = configOf({ refunds_by_transfer: true, ...settings })
    const whole = { ...input, telegram_id: '77', ...changes }
    return { whole, result: () => cryptoPay.refund?.(config, whole, context) }
  }

  it('is a transfer of the same part of what was paid, made once', async () => {
    emulator.control.settings({ are_transfers_enabled: true })
    const payment = await paid()
    const { whole, result } = refund(payment, { amount: 29_950n })
    const first = await result()
    expect(first).toMatchObject({
      status: 'succeeded',
      amount: 29_950n,
      currency: 'RUB',
      refund_id: whole.refund_id,
    })
    expect(await result()).toEqual(first)
    // 599 ₽ at 81.50 is 7.349694 USDT, rounded up; half of it, rounded down, is 3.674847.
    expect(invoices()[0]?.paid_amount).toBe('7.349694')
    expect(transfers()).toMatchObject([
      { user_id: 77, asset: 'USDT', amount: '3.674847', spend_id: whole.refund_id },
    ])
    expect(await cryptoPay.getRefund?.(configOf(), whole, context)).toMatchObject({
      external_id: first?.external_id,
    })
  })

  it.each([1, 2])('answered by nothing %i times is still one transfer', async (times) => {
    emulator.control.settings({ are_transfers_enabled: true })
    const { whole, result } = refund(await paid())
    emulator.control.faults({ error_500: times })
    await expect(result()).rejects.toThrow(/unavailable/)
    expect(await result()).toMatchObject({ status: 'succeeded' })
    expect(transfers().map(({ spend_id }) => spend_id)).toEqual([whole.refund_id])
  })

  it('is refused when not allowed, to nobody, above what was paid, or for what is unpaid', async () => {
    const payment = await paid()
    const reason = async (changes: object, settings: object = {}) =>
      (await refund(payment, changes, settings).result())?.failure_reason
    expect(await reason({}, { refunds_by_transfer: false })).toBe('transfers_switched_off')
    expect(await reason({ telegram_id: undefined })).toBe('telegram_id_missing')
    expect(await reason({ amount: 59_901n })).toBe('more_than_was_paid')
    expect(await reason({})).toBe('METHOD_DISABLED')
    const unpaid = purchase()
    const { external_id = '' } = await cryptoPay.createPayment(configOf(), unpaid, context)
    expect(await refund({ ...unpaid, external_id }).result()).toMatchObject({
      failure_reason: 'payment_not_paid',
    })
    expect(transfers()).toEqual([])
  })
})

describe('the settings of Crypto Pay', () => {
  it('say which network moves real money, and refuse the other network’s address', () => {
    expect(cryptoPay.isTest(cryptoPay.configSchema.parse({ token: TOKEN }))).toBe(false)
    expect(cryptoPay.isTest(configOf())).toBe(true)
    const mixed = { token: TOKEN, network: 'testnet', base_url: 'https://pay.crypt.bot' }
    expect(cryptoPay.configSchema.safeParse(mixed).success).toBe(false)
    expect(cryptoPay.configSchema.safeParse({ token: 'x'.repeat(40) }).success).toBe(false)
  })

  it('are in good health with the right token only', async () => {
    expect(await cryptoPay.checkHealth?.(configOf(), context)).toMatchObject({ ok: true })
    const wrong = configOf({ token: '12345:AAsomebodyElsesToken0000' })
    expect(await cryptoPay.checkHealth?.(wrong, context)).toMatchObject({ ok: false })
    await expect(cryptoPay.createPayment(wrong, purchase(), context)).rejects.toBeInstanceOf(
      GatewayMisconfigured,
    )
  })
})

function present(external_id: string | undefined): { external_id?: string } {
  return external_id === undefined ? {} : { external_id }
}
