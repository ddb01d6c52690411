import type { WebhookRequest } from '@kopilka/extension'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { newContext, newId } from '../../../../test/gateway-contract.ts'
import vectors from '../../../../test/vectors/yookassa.json' with { type: 'json' }
import { openYookassa, refundOf } from '../../../../test/yookassa-lab.ts'
import type { YookassaLab } from '../../../../test/yookassa-lab.ts'
import yookassa from './yookassa.ts'

const context = newContext()
const PAYMENT = '2d6f0c9b-000f-5000-9000-145f6df21d6f'
const REFUND = '216749f7-0016-50be-b000-078d43a63ae4'

let lab: YookassaLab
beforeAll(async () => {
  lab = await openYookassa()
})
afterEach(() => lab.emulator.control.reset())
afterAll(() => lab.emulator.close())

function notification(body: unknown, changes: Partial<WebhookRequest> = {}): WebhookRequest {
  return {
    method: 'POST',
    path: '/webhooks/payments/yookassa',
    headers: { 'content-type': 'application/json' },
    query: {},
    raw_body: Buffer.from(JSON.stringify(body)),
    remote_address: '185.71.76.1',
    ...changes,
  }
}

const parse = (body: unknown, changes: Partial<WebhookRequest> = {}, settings: object = {}) =>
  yookassa.parseWebhook(lab.configOf(settings), notification(body, changes), context)

const PAID = {
  type: 'notification',
  event: 'payment.succeeded',
  object: { id: PAYMENT, status: 'succeeded', amount: { value: '1.00', currency: 'RUB' } },
}

describe('a notification of YooKassa', () => {
  it.each(vectors.addresses.inside)('is taken from %s', async (remote_address) => {
    expect(await parse(PAID, { remote_address })).toMatchObject({ verdict: 'accepted' })
  })

  it.each([...vectors.addresses.outside, '', 'unknown', '185.71.76.1, 10.0.0.1'])(
    'is refused from %j',
    async (remote_address) => {
      expect(await parse(PAID, { remote_address })).toMatchObject({ verdict: 'refused', status: 403 })
    },
  )

  it('does not take its address from a header', async () => {
    const headers = {
      'x-forwarded-for': '185.71.76.1',
      'x-real-ip': '185.71.76.1',
      forwarded: 'for=185.71.76.1',
    }
    expect(await parse(PAID, { headers, remote_address: '10.0.0.1' })).toMatchObject({ status: 403 })
  })

  it('is taken from further addresses the owner allows, and from all when the check is off', async () => {
    const extra_ips = ['10.1.0.0/16', '::1']
    expect(await parse(PAID, { remote_address: '10.1.2.3' }, { extra_ips })).toMatchObject({
      verdict: 'accepted',
    })
    expect(await parse(PAID, { remote_address: '::1' }, { extra_ips })).toMatchObject({ verdict: 'accepted' })
    expect(await parse(PAID, { remote_address: '10.2.2.3' }, { extra_ips })).toMatchObject({ status: 403 })
    const anywhere = await parse(PAID, { remote_address: '10.2.2.3' }, { check_ip: false })
    expect(anywhere).toMatchObject({ verdict: 'accepted' })
    expect(yookassa.configSchema.safeParse({ ...lab.configOf(), extra_ips: ['10.0.0.0/99'] }).success).toBe(
      false,
    )
  })

  it('is a hint: which payment to ask about, and nothing of what it claims', async () => {
    const payment_id = newId('pay')
    const object = {
      ...PAID.object,
      metadata: { payment_id, order_id: 'ord_1' },
      payment: { status: 'succeeded' },
    }
    for (const event of ['payment.succeeded', 'payment.waiting_for_capture', 'payment.canceled']) {
      expect(await parse({ ...PAID, event, object })).toEqual({
        verdict: 'accepted',
        events: [
          {
            kind: 'payment',
            trust: 'hint',
            type: event,
            external_event_id: `${event}:${PAYMENT}`,
            external_id: PAYMENT,
            payment_id,
          },
        ],
      })
    }
  })

  it('of a refund names the refund, its payment and our ids', async () => {
    const metadata = { refund_id: 're_1', payment_id: 'pay_1' }
    const object = { id: REFUND, payment_id: PAYMENT, status: 'succeeded', metadata }
    expect(await parse({ ...PAID, event: 'refund.succeeded', object })).toEqual({
      verdict: 'accepted',
      events: [
        {
          kind: 'refund',
          trust: 'hint',
          type: 'refund.succeeded',
          external_event_id: `refund.succeeded:${REFUND}`,
          external_id: REFUND,
          refund_id: 're_1',
          payment_external_id: PAYMENT,
        },
      ],
    })
  })

  it('leaves out metadata that is not of our form', async () => {
    for (const metadata of [null, 'x', [], { payment_id: 5 }, { payment_id: '' }, { payment_id: 'a b' }]) {
      const result = await parse({ ...PAID, object: { ...PAID.object, metadata } })
      expect(result).toMatchObject({ verdict: 'accepted', events: [{ external_id: PAYMENT }] })
      expect(result).not.toHaveProperty('events.0.payment_id')
    }
  })

  it.each(['payout.succeeded', 'deal.closed', 'payment_method.active', 'refund.canceled'])(
    'of the kind %s is accepted and asks for nothing',
    async (event) => {
      const object = { id: 'po-285e5ee7-0022-5000-8000-01516a44b147' }
      expect(await parse({ ...PAID, event, object })).toEqual({ verdict: 'accepted', events: [] })
    },
  )

  it.each([
    ['another type', { ...PAID, type: 'event' }],
    ['no event', { ...PAID, event: undefined }],
    ['an event of another form', { ...PAID, event: 'payment succeeded' }],
    ['no object', { ...PAID, object: null }],
    ['an id that is a path', { ...PAID, object: { id: '../../me' } }],
    ['an id that is a number', { ...PAID, object: { id: 5 } }],
    ['an id of another form', { ...PAID, object: { id: `${PAYMENT}0` } }],
  ])('with %s is refused', async (_what, body) => {
    expect(await parse(body)).toMatchObject({ verdict: 'refused', status: 400 })
  })

  it('that is not a POST is refused', async () => {
    expect(await parse(PAID, { method: 'GET' })).toMatchObject({ verdict: 'refused', status: 400 })
  })
})

describe('lists for reconciliation', () => {
  it('hold every payment of the period, page by page, and none outside of it', async () => {
    const from = new Date(Date.now() - 1000)
    const ids = await Promise.all(Array.from({ length: 130 }, async () => (await lab.created()).payment_id))
    const to = new Date(Date.now() + 60_000)
    const seen: (string | undefined)[] = []
    let pages = 0
    let cursor: string | undefined
    do {
      const range = { from, to, ...(cursor === undefined ? {} : { cursor }) }
      const page = await yookassa.listPayments?.(lab.configOf(), range, context)
      seen.push(...(page?.items.map((payment) => payment.payment_id) ?? []))
      cursor = page?.next_cursor
      pages += 1
    } while (cursor !== undefined && pages < 10)
    expect(pages).toBe(2)
    expect(seen).toHaveLength(ids.length)
    expect(new Set(seen)).toEqual(new Set(ids))
    const earlier = { from: new Date(0), to: from }
    expect(await yookassa.listPayments?.(lab.configOf(), earlier, context)).toEqual({ items: [] })
  })

  it('hold refunds made elsewhere too', async () => {
    const payment = await lab.paid()
    const mine = refundOf(payment, 100n)
    await yookassa.refund?.(lab.configOf(), mine, context)
    const config = lab.configOf()
    const credentials = Buffer.from(`${config.shop_id}:${config.secret_key}`).toString('base64')
    const made_elsewhere = await fetch(`${config.base_url}/refunds`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${credentials}`,
        'content-type': 'application/json',
        'idempotence-key': 'cabinet',
      },
      body: JSON.stringify({ payment_id: payment.external_id, amount: { value: '2.50', currency: 'RUB' } }),
    })
    expect(made_elsewhere.status).toBe(200)
    const range = { from: new Date(Date.now() - 60_000), to: new Date(Date.now() + 60_000) }
    const page = await yookassa.listRefunds?.(lab.configOf(), range, context)
    expect(page?.items.map(({ refund_id, amount, status }) => [refund_id, amount, status])).toEqual([
      [undefined, 250n, 'succeeded'],
      [mine.refund_id, 100n, 'succeeded'],
    ])
  })
})

describe('the health of a shop', () => {
  const health = (settings: object = {}) => yookassa.checkHealth?.(lab.configOf(settings), context)

  it('is good with the right key, whether receipts are asked for or not', async () => {
    expect(await health()).toEqual({ ok: true, detail: 'test shop' })
    lab.emulator.control.settings({ fiscalization: 'yookassa' })
    expect(await health()).toMatchObject({ ok: true })
  })

  it('is bad with a wrong key, a wrong shop, or receipts off where they are required', async () => {
    const wrong_key = await health({ secret_key: 'test_another-0123456789' })
    expect(wrong_key).toMatchObject({ ok: false, detail: expect.stringContaining('invalid_credentials') })
    expect(await health({ shop_id: '1' })).toMatchObject({ ok: false })
    lab.emulator.control.settings({ fiscalization: 'third_party' })
    expect(await health({ receipts: false })).toMatchObject({
      ok: false,
      detail: expect.stringContaining('receipts'),
    })
  })

  it('is bad, and nothing is thrown, when nobody answers', async () => {
    const other = await openYookassa()
    await other.emulator.close()
    expect(await health({ base_url: `${other.emulator.base_url}/v3` })).toMatchObject({ ok: false })
  })

  it('knows a test key from a live one', () => {
    expect(yookassa.isTest(lab.configOf())).toBe(true)
    expect(yookassa.isTest(lab.configOf({ secret_key: 'live_0123456789abcdef' }))).toBe(false)
    expect(yookassa.configSchema.safeParse({ shop_id: 'shop', secret_key: 'x'.repeat(20) }).success).toBe(
      false,
    )
  })
})
