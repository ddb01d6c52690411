import type { CreatePaymentInput, PaymentReference } from '@kopilka/extension'
import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { newContext, newId } from '../../../../test/gateway-contract.ts'
import { expectEnding, startScriptedVendor } from '../../../../test/scripted-vendor.ts'
import type { Asked, Ending, Said, ScriptedVendor } from '../../../../test/scripted-vendor.ts'
import telegramStars from './telegram-stars.ts'

let vendor: ScriptedVendor
beforeAll(async () => {
  vendor = await startScriptedVendor()
})
afterAll(() => vendor?.close())

const config = () =>
  telegramStars.configSchema.parse({
    bot_token: '1234567890:kopilka_scripted_bot_token_0123456',
    secret_token: 'kopilka_scripted_webhook_secret',
    is_test: true,
    base_url: vendor.url,
  })
const purchase = (changes: Partial<CreatePaymentInput> = {}): CreatePaymentInput => ({
  payment_id: newId('pay'),
  payment_number: 1,
  order_id: newId('ord'),
  customer_id: newId('cus'),
  amount: 250n,
  currency: 'XTR',
  description: '100 tokens',
  return_url: 'https://shop.example/',
  capture: true,
  save_method: false,
  locale: 'ru',
  expires_at: new Date(Date.now() + 3_600_000),
  telegram_id: '777',
  ...changes,
})
const payment: PaymentReference = {
  payment_id: newId('pay'),
  payment_number: 1,
  amount: 250n,
  currency: 'XTR',
}
const charged: PaymentReference = { ...payment, external_id: 'stx1' }
const ok = (result: unknown): Said => ({ body: { ok: true, result } })
const error = (error_code: number, description: string): Said => ({
  status: error_code,
  body: { ok: false, error_code, description },
})
const methodOf = ({ path }: Asked): string => path.split('/').at(-1) ?? ''
const play = (answers: Readonly<Record<string, Said | ((asked: Asked) => Said)>>) =>
  vendor.say((asked) => {
    const answer = answers[methodOf(asked)] ?? error(400, 'NOT_PLAYED')
    return typeof answer === 'function' ? answer(asked) : answer
  })
const seconds = Math.floor(Date.now() / 1000)
const line = { id: 'stx1', amount: 250, date: seconds, source: { type: 'user', user: { id: 777 } } }
/** The bot's ledger: what is on the first page. */
const ledger =
  (...lines: object[]) =>
  ({ body }: Asked): Said =>
    ok({ transactions: (JSON.parse(body) as { offset: number }).offset === 0 ? lines : [] })

describe('an invoice', () => {
  test.each<[string, Partial<CreatePaymentInput>, Readonly<Record<string, Said>>, Ending]>([
    [
      'whose link is refused',
      {},
      { createInvoiceLink: error(400, 'STARS_INVOICE_INVALID') },
      { status: 'failed', failure_reason: 'STARS_INVOICE_INVALID' },
    ],
    [
      'in the chat of a bot that may not speak',
      { method: 'chat' },
      { getMe: error(403, 'FORBIDDEN') },
      { status: 'failed', failure_reason: 'FORBIDDEN' },
    ],
    [
      'that is a subscription in the chat',
      { method: 'chat', subscription_period_seconds: 2_592_000 },
      {},
      { status: 'failed', failure_reason: 'subscriptions_by_link_only' },
    ],
    ['of a bot that is no more', {}, { createInvoiceLink: error(401, 'Unauthorized') }, GatewayMisconfigured],
    ['answered by an unknown status', {}, { createInvoiceLink: error(418, 'teapot') }, GatewayUnavailable],
    ['whose link is no address', {}, { createInvoiceLink: ok('not a link') }, GatewayUnavailable],
  ])('%s ends so', async (_title, changes, answers, ending) => {
    play(answers)
    await expectEnding(telegramStars.createPayment(config(), purchase(changes), newContext()), ending)
  })

  it('of a test bot is asked for in the test environment', async () => {
    play({ createInvoiceLink: ok('https://t.me/$link') })
    await telegramStars.createPayment(config(), purchase(), newContext())
    expect(vendor.asked.map(({ path }) => path.split(':')[1])).toEqual([
      'kopilka_scripted_bot_token_0123456/test/createInvoiceLink',
    ])
  })
})

describe('the ledger of the bot', () => {
  it('that is refused, or has no end, does not say that nothing was paid', async () => {
    play({ getStarTransactions: error(400, 'BAD') })
    await expectEnding(telegramStars.getPayment(config(), charged, newContext()), GatewayUnavailable)
    // Twenty thousand lines, none of them ours: the search is cut short, and says so.
    const page = Array.from({ length: 100 }, (_, at) => ({ ...line, id: `other${at}`, date: seconds + 60 }))
    play({
      getStarTransactions: ({ body }) =>
        ok({ transactions: (JSON.parse(body) as { offset: number }).offset < 20_000 ? page : [] }),
    })
    await expectEnding(telegramStars.getPayment(config(), charged, newContext()), GatewayUnavailable)
  })

  it('tells an affiliate’s part as the fee', async () => {
    const source = { ...line.source, affiliate: { amount: 20 } }
    play({ getStarTransactions: ledger({ ...line, source }) })
    await expectEnding(telegramStars.getPayment(config(), charged, newContext()), { amount: 250n, fee: 20n })
  })
})

describe('a refund', () => {
  const refund = (reference: PaymentReference, telegram_id?: string) => ({
    refund_id: newId('re'),
    payment: reference,
    amount: 250n,
    currency: 'XTR',
    reason: '',
    is_full: true,
    ...(telegram_id === undefined ? {} : { telegram_id }),
  })

  it('of a payment that is not in the ledger is refused', async () => {
    play({ getStarTransactions: ledger() })
    const failed = { status: 'failed', failure_reason: 'payment_not_found' }
    await expectEnding(telegramStars.refund?.(config(), refund(payment, '777'), newContext()), failed)
    await expectEnding(telegramStars.refund?.(config(), refund(charged), newContext()), failed)
    await expectEnding(telegramStars.getRefund?.(config(), refund(payment), newContext()), undefined)
  })

  it('goes to whom the ledger names when nobody else is known', async () => {
    play({ getStarTransactions: ledger(line), refundStarPayment: ok(true) })
    await expectEnding(telegramStars.refund?.(config(), refund(charged), newContext()), {
      status: 'succeeded',
      external_id: 'refund:stx1',
    })
    const asked = vendor.asked.find((one) => methodOf(one) === 'refundStarPayment')
    expect(JSON.parse(asked?.body ?? '')).toEqual({ user_id: 777, telegram_payment_charge_id: 'stx1' })
  })

  it('made by Telegram is found by its own id, without one of ours', async () => {
    const back = { id: 'stx1', amount: 250, date: seconds, receiver: { type: 'user', user: { id: 777 } } }
    play({ getStarTransactions: ledger(line, back) })
    const foreign = { ...refund(payment), refund_id: '', external_id: 'refund:stx1' }
    const told = await telegramStars.getRefund?.(config(), foreign, newContext())
    expect(told).toMatchObject({ status: 'succeeded', payment_external_id: 'stx1', amount: 250n })
    expect(told).not.toHaveProperty('refund_id')
  })
})

describe('a subscription in stars', () => {
  const cancel = (telegram_id?: string) =>
    telegramStars.cancelSubscription?.(
      config(),
      { external_id: 'stx1', ...(telegram_id === undefined ? {} : { telegram_id }) },
      newContext(),
    )

  test.each<[string, Said, Ending]>([
    ['is told as ended', ok(true), { will_renew: false, is_test: true }],
    ['of nobody is nothing', error(400, 'CHARGE_NOT_FOUND'), undefined],
    ['that Telegram will not end is the owner’s matter', error(400, 'BOT_INVALID'), GatewayMisconfigured],
  ])('%s', async (_title, answer, ending) => {
    play({ editUserStarSubscription: answer })
    await expectEnding(cancel('777'), ending)
  })

  it('that is not in the ledger is nothing, when only the ledger knows its buyer', async () => {
    play({ getStarTransactions: ledger() })
    await expectEnding(cancel(), undefined)
  })
})

describe('the bot', () => {
  const address = 'https://kopilka.example/webhooks/payments/telegram-stars'
  test.each<[string, Said, string]>([
    ['is refused', error(400, 'BAD'), 'BAD'],
    ['is broken', { status: 500, body: '' }, 'status 500'],
    [
      'does not send payments',
      ok({ url: address, allowed_updates: ['poll'] }),
      'message, pre_checkout_query',
    ],
    ['sends its updates elsewhere', ok({ url: 'https://other.example' }), 'not the address'],
  ])('that %s is not well', async (_title, answer, detail) => {
    play({ getWebhookInfo: answer })
    const health = { ok: false, detail: expect.stringContaining(detail) }
    await expectEnding(telegramStars.checkHealth?.(config(), newContext()), health)
  })

  it('whose webhook is refused says so', async () => {
    play({ setWebhook: error(400, 'bad webhook: HTTPS url must be provided') })
    await expectEnding(telegramStars.registerWebhook?.(config(), newContext()), GatewayMisconfigured)
  })
})
