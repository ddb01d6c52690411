import { createHmac } from 'node:crypto'
import { present, readJsonBody, sameBytes, singleHeader } from '@kopilka/extension'
import type { VendorDispute, VendorEvent, WebhookRequest, WebhookResult } from '@kopilka/extension'
import { z } from 'zod'
import { isTestKey } from './config.ts'
import type { Config } from './config.ts'
import { ourId } from './objects.ts'

const SIGNATURE_HEADER = 'stripe-signature'
/** How far the signed time may lie from ours, on either side: beyond it is a replay or a forgery. */
const WINDOW_MS = 300_000n
/** Two secrets are valid while one is rolled; more parts than these no vendor sends. */
const PARTS_MAX = 10

const SESSION_EVENTS = ['completed', 'async_payment_succeeded', 'async_payment_failed', 'expired']
const INTENT_EVENTS = ['succeeded', 'payment_failed', 'canceled', 'amount_capturable_updated']
const REFUND_EVENTS = ['refund.created', 'refund.updated', 'refund.failed', 'charge.refund.updated']

const EventObject = z.object({
  id: z.string().regex(/^evt_\w{1,190}$/),
  object: z.literal('event'),
  type: z.string().regex(/^[a-z_.]{1,100}$/),
  created: z.int().optional(),
  livemode: z.boolean().optional(),
  data: z.object({
    object: z
      .object({
        id: z.string().max(255).optional(),
        object: z.string(),
        metadata: z.record(z.string(), z.unknown()).nullish().catch(undefined),
      })
      .loose(),
  }),
})
const DisputeObject = z.object({
  id: z.string().regex(/^(?:dp|du)_\w{1,250}$/),
  charge: z.string().nullish(),
  payment_intent: z.string().nullish(),
  status: z.string(),
  amount: z.int().nonnegative(),
  currency: z.string().regex(/^[a-z]{3}$/),
  reason: z.string().max(64),
  livemode: z.boolean(),
})

/**
 * Verifies an event on its raw bytes: any `v1` of the header, and a time at most 300 s away on either side.
 * A proved event still only says where to look: order is not kept, so the object itself is read again.
 * Disputes are the exception, they come whole. Events of the other mode are refused. Never throws.
 */
export function parseWebhook(config: Config, request: WebhookRequest, now: Date): WebhookResult {
  const signature = readSignature(singleHeader(request, SIGNATURE_HEADER) ?? '')
  if (!signature) return refused(401, 'no signature')
  const expected = createHmac('sha256', config.webhook_secret)
    .update(`${signature.time}.`)
    .update(request.raw_body)
    .digest('hex')
  if (!signature.proofs.some((proof) => sameBytes(proof, expected))) return refused(401, 'wrong signature')
  const away_ms = BigInt(now.getTime()) - BigInt(signature.time) * 1000n
  if (away_ms < -WINDOW_MS || away_ms > WINDOW_MS) return refused(401, 'not of this moment')
  const event = EventObject.safeParse(readJsonBody(request))
  if (!event.success) return refused(400, 'not an event')
  if (event.data.livemode === isTestKey(config)) return refused(400, 'of the other mode')
  return { verdict: 'accepted', events: toEvents(event.data) }
}

/** `t=1780000000,v1=…,v1=…,v0=…`: one time, one or more proofs; other schemes are not proofs. */
function readSignature(header: string): { time: string; proofs: string[] } | undefined {
  const parts = header.length <= 1000 ? header.split(',', PARTS_MAX + 1) : []
  if (parts.length > PARTS_MAX) return undefined
  const valuesOf = (scheme: string) =>
    parts.filter((part) => part.startsWith(`${scheme}=`)).map((part) => part.slice(scheme.length + 1))
  const [time, ...more] = valuesOf('t')
  const proofs = valuesOf('v1')
  if (time === undefined || more.length > 0 || !/^\d{10,12}$/.test(time) || proofs.length === 0)
    return undefined
  return { time, proofs }
}

function toEvents(event: z.infer<typeof EventObject>): VendorEvent[] {
  const { type } = event
  const { object } = event.data
  const occurred_at = event.created === undefined ? undefined : new Date(event.created * 1000)
  const base = { external_event_id: event.id, trust: 'signed', type, ...present({ occurred_at }) } as const
  const payment_id = ourId(object.metadata?.['payment_id'])
  const [, session_event] = /^checkout\.session\.(.+)$/.exec(type) ?? []
  if (session_event !== undefined && SESSION_EVENTS.includes(session_event)) {
    return [{ ...base, kind: 'payment', ...present({ external_id: object.id, payment_id }) }]
  }
  const [, intent_event] = /^payment_intent\.(.+)$/.exec(type) ?? []
  const is_intent = intent_event !== undefined && INTENT_EVENTS.includes(intent_event)
  if (is_intent || type === 'charge.refunded') {
    // An intent of a page is known by the page; one without our id is somebody else's.
    const is_own = is_intent && object.metadata?.['made_by'] === 'charge'
    const external_id = is_own ? object.id : undefined
    return payment_id === undefined
      ? []
      : [{ ...base, kind: 'payment', payment_id, ...present({ external_id }) }]
  }
  if (type === 'payment_method.detached' && object.id !== undefined) {
    return [{ ...base, kind: 'method_removed', external_id: object.id }]
  }
  if (REFUND_EVENTS.includes(type) && object.id !== undefined) {
    const refund_id = ourId(object.metadata?.['refund_id'])
    return [{ ...base, kind: 'refund', external_id: object.id, ...present({ refund_id }) }]
  }
  const dispute = type.startsWith('charge.dispute.') ? toDispute(object) : undefined
  return dispute ? [{ ...base, kind: 'dispute', dispute }] : []
}

/** The payment is named by its intent: `getPayment` leads from there to the page, and to our id. */
export function toDispute(object: object): VendorDispute | undefined {
  const parsed = DisputeObject.safeParse(object)
  const payment_external_id = parsed.data?.payment_intent ?? parsed.data?.charge
  if (!parsed.success || !payment_external_id) return undefined
  const { id, status, amount, reason, livemode } = parsed.data
  const currency = parsed.data.currency.toUpperCase()
  const is_won = ['won', 'warning_closed', 'prevented'].includes(status)
  return {
    external_id: id,
    payment_external_id,
    status: is_won ? 'won' : status === 'lost' ? 'lost' : 'open',
    amount: BigInt(amount),
    currency,
    reason,
    is_test: !livemode,
  }
}

function refused(status: 400 | 401, reason: string): WebhookResult {
  return { verdict: 'refused', status, reason }
}
