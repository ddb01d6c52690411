import { Paddle } from '@paddle/paddle-node-sdk'
import { afterEach, describe, expect, it } from 'vitest'
import type { EmulatorOptions } from '../emulator.ts'
import { loadSpec } from '../kit/openapi.ts'
import { startListener } from '../kit/test-listener.ts'
import { startPaddleEmulator } from '../paddle.ts'
import type { Adjustment, PaddleSettings, Subscription, Transaction } from '../paddle.ts'

const KEY = 'pdl_sdbx_apikey_kopilka_emulator'
const SECRET = 'pdl_ntfset_kopilka_emulator'
const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

interface Answer<T> {
  status: number
  body: { data: T; error?: { code: string; errors?: { field: string }[] } }
}

const PRICE = {
  description: 'Tokens',
  product: { name: 'Tokens', tax_category: 'standard' },
  unit_price: { amount: '1200', currency_code: 'USD' },
  tax_mode: 'internal',
}

async function open(options: EmulatorOptions<PaddleSettings> = {}) {
  const merchant = await startListener()
  const emulator = await startPaddleEmulator({
    seed: 1,
    retry_scale: 0.000001,
    webhook_url: merchant.url,
    ...options,
  })
  closing.push(
    () => emulator.close(),
    () => merchant.close(),
  )
  const call = async <T>(method: string, path: string, body?: object, key = KEY): Promise<Answer<T>> => {
    const response = await fetch(emulator.base_url + path, {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body ? { 'content-type': 'application/json' } : {}) },
      ...(body ? { body: JSON.stringify(body) } : {}),
    })
    return { status: response.status, body: (await response.json()) as Answer<T>['body'] }
  }
  const make = async (changes: object = {}) => {
    const items = [{ quantity: 1, price: { ...PRICE, ...changes } }]
    return (await call<Transaction>('POST', '/transactions', { items, custom_data: { a: '1' } })).body.data
  }
  const paid = async () => {
    const { id } = await make()
    emulator.control.complete(id, 'succeeded')
    return (await call<Transaction>('GET', `/transactions/${id}?include=adjustments`)).body.data
  }
  const refund = (transaction_id: string, more: object = { type: 'full' }) =>
    call<Adjustment>('POST', '/adjustments', { action: 'refund', transaction_id, reason: 'r', ...more })
  return { emulator, merchant, call, make, paid, refund }
}

describe('the Paddle emulator', () => {
  it('answers in the vendor’s published shapes', async () => {
    const { call, paid, refund } = await open()
    const spec = loadSpec('paddle')
    const { id } = await paid()
    const one = await call('GET', `/transactions/${id}`)
    expect(spec.checkResponse('GET', '/transactions/{transaction_id}', 200, one.body)).toEqual([])
    const made = await refund(id)
    expect(spec.checkResponse('POST', '/adjustments', 201, made.body)).toEqual([])
    const wrong = await call('GET', `/transactions/txn_unknown`)
    expect([wrong.status, wrong.body.error?.code]).toEqual([404, 'not_found'])
  })

  it('refuses what the vendor does not publish, and a request without its body', async () => {
    const { call, paid } = await open()
    const { id } = await paid()
    const asked = [
      await call('GET', `/transactions/${id}?with=everything`),
      await call('GET', '/adjustments?per_page=many'),
      await call('POST', '/transactions'),
      await call('POST', '/adjustments', []),
    ]
    expect(asked.map(({ status, body }) => [status, body.error?.code])).toEqual(
      asked.map(() => [400, 'bad_request']),
    )
  })

  it('takes tax out of an internal price and puts it on an external one', async () => {
    const { make } = await open()
    expect((await make()).details.totals).toMatchObject({ total: '1200', subtotal: '1000', tax: '200' })
    const external = await make({ tax_mode: 'external' })
    expect(external.details.totals).toMatchObject({ total: '1440', subtotal: '1200', tax: '240' })
  })

  it.each([
    ['no items', { items: [] }],
    [
      'an unknown currency',
      { items: [{ quantity: 1, price: { ...PRICE, unit_price: { amount: '1', currency_code: 'QQQ' } } }] },
    ],
    [
      'an amount that is no integer',
      { items: [{ quantity: 1, price: { ...PRICE, unit_price: { amount: '1.5', currency_code: 'USD' } } }] },
    ],
    ['a price without words', { items: [{ quantity: 1, price: { ...PRICE, description: '' } }] }],
    ['another currency than its price', { currency_code: 'EUR', items: [{ quantity: 1, price: PRICE }] }],
  ])('refuses a transaction with %s', async (_what, body) => {
    const { call } = await open()
    const answer = await call('POST', '/transactions', body)
    expect([answer.status, answer.body.error?.code]).toEqual([400, 'bad_request'])
    expect(answer.body.error?.errors).not.toHaveLength(0)
  })

  it('knows its key only, and no other filter than the published', async () => {
    const { call } = await open()
    expect((await call('GET', '/event-types', undefined, 'pdl_live_apikey_x')).status).toBe(403)
    expect((await call('GET', '/transactions?order=1')).status).toBe(400)
    expect((await call('GET', '/transactions?per_page=31')).status).toBe(400)
    expect((await call('GET', '/transactions?created_at[ABOUT]=2026')).status).toBe(400)
    expect((await call('GET', '/somewhere')).status).toBe(404)
  })

  it('tells every step, signed so that the official package agrees, until the answer is 200', async () => {
    const { emulator, merchant, paid } = await open({
      settings: { old_webhook_secret: 'pdl_ntfset_the_older_one' },
    })
    merchant.answer({ status: 202 })
    const { id } = await paid()
    await expect.poll(() => merchant.received.length).toBeGreaterThan(4)
    merchant.answer({ status: 200 })
    expect(await emulator.control.settled()).toBe(true)
    const official = new Paddle(KEY)
    for (const { text, headers } of merchant.received) {
      const header = String(headers['paddle-signature'])
      // The official package looks at the last proof only; the first is the new secret's.
      const [time = '', newer = '', older = ''] = header.split(';')
      expect(await official.webhooks.isSignatureValid(text, SECRET, `${time};${newer}`)).toBe(true)
      expect(
        await official.webhooks.isSignatureValid(text, 'pdl_ntfset_the_older_one', `${time};${older}`),
      ).toBe(true)
    }
    const types = merchant.bodies<{ event_type: string; data: { id: string } }>()
    expect(types.every(({ data }) => data.id === id)).toBe(true)
    expect(new Set(types.map(({ event_type }) => event_type))).toEqual(
      new Set(['transaction.created', 'transaction.paid', 'transaction.completed']),
    )
  })

  it('tells lies of which none is both rightly signed and of this moment', async () => {
    const { emulator, merchant, make } = await open()
    const made = [await make(), await make(), await make(), await make()]
    await emulator.control.settled()
    const before = merchant.received.length
    for (const { id } of made) emulator.control.forge(id)
    emulator.control.faults({ forge: 8 })
    for (const { id } of made) emulator.control.complete(id, 'succeeded')
    await emulator.control.settled()
    const official = new Paddle(KEY)
    const verdicts = await Promise.all(
      merchant.received.slice(before).map(async ({ text, headers }) => {
        const header = String(headers['paddle-signature'])
        const ahead = Number(/ts=(\d+)/.exec(header)?.[1] ?? 1e12) - Date.now() / 1000
        return ahead < 300 && (await official.webhooks.isSignatureValid(text, SECRET, header))
      }),
    )
    expect(verdicts).toHaveLength(4 * 4 + 8 + 8)
    expect(verdicts.filter(Boolean)).toHaveLength(8)
  })

  it('refunds what was completed, one at a time while one waits, never more than was paid', async () => {
    const { emulator, make, paid, refund } = await open({ settings: { refund_outcome: 'pending_approval' } })
    const open_one = await make()
    expect((await refund(open_one.id)).body.error?.code).toMatch(/invalid_status/)
    const { id, details } = await paid()
    const item_id = details.line_items[0]?.id
    const part = (amount: string) =>
      refund(id, { type: 'partial', items: [{ item_id, type: 'partial', amount }] })
    expect((await part('1201')).body.error?.code).toMatch(/above_remaining/)
    const first = (await part('700')).body.data
    expect(first).toMatchObject({ status: 'pending_approval', totals: { total: '700' } })
    expect((await part('1')).body.error?.code).toMatch(/pending/)
    emulator.control.complete(first.id, 'canceled')
    expect(() => emulator.control.complete(first.id, 'succeeded')).toThrow(/already rejected/)
    emulator.control.settings({ refund_outcome: 'approved' })
    expect((await part('700')).body.data.status).toBe('approved')
    expect((await part('501')).body.error?.code).toMatch(/above_remaining/)
    expect((await part('500')).status).toBe(201)
  })

  it('opens a chargeback once and reverses it once', async () => {
    const { emulator, make, paid } = await open()
    const ask = (id: string, dispute: string) =>
      emulator.control.complete(id, { outcome: 'canceled', dispute })
    const unpaid = await make()
    expect(() => ask(unpaid.id, 'open')).toThrow(/already draft/)
    const { id } = await paid()
    expect(() => ask(id, 'won')).toThrow(/already/)
    expect(ask(id, 'open')).toMatchObject({ action: 'chargeback', totals: { total: '1200' } })
    expect(() => ask(id, 'open')).toThrow(/already/)
    expect(ask(id, 'won')).toMatchObject({ action: 'chargeback_reverse' })
    expect(() => ask(id, 'won')).toThrow(/already/)
  })

  it('shows a page on which the transaction is declined, then paid once', async () => {
    const { emulator, make } = await open()
    const { checkout, id } = await make({ description: '<b>Tokens</b>' })
    const press = async (action: string) =>
      (await fetch(checkout.url ?? '', { method: 'POST', body: new URLSearchParams({ action }) })).text()
    expect(await (await fetch(checkout.url ?? '')).text()).toContain('&lt;b&gt;Tokens')
    expect(await press('decline')).toContain('declined')
    expect(await press('pay')).toContain('completed')
    await press('pay')
    const [held] = emulator.control.objects().items as Transaction[]
    expect(held?.payments.map(({ status }) => status)).toEqual(['captured', 'error'])
    expect(held?.id).toBe(id)
    expect((await fetch(`${emulator.base_url}/pay?_ptxn=none`)).status).toBe(404)
  })
})

describe('a subscription of the emulated Paddle', () => {
  const MONTHLY = { billing_cycle: { interval: 'month', frequency: 1 } }

  it('is charged beside its plan and shown beforehand, in the published shapes', async () => {
    const { emulator, call, make } = await open()
    const spec = loadSpec('paddle')
    const price = { ...PRICE, custom_data: { payment_id: 'pay_1' } }
    const items = [{ quantity: 1, price }]
    const address = { country_code: 'DE', postal_code: '10115' }
    const purchase = await call('POST', '/transactions/preview', { items, address })
    expect(spec.checkResponse('POST', '/transactions/preview', 200, purchase.body)).toEqual([])
    for (const wrong of [
      { items: [] },
      { items, address: { country_code: 'XX' } },
      {},
      { items, currency_code: 'EUR' },
    ])
      expect((await call('POST', '/transactions/preview', wrong)).status).toBe(400)
    const { id } = await make(MONTHLY)
    emulator.control.complete(id, 'succeeded')
    const { subscription_id } = (await call<Transaction>('GET', `/transactions/${id}`)).body.data
    const path = `/subscriptions/${subscription_id}/charge`
    const shape = '/subscriptions/{subscription_id}/charge'
    const body = { effective_from: 'immediately', items, on_payment_failure: 'prevent_change' }
    const shown = await call('POST', `${path}/preview`, body)
    expect(spec.checkResponse('POST', `${shape}/preview`, 200, shown.body)).toEqual([])
    const query = '/transactions?origin=subscription_charge'
    expect((await call<Transaction[]>('GET', query)).body.data).toEqual([])
    const charged = await call('POST', path, body)
    expect([charged.status, spec.checkResponse('POST', shape, 201, charged.body)]).toEqual([201, []])
    expect((await call<Transaction[]>('GET', query)).body.data).toMatchObject([
      { subscription_id, status: 'completed', custom_data: { a: '1' }, items },
    ])
    for (const wrong of [
      { items },
      { ...body, items: [] },
      { ...body, effective_from: 'never' },
      { ...body, more: 1 },
    ])
      expect((await call('POST', path, wrong)).status).toBe(400)
    emulator.control.settings({ charge_outcome: 'declined' })
    expect((await call('POST', path, body)).body.error?.code).toBe('subscription_payment_declined')
    expect((await call('POST', '/subscriptions/sub_unknown/charge', body)).status).toBe(404)
    expect((await call<Transaction[]>('GET', query)).body.data).toHaveLength(1)
  })

  it('leads back to the shop from its page where it was told of one, paid or not', async () => {
    const { emulator, make } = await open()
    const { checkout } = await make()
    const page = async (method = 'GET') => {
      const body = method === 'POST' ? { body: new URLSearchParams({ action: 'pay' }) } : {}
      return (await fetch(checkout.url ?? '', { method, ...body })).text()
    }
    expect(await page()).not.toContain('Back to the shop')
    emulator.control.begin({ shop_url: 'https://shop.example/?a="b"' })
    const link =
      '<a class="button" rel="noreferrer" href="https://shop.example/?a=&quot;b&quot;">Back to the shop</a>'
    expect([(await page()).includes(link), (await page('POST')).includes(link)]).toEqual([true, true])
    expect(() => emulator.control.settings({ shop_url: 'javascript:alert(1)' })).toThrow(/acceptable/)
  })

  it('begins with a paid transaction, renews, fails, is kept and ends, in the published shapes', async () => {
    const { emulator, merchant, call, make } = await open()
    const { id } = await make(MONTHLY)
    emulator.control.complete(id, 'succeeded')
    const first = (await call<Transaction>('GET', `/transactions/${id}`)).body.data
    const path = `/subscriptions/${first.subscription_id}`
    const spec = loadSpec('paddle')
    const shape = '/subscriptions/{subscription_id}'
    const one = await call<Subscription>('GET', path)
    expect(spec.checkResponse('GET', shape, 200, one.body)).toEqual([])
    expect(one.body.data).toMatchObject({ status: 'active', custom_data: { a: '1' } })
    const renewed = emulator.control.complete(one.body.data.id, 'succeeded') as Transaction
    expect(renewed).toMatchObject({ origin: 'subscription_recurring', status: 'completed' })
    const listed = await call<Transaction[]>('GET', `/transactions?subscription_id=${one.body.data.id}`)
    expect(listed.body.data.map((held) => held.id)).toEqual([renewed.id, id])
    const canceled = await call<Subscription>('POST', `${path}/cancel`, { effective_from: null })
    expect(spec.checkResponse('POST', `${shape}/cancel`, 200, canceled.body)).toEqual([])
    expect(canceled.body.data.scheduled_change).toMatchObject({ action: 'cancel' })
    const kept = await call<Subscription>('PATCH', path, { scheduled_change: null })
    expect(kept.body.data.scheduled_change).toBeNull()
    expect((await call('PATCH', path, { items: [] })).status).toBe(400)
    expect((await call('POST', `${path}/cancel`, { effective_from: 'never' })).status).toBe(400)
    expect(emulator.control.complete(one.body.data.id, 'canceled')).toMatchObject({ status: 'past_due' })
    await call('POST', `${path}/cancel`, { effective_from: 'next_billing_period' })
    emulator.control.advanceClock(31 * 86_400_000)
    expect((await call<Subscription>('GET', path)).body.data.status).toBe('canceled')
    expect((await call('POST', `${path}/cancel`, {})).status).toBe(400)
    expect(() => emulator.control.complete(one.body.data.id, 'succeeded')).toThrow(/already/)
    expect((await call('GET', '/subscriptions/sub_unknown')).status).toBe(404)
    await emulator.control.settled()
    const types = merchant.bodies<{ event_type: string }>().map(({ event_type }) => event_type)
    expect(types).toEqual(
      expect.arrayContaining(['subscription.created', 'subscription.past_due', 'subscription.canceled']),
    )
  })
})
