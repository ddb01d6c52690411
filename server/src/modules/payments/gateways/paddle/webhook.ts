import { createHmac } from 'node:crypto'
import { present, readJsonBody, readMoment, sameBytes, singleHeader } from '@kopilka/extension'
import type { VendorDispute, VendorEvent, WebhookRequest, WebhookResult } from '@kopilka/extension'
import { z } from 'zod'
import { isSandboxKey } from './config.ts'
import type { Config } from './config.ts'
import { AdjustmentObject, TransactionObject, namesOf, ourId, refundIdIn } from './objects.ts'

const SIGNATURE_HEADER = 'paddle-signature'
/** How far the signed time may lie from ours, on either side: beyond it is a replay or a forgery. */
const WINDOW_MS = 300_000n
const PARTS_MAX = 10

const Notification = z.object({
  event_id: z.string().regex(/^evt_\w{1,190}$/),
  event_type: z.string().regex(/^[a-z_.]{1,100}$/),
  occurred_at: z.string(),
  data: z.looseObject({
    id: z.string().max(64).optional(),
    origin: z.string().optional().catch(undefined),
    custom_data: z.record(z.string(), z.unknown()).nullish().catch(undefined),
    items: TransactionObject.shape.items,
  }),
})

/**
 * Verifies a notification on its raw bytes: any `h1` of the header, and a time at most 300 s away on either
 * side. Order is not kept, so the transaction or adjustment itself is read again; chargebacks and
 * subscriptions are told as they come. Never throws.
 */
export function parseWebhook(config: Config, request: WebhookRequest, now: Date): WebhookResult {
  const signature = readSignature(singleHeader(request, SIGNATURE_HEADER) ?? '')
  if (!signature) return refused(401, 'no signature')
  const expected = createHmac('sha256', config.webhook_secret)
    .update(`${signature.time}:`)
    .update(request.raw_body)
    .digest('hex')
  if (!signature.proofs.some((proof) => sameBytes(proof, expected))) return refused(401, 'wrong signature')
  const away_ms = BigInt(now.getTime()) - BigInt(signature.time) * 1000n
  if (away_ms < -WINDOW_MS || away_ms > WINDOW_MS) return refused(401, 'not of this moment')
  const notification = Notification.safeParse(readJsonBody(request))
  if (!notification.success) return refused(400, 'not a notification')
  return { verdict: 'accepted', events: toEvents(config, notification.data) }
}

/** `ts=1780000000;h1=…;h1=…`: one time, one or more proofs. */
function readSignature(header: string): { time: string; proofs: string[] } | undefined {
  const has_form = header.length <= 1000 && /^[a-z\d]+=[a-f\d]+(?:;[a-z\d]+=[a-f\d]+)*$/.test(header)
  const parts = has_form ? header.split(';', PARTS_MAX + 1) : []
  if (parts.length > PARTS_MAX) return undefined
  const valuesOf = (name: string) =>
    parts.filter((part) => part.startsWith(`${name}=`)).map((part) => part.slice(name.length + 1))
  const [time, ...more] = valuesOf('ts')
  const proofs = valuesOf('h1')
  if (time === undefined || more.length > 0 || !/^\d{10,12}$/.test(time) || proofs.length === 0)
    return undefined
  return { time, proofs }
}

function toEvents(config: Config, { event_id, event_type: type, occurred_at, data }: Told): VendorEvent[] {
  const at = readMoment(occurred_at)
  const base = {
    external_event_id: event_id,
    trust: 'signed',
    type,
    ...present({ occurred_at: at }),
  } as const
  const external_id = data.id
  if (external_id === undefined) return []
  if (type.startsWith('transaction.')) {
    const payment_id = ourId(namesOf(data)['payment_id'])
    const { subscription_id } = data
    if (typeof subscription_id === 'string' && payment_id === undefined) {
      const is_paid = type === 'transaction.paid' || type === 'transaction.completed'
      const charge = present({ charge_external_id: is_paid ? external_id : undefined })
      return [{ ...base, kind: 'subscription', external_id: subscription_id, ...charge, data }]
    }
    return [{ ...base, kind: 'payment', external_id, ...present({ payment_id }) }]
  }
  if (type.startsWith('subscription.')) return [{ ...base, kind: 'subscription', external_id, data }]
  if (!type.startsWith('adjustment.')) return []
  const { action, transaction_id, reason, subscription_id } = data
  const charge_of =
    typeof subscription_id === 'string' ? { subscription_external_id: subscription_id } : undefined
  if (action === 'refund') {
    const refund_id = refundIdIn(reason)
    const payment_external_id = typeof transaction_id === 'string' ? transaction_id : undefined
    const named = present({ refund_id, payment_external_id, charge_of })
    return [{ ...base, kind: 'refund', external_id, ...named }]
  }
  const dispute = toDispute(config, data)
  return dispute ? [{ ...base, kind: 'dispute', dispute, ...present({ charge_of }) }] : []
}

type Told = z.infer<typeof Notification>

/**
 * A chargeback takes the money at once and may still be won back, by an adjustment with another id: both are
 * one dispute, named by its transaction. The vendor does not say that one is lost for good.
 */
function toDispute(config: Config, data: unknown): VendorDispute | undefined {
  const parsed = AdjustmentObject.safeParse(data)
  if (!parsed.success || !/^chargeback(?:_warning)?(?:_reverse)?$/.test(parsed.data.action)) return undefined
  const { action, transaction_id, totals, currency_code, reason } = parsed.data
  return {
    external_id: `chargeback:${transaction_id}`,
    payment_external_id: transaction_id,
    status: action.endsWith('_reverse') ? 'won' : 'open',
    amount: totals.total,
    currency: currency_code,
    reason: reason.slice(0, 200),
    is_test: isSandboxKey(config),
  }
}

function refused(status: 400 | 401, reason: string): WebhookResult {
  return { verdict: 'refused', status, reason }
}
