import { createHmac } from 'node:crypto'
import type { WebhookRequest } from '@kopilka/extension'
import Stripe from 'stripe'
import { describe, expect, it } from 'vitest'
import { newContext } from '../../../../test/gateway-contract.ts'
import vectors from '../../../../test/vectors/stripe.json' with { type: 'json' }
import stripe from './stripe.ts'

const KEYS = { secret_key: 'sk_test_canary0123456789abcdef', webhook_secret: 'whsec_canary0123456789abcdef' }
const context = newContext()
const configOf = (changes: object = {}) => stripe.configSchema.parse({ ...KEYS, ...changes })

function notification(body: string, signature: string): WebhookRequest {
  return {
    method: 'POST',
    path: '/webhooks/payments/stripe',
    headers: { 'stripe-signature': signature },
    query: {},
    raw_body: Buffer.from(body),
    remote_address: '127.0.0.1',
  }
}

function sign(body: string, time: number, secret = KEYS.webhook_secret): string {
  const mac = createHmac('sha256', secret).update(`${time}.${body}`).digest('hex')
  return `t=${time},v1=${mac}`
}

const seconds = Math.floor(context.now.getTime() / 1000)
const eventText = (type: string, object: object, more: object = {}) =>
  JSON.stringify({
    id: 'evt_1',
    object: 'event',
    created: seconds,
    livemode: false,
    type,
    data: { object },
    ...more,
  })
const parse = (body: string, signature = sign(body, seconds), now = context.now) =>
  stripe.parseWebhook(configOf(), notification(body, signature), { ...context, now })

describe('an event of Stripe', () => {
  const now = new Date(vectors.timestamp * 1000)
  const parseVector = (signature: string, settings: object = {}, at = now) =>
    stripe.parseWebhook(
      configOf({ webhook_secret: vectors.secret, ...settings }),
      notification(vectors.rawBody, signature),
      { ...context, now: at },
    )

  it.each([vectors.header, vectors.header_rotated])(
    'is taken under the known signature %.40s',
    async (header) => {
      const events = [
        { external_event_id: 'evt_1', kind: 'payment', external_id: 'cs_test_1', trust: 'signed' },
      ]
      expect(await parseVector(header)).toMatchObject({ verdict: 'accepted', events })
    },
  )

  it.each([
    ['the fake scheme alone', `t=${vectors.timestamp},v0=${vectors.v1}`],
    ['two times', `t=${vectors.timestamp},${vectors.header}`],
    ['a proof in capitals', vectors.header.toUpperCase().replace('T=', 't=').replace('V1=', 'v1=')],
    ['a thousand proofs', `${vectors.header}${',v1=00'.repeat(1000)}`],
    ['a signed time that is no number', vectors.header.replace('t=1780000000', 't=1.78e9')],
  ])('is refused with %s', async (_what, header) => {
    expect(await parseVector(header)).toMatchObject({ verdict: 'refused', status: 401 })
  })

  it('is refused under another secret and an hour later or sooner', async () => {
    const other = { webhook_secret: 'whsec_another_secret_0123456789' }
    expect(await parseVector(vectors.header, other)).toMatchObject({ verdict: 'refused' })
    for (const hours of [1, -1]) {
      const at = new Date(now.getTime() + hours * 3_600_000)
      expect(await parseVector(vectors.header, {}, at)).toMatchObject({ verdict: 'refused' })
    }
  })

  it('signed by the official package is taken here, and one signed here is taken there', async () => {
    const body = eventText('checkout.session.completed', { id: 'cs_test_1', object: 'checkout.session' })
    const official = new Stripe(KEYS.secret_key)
    const header = official.webhooks.generateTestHeaderString({
      payload: body,
      secret: KEYS.webhook_secret,
      timestamp: seconds,
    })
    expect(await parse(body, header)).toMatchObject({ verdict: 'accepted' })
    const constructed = official.webhooks.constructEvent(body, sign(body, seconds), KEYS.webhook_secret, 300)
    expect(constructed.id).toBe('evt_1')
    expect(() =>
      official.webhooks.constructEvent(body, sign(body, seconds, 'whsec_x'), KEYS.webhook_secret, 300),
    ).toThrow(/signature/)
  })

  it('of the other mode is refused', async () => {
    const body = eventText(
      'checkout.session.completed',
      { id: 'cs_1', object: 'checkout.session' },
      { livemode: true },
    )
    expect(await parse(body)).toMatchObject({ verdict: 'refused', status: 400 })
  })

  it.each([
    [
      'checkout.session.async_payment_succeeded',
      { id: 'cs_test_1' },
      { kind: 'payment', external_id: 'cs_test_1' },
    ],
    [
      'payment_intent.succeeded',
      { id: 'pi_1', metadata: { payment_id: 'pay_1', made_by: 'checkout' } },
      { payment_id: 'pay_1' },
    ],
    [
      'payment_intent.succeeded',
      { id: 'pi_1', metadata: { payment_id: 'pay_1', made_by: 'charge' } },
      { payment_id: 'pay_1', external_id: 'pi_1' },
    ],
    [
      'charge.refunded',
      { id: 'ch_1', metadata: { payment_id: 'pay_1' } },
      { kind: 'payment', payment_id: 'pay_1' },
    ],
    [
      'refund.updated',
      { id: 're_1', metadata: { refund_id: 're_9' } },
      { kind: 'refund', external_id: 're_1', refund_id: 're_9' },
    ],
    ['refund.failed', { id: 're_1' }, { kind: 'refund', external_id: 're_1' }],
    ['payment_method.detached', { id: 'pm_1' }, { kind: 'method_removed', external_id: 'pm_1' }],
  ])('%s of %j says where to look', async (type, object, event) => {
    const result = await parse(eventText(type, { object: 'any', ...object }))
    expect(result).toMatchObject({ verdict: 'accepted', events: [{ trust: 'signed', type, ...event }] })
    const has_id = JSON.stringify(result).includes('"external_id"')
    expect(has_id).toBe('external_id' in event)
  })

  it.each([
    ['payment_intent.succeeded', { id: 'pi_1', metadata: { app: 'somebody else' } }],
    ['customer.created', { id: 'cus_1' }],
    ['invoice.paid', { id: 'in_1', metadata: { payment_id: 'pay_1' } }],
    ['charge.dispute.created', { id: 'du_1', amount: -5 }],
  ])('%s of %j is none of ours', async (type, object) => {
    expect(await parse(eventText(type, { object: 'any', ...object }))).toEqual({
      verdict: 'accepted',
      events: [],
    })
  })

  it.each([
    ['needs_response', 'open'],
    ['warning_needs_response', 'open'],
    ['won', 'won'],
    ['warning_closed', 'won'],
    ['lost', 'lost'],
    ['something_new', 'open'],
  ])('of a dispute that is %s tells it as %s', async (status, told) => {
    const object = { id: 'du_1', object: 'dispute', charge: 'ch_1', payment_intent: 'pi_1', livemode: false }
    const body = eventText('charge.dispute.updated', {
      ...object,
      status,
      amount: 59_900,
      currency: 'usd',
      reason: 'fraudulent',
    })
    const dispute = {
      external_id: 'du_1',
      payment_external_id: 'pi_1',
      status: told,
      amount: 59_900n,
      currency: 'USD',
    }
    expect(await parse(body)).toMatchObject({
      events: [{ kind: 'dispute', dispute: { ...dispute, is_test: true } }],
    })
  })
})
