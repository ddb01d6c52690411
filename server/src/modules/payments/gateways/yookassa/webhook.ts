import { addressCheck, present, readJsonBody } from '@kopilka/extension'
import type { VendorEvent, WebhookRequest, WebhookResult } from '@kopilka/extension'
import { z } from 'zod'
import type { Config } from './config.ts'
import { OBJECT_ID, ourId } from './objects.ts'

/** The networks the vendor sends from, by its page. */
const isVendorAddress = addressCheck([
  '185.71.76.0/27',
  '185.71.77.0/27',
  '77.75.153.0/25',
  '77.75.154.128/25',
  '77.75.156.11/32',
  '77.75.156.35/32',
  '2a02:5180::/32',
])

const PAYMENT_EVENTS = ['payment.waiting_for_capture', 'payment.succeeded', 'payment.canceled']

const Notification = z.object({
  type: z.literal('notification'),
  event: z.string().regex(/^[a-z_]{1,32}\.[a-z_]{1,32}$/),
  object: z.object({
    id: z.string().min(1).max(64),
    payment_id: z.string().regex(OBJECT_ID).optional().catch(undefined),
    metadata: z.record(z.string(), z.unknown()).optional().catch(undefined),
  }),
})

/**
 * Reads a notification. Nothing in it is signed, so it is only a hint where to look: the amount and the
 * status it tells are not even read. Events of things we do not use (payouts, deals) are accepted and name
 * nothing, or the vendor would repeat them for a day. Never throws.
 */
export function parseWebhook(config: Config, request: WebhookRequest): WebhookResult {
  if (config.check_ip && !isVendorAddress(request.remote_address)) {
    if (!addressCheck(config.extra_ips)(request.remote_address))
      return refused(403, 'address not in the list')
  }
  if (request.method !== 'POST') return refused(400, 'not a POST')
  const notification = Notification.safeParse(readJsonBody(request))
  if (!notification.success) return refused(400, 'not a notification')
  const { event, object } = notification.data
  const is_ours = PAYMENT_EVENTS.includes(event) || event === 'refund.succeeded'
  if (!is_ours) return { verdict: 'accepted', events: [] }
  if (!OBJECT_ID.test(object.id)) return refused(400, 'not an object id')
  return { verdict: 'accepted', events: [toEvent(event, object)] }
}

function toEvent(event: string, object: z.infer<typeof Notification>['object']): VendorEvent {
  const id = object.id.toLowerCase()
  const base = { external_event_id: `${event}:${id}`, trust: 'hint', type: event, external_id: id } as const
  const payment_id = ourId(object.metadata?.['payment_id'])
  if (event !== 'refund.succeeded') return { ...base, kind: 'payment', ...present({ payment_id }) }
  const refund_id = ourId(object.metadata?.['refund_id'])
  return { ...base, kind: 'refund', ...present({ refund_id, payment_external_id: object.payment_id }) }
}

function refused(status: 400 | 403, reason: string): WebhookResult {
  return { verdict: 'refused', status, reason }
}
