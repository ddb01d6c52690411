import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Emulator } from '../emulator.ts'
import { loadSpec } from '../kit/openapi.ts'
import { startListener } from '../kit/test-listener.ts'
import type { Listener } from '../kit/test-listener.ts'
import { startTelegramEmulator } from '../telegram.ts'

const TOKEN = '1234567890:kopilka_emulator_bot_token_0123456789'
const ANNA = 777_000_111
let emulator: Emulator
let merchant: Listener

beforeEach(async () => {
  merchant = await startListener()
  emulator = await startTelegramEmulator({ seed: 1, retry_scale: 0.0001 })
})
afterEach(async () => {
  await emulator.close()
  await merchant.close()
})

interface Reply<T> {
  ok: boolean
  result: T
  error_code?: number
  description?: string
  parameters?: { retry_after: number }
}
const bot = async <T = unknown>(method: string, body: object = {}, token = TOKEN): Promise<Reply<T>> => {
  const answer = await fetch(`${emulator.base_url}/bot${token}/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return (await answer.json()) as Reply<T>
}
const user = async <T = Record<string, unknown>>(path: string, body: object): Promise<T> => {
  const answer = await fetch(`${emulator.base_url}/users/${ANNA}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return (await answer.json()) as T
}
type Update = { update_id: number } & Record<string, Record<string, unknown>>
const updates = async (body: object = {}) => (await bot<Update[]>('getUpdates', body)).result
const INVOICE = {
  title: '100 tokens',
  description: 'For the assistant',
  payload: 'o:1',
  provider_token: '',
  currency: 'XTR',
  prices: [{ label: '100 tokens', amount: 250 }],
}
/** Pays and lets the bot say yes. */
async function paid(invoice: object = INVOICE): Promise<{ id: string }> {
  const { result: link } = await bot<string>('createInvoiceLink', invoice)
  const paying = user<{ payment: { id: string } }>('/pay', { link })
  let question: Update | undefined
  while (question === undefined) {
    question = (await updates({ timeout: 5 })).find((update) => 'pre_checkout_query' in update)
  }
  const pre_checkout_query_id = question['pre_checkout_query']?.['id']
  await updates({ offset: question.update_id + 1 })
  await bot('answerPreCheckoutQuery', { pre_checkout_query_id, ok: true })
  return (await paying).payment
}

describe('Updates of the Bot API', () => {
  test('are fetched until they are confirmed, and have the published shape', async () => {
    await user('/messages', { text: '/start' })
    await user('/files', {
      kind: 'voice',
      mime_type: 'audio/ogg',
      base64: Buffer.from('voice').toString('base64'),
    })
    const first = await updates()
    expect(first).toHaveLength(2)
    const spec = loadSpec('telegram')
    expect(first.flatMap((update) => spec.checkSchema('Update', update))).toEqual([])
    expect(await updates()).toEqual(first)
    expect(await updates({ offset: (first[0]?.update_id ?? 0) + 1 })).toHaveLength(1)
    const waiting = updates({ offset: (first[1]?.update_id ?? 0) + 1, timeout: 5 })
    await user('/messages', { text: 'late' })
    expect((await waiting).map((update) => update['message']?.['text'])).toEqual(['late'])
  })

  test('go to the webhook with its secret, the allowed kinds only; getUpdates is a conflict', async () => {
    await bot('setWebhook', { url: merchant.url, secret_token: 'abc_123', allowed_updates: ['message'] })
    expect(await bot('getUpdates')).toMatchObject({ ok: false, error_code: 409 })
    await user('/messages', { text: 'hello' })
    emulator.control.settings({ pre_checkout_timeout_ms: 10 })
    const { result: link } = await bot<string>('createInvoiceLink', INVOICE)
    expect(await user('/pay', { link })).toMatchObject({ reason: 'timeout' })
    await emulator.control.settled()
    expect(merchant.bodies<Update>()).toMatchObject([{ message: { text: 'hello' } }])
    expect(merchant.received[0]?.headers['x-telegram-bot-api-secret-token']).toBe('abc_123')
    expect(await bot('getWebhookInfo')).toMatchObject({ result: { url: merchant.url } })
    await bot('deleteWebhook')
    expect(await bot('getUpdates')).toMatchObject({ ok: true })
  })

  test('are repeated until a 2xx; its body may be a call of the bot', async () => {
    await bot('setWebhook', { url: merchant.url })
    merchant.answer({ status: 500 })
    await user('/messages', { text: 'one' })
    await emulator.control.settled()
    expect(merchant.received).toHaveLength(10)
    merchant.answer({ body: JSON.stringify({ method: 'sendMessage', chat_id: ANNA, text: 'answer' }) })
    await user('/messages', { text: 'two' })
    await emulator.control.settled()
    expect(emulator.control.objects({ collection: 'messages' }).items[0]).toMatchObject({ text: 'answer' })
  })

  test('of a pressed button wait for the answer to it', async () => {
    const { result: sent } = await bot<{ message_id: number }>('sendMessage', {
      chat_id: ANNA,
      text: 'press',
    })
    const pressing = user('/callbacks', { message_id: sent.message_id, data: 'buy' })
    const [query] = await updates({ timeout: 5 })
    expect(query?.['callback_query']).toMatchObject({ data: 'buy', from: { id: ANNA } })
    const callback_query_id = query?.['callback_query']?.['id']
    expect(await bot('answerCallbackQuery', { callback_query_id, text: 'ok' })).toMatchObject({
      result: true,
    })
    expect(await pressing).toMatchObject({ answer: { text: 'ok' } })
    expect(await bot('answerCallbackQuery', { callback_query_id: 'none' })).toMatchObject({ error_code: 400 })
  })
})

describe('Methods of the Bot API', () => {
  test('are checked against the published shapes', async () => {
    const wrong = [
      bot('sendMessage', { chat_id: ANNA }),
      bot('sendMessage', { chat_id: ANNA, text: '' }),
      bot('sendMessage', { chat_id: ANNA, text: 'x'.repeat(4097) }),
      bot('sendMessage', { chat_id: ANNA, text: 'x', colour: 'red' }),
      bot('createInvoiceLink', { ...INVOICE, title: 'x'.repeat(33) }),
      bot('createInvoiceLink', { ...INVOICE, prices: [{ label: 'x' }] }),
    ]
    expect((await Promise.all(wrong)).map(({ error_code }) => error_code)).toEqual([
      400, 400, 400, 400, 400, 400,
    ])
    expect(await bot('noSuchMethod')).toMatchObject({ error_code: 404 })
    expect(await bot('getMe', {}, '1:wrong_token_0123')).toMatchObject({ error_code: 401 })
    expect(await bot('test/getMe')).toMatchObject({ error_code: 401 })
  })

  test('meet flood control after a burst, and blocked users', async () => {
    const replies: Reply<unknown>[] = []
    for (let count = 0; count < 7; count += 1)
      replies.push(await bot('sendMessage', { chat_id: ANNA, text: 'x' }))
    expect(replies.filter(({ ok }) => ok).length).toBeGreaterThanOrEqual(5)
    expect(replies.at(-1)).toMatchObject({ error_code: 429, parameters: { retry_after: 1 } })
    emulator.control.advanceClock(2000)
    expect(await bot('sendMessage', { chat_id: ANNA, text: 'x' })).toMatchObject({ ok: true })
    await user('', { is_blocked: true })
    expect(await bot('sendMessage', { chat_id: ANNA, text: 'x' })).toMatchObject({
      error_code: 403,
      description: 'Forbidden: bot was blocked by the user',
    })
  })

  test('give files by their path, to the bot only', async () => {
    const { file_id } = await user<{ file_id: string }>('/files', { name: 'a.txt', base64: 'aGVsbG8=' })
    const { result } = await bot<{ file_path: string; file_size: number }>('getFile', { file_id })
    expect(result.file_size).toBe(5)
    const file = await fetch(`${emulator.base_url}/file/bot${TOKEN}/${result.file_path}`)
    expect(await file.text()).toBe('hello')
    expect((await fetch(`${emulator.base_url}/file/bot1:x/${result.file_path}`)).status).toBe(404)
    expect(await bot('getFile', { file_id: 'none' })).toMatchObject({ error_code: 400 })
  })
})

describe('Stars', () => {
  test('are taken after a timely yes only, each press anew', async () => {
    const first = await paid()
    const second = await paid()
    expect(first.id).not.toBe(second.id)
    expect(await bot('getMyStarBalance')).toMatchObject({ result: { amount: 500 } })
    emulator.control.settings({ pre_checkout_timeout_ms: 50 })
    const { result: link } = await bot<string>('createInvoiceLink', INVOICE)
    expect(await user('/pay', { link })).toEqual({ status: 'failed', reason: 'timeout' })
    const late = (await updates()).at(-1)?.['pre_checkout_query']?.['id']
    expect(await bot('answerPreCheckoutQuery', { pre_checkout_query_id: late, ok: true })).toMatchObject({
      description: expect.stringContaining('query is too old'),
    })
    expect(emulator.control.objects().items).toHaveLength(2)
  })

  test('invoices have one price in stars, no provider and at most 128 bytes of payload', async () => {
    const [price] = INVOICE.prices
    const wrong = [
      { currency: 'USD' },
      { provider_token: 'x' },
      { payload: 'ж'.repeat(65) },
      { prices: [price, price] },
      { prices: [{ label: 'x', amount: 0 }] },
      { subscription_period: 60 },
      { subscription_period: 2_592_000, prices: [{ label: 'x', amount: 10_001 }] },
    ]
    const replies = await Promise.all(
      wrong.map((changes) => bot('createInvoiceLink', { ...INVOICE, ...changes })),
    )
    expect(replies.map(({ ok }) => ok)).toEqual(wrong.map(() => false))
    expect(emulator.control.objects({ collection: 'invoices' }).items).toEqual([])
  })

  test('go back once, to their payer, and the ledger shows both ways in the published shape', async () => {
    const { id: telegram_payment_charge_id } = await paid()
    const refund = (user_id: number) => bot('refundStarPayment', { user_id, telegram_payment_charge_id })
    expect((await refund(1)).description).toContain('USER_ID_INVALID')
    expect(await refund(ANNA)).toMatchObject({ result: true })
    expect((await refund(ANNA)).description).toContain('CHARGE_ALREADY_REFUNDED')
    const { result } = await bot<{ transactions: Record<string, unknown>[] }>('getStarTransactions')
    expect(result.transactions).toMatchObject([
      { id: telegram_payment_charge_id, source: { type: 'user' } },
      { id: telegram_payment_charge_id, receiver: { type: 'user' } },
    ])
    const spec = loadSpec('telegram')
    expect(result.transactions.flatMap((line) => spec.checkSchema('StarTransaction', line))).toEqual([])
    const all = await updates()
    expect(all.flatMap((update) => spec.checkSchema('Update', update))).toEqual([])
    expect(all.map((update) => Object.keys(update['message'] ?? {}).at(-1))).toEqual([
      'successful_payment',
      'refunded_payment',
    ])
  })

  test('have a page that leads back to the shop where it was told of one, paid or not', async () => {
    const { result: link } = await bot<string>('createInvoiceLink', INVOICE)
    const look = async (init: RequestInit = {}) =>
      (await (await fetch(link, init)).text()).includes(
        'href="https://shop.example/">Вернуться в магазин</a>',
      )
    expect(await look()).toBe(false)
    emulator.control.settings({ shop_url: 'https://shop.example/', pre_checkout_timeout_ms: 1 })
    const body = new URLSearchParams({ user_id: String(ANNA) })
    expect([await look(), await look({ method: 'POST', body })]).toEqual([true, true])
  })

  test('of a subscription come every thirty days until it is canceled', async () => {
    const { id: telegram_payment_charge_id } = await paid({ ...INVOICE, subscription_period: 2_592_000 })
    emulator.control.advanceClock(2_592_000_000)
    expect(emulator.control.objects().items).toHaveLength(2)
    const body = { user_id: ANNA, telegram_payment_charge_id, is_canceled: true }
    expect(await bot('editUserStarSubscription', body)).toMatchObject({ result: true })
    emulator.control.advanceClock(2_592_000_000)
    expect(emulator.control.objects().items).toHaveLength(2)
  })
})
